"""What an embedding hands on and takes back: rows of a table, and the gradient of those rows only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from types import FunctionType
from typing import Any

import numpy as np

from .compiler.pool import Job, run
from .kernels import lookups
from .kernels.updates import square


class LookUps:
    """Rows of a table, each once however often it was looked up. ``np.asarray`` of it is what was looked up.

    A layer that multiplies them with weights need do so only once a row.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
        Those of the distinct ids: copies, a later change of the table does not come through.
    groups : Groups
        Of all look-ups.
    shape : tuple of int
        That of the look-ups; it and D are the shape of the whole.
    summed : bool
        Whether the gradients of a row's look-ups may be handed back added up.

    Attributes
    ----------
    place : ndarray of int
        Which row stands where.
    every, first : ndarray of int
        The look-ups, counted: all of them, and each row's first. A gradient that has one of these, the very array, for
        its `ids` needs no grouping of its own.
    """

    def __init__(self, rows: np.ndarray, groups: lookups.Groups, shape: tuple[int, ...], summed: bool = False):
        self.groups, self.rows, self.place, self.summed = groups, rows, groups.place.reshape(shape), summed

    @cached_property
    def every(self) -> np.ndarray:
        return np.arange(self.place.size)

    @cached_property
    def first(self) -> np.ndarray:
        return self.groups.order[self.groups.first[:-1]]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what was looked up."""
        return (*self.place.shape, self.rows.shape[1])

    @property
    def ndim(self) -> int:
        """Its number of axes."""
        return self.place.ndim + 1

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the rows."""
        return self.rows.dtype

    def __len__(self) -> int:
        return len(self.place)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        found = self.rows[self.place]
        return found if dtype is None else found.astype(dtype, copy=False)


class RowGradient:
    """A gradient of a table by the rows that were looked up, each as often as it was.

    Attributes
    ----------
    ids : ndarray of shape (N,), integer
        The rows looked up; an id may come more than once.
    rows : ndarray of shape (N, D)
        The gradient of each look-up; those of one id add up.
    shape : tuple (V, D)
        The shape of the dense table. ``np.asarray(gradient)`` builds that table.
    table : object with an attribute ``late``, optional
        Whose table it is, if an optimizer may leave other rows' updates for later: it puts there what knows how they
        are made up for (see `kernels.updates.LateRows`), and the owner sees to it before it reads a row.
    """

    def __init__(self, ids: np.ndarray, rows: np.ndarray, shape: tuple[int, int], table: Any = None):
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

    def summing(self, moment: FunctionType = square) -> Job:
        """Return what gives the gradients of the rows `unique`, look-ups of one id added up, and a moment's likewise.

        The moment is added up over look-ups: the sum of the squares, say, not the sum's square. So do Keras's
        optimizers on TensorFlow take the moments of an embedding's gradient.
        """
        return lookups.summing(self.rows, self.groups, moment)

    def sums(self) -> np.ndarray:
        """Return the first of them."""
        (found,) = run(self.summing())
        return found[0]

    def added_up(self) -> RowGradient:
        """Return the gradient with each id once."""
        if len(self.unique) == len(self.ids):
            return self
        made = RowGradient(self.unique, self.sums(), self.shape, self.table)
        made.groups = self.groups.once()
        return made

    def __add__(self, other: RowGradient) -> RowGradient:
        """Return the sum with another gradient of the same table."""
        if self.ids is other.ids or np.array_equal(self.ids, other.ids):  # the same look-ups
            return RowGradient(self.ids, self.rows + other.rows, self.shape)
        return RowGradient(*map(np.concatenate, ((self.ids, other.ids), (self.rows, other.rows))), self.shape)

    def looked_up(self, ids: np.ndarray, shape: tuple[int, int]) -> RowGradient:
        """Return the gradient of the table from which each row of this one was looked up, as `ids` says."""
        return RowGradient(ids[self.ids], self.rows, shape)

    def of(self, table: Any) -> RowGradient:
        """Return the gradient with the table that it is of."""
        return self._with(self.rows, table)

    def _with(self, rows, table):
        made = RowGradient(self.ids, rows, self.shape, table)
        if "groups" in vars(self):
            made.groups = self.groups
        return made

    def astype(self, dtype: str, copy: bool = True) -> RowGradient:
        """Return the gradient in another dtype, as of an array."""
        return self if self.dtype == dtype and not copy else self.mapped(lambda rows: rows.astype(dtype, copy=copy))

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> RowGradient:
        """Return the gradient with every look-up's rows changed."""
        return self._with(change(self.rows), self.table)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        dense = np.zeros(self.shape, dtype or self.dtype)
        dense[self.unique] = self.sums()
        return dense
