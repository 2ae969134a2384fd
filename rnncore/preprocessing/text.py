"""Words as numbers, the older way: `Tokenizer` and what stands beside it in tf.keras 2.15.

`layers.TextVectorization` is the newer way: a layer, so that a model takes texts and is saved with its vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..layers.checks import flag, positive
from ..layers.text import TextVectorization
from ..utils.files import replaced

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
Text = str | Sequence[str]

_COUNTS = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")  # a JSON text each in a configuration


def text_to_word_sequence(text: str, filters: str = FILTERS, lower: bool = True, split: str = " ") -> list[str]:
    """Return the words of a text: what stands between `split`, the characters of `filters` being that, too.

    Parameters
    ----------
    text : str
    filters : str
    lower : bool
        Whether capital letters become small ones.
    split : str

    Examples
    --------
    >>> text_to_word_sequence("A good film, isn't it?")
    ['a', 'good', 'film', "isn't", 'it']
    """
    if not isinstance(text, str):
        raise TypeError(f"text is a {type(text).__name__}; expected a string")
    between: dict[str, Any] = dict.fromkeys(filters, split)
    text = text.lower() if lower else text
    return [word for word in text.translate(str.maketrans(between)).split(split) if word]


def hashing_trick(
    text: str,
    n: int,
    hash_function: str | Callable[[str], int] | None = None,
    filters: str = FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[str], Iterable[str]] | None = None,
) -> list[int]:
    """Return a number from 1 to n - 1 for each word of a text, without a vocabulary: two words may share one.

    Parameters
    ----------
    text, filters, lower, split
        As in `text_to_word_sequence`.
    n : int
        At least 2.
    hash_function : "md5" or callable, optional
        Default: Python's `hash`, which gives other numbers in each process.
    analyzer : callable, optional
        Makes words of a text, instead of `text_to_word_sequence`.
    """
    if positive(n, "hashing_trick: n") < 2:
        raise ValueError(f"hashing_trick: n is {n!r}; expected a whole number of at least 2")
    if hash_function == "md5":
        hash_function = _md5
    if hash_function is not None and not callable(hash_function):
        raise ValueError(f"hashing_trick: hash_function is {hash_function!r}; expected 'md5', a function or None")
    words = text_to_word_sequence(text, filters, lower, split) if analyzer is None else analyzer(text)
    return [(hash_function or hash)(word) % (n - 1) + 1 for word in words]


def one_hot(
    text: str,
    n: int,
    filters: str = FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[str], Iterable[str]] | None = None,
) -> list[int]:
    """Return numbers, no vectors: `hashing_trick` with Python's `hash`."""
    return hashing_trick(text, n, None, filters, lower, split, analyzer)


def _md5(word: str) -> int:
    return int(hashlib.md5(word.encode(), usedforsecurity=False).hexdigest(), 16)


