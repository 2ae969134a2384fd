"""Every gradient of every recurrent layer against its definition, in float64, all entries."""

import dataclasses
import inspect
import itertools
import random
from typing import NamedTuple

import numpy as np
import pytest
from cases import PATTERNS, RUN_SEED, SEED, few_at_first, masks, randomize

from rnncore import Sequential, config, gradcheck
from rnncore.activations import ACTIVATIONS, Activation, sigmoid
from rnncore.cells import LSTM as LSTM_CELL
from rnncore.cells import lstm
from rnncore.layers import (
    ELU,
    GRU,
    LSTM,
    RNN,
    AveragePooling1D,
    BatchNormalization,
    Bidirectional,
    CarryRNN,
    CarryRNNCell,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    Layer,
    LeakyReLU,
    LSTMCell,
    Masking,
    MaxPooling1D,
    ReLU,
    SimpleRNN,
    SimpleRNNCell,
    Softmax,
    StackedRNNCells,
    TimeDistributed,
)
from rnncore.layers import Activation as ActivationLayer
from rnncore.regularizers import L1L2, L2, OrthogonalRegularizer

LAYERS = {
    "SimpleRNN": (SimpleRNN, {}),
    "LSTM": (LSTM, {}),
    "GRU": (GRU, {}),
    "GRU reset before": (GRU, {"reset_after": False}),
    "CarryRNN": (CarryRNN, {}),
}
OPTIONS = {
    "last output": {},
    "all outputs": {"return_sequences": True},
    "states too": {"return_sequences": True, "return_state": True},
    "last and states": {"return_state": True},
    "backwards": {"return_sequences": True, "go_backwards": True, "return_state": True},
    "no bias": {"use_bias": False},
    "dropout": {"return_sequences": True, "dropout": 0.3},
    "both dropouts": {"return_sequences": True, "dropout": 0.3, "recurrent_dropout": 0.4},
    "zeroed": {"return_sequences": True, "zero_output_for_mask": True},
    "penalties": {
        "kernel_regularizer": "l2",
        "recurrent_regularizer": OrthogonalRegularizer(0.1),
        "bias_regularizer": L1L2(0.1, 0.2),
        "activity_regularizer": L2(0.3),
        "return_sequences": True,
    },
    "merged": {"bidirectional": "concat", "return_sequences": True},
    "multiplied": {"bidirectional": "mul", "return_state": True},
    "two lists": {"bidirectional": None, "return_sequences": True},
    "averaged": {"bidirectional": "ave"},
}
SIZES = {
    "odd": (3, 4, 2, 3),
    "T = 1": (2, 1, 3, 2),
    "B = 1": (1, 3, 2, 3),
    "units = 1": (2, 3, 1, 1),
    "five rows": (5, 2, 2, 2),
}


class Check(NamedTuple):
    """One gradient check."""

    layer: str
    options: dict
    pattern: str = "holes"
    sizes: tuple = SIZES["odd"]
    backend: str = "numpy"
    method: str = "auto"

    def run(self, seed=SEED, cell_class=None):
        """Return the report on a layer with random weights, input, mask and initial states."""
        config.set_backend(self.backend)
        rng = np.random.default_rng(seed)
        rows, steps, features, units = self.sizes
        layer_class, own = LAYERS[self.layer]
        options = {**own, **self.options}
        bidirectional = options.pop("bidirectional", False)
        layer_class = cell_class or layer_class
        layer = layer_class(units, dtype="float64", **options)
        if bidirectional is not False:
            layer = Bidirectional(layer, merge_mode=bidirectional)
        x = rng.standard_normal((rows, steps, features))
        layer(x)
        randomize(layer, rng)
        states = [rng.standard_normal((rows, units)) for leaf in layer.leaves() for _ in leaf.state_size]
        training = bool(options.get("dropout") or options.get("recurrent_dropout"))
        mask = masks(self.pattern, rows, steps, rng)
        return gradcheck.check_layer(layer, x, mask, training=training, initial_state=states, method=self.method)


def name_of(check):
    return ", ".join(str(part) for part in check).replace("'", "")


