"""A recurrent function taken apart, step by step: which step and gate its backward gets wrong first, and how.

The gradient of W adds up all steps. It is taken apart by another function of the same values: each position of x gets a
row of the kernel for itself, ``x' = one row of the identity each, W' = x @ W``. Outputs are the same, and the gradient
of W' is that of the pre-activations z, for every step, row, gate and unit. What the two functions say about them is
compared from the last step to the first: the first difference is where the mistake is.

Sizes: T steps, B rows, D inputs, G gates, H units; N cotangents. Steps are in the order taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import lstm, what
from .problem import Problem
from .what import Finding
from .witnesses import Loss

MOST = 1200  # entries of W' that are moved: rows and units are left out above that
WRONG = 1e-5


def sizes_of(problem: Problem, outputs: list[np.ndarray]) -> dict[str, int]:
    """Return what a mean may divide by, by name."""
    sizes: dict[str, int] = {}
    first = next((problem.arrays[n] for n in problem.moved if np.ndim(problem.arrays[n]) > 1), None)
    axes = dict(problem.time_axis)
    if axes:
        name, axis = next(iter(axes.items()))
        x = problem.arrays[problem.names.index(name)]
        sizes["the number of steps"] = x.shape[axis]
        if x.ndim > 2:
            rows = next(n for n in (0, 1) if n != axis)
            sizes["the batch size"] = x.shape[rows]
            sizes["batch size times steps"] = x.shape[rows] * x.shape[axis]
    elif first is not None:
        sizes["the batch size (axis 0)"] = first.shape[0]
        sizes["the last axis"] = first.shape[-1]
        sizes["the number of entries"] = first.size
        if first.ndim > 2:
            sizes["axis 1"] = first.shape[1]
            sizes["axis 0 times axis 1"] = first.shape[0] * first.shape[1]
    return sizes


def mask_finding(step):
    """A gradient at a step that the forward does not take."""
    return Finding(
        "mask",
        f"the mask is ignored: the forward does not take step {step} of that row, and backward gives it a gradient; "
        "hand dh and dc on unchanged there, and add nothing to dW, dU, db, dx",
    )


class Unrolled:
    """The same function with a row of the kernel for each position of x."""

    def __init__(self, problem: Problem, x: int, axis: int, w: int, gates: tuple[str, ...]):
        self.problem, self.x, self.w, self.gates = problem, x, w, gates
        given = problem.arrays[x]
        self.axis, self.batched = axis, given.ndim == 3
        rows = next(n for n in (0, 1) if n != axis) if self.batched else None
        self.T, self.B = given.shape[axis], given.shape[rows] if rows is not None else 1
        by_step = np.moveaxis(given, axis, 0).reshape(self.T, self.B, -1)
        one = np.eye(self.T * self.B).reshape(self.T, self.B, -1)
        self.one = np.moveaxis(one, 0, axis).copy() if self.batched else one[:, 0].copy()
        self.kernel = (by_step @ problem.arrays[w]).reshape(self.T * self.B, -1)
        self.G, self.H = len(gates), self.kernel.shape[1] // len(gates)
        self.arrays = self.placed(self.kernel)
        self._known: dict[Any, Any] = {}

    def placed(self, kernel: np.ndarray, changes: Mapping[int, np.ndarray] = {}) -> list[Any]:
        """Return the arrays with this kernel in W's place, and others as `changes` say."""
        arrays = list(self.problem.arrays)
        arrays[self.x], arrays[self.w] = self.one, kernel
        for n, array in changes.items():
            arrays[n] = array
        return arrays

    def related(self) -> set[str]:
        """Return the names of the arrays that have the gates' columns."""
        columns = self.kernel.shape[1]
        return {
            self.problem.names[n]
            for n in self.problem.moved
            if np.shape(self.problem.arrays[n])[-1:] == (columns,) and n != self.x
        }

    def in_order(self, steps: np.ndarray) -> np.ndarray:
        """Return what lies step by step in x's order, in the order taken (and the other way)."""
        return steps[::-1] if self.problem.backwards else steps

    def step_of_x(self, t: int) -> int:
        """Return the step of x that is the t-th taken."""
        return self.T - 1 - t if self.problem.backwards else t

    def units(self) -> np.ndarray:
        """Return the units that are looked at: all, or as many as there is time for."""
        room = max(1, MOST // (self.T * self.B * self.G))
        return np.arange(self.H) if room >= self.H else np.linspace(0, self.H - 1, room).astype(int)

    def whole(self, method: str) -> bool:
        """Whether all units are looked at."""
        return len(self.units()) == self.H

    def both(self, cotangents, method, arrays=None, steps=None):
        """Return what backward says of z and what is true, both (N, T, B, G, units), and error bars."""
        key = (len(cotangents), arrays is None, steps, id(cotangents[0][0]))
        if arrays is None and key in self._known:
            return self._known[key][1]
        at = self.arrays if arrays is None else arrays
        units = self.units()
        shape = (self.T, self.B, self.G, self.H)
        came = [self._back(dys, at).reshape(shape)[..., units] for dys in cotangents]
        loss = Loss(self.problem, cotangents, at)
        index = np.arange(at[self.w].size).reshape(shape)[..., units]
        truth, bars = (np.zeros((len(cotangents), *index.shape)) for _ in range(2))
        chosen = range(self.T) if steps is None else [self.step_of_x(t) for t in steps]
        for t in chosen:
            found, bar = loss.entries(self.w, index[t].ravel(), method)
            truth[:, t], bars[:, t] = found.reshape(-1, *index[t].shape), bar.reshape(-1, *index[t].shape)
        result = tuple(np.stack([self.in_order(part) for part in parts]) for parts in (came, truth, bars))
        if arrays is None:
            self._known[key] = (cotangents, result)
        return result

    def _back(self, dys, arrays):
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arrays]
        self.problem.forward([a.copy() if isinstance(a, np.ndarray) else a for a in arrays])
        return np.asarray(self.problem.backward([dy.copy() for dy in dys], copies)[self.w], float)

    def output_axis(self, outputs) -> int | None:
        """Return the first output's axis of steps; None if it shows the last step only."""
        y = outputs[0]
        return self.axis if y.ndim > self.axis and y.ndim >= 2 + self.batched and y.shape[self.axis] == self.T else None

    def output_steps(self, outputs) -> np.ndarray | None:
        """Return the first output step by step, (T, B, H), in the order taken; None if it shows the last step only."""
        axis = self.output_axis(outputs)
        if axis is None:
            return None
        return np.moveaxis(outputs[0], axis, 0).reshape(self.T, self.B, -1)


