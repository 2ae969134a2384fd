"""Masking: say which steps are padding from the values of the input."""

from __future__ import annotations

import numpy as np

from .base import Layer
from .checks import finite


class Masking(Layer):
    """Mask the steps at which every feature equals `mask_value`, and set them to 0, as Keras.

    Parameters
    ----------
    mask_value : float
    name, dtype
        See `Layer`.
    """

    input_ranks = (3, 64)
    left_out = ("_kept",)

    def __init__(self, mask_value: float = 0.0, name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        self.mask_value = finite(mask_value, f"{self.name}: mask_value")

    @property
    def padding_value(self):
        return self.mask_value

    def compute_mask(self, x, mask=None):
        return np.any(x != self.mask_value, axis=-1)

    def call(self, x, mask=None, training=False):
        self._kept = self.compute_mask(x)[..., None]
        return np.where(self._kept, x, np.zeros((), x.dtype))

    def call_backward(self, dy):
        return np.where(self._kept, dy, np.zeros((), dy.dtype))
