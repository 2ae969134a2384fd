"""Whether arrays are finite, in one pass that copies nothing."""

from __future__ import annotations

from functools import cache

import numpy as np

from .. import config
from ..compiler import pool
from ..compiler.pool import Job

HANDS = 64  # ranges that the threads share
MANY = 4096  # entries from which compiled code pays


def all_finite(*arrays: np.ndarray) -> bool:
    """Whether no entry of some arrays that are not empty is NaN or infinite."""
    compiled, found, jobs = config.backend() == "numba", np.ones((len(arrays), HANDS), bool), []
    for array, own in zip(arrays, found, strict=True):
        if array.size < MANY or array.dtype.kind == "c":
            own[0] = np.isfinite(array).all()
        elif compiled and array.flags.c_contiguous:
            jobs.append(Job(_kernel(), (array.reshape(-1), own), HANDS, 3 * array.size))
        else:
            own[0] = np.isfinite(array.min()) and np.isfinite(array.max())  # NaN is neither
    pool.run(*jobs)
    return bool(found.all())


def _all_finite(flat, found, begin, end):
    size = flat.shape[0]
    for hand in range(begin, end):
        finite = True
        for n in range(np.uint64(hand * size // HANDS), np.uint64((hand + 1) * size // HANDS)):
            finite &= flat[n] - flat[n] == 0
        found[hand] = finite


@cache
def _kernel():
    from ..compiler.jit import EXACT
    from ..compiler.workers import shared

    return shared(_all_finite, "scan.all_finite", EXACT)
