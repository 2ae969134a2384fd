"""How time grows with a size: t = a + b n^p, overhead a and what is above it.

    python -m benchmarks.growth            a layer by itself, there and back, over steps and batch: half a minute
    python -m benchmarks.growth --quick    tiny sizes

Of a model's words more come again in a larger batch, and rnncore computes them once: it grows more slowly than its
work does (`python -m benchmarks --sweep`). Here the inputs are numbers, none of which comes again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rnncore import config
from rnncore.layers import LSTM
from rnncore.layers.scopes import nothing_kept

from .cases import AXES, CASES

ROUNDS, SECONDS = 9, 0.15  # of a size in a round
EXPONENTS = np.arange(0.2, 4.0005, 0.005)


class Growth(NamedTuple):
    """What was fitted."""

    overhead: float  # a, seconds
    factor: float  # b, seconds
    exponent: float  # p
    error: float  # the largest relative one

    def at(self, sizes: Sequence[float]) -> np.ndarray:
        """Return the fitted seconds."""
        return self.overhead + self.factor * np.asarray(sizes, float) ** self.exponent


def fitted(sizes: Sequence[float], seconds: Sequence[float]) -> Growth:
    """Fit ``t = a + b n^p`` with a and b of at least 0, the relative errors' squares least.

    Parameters
    ----------
    sizes, seconds : sequence of float
        At least three points, all above 0.

    Returns
    -------
    Growth
        The best on a grid of exponents from 0.2 to 4 in steps of 0.005.

    Raises
    ------
    ValueError
        There are fewer than three points, or not as many of the one as of the other.
    """
    n, t = np.asarray(sizes, float), np.asarray(seconds, float)
    if n.shape != t.shape or n.size < 3:
        raise ValueError(f"sizes has {n.size} points and seconds {t.size}; expected the same number, 3 or more")
    fits = [fit for p in EXPONENTS for fit in _at_exponent(n, t, p)]
    return min(fits, key=lambda fit: np.square(fit.at(n) / t - 1).sum())


def _at_exponent(n, t, p):
    """Yield the least-squares solutions on the edge and inside of a >= 0, b >= 0."""
    for columns in ([np.ones_like(n), n**p], [np.zeros_like(n), n**p]):
        weighed = np.stack(columns, axis=1) / t[:, None]
        a, b = np.linalg.lstsq(weighed, np.ones_like(t), rcond=None)[0]
        if a >= 0 and b >= 0:
            fit = Growth(float(a), float(b), float(p), 0.0)
            yield fit._replace(error=float(np.abs(fit.at(n) / t - 1).max()))


def layer(batch: int, steps: int, units: int) -> Callable[[], None]:
    """Return what takes an LSTM through random inputs (batch, steps, units) and back; it did so once."""
    rng, lstm = np.random.default_rng(0), LSTM(units)
    x = rng.standard_normal((batch, steps, units), np.float32)
    dy = rng.standard_normal((batch, units), np.float32)
    lstm.build(x.shape)

    def there_and_back():
        with nothing_kept():
            lstm.forward(x, training=True)
            lstm.pull_back(dy)

    there_and_back()
    return there_and_back


def medians(calls: Sequence[Callable[[], None]], rounds: int = ROUNDS, seconds: float = SECONDS) -> list[float]:
    """Return the seconds of each call: the median of rounds in which all take turns."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, own in zip(calls, taken, strict=True):
            times, end = [], time.perf_counter() + seconds
            while not times or time.perf_counter() < end:
                begin = time.perf_counter()
                call()
                times.append(time.perf_counter() - begin)
            own.append(float(np.mean(times)))
    return [float(np.median(own)) for own in taken]


def measured(quick: bool) -> Iterator[tuple[str, dict[int, float], Growth]]:
    """Yield an axis, the seconds by size, and their growth."""
    case = CASES["lecture"].tiny() if quick else CASES["lecture"]
    for axis in ("steps", "batch"):
        sizes = AXES[axis][:3] if quick else AXES[axis]
        calls = [layer(**{"batch": case.batch, "steps": case.steps, "units": case.units, axis: n}) for n in sizes]
        seconds = medians(calls, rounds=2, seconds=0) if quick else medians(calls)
        yield axis, dict(zip(sizes, seconds, strict=True)), fitted(sizes, seconds)


def main(arguments: list[str] | None = None) -> int:
    """Print sizes, times and growth; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    options = parser.parse_args(arguments)
    config.set_threads(options.threads)
    for axis, seconds, growth in measured(options.quick):
        times = ", ".join(f"{n}: {1e3 * t:.3g}" for n, t in seconds.items())
        print(f"ms by {axis}: {times}")
        print(f"t = {1e3 * growth.overhead:.2g} ms + b n^{growth.exponent:.3g}, off by {growth.error:.0%} at most")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
