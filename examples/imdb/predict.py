"""``python -m examples.imdb predict "a review" …``: the answer, the words that made it so, and the gates.

Without a text, reviews are read from standard input, one a line, and answered a line each.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnncore import config, saving
from rnncore.commands import plain
from rnncore.models import Sequential, load_model

from .models import MODELS
from .reviews import UNKNOWN, Reader, Text, reader_from

SHOWN = 24  # words of a review whose gates are shown: the last ones
LOADED = 100  # words in all from which on compiled code is worth loading
EXACT = 1e-2  # of an explanation: by what share its sum may miss what it explains


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("texts", nargs="*", metavar="REVIEW", help="default: standard input, a review a line")
    parser.add_argument("--model", help="a model's name or file (default: the one that was trained last)")
    parser.add_argument("--out", default="results/imdb", help="folder of the models (default: %(default)s)")
    parser.add_argument("--html", metavar="PATH", help="also write the walk: a page that goes through the review")
    gate = "whose values are shown, by layer: lstm.f, lstm.i, … (default: the one that forgets, or the state)"
    parser.add_argument("--gate", help=gate)
    parser.add_argument("--plain", action="store_true", help="the probability only")


def run(options: argparse.Namespace) -> int:
    """Answer; return the exit code: 1 where a text has no words."""
    path = chosen(options.model, options.out)
    model, reader = opened(path)
    told = bool(options.texts) and not options.plain
    if options.html and not (told and len(options.texts) == 1):
        raise ValueError("--html shows one review, given as an argument, without --plain")
    asked = options.texts or list(lines(sys.stdin))
    if not asked:
        raise ValueError('no review: give one, predict "a good film", or one a line on standard input')
    texts = [(review, reader.read(review)) for review in asked]
    if len(texts) * max(len(text.words) for _, text in texts) < LOADED:
        config.set_backend("numpy")  # the plain loop is through before compiled code is loaded
    return max([answer(model, reader, review, text, told, options) for review, text in texts])


def lines(stream: Any) -> Iterator[str]:
    """Yield the lines of a stream of UTF-8, without their ends, a BOM before them; what is no UTF-8 is replaced."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    for line in stream:
        yield line.removeprefix("\ufeff").rstrip("\r\n")


def chosen(model: str | None, out: str) -> Path:
    """Return a model's file by its name, its path, or the time when it was written."""
    if model is not None and model not in MODELS:
        if not Path(model).is_file():
            raise ValueError(f"--model is {model!r}, no file and none of {', '.join(MODELS)}")
        return Path(model)
    found = sorted(Path(out).glob(f"{model or '*'}-seed*.npz"), key=os.path.getmtime)
    if not found:
        which = f" --model {model}" if model else ""
        raise ValueError(f"no {model or 'model'} in {out}; python -m examples.imdb train{which} --out {out} makes one")
    return found[-1]


def opened(path: str | os.PathLike) -> tuple[Sequential, Reader]:
    """Return a model and what reads for it, or raise ValueError."""
    model, notes = load_model(path, compile=False), saving.load_notes(path)
    return model, reader_from(notes, model, str(path))


def answer(model: Sequential, reader: Reader, review: str, text: Text, told: bool, options: argparse.Namespace) -> int:
    """Print what a model says of a review, and if `told` why; return 1 if there is no word in it."""
    if not text.count:
        print(f"  –    there is no word in {plain(review[:60])!r}")
        return 1
    if not told:
        known = "" if text.unknown < text.count else "(no word of it is known) "
        print(f"{model.predict(text.x)[0, 0]:.3f}  {known}{plain(review[:200])}{'…' * (len(review) > 200)}")
        return 0
    if text.count > reader.tokens:
        ends = "first and last" if reader.recipe.ends else "first" if reader.recipe.subwords else "last"
        print(f"Of its {text.count:,} words the {ends} {reader.tokens} are read.")
    if text.unknown:
        print(f"{text.unknown} of its {text.count} words are not in the vocabulary: {UNKNOWN}")
    if text.unknown == text.count:
        print("So the answer is that for a review of unknown words.")
    explain(model, text, options)
    return 0


def explain(model: Sequential, text: Text, options: argparse.Namespace) -> None:
    """Print the answer for one review, the words that made it so, and a gate at each word."""
    from rnncore import study

    found = study.saliency(model, text.x, words=[text.words], steps=16)
    trace = study.trace(model, text.x, words=[text.words])
    head, *rows = study.text.heat(trace, options.gate or usual(trace)).splitlines()
    p = float(np.ravel(trace.output)[-1])
    print(f"p(positive) = {p:.3f}: {'positive' if p > 0.5 else 'negative'}\n")
    begin = next(t for t, word in enumerate(text.words) if word)  # padding, where it is not masked, has a share too
    shown = found._replace(scores=found.scores[:, begin:], words=[text.words[begin:]])
    print(study.text.salient(shown, colour=sys.stdout.isatty()))
    scores, before, after = np.nan_to_num(found.scores[0]), found.baseline[0], found.value[0]
    padding = f", that of the padding before them {scores[:begin].sum():+.3f}" if begin else ""
    print(f"\nThe words' shares add up to {scores[begin:].sum():+.3f}{padding}: {verdict(found.error)}")
    print(f"between the logit, {after:+.3f}, and that of steps without a vector, {before:+.3f}.")
    print("\n".join(["", head, *rows[-min(SHOWN, sum(map(bool, text.words))) :]]))
    if options.html:
        print(f"\nThe walk: {study.walk(model, text.x, words=[text.words], path=options.html)}")


def verdict(error: float) -> str:
    """Return whether shares add up to what they explain."""
    return "all that lies" if error < EXACT else f"NOT all (off by {error:.1%}) that lies"


def usual(trace: Any) -> str:
    """Return the gate that forgets, of the first layer that has one, or its state."""
    layer = next(iter(trace))
    return next(f"{layer}.{name}" for name in ("f", "z", "h") if name in trace[layer])
