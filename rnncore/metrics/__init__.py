"""Metrics: running means and counts over batches, under Keras's names and with its arithmetic.

Most are means. A mean takes one value a position, shape (B, ...), and keeps two numbers: the total of each sample's
weighted mean over its positions, and the count, the total of each sample's mean weight. The mask counts as weights
of 0 and 1. Within a batch of sequences this is the mean over kept steps. Over batches of different lengths T a kept
step weighs 1/T of its batch: that is Keras's arithmetic too.

Precision, recall, F1 and the areas under curves count instead: how much weight of true and of false labels lies
between each two thresholds. All positions count alike there, whatever the length of their batch.

The mask holds for every metric. (Keras's counting metrics and its root of the mean squared error overlook it.)
Totals are float64, so a long epoch does not lose counts as float32 totals would.
"""

from __future__ import annotations

import inspect
import math
import numbers
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import losses
from ..activations import sigmoid
from ..config import floatx
from ..configured import Configured, look_up, resolve, snake_case
from ..layers.checks import plain
from ..losses import (  # noqa: F401, Keras has these functions here, too
    binary_crossentropy,
    categorical_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)

THRESHOLDS = 100_000  # of a curve, unless they are given one by one


class Metric(Configured):
    """Base of the metrics.

    Parameters
    ----------
    name : str, optional
        What it is called in logs; the class's name in snake case when not given.

    Attributes
    ----------
    remembers : tuple of str
        A class states here the attributes that `reset_state` sets, for the backup of a training under way.
    direction : {"max", "min", None}
        A class, or an object, states here which values are better: what the callbacks that monitor it take for
        ``mode="auto"``. None: nothing says so.
    """

    remembers: tuple[str, ...] = ()
    direction: str | None = None

    def __init__(self, name: str | None = None):
        self.name = name or snake_case(type(self).__name__)
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Take in a batch; arguments as in `rnncore.losses.Loss`."""
        raise NotImplementedError

    def result(self) -> float | np.ndarray:
        """Return the value over all batches since the last `reset_state`; some metrics have several."""
        raise NotImplementedError

    def reset_state(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def get_state(self) -> dict[str, Any]:
        """Return what the metric has taken in, in plain values and arrays."""
        return {name: getattr(self, name) for name in self.remembers}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned, or raise ValueError if it is not of such a metric."""
        own = self.get_state()
        if {name: type(value) for name, value in own.items()} != {name: type(value) for name, value in state.items()}:
            raise ValueError(f"metric {self.name!r}: its state has {', '.join(own)}, of other types than came")
        for name, value in own.items():
            if np.broadcast_shapes(np.shape(value), np.shape(state[name])) != np.shape(state[name]):
                raise ValueError(f"metric {self.name!r}: {name} has shape {np.shape(state[name])}")
        vars(self).update(state)


class Mean(Metric):
    """The weighted mean of values; 0 before there are any.

    Attributes
    ----------
    by_step : bool
        Whether positions count alike in batches of all lengths. The evaluation of ragged data sets it: which batch a
        row is in makes no difference then.
    """

    by_step = False
    remembers = ("total", "count")

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
        values = plain(values, "values", float)
        weights = losses.merged_weights(sample_weight, mask, values.shape, values.dtype, rescaled=False)
        if weights is None:
            total, count = values.sum(), values.size
        else:
            weights = np.broadcast_to(weights, values.shape)
            total, count = (values * weights).sum(), weights.sum()
        positions = 1 if self.by_step else max(1, math.prod(values.shape[1:]))
        self.add(float(total) / positions, float(count) / positions)

    def add(self, total: float, count: float) -> None:
        """Take in what `count` values add up to."""
        self.total += total
        self.count += count

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0


class Sum(Mean):
    """The weighted sum of values; parameters and errors are `Mean`'s."""

    def update_state(self, values: Any, sample_weight: Any = None, mask: Any = None) -> None:
        positions = max(1, math.prod(np.shape(values)[1:]))
        super().update_state(plain(values, "values", float) * positions, sample_weight, mask)

    def result(self):
        return self.total


