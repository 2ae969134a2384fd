"""``python -m examples.imdb keras``: the same weights and batches in Keras, loss by loss; with --epochs its accuracy.

Dropout is left out where losses are compared: the two draw other numbers.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import rnncore
from rnncore import config
from rnncore.datasets import imdb
from rnncore.utils import pad_sequences

from ..program import positive, write_json
from .models import MODELS, Recipe
from .reviews import load, reader_of
from .train import add_data, compiled

WITHOUT = {
    "carry": "Keras has no CarryRNN",
    "subwords": "it is bilstm, on pieces of words: --model bilstm",
    "pooled": "Keras's GlobalMaxPooling1D takes the largest value over padding, too",
}
BOUND = {"float32": 1e-5, "float64": 1e-9}  # of a loss, relative, over the first 100 steps
ALL = 1 << 40
# In float64 Keras on TensorFlow takes Adam's rates through float32: these it takes as they are.
RATES = {"learning_rate": float(np.float32(1e-3)), "beta_1": float(np.float32(0.9)), "beta_2": float(np.float32(0.999))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    names = [name for name in MODELS if name not in WITHOUT]
    parser.add_argument("--model", choices=MODELS, default="lstm80", help=f"of {', '.join(names)} (default: lstm80)")
    parser.add_argument("--steps", type=int, default=100, help="to compare, 0: an epoch (default: %(default)s)")
    parser.add_argument("--dtype", choices=BOUND, default="float32", help="default: %(default)s")
    parser.add_argument("--epochs", type=positive, help="instead train Keras's model so long, and evaluate it")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (default: 0)")
    add_data(parser)


def run(options: argparse.Namespace) -> int:
    """Compare; return the exit code: 1 if losses are further apart than they may be."""
    if options.model in WITHOUT:
        raise ValueError(f"--model {options.model}: {WITHOUT[options.model]}")
    keras = imported()
    return accuracy(keras, options) if options.epochs else losses(keras, options)


def imported() -> Any:
    """Return Keras, or raise ImportError with what helps."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras
    except ImportError as error:
        raise ImportError(
            f'Keras is not installed ({error}); pip install "keras==3.15.*" tensorflow-cpu brings it'
        ) from error
    return keras


