"""A pickled array of lists of whole numbers, read without trust: nothing in it is ever called."""

from __future__ import annotations

import io
import pickle
import re
from itertools import chain
from typing import Any

import numpy as np

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


def unpickled(body: bytes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks and lengths from a pickled array of `count` lists of whole numbers."""
    found = _STREAM.match(body)
    end = found.end() if found else 0
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
