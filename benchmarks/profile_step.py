"""Where the time of a training step goes, and what each part could take at best.

    python -m benchmarks.profile_step                               the lecture's model
    python -m benchmarks.profile_step --case masked --threads 1

By part: each layer forward and back, the loss, the optimizer, and what is between them, with the rate of its matrix
products, and its limit: its products at the machine's best rate, or the bytes it must read and write at the rate at
which memory is copied, whichever takes longer. By function, with one thread (with several, no Python runs between the
kernels): what cProfile counts as a function's own time, with the rate of those that are known to be products.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps

import numpy as np

from rnncore import config

from . import floor, report, texts
from .adapters.keras_like import KerasLike
from .cases import BATCHES, CASES, GATES, Case

BYTES = 4  # of a float32
# What a function has to compute in a step, by its name: the products x W and h U of one direction, so many times.
PRODUCTS = {
    "project": (1, 0),
    "forward": (0, 1),
    "backward": (0, 1),
    "weight_gradients": (1, 1),
    "input_gradients": (1, 0),
}


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_step", description=__doc__.splitlines()[0])
    trained = [name for name, case in CASES.items() if case.work == "train"]
    parser.add_argument("--case", choices=trained, default="lecture", help="default: %(default)s")
    parser.add_argument("--backend", choices=config.BACKENDS, default=config.backend(), help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="default: %(default)s")
    parser.add_argument("--functions", type=int, default=16, help="how many are listed (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a tiny model, drawn words")
    options = parser.parse_args(arguments)

    config.set_backend(options.backend)
    config.set_threads(options.threads)
    case = CASES[options.case].tiny() if options.quick else CASES[options.case]
    words = texts.drawn(500) if options.quick else texts.at_hand()
    rng = np.random.default_rng(0)
    weights, (x, y) = case.weights(rng), case.arrays(words, rng)
    peer = KerasLike("rnncore")
    peer.load(case, x, y, weights)
    peer.time(2)  # compiles

    gflops, bandwidth = floor.best(options.threads)["gflops"], copied(options.threads)
    print(f"{case.label()}; batch {case.batch}; {options.backend}, {options.threads} threads; {words.source}\n")
    print(f"Limits: products {gflops:.0f} GFLOP/s, memory {bandwidth:.1f} GB/s (read and written).\n")
    work = Work(case, x)
    print(report.table(*by_part(peer, work, gflops, bandwidth)))
    config.set_threads(1)
    peer.time(1)
    alone = gflops if options.threads == 1 else floor.best(1)["gflops"]
    print("\nWith one thread:\n")
    print(report.table(*by_function(peer, work, alone, options.functions)))
    return 0


class Work:
    """What a step of a case has to do, on average over its batches: floating point operations, and bytes."""

    def __init__(self, case: Case, x: np.ndarray):
        self.case, self.words = case, case.words(x) * case.batch / len(x)
        self.distinct = np.mean([len(np.unique(batch)) for batch in x.reshape(-1, case.batch * case.steps)])

    def products(self, *which: int) -> float:
        """Return the operations of `Case.products` in a step."""
        return self.words * self.case.products(*which)

    def parts(self, layers: list[str]) -> dict[tuple[str, str], tuple[float, float]]:
        """Return operations and bytes by layer and way through it, and of the optimizer.

        What must be moved: a layer's input, its gates and its states are written once, and read once on the way back,
        where their gradients are written; Adam reads and writes a weight and two moments, and reads the gradient.
        """
        case = self.case
        found = {(layers[0], "forward"): (0.0, self.words * 2 * case.embedding * BYTES)}
        for n, size in enumerate(case.sizes):
            moved = self.words * (size + case.directions * (GATES[case.layer] + 2) * case.units) * BYTES
            found[layers[1 + n], "forward"] = self.products(1, 1, n), moved
            found[layers[1 + n], "back"] = self.products(2, 2, n), 2 * moved
        _, *weights = case.weights(np.random.default_rng(0))
        entries = self.distinct * case.embedding + sum(weight.size for weight in weights)
        return {**found, ("optimizer", ""): (0.0, 7 * entries * BYTES)}


def by_part(peer: KerasLike, work: Work, gflops: float, bandwidth: float) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the first table: means over the steps."""
    model = peer.model
    watched = {
        ("loss", ""): (model.loss, "value_and_gradient"),
        ("optimizer", ""): (model.optimizer, "apply_gradients"),
    }
    for layer in model.layers:
        watched[layer.name, "forward"], watched[layer.name, "back"] = (layer, "call"), (layer, "call_backward")
    times: dict[tuple[str, str], list[float]] = {part: [] for part in watched}
    for part, (owner, method) in watched.items():
        setattr(owner, method, _watched(getattr(owner, method), times[part]))
    whole = peer.time(BATCHES)
    for owner, method in watched.values():
        delattr(owner, method)

    taken = {part: float(np.mean(seconds[-BATCHES:])) for part, seconds in times.items() if seconds}
    taken["between", "them"] = whole - sum(taken.values())
    parts, rows = work.parts([layer.name for layer in model.layers]), []
    for part in sorted(taken, key=taken.get, reverse=True):
        operations, moved = parts.get(part, (0.0, 0.0))
        limit = max(operations / (1e9 * gflops), moved / (1e9 * bandwidth))
        rows.append([" ".join(part), *_rated(taken[part], whole, operations, gflops), _ms(limit) if limit else ""])
    rows.append(["the step", *_rated(whole, whole, work.products(3, 3), gflops), ""])
    return ["part", "ms", "of the step", "GFLOP/s", "of the best", "limit, ms"], rows


