"""Files: written so that a cut run leaves the old one or the new one, never half of one; and fetched as Keras does."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

try:
    import fcntl
except ImportError:  # not a POSIX system: there are no locks, and the drafts of killed saves stay
    fcntl = None  # type: ignore[assignment]

TIMEOUT = 10.0  # seconds without a byte


@contextmanager
def replaced(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Yield an empty file that takes the place of `path` if the block ends well; else it goes, and `path` is untouched.

    What is written goes into a draft in the same folder, under a name of its own, so that any number of threads and
    processes may save to one path: a reader finds what one of them wrote, whole. The draft is locked while it is
    written. One without a lock is left over from a save that was killed, and is removed by the next one.

    Parameters
    ----------
    path : path
        Its folder is made if there is none. A file that is there hands on its mode, and its owner where that is
        allowed. Of a symbolic link, what it points to is replaced.

    Raises
    ------
    IsADirectoryError, FileExistsError
        `path` is a folder, or something else that is no plain file: a pipe, a device.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    before = _plain(path, target)
    remove_drafts(target)
    name, descriptor = _new_draft(target, 0o666 if before is None else 0o600)
    try:
        with open(descriptor, "w+b") as draft:
            yield draft
            draft.flush()
            if before is not None and fcntl:
                with suppress(OSError):  # only a privileged process may give a file away
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            os.fsync(descriptor)
            if not fcntl:
                draft.close()  # Windows renames no open file
            os.replace(name, target)  # still locked: nobody removes it
    finally:
        name.unlink(missing_ok=True)
    with suppress(OSError):  # some file systems cannot
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_drafts(path: str | os.PathLike) -> None:
    """Remove what killed saves to `path` have left: the drafts that no writer holds the lock of."""
    target = Path(os.path.realpath(path))
    begin = _draft_name(target)
    with suppress(OSError):
        names = [entry.path for entry in os.scandir(target.parent) if entry.name.startswith(begin)]
        for name in names if fcntl else ():
            with suppress(OSError):  # held by its writer, or gone meanwhile
                descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    if stat.S_ISREG(os.fstat(descriptor).st_mode):
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        os.unlink(name)
                finally:
                    os.close(descriptor)


def _plain(path: str | os.PathLike, target: Path) -> os.stat_result | None:
    """Return what is known of the file `target`, None if there is none, or refuse what cannot be replaced by a file."""
    try:
        found = os.lstat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(found.st_mode):
        return found
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file")
    raise FileExistsError(f"{path} is no plain file, but a pipe, a device or the like; expected the name of a file")


def _draft_name(target: Path) -> str:
    """Return how the names of the drafts for `target` begin; short, however long its own name is."""
    return f".rnncore-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}-"


def _new_draft(target: Path, mode: int) -> tuple[Path, int]:
    """Return the name and the descriptor of a new file beside `target`, locked."""
    while True:
        name = target.with_name(f"{_draft_name(target)}{secrets.token_hex(8)}.draft")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(name, flags, mode)
        try:
            if fcntl:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another save looks at it, and is about to remove it
            os.close(descriptor)
            continue
        except OSError:  # a file system without locks: there nobody removes it, either
            pass
        if os.fstat(descriptor).st_nlink:
            return name, descriptor
        os.close(descriptor)  # removed between the two steps


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
    if path.is_file() and not force_download:
        with open(path, "rb") as file:
            if _has_hash(file, file_hash):
                return str(path)
    from urllib.request import urlopen  # with all of HTTP: not for everyone who imports rnncore

    print(f"Downloading data from {origin}", file=sys.stderr)
    with replaced(path) as draft, urlopen(origin, timeout=TIMEOUT) as answer:
        shutil.copyfileobj(answer, draft)
        announced = answer.headers.get("Content-Length")
        if announced and announced.isdecimal() and draft.tell() != int(announced):  # urllib does not look
            raise ConnectionError(f"get_file: {origin} broke off after {draft.tell():,} of {int(announced):,} bytes")
        if not _has_hash(draft, file_hash):
            raise ValueError(f"get_file: what {origin} gave has not the file_hash {file_hash}")
    return str(path)


def _has_hash(file: Any, expected: str | None) -> bool:
    if expected is None:
        return True
    file.seek(0)
    return hashlib.file_digest(file, "md5" if len(expected) == 32 else "sha256").hexdigest() == expected.lower()
