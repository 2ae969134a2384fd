"""Losses and their gradients, with Keras's names, clipping and reductions.

B  sequences (samples) in a batch
T  steps, where there are any
C  entries of a prediction: classes, or independent outputs

A loss takes predictions of shape (B, ..., C), finds one loss a position, shape (B, ...), from the last axis,
weighs it and reduces all to one number.

How the loss of a sequence is reduced
-------------------------------------
Predictions (B, T, C) have B*T positions. With ``"sum_over_batch_size"`` the loss is

    sum(weight * loss) / (B*T)                  without a mask: divided by the number of positions, not the weights
    sum(weight * loss) / (steps the mask keeps) with a mask: 0 when it keeps none

so a masked sequence loss is a mean over all kept steps of the batch (long sequences count for more), and
sample weights that sum to more than the number of positions make the loss larger. With ``"sum"`` nothing is
divided, with ``"mean_with_sample_weight"`` the sum of the weights divides.

Each formula stands beside its derivative; y is the target, p a probability, z its logit (pre-activation).
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..activations import sigmoid, softmax
from ..config import floatx
from ..configured import Configured, look_up, resolve, snake_case
from ..layers.checks import plain

# Probabilities are kept this far from 0 and 1 before their logarithm is taken (keras.config.epsilon()).
EPSILON = 1e-7


# ---------------------------------------------------------------------------------------------------------------------
# The formulas, each (B, ..., C) -> (B, ...), and under it its derivative, (B, ..., C) -> (B, ..., C)


def squared_error(y, p):
    return np.mean((p - y) ** 2, axis=-1)


def squared_error_gradient(y, p):
    return 2 * (p - y) / p.shape[-1]


def absolute_error(y, p):
    return np.mean(np.abs(p - y), axis=-1)


def absolute_error_gradient(y, p):
    return np.sign(p - y) / p.shape[-1]


def percentage_error(y, p):
    return 100 * np.mean(np.abs(p - y) / np.maximum(np.abs(y), EPSILON), axis=-1)


def percentage_error_gradient(y, p):
    return 100 * np.sign(p - y) / np.maximum(np.abs(y), EPSILON) / p.shape[-1]


def squared_logarithmic_error(y, p):
    return np.mean((_log_after_one(p) - _log_after_one(y)) ** 2, axis=-1)


def squared_logarithmic_error_gradient(y, p):
    error = _log_after_one(p) - _log_after_one(y)
    return np.where(p < EPSILON, 0, 2 * error / (np.maximum(p, EPSILON) + 1) / p.shape[-1])


def huber_error(y, p, delta):
    error = np.abs(p - y)
    return np.mean(np.where(error <= delta, error**2 / 2, delta * error - delta**2 / 2), axis=-1)


def huber_error_gradient(y, p, delta):
    return np.clip(p - y, -delta, delta) / p.shape[-1]


def log_cosh_error(y, p):
    # log cosh e = log(exp(e) + exp(-e)) - log 2
    return np.mean(np.logaddexp(p - y, y - p) - math.log(2), axis=-1)


def log_cosh_error_gradient(y, p):
    return np.tanh(p - y) / p.shape[-1]


def negative_cosine(y, p):
    return -np.sum(_unit(y) * _unit(p), axis=-1)


def negative_cosine_gradient(y, p):
    # q = p/|p|; d(-y·q)/dp = (q (y·q) - y) / |p|, y of length 1. A p shorter than EPSILON is divided by that instead.
    length, y, q = _length(p), _unit(y), _unit(p)
    along = np.where(length > EPSILON, np.sum(y * q, axis=-1, keepdims=True), 0)
    return (q * along - y) / np.maximum(length, EPSILON)


def divergence(y, p):
    y, p = _clipped(y, most=1), _clipped(p, most=1)
    return np.sum(y * np.log(y / p), axis=-1)


def divergence_gradient(y, p):
    return _through_clip(p, -_clipped(y, most=1) / _clipped(p, most=1), most=1)


def poisson_likelihood(y, p):
    return np.mean(p - y * np.log(p + EPSILON), axis=-1)


def poisson_likelihood_gradient(y, p):
    return (1 - y / (p + EPSILON)) / p.shape[-1]


def margin(y, p):
    return np.mean(np.maximum(1 - y * p, 0), axis=-1)


def margin_gradient(y, p):
    return np.where(y * p <= 1, -y, 0) / p.shape[-1]


def squared_margin(y, p):
    return np.mean(np.maximum(1 - y * p, 0) ** 2, axis=-1)


def squared_margin_gradient(y, p):
    return -2 * y * np.maximum(1 - y * p, 0) / p.shape[-1]


def categorical_margin(y, p):
    return np.maximum(np.max((1 - y) * p, axis=-1) - np.sum(y * p, axis=-1) + 1, 0)


def categorical_margin_gradient(y, p):
    wrong = (1 - y) * p
    worst = wrong.max(axis=-1, keepdims=True)
    share = (wrong == worst).astype(p.dtype)  # of equal ones each takes its part, as TensorFlow's maximum
    share /= share.sum(axis=-1, keepdims=True)
    return np.where(worst - np.sum(y * p, axis=-1, keepdims=True) + 1 >= 0, (1 - y) * share - y, 0)


def binary_from_probabilities(y, p):
    p = _clipped(p)
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p), axis=-1)


def binary_from_probabilities_gradient(y, p):
    c = _clipped(p)
    return _through_clip(p, (c - y) / (c * (1 - c)) / p.shape[-1])


def binary_from_logits(y, z):
    # -y log s(z) - (1-y) log s(-z), written so that no exponential overflows and no logarithm sees a 0
    return np.mean(np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z))), axis=-1)


def binary_from_logits_gradient(y, z):
    return (sigmoid(z) - y) / z.shape[-1]


def categorical_from_probabilities(y, p):
    p = _clipped(p / p.sum(axis=-1, keepdims=True))
    return -np.sum(y * np.log(p), axis=-1)


def categorical_from_probabilities_gradient(y, p):
    total = p.sum(axis=-1, keepdims=True)
    q = p / total
    dq = _through_clip(q, -y / _clipped(q))
    return (dq - np.sum(dq * q, axis=-1, keepdims=True)) / total


def categorical_from_logits(y, z):
    return -np.sum(y * _log_softmax(z), axis=-1)


def categorical_from_logits_gradient(y, z):
    # For a y that sums to 1 over the classes; TensorFlow's gradient takes that for granted too.
    return softmax(z) - y


def sparse_from_probabilities(ids, p):
    # Clipping is followed by dividing by the sum, where the categorical form divides first: so does Keras.
    p = _clipped(p)
    return np.log(p.sum(axis=-1)) - np.log(_chosen(ids, p))


def sparse_from_probabilities_gradient(ids, p):
    c = _clipped(p)
    return _through_clip(p, 1 / c.sum(axis=-1, keepdims=True) - _one_hot(ids, c) / c)


def sparse_from_logits(ids, z):
    return -_chosen(ids, _log_softmax(z))


def sparse_from_logits_gradient(ids, z):
    return softmax(z) - _one_hot(ids, z)


def _log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def _clipped(p, most=1 - EPSILON):
    return np.clip(p, EPSILON, most)


def _through_clip(p, gradient, most=1 - EPSILON):
    return np.where((p < EPSILON) | (p > most), 0, gradient)


def _log_after_one(x):
    return np.log(np.maximum(x, EPSILON) + 1)


def _length(x):
    return np.sqrt(np.sum(x * x, axis=-1, keepdims=True))


def _unit(x):
    return x / np.maximum(_length(x), EPSILON)


def _chosen(ids, p):
    return np.take_along_axis(p, ids[..., None], axis=-1)[..., 0]


def _one_hot(ids, p):
    return (np.arange(p.shape[-1]) == ids[..., None]).astype(p.dtype)


# ---------------------------------------------------------------------------------------------------------------------
# The losses

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]

# What the weighted sum is divided by, from the losses' size and the weights (None: no weights).
_DIVISORS: dict[str, Callable[[int, np.ndarray | None], float]] = {
    "none": lambda size, weights: 1,
    "sum": lambda size, weights: 1,
    "mean": lambda size, weights: size,
    "sum_over_batch_size": lambda size, weights: size,
    "mean_with_sample_weight": lambda size, weights: size if weights is None else float(weights.sum()),
}


class Loss(Configured):
    """Base of the losses: owns sample weights, masks and reduction.

    A subclass gives `formulas`: ``{False: (loss, derivative)}`` from predictions and, where it has them,
    ``{True: (loss, derivative)}`` from logits; and `targets`, where y_true needs more than a change of dtype.

    Parameters
    ----------
    reduction : {"sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None}
        See the head of this module; the first two are the same.
    name : str, optional
        The class's name in snake case when not given.

    Attributes
    ----------
    fuses : {"sigmoid", "softmax", None}
        The activation that the loss can be computed through: given its pre-activations and ``logits=True``,
        the loss is stable and its gradient p - y.
    """

    fuses: ClassVar[str | None] = None
    formulas: ClassVar[Mapping[bool, tuple[Formula, Formula]]] = {}
    from_logits = False

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = None):
        look_up("none" if reduction is None else reduction, _DIVISORS, "reduction")
        self.reduction = reduction
        self.name = name or snake_case(type(self).__name__)

    def __call__(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        mask: Any = None,
        logits: bool | None = None,
    ) -> float | np.ndarray:
        """Return the loss: a float, or without a reduction an ndarray of one weighted loss a position.

        Parameters
        ----------
        y_true : array_like
            Of y_pred's shape, whose last axis may be left out where it is 1: (B, T) for (B, T, 1) has B*T
            positions. (Keras makes that B positions of T outputs each, which no mask of steps fits.) Classes
            by number (see `SparseCategoricalCrossentropy`): whole numbers of shape (B, ...) or (B, ..., 1).
        y_pred : array_like of shape (B, ..., C)
            Predictions; a float32 or float64 array is computed with in its dtype, others in the default one.
        sample_weight : array_like, optional
            Of the losses' shape (B, ...) or one that broadcasts to it. With fewer axes, (B,) for (B, T), the
            missing last ones are filled up: a weight a sample. (Keras would align (B,) with the steps.)
        mask : array_like of bool, optional
            Shapes as `sample_weight`; False leaves a position out.
        logits : bool, optional
            True: `y_pred` are the pre-activations of `fuses`, whatever `from_logits` says.

        Raises
        ------
        ValueError
            Shapes do not fit; the loss has no form from logits; classes are not whole numbers of [0, C).
        """
        (formula, _), targets, y_pred, weights, divisor = self._prepared(y_true, y_pred, sample_weight, mask, logits)
        return self._reduced(formula(targets, y_pred), weights, divisor)

    def value_and_gradient(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        mask: Any = None,
        logits: bool | None = None,
    ) -> tuple[float | np.ndarray, np.ndarray]:
        """Return the loss and its gradient with respect to `y_pred`, of its shape and dtype.

        Parameters and errors are those of a call. Without a reduction the gradient is that of the sum.
        """
        (formula, derivative), targets, y_pred, weights, divisor = self._prepared(
            y_true, y_pred, sample_weight, mask, logits
        )
        value = self._reduced(formula(targets, y_pred), weights, divisor)
        gradient = derivative(targets, y_pred)
        if weights is not None:
            gradient *= weights[..., None]
        if divisor:
            gradient /= divisor
        else:  # weights of sum 0: a loss of 0 whatever is predicted
            gradient[...] = 0
        return value, gradient

    def targets(self, y_true: Any, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what the formulas take as y, and which positions count, bool of shape (B, ...), or None for all."""
        return fitted(y_true, y_pred).astype(y_pred.dtype, copy=False), None

    def _prepared(self, y_true, y_pred, sample_weight, mask, logits):
        """Return the formulas to use, their arguments, and what weighs and divides their result."""
        from_logits = bool(logits) or self.from_logits
        if from_logits not in self.formulas:
            raise ValueError(f"logits is {logits!r}; {type(self).__name__} has no form from logits")
        y_pred = as_floats(y_pred)
        shape = y_pred.shape[:-1]
        targets, counted = self.targets(y_true, y_pred)
        if counted is not None:
            mask = counted if mask is None else counted & aligned("mask", mask, shape, bool)
        reduction = self.reduction or "none"
        rescaled = reduction in ("mean", "sum_over_batch_size")
        weights = merged_weights(sample_weight, mask, shape, y_pred.dtype, rescaled)
        return self.formulas[from_logits], targets, y_pred, weights, _DIVISORS[reduction](math.prod(shape), weights)

    def _reduced(self, losses, weights, divisor):
        if weights is not None:
            losses = losses * weights
        if self.reduction in ("none", None):
            return losses
        return float(losses.sum()) / divisor if divisor else 0.0


class MeanSquaredError(Loss):
    """The mean over the last axis of (y_pred - y_true)²."""

    formulas: ClassVar = {False: (squared_error, squared_error_gradient)}


class MeanAbsoluteError(Loss):
    """The mean over the last axis of |y_pred - y_true|."""

    formulas: ClassVar = {False: (absolute_error, absolute_error_gradient)}


class MeanAbsolutePercentageError(Loss):
    """100 times the mean over the last axis of |y_pred - y_true| / |y_true|, which counts as at least 1e-7."""

    formulas: ClassVar = {False: (percentage_error, percentage_error_gradient)}


class MeanSquaredLogarithmicError(Loss):
    """The mean over the last axis of (log(1 + y_pred) - log(1 + y_true))², both taken as at least 1e-7."""

    formulas: ClassVar = {False: (squared_logarithmic_error, squared_logarithmic_error_gradient)}


class Huber(Loss):
    """The mean over the last axis of e²/2 where |e| <= delta, and delta*|e| - delta²/2 beyond; e = y_pred - y_true.

    P. Huber, "Robust estimation of a location parameter", 1964.

    Parameters
    ----------
    delta : float
        Above 0.
    reduction, name
        See `Loss`.
    """

    def __init__(
        self, delta: float = 1.0, reduction: str | None = "sum_over_batch_size", name: str | None = "huber_loss"
    ):
        super().__init__(reduction, name)
        if not delta > 0:
            raise ValueError(f"delta is {delta!r}; expected a number above 0")
        self.delta = float(delta)
        self.formulas = {
            False: (partial(huber_error, delta=self.delta), partial(huber_error_gradient, delta=self.delta))
        }


class LogCosh(Loss):
    """The mean over the last axis of log cosh(y_pred - y_true): e²/2 for a small error e, |e| - log 2 for a large."""

    formulas: ClassVar = {False: (log_cosh_error, log_cosh_error_gradient)}


class CosineSimilarity(Loss):
    """Minus the cosine of the angle between y_true and y_pred, vectors along the last axis: -1 when they agree.

    Parameters
    ----------
    axis : int
        -1; there for Keras's signature.
    reduction, name
        See `Loss`.
    """

    formulas: ClassVar = {False: (negative_cosine, negative_cosine_gradient)}

    def __init__(self, axis: int = -1, reduction: str | None = "sum_over_batch_size", name: str | None = None):
        super().__init__(reduction, name)
        self.axis = _last_axis(axis)


class KLDivergence(Loss):
    """sum(y log(y / p)) over the last axis, y and p clipped to [1e-7, 1]."""

    formulas: ClassVar = {False: (divergence, divergence_gradient)}


class Poisson(Loss):
    """The mean over the last axis of p - y log(p + 1e-7): a count y expected to be p, constants left out."""

    formulas: ClassVar = {False: (poisson_likelihood, poisson_likelihood_gradient)}


class _Margin(Loss):
    """A hinge whose targets are -1 or 1; where all of a batch are 0 or 1 they stand for these."""

    def targets(self, y_true, y_pred):
        y, _ = super().targets(y_true, y_pred)
        return 2 * y - 1 if ((y == 0) | (y == 1)).all() else y, None


class Hinge(_Margin):
    """The mean over the last axis of max(1 - y*p, 0), y being -1 or 1 (0 and 1 are understood)."""

    formulas: ClassVar = {False: (margin, margin_gradient)}


class SquaredHinge(_Margin):
    """The mean over the last axis of max(1 - y*p, 0)², y being -1 or 1 (0 and 1 are understood)."""

    formulas: ClassVar = {False: (squared_margin, squared_margin_gradient)}


class CategoricalHinge(Loss):
    """max(1 + the largest wrong entry - the right one, 0), y one-hot over the last axis."""

    formulas: ClassVar = {False: (categorical_margin, categorical_margin_gradient)}


def _last_axis(axis: int) -> int:
    if axis != -1:
        raise ValueError(f"axis is {axis!r}; the loss is taken along the last axis: only -1 is allowed")
    return axis


class _Crossentropy(Loss):
    """What the crossentropies share: `from_logits`, and the last axis as the only one they work on."""

    def __init__(self, from_logits, axis, reduction, name):
        super().__init__(reduction, name)
        self.from_logits, self.axis = bool(from_logits), _last_axis(axis)


class _DenseCrossentropy(_Crossentropy):
    """A crossentropy against targets of y_pred's shape, which may be smoothed: moved towards `even`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(from_logits, axis, reduction, name)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing is {label_smoothing!r}; expected a number from 0 to 1")
        self.label_smoothing = float(label_smoothing)

    def targets(self, y_true, y_pred):
        y, _ = super().targets(y_true, y_pred)
        if self.label_smoothing:
            y = y * (1 - self.label_smoothing) + self.label_smoothing * self.even(y_pred.shape[-1])
        return y, None

    def even(self, classes: int) -> float:
        """Return the target that prefers nothing."""
        raise NotImplementedError


class BinaryCrossentropy(_DenseCrossentropy):
    """The mean over the last axis of -y log p - (1-y) log(1-p): independent yes-or-no outputs.

    Parameters
    ----------
    from_logits : bool
        y_pred are logits. Otherwise probabilities, clipped to [1e-7, 1 - 1e-7] as Keras does: an output that
        is wholly wrong costs 16.1 and, past the clip, has no gradient. From logits neither holds.
    label_smoothing : float
        s, from 0 to 1: y becomes ``y * (1 - s) + s / 2``.
    axis : int
        -1; there for Keras's signature.
    reduction, name
        See `Loss`.
    """

    fuses = "sigmoid"
    formulas: ClassVar = {
        False: (binary_from_probabilities, binary_from_probabilities_gradient),
        True: (binary_from_logits, binary_from_logits_gradient),
    }

    def even(self, classes):
        return 0.5


class CategoricalCrossentropy(_DenseCrossentropy):
    """-sum(y log p) over the last axis: one class out of C, y one-hot or a distribution.

    Parameters
    ----------
    from_logits : bool
        y_pred are logits. Otherwise they are divided by their sum and clipped to [1e-7, 1 - 1e-7].
    label_smoothing : float
        s, from 0 to 1: y becomes ``y * (1 - s) + s / C``.
    axis : int
        -1; there for Keras's signature.
    reduction, name
        See `Loss`.
    """

    fuses = "softmax"
    formulas: ClassVar = {
        False: (categorical_from_probabilities, categorical_from_probabilities_gradient),
        True: (categorical_from_logits, categorical_from_logits_gradient),
    }

    def targets(self, y_true, y_pred):
        if y_pred.shape[-1] == 1:
            warnings.warn(
                f"y_pred has shape {y_pred.shape}; one class alone always has probability 1 and loss 0. "
                "For yes or no use binary_crossentropy",
                stacklevel=4,
            )
        return super().targets(y_true, y_pred)

    def even(self, classes):
        return 1 / classes


class SparseCategoricalCrossentropy(_Crossentropy):
    """-log p of the true class, which y_true gives by its number.

    Parameters
    ----------
    from_logits : bool
        y_pred are logits. Otherwise they are clipped to [1e-7, 1 - 1e-7] and divided by their sum.
    ignore_class : int, optional
        Positions of this class (often -1 or 255) have neither loss nor gradient, and are left out of the
        mean just like masked ones.
    reduction, name
        See `Loss`.
    axis : int
        -1; there for Keras's signature.
    """

    fuses = "softmax"
    formulas: ClassVar = {
        False: (sparse_from_probabilities, sparse_from_probabilities_gradient),
        True: (sparse_from_logits, sparse_from_logits_gradient),
    }

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
    ):
        super().__init__(from_logits, axis, reduction, name)
        self.ignore_class = ignore_class

    def targets(self, y_true, y_pred):
        ids = fitted_classes(y_true, y_pred)
        counted = None
        if self.ignore_class is not None:
            counted = ids != self.ignore_class
            ids = np.where(counted, ids, 0)
        classes = y_pred.shape[-1]
        for wrong, expected in (
            (~((ids >= 0) & (ids < classes)), f"0 to {classes - 1}, as y_pred has shape {y_pred.shape}"),
            (ids % 1 != 0, "whole numbers"),
        ):
            if wrong.any():
                raise ValueError(f"y_true holds the class {ids[wrong][0]}; allowed: {expected}")
        return ids.astype(np.int64), counted


# ---------------------------------------------------------------------------------------------------------------------
# Keras's functions: the loss of each position, shape (B, ...)


def _a_position(cls: type[Loss]) -> Callable[..., np.ndarray]:
    """Return Keras's function for a loss; what follows y_true and y_pred are the class's first arguments."""

    def function(y_true: Any, y_pred: Any, *arguments: Any, **options: Any) -> np.ndarray:
        return cls(*arguments, reduction=None, **options)(y_true, y_pred)

    function.__name__ = function.__qualname__ = snake_case(cls.__name__)
    function.__doc__ = f"Return `{cls.__name__}` a position, not reduced."
    return function


mean_squared_error = _a_position(MeanSquaredError)
mean_absolute_error = _a_position(MeanAbsoluteError)
mean_absolute_percentage_error = _a_position(MeanAbsolutePercentageError)
mean_squared_logarithmic_error = _a_position(MeanSquaredLogarithmicError)
huber = _a_position(Huber)
log_cosh = _a_position(LogCosh)
cosine_similarity = _a_position(CosineSimilarity)
kl_divergence = _a_position(KLDivergence)
poisson = _a_position(Poisson)
hinge = _a_position(Hinge)
squared_hinge = _a_position(SquaredHinge)
categorical_hinge = _a_position(CategoricalHinge)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> np.ndarray:
    """Return `BinaryCrossentropy` a position, not reduced."""
    return BinaryCrossentropy(from_logits, label_smoothing, axis, reduction=None)(y_true, y_pred)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> np.ndarray:
    """Return `CategoricalCrossentropy` a position, not reduced."""
    return CategoricalCrossentropy(from_logits, label_smoothing, axis, reduction=None)(y_true, y_pred)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> np.ndarray:
    """Return `SparseCategoricalCrossentropy` a position, not reduced."""
    return SparseCategoricalCrossentropy(from_logits, ignore_class, None, axis)(y_true, y_pred)


def get(identifier: str | Mapping[str, Any] | type | Loss) -> Loss:
    """Return a loss from itself, its class, a Keras name, a ``{"class_name", "config"}`` or a function of this module.

    Raises
    ------
    ValueError, TypeError
        There is none of that name; `identifier` is none of these.
    """
    if inspect.isfunction(identifier) and globals().get(identifier.__name__) is identifier:
        identifier = identifier.__name__
    return resolve(identifier, _NAMES, Loss, "loss")


# ---------------------------------------------------------------------------------------------------------------------
# Shapes: shared with the metrics


def as_floats(y_pred: Any) -> np.ndarray:
    """Return predictions as an array of floats: float32 and float64 as they are, others in the default dtype."""
    y_pred = plain(y_pred, "y_pred")
    if y_pred.ndim == 0:
        raise ValueError(f"y_pred is the number {y_pred}; expected an array of shape (B, ..., C)")
    return y_pred if y_pred.dtype in (np.float32, np.float64) else y_pred.astype(floatx())


def fitted(y_true: Any, y_pred: np.ndarray) -> np.ndarray:
    """Return `y_true` in y_pred's shape, or raise ValueError."""
    y = plain(y_true, "y_true")
    if y.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
        y = y[..., None]
    if y.shape != y_pred.shape:
        raise ValueError(
            f"y_true has shape {np.shape(y_true)}, y_pred {y_pred.shape}; expected the same shape "
            "(the last axis may be left out where it is 1)"
        )
    return y


def fitted_classes(y_true: Any, y_pred: np.ndarray) -> np.ndarray:
    """Return `y_true`, classes by number, in y_pred's shape without its last axis, or raise ValueError."""
    ids = plain(y_true, "y_true")
    if ids.ndim == y_pred.ndim and ids.shape[-1] == 1:
        ids = ids[..., 0]
    if ids.shape != y_pred.shape[:-1]:
        raise ValueError(
            f"y_true has shape {np.shape(y_true)}, y_pred {y_pred.shape}; "
            f"classes by number have shape {y_pred.shape[:-1]} or {(*y_pred.shape[:-1], 1)}"
        )
    return ids


def aligned(name: str, weight: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return `weight` so that it broadcasts to `shape`, missing last axes filled up, or raise ValueError."""
    weight = plain(weight, name, dtype)
    if weight.ndim == len(shape) + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    full = weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim))
    if full.ndim > len(shape) or any(n not in (1, size) for n, size in zip(full.shape, shape, strict=True)):
        raise ValueError(f"{name} has shape {weight.shape}; the losses have shape {shape}, and it must broadcast to it")
    # A shape with all its axes stays as it came: "mean_with_sample_weight" divides by the sum of just those.
    return full if weight.ndim == len(shape) else np.broadcast_to(full, shape)


def merged_weights(
    sample_weight: Any, mask: Any, shape: tuple[int, ...], dtype: np.dtype, rescaled: bool
) -> np.ndarray | None:
    """Return the weights of losses (or metrics' values) of `shape`: the sample weights times the mask.

    `rescaled` makes kept positions weigh all / kept, so that a mean over all becomes one over the kept.
    None stands for no weights.
    """
    weights = None if sample_weight is None else aligned("sample_weight", sample_weight, shape, dtype)
    if mask is None:
        return weights
    kept = aligned("mask", mask, shape, bool)
    count = np.count_nonzero(kept)
    weight = dtype.type(kept.size) / dtype.type(count) if rescaled and count else dtype.type(1)
    kept = np.where(kept, weight, dtype.type(0))
    return kept if weights is None else weights * kept


_CLASSES = (
    MeanSquaredError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    Huber,
    LogCosh,
    CosineSimilarity,
    KLDivergence,
    Poisson,
    Hinge,
    SquaredHinge,
    CategoricalHinge,
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
SHORT_NAMES = {
    "bce": "BinaryCrossentropy",
    "mse": "MeanSquaredError",
    "mae": "MeanAbsoluteError",
    "mape": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError",
    "kld": "KLDivergence",
}


def named(classes: tuple[type, ...]) -> dict[str, type]:
    """Return classes by all their Keras names: their own, that in snake case, a short one small and large."""
    table = {name: cls for cls in classes for name in (cls.__name__, snake_case(cls.__name__))}
    short = {key: table[name] for key, name in SHORT_NAMES.items() if name in table}
    return {**table, **short, **{key.upper(): cls for key, cls in short.items()}}


_NAMES = named(_CLASSES)
