"""What a reader passes who follows one training step: the package's functions, in the order of first entry.

    python -m benchmarks.walk_step
    python -m benchmarks.walk_step --reverse bptt/loop.py:backward      where the reverse loop has moved to

Profiled is the second `train_on_batch`, on the NumPy backend, of Embedding, LSTM, Dense. A function is counted once,
at its first entry, and stands indented by the depth of that call in the package. Lambdas and generator expressions
count, those of one function once. A list, set or dict comprehension counts with the function that it stands in: Python
compiles it into that from 3.12 on. The last line says, too, how many there are with those that 3.11 calls.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

import rnncore
from rnncore import Sequential, config
from rnncore.layers import LSTM, Dense, Embedding

PACKAGE = Path(rnncore.__file__).parent
REVERSE = "bptt/numpy_loop.py:backward"
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")


class Entry(NamedTuple):
    """A function at its first entry."""

    depth: int  # calls of the package below which it stands
    file: str  # in the package
    function: str  # its qualified name

    def __str__(self) -> str:
        return f"{self.file}:{self.function}"

    @property
    def counts(self) -> bool:
        """Whether it counts by itself, and not with the function that it stands in."""
        return not self.function.endswith(COMPREHENSIONS)


def walked(call: Callable[[], Any]) -> list[Entry]:
    """Return the functions of the package that a call enters on this thread, each once, in order of first entry."""
    found: dict[str, Entry] = {}
    depth, own, before = 0, f"{PACKAGE}{os.sep}", sys.getprofile()

    def noted(frame: FrameType, event: str, _: Any) -> None:
        nonlocal depth
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(own):
            return
        if event == "return":
            depth -= 1
            return
        entry = Entry(depth, Path(code.co_filename).relative_to(PACKAGE).as_posix(), code.co_qualname)
        found.setdefault(str(entry), entry)
        depth += 1

    sys.setprofile(noted)
    try:
        call()
    finally:
        sys.setprofile(before)
    return list(found.values())


def training_step() -> Callable[[], Any]:
    """Return the second `train_on_batch` of a small model."""
    config.set_backend("numpy")
    rng = np.random.default_rng(0)
    model = Sequential([Embedding(50, 8, mask_zero=True), LSTM(8), Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    x, y = rng.integers(0, 50, (4, 6)), rng.integers(0, 2, (4, 1))
    model.train_on_batch(x, y)
    return lambda: model.train_on_batch(x, y)


def totals(entries: list[Entry], reverse: str) -> str:
    """Return a line: how many functions and files, and where the function `reverse`, "file:name", stands.

    Raises
    ------
    ValueError
        No function of that name is entered.
    """
    places = [str(entry) for entry in entries if entry.counts]
    if reverse not in places:
        raise ValueError(f"reverse is {reverse!r}; the step enters no such function")
    files, number = len({entry.file for entry in entries}), 1 + places.index(reverse)
    both = f"{len(places)} functions in {files} files; the reverse loop is number {number}"
    return f"{both} ({len(entries)} with comprehensions)"


def main(arguments: list[str] | None = None) -> int:
    """Print the walk and the totals; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.walk_step", description=__doc__.splitlines()[0])
    parser.add_argument("--reverse", default=REVERSE, help="file:function of the reverse loop (default: %(default)s)")
    options = parser.parse_args(arguments)
    entries = walked(training_step())
    line = totals(entries, options.reverse)
    for number, entry in enumerate((entry for entry in entries if entry.counts), 1):
        print(f"{number:4} {'  ' * entry.depth}{entry}")
    print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
