"""A network that has read Python's standard library, character by character, and goes on writing.

    python -m examples.characters                          train, measure, look inside: about two minutes
    python -m examples.characters --quick                  a little of it: does it run?
    python -m examples.characters --prompt "def read("     what the saved model goes on with

An LSTM that keeps its states from batch to batch (`stateful`) reads 64 pieces of the sources side by side, 32
characters at a time: truncated backpropagation through time. Measured is its perplexity a character on modules that it
has not met, beside what counting comes to, an interpolated trigram and 6-gram of the same text. Then it writes, at
three temperatures; and its units are asked, as Karpathy et al. (2015) did, which of them is on inside quotes, which
tells how far a line is indented, and which how far along it one is. Writes the model with its alphabet, a figure and
the results as JSON.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from examples import program
from examples.characters import ngrams, sources, units
from rnncore import Sequential, config, saving, study
from rnncore.callbacks import Callback, EarlyStopping
from rnncore.layers import LSTM, Dense, Embedding
from rnncore.models import load_model
from rnncore.optimizers import Adam
from rnncore.optimizers.schedules import CosineDecay

STEPS = 32  # characters that the gradient goes back at most
PROMPT, TEMPERATURES = "\ndef ", (0, 0.5, 1.0)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return the exit status."""
    options = parsed(arguments)
    return program.run("characters", lambda: go_on(options) if options.prompt is not None else train(options))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    quick = "the first few modules, a small network, one epoch"
    parser = program.parser_of("characters", __doc__.splitlines()[0], "model, figure and JSON", quick)
    parser.add_argument("--epochs", type=program.positive, help="default: 2, with --quick 1")
    parser.add_argument("--units", type=program.positive, help="of the LSTM (default: 192, with --quick 32)")
    parser.add_argument("--prompt", metavar="TEXT", help="what the saved model is to go on with, instead of training")
    parser.add_argument("--length", type=program.positive, default=400, help="characters to write (default: 400)")
    parser.add_argument("--temperature", type=float, help="of --prompt (default: 0.5)")
    options = parser.parse_args(arguments)
    options.epochs = options.epochs or (1 if options.quick else 2)
    options.units = options.units or (32 if options.quick else 192)
    return options


class Anew(Callback):
    """Let the states begin anew where a text does: with each epoch, and each evaluation."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.get_layer("lstm").reset_state()

    def on_test_begin(self, logs=None):
        self.model.get_layer("lstm").reset_state()


def train(options: argparse.Namespace) -> int:
    """Train, measure, write, look inside."""
    options.out.mkdir(parents=True, exist_ok=True)
    config.set_seed(options.seed)
    modules = "ast base64 bdb" if options.quick else sources.TRAINING
    texts = [sources.read(names) for names in (modules, sources.VALIDATION, sources.HELD_OUT)]
    training, validation, held_out = (sources.encoded(text) for text in texts)
    print(
        f"{len(training):,} characters of {len(modules.split())} modules to train on, {len(validation):,} to choose on"
    )
    print(f"{len(held_out):,} held out: {sources.HELD_OUT}; seed {options.seed}")

    rows = 16 if options.quick else 64
    x, y = sources.streams(training, rows, STEPS)
    x_test, y_test = sources.streams(held_out, rows, STEPS)
    model = made(options.units)
    rate = CosineDecay(4e-3, options.epochs * len(x) // rows)
    model.compile(Adam(rate, clipnorm=1.0), "sparse_categorical_crossentropy")
    model.summary()
    begin, code = time.perf_counter(), 0
    try:
        model.fit(
            x,
            y,
            batch_size=rows,
            epochs=options.epochs,
            shuffle=False,  # a batch continues the one before
            validation_data=sources.streams(validation, rows, STEPS),
            callbacks=[Anew(), EarlyStopping(patience=options.epochs, restore_best_weights=True)],
            verbose=options.verbose,
        )
    except KeyboardInterrupt as reason:
        code = 130
        print(f"\nInterrupted: {reason}; going on with what there is.")
    seconds = time.perf_counter() - begin
    saving.save_model(model, options.out / "characters.npz", notes={"alphabet": sources.ALPHABET})
    print(f"Trained for {seconds:.0f} s.")

    loss = model.evaluate(x_test, y_test, batch_size=rows, callbacks=[Anew()], verbose=0)
    perplexities = {
        f"{order}-gram": by_counting(training, validation, held_out[: y_test.size + 1], order) for order in (3, 6)
    } | {"LSTM": math.exp(loss)}
    print("\nPerplexity a character, held out (as if so many were equally likely each time):")
    for name, value in perplexities.items():
        print(f"{name:>8} {value:7.3f}   {math.log2(value):.3f} bits")

    written = {}
    for temperature in TEMPERATURES:
        written[str(temperature)] = text = said(model, PROMPT, options.length, temperature, options.seed)
        print(f"\n--- temperature {temperature} ---{text}")

    config.set_seed(options.seed)
    found = units.found(model, made(options.units), texts[1], texts[2])
    print("\nWhat a unit does: the correlation of its carry c with what is to be known of each character. The unit is")
    print("chosen on validation text. Beside it: all units together, and the best unit of an untrained network.")
    print(units.table(found))
    print(units.lines(model, texts[2], found))
    program.write_figure(
        options.out / "characters.png", lambda figure: units.draw(figure, model, texts[2], found), units.SIZE
    )
    results = {
        "seed": options.seed,
        "epochs": model.history.epoch[-1] + 1 if model.history.epoch else 0,
        "units": options.units,
        "seconds": seconds,
        "characters": {"training": len(training), "validation": len(validation), "held out": len(held_out)},
        "perplexity": perplexities,
        "what units do": found,
        "written": written,
    }
    print(f"Results: {program.write_json(options.out / 'characters.json', results)}")
    print(f"Model and alphabet: {options.out / 'characters.npz'}   (python -m examples.characters --prompt …)")
    return code


def made(units: int) -> Sequential:
    """Return the model, built."""
    model = Sequential(
        [
            Embedding(len(sources.ALPHABET), 64),
            LSTM(units, return_sequences=True, stateful=True, name="lstm"),
            Dense(len(sources.ALPHABET), activation="softmax"),
        ]
    )
    model.build((None, None))
    return model


def by_counting(training: np.ndarray, validation: np.ndarray, held_out: np.ndarray, order: int) -> float:
    """Return the perplexity of an interpolated n-gram for the characters after the first one."""
    counts = ngrams.Counts(training, order, len(sources.ALPHABET))
    weights = ngrams.fitted(counts.shares(validation))
    return ngrams.perplexity(counts.shares(held_out)[1:], weights)


def said(model: Sequential, prompt: str, length: int, temperature: float, seed: int) -> str:
    """Return a prompt, as far as the alphabet has it, and what the model goes on with."""
    prompt = "".join(letter if letter in sources.ALPHABET else sources.OTHER for letter in prompt)
    return prompt + study.generate(model, prompt, length, temperature, seed, vocabulary=sources.ALPHABET)


def go_on(options: argparse.Namespace) -> int:
    """Print what the saved model goes on with."""
    path = options.out / "characters.npz"
    try:
        model, notes = load_model(path), saving.load_notes(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; python -m examples.characters writes it") from None
    if notes.get("alphabet") != sources.ALPHABET:
        raise ValueError(f"{path} is no model of this program's alphabet; python -m examples.characters writes one")
    temperature = 0.5 if options.temperature is None else options.temperature
    print(said(model, options.prompt, options.length, temperature, options.seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