class _MeanOf(Mean):
    """The mean of a value that y_true and y_pred give: a subclass says which."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        super().update_state(self.values(y_true, losses.as_floats(y_pred)), sample_weight, mask)

    def values(self, y_true: Any, y_pred: np.ndarray) -> np.ndarray:
        """Return one value a position, from y_pred of shape (B, ..., C)."""
        raise NotImplementedError


class MeanMetricWrapper(_MeanOf):
    """The mean of what a function of yours makes of a batch.

    Parameters
    ----------
    fn : callable
        Takes y_true and y_pred, arrays as the model gives them, and returns one value a position. An attribute
        ``direction`` of it is the metric's (see `Metric`); a loss has "min".
    name : str, optional
        The function's when not given.
    **options
        Given to the function, too.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, **options: Any):
        if not callable(fn):
            raise TypeError(f"fn is {fn!r}; expected a function of y_true and y_pred")
        super().__init__(name or getattr(fn, "__name__", None))
        self.fn, self._options = fn, options
        is_loss = isinstance(fn, losses.Loss) or any(fn is known for known in vars(losses).values())
        self.direction = getattr(fn, "direction", "min" if is_loss else None)

    def values(self, y_true, y_pred):
        return np.asarray(self.fn(plain(y_true, "y_true"), y_pred, **self._options))


class Accuracy(_MeanOf):
    """How often y_pred equals y_true."""

    direction = "max"

    def values(self, y_true, y_pred):
        return y_pred == losses.fitted(y_true, y_pred)


class BinaryAccuracy(_MeanOf):
    """How often y_pred is above `threshold` where y_true is 1, and not where it is 0; each output counts by itself.

    Parameters
    ----------
    name : str, optional
    threshold : float
        A prediction of just `threshold` counts as 0.
    """

    direction = "max"

    def __init__(self, name: str | None = None, *, threshold: float = 0.5):
        super().__init__(name)
        self.threshold = float(threshold)

    def values(self, y_true, y_pred):
        return (y_pred > self.threshold) == losses.fitted(y_true, y_pred)


class CategoricalAccuracy(_MeanOf):
    """How often the largest entry of y_pred stands where that of a one-hot y_true does."""

    direction = "max"

    def values(self, y_true, y_pred):
        return y_pred.argmax(axis=-1) == losses.fitted(y_true, y_pred).argmax(axis=-1)


class SparseCategoricalAccuracy(_MeanOf):
    """How often the largest entry of y_pred stands where y_true, a class by its number, says."""

    direction = "max"

    def values(self, y_true, y_pred):
        return y_pred.argmax(axis=-1) == losses.fitted_classes(y_true, y_pred)


class TopKCategoricalAccuracy(_MeanOf):
    """How often fewer than `k` entries of y_pred are larger than the one that a one-hot y_true says.

    Parameters
    ----------
    k : int
        At least 1.
    name : str, optional
    """

    direction = "max"

    def __init__(self, k: int = 5, name: str | None = None):
        super().__init__(name)
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
    name : str, optional
    from_sorted_ids : bool
        y_pred holds classes by number, the likeliest first, and y_true is looked for among the first `k`.
    """

    def __init__(self, k: int = 5, name: str | None = None, *, from_sorted_ids: bool = False):
        super().__init__(k, name)
        self.from_sorted_ids = bool(from_sorted_ids)

    def values(self, y_true, y_pred):
        ids = losses.fitted_classes(y_true, y_pred)
        if self.from_sorted_ids:
            return (y_pred[..., : self.k] == ids[..., None]).any(axis=-1)
        return self._among_the_first(ids, y_pred)


def _a_position(cls: type[_MeanOf]) -> Callable[..., np.ndarray]:
    """Return Keras's function for a metric: its values, not averaged."""

    def function(y_true: Any, y_pred: Any, **options: Any) -> np.ndarray:
        return cls(**options).values(y_true, losses.as_floats(y_pred)).astype(floatx())

    function.direction = cls.direction
    function.__name__ = function.__qualname__ = snake_case(cls.__name__)
    function.__doc__ = f"Return what `{cls.__name__}`, made with `options`, is the mean of."
    return function


