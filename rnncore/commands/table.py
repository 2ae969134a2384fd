"""The table that ``python -m rnncore info FOLDER`` prints: a line a model file, in Markdown."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .. import saving
from ..interop import keras
from ..interop.keras.chain import described, is_model
from ..models import Sequential, load_model
from . import plain

SUFFIXES = (".h5", ".hdf5", ".keras")
REFERENCE_LIMIT = 1 << 30  # bytes of the arrays that predictions are compared with


def print_table(folder: Path) -> int:
    """Print a line for each model file of a folder: who wrote it, its layers, and what becomes of it here.

    Where ``NAME.npz`` with ``x`` and ``y_original`` or ``y`` lies beside a model, what it predicts for x is compared
    with that: the largest difference, as a share of the range.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    print("| file | Keras | layers | here |\n|---|---|---|---|")
    for path in paths:
        cells = (path.name, *_said(path), _outcome(path))
        print(f"| {' | '.join(plain(cell).replace('|', '/') for cell in cells)} |", flush=True)
    return 0


def _said(path: Path) -> tuple[str, str]:
    """Return the version and the layers that a file tells of."""
    try:
        if not saving.is_keras(path):
            return "", ""
        with keras.contents_of(path) as contents:
            entries = contents.model.config.get("layers", []) if contents.model else []
            said = ", ".join(_layer(entry) for entry in entries)
            return contents.version or "", said or "weights only"
    except (ValueError, OSError):
        return "", ""


def _layer(entry: Any) -> str:
    layer = described(entry)
    if is_model(layer):
        return f"{layer.kind}({', '.join(_layer(part) for part in layer.config['layers'])})"
    inner = layer.config.get("layer")
    if isinstance(inner, dict) and "class_name" in inner:
        return f"{layer.kind}({_layer(inner)})"
    size = layer.config.get("units", layer.config.get("filters", layer.config.get("output_dim")))
    return layer.kind if size is None else f"{layer.kind} {size}"


def _off(model: Sequential, reference: Path) -> float:
    """Return how far predictions are from those in a file of arrays, as a share of their range."""
    with zipfile.ZipFile(reference) as members:
        size = sum(info.file_size for info in members.infolist())
    if size > REFERENCE_LIMIT:
        raise ValueError(f"it has {size:,} bytes; at most {REFERENCE_LIMIT:,} are read")
    with np.load(reference, allow_pickle=False) as arrays:
        y = arrays["y_original"] if "y_original" in arrays else arrays["y"]
        return np.abs(model.predict(arrays["x"], verbose=0) - y).max() / (np.ptp(y) or 1)


def _outcome(path: Path) -> str:
    """Return what becomes of a file here."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            model = load_model(path)
        except (ValueError, OSError) as error:
            message = str(error).removeprefix(f"{path}: ")
            if message.startswith("it holds weights only"):
                return "weights, for a model's `load_weights`"
            return f"refused: {re.split('; |[.] ', message)[0]}"
    found, notes = "loads", [str(warning.message).removeprefix(f"{path}: ") for warning in told]
    reference = path.with_suffix(".npz")
    if reference.exists():
        try:
            found = f"off by {_off(model, reference):.0e} of the range"
        except (ValueError, OSError, KeyError, TypeError, MemoryError, zipfile.BadZipFile) as error:
            notes.append(f"not compared with {reference.name}: {error!s:.200}")
    return "; ".join([found, *notes])
