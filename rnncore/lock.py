"""The engine's lock: one thread at a time computes, so that calls of one model from several threads are exact.

A layer keeps what its last call did, for the backward pass and for who looks inside. Two calls at once would mix their
arrays. One lock serves the whole process, not one a model: layers may be shared between models, and a call uses all
processors by itself.
"""

from __future__ import annotations

import functools
import os
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


if hasattr(os, "register_at_fork"):  # a child must not inherit a call that is half done, nor a lock that nobody holds
    os.register_at_fork(
        before=engine_lock.acquire, after_in_parent=engine_lock.release, after_in_child=engine_lock.release
    )
