"""The engine's lock: one thread at a time computes, so that calls of one model from several threads are exact.

A layer keeps what its last call did, for the backward pass and for who looks inside. Two calls at once would mix their
arrays. One lock serves the whole process, not one a model: layers may be shared between models, and a call uses all
processors by itself. A process that is forked waits for the call under way: see compiler/pool.py.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

engine_lock = threading.RLock()


def locked(function: Callable) -> Callable:
    """Return a function that runs while its thread holds the engine's lock; it may call others that do."""

    @functools.wraps(function)
    def holding(*args, **kwargs):
        with engine_lock:
            return function(*args, **kwargs)

    return holding
