"""Rows that were looked up, some more than once: which are the same, and what they add up to.

Sizes: N look-ups of D entries, U distinct ids among them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import NamedTuple

import numpy as np

from .. import config
from . import threads
from .threads import Job
from .updates import square

HANDS = 64  # that ids are dealt into for the threads: the lowest are the words looked up most
BITS = 11  # of an id that one pass of the sort goes by
DIGITS = 1 << BITS


class Groups(NamedTuple):
    """Look-ups by id.

    Attributes
    ----------
    ids : ndarray of shape (U,), int64
        Ascending, each once.
    order : ndarray of shape (N,), int64
        The look-ups, one id's after the other's, each id's as they came.
    first : ndarray of shape (U + 1,), int64
        Where an id's begin in `order`, and the end.
    """

    ids: np.ndarray
    order: np.ndarray
    first: np.ndarray

    def place(self) -> np.ndarray:
        """Return which of `ids` each look-up is of: (N,)."""
        found = np.empty(len(self.order), np.int64)
        found[self.order] = np.repeat(np.arange(len(self.ids)), np.diff(self.first))
        return found


def grouped(ids: np.ndarray) -> Groups:
    """Return the groups of `ids` (N,), all at least 0."""
    ids = np.ascontiguousarray(ids, np.int64)
    if config.backend() == "numba":
        orders = np.stack([np.arange(len(ids))] * 2)
        order = orders[_sort()(ids, orders, np.empty(DIGITS + 1, np.int64))]
    else:
        order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    return Groups(ordered[first], order, np.append(first, len(ids)))


def summed(rows: np.ndarray, groups: Groups, moment: FunctionType = square) -> tuple[np.ndarray, np.ndarray]:
    """Return what the rows (N, D) of each id add up to, (U, D), and what a moment of each does.

    They are added in the order of the look-ups, whatever the threads.
    """
    sums, moments = (np.zeros((len(groups.ids), rows.shape[1]), rows.dtype) for _ in range(2))
    if config.backend() == "numba" and rows.dtype.kind == "f":
        arrays = (np.ascontiguousarray(rows), groups.order, groups.first, sums, moments)
        threads.run(Job(_sum(moment), arrays, HANDS, 4 * rows.size))
    else:
        places, rows = np.repeat(np.arange(len(sums)), np.diff(groups.first)), rows[groups.order]
        np.add.at(sums, places, rows)
        np.add.at(moments, places, moment(rows))
    return sums, moments


def _by_digits(ids, orders, places):
    """Sort by one digit after the other, the last first, from one order into the other; return which has it all."""
    present = 0
    for k in range(ids.shape[0]):
        present |= ids[k]
    shift = 0
    old = 0
    while present >> shift:
        for digit in range(DIGITS + 1):
            places[digit] = 0
        for k in range(ids.shape[0]):
            places[(ids[k] >> shift) % DIGITS + 1] += 1
        for digit in range(DIGITS):
            places[digit + 1] += places[digit]
        for k in range(ids.shape[0]):
            lookup = orders[old, k]
            digit = (ids[lookup] >> shift) % DIGITS
            orders[1 - old, places[digit]] = lookup
            places[digit] += 1
        old = 1 - old
        shift += BITS
    return old


@cache
def _sort() -> Callable:
    from .._jit import kernel

    return kernel(_by_digits, "lookups.by_digits")


@cache
def _sum(moment: FunctionType) -> Callable:
    """Return the compiled sums over hands."""
    from .._jit import EXACT, fingerprint, from_source, inlined, kernel

    names = {"moment": inlined(moment), "HANDS": HANDS}
    return kernel(from_source(_SUM, names, "add"), f"lookups.add.{fingerprint([moment], [_SUM])}", EXACT)


_SUM = """
def add(rows, order, first, sums, moments, begin, end):
    for hand in range(begin, end):
        for u in range(hand, sums.shape[0], HANDS):
            total, taken = sums[u], moments[u]
            for k in range(first[u], first[u + 1]):
                row = rows[order[k]]
                for n in range(row.shape[0]):
                    total[n] += row[n]
                    taken[n] += moment(row[n])
"""
