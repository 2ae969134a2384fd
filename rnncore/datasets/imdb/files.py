"""The files of the reviews, read without trust: sizes are checked before memory is taken, contents before use.

A part (training or test) of N reviews with W words in all is held flat, as `Reviews`: one array operation then shifts
or cuts every word. A word is its rank by frequency, 1 the most frequent; 0 is no word.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .pickles import unpickled

ARCHIVE, WORD_INDEX = "imdb.npz", "imdb_word_index.json"
MEMBERS = ("x_train", "y_train", "x_test", "y_test")
SIZE_LIMIT = 24 << 20  # bytes of a file or of one member; the largest published one has 17.5 million
INDEX_LIMIT = 4 << 20  # bytes of a word index; the published one has 1.6 million


class Reviews(NamedTuple):
    """One part of the data, flat."""

    ranks: np.ndarray  # (W,) int64: the words of all reviews, one review after the other
    lengths: np.ndarray  # (N,) int64: words in each review
    labels: np.ndarray  # (N,) int64: 1 positive, 0 negative


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


def digest(npz: Path) -> str:
    """Return the SHA-256 of an npz file's members (the zip around them differs from one Python to another)."""
    if not npz.is_file():
        raise FileNotFoundError(f"no file {npz}")
    status = npz.stat()
    return _digest_of(npz, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _digest_of(npz: Path, _size: int, _changed: int) -> str:
    members = _members(npz)
    return hashlib.sha256(b"".join(members[name] for name in MEMBERS)).hexdigest()


def limited(path: str | os.PathLike, limit: int = SIZE_LIMIT) -> bytes:
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


def read_word_index(path: Path) -> dict[str, int]:
    """Return each word's rank from a JSON file, or raise ValueError."""
    content = limited(path, INDEX_LIMIT)
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
    content = limited(path)
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
        ranks, lengths = unpickled(body, count) if kind == "|O" else _parted(_numbers(kind, count, body))
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
