"""Bringing sequences of different lengths to one."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..layers.checks import check_unmasked

SIDES = ("pre", "post")


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float | str = 0.0,
) -> np.ndarray:
    """Cut and fill up sequences so that all have the same length, as Keras 3.15 does.

    Parameters
    ----------
    sequences : sequence of N sequences
        Each of shape (length,) or (length, …): the lengths differ, the rest of the shape is the same.
    maxlen : int, optional
        Length T of the result, at least 1; the longest length when not given.
    dtype : dtype, default "int32"
        Of the result; `object` for strings of any length.
    padding : {"pre", "post"}
        Whether the filling stands before a short sequence or after it.
    truncating : {"pre", "post"}
        Whether a long sequence loses its beginning or its end. By default it keeps its *last* `maxlen` entries.
    value : float or str, default 0.0
        What fills up.

    Returns
    -------
    numpy.ndarray of shape (N, T, …) and `dtype`

    Raises
    ------
    TypeError
        `maxlen` is no whole number.
    ValueError
        An argument is not one of those above, or a sequence has another shape or type than the first one.

    Examples
    --------
    >>> pad_sequences([[7, 8], [1, 2, 3, 4]], maxlen=3)
    array([[0, 7, 8],
           [2, 3, 4]], dtype=int32)
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in SIDES:
            raise ValueError(f"pad_sequences: {name} is {side!r}; allowed: 'pre', 'post'")
    dtype = np.dtype(dtype)
    if isinstance(value, str) and dtype.kind not in "OSU":
        raise ValueError(f"pad_sequences: value is {value!r} and dtype {dtype.name!r}; a string needs dtype=object")
    lengths = _lengths(sequences)
    if maxlen is None:
        if not lengths:
            raise ValueError("pad_sequences: sequences is empty and maxlen None; without sequences maxlen is needed")
        maxlen = max(lengths)
    elif isinstance(maxlen, bool) or not hasattr(maxlen, "__index__"):
        raise TypeError(f"pad_sequences: maxlen is {maxlen!r}; expected a whole number above 0, or None")
    elif operator.index(maxlen) < 1:
        raise ValueError(f"pad_sequences: maxlen is {maxlen!r}; expected a whole number above 0, or None")

    first = next((sequence for sequence in sequences if len(sequence)), ())
    shape = np.shape(first)[1:]
    padded = np.full((len(lengths), maxlen, *shape), value, dtype=dtype)
    for position, (row, sequence, length) in enumerate(zip(padded, sequences, lengths, strict=True)):
        if not length:  # an empty sequence has no shape to compare
            continue
        check_unmasked(sequence, f"pad_sequences: sequences[{position}]")
        try:
            kept = np.asarray(sequence[-maxlen:] if truncating == "pre" else sequence[:maxlen], dtype=dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"pad_sequences: sequences[{position}] does not fit dtype {dtype.name!r}: {error}"
            ) from error
        if kept.shape[1:] != shape:
            raise ValueError(
                f"pad_sequences: sequences[{position}] has entries of shape {kept.shape[1:]}, those before it {shape}"
            )
        row[slice(maxlen - len(kept), None) if padding == "pre" else slice(len(kept))] = kept
    return padded


def _lengths(sequences: Sequence[Any]) -> list[int]:
    """Return the length of each sequence, or say which one has none."""
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"pad_sequences: sequences is a {type(sequences).__name__}; expected a list of sequences")
    lengths = []
    for position, sequence in enumerate(sequences):
        try:
            lengths.append(len(sequence))
        except TypeError as error:
            raise ValueError(
                f"pad_sequences: sequences[{position}] is {sequence!r}; expected a list or an array"
            ) from error
    return lengths
