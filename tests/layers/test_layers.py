"""The contract of a layer: call, backward, weights, shapes, masks, configuration, seeds; and what each layer does."""

import json

import numpy as np
import pytest
from cases import IDS, LAYERS, X

from rnncore import config, gradcheck
from rnncore.initializers import Constant
from rnncore.layers import LSTM, Activation, Dense, Dropout, Embedding, Layer, Masking, SimpleRNN, core
from rnncore.layers.scopes import reset_names
from rnncore.sparse import SparseGradient


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    config.set_backend("numpy")


def listed(value):
    return value if isinstance(value, list) else [value]


def upstream(y, seed=0):
    """Return a random gradient in the structure of y."""
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(part.shape) for part in listed(y)]
    return parts if isinstance(y, list) else parts[0]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("make", "x", "shape"), LAYERS.values(), ids=LAYERS)
def test_contract(make, x, shape, dtype, training):
    layer = make(dtype=dtype)
    x = x.copy()
    assert not layer.built
    y = layer(x, training=training)
    assert layer.built
    assert layer.compute_output_shape(x.shape) == shape == ([p.shape for p in y] if isinstance(y, list) else y.shape)
    assert layer.compute_output_shape((None, *x.shape[1:])) == (
        [(None, *part[1:]) for part in shape] if isinstance(shape, list) else (None, *shape[1:])
    )
    dy = upstream(y)
    kept = [part.copy() for part in listed(dy)]
    dx = layer.backward(dy)
    gradients = [np.array(gradient) for gradient in layer.get_gradients()]
    if layer.input_kind == "integer":
        assert dx is None
    else:
        assert dx.shape == x.shape
        kept_dx = dx.copy()
    arrays = [*listed(y), *gradients, *layer.get_weights(), *([] if dx is None else [dx])]
    assert {array.dtype.name for array in arrays} == {dtype}
    assert [g.shape for g in gradients] == [w.shape for w in layer.trainable_weights]
    assert layer.count_params() == sum(w.size for w in layer.get_weights())

    # backward again: the same bits, and nothing that came in has changed
    again = layer.backward(dy)
    assert dx is None or np.array_equal(again, kept_dx)
    for first, second in zip(gradients, layer.get_gradients(), strict=True):
        assert np.array_equal(first, np.asarray(second))
    np.testing.assert_equal(listed(dy), kept)

    # the weights one gets are copies
    before = [part.copy() for part in listed(y)]
    for weight in layer.get_weights():
        weight[...] = 9
    if not training:
        np.testing.assert_equal(listed(layer(x)), before)


@pytest.mark.parametrize(("make", "x", "shape"), LAYERS.values(), ids=LAYERS)
def test_configuration(make, x, shape):
    layer = make(name="one", dtype="float64")
    layer.trainable = False if "trainable" in layer.get_config() else layer.trainable
    plain = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(plain)
    assert again.get_config() == layer.get_config()
    assert (again.name, again.dtype, again.trainable) == ("one", "float64", layer.trainable)
    layer(x)
    again(x)
    again.set_weights(layer.get_weights())
    np.testing.assert_equal(listed(again(x)), listed(layer(x)))
    assert again.get_gradients() == [] if not layer.trainable else True


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("make", [Dense, LSTM, SimpleRNN, lambda n, **o: Embedding(6, n, **o)])
def test_seeds(make, seed):
    """The process's seed, or the layer's own, fixes weights and draws when the layer is made."""
    own = {"seed": seed, "dropout": 0.5} if seed is not None and make in (LSTM, SimpleRNN) else {}
    x = X if make in (Dense, LSTM, SimpleRNN) else IDS

    def run(global_seed, first=True):
        config.set_seed(global_seed)
        layers = [make(4, **own), make(4, **own)]
        for layer in layers if first else layers[::-1]:
            layer(x)
        return [[*layer.get_weights(), layer(x, training=True)] for layer in layers]

    one, again, other = run(1), run(1, first=False), run(2)
    np.testing.assert_equal(one, again)
    assert np.array_equal(one[0][0], one[1][0]) == bool(own)
    assert np.array_equal(one[0][0], other[0][0]) == bool(own)


