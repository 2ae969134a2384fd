"""HDF5 files that may come from anyone: groups, texts and arrays, each checked before memory is taken for it.

Only hard links are followed, so that nothing outside of the file is read. An array must be of plain numbers that lie in
the file, whole, or in chunks that were made smaller by a filter which HDF5 has built in: another filter's number would
make the library look for a plug-in to run. What all arrays of a file take together is held to a multiple of its size,
and so is how often something is looked up: names and links may lead to the same small array, or round in a circle.
"""

from __future__ import annotations

import io
import math
import mmap
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

EXPANSION, FLOOR = 8, 64 << 20  # arrays may take 8 times the file's bytes, or 64 MB
LOOKS, BYTES_A_LOOK = 1024, 64  # look-ups, and bytes for one more: an object has some 300, and is looked up a few times
NAMES = 4096  # entries of a list of names, or of a group; heaps of texts
SCANNED = 64 << 30  # bytes that are gone through for attributes of texts, some 10 GB a second
NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}

# where texts of any length are kept, and its size; the library does not look at the three bytes between
_HEAP = re.compile(rb"GCOL\x01...(.{8})", re.DOTALL)
_OBJECT = struct.Struct("<HHIQ")  # of a heap: number, references, nothing, size
_OF_ANY_LENGTH = 9  # the class of a type
_REFERENCE = struct.Struct("<IQI")  # to a text: its length, where the heap begins, the number there


