"""How a rule is applied to an array and its slots: by NumPy, or compiled.

With a dense gradient every entry is updated; with a sparse one the rows that it has, and the others with a gradient of
0 if they change then, too (`every`): at once by NumPy, deferred where it is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from ..compiler import pool
from ..compiler.pool import Job
from ..kernels import updates
from ..sparse import SparseGradient
from .deferred import Deferred

Gradient = np.ndarray | SparseGradient


def by_numpy(
    rule: updates.Rule,
    array: np.ndarray,
    slots: Sequence[np.ndarray],
    gradient: Gradient,
    numbers: np.ndarray,
    every: bool,
) -> None:
    """Update an array and its slots in place."""
    if not isinstance(gradient, SparseGradient):
        rule.step(array, gradient, None, slots, numbers)
        return
    ids, tables, adding = gradient.unique, (array, *slots), _adding(rule, gradient)
    if adding.function is not None:
        pool.run(adding)
    touched = list(map(itemgetter(ids), tables))
    sums, moments = adding.out
    rule.step(touched[0], sums, moments, touched[1:], numbers)
    if every:  # the touched rows, too: they are put right below
        rule.step(array, np.broadcast_to(array.dtype.type(0), array.shape), None, slots, numbers)
    for table, rows in zip(tables, touched, strict=True):
        table[ids] = rows


def compiled(
    rule: updates.Rule,
    array: np.ndarray,
    slots: Sequence[np.ndarray],
    gradient: Gradient,
    numbers: np.ndarray,
    every: bool,
    deferred: Deferred,
    i: int,
    settings: Sequence[Any],
) -> list[Job]:
    """Return the jobs that update array number `i` and its slots in place; arguments beyond NumPy's: see `Deferred`."""
    if not isinstance(gradient, SparseGradient):
        deferred.flush(i)
        return [updates.step_whole(rule, array, gradient, slots, numbers)]
    adding = _adding(rule, gradient)
    touched = *adding.out, numbers, gradient.unique
    if every:
        return [adding, deferred.rows(i, gradient.table, settings, rule, array, slots).step(*touched)]
    deferred.flush(i)
    return [adding, updates.step_rows(rule, array, slots, *touched)]


def _adding(rule: updates.Rule, gradient: SparseGradient) -> Job:
    """Return the job that adds up the rows of each id, and the moment of them that the rule takes."""
    return gradient.summing(updates.MOMENTS.get(rule.moment or "", updates.square))
