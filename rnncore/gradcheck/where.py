"""Where a backward goes wrong: the tensor, the step, the gate, the unit, and of a cell the line.

First the cell's own line, where there is a cell (lines.py); then the steps, where the function can be taken apart
(steps.py); else what each array's gradient says by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import lines, what
from .problem import Problem
from .steps import by_steps, mask_finding, sizes_of, unrolled
from .what import Finding
from .witnesses import Loss


@dataclass
class Table:
    """The comparison of one array: what came, what should have come, at flat indices."""

    name: str
    came: Any
    array: np.ndarray
    places: np.ndarray
    truth: np.ndarray
    bars: np.ndarray
    errors: np.ndarray
    wrong: np.ndarray
    kinks: int = 0
    size: Any = 1.0  # what errors and bars are relative to

    @property
    def fits(self) -> bool:
        return np.shape(self.came) == self.array.shape and np.asarray(self.came).dtype.kind in "fiu"

    @property
    def claimed(self) -> np.ndarray:
        """What came, at the places compared."""
        return np.asarray(self.came, float).reshape(-1)[self.places]

    def full(self, values: np.ndarray) -> np.ndarray:
        """Return values at the places in the array's shape, NaN elsewhere."""
        out = np.full(self.array.shape, np.nan)
        out.reshape(-1)[self.places] = values
        return out


@dataclass
class Diagnosis:
    """Where and what. Every attribute may be empty."""

    tensor: str = ""
    step: int | None = None
    gates: tuple[str, ...] = ()
    unit: int | None = None
    row: int | None = None
    fault: lines.Fault | None = None
    findings: list[Finding] = field(default_factory=list)
    by_step: dict[int, float] = field(default_factory=dict)
    by_gate: dict[str, float] = field(default_factory=dict)
    by_unit: dict[int, float] = field(default_factory=dict)
    steps: int | None = None
    note: str = ""


def diagnose(
    problem: Problem,
    tables: Mapping[str, Table],
    outputs: list[np.ndarray],
    dys: list[np.ndarray],
    method: str,
    rng: np.random.Generator,
) -> Diagnosis:
    """Say where and what, for tables with something wrong."""
    found = Diagnosis()
    wrong = [table for table in tables.values() if table.wrong.any() or not table.fits]
    if problem.accumulates:
        found.tensor = ", ".join(problem.accumulates)
        found.findings.append(
            Finding(
                "accumulated",
                "each call adds to the gradients of the call before: a second one with the same dy gives more; start "
                "from zeros in every call",
            )
        )
    for table in wrong if not problem.accumulates else ():
        if not table.fits:
            truth = table.full(table.truth)
            full = truth if len(table.places) == truth.size else None
            if not found.findings:
                found.tensor = table.name
            found.findings.append(_misfit(table, full))
    _by_blocks(problem, tables, found)
    found.fault = next((fault for label, cell in problem.cells for fault in lines.faults(label, cell, rng)), None)
    probe = unrolled(problem, outputs)
    gated = set(problem.gates) or (probe.related() if probe else set())
    sound = [n for n in gated if n in tables and n not in {t.name for t in wrong}]
    if wrong and not found.findings:
        by_step = probe is not None and not sound and found.tensor == ""
        if by_step and probe is not None:
            by_steps(problem, probe, found, dys, method, rng)
        if (not found.findings or found.fault is not None) and (not by_step or found.step is None):
            _by_tensor(problem, wrong, probe, found, outputs, dys, method)
    if found.fault is not None:
        _take_line(problem, found)
    if wrong and not found.findings:
        found.findings.append(Finding("value", _spread(wrong)))
    if wrong and not found.tensor and found.step is None:
        found.tensor = max(wrong, key=lambda t: float(np.max(t.errors, initial=0))).name
    return found


def _misfit(table, full):
    came = table.came
    if came is None:
        return Finding("zero", f"backward gives None for {table.name}; expected its gradient")
    came = np.asarray(came)
    if came.dtype.kind not in "fiu":
        return Finding("shape", f"backward gives {came.dtype} for {table.name}; expected real numbers")
    return what.summed_too_little(came.astype(float), table.array.shape, full)


def _spread(wrong):
    table = max(wrong, key=lambda t: float(np.max(t.errors, initial=0)))
    if not table.fits:
        return ""
    with np.errstate(all="ignore"):
        ratio = table.claimed / table.truth
    ratio = ratio[np.isfinite(ratio) & table.wrong]
    if not ratio.size:
        return "no known pattern"
    span = f"from {ratio.min():.3g} to {ratio.max():.3g} times the true gradient"
    return f"no known pattern: where it is wrong, {table.name} is {span}"