def h5py_here() -> Any:
    """Return the module h5py, or raise ImportError with how to get it."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError('Keras\'s files are read and written with h5py: pip install "rnncore[keras]"') from error
    return h5py


@contextmanager
def opened(source: BinaryIO | bytes) -> Iterator[Hdf5]:
    """Open the HDF5 file that `source` is, or holds.

    Raises
    ------
    ImportError
        h5py is not there.
    """
    h5py = h5py_here()
    if isinstance(source, bytes):
        content: Any = source
    else:
        content = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
    heaps = _heaps(content)
    with h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r") as root:
        yield Hdf5(root, content, heaps)


def _heaps(content: Any) -> dict[int, dict[int, int]]:
    """Return by address the sizes of the texts, by number, of each heap; ValueError if HDF5 would stumble over one.

    The library steps from text to text by the sizes that stand there, also for ever by one of 0.
    """
    if content[:8] != b"\x89HDF\r\n\x1a\n" or content[8] > 3:
        raise ValueError("damaged: it does not begin as HDF5")
    old = content[8] < 2
    sizes, base = (content[13:15], content[24:32]) if old else (content[9:11], content[12:20])
    if sizes != b"\x08\x08" or any(base):
        raise ValueError("damaged, or not of Keras: its addresses do not count from its first byte in 8 bytes")
    heaps: dict[int, dict[int, int]] = {}
    for found in _HEAP.finditer(content):
        texts, place, end = {}, found.start() + 16, found.start() + int.from_bytes(found[1], "little")
        while place + _OBJECT.size <= min(end, len(content)):
            number, _, _, taken = _OBJECT.unpack_from(content, place)
            place += _OBJECT.size + (taken + 7) // 8 * 8 if number else taken or len(content)
            texts[number] = taken
        if max(place, end) > len(content) or place > end:
            raise ValueError("damaged: a text reaches beyond its heap, or the heap beyond the end of the file")
        heaps[found.start()] = texts
        if len(heaps) > NAMES:
            raise ValueError(f"it has more than {NAMES:,} heaps of texts")
    return heaps


class Hdf5:
    """An open file. Groups are h5py's; paths are names joined by "/".

    Attributes
    ----------
    root : h5py.Group
    """

    def __init__(self, root: Any, content: Any, heaps: Mapping[int, Mapping[int, int]]):
        self.root, self._content, self._heaps, self._size = root, content, heaps, len(content)
        self._largest = max((size for texts in heaps.values() for size in texts.values()), default=0)
        self._left = EXPANSION * self._size + FLOOR
        self._looks = LOOKS + self._size // BYTES_A_LOOK
        self._referred: set[str] = set()

    def _look(self, count: int = 1) -> None:
        self._looks -= count
        if self._looks < 0:
            raise ValueError("its names and links lead to more than a file of its size can hold")

    def group(self, path: str, parent: Any = None) -> Any:
        """Return a group, or None if there is none at `path`."""
        import h5py

        found = self._at(self.root if parent is None else parent, path)
        if found is not None and not isinstance(found, h5py.Group):
            raise ValueError(f"{path!r:.200} is no group")
        return found

    def _at(self, parent: Any, path: str) -> Any:
        import h5py

        self._look()
        for name in path.split("/"):
            if not isinstance(parent, h5py.Group):
                return None
            link = parent.get(name, getlink=True) if name else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{path!r:.200} is a {type(link).__name__}, which may lead out of the file")
            parent = parent[name]
        return parent

    def keys(self, group: Any) -> list[str]:
        """Return the names in a group."""
        if len(group) > NAMES:
            raise ValueError(f"{group.name!r:.200} has {len(group):,} entries; at most {NAMES:,} are read")
        self._look(len(group))
        return list(group)

    def array(self, path: str, parent: Any = None) -> np.ndarray:
        """Return the array at `path`, in the machine's order of bytes.

        Raises
        ------
        ValueError
            There is none, or its numbers are not in the file, or they are too many.
        """
        import h5py

        dataset = self._at(self.root if parent is None else parent, path)
        if not isinstance(dataset, h5py.Dataset):
            raise ValueError(f"there is no array {path!r:.200}")
        dtype, shape, plan = dataset.dtype, dataset.shape, dataset.id.get_create_plist()
        if shape is None or dtype.subdtype is not None or dtype.names or dtype.str[1:] not in NUMBERS:
            raise ValueError(f"{path!r:.200} is of {dtype!s:.50}; expected numbers")
        stored, taken, layout = dataset.id.get_storage_size(), math.prod(shape) * dtype.itemsize, plan.get_layout()
        if plan.get_external_count() or layout not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
            raise ValueError(f"{path!r:.200}: its numbers are in another file")
        filters = [plan.get_filter(n)[0] for n in range(plan.get_nfilters())]
        if any(number not in FILTERS for number in filters):
            raise ValueError(f"{path!r:.200} went through filter {filters}; known: {FILTERS}")
        needed = taken
        if layout == h5py.h5d.CHUNKED:
            needed += math.prod(plan.get_chunk()) * dtype.itemsize  # one is unpacked at a time
        elif stored < taken or stored > self._size:
            raise ValueError(f"{path!r:.200} has the shape {shape}, but its {taken:,} bytes are not in the file")
        if needed > self._left:
            raise ValueError(
                f"{path!r:.200} has the shape {shape}: {needed:,} bytes, more than such a file may unpack to"
            )
        self._left -= needed
        array = np.empty(shape, dtype)
        if array.size:
            dataset.read_direct(array)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def text(self, name: str, holder: Any = None) -> str | None:
        """Return the text of an attribute; None if there is none."""
        found = self._texts(self.root if holder is None else holder, name)
        if found is not None and len(found) != 1:
            raise ValueError(f"{name} holds {len(found)} texts; expected one")
        return None if found is None else found[0]

    def names(self, name: str, holder: Any = None) -> list[str] | None:
        """Return the list of texts of an attribute, or of its parts, `name` with 0, 1 …; None if there is none."""
        holder = self.root if holder is None else holder
        whole = self._texts(holder, name)
        if whole is not None:
            return whole
        parts: list[str] = []
        for number in range(NAMES):
            part = self._texts(holder, f"{name}{number}")
            if part is None:
                return parts if number else None
            parts += part
        raise ValueError(f"{name} is in too many parts")

    def _texts(self, holder: Any, name: str) -> list[str] | None:
        import h5py

        self._look()
        if name not in holder.attrs:
            return None
        attribute = h5py.h5a.open(holder.id, name.encode())
        shape, kind = attribute.shape, attribute.dtype
        count = math.prod(shape)
        if count == 0:
            return []
        info = h5py.check_string_dtype(kind)
        if info is None:
            raise ValueError(f"the attribute {name} is of {kind!s:.50}; expected text")
        if info.length is None:
            self._check_references(name)
            if attribute.get_type().get_super().get_size() != 1:
                raise ValueError(f"damaged: the attribute {name} is of letters of more than a byte")
        # several texts of any length may share one place in the file
        if count > NAMES or count * (info.length or self._largest) > self._left:
            raise ValueError(f"the attribute {name} holds {count:,} texts: more than such a file may unpack to")
        value = holder.attrs[name]
        texts = [_decoded(each) for each in ([value] if isinstance(value, (str, bytes)) else np.ravel(value).tolist())]
        self._left -= sum(map(len, texts))
        return texts

    def _check_references(self, name: str) -> None:
        """Raise ValueError if an attribute of that name says that a text is longer than it is.

        The library would take memory for what the reference says.
        """
        if name in self._referred:
            return
        self._referred.add(name)
        if len(self._referred) * self._size > SCANNED:
            raise ValueError(f"it has {len(self._referred):,} attributes of texts in {self._size:,} bytes: too many")
        attributes = list(self._attributes(name))
        if not attributes:
            raise ValueError(f"the attribute {name} does not lie in the file in one piece")
        for begin, count in attributes:
            for length, address, number in _REFERENCE.iter_unpack(self._content[begin : begin + 16 * count]):
                kept = self._heaps.get(address, {}).get(number, self._size)
                if length > kept:
                    raise ValueError(f"damaged: a text of {kept:,} bytes is said to have {length:,}")

    def _attributes(self, name: str) -> Iterator[tuple[int, int]]:
        """Yield where the values of each attribute of texts of that name begin, and how many there are.

        An attribute lies in one piece: version, sizes, name, type, shape, values; those up to the shape are padded to
        8 bytes in version 1.
        """
        word, place, content = name.encode() + b"\0", -1, self._content
        while (place := content.find(word, place + 1)) >= 0:
            self._look()
            for version, before, unit in ((1, 8, 8), (2, 8, 1), (3, 9, 1)):
                if place < before or content[place - before] != version:
                    continue
                sizes = struct.unpack("<3H", content[place - before + 2 : place - before + 8])
                kind, shape, begin = (place + sum(-(-size // unit) * unit for size in sizes[:n]) for n in (1, 2, 3))
                if sizes[0] != len(word) or begin + 16 > len(content):
                    continue
                shared = version > 1 and content[place - before + 1] & 1  # what it is of stands elsewhere
                if shared or content[kind] & 15 == _OF_ANY_LENGTH:
                    rank, first = content[shape + 1], shape + (8 if content[shape] == 1 else 4)
                    lengths = struct.unpack(f"<{rank}Q", content[first : first + 8 * rank].ljust(8 * rank))
                    count = min(math.prod(lengths), (len(content) - begin) // 16)
                    self._look(count)
                    yield begin, count


def _decoded(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)


def write_names(holder: Any, name: str, values: Sequence[str]) -> None:
    """Write a list of names as Keras does: arrays of bytes, in parts of at most 64,512 of them."""
    array = np.array([value.encode() for value in values]) if values else np.array([])
    parts = -(-array.nbytes // 64512) or 1
    for number, part in enumerate(np.array_split(array, parts)):
        holder.attrs[name if parts == 1 else f"{name}{number}"] = part
