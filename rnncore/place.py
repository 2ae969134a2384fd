"""Where a `fit` stands, so that a run that was cut can go on there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import metrics as metric_classes
from .callbacks import Callback
from .layers.checks import flag, whole


class Running:
    """Loss and metrics over the batches so far."""

    def __init__(self, model: Any):
        self.model, self.loss = model, metric_classes.Mean("loss")
        for metric in model.metrics:
            metric.reset_state()

    def add(self, value: float, y: np.ndarray, y_pred: np.ndarray) -> None:
        """Take in a batch."""
        model = self.model
        if len(model.metrics) < len(model._metrics_asked):
            model.metrics = [metric_classes.get(asked, model.loss, y_pred.shape) for asked in model._metrics_asked]
        for metric in model.metrics:
            metric.update_state(y, y_pred, mask=model._mask)
        self.loss.update_state(value, len(y))

    def metrics(self) -> list[Any]:
        """Return all of them, the loss first."""
        return [self.loss, *self.model.metrics]

    def logs(self) -> dict[str, float]:
        """Return their means so far, by name."""
        return {metric.name: metric.result() for metric in self.metrics()}


class Place:
    """Where a `fit` stands: what comes next, and what the epoch has so far. It can be written down and gone back to.

    Attributes
    ----------
    epoch : int
        Of the next batch, from 0.
    batch : int
        The next one, from 0; `steps` when only the validation is left.
    order : ndarray of shape (N,), int, or None
        The samples as the epoch takes them; None between two epochs.
    steps : int
        Batches in an epoch.
    over : bool
        Whether training was stopped before it was written down.
    callbacks : list of Callback
    """

    def __init__(self, model: Any, callbacks: Sequence[Callback], epoch: int, count: int, size: int):
        self.model, self.callbacks, self.count, self.size = model, callbacks, count, size
        self.steps = -(-count // size)
        self.epoch, self.batch, self.over = epoch, 0, False
        self.order: np.ndarray | None = None
        self.running: Running | None = None

    def begin_epoch(self, order: np.ndarray) -> None:
        """Take the samples in `order`, from the first batch on."""
        self.batch, self.order, self.running = 0, order, Running(self.model)

    def end_epoch(self) -> None:
        """Go on to the next epoch, which has no order yet."""
        self.epoch, self.batch, self.order, self.running = self.epoch + 1, 0, None, None

    def rows(self, batch: int) -> np.ndarray:
        """Return the samples of a batch."""
        return self.order[batch * self.size : (batch + 1) * self.size]

    def get_state(self) -> dict[str, Any]:
        """Return all this in plain values and arrays, with what the callbacks remember."""
        return {
            **{name: getattr(self, name) for name in ("count", "size", "epoch", "batch", "order")},
            "stopped": self.model.stop_training,
            "metrics": None if self.running is None else [metric.get_state() for metric in self.running.metrics()],
            "callbacks": {
                name: [callback.get_state() for callback in kind] for name, kind in self._callbacks_by_class().items()
            },
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `get_state` returned; callbacks that are new begin anew.

        Raises
        ------
        ValueError
            It was another number of samples, or another batch size, or something is no such state.
        """
        for name, what in (("count", "samples"), ("size", "samples a batch")):
            if state[name] != getattr(self, name):
                raise ValueError(f"training was cut with {state[name]} {what}; now there are {getattr(self, name)}")
        self.epoch, order = whole(state["epoch"], "epoch"), state["order"]
        if order is not None:
            if order.dtype != np.int64 or not np.array_equal(np.sort(order), np.arange(self.count)):
                raise ValueError(f"the epoch's order is none of {self.count} samples")
            self.begin_epoch(order)
            for metric, own in zip(self.running.metrics(), state["metrics"], strict=True):
                metric.set_state(own)
        self.model.stop_training = flag(state["stopped"], "stopped")
        self.over = self.model.stop_training and order is None
        self.batch = self.steps if self.model.stop_training else min(whole(state["batch"], "batch"), self.steps)
        for name, kind in self._callbacks_by_class().items():
            for callback, own in zip(kind, state["callbacks"].get(name, ()), strict=False):
                callback.set_state(own)

    def _callbacks_by_class(self):
        found = {}
        for callback in self.callbacks:
            found.setdefault(type(callback).__name__, []).append(callback)
        return found
