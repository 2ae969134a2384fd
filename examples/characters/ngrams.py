"""What counting comes to: an interpolated n-gram of characters.

    p(c | the characters before) = w_0 / V + w_1 p_1(c) + w_2 p_2(c | 1 before) + w_3 p_3(c | 2 before)  ...

p_k is how often c followed these characters in the training text; where they never stood there, p_{k-1}. The weights
w are fitted on text of its own by expectation maximization.

Source: Jelinek & Mercer, "Interpolated estimation of Markov source parameters from sparse data", 1980.
"""

from __future__ import annotations

import numpy as np


class Counts:
    """How often each run of up to `order` characters stands in a text.

    Parameters
    ----------
    ids : ndarray of shape (N,), int64
    order : int
    size : int
        V, how many characters there are.
    """

    def __init__(self, ids: np.ndarray, order: int, size: int):
        self.order, self.size = order, size
        self._runs = [np.unique(self._codes(ids, k), return_counts=True) for k in range(1, order + 1)]

    def shares(self, ids: np.ndarray) -> np.ndarray:
        """Return 1/V and p_1 … p_order of each character of a text, (N, order + 1)."""
        columns = [np.full(len(ids), 1 / self.size)]
        before = np.full(len(ids), self._runs[0][1].sum())  # how often what is before the character stands there
        for k, (runs, counts) in enumerate(self._runs, start=1):
            codes = self._codes(ids, k)
            places = np.searchsorted(runs, codes).clip(max=len(runs) - 1)
            found = np.zeros(len(ids), int)
            found[k - 1 :] = np.where(runs[places] == codes, counts[places], 0)
            columns.append(np.where(before > 0, found / np.maximum(before, 1), columns[-1]))
            before = np.concatenate([[0], found[:-1]])
        return np.stack(columns, axis=1)

    def _codes(self, ids, k):
        """Return a number for each run of k characters."""
        windows = np.lib.stride_tricks.sliding_window_view(ids, k)
        return windows @ self.size ** np.arange(k)


def fitted(shares: np.ndarray, rounds: int = 100) -> np.ndarray:
    """Return the weights, (order + 1,), under which a text is likeliest; shares are its own, (N, order + 1)."""
    weights = np.full(shares.shape[1], 1 / shares.shape[1])
    for _ in range(rounds):
        parts = shares * weights
        weights = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
    return weights


def perplexity(shares: np.ndarray, weights: np.ndarray) -> float:
    """Return exp of the mean of -log p: as if so many characters were equally likely each time."""
    return float(np.exp(-np.log(shares @ weights).mean()))
