"""``python -m examples.imdb padding``: how far zeros before or after a review move a model's answer.

Asked of the same weights twice: with the mask that leaves zeros out, and without one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from rnncore import Sequential

from ..program import positive, write_json
from .models import MODELS
from .predict import chosen, opened
from .reviews import check_vocabulary, load
from .train import add_data

SAMPLES = (
    "A warm and clever film; the two leads are a joy to watch, and I would see it again tomorrow.",
    "Two hours of noise. The story makes no sense, the jokes are stale, and I wanted my money back.",
)
ZEROS = (10, 100, 400)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--model", help="a model's name or file (default: the one that was trained last)")
    parser.add_argument("--reviews", type=positive, default=200, help="of the test (default: %(default)s)")
    add_data(parser)


def run(options: argparse.Namespace) -> int:
    """Show it; return the exit code: 1 if a masked answer moved."""
    path = chosen(options.model, options.out)
    model, reader = opened(path)
    if reader.recipe.subwords:
        raise ValueError(f"{path}: the model takes texts, which it pads itself; choose another --model")
    *_, test = load(MODELS[reader.model], options.data, options.quick)
    check_vocabulary(reader, options.data, path)
    count = min(options.reviews, 20 if options.quick else options.reviews)
    rows = [reader.cut(ids) for ids in test.x[:count]]
    print(f"{path}: {len(rows)} test reviews, zeros on either side; as they are they have none,")
    print("unlike in predict, which puts some before a short one for a model on a fixed number of words.\n")
    print(f"{'':8}{'zeros':>6}{'side':>7}{'mean change':>13}{'largest':>11}{'answers turned over':>21}")
    found = []
    for masked in (True, False):
        alone = answers(model, rows, masked)
        for side in ("left", "right"):
            for zeros in ZEROS:
                padded = answers(model, [with_zeros(row, zeros, side) for row in rows], masked)
                change, turned = np.abs(padded - alone), (padded > 0.5) != (alone > 0.5)
                told = {"masked": masked, "side": side, "zeros": zeros, "mean": float(change.mean())}
                found.append(told | {"largest": float(change.max()), "turned_over": int(turned.sum())})
                label = "masked" if masked else "unmasked"
                numbers = f"{change.mean():13.2g}{change.max():11.2g}{turned.sum():>13} of {len(rows)}"
                print(f"{label:8}{zeros:>6}{side:>7}{numbers}", flush=True)
    for text in SAMPLES:
        ids = reader.cut(reader.encode(text))
        print(f"\n{text}")
        for masked in (True, False):
            alone, padded = (answers(model, [with_zeros(ids, n, "right")], masked)[0] for n in (0, 400))
            label = "masked" if masked else "unmasked"
            print(f"  {label:9} {alone:.4f}, with 400 zeros after it {padded:.4f}")
    results = path.with_name(f"padding-{path.stem}.json")
    write_json(results, {"file": str(path), "reviews": len(rows), "changes": found})
    print(f"\nResults: {results}")
    return int(any(told["largest"] > 0 for told in found if told["masked"]))


def with_zeros(ids: list[int], count: int, side: str) -> list[int]:
    """Return ids with zeros before or after them."""
    return [0] * count + ids if side == "left" else ids + [0] * count


def answers(model: Sequential, rows: Sequence[list[int]], masked: bool) -> np.ndarray:
    """Return what a model says of each row, alone in its batch: (N,). `masked`: whether zeros are left out."""
    embedding = model.input_layer
    before, embedding.mask_zero = embedding.mask_zero, masked
    try:
        return np.array([model.predict(np.array([row]))[0, 0] for row in rows])
    finally:
        embedding.mask_zero = before