def test_names():
    reset_names()
    names = [layer.name for layer in (LSTM(2), SimpleRNN(2), LSTM(2), LSTM(2, name="mine"), LSTM(2))]
    assert names == ["lstm", "simple_rnn", "lstm_1", "mine", "lstm_2"]


def test_building_by_hand():
    layer = LSTM(3)
    layer.build((None, None, 2))
    weights = [np.random.default_rng(0).standard_normal(w.shape) for w in layer.get_weights()]
    layer.set_weights(weights)
    layer(X)
    assert [w.shape for w in layer.get_weights()] == [(2, 12), (3, 12), (12,)]
    np.testing.assert_allclose(layer.get_weights()[0], weights[0], rtol=1e-6)
    with pytest.raises(ValueError, match="the layer was built for 2"):
        layer(X[..., :1])


def test_a_build_that_fails_leaves_nothing():
    layer = Dense(2, bias_initializer="orthogonal")
    for _ in range(2):
        with pytest.raises(ValueError, match="Orthogonal needs at least two axes"):
            layer(X)
    assert (layer.built, layer.get_weights(), layer.weight_names) == (False, [], [])


class Scaled(Layer):
    """A layer of a user: y = scale * x."""

    def build(self, input_shape):
        super().build(input_shape)
        self.add_weight((input_shape[-1],), lambda shape, dtype, rng: np.full(shape, 2, dtype), name="scale")

    def call(self, x, mask=None, training=False):
        self._x = x
        return self.scale * x

    def call_backward(self, dy):
        self.gradients = {"scale": (dy * self._x).sum(axis=(0, 1))}
        return dy * self.scale


class Twice(Scaled):
    """One that adds a weight to it, the base's first or last."""

    def build(self, input_shape):
        self.add_weight((input_shape[-1],), lambda shape, dtype, rng: np.ones(shape, dtype), name="shift")
        super().build(input_shape)

    def call(self, x, mask=None, training=False):
        return super().call(x) + self.shift

    def call_backward(self, dy):
        dx = super().call_backward(dy)
        self.gradients["shift"] = dy.sum(axis=(0, 1))
        return dx


@pytest.mark.parametrize(("layer_class", "names"), [(Scaled, ["scale"]), (Twice, ["shift", "scale"])])
def test_a_layer_of_your_own(layer_class, names):
    layer = layer_class()
    layer(X)
    assert layer.weight_names == names
    assert [w.dtype for w in layer.get_weights()] == ["float32"] * len(names)
    assert gradcheck.check_layer(layer, X).worst < 1e-7


def test_a_call_that_fails_leaves_nothing_to_go_back_through():
    class Fussy(Scaled):
        def call(self, x, mask=None, training=False):
            if training:
                raise RuntimeError("no")
            return super().call(x)

    layer = Fussy()
    y = layer(X)
    layer.backward(y)
    with pytest.raises(RuntimeError):
        layer(X[:1], training=True)
    with pytest.raises(ValueError, match="backward came before a call"):
        layer.backward(y)


# --- masks ------------------------------------------------------------------------------------------------------------

STEPS = X[..., 0] > 0


