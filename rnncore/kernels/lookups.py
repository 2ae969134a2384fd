"""Rows that were looked up, some more than once: which are the same, and what they add up to.

Sizes: N look-ups of D entries, U distinct ids among them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from .. import config
from . import threads

HANDS = 64  # that ids are dealt into for the threads: the lowest are the words looked up most


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


def grouped(ids: np.ndarray) -> Groups:
    """Return the groups of `ids` (N,), all at least 0."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order].astype(np.int64, copy=False)
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    return Groups(ordered[first], order, np.append(first, len(ids)))


def itself(g):
    """Return g."""
    return g


def sums(rows: np.ndarray, groups: Groups, of: Callable = itself) -> np.ndarray:
    """Return what a function of each of the rows (N, D) adds up to by id, (U, D), in the order of the look-ups.

    `of` is elementwise, and plain, so that it can be compiled.
    """
    loop = _compiled(of) if config.backend() == "numba" and rows.dtype.kind == "f" else None
    if loop is None:
        return np.add.reduceat(of(rows[groups.order]), groups.first[:-1], axis=0)
    out = np.empty((len(groups.ids), rows.shape[1]), rows.dtype)
    threads.over_rows(loop, HANDS, 4 * rows.size // HANDS)(np.ascontiguousarray(rows), groups.order, groups.first, out)
    return out


@cache
def _compiled(of: Callable) -> Callable | None:
    """Return the loop over hands; None for a function that stands outside the package."""
    from .._jit import EXACT, fingerprint, from_source, inlined, kernel

    key = fingerprint([of], [_SUMS])
    return key and kernel(from_source(_SUMS, {"of": inlined(of), "HANDS": HANDS}, "sums"), f"sums.{key}", EXACT)


_SUMS = """
def sums(rows, order, first, out, begin, end):
    for hand in range(begin, end):
        for u in range(hand, out.shape[0], HANDS):
            total = out[u]
            for n in range(total.shape[0]):
                total[n] = of(rows[order[first[u]], n])
            for k in range(first[u] + 1, first[u + 1]):
                row = rows[order[k]]
                for n in range(total.shape[0]):
                    total[n] += of(row[n])
"""
