"""What a figure shows, drawn or as text: the steps of one row, the units chosen, curves by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..configured import look_up
from .jacobians import singular_values
from .paths import Paths
from .saliency import Saliency
from .trace import Series, Trace, checked_trace

MOST = 10  # looks that a figure has lines for: more would hide one another


class Row(NamedTuple):
    """One row of a trace, without the steps that it masks.

    Attributes
    ----------
    label : str
        ``lstm.f``.
    values : ndarray of shape (t, n)
        A column a unit.
    words : list of str
        A word a step, or the steps' numbers.
    units : ndarray of shape (n,), int
    """

    label: str
    values: np.ndarray
    words: list[str]
    units: np.ndarray


def row_of(trace: Trace, name: str, row: int = 0, units: Any = None, most: int | None = None) -> Row:
    """Return what a trace has under a name (``lstm.f``, or ``f`` where there is one layer) in one row.

    `units` chooses; default all, or where there are more than `most` those that move most, in their order.
    """
    label, series = named(trace, name)
    own = label[len(series.layer) + 1 :]
    values, kept = series[own], series.mask
    check_row(row, kept)
    steps = np.flatnonzero(kept[row])
    values = values[row, steps]
    if units is None:
        units = np.arange(values.shape[1])
        if most is not None and len(units) > most:
            units = np.sort(np.argsort(-values.std(axis=0), kind="stable")[:most])
    units = np.atleast_1d(units)
    if not np.isin(units, np.arange(values.shape[1])).all():
        raise ValueError(f"units are {units.tolist()}; there are {values.shape[1]}, from 0 to {values.shape[1] - 1}")
    named_steps = trace.words is not None and kept.shape == trace.mask.shape
    words = [trace.words[row][t] if named_steps else str(t) for t in steps]  # type: ignore[index]
    return Row(label, values[:, units], words, units)


def check_row(row: Any, kept: np.ndarray) -> None:
    """Raise ValueError if there is no such row, or, by (B, T), no step of it counts."""
    count = len(kept)
    if not isinstance(row, (int, np.integer)) or not -count <= row < count:
        raise ValueError(f"row is {row!r}; there are {count}, from 0 to {count - 1}")
    if not kept[row].any():
        raise ValueError(f"row {row} is padding only: there is nothing to show")


def named(trace: Trace, name: str) -> tuple[str, Series]:
    """Return the full name of a series, and its layer's; of a single layer its own name will do."""
    if name not in checked_trace(trace).names and len(trace) == 1:
        name = f"{next(iter(trace))}.{name}"
    look_up(name, dict.fromkeys(trace.names), "name")
    return name, next(series for layer, series in trace.items() if name.startswith(f"{layer}."))


def ways_of(paths: Paths, row: int, words: Sequence[str] | None) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the steps of one row that count, by word or number, and the norms of each way there, all ways first."""
    if not isinstance(paths, Paths):
        raise TypeError(f"paths is a {type(paths).__name__}; expected those of one layer: paths(model, x, y)['lstm']")
    kept = ~np.isnan(paths.line).any(axis=-1)
    check_row(row, kept)
    steps = _steps_of(kept[row], words)
    every = {"dc": paths.line + paths.output + paths.gates, **paths._asdict()}
    norms = {name: np.linalg.norm(values[row, [*steps]], axis=-1) for name, values in every.items()}
    return [*steps.values()], norms


def scores_of(saliency: Saliency, row: int) -> tuple[list[str], np.ndarray]:
    """Return the steps of one row that count, by word or number, and their scores."""
    kept = ~np.isnan(saliency.scores)
    check_row(row, kept)
    steps = _steps_of(kept[row], None if saliency.words is None else saliency.words[row])
    return [*steps.values()], saliency.scores[row, [*steps]]


def _steps_of(kept: np.ndarray, words: Sequence[str] | None) -> dict[int, str]:
    """Return what the steps that count are called."""
    if words is not None and (isinstance(words, str) or len(words) != len(kept)):
        raise ValueError(f"words has {len(words)} of them, the row {len(kept)} steps; expected a word a step")
    return {t: str(t) if words is None else words[t] for t in np.flatnonzero(kept).tolist()}


def spectrum_of(jacobians: np.ndarray, row: int) -> np.ndarray:
    """Return the singular values of one row's Jacobians, (t, n), at the steps that count."""
    kept = ~np.isnan(jacobians).any(axis=(-2, -1))
    check_row(row, kept)
    return singular_values(jacobians[row][kept[row]])


def shares_of(curves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return gradient norms as shares of that at the last step, where they are known."""
    known = {label: np.asarray(norms)[np.isfinite(norms)] for label, norms in curves.items()}
    for label, norms in known.items():
        if not len(norms):
            raise ValueError(f"curves: {label} is NaN at every step: there is nothing to show")
    return {label: norms / norms[-1] for label, norms in known.items()}


def extent_of(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of a scale: 0 to 1, -1 to 1, or as far as the values go on both sides of 0."""
    most = float(np.abs(values).max(initial=0)) or 1.0
    return (0.0, 1.0) if values.min(initial=0) >= 0 and most <= 1 else (-max(1.0, most), max(1.0, most))


def some(looks: Sequence[Any]) -> list[int]:
    """Return which of many looks are shown: the first, the last, and some between."""
    return sorted({int(n) for n in np.linspace(0, len(looks) - 1, min(len(looks), MOST)).round()})


def panels_of(history: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a callback's history by ``layer.name``."""
    if not history:
        raise ValueError("history is empty: fit(…, callbacks=[…]) looks, before the first epoch and after each")
    return {f"{layer}.{name}": looks for layer, own in history.items() for name, looks in own.items()}