@pytest.mark.parametrize(
    ("layer", "x", "mask", "expected"),
    [
        (Embedding(6, 2), IDS, None, None),
        (Embedding(6, 2, mask_zero=True), IDS, None, IDS != 0),
        (Embedding(6, 2, mask_zero=True), IDS, STEPS, IDS != 0),
        (Masking(), np.where(STEPS[..., None], X, 0), None, STEPS),
        (Dense(2), X, STEPS, STEPS),
        (Activation("tanh"), X, STEPS, STEPS),
        (Dropout(0.5), X, STEPS, STEPS),
        (LSTM(2), X, STEPS, None),
        (LSTM(2, return_sequences=True), X, STEPS, STEPS),
        (SimpleRNN(2, return_sequences=True), X, None, None),
    ],
)
def test_masks_that_go_on(layer, x, mask, expected):
    layer(x, mask=mask)
    found = layer.compute_mask(x, mask)
    assert (found is None) == (expected is None)
    assert found is None or np.array_equal(found, expected)


def test_masking_needs_all_features():
    x = np.array([[[7.0, 7.0], [7.0, 1.0], [0.0, 0.0]]])
    layer = Masking(7.0)
    assert layer(x).tolist() == [[[0, 0], [7, 1], [0, 0]]]
    assert layer.compute_mask(x).tolist() == [[False, True, True]]
    assert layer.backward(np.ones_like(x)).tolist() == [[[0, 0], [1, 1], [1, 1]]]


@pytest.mark.parametrize("mask", [STEPS.astype(int), STEPS.astype(float), STEPS.tolist()])
def test_masks_of_zeros_and_ones(mask):
    layer = LSTM(2)
    assert np.array_equal(layer(X, mask=mask), layer(X, mask=STEPS))


# --- what each layer does ---------------------------------------------------------------------------------------------


def test_dense():
    layer = Dense(3, "sigmoid", dtype="float64")
    y = layer(X)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-(X @ layer.kernel + layer.bias))), rtol=1e-15)


@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("units", [1, 3, 9])
@pytest.mark.parametrize("small", [0, 10**9], ids=["kernels", "plain"])
def test_dense_goes_back_in_the_same_way_whatever_its_size(small, units, use_bias, backend, monkeypatch):
    config.set_backend(backend)
    monkeypatch.setattr(core, "SMALL", small)
    x, dy = np.arange(70.0).reshape(5, 7, 2) / 70, np.cos(np.arange(35.0 * units)).reshape(5, 7, units)
    layer = Dense(units, use_bias=use_bias, dtype="float64")
    layer(x)
    found = [layer.backward(dy), *layer.get_gradients()]
    expected = [dy @ layer.kernel.T, np.einsum("bti,btj->ij", x, dy), dy.sum(axis=(0, 1))]
    for ours, right in zip(found, expected[: 2 + use_bias], strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("ids", [IDS, IDS[0], IDS.astype("int8"), IDS.astype("float64"), IDS.tolist()])
def test_embedding(ids):
    layer = Embedding(6, 3, embeddings_initializer="normal")
    y = layer(ids)
    assert np.array_equal(y, layer.embeddings[np.asarray(ids, int)])
    dy = upstream(y)
    layer.backward(dy)
    (gradient,) = layer.get_gradients()
    assert isinstance(gradient, SparseGradient)
    assert gradient.unique.tolist() == sorted(set(np.asarray(ids, int).ravel().tolist()))
    dense = np.zeros((6, 3))
    np.add.at(dense, np.asarray(ids, int), dy)
    np.testing.assert_allclose(np.asarray(gradient), dense, atol=1e-6)


def test_embedding_starts_small():
    layer = Embedding(300, 20)
    layer([0])
    assert 0.049 < np.abs(layer.embeddings).max() <= 0.05


def test_dropout():
    x = np.ones((40, 50, 3))
    layer = Dropout(0.25, seed=1)
    assert np.array_equal(layer(x), x)
    assert np.array_equal(layer.backward(x), x)
    y = layer(x, training=True)
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert y.mean() == pytest.approx(1, abs=0.02)
    assert np.array_equal(layer.backward(x), y)
    assert not np.array_equal(layer(x, training=True), y)
    assert np.array_equal(Dropout(0.25, seed=1)(x, training=True), y)
    shared = Dropout(0.5, noise_shape=(None, 1, 3))(x, training=True)
    assert np.array_equal(shared, np.broadcast_to(shared[:, :1], x.shape))
    assert 0 < shared.mean() < 2


def test_starting_weights():
    layer = LSTM(3)
    layer(X)
    assert layer.bias.tolist() == [0] * 3 + [1] * 3 + [0] * 6  # i, f, k, o: the forget gate starts open
    recurrent = layer.recurrent_kernel.astype(float)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(3), atol=1e-6)  # of the whole (H, 4H)
    assert np.abs(layer.kernel).max() <= np.sqrt(6 / (2 + 12))  # of the whole (D, 4H)
    plain = LSTM(3, unit_forget_bias=False, bias_initializer="ones")
    plain(X)
    assert plain.bias.tolist() == [1] * 12
    for start, forget in ((True, 1), (-1.5, -1.5), (0.0, 0)):  # whatever bias_initializer says, as in Keras
        layer = LSTM(3, unit_forget_bias=start, bias_initializer=Constant(2))
        layer(X)
        assert layer.bias.tolist() == [2] * 3 + [forget] * 3 + [2] * 6


