"""Rows of a table that were looked up, and the sparse gradient of the table: that of these rows only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from .compiler.pool import Job, run
from .kernels import lookups
from .kernels.updates import square


class EmbeddedRows:
    """What an embedding returns to the next layer: each row that was looked up, once, and which row each look-up got.

    ``np.asarray`` of it is what was looked up. A layer that multiplies the rows with weights does so only once a row.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
        Copies of the rows of the distinct ids.
    groups : Groups
        Of all look-ups.
    shape : tuple of int
        The shape of the ids.
    summed : bool
        Whether the backward pass may return one gradient a row, the sum of those of its look-ups.

    Attributes
    ----------
    inverse : ndarray of int
        Array of the shape of the ids: the position in `rows` of each.
    every, first : ndarray of int
        The numbers of all look-ups, and of each row's first. A gradient with one of these very arrays for its `ids`
        needs no grouping of its own.
    """

    def __init__(self, rows: np.ndarray, groups: lookups.Groups, shape: tuple[int, ...], summed: bool = False):
        self.groups, self.rows, self.inverse, self.summed = groups, rows, groups.inverse.reshape(shape), summed

    @cached_property
    def every(self) -> np.ndarray:
        return np.arange(self.inverse.size)

    @cached_property
    def first(self) -> np.ndarray:
        return self.groups.order[self.groups.starts[:-1]]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what was looked up."""
        return (*self.inverse.shape, self.rows.shape[1])

    @property
    def ndim(self) -> int:
        """Its number of axes."""
        return self.inverse.ndim + 1

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the rows."""
        return self.rows.dtype

    def __len__(self) -> int:
        return len(self.inverse)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        found = self.rows[self.inverse]
        return found if dtype is None else found.astype(dtype, copy=False)


class SparseGradient:
    """A sparse gradient of a table, one row a look-up: what TensorFlow calls indexed slices.

    Attributes
    ----------
    ids : ndarray of shape (N,), integer
        The rows looked up; an id may come more than once.
    rows : ndarray of shape (N, D)
        The gradient of each look-up; those of one id add up.
    shape : tuple (V, D)
        The shape of the dense table. ``np.asarray(gradient)`` builds that table.
    table : object with an attribute ``deferred``, optional
        Whose table it is, if an optimizer may defer the updates of other rows: it puts a `DeferredUpdates` there, and
        the owner flushes it before it reads a row.
    """

    def __init__(self, ids: np.ndarray, rows: np.ndarray, shape: tuple[int, ...], table: Any = None):
        self.ids, self.rows, self.shape, self.table = ids, rows, tuple(shape), table

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the rows."""
        return self.rows.dtype

    @cached_property
    def groups(self) -> lookups.Groups:
        return lookups.grouped(self.ids)

    @property
    def unique(self) -> np.ndarray:
        """The ids, ascending, each once."""
        return self.groups.ids

    def summing(self, moment: Callable = square) -> Job:
        """Return what sums the gradients of each id in `unique`, and a moment of them.

        The moment is summed over look-ups: it is the sum of the squares, say, not the square of the sum. So do Keras's
        optimizers on TensorFlow take the moments of an embedding's gradient.
        """
        return lookups.summing(self.rows, self.groups, moment)

    def sums(self) -> np.ndarray:
        """Return the sums of the gradients of each id in `unique`."""
        (found,) = run(self.summing())
        return found[0]

    def added_up(self) -> SparseGradient:
        """Return the gradient with each id once."""
        if len(self.unique) == len(self.ids):
            return self
        made = SparseGradient(self.unique, self.sums(), self.shape, self.table)
        made.groups = self.groups.once()
        return made

    def __add__(self, other: SparseGradient) -> SparseGradient:
        """Return the sum with another gradient of the same table."""
        if self.ids is other.ids or np.array_equal(self.ids, other.ids):  # the same look-ups
            return SparseGradient(self.ids, self.rows + other.rows, self.shape)
        ids, rows = np.concatenate([self.ids, other.ids]), np.concatenate([self.rows, other.rows])
        return SparseGradient(ids, rows, self.shape)

    def looked_up(self, ids: np.ndarray, shape: tuple[int, int]) -> SparseGradient:
        """Return the gradient of the table from which each row of this one was looked up, as `ids` says."""
        return SparseGradient(ids[self.ids], self.rows, shape)

    def of(self, table: Any) -> SparseGradient:
        """Return the gradient with the table that it is of."""
        return self._with(self.rows, table)

    def _with(self, rows, table):
        made = SparseGradient(self.ids, rows, self.shape, table)
        if "groups" in vars(self):
            made.groups = self.groups
        return made

    def astype(self, dtype: str, copy: bool = True) -> SparseGradient:
        """Return the gradient in another dtype, as of an array."""
        return self if self.dtype == dtype and not copy else self.mapped(lambda rows: rows.astype(dtype, copy=copy))

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> SparseGradient:
        """Return the gradient with every look-up's rows changed."""
        return self._with(change(self.rows), self.table)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        dense = np.zeros(self.shape, dtype or self.dtype)
        dense[self.unique] = self.sums()
        return dense
