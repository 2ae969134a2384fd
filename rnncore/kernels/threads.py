"""One pool of threads for the kernels, which run without the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .. import config

_WORTH_A_THREAD = 5_000_000  # floating point operations below which waking a thread costs more than it brings


class Job(NamedTuple):
    """A call of ``function(*arrays, begin, end)`` on all rows, which may be cut into ranges of rows.

    Attributes
    ----------
    function : callable
        Takes its arrays, then the first row and the end of its rows. It must be compiled, or be called on all rows.
    arrays : tuple
    rows : int
    work : int
        Floating point operations, about.
    out : object
        What `run` returns for the job when it is done.
    ends : ndarray of shape (rows,), optional
        The work of the rows up to and with each, where they have not the same.
    """

    function: Callable
    arrays: tuple[Any, ...]
    rows: int
    work: int
    out: Any = None
    ends: np.ndarray | None = None

    def edge(self, n: int, parts: int) -> int:
        """Return where part n of `parts` begins: rows are cut in fours, which the kernels take at a time."""
        if n == parts:
            return self.rows
        if self.ends is None:
            return 4 * (self.rows * n // (4 * parts))
        return min(self.rows, 4 * ((int(np.searchsorted(self.ends, self.ends[-1] * n / parts)) + 2) // 4))

    def part(self, n: int, parts: int) -> None:
        """Do part n of `parts`."""
        begin, end = self.edge(n, parts), self.edge(n + 1, parts)
        if begin < end:
            self.function(*self.arrays, begin, end)


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="rnncore")


def run(*jobs: Job) -> list[Any]:
    """Do jobs that do not wait for one another, split over the threads where that pays, and return their `out`.

    However many threads there are, each row is computed in the same way: results do not depend on their number.
    """
    parts = max(1, min(config.threads(), sum(job.work for job in jobs) // _WORTH_A_THREAD))

    def part(n: int) -> None:
        for job in jobs:
            job.part(n, parts)

    others = [_pool(parts - 1).submit(part, n) for n in range(1, parts)]
    part(0)
    for other in others:
        other.result()
    return [job.out for job in jobs]
