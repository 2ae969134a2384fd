"""How a rule is applied to an array and its slots: by NumPy, or compiled.

With a dense gradient every entry is updated; with a sparse one the rows that it has, and the others with a gradient of
0 if they change then, too (`every`): at once by NumPy, deferred where it is compiled. `Deferred` is where an optimizer
and the owner of a table agree on what is deferred.
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

Gradient = np.ndarray | SparseGradient


class Deferred(dict[int, tuple[list[Any], updates.DeferredUpdates]]):
    """By an array's number: the settings of its deferred updates, and these updates.

    See `kernels.updates.DeferredUpdates`. All pending updates of a row are of the same settings.
    """

    def rows(
        self,
        i: int,
        owner: Any,
        settings: Sequence[Any],
        rule: updates.Rule,
        array: np.ndarray,
        slots: Sequence[np.ndarray],
    ) -> updates.DeferredUpdates:
        """Return what defers the updates of array `i`, and let the owner of the table know it, if there is one.

        Parameters
        ----------
        i : int
        owner : object with an attribute ``deferred``, or None
        settings : sequence
            All that a step's numbers are made of but the learning rate and the step; the first says whether the change
            of a weight fades (see `DeferredUpdates`).
        rule, array, slots
            Of the updates.
        """
        settings = [rule, *settings]
        if i not in self or self[i][0] != settings:
            self.flush(i)
            self[i] = settings, updates.DeferredUpdates(rule, array, slots, settings[1])
        deferred = self[i][1]
        if owner is not None and owner.deferred is not deferred:
            if owner.deferred is not None:  # another optimizer's
                owner.deferred.flush()
            owner.deferred = deferred
        return deferred

    def flush(self, *numbers: int) -> None:
        """Take the pending updates of these arrays; by default of all."""
        for i in numbers or tuple(self):
            if i in self:
                self[i][1].flush()


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
