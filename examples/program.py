"""What programs for a terminal have in common: their options, results as JSON, and ends that are told in a sentence."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnncore.utils.files import replaced


def parser_of(name: str, about: str, out: str, quick: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every program has: --seed, --out, --quick, --verbose."""
    parser = argparse.ArgumentParser(prog=f"python -m examples.{name}", description=about)
    parser.add_argument("--seed", type=whole, default=0, help="of weights, order and draws (default: 0)")
    parser.add_argument(
        "--out", type=Path, default=Path("results"), help=f"the folder for {out} (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--verbose", type=int, choices=(0, 1, 2), default=1, help="as in fit (default: 1)")
    return parser


def whole(text: str) -> int:
    """Return a whole number of at least 0, for argparse."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number above 0, for argparse."""
    if not whole(text):
        raise argparse.ArgumentTypeError("0 is not a whole number above 0")
    return int(text)


def folder(path: str | os.PathLike) -> Path:
    """Make the folder that --out names, before there is work to lose, or raise ValueError; return it."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with replaced(Path(path) / ".can-be-written"):
            pass
        (Path(path) / ".can-be-written").unlink()
    except OSError as error:
        raise ValueError(f"--out is {os.fspath(path)!r}, no folder that can be written to: {error.strerror}") from error
    return Path(path)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no Ctrl-C cut what is written in the block."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def write_json(path: str | os.PathLike, results: Mapping[str, Any]) -> str | os.PathLike:
    """Write results as JSON and return the path."""
    with replaced(path) as file:
        file.write((json.dumps(results, indent=1) + "\n").encode())
    return path


def write_figure(path: Path, draw: Callable[[Any], None], size: tuple[float, float]) -> None:
    """Let `draw` fill a figure, write it and say where; without matplotlib say that there is none."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print('No figure: it needs matplotlib, pip install "rnncore[plot]"')
        return
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    draw(figure)
    with replaced(path) as file:
        figure.savefig(file, format="png")
    print(f"Figure: {path}")


def run(name: str, main: Callable[[], int]) -> int:
    """Run a program and return its exit status: 2, with one sentence, where what it was given is at fault."""
    if sys.stdout is None:  # `>&-`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, until the end
    try:
        return main()
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, TypeError, MemoryError) as error:
        print(f"python -m examples.{name}: {error}", file=sys.stderr)
        return 2
