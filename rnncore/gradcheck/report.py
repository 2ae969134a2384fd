"""The verdict in words, as a table, as HTML and as JSON."""

from __future__ import annotations

import html
import json
import textwrap
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .what import KINDS
from .where import Diagnosis

HEAD = ("tensor", "entries", "worst error", "error bar", "at", "backward", "definition")


@dataclass(frozen=True)
class Row:
    """The comparison of one tensor.

    Attributes
    ----------
    name : str
    size : int
        Entries.
    error : float
        The largest of ``|analytic - numerical| / max(|analytic|, |numerical|, floor)`` over the entries compared. The
        floor is a thousandth of the tensor's largest gradient (so that entries near 0 are held to that), and no less
        than what backward itself loses to rounding, in units of `rtol`.
    index : tuple of int
        Where it is.
    analytic, numerical : float
        The two values there.
    bar : float
        The error bar of the numerical one there, relative as `error`.
    checked : int
        Entries compared.
    kinks : int
        Entries on a kink, where there is no derivative: not judged.
    """

    name: str
    size: int
    error: float
    index: tuple[int, ...]
    analytic: float
    numerical: float
    bar: float = 0.0
    checked: int = 0
    kinks: int = 0


@dataclass(frozen=True)
class Report:
    """What a gradient check found; print it, or show it in a notebook.

    Attributes
    ----------
    verdict : {"right", "wrong", "undecided"}
        "undecided": the numerical derivative is not exact enough here to say it.
    rows : list of Row
        One a tensor.
    method : {"complex", "central"}
        What the entries are compared with.
    step : float
        Its (first) step.
    witnesses : dict of str to str
        What each of the four says.
    where : Diagnosis
        The place: ``tensor``, ``step``, ``gates``, ``unit``, ``row``, ``fault`` (a cell's line).
    by_step, by_gate, by_unit : dict
        The largest relative error of each; where the function could be taken apart, of the gradient that reaches the
        pre-activations at each step, and of the gates and units at the first wrong step from the end.
    errors : dict of str to ndarray
        The relative error of each entry, NaN where it was not compared.
    findings : list of Finding
        What kind of mistake, in words.
    notes : list of str
    curve : list of (float, float)
        Step and error of the plain central difference at the worst entry.
    rtol : float
    evaluations : int
    seconds : float
    label : str
        What was checked.
    """

    verdict: str
    rows: list[Row]
    method: str
    step: float
    rtol: float
    label: str = ""
    witnesses: dict[str, str] = field(default_factory=dict)
    where: Diagnosis = field(default_factory=Diagnosis)
    errors: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    curve: list[tuple[float, float]] = field(default_factory=list)
    evaluations: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the gradients are right."""
        return self.verdict == "right"

    @property
    def worst(self) -> float:
        """The largest error of all."""
        return max((row.error for row in self.rows), default=0.0)

    @property
    def findings(self) -> list[Any]:
        return self.where.findings

    @property
    def kind(self) -> str:
        """The kind of the first finding; empty if nothing is wrong."""
        return self.findings[0].kind if self.findings and not self.ok else ""

    @property
    def by_step(self) -> dict[int, float]:
        return self.where.by_step

    @property
    def by_gate(self) -> dict[str, float]:
        return self.where.by_gate

    @property
    def by_unit(self) -> dict[int, float]:
        return self.where.by_unit

    def headline(self) -> str:
        """Return the verdict in a sentence."""
        checked, size = sum(row.checked for row in self.rows), sum(row.size for row in self.rows)
        entries = f"all {size:,} entries" if checked == size else f"{checked:,} of {size:,} entries"
        if self.verdict == "right":
            return f"right: {self.label}, {entries} agree with their definition to {self.worst:.1e}"
        if self.verdict == "undecided":
            return f"undecided: {self.label}; the numerical derivative is too inexact here (see the error bars)"
        names = [row.name for row in self.rows if row.error > self.rtol + row.bar]
        if not names:
            return f"wrong: {self.label}; {self.findings[0].words if self.findings else 'a witness disagrees'}"
        return f"wrong: {self.label}, the gradient of {_listed(names)}; worst relative error {self.worst:.2g}"

    def place(self) -> str:
        """Return where it goes wrong, in words; empty if nothing does, or nobody knows."""
        w, parts = self.where, []
        if self.ok:
            return ""
        if w.step is not None:
            left = (w.steps or 0) - 1
            first = ", the last one" if w.step == left else ""
            parts.append(f"step {w.step} of 0 to {left}{first}" if w.steps else f"step {w.step}")
        if w.gates:
            parts.append(f"gate{'s' if len(w.gates) > 1 else ''} {', '.join(w.gates)}")
        value = w.tensor or (w.fault.name if w.fault is not None else "")
        if value:
            parts.append(f"in {value}")
        if w.row is not None:
            parts.append(f"row {w.row} of the batch")
        if w.unit is not None and self.by_unit:
            bad = [u for u, e in self.by_unit.items() if e > 1e-5]
            parts.append(
                "all units"
                if len(bad) == len(self.by_unit) > 1
                else f"unit{'s' if len(bad) > 1 else ''} {_listed(bad)}"
            )
        return ", ".join(parts)

    def line(self) -> str:
        """Return the line of a cell that is wrong; empty if that is not known."""
        fault = self.where.fault
        if fault is None:
            return ""
        at = f"{fault.function} of {fault.cell}" + (f", line {fault.line}" if fault.line else "")
        return f"{at}: {fault.text or fault.name}"

    def lines(self) -> list[str]:
        """Return the report, without its tables, line by line."""
        out = [self.headline()]
        if not self.ok:
            out += [f"  {label:<6} {text}" for label, text in (("where", self.place()), ("line", self.line())) if text]
            out += [f"  {'what' if n == 0 else '':<6} {f.words}" for n, f in enumerate(self.findings)]
        out += [f"  note   {note}" for note in self.notes]
        return [part for text in out for part in _wrapped(text)]

    def __str__(self) -> str:
        widths = ("<20", ">9", ">12", ">10", "<13", ">13", ">14")
        head = " ".join(f"{title:{width}}" for title, width in zip(HEAD, widths, strict=True)).rstrip()
        table = [
            f"{r.name:<20} {_entries(r):>9} {r.error:>12.2e} {r.bar:>10.1e} {_index(r):<13} {r.analytic:>13.6e} "
            f"{r.numerical:>14.6e}"
            for r in self.rows
        ]
        out = [*self.lines(), "", head, *table]
        out += ["", *(f"{name:<20} {said}" for name, said in self.witnesses.items())]
        if not self.ok:
            for title, errors in (("step", self.by_step), ("gate", self.by_gate)):
                if len(errors) > 1:
                    out += [
                        "",
                        f"{title:<8}" + "".join(f"{key!s:>9}" for key in list(errors)[-12:]),
                        f"{'error':<8}" + "".join(f"{e:>9.0e}" for e in list(errors.values())[-12:]),
                    ]
        return "\n".join(out)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        colour = {"right": "#1a7f37", "wrong": "#cf222e", "undecided": "#9a6700"}[self.verdict]
        lines = [html.escape(line) for line in self.lines()]
        worst = max(self.worst, self.rtol)
        rows = "".join(
            f"<tr><td>{html.escape(r.name)}</td><td>{_entries(r)}</td><td style='background:{_shade(r.error, worst)}'>"
            f"{r.error:.2e}</td><td>{r.bar:.1e}</td><td>{_index(r)}</td><td>{r.analytic:.6e}</td>"
            f"<td>{r.numerical:.6e}</td></tr>"
            for r in self.rows
        )
        head = "".join(f"<th>{title}</th>" for title in HEAD)
        said = "".join(f"<li><b>{html.escape(k)}</b>: {html.escape(v)}</li>" for k, v in self.witnesses.items())
        parts = "".join(
            f"<table><tr><th>{title}</th>{''.join(f'<th>{html.escape(str(k))}</th>' for k in errors)}</tr>"
            f"<tr><td>error</td>{''.join(_cell(e, worst) for e in errors.values())}</tr></table>"
            for title, errors in (("step", self.by_step), ("gate", self.by_gate), ("unit", self.by_unit))
            if 1 < len(errors) <= 64 and not self.ok
        )
        return (
            f"<div><p style='color:{colour}'><b>{lines[0]}</b></p><p>{'<br>'.join(lines[1:])}</p>"
            f"<table><tr>{head}</tr>{rows}</table>{parts}<ul>{said}</ul></div>"
        )

    def to_json(self) -> str:
        """Return the report as JSON; errors of single entries are left out."""
        fault, w = self.where.fault, self.where
        content = {
            "verdict": self.verdict,
            "label": self.label,
            "worst": _number(float(self.worst)),
            "rtol": self.rtol,
            "method": self.method,
            "where": {
                "tensor": w.tensor, "step": w.step, "gates": list(w.gates), "unit": w.unit, "row": w.row,
                "line": None if fault is None else fault._asdict(),
            },
            "what": [{"kind": f.kind, "means": KINDS[f.kind], "words": f.words} for f in self.findings],
            "tensors": [{k: _number(v) for k, v in vars(row).items()} for row in self.rows],
            "by_step": {str(k): v for k, v in self.by_step.items()},
            "by_gate": self.by_gate,
            "by_unit": {str(k): v for k, v in self.by_unit.items()},
            "witnesses": self.witnesses,
            "curve": self.curve,
            "notes": self.notes,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
        }  # fmt: skip
        return json.dumps(content, indent=2)


def _wrapped(text: str) -> list[str]:
    """Return a line of the report in lines of at most 110 columns."""
    return textwrap.wrap(text, 110, subsequent_indent=" " * 9, break_long_words=False, break_on_hyphens=False)


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _cell(error: float, worst: float) -> str:
    return f"<td style='background:{_shade(error, worst)}'>{error:.0e}</td>"


def _entries(row: Row) -> str:
    return f"{row.checked}" if row.checked == row.size else f"{row.checked}/{row.size}"


def _index(row: Row) -> str:
    return str(row.index).replace(" ", "") if row.index else "()"


def _listed(values: Any) -> str:
    values = [str(v) for v in values]
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} and {values[-1]}" if values else "nothing"


def _shade(error: float, worst: float) -> str:
    """Return a colour: white for rounding, red for the worst error."""
    if not np.isfinite(error):
        return "rgb(255,128,128)"
    share = (np.log10(max(error, 1e-16)) + 16) / (np.log10(max(worst, 1e-15)) + 16)
    light = int(255 - 127 * min(max(share, 0), 1))
    return f"rgb(255,{light},{light})"
