"""Words to train on: the reviews of IMDB where they are at hand, else words drawn as often as ranks are used."""

from __future__ import annotations

from itertools import chain

import numpy as np

from rnncore.datasets import imdb
from rnncore.utils import pad_sequences

WORDS = 20_000


class Texts:
    """Reviews as ids of words: 0 padding, 1 a review's start, 2 a rare word.

    Parameters
    ----------
    reviews : sequence of lists of int
    source : str
        Where they come from, for a reader.
    """

    def __init__(self, reviews, source: str):
        self.reviews, self.source = reviews, source

    def rows(self, text: str, count: int, steps: int) -> np.ndarray:
        """Return an array (count, steps), int32.

        Parameters
        ----------
        text : {"ends", "whole", "stream"}
            The last words of each review; reviews padded after their end (of long ones the last words); all
            reviews in one line, cut into rows without padding.
        count, steps : int
            More rows than there are begin again from the first.
        """
        if text == "stream":
            line = np.fromiter(chain.from_iterable(self.reviews), np.int32)
            return np.resize(line, (count, steps))
        chosen = [self.reviews[n % len(self.reviews)] for n in range(count)]
        return pad_sequences(chosen, steps, padding="post" if text == "whole" else "pre").astype(np.int32)


def at_hand() -> Texts:
    """Return the training reviews that `rnncore.datasets.imdb` finds, else drawn ones."""
    try:
        source = imdb.find()
    except FileNotFoundError:
        return drawn(25_000)
    (reviews, _), _ = imdb.load_data(num_words=WORDS)
    return Texts(reviews, source.sentence)


def drawn(count: int, seed: int = 0) -> Texts:
    """Return reviews of random words.

    Word number r comes with probability proportional to 1 / (r + 2.7) (Mandelbrot's form of Zipf's law), reviews are
    as long as those of IMDB: half of them longer than 174 words, on average 234.
    """
    rng = np.random.default_rng(seed)
    lengths = np.maximum(10, rng.lognormal(np.log(174), 0.77, count)).astype(int)
    often = 1 / (np.arange(1, WORDS - 2) + 2.7)
    words = 3 + rng.choice(len(often), lengths.sum(), p=often / often.sum())
    reviews = [review.tolist() for review in np.split(words, np.cumsum(lengths)[:-1])]
    return Texts(reviews, f"{count:,} reviews of words drawn by Zipf's law (no IMDB data at hand)")
