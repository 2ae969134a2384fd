"""Memory for compiled code: arrays that begin where a line of the caches does.

A load of a vector register that crosses from one line into the next costs two, and NumPy's arrays begin 16 bytes behind
the beginning of one: half the loads of 32 bytes would cross, and all of 64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

LINE = 64  # bytes of a cache line, and of the widest register


def aligned_empty(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Return an array of `shape`, to be filled, that begins with a cache line."""
    dtype, count = np.dtype(dtype), math.prod(shape)
    memory = np.empty(count + LINE // dtype.itemsize, dtype)
    first = -memory.ctypes.data % LINE // dtype.itemsize
    return memory[first : first + count].reshape(shape)
