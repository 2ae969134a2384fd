"""``python -m rnncore convert IN OUT``: read a model file and write it in another form."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..interop import onnx
from ..models import load_model

FORMS = {  # suffix -> what it is
    ".keras": "a file for Keras 3.15",
    ".h5": "a file for Keras 3.15, in the older form",
    ".hdf5": "a file for Keras 3.15, in the older form",
    ".npz": "rnncore's own form",
    ".onnx": "an ONNX graph",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("input", metavar="IN", help="a model file of Keras, any version, or of rnncore")
    parser.add_argument("output", metavar="OUT", help="; ".join(f"{suffix}: {what}" for suffix, what in FORMS.items()))
    parser.add_argument("--overwrite", action="store_true", help="replace a file OUT that is there")


def run(options: argparse.Namespace) -> int:
    """Convert, and compare what the new file holds with the model."""
    path, suffix = options.output, Path(options.output).suffix.lower()
    if suffix not in FORMS:
        raise ValueError(f"{path}: OUT ends in {suffix!r}; expected one of {', '.join(FORMS)}")
    if Path(path).exists() and not options.overwrite:
        raise FileExistsError(f"{path} is there already; --overwrite replaces it")
    model = load_model(options.input)
    if suffix == ".onnx":
        onnx.export(model, path)
    else:
        model.save(path)
        again = load_model(path)
        if not all(map(np.array_equal, model.weights, again.weights)):
            raise ValueError(f"{path}: what was written is not the model; please report it")
    print(f"wrote {path}: {FORMS[suffix]}, {model.count_params():,} weights in {len(model.layers)} layers")
    return 0
