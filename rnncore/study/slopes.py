"""The derivative of a function of a user's that works entry by entry, by differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEP = 3e-4


def derivative(function: Callable, label: str) -> Callable:
    """Return the backward, (dy, y, v) -> dv, of a function that works entry by entry.

    Central differences of the fourth order, in float64: exact to rounding for what is linear, about 1e-11 otherwise.

    Raises
    ------
    ValueError
        When it is called: the function mixes entries. Differences in which each entry is moved its own way, up or down,
        show that: they are those of the common way but for the sign.
    """

    def backward(dy, y, v):
        v = np.asarray(v, np.float64)
        slope = _slope(function, v, 1.0)
        signs = np.where(np.random.default_rng(v.size).random(v.shape) < 0.5, 1.0, -1.0)
        off = np.abs(_slope(function, v, signs) - signs * slope)
        if (off > 1e-9 * (1 + np.abs(slope))).any():
            raise ValueError(
                f"{label}: the function mixes entries (rows, units), so its gradient is not known; give a pair, "
                "(function, backward), with backward(dy, y, v) -> dv"
            )
        return dy * slope

    return backward


def _slope(function, v, way):
    # (8 (f(v+h) - f(v-h)) - (f(v+2h) - f(v-2h))) / 12h
    up, down, up2, down2 = (np.asarray(function(v + n * STEP * way), np.float64) for n in (1, -1, 2, -2))
    return np.broadcast_to((8 * (up - down) - (up2 - down2)) / (12 * STEP), v.shape)
