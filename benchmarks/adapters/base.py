"""What the adapters share: how a call is timed, what is compared, and the plain loop over batches."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from ..cases import Case

CHECKED = 2  # batches whose outputs are compared


def per_call(function: Callable[[], object], times: int) -> float:
    """Return the seconds a call takes, on average over so many."""
    begin = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - begin) / times


def processors() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def steps(before: list[np.ndarray], after: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a step changed in each weight."""
    return {f"step of weight {n}": new - old for n, (old, new) in enumerate(zip(before, after, strict=True))}


class Loop:
    """An adapter whose loops over batches are its own: it has ``_predicted(x)`` and ``_step(batch)``.

    Attributes
    ----------
    case : Case
    x : array_like
        Ids of words, (N, T).
    """

    case: Case
    x: Any

    def time(self, steps: int) -> float:
        if self.case.work != "train":
            return per_call(lambda: self._predicted(self.x), steps)
        self._step(0)
        batches = iter(range(1, steps + 1))
        return per_call(lambda: self._step(next(batches)), steps)

    def _rows(self, batch: int) -> slice:
        return slice(batch * self.case.batch, (batch + 1) * self.case.batch)

    def _predicted(self, x):
        raise NotImplementedError

    def _step(self, batch):
        raise NotImplementedError
