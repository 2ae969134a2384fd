"""Whether arrays are finite, in one pass that copies nothing."""

from __future__ import annotations

from functools import cache

import numpy as np

from .. import config
from . import threads
from .threads import Job

HANDS = 64  # ranges that the threads share
MANY = 4096  # entries from which compiled code pays


def all_finite(*arrays: np.ndarray) -> bool:
    """Whether no entry of some arrays that are not empty is NaN or infinite."""
    jobs = []
    for array in arrays:
        if array.size < MANY or array.dtype.kind == "c":
            if not np.isfinite(array).all():
                return False
        elif not array.flags.c_contiguous or config.backend() != "numba":
            if not (np.isfinite(array.min()) and np.isfinite(array.max())):  # NaN is neither
                return False
        else:
            found = np.empty(HANDS, bool)
            jobs.append(Job(_kernel(), (array.reshape(-1), found), HANDS, array.size, found))
    return all(found.all() for found in threads.run(*jobs))


def _all_finite(flat, found, begin, end):
    size = flat.shape[0]
    for hand in range(begin, end):
        finite = True
        for n in range(np.uint64(hand * size // HANDS), np.uint64((hand + 1) * size // HANDS)):
            finite &= flat[n] - flat[n] == 0
        found[hand] = finite


@cache
def _kernel():
    from .._crew import shared
    from .._jit import EXACT

    return shared(_all_finite, "scan.all_finite", EXACT)
