"""Rows of a batch in arrays of their own, for each of two threads: the same outputs and gradients as all in one."""

import itertools

import numpy as np
import pytest
from cases import PATTERNS, SEED, few_at_first, masks, randomize

from rnncore import Sequential, config
from rnncore.kernels import threads
from rnncore.kernels.time_loop import loop
from rnncore.layers import GRU, LSTM, RNN, CarryRNN, Dense, Embedding, GRUCell, LSTMCell, SimpleRNN, embedding
from rnncore.utils import set_random_seed

ROWS, STEPS, FEATURES, UNITS = 13, 9, 5, 6
DROPPED = {"dropout": 0.3, "recurrent_dropout": 0.4, "seed": 2}
LAYERS = {
    "LSTM": lambda **options: LSTM(UNITS, **options),
    "GRU": lambda **options: GRU(UNITS, **options),
    "GRU reset before": lambda **options: GRU(UNITS, reset_after=False, **options),
    "SimpleRNN": lambda **options: SimpleRNN(UNITS, **options),
    "CarryRNN": lambda **options: CarryRNN(UNITS, **options),
    "two cells": lambda dtype, bptt_steps, return_sequences, return_state, **options: RNN(
        [LSTMCell(4, name="first", dtype=dtype, **options), GRUCell(UNITS, name="second", dtype=dtype)],
        bptt_steps=bptt_steps,
        return_sequences=return_sequences,
        return_state=return_state,
    ),
}
KINDS = list(itertools.product(LAYERS, PATTERNS, (False, True), (None, 2)))


def joined(states):
    """Return all entries of states, or of lists of them a cell."""
    return np.concatenate([joined(own) if isinstance(own, list) else own.ravel() for own in states])


def drawn_like(states, rng):
    """Return random arrays of the shapes of states."""
    return [drawn_like(own, rng) if isinstance(own, list) else rng.standard_normal(own.shape) for own in states]


def both_ways(kind, pattern, dropped, cut, backend, count=2):
    """Return by name all that two calls and the ways back give, of batches of different sizes."""
    config.set_backend(backend)
    config.set_threads(count)
    options = {"dtype": "float64", "return_sequences": True, "return_state": True, "bptt_steps": cut}
    layer, found = LAYERS[kind](**options, **(DROPPED if dropped else {})), {}
    layer.build((None, None, FEATURES))
    rng = np.random.default_rng(SEED)
    randomize(layer, rng)
    for rows in (ROWS, ROWS - 4):
        x, mask = rng.standard_normal((rows, STEPS, FEATURES)), masks(pattern, rows, STEPS, rng)
        y, *states = layer(x, mask=mask, training=True)
        own = {"y": y, "states": joined(states)}
        dstates = drawn_like(states, rng)
        own["dx"] = layer.backward([rng.standard_normal(y.shape), *dstates])
        own |= {f"gradient {n}": gradient for n, gradient in enumerate(layer.get_gradients())}
        own |= {f"series {name}": array for name, array in layer.time_series().items()}
        own["state gradients"] = joined(layer.state_gradients)
        found |= {f"{name}, {rows} rows": np.copy(array) for name, array in own.items()}
    return found


@pytest.mark.parametrize(("kind", "pattern", "dropped", "cut"), few_at_first(KINDS, 30))
def test_parts_are_the_whole(kind, pattern, dropped, cut):
    plain, parts = (both_ways(kind, pattern, dropped, cut, backend) for backend in config.BACKENDS)
    assert len(plain) >= 20 and plain.keys() == parts.keys()
    for name, array in plain.items():
        np.testing.assert_allclose(parts[name], array, rtol=1e-12, atol=1e-12 * np.abs(array).max(), err_msg=name)


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("pattern", ["none", "holes"])
def test_threads_change_no_bit_of_parts(pattern, dropped, monkeypatch):
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1)
    first, *others = (both_ways("LSTM", pattern, dropped, None, "numba", count) for count in (1, 2, 3, 5))
    for other in others:
        for name, array in first.items():
            np.testing.assert_array_equal(other[name], array, err_msg=name)


def trained(backend, summed, dropout):
    """Return the weights after steps on ids, some of which are padding."""
    config.set_backend(backend)
    set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    x, y = rng.integers(0, 20, (3 * ROWS, STEPS)), rng.integers(0, 2, 3 * ROWS)
    layers = [
        Embedding(20, FEATURES, mask_zero=True, dense_gradient=summed, dtype="float64"),
        LSTM(UNITS, dropout=dropout, recurrent_dropout=dropout, dtype="float64"),
        Dense(1, activation="sigmoid", dtype="float64"),
    ]
    model = Sequential(layers)
    model.compile("adam", "binary_crossentropy")
    model.fit(x, y, batch_size=ROWS, epochs=2, verbose=0)
    return [*model.get_weights(), model.predict(x, batch_size=ROWS, verbose=0)]


@pytest.mark.parametrize("dropout", [0, 0.3])
@pytest.mark.parametrize("summed", [False, True])
def test_words_are_found_again_in_each_part(summed, dropout, monkeypatch):
    monkeypatch.setattr(embedding, "MANY", 1)
    for plain, parts in zip(*(trained(backend, summed, dropout) for backend in config.BACKENDS), strict=True):
        np.testing.assert_allclose(parts, plain, rtol=1e-9, atol=1e-11)


def test_parts_share_the_work():
    runner = loop(LSTM(1).cell._cell, "numba")
    assert runner.parts(32, None) == [slice(0, 16), slice(16, 32)]
    assert runner.parts(7, None) == [slice(0, 7)]
    mask = np.arange(40)[:, None] < np.repeat([40, 10], [8, 24])
    assert runner.parts(32, mask) == [slice(0, 8), slice(8, 32)]
