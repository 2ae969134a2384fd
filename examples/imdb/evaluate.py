"""``python -m examples.imdb evaluate``: a saved model on the test reviews."""

from __future__ import annotations

import argparse

import numpy as np

from ..program import write_json
from .models import MODELS
from .predict import chosen, opened
from .reviews import check_vocabulary, load
from .train import add_data, show_reviews


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--model", help="a model's name or file (default: the one that was trained last)")
    add_data(parser)


def run(options: argparse.Namespace) -> int:
    """Evaluate; return the exit code."""
    path = chosen(options.model, options.out)
    model, reader = opened(path)
    *_, test = load(MODELS[reader.model], options.data, options.quick)
    check_vocabulary(reader, options.data, path)
    x = reader.rows(test.x)
    positive = model.predict(x, batch_size=256)[:, 0] > 0.5
    right = positive == (test.y == 1)
    table = {
        said: {truth: int(np.sum((positive == p) & (test.y == y))) for truth, y in (("positive", 1), ("negative", 0))}
        for said, p in (("positive", True), ("negative", False))
    }
    print(f"{path}\nTest accuracy: {right.mean():.4f} on {len(right):,} reviews\n")
    print(f"{'says':>12}{'are positive':>14}{'are negative':>14}")
    for said, counts in table.items():
        print(f"{said:>12}{counts['positive']:>14,}{counts['negative']:>14,}")
    show_reviews(model, reader, test)
    results = path.with_name(f"evaluate-{path.stem}.json")
    write_json(results, {"file": str(path), "test": len(right), "test_accuracy": right.mean(), "said": table})
    print(f"\nResults: {results}")
    return 0
