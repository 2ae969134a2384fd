"""Whether an array is finite, in one pass that copies nothing."""

from __future__ import annotations

from functools import cache

import numpy as np

from .. import config
from . import threads
from .threads import Job

HANDS = 64  # ranges that the threads share
MANY = 4096  # entries from which compiled code pays


def all_finite(array: np.ndarray) -> bool:
    """Whether no entry of an array that is not empty is NaN or infinite."""
    if array.dtype.kind == "c":
        return all_finite(array.real) and all_finite(array.imag)
    if array.size < MANY:
        return bool(np.isfinite(array).all())
    if not array.flags.c_contiguous or config.backend() != "numba":
        return bool(np.isfinite(array.min()) and np.isfinite(array.max()))  # NaN is neither
    found = np.empty(HANDS, bool)
    threads.run(Job(_kernel(), (array.reshape(-1), found), HANDS, array.size))
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
    from .._jit import EXACT, kernel

    return kernel(_all_finite, "scan.all_finite", EXACT)