binary_accuracy = _a_position(BinaryAccuracy)
categorical_accuracy = _a_position(CategoricalAccuracy)
sparse_categorical_accuracy = _a_position(SparseCategoricalAccuracy)
top_k_categorical_accuracy = _a_position(TopKCategoricalAccuracy)
sparse_top_k_categorical_accuracy = _a_position(SparseTopKCategoricalAccuracy)


# ---------------------------------------------------------------------------------------------------------------------
# Losses as metrics: the mean of what one of Keras's functions gives for a position


class _MeanLoss(_MeanOf):
    """A subclass says which function."""

    direction = "min"
    function: ClassVar[Callable[..., np.ndarray]]

    def values(self, y_true, y_pred):
        return self.function(y_true, y_pred)


class MeanSquaredError(_MeanLoss):
    """The mean of (y_pred - y_true)²."""

    function = staticmethod(losses.mean_squared_error)


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of (y_pred - y_true)² over all batches."""

    def result(self):
        return math.sqrt(super().result())


class MeanAbsoluteError(_MeanLoss):
    """The mean of |y_pred - y_true|."""

    function = staticmethod(losses.mean_absolute_error)


class MeanAbsolutePercentageError(_MeanLoss):
    """See the loss of that name."""

    function = staticmethod(losses.mean_absolute_percentage_error)


class MeanSquaredLogarithmicError(_MeanLoss):
    """See the loss of that name."""

    function = staticmethod(losses.mean_squared_logarithmic_error)


class KLDivergence(_MeanLoss):
    """See the loss of that name."""

    function = staticmethod(losses.kl_divergence)


class Poisson(_MeanLoss):
    """See the loss of that name."""

    function = staticmethod(losses.poisson)


class Hinge(_MeanLoss):
    """See the loss of that name."""

    function = staticmethod(losses.hinge)


class SquaredHinge(_MeanLoss):
    """See the loss of that name."""

    function = staticmethod(losses.squared_hinge)


class CategoricalHinge(_MeanLoss):
    """See the loss of that name."""

    function = staticmethod(losses.categorical_hinge)


class LogCoshError(_MeanLoss):
    """See the loss `LogCosh`."""

    function = staticmethod(losses.log_cosh)

    def __init__(self, name: str | None = "logcosh"):
        super().__init__(name)


class CosineSimilarity(_MeanLoss):
    """The mean cosine of the angle between y_true and y_pred, vectors along the last axis: 1 when they agree."""

    direction = "max"

    def values(self, y_true, y_pred):
        return -losses.cosine_similarity(y_true, y_pred)


class _MeanCrossentropy(_MeanLoss):
    """A crossentropy from probabilities, or with ``from_logits=True`` from logits."""

    def __init__(self, name: str | None = None, *, from_logits: bool = False):
        super().__init__(name)
        self.from_logits = bool(from_logits)

    def values(self, y_true, y_pred):
        return self.function(y_true, y_pred, from_logits=self.from_logits)


class BinaryCrossentropy(_MeanCrossentropy):
    """See the loss of that name; `from_logits` is the only option."""

    function = staticmethod(losses.binary_crossentropy)


class CategoricalCrossentropy(_MeanCrossentropy):
    """See the loss of that name; `from_logits` is the only option."""

    function = staticmethod(losses.categorical_crossentropy)


class SparseCategoricalCrossentropy(_MeanCrossentropy):
    """See the loss of that name; `from_logits` is the only option."""

    function = staticmethod(losses.sparse_categorical_crossentropy)


class Perplexity(SparseCategoricalCrossentropy):
    """exp of the mean of -log p of the true class, which y_true gives by its number; for text: e to the loss.

    Keras has none among its metrics. Here, as in KerasHub, each position that the mask keeps counts alike, whatever
    the length of its batch: the mean is over tokens. 1 before there are any.
    """

    def update_state(self, y_true, y_pred, sample_weight=None, mask=None):
        y_pred = losses.as_floats(y_pred)
        values = self.values(y_true, y_pred)
        weights = losses.merged_weights(sample_weight, mask, values.shape, values.dtype, rescaled=False)
        weights = None if weights is None else np.broadcast_to(weights, values.shape).ravel()
        Mean.update_state(self, values.ravel(), weights)

    def result(self):
        return math.exp(super().result())


# ---------------------------------------------------------------------------------------------------------------------
# Counts of true and false, positives and negatives


class _Counts(Metric):
    """Base of what counts predictions above thresholds.

    K  thresholds    L  labels that are counted apart

    The state is two histograms (K + 1, L): the weight of true and of false labels by the number of thresholds that
    their prediction is above. From it come, for each threshold and label, the four counts.
    """

    # What the predictions are compared with, in any order; set before the base's constructor is called.
    limits: Sequence[float]
    remembers = ("true", "false")

    def reset_state(self) -> None:
        self.true = self.false = np.broadcast_to(0.0, (self.count_limits() + 1, 1))  # no memory before a batch

    def count_limits(self) -> int:
        """Return K."""
        return len(self.limits)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        y_pred = losses.as_floats(y_pred)
        if y_pred.ndim == 1:
            y_pred = y_pred[:, None]
        y_true = losses.fitted(y_true, y_pred)
        weights = losses.merged_weights(sample_weight, mask, y_pred.shape[:-1], y_pred.dtype, rescaled=False)
        weights = np.ones(y_pred.shape) if weights is None else np.broadcast_to(weights[..., None], y_pred.shape)
        y_true, y_pred, weights = self.counted(y_true, y_pred, weights)
        labels = y_pred.shape[-1]
        limits = np.asarray(self.limits, y_pred.dtype)
        order = np.sort(limits)
        size = len(limits) + 1
        places = np.searchsorted(order, y_pred, side="left") * labels + np.arange(labels)
        for name, kept in (("true", y_true != 0), ("false", y_true == 0)):
            histogram = np.bincount(places[kept], weights[kept], size * labels).reshape(size, labels)
            setattr(self, name, getattr(self, name) + histogram)

    def counted(self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the three, each (B, ..., L), as they are counted; by default all of a batch as one label."""
        return tuple(array.reshape(-1, 1) for array in (y_true, y_pred, weights))

    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return true positives, false positives, true and false negatives, each (K, L) in the order of `limits`."""
        places = np.argsort(np.argsort(self.limits))
        above, total = [], []
        for histogram in (self.true, self.false):
            upward = np.cumsum(histogram[::-1], axis=0)[::-1]
            above.append(upward[1:][places])
            total.append(upward[0])
        return above[0], above[1], total[1] - above[1], total[0] - above[0]


def _limits(thresholds: float | Sequence[float] | None, default: float) -> np.ndarray:
    """Return one or several thresholds as an array, or raise ValueError."""
    limits = np.atleast_1d(np.asarray(default if thresholds is None else thresholds, float))
    if thresholds is not None and not (limits.ndim == 1 and ((limits >= 0) & (limits <= 1)).all()):
        raise ValueError(f"thresholds is {thresholds!r}; expected numbers from 0 to 1")
    return limits


def _one_or_all(values: np.ndarray) -> float | np.ndarray:
    return float(values[0]) if len(values) == 1 else values


class _Count(_Counts):
    """One of the four counts."""

    place: ClassVar[int]  # in `counts`

    def __init__(self, thresholds: float | Sequence[float] | None = None, name: str | None = None):
        self.limits = _limits(thresholds, 0.5)
        super().__init__(name)
        self.thresholds = thresholds

    def result(self):
        return _one_or_all(self.counts()[self.place][:, 0])


class TruePositives(_Count):
    """The weight of true labels among what is predicted positive.

    Parameters
    ----------
    thresholds : float or sequence of float, optional
        From 0 to 1; a prediction counts as positive above it. Several give as many values. Default 0.5.
    name : str, optional
    """

    place = 0
    direction = "max"


class FalsePositives(_Count):
    """The weight of false labels among what is predicted positive. Parameters: `TruePositives`'s."""

    place = 1
    direction = "min"


