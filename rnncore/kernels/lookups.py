"""Rows that were looked up, some more than once: which are the same, and what they add up to.

Sizes: N look-ups of D entries, U distinct ids among them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from .. import config
from ..compiler.pool import Job, done
from .updates import SHARDS, square


class Groups(NamedTuple):
    """Look-ups by id.

    Attributes
    ----------
    ids : ndarray of shape (U,), int64
        Ascending, each once.
    order : ndarray of shape (N,), int64
        The numbers of the look-ups, one id's after the other's, each id's in their order.
    starts : ndarray of shape (U + 1,), int64
        The position in `order` at which each id's look-ups begin, and its end.
    inverse : ndarray of shape (N,), int64
        The position in `ids` of each look-up's id.
    """

    ids: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    inverse: np.ndarray

    def once(self) -> Groups:
        """Return the groups of look-ups of the ids, each once, in their order."""
        every = np.arange(len(self.ids) + 1)
        return Groups(self.ids, every[:-1], every, every[:-1])


def grouped(ids: np.ndarray) -> Groups:
    """Return the groups of `ids` (N,), all at least 0."""
    short = ids.size > 0 and ids.max() < 1 << 16  # such numbers NumPy sorts in a third of the time
    order = np.argsort(ids.astype(np.uint16) if short else ids, kind="stable")
    ordered = ids[order].astype(np.int64)
    new = np.append(True, ordered[1:] != ordered[:-1])[: len(ids)]
    inverse = np.empty(len(ids), np.int64)
    inverse[order] = np.cumsum(new) - 1
    return Groups(ordered[new], order, np.append(np.flatnonzero(new), len(ids)), inverse)


def summing(rows: np.ndarray, groups: Groups, moment: Callable = square) -> Job:
    """Return what gives the sums of each id's rows, (U, D) from (N, D), and the sums of a moment of each row.

    They are added in the order of the look-ups, whatever the threads.
    """
    compiled = config.backend() == "numba" and rows.dtype.kind == "f"
    make, shape = np.empty if compiled else np.zeros, (len(groups.ids), rows.shape[1])
    sums = make(shape, rows.dtype), make(shape, rows.dtype)
    if compiled:
        arrays = (np.ascontiguousarray(rows), groups.order, groups.starts, *sums)
        return Job(_sum(moment), arrays, SHARDS, 4 * rows.size, sums)
    for total, part in zip(sums, (rows, moment(rows)), strict=True):
        np.add.at(total, groups.inverse, part)
    return done(sums)


@cache
def _sum(moment: Callable) -> Callable:
    """Return the compiled sums."""
    from ..compiler.cache import fingerprint
    from ..compiler.jit import EXACT, from_source, inlined
    from ..compiler.workers import parallel_kernel

    names = {"moment": inlined(moment), "SHARDS": SHARDS}
    return parallel_kernel(from_source(_SUM, names, "add"), f"lookups.add.{fingerprint([moment], [_SUM])}", EXACT)


_SUM = """
def add(rows, order, first, sums, moments, begin, end):
    for shard in range(begin, end):
        for u in range(shard, sums.shape[0], SHARDS):
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
