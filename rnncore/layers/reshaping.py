"""Other shapes for the same numbers: Flatten, Reshape, Permute, RepeatVector. The mask ends here, as in Keras."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .base import Layer
from .checks import positive
from .pooling import channels_last


class _Reshaping(Layer):
    """Base: a subclass says the shape of the output; the order of the numbers stays."""

    input_ranks = (1, 64)

    def call(self, x, mask=None, training=False):
        self._shape = x.shape
        return x.reshape(self.compute_output_shape(x.shape))

    def call_backward(self, dy):
        return dy.reshape(self._shape)

    def compute_mask(self, x, mask=None):
        return None


class Flatten(_Reshaping):
    """All axes but the first in one; a vector (B,) becomes (B, 1).

    Parameters
    ----------
    data_format : {"channels_last"}, optional
        Keras's "channels_first" is not for sequences, and refused.
    name, dtype
        See `Layer`.
    """

    def __init__(self, data_format: str | None = None, name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        self.data_format = channels_last(data_format, f"{self.name}: data_format")

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        rows, *others = input_shape
        return (rows, None if None in others else math.prod(size or 0 for size in others))


class Reshape(_Reshaping):
    """All axes but the first in others.

    Parameters
    ----------
    target_shape : sequence of int
        Without the batch axis; one entry may be -1: what the others leave.
    name, dtype
        See `Layer`.
    """

    def __init__(self, target_shape: Sequence[int], name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        if len(target_shape) > 63:  # with the batch NumPy has no more axes
            raise ValueError(f"{self.name}: target_shape has {len(target_shape)} entries; expected at most 63")
        self.target_shape = [
            -1 if size == -1 else positive(size, f"{self.name}: target_shape[{n}]")
            for n, size in enumerate(target_shape)
        ]
        if self.target_shape.count(-1) > 1:
            raise ValueError(f"{self.name}: target_shape is {self.target_shape}; expected -1 at most once")

    def check_shape(self, shape):
        super().check_shape(shape)
        self.compute_output_shape(shape)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        rows, *others = input_shape
        if None in others:
            return (rows, *(None if size == -1 else size for size in self.target_shape))
        known = math.prod(size for size in self.target_shape if size != -1)
        left, rest = divmod(math.prod(size or 0 for size in others), known)
        if rest or (left != 1 and -1 not in self.target_shape):
            raise ValueError(
                f"{self.name}: target_shape is {self.target_shape}; x of shape {tuple(input_shape)} does not fill it"
            )
        return (rows, *(left if size == -1 else size for size in self.target_shape))


class Permute(_Reshaping):
    """The axes in another order.

    Parameters
    ----------
    dims : sequence of int
        The axes of x, from 1, in the order that they get; the batch stays in front.
    name, dtype
        See `Layer`.
    """

    def __init__(self, dims: Sequence[int], name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        self.dims = list(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"{self.name}: dims is {dims!r}; expected the numbers from 1 to that of axes, each once")
        self.input_ranks = (len(self.dims) + 1,) * 2

    def call(self, x, mask=None, training=False):
        return np.ascontiguousarray(x.transpose(0, *self.dims))

    def call_backward(self, dy):
        return np.ascontiguousarray(dy.transpose(np.argsort([0, *self.dims])))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape[axis] for axis in (0, *self.dims))


class RepeatVector(_Reshaping):
    """A vector a row, (B, D), as each of n steps, (B, n, D): what a decoder reads.

    Parameters
    ----------
    n : int
    name, dtype
        See `Layer`.
    """

    input_ranks = (2, 2)

    def __init__(self, n: int, name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        self.n = positive(n, f"{self.name}: n")

    def call(self, x, mask=None, training=False):
        return np.repeat(x[:, None], self.n, axis=1)

    def call_backward(self, dy):
        return dy.sum(axis=1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        rows, features = input_shape
        return (rows, self.n, features)