class TrueNegatives(_Count):
    """The weight of false labels among what is not predicted positive. Parameters: `TruePositives`'s."""

    place = 2
    direction = "max"


class FalseNegatives(_Count):
    """The weight of true labels among what is not predicted positive. Parameters: `TruePositives`'s."""

    place = 3
    direction = "min"


class _Share(_Counts):
    """True positives divided by them and what a subclass says."""

    direction = "max"

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
    ):
        self.limits = _limits(thresholds, 0.5 if top_k is None else -math.inf)
        super().__init__(name)
        self.thresholds, self.top_k, self.class_id = thresholds, top_k, class_id

    def counted(self, y_true, y_pred, weights):
        classes = y_pred.shape[-1]
        if self.top_k is not None:
            if not 1 <= self.top_k <= classes:
                raise ValueError(f"top_k is {self.top_k!r}; y_pred has {classes} entries a position")
            place = np.argsort(np.argsort(-y_pred, axis=-1, kind="stable"), axis=-1, kind="stable")
            y_pred = np.where(place < self.top_k, y_pred, -np.inf)
        if self.class_id is not None:
            if not 0 <= self.class_id < classes:
                raise ValueError(f"class_id is {self.class_id!r}; y_pred has {classes} entries a position")
            y_true, y_pred, weights = (array[..., self.class_id] for array in (y_true, y_pred, weights))
        return super().counted(y_true, y_pred, weights)

    def result(self):
        right, others = self.parts()
        return _one_or_all(_divided(right[:, 0], right[:, 0] + others[:, 0]))

    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the true positives, and what else they are a share of."""
        raise NotImplementedError


class Precision(_Share):
    """The share of true labels among what is predicted positive; 0 where nothing is.

    Parameters
    ----------
    thresholds : float or sequence of float, optional
        From 0 to 1; a prediction counts as positive above it. Several give as many values. Default 0.5, or with
        `top_k` none.
    top_k : int, optional
        Only the `top_k` largest entries of each position can count as positive.
    class_id : int, optional
        Look at this entry of the last axis only.
    name : str, optional
    """

    def parts(self):
        right, wrong, _, _ = self.counts()
        return right, wrong


class Recall(_Share):
    """The share of what is predicted positive among true labels; 0 where there are none. Parameters: `Precision`'s."""

    def parts(self):
        right, _, _, missed = self.counts()
        return right, missed


