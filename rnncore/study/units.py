"""Which unit follows what: sentiment, position, a word.

Sizes: B rows, T steps, H units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..configured import look_up
from ..layers.checks import checked_array
from .trace import Series, Trace, checked_trace


class Found(NamedTuple):
    """Units in the order in which they follow a label.

    Attributes
    ----------
    layer, name : str
        Whose units, and which of its series.
    units : ndarray of shape (H,), int
        Those that follow it most first, in either direction.
    correlations : ndarray of shape (H,)
        Of these units, in that order: Pearson's, 0 for one that is constant.
    values : int
        Over how many each.
    """

    layer: str
    name: str
    units: np.ndarray
    correlations: np.ndarray
    values: int

    def __repr__(self) -> str:
        best = ", ".join(f"{u} ({r:+.2f})" for u, r in zip(self.units[:5], self.correlations, strict=False))
        best += " …" * (len(self.units) > 5)
        return f"<units of {self.layer}.{self.name} by correlation over {self.values} values: {best}>"


def find_units(
    trace: Trace, labels: Any, *, name: str | None = None, layer: str | None = None, backwards: bool = False
) -> Found:
    """Return which units follow a label.

    Parameters
    ----------
    trace : Trace
    labels : array_like of shape (B,) or (B, T), or str
        A number a row (1 positive, 0 negative): the state after its last step that counts is compared. A number a step:
        all steps that count are. A word: whether it stands at the step (the trace has words). "position": which step of
        its row it is, from 0, padding not counted.
    name : str, optional
        A gate or state; default: the carry c, or h where there is none.
    layer : str, optional
        Default: the only recurrent layer.
    backwards : bool
        Whether the layer takes the steps from the last to the first, so that the last one taken is the first of x.

    Returns
    -------
    Found
    """
    if layer is None and len(checked_trace(trace)) > 1:
        raise ValueError(f"trace has the layers {', '.join(trace)}; say which one by layer=…")
    layer = next(iter(trace)) if layer is None else layer
    series = look_up(layer, trace, "layer")
    name = series.states[-1] if name is None else name
    values, mask = series[name], series.mask
    wanted = _labels(labels, trace, series)
    if wanted.ndim == 1:
        rows = np.flatnonzero(mask.any(axis=1))
        last = mask.argmax(axis=1) if backwards else mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
        values, wanted = values[rows, last[rows]], wanted[rows]
    else:
        values, wanted = values[mask], wanted[mask]
    correlations = _correlations(values.astype(np.float64), wanted)
    order = np.argsort(-np.abs(correlations), kind="stable")
    return Found(layer, name, order, correlations[order], len(wanted))


def _labels(labels: Any, trace: Trace, series: Series) -> np.ndarray:
    mask = series.mask
    if isinstance(labels, str) and labels == "position":
        return np.where(mask, mask.cumsum(axis=1) - 1.0, 0)
    if isinstance(labels, str):
        if trace.words is None or mask.shape != trace.mask.shape:
            raise ValueError("labels is a word, and the trace has no words; give them: trace(model, x, words=…)")
        found = np.array([[float(word == labels) for word in row] for row in trace.words])
        if not found[mask].any():
            raise ValueError(f"labels is {labels!r}, which stands at no step")
        return found
    found = checked_array(labels, "labels", "float", "float64")
    if found.shape == (*mask.shape[:1], 1):
        found = found[:, 0]
    if found.shape not in (mask.shape, mask.shape[:1]):
        raise ValueError(f"labels has shape {found.shape}; expected {mask.shape[:1]} or {mask.shape}")
    return found


def _correlations(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the correlation of each column of values, (n, H), with wanted, (n,)."""
    if len(wanted) < 2 or not np.ptp(wanted):
        raise ValueError("labels are all the same where they count; a unit can follow only what changes")
    values, wanted = values - values.mean(axis=0), wanted - wanted.mean()
    size = np.sqrt((values**2).sum(axis=0) * (wanted**2).sum())
    return np.divide(wanted @ values, size, out=np.zeros(values.shape[1]), where=size > 0)
