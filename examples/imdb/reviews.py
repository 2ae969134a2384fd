"""Reviews as numbers: which words a model knows, which of a review's it reads, and the words beside its steps."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from rnncore import Sequential, saving
from rnncore.datasets import imdb
from rnncore.layers import SubwordVectorization
from rnncore.utils import pad_sequences

from .models import MODELS, Recipe

HELD_OUT, QUICK = 10, (2000, 1000)  # every tenth; reviews to train on and to test
UNKNOWN = "[?]"


class Part(NamedTuple):
    """Some reviews: lists of ids as `imdb.load_data` has them, and y (N,) of 0 and 1."""

    x: np.ndarray
    y: np.ndarray


class Text(NamedTuple):
    """A text as a model takes it.

    Attributes
    ----------
    x : list or ndarray
        A batch of one row.
    words : list of str
        A word a step of it; "" is padding.
    count, unknown : int
        The text's words (or pieces), and how many of them are not in the vocabulary.
    """

    x: Any
    words: list[str]
    count: int
    unknown: int


@dataclass(frozen=True)
class Reader:
    """What makes numbers of reviews, kept with a model.

    Attributes
    ----------
    model : str
        Whose recipe says what is read of a review.
    words : str
        The vocabulary, a word a line, the most frequent first.
    num_words, tokens : int
        As in the recipe.
    """

    model: str
    words: str
    num_words: int
    tokens: int

    @cached_property
    def ranks(self) -> dict[str, int]:
        """The rank of each word."""
        return {word: rank for rank, word in enumerate(self.words.split("\n"), start=1) if word}

    @property
    def recipe(self) -> Recipe:
        """What the model was made by."""
        return MODELS[self.model]

    def save(self, model: Sequential, path: str | os.PathLike) -> None:
        """Write model, vocabulary and settings into one file."""
        names = ("model", "words", "num_words", "tokens")
        saving.save_model(self.whole(model), path, notes={name: getattr(self, name) for name in names})

    def whole(self, model: Sequential) -> Sequential:
        """Return the model as it goes into a file."""
        return model

    def read(self, text: str) -> Text:
        """Return a text of one's own as the model takes it."""
        ids = self.encode(text)
        x = self.rows([ids])
        return Text(x, imdb.words(x[0], self.ranks, padding=""), len(ids) - 1, ids.count(2))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text of one's own, those of the words that it has; not cut."""
        return imdb.encode(text, self.ranks, num_words=self.num_words)

    def rows(self, reviews: Sequence[list[int]]) -> Any:
        """Return reviews as the model takes them: (N, T) with zeros in front, or lists of ids."""
        rows = [self.cut(ids) for ids in reviews]
        return pad_sequences(rows, self.tokens) if self.recipe.padded else rows

    def decode(self, ids: list[int]) -> str:
        """Return the words of a review."""
        return imdb.decode(ids, self.ranks)

    def cut(self, ids: list[int]) -> list[int]:
        """Return what is read of a review."""
        if len(ids) <= self.tokens:
            return ids
        half = self.tokens // 2 if self.recipe.ends else 0
        return ids[:half] + ids[half - self.tokens :]


