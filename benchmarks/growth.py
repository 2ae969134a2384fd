"""How time grows with a size: t = a + b n^p, overhead a and what is above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EXPONENTS = np.arange(0.2, 4.0005, 0.005)


class Growth(NamedTuple):
    """What was fitted."""

    overhead: float  # a, seconds
    factor: float  # b, seconds
    exponent: float  # p
    error: float  # the largest relative one

    def at(self, sizes: Sequence[float]) -> np.ndarray:
        """Return the fitted seconds."""
        return self.overhead + self.factor * np.asarray(sizes, float) ** self.exponent


def fitted(sizes: Sequence[float], seconds: Sequence[float]) -> Growth:
    """Fit ``t = a + b n^p`` with a and b of at least 0, the relative errors' squares least.

    Parameters
    ----------
    sizes, seconds : sequence of float
        At least three points, all above 0.

    Returns
    -------
    Growth
        The best on a grid of exponents from 0.2 to 4 in steps of 0.005.

    Raises
    ------
    ValueError
        There are fewer than three points, or not as many of the one as of the other.
    """
    n, t = np.asarray(sizes, float), np.asarray(seconds, float)
    if n.shape != t.shape or n.size < 3:
        raise ValueError(f"sizes has {n.size} points and seconds {t.size}; expected the same number, 3 or more")
    fits = [fit for p in EXPONENTS for fit in _at_exponent(n, t, p)]
    return min(fits, key=lambda fit: np.square(fit.at(n) / t - 1).sum())


def _at_exponent(n, t, p):
    """Yield the least-squares solutions on the edge and inside of a >= 0, b >= 0."""
    for columns in ([np.ones_like(n), n**p], [np.zeros_like(n), n**p]):
        weighed = np.stack(columns, axis=1) / t[:, None]
        a, b = np.linalg.lstsq(weighed, np.ones_like(t), rcond=None)[0]
        if a >= 0 and b >= 0:
            fit = Growth(float(a), float(b), float(p), 0.0)
            yield fit._replace(error=float(np.abs(fit.at(n) / t - 1).max()))