class Tokenizer:
    """Gives each word a number, the more frequent the smaller, as tf.keras 2.15's.

    Parameters
    ----------
    num_words : int, optional
        Numbers from here on are left out, or become that of `oov_token`: ``num_words - 1`` words stay. (All words
        have a number in `word_index` nevertheless.)
    filters, lower, split
        As in `text_to_word_sequence`.
    char_level : bool
        Whether every character is a word.
    oov_token : str, optional
        Stands for words that were not fitted on, and has the number 1. Without one they are left out.
    analyzer : callable, optional
        Makes words of a text, instead of `text_to_word_sequence`.

    Attributes
    ----------
    word_index : dict of str to int
        Numbers from 1, 0 being free for padding; words of one frequency in the order of their first places.
    index_word : dict of int to str
    word_counts : OrderedDict of str to int
        How often each word was there.
    word_docs, index_docs : dict of str, or of int, to int
        In how many texts, by word and by number.
    document_count : int
        Texts that were fitted on.

    Notes
    -----
    A text may be a list of words, too: they are taken as they are, but for `lower`.

    Examples
    --------
    >>> tokenizer = Tokenizer(oov_token="?")
    >>> tokenizer.fit_on_texts(["A good film.", "A film"])
    >>> tokenizer.word_index
    {'?': 1, 'a': 2, 'film': 3, 'good': 4}
    >>> tokenizer.texts_to_sequences(["a bad film"])
    [[2, 1, 3]]
    >>> tokenizer.sequences_to_texts([[2, 1, 3]])
    ['a ? film']
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
        analyzer: Callable[[str], Iterable[str]] | None = None,
        *,
        document_count: int = 0,
    ):
        self.num_words = None if num_words is None else positive(num_words, "Tokenizer: num_words")
        for name, value in (("filters", filters), ("split", split), ("oov_token", oov_token)):
            if not isinstance(value, str) and (name != "oov_token" or value is not None):
                raise TypeError(f"Tokenizer: {name} is {value!r}; expected a string")
        if analyzer is not None and not callable(analyzer):
            raise TypeError(f"Tokenizer: analyzer is {analyzer!r}; expected a function of a text")
        if not split:
            raise ValueError("Tokenizer: split is empty; char_level=True takes every character as a word")
        self.filters, self.split, self.oov_token = filters, split, oov_token
        self.lower, self.char_level = flag(lower, "Tokenizer: lower"), flag(char_level, "Tokenizer: char_level")
        self.analyzer, self.document_count = analyzer, document_count
        self.word_counts: OrderedDict[str, int] = OrderedDict()
        self.word_docs: Counter[str] = Counter()
        self.index_docs: Counter[int] = Counter()
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}

    def _words(self, text: Text) -> list[str]:
        if isinstance(text, (list, tuple)):
            return [word.lower() for word in text] if self.lower else list(text)
        if not isinstance(text, str):
            raise TypeError(f"Tokenizer: a text is a {type(text).__name__}; expected a string or a list of words")
        if self.char_level:
            return list(text.lower() if self.lower else text)
        if self.analyzer is not None:
            return list(self.analyzer(text))
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts: Iterable[Text]) -> None:
        """Count the words of texts, those of earlier calls too, and number them anew."""
        for text in _several(texts):
            self.document_count += 1
            words = self._words(text)
            for word in words:
                self.word_counts[word] = self.word_counts.get(word, 0) + 1
            self.word_docs.update(set(words))
        order = sorted(self.word_counts, key=self.word_counts.__getitem__, reverse=True)
        words = order if self.oov_token is None else [self.oov_token, *order]
        self.word_index = {word: number for number, word in enumerate(words, start=1)}
        self.index_word = {number: word for word, number in self.word_index.items()}
        self.index_docs.update({self.word_index[word]: 0 for word in self.word_docs})
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences: Iterable[Iterable[int]]) -> None:
        """Count in how many sequences each number is: all that `sequences_to_matrix` needs."""
        for sequence in sequences:
            self.document_count += 1
            self.index_docs.update(set(sequence))

    def texts_to_sequences(self, texts: Iterable[Text]) -> list[list[int]]:
        """Return the numbers of the words of each text."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts: Iterable[Text]) -> Iterator[list[int]]:
        """Yield the numbers of the words of each text."""
        for text in _several(texts):
            numbers = map(self.word_index.get, self._words(text))
            yield self._kept(number if self._has(number) else None for number in numbers)

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """Return the words of each sequence of numbers, one blank between them."""
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences: Iterable[Iterable[int]]) -> Iterator[str]:
        """Yield the words of each sequence of numbers, one blank between them."""
        for sequence in sequences:
            numbers = (number if number in self.index_word and self._has(number) else None for number in sequence)
            yield " ".join(map(self.index_word.__getitem__, self._kept(numbers)))

    def _has(self, number: int | None) -> bool:
        return number is not None and (not self.num_words or number < self.num_words)

    def _kept(self, numbers: Iterable[int | None]) -> list[int]:
        """Return the numbers, that of `oov_token` in the place of None, which is left out where there is none."""
        other = self.word_index.get(self.oov_token) if self.oov_token is not None else None
        return [number for number in (other if n is None else n for n in numbers) if number is not None]

    def texts_to_matrix(self, texts: Iterable[Text], mode: str = "binary") -> np.ndarray:
        """Return a row a text: see `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences: Sequence[Sequence[int]], mode: str = "binary") -> np.ndarray:
        """Return what each sequence says of each number.

        Parameters
        ----------
        sequences : sequence of sequence of int
        mode : {"binary", "count", "freq", "tfidf"}
            Whether it is there; how often; the share that it has; (1 + log count) * log(1 + texts / (1 + texts that
            have it)).

        Returns
        -------
        ndarray of shape (N, num_words or the words and 1), float64

        Raises
        ------
        ValueError
            There is no vocabulary and no `num_words`, or for "tfidf" no text was counted.
        """
        if mode not in ("binary", "count", "freq", "tfidf"):
            raise ValueError(f"mode is {mode!r}; known: binary, count, freq, tfidf")
        size = self.num_words or (len(self.word_index) + 1 if self.word_index else 0)
        if not size:
            raise ValueError("Tokenizer: num_words is None, and nothing was fitted on; call fit_on_texts first")
        if mode == "tfidf" and not self.document_count:
            raise ValueError("Tokenizer: mode is 'tfidf', and no text was counted; call fit_on_texts first")
        matrix = np.zeros((len(sequences), size))
        for row, sequence in zip(matrix, sequences, strict=True):
            for number, count in Counter(sequence).items():
                if number >= size:
                    continue
                if mode == "tfidf":
                    idf = np.log(1 + self.document_count / (1 + self.index_docs.get(number, 0)))
                    row[number] = (1 + np.log(count)) * idf
                else:
                    row[number] = {"binary": 1, "count": count, "freq": count / len(sequence)}[mode]
        return matrix

    def get_config(self) -> dict[str, Any]:
        """Return options and counts in plain values, the counts as JSON texts, as Keras has it; not the `analyzer`."""
        names = ("num_words", "filters", "lower", "split", "char_level", "oov_token", "document_count")
        return {name: getattr(self, name) for name in names} | {
            name: json.dumps(getattr(self, name)) for name in _COUNTS
        }

    def to_json(self, **kwargs: Any) -> str:
        """Return all of it as a JSON text for `tokenizer_from_json`, Keras's too; `kwargs` are `json.dumps`'s."""
        return json.dumps({"class_name": type(self).__name__, "config": self.get_config()}, **kwargs)


def tokenizer_from_json(json_string: str) -> Tokenizer:
    """Return the `Tokenizer` of a text that `to_json` returned, here or in Keras.

    Raises
    ------
    ValueError
        It is none; the message says what is wrong.
    """
    try:
        config = dict(json.loads(json_string)["config"])
        counts = {name: json.loads(config.pop(name)) for name in _COUNTS}
        tokenizer = Tokenizer(**config)
        _check(counts, tokenizer.document_count)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"json_string is no Tokenizer's: {str(error) or type(error).__name__:.300}") from error
    tokenizer.word_counts.update(counts["word_counts"])
    tokenizer.word_docs.update(counts["word_docs"])
    tokenizer.index_docs.update({int(number): count for number, count in counts["index_docs"].items()})
    tokenizer.index_word = {int(number): word for number, word in counts["index_word"].items()}
    tokenizer.word_index = counts["word_index"]
    return tokenizer


def save_vocabulary(layer: TextVectorization, path: str | os.PathLike) -> None:
    """Write a text layer's words, or pieces, into a file, one a line, for its `vocabulary=` or `set_vocabulary`.

    Raises
    ------
    ValueError
        There is none, or a word has a line break in it.
    """
    words = layer.get_vocabulary(include_special_tokens=False)
    bad = next((word for word in words if "\n" in word or "\r" in word), None)
    if not words or bad is not None:
        what = "there is no vocabulary" if bad is None else f"vocabulary has {bad!r}, with a line break"
        raise ValueError(f"{layer.name}: save_vocabulary: {what}")
    with replaced(path) as file:
        file.write("".join(f"{word}\n" for word in words).encode(layer.encoding))


def _check(counts: Mapping[str, Any], documents: Any) -> None:
    """Raise ValueError if the tables are not of words and whole numbers."""
    values = {**dict.fromkeys(_COUNTS, int), "index_word": str}
    for name, kind in values.items():
        table = counts[name]
        if not isinstance(table, dict) or not all(type(value) is kind for value in table.values()):
            raise ValueError(f"{name} is no table of {kind.__name__}")
        if name.startswith("index_") and not all(number.isdecimal() for number in table):
            raise ValueError(f"{name} has keys that are no numbers")
    if type(documents) is not int or documents < 0:
        raise ValueError(f"document_count is {documents!r:.100}; expected a whole number of at least 0")


def _several(texts: Any) -> Iterable[Text]:
    """Return texts, or raise TypeError for a single one, whose characters would be taken for texts."""
    if isinstance(texts, str):
        raise TypeError(f"texts is the string {texts!r:.60}; expected a list of texts: [text]")
    return texts
