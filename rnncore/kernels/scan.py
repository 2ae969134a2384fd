"""Whether arrays are finite, by passes that copy nothing."""

from __future__ import annotations

import numpy as np


def all_finite(*arrays: np.ndarray) -> bool:
    """Whether no entry of some arrays that are not empty is NaN or infinite."""
    for array in arrays:
        ends = array if array.dtype.kind == "c" else (array.min(), array.max())  # NaN is neither of the two
        if not np.isfinite(ends).all():
            return False
    return True
