"""Looks inside while a model is trained: what `trace` and `gradient_flow` show, at the beginning and every so often."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .. import config
from ..callbacks import Callback, frequency
from ..layers.base import Layer, expected_weights
from .flow import gradient_flow
from .passes import recurrent_layers
from .plots import plot_flow, plot_gates
from .trace import trace

SATURATED = 0.1  # how near to 0, or to 1, a value is that counts as being there


class _Look(Callback):
    """Base of the looks inside: a subclass says what is seen in `look`.

    A twin of the model, with its weights, is looked into: training goes on as if nobody had looked, bit for bit.
    """

    remembers = ("batches", "history", "_seen")

    def __init__(self, update_freq: str | int):
        self.update_freq = frequency(update_freq, f"{type(self).__name__}: update_freq")

    def on_train_begin(self, logs=None):
        recurrent_layers(self.model)
        with config.seeds_apart():
            self._twin = self.model.clone()
        with expected_weights(self.model.weights):  # nothing is drawn
            self._twin.build(self.model.input_shape)
        self._twin.loss = self.model.loss
        self.batches: list[int] = []
        self.history: dict[str, dict[str, Any]] = {}
        self._seen = 0
        self._record()

    def on_train_batch_end(self, batch, logs=None):
        self._seen += 1
        if self.update_freq != "epoch" and self._seen % self.update_freq == 0:
            self._record()

    def on_epoch_end(self, epoch, logs=None):
        if self.update_freq == "epoch":
            self._record()

    def on_train_end(self, logs=None):
        self._twin = None

    def _record(self):
        self._twin.set_weights(self.model.get_weights())
        for part in self._twin.walk():
            if hasattr(part, "reset_state"):
                part.reset_state()
        for layer, series in self.look(self._twin).items():
            kept = self.history.setdefault(layer, {})
            for name, value in series.items():
                _append(kept, name, value)
        self.batches.append(self._seen)

    def look(self, model: Layer) -> dict[str, dict[str, Any]]:
        """Return what is kept, by the layer's name and its own: a number, a list of them, or numbers by name."""
        raise NotImplementedError


class GradientFlow(_Look):
    """How far back the gradient reaches: its norm at each step of each recurrent layer, while a model is trained.

    Parameters
    ----------
    x, y, sample_weight
        A batch to look at, as in `fit`; the same one each time. `gradient_flow` says what is seen.
    update_freq : "epoch" or int
        After every epoch, or every so many batches; and once before the first.

    Attributes
    ----------
    batches : list of int
        How many batches had been trained on, at each look.
    history : dict of str to dict of str to list of list of float
        By layer name: ``dh``, ``dc`` …, a list a look, of T numbers: the norm at each step, the mean over the rows.

    Examples
    --------
    >>> flow = GradientFlow(x[:32], y[:32])
    >>> history = model.fit(x, y, epochs=5, verbose=0, callbacks=[flow])
    >>> np.shape(flow.history["lstm"]["dc"])  # looks and steps: the first look is before training
    (6, 12)
    >>> path = flow.plot("flow.png")
    """

    def __init__(self, x: Any, y: Any, sample_weight: Any = None, update_freq: str | int = "epoch"):
        super().__init__(update_freq)
        self.x, self.y, self.sample_weight = x, y, sample_weight

    def look(self, model):
        flow = gradient_flow(model, self.x, self.y, self.sample_weight)
        return {
            layer: {name: mean_over_rows(norms).tolist() for name, norms in own.items()} for layer, own in flow.items()
        }

    def plot(self, path: str | os.PathLike, title: str = "") -> Path:
        """Draw the norms against the steps, a line a look, the last one darkest: see `plots.plot_flow`."""
        return plot_flow(self.history, self.batches, path, title)


class GateRecorder(_Look):
    """What gates and states are like, while a model is trained: their means, and how many are near 0 or near 1.

    Parameters
    ----------
    x : array_like
        A batch to look at, as in `fit`; the same one each time. Steps that are masked do not count.
    update_freq : "epoch" or int
        As in `GradientFlow`.

    Attributes
    ----------
    batches : list of int
        How many batches had been trained on, at each look.
    history : dict of str to dict of str to dict of str to list of float
        By layer name and gate or state (an LSTM's ``i``, ``f``, ``k``, ``o``, ``c``, ``h``), a number a look:
        ``mean``; ``low``, the share of values v with |v| < 0.1; ``high``, that of |v| > 0.9. A gate in (0, 1) is
        saturated at both ends [1]_; what goes from -1 to 1, such as k, is where it is high.

    References
    ----------
    .. [1] A. Karpathy, J. Johnson, L. Fei-Fei, "Visualizing and understanding recurrent networks", 2015, section 4.2.

    Examples
    --------
    >>> gates = GateRecorder(x[:32])
    >>> history = model.fit(x, y, epochs=5, verbose=0, callbacks=[gates])
    >>> [round(mean, 2) for mean in gates.history["lstm"]["f"]["mean"]]  # before training, then after each epoch
    [0.73, 0.73, 0.73, 0.73, 0.73, 0.73]
    >>> path = gates.plot("gates.png")
    """

    def __init__(self, x: Any, update_freq: str | int = "epoch"):
        super().__init__(update_freq)
        self.x = x

    def look(self, model):
        return {
            name: {each: _statistics(series[each][series.mask]) for each in (*series.gates, *series.states)}
            for name, series in trace(model, self.x).items()
        }

    def plot(self, path: str | os.PathLike, title: str = "") -> Path:
        """Draw the gates' means and saturated shares against the batches: see `plots.plot_gates`."""
        return plot_gates(self.history, self.batches, path, title)


def mean_over_rows(values: np.ndarray) -> np.ndarray:
    """Return the mean over the rows at each step, of those that are not masked there; NaN where all are."""
    counts = np.sum(~np.isnan(values), axis=0)
    return np.where(counts, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)


def _statistics(values: np.ndarray) -> dict[str, float]:
    size = np.abs(values)
    shares = {"mean": values, "low": size < SATURATED, "high": size > 1 - SATURATED}
    return {name: float(np.mean(part, dtype=np.float64)) if part.size else 0.0 for name, part in shares.items()}


def _append(kept: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, dict):
        for inner, part in value.items():
            _append(kept.setdefault(name, {}), inner, part)
    else:
        kept.setdefault(name, []).append(value)
