"""``python -m rnncore look FILE``: run a model file on a text or an array, and show its gates step by step.

Sizes: T steps, H units.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import study
from ..layers import Embedding
from ..models import Sequential, load_model
from ..utils.archive import parsed
from . import plain

BARS = " ▁▂▃▄▅▆▇█"
VOCABULARY_LIMIT = 64 << 20  # bytes
STEPS, ROWS = 24, 1000  # steps where the model does not say how many; and how many are printed
DRAWN = 1 << 20  # random numbers at most: the file says how many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", help="a model file of Keras, any version, or of rnncore")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--text", help="words for a model that begins with an Embedding; needs --vocabulary")
    given.add_argument("--input", metavar="X.npy", help="an array, the batch first; its first row is shown, see --row")
    parser.add_argument(
        "--vocabulary", metavar="FILE", help="JSON, {word: id}, or a text, a word a line (the first is 0)"
    )
    shift = (
        "what is added to the ids of --vocabulary; with 3, as in Keras's imdb, 1 begins a text and 2 stands for a word "
    )
    parser.add_argument("--index-from", type=int, default=0, metavar="N", help=f"{shift}that is not there; default: 0")
    parser.add_argument("--row", type=int, default=0, help="the row of the input to show; default: 0")
    parser.add_argument("--figure", metavar="PATH", help="also draw the gates, by step and unit: a .png, .svg or .pdf")
    parser.add_argument("--html", metavar="PATH", help="also write the walk: a page that goes through the steps")


def run(options: argparse.Namespace) -> int:
    """Show the gates."""
    model = load_model(options.file, compile=False)
    x, words = _input(model, options)
    if not -len(x) <= options.row < len(x):
        raise ValueError(f"--row is {options.row}; the input has {len(x)} rows")
    x = x[options.row :][:1] if options.row >= 0 else x[options.row : options.row + 1 or None]
    trace = study.trace(model, x, words=None if words is None else [words])
    answer = np.asarray(trace.output)
    words = None if trace.words is None else trace.words[0]  # a model that takes texts has its own
    for name, series in trace.items():
        _print_layer(name, {key: series[key][0] for key in series.shown}, words)
    print(f"answer: {np.array2string(answer[0], precision=4, suppress_small=True, threshold=12)}")
    if options.figure:
        study.plots.plot_heat(trace, None, path=options.figure)
        print(f"wrote {options.figure}")
    if options.html:
        study.walk(model, x, words=words, path=options.html)
        print(f"wrote {options.html}")
    return 0


# --- what is shown ---------------------------------------------------------------------------------------------------


def _input(model: Sequential, options: argparse.Namespace) -> tuple[np.ndarray, list[str] | None]:
    """Return x, and the words of its row if it is a text."""
    first = model.input_layer
    if first.input_kind == "string":
        if options.text is None:
            raise ValueError("the model takes texts: give --text")
        return np.array([options.text]), None
    if options.text is not None:
        if not isinstance(first, Embedding):
            raise ValueError(
                f"--text: the model begins with a {type(first).__name__}, which takes numbers: use --input"
            )
        if options.vocabulary is None:
            raise ValueError("--text needs --vocabulary: which id a word has is not in the model's file")
        ids, words = _ids(options.text, _vocabulary(options.vocabulary), options.index_from, first.input_dim)
        return np.array([ids]), words
    if options.input is not None:
        x = np.load(options.input, allow_pickle=False)
        x = x[next(iter(x.files))] if isinstance(x, np.lib.npyio.NpzFile) else x
        shape = model.declared.input_shape if model.declared is not None else model.input_shape
        return (x[None] if shape is not None and x.ndim == len(shape) - 1 else x), None
    return _drawn(model, first), None


def _drawn(model: Sequential, first: Any) -> np.ndarray:
    """Return random input, where none is given: the same each time."""
    shape = model.declared.input_shape if model.declared is not None else model.input_shape
    if shape is None:
        raise ValueError("the file does not say the shape of the input: give --input")
    size = [1, *(STEPS if n is None else n for n in shape[1:])]
    if math.prod(size) > DRAWN:
        raise ValueError(f"the file asks for input of shape {tuple(shape)}, too large to be made up: give --input")
    rng = np.random.default_rng(0)
    print(f"no --text or --input: random numbers of shape {tuple(size)}")
    if isinstance(first, Embedding):
        return rng.integers(1 if first.input_dim > 1 else 0, first.input_dim, size)
    return rng.standard_normal(size).astype(first.dtype)


def _vocabulary(path: str) -> dict[str, int]:
    if os.path.getsize(path) > VOCABULARY_LIMIT:
        raise ValueError(f"{path}: a vocabulary of more than {VOCABULARY_LIMIT:,} bytes is not read")
    text = Path(path).read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        found = parsed(text.encode(), path)
        if not all(type(n) is int for n in found.values()):
            raise ValueError(f"{path}: expected an object of words and their whole numbers")
        return found
    return {word: n for n, word in enumerate(text.splitlines())}


def _ids(text: str, vocabulary: Mapping[str, int], index_from: int, size: int) -> tuple[list[int], list[str]]:
    """Return the ids of a text's words, and the words; those that have none are left out, or become 2."""
    special = index_from >= 3
    pairs = [(1, "(begin)")] if special else []
    for word in _words(text):
        found = vocabulary.get(word, vocabulary.get(word.lower()))
        n = None if found is None else found + index_from
        if n is None or not 0 <= n < size:
            if not special:
                print(f"left out, because the vocabulary or the Embedding has no such word: {word!r}")
                continue
            n, word = 2, f"({word})"
        pairs.append((n, word))
    if len(pairs) <= special:
        raise ValueError("--text: none of its words is in the vocabulary and below the Embedding's input_dim")
    return [n for n, _ in pairs], [word for _, word in pairs]


def _words(text: str) -> list[str]:
    """Return words without the marks around them."""
    return [word for part in text.split() if (word := part.strip("\"'.,;:!?()[]{}<>*-…“”„"))]


def _print_layer(name: str, series: Mapping[str, np.ndarray], words: Sequence[str] | None) -> None:
    """Print a line a step: the mean over the units of each gate, and of the size of what can be negative."""
    units, steps = next(iter(series.values())).shape[-1], len(next(iter(series.values())))
    means = {}
    for key, values in series.items():
        signed = np.nanmin(values) < 0
        with np.errstate(invalid="ignore"):
            means[f"|{key}|" if signed else key] = np.abs(values).mean(axis=-1)
    print(f"\n{plain(name)}: {units} units, {steps} steps; means over the units")
    wide = max(map(len, words)) if words and len(words) == steps else 0
    print("  ".join([f"{'step':>5}", *([" " * wide] if wide else []), *(f"{key:<9}" for key in means)]))
    for step in range(min(steps, ROWS)):
        cells = [f"{step:>5}", *([f"{words[step]:<{wide}}"] if wide and words else [])]
        print("  ".join([*cells, *(_cell(values[step]) for values in means.values())]).rstrip())
    if steps > ROWS:
        print(f"… and {steps - ROWS} more")


def _cell(value: float) -> str:
    if not np.isfinite(value):
        return f"{'masked':<9}"
    return f"{value:5.2f} {BARS[min(len(BARS) - 1, round(min(value, 1) * (len(BARS) - 1)))]}  "
