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

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from .activations import sigmoid, softmax
from .config import floatx
from .configured import Configured, look_up, resolve, snake_case

# Probabilities are kept this far from 0 and 1 before their logarithm is taken (keras.config.epsilon()).
EPSILON = 1e-7


# ---------------------------------------------------------------------------------------------------------------------
# The formulas, each (B, ..., C) -> (B, ...), and under it its derivative, (B, ..., C) -> (B, ..., C)


def squared_error(y, p):
    return np.mean((p - y) ** 2, axis=-1)


def squared_error_gradient(y, p):
    return 2 * (p - y) / p.shape[-1]


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


def _clipped(p):
    return np.clip(p, EPSILON, 1 - EPSILON)


def _through_clip(p, gradient):
    return np.where((p < EPSILON) | (p > 1 - EPSILON), 0, gradient)


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


class _Crossentropy(Loss):
    """What the crossentropies share: `from_logits`, and the last axis as the only one they work on."""

    def __init__(self, from_logits, axis, reduction, name):
        super().__init__(reduction, name)
        if axis != -1:
            raise ValueError(f"axis is {axis!r}; classes stand on the last axis: only -1 is allowed")
        self.from_logits, self.axis = bool(from_logits), axis


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


def mean_squared_error(y_true: Any, y_pred: Any) -> np.ndarray:
    """Return `MeanSquaredError` a position, not reduced."""
    return MeanSquaredError(reduction=None)(y_true, y_pred)


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
    """Return a loss from itself, its class, a Keras name or a ``{"class_name", "config"}``.

    Raises
    ------
    ValueError, TypeError
        There is none of that name; `identifier` is none of these.
    """
    return resolve(identifier, _NAMES, Loss, "loss")


# ---------------------------------------------------------------------------------------------------------------------
# Shapes: shared with the metrics


def as_floats(y_pred: Any) -> np.ndarray:
    """Return predictions as an array of floats: float32 and float64 as they are, others in the default dtype."""
    y_pred = np.asarray(y_pred)
    if y_pred.ndim == 0:
        raise ValueError(f"y_pred is the number {y_pred}; expected an array of shape (B, ..., C)")
    return y_pred if y_pred.dtype in (np.float32, np.float64) else y_pred.astype(floatx())


def fitted(y_true: Any, y_pred: np.ndarray) -> np.ndarray:
    """Return `y_true` in y_pred's shape, or raise ValueError."""
    y = np.asarray(y_true)
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
    ids = np.asarray(y_true)
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
    weight = np.asarray(weight, dtype)
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


_NAMES = {
    **{
        name: cls
        for cls in (BinaryCrossentropy, CategoricalCrossentropy, MeanSquaredError, SparseCategoricalCrossentropy)
        for name in (cls.__name__, cls().name)
    },
    "BCE": BinaryCrossentropy,
    "bce": BinaryCrossentropy,
    "MSE": MeanSquaredError,
    "mse": MeanSquaredError,
}