def unrolled(problem: Problem, outputs: list[np.ndarray]) -> Unrolled | None:
    """Return the function taken apart; None where it is not of that form, or does not give the same outputs."""
    if len(problem.time_axis) != 1:
        return None
    name, axis = next(iter(problem.time_axis.items()))
    x = problem.names.index(name)
    given = problem.arrays[x]
    if given.ndim not in (2, 3) or axis == given.ndim - 1:
        return None
    named = [problem.names.index(n) for n in problem.gates] or problem.moved
    for w in named:
        weight = problem.arrays[w]
        if weight.ndim != 2 or w == x or weight.shape[0] != given.shape[-1]:
            continue
        probe = Unrolled(problem, x, axis, w, problem.gates.get(problem.names[w], ("z",)))
        try:
            with np.errstate(all="ignore"):
                again = problem.forward([a.copy() if isinstance(a, np.ndarray) else a for a in probe.arrays])
                dys = [np.ones(y.shape) for y in again]
                fits = np.shape(probe._back(dys, probe.arrays)) == probe.kernel.shape
        except Exception:  # the user's functions may hold on to their sizes
            continue
        if fits and all(
            a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12)
            for a, b in zip(again, outputs, strict=True)
            if a.ndim
        ):
            return probe
    return None


def by_steps(problem, probe, found, dys, method, rng) -> None:
    """Compare the gradients of the pre-activations from the last step to the first."""
    outputs = problem.forward(problem.copies())
    axis = probe.output_axis(outputs)
    cotangents = [dys]
    if axis is not None:  # and the output of each step by itself
        for t in range(probe.T):
            only = [dy.copy() if n >= len(dys) - problem.fixed else np.zeros_like(dy) for n, dy in enumerate(dys)]
            where: list[Any] = [slice(None)] * dys[0].ndim
            where[axis] = t  # outputs come in the order taken
            only[0][tuple(where)] = dys[0][tuple(where)]
            cotangents.append(only)
    came, truth, bars = probe.both(cotangents, method)
    a, n = came[0], truth[0]
    size = np.max(abs(n), initial=0)
    scale = np.maximum(np.max(abs(n), axis=(1, 2, 3), keepdims=True), 1e-4 * size)
    error = np.where(abs(a - n) > 4 * bars[0], abs(a - n), 0) / np.maximum(scale, 1e-300)
    found.steps = probe.T
    found.by_step = {probe.step_of_x(t): float(error[t].max()) for t in range(probe.T)}
    found.by_step = dict(sorted(found.by_step.items()))
    wrong = [t for t in range(probe.T) if error[t].max() > WRONG]
    if not wrong:
        return
    hidden = np.all(abs(truth).max(axis=0) <= 1e-13 * size, axis=(2, 3)) & (np.max(abs(a), axis=(2, 3)) > WRONG * size)
    if hidden.any():
        t, row = (int(v) for v in np.argwhere(hidden)[-1])
        found.row = row
        _set_place(probe, found, error, t)
        found.findings.append(mask_finding(found.step))
        return
    t = wrong[-1]
    _set_place(probe, found, error, t)
    off = [g for g, gate in enumerate(probe.gates) if error[t, :, g].max() > WRONG]
    last = t == probe.T - 1
    if axis is not None:
        direct_a, direct_n = came[1 + t, t], truth[1 + t, t]
        local = not what.same(direct_a, direct_n)
        if local and not np.any(direct_a) and not last:
            handed = came[1 + t + 1, t]
            if what.same(handed, truth[1 + t + 1, t]) and np.any(handed):
                found.findings.append(
                    Finding(
                        "steps",
                        "only the gradient of the last step's output comes in: at every step add dy of that "
                        "step, dh = dy[t] + dh_next",
                    )
                )
            else:
                found.findings.append(Finding("steps", what.steps_words([probe.T - 1], probe.T)))
            return
    else:
        local, direct_a, direct_n = last, a[t], n[t]
    if local:
        rows = np.any(direct_n, axis=(1, 2))
        _local(problem, probe, found, direct_a[rows], direct_n[rows], off, cotangents[-1], outputs, method, rng)
    else:
        k = 1 + t + 1 if axis is not None else 0
        taken = np.any(truth[k, t + 1], axis=(1, 2)) & np.any(truth[0, t], axis=(1, 2))
        _carried(problem, probe, found, came[k, t], truth[k, t], t, cotangents[k], taken, method, rng)


