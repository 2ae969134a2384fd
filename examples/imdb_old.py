"""The lecture's sentiment classifier: an LSTM reads film reviews and says whether they praise.

    python -m examples.imdb              the whole of it: 15 epochs
    python -m examples.imdb --quick      a tenth of the reviews, 2 epochs: does it run?
    python -m examples.imdb --ask "…"    a review of your own, word by word, to the model that was saved

Prints where the reviews come from, the model, a line an epoch, the accuracy on the test reviews, and a few of them
in words with their probability of being positive. Writes a figure of loss and accuracy, and the model with its
vocabulary and settings in one file. The model is that of Keras's imdb_lstm example: the last 80 tokens of a review, the
20,000 most frequent words.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time

import numpy as np

from rnncore import Sequential, config, saving, study
from rnncore.callbacks import EarlyStopping
from rnncore.datasets import imdb
from rnncore.layers import LSTM, Dense, Embedding
from rnncore.models import load_model
from rnncore.study.plots import plot_history
from rnncore.utils import pad_sequences

WORDS, TOKENS = 20_000, 80


def main(arguments: list[str] | None = None) -> int:
    """Run the example; return the exit code."""
    options = parsed(arguments)
    if options.ask is not None:
        return answer(options.ask, options.model)
    config.set_seed(options.seed)

    (x_train, y_train), (x_test, y_test) = imdb.load_data(options.data, num_words=WORDS)
    if options.quick:
        x_train, y_train, x_test, y_test = x_train[:2000], y_train[:2000], x_test[:1000], y_test[:1000]
    x_train, x_test = pad_sequences(x_train, TOKENS), pad_sequences(x_test, TOKENS)
    print(f"{len(x_train):,} reviews to train on, {len(x_test):,} to test; seed {options.seed}")

    model = Sequential(
        [
            Embedding(WORDS, 128),
            LSTM(128, dropout=0.2, recurrent_dropout=0.2, name="lstm"),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.build((None, TOKENS))
    model.summary()

    best = EarlyStopping("val_accuracy", patience=options.epochs, restore_best_weights=True)
    begin, code = time.perf_counter(), 0
    try:
        model.fit(
            x_train,
            y_train,
            batch_size=32,
            validation_batch_size=1000,  # the same numbers, in less time
            epochs=options.epochs,
            validation_data=(x_test, y_test),
            callbacks=[best],
            verbose=options.verbose,
        )
    except KeyboardInterrupt as reason:
        code = 130
        print(f"\nInterrupted: {reason}; going on with what there is.")
    print(f"Trained for {time.perf_counter() - begin:.0f} s.")

    history = model.history.history
    loss, accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)
    if history:
        last = history["val_accuracy"][-1]
        print(f"Best epoch: {best.best_epoch + 1} of {len(history['loss'])}; the last epoch's accuracy: {last:.4f}")
        print("(The best epoch was chosen on the test reviews themselves, as in the lecture: a little too good.)")
    print(f"Test accuracy: {accuracy:.4f}   test loss: {loss:.4f}   on {len(x_test):,} reviews")
    words = word_index(options.data)
    show_reviews(model, x_test, y_test, words)
    if history:
        draw(history, options.figure)
    settings = {"num_words": WORDS, "tokens": TOKENS, "words": "\n".join(sorted(words, key=words.get))}
    os.makedirs(os.path.dirname(options.model) or ".", exist_ok=True)
    saving.save_model(model, options.model, notes=settings)
    print(f'Model, vocabulary and settings: {options.model}   (ask it: python -m examples.imdb --ask "a review")')
    return code


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m examples.imdb", description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=positive, help="default: 15, with --quick 2")
    parser.add_argument("--seed", type=int, default=0, help="of weights, dropout and order (default: 0)")
    parser.add_argument("--data", default="imdb.npz", help="an imdb.npz; default: look where imdb.find looks")
    parser.add_argument("--figure", default="results/imdb.png", help="where the figure goes (default: %(default)s)")
    parser.add_argument("--model", default="results/imdb.npz", help="the file of the model (default: %(default)s)")
    parser.add_argument("--ask", metavar="REVIEW", help="what the saved model says of it, instead of training one")
    parser.add_argument("--quick", action="store_true", help="2,000 and 1,000 reviews")
    parser.add_argument("--verbose", type=int, choices=(0, 1, 2), default=1, help="as in fit (default: 1)")
    options = parser.parse_args(arguments)
    options.epochs = options.epochs or (2 if options.quick else 15)
    return options


def positive(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def word_index(data: str) -> dict[str, int]:
    """Return the rank of each word, or say why there is none."""
    try:
        beside = {} if data == "imdb.npz" else {"path": imdb.find(data).word_index}
        return imdb.get_word_index(**beside)
    except (OSError, TypeError, ValueError) as error:
        print(f"No word index, so no reviews in words: {error}")
        return {}


def show_reviews(model: Sequential, x: np.ndarray, y: np.ndarray, words: dict[str, int], count: int = 6) -> None:
    """Print the ends of a few reviews, what they were and what the model says, in the terminal's width."""
    room = max(20, shutil.get_terminal_size().columns - 26)
    probabilities = model.predict(x[:count])[:, 0]
    print("\np(positive)  truth     the end of the review")
    for ids, truth, p in zip(x, y, probabilities, strict=False):
        text = imdb.decode(ids, words)
        print(f"{p:10.3f}   {'positive' if truth else 'negative'}  … {text[-room:]}")


def answer(review: str, path: str) -> int:
    """Print what a saved model says of a review, and what it forgets at each of its words; return the exit code."""
    try:
        model, notes = load_model(path), saving.load_notes(path)
    except FileNotFoundError as error:
        print(f"{error}; python -m examples.imdb writes it")
        return 1
    if not notes["words"]:
        print(f"{path} was saved without a vocabulary")
        return 1
    words = {word: rank for rank, word in enumerate(notes["words"].split("\n"), start=1)}
    x = pad_sequences([imdb.encode(review, words, num_words=notes["num_words"])], notes["tokens"])
    forget = study.trace(model, x)["lstm"]["f"][0].mean(axis=1)
    print("forget gate  word")
    for ids, word, f in zip(x[0], imdb.words(x[0], words), forget, strict=True):
        if ids:
            print(f"{f:11.3f}  {word}")
    print(f"p(positive) = {model.predict(x)[0, 0]:.3f}")
    return 0


def draw(history: dict[str, list[float]], path: str) -> None:
    """Write the figure, or say why not."""
    try:
        print(f"\nFigure: {plot_history(history, path, 'IMDB: LSTM(128) on the last 80 tokens')}")
    except (ImportError, OSError) as error:
        print(f"\nNo figure: {error}")


if __name__ == "__main__":
    raise SystemExit(main())
