"""Layers, masks and seeds that several tests share."""

import os
import random
import secrets

import numpy as np
import pytest

from rnncore.layers import (
    ELU,
    LSTM,
    Activation,
    AveragePooling1D,
    BatchNormalization,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    LeakyReLU,
    Masking,
    MaxPooling1D,
    ReLU,
    SimpleRNN,
    Softmax,
)

SEED = 20  # of tests that draw the same each time
# Of those that draw anew: printed, and in the environment for processes that run tests side by side.
RUN_SEED = int(os.environ.setdefault("RNNCORE_TEST_SEED", str(secrets.randbelow(2**31))))


def few_at_first(values, first: int) -> list:
    """Return parameters of a test, each a value or a tuple of several: only the first few are in the quick run."""
    return [
        value if n < first else pytest.param(*(value if type(value) is tuple else (value,)), marks=pytest.mark.slow)
        for n, value in enumerate(values)
    ]


def some(values, count: int) -> list:
    """Return so many of the values, others in each run; all of them where ``RNNCORE_TEST_ALL`` is set."""
    values = list(values)
    chosen = {*random.Random(RUN_SEED).sample(range(len(values)), min(count, len(values)))}
    return [value for n, value in enumerate(values) if n in chosen or os.environ.get("RNNCORE_TEST_ALL")]


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


X = np.random.default_rng(5).standard_normal((3, 4, 2))
IDS = np.array([[1, 0, 2, 2], [5, 5, 5, 5], [0, 0, 0, 4]])
SEQUENCES = {"return_sequences": True}
EVERYTHING = {
    "dropout": 0.1,
    "recurrent_dropout": 0.2,
    "seed": 7,
    "go_backwards": True,
    "zero_output_for_mask": True,
    "return_state": True,
    "kernel_initializer": "he_normal",
    **SEQUENCES,
}

LAYERS = {  # how to make it, an input, the shape of the output(s)
    "embedding": (lambda **o: Embedding(6, 3, **o), IDS, (3, 4, 3)),
    "embedding of ids": (lambda **o: Embedding(6, 3, mask_zero=True, **o), IDS[0], (4, 3)),
    "masking": (lambda **o: Masking(0.5, **o), X, (3, 4, 2)),
    "dense": (lambda **o: Dense(5, "tanh", **o), X[:, 0], (3, 5)),
    "dense on sequences": (lambda **o: Dense(5, "softmax", use_bias=False, **o), X, (3, 4, 5)),
    "activation": (lambda **o: Activation("relu", **o), X, (3, 4, 2)),
    "dropout": (lambda **o: Dropout(0.4, (None, 1, None), seed=1, **o), X, (3, 4, 2)),
    "convolution": (lambda **o: Conv1D(5, [2], padding="causal", dilation_rate=2, **o), X, (3, 4, 5)),
    "strided convolution": (lambda **o: Conv1D(2, 3, 2, "same", activation="tanh", use_bias=False, **o), X, (3, 2, 2)),
    "maximum": (lambda **o: MaxPooling1D(3, 1, **o), X, (3, 2, 2)),
    "average": (lambda **o: AveragePooling1D((3,), padding="same", **o), X, (3, 2, 2)),
    "batch": (lambda **o: BatchNormalization(momentum=0.5, **o), X, (3, 4, 2)),
    "batch, bare": (lambda **o: BatchNormalization([1], center=False, scale=False, **o), X, (3, 4, 2)),
    "rectified": (lambda **o: ReLU(1.0, 0.1, 0.2, **o), X, (3, 4, 2)),
    "leaky": (lambda **o: LeakyReLU(0.1, **o), X, (3, 4, 2)),
    "bent": (lambda **o: ELU(0.7, **o), X, (3, 4, 2)),
    "shares": (lambda **o: Softmax([1, 2], **o), X, (3, 4, 2)),
    "rnn": (lambda **o: SimpleRNN(5, **o), X, (3, 5)),
    "lstm": (lambda **o: LSTM(5, **o), X, (3, 5)),
    "rnn, sequences": (lambda **o: SimpleRNN(5, use_bias=False, **SEQUENCES, **o), X, (3, 4, 5)),
    "lstm, states": (lambda **o: LSTM(5, return_state=True, **o), X, [(3, 5)] * 3),
    "rnn, all": (lambda **o: SimpleRNN(5, **EVERYTHING, **o), X, [(3, 4, 5), (3, 5)]),
    "lstm, all": (lambda **o: LSTM(5, unit_forget_bias=False, **EVERYTHING, **o), X, [(3, 4, 5), (3, 5), (3, 5)]),
}
