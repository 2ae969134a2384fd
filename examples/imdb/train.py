"""``python -m examples.imdb train``: train a model, and save it with its vocabulary and settings in one file."""

from __future__ import annotations

import argparse
import shutil
import time
from datetime import date
from typing import Any

from rnncore import Sequential, config, layers
from rnncore.callbacks import Callback, EarlyStopping, LearningRateScheduler
from rnncore.datasets import imdb

from ..program import folder, positive, uninterrupted, write_json
from .models import MODELS, Recipe
from .reviews import Part, load, reader_of


class WeightAverage(Callback):
    """Put the mean of the weights after each epoch, from the `first` on, in their place when training ends."""

    def __init__(self, first: int):
        self.first, self.count, self.mean = first, 0, None

    def on_epoch_end(self, epoch, logs=None):
        """Take the weights into the mean."""
        if epoch + 1 >= self.first:
            self.count += 1
            weights = self.model.get_weights()
            mean = weights if self.mean is None else self.mean
            self.mean = [before + (now - before) / self.count for before, now in zip(mean, weights, strict=True)]

    def on_train_end(self, logs=None):
        """Give the model the mean, after Ctrl-C, too."""
        if self.mean is not None:
            self.model.set_weights(self.mean)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    about = "; ".join(f"{name}: {recipe.about}" for name, recipe in MODELS.items())
    parser.add_argument("--model", choices=MODELS, default="lstm80", help=f"{about} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, dropout and order (default: 0)")
    add_epochs(parser)
    add_data(parser)


def add_epochs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of all commands that train."""
    parser.add_argument("--epochs", type=positive, help="default: the model's own, with --quick 2")
    parser.add_argument("--verbose", type=int, choices=(0, 1, 2), default=1, help="as in fit (default: 1)")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of all commands that read the reviews."""
    parser.add_argument("--data", default="imdb.npz", help="an imdb.npz; default: look where imdb.find looks")
    parser.add_argument("--out", default="results/imdb", help="folder of models and results (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="2,000 reviews to train on, 1,000 to test")


def run(options: argparse.Namespace) -> int:
    """Train, evaluate, show, save; return the exit code."""
    done = train(options.model, options)
    print(f'Ask it:       python -m examples.imdb predict "a review of your own" --model {done["file"]}')
    return 130 if done["interrupted"] else 0


def train(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train a model as its recipe says; return, and write, what came of it."""
    recipe, stem = MODELS[name], folder(options.out) / f"{name}-seed{options.seed}"
    training, validation, test = load(recipe, options.data, options.quick)
    reader = reader_of(name, options.data, training.x)
    config.set_seed(options.seed)
    model = compiled(recipe)
    held = f", {len(validation.y):,} held out of them" if recipe.averaged else ""
    print(f"{name}: {recipe.about}")
    print(f"{len(training.y):,} reviews to train on{held}, {len(test.y):,} to test; seed {options.seed}")
    model.build((None, recipe.tokens if recipe.padded else None))
    model.summary()

    epochs = options.epochs or (2 if options.quick else recipe.epochs)
    best = EarlyStopping("val_accuracy", patience=epochs, restore_best_weights=True)  # after Ctrl-C, too
    decay = LearningRateScheduler(lambda epoch, _: recipe.rate * recipe.decay ** min(epoch, recipe.averaged - 1))
    begin, worked, interrupted = time.perf_counter(), time.process_time(), False
    compiling = config.compiling.seconds
    try:
        model.fit(
            reader.rows(training.x),
            training.y,
            batch_size=recipe.batch,
            epochs=epochs,
            validation_data=(reader.rows(validation.x), validation.y),
            validation_batch_size=256,  # the same numbers, in less time
            callbacks=[WeightAverage(recipe.averaged), decay] if recipe.averaged else [best],
            verbose=options.verbose,
        )
    except KeyboardInterrupt as reason:
        interrupted = True
        print(f"\nInterrupted: {reason}; saving the model, then evaluating it.")
    seconds, worked = time.perf_counter() - begin, time.process_time() - worked
    history = model.history.history if model.history else {}

    path = f"{stem}.npz"
    with uninterrupted():
        reader.save(model, path)
    loss, accuracy = model.evaluate(reader.rows(test.x), test.y, batch_size=256, verbose=0)
    held_out = len(validation.y) if recipe.averaged else 0
    rows = reader.rows(validation.x) if held_out else None
    done = {
        "model": name,
        "about": recipe.about,
        "seed": options.seed,
        "date": date.today().isoformat(),
        "source": imdb.find(options.data).kind,
        "reviews": {"train": len(training.y), "held_out": held_out, "test": len(test.y)},
        "parameters": model.count_params(),
        "asked_epochs": epochs,
        "seconds": seconds,
        "seconds_of_processors": worked,
        "seconds_compiling": config.compiling.seconds - compiling,
        "history": history,
        "held_out_accuracy": model.evaluate(rows, validation.y, verbose=0)[1] if held_out else None,
        "best_epoch": best.best_epoch + 1 if history and not recipe.averaged else None,
        "test_accuracy": accuracy,
        "test_loss": loss,
        "file": path,
        "interrupted": interrupted,
    }
    write_json(f"{stem}.json", done)
    report(done, recipe)
    show_reviews(model, reader, test)
    if history:
        draw(history, f"{stem}.png", f"IMDB, {name}: {recipe.about}")
    print(f"\nResults:      {stem}.json")
    print(f"Model, vocabulary and settings: {path}")
    return done


def compiled(recipe: Recipe, dropout: bool = True) -> Sequential:
    """Return a recipe's model, with Keras's defaults of Adam."""
    model = Sequential(recipe.layers(layers, recipe.words, dropout))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def report(done: dict[str, Any], recipe: Recipe) -> None:
    """Print what came of a training."""
    print(f"Trained for {done['seconds']:.0f} s.")
    if done["history"]:
        last, count = done["history"]["val_accuracy"][-1], len(done["history"]["loss"])
        if recipe.averaged:
            print(f"The weights are the mean of those after the epochs {min(recipe.averaged, count)} to {count}.")
            print(f"The held-out reviews' accuracy: {done['held_out_accuracy']:.4f}; after the last epoch: {last:.4f}")
        else:
            print(f"Best epoch: {done['best_epoch']} of {count}; accuracy after the last one: {last:.4f}")
            print("(The best epoch was chosen on the test reviews themselves, as in the lecture: a little too good.)")
    accuracy, loss, count = done["test_accuracy"], done["test_loss"], done["reviews"]["test"]
    print(f"Test accuracy: {accuracy:.4f}   test loss: {loss:.4f}   on {count:,} reviews")


def show_reviews(model: Sequential, reader: Any, test: Part, count: int = 6) -> None:
    """Print the ends of a few reviews, what they were and what the model says, in the terminal's width."""
    if not reader.words:
        return
    room = max(20, shutil.get_terminal_size().columns - 26)
    probabilities = model.predict(reader.rows(test.x[:count]))[:, 0]
    print("\np(positive)  truth     the end of the review")
    for ids, truth, p in zip(test.x, test.y, probabilities, strict=False):
        text = reader.decode(ids)
        print(f"{p:10.3f}   {'positive' if truth else 'negative'}  … {text[-room:]}")


def draw(history: dict[str, list[float]], path: str, title: str) -> None:
    """Write the figure, or say why not."""
    from rnncore.study.plots import plot_history

    shown = {name: values for name, values in history.items() if name != "learning_rate"}
    try:
        print(f"\nFigure:       {plot_history(shown, path, title)}")
    except (ImportError, OSError) as error:
        print(f"\nNo figure: {error}")
