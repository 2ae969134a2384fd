"""What a first training compiles, compiled by two processes: a child begins with what is needed last.

The child is a copy of this process in which a step calls no kernel: it writes down which ones it would have called.
These it compiles, the last one first, and they go to disk, where this process finds them when it comes so far.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .. import config
from .threads import noted


@contextmanager
def compiled_ahead(step: Callable[[], Any]) -> Iterator[None]:
    """While the block goes through its first step, compile in a child what it needs last, where that pays.

    Parameters
    ----------
    step : callable
        Takes such a step: in the child, where it comes to nothing.
    """
    child = _forked(step) if _pays() else None
    try:
        yield
    finally:
        if child:  # all that was needed is there, or the block failed
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _pays() -> bool:
    """Whether nothing is compiled yet, and there is a second processor to compile on."""
    if sys.platform != "linux" or config.backend() != "numba" or config.threads() < 2:
        return False
    from .._jit import any_on_disk

    return len(os.sched_getaffinity(0)) > 1 and not any_on_disk()


def _forked(step):
    """Return the child's number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: there are threads, who are at nothing
        child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            config.compiling.begin = lambda: None
            compile_backwards(step)
        finally:
            os._exit(0)
    return child


def compile_backwards(step: Callable[[], Any]) -> None:
    """Compile the kernels that a step calls, or comes to before it fails: the last one first."""
    from .._crew import compile_for

    with suppress(Exception), noted() as calls:
        step()
    for function, arguments in reversed(calls):
        with suppress(Exception):
            compile_for(function, arguments)
