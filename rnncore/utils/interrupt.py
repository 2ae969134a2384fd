"""Ctrl-C that waits for the end of a step, so that no weight is half updated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt() -> Iterator[list]:
    """Yield a list that is empty until Ctrl-C is pressed; a second Ctrl-C interrupts at once.

    Outside the main thread, where signals do not arrive, nothing changes.
    """
    pressed: list = []
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.getsignal(signal.SIGINT)
    if not callable(before):  # ignored, or not Python's: leave it so
        yield pressed
        return

    def remember(number, frame):
        if pressed:
            before(number, frame)
        pressed.append(number)

    signal.signal(signal.SIGINT, remember)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