class FBetaScore(_Counts):
    """(1 + beta²) * precision * recall / (beta² * precision + recall), for each entry of the last axis.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        None: one value a class, an ndarray of shape (C,). "micro" adds up all classes' counts, "macro" takes the mean
        of the classes' values, "weighted" weighs them by how often they are true.
    beta : float
        Above 0: how many times as much recall counts as precision.
    threshold : float, optional
        From above 0 to 1. When not given the largest entry counts as positive and no other.
    name : str, optional
    """

    direction = "max"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
    ):
        self.limits = (0.5 if threshold is None else threshold,)
        super().__init__(name)
        self._averaged = look_up(average or "none", _AVERAGES, "average")
        if not beta > 0:
            raise ValueError(f"beta is {beta!r}; expected a number above 0")
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"threshold is {threshold!r}; expected a number above 0 and at most 1")
        self.average, self.beta, self.threshold = average, float(beta), threshold

    def counted(self, y_true, y_pred, weights):
        if self.threshold is None:
            # All equal ones, as Keras; but nothing where the largest is 0.
            largest = (y_pred == y_pred.max(axis=-1, keepdims=True)) & (np.abs(y_pred) > 1e-9)
            y_pred = largest.astype(y_pred.dtype)
        return y_true, y_pred, weights

    def result(self):
        right, wrong, _, missed = (counts[0] for counts in self.counts())
        return self._averaged(self._score, right, wrong, missed)

    def _score(self, right, wrong, missed):
        # Keras adds 1e-7 to each divisor.
        precision = right / (right + wrong + losses.EPSILON)
        recall = right / (right + missed + losses.EPSILON)
        weight = self.beta**2
        return (1 + weight) * precision * recall / (weight * precision + recall + losses.EPSILON)


