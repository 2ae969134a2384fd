"""The models, and what each of them reads. Layers come from `L`: ``rnncore.layers``, or ``keras.layers`` as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def lecture(cell: str, name: str) -> Callable[[Any, int, bool], list]:
    """Return the first lecture's model, that of Keras's imdb_lstm example, with any recurrent layer."""

    def layers(L, words, dropout):
        rates = {"dropout": 0.2, "recurrent_dropout": 0.2} if dropout else {}
        return [
            L.Embedding(words, 128, name="embedding"),
            getattr(L, cell)(128, **rates, name=name),
            L.Dense(1, activation="sigmoid", name="answer"),
        ]

    return layers


def bilstm(L, words, dropout):
    """The second lecture's model: a review is read from both ends."""
    return [
        L.Embedding(words, 64, mask_zero=True, name="embedding"),
        L.Bidirectional(L.LSTM(64, name="lstm")),
        L.Dense(64, activation="relu", name="dense"),
        L.Dense(1, activation="sigmoid", name="answer"),
    ]


def stacked(L, words, dropout):
    """The second lecture's last model: what the first layer says at each word, a second one reads."""
    return [
        L.Embedding(words, 64, mask_zero=True, name="embedding"),
        L.Bidirectional(L.LSTM(64, return_sequences=True, name="lstm")),
        L.Bidirectional(L.LSTM(32, name="second")),
        L.Dense(64, activation="relu", name="dense"),
        L.Dense(1, activation="sigmoid", name="answer"),
    ]


def pooled(L, words, dropout):
    """The largest value of each unit over all words, instead of the one at the last word (docs/imdb.md has why)."""
    drops = [L.SpatialDropout1D(0.5), L.Dropout(0.5, noise_shape=(None, None, 1))]  # parts of all vectors; whole words
    return [
        L.Embedding(words, 128, mask_zero=True, name="embedding"),
        *(drops if dropout else []),
        L.Bidirectional(L.LSTM(64, return_sequences=True, name="lstm")),
        L.GlobalMaxPooling1D(name="largest"),
        *([L.Dropout(0.5)] if dropout else []),
        L.Dense(1, activation="sigmoid", name="answer"),
    ]


@dataclass(frozen=True)
class Recipe:
    """A model, what it reads, and how it is trained.

    Attributes
    ----------
    layers : callable
        Takes the module that has the layers, the size of the vocabulary, and whether there is dropout.
    words : int
        Ids from here on stand for unknown words, as in `imdb.load_data`; or pieces of words, where `subwords`.
    tokens : int
        The most that is read of a review.
    ends : bool
        Whether the first and the last half of these are read, of a longer review; else the last ones.
    padded : bool
        Whether all reviews are as long as `tokens`, zeros before them: what reads these is not masked. Otherwise
        batches are padded to their longest review, and masked.
    subwords : bool
        Whether the model reads texts, by pieces of words.
    averaged : int
        From this epoch on the weights after each are averaged (Izmailov et al., UAI 2018), and the learning rate stays
        as it is; a tenth of the training reviews, held out, says what came of it. 0: the test reviews say which epoch
        was best, as in the lecture: a little too good.
    rate, decay : float
        Adam's learning rate in the first epoch, and what it is multiplied by after each.
    """

    about: str
    layers: Callable[[Any, int, bool], list]
    words: int = 20_000
    tokens: int = 400
    ends: bool = True
    padded: bool = False
    subwords: bool = False
    averaged: int = 0
    batch: int = 64
    epochs: int = 3
    rate: float = 1e-3
    decay: float = 1.0


def first(about: str, cell: str, name: str) -> Recipe:
    """Return the recipe of the first lecture, with another recurrent layer."""
    return Recipe(about, lecture(cell, name), tokens=80, ends=False, padded=True, batch=32, epochs=15)


MODELS = {
    "lstm80": first("the first lecture's LSTM(128), on the last 80 words", "LSTM", "lstm"),
    "simple_rnn": first("the same with a SimpleRNN", "SimpleRNN", "simple_rnn"),
    "gru": first("the same with a GRU", "GRU", "gru"),
    "carry": first("the same with the lecture's own carry cell", "CarryRNN", "carry"),
    "bilstm": Recipe("the second lecture's Bidirectional(LSTM(64)), on whole reviews", bilstm),
    "stacked": Recipe("the second lecture's two layers, on whole reviews", stacked),
    "subwords": Recipe("bilstm, on pieces of words; takes texts", bilstm, words=8_000, subwords=True),
    "pooled": Recipe(
        "the most accurate: Bidirectional(LSTM(64)), pooled over all words",
        pooled,
        words=8_000,
        tokens=800,
        averaged=5,
        epochs=10,
        decay=0.75,
    ),
}
