"""What a file of Keras's holds: which form it has, which version wrote it, its configuration, and its arrays.

Suffixes are not gone by: what a file is its first bytes say, and the names in it.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from ...utils import archive
from .chain import Described, described
from .hdf5 import EXPANSION, FLOOR, Hdf5, opened

FORMS = {
    "keras": "a .keras file, a model",
    "h5": "an HDF5 file of a whole model",
    "weights": "an HDF5 file of weights, by layer names",
    "weights3": "an HDF5 file of weights, by position",
}
CONFIG, METADATA, ARRAYS = "config.json", "metadata.json", "model.weights.h5"
NOTE_LIMIT = 1 << 16  # bytes of metadata.json

_VERSION = re.compile(r"\d{1,3}(\.\d{1,4}){0,3}([-.]?[a-z]\w{0,9}){0,2}")


class Contents(NamedTuple):
    """An open file.

    Attributes
    ----------
    form : str
        One of `FORMS`.
    version : str or None
        Of Keras, if the file says it.
    backend : str or None
    model : Described or None
        None in a file of weights.
    compiled : mapping or None
        How the model was compiled.
    arrays : Hdf5
    """

    form: str
    version: str | None
    backend: str | None
    model: Described | None
    compiled: Mapping[str, Any] | None
    arrays: Hdf5


@contextmanager
def contents_of(path: str | os.PathLike) -> Iterator[Contents]:
    """Open a file, and turn all that goes wrong in the block into a ValueError that names it.

    Raises
    ------
    FileNotFoundError
    ImportError
        h5py is not there.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path}")
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            begin = file.read(8)
            file.seek(0)
            with _of_zip(file, size) if begin[:2] == b"PK" else _of_hdf5(file) as contents:
                yield contents
    except ImportError:
        raise
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: damaged: {error!s:.100}; a download that was cut has no end") from error
    except Exception as error:  # h5py, zipfile and constructors that are given anything may raise anything
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise ValueError(f"{path}: {what:.900}") from error


@contextmanager
def _of_zip(file: io.FileIO, size: int) -> Iterator[Contents]:
    with archive.opened(file) as members:
        text = archive.parsed(_member(members, CONFIG, archive.TEXT_LIMIT), CONFIG)
        version = None
        if METADATA in members.namelist():
            version = archive.parsed(_member(members, METADATA, NOTE_LIMIT), METADATA).get("keras_version")
        name = ARRAYS if ARRAYS in members.namelist() else "variables.h5"  # of 2.12
        if name not in members.namelist():
            raise ValueError(f"it has no {ARRAYS}: the weights are not there")
        bytes_ = _member(members, name, EXPANSION * size + FLOOR)
    compiled = text.get("compile_config")
    with opened(bytes_) as arrays:
        yield Contents("keras", checked_version(version), None, described(text), _mapping(compiled), arrays)


def _member(members: Any, name: str, limit: int) -> bytes:
    """Return a member of a zip, if it has no more than `limit` bytes."""
    if name not in members.namelist():
        raise ValueError(f"it is a zip without {name}, no model of Keras's")
    info = members.getinfo(name)
    if info.file_size > limit or info.flag_bits & 1:
        raise ValueError(f"its {name} is encrypted, or of {info.file_size:,} bytes; at most {limit:,} are unpacked")
    with members.open(info) as member:
        found = member.read(limit + 1)
    if len(found) != info.file_size:
        raise ValueError(f"its {name} has not the {info.file_size:,} bytes that it says")
    return found


@contextmanager
def _of_hdf5(file: io.FileIO) -> Iterator[Contents]:
    with opened(file) as arrays:
        config, asked = arrays.text("model_config"), arrays.text("training_config")
        weights = arrays.group("model_weights") if config is not None else arrays.root
        if config is not None and weights is None:
            raise ValueError("it has a model_config, but no group model_weights")
        said = {name: _said(arrays, name, weights) for name in ("keras_version", "backend")}
        if config is not None:
            _check_length(config, asked)
            model = described(archive.parsed(config.encode(), "model_config"))
            compiled = None if asked is None else archive.parsed(asked.encode(), "training_config")
            yield Contents("h5", checked_version(said["keras_version"]), said["backend"], model, compiled, arrays)
        elif arrays.names("layer_names") is not None:
            yield Contents("weights", checked_version(said["keras_version"]), said["backend"], None, None, arrays)
        elif "layers" in weights or "_layer_checkpoint_dependencies" in weights:
            yield Contents("weights3", None, None, None, None, arrays)
        else:
            names = ", ".join(map(repr, arrays.keys(arrays.root)[:9]))
            raise ValueError(f"it is an HDF5 file, but not of Keras: it has {names or 'nothing'}")


def _said(arrays: Hdf5, name: str, weights: Any) -> str | None:
    found = arrays.text(name)
    return arrays.text(name, weights) if found is None else found


def _check_length(*texts: str | None) -> None:
    if any(text is not None and len(text) > archive.TEXT_LIMIT for text in texts):
        raise ValueError(f"its configuration is longer than {archive.TEXT_LIMIT:,} characters")


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) and value else None


def checked_version(version: Any) -> str | None:
    """Return a version, or raise ValueError if it is none."""
    if version is not None and not (isinstance(version, str) and _VERSION.fullmatch(version)):
        raise ValueError(f"its keras_version is {version!r:.100}")
    return version
