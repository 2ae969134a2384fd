"""The hoisted products: compiled against NumPy, whatever is looked up, dropped, masked; tokens once; rows by length."""

import itertools

import numpy as np
import pytest
from cases import SEED

from rnncore import Sequential, config
from rnncore.kernels import threads
from rnncore.kernels.compiled_products import CompiledProducts
from rnncore.kernels.lookups import grouped, taken
from rnncore.kernels.products import Inputs, NumpyProducts
from rnncore.layers import GRU, LSTM, Bidirectional, Dense, Embedding, SimpleRNN, embedding
from rnncore.sparse import LookUps

STEPS, ROWS, FEATURES, UNITS, GATES = 267, 13, 19, 35, 3  # a row has more steps than a chunk
POSITIONS = STEPS * ROWS
KINDS = list(itertools.product(("all", "some", "none"), ("dense", "looked up"), (0, 1, GATES)))


def computed(products, dtype, positions, kind, drops):
    """Return by name what every product gives for random arrays."""
    rng = np.random.default_rng(SEED)

    def random(*shape):
        return rng.standard_normal(shape).astype(dtype)

    valid = {"all": None, "some": np.flatnonzero(rng.random(POSITIONS) < 0.6), "none": np.empty(0, int)}[positions]
    taken = np.arange(POSITIONS) if valid is None else valid
    place = rng.integers(0, 40, POSITIONS) if kind == "looked up" else None
    drop = (rng.random((drops, ROWS, FEATURES)) < 0.8).astype(dtype) * random(1) if drops else None
    bare = Inputs(random(40 if kind == "looked up" else POSITIONS, FEATURES), place)
    inputs = products.dropped(bare, drop, POSITIONS, valid)
    weights, bias, dz = random(GATES, FEATURES, UNITS), random(GATES, UNITS), random(GATES, POSITIONS, UNITS)
    to = rng.permutation(len(taken))
    out = np.zeros((GATES, POSITIONS, UNITS), dtype)
    beside = np.ones((FEATURES, 3 * UNITS), dtype)
    bias_gradient, bias_beside = np.ones(GATES * UNITS, dtype), np.ones(3 * UNITS, dtype)
    turned = np.ascontiguousarray(weights.swapaxes(1, 2))
    side_by_side = random(FEATURES, GATES * UNITS)
    jobs = {
        "split": products.split(side_by_side, GATES),
        "view": products.split(side_by_side, GATES, 1),
        "turned": products.turned(side_by_side, GATES),
        "projected": products.project(inputs, weights, bias, valid, out),
        "from a view": products.project(bare, products.split(side_by_side, GATES, 1).out, bias, valid, 0 * out),
        "weights": products.weight_gradients(
            inputs, dz, valid, np.zeros((FEATURES, GATES * UNITS), dtype), bias_gradient
        ),
        "beside": products.weight_gradients(bare, dz[:1], valid, beside, bias_beside, UNITS),
        "no bias": products.weight_gradients(inputs, dz, valid, np.zeros((FEATURES, GATES * UNITS), dtype)),
        "in place": products.input_gradients(dz, turned, drop, valid, None, np.zeros((POSITIONS, FEATURES), dtype)),
        "moved": products.input_gradients(dz, turned, drop, valid, to, np.zeros((len(taken), FEATURES), dtype)),
    }
    jobs["added"] = products.added(random(FEATURES * UNITS), random(FEATURES * UNITS))
    if drops:
        drop_h = (rng.random((GATES, ROWS, UNITS)) < 0.8).astype(dtype) * random(1)
        both = products.dropped(Inputs(random(POSITIONS, UNITS)), drop_h, POSITIONS, valid)
        together = np.ones((FEATURES + UNITS, GATES * UNITS), dtype)
        jobs["of both"] = products.weight_gradients(inputs, dz, valid, together, bias_gradient, beside=both)
    if kind == "looked up":
        jobs["of the rows"] = products.row_gradients(bare, dz, turned, valid)
    found = dict(zip(jobs, threads.run(*jobs.values()), strict=True))
    return {**found, "bias": bias_gradient, "bias beside": bias_beside}


@pytest.mark.parametrize(("positions", "kind", "drops"), KINDS)
def test_compiled_equals_numpy(positions, kind, drops):
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        ours, plain = (computed(p, dtype, positions, kind, drops) for p in (CompiledProducts, NumpyProducts))
        for name, array in plain.items():
            assert ours[name].dtype == array.dtype == dtype, name
            scale = np.abs(array).max(initial=0)
            np.testing.assert_allclose(ours[name], array, rtol=tolerance, atol=tolerance * scale, err_msg=name)
        assert positions == "none" or all(np.abs(array).max() > 0 for array in plain.values())