def _take_line(problem: Problem, found: Diagnosis) -> None:
    """Let the wrong line say the gate and the kind."""
    fault = found.fault
    assert fault is not None
    cell = dict(problem.cells)[fault.cell]
    stem = fault.name[1:].removesuffix("_prev")
    gate = stem[2:] if stem[:2] in ("z_", "x_", "u_") else stem
    if fault.kind == "swapped" and fault.name.startswith("dz_"):
        pass  # both gates stay named
    elif gate in cell.gates:
        found.gates = (gate,)
    elif stem in cell.states:
        found.gates = ()
    if fault.kind != "value" or not found.findings:
        words = fault.because or "the value is not the derivative"
        if fault.mend:
            words += f"; write {fault.mend}"
        found.findings = [Finding(fault.kind, words), *[f for f in found.findings if f.kind == "mask"]]
    found.tensor = ""


# --- what the tensors alone say ---------------------------------------------------------------------------------------


def _by_blocks(problem: Problem, tables: Mapping[str, Table], found: Diagnosis) -> None:
    """Fill in errors by step and by gate as far as the arrays themselves show them."""
    for name, axis in problem.time_axis.items():
        table = tables.get(name)
        if table is not None and table.fits:
            errors = np.nan_to_num(table.full(table.errors), nan=0.0)
            each = errors.max(axis=tuple(n for n in range(errors.ndim) if n != axis))
            found.by_step = {t: float(e) for t, e in enumerate(each)}
            found.steps = len(each)
    for name, gates in problem.gates.items():
        table = tables.get(name)
        if table is not None and table.fits:
            errors = np.nan_to_num(table.full(table.errors), nan=0.0)
            for gate, part in zip(gates, np.split(errors, len(gates), axis=-1), strict=True):
                found.by_gate[gate] = max(found.by_gate.get(gate, 0.0), float(part.max(initial=0)))
            each = errors.reshape(-1, len(gates), errors.shape[-1] // len(gates)).max(axis=(0, 1))
            for u, e in enumerate(each):
                found.by_unit[u] = max(found.by_unit.get(u, 0.0), float(e))


def _by_tensor(problem, wrong, probe, found, outputs, dys, method) -> None:
    """Look for a pattern in the arrays' own gradients: of one array the product or the sum that makes it is wrong."""
    sizes = sizes_of(problem, outputs)
    fitting = [table for table in wrong if table.fits]
    for table in sorted(fitting, key=lambda t: t.array.size):
        if not table.truth.any() and not problem.cells:
            found.tensor = table.name
            found.findings.append(
                Finding(
                    "unread",
                    f"the forward never reads {table.name}: no entry of it changes the "
                    "outputs, and backward gives it a gradient (does it work on a copy?)",
                )
            )
            return
    if len(fitting) > 1:
        a, n = (np.concatenate([getattr(t, which) for t in fitting]) for which in ("claimed", "truth"))
        one = what.factor(a, n, sizes, problem.rates)
        if one is not None and len(fitting) == len(problem.moved):
            found.tensor = ", ".join(t.name for t in fitting)
            found.findings.append(one)
            return
    for table in fitting:
        finding = _tensor_pattern(problem, table, probe, sizes, outputs, dys, method, found)
        if finding is not None:
            found.findings.append(finding)
            found.tensor = found.tensor or table.name
            break
    if not found.findings:
        turned = _turned(problem, fitting, dys, method)
        if turned is not None:
            found.findings.append(turned)
    if not found.tensor and fitting:
        found.tensor = max(fitting, key=lambda t: float(np.max(t.errors, initial=0))).name


def _turned(problem, wrong, dys, method) -> Finding | None:
    """An array in the place of its transposed: made symmetric, it gives right gradients."""
    for n in problem.moved:
        array = problem.arrays[n]
        blocks = len(problem.gates.get(problem.names[n], ())) or 1
        if np.ndim(array) != 2 or array.shape[0] < 2 or array.shape[0] * blocks != array.shape[1]:
            continue
        arrays = problem.copies()
        arrays[n] = np.concatenate([(b + b.T) / 2 for b in np.split(array, blocks, axis=1)], axis=1)
        problem.forward([a.copy() if isinstance(a, np.ndarray) else a for a in arrays])
        came = problem.backward([dy.copy() for dy in dys], list(arrays))
        loss = Loss(problem, [dys], arrays)
        others = [table for table in wrong if table.name != problem.names[n]]
        if others and all(
            what.same(
                np.asarray(came[problem.names.index(t.name)], float).reshape(-1)[t.places],
                loss.entries(problem.names.index(t.name), t.places, method)[0][0],
            )
            for t in others
        ):
            words = (
                f"{problem.names[n]} stands where its transposed should, as in dx = dz @ W.T: with {problem.names[n]} "
                "made symmetric the gradients are right"
            )
            return Finding("transposed", words)
    return None


def _tensor_pattern(problem, table, probe, sizes, outputs, dys, method, found) -> Finding | None:
    a, n = table.claimed, table.truth
    whole = len(table.places) == table.array.size
    blocks = len(problem.gates.get(table.name, ())) or 1
    finding = what.dropped(a, n, problem.rates)
    if finding is None and table.name in problem.time_axis:
        full = table.full(what.masked(a, n).astype(float))
        axis = problem.time_axis[table.name]
        others = tuple(k for k in range(table.array.ndim) if k not in (axis, 0 if axis else 1))
        at = (
            np.argwhere(np.nan_to_num(full).all(axis=others))
            if table.array.ndim > 2
            else np.argwhere(np.nan_to_num(full).all(axis=-1))
        )
        if len(at):
            step = int(at[:, 1 if axis else 0].max()) if table.array.ndim > 2 else int(at.max())
            found.step = step
            found.findings.append(mask_finding(step))
            return None
    finding = finding or what.factor(a, n, sizes, problem.rates)
    if finding is None and whole:
        came, truth = np.asarray(table.came, float), table.full(n)
        finding = what.transposed(came, truth, blocks)
        if finding is None and blocks > 1:
            gates = problem.gates[table.name]
            one, other = (dict(zip(gates, np.split(v, blocks, axis=-1), strict=True)) for v in (came, truth))
            finding = what.swapped(one, other)
            if finding is None:
                off = [g for g in gates if not what.same(one[g], other[g])]
                if 0 < len(off) < blocks:
                    found.gates = tuple(off)
                    mine, theirs = (np.concatenate([v[g].ravel() for g in off]) for v in (one, other))
                    finding = what.factor(mine, theirs, sizes, problem.rates)
    if (finding is None or finding.kind == "zero") and whole and probe is not None:
        finding = _shares(problem, table, probe, dys, method, outputs) or finding
    y = outputs[0]
    if finding is None:
        finding = what.activation(a, n, table.array.reshape(-1)[table.places], table.name)
    if finding is None and whole and y.shape == table.array.shape:
        finding = _elementwise(np.asarray(table.came, float), table.full(n), y)
    if finding is None:
        finding = _partly(a, n, table)
    return finding


def _elementwise(a, n, y) -> Finding | None:
    """A derivative written with the wrong power of the output, of a function applied entry by entry."""
    with np.errstate(all="ignore"):
        for words, ratio in (
            ("s (1 - s), the sigmoid's", 1 / (y * (1 - y))),
            ("1 - a², that of tanh", 1 / (1 - y * y)),
        ):
            if what.same(a, ratio * n):
                return Finding("derivative", f"the derivative of the activation is missing: {words}")
    return None


def _partly(a, n, table) -> Finding | None:
    """Entries that are right beside entries that are 0: a part of the gradient is not there."""
    wrong = table.wrong
    if wrong.all() or not wrong.any():
        return None
    if not np.any(a[wrong]):
        return Finding(
            "zero", f"{wrong.sum()} of {wrong.size} entries are 0 where there is a gradient; the others are right"
        )
    finding = what.factor(a[wrong], n[wrong], {})
    if finding is not None and wrong.sum() > 1:
        return Finding(finding.kind, f"in {wrong.sum()} of {wrong.size} entries: {finding.words}")
    return None


def _shares(problem, table, probe, dys, method, outputs) -> Finding | None:
    """Only some steps' shares in the gradient of W, b or U."""
    if table.name == problem.names[probe.w]:
        a, n, _ = probe.both([dys], method)
        steps = probe.T
        return what.some_steps(a[0].reshape(steps, -1), n[0].reshape(steps, -1))
    if not probe.whole(method):
        return None
    _, n, _ = probe.both([dys], method)
    dz = n[0].reshape(probe.T, probe.B, -1)
    came = np.asarray(table.came, float)
    if came.shape == dz.shape[2:]:
        return what.some_sum(came, dz.sum(axis=1))
    h = probe.output_steps(outputs)
    if h is not None and came.shape == (h.shape[-1], dz.shape[2]):
        before = np.concatenate([np.zeros_like(h[:1]), h[:-1]])
        return what.some_sum(came, np.einsum("tbh,tbz->thz", before, dz))
    return None
