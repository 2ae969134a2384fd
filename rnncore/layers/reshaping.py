"""Flatten."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .base import Layer
from .pooling import channels_last


class Flatten(Layer):
    """All axes but the first in one; a vector (B,) becomes (B, 1). The mask ends here, as in Keras.

    Parameters
    ----------
    data_format : {"channels_last"}, optional
        Keras's "channels_first" is not for sequences, and refused.
    name, dtype
        See `Layer`.
    """

    input_ranks = (1, 64)

    def __init__(self, data_format: str | None = None, name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        self.data_format = channels_last(data_format, f"{self.name}: data_format")

    def call(self, x, mask=None, training=False):
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def call_backward(self, dy):
        return dy.reshape(self._shape)

    def compute_mask(self, x, mask=None):
        return None

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        rows, *others = input_shape
        return (rows, None if None in others else math.prod(others))