def losses(keras: Any, options: argparse.Namespace) -> int:
    """Take the same steps in both, and print where their losses part."""
    recipe = MODELS[options.model]
    (x, y), _, _ = load(recipe, options.data, options.quick)
    rows = reader_of(options.model, options.data, x).rows(x)
    before = config.floatx(), keras.config.floatx()
    try:
        set_dtype(keras, options.dtype, options.dtype)
        off, ours = beside(keras, recipe, rows, y, options.steps or ALL, options.seed)
    finally:
        set_dtype(keras, *before)
    within = off[:100].max() < BOUND[options.dtype]
    print(
        f"{options.model} in {options.dtype}, no dropout, seed {options.seed}: {len(off)} steps from the same weights"
    )
    print(f"{'steps':>8}{'loss of the last':>18}{'furthest apart, relative':>26}")
    for count in sorted({1, 2, 5, *range(10, len(off), max(10, len(off) // 12)), min(100, len(off)), len(off)}):
        if count <= len(off):
            print(f"{count:>8}{ours[count - 1]:18.6f}{off[:count].max():26.1e}")
    bound = f"the bound of {BOUND[options.dtype]:g} over the first {min(100, len(off))} steps"
    print(f"{'Within' if within else 'NOT within'} {bound}: {off[:100].max():.1e}")
    path = Path(options.out) / f"{options.model}-{options.dtype}-beside-keras.json"
    write_json(path, {"model": options.model, "dtype": options.dtype, "loss": ours.tolist(), "apart": off.tolist()})
    print(f"Results: {path}")
    return int(not within)


def set_dtype(keras: Any, ours: str, theirs: str) -> None:
    """Choose what both compute in; Keras keeps it in two places."""
    config.set_floatx(ours)
    keras.config.set_floatx(theirs)
    keras.config.set_dtype_policy(theirs)


def beside(
    keras: Any, recipe: Recipe, rows: Any, y: np.ndarray, steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Train both on the same batches; return how far their losses are apart, relative, and ours: (steps,) each."""
    config.set_seed(seed)
    ours, theirs = compiled(recipe, dropout=False), made(keras, recipe, dropout=False)
    for model, library in ((ours, rnncore), (theirs, keras)):
        model.compile(library.optimizers.Adam(**RATES), "binary_crossentropy", jit_compile=False)
    ours.build((None, recipe.tokens))
    theirs.set_weights(ours.get_weights())
    pairs = []
    for x, labels in batches(rows, y, recipe.batch, steps, np.random.default_rng(seed)):
        theirs.reset_metrics()  # their mean over batches would go on
        ours.reset_metrics()
        pairs.append([float(np.ravel(model.train_on_batch(x, labels))[0]) for model in (ours, theirs)])
    mine, other = np.array(pairs).T
    return np.abs(mine - other) / np.abs(other), mine


def made(keras: Any, recipe: Recipe, dropout: bool) -> Any:
    """Return the recipe's model in Keras."""
    model = keras.Sequential(recipe.layers(keras.layers, recipe.words, dropout))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"], jit_compile=False)
    model.build((None, recipe.tokens if recipe.padded else None))
    return model


def batches(
    rows: Any, y: np.ndarray, size: int, steps: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of one epoch in random order, rows of nearly one length together, zeros behind the shorter ones."""
    order = rng.permutation(len(y))
    if not isinstance(rows, np.ndarray):
        near = [part[np.argsort([len(rows[n]) for n in part])] for part in np.split(order, range(3200, len(y), 3200))]
        order = np.concatenate(near)
    parts = np.split(order, range(size, len(y), size))
    for n in rng.permutation(len(parts))[:steps]:
        yield padded(rows, parts[n]), y[parts[n]]


def padded(rows: Any, chosen: np.ndarray) -> np.ndarray:
    """Return some rows as one array, zeros behind the shorter ones."""
    return rows[chosen] if isinstance(rows, np.ndarray) else pad_sequences([rows[n] for n in chosen], padding="post")


def accuracy(keras: Any, options: argparse.Namespace) -> int:
    """Train Keras's model on the reviews, evaluate it after each epoch, and write down what came of it."""
    recipe = MODELS[options.model]
    (x, y), _, (x_test, y_test) = load(recipe, options.data, options.quick)
    reader = reader_of(options.model, options.data, x)
    rows, test = reader.rows(x), reader.rows(x_test)
    keras.utils.set_random_seed(options.seed)
    model, rng = made(keras, recipe, True), np.random.default_rng(options.seed)
    history: dict[str, list[float]] = {"val_accuracy": [], "seconds": []}
    path = Path(options.out) / f"{options.model}-keras-seed{options.seed}.json"
    for epoch in range(options.epochs):
        begin = time.perf_counter()
        for batch, labels in batches(rows, y, recipe.batch, ALL, rng):
            model.train_on_batch(batch, labels)
        history["seconds"].append(time.perf_counter() - begin)
        history["val_accuracy"].append(right(model, test, y_test))
        print(
            f"Keras, epoch {epoch + 1}/{options.epochs}: {history['seconds'][-1]:.0f} s, "
            f"test accuracy {history['val_accuracy'][-1]:.4f}",
            flush=True,
        )
        told = {"model": options.model, "seed": options.seed, "date": date.today().isoformat(), "history": history}
        sizes = {"train": len(y), "held_out": 0, "test": len(y_test)}
        write_json(path, told | {"source": imdb.find(options.data).kind, "reviews": sizes, "keras": keras.__version__})
    print(f"Results: {path}")
    return 0


def right(model: Any, rows: Sequence, y: np.ndarray) -> float:
    """Return the share of right answers."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    parts = np.split(order, range(256, len(y), 256))
    return float(
        sum(np.sum((model.predict_on_batch(padded(rows, part))[:, 0] > 0.5) == (y[part] == 1)) for part in parts)
        / len(y)
    )
