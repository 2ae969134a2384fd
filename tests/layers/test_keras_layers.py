"""Live against Keras on TensorFlow: layers, losses and weights while training, fit's history, the summary.

The recurrent family, drawn at random and wrapped, is in test_keras_family.py.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from cases import few_at_first
from keras_reference import Case, assert_close, assert_same, data_of, frameworks, pair

import rnncore

pytestmark = pytest.mark.keras
SLOW = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def keras():
    return frameworks()[0]


@pytest.fixture(params=["ours", "keras"])
def layers(request, keras):
    """The layers of one library and of the other: what must hold for both."""
    return {"ours": rnncore, "keras": keras}[request.param].layers


# --- recurrent layers ------------------------------------------------------------------------------------------------

SEQUENCES = {"return_sequences": True}
HARD = {  # fields of Case, and options of the layer
    "plain": ({}, {}),
    "float64": ({"dtype": "float64"}, SEQUENCES),
    "states": ({"initial_state": True}, SEQUENCES | {"return_state": True}),
    "no bias": ({"mask": "holes"}, {"use_bias": False}),
    "one step": ({"shape": (5, 1, 4), "initial_state": True}, {"return_state": True}),
    "one step, masked": ({"shape": (5, 1, 4), "initial_state": True, "mask": "nothing"}, {"return_state": True}),
    "one row": ({"shape": (1, 7, 4), "mask": "holes"}, SEQUENCES),
    "one unit": ({"mask": "holes"}, {"units": 1}),
    "one feature": ({"shape": (5, 7, 1)}, SEQUENCES),
    "threads": ({"shape": (42, 12, 20), "mask": "holes"}, SEQUENCES | {"units": 48}),
    "right padding": ({"mask": "right", "initial_state": True}, {"return_state": True}),
    "left padding from h0": ({"mask": "left", "initial_state": True}, SEQUENCES | {"return_state": True}),
    "only padding from h0": ({"mask": "nothing", "initial_state": True}, {"return_state": True}),
    "a row of padding": ({"mask": "row", "initial_state": True}, SEQUENCES),
    "zeros for masked steps": ({"mask": "holes"}, SEQUENCES | {"zero_output_for_mask": True}),
    "zero for a masked last step": ({"mask": "right"}, {"zero_output_for_mask": True, "return_state": True}),
    "backwards": ({}, SEQUENCES | {"go_backwards": True}),
    "backwards, holes": ({"mask": "holes", "initial_state": True}, SEQUENCES | {"go_backwards": True}),
    "backwards, right padding": ({"mask": "right", "initial_state": True}, {"go_backwards": True}),
    "dropout": ({"training": True, "mask": "left"}, SEQUENCES | {"dropout": 0.5}),
    "recurrent dropout": ({"training": True}, SEQUENCES | {"recurrent_dropout": 0.5}),
    "both dropouts": ({"training": True, "mask": "holes"}, {"dropout": 0.4, "recurrent_dropout": 0.3}),
    "dropout, not training": ({}, {"dropout": 0.5, "recurrent_dropout": 0.5}),
    "unrolled": ({"mask": "holes", "initial_state": True}, SEQUENCES | {"unroll": True}),
    "from the batch before": ({"mask": "right", "initial_state": True, "batches": 2}, SEQUENCES | {"stateful": True}),
}
CELLS = {"SimpleRNN": {}, "LSTM": {}, "GRU": {}, "GRU, reset before": {"reset_after": False}}


def recurrent(layer, fields=(), options=(), **changes):
    """Return a case of middling size."""
    return Case(layer, **{"shape": (5, 7, 4), "options": {"units": 6, **dict(options)}, **dict(fields), **changes})


@pytest.mark.parametrize("backend", few_at_first(["numba", "numpy"], 1))
@pytest.mark.parametrize("hard", HARD)
@pytest.mark.parametrize("cell", CELLS)
def test_hard_cases(cell, hard, backend):
    fields, options = HARD[hard]
    layer = cell.split(",")[0]
    assert_same(recurrent(layer, fields, CELLS[cell] | options, backend=backend, seed=len(hard)))


@pytest.mark.parametrize(
    ("backend", "layer", "activations"),
    [
        *(("numpy", "SimpleRNN", [name]) for name in ("relu", "hard_sigmoid", "linear", "sigmoid", "softmax")),
        ("numpy", "LSTM", ["relu", "hard_sigmoid"]),
        ("numpy", "LSTM", ["linear", "relu"]),
        ("numpy", "LSTM", ["sigmoid", "linear"]),
        ("numpy", "LSTM", ["softmax", "sigmoid"]),
        ("numpy", "LSTM", [None, None]),
        ("numpy", "GRU", ["gelu", "silu"]),
        ("numba", "SimpleRNN", ["linear"]),
        ("numba", "LSTM", ["relu", "hard_sigmoid"]),
        ("numba", "LSTM", ["softmax", "softmax"]),  # not elementwise: the NumPy loop runs it
    ],
)
def test_activations(backend, layer, activations):
    options = dict(zip(("activation", "recurrent_activation"), activations, strict=False))
    assert_same(recurrent(layer, options=SEQUENCES | options, mask="holes", initial_state=True, backend=backend))


@pytest.mark.parametrize("options", [{}, {"unit_forget_bias": False}, {"bias_initializer": "ones"}])
def test_initial_bias(keras, options):
    ours, theirs = (
        Case("LSTM", (2, 3, 4), {"units": 3} | options).build(library).get_weights() for library in (rnncore, keras)
    )
    assert [w.shape for w in ours] == [w.shape for w in theirs]
    assert np.array_equal(ours[2], theirs[2])


# --- other layers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask_zero", [False, True])
@pytest.mark.parametrize("shape", [(6,), (4, 9), (2, 3, 5)])
def test_embedding(shape, mask_zero):
    assert_same(Case("Embedding", shape, {"input_dim": 7, "output_dim": 3, "mask_zero": mask_zero}))


@pytest.mark.parametrize("mask_value", [0.0, -1.5])
def test_masking(mask_value):
    case = Case("Masking", (3, 5, 2), {"mask_value": mask_value})
    data = data_of(case)
    x = data.x[0].copy()
    x[0, 2:] = x[1, 0] = x[2] = mask_value
    x[0, 0, 1] = x[1, 3, 0] = mask_value  # one feature only: not masked
    assert_same(case, replace(data, x=[x]))


@pytest.mark.parametrize("activation", [None, "tanh", "relu", "sigmoid", "hard_sigmoid", "softmax"])
@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 4)])
def test_dense_and_activation(shape, activation):
    for dtype in ("float32", "float64"):
        for use_bias in (False, True):
            assert_same(Case("Dense", shape, {"units": 3, "activation": activation, "use_bias": use_bias}, dtype=dtype))
        assert_same(Case("Activation", shape, {"activation": activation or "linear"}, dtype=dtype))


WINDOWS = {
    "plain": ("Conv1D", {"kernel_size": 3}),
    "an even window": ("Conv1D", {"kernel_size": 4, "padding": "same", "use_bias": False}),
    "strides": ("Conv1D", {"kernel_size": 3, "strides": 2, "activation": "relu"}),
    "strides, same": ("Conv1D", {"kernel_size": 4, "strides": 3, "padding": "same", "activation": "tanh"}),
    "strides beyond": ("Conv1D", {"kernel_size": 1, "strides": 3, "padding": "same"}),
    "strides, causal": ("Conv1D", {"kernel_size": [3], "strides": [2], "padding": "causal"}),
    "dilated": ("Conv1D", {"kernel_size": 2, "dilation_rate": 3}),
    "dilated, same": ("Conv1D", {"kernel_size": 3, "dilation_rate": 2, "padding": "same"}),
    "dilated, causal": ("Conv1D", {"kernel_size": 3, "dilation_rate": 4, "padding": "causal"}),
    "penalties": ("Conv1D", {"kernel_size": 2, "bias_regularizer": ("L2", {"l2": 1 / 32})}),
    "activity": ("Conv1D", {"kernel_size": 2, "activity_regularizer": ("L1", {"l1": 1 / 64})}),
    "maximum": ("MaxPooling1D", {}),
    "maximum, overlapping": ("MaxPooling1D", {"pool_size": 3, "strides": 1}),
    "maximum, same": ("MaxPooling1D", {"pool_size": 4, "strides": 3, "padding": "same"}),
    "average": ("AveragePooling1D", {"pool_size": 3}),
    "average, same": ("AveragePooling1D", {"pool_size": 4, "strides": 1, "padding": "same"}),
    "average beyond": ("AveragePooling1D", {"pool_size": 2, "strides": 4, "padding": "same"}),
}


@pytest.mark.parametrize(("layer", "options"), WINDOWS.values(), ids=WINDOWS)
def test_windows(layer, options):
    options = ({"filters": 5} if layer == "Conv1D" else {}) | options
    for shape in ((4, 7, 3), (2, 10, 1)):
        for dtype in ("float32", "float64"):
            assert_same(Case(layer, shape, options, dtype=dtype, seed=len(options)))


def test_the_first_of_equal_maxima_has_the_gradient():
    case = Case("MaxPooling1D", (2, 6, 3), {"pool_size": 3, "strides": 1})
    assert_same(case, replace(data_of(case), x=[np.zeros(case.shape, "float32")]))


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("ReLU", {}),
        ("ReLU", {"max_value": 1.0, "negative_slope": 0.25, "threshold": 0.5}),
        ("ReLU", {"max_value": 0.5}),
        ("ReLU", {"negative_slope": 0.125}),
        ("LeakyReLU", {}),
        ("LeakyReLU", {"negative_slope": 0.125}),
        ("ELU", {"alpha": 0.75}),
        ("Softmax", {}),
        ("Softmax", {"axis": [1, 2]}),
    ],
)
def test_activations_as_layers(layer, options):
    assert_same(Case(layer, (3, 5, 4), options))
    if layer != "LeakyReLU":  # TensorFlow holds its slope as a float32 number
        assert_same(Case(layer, (3, 5, 4), options, dtype="float64"))


@pytest.mark.parametrize("mask", [None, "right", "holes", "row", "nothing"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"scale": False}, {"center": False, "momentum": 0.5, "epsilon": 0.1}, {"axis": 1}]
)
def test_batch_normalization(keras, options, training, mask):
    if mask and "axis" in options:
        return  # where masks have no room in Keras: its steps are the features
    case = Case("BatchNormalization", (4, 6, 3), options, training=training, mask=mask)
    data = data_of(case)
    data.weights[-1][...] = abs(data.weights[-1]) + 0.1
    assert_same(case, data)
    ours, theirs = (case.build(library) for library in (rnncore, keras))
    for layer in (ours, theirs):
        layer.set_weights(data.weights)
        for _ in range(2):
            case.call(layer, data.x[0], data, None)
    for mine, its in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_close(mine, its, 1e-5, "weight after two calls")
    assert np.array_equal(ours.moving_mean, data.weights[-2]) == (not training)


# --- dropout, by statistics: what a call drops is told from its output -----------------------------------------------

RATE, SIDE = 0.3, 100  # 10,000 entries: shares have a standard deviation of at most 0.005
KEPT, SCALE = 1 - RATE, 1 / (1 - RATE)


def assert_shares(y, expected):
    """Say that `y` holds the expected values only, each in about its share of the entries."""
    y, values = np.asarray(y), np.array(list(expected))
    nearest = np.abs(y[..., None] - values).argmin(axis=-1)
    np.testing.assert_allclose(y, values[nearest], rtol=1e-5)
    shares = np.bincount(nearest.reshape(-1), minlength=len(values)) / y.size
    np.testing.assert_allclose(shares, list(expected.values()), atol=0.025)


def test_dropout(layers):
    layer, ones = layers.Dropout(RATE, seed=1), np.ones((SIDE, SIDE), "float32")
    first, second = (np.asarray(layer(ones, training=True)) for _ in range(2))
    for y in (first, second):
        assert_shares(y, {0: RATE, SCALE: KEPT})
    assert_shares(first * second, {0: 1 - KEPT**2, SCALE**2: KEPT**2})  # a new draw a call
    assert np.array_equal(layer(ones, training=False), ones)


def test_dropout_goes_back_where_it_went_forth():
    layer, x = rnncore.layers.Dropout(RATE, seed=1), np.ones((4, 5), "float32")
    y = layer(x, training=True)
    assert np.array_equal(layer.backward(x), y)
    assert {0} < {float(value) for value in y.reshape(-1)}


@pytest.mark.parametrize("dropped", ["dropout", "recurrent_dropout"])
def test_one_draw_for_all_steps(layers, dropped):
    # h_t = x_t * drop, or h_t = h_{t-1} * drop from h_0 = 1
    eye, ones = np.eye(SIDE), np.ones((SIDE, SIDE), "float32")
    of_input = dropped == "dropout"
    options = {"activation": "linear", "use_bias": False, "return_sequences": True, "seed": 2, dropped: RATE}
    layer = layers.SimpleRNN(SIDE, **options)
    x = np.ones((SIDE, 3, SIDE), "float32")
    layer(x)
    layer.set_weights([eye * of_input, eye * (not of_input)])
    y = np.asarray(layer(x, training=True, **({} if of_input else {"initial_state": [ones]})))
    assert_shares(y[:, 0], {0: RATE, SCALE: KEPT})
    for t in (1, 2):
        np.testing.assert_allclose(y[:, t], y[:, 0] ** (1 if of_input else t + 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("rates", "recurrent", "apart"),
    [
        ({"dropout": RATE}, False, False),
        ({"dropout": RATE, "recurrent_dropout": 0.1}, False, True),
        ({"recurrent_dropout": RATE}, True, True),
    ],
)
def test_gates_have_draws_of_their_own(layers, rates, recurrent, apart):
    # one linear step, every gate the dropped input (or state) itself: h = o (i k + f c_0), with c_0 = 1
    eye, ones = np.tile(np.eye(SIDE), 4), np.ones((SIDE, SIDE), "float32")
    options = {"activation": "linear", "recurrent_activation": "linear", "use_bias": False, "seed": 3}
    layer = layers.LSTM(SIDE, **options, **rates)
    x = np.ones((SIDE, 1, SIDE), "float32")
    layer(x)
    layer.set_weights([eye * (not recurrent), eye * recurrent])
    y = layer(x, training=True, initial_state=[ones, ones])
    values = {"both": SCALE**3 + SCALE**2, "ik": SCALE**3, "f": SCALE**2}
    shares = {"both": KEPT**4, "ik": KEPT**3 * RATE, "f": KEPT**2 * (1 - KEPT**2)}
    if not apart:
        shares = {"both": KEPT, "ik": 0, "f": 0}
    assert_shares(y, {0: 1 - sum(shares.values())} | {values[name]: shares[name] for name in values})


@pytest.mark.parametrize("recurrent", [False, True], ids=["shared", "apart"])
def test_gates_of_a_gru(layers, recurrent):
    # one linear step from 0, both gates the dropped input: h = (1 - z) k
    eye = np.tile(np.eye(SIDE), 3)
    options = {"activation": "linear", "recurrent_activation": "linear", "use_bias": False, "seed": 4}
    layer = layers.GRU(SIDE, dropout=RATE, recurrent_dropout=0.1 * recurrent, **options)
    x = np.ones((SIDE, 1, SIDE), "float32")
    layer(x)
    layer.set_weights([eye, 0 * eye])
    both = KEPT**2 if recurrent else KEPT
    alone = KEPT - both  # k kept, z dropped
    assert_shares(layer(x, training=True), {0: 1 - both - alone, SCALE: alone, (1 - SCALE) * SCALE: both})


@pytest.mark.parametrize("seed", [None, 5])
def test_both_directions_draw(layers, seed):
    # from one seed the same, because both are made from one configuration
    inside = layers.GRU(SIDE, activation="linear", recurrent_activation="linear", dropout=RATE, seed=seed)
    layer = layers.Bidirectional(inside, merge_mode="mul")
    x = np.ones((SIDE, 1, SIDE), "float32")
    layer(x)
    eye = np.tile(np.eye(SIDE), 3)
    layer.set_weights([eye, 0 * eye, np.zeros((2, 3 * SIDE))] * 2)
    both = KEPT**2 if seed is None else KEPT
    assert_shares(layer(x, training=True), {0: 1 - both, ((1 - SCALE) * SCALE) ** 2: both})


# --- training --------------------------------------------------------------------------------------------------------

SIGMOID = ("Dense", {"units": 1, "activation": "sigmoid"})


def embedding(words, size, mask_zero=False):
    return "Embedding", {"input_dim": words, "output_dim": size, "mask_zero": mask_zero}


MODELS = {
    "lecture": [embedding(30, 8), ("LSTM", {"units": 6}), SIGMOID],
    "lecture, mask_zero": [embedding(30, 8, True), ("LSTM", {"units": 6}), SIGMOID],
    "mask handed on": [
        embedding(30, 8, True),
        ("Dropout", {"rate": 0.0}),
        ("SimpleRNN", {"units": 7, "return_sequences": True}),
        ("Dense", {"units": 5, "activation": "relu"}),
        ("LSTM", {"units": 6, "go_backwards": True}),
        SIGMOID,
    ],
    "windows": [
        embedding(30, 8),
        (
            "Conv1D",
            {"filters": 6, "kernel_size": 3, "padding": "same", "use_bias": False},
        ),  # its gradient would be noise
        ("BatchNormalization", {"momentum": 0.7}),
        ("LeakyReLU", {"negative_slope": 0.25}),
        ("MaxPooling1D", {"pool_size": 2}),
        ("LSTM", {"units": 6}),
        SIGMOID,
    ],
    "batch, masked": [embedding(30, 8, True), ("BatchNormalization", {}), ("LSTM", {"units": 6}), SIGMOID],
}
FULL = [embedding(20000, 128), ("LSTM", {"units": 128}), SIGMOID]
LABELS = [
    embedding(30, 8, True),
    ("LSTM", {"units": 6, "return_sequences": True}),
    ("Dense", {"units": 4, "activation": "softmax"}),
]
GRAPH = {"run_eagerly": False, "jit_compile": False}  # pays from some dozen steps on


def reviews(rng, count, steps, words):
    """Return ids with padding on the right, on the left and inside, one row nothing else, and labels 0 and 1."""
    x = rng.integers(1, words, (count, steps))
    for n, length in enumerate(rng.integers(1, steps, count)):
        x[n, (slice(length, None), slice(-length), slice(length, length + 1))[n % 3]] = 0
    x[-1] = 0
    return x, rng.integers(0, 2, count)


def compiled(rows, steps, optimizer, loss="binary_crossentropy", **options):
    """Return our and Keras's model with the same weights; Keras's computes with dense gradients (see below)."""
    ours, theirs = pair(rows, (None, steps))
    ours.compile(optimizer, loss, metrics=["accuracy"])
    theirs.compile(optimizer, loss, metrics=["accuracy"], **({"run_eagerly": True} | options))
    return ours, theirs


def assert_same_training(models, words, batch, steps):
    """Take ten steps in both libraries; losses, accuracies and the weights at the end agree."""
    rng = np.random.default_rng(5)
    before = models[0].get_weights()
    for number in range(10):
        x, y = reviews(rng, batch, steps, words)
        ours, theirs = (np.array(model.train_on_batch(x, y), float) for model in models)
        assert_close(ours, theirs, 1e-4, f"loss and accuracy of step {number}")
    for n, (start, ours, theirs) in enumerate(zip(before, *(model.get_weights() for model in models), strict=True)):
        assert_close(ours, theirs, 1e-4, f"weight {n} after training")
        assert_close(ours - start, theirs - start, 5e-3, f"change of weight {n}")


@pytest.mark.parametrize("optimizer", few_at_first(["adam", "sgd", "rmsprop"], 1))
@pytest.mark.parametrize("model", MODELS)
def test_ten_steps(model, optimizer):
    assert_same_training(compiled(MODELS[model], 7, optimizer), 30, 9, 7)


@SLOW
@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd", "adam"])
def test_ten_steps_of_the_lecture_in_full_size(optimizer):
    assert_same_training(compiled(FULL, 80, optimizer, **GRAPH), 20000, 32, 80)


def assert_same_logs(ours, theirs):
    """Compare what is told by name; Keras sorts the names, we begin with the loss."""
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        assert_close(np.array(ours[name], float), np.array(values, float), 1e-5, name)


def assert_same_history(models, data, held_out, **options):
    """Fit, evaluate and predict in both libraries, with a smaller batch at the end; all that is told agrees."""
    size = {"batch_size": 8, "verbose": 0}
    ours, theirs = (model.fit(*data, epochs=2, shuffle=False, **size, **options).history for model in models)
    assert_same_logs(ours, theirs)
    assert len(ours["val_accuracy"]) == 2
    assert_same_logs(*(model.evaluate(*held_out, return_dict=True, **size) for model in models))
    ours, theirs = (model.predict(held_out[0], **size) for model in models)
    assert_close(ours, theirs, 1e-5, "predict")


def test_history_with_sample_weights():
    rng = np.random.default_rng(6)
    data, held_out = (reviews(rng, count, 7, 30) for count in (37, 19))
    models = compiled(MODELS["lecture"], 7, "rmsprop", **GRAPH)
    assert_same_history(
        models, data, held_out, validation_data=held_out, sample_weight=rng.uniform(0.2, 3, len(data[0]))
    )


@SLOW
def test_history_with_a_validation_split():
    rng = np.random.default_rng(7)
    data, held_out = (reviews(rng, count, 7, 30) for count in (37, 19))
    models = compiled(MODELS["lecture, mask_zero"], 7, "adam", **GRAPH)
    assert_same_history(models, data, held_out, validation_split=0.3)


@SLOW
def test_history_of_sequence_labels():
    rng = np.random.default_rng(8)
    data, held_out = ((reviews(rng, count, 7, 30)[0], rng.integers(0, 4, (count, 7))) for count in (37, 19))
    models = compiled(LABELS, 7, "adam", "sparse_categorical_crossentropy", **GRAPH)
    assert_same_history(models, data, held_out, validation_data=held_out)


# --- the summary -----------------------------------------------------------------------------------------------------


def assert_same_summary(models):
    texts = []
    for model in models:
        lines = []
        model.summary(print_fn=lines.append)
        texts.append("\n".join(lines).rstrip())
    assert texts[0] == texts[1]
    return texts[0]


@pytest.fixture
def terminal(monkeypatch):
    """Keras fits its table to the terminal."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("shape", [(None, 80), (None, None)])
def test_summary(shape):
    assert "2,691,713" in assert_same_summary(pair(FULL, shape))


@pytest.mark.usefixtures("terminal")
def test_summary_counts_bytes_of_the_layers_dtype():
    assert_same_summary(
        pair([(name, options | {"dtype": "float64"}) for name, options in MODELS["lecture"]], (None, 7))
    )


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("optimizer", few_at_first(["adam", "sgd", "rmsprop", "nadam"], 1))
def test_summary_after_training(optimizer):
    models = compiled(MODELS["lecture"], 7, optimizer)
    for model in models:
        model.train_on_batch(*reviews(np.random.default_rng(9), 4, 7, 30))
    assert re.search("\n Optimizer params: [1-9]", assert_same_summary(models))


@pytest.mark.usefixtures("terminal")
def test_summary_of_what_is_not_trained():
    rows = [(name, options | {"trainable": name != "Embedding"}) for name, options in MODELS["lecture"]]
    assert " Non-trainable params: 240 (960.00 B)" in assert_same_summary(pair(rows, (None, 7)))