class F1Score(FBetaScore):
    """2 * precision * recall / (precision + recall): `FBetaScore` with a beta of 1.

    Parameters
    ----------
    average, threshold, name
        See `FBetaScore`.
    """

    def __init__(self, average: str | None = None, threshold: float | None = None, name: str | None = None):
        super().__init__(average, 1.0, threshold, name)


def _weighted(score, right, wrong, missed):
    true = right + missed
    return float(np.sum(score(right, wrong, missed) * true / (true.sum() + losses.EPSILON)))


_AVERAGES = {
    "none": lambda score, *counts: score(*counts),
    "micro": lambda score, *counts: float(score(*(count.sum() for count in counts))),
    "macro": lambda score, *counts: float(score(*counts).mean()),
    "weighted": _weighted,
}


class AUC(_Counts):
    """The area under a curve through one point a threshold.

    Parameters
    ----------
    num_thresholds : int
        From 2 to 100,000, spread evenly over [0, 1]; the outer ones lie 1e-7 outside.
    curve : {"ROC", "PR"}
        Recall over the share of false labels predicted positive, or precision over recall.
    summation_method : {"interpolation", "minoring", "majoring"}
        Heights between two points: their mean (for "PR" the counts go straight from one to the other, not the precision
        [1]_), the lower one or the higher one.
    name : str, optional
    thresholds : sequence of float, optional
        Instead of `num_thresholds`, without the outer two.
    multi_label : bool
        Take the area of each entry of the last axis by itself, and their mean.
    num_labels : int, optional
        There for Keras's signature: the first batch tells.
    label_weights : sequence of float, optional
        Weights of the entries of the last axis: in the mean of their areas, or in the counts.
    from_logits : bool
        Predictions are logits.

    References
    ----------
    .. [1] J. Davis, M. Goadrich, "The relationship between precision-recall and ROC curves", 2006, section 4
    """

    direction = "max"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        *,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ):
        if not isinstance(num_thresholds, numbers.Integral) or not 2 <= num_thresholds <= THRESHOLDS:
            raise ValueError(
                f"num_thresholds is {num_thresholds!r}; expected a whole number of at least 2, at most {THRESHOLDS:,}"
            )
        self._points = look_up(curve, _CURVES, "curve")
        self._heights = look_up(summation_method, _HEIGHTS, "summation_method")
        self.num_thresholds = num_thresholds
        self.thresholds = None if thresholds is None else sorted(map(float, thresholds))
        super().__init__(name)
        self.curve, self.summation_method = curve, summation_method
        self.multi_label, self.num_labels = bool(multi_label), num_labels
        self.label_weights = None if label_weights is None else [float(weight) for weight in label_weights]
        self.from_logits = bool(from_logits)

    @property
    def limits(self) -> np.ndarray:
        """The thresholds: made when they are asked for, so that a file with many such metrics takes no memory."""
        steps = self.num_thresholds - 1
        inner = np.arange(1, steps) / steps if self.thresholds is None else self.thresholds
        return np.concatenate([[-losses.EPSILON], inner, [1 + losses.EPSILON]])

    def count_limits(self):
        return self.num_thresholds if self.thresholds is None else len(self.thresholds) + 2

    def counted(self, y_true, y_pred, weights):
        y_pred = np.clip(sigmoid(y_pred) if self.from_logits else y_pred, 0, 1)
        if self.multi_label:
            return y_true, y_pred, weights
        if self.label_weights is not None:
            weights = weights * np.asarray(self.label_weights)
        return super().counted(y_true, y_pred, weights)

    def result(self):
        counts = self.counts()
        if (self.curve, self.summation_method) == ("PR", "interpolation"):
            areas = _interpolated_precision(*counts)
        else:
            x, y = self._points(*counts)
            areas = np.sum((x[:-1] - x[1:]) * self._heights(y[:-1], y[1:]), axis=0)
        labels = self.label_weights if self.multi_label else None
        return float(np.average(np.broadcast_to(areas, np.shape(labels) or areas.shape), weights=labels))