def _set_place(probe, found, error, t):
    found.step = probe.step_of_x(t)
    each = error[t].max(axis=(0, 2))
    found.by_gate = {gate: float(e) for gate, e in zip(probe.gates, each, strict=True)}
    found.gates = tuple(g for g, e in found.by_gate.items() if e > WRONG)
    units = error[t].max(axis=(0, 1))
    found.by_unit = {int(u): float(e) for u, e in zip(probe.units(), units, strict=True)}
    found.unit = int(probe.units()[int(np.argmax(units))])
    if found.gates == ("z",) and probe.gates == ("z",):
        found.gates, found.by_gate = (), {}


def _local(problem, probe, found, a, n, off, dys, outputs, method, rng) -> None:
    """A step's own gradients are wrong, whatever comes from the next one."""
    sizes, gates = sizes_of(problem, outputs), probe.gates
    one = what.factor(a[:, off], n[:, off], sizes, problem.rates)
    one = one or what.swapped(*({g: v[:, k] for k, g in enumerate(gates)} for v in (a, n)))
    if one is not None:
        if one.kind != "swapped" and len(off) < len(gates):
            names = ", ".join(found.gates)
            also = "; they share dc, and o does not: look where dc comes from dh" if _all_but_o(gates, off) else ""
            one = Finding(one.kind, f"{'gates' if len(off) > 1 else 'gate'} {names}: {one.words}{also}")
        found.findings.append(one)
        return
    plain = _plain(problem, probe, dys, method, rng, probe.T - 1)
    said = []
    for g in off:
        own = what.factor(a[:, g], n[:, g], sizes, problem.rates)
        if own is None and plain is not None:
            pair = plain["a"][:, g], plain["n"][:, g]
            own = what.activation(*pair, plain["z"][-1][plain["rows"], g], f"z_{gates[g]}".removesuffix("_z"))
            own = own or what.other_value(*pair, gates[g], _values(problem, probe, plain, -1))
        if own is not None:
            said.append(Finding(own.kind, f"gate {gates[g]}: {own.words}" if gates != ("z",) else own.words))
    if len(said) < len(off) and len(off) > 1 and plain is not None:
        a, n = (plain[which][:, off] for which in ("a", "n"))
        with np.errstate(all="ignore"):
            ratios = a / n
        if np.all(np.isfinite(ratios)) and what.same(ratios, np.broadcast_to(ratios[:, :1], ratios.shape)):
            values = _values(problem, probe, plain, -1)
            one = what.squashed(a[:, 0], n[:, 0], values["tanh(c)"], values["h"]) if "tanh(c)" in values else None
            words = (
                f"{', '.join(found.gates)} are wrong by one factor a unit: the mistake lies before they part, where "
                "the carry's gradient dc comes from dh"
            )
            said = [one or Finding("value", words)]
    if plain is not None and ((len(said) < len(off) and not said) or any(f.kind == "value" for f in said)):
        values = _values(problem, probe, plain, -1) | _came(probe, outputs, dys, -1, plain["rows"])
        one = lstm.of_step(gates, values, plain["a"], plain["n"])
        said = said if one is None else [one]
    found.findings.extend(said)


