"""Every gradient of every recurrent layer against its definition, in float64, all entries."""

import dataclasses
import inspect

import numpy as np
import pytest
from cases import PATTERNS, SEED, masks, randomize

from rnncore import Sequential, config, gradcheck
from rnncore.activations import ACTIVATIONS, Activation, sigmoid
from rnncore.cells import LSTM as LSTM_CELL
from rnncore.cells import lstm
from rnncore.layers import LSTM, Dense, Dropout, Embedding, Layer, LSTMCell, Masking, SimpleRNN
from rnncore.layers import Activation as ActivationLayer

OPTIONS = {
    "last output": {},
    "all outputs": {"return_sequences": True},
    "states too": {"return_sequences": True, "return_state": True},
    "backwards": {"return_sequences": True, "go_backwards": True, "return_state": True},
    "no bias": {"use_bias": False},
    "dropout": {"return_sequences": True, "dropout": 0.3},
    "both dropouts": {"return_sequences": True, "dropout": 0.3, "recurrent_dropout": 0.4},
    "zeroed": {"return_sequences": True, "zero_output_for_mask": True},
}
SIZES = {
    "odd": (3, 4, 2, 3),
    "T = 1": (2, 1, 3, 2),
    "B = 1": (1, 3, 2, 3),
    "units = 1": (2, 3, 1, 1),
    "five rows": (5, 2, 2, 2),
}


def checked(layer_class, options, pattern, sizes=(3, 4, 2, 3), method="central", seed=SEED):
    """Return the report on a layer with random weights, input, mask and initial states."""
    rng = np.random.default_rng(seed)
    rows, steps, features, units = sizes
    layer = layer_class(units, dtype="float64", **options)
    x = rng.standard_normal((rows, steps, features))
    layer(x)
    randomize(layer, rng)
    states = [rng.standard_normal((rows, units)) for _ in layer.cell.state_size]
    training = bool(options.get("dropout") or options.get("recurrent_dropout"))
    mask = masks(pattern, rows, steps, rng)
    return gradcheck.check_layer(layer, x, mask, training=training, initial_state=states, method=method)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("layer_class", [SimpleRNN, LSTM])
@pytest.mark.parametrize("backend", config.BACKENDS)
def test_options_and_masks(backend, layer_class, options, pattern):
    config.set_backend(backend)
    report = checked(layer_class, options, pattern)
    names = ["kernel", "recurrent_kernel", *layer_class.cell_class.equations.extra, "bias"]
    weights = names[: len(names) - (not options.get("use_bias", True))]
    states = [f"initial_state[{n}]" for n in range(len(layer_class.cell_class.equations.states))]
    assert [row.name for row in report.rows] == [*weights, "x", *states]
    assert report.worst < 1e-7, str(report)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("layer_class", [SimpleRNN, LSTM])
@pytest.mark.parametrize("backend", config.BACKENDS)
def test_sizes(backend, layer_class, sizes):
    config.set_backend(backend)
    report = checked(layer_class, OPTIONS["states too"], "holes", sizes)
    assert report.worst < 1e-7, str(report)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("options", [OPTIONS["states too"], OPTIONS["both dropouts"]], ids=["plain", "dropped"])
@pytest.mark.parametrize("layer_class", [SimpleRNN, LSTM])
def test_by_complex_step(layer_class, options, pattern):
    report = checked(layer_class, options, pattern, method="complex")
    assert report.worst < 1e-12, str(report)


