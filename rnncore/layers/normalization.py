"""LayerNormalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import constraints, initializers, regularizers
from .base import Layer
from .checks import finite, flag


class LayerNormalization(Layer):
    """Mean 0 and variance 1 over the features of each step, then a learned scale and centre::

        n = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon)
        y = n * gamma + beta

    Parameters
    ----------
    axis : int or sequence of int
        What the means run over, and gamma and beta are for: not the batch, axis 0. Over the steps too, the means
        count padding, as in Keras.
    epsilon : float
        At least 0.
    center, scale : bool
        Whether there is a beta, and a gamma.
    beta_initializer, gamma_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str, Regularizer or None
    beta_constraint, gamma_constraint : str, Constraint or None
    name, dtype, trainable
        See `Layer`.

    Attributes
    ----------
    gamma, beta : ndarray of the sizes of `axis`, or None
        In this order.

    References
    ----------
    Ba, Kiros, Hinton, "Layer normalization", 2016, eq. 3 and 4.
    """

    left_out = ("_normal", "_inverse")

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, dtype, trainable)
        several: list[Any] = list(axis) if isinstance(axis, (list, tuple)) else [axis]
        if not several or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in several):
            raise ValueError(f"{self.name}: axis is {axis!r}; expected a whole number or several")
        whole = [int(n) for n in several]
        self.axis = whole if isinstance(axis, (list, tuple)) else whole[0]
        self.epsilon = finite(epsilon, f"{self.name}: epsilon")
        if self.epsilon < 0:
            raise ValueError(f"{self.name}: epsilon is {epsilon!r}; expected a number of at least 0")
        self.center, self.scale = flag(center, f"{self.name}: center"), flag(scale, f"{self.name}: scale")
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    def axes(self, shape: Sequence[int | None]) -> tuple[int, ...]:
        """Return `axis` as places in `shape`, in order."""
        several = self.axis if isinstance(self.axis, list) else [self.axis]
        places = sorted({n % len(shape) for n in several if -len(shape) <= n < len(shape)})
        if len(places) < len(several) or 0 in places:
            raise ValueError(
                f"{self.name}: axis is {self.axis}; expected axes of x, of shape {tuple(shape)}, but not the first"
            )
        return tuple(places)

    def check_shape(self, shape):
        super().check_shape(shape)
        axes = self.axes(shape)
        if self.built and [shape[n] for n in axes] != [self.input_shape[n] for n in axes]:
            raise ValueError(f"{self.name}: x has shape {tuple(shape)}; the layer was built for {self.input_shape}")

    def build(self, input_shape):
        sizes = [input_shape[n] for n in self.axes(input_shape)]
        if None in sizes:
            raise ValueError(
                f"{self.name}: input_shape is {tuple(input_shape)}; the sizes of axis {self.axis} must be known"
            )
        self.gamma = self.beta = None
        if self.scale:
            self.add_by_options("gamma", sizes)
        if self.center:
            self.add_by_options("beta", sizes)

    def call(self, x, mask=None, training=False):
        self._axes = axes = self.axes(x.shape)
        self._others = tuple(n for n in range(x.ndim) if n not in axes)
        centred = x - x.mean(axis=axes, keepdims=True)
        self._inverse = 1 / np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + self.epsilon)
        self._normal = y = centred * self._inverse
        if self.scale:
            y = y * self._spread(self.gamma)
        return y + self._spread(self.beta) if self.center else y

    def call_backward(self, dy):
        axes, n = self._axes, self._normal
        self.gradients = {}
        # y = n * gamma + beta
        if self.scale:
            self.gradients["gamma"] = (dy * n).sum(axis=self._others)
        if self.center:
            self.gradients["beta"] = dy.sum(axis=self._others)
        dn = dy * self._spread(self.gamma) if self.scale else dy
        # n = (x - mean(x)) * inverse: it does not move with x's mean, nor (but for epsilon) with x's length
        along = n * np.mean(dn * n, axis=axes, keepdims=True)
        return self._inverse * (dn - dn.mean(axis=axes, keepdims=True) - along)

    def _spread(self, weight: np.ndarray) -> np.ndarray:
        """Return a weight in the shape that multiplies x."""
        return np.expand_dims(weight, self._others)
