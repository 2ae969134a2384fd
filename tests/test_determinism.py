"""Same seed, same bits: from run to run, and whatever the number of threads."""

import numpy as np
import pytest
from cases import SEED

from rnncore import Sequential, config
from rnncore.layers import LSTM, Bidirectional, Dense, Embedding
from rnncore.utils import set_random_seed


def lecture(words):
    return [Embedding(words, 128), LSTM(128, dropout=0.2, recurrent_dropout=0.2), Dense(1, activation="sigmoid")]


def masked(words):
    return [
        Embedding(words, 32, mask_zero=True),
        Bidirectional(LSTM(24, return_sequences=True)),
        Bidirectional(LSTM(24)),
        Dense(1, activation="sigmoid"),
    ]


def trained(layers, words, samples, steps, threads, backend="numba"):
    """Return all weights, the optimizer's arrays and the history after an epoch on reviews by Zipf's law."""
    config.set_threads(threads)
    config.set_backend(backend)
    set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    x = rng.zipf(1.2, (samples, steps)) % words
    x[np.arange(steps) < rng.integers(0, steps, (samples, 1)) * (rng.random((samples, 1)) < 0.3)] = 0
    y = rng.integers(0, 2, samples)
    model = Sequential(layers(words))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=32, verbose=0, validation_split=0.1).history
    return [*model.get_weights(), *model.optimizer.get_state().values(), np.array(list(history.values()))]


def assert_same_bits(runs):
    first, *others = runs
    assert len(first) > 8
    for other in others:
        for one, two in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("layers", [lecture, masked])
def test_threads_change_no_bit(layers):
    assert_same_bits([trained(layers, 500, 256, 30, threads) for threads in (1, 2, 3, 2)])


def test_the_plain_backend_repeats_itself():
    assert_same_bits([trained(masked, 100, 64, 12, threads, "numpy") for threads in (1, 2)])


@pytest.mark.slow
def test_threads_change_no_bit_over_many_steps_of_the_lecture():
    assert_same_bits([trained(lecture, 20_000, 6_000, 80, threads) for threads in (1, 2)])
