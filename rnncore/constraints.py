"""What weights are moved to after each step of an optimizer, under Keras's names and with its numbers.

``constraint(w)`` returns the weights that keep the constraint, of w's shape and dtype. The norms are those of the
vectors along `axis`: 0 for the weights that lead into a unit of a (D, H) kernel. As in Keras, a vector is divided by
its norm plus 1e-7, so that a norm comes out smaller than said by a share of 1e-7 of it, and zeros stay zeros.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .configured import Configured, resolve, snake_case

EPSILON = 1e-7


class Constraint(Configured):
    """Base of the constraints, and of your own: a subclass defines `__call__`. By itself it allows all weights."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """Return the weights nearest to w, in the constraint's own sense, that keep it."""
        return w


class NonNeg(Constraint):
    """No weight is below 0."""

    def __call__(self, w):
        return np.maximum(w, 0)


class MinMaxNorm(Constraint):
    """Norms are from `min_value` to `max_value`.

    Parameters
    ----------
    min_value, max_value : float
        At least 0, and `min_value` not above `max_value`.
    rate : float in [0, 1]
        How far a norm goes towards its bound at each step: 1 all the way.
    axis : int or sequence of int
    """

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: int | Sequence[int] = 0
    ):
        self.max_value = _number("max_value", max_value)
        self.min_value = _number("min_value", min_value, most=self.max_value)
        self.rate = _number("rate", rate, most=1.0)
        self.axis = _axis(axis)

    def __call__(self, w):
        norms = _norms(w, self.axis)
        wanted = self.rate * np.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (wanted / (norms + EPSILON))


class MaxNorm(Constraint):
    """Norms are at most `max_value`.

    Parameters
    ----------
    max_value : float
        At least 0.
    axis : int or sequence of int
    """

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] = 0):
        self.max_value = _number("max_value", max_value)
        self.axis = _axis(axis)

    def __call__(self, w):
        norms = _norms(w, self.axis)
        return w * (np.minimum(norms, self.max_value) / (norms + EPSILON))


class UnitNorm(Constraint):
    """Norms are 1.

    Parameters
    ----------
    axis : int or sequence of int
    """

    def __init__(self, axis: int | Sequence[int] = 0):
        self.axis = _axis(axis)

    def __call__(self, w):
        return w / (_norms(w, self.axis) + EPSILON)


def get(identifier: str | Mapping[str, Any] | type | Constraint | None) -> Constraint | None:
    """Return a constraint from itself, its class, a Keras name or a ``{"class_name", "config"}``; None for None.

    Raises
    ------
    ValueError, TypeError
        There is none of that name; `identifier` is none of these.
    """
    return None if identifier is None else resolve(identifier, _NAMES, Constraint, "constraint")


def _norms(w: np.ndarray, axis: int | list[int]) -> np.ndarray:
    """Return the lengths of the vectors along `axis`, which stays as an axis of 1."""
    return np.sqrt(np.sum(w * w, axis=axis if isinstance(axis, int) else tuple(axis), keepdims=True))


def _axis(value: Any) -> int | list[int]:
    """Return an axis, or several as a list."""
    several = list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in several):
        raise ValueError(f"axis is {value!r}; expected a whole number or several")
    return several if isinstance(value, (list, tuple)) else int(value)


def _number(name: str, value: float, most: float = math.inf) -> float:
    if not isinstance(value, numbers.Real) or not 0 <= value <= most or value == math.inf:
        wanted = "of at least 0" if most == math.inf else f"in [0, {most:g}]"
        raise ValueError(f"{name} is {value!r}; expected a number {wanted}")
    return float(value)


# Keras has them as classes in small letters, too.
max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm

_CLASSES = (MaxNorm, MinMaxNorm, NonNeg, UnitNorm)
_NAMES = {name: cls for cls in _CLASSES for name in (cls.__name__, snake_case(cls.__name__))}
