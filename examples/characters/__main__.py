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
import platform
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
    program.folder(options.out)
    config.set_seed(options.seed)
    modules = "ast base64 bdb" if options.quick else sources.TRAINING
    parts = {"training": modules, "validation": sources.VALIDATION, "held out": sources.HELD_OUT}
    texts = {name: sources.read(own) for name, own in parts.items()}
    ids = {name: sources.encoded(text) for name, text in texts.items()}
    for name, own in parts.items():
        print(f"{name}: {len(ids[name]):,} characters of {len(own.split())} modules")
    print(f"held out are {sources.HELD_OUT}; seed {options.seed}\n")

    model, rows = made(options.units), 16 if options.quick else 64
    model.summary()
    begin = time.perf_counter()
    interrupted = fitted(model, ids, rows, options)
    seconds = time.perf_counter() - begin
    saving.save_model(model, options.out / "characters.npz", notes={"alphabet": sources.ALPHABET})
    print(f"Trained for {seconds:.0f} s.")

    perplexities = measured(model, ids, rows)
    print("\nPerplexity a character, held out (as if so many were equally likely each time):")
    for name, value in perplexities.items():
        print(f"{name:>8} {value:7.3f}   {math.log2(value):.3f} bits")

    written = {}
    for temperature in TEMPERATURES:
        written[str(temperature)] = text = said(model, PROMPT, options.length, temperature, options.seed)
        print(f"\n--- temperature {temperature} ---{text}")

    config.set_seed(options.seed)
    found = units.found(model, made(options.units), texts["validation"], texts["held out"])
    print("\nWhat a unit does: the correlation of its carry c with what is to be known of each character. The unit is")
    print("chosen on validation text. Beside it: all units together, and the best unit of an untrained network.")
    print(units.table(found))
    print(units.lines(model, texts["held out"], found))
    program.write_figure(
        options.out / "characters.png", lambda figure: units.draw(figure, model, texts["held out"], found), units.SIZE
    )
    told = {"seed": options.seed, "units": options.units, "epochs": len(model.history.epoch), "seconds": seconds}
    told |= {"Python": platform.python_version(), "modules": parts, "characters": {k: len(v) for k, v in ids.items()}}
    told |= {"perplexity": perplexities, "what units do": found, "written": written}
    print(f"Results: {program.write_json(options.out / 'characters.json', told)}")
    print(f"Model and alphabet: {options.out / 'characters.npz'}")
    print(f"It goes on:         python -m examples.characters --prompt … --out {options.out}")
    return 130 if interrupted else 0


def fitted(model: Sequential, ids: dict[str, np.ndarray], rows: int, options: argparse.Namespace) -> bool:
    """Train the model, to the weights of its best epoch; return whether Ctrl-C ended that."""
    x, y = sources.streams(ids["training"], rows, STEPS)
    rate = CosineDecay(4e-3, options.epochs * len(x) // rows)
    model.compile(Adam(rate, clipnorm=1.0), "sparse_categorical_crossentropy")
    try:
        model.fit(
            x,
            y,
            batch_size=rows,
            epochs=options.epochs,
            shuffle=False,  # a batch continues the one before
            validation_data=sources.streams(ids["validation"], rows, STEPS),
            callbacks=[Anew(), EarlyStopping(patience=options.epochs, restore_best_weights=True)],
            verbose=options.verbose,
        )
    except KeyboardInterrupt as reason:
        print(f"\nInterrupted: {reason}; going on with what there is.")
        return True
    return False


def measured(model: Sequential, ids: dict[str, np.ndarray], rows: int) -> dict[str, float]:
    """Return the perplexities of the held-out text, of n-grams and of the model, for the same characters."""
    x, y = sources.streams(ids["held out"], rows, STEPS)
    found = {}
    for order in (3, 6):
        counts = ngrams.Counts(ids["training"], order, len(sources.ALPHABET))
        weights = ngrams.fitted(counts.shares(ids["validation"]))
        found[f"{order}-gram"] = ngrams.perplexity(counts.shares(ids["held out"][: y.size + 1])[1:], weights)
    loss = model.evaluate(x, y, batch_size=rows, callbacks=[Anew()], verbose=0)
    return {**found, "LSTM": math.exp(loss)}


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
