"""``python -m rnncore info FILE``: what a model file holds, who wrote it, and what it would need to run here."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import saving
from ..interop import keras
from ..interop.keras.contents import FORMS, Contents
from ..interop.keras.layers import KNOWN
from ..interop.keras.versions import KINDS
from ..models import Sequential, load_model
from . import plain
from .table import print_table

SHOWN = [  # options, in the order in which they are shown
    "filters", "kernel_size", "units", "activation", "recurrent_activation", "return_sequences",
    "go_backwards", "reset_after", "dropout", "recurrent_dropout", "rate", "input_dim",
    "output_dim", "mask_zero", "mask_value", "merge_mode", "stateful", "bptt_steps",
    "pool_size", "padding", "strides", "n", "target_shape",
]  # fmt: skip
PLAIN = (None, False, 0, 0.0, 1, "linear", "tanh", "sigmoid", "concat", "valid")  # values not worth a place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "file",
        help="a .keras, .h5 or .weights.h5 file of Keras, any version, or a file of rnncore; "
        "or a folder of them, for a table in Markdown",
    )


def run(options: argparse.Namespace) -> int:
    """Print what the file holds; return 1 if it cannot be run here."""
    path = options.file
    if os.path.isdir(path):
        return print_table(Path(path))
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path}")
    print(f"{path}: {os.path.getsize(path):,} bytes")
    if saving.is_keras(path):
        with keras.contents_of(path) as contents:
            _print_origin(contents)
            if contents.model is None:
                return _print_weights(path)
    else:
        print("format:    rnncore's own")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            model = load_model(path)
        except ValueError as error:
            reason = str(error).removeprefix(f"{path}: ")
            if saving.is_keras(path):
                _print_described(path)
            print(plain(f"runs here: no; {reason}"))
            return 1
    _print_model(model)
    for warning in told:
        print(plain(f"left out:  {str(warning.message).removeprefix(f'{path}: ')}"))
    print("runs here: yes")
    return 0


def _print_origin(contents: Contents) -> None:
    backend = f" on {contents.backend}" if contents.backend else ""
    oldest = "Keras 1" if contents.form in ("h5", "weights") else "Keras 3"
    by = f"Keras {contents.version}{backend}" if contents.version else f"{oldest}, without its version"
    print(plain(f"format:    {FORMS[contents.form]}; written by {by}"))


def _print_weights(path: str) -> int:
    """Print the arrays of a file of weights."""
    found = keras.read_weights(path)
    rows = [(name, f"{array.dtype} {array.shape}") for name, arrays in found.items() for array in arrays]
    total = sum(array.size for arrays in found.values() for array in arrays)
    print(_table([("layer", "array"), *rows]))
    print(f"{total:,} numbers in {len(rows)} arrays; there is no model: make it, then model.load_weights({path!r})")
    return 0


def _print_described(path: str) -> None:
    """Print the layers of a model that cannot be made here, as the file describes them."""
    with keras.contents_of(path) as contents:
        model = contents.model
        rows = [("layer", "class", "")]
        for entry in (model.config.get("layers") or []) if model else []:
            name = entry.get("name") or entry.get("config", {}).get("name") or ""
            kind = entry.get("class_name", "?")
            here = KINDS.get(kind, (kind,))[0] in KNOWN | {"InputLayer", "Sequential", "Functional", "Model"}
            rows.append((f"{name:.40}", f"{kind:.40}", "" if here else "not here"))
        print(plain(f"model:     {model.kind} {model.name!r:.60}") if model else "")
        print(_table(rows))


def _print_model(model: Sequential) -> None:
    shape: Any = model.input_shape
    if model.declared is not None:
        shape = model.declared.input_shape
    print(f"model:     {model.name!r}, input {shape}")
    rows = [("layer", "class", "output", "weights", "options")]
    for layer in model.layers:
        shape = None if shape is None else layer.compute_output_shape(shape)
        rows.append((layer.name, _kind(layer), str(shape or "?"), f"{layer.count_params():,}", _options(layer)))
    print(_table(rows))
    print(f"weights:   {model.count_params():,} numbers")
    if model.optimizer is None:
        print("compiled:  no")
        return
    own = model.optimizer
    steps = f"{own.iterations:,} steps taken" if own.built else "no state"
    asked = model.get_compile_config() or {}
    named = [metric if isinstance(metric, str) else metric["config"]["name"] for metric in asked.get("metrics", [])]
    loss = "no loss" if model.loss is None else f"loss {model.loss.name}"
    metrics = f", metrics {', '.join(named)}" if named else ""
    rate = f"{type(own).__name__} at a rate of {own.learning_rate:.3g}"
    print(plain(f"compiled:  {rate} ({steps}), {loss}{metrics}"))


def _kind(layer: Any) -> str:
    inner = getattr(layer, "layer", None)
    return type(layer).__name__ if inner is None else f"{type(layer).__name__}({type(inner).__name__})"


def _options(layer: Any) -> str:
    """Return what is worth saying of a layer's options, those of the one within included."""
    config = {**(layer.layer.get_config() if hasattr(layer, "layer") else {}), **layer.get_config()}
    return ", ".join(
        f"{name}={config[name]}"
        for name in SHOWN
        if name in config and (config[name] is True or config[name] not in PLAIN)
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    rows = [tuple(map(plain, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