@pytest.mark.parametrize("positions", ["all", "some"])
@pytest.mark.parametrize("kind", ["dense", "looked up"])
def test_the_number_of_threads_changes_no_bit(kind, positions, monkeypatch):
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1)
    results = []
    for count in (1, 2, 3, 7):
        config.set_threads(count)
        results.append(computed(CompiledProducts, "float32", positions, kind, 1))
    for other in results[1:]:
        for name, array in results[0].items():
            np.testing.assert_array_equal(other[name], array, err_msg=name)


def gradients_of(layers, x, y, monkeypatch, distinct):
    """Return loss, input-side and other gradients of a model, with each token multiplied once or at every place."""
    config.set_seed(3)
    if not distinct:
        monkeypatch.setattr(Inputs, "comes_again", lambda self, positions: False)
    monkeypatch.setattr(embedding, "MANY", 1)
    model = Sequential([Embedding(12, 5, mask_zero=True, dtype="float64"), *layers()])
    model.compile("sgd", "binary_crossentropy")
    model.build(x.shape)
    value, gradient = model.loss_and_gradient(y, model.forward(x, training=True))
    model.backward_from_loss(gradient)
    monkeypatch.undo()
    return [value, *map(np.asarray, model.get_gradients())]


@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize("padding", ["none", "right", "holes", "empty row"])
@pytest.mark.parametrize(
    "layers",
    [
        lambda: [LSTM(4, dtype="float64")],
        lambda: [SimpleRNN(4, dtype="float64", go_backwards=True)],
        lambda: [Bidirectional(GRU(4, dtype="float64", return_sequences=True)), LSTM(3, dtype="float64")],
        lambda: [Bidirectional(LSTM(3, dtype="float64", return_state=False), merge_mode="sum")],
    ],
    ids=["LSTM", "SimpleRNN backwards", "Bidirectional GRU", "Bidirectional LSTM"],
)
def test_distinct_tokens_change_nothing(layers, padding, backend, monkeypatch):
    config.set_backend(backend)
    rng = np.random.default_rng(SEED)
    x = rng.integers(1, 12, (7, 9))
    if padding == "right":
        x[np.arange(9) >= rng.integers(1, 10, (7, 1))] = 0
    elif padding != "none":
        x[rng.random(x.shape) < 0.4] = 0
    if padding == "empty row":
        x[3] = 0
    y = rng.integers(0, 2, (7, 1)).astype(float)

    def whole():
        return [*layers(), Dense(1, activation="sigmoid", dtype="float64")]

    once, every = (gradients_of(whole, x, y, monkeypatch, distinct) for distinct in (True, False))
    assert len(once) == len(every) > 4
    for one, other in zip(once, every, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_look_ups_are_the_rows_looked_up():
    rng = np.random.default_rng(SEED)
    table, ids = rng.standard_normal((9, 4)).astype("float32"), rng.integers(0, 9, (3, 5))
    groups = grouped(ids.reshape(-1))
    found = LookUps(taken(table, groups.ids), groups, ids.shape)
    assert (found.shape, found.ndim, found.dtype, len(found)) == ((3, 5, 4), 3, np.float32, 3)
    np.testing.assert_array_equal(np.asarray(found), table[ids])
    before = table[ids]
    table += 1
    np.testing.assert_array_equal(np.asarray(found), before)


@pytest.mark.parametrize("backend", config.BACKENDS)
def test_the_order_of_rows_does_not_show(backend):
    config.set_backend(backend)
    rng = np.random.default_rng(SEED)
    lengths = np.array([3, 9, 1, 0, 7, 9, 2])
    mask = np.arange(9) < lengths[:, None]
    x, dy = rng.standard_normal((7, 9, 4)), rng.standard_normal((7, 9, 5))
    layer = LSTM(5, dtype="float64", return_sequences=True, return_state=True)
    y, *states = layer(x, mask=mask)
    dx = layer.backward([dy, None, None])
    series, initial = layer.time_series(), layer.state_gradients
    for row, length in enumerate(lengths):
        alone, *last = layer(x[row : row + 1], mask=mask[row : row + 1])
        np.testing.assert_allclose(alone[0], y[row], rtol=1e-12)
        np.testing.assert_allclose([s[0] for s in last], [s[row] for s in states], rtol=1e-12)
        np.testing.assert_allclose(layer.backward([dy[row : row + 1], None, None])[0], dx[row], rtol=1e-11, atol=1e-13)
        own = layer.time_series()
        for name in ("i", "h", "c", "dh", "dz_k"):
            np.testing.assert_allclose(own[name][0], series[name][row], rtol=1e-11, atol=1e-13, err_msg=name)
        assert not series["i"][row, length:].any()
        assert not series["dz_k"][row, length:].any()
        np.testing.assert_allclose([g[0] for g in layer.state_gradients], [g[row] for g in initial], rtol=1e-11)