def _all_but_o(gates, off) -> bool:
    return "o" in gates and len(gates) == 4 and {gates[g] for g in off} == {*gates} - {"o"}


def _came(probe, outputs, dys, t, rows) -> dict[str, np.ndarray]:
    """Return what comes to step t's output from outside, dh (rows, units)."""
    axis, dy = probe.output_axis(outputs), dys[0]
    if axis is not None:
        dy = np.moveaxis(dy, axis, 0).reshape(probe.T, probe.B, -1)[t]
    return {"dh": dy[rows][:, probe.units()]} if dy.shape == (probe.B, probe.H) else {}


def _values(problem, probe, plain, t) -> dict[str, np.ndarray]:
    """Return what an LSTM's step t computes, by name, as far as it can be told from z and the output."""
    z, rows, units, gates = plain["z"], plain["rows"], probe.units(), probe.gates
    found: dict[str, np.ndarray] = {}
    for g, gate in enumerate(gates):
        squash = np.tanh if gate in what.CANDIDATES else what.sigmoid
        found[gate] = squash(z[t][rows, g])
    if "o" not in gates:
        return found
    outputs = problem.forward([a.copy() if isinstance(a, np.ndarray) else a for a in plain["arrays"]])
    steps = probe.output_steps(outputs)
    if steps is None:
        steps = np.full((probe.T, probe.B, probe.H), np.nan)
        if np.shape(outputs[0]) == (probe.B, probe.H):
            steps[-1] = outputs[0]
    o = what.sigmoid(z[:, :, gates.index("o")])
    with np.errstate(all="ignore"):
        out = steps[..., units] / o
        c = np.arctanh(out)
    found |= {"h": steps[t][rows][:, units], "tanh(c)": out[t][rows], "c": c[t][rows]}
    if t > 0 or t < -1 or probe.T > 1:
        found |= {"c_prev": c[t - 1][rows], "h_prev": steps[t - 1][rows][:, units]}
    return {name: value for name, value in found.items() if np.all(np.isfinite(value))}


