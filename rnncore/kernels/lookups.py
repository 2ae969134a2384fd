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
from ..compiler import pool
from ..compiler.pool import Job, done
from .updates import HANDS, LateRows, square

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
    place : ndarray of shape (N,), int64
        Which of `ids` each look-up is of.
    """

    ids: np.ndarray
    order: np.ndarray
    first: np.ndarray
    place: np.ndarray

    def once(self) -> Groups:
        """Return the groups of look-ups of the ids, each once, in their order."""
        every = np.arange(len(self.ids) + 1)
        return Groups(self.ids, every[:-1], every, every[:-1])


def grouped(ids: np.ndarray) -> Groups:
    """Return the groups of `ids` (N,), all at least 0."""
    if config.backend() == "numba":
        count = len(ids)
        orders, found = np.empty((2, count), np.int64), np.empty((3, count + 1), np.int64)
        which, distinct = _group()(np.ascontiguousarray(ids, np.int64), orders, np.empty(DIGITS + 1, np.int64), found)
        return Groups(found[0, :distinct], orders[which], found[1, : distinct + 1], found[2, :count])
    distinct, place, counts = np.unique(ids, return_inverse=True, return_counts=True)
    first = np.append(0, np.cumsum(counts))
    return Groups(distinct.astype(np.int64), np.argsort(ids, kind="stable"), first, place)


def taken(table: np.ndarray, ids: np.ndarray, late: LateRows | None = None) -> np.ndarray:
    """Return the rows `ids` (U,) of a table (V, D), after what makes up for their updates that are late."""
    owed = [] if late is None else late.owed(ids)
    if config.backend() != "numba" or not table.flags.c_contiguous:
        pool.run(*owed)
        return table[ids]
    out = np.empty((len(ids), table.shape[1]), table.dtype)
    pool.run(*owed, Job(_take(), (table, ids, out), HANDS, 4 * out.size))
    return out


def summing(rows: np.ndarray, groups: Groups, moment: FunctionType = square) -> Job:
    """Return what gives the sums of the rows (N, D) of each id, (U, D), and those of a moment of each.

    They are added in the order of the look-ups, whatever the threads.
    """
    compiled = config.backend() == "numba" and rows.dtype.kind == "f"
    make, shape = np.empty if compiled else np.zeros, (len(groups.ids), rows.shape[1])
    sums = make(shape, rows.dtype), make(shape, rows.dtype)
    if compiled:
        arrays = (np.ascontiguousarray(rows), groups.order, groups.first, *sums)
        return Job(_sum(moment), arrays, HANDS, 4 * rows.size, sums)
    for total, part in zip(sums, (rows, moment(rows)), strict=True):
        np.add.at(total, groups.place, part)
    return done(sums)


def _groups(ids, orders, places, found):
    """Sort by one digit after the other, the last first, from one order into the other; then fill in `found`.

    Return which order has it all, and how many ids there are.
    """
    present = 0
    for k in range(ids.shape[0]):
        orders[0, k] = k
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
    distinct, first, place = found
    count = 0
    for k in range(ids.shape[0]):
        lookup = orders[old, k]
        if k == 0 or ids[lookup] != distinct[count - 1]:
            distinct[count], first[count] = ids[lookup], k
            count += 1
        place[lookup] = count - 1
    first[count] = ids.shape[0]
    return old, count


def _taken(table, ids, out, begin, end):
    for u in range(ids.shape[0]):
        if begin <= ids[u] % HANDS < end:
            source, target = table[ids[u]], out[u]
            for n in range(target.shape[0]):
                target[n] = source[n]


@cache
def _take() -> Callable:
    from ..compiler.workers import shared

    return shared(_taken, "lookups.taken")


@cache
def _group() -> Callable:
    from ..compiler.jit import kernel

    return kernel(_groups, "lookups.groups")


@cache
def _sum(moment: FunctionType) -> Callable:
    """Return the compiled sums over hands."""
    from ..compiler.cache import fingerprint
    from ..compiler.jit import EXACT, from_source, inlined
    from ..compiler.workers import shared

    names = {"moment": inlined(moment), "HANDS": HANDS}
    return shared(from_source(_SUM, names, "add"), f"lookups.add.{fingerprint([moment], [_SUM])}", EXACT)


_SUM = """
def add(rows, order, first, sums, moments, begin, end):
    for hand in range(begin, end):
        for u in range(hand, sums.shape[0], HANDS):
            total, taken = sums[u], moments[u]
            row = rows[order[first[u]]]
            for n in range(row.shape[0]):
                total[n] = row[n]
                taken[n] = moment(row[n])
            for k in range(first[u] + 1, first[u + 1]):
                row = rows[order[k]]
                for n in range(row.shape[0]):
                    total[n] += row[n]
                    taken[n] += moment(row[n])
"""
