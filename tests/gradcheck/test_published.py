"""Values that two courses print for their students are met by our cells, to every digit printed.

CS231n (Stanford), assignment 3, the LSTM's step: inputs are evenly spaced, gates lie in the order i, f, o, g.
deeplearning.ai, course 5, week 1, "Building your recurrent neural network, step by step": inputs by
``np.random.seed(1)``, a weight a gate, drawn in the order f, i, o, c; it multiplies the state and then the input.
"""

import numpy as np
import pytest

from rnncore.layers import LSTM, LSTMCell


def spaced(first, last, *shape):
    return np.linspace(first, last, int(np.prod(shape))).reshape(shape)


def printed(value, text):
    """Whether a value is what was printed, to its last digit."""
    digits = len(text.partition(".")[2])
    return float(value) == pytest.approx(float(text), abs=0.51 * 10.0**-digits)


def test_the_step_of_cs231n():
    N, D, H = 3, 4, 5
    x, h, c = spaced(-0.4, 1.2, N, D), spaced(-0.3, 0.7, N, H), spaced(-0.4, 0.9, N, H)
    theirs = spaced(-2.1, 1.3, D, 4 * H), spaced(-0.7, 2.2, H, 4 * H), spaced(0.3, 0.7, 4 * H)
    cell = LSTMCell(H, dtype="float64")
    cell.build((N, D))
    gates = [np.split(weight, 4, axis=-1) for weight in theirs]
    cell.set_weights([np.concatenate([i, f, g, o], axis=-1) for i, f, o, g in gates])
    y, (_, carry) = cell(x, [h, c])
    assert all(map(printed, y[0], ("0.24635157", "0.28610883", "0.32240467", "0.35525807", "0.38474904")))
    assert printed(carry[0, 0], "0.32986176")


def drawn(random):
    """Return kernel, recurrent kernel and bias in our layout, from the course's draws of 3 inputs and 5 units."""
    weights = {}
    for gate in "fiok":
        weights[gate] = random(5, 8), random(5, 1)
    kernel = np.concatenate([weights[gate][0][:, 5:].T for gate in "ifko"], axis=1)
    recurrent = np.concatenate([weights[gate][0][:, :5].T for gate in "ifko"], axis=1)
    return [kernel, recurrent, np.concatenate([weights[gate][1][:, 0] for gate in "ifko"])]


def test_the_step_of_deeplearning_ai():
    random = np.random.RandomState(1).randn
    x, a, c = random(3, 10), random(5, 10), random(5, 10)
    cell = LSTMCell(5, dtype="float64")
    cell.build((10, 3))
    cell.set_weights(drawn(random))
    y, (_, carry) = cell(x.T, [a.T, c.T])
    assert printed(y.T[4, 0], "-0.66408471") and printed(carry.T[2, 0], "0.63267805")


def test_the_sequence_of_deeplearning_ai():
    random = np.random.RandomState(1).randn
    x, a = random(3, 10, 7), random(5, 10)
    layer = LSTM(5, return_sequences=True, dtype="float64")
    layer.build((10, 7, 3))
    layer.set_weights(drawn(random))
    y = layer(x.transpose(1, 2, 0), initial_state=[a.T, np.zeros((10, 5))])
    assert printed(y[3, 6, 4], "0.172117767533")
    assert printed(layer.time_series()["c"][2, 1, 1], "-0.855544916718")
