"""Pooling: over all steps, one vector a sequence, and over windows of steps.

Sizes: B rows, T steps, N windows, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..configured import look_up
from .base import Layer
from .checks import flag
from .windows import Windows, check_steps, single, warn_of_mask

_PADDINGS = {name: name for name in ("valid", "same")}


class _GlobalPooling(Layer):
    """Base of the two: a subclass says how the steps are pooled, and each one's share in the result."""

    input_ranks = (3, 3)
    left_out = ("_shares",)

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name, dtype)
        self.data_format = channels_last(data_format, f"{self.name}: data_format")
        self.keepdims = flag(keepdims, f"{self.name}: keepdims")

    def pool(self, x: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the result, (B, 1, D), and the shares in it, (B, T, D or 1), for valid steps `kept` (B, T, 1)."""
        raise NotImplementedError

    def call(self, x, mask=None, training=False):
        kept = np.ones(x.shape[:2], bool) if mask is None else mask
        y, shares = self.pool(x, kept[..., None])
        self._shares = shares.astype(x.dtype)
        return y if self.keepdims else y[:, 0]

    def call_backward(self, dy):
        # y = sum over the steps of x * share
        return (dy if self.keepdims else dy[:, None]) * self._shares

    def compute_mask(self, x, mask=None):
        return None

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        rows, _, features = input_shape
        return (rows, 1, features) if self.keepdims else (rows, features)


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean over the valid steps.

    A sequence without a valid step gives 0 (NaN in Keras, which divides by no steps).

    Parameters
    ----------
    data_format : {"channels_last"}, optional
        Inputs are (B, T, D); Keras's "channels_first" is not for sequences, and refused.
    keepdims : bool
        Whether the output is (B, 1, D) instead of (B, D).
    name, dtype
        See `Layer`.
    """

    def pool(self, x, kept):
        shares = (kept / np.maximum(kept.sum(axis=1, keepdims=True), 1)).astype(x.dtype)
        return np.sum(x * shares, axis=1, keepdims=True), shares


class GlobalMaxPooling1D(_GlobalPooling):
    """The maximum over the valid steps.

    Keras ignores the mask here and takes the maximum over padding too; rnncore does not, so that padding never
    changes a result. A sequence without a valid step gives 0. Steps with the same maximum share its gradient.

    Parameters
    ----------
    data_format : {"channels_last"}, optional
        Inputs are (B, T, D); Keras's "channels_first" is not for sequences, and refused.
    keepdims : bool
        Whether the output is (B, 1, D) instead of (B, D).
    name, dtype
        See `Layer`.
    """

    def pool(self, x, kept):
        y = np.max(np.where(kept, x, -np.inf), axis=1, keepdims=True)
        highest = kept & (x == y)
        y = np.where(kept.any(axis=1, keepdims=True), y, 0)
        return y, highest / np.maximum(highest.sum(axis=1, keepdims=True), 1)


class _WindowPooling(Layer):
    """Base of the two: a subclass says how the steps of a window are pooled, and goes back through that."""

    input_ranks = (3, 3)
    left_out = ("_place", "_counts")

    def __init__(self, pool_size, strides, padding, data_format, name, dtype):
        super().__init__(name, dtype)
        self.pool_size = single(pool_size, f"{self.name}: pool_size")
        self.strides = self.pool_size if strides is None else single(strides, f"{self.name}: strides")
        self.padding = look_up(padding, _PADDINGS, "padding", f"{self.name}: padding")
        self.data_format = channels_last(data_format, f"{self.name}: data_format")
        self.windows = Windows(self.pool_size, self.strides, 1, self.padding)

    def check_shape(self, shape):
        super().check_shape(shape)
        check_steps(self.windows, shape, self.name)

    def call(self, x, mask=None, training=False):
        warn_of_mask(mask, self.name)
        self._shape = rows, steps, features = x.shape
        return self.pool(x, (rows, self.windows.count(steps), features))

    def pool(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the result, of `shape` (B, N, D)."""
        raise NotImplementedError

    def compute_mask(self, x, mask=None):
        return None

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        rows, steps, features = input_shape
        return (rows, None if steps is None else self.windows.count(steps), features)


class MaxPooling1D(_WindowPooling):
    """The maximum over the steps of each window; of several the first one gets the gradient, as in Keras.

    A mask ends here, as in Keras: padding is read as any other step, with a warning.

    Parameters
    ----------
    pool_size : int
        Steps in a window. This and the next one also as a list or tuple of one number.
    strides : int, optional
        From one window to the next; default: `pool_size`.
    padding : {"valid", "same"}
        Windows within the steps, or enough of them to reach all: beyond the ends there is nothing.
    data_format : {"channels_last"}, optional
        Inputs are (B, T, D); Keras's "channels_first" is not for sequences, and refused.
    name, dtype
        See `Layer`.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(pool_size, strides, padding, data_format, name, dtype)

    def pool(self, x, shape):
        y, self._place = np.full(shape, -np.inf, x.dtype), np.zeros(shape, np.intp)
        for k, outputs, inputs in self.windows.places(x.shape[1]):
            self._place[:, outputs][x[:, inputs] > y[:, outputs]] = k
            y[:, outputs] = np.maximum(y[:, outputs], x[:, inputs])
        return y

    def call_backward(self, dy):
        # y[outputs] = max over k of x[inputs]
        dx = np.zeros(self._shape, dy.dtype)
        for k, outputs, inputs in self.windows.places(self._shape[1]):
            dx[:, inputs] += dy[:, outputs] * (self._place[:, outputs] == k)
        return dx


class AveragePooling1D(_WindowPooling):
    """The mean over the steps of each window.

    A mask ends here, as in Keras: padding is read as any other step, with a warning.

    Parameters
    ----------
    pool_size : int
        Steps in a window. This and the next one also as a list or tuple of one number.
    strides : int, optional
        From one window to the next; default: `pool_size`.
    padding : {"valid", "same"}
        Windows within the steps, or enough of them to reach all: what is beyond the ends does not count in the mean.
    data_format : {"channels_last"}, optional
        Inputs are (B, T, D); Keras's "channels_first" is not for sequences, and refused.
    name, dtype
        See `Layer`.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(pool_size, strides, padding, data_format, name, dtype)

    def pool(self, x, shape):
        y, self._counts = np.zeros(shape, x.dtype), np.zeros((shape[1], 1), x.dtype)
        for _, outputs, inputs in self.windows.places(x.shape[1]):
            y[:, outputs] += x[:, inputs]
            self._counts[outputs] += 1
        return y / self._counts

    def call_backward(self, dy):
        # y[outputs] = sum over k of x[inputs] / counts
        dx, shares = np.zeros(self._shape, dy.dtype), dy / self._counts.astype(dy.dtype)
        for _, outputs, inputs in self.windows.places(self._shape[1]):
            dx[:, inputs] += shares[:, outputs]
        return dx


def channels_last(value: str | None, label: str) -> str:
    """Return "channels_last", the one layout there is, or raise ValueError."""
    if value not in (None, "channels_last"):
        raise ValueError(f"{label} is {value!r}; expected 'channels_last' (features are the last axis) or None")
    return "channels_last"