def _plain(problem, probe, dys, method, rng, t, symmetric=False) -> dict[str, Any] | None:
    """Look at step t where z is known: no recurrent product, no bias, and a kernel of random numbers.

    `symmetric` keeps all that, and makes each gate's recurrent block symmetric instead.
    """
    kernel, changes = probe.kernel if symmetric else rng.standard_normal(probe.kernel.shape), {}
    names = set(problem.gates) or probe.related()
    for name in names - {problem.names[probe.w]}:
        n = problem.names.index(name)
        array = problem.arrays[n]
        if not symmetric:
            changes[n] = np.zeros_like(array)
        elif array.shape == (probe.H, probe.G * probe.H):
            changes[n] = np.concatenate([(b + b.T) / 2 for b in np.split(array, probe.G, axis=1)], axis=1)
    if symmetric and not changes:
        return None
    arrays = probe.placed(kernel, changes)
    try:
        a, n, _ = probe.both([dys], method, arrays, (t,))
    except Exception:  # the user's functions at other values
        return None
    z = probe.in_order(kernel.reshape(probe.T, probe.B, probe.G, probe.H))[..., probe.units()]
    rows = np.any(n[0, t], axis=(1, 2))
    return {"a": a[0, t][rows], "n": n[0, t][rows], "z": z, "arrays": arrays, "rows": rows}


def _carried(problem, probe, found, a, n, t, dys, taken, method, rng) -> None:
    """A step is right by itself, and wrong in what the next one hands to it; `taken` are the rows that take it."""
    step, later = probe.step_of_x(t), probe.step_of_x(t + 1)
    a, n, begin = a[taken], n[taken], f"what step {later} hands back to step {step} is wrong"
    if not np.any(a):
        back = probe.T - 1 - t
        why = what.steps_words([probe.T - 1], probe.T) if back == 1 else f"the gradient goes back {back} steps only"
        found.findings.append(Finding("steps", f"nothing is handed back from step {later} to step {step}: {why}"))
        return
    plain = _plain(problem, probe, dys, method, rng, t)
    if plain is not None:
        keep = taken[plain["rows"]]
        one, other = plain["a"][keep], plain["n"][keep]
        if not what.same(one, other):
            plain["rows"] = plain["rows"] & taken
            values = _values(problem, probe, plain, t + 1)
            finding = _carry(one, other, begin, values)
            if finding.kind == "value":
                values |= _came(probe, problem.forward(problem.copies()), dys, t + 1, plain["rows"])
                met = np.any(other, axis=(0, 2))
                known = lstm.of_carry(probe.gates, values, one[:, met], other[:, met])
                finding = finding if known is None else Finding(known.kind, f"{begin}: {known.words}")
            found.findings.append(finding)
            return
        met = np.any(other, axis=(0, 2))
        if not met.all():  # of gates that the carry does not come to, U's share alone
            a, n = a[:, ~met], n[:, ~met]
    even = _plain(problem, probe, dys, method, rng, t, symmetric=True)
    if even is not None and what.same(even["a"], even["n"]):
        words = (
            f"{begin}: U stands there where its transposed should, dh_prev = dz @ U.T (with every gate's block of U "
            "made symmetric the gradients are right)"
        )
        found.findings.append(Finding("transposed", words))
        return
    one = what.factor(a, n, {})
    words = "a gate's share is missing or has another block of U" if one is None else one.words
    kind = "path" if one is None else one.kind
    found.findings.append(Finding(kind, f"{begin}, on the way through U, dh_prev = dz @ U.T: {words}"))


def _carry(a, n, begin, values) -> Finding:
    """The carry's own gradient is wrong: of the gates it meets, some have none (the output's)."""
    where = f"{begin}, in the carry's gradient dc, which goes past U"
    if not np.any(a):
        words = "it is not handed on; keep dc_next = dc · f, and begin the step before with dc = dc_next + …"
        return Finding("path", f"{where}: {words}")
    met = np.any(n, axis=(0, 2))
    a, n = a[:, met], n[:, met]
    one = what.factor(a, n, {})
    if one is None:
        one = what.other_value(a, n, "dc", {k: v[:, None] for k, v in values.items()})
    if one is None:
        return Finding("value", f"{where}: it should be dc_next = dc · f")
    return Finding(one.kind, f"{where}: {one.words}")
