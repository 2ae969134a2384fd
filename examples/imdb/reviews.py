"""Reviews as numbers: which words a model knows, which of a review's it reads, and the words beside its steps."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from rnncore.datasets import imdb
from rnncore.utils import pad_sequences

from .models import Recipe

HELD_OUT, QUICK = 10, (2000, 1000)  # every tenth; reviews to train on and to test


class Part(NamedTuple):
    """Some reviews: x as a model takes them, y (N,) of 0 and 1."""

    x: Any
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
        The text's words, and how many of them are not in the vocabulary.
    """

    x: Any
    words: list[str]
    count: int
    unknown: int


@dataclass(frozen=True)
class Reader:
    """What makes ids of a review, kept with a model.

    Attributes
    ----------
    num_words, tokens, ends, padded
        As in `models.Recipe`.
    words : str
        The vocabulary, a word a line, the most frequent first.
    """

    num_words: int
    tokens: int
    ends: bool
    padded: bool
    words: str

    @classmethod
    def of(cls, recipe: Recipe, ranks: Mapping[str, int]) -> Reader:
        """Return the reader of a recipe, with the words that it has room for."""
        words = sorted(ranks, key=ranks.__getitem__)[: recipe.words]
        return cls(recipe.words, recipe.tokens, recipe.ends, recipe.padded, "\n".join(words))

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any], path: str) -> Reader:
        """Return the reader that a model was saved with, or raise ValueError."""
        kinds = {"num_words": int, "tokens": int, "ends": bool, "padded": bool, "words": str}
        if not all(type(notes.get(name)) is kind for name, kind in kinds.items()):
            raise ValueError(f"{path}: no vocabulary is beside the model; python -m examples.imdb train writes both")
        if notes["tokens"] < 1 or notes["num_words"] < 1:
            raise ValueError(f"{path}: its notes have {notes['num_words']} words and {notes['tokens']} tokens")
        return cls(**{name: notes[name] for name in kinds})

    def notes(self) -> dict[str, Any]:
        """Return what belongs into the model's file."""
        return asdict(self)

    @cached_property
    def ranks(self) -> dict[str, int]:
        """The rank of each word."""
        return {word: rank for rank, word in enumerate(self.words.split("\n"), start=1) if word}

    def read(self, text: str) -> Text:
        """Return a text of one's own as the model takes it."""
        ids = imdb.encode(text, self.ranks, num_words=self.num_words)
        x = self.rows([ids])
        return Text(x, imdb.words(x[0], self.ranks, padding=""), len(ids) - 1, ids.count(2))

    def rows(self, reviews: Any) -> Any:
        """Return reviews as the model takes them: (N, T) with zeros in front, or lists of ids."""
        rows = [self._cut(ids) for ids in reviews]
        return pad_sequences(rows, self.tokens) if self.padded else rows

    def _cut(self, ids: list[int]) -> list[int]:
        """Return what is read of a review."""
        if len(ids) <= self.tokens:
            return ids
        half = self.tokens // 2 if self.ends else 0
        return ids[:half] + ids[half - self.tokens :]


def load(recipe: Recipe, data: str, quick: bool) -> tuple[Part, Part, Part]:
    """Return training, validation and test reviews as lists of ids, not cut; validation may be the test."""
    (x, y), (x_test, y_test) = imdb.load_data(data, num_words=None if recipe.subwords else recipe.words)
    if quick:
        x, y, x_test, y_test = x[: QUICK[0]], y[: QUICK[0]], x_test[: QUICK[1]], y_test[: QUICK[1]]
    test = Part(x_test, y_test)
    if not recipe.held_out:
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
