"""LayerNormalization and BatchNormalization."""

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


class BatchNormalization(Layer):
    """Mean 0 and variance 1 of each feature over the batch and its steps, then a learned scale and centre::

        n = (x - mean) / sqrt(variance + epsilon)
        y = n * gamma + beta

    In training, mean and variance are those of the batch, without its masked steps (which are normalized like the
    others), and each call moves the averages that stand for them elsewhere::

        moving_mean = momentum * moving_mean + (1 - momentum) * mean

    and the variance's likewise. A layer that is not trainable uses the averages in training, too, and leaves them.

    Parameters
    ----------
    axis : int
        That of the features, not the batch's. Also as a list of one number, as older files have it.
    momentum : float in [0, 1]
    epsilon : float
        At least 0.
    center, scale : bool
        Whether there is a beta, and a gamma.
    beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str, Regularizer or None
    beta_constraint, gamma_constraint : str, Constraint or None
    renorm : False
        Keras's batch renormalization is not here, and refused.
    name, dtype, trainable
        See `Layer`.

    Attributes
    ----------
    gamma, beta, moving_mean, moving_variance : ndarray of the size of `axis`; the first two also None
        In this order; the last two are not trained.

    Notes
    -----
    Keras divides masked sums by their count and 1e-7 more; here by the count, and a batch of padding only has mean and
    variance 0.

    References
    ----------
    Ioffe & Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2 (with the biased variance for both, as Keras).
    """

    input_ranks = (2, 64)
    left_out = ("_normal", "_inverse", "_shares")
    moving = frozenset({"moving_mean", "moving_variance"})

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, dtype, trainable)
        only = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        if not isinstance(only, (int, np.integer)) or isinstance(only, bool):
            raise ValueError(f"{self.name}: axis is {axis!r}; expected a whole number")
        self.axis = int(only)
        self.momentum = finite(momentum, f"{self.name}: momentum")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"{self.name}: momentum is {momentum!r}; expected a number in [0, 1]")
        self.epsilon = finite(epsilon, f"{self.name}: epsilon")
        if self.epsilon < 0:
            raise ValueError(f"{self.name}: epsilon is {epsilon!r}; expected a number of at least 0")
        self.center, self.scale = flag(center, f"{self.name}: center"), flag(scale, f"{self.name}: scale")
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.renorm = flag(renorm, f"{self.name}: renorm")
        if self.renorm:
            raise ValueError(f"{self.name}: renorm is True; batch renormalization is not here")

    def feature_axis(self, shape: Sequence[int | None]) -> int:
        """Return `axis` as a place in `shape`."""
        place = self.axis % len(shape) if -len(shape) <= self.axis < len(shape) else 0
        if not place:
            raise ValueError(
                f"{self.name}: axis is {self.axis}; expected one of x, of shape {tuple(shape)}, but not the first"
            )
        return place

    def check_shape(self, shape):
        super().check_shape(shape)
        axis = self.feature_axis(shape)
        if self.built and shape[axis] != self.input_shape[axis]:
            raise ValueError(f"{self.name}: x has shape {tuple(shape)}; the layer was built for {self.input_shape}")

    def build(self, input_shape):
        size = input_shape[self.feature_axis(input_shape)]
        if size is None:
            raise ValueError(
                f"{self.name}: input_shape is {tuple(input_shape)}; the size of axis {self.axis} must be known"
            )
        self.gamma = self.beta = None
        if self.scale:
            self.add_by_options("gamma", (size,))
        if self.center:
            self.add_by_options("beta", (size,))
        self.add_weight((size,), self.moving_mean_initializer, name="moving_mean")
        self.add_weight((size,), self.moving_variance_initializer, name="moving_variance")

    def call(self, x, mask=None, training=False):
        axis = self.feature_axis(x.shape)
        self._others = others = tuple(n for n in range(x.ndim) if n != axis)
        mean, variance = self._spread(self.moving_mean), self._spread(self.moving_variance)
        self._shares: np.ndarray | None = None  # of each entry in the mean; None where the averages stand for it
        if training and self.trainable:
            kept = np.ones(x.shape[:1], bool) if mask is None else mask
            kept = np.broadcast_to(kept.reshape(kept.shape + (1,) * (x.ndim - kept.ndim)), x.shape)
            counts = np.count_nonzero(kept, axis=others, keepdims=True)
            self._shares = (kept / np.maximum(counts, 1)).astype(x.dtype)
            mean = np.sum(x * self._shares, axis=others, keepdims=True)
            variance = np.sum((x - mean) ** 2 * self._shares, axis=others, keepdims=True)
            for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average[...] = average * self.momentum + value.reshape(-1) * (1 - self.momentum)
        self._inverse = 1 / np.sqrt(variance + self.epsilon)
        self._normal = y = (x - mean) * self._inverse
        if self.scale:
            y = y * self._spread(self.gamma)
        return y + self._spread(self.beta) if self.center else y

    def call_backward(self, dy):
        n, others, shares = self._normal, self._others, self._shares
        self.gradients = {}
        # y = n * gamma + beta
        if self.scale:
            self.gradients["gamma"] = (dy * n).sum(axis=others)
        if self.center:
            self.gradients["beta"] = dy.sum(axis=others)
        dn = dy * self._spread(self.gamma) if self.scale else dy
        # n = (x - mean) * inverse: in training mean and inverse move with x, as much as its share in them
        if shares is not None:
            along = n * np.sum(dn * n, axis=others, keepdims=True)
            dn = dn - shares * (dn.sum(axis=others, keepdims=True) + along)
        return self._inverse * dn

    def _spread(self, weight: np.ndarray) -> np.ndarray:
        """Return a weight in the shape that multiplies x."""
        return np.expand_dims(weight, self._others)
