"""Masks, sizes and options that the tests of recurrent layers share."""

import os
import secrets

import numpy as np
import pytest

SEED = 20  # of tests that draw the same each time
# Of those that draw anew: printed, and in the environment for processes that run tests side by side.
RUN_SEED = int(os.environ.setdefault("RNNCORE_TEST_SEED", str(secrets.randbelow(2**31))))


def few_at_first(values, first: int) -> list:
    """Return parameters of a test, each a value or a tuple of several: only the first few are in the quick run."""
    return [
        value if n < first else pytest.param(*(value if type(value) is tuple else (value,)), marks=pytest.mark.slow)
        for n, value in enumerate(values)
    ]


def masks(pattern: str, rows: int, steps: int, rng: np.random.Generator) -> np.ndarray | None:
    """Return a mask (rows, steps) of one kind; every row keeps a step but in "empty row"."""
    lengths = rng.integers(1, steps + 1, rows)
    counted = np.arange(steps)
    if pattern == "none":
        return None
    if pattern == "right":
        return counted < lengths[:, None]
    if pattern == "left":
        return counted >= steps - lengths[:, None]
    mask = rng.random((rows, steps)) < 0.6
    mask[np.arange(rows), lengths - 1] = True
    if pattern == "empty row":
        mask[rng.integers(rows)] = False
    return mask


PATTERNS = ("none", "right", "left", "holes", "empty row")


def randomize(layer, rng: np.random.Generator, scale: float = 0.6) -> None:
    """Give a built layer distinct random weights, biases included: equal ones would hide swapped gates."""
    layer.set_weights([scale * rng.standard_normal(w.shape) for w in layer.get_weights()])
