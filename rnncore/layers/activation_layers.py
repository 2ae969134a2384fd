"""Activations with numbers or axes of their own, as layers: ReLU, LeakyReLU, ELU, Softmax."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..activations import Activation
from .checks import finite
from .core import Activated


class _ActivationLayer(Activated):
    """Base: a subclass has the formula and its derivative, with its own numbers in them."""

    def __init__(self, name: str | None, dtype: str | None):
        super().__init__(name, dtype)
        self.activation = Activation(type(self).__name__, self.formula, self.derivative, needs_input=True)

    def formula(self, z: np.ndarray) -> np.ndarray:
        """Return y."""
        raise NotImplementedError

    def derivative(self, dy: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return dz."""
        raise NotImplementedError

    def call(self, x, mask=None, training=False):
        return self.activate(x)

    def backward_from_logits(self, dz):
        return dz


class ReLU(_ActivationLayer):
    """x above a threshold, up to a greatest value; below the threshold a line through it::

        y = min(x, max_value)                    where x > threshold
        y = negative_slope * (x - threshold)     elsewhere

    Parameters
    ----------
    max_value : float, optional
        At least 0; default: no bound.
    negative_slope : float
        At least 0.
    threshold : float
        At least 0.
    name, dtype
        See `Layer`.
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name, dtype)
        self.max_value = None if max_value is None else _not_negative(max_value, f"{self.name}: max_value")
        self.negative_slope = _not_negative(negative_slope, f"{self.name}: negative_slope")
        self.threshold = _not_negative(threshold, f"{self.name}: threshold")

    def formula(self, z):
        y = np.where(z > self.threshold, z, np.zeros((), z.dtype))
        if self.max_value is not None:
            y = np.minimum(y, self.max_value)
        return y - self.negative_slope * np.maximum(self.threshold - z, 0) if self.negative_slope else y

    def derivative(self, dy, y, z):
        above = z > self.threshold
        inside = above if self.max_value is None else above & (z < self.max_value)
        return dy * inside + self.negative_slope * dy * ~above


class LeakyReLU(_ActivationLayer):
    """x where it is above 0, elsewhere a share of it: ``y = max(x, 0) + negative_slope * min(x, 0)``.

    Parameters
    ----------
    negative_slope : float
        At least 0.
    name, dtype
        See `Layer`.
    alpha : float, optional
        What older Keras calls `negative_slope`; with a warning.

    References
    ----------
    Maas, Hannun, Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.
    """

    def __init__(
        self,
        negative_slope: float = 0.3,
        name: str | None = None,
        dtype: str | None = None,
        alpha: float | None = None,
    ):
        super().__init__(name, dtype)
        if alpha is not None:
            warnings.warn(f"{self.name}: alpha is of older Keras; negative_slope says it now", stacklevel=2)
            negative_slope = alpha
        self.negative_slope, self.alpha = _not_negative(negative_slope, f"{self.name}: negative_slope"), None

    def formula(self, z):
        return np.maximum(z, 0) + self.negative_slope * np.minimum(z, 0)

    def derivative(self, dy, y, z):
        return dy * (z > 0) + self.negative_slope * dy * (z <= 0)


class ELU(_ActivationLayer):
    """x where it is above 0, elsewhere a bend towards -alpha: ``y = max(x, 0) + alpha * (exp(min(x, 0)) - 1)``.

    Parameters
    ----------
    alpha : float
    name, dtype
        See `Layer`.

    References
    ----------
    Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network learning by exponential linear units", ICLR 2016.
    """

    def __init__(self, alpha: float = 1.0, name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        self.alpha = finite(alpha, f"{self.name}: alpha")

    def formula(self, z):
        return np.maximum(z, 0) + self.alpha * np.expm1(np.minimum(z, 0))

    def derivative(self, dy, y, z):
        return dy * (z > 0) + dy * (y + self.alpha) * (z <= 0)


class Softmax(_ActivationLayer):
    """Shares that sum to 1: ``y = exp(x) / sum(exp(x))``.

    Over the steps, masked ones get 0 and have no share; over features only, a mask passes by.

    Parameters
    ----------
    axis : int or sequence of int
        What the shares sum to 1 along; not the batch, axis 0.
    name, dtype
        See `Layer`.
    """

    def __init__(self, axis: int | Sequence[int] = -1, name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        several: list[Any] = list(axis) if isinstance(axis, (list, tuple)) else [axis]
        if not several or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in several):
            raise ValueError(f"{self.name}: axis is {axis!r}; expected a whole number or several")
        self._several = tuple(int(n) for n in several)
        self.axis = list(self._several) if isinstance(axis, (list, tuple)) else self._several[0]
        self._along = self.activation, Activation("softmax", self.formula, self.derivative, elementwise=False)

    def check_shape(self, shape):
        super().check_shape(shape)
        places = {n % len(shape) for n in self._several if -len(shape) <= n < len(shape)}
        if len(places) < len(self._several) or 0 in places:
            raise ValueError(
                f"{self.name}: axis is {self.axis}; expected axes of x, of shape {tuple(shape)}, but not the first"
            )

    def call(self, x, mask=None, training=False):
        places = [n % x.ndim for n in self._several]
        self.activation = self._along[places == [x.ndim - 1]]  # along features a crossentropy may read what goes in
        if mask is None or min(places) >= mask.ndim:
            return self.activate(x)
        kept = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
        self._y = self.activate(np.where(kept, x, np.asarray(-1e9, x.dtype))) * kept
        return self._y

    def formula(self, z):
        e = np.exp(z - np.max(z.real, axis=self._several, keepdims=True))
        return e / np.sum(e, axis=self._several, keepdims=True)

    def derivative(self, dy, y, z):
        return y * (dy - np.sum(dy * y, axis=self._several, keepdims=True))


def _not_negative(value: Any, label: str) -> float:
    value = finite(value, label)
    if value < 0:
        raise ValueError(f"{label} is {value!r}; expected a number of at least 0")
    return value
