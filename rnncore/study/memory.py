"""How long units remember, which are saturated, which do nothing, and how fast the weights move.

Sizes: B rows, T steps, H units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..layers.base import Layer
from ..layers.rnn_cells import RecurrentCell
from .jacobians import jacobian
from .passes import recurrent_layer, single_cell
from .trace import Series, Trace, checked_trace, trace
from .weights import by_gate

NEAR = 0.1  # how near to 0, or to 1, a value is that counts as being there


class HalfLife(NamedTuple):
    """After how many steps half of what a unit carries is gone; inf: it stays.

    Attributes
    ----------
    gate : ndarray of shape (H,)
        By the geometric mean of the gate that keeps the state (an LSTM's f, a GRU's z); NaN for a cell without one.
    measured : ndarray of shape (H,)
        By the Jacobian: the length of each unit's column, ‖∂s_T/∂s_t[j]‖, falls by a half; the slope of its logarithm
        over the distance, by least squares over steps and rows. It has the ways through the gates as well.
    """

    gate: np.ndarray
    measured: np.ndarray

    def __repr__(self) -> str:
        told = (f"{name} {np.min(own):.3g} … {np.max(own):.3g}" for name, own in self._asdict().items())
        return f"<half-lives of {len(self.gate)} units, in steps: {', '.join(told)}>"


KEEPS = {"f": "c", "z": "h"}  # the gate that a state is multiplied by from step to step, in the cells that are here


def half_life(model: Layer, x: Any, *, layer: str | None = None, mask: Any = None) -> HalfLife:
    """Return the half-life of each unit's memory, in steps: by its gate, and as its Jacobian decays.

    Parameters
    ----------
    model : Layer
        A recurrent layer, or a model: of several recurrent layers `layer` names one.
    x, mask
        As in `trace`.
    """
    chosen = recurrent_layer(model, layer)
    series = trace(model, x, mask=mask)[chosen.name]
    known = ((gate, state) for gate, state in KEEPS.items() if gate in series.gates and state in series.states)
    gate, state = next(known, (None, series.states[-1]))
    size = np.full(single_cell(chosen).units, np.nan)
    with np.errstate(divide="ignore"):
        if gate is not None:
            size = _halved(np.log(np.abs(series[gate][series.mask]).astype(np.float64)).mean(axis=0))
        columns = np.linalg.norm(jacobian(model, x, of=state, wrt=state, layer=chosen.name, mask=mask), axis=2)
        logs = np.log(columns.astype(np.float64))  # (B, T, H)
    ahead = series.mask[:, :: 1 if chosen.go_backwards else -1].cumsum(axis=1) - 1.0  # counted steps after each
    ahead = ahead[:, :: 1 if chosen.go_backwards else -1]
    return HalfLife(size, _halved(_slopes(ahead, logs)))


def _slopes(distance: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Return the least-squares slope of each unit's logarithm over the distance, of what is finite."""
    found = np.full(logs.shape[-1], np.nan)
    for unit in range(len(found)):
        known = np.isfinite(logs[..., unit])
        d, v = distance[known], logs[..., unit][known]
        if len(d) and np.ptp(d):
            found[unit] = np.polyfit(d, v, 1)[0]
    return found


def _halved(rates: np.ndarray) -> np.ndarray:
    """Return after how many steps a half is left, the logarithm changing by `rates` a step; inf if it does not fall."""
    with np.errstate(divide="ignore"):
        return np.where(rates < 0, -np.log(2) / np.minimum(rates, -0.0), np.where(np.isnan(rates), np.nan, np.inf))


class Saturation(NamedTuple):
    """The shares of steps at which each unit is near 0 (``low``: |v| < near) and near 1 (``high``: |v| > 1 - near)."""

    low: np.ndarray
    high: np.ndarray

    def __repr__(self) -> str:
        return f"<of {len(self.low)} units, on the average: low {self.low.mean():.3f}, high {self.high.mean():.3f}>"


def saturation(found: Trace, near: float = NEAR) -> dict[str, dict[str, Saturation]]:
    """Return how much of the time each unit's gates are saturated [1]_.

    Parameters
    ----------
    found : Trace
        What `trace` returned.
    near : float
        What counts as 0, and as 1.

    Returns
    -------
    dict of str to dict of str to Saturation of ndarray of shape (H,)
        By layer and gate. A gate in (0, 1) is saturated at both ends; what goes from -1 to 1, as the candidate, is
        where it is high.

    References
    ----------
    .. [1] Karpathy, Johnson, Fei-Fei, "Visualizing and understanding recurrent networks", 2015, section 4.2.
    """
    return {
        layer: {gate: at_ends(series[gate][series.mask], near) for gate in series.gates}
        for layer, series in checked_trace(found).items()
    }


def at_ends(values: np.ndarray, near: float) -> Saturation:
    """Return the shares of values, (N, …), that are near 0 and near 1 or -1: NaN where there are none."""
    size = np.abs(values)
    if not len(values):
        return Saturation(*(np.full(size.shape[1:], np.nan) for _ in range(2)))
    return Saturation(*(part.mean(axis=0, dtype=np.float64) for part in (size < near, size > 1 - near)))


def dead_units(found: Trace, within: float = 1e-3) -> dict[str, np.ndarray]:
    """Return the units that do nothing: whose output h hardly differs from one constant at all steps of all rows.

    Parameters
    ----------
    found : Trace
    within : float
        How far from its mean it goes at most.

    Returns
    -------
    dict of str to ndarray of int
        By layer (of an RNN of several cells by the name of each h, ``rnn.lstm_cell.h``): the units' numbers.
    """
    return {
        layer if len(outputs) == 1 else f"{layer}.{name}": _constant(series, name, within)
        for layer, series in checked_trace(found).items()
        for outputs in [[name for name in series.states if name.split(".")[-1] == "h"]]
        for name in outputs
    }


def _constant(series: Series, name: str, within: float) -> np.ndarray:
    values = series[name][series.mask]
    if not len(values):
        return np.arange(0)
    return np.flatnonzero(np.abs(values - values.mean(axis=0)).max(axis=0) <= within)


def update_ratios(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return how far each weight has moved, ‖after - before‖ / ‖before‖: about 1e-3 a step is a usual pace.

    Parameters
    ----------
    before, after : mapping of str to ndarray
        As from `named_weights`, at two times.
    """
    found = {}
    for name, old in before.items():
        size, moved = np.linalg.norm(old), np.linalg.norm(np.asarray(after[name], np.float64) - old)
        found[name] = float(moved / size) if size else float("inf") if moved else 0.0
    return found


def named_weights(model: Layer) -> dict[str, np.ndarray]:
    """Return copies of a model's weights by layer, and of recurrent layers by gate: ``lstm.f.kernel``."""
    found: dict[str, np.ndarray] = {}
    for part in model.leaves():
        own = {name: getattr(part, name) for name in part.own_weights}
        cut = by_gate(part, own) if isinstance(part, RecurrentCell) else None
        for gate, weights in {"": own}.items() if cut is None else cut.items():
            found |= {".".join(filter(None, (part.name, gate, name))): w.copy() for name, w in weights.items()}
    return found
