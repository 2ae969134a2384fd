"""Metrics that are means: how often a prediction is right, and losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .. import losses
from ..config import floatx
from ..configured import snake_case
from .base import MeanOf


class _Share(MeanOf):
    """How often something is right."""

    direction = "max"


class Accuracy(_Share):
    """How often y_pred equals y_true."""

    def values(self, y_true, y_pred):
        return y_pred == losses.fitted(y_true, y_pred)


class BinaryAccuracy(_Share):
    """How often y_pred is above `threshold` where y_true is 1, and not where it is 0; each output counts by itself.

    Parameters
    ----------
    name, dtype : str, optional
        See `Metric`.
    threshold : float
        A prediction of just `threshold` counts as 0.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None, threshold: float = 0.5):
        super().__init__(name, dtype)
        self.threshold = float(threshold)

    def values(self, y_true, y_pred):
        return (y_pred > self.threshold) == losses.fitted(y_true, y_pred)


class CategoricalAccuracy(_Share):
    """How often the largest entry of y_pred stands where that of a one-hot y_true does."""

    def values(self, y_true, y_pred):
        return y_pred.argmax(axis=-1) == losses.fitted(y_true, y_pred).argmax(axis=-1)


class SparseCategoricalAccuracy(_Share):
    """How often the largest entry of y_pred stands where y_true, a class by its number, says."""

    def values(self, y_true, y_pred):
        return y_pred.argmax(axis=-1) == losses.fitted_classes(y_true, y_pred)


class TopKCategoricalAccuracy(_Share):
    """How often fewer than `k` entries of y_pred are larger than the one that a one-hot y_true says.

    Parameters
    ----------
    k : int
        At least 1.
    name, dtype : str, optional
        See `Metric`.
    """

    def __init__(self, k: int = 5, name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        if k < 1:
            raise ValueError(f"k is {k!r}; expected a whole number of at least 1")
        self.k = int(k)

    def values(self, y_true, y_pred):
        return self._among_the_first(losses.fitted(y_true, y_pred).argmax(axis=-1), y_pred)

    def _among_the_first(self, ids, y_pred):
        known = (ids >= 0) & (ids < y_pred.shape[-1])
        own = np.take_along_axis(y_pred, np.where(known, ids, 0).astype(np.int64)[..., None], axis=-1)
        return known & np.isfinite(own[..., 0]) & ((y_pred > own).sum(axis=-1) < self.k)


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """How often fewer than `k` entries of y_pred are larger than that of y_true, a class by its number.

    Parameters
    ----------
    k : int
        At least 1.
    name, dtype : str, optional
        See `Metric`.
    from_sorted_ids : bool
        y_pred holds classes by number, the likeliest first, and y_true is looked for among the first `k`.
    """

    def __init__(self, k: int = 5, name: str | None = None, dtype: str | None = None, from_sorted_ids: bool = False):
        super().__init__(k, name, dtype)
        self.from_sorted_ids = bool(from_sorted_ids)

    def values(self, y_true, y_pred):
        ids = losses.fitted_classes(y_true, y_pred)
        if self.from_sorted_ids:
            return (y_pred[..., : self.k] == ids[..., None]).any(axis=-1)
        return self._among_the_first(ids, y_pred)


def _by_position(cls: type[MeanOf]) -> Callable[..., np.ndarray]:
    """Return Keras's function for a metric: its values, not averaged."""

    def function(y_true: Any, y_pred: Any, **options: Any) -> np.ndarray:
        return cls(**options).values(y_true, losses.as_floats(y_pred)).astype(floatx())

    function.direction = cls.direction  # type: ignore[attr-defined]
    function.__name__ = function.__qualname__ = snake_case(cls.__name__)
    function.__doc__ = f"Return what `{cls.__name__}`, made with `options`, is the mean of."
    return function


binary_accuracy = _by_position(BinaryAccuracy)
categorical_accuracy = _by_position(CategoricalAccuracy)
sparse_categorical_accuracy = _by_position(SparseCategoricalAccuracy)
top_k_categorical_accuracy = _by_position(TopKCategoricalAccuracy)
sparse_top_k_categorical_accuracy = _by_position(SparseTopKCategoricalAccuracy)


# --- losses as metrics ----------------------------------------------------------------------------------------------


class _MeanLoss(MeanOf):
    """The mean of what one of Keras's functions gives for a position."""

    direction = "min"
    function: ClassVar[Callable[..., np.ndarray]]

    def values(self, y_true, y_pred):
        return self.function(y_true, y_pred)


class _MeanCrossentropy(_MeanLoss):
    """The mean of a crossentropy; a subclass says which options of the loss there are."""

    loss: ClassVar[type[losses.Loss]]

    def __init__(self, name: str | None, dtype: str | None, **options: Any):
        super().__init__(name, dtype)
        self._loss = self.loss(reduction=None, **options)
        vars(self).update({option: getattr(self._loss, option) for option in options})

    def values(self, y_true, y_pred):
        return self._loss(y_true, y_pred)


class _Binary(_MeanCrossentropy):
    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ):
        super().__init__(name, dtype, from_logits=from_logits, label_smoothing=label_smoothing)


