"""Rows that wait for their updates: the only place where an optimizer and the owner of a table agree on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels import updates


class Deferred(dict[int, tuple[list[Any], updates.LateRows]]):
    """By an array's number: the settings of the updates that its rows wait for, and what makes up for them.

    See `kernels.updates.LateRows`. All updates that a row waits for are of the same settings.
    """

    def rows(
        self,
        i: int,
        owner: Any,
        settings: Sequence[Any],
        rule: updates.Rule,
        array: np.ndarray,
        slots: Sequence[np.ndarray],
    ) -> updates.LateRows:
        """Return what defers the updates of array `i`, and let the owner of the table know it, if there is one.

        Parameters
        ----------
        i : int
        owner : object with an attribute ``late``, or None
        settings : sequence
            All that a step's numbers are made of but the learning rate and the step; the first says whether the change
            of a weight fades (see `LateRows`).
        rule, array, slots
            Of the updates.
        """
        settings = [rule, *settings]
        if i not in self or self[i][0] != settings:
            self.flush(i)
            self[i] = settings, updates.LateRows(rule, array, slots, settings[1])
        late = self[i][1]
        if owner is not None and owner.late is not late:
            if owner.late is not None:  # another optimizer's
                owner.late.settle()
            owner.late = late
        return late

    def flush(self, *numbers: int) -> None:
        """Bring the rows of these arrays up to date; by default of all."""
        for i in numbers or tuple(self):
            if i in self:
                self[i][1].settle()