@dataclass(frozen=True)
class Pieces(Reader):
    """What makes numbers of reviews by pieces of their words.

    Attributes
    ----------
    layer : SubwordVectorization
    takes_texts : bool
        Whether the model begins with that layer, as in its file; it is trained on numbers, made once.
    """

    layer: SubwordVectorization
    takes_texts: bool = False

    def whole(self, model):
        whole = Sequential([self.layer, *model.layers])
        whole.predict(np.array([UNKNOWN], object))  # builds it
        return whole

    def read(self, text):
        pieces = self.layer.words(text)
        padded = (pieces + [""] * self.tokens)[: self.tokens]
        return Text(np.array([text], object), padded, len(pieces), pieces.count("[UNK]"))

    def rows(self, reviews):
        texts = np.array([self.decode(ids) or UNKNOWN for ids in reviews], object)
        if self.takes_texts:
            return texts
        parts = np.array_split(texts, -(-len(texts) // 1000))  # a review's row is as long as its part's longest
        return [row[row > 0].tolist() for part in parts for row in self.layer(part)]


def reader_of(name: str, data: str, reviews: Sequence[list[int]]) -> Reader:
    """Return what reads for a model; pieces of words are found in the reviews, those to train on."""
    recipe, ranks = MODELS[name], word_ranks(data)
    words = vocabulary(recipe, ranks)
    reader = Reader(name, words, recipe.words, recipe.tokens)
    if not recipe.subwords:
        return reader
    if not ranks:
        raise ValueError(f"{name} needs the reviews' words, and there is no word index beside them")
    layer = SubwordVectorization(recipe.words, "lower_and_strip_punctuation", recipe.tokens, name="pieces")
    layer.adapt([reader.decode(ids) for ids in reviews])
    return Pieces(name, words, recipe.words, recipe.tokens, layer)


def vocabulary(recipe: Recipe, ranks: Mapping[str, int]) -> str:
    """Return the words that a model's numbers stand for, a word a line."""
    return "\n".join(sorted(ranks, key=ranks.__getitem__)[: None if recipe.subwords else recipe.words])


def check_vocabulary(reader: Reader, data: str, path: str | os.PathLike) -> None:
    """Raise ValueError if the reviews are numbered by other words than the model's."""
    ranks = word_ranks(data)
    if ranks and vocabulary(reader.recipe, ranks) != reader.words:
        raise ValueError(
            f"{path} was trained on reviews numbered by other words than {imdb.find(data)}: name its reviews in --data"
        )


def reader_from(notes: Mapping[str, Any], model: Sequential, path: str) -> Reader:
    """Return what reads for a model from a file, or raise ValueError: the file may come from anyone."""
    kinds = {"model": str, "words": str, "num_words": int, "tokens": int}
    known = all(type(notes.get(name)) is kind for name, kind in kinds.items()) and notes["model"] in MODELS
    if not known or not notes["words"]:
        raise ValueError(f"{path}: there is no vocabulary beside the model; python -m examples.imdb train writes both")
    own, first = {name: notes[name] for name in kinds}, model.input_layer
    if own["tokens"] < 1 or own["num_words"] < 1:
        raise ValueError(f"{path}: its notes have {own['num_words']} words and {own['tokens']} tokens")
    if MODELS[own["model"]].subwords != isinstance(first, SubwordVectorization):
        raise ValueError(f"{path}: the model is not {own['model']}, of which its vocabulary is")
    if isinstance(first, SubwordVectorization):
        return Pieces(**own, layer=first, takes_texts=True)
    if getattr(first, "input_dim", 0) < own["num_words"]:
        room = f"its {type(first).__name__} has {getattr(first, 'input_dim', 'no')} rows"
        raise ValueError(f"{path}: its vocabulary has {own['num_words']:,} words, {room}: not of one training")
    return Reader(**own)


def load(recipe: Recipe, data: str, quick: bool) -> tuple[Part, Part, Part]:
    """Return training, validation and test reviews; validation may be the test."""
    (x, y), (x_test, y_test) = imdb.load_data(data, num_words=None if recipe.subwords else recipe.words)
    if quick:
        x, y, x_test, y_test = x[: QUICK[0]], y[: QUICK[0]], x_test[: QUICK[1]], y_test[: QUICK[1]]
    test = Part(x_test, y_test)
    if not recipe.averaged:
        return Part(x, y), test, test
    kept = len(x) - len(x) // HELD_OUT  # they come shuffled
    return Part(x[:kept], y[:kept]), Part(x[kept:], y[kept:]), test


def word_ranks(data: str) -> dict[str, int]:
    """Return the rank of each word, or none, saying why."""
    try:
        beside = {} if data == "imdb.npz" else {"path": imdb.find(data).word_index}
        return imdb.get_word_index(**beside)
    except (OSError, TypeError, ValueError) as error:
        print(f"No word index, so no reviews in words: {error}", file=sys.stderr)
        return {}
