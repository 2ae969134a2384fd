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

`formulas` has each formula beside its derivative, `classes` the losses made of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..configured import resolve, snake_case
from .classes import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    Loss,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from .formulas import EPSILON
from .shapes import aligned, as_floats, fitted, fitted_classes, merged_weights

_CLASSES = tuple(c for c in vars().values() if isinstance(c, type) and issubclass(c, Loss) and c is not Loss)
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
__all__ = ["Loss", "get", *(name for cls in _CLASSES for name in (cls.__name__, snake_case(cls.__name__)))]


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


def _by_position(cls: type[Loss]) -> Callable[..., np.ndarray]:
    """Return Keras's function for a loss: its values of shape (B, ...), not reduced; its arguments are the class's."""
    first = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("y_true", "y_pred")]
    own = [p for p in inspect.signature(cls).parameters.values() if p.name not in ("reduction", "name", "dtype")]
    signature = inspect.Signature([*first, *own])

    def function(*arguments: Any, **options: Any) -> np.ndarray:
        given = signature.bind(*arguments, **options).arguments
        y_true, y_pred = given.pop("y_true"), given.pop("y_pred")
        return cls(reduction=None, **given)(y_true, y_pred)  # type: ignore[return-value]

    function.__name__ = function.__qualname__ = snake_case(cls.__name__)
    function.__doc__ = f"Return `{cls.__name__}` a position, not reduced."
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


mean_squared_error = _by_position(MeanSquaredError)
mean_absolute_error = _by_position(MeanAbsoluteError)
mean_absolute_percentage_error = _by_position(MeanAbsolutePercentageError)
mean_squared_logarithmic_error = _by_position(MeanSquaredLogarithmicError)
huber = _by_position(Huber)
log_cosh = _by_position(LogCosh)
cosine_similarity = _by_position(CosineSimilarity)
kl_divergence = _by_position(KLDivergence)
poisson = _by_position(Poisson)
hinge = _by_position(Hinge)
squared_hinge = _by_position(SquaredHinge)
categorical_hinge = _by_position(CategoricalHinge)
binary_crossentropy = _by_position(BinaryCrossentropy)
categorical_crossentropy = _by_position(CategoricalCrossentropy)
sparse_categorical_crossentropy = _by_position(SparseCategoricalCrossentropy)
