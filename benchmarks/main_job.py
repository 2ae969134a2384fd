"""The main job against its floor: README's training with its evaluations, and what its matrix products alone take.

    python -m benchmarks.main_job               fifteen epochs over the reviews that are at hand: some minutes
    python -m benchmarks.main_job --epochs 3

It is `python -m examples.imdb` as a user runs it. The floor is that of `python -m benchmarks`: all products of its
epochs and evaluations at the best rate that a library reaches on this machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from typing import Any

from examples.imdb.train import add_arguments, train
from examples.program import positive
from rnncore import config

from . import floor
from .cases import CASES


def main(arguments: list[str] | None = None) -> int:
    """Train, and print the time, its floor and their ratio; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.main_job", description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=positive, default=15, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="2,000 reviews to train on, 1,000 to test")
    options = parser.parse_args(arguments)
    config.set_threads(options.threads)
    gflops = floor.best(options.threads)["gflops"]
    with tempfile.TemporaryDirectory() as folder:
        job = argparse.ArgumentParser()
        add_arguments(job)
        asked = ["--epochs", str(options.epochs), "--out", folder, "--verbose", "2"]
        done = train("lstm80", job.parse_args([*asked, *(["--quick"] if options.quick else [])]))
    if done["interrupted"]:
        return 130
    least = operations(done) / (1e9 * gflops)
    taken = done["seconds"] - done["seconds_compiling"]
    print(f"\n{taken:.1f} s for {options.epochs} epochs and evaluations, {options.threads} threads")
    print(f"and {done['seconds_compiling']:.1f} s of compiling, the first time.")
    print(f"The floor is {least:.1f} s, the products at {gflops:.0f} GFLOP/s: it took {taken / least:.2f} times that.")
    return 0


def operations(done: dict[str, Any]) -> float:
    """Return the operations of all products in a training's epochs, each with an evaluation."""
    case, reviews = CASES["dropout"], done["reviews"]
    passes = case.passes * reviews["train"] + reviews["test"]
    return len(done["history"]["loss"]) * case.steps * passes * case.products(1, 1)


if __name__ == "__main__":
    raise SystemExit(main())