@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize(
    ("layer_class", "activations"),
    [
        (SimpleRNN, {"activation": "relu"}),
        (LSTM, {"activation": "linear", "recurrent_activation": "hard_sigmoid"}),
        (LSTM, {"activation": "softmax", "recurrent_activation": "tanh"}),
    ],
)
def test_activations(backend, layer_class, activations):
    config.set_backend(backend)
    report = checked(layer_class, {**activations, "return_sequences": True}, "holes")
    assert report.worst < 1e-7, str(report)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_layer(name):
    x = np.random.default_rng(SEED).standard_normal((3, 4))
    assert gradcheck.check_layer(ActivationLayer(name), x, step=1e-5).worst < 1e-7  # small, for the kinks


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (Dense(3, activation="tanh", bias_initializer="random_normal"), "floats (4, 5)"),
        (Dense(2, activation="softmax"), "floats (2, 3, 4)"),
        (Dense(2, use_bias=False), "floats (2, 3, 4)"),
        (Dropout(0.4, seed=1), "floats (4, 5)"),
        (Dropout(0.4, noise_shape=(None, 1, None), seed=1), "floats (2, 3, 4)"),
        (Masking(0.0), "floats (2, 3, 4)"),
        (Embedding(6, 3), "ids (4, 5)"),
        (Embedding(6, 3, mask_zero=True), "ids (7,)"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_other_layers(layer, x):
    kind, shape = x.split(" ", 1)
    rng = np.random.default_rng(SEED)
    shape = eval(shape)
    x = rng.standard_normal(shape) if kind == "floats" else rng.integers(0, 6, shape)
    report = gradcheck.check_layer(layer, x, training=True)
    assert {row.name for row in report.rows} == set(layer.weight_names) | ({"x"} if kind == "floats" else set())
    assert report.worst < 1e-7, str(report)


@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize(
    ("last", "loss", "targets"),
    [
        (Dense(1, activation="sigmoid"), "binary_crossentropy", 2),
        (Dense(3, activation="softmax"), "sparse_categorical_crossentropy", 3),
        (Dense(1), "mean_squared_error", 2),
    ],
)
def test_models(backend, last, loss, targets):
    config.set_backend(backend)
    rng = np.random.default_rng(SEED)
    sequences = loss == "sparse_categorical_crossentropy"
    recurrent = [LSTM(3, return_sequences=True), Dropout(0.3), SimpleRNN(2, return_sequences=sequences)]
    model = Sequential([Embedding(7, 3, mask_zero=True), *recurrent, last])
    model.compile("sgd", loss)
    x, y = rng.integers(0, 7, (4, 5)), rng.integers(0, targets, (4, 5) if sequences else 4)
    model.predict(x)
    randomize(model, rng)
    report = gradcheck.check_model(model, x, y, sample_weight=rng.random(4), training=True)
    assert len(report.rows) == len(model.get_weights())
    assert report.worst < 1e-7, str(report)


def test_the_check_leaves_the_layer_as_it_was():
    layer = LSTM(2, dropout=0.5, seed=3)
    x = np.ones((2, 3, 2), np.float32)
    layer(x)
    before, draws = layer.get_weights(), layer.generator.bit_generator.state
    gradcheck.check_layer(layer, x, training=True)
    assert layer.dtype == "float32"
    assert all(np.array_equal(a, b) and b.dtype == np.float32 for a, b in zip(before, layer.get_weights(), strict=True))
    assert layer.generator.bit_generator.state == draws


# --- the check itself must fail when a backward is wrong --------------------------------------------------------

WRONG = {
    "a sign": ("dc_prev = dc * f", "dc_prev = -dc * f"),
    "a swapped gate": ("return dz_i, dz_f, dz_k", "return dz_f, dz_i, dz_k"),
    "a forgotten path": ("dc = dc + d_tanh(dh * o, a, c)", "dc = d_tanh(dh * o, a, c)"),
    "the wrong time": ("df = dc * c_prev", "df = dc * c"),
    "a forgotten derivative": ("dz_o = d_sigmoid(do, o, z_o)", "dz_o = do"),
}


@pytest.mark.parametrize(
    ("backend", "change"),
    [*(("numpy", change) for change in WRONG.values()), ("numba", WRONG["a sign"])],
    ids=[*WRONG, "a sign, compiled"],
)
def test_a_wrong_backward_is_found(backend, change, broken_lstm):
    config.set_backend(backend)
    report = checked(broken_lstm(*change), OPTIONS["all outputs"], "none")
    assert report.worst > 1e-3
    assert "worst" in str(report)


@pytest.fixture
def broken_lstm():
    """Return a maker of LSTM layers whose step_backward has one line changed."""

    def make(right, wrong):
        source = inspect.getsource(lstm.step_backward)
        assert source.count(right) == 1
        space = dict(vars(lstm))
        exec(source.replace(right, wrong), space)
        space["step_backward"].__module__ = "tests"  # not the package's: kept out of the disk cache
        stage = dataclasses.replace(LSTM_CELL.stages[0], step_backward=space["step_backward"])
        cell = type("BrokenCell", (LSTMCell,), {"equations": dataclasses.replace(LSTM_CELL, stages=(stage,))})
        return type("BrokenLSTM", (LSTM,), {"cell_class": cell})

    return make


class Scale(Layer):
    """A user's own layer: y = x * scale, with a backward that can be wrong."""

    right = True

    def build(self, input_shape):
        self.add_weight("scale", (input_shape[-1],), lambda shape, dtype, rng: np.full(shape, 1.5, dtype))

    def call(self, x, mask=None, training=False):
        self._x = x
        return x * self.scale

    def call_backward(self, dy):
        self.gradients = {"scale": (dy * self._x).reshape(-1, len(self.scale)).sum(axis=0)}
        return dy * self.scale if self.right else dy


def test_a_layer_of_ones_own():
    x = np.random.default_rng(SEED).standard_normal((3, 4))
    layer = Scale()
    assert gradcheck.check_layer(layer, x).worst < 1e-9
    layer.right = False
    report = gradcheck.check_layer(layer, x)
    worst = max(report.rows, key=lambda row: row.error)
    assert worst.name == "x"
    assert worst.analytic * 1.5 == pytest.approx(worst.numerical)


def swish(z):
    return z * sigmoid(z)


def d_swish(dy, y, z):
    s = sigmoid(z)
    return dy * (s + y * (1 - s))


@pytest.mark.parametrize("backend", config.BACKENDS)
def test_an_activation_of_ones_own(backend):
    config.set_backend(backend)
    own = Activation("own", swish, d_swish, needs_input=True)
    report = checked(LSTM, {"activation": own, "return_sequences": True}, "holes")
    assert report.worst < 1e-7, str(report)
