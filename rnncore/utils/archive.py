"""One file of plain values and arrays, that may come from anyone: a zip of .npy arrays and one JSON text.

The text, ``model.json``, holds the values; where an array stands it has ``{"npy": name, "dtype": …, "shape": …}``, and
the array is the member of that name, made of the keys that lead to it: ``weights/0.npy``. ``np.load`` reads it too.

Nothing is compressed, so that no member is larger than the file, and an array's header is known from the text: it is
compared, not parsed. What a reader takes memory for is thus checked against the size of the file first. Nothing
is unpickled, evaluated or imported, and no name in the file becomes that of a file.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .files import replaced

TEXT = "model.json"
TEXT_LIMIT = 8 << 20  # bytes
DEPTH_LIMIT = 64  # of the text: objects in objects
CONTAINER_LIMIT = 1 << 18  # objects and lists in the text: each takes a hundred times the memory of its two brackets
DIRECTORY_LIMIT = 4 << 20  # bytes of the zip's directory, some 50,000 members
DTYPES = ("<f4", "<f8", "<i4", "<i8", "<u8")

_NEXT_BRACKET = re.compile(  # behind strings and all else; a string that does not end is passed over but once
    rb'(?:[^"\[{\]}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"?)*+([\[{\]}]?)', re.DOTALL
)
_NAME = re.compile(r"\w[\w.-]{0,99}(/\w[\w.-]{0,99}){0,15}\.npy")
_DATE = (1980, 1, 1, 0, 0, 0)  # the same content, the same bytes


def write(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Write plain values and arrays into a file, which is there whole or not at all.

    Parameters
    ----------
    path : path
    content : dict of str to …
        Numbers, strings, lists, dicts with strings as keys, arrays, nested as you like.

    Raises
    ------
    TypeError
        Something else stands in it, or an array of another kind than `DTYPES`.
    ValueError
        A key cannot be part of a name, or the values are more than `TEXT_LIMIT`.
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_taken_apart(content, (), arrays)).encode()
    if len(text) > TEXT_LIMIT:
        raise ValueError(f"{path}: the values beside the arrays are {len(text):,} bytes; at most {TEXT_LIMIT:,} fit")
    with replaced(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(TEXT, _DATE), text)
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(name, _DATE), "w", force_zip64=array.nbytes >= 1 << 31) as member:
                member.write(_header(array.dtype.str, array.shape))
                member.write(array.reshape(-1).view(np.uint8).data)


def read(path: str | os.PathLike, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return what `write` wrote.

    Parameters
    ----------
    path : path
    without : sequence of str
        What is not wanted, as ``state/optimizer``: None is in its place, and its arrays are not read.

    Raises
    ------
    ValueError
        The file is damaged, or was not written by `write`: the message names it and says why.
    FileNotFoundError
        There is no file `path`.
    """
    if not os.path.isfile(path):  # a pipe or a device would be read for ever
        raise FileNotFoundError(f"no file {path}")
    with open(path, "rb", buffering=0) as file:
        try:
            return _read(file, os.fstat(file.fileno()).st_size, without)
        # zipfile raises most of these for damaged offsets, flags and versions
        except (
            *(zipfile.BadZipFile, struct.error, EOFError, OSError, RuntimeError, ValueError),
            *(LookupError, TypeError, OverflowError, MemoryError),
        ) as error:
            raise ValueError(
                f"{path}: damaged, or not a file of rnncore: {str(error) or type(error).__name__:.300}"
            ) from error


