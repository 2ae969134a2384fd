"""Ctrl-C that waits for the end of a step, so that no weight is half updated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt() -> Iterator[list]:
    """Yield a list that is empty until Ctrl-C is pressed; a second Ctrl-C interrupts at once.

    Who reads the list ends its work when it can, by a KeyboardInterrupt; if the block ends first, that is raised
    here. Nothing is deferred outside the main thread, where no signals arrive, nor where Ctrl-C has another handler
    than Python's own.
    """
    pressed: list = []
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed
        return

    def remember(number, frame):
        if pressed:
            signal.default_int_handler(number, frame)
        pressed.append(number)

    signal.signal(signal.SIGINT, remember)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt("stopped at the end of training")
