"""Arrays by name in a ``.safetensors`` file, which may come from anyone: read and written without other packages.

The file is the length of a text in 8 bytes, the text, and the arrays one behind the other. The text is a JSON object
with ``{"dtype": …, "shape": […], "data_offsets": [begin, end]}`` for each name.

Source: the description of the format, github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..utils.archive import TEXT_LIMIT, parsed
from ..utils.files import replaced

DTYPES = {  # what the file calls them, but for those of `_UNPACKED`
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
}
_UNPACKED = {  # the dtype that they are read in, and what is made of it
    "BF16": ("<u2", lambda array: (array.astype("<u4") << 16).view("<f4")),  # the upper half of a float32
    "BOOL": ("|u1", lambda array: array != 0),
}
_OTHERS = {  # how files begin that somebody may take for one
    b"PK\x03\x04": "a zip, as torch.save writes it, with a pickle in it",
    b"\x80": "a pickle",
    b"version https://git-lfs": "a Git LFS pointer, a text in the file's place: `git lfs pull` fetches the file",
    b"<": "a page or a document, no file of arrays",
}
_SAVE_IT = (
    "; a pickle could run anything and is not opened: in PyTorch, "
    "safetensors.torch.save_file(module.state_dict(), path) writes what can be read here"
)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the arrays of a file by their names; bfloat16 as float32.

    Raises
    ------
    ValueError
        The file is damaged or another one, such as a pickle of ``torch.save``: the message says what it is. No more
        memory is taken than the file is large (twice, for bfloat16).
    FileNotFoundError
    """
    if not os.path.isfile(path):  # a pipe or a device would be read for ever
        raise FileNotFoundError(f"no file {path}")
    with open(path, "rb") as file:
        size, begin = os.fstat(file.fileno()).st_size, file.read(32)
        file.seek(0)
        for start, what in _OTHERS.items():
            if begin.startswith(start) and begin[8:9] != b"{":
                raise ValueError(f"{path}: it is {what}{_SAVE_IT * ('pickle' in what)}")
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if not 0 < length <= min(size - 8, TEXT_LIMIT):
                raise ValueError(f"its text has {length:,} bytes; expected 1 to {min(size - 8, TEXT_LIMIT):,}")
            described = parsed(file.read(length), "its text")
            described.pop("__metadata__", None)
            places = _places(described, size - 8 - length)
            return {name: _array(file.read(end - begin), dtype, shape) for name, (begin, end, dtype, shape) in places}
        except (struct.error, UnicodeError, RecursionError, ValueError) as error:
            raise ValueError(f"{path}: damaged, or not a .safetensors file: {error!s:.300}") from error


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays into a file, which is there whole or not at all.

    Raises
    ------
    TypeError
        An array has none of the dtypes of `DTYPES`.
    """
    names, begin = {dtype: name for name, dtype in DTYPES.items()}, 0
    described: dict[str, dict[str, Any]] = {"__metadata__": {"format": "pt"}}  # what some readers ask for
    data = {name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in arrays.items()}
    for name, array in data.items():
        if array.dtype.str not in names:
            raise TypeError(f"{name}: an array of {array.dtype} cannot be written; expected one of {', '.join(names)}")
        end = begin + array.nbytes
        shape = list(arrays[name].shape)
        described[name] = {"dtype": names[array.dtype.str], "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 8)
    with replaced(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in data.values():
            file.write(array.reshape(-1).view(np.uint8).data)


def _places(described: Mapping[str, Any], size: int) -> list[tuple[str, tuple[int, int, str, list[int]]]]:
    """Return by name where each array is and what it is, in the order of the file, which they fill without a gap."""
    places, here = [], 0
    for name, entry in described.items():
        match entry:
            case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
                places.append((name, (begin, end, dtype, shape)))
            case _:
                raise ValueError(f"{name!r:.100} has {entry!r:.100}; expected dtype, shape and data_offsets")
    places.sort(key=lambda place: place[1][:2])
    for name, (begin, end, dtype, shape) in places:
        if dtype not in DTYPES and dtype not in _UNPACKED:
            raise ValueError(f"{name!r:.100} is of {dtype!r:.50}; expected one of {', '.join([*DTYPES, *_UNPACKED])}")
        if len(shape) > 32 or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
            raise ValueError(f"{name!r:.100} has the shape {shape!r:.100}; expected whole numbers, at most 32")
        needed = math.prod(shape) * np.dtype(DTYPES.get(dtype) or _UNPACKED[dtype][0]).itemsize
        if begin != here or end - begin != needed:
            raise ValueError(f"{name!r:.100} is at {begin:,} to {end:,}; expected {needed:,} bytes from {here:,} on")
        here = end
    if here != size:
        raise ValueError(f"its arrays have {here:,} bytes; there are {size:,}")
    return places


def _array(data: bytes, dtype: str, shape: list[int]) -> np.ndarray:
    if dtype in _UNPACKED:
        stored, unpacked = _UNPACKED[dtype]
        return unpacked(np.frombuffer(data, stored)).reshape(shape)
    return np.frombuffer(bytearray(data), DTYPES[dtype]).reshape(shape)
