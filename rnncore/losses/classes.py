"""The losses: weights, masks and reduction in their base, and for each its formulas and options."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..config import checked_dtype
from ..configured import Configured, look_up, snake_case
from . import formulas as f
from .shapes import FLOATS, aligned, as_floats, fitted, fitted_classes, merged_weights

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]
REDUCTIONS = dict.fromkeys(("none", "sum", "mean", "sum_over_batch_size", "mean_with_sample_weight"))


class Loss(Configured):
    """Base of the losses: owns sample weights, masks and reduction.

    A subclass gives `formulas`: ``{False: (loss, derivative)}`` from predictions and, where it has them,
    ``{True: (loss, derivative)}`` from logits, or both as arguments of its class statement; and `targets`, where
    y_true needs more than a change of dtype.

    Parameters
    ----------
    reduction : {"sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None}
        See the head of this package; the first two are the same.
    name : str, optional
        The class's name in snake case when not given.
    dtype : {"float32", "float64"}, optional
        What predictions are computed with in; default: the dtype that they come in.

    Attributes
    ----------
    fuses : {"sigmoid", "softmax", None}
        The activation that the loss can be computed through: given its pre-activations and ``logits=True``,
        the loss is stable and its gradient p - y.
    targets : callable
        Of y_true and y_pred, as arrays; returns what the formulas take as y, or raises ValueError.
    """

    fuses: ClassVar[str | None] = None
    formulas: Mapping[bool, tuple[Formula, Formula]] = {}
    targets: Callable[[Any, np.ndarray], np.ndarray] = staticmethod(partial(fitted, cast=True))
    from_logits = False
    label_smoothing = 0.0
    ignore_class: int | None = None

    def __init_subclass__(cls, predictions: Any = None, logits: Any = None):
        super().__init_subclass__()
        given = {False: predictions, True: logits}
        cls.formulas = {**cls.formulas, **{of: pair for of, pair in given.items() if pair is not None}}

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: str | None = None
    ):
        look_up("none" if reduction is None else reduction, REDUCTIONS, "reduction")
        self.reduction = reduction
        self.name = name or snake_case(type(self).__name__)
        self.dtype = None if dtype is None else checked_dtype(dtype).name

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
        return self._evaluated(y_true, y_pred, sample_weight, mask, logits)[0]

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
        evaluated = self._evaluated(y_true, y_pred, sample_weight, mask, logits)
        value, derivative, y, predicted, weights, divisor = evaluated
        gradient = derivative(y, predicted)
        if weights is not None:
            gradient *= weights[..., None]
        if divisor:
            gradient /= divisor
        else:  # weights of sum 0: a loss of 0 whatever is predicted
            gradient[...] = 0
        return value, gradient if self.dtype is None else gradient.astype(as_floats(y_pred).dtype, copy=False)

    def _evaluated(self, y_true, y_pred, sample_weight, mask, logits):
        """Return the loss, then what its gradient needs: derivative, y, predictions, weights, what divides."""
        from_logits = bool(logits) or self.from_logits
        if from_logits not in self.formulas:
            raise ValueError(f"logits is {logits!r}; {type(self).__name__} has no form from logits")
        if type(y_pred) is not np.ndarray or y_pred.dtype not in FLOATS or not y_pred.ndim:
            y_pred = as_floats(y_pred)
        y_pred = y_pred if self.dtype is None else y_pred.astype(self.dtype, copy=False)
        y, shape, weights = self.targets(y_true, y_pred), y_pred.shape[:-1], None
        if self.label_smoothing:
            y = y * (1 - self.label_smoothing) + self.label_smoothing * self.even(y_pred.shape[-1])
        if self.ignore_class is not None:
            counted = y != self.ignore_class
            y, mask = np.where(counted, y, 0), counted if mask is None else counted & aligned("mask", mask, shape, bool)
        reduction = self.reduction or "none"
        if sample_weight is not None or mask is not None:
            rescaled = reduction in ("mean", "sum_over_batch_size")
            weights = merged_weights(sample_weight, mask, shape, y_pred.dtype, rescaled)
        if reduction in ("none", "sum"):
            divisor = 1
        elif reduction == "mean_with_sample_weight" and weights is not None:
            divisor = float(weights.sum())
        else:
            divisor = math.prod(shape)
        formula, derivative = self.formulas[from_logits]
        value = formula(y, y_pred)
        if weights is not None:
            value = value * weights
        if reduction != "none":
            value = float(value.sum()) / divisor if divisor else 0.0
        return value, derivative, y, y_pred, weights, divisor

    @staticmethod
    def even(classes: int) -> float:
        """Return the target that prefers nothing, which smoothing moves targets to."""
        raise NotImplementedError


class MeanSquaredError(Loss, predictions=(f.squared_error, f.squared_error_gradient)):
    """The mean over the last axis of (y_pred - y_true)²."""


class MeanAbsoluteError(Loss, predictions=(f.absolute_error, f.absolute_error_gradient)):
    """The mean over the last axis of |y_pred - y_true|."""


class MeanAbsolutePercentageError(Loss, predictions=(f.percentage_error, f.percentage_error_gradient)):
    """100 times the mean over the last axis of |y_pred - y_true| / |y_true|, which counts as at least 1e-7."""


class MeanSquaredLogarithmicError(
    Loss, predictions=(f.squared_logarithmic_error, f.squared_logarithmic_error_gradient)
):
    """The mean over the last axis of (log(1 + y_pred) - log(1 + y_true))², both taken as at least 1e-7."""


class Huber(Loss):
    """The mean over the last axis of e²/2 where |e| <= delta, and delta*|e| - delta²/2 beyond; e = y_pred - y_true.

    P. Huber, "Robust estimation of a location parameter", 1964.

    Parameters
    ----------
    delta : float
        Above 0.
    reduction, name, dtype
        See `Loss`.
    """

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: str | None = None,
    ):
        super().__init__(reduction, name, dtype)
        if not delta > 0:
            raise ValueError(f"delta is {delta!r}; expected a number above 0")
        self.delta = delta = float(delta)
        self.formulas = {False: (partial(f.huber_error, delta=delta), partial(f.huber_error_gradient, delta=delta))}


class LogCosh(Loss, predictions=(f.log_cosh_error, f.log_cosh_error_gradient)):
    """The mean over the last axis of log cosh(y_pred - y_true): e²/2 for a small error e, |e| - log 2 for a large."""


class CosineSimilarity(Loss, predictions=(f.negative_cosine, f.negative_cosine_gradient)):
    """Minus the cosine of the angle between y_true and y_pred, vectors along the last axis: -1 when they agree.

    Parameters
    ----------
    axis : int
        -1; there for Keras's signature.
    reduction, name, dtype
        See `Loss`.
    """

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(reduction, name, dtype)
        self.axis = _last_axis(axis)


class KLDivergence(Loss, predictions=(f.divergence, f.divergence_gradient)):
    """sum(y log(y / p)) over the last axis, y and p clipped to [1e-7, 1]."""


class Poisson(Loss, predictions=(f.poisson_likelihood, f.poisson_likelihood_gradient)):
    """The mean over the last axis of p - y log(p + 1e-7): a count y expected to be p, constants left out."""


class _Margin(Loss):
    """A hinge whose targets are -1 or 1; where all of a batch are 0 or 1 they stand for these."""

    def targets(self, y_true, y_pred):
        y = super().targets(y_true, y_pred)
        return 2 * y - 1 if ((y == 0) | (y == 1)).all() else y


class Hinge(_Margin, predictions=(f.margin, f.margin_gradient)):
    """The mean over the last axis of max(1 - y*p, 0), y being -1 or 1 (0 and 1 are understood)."""


class SquaredHinge(_Margin, predictions=(f.squared_margin, f.squared_margin_gradient)):
    """The mean over the last axis of max(1 - y*p, 0)², y being -1 or 1 (0 and 1 are understood)."""


class CategoricalHinge(Loss, predictions=(f.categorical_margin, f.categorical_margin_gradient)):
    """max(1 + the largest wrong entry - the right one, 0), y one-hot over the last axis."""


def _last_axis(axis: int) -> int:
    if axis != -1:
        raise ValueError(f"axis is {axis!r}; the loss is taken along the last axis: only -1 is allowed")
    return axis


class _Crossentropy(Loss):
    """What the crossentropies share: `from_logits`, and the last axis as the only one they work on."""

    def __init__(self, from_logits, axis, reduction, name, dtype):
        super().__init__(reduction, name, dtype)
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
        dtype: str | None = None,
    ):
        super().__init__(from_logits, axis, reduction, name, dtype)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing is {label_smoothing!r}; expected a number from 0 to 1")
        self.label_smoothing = float(label_smoothing)


class BinaryCrossentropy(
    _DenseCrossentropy,
    predictions=(f.binary_from_probabilities, f.binary_from_probabilities_gradient),
    logits=(f.binary_from_logits, f.binary_from_logits_gradient),
):
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
    reduction, name, dtype
        See `Loss`.
    """

    fuses = "sigmoid"

    even = staticmethod(lambda classes: 0.5)


class CategoricalCrossentropy(
    _DenseCrossentropy,
    predictions=(f.categorical_from_probabilities, f.categorical_from_probabilities_gradient),
    logits=(f.categorical_from_logits, f.categorical_from_logits_gradient),
):
    """-sum(y log p) over the last axis: one class out of C, y one-hot or a distribution.

    Parameters
    ----------
    from_logits : bool
        y_pred are logits. Otherwise they are divided by their sum and clipped to [1e-7, 1 - 1e-7].
    label_smoothing : float
        s, from 0 to 1: y becomes ``y * (1 - s) + s / C``.
    axis : int
        -1; there for Keras's signature.
    reduction, name, dtype
        See `Loss`.
    """

    fuses = "softmax"

    def targets(self, y_true, y_pred):
        if y_pred.shape[-1] == 1:
            warnings.warn(
                f"y_pred has shape {y_pred.shape}; one class alone always has probability 1 and loss 0. "
                "For yes or no use binary_crossentropy",
                stacklevel=4,
            )
        return super().targets(y_true, y_pred)

    even = staticmethod(lambda classes: 1 / classes)


class SparseCategoricalCrossentropy(
    _Crossentropy,
    predictions=(f.sparse_from_probabilities, f.sparse_from_probabilities_gradient),
    logits=(f.sparse_from_logits, f.sparse_from_logits_gradient),
):
    """-log p of the true class, which y_true gives by its number.

    Parameters
    ----------
    from_logits : bool
        y_pred are logits. Otherwise they are clipped to [1e-7, 1 - 1e-7] and divided by their sum.
    ignore_class : int, optional
        Positions of this class (often -1 or 255) have neither loss nor gradient, and are left out of the
        mean just like masked ones.
    reduction, name, dtype
        See `Loss`.
    axis : int
        -1; there for Keras's signature.
    """

    fuses = "softmax"

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(from_logits, axis, reduction, name, dtype)
        self.ignore_class = ignore_class

    def targets(self, y_true, y_pred):
        ids = fitted_classes(y_true, y_pred)
        counted, classes = ids != self.ignore_class, y_pred.shape[-1]
        for wrong, expected in (
            (~((ids >= 0) & (ids < classes)), f"0 to {classes - 1}, as y_pred has shape {y_pred.shape}"),
            (ids % 1 != 0, "whole numbers"),
        ):
            wrong &= counted
            if wrong.any():
                raise ValueError(f"y_true holds the class {ids[wrong][0]}; allowed: {expected}")
        return ids.astype(np.int64)
