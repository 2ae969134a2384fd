"""SubwordVectorization: texts in, numbers of pieces of words out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .text import UNKNOWN, TextVectorization

GOES_ON = "##"  # begins a piece that is not a word's first
REMEMBERED = 100_000  # words whose pieces are kept


class SubwordVectorization(TextVectorization):
    """Texts as numbers, one a piece of a word: few numbers for all words, those that were never seen too.

    A word is the longest piece that it begins with, then the longest one that goes on, and so forth, as in WordPiece
    [1]_: ``playing`` may be ``play``, ``##ing``. 0 is padding, 1 a word with a character that no piece has.

    Parameters
    ----------
    max_tokens : int, optional
        The most numbers that there are, 0 and 1 among them; `adapt` finds so many.
    standardize : {"lower", "lower_and_strip_punctuation", "strip_punctuation", None} or callable
        What a text goes through first; punctuation that stays belongs to the word that it stands at.
    output_sequence_length, vocabulary, encoding, name
        As in `TextVectorization`; `preprocessing.text.save_vocabulary` writes such a file.

    Notes
    -----
    `adapt` needs the package tokenizers (``pip install "rnncore[subwords]"``); all else does without, a model that was
    saved with its vocabulary too. Otherwise as `TextVectorization`, also for masks and files.

    References
    ----------
    .. [1] Schuster, Nakajima, "Japanese and Korean voice search", ICASSP 2012.

    Examples
    --------
    >>> pieces = SubwordVectorization(vocabulary=["a", "play", "##ing", "##ed", "##er", "##s"])
    >>> pieces.words("A player plays")
    ['a', 'play', '##er', 'play', '##s']
    >>> pieces(["A player plays", "played"])
    array([[2, 3, 6, 3, 7],
           [3, 5, 0, 0, 0]])
    >>> pieces.decode([2, 3, 6, 3, 7, 0])
    'a player plays'
    """

    left_out = ("_remembered",)
    _remembered: dict[str, list[str]]

    def __init__(
        self,
        max_tokens: int | None = 8000,
        standardize: str | Callable[[str], str] | None = "lower",
        output_sequence_length: int | None = None,
        vocabulary: Sequence[str] | str | Path | None = None,
        encoding: str = "utf-8",
        name: str | None = None,
    ):
        super().__init__(
            max_tokens,
            standardize,
            output_sequence_length=output_sequence_length,
            vocabulary=vocabulary,
            encoding=encoding,
            name=name,
        )

    def _found(self, texts: Iterable[str]) -> list[str]:
        try:
            import tokenizers
        except ImportError as error:
            raise ImportError(
                f'{self.name}: adapt needs the package tokenizers: pip install "rnncore[subwords]"'
            ) from error
        room = (self.max_tokens or 1 << 30) - 2
        words = [" ".join(TextVectorization.words(self, text)) for text in texts]  # blanks as `words` has them
        counts = Counter(character for text in words for character in text.replace(" ", ""))
        letters = sorted(letter for letter, _ in counts.most_common(room // 4))
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        trainer = tokenizers.trainers.WordPieceTrainer(
            vocab_size=room,
            # given an order here, which would be another one each time otherwise, and with it that of equal pairs
            special_tokens=[*letters, *(GOES_ON + letter for letter in letters)],
            limit_alphabet=len(letters),
            initial_alphabet=letters,
            continuing_subword_prefix=GOES_ON,
            show_progress=False,
        )
        tokenizer.train_from_iterator(words, trainer)
        pieces = tokenizer.get_vocab()
        return sorted(pieces, key=pieces.__getitem__)

    def words(self, text: str) -> list[str]:
        """Return the pieces of a text: one for each of the numbers that a call gives; [UNK] for a word without."""
        return [piece for word in super().words(text) for piece in self._pieces(word)]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of some numbers, a blank between words; padding is left out.

        Raises
        ------
        ValueError
            A number is none of the vocabulary.
        """
        vocabulary = self.get_vocabulary()
        told: list[str] = []
        for number in map(int, ids):
            if not 0 <= number < len(vocabulary):
                raise ValueError(f"{self.name}: ids has {number}; expected numbers below {len(vocabulary)}")
            piece = vocabulary[number]
            if piece.startswith(GOES_ON) and told:
                told[-1] += piece.removeprefix(GOES_ON)
            elif piece:
                told.append(piece)
        return " ".join(told)

    def _set(self, words: Sequence[str]) -> None:
        super()._set(words)
        self._remembered = {}
        self._longest = max(map(len, words), default=0)

    def _pieces(self, word: str) -> list[str]:
        known = vars(self).setdefault("_remembered", {})
        if word not in known:
            if len(known) >= REMEMBERED:
                known.clear()
            known[word] = self._parted(word)
        return known[word]

    def _parted(self, word: str) -> list[str]:
        """Return the pieces of a word, or [UNK]."""
        numbers, found, begin = self._numbers or {}, [], 0
        while begin < len(word):
            before = GOES_ON if begin else ""
            ends = range(min(len(word), begin + self._longest - len(before)), begin, -1)
            pieces = (before + word[begin:end] for end in ends)
            piece = next((piece for piece in pieces if piece in numbers), None)
            if piece is None:
                return [UNKNOWN]
            found.append(piece)
            begin += len(piece) - len(before)
        return found