def _interpolated_precision(right, wrong, right_not, missed):
    """Return the area under precision over recall, where between two thresholds the counts change linearly.

    With P = right + wrong, d for a difference and slope = d right / dP, precision is slope + intercept / P; its
    integral over right, d right = slope dP, is slope * (d right + intercept * d log P).
    """
    positive = right + wrong
    change = right[:-1] - right[1:]
    slope = _divided(change, positive[:-1] - positive[1:])
    intercept = right[1:] - slope * positive[1:]
    both = (positive[:-1] > 0) & (positive[1:] > 0)
    ratio = np.where(both, _divided(positive[:-1], positive[1:]), 1)
    return np.sum(_divided(slope * (change + intercept * np.log(ratio)), (right + missed)[1:]), axis=0)


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


# The points (x, y) of a curve from true and false positives, true and false negatives.
_CURVES = {
    "ROC": lambda right, wrong, right_not, missed: (
        _divided(wrong, wrong + right_not),
        _divided(right, right + missed),
    ),
    "PR": lambda right, wrong, right_not, missed: (_divided(right, right + missed), _divided(right, right + wrong)),
}
_HEIGHTS = {"interpolation": lambda a, b: (a + b) / 2, "minoring": np.minimum, "majoring": np.maximum}


def get(
    identifier: str | Mapping[str, Any] | type | Metric,
    loss: Any = None,
    output_shape: tuple[int | None, ...] | None = None,
) -> Metric:
    """Return a metric from itself, its class, a Keras name, a ``{"class_name", "config"}`` or a function.

    A metric found by a name keeps the name as it was typed, as in Keras's logs.

    Parameters
    ----------
    identifier : str, mapping, class, Metric or function
        One of Keras's functions, here or in `rnncore.losses`, stands for its class, another one for a
        `MeanMetricWrapper`.
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
    if inspect.isfunction(identifier):
        name = identifier.__name__
        if name not in _NAMES or all(vars(module).get(name) is not identifier for module in _FUNCTIONS):
            return MeanMetricWrapper(identifier)
        identifier = name
    metric = resolve(identifier, _NAMES, Metric, "metric")
    if isinstance(identifier, str):
        metric.name = identifier
    return metric


_CLASSES = (
    AUC,
    Accuracy,
    BinaryAccuracy,
    BinaryCrossentropy,
    CategoricalAccuracy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    F1Score,
    FBetaScore,
    FalseNegatives,
    FalsePositives,
    Hinge,
    KLDivergence,
    LogCoshError,
    Mean,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Perplexity,
    Poisson,
    Precision,
    Recall,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseCategoricalCrossentropy,
    SparseTopKCategoricalAccuracy,
    SquaredHinge,
    Sum,
    TopKCategoricalAccuracy,
    TrueNegatives,
    TruePositives,
)
_NAMES = losses.named(_CLASSES)
_FUNCTIONS = (sys.modules[__name__], losses)  # where Keras's functions stand
