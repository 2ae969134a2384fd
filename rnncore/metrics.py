"""Metrics: running means over batches, under Keras's names and with its arithmetic.

A metric takes one value a position, shape (B, ...), and keeps two numbers: the total of each sample's weighted mean
over its positions, and the count, the total of each sample's mean weight. The mask counts as weights of 0 and 1.
Within a batch of sequences this is the mean over kept steps. Over batches of different lengths T a kept step
weighs 1/T of its batch: that is Keras's arithmetic too.

Totals are Python floats, so a long epoch does not lose counts as float32 totals would.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import losses
from .configured import Configured, resolve, snake_case


class Metric(Configured):
    """Base of the metrics.

    Parameters
    ----------
    name : str, optional
        What it is called in logs; the class's name in snake case when not given.
    """

    def __init__(self, name: str | None = None):
        self.name = name or snake_case(type(self).__name__)
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Take in a batch; arguments as in `rnncore.losses.Loss`."""
        raise NotImplementedError

    def result(self) -> float:
        """Return the value over all batches since the last `reset_state`."""
        raise NotImplementedError

    def reset_state(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def get_state(self) -> dict[str, Any]:
        """Return what the metric has taken in: its attributes that are no constructor's arguments."""
        return {
            name: value for name, value in vars(self).items() if name not in inspect.signature(type(self)).parameters
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned, or raise ValueError if it is not of such a metric."""
        own = self.get_state()
        kinds, given = ({name: (type(v), np.shape(v)) for name, v in each.items()} for each in (own, state))
        if kinds != given:
            raise ValueError(
                f"metric {self.name!r}: its state has {', '.join(own)}; got {', '.join(state)}, or other shapes"
            )
        vars(self).update(state)


class Mean(Metric):
    """The weighted mean of values; 0 before there are any."""

    def reset_state(self) -> None:
        self.total, self.count = 0.0, 0.0

    def update_state(self, values: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Take in values.

        Parameters
        ----------
        values : array_like of shape (B, ...), or a number
        sample_weight, mask : array_like, optional
            Of the values' shape or one that broadcasts to it; (B,) is a weight a sample.

        Raises
        ------
        ValueError
            A shape does not fit.
        """
        values = np.asarray(values, dtype=float)
        weights = losses.merged_weights(sample_weight, mask, values.shape, values.dtype, rescaled=False)
        weights = np.broadcast_to(1.0 if weights is None else weights, values.shape)
        positions = max(1, math.prod(values.shape[1:]))
        self.total += float((values * weights).sum()) / positions
        self.count += float(weights.sum()) / positions

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0


class _MeanOf(Mean):
    """The mean of a value that y_true and y_pred give: a subclass says which."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        super().update_state(self.values(y_true, losses.as_floats(y_pred)), sample_weight, mask)

    def values(self, y_true: Any, y_pred: np.ndarray) -> np.ndarray:
        """Return one value a position, from y_pred of shape (B, ..., C)."""
        raise NotImplementedError


class BinaryAccuracy(_MeanOf):
    """How often y_pred is above `threshold` where y_true is 1, and not where it is 0; each output counts by itself.

    Parameters
    ----------
    name : str, optional
    threshold : float
        A prediction of just `threshold` counts as 0.
    """

    def __init__(self, name: str | None = None, *, threshold: float = 0.5):
        super().__init__(name)
        self.threshold = float(threshold)

    def values(self, y_true, y_pred):
        return (y_pred > self.threshold) == losses.fitted(y_true, y_pred)


class CategoricalAccuracy(_MeanOf):
    """How often the largest entry of y_pred stands where that of a one-hot y_true does."""

    def values(self, y_true, y_pred):
        return y_pred.argmax(axis=-1) == losses.fitted(y_true, y_pred).argmax(axis=-1)


class SparseCategoricalAccuracy(_MeanOf):
    """How often the largest entry of y_pred stands where y_true, a class by its number, says."""

    def values(self, y_true, y_pred):
        return y_pred.argmax(axis=-1) == losses.fitted_classes(y_true, y_pred)


class MeanSquaredError(_MeanOf):
    """The mean of (y_pred - y_true)²."""

    def values(self, y_true, y_pred):
        return losses.mean_squared_error(y_true, y_pred)


def get(
    identifier: str | Mapping[str, Any] | type | Metric,
    loss: Any = None,
    output_shape: tuple[int | None, ...] | None = None,
) -> Metric:
    """Return a metric from itself, its class, a Keras name or a ``{"class_name", "config"}``.

    A metric found by a name keeps the name as it was typed, as in Keras's logs.

    Parameters
    ----------
    identifier : str, mapping, class or Metric
        ``"accuracy"`` and ``"acc"`` stand for the accuracy that fits: binary for one output (C = 1), sparse
        categorical where targets are classes by number, categorical otherwise. Thus several sigmoid outputs
        get categorical accuracy, as in Keras; ask for ``"binary_accuracy"`` there.
    loss : Loss or its name, optional
        Tells whether targets are classes by number. (Keras looks at y_true's shape, which follows.)
    output_shape : tuple, optional
        Shape of y_pred, or only its last axis; needed for ``"accuracy"``.

    Raises
    ------
    ValueError, TypeError
        There is no such metric; ``"accuracy"`` without an `output_shape`.
    """
    if isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc"):
        if not output_shape:
            raise ValueError(f"output_shape is {output_shape!r}; {identifier!r} needs the shape of y_pred")
        sparse = loss is not None and isinstance(losses.get(loss), losses.SparseCategoricalCrossentropy)
        cls = BinaryAccuracy if output_shape[-1] == 1 else SparseCategoricalAccuracy if sparse else CategoricalAccuracy
        return cls(identifier)
    metric = resolve(identifier, _NAMES, Metric, "metric")
    if isinstance(identifier, str):
        metric.name = identifier
    return metric


_NAMES = {
    **{
        name: cls
        for cls in (BinaryAccuracy, CategoricalAccuracy, Mean, MeanSquaredError, SparseCategoricalAccuracy)
        for name in (cls.__name__, snake_case(cls.__name__))
    },
    "MSE": MeanSquaredError,
    "mse": MeanSquaredError,
}
