"""Looks inside while a model is trained: what `trace` and `gradient_flow` show, at the beginning and every so often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import config
from ..callbacks import Callback, frequency
from ..gradcheck.problem import told
from ..layers.scopes import expected_weights
from . import text
from .flow import gradient_flow
from .memory import NEAR, at_ends, named_weights, update_ratios
from .plots import Where, plot_flow, plot_gates
from .trace import trace

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Watch(Callback):
    """Look at a model again and again while it is trained, with any function of the study.

    A twin of the model, with its weights, is looked into: training goes on as if nobody had looked, bit for bit.

    Parameters
    ----------
    look : callable
        Of the model; returns numbers, arrays, or these by name, nested as you like (named tuples are by name, too).
    update_freq : "epoch" or int
        After every epoch, or every so many batches; and once before the first.

    Attributes
    ----------
    batches : list of int
        How many batches had been trained on, at each look.
    history : dict
        What the looks returned, by the same names, a list with an entry a look; under ``value`` where there was no
        name.

    Examples
    --------
    >>> from rnncore.study import saturation, trace
    >>> watch = Watch(lambda model: saturation(trace(model, x[:32])))
    >>> history = model.fit(x, y, epochs=5, verbose=0, callbacks=[watch])
    >>> np.shape(watch.history["lstm"]["f"]["high"])  # before training and after each epoch, of each unit
    (6, 4)
    """

    remembers: tuple[str, ...] = ("batches", "history", "_seen")

    def __init__(self, look: Callable[[Any], Any], update_freq: str | int = "epoch"):
        if not callable(look):
            raise TypeError(f"{type(self).__name__}: look is {told(look)}; expected a function of the model")
        self.look = look
        self.update_freq = frequency(update_freq, f"{type(self).__name__}: update_freq")
        self.batches: list[int] = []
        self.history: dict[str, Any] = {}

    def on_train_begin(self, logs=None):
        with config.seeds_apart():
            self._twin = self.model.clone()
        with expected_weights(self.model.weights):  # nothing is drawn
            self._twin.build(self.model.input_shape)
        self._twin.loss = self.model.loss
        self.batches, self.history, self._seen = [], {}, 0
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
        _append(self.history, "value", self.look(self._twin))
        self.batches.append(self._seen)


class GradientFlow(Watch):
    """How far back the gradient reaches: its norm at each step of each recurrent layer, while a model is trained.

    Parameters
    ----------
    x, y, sample_weight
        A batch to look at, as in `fit`; the same one each time. `gradient_flow` says what is seen.
    update_freq : "epoch" or int
        As in `Watch`.

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
    """

    def __init__(self, x: Any, y: Any, sample_weight: Any = None, update_freq: str | int = "epoch"):
        super().__init__(self._flow, update_freq)
        self.x, self.y, self.sample_weight = x, y, sample_weight

    def _flow(self, model):
        flow = gradient_flow(model, self.x, self.y, self.sample_weight)
        return {
            layer: {name: mean_over_rows(norms).tolist() for name, norms in own.items()} for layer, own in flow.items()
        }

    def plot(self, path: Where = None, title: str = "") -> Any:
        """Draw the norms against the steps, a line a look, the last one darkest: see `plots.plot_flow`."""
        return plot_flow(self.history, self.batches, path, title)

    def __str__(self) -> str:
        return text.flow(self.history, self.batches)


class GateRecorder(Watch):
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
        ``mean``; ``low``, the share of values v with |v| < 0.1; ``high``, that of |v| > 0.9; and ``quantiles``, a list
        a look: of 5, 25, 50, 75 and 95 %. A gate in (0, 1) is saturated at both ends [1]_; what goes from -1 to 1, such
        as k, is where it is high.

    References
    ----------
    .. [1] A. Karpathy, J. Johnson, L. Fei-Fei, "Visualizing and understanding recurrent networks", 2015, section 4.2.

    Examples
    --------
    >>> gates = GateRecorder(x[:32])
    >>> history = model.fit(x, y, epochs=5, verbose=0, callbacks=[gates])
    >>> [round(mean, 2) for mean in gates.history["lstm"]["f"]["mean"]]  # before training, then after each epoch
    [0.73, 0.73, 0.73, 0.73, 0.73, 0.73]
    """

    def __init__(self, x: Any, update_freq: str | int = "epoch"):
        super().__init__(self._gates, update_freq)
        self.x = x

    def _gates(self, model):
        return {
            name: {each: _statistics(series[each][series.mask]) for each in (*series.gates, *series.states)}
            for name, series in trace(model, self.x).items()
        }

    def plot(self, path: Where = None, title: str = "") -> Any:
        """Draw how gates and states are distributed, against the batches: see `plots.plot_gates`."""
        return plot_gates(self.history, self.batches, path, title)

    def __str__(self) -> str:
        return text.gates(self.history, self.batches)


class UpdateRatios(Watch):
    """How far the weights go from one look to the next, relative to their size: of recurrent layers gate by gate.

    Parameters
    ----------
    update_freq : "epoch" or int
        As in `Watch`.

    Attributes
    ----------
    batches : list of int
        How many batches had been trained on, at each look.
    history : dict of str to list of float
        By the names of `named_weights` (``lstm.f.kernel``): see `update_ratios`; 0 at the first look.
    """

    remembers = (*Watch.remembers, "_before")

    def __init__(self, update_freq: str | int = "epoch"):
        super().__init__(self._ratios, update_freq)

    def on_train_begin(self, logs=None):
        self._before: dict[str, np.ndarray] = {}
        super().on_train_begin(logs)

    def _ratios(self, model):
        now = named_weights(model)
        before, self._before = self._before or now, now
        return update_ratios(before, now)


def mean_over_rows(values: np.ndarray) -> np.ndarray:
    """Return the mean over the rows at each step, of those that are not masked there; NaN where all are."""
    counts = np.sum(~np.isnan(values), axis=0)
    return np.where(counts, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)


def _statistics(values: np.ndarray) -> dict[str, Any]:
    values = values.astype(np.float64)
    if not values.size:
        return {"mean": 0.0, "low": 0.0, "high": 0.0, "quantiles": [0.0] * len(QUANTILES)}
    low, high = map(float, at_ends(values.ravel(), NEAR))
    return {
        "mean": float(values.mean()),
        "low": low,
        "high": high,
        "quantiles": np.quantile(values, QUANTILES).tolist(),
    }


def _append(kept: dict[str, Any], name: str, value: Any) -> None:
    """Append what a look returned to the lists that are kept of it."""
    value = value._asdict() if hasattr(value, "_asdict") else value
    if isinstance(value, Mapping):
        inner = kept if name == "value" else kept.setdefault(name, {})
        for own, part in value.items():
            _append(inner, str(own), part)
    else:
        kept.setdefault(name, []).append(value.item() if isinstance(value, np.generic) else value)