class _Categorical(_MeanCrossentropy):
    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ):
        super().__init__(name, dtype, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis)


class _Sparse(_MeanCrossentropy):
    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(name, dtype, from_logits=from_logits, ignore_class=ignore_class, axis=axis)

    def update_state(self, y_true, y_pred, sample_weight=None, mask=None):
        if self.ignore_class is not None:  # left out, as the loss leaves it out
            y_pred = losses.as_floats(y_pred)
            counted = losses.fitted_classes(y_true, y_pred) != self.ignore_class
            mask = counted if mask is None else counted & losses.aligned("mask", mask, counted.shape, bool)
        super().update_state(y_true, y_pred, sample_weight, mask)


def _of(loss: type[losses.Loss], base: type[_MeanLoss] = _MeanLoss) -> type[Any]:
    """Return the metric of a loss's name: the mean of its function."""
    doc = f"The mean over positions and batches of the loss `{loss.__name__}`: {str(loss.__doc__).splitlines()[0]}"
    if issubclass(base, _MeanCrossentropy):
        given: dict[str, Any] = {"loss": loss}
        doc += " Parameters but for `reduction` are the loss's."
    else:
        given = {"function": staticmethod(getattr(losses, snake_case(loss.__name__)))}
    return type(loss.__name__, (base,), {"__doc__": doc, "__module__": __name__, **given})


MeanSquaredError = _of(losses.MeanSquaredError)
MeanAbsoluteError = _of(losses.MeanAbsoluteError)
MeanAbsolutePercentageError = _of(losses.MeanAbsolutePercentageError)
MeanSquaredLogarithmicError = _of(losses.MeanSquaredLogarithmicError)
KLDivergence = _of(losses.KLDivergence)
Poisson = _of(losses.Poisson)
Hinge = _of(losses.Hinge)
SquaredHinge = _of(losses.SquaredHinge)
CategoricalHinge = _of(losses.CategoricalHinge)
BinaryCrossentropy = _of(losses.BinaryCrossentropy, _Binary)
CategoricalCrossentropy = _of(losses.CategoricalCrossentropy, _Categorical)
SparseCategoricalCrossentropy = _of(losses.SparseCategoricalCrossentropy, _Sparse)


class RootMeanSquaredError(_MeanLoss):
    """The root of the mean of (y_pred - y_true)² over all batches."""

    function = staticmethod(losses.mean_squared_error)

    def result(self):
        return math.sqrt(super().result())


class LogCoshError(_MeanLoss):
    """See the loss `LogCosh`."""

    function = staticmethod(losses.log_cosh)

    def __init__(self, name: str | None = "logcosh", dtype: str | None = None):
        super().__init__(name, dtype)


class CosineSimilarity(_MeanLoss):
    """The mean cosine of the angle between y_true and y_pred, vectors along the last axis: 1 when they agree.

    Parameters
    ----------
    name, dtype : str, optional
        See `Metric`.
    axis : int
        -1; there for Keras's signature.
    """

    direction = "max"

    def __init__(self, name: str | None = None, dtype: str | None = None, axis: int = -1):
        super().__init__(name, dtype)
        self.axis = losses.CosineSimilarity(axis).axis

    def values(self, y_true, y_pred):
        return -losses.cosine_similarity(y_true, y_pred)


class Perplexity(_MeanCrossentropy):
    """exp of the mean of -log p of the true class, which y_true gives by its number; for text: e to the loss.

    Keras has none among its metrics. Here, as in KerasHub, each position that the mask keeps counts alike, whatever
    the length of its batch: the mean is over tokens. 1 before there are any.
    """

    loss = losses.SparseCategoricalCrossentropy

    def __init__(self, name: str | None = None, dtype: str | None = None, from_logits: bool = False):
        super().__init__(name, dtype, from_logits=from_logits)

    def update_state(self, y_true, y_pred, sample_weight=None, mask=None):
        values = self.values(y_true, self.predictions(y_pred))
        weights = losses.merged_weights(sample_weight, mask, values.shape, values.dtype)
        weights = None if weights is None else np.broadcast_to(weights, values.shape).ravel()
        self.take(values.ravel().astype(float), weights, None)

    def result(self):
        return math.exp(super().result())
