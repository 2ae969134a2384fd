"""``python -m examples.imdb compare``: all models on the same reviews: a table, a figure, and all numbers as JSON.

What was trained before with as many epochs and the same reviews, in the same folder, is not trained again: a run that
was cut goes on. What the command `keras` has written there stands beside.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnncore.datasets import imdb

from ..program import write_figure, write_json
from .models import MODELS
from .train import add_data, add_epochs, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    names = [name for name in MODELS if name != "subwords"]
    parser.add_argument("--models", nargs="+", choices=MODELS, default=names, help=f"default: {' '.join(names)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--table", action="store_true", help="of what is there already; train nothing")
    add_epochs(parser)
    add_data(parser)


def run(options: argparse.Namespace) -> int:
    """Train what is missing, then show all; return the exit code."""
    if not options.table:
        for name in options.models:
            for seed in options.seeds:
                if not is_there(name, seed, options):
                    done = train(name, argparse.Namespace(**vars(options), model=name, seed=seed))
                    if done["interrupted"]:
                        print(f"Interrupted: the same command trains {name}, seed {seed}, anew, and goes on.")
                        return 130
    runs = {name: read(f"{name}-seed*.json", options) for name in options.models}
    beside = {name: read(f"{name}-keras-seed*.json", options) for name in options.models}
    runs = {name: found for name, found in runs.items() if found}
    if not runs:
        which = "--quick results" if options.quick else "results of whole trainings (--quick shows the others)"
        raise ValueError(f"there are no {which} of {', '.join(options.models)} in {options.out}")
    print(table(runs, beside))
    out = Path(options.out)
    write_json(out / "compare.json", {"runs": runs, "keras": beside})
    print(f"\nResults: {out / 'compare.json'}")
    write_figure(out / "compare.png", lambda figure: draw(figure, runs, beside), (7, 4.2))
    return 0


def is_there(name: str, seed: int, options: argparse.Namespace) -> bool:
    """Return whether a run of as many epochs on the same reviews has been written down."""
    epochs = options.epochs or (2 if options.quick else MODELS[name].epochs)
    source = imdb.find(options.data).kind
    return any(
        run["seed"] == seed and run["asked_epochs"] == epochs and run["source"] == source and not run["interrupted"]
        for run in read(f"{name}-seed{seed}.json", options)
    )


def read(pattern: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the results in the folder that are of as many reviews as are asked for now."""
    found = []
    for path in sorted(Path(options.out).glob(pattern)):
        try:
            run = json.loads(path.read_text())
            fits = (run["reviews"]["test"] == 1000) == options.quick
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no result of train or keras ({error!r:.80}): take it away") from error
        found += [run] if fits else []
    return found


def table(runs: dict[str, list], beside: dict[str, list]) -> str:
    """Return a Markdown table, a line a model: means over the seeds, and their spread, in percent."""
    lines = [
        "| model | parameters | CPU seconds an epoch | seeds | best epoch | last epoch | Keras's best | its last |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, own in runs.items():
        held_out = MODELS[name].averaged  # its validation is not the test: there is one number, of its averaged weights
        seconds = np.mean([run["seconds_of_processors"] / epochs_of(run) for run in own])  # whatever else was running
        best = spread([run["test_accuracy"] for run in own])
        cells = [name, f"{own[0]['parameters']:,}", f"{seconds:.0f}", str(len(own)), best]
        cells += ["–" if held_out else spread([each[-1] for each in accuracies_of(own)])]
        accuracies = accuracies_of(beside.get(name, ()))
        cells += [spread([max(each) for each in accuracies]), spread([each[-1] for each in accuracies])]
        lines.append(f"| {' | '.join(cells)} |")
    reviews: dict[str, list[str]] = {}
    for name, own in runs.items():
        for run in own:
            sizes = run["reviews"]
            own_reviews = f"{sizes['train'] + sizes['held_out']:,} reviews to train on, {sizes['test']:,} to test"
            reviews.setdefault(f"{own_reviews} ({run['source']})", []).append(name)
    for text, names in reviews.items():
        which = f"{', '.join(dict.fromkeys(names))}: " if len(reviews) > 1 else ""
        lines += ["", f"{which}{text}."]
    return "\n".join(lines)


def accuracies_of(runs: Sequence[dict[str, Any]]) -> list[list[float]]:
    """Return the accuracies after each epoch of each run that got so far."""
    return [run["history"]["val_accuracy"] for run in runs if run["history"].get("val_accuracy")]


def epochs_of(run: dict[str, Any]) -> int:
    """Return how many epochs a run had."""
    return max(1, len(run["history"].get("loss", ())))


def spread(values: Sequence[float]) -> str:
    """Return shares in percent: their mean, and of several the lowest and the highest."""
    if not values:
        return "–"
    percent = 100 * np.array(values)
    ends = f" ({percent.min():.2f} to {percent.max():.2f})" if len(values) > 1 else ""
    return f"{percent.mean():.2f}{ends}"


def draw(figure: Any, runs: dict[str, list], beside: dict[str, list]) -> None:
    """Draw accuracy over the epochs, a line a model, Keras's dashed."""
    from rnncore.study.plots import COLOURS

    axis = figure.subplots()
    for n, (name, own) in enumerate(runs.items()):
        for found, style, label in ((own, "o-", name), (beside.get(name, []), "o--", f"{name}, Keras")):
            curves = [run["history"].get("val_accuracy", []) for run in found]
            length = min(map(len, curves), default=0)
            if length:
                mean = 100 * np.mean([curve[:length] for curve in curves], axis=0)
                axis.plot(range(1, length + 1), mean, style, label=label, color=COLOURS[n % len(COLOURS)], markersize=3)
    axis.set(xlabel="epoch", ylabel="accuracy on the validation reviews, %")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=8)
