"""Noise in training, beside `Dropout`: on whole features, added, multiplied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import config
from .base import Layer
from .checks import finite, fraction, seed_or_none
from .core import Dropout


class SpatialDropout1D(Dropout):
    """Dropout of whole features: what is dropped at one step of a sequence is dropped at all.

    Parameters
    ----------
    rate : float in [0, 1)
    seed : int, optional
    name, dtype
        See `Layer`.

    References
    ----------
    Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.
    """

    input_ranks = (3, 3)

    def __init__(self, rate: float, seed: int | None = None, name: str | None = None, dtype: str | None = None):
        super().__init__(rate, (None, 1, None), seed, name, dtype)


class _Noise(Layer):
    """Base of the layers that draw from a normal distribution in training."""

    def __init__(self, seed, name, dtype):
        super().__init__(name, dtype)
        self.seed = seed_or_none(seed, f"{self.name}: seed")
        self.generator = config.new_generator(self.seed)

    def normal(self, shape: Sequence[int], stddev: float) -> np.ndarray:
        """Return draws of N(0, stddev²) in the layer's dtype."""
        real = np.float32 if self.dtype == "float32" else np.float64
        return (real(stddev) * self.generator.standard_normal(shape, real)).astype(self.dtype, copy=False)


class GaussianNoise(_Noise):
    """Add draws of N(0, stddev²) in training.

    Parameters
    ----------
    stddev : float in [0, 1]
    seed : int, optional
    name, dtype
        See `Layer`.
    """

    def __init__(self, stddev: float, seed: int | None = None, name: str | None = None, dtype: str | None = None):
        super().__init__(seed, name, dtype)
        self.stddev = finite(stddev, f"{self.name}: stddev")
        if not 0 <= self.stddev <= 1:
            raise ValueError(f"{self.name}: stddev is {stddev!r}; expected a number in [0, 1], as in Keras")

    def call(self, x, mask=None, training=False):
        return x + self.normal(x.shape, self.stddev) if training and self.stddev else x

    def call_backward(self, dy):
        return dy


class GaussianDropout(_Noise):
    """Multiply with draws of N(1, rate / (1 - rate)) in training: of the mean and variance of `Dropout`'s factors.

    Parameters
    ----------
    rate : float in [0, 1)
    seed : int, optional
    name, dtype
        See `Layer`.

    References
    ----------
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014), sec. 10.
    """

    left_out = ("_factor",)

    def __init__(self, rate: float, seed: int | None = None, name: str | None = None, dtype: str | None = None):
        super().__init__(seed, name, dtype)
        self.rate = fraction(rate, f"{self.name}: rate")

    def call(self, x, mask=None, training=False):
        self._factor = None
        if training and self.rate:
            self._factor = 1 + self.normal(x.shape, math.sqrt(self.rate / (1 - self.rate)))
        return x if self._factor is None else x * self._factor

    def call_backward(self, dy):
        # y = x * factor
        return dy if self._factor is None else dy * self._factor