def one_at_a_time():
    for layer, options, pattern in itertools.product(LAYERS, OPTIONS.values(), PATTERNS):
        yield Check(layer, options, pattern)
    for layer, options in itertools.product(LAYERS, OPTIONS.values()):  # tests/bptt/test_runs.py has the other patterns
        yield Check(layer, options, backend="numba")
    for layer, sizes, backend in itertools.product(LAYERS, SIZES.values(), config.BACKENDS):
        yield Check(layer, OPTIONS["states too"], sizes=sizes, backend=backend)
    for layer, activation in itertools.product(LAYERS, SMOOTH):
        yield Check(layer, {"activation": activation, "return_sequences": True})
    for layer, activation in itertools.product(("LSTM", "GRU", "GRU reset before", "CarryRNN"), SMOOTH):
        yield Check(layer, {"recurrent_activation": activation})
    for layer, pattern in itertools.product(LAYERS, PATTERNS):
        for name in ("states too", "both dropouts", "multiplied"):
            yield Check(layer, OPTIONS[name], pattern, method="central")
    for layer, activation in itertools.product(LAYERS, sorted(name for name in SMOOTH if ACTIVATIONS[name].analytic)):
        yield Check(layer, {"activation": activation, "return_state": True}, method="complex")


def combined(count, rng):
    """Yield checks with options in random combinations."""
    for _ in range(count):
        layer = str(rng.choice(list(LAYERS)))
        options = {
            name: bool(rng.random() < 0.4)
            for name in ("return_sequences", "return_state", "go_backwards", "use_bias", "zero_output_for_mask")
        }
        options |= {name: 0.3 for name in ("dropout", "recurrent_dropout") if rng.random() < 0.3}
        options |= {name: "l2" for name in ("kernel_regularizer", "activity_regularizer") if rng.random() < 0.2}
        backend = str(rng.choice(config.BACKENDS))
        if backend == "numpy" and rng.random() < 0.5:
            options["activation"] = str(rng.choice(SMOOTH))
        if rng.random() < 0.3:
            options["bidirectional"] = [None, "concat", "sum", "mul", "ave"][rng.integers(5)]
        sizes = tuple(int(n) for n in rng.integers(1, 6, 4))
        yield Check(layer, options, str(rng.choice(PATTERNS)), sizes, backend)


SMOOTH = sorted(  # without jumps, and not so steep that a difference loses its digits
    name
    for name in ACTIVATIONS
    if name not in ("hard_shrink", "sparse_plus", "sparse_sigmoid", "exponential", "squareplus")
)
GRID = [*one_at_a_time(), *combined(300, np.random.default_rng(SEED))]
WITHOUT_KERNELS = [n for n, check in enumerate(GRID) if check.backend == "numpy"]
SAMPLE = {*random.Random(RUN_SEED).sample(WITHOUT_KERNELS, 12)}  # the quick run's
CHECKS = [
    pytest.param(check, marks=() if n in SAMPLE else (pytest.mark.slow, pytest.mark.grid))
    for n, check in enumerate([*GRID, *combined(10, np.random.default_rng(RUN_SEED))])
]


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_the_grid(check):
    report = check.run()
    assert report.worst < (1e-12 if check.method == "complex" else 1e-7), f"{check}\n{report}"


@pytest.mark.parametrize("layer", LAYERS)
def test_every_tensor_is_checked(layer):
    equations = LAYERS[layer][0].cell_class.equations
    states = [f"initial_state[{n}]" for n in range(len(equations.states))]
    weights = ["kernel", "recurrent_kernel", *equations.extra, "bias"]
    assert [row.name for row in Check(layer, {}).run().rows] == [*weights, "x", *states]


