"""Penalties on weights or outputs that are added to the loss, under Keras's names and with its numbers.

``penalty = regularizer(w)`` is a number, ``dw = regularizer.gradient(w)`` its derivative, of w's shape and dtype.
An L2 penalty is ``l2 * sum(w**2)``, without a half; where an absolute value has its kink, the derivative is 0.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from .configured import Configured, look_up, resolve, snake_case

EPSILON = 1e-7  # Keras's: a shorter vector is not stretched to length 1


class Regularizer(Configured):
    """Base of the regularizers, and of your own: a subclass defines both methods.

    Pass ``your_regularizer`` where a name can stand; `gradient` is yours to write, as every derivative here.
    """

    def __call__(self, w: np.ndarray) -> float:
        """Return the penalty on w."""
        return 0.0

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Return the derivative of the penalty with respect to w, of w's shape and dtype."""
        if type(self).__call__ is not Regularizer.__call__:
            raise NotImplementedError(
                f"{type(self).__name__} says the penalty and not its derivative: define gradient(w), "
                "which returns it in w's shape"
            )
        return np.zeros_like(w)


class L1L2(Regularizer):
    """``l1 * sum(|w|) + l2 * sum(w**2)``.

    Parameters
    ----------
    l1, l2 : float
        At least 0. By default both are 0 and nothing is penalised, as in Keras; the *name* ``"l1_l2"`` means
        0.01 each, as Keras's documentation says.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1, self.l2 = _factor("l1", l1), _factor("l2", l2)

    def __call__(self, w):
        return float(self.l1 * np.sum(np.abs(w)) + self.l2 * np.sum(w * w))

    def gradient(self, w):
        return self.l1 * np.sign(w) + 2 * self.l2 * w


class L1(Regularizer):
    """``l1 * sum(|w|)``.

    Parameters
    ----------
    l1 : float
        At least 0.
    """

    def __init__(self, l1: float = 0.01):
        self.l1 = _factor("l1", l1)

    def __call__(self, w):
        return float(self.l1 * np.sum(np.abs(w)))

    def gradient(self, w):
        return self.l1 * np.sign(w)


class L2(Regularizer):
    """``l2 * sum(w**2)``.

    Parameters
    ----------
    l2 : float
        At least 0.
    """

    def __init__(self, l2: float = 0.01):
        self.l2 = _factor("l2", l2)

    def __call__(self, w):
        return float(self.l2 * np.sum(w * w))

    def gradient(self, w):
        return 2 * self.l2 * w


class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean of ``|cos|`` of the angles between any two rows (or columns) of a matrix.

    A single row is orthogonal to nothing: its penalty is 0 (NaN in Keras, which divides by no pairs).

    Parameters
    ----------
    factor : float
        At least 0.
    mode : {"rows", "columns"}
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = _factor("factor", factor)
        self.mode = look_up(mode, {"rows": "rows", "columns": "columns"}, "mode")

    def __call__(self, w):
        units, _, weight = self._units(w)
        return float(weight * np.sum(np.abs(_cosines(units))))

    def gradient(self, w):
        units, lengths, weight = self._units(w)
        # penalty = weight * sum over i, j of |units_i . units_j|: each pair comes twice
        dunits = 2 * weight * np.sign(_cosines(units)) @ units
        # units = v / length: what points along v changes the length only, unless that is held at EPSILON
        along = units * np.sum(dunits * units, axis=1, keepdims=True)
        dv = (dunits - np.where(lengths > EPSILON, along, 0)) / lengths
        return dv if self.mode == "rows" else dv.T

    def _units(self, w):
        """Return the vectors as rows of length 1, their lengths, and the weight of |cos| in the penalty."""
        if np.ndim(w) != 2:
            raise ValueError(f"OrthogonalRegularizer: w has shape {np.shape(w)}; expected a matrix, two axes")
        v = w if self.mode == "rows" else w.T
        lengths = np.maximum(np.sqrt(np.sum(v * v, axis=1, keepdims=True)), EPSILON)
        return v / lengths, lengths, self.factor / max(len(v) * (len(v) - 1), 1)


def _cosines(units):
    """Return the cosines between any two rows, with 0 for a row and itself."""
    products = units @ units.T
    np.fill_diagonal(products, 0)
    return products


def get(identifier: str | Mapping[str, Any] | type | Regularizer | None) -> Regularizer | None:
    """Return a regularizer from itself, its class, a Keras name or a ``{"class_name", "config"}``; None for None.

    Raises
    ------
    ValueError, TypeError
        There is none of that name; `identifier` is none of these.
    """
    if identifier == "l1_l2":
        return L1L2(0.01, 0.01)
    return None if identifier is None else resolve(identifier, _NAMES, Regularizer, "regularizer")


def _factor(name: str, value: float) -> float:
    if not isinstance(value, numbers.Real) or not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value!r}; expected a number of at least 0")
    return float(value)


# Keras has them as classes in small letters, too.
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer

_CLASSES = (L1, L1L2, L2, OrthogonalRegularizer)
_NAMES = {name: cls for cls in _CLASSES for name in (cls.__name__, snake_case(cls.__name__))} | {"l1_l2": L1L2}
