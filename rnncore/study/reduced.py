"""What happened over a whole data set, in bounded memory: traces of batch after batch, of which only sums are kept.

Sizes: H units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np

from ..configured import look_up
from ..layers.base import Layer
from ..layers.checks import positive
from ..training import batches
from ..training.trainer import Trainer
from .trace import Trace, trace

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


def reduced(
    model: Layer, x: Any, y: Any, reduce: Any, batch_size: int, words: Any, **options: Any
) -> dict[str, dict[str, Any]] | list[Any]:
    """Return what `trace` says of `reduce`: see there."""
    made = look_up(reduce, KINDS, "reduce") if isinstance(reduce, str) else None
    if made is None and not callable(reduce):
        raise TypeError(f"reduce is {reduce!r}; expected {', '.join(map(repr, KINDS))} or a function of a Trace")
    found: dict[str, dict[str, Any]] = {}
    answers = []
    for batch in _batches(model, x, y, words, positive(batch_size, "batch_size"), options):
        if made is None:
            answers.append(reduce(batch))
            continue
        flat = None if batch.words is None else np.asarray(batch.words)
        for layer, series in batch.items():
            named = flat if flat is not None and flat.shape == series.mask.shape else None
            for name, values in series.items():
                kept = None if named is None else [str(word) for word in named[series.mask]]
                found.setdefault(layer, {}).setdefault(name, made()).add(values[series.mask], kept)
    return answers if made is None else found


def _batches(model: Layer, x: Any, y: Any, words: Any, size: int, options: dict[str, Any]) -> Iterator[Trace]:
    """Yield the traces of the batches."""
    per_row = None if words is None or callable(words) or isinstance(words, dict) else words
    if isinstance(model, Trainer) and per_row is None and options.get("mask") is None:
        weights = options.pop("sample_weight", None)
        with closing(batches.source(model, x, y, weights, batch_size=size, sort=True)) as source:
            source.begin_epoch()
            for given, targets, own_weights in source:
                yield trace(model, given, targets, words, sample_weight=own_weights, **options)
        return
    for begin in range(0, len(x), size):
        part = slice(begin, begin + size)
        own = {
            name: value[part] if name in ("mask", "sample_weight") and value is not None else value
            for name, value in options.items()
        }
        yield trace(model, x[part], None if y is None else y[part], words if per_row is None else words[part], **own)
