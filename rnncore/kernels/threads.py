"""One pool of threads for the kernels, which run without the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

from .. import config

_WORTH_A_THREAD = 1_000_000  # floating point operations below which waking a thread costs more than it brings


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="rnncore")


def over_rows(function: Callable, rows: int, work: int) -> Callable:
    """Return ``function(*arrays, begin, end)`` as a call on all rows, split over the threads where that pays.

    Parameters
    ----------
    function : callable
        Takes its arrays, then the first row and the end of its rows.
    rows : int
    work : int
        Floating point operations a row.
    """
    parts = max(1, min(config.threads(), rows // 4, rows * work // _WORTH_A_THREAD))
    edges = [4 * (rows * n // (4 * parts)) for n in range(parts)] + [rows]

    def run(*arrays) -> None:
        if parts == 1:
            return function(*arrays, 0, rows)
        others = [_pool(parts - 1).submit(function, *arrays, begin, end) for begin, end in pairwise(edges[1:])]
        function(*arrays, edges[0], edges[1])
        for other in others:
            other.result()

    return run
