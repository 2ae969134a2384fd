"""Files: written so that a cut run leaves the old one or the new one, never half of one; and fetched as Keras does."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

TIMEOUT = 10.0  # seconds without a byte


@contextmanager
def replaced(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the name of a draft beside `path`; it takes the place of `path` if the block ends well, else it goes.

    Parameters
    ----------
    path : path
        Its folder is made if there is none. The draft keeps its ending.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield draft
        with open(draft, "rb") as written:
            os.fsync(written.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def keras_home() -> Path:
    """Return the folder that Keras keeps its files in: ``$KERAS_HOME``, or else ``~/.keras``."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def get_file(
    fname: str | None = None,
    origin: str | None = None,
    *,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    cache_dir: str | os.PathLike | None = None,
    force_download: bool = False,
) -> str:
    """Return the path of a file, fetched from `origin` if it is not in the cache, which is Keras's.

    Parameters
    ----------
    fname : str, optional
        Its name in the cache; default: the last part of `origin`.
    origin : str
        Its address.
    file_hash : str, optional
        Its SHA-256, or MD5, in hexadecimal digits. A file in the cache that has another is fetched anew.
    cache_subdir : str
    cache_dir : path, optional
        Default: `keras_home`.
    force_download : bool
        Whether to fetch it all the same.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        `fname` is no plain name, or what was fetched has not the hash: nothing is kept then.
    OSError
        `origin` gives no file.

    Notes
    -----
    Archives come as they are: there is no ``extract``.
    """
    if origin is None:
        raise ValueError("get_file: origin is None; expected the address of the file")
    fname = fname or Path(unquote(urlsplit(origin).path)).name
    if not fname or Path(fname).name != fname:
        raise ValueError(f"get_file: fname is {fname!r}; expected the name of a file, without a folder")
    path = Path(cache_dir or keras_home()).expanduser() / cache_subdir / fname
    if path.is_file() and not force_download and _has_hash(path, file_hash):
        return str(path)
    from urllib.request import urlopen  # with all of HTTP: not for everyone who imports rnncore

    print(f"Downloading data from {origin}", file=sys.stderr)
    with replaced(path) as draft:
        with urlopen(origin, timeout=TIMEOUT) as answer, open(draft, "wb") as file:
            shutil.copyfileobj(answer, file)
        if not _has_hash(draft, file_hash):
            raise ValueError(f"get_file: what {origin} gave has not the file_hash {file_hash}")
    return str(path)


def _has_hash(path: Path, expected: str | None) -> bool:
    if expected is None:
        return True
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5" if len(expected) == 32 else "sha256").hexdigest() == expected.lower()
