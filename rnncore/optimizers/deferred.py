"""Deferred updates of rows: the only place where an optimizer and the owner of a table agree on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels import updates


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
