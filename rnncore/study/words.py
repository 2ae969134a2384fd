"""A word for every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..layers.base import Layer
from .passes import Batch

UNKNOWN = "[?]"


def aligned(words: Any, x: np.ndarray, lengths: np.ndarray | None = None) -> list[list[str]]:
    """Return a word a step: a list of T for each of the B rows of x.

    Parameters
    ----------
    words : list of list of str, list of str, callable or mapping of int to str
        A row's words, one a step, for each row; of a single row its words will do. Or what gives them for the ids of
        x: a function of a row's ids (``imdb.words``), or a table (an id that is not in it is "[?]").
    x : ndarray of shape (B, T, ...)
    lengths : ndarray of shape (B,), int, optional
        Of rows that were padded behind their ends: lists may leave out the padding's words, which are then "".

    Raises
    ------
    ValueError, TypeError
        Another number of rows or words, or something else than words.
    """
    rows, steps = x.shape[:2]
    given: Sequence[Any]
    if isinstance(words, Mapping):
        _check_ids(x)
        given = [[str(words.get(int(n), UNKNOWN)) for n in row] for row in x]
    elif isinstance(words, Callable):  # type: ignore[arg-type]
        _check_ids(x)
        given = [words([int(n) for n in row]) for row in x]
    else:
        given = [words] if rows == 1 and len(words) and isinstance(words[0], str) else words
    if isinstance(given, str) or len(given) != rows:
        raise ValueError(f"words has {len(given)} rows; expected {rows}, as x has: for each a word a step")
    found = []
    for n, row in enumerate(given):
        if isinstance(row, str):
            raise TypeError(f"words[{n}] is one string; expected a list with a word a step (text.split())")
        row = [str(word) for word in row]
        if lengths is not None and len(row) == lengths[n]:
            row += [""] * (steps - len(row))
        if len(row) != steps:
            raise ValueError(
                f"words[{n}] has {len(row)} words, x has {steps} steps; each step has a word, start mark, unknown "
                "words and padding too (imdb.words gives them; decode leaves some out)"
            )
        found.append(row)
    return found


def words_of(model: Layer, batch: Batch, words: Any) -> list[list[str]] | None:
    """Return a word a step of a batch: as `aligned`; of a model that takes texts those of its vocabulary."""
    first: Any = getattr(model, "input_layer", model)
    x = batch.x
    if first.input_kind == "string":
        x = np.asarray(first.forward(x))
        words = dict(enumerate(first.get_vocabulary())) if words is None else words
    return None if words is None else aligned(words, x, batch.lengths)


def _check_ids(x):
    if x.ndim != 2 or x.dtype.kind not in "iuf":
        raise TypeError(f"words is a table of ids, but x has shape {x.shape}; give a list of words for each row")
