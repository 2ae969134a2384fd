"""TextVectorization: texts in, numbers of words out."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..configured import look_up, revived
from ..unsupported import without_effect
from .base import Layer
from .checks import positive

PADDING, UNKNOWN = "", "[UNK]"  # have the numbers 0 and 1

# As TensorFlow has it: only A-Z become small, and only ASCII's punctuation and blanks are that.
_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_STRIPPED = str.maketrans("", "", string.punctuation)
_BETWEEN_BLANKS = re.compile(r"\S+", re.ASCII)

_STANDARDS: dict[str | None, Callable[[str], str]] = {
    "lower_and_strip_punctuation": lambda text: text.translate(_SMALL).translate(_STRIPPED),
    "lower": lambda text: text.translate(_SMALL),
    "strip_punctuation": lambda text: text.translate(_STRIPPED),
    None: lambda text: text,
}
_SPLITS: dict[str | None, Callable[[str], Sequence[str]]] = {
    "whitespace": _BETWEEN_BLANKS.findall,
    "character": list,
    None: lambda text: [text],
}


class TextVectorization(Layer):
    """Texts as numbers, one a word, as Keras's in its mode "int"; first in a model, which takes texts then.

    0 is padding, 1 a word that is not in the vocabulary; frequent words have small numbers.

    Parameters
    ----------
    max_tokens : int, optional
        The most numbers that there are, 0 and 1 among them. `adapt` keeps the most frequent words.
    standardize : {"lower_and_strip_punctuation", "lower", "strip_punctuation", None} or callable
        What a text goes through first; of ASCII's letters and punctuation. A function takes a string.
    split : {"whitespace", "character", None} or callable
        What makes words of it. A function takes a string and returns a list of strings.
    ngrams : int or sequence of int, optional
        Runs of so many words, joined by blanks, are words; a number: of one up to so many.
    output_mode : "int"
        There for Keras's signature, as the ones with None or False below.
    output_sequence_length : int, optional
        T: longer texts lose their end, shorter ones are padded behind it. Default: the longest text of a batch.
    pad_to_max_tokens : False
    vocabulary : sequence of str, or path, optional
        The words instead of `adapt`, or a file with one a line; that of `get_vocabulary` will do.
    idf_weights : None
    sparse, ragged : False
    encoding : str
        Of texts that are bytes, and of a file.
    name, trainable
        See `Layer`.

    Notes
    -----
    ``Embedding(layer.vocabulary_size(), …, mask_zero=True)`` goes behind it. A model is saved with the vocabulary; one
    with functions as `standardize` or `split` cannot be saved. A batch without a word has one step of padding.

    Examples
    --------
    >>> texts = TextVectorization(output_sequence_length=4)
    >>> texts.adapt(["A good film.", "A film"])
    >>> texts.get_vocabulary()
    ['', '[UNK]', 'film', 'a', 'good']
    >>> texts(["A bad film!", "Good, good"])
    array([[3, 1, 2, 0],
           [4, 4, 0, 0]])
    >>> model = Sequential([texts, Embedding(texts.vocabulary_size(), 8, mask_zero=True), LSTM(8), Dense(1)])
    >>> model.predict(["A good film?"]).shape
    (1, 1)
    """

    input_ranks = (1, 2)
    input_kind = "string"
    output_kind = "integer"
    casts = False
    unkept = ("pad_to_max_tokens", "idf_weights", "sparse", "ragged")

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable[[str], str] | None = "lower_and_strip_punctuation",
        split: str | Callable[[str], Sequence[str]] | None = "whitespace",
        ngrams: int | Sequence[int] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Sequence[str] | str | Path | None = None,
        idf_weights: None = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
    ):
        given = {"output_mode": output_mode, "pad_to_max_tokens": pad_to_max_tokens, "idf_weights": idf_weights}
        without_effect(type(self), {**given, "sparse": sparse, "ragged": ragged})
        super().__init__(name)
        self.max_tokens = None if max_tokens is None else positive(max_tokens, f"{self.name}: max_tokens")
        if self.max_tokens == 1:
            raise ValueError(f"{self.name}: max_tokens is 1; expected at least 2: padding, and unknown words")
        self.standardize, self.split, self.output_mode, self.encoding = standardize, split, output_mode, encoding
        self._ways()
        self.ngrams = _widths(ngrams, f"{self.name}: ngrams")
        length, label = output_sequence_length, f"{self.name}: output_sequence_length"
        self.output_sequence_length = None if length is None else positive(length, label)
        self._numbers: dict[str, int] | None = None  # of words, from 2
        self._given = vocabulary is not None
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    # --- the vocabulary ----------------------------------------------------------------------------------------

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Make the vocabulary of texts: the most frequent words first, of equal ones the last in the alphabet.

        Parameters
        ----------
        data : array_like of str, of shape (N,) or (N, 1), or iterable of such batches
        batch_size : int, optional
            Accepted, and without effect.
        steps : int, optional
            Batches to take of an iterable.

        Raises
        ------
        ValueError
            The constructor was given a vocabulary.
        """
        if self._given:
            raise ValueError(f"{self.name}: adapt came, but vocabulary was given: set_vocabulary takes another one")
        words = self._found(self._texts(data, steps))
        if words:
            self._set(words if self.max_tokens is None else words[: self.max_tokens - 2])

    def _texts(self, data: Any, steps: int | None) -> Iterator[str]:
        """Yield the texts of an array, or of some of an iterable's batches."""
        whole = isinstance(data, (str, list, tuple, np.ndarray)) or hasattr(data, "__array__")
        for batch in islice([data] if whole else data, None if whole else steps):
            yield from self.checked_input(batch).reshape(-1)

    def _found(self, texts: Iterable[str]) -> list[str]:
        """Return the words of texts that are to have numbers, in their order."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self.words(text))
        for special in (PADDING, UNKNOWN):
            counts.pop(special, None)
        return sorted(counts, key=lambda word: (counts[word], word), reverse=True)

    def set_vocabulary(self, vocabulary: Sequence[str] | str | Path, idf_weights: None = None) -> None:
        """Take the words of a list or an array, or of a file with one a line; padding and [UNK] may lead them.

        Raises
        ------
        ValueError
            There is none, or one twice, or more than `max_tokens` has room for.
        """
        without_effect(type(self), {"idf_weights": idf_weights})
        if isinstance(vocabulary, (str, Path)):
            vocabulary = Path(vocabulary).read_text(self.encoding).removesuffix("\n").split("\n")
        words = [str(word) for word in vocabulary]
        words = words[2:] if words[:2] == [PADDING, UNKNOWN] else words
        if not words:
            raise ValueError(f"{self.name}: vocabulary is empty; expected words")
        twice = [word for word, count in Counter(words).items() if count > 1]
        if twice or PADDING in words:
            bad = twice[:3] or "the empty word, which stands for padding"
            raise ValueError(f"{self.name}: vocabulary has {bad}{' more than once' * bool(twice)}")
        if self.max_tokens is not None and len(words) + 2 > self.max_tokens:
            raise ValueError(
                f"{self.name}: vocabulary has {len(words)} words; max_tokens is {self.max_tokens}, two of them taken"
            )
        self._set(words)

    def _set(self, words: Sequence[str]) -> None:
        self._numbers = {word: number for number, word in enumerate(words, start=2)}

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """Return the words in the order of their numbers, padding and [UNK] first unless told otherwise."""
        return [PADDING, UNKNOWN] * bool(include_special_tokens) + list(self._numbers or ())

    def vocabulary_size(self) -> int:
        """Return how many numbers there are, 0 and 1 among them: an embedding's `input_dim`."""
        return 2 + len(self._numbers or ())

    @property
    def vocabulary(self) -> list[str] | None:
        """The words, from number 2 on; None before there are any."""
        return None if self._numbers is None else list(self._numbers)

    # --- a call ------------------------------------------------------------------------------------------------

    def _ways(self) -> list[Callable]:
        """Return the functions that `standardize` and `split` name, or are."""
        return [_chosen(self.standardize, _STANDARDS, "standardize"), _chosen(self.split, _SPLITS, "split")]

    def words(self, text: str) -> list[str]:
        """Return the words of a text: a word for each of the numbers that a call gives."""
        standardized, split_up = self._ways()
        words = list(split_up(standardized(text)))
        if self.ngrams is None:
            return words
        widths = range(1, self.ngrams + 1) if isinstance(self.ngrams, int) else self.ngrams
        return [" ".join(words[n : n + width]) for width in widths for n in range(len(words) - width + 1)]

    def checked_input(self, x: Any) -> np.ndarray:
        """Return texts as an array of str, shape (N,) or (N, 1), or raise ValueError or TypeError."""
        if isinstance(x, (str, bytes)):
            raise TypeError(f"{self.name}: x is the text {x[:60]!r}; expected a list of texts: [text]")
        try:
            texts = np.asarray(x, object)  # an array of strings takes for each what the longest one needs
        except ValueError:
            texts = np.empty(0)
        if texts.ndim not in (1, 2) or (texts.ndim == 2 and texts.shape[1] != 1) or not texts.size:
            raise ValueError(f"{self.name}: x has shape {texts.shape}; expected texts (N,) or (N, 1), at least one")
        flat = [self._decoded(text) for text in texts.reshape(-1)]
        found = np.empty(len(flat), object)
        found[:] = flat
        return found.reshape(texts.shape)

    def _decoded(self, text: Any) -> str:
        if isinstance(text, bytes):
            return text.decode(self.encoding)
        if not isinstance(text, str):
            raise TypeError(f"{self.name}: x holds a {type(text).__name__}; expected texts, strings")
        return text

    def check_shape(self, shape):
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] not in (1, None)):
            raise ValueError(f"{self.name}: x has shape {tuple(shape)}; expected texts (N,) or (N, 1)")

    def call(self, x, mask=None, training=False):
        numbers = self._numbers
        if numbers is None:
            raise ValueError(f"{self.name}: there is no vocabulary; call adapt(texts), or give vocabulary=…")
        numbers = {**numbers, PADDING: 0}
        rows = [[numbers.get(word, 1) for word in self.words(text)] for text in x.reshape(-1)]
        length = self.output_sequence_length or max(1, *map(len, rows))
        ids = np.zeros((len(rows), length), np.int64)
        for row, found in zip(ids, rows, strict=True):
            row[: len(found)] = found[:length]
        return ids

    def call_backward(self, dy):
        return None

    def compute_mask(self, x, mask=None):
        return None

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (input_shape[0], self.output_sequence_length)

    def _is_default(self, name, value, default):
        return name == "vocabulary" or super()._is_default(name, value, default)  # too long to show

    # --- in a file ---------------------------------------------------------------------------------------------

    def describe(self):
        # one text instead of thousands: how many objects a file may describe is bounded
        config = self.get_config()
        return {"class_name": type(self).__name__, "config": {**config, "vocabulary": json.dumps(config["vocabulary"])}}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TextVectorization:
        """Build a layer, with its vocabulary, from what `get_config` or `describe` returned; no file is read."""
        config = dict(config)
        words = config.get("vocabulary")
        if isinstance(words, str):
            words = json.loads(words)
        if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            raise ValueError("vocabulary is no list of words")
        layer = cls(**revived({**config, "vocabulary": None}))
        if words:
            layer.set_vocabulary(words)
        return layer


def _chosen(value: Any, table: Mapping[str | None, Callable], argument: str) -> Callable:
    if callable(value) or value is None:
        return value or table[None]
    return look_up(value, {name: function for name, function in table.items() if name}, argument)


def _widths(ngrams: Any, label: str) -> int | list[int] | None:
    """Return a width, or several as a list."""
    if ngrams is None:
        return None
    several = [positive(n, label) for n in (ngrams if isinstance(ngrams, Iterable) else [ngrams])]
    return several if isinstance(ngrams, Iterable) else several[0]