@pytest.mark.parametrize("layer_class", [SimpleRNN, LSTM])
def test_outputs_and_states(layer_class):
    layer = layer_class(3, return_sequences=True, return_state=True, dtype="float64")
    last = layer_class(3, dtype="float64")
    y, *states = layer(X)
    last(X)
    last.set_weights(layer.get_weights())
    assert np.array_equal(last(X), y[:, -1])
    assert np.array_equal(states[0], y[:, -1])
    # in two halves, the second from where the first ended
    half, *middle = layer(X[:, :2])
    rest, *end = layer(X[:, 2:], initial_state=middle)
    np.testing.assert_allclose(np.concatenate([half, rest], axis=1), y, rtol=1e-14)
    np.testing.assert_allclose(end, states, rtol=1e-14)
    layer(X, initial_state=[np.ones((3, 3))] * len(states))
    layer.backward([None, *[np.ones((3, 3))] * len(states)])
    assert [gradient.shape for gradient in layer.state_gradients] == [(3, 3)] * len(states)


@pytest.mark.parametrize("layer_class", [SimpleRNN, LSTM])
def test_backwards(layer_class):
    forward = layer_class(3, return_sequences=True)
    backward = layer_class(3, return_sequences=True, go_backwards=True)
    forward(X)
    backward(X)
    backward.set_weights(forward.get_weights())
    y = forward(X[:, ::-1])
    assert np.array_equal(backward(X), y)  # in the order taken, as Keras
    dy = upstream(y)
    assert np.array_equal(backward.backward(dy), forward.backward(dy)[:, ::-1])


def test_gradients_are_those_of_the_last_backward():
    layer = Dense(2)
    layer(X)
    layer.backward(np.ones((3, 4, 2)))
    first = [g.copy() for g in layer.get_gradients()]
    layer(2 * X)
    layer.backward(np.ones((3, 4, 2)))
    np.testing.assert_allclose(layer.get_gradients()[0], 2 * first[0], rtol=1e-6)
    np.testing.assert_allclose(layer.get_gradients()[1], first[1], rtol=1e-6)
    assert Dense(2, trainable=False).get_gradients() == []


@pytest.mark.parametrize("units", [1, 3])
def test_bits_of_a_row_do_not_depend_on_the_rows_beside_it(units):
    config.set_backend("numba")
    layer, x = Dense(units), np.random.default_rng(0).normal(size=(37, 129)).astype("f")
    y = layer(x)
    np.testing.assert_array_equal(np.concatenate([layer(x[n : n + 1]) for n in range(len(x))]), y)
    np.testing.assert_array_equal(layer(x[5:]), y[5:])
    np.testing.assert_allclose(y, x.astype("d") @ layer.kernel, rtol=1e-5, atol=1e-5)