def by_function(peer: KerasLike, work: Work, gflops: float, count: int) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the second table: means over the steps."""
    profile = cProfile.Profile()
    profile.enable()
    peer.time(BATCHES)
    profile.disable()
    steps = BATCHES + 1  # the first one is not in `time`'s mean, but it is in the profile
    statistics = pstats.Stats(profile).stats
    found = {place: own / steps for place, (_, _, own, _, _) in statistics.items()}
    whole = sum(found.values())
    rows, rated = [], set()
    for place in sorted(found, key=found.get, reverse=True)[:count]:
        file, line, name = place
        plain = name.strip("_")
        operations = work.products(*PRODUCTS[plain]) if plain in PRODUCTS and plain not in rated else 0.0
        rated.add(plain)  # of those that share a name, the one with the time
        where = f"{os.path.basename(file)}:{line} {name}" if line else name
        rows.append([where, f"{statistics[place][1] / steps:.3g}", *_rated(found[place], whole, operations, gflops)])
    return ["function", "calls a step", "own ms", "of the step", "GFLOP/s", "of the best"], rows


def copied(threads: int, size: int = 1 << 26) -> float:
    """Return GB/s read and written when each thread copies so many bytes: the fastest of five times."""
    pairs = [(np.ones(size, np.uint8), np.ones(size, np.uint8)) for _ in range(threads)]
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(5):
            begin = time.perf_counter()
            list(pool.map(lambda pair: np.copyto(*pair), pairs))
            best = min(best, time.perf_counter() - begin)
    return 2e-9 * size * threads / best


def _watched(method: Callable, times: list[float]) -> Callable:
    @wraps(method)
    def timed(*arguments, **keywords):
        begin = time.perf_counter()
        try:
            return method(*arguments, **keywords)
        finally:
            times.append(time.perf_counter() - begin)

    return timed


def _rated(seconds, whole, operations, gflops):
    rate = 1e-9 * operations / seconds
    return [
        _ms(seconds),
        f"{seconds / whole:.0%}",
        *([f"{rate:.0f}", f"{rate / gflops:.0%}"] if operations else ["", ""]),
    ]


def _ms(seconds):
    return f"{1e3 * seconds:.3g}"


if __name__ == "__main__":
    raise SystemExit(main())
