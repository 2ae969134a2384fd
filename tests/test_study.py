"""What the study reads out of a model is what happened, and what a small change of a state would do to the loss."""

import numpy as np
import pytest
from cases import SEED, masks, randomize

from rnncore import Sequential, config, study
from rnncore.layers import LSTM, Dense, Embedding, SimpleRNN

ROWS, STEPS, UNITS = 3, 5, 4


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.fixture(params=config.BACKENDS)
def model(request):
    config.set_backend(request.param)
    model = Sequential([LSTM(UNITS, dtype="float64", name="memory"), Dense(1, activation="sigmoid", dtype="float64")])
    model.compile("sgd", "binary_crossentropy")
    model.build((None, STEPS, 2))
    randomize(model, np.random.default_rng(SEED), 1.0)
    return model


@pytest.fixture
def data():
    rng = np.random.default_rng(SEED)
    return rng.standard_normal((ROWS, STEPS, 2)), rng.integers(0, 2, ROWS)


def test_trace_is_the_lectures_recurrence(model, data):
    x, _ = data
    seen = study.trace(model, x)["memory"]
    kernel, recurrent, bias = model.layers[0].get_weights()
    h = c = np.zeros((ROWS, UNITS))
    for t in range(STEPS):
        z_i, z_f, z_k, z_o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        i, f, k, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_k), sigmoid(z_o)
        c = i * k + f * c
        h = o * np.tanh(c)
        for name, value in {"i": i, "f": f, "k": k, "o": o, "c": c, "h": h}.items():
            np.testing.assert_allclose(seen[name][:, t], value, rtol=1e-12, atol=1e-14)


def test_trace_follows_the_order_of_x_and_masked_steps_are_nan(data):
    x, _ = data
    mask = masks("holes", ROWS, STEPS, np.random.default_rng(SEED))
    assert not mask.all()
    forward, backward = LSTM(UNITS, seed=1, name="there"), LSTM(UNITS, seed=1, go_backwards=True, name="back")
    there = study.trace(forward, x[:, ::-1], mask=mask[:, ::-1])["there"]
    back = study.trace(backward, x, mask=mask)["back"]
    for name, values in there.items():
        np.testing.assert_array_equal(values[:, ::-1], back[name])
    for values in back.values():
        np.testing.assert_array_equal(np.isnan(values).all(axis=-1), ~mask)


def test_gradient_flow_is_the_derivative_of_the_loss_by_a_state(model, data):
    """dL/dc_t, dL/dh_t by moving a state: run the first t steps, then the rest from the states so changed."""
    x, y = data
    flow = study.gradient_flow(model, x, y)["memory"]
    layer, dense = model.layers
    states = study.trace(model, x)["memory"]

    def loss(t, h, c):
        return model.loss(y, dense(layer(x[:, t + 1 :], initial_state=[h, c])))

    step = 1e-6
    for t in range(STEPS - 1):
        h, c = states["h"][:, t], states["c"][:, t]
        derivative = {"h": np.empty_like(h), "c": np.empty_like(c)}
        for index in np.ndindex(h.shape):
            e = np.zeros_like(h)
            e[index] = step
            derivative["h"][index] = (loss(t, h + e, c) - loss(t, h - e, c)) / (2 * step)
            # c_t is seen in h_t = o tanh(c_t) as well as in step t + 1
            o = states["o"][:, t]
            up, down = (loss(t, o * np.tanh(c + s * e), c + s * e) for s in (1, -1))
            derivative["c"][index] = (up - down) / (2 * step)
        for name, values in derivative.items():
            np.testing.assert_allclose(flow[f"d{name}"][:, t], np.linalg.norm(values, axis=-1), rtol=1e-6)
    assert (flow["dc"][:, -1] > 0).all()


def test_stacked_masked_layers_are_all_seen():
    model = Sequential(
        [Embedding(9, 3, mask_zero=True), SimpleRNN(4, return_sequences=True), LSTM(2), Dense(1, activation="sigmoid")]
    )
    model.compile("sgd", "binary_crossentropy")
    x = np.array([[1, 2, 3, 0], [4, 0, 0, 0]])
    flow = study.gradient_flow(model, x, np.array([0, 1]))
    assert [sorted(series) for series in flow.values()] == [["dh"], ["dc", "dh"]]
    assert all(series["dh"].shape == (2, 4) for series in flow.values())
    np.testing.assert_array_equal(np.isnan(flow[model.layers[2].name]["dh"]), x == 0)


def test_a_model_without_recurrent_layers_is_refused():
    with pytest.raises(ValueError, match="no recurrent layer"):
        study.trace(Sequential([Dense(1)]), np.ones((2, 3)))
