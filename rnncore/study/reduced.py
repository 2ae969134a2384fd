"""What happened over a whole data set, in bounded memory: traces of batch after batch, of which only sums are kept.

Sizes: H units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np

from ..configured import look_up
from ..layers.base import Layer
from ..layers.checks import positive
from ..training import batches
from ..training.trainer import Trainer

EDGES = np.linspace(-1, 1, 81)


class Mean:
    """Of each unit over all steps that count: ``count``, ``mean``, ``std``, ``min``, ``max``; arrays (H,).

    Sums are of deviations from a batch's mean (Chan, Golub, LeVeque 1979): float32 values keep their digits.
    """

    def __init__(self) -> None:
        self.count, self.sum_of_squares = 0, np.zeros(())
        self.mean, self.min, self.max = np.zeros(()), np.asarray(np.inf), np.asarray(-np.inf)

    def add(self, values: np.ndarray, words: list[str] | None = None) -> None:
        """Take in values, (n, H)."""
        values, n = values.astype(np.float64), len(values)
        if not n:
            return
        mean, total = values.mean(axis=0), self.count + n
        apart = mean - self.mean
        self.sum_of_squares = (
            self.sum_of_squares + ((values - mean) ** 2).sum(axis=0) + apart**2 * (self.count * n / total)
        )
        self.mean = self.mean + apart * (n / total)
        self.min, self.max = np.minimum(self.min, values.min(axis=0)), np.maximum(self.max, values.max(axis=0))
        self.count = total

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of each unit."""
        return np.sqrt(self.sum_of_squares / max(self.count, 1))

    def __repr__(self) -> str:
        return f"<{self.count:,} steps, mean {np.mean(self.mean):.4g}, std {np.mean(self.std):.4g}>"


class Histogram:
    """How often each unit's values lie between `edges`: ``counts``, (bins, H); what is outside counts in the
    outermost."""

    def __init__(self, edges: np.ndarray = EDGES):
        self.edges, self.counts = np.asarray(edges, np.float64), np.zeros((len(edges) - 1, 0), np.int64)

    def add(self, values: np.ndarray, words: list[str] | None = None) -> None:
        """Take in values, (n, H)."""
        bins, units = len(self.edges) - 1, values.shape[1]
        places = np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, bins - 1)
        found = np.bincount((places * units + np.arange(units)).ravel(), minlength=bins * units).reshape(bins, units)
        self.counts = found + self.counts if self.counts.shape[1] else found

    def __repr__(self) -> str:
        total = int(self.counts[:, :1].sum())
        return f"<{total:,} steps in {len(self.edges) - 1} bins from {self.edges[0]:g} to {self.edges[-1]:g}>"


class ByWord(dict):
    """A `Mean` for each word, ``["not"].mean``: of all steps at which it stands."""

    def add(self, values: np.ndarray, words: list[str] | None = None) -> None:
        """Take in values, (n, H), and the word of each."""
        if words is None:
            raise ValueError('reduce is "words", and there are none; give them: trace(…, words=…)')
        order = np.argsort(words, kind="stable")
        named = np.asarray(words)[order]
        begins = np.flatnonzero(named[1:] != named[:-1]) + 1
        for rows in np.split(order, begins) if len(words) else ():
            self.setdefault(words[rows[0]], Mean()).add(values[rows])


KINDS: dict[str, Callable[[], Any]] = {"mean": Mean, "histogram": Histogram, "words": ByWord}


def reduced(traces: Iterable[Any], reduce: Any) -> dict[str, dict[str, Any]] | list[Any]:
    """Return what `trace` says of `reduce`: see there."""
    made = look_up(reduce, KINDS, "reduce") if isinstance(reduce, str) else None
    if made is None:
        if not callable(reduce):
            raise TypeError(f"reduce is {reduce!r}; expected {', '.join(map(repr, KINDS))} or a function of a Trace")
        return [reduce(found) for found in traces]
    sums: dict[str, dict[str, Any]] = {}
    for found in traces:
        words = None if found.words is None else np.asarray(found.words)
        for layer, series in found.items():
            own = None if words is None or words.shape != series.mask.shape else words[series.mask].tolist()
            for name, values in series.items():
                sums.setdefault(layer, {}).setdefault(name, made()).add(values[series.mask], own)
    return sums


def batches_of(model: Layer, x: Any, y: Any, words: Any, size: int, **by_row: Any) -> Iterator[dict[str, Any]]:
    """Yield the arguments of `trace` for batch after batch; `by_row` has further ones with a row a sample, or None."""
    listed = not (words is None or callable(words) or isinstance(words, Mapping))
    given = {"y": y, "words": words if listed else None, **by_row}
    weights, size = given.pop("sample_weight"), positive(size, "batch_size")
    if isinstance(model, Trainer) and all(given[name] is None for name in given if name != "y"):
        with closing(batches.source(model, x, y, weights, batch_size=size, sort=True)) as source:
            source.begin_epoch()
            for rows, targets, own in source:
                yield {"x": rows, "y": targets, "sample_weight": own, "words": words}
        return
    given |= {"x": x, "sample_weight": weights}
    for begin in range(0, len(x), size):
        part = slice(begin, begin + size)
        batch = {name: None if value is None else value[part] for name, value in given.items()}
        yield batch | {"words": batch["words"] if listed else words}
