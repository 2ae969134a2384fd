"""The gradient of an embedding table: the touched rows only."""

from __future__ import annotations

import numpy as np


class RowGradient:
    """A gradient that is zero but in some rows.

    Attributes
    ----------
    ids : ndarray of shape (N,), int64
        The touched rows, ascending, each once.
    rows : ndarray of shape (N, D)
        Their gradients.
    shape : tuple (V, D)
        The shape of the dense table. ``np.asarray(gradient)`` builds that table.
    """

    def __init__(self, ids: np.ndarray, rows: np.ndarray, shape: tuple[int, int]):
        self.ids, self.rows, self.shape = ids, rows, tuple(shape)

    @property
    def dtype(self) -> np.dtype:
        return self.rows.dtype

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        dense = np.zeros(self.shape, dtype or self.rows.dtype)
        dense[self.ids] = self.rows
        return dense
