"""Look-ups by id: their groups, and their sums, compiled and by NumPy."""

import numpy as np
import pytest
from cases import SEED

from rnncore import Sequential, config
from rnncore.bptt.run import Inputs
from rnncore.compiler import pool
from rnncore.kernels import lookups
from rnncore.kernels.lookups import grouped
from rnncore.kernels.updates import size, square
from rnncore.layers import GRU, LSTM, Bidirectional, Dense, Embedding, SimpleRNN, embedding
from rnncore.sparse import EmbeddedRows, SparseGradient
from rnncore.utils import set_random_seed

ROWS, STEPS = 13, 9

RNG = np.random.default_rng(0)
IDS = {
    "none": np.array([], np.int64),
    "zero": np.array([0]),
    "few": RNG.integers(0, 5, 40),
    "16 bits": RNG.integers((1 << 16) - 30, 1 << 16, 300),
    "17 bits": RNG.integers((1 << 16) - 30, (1 << 16) + 30, 300),
    "words": RNG.zipf(1.3, 2000) % 20_000,
    "large": RNG.integers(0, 2**40, 500)[RNG.integers(0, 500, 900)],
    "int32": RNG.integers(0, 9000, 50).astype("int32"),
    "every other": RNG.integers(0, 9000, 50)[::2],
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_groups(ids):
    groups = grouped(ids)
    assert all(array.dtype == np.int64 for array in groups)
    assert np.array_equal(groups.ids, np.unique(ids))
    assert np.array_equal(groups.ids[groups.inverse], ids)
    assert np.array_equal(ids[groups.order], np.sort(ids))
    for n, (start, end) in enumerate(zip(groups.starts, groups.starts[1:], strict=False)):
        assert np.array_equal(groups.order[start:end], np.flatnonzero(ids == groups.ids[n]))


@pytest.mark.parametrize("moment", [square, size])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_sums(ids, dtype, moment, monkeypatch):
    monkeypatch.setattr(pool, "_WORTH_A_THREAD", 1)
    rows = RNG.normal(size=(len(ids), 5)).astype(dtype)
    config.set_threads(2)
    (compiled,) = pool.run(lookups.summing(rows, lookups.grouped(ids), moment))
    config.set_backend("numpy")
    (plain,) = pool.run(lookups.summing(rows, lookups.grouped(ids), moment))
    for ours, theirs, part in zip(compiled, plain, (rows, moment(rows)), strict=True):
        assert ours.dtype == dtype and np.array_equal(ours, theirs)
        by_hand = [part[ids == id_].sum(axis=0) for id_ in np.unique(ids)]
        np.testing.assert_allclose(ours, np.reshape(by_hand, (-1, 5)), rtol=1e-5, atol=1e-5)


def test_row_gradient():
    ids, rows = np.array([4, 1, 4]), np.array([[1.0, 2], [3, 4], [-2, 7]])
    gradient = SparseGradient(ids, rows, (6, 2))
    assert gradient.unique.tolist() == [1, 4] and gradient.sums().tolist() == [[3, 4], [-1, 9]]
    assert pool.run(gradient.summing(size))[0][1].tolist() == [[3, 4], [3, 9]]
    assert np.asarray(gradient).tolist() == [[0, 0], [3, 4], [0, 0], [0, 0], [-1, 9], [0, 0]]


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
    found = EmbeddedRows(table[groups.ids], groups, ids.shape)
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


def trained(backend, summed, dropout):
    """Return the weights after steps on ids, some of which are padding."""
    config.set_backend(backend)
    set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    x, y = rng.integers(0, 20, (3 * ROWS, STEPS)), rng.integers(0, 2, 3 * ROWS)
    layers = [
        Embedding(20, 5, mask_zero=True, dense_gradient=summed, dtype="float64"),
        LSTM(6, dropout=dropout, recurrent_dropout=dropout, dtype="float64"),
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
