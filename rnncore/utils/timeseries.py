"""Windows over a long series, in batches: what a forecast is trained on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from .. import config
from ..layers.checks import check_unmasked, flag, positive, seed_or_none, whole

_NARROW = {np.dtype(float): np.float32, np.dtype(int): np.int32}  # what TensorFlow makes of Python's numbers


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Windows:
    """Return windows over a series, batch for batch those of Keras.

    Window n has the rows ``start_index + n * sequence_stride + sampling_rate * [0, 1, …, sequence_length - 1]``.

    Parameters
    ----------
    data : array_like of shape (N, ...)
        The series, a row a step.
    targets : array_like of shape (M, ...), or None
        A window's target is the row with the number of its first step. None: there are none.
    sequence_length : int
        T, steps in a window.
    sequence_stride : int
        Steps from one window's beginning to that of the next; below N.
    sampling_rate : int
        Steps of the series from one step of a window to the next; below N.
    batch_size : int or None
        B, windows in a batch; the last one may have fewer. None: windows come one by one.
    shuffle : bool
        Whether each pass has the windows in another random order. (Keras's differ, and move a window not so far.)
    seed : int, optional
        Of these orders.
    start_index, end_index : int, optional
        Rows before the one, and from the other on, are left out of `data` and `targets`.
    format : {"tf", "grain"}
        Accepted; `Windows` is neither.

    Returns
    -------
    Windows
        ``fit``, ``evaluate`` and ``predict`` take it: it gives (x, y), or x where there are no targets; x of shape
        (B, T, ...) and of the dtype of `data`.

    Raises
    ------
    ValueError
        An argument is not what it should be, or there is no window in so few rows.
    """
    label = "timeseries_dataset_from_array"
    data, rows = _rows(data, f"{label}: data"), len(data)
    targets = None if targets is None else _rows(targets, f"{label}: targets")
    length = positive(sequence_length, f"{label}: sequence_length")
    stride = _below(sequence_stride, rows, f"{label}: sequence_stride")
    rate = _below(sampling_rate, rows, f"{label}: sampling_rate")
    start = whole(start_index or 0, f"{label}: start_index")
    end = _below(end_index, rows, f"{label}: end_index") if end_index else rows
    if start >= end:
        raise ValueError(f"{label}: start_index is {start_index}; expected a number below {end}, where the rows end")
    if format not in ("tf", "grain"):
        raise ValueError(f"{label}: format is {format!r}; expected 'tf' or 'grain'")
    count = end - start - (length - 1) * rate
    if targets is not None:
        count = min(count, len(targets))
    if count < 1:
        raise ValueError(
            f"{label}: data has {end - start} rows from start_index to end_index; a window of {length} steps, "
            f"{rate} apart, has {(length - 1) * rate + 1}"
        )
    positions = np.arange(0, count, stride)
    data = data[start:end]
    if targets is not None:
        targets = targets[start:end]
        if len(targets) <= positions[-1]:
            raise ValueError(f"{label}: targets has {len(targets)} rows from start_index on; there are {count} windows")
    size = None if batch_size is None else positive(batch_size, f"{label}: batch_size")
    seed = seed_or_none(seed, f"{label}: seed")
    steps = np.arange(length) * rate
    return Windows(data, targets, positions, steps, size, flag(shuffle, f"{label}: shuffle"), seed)


class Windows:
    """Batches of windows, made when they are asked for: iterable, as often as you like, with a length.

    It has of TensorFlow's data sets what scripts on series use: `take`, `skip`; `prefetch` and `cache`, which change
    nothing. The arrays have a method ``numpy``, as tensors have.
    """

    def __init__(self, data, targets, positions, steps, size, shuffle, seed):
        self._data, self._targets, self._positions, self._steps, self._size = data, targets, positions, steps, size
        self._seed = np.random.SeedSequence(seed) if seed is not None else config.new_seed() if shuffle else None
        self._shuffle, self._passes = shuffle, 0
        self._part = slice(None)  # of the batches

    def __len__(self) -> int:
        count = len(self._positions)
        return len(range(count if self._size is None else -(-count // self._size))[self._part])

    def __iter__(self) -> Iterator[Any]:
        order = self._positions
        if self._shuffle:
            key = (*self._seed.spawn_key, self._passes)
            order = np.random.default_rng(np.random.SeedSequence(self._seed.entropy, spawn_key=key)).permutation(order)
            self._passes += 1
        size = self._size or 1
        batches = range(0, len(order), size)[self._part]
        return (self._batch(order[first : first + size]) for first in batches)

    def _batch(self, positions):
        if self._size is None:
            (positions,) = positions
        x = self._data[positions[..., None] + self._steps].view(_Array)
        return x if self._targets is None else (x, np.asarray(self._targets[positions]).view(_Array))

    def take(self, count: int) -> Windows:
        """Return the first batches, so many."""
        return self._only(slice(0, whole(count, "take: count")))

    def skip(self, count: int) -> Windows:
        """Return the batches but for the first, so many."""
        return self._only(slice(whole(count, "skip: count"), None))

    def _only(self, part):
        made = copy.copy(self)
        first, last, _ = self._part.indices(1 << 60)
        begin, end, _ = part.indices(last - first)
        made._part = slice(first + begin, first + end)
        return made

    def prefetch(self, buffer_size: Any = None) -> Windows:
        """Return the same: batches are made one at a time, where they are used."""
        return self

    def cache(self, filename: str = "") -> Windows:
        """Return the same."""
        return self

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"the windows have no {name}; they are an iterable of batches, with take and skip: what else a data set of "
            "TensorFlow does, a generator over them can do"
        )


class _Array(np.ndarray):
    """An array that can be asked for itself, as a tensor."""

    def numpy(self) -> np.ndarray:
        return np.asarray(self)


def _rows(values: Any, label: str) -> np.ndarray:
    check_unmasked(values, label)
    array = np.asarray(values)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise ValueError(f"{label} has dtype {array.dtype} and shape {array.shape}; expected an array of numbers")
    return array if hasattr(values, "dtype") or hasattr(values, "dtypes") else array.astype(_NARROW.get(array.dtype))


def _below(value: Any, limit: int, label: str) -> int:
    """Return a whole number from 1 to below `limit`, the number of rows."""
    number = positive(value, label)
    if number >= limit:
        raise ValueError(f"{label} is {value}; expected a number below {limit}, that of the rows of data")
    return number
