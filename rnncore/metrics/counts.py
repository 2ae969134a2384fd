"""Metrics that count predictions above thresholds: true and false, positives and negatives, and what comes of them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import losses
from ..activations import sigmoid
from ..configured import look_up
from .base import Metric

THRESHOLDS = 100_000  # of a curve, unless they are given one by one


class _Counts(Metric):
    """Base of what counts predictions above thresholds.

    K  thresholds    L  labels that are counted apart

    The state is two histograms (K + 1, L): the weight of true and of false labels by the number of thresholds that
    their prediction is above. From it come, for each threshold and label, the four counts.
    """

    limits: Any  # (K,): what the predictions are compared with, in any order; there before the base's constructor
    remembers = ("true", "false")

    def reset_state(self) -> None:
        self.true = self.false = np.broadcast_to(0.0, (self.count_limits() + 1, 1))  # no memory before a batch

    def count_limits(self) -> int:
        """Return K."""
        return len(self.limits)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        y_pred = self.predictions(y_pred)
        if y_pred.ndim == 1:
            y_pred = y_pred[:, None]
        y_true = losses.fitted(y_true, y_pred)
        weights = losses.merged_weights(sample_weight, mask, y_pred.shape[:-1], y_pred.dtype)
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
    """{}.

    Parameters
    ----------
    thresholds : float or sequence of float, optional
        From 0 to 1; a prediction counts as positive above it. Several give as many values. Default 0.5.
    name, dtype : str, optional
        See `Metric`.
    """

    place: int  # in `counts`

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        self.limits = _limits(thresholds, 0.5)
        super().__init__(name, dtype)
        self.thresholds = thresholds

    def result(self):
        return _one_or_all(self.counts()[self.place][:, 0])


def _count(name: str, place: int, direction: str, doc: str) -> type[_Count]:
    doc = _Count.__doc__.format(doc)  # type: ignore[union-attr]
    members = {"place": place, "direction": direction, "__doc__": doc, "__module__": __name__}
    return type(name, (_Count,), members)


_COUNTED = "The weight of {} labels among what is {}predicted positive"
TruePositives = _count("TruePositives", 0, "max", _COUNTED.format("true", ""))
FalsePositives = _count("FalsePositives", 1, "min", _COUNTED.format("false", ""))
TrueNegatives = _count("TrueNegatives", 2, "max", _COUNTED.format("false", "not "))
FalseNegatives = _count("FalseNegatives", 3, "min", _COUNTED.format("true", "not "))


class _Share(_Counts):
    """True positives divided by them and the others that a subclass names."""

    direction = "max"
    others: int  # their place in `counts`

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        self.limits = _limits(thresholds, 0.5 if top_k is None else -math.inf)
        super().__init__(name, dtype)
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
        counts = self.counts()
        right, others = counts[0][:, 0], counts[self.others][:, 0]
        return _one_or_all(_divided(right, right + others))


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
    name, dtype : str, optional
        See `Metric`.
    """

    others = 1


class Recall(_Share):
    """The share of what is predicted positive among true labels; 0 where there are none. Parameters: `Precision`'s."""

    others = 3


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
    name, dtype : str, optional
        See `Metric`.
    """

    direction = "max"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: str | None = None,
    ):
        self.limits = (0.5 if threshold is None else threshold,)
        super().__init__(name, dtype)
        look_up(average or "none", _AVERAGES, "average")
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
        return _AVERAGES[self.average or "none"](self._score, right, wrong, missed)

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
    average, threshold, name, dtype
        See `FBetaScore`.
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(average, 1.0, threshold, name, dtype)


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
    name, dtype : str, optional
        See `Metric`.
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
    num_thresholds: int
    thresholds: list[float] | None

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: str | None = None,
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
        look_up(curve, _CURVES, "curve")
        look_up(summation_method, _HEIGHTS, "summation_method")
        self.num_thresholds = num_thresholds
        self.thresholds = None if thresholds is None else sorted(map(float, thresholds))
        super().__init__(name, dtype)
        self.curve, self.summation_method = curve, summation_method
        self.multi_label, self.num_labels = bool(multi_label), num_labels
        self.label_weights = None if label_weights is None else [float(weight) for weight in label_weights]
        self.from_logits = bool(from_logits)

    @property
    def limits(self) -> Any:
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
            x, y = _CURVES[self.curve](*counts)
            areas = np.sum((x[:-1] - x[1:]) * _HEIGHTS[self.summation_method](y[:-1], y[1:]), axis=0)
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
