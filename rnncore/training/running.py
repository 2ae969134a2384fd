"""Loss and metrics over the batches so far."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..metrics import Mean


class RunningMetrics:
    """Loss and metrics over the batches so far.

    Parameters
    ----------
    model : Trainer
        Its metrics are those that take in the batches; they forget what they had.
    by_step : bool
        Whether kept steps count alike in batches of all lengths: for batches that were made by length. Otherwise a
        batch counts by its rows, as in Keras.
    apart : bool
        Whether copies of the metrics take them in, as another `fit` or `evaluate` counts in the model's own.
    """

    def __init__(self, model: Any, by_step: bool = False, apart: bool = False):
        self.model, self.by_step, self.loss = model, by_step, Mean("loss")
        self._copies: list[Any] | None = [] if apart else None
        if not apart:
            model.reset_metrics()

    def add(self, value: float, y: Any, y_pred: np.ndarray, sample_weight: Any = None) -> None:
        """Take in a batch."""
        model, mask = self.model, self.model.output_mask
        if not model.metrics:
            model.make_metrics(y_pred.shape)
        if self._copies is not None and not self._copies:
            self._copies = copy.deepcopy(model.metrics)
            for metric in self._copies:
                metric.reset_state()
        for n, metric in enumerate(self.metrics):
            metric.by_step = self.by_step
            weights = () if n < model.unweighted else (sample_weight,)
            metric.update_state(y, y_pred, *weights, mask=mask)
        count = np.count_nonzero(mask) if self.by_step and mask is not None else len(y)
        self.loss.add(float(value) * count, float(count))

    @property
    def metrics(self) -> list[Any]:
        """Those that take in the batches, without the loss."""
        return self.model.metrics if self._copies is None else self._copies

    def values(self) -> list[Any]:
        """Return the means so far, the loss first."""
        return [metric.result() for metric in (self.loss, *self.metrics)]

    def logs(self) -> dict[str, Any]:
        """Return the means so far, by name and sorted by it, as Keras."""
        return dict(sorted(zip(self.model.metrics_names, self.values(), strict=False)))

    def get_state(self) -> list[dict[str, Any]]:
        """Return what all of them have taken in, the loss first."""
        return [metric.get_state() for metric in (self.loss, *self.metrics)]

    def set_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on from what `get_state` returned, or raise ValueError."""
        for metric, own in zip((self.loss, *self.metrics), states, strict=True):
            metric.set_state(own)
