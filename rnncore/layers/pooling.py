"""Pooling over all steps: one vector a sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import Layer
from .checks import flag


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


def channels_last(value: str | None, label: str) -> str:
    """Return "channels_last", the one layout there is, or raise ValueError."""
    if value not in (None, "channels_last"):
        raise ValueError(f"{label} is {value!r}; expected 'channels_last' (features are the last axis) or None")
    return "channels_last"
