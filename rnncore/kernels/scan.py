"""Whether arrays are finite, in one pass that copies nothing."""

from __future__ import annotations

from functools import cache

import numpy as np

from .. import config
from ..compiler import pool
from ..compiler.pool import Job

SHARDS = 64  # ranges of entries that the threads share
MANY = 4096  # entries from which compiled code pays


def all_finite(*arrays: np.ndarray) -> bool:
    """Whether no entry of some arrays that are not empty is NaN or infinite."""
    compiled, found, jobs = config.backend() == "numba", np.ones((len(arrays), SHARDS), bool), []
    for array, own in zip(arrays, found, strict=True):
        if array.size < MANY or array.dtype.kind == "c":
            own[0] = np.isfinite(array).all()
        elif compiled and array.flags.c_contiguous:
            jobs.append(Job(_kernel(), (array.reshape(-1), own), SHARDS, 3 * array.size))
        else:
            own[0] = np.isfinite(array.min()) and np.isfinite(array.max())  # NaN is neither
    pool.run(*jobs)
    return bool(found.all())


def _all_finite(flat, found, begin, end):
    size = flat.shape[0]
    for shard in range(begin, end):
        finite = True
        for n in range(np.uint64(shard * size // SHARDS), np.uint64((shard + 1) * size // SHARDS)):
            finite &= flat[n] - flat[n] == 0
        found[shard] = finite


@cache
def _kernel():
    from ..compiler.jit import EXACT
    from ..compiler.workers import parallel_kernel

    return parallel_kernel(_all_finite, "scan.all_finite", EXACT)