@pytest.mark.parametrize("backend", few_at_first(["numpy", "numba"], 1))
@pytest.mark.parametrize(
    "cell",
    [
        SimpleRNNCell(3),
        LSTMCell(3, dropout=0.3, recurrent_dropout=0.3),
        GRUCell(3),
        GRUCell(3, reset_after=False, use_bias=False),
        CarryRNNCell(3),
        StackedRNNCells([LSTMCell(3), GRUCell(2), SimpleRNNCell(3)]),
    ],
    ids=lambda cell: type(cell).__name__,
)
def test_cells_by_themselves_and_run(backend, cell):
    config.set_backend(backend)
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((3, 4, 2))
    states = [[rng.standard_normal((3, one.units)) for _ in one.state_size] for one in cell.leaves()]
    states = states if isinstance(cell, StackedRNNCells) else states[0]
    assert gradcheck.check_layer(cell, x[:, 0], training=True, initial_state=states).worst < 1e-7
    layer = RNN(cell, return_sequences=True, return_state=True)
    report = gradcheck.check_layer(layer, x, masks("holes", 3, 4, rng), training=True, initial_state=states)
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
        (TimeDistributed(Dense(2, activation="tanh")), "floats (2, 3, 4)"),
        (TimeDistributed(GRU(2)), "floats (2, 3, 2, 2)"),
        (Dense(2, kernel_regularizer="l2", activity_regularizer="l2"), "floats (2, 3)"),
        (Embedding(6, 3, embeddings_regularizer="l2"), "ids (4, 5)"),
        (Embedding(6, 3), "ids (4, 5)"),
        (Embedding(6, 3, mask_zero=True), "ids (7,)"),
        (Conv1D(2, 3, bias_initializer="random_normal"), "floats (2, 5, 3)"),
        (Conv1D(2, 4, 3, "same", activation="tanh", kernel_regularizer="l2"), "floats (2, 7, 3)"),
        (Conv1D(2, 3, padding="causal", dilation_rate=2, use_bias=False), "floats (2, 4, 3)"),
        (Conv1D(2, 2, padding="same", dilation_rate=9, activity_regularizer="l2"), "floats (1, 3, 2)"),
        (TimeDistributed(Conv1D(2, 2)), "floats (2, 2, 3, 2)"),
        (MaxPooling1D(3, 2), "floats (2, 6, 3)"),
        (MaxPooling1D(3, 1, "same"), "floats (2, 5, 3)"),
        (AveragePooling1D(2), "floats (2, 5, 3)"),
        (AveragePooling1D(4, 3, "same"), "floats (2, 5, 3)"),
        (BatchNormalization(gamma_initializer="random_normal"), "floats (6, 3)"),
        (BatchNormalization(gamma_regularizer="l2", beta_regularizer="l1"), "floats (2, 4, 3)"),
        (BatchNormalization(axis=1, scale=False), "floats (2, 4, 3)"),
        (ReLU(1.0, 0.2, 0.3), "floats (4, 5)"),
        (LeakyReLU(0.1), "floats (4, 5)"),
        (ELU(0.7), "floats (4, 5)"),
        (Softmax(), "floats (4, 5)"),
        (Softmax([1, 2]), "floats (2, 3, 4)"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_other_layers(layer, x):
    kind, shape = x.split(" ", 1)
    rng = np.random.default_rng(SEED)
    shape = eval(shape)
    x = rng.standard_normal(shape) if kind == "floats" else rng.integers(0, 6, shape)
    report = gradcheck.check_layer(layer, x, training=True)
    names = {name for leaf in layer.leaves() for name in leaf.weight_names if name not in leaf.moving}
    assert {row.name for row in report.rows} == names | ({"x"} if kind == "floats" else set())
    assert report.worst < 1e-7, str(report)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    ("layer", "training"),
    [
        (BatchNormalization(), True),
        (BatchNormalization(), False),
        (BatchNormalization(trainable=False), True),
        (Softmax(axis=1), True),
    ],
    ids=["batch", "averages", "frozen", "shares of steps"],
)
def test_layers_that_read_masks(layer, training, pattern):
    rng = np.random.default_rng(SEED)
    x, mask = rng.standard_normal((3, 4, 2)), masks(pattern, 3, 4, rng)
    for method, limit in (("central", 1e-7), ("complex", 1e-12)):
        report = gradcheck.check_layer(layer, x, mask, training=training, method=method)
        assert report.worst < limit, str(report)


@pytest.mark.quick(2)
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


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("backend", "change"),
    [*(("numpy", change) for change in WRONG.values()), pytest.param("numba", WRONG["a sign"], marks=pytest.mark.slow)],
    ids=[*WRONG, "a sign, compiled"],
)
def test_a_wrong_backward_is_found(backend, change, broken_lstm):
    report = Check("LSTM", OPTIONS["all outputs"], "none", backend=backend).run(cell_class=broken_lstm(*change))
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
        self.add_weight((input_shape[-1],), lambda shape, dtype, rng: np.full(shape, 1.5, dtype), name="scale")

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


@pytest.mark.parametrize("backend", few_at_first(["numpy", "numba"], 1))
def test_an_activation_of_ones_own(backend):
    own = Activation("own", swish, d_swish, needs_input=True)
    report = Check("LSTM", {"activation": own, "return_sequences": True}, backend=backend).run()
    assert report.worst < 1e-7, str(report)