def _taken_apart(value: Any, keys: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    """Return `value` with the arrays in it replaced by what the text has for them, and put them into `arrays`."""
    if isinstance(value, Mapping):
        return {key: _taken_apart(item, (*keys, key), arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_taken_apart(item, (*keys, str(n)), arrays) for n, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).reshape(value.shape)
        name = f"{'/'.join(keys)}.npy"
        if array.dtype.str not in DTYPES:
            raise TypeError(f"{name}: an array of {value.dtype} cannot be written; expected one of {', '.join(DTYPES)}")
        if not _NAME.fullmatch(name) or name in arrays:
            raise ValueError(f"{name!r:.300} cannot be the name of an array")
        arrays[name] = array
        return {"npy": name, "dtype": array.dtype.str, "shape": list(array.shape)}
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise TypeError(f"{'/'.join(keys)}: {value!r:.200} cannot be written; expected plain values or arrays")
    return value


def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the head of a .npy file, format 1.0, filled up so that the data begin at a multiple of 64."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


class _Directory(io.BufferedReader):
    """A file that, while the zip's directory is read, gives no more than that may have."""

    limit: int | None = DIRECTORY_LIMIT

    def read(self, size: int | None = -1) -> bytes:
        if self.limit is None:
            return super().read(size)
        most = self.limit + 1
        found = super().read(most if size is None or size < 0 else min(size, most))
        if len(found) > self.limit:
            raise ValueError("its directory has too many members")
        return found


@contextmanager
def opened(file: io.FileIO) -> Iterator[zipfile.ZipFile]:
    """Open a zip that may come from anyone: its directory has no more than `DIRECTORY_LIMIT` bytes."""
    with _Directory(file) as bounded, zipfile.ZipFile(bounded) as archive:
        bounded.limit = None
        yield archive


def _read(file: io.FileIO, size: int, without: Sequence[str]) -> dict[str, Any]:
    with opened(file) as archive:
        infos = archive.infolist()
        members = {info.filename: info for info in infos}
        if TEXT not in members:
            raise ValueError(f"it has no {TEXT}" + " (a file of Keras's)" * ("config.json" in members))
        if len(members) < len(infos):
            raise ValueError("two of its members have one name")
        if any(info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size for info in infos):
            raise ValueError("a member is compressed; rnncore compresses nothing")
        if sum(info.file_size for info in infos) > size:
            raise ValueError(f"its members claim more than its {size:,} bytes")
        text = members.pop(TEXT)
        if text.file_size > TEXT_LIMIT:
            raise ValueError(f"{TEXT} is larger than {TEXT_LIMIT:,} bytes")
        content = parsed(archive.read(text))
        return _put_together(content, archive, members, without)


def parsed(text: bytes, name: str = TEXT) -> dict[str, Any]:
    """Return the values of a text of JSON, an object, in time and memory that grow with its length.

    Raises
    ------
    ValueError
        It is none, or nested too deep, or has too many objects. `name` is what the message calls it.
    """
    depth = containers = 0
    for found in _NEXT_BRACKET.finditer(text):
        opened = found[1] in (b"[", b"{")
        depth += opened or -1
        containers += opened
        if depth > DEPTH_LIMIT:
            raise ValueError(f"{name} is nested more than {DEPTH_LIMIT} deep")
        if containers > CONTAINER_LIMIT:
            raise ValueError(f"{name} has more than {CONTAINER_LIMIT:,} objects and lists")
    content = json.loads(text.decode())  # UTF-8; as bytes it might be UTF-16, whose brackets are others
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds no object")
    return content


def _put_together(
    content: dict[str, Any], archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], without: Sequence[str]
) -> Any:
    """Return `content` with the arrays in their places; each member must be asked for just once."""

    def arrays(value: Any, keys: tuple[str, ...]) -> Any:
        if "/".join(keys) in without:
            return None
        if isinstance(value, list):
            return [arrays(v, (*keys, str(n))) if isinstance(v, (list, dict)) else v for n, v in enumerate(value)]
        if set(value) != {"npy", "dtype", "shape"}:
            return {k: arrays(v, (*keys, k)) if isinstance(v, (list, dict)) else v for k, v in value.items()}
        name = f"{'/'.join(keys)}.npy"
        if value["npy"] != name or not _NAME.fullmatch(name):
            raise ValueError(f"the name of an array is {value['npy']!r:.100}; expected {name!r:.100}")
        if name not in members:
            raise ValueError(f"{name} is missing, or asked for twice")
        return _array(name, value["dtype"], value["shape"], archive, members.pop(name))

    whole = arrays(content, ())
    untold = [name for name in members if not name.startswith(tuple(f"{part}/" for part in without))]
    if untold:
        raise ValueError(f"nothing tells of its member {untold[0]!r:.100}")
    return whole


def _array(name: str, dtype: Any, shape: Any, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    if dtype not in DTYPES or not isinstance(shape, list) or len(shape) > 32:
        raise ValueError(f"{name} is of {dtype!r:.50} and shape {shape!r:.100}; allowed: {', '.join(DTYPES)}")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise ValueError(f"{name} has the shape {shape!r:.100}; expected whole numbers")
    header, size = _header(dtype, tuple(shape)), math.prod(shape) * np.dtype(dtype).itemsize
    if info.file_size != len(header) + size:
        raise ValueError(f"{name} has {info.file_size} bytes; its shape {shape!r:.100} needs {len(header) + size}")
    with archive.open(info) as member:
        if member.read(len(header)) != header:
            raise ValueError(f"{name}: its header does not say {dtype} {tuple(shape)!r:.100}")
        array = np.empty(shape, dtype)
        _fill(member, array.reshape(-1).view(np.uint8).data, name)
        return array


def _fill(member: Any, target: memoryview, name: str) -> None:
    while target:
        count = member.readinto(target[: 1 << 24])
        if not count:
            raise EOFError(f"{name} ends too early")
        target = target[count:]
    if member.read(1):  # reads on to the check sum, too
        raise ValueError(f"{name} is longer than it says")
