"""Batches made on demand, by their number."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any


class PyDataset:
    """Base of the data sets that make a batch when it is needed: give `__len__` and `__getitem__`, as Keras.

    `fit`, `evaluate` and `predict` take any object with these two.

    Parameters
    ----------
    workers, use_multiprocessing, max_queue_size
        Accepted; batches are made one at a time, where they are used.

    Attributes
    ----------
    num_batches : int or None
        Batches in an epoch: ``len(self)``. A class that returns None here has no end.
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, use_multiprocessing, max_queue_size

    def __getitem__(self, index: int) -> Any:
        """Return batch number `index`, from 0: (x,), (x, y) or (x, y, sample_weight)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method __getitem__(index) that returns a batch")

    @property
    def num_batches(self) -> int | None:
        return len(self)  # type: ignore[arg-type]  # a subclass has __len__, or another num_batches

    def __iter__(self) -> Iterator[Any]:
        for index in itertools.count() if self.num_batches is None else range(self.num_batches):
            yield self[index]

    def on_epoch_begin(self) -> None:
        """Before the first batch of an epoch."""

    def on_epoch_end(self) -> None:
        """After the last one."""


Sequence = PyDataset  # the name that it had before Keras 3
