"""Which rows of a table are looked up: each once, and which of them stands where."""

from __future__ import annotations

import numpy as np

from .. import config


def distinct(ids: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the different ids, and for each place in `ids` (N,) which of them stands there.

    All ids are in [0, size). The order of the different ones is the backend's own.
    """
    if config.backend() == "numpy":
        return np.unique(ids, return_inverse=True)
    from .hoisted import numbered

    place, found = np.empty(len(ids), np.int64), np.empty(min(len(ids), size), np.int64)
    count = numbered(ids.astype(np.int64, copy=False), np.zeros(size, np.int32), place, found)
    return found[:count], place
