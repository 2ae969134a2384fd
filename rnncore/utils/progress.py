"""The line that says how far training is."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from .. import config


class Progress:
    """A bar over the batches of an epoch, with loss, metrics and the time left; in the end one line an epoch.

    Where nobody hears it any more (the output is closed, the pipe broken) it says nothing, and training goes on.

    Parameters
    ----------
    label : str
        What is counted.
    total : int or None
        Batches, if that is known.
    verbose : int
        0 nothing, 1 a bar (where the output is a terminal or a notebook) and a line, 2 a line.
    before : int
        Batches that were there before.
    unit : str
        What one of them is called.
    """

    def __init__(self, label: str, total: int | None, verbose: int, before: int = 0, unit: str = "batch"):
        self.label, self.verbose, self._bar = label, verbose, None
        self._compiled = config.compiling.seconds
        if verbose == 1 and _lively():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a notebook without widgets gets a bar of letters
                from tqdm.auto import tqdm
            self._bar = tqdm(
                total=total, initial=before, desc=label, leave=False, dynamic_ncols=True, file=sys.stdout, unit=unit
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._say(self._bar.close)

    def step(self, logs: dict[str, float]) -> None:
        """One batch more."""
        if self._bar is not None:
            self._bar.set_postfix_str(written(logs), refresh=False)
            self._say(self._bar.update)

    def done(self, logs: dict[str, float], seconds: float) -> None:
        """Take the bar away and leave a line."""
        self.close()
        if self.verbose:
            compiled = config.compiling.seconds - self._compiled
            of_it = f" ({compiled:.1f}s of it compiling)" if compiled >= 0.1 else ""
            line = f"{self.label} - {seconds:.1f}s{of_it} - {written(logs)}"
            self._say(lambda: print(line, flush=True))

    def _say(self, say: Callable[[], Any]) -> None:
        try:
            say()
        except (OSError, ValueError):  # a broken pipe, a closed file
            self._bar, self.verbose = None, 0


@contextmanager
def compiling_told(verbose: int) -> Iterator[None]:
    """Say so when, within the block, a kernel must be compiled first; once, and not with `verbose` 0."""

    def tell():
        config.compiling.begin = _nothing
        with suppress(OSError, ValueError):
            print("Compiling kernels: up to a minute, once on this machine.", flush=True)

    config.compiling.begin = tell if verbose else _nothing
    try:
        yield
    finally:
        config.compiling.begin = _nothing


def _nothing() -> None:
    pass


def written(logs: dict[str, Any]) -> str:
    """Return ``loss: 0.4321 - accuracy: 0.8123``; an array's values in brackets."""
    return " - ".join(f"{name}: {_written_value(value)}" for name, value in logs.items())


def _written_value(value: Any) -> str:
    if np.ndim(value):
        return f"[{' '.join(map(_written_value, value))}]"
    return f"{value:.4f}" if abs(value) >= 1e-3 else f"{value:.4e}"


def _lively() -> bool:
    """Whether a line can be written over: in a notebook, or a terminal that knows how."""
    if type(sys.stdout).__module__.startswith("ipykernel"):
        return True
    try:
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False
