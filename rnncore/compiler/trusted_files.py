"""Files that nobody but this user can have written: what is unpickled from them is nobody else's code.

A folder or file must belong to this user or to root, and nobody else may write it; the same holds for each folder above
it, but for those with the sticky bit, as /tmp, where others cannot rename what is not theirs. Links are followed first.
Where a system has no such owners and modes (Windows), this is not checked.

Before the content stands its digest, which is checked before anything is made of the content: damage is found. It is no
secret, and keeps no attacker out; owners and modes do.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

LARGEST = 1 << 26  # bytes of a file; a compiled kernel takes less than a million
_DIGEST = hashlib.sha256().digest_size


def read(folder: Path, name: str) -> bytes:
    """Return what `write` put into a file.

    Raises
    ------
    OSError
        It is not there (FileNotFoundError), cannot be read, or others may have written it; the message says which.
    ValueError
        It is damaged.
    """
    path = os.path.join(_checked(folder), name)
    with open(path, "rb", opener=_opened) as file:  # what is checked is what is read
        status = os.fstat(file.fileno())
        _check(path, status)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise OSError(f"{path} is no file of at most {LARGEST} bytes")
        content = file.read(LARGEST)
    if content[:_DIGEST] != _digest(name, content[_DIGEST:]):
        raise ValueError(f"{path} is damaged")
    return content[_DIGEST:]


def write(folder: Path, name: str, content: bytes) -> None:
    """Put `content` into a file that only this user can read, at once or not at all; make the folder if need be.

    Raises
    ------
    OSError
        It cannot be written, or others may write the folder; the message says which.
    """
    path = os.path.join(_checked(folder, make=True), name)
    draft = f"{path}.{secrets.token_hex(8)}"
    try:
        with open(draft, "xb", opener=_opened) as file:
            os.chmod(draft, 0o600)  # whatever the umask took away
            file.write(_digest(name, content) + content)
        os.replace(draft, path)
    finally:
        with suppress(OSError):
            os.unlink(draft)


def _opened(path, flags):
    """Open a file: not what a link names, and no pipe that would let us wait."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o600)


def _digest(name, content):
    """Return a digest of a file's content, and of its name: it cannot stand for another."""
    return hashlib.sha256(name.encode() + b"\0" + content).digest()


def _checked(folder, make=False):
    """Return a folder without links, of which each above it was checked; with `make`, those that are missing are made.

    They can be used by their names then: nobody else can put another in their places.
    """
    found = Path(os.path.realpath(folder))
    for place in (*reversed(found.parents), found):
        if make and not os.path.lexists(place):
            with suppress(FileExistsError):  # another process was quicker
                os.mkdir(place, 0o700)
                os.chmod(place, 0o700)  # whatever the umask took away
        status = os.lstat(place)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(f"{place} is no folder")
        _check(place, status, others=place != found and bool(status.st_mode & stat.S_ISVTX))
    return found


def _check(path, status, others=False):
    """Raise PermissionError if somebody else may have written what is at a path; with `others` they are let."""
    if os.name != "posix":
        return
    if status.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{path} belongs to another user ({status.st_uid})")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not others:
        raise PermissionError(f"{path} may be written by other users (mode {stat.S_IMODE(status.st_mode):o})")
