"""Models in ONNX files, run by onnxruntime: what they compute is what they predict here.

``RNNCORE_MODELS`` names a folder of Keras's files with references, as in test_keras_files.py.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import PATTERNS, RUN_SEED, SEED, masks, randomize

import rnncore
from rnncore import Sequential, layers
from rnncore.activations import ACTIVATIONS, Activation
from rnncore.interop import onnx_graph
from rnncore.interop.onnx import export
from rnncore.layers import GRU, LSTM, RNN, Bidirectional, Dense, Embedding, Masking, SimpleRNN, TimeDistributed
from rnncore.models import load_model

SEQUENCES = {"return_sequences": True}
CELLS = {
    "SimpleRNN": lambda units, **options: SimpleRNN(units, **options),
    "LSTM": lambda units, **options: LSTM(units, **options),
    "GRU": lambda units, **options: GRU(units, **options),
    "GRU, reset before": lambda units, **options: GRU(units, reset_after=False, **options),
}
each_cell = pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)


@pytest.fixture(autouse=True)
def numpy_backend(settings, monkeypatch):
    rnncore.set_backend("numpy")  # nothing here is about the loop
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # nor about the disk


@pytest.fixture(scope="module")
def runtime():
    pytest.importorskip("onnx")
    return pytest.importorskip("onnxruntime")


@pytest.fixture
def run(runtime, tmp_path):
    """Return what exports a model and runs it: inputs by name to outputs by name."""

    def run(model, inputs, **options):
        export(model, tmp_path / "a.onnx", **options)
        session = runtime.InferenceSession(str(tmp_path / "a.onnx"))
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, inputs), strict=True))

    return run


def assert_near(theirs, ours, label=""):
    assert theirs.shape == ours.shape, label
    limit = 1e-5 * max(1, abs(ours).max())
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=limit, err_msg=str(label))


def made(stack, x, seed=SEED, scale=0.6):
    """Return a model of layers with random weights; moving variances are positive."""
    model = stack if isinstance(stack, layers.Layer) else Sequential(stack)
    model(x)
    randomize(model, np.random.default_rng(seed), scale)
    for layer in model.walk():
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance[...] = abs(layer.moving_variance) + 0.5
    return model


def floats(*shape):
    return np.random.default_rng(SEED).standard_normal(shape).astype("float32")


def marked(mask, shape, value=7.0):
    """Return floats of a shape (B, T, D) with `value` at masked steps."""
    x = floats(*shape)
    return x if mask is None else np.where(mask[..., None], x, np.float32(value))


# --- recurrent layers ------------------------------------------------------------------------------------------------

RUNS = {
    "last output": {},
    "all outputs": SEQUENCES,
    "backwards": {"go_backwards": True},
    "all backwards": {"go_backwards": True, **SEQUENCES},
    "zeroed": {"zero_output_for_mask": True},
    "all zeroed, backwards": {"zero_output_for_mask": True, "go_backwards": True, **SEQUENCES},
    "no bias": {"use_bias": False},
}


def every_mask(*shape):
    """Return floats of a shape (T, D), two rows for each kind of mask."""
    rng = np.random.default_rng(SEED)
    kinds = [masks(pattern, 2, shape[0], rng) for pattern in PATTERNS]
    mask = np.concatenate([np.ones((2, shape[0]), bool) if kind is None else kind for kind in kinds])
    return marked(mask, (len(mask), *shape))


@each_cell
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_any_mask(run, make, options):
    x = every_mask(6, 3)
    model = made([Masking(7.0), make(4, **options)], x)
    assert_near(run(model, {"x": x})["y"], model(x))


@pytest.mark.parametrize(
    ("make", "merge_mode"),
    [*((make, "concat") for make in CELLS.values()), *((LSTM, mode) for mode in ("sum", "mul", "ave"))],
)
def test_both_directions(run, make, merge_mode):
    x = every_mask(6, 3)
    stack = [Masking(7.0), Bidirectional(make(4, **SEQUENCES), merge_mode), Bidirectional(make(2), merge_mode)]
    model = made(stack, x)
    assert_near(run(model, {"x": x})["y"], model(x))


@pytest.mark.parametrize("first_backwards", [False, True])
def test_two_directions_that_differ(run, first_backwards):
    x = every_mask(6, 3)
    pair = LSTM(4, go_backwards=first_backwards, **SEQUENCES), GRU(3, go_backwards=not first_backwards, **SEQUENCES)
    model = made([Masking(7.0), Bidirectional(pair[0], backward_layer=pair[1])], x)
    assert_near(run(model, {"x": x})["y"], model(x))


def test_one_operator_for_both_directions_and_no_loop(runtime, tmp_path):
    import onnx

    model = made([Embedding(9, 4, mask_zero=True), Bidirectional(LSTM(3))], np.ones((2, 5), int))
    export(model, tmp_path / "a.onnx")
    graph = onnx.load(tmp_path / "a.onnx").graph
    ops = [node.op_type for node in graph.node]
    assert ops.count("LSTM") == 1
    assert not {"Loop", "Scan", "If"} & set(ops)
    [lstm] = [node for node in graph.node if node.op_type == "LSTM"]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in lstm.attribute}
    assert (attributes["direction"], attributes["hidden_size"]) == (b"bidirectional", 3)
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in graph.initializer}
    W, own = arrays[lstm.input[1]], model.layers[1].forward_layer.kernel
    assert W.shape == (2, 12, 4)
    i, f, k, o = np.split(own, 4, axis=1)
    np.testing.assert_array_equal(W[0].T, np.concatenate([i, o, f, k], axis=1))


def test_several_cells_and_steps_of_steps(run):
    x = every_mask(6, 3)
    cells = [layers.LSTMCell(4), layers.GRUCell(3), layers.SimpleRNNCell(2)]
    for options in (SEQUENCES, {"go_backwards": True}):
        model = made([Masking(7.0), RNN(cells, **options)], x)
        assert_near(run(model, {"x": x})["y"], model(x))
    x = floats(2, 4, 5, 3)
    model = made([TimeDistributed(Bidirectional(GRU(3))), LSTM(2)], x)
    assert_near(run(model, {"x": x})["y"], model(x))


@pytest.mark.parametrize("name", sorted(onnx_graph.IN_CELLS))
def test_activations_inside(run, name):
    x = floats(3, 4, 2)
    stack = [
        Bidirectional(SimpleRNN(3, name, **SEQUENCES)),
        Bidirectional(LSTM(3, name, recurrent_activation="hard_sigmoid", **SEQUENCES)),
        Bidirectional(LSTM(3, "elu", recurrent_activation=name, **SEQUENCES)),
        Bidirectional(GRU(3, name, recurrent_activation="hard_sigmoid_keras2", **SEQUENCES)),
        GRU(3, "leaky_relu", recurrent_activation=name),
    ]
    model = made(stack, x, scale=0.2)  # what has no bounds shall not run away
    assert_near(run(model, {"x": x})["y"], model(x))


# --- states ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["none", "empty row"])
@each_cell
def test_initial_states(run, make, pattern):
    rng = np.random.default_rng(SEED)
    x = marked(masks(pattern, 4, 5, rng), (4, 5, 3))
    layer = Bidirectional(make(2, return_state=True, name="own", **SEQUENCES))
    layer.build((None, None, 3))
    randomize(layer, rng)
    mask = Masking(7.0).compute_mask(x) if pattern != "none" else None
    given = {f"{part.name}.{state}0": floats(4, 2) for part in layer.children() for state in part.cell.equations.states}
    y, *states = layer(x, mask=mask, initial_state=list(given.values()))
    inner = Bidirectional(make(2, name="own", **SEQUENCES))
    model = made([Masking(7.0), inner], x)
    model.set_weights(layer.get_weights())
    theirs = run(model, {"x": x, **given}, initial_states=True)
    assert list(theirs) == ["y", *(name.removesuffix("0") for name in given)]
    for name, ours in zip(theirs, [y, *states], strict=True):
        assert_near(theirs[name], ours, name)


def test_a_stateful_layer_goes_on(run):
    x = floats(3, 8, 2)
    model = made([LSTM(3, stateful=True, name="lstm"), Dense(1)], x)
    model.layers[0].reset_state()
    states = {"lstm.h0": np.zeros((3, 3), "float32"), "lstm.c0": np.zeros((3, 3), "float32")}
    for part in (x[:, :5], x[:, 5:]):
        theirs = run(model, {"x": part, **states})
        model_y = model(part)
        assert_near(theirs["y"], model_y)
        states = {f"lstm.{state}0": theirs[f"lstm.{state}"] for state in "hc"}


def test_a_layer_that_returns_its_states(run):
    x = floats(3, 4, 2)
    for layer in (GRU(3, return_state=True, name="g"), Bidirectional(LSTM(3, return_state=True), None, name="b")):
        ours, theirs = made(layer, x)(x), run(layer, {"x": x})
        assert next(iter(theirs)) == "y"
        for mine, its in zip(ours, theirs.values(), strict=True):
            assert_near(its, mine)


# --- other layers ----------------------------------------------------------------------------------------------------

OTHERS = {
    "dense": ([Dense(3, "relu"), Dense(2, use_bias=False)], (4, 5)),
    "dense by steps": ([Dense(3, "softmax")], (4, 5, 2)),
    "steps": ([TimeDistributed(Dense(3, "tanh"))], (4, 5, 2)),
    "conv by steps": ([TimeDistributed(layers.Conv1D(3, 2))], (2, 3, 4, 5)),
    "conv": ([layers.Conv1D(3, 2, activation="tanh")], (3, 6, 2)),
    "conv, same": ([layers.Conv1D(3, 4, padding="same", dilation_rate=2)], (3, 6, 2)),
    "conv, strides": ([layers.Conv1D(3, 4, 3, "same", use_bias=False)], (3, 7, 2)),
    "conv, causal": ([layers.Conv1D(3, 3, 2, "causal")], (3, 7, 2)),
    "maximum": ([layers.MaxPooling1D(3, 2)], (3, 7, 2)),
    "maximum, same": ([layers.MaxPooling1D(3, 2, "same")], (3, 6, 2)),
    "average": ([layers.AveragePooling1D(2)], (3, 7, 2)),
    "average, same": ([layers.AveragePooling1D(4, 1, "same")], (3, 6, 2)),
    "batch": ([layers.BatchNormalization()], (3, 6, 2)),
    "batch, vectors": ([layers.BatchNormalization(scale=False)], (3, 6)),
    "batch, steps": ([layers.BatchNormalization(axis=1, center=False)], (3, 6, 2)),
    "normal": ([layers.LayerNormalization()], (3, 6, 2)),
    "normal, both": ([layers.LayerNormalization([1, 2])], (3, 6, 2)),
    "flat": ([layers.Flatten(), Dense(2)], (3, 4, 2)),
    "shape": ([layers.Reshape((-1, 2))], (3, 4, 3)),
    "axes": ([layers.Permute((2, 1)), LSTM(2)], (3, 4, 3)),
    "repeated": ([LSTM(3), layers.RepeatVector(4), GRU(2, **SEQUENCES)], (3, 5, 2)),
    "pooled": ([layers.GlobalAveragePooling1D()], (3, 4, 2)),
    "highest": ([layers.GlobalMaxPooling1D(keepdims=True)], (3, 4, 2)),
    "relu": ([layers.ReLU(1.0, 0.25, 0.5)], (3, 4)),
    "leaky": ([layers.LeakyReLU(0.1)], (3, 4)),
    "elu": ([layers.ELU(0.7)], (3, 4)),
    "softmax": ([layers.Softmax()], (3, 4)),
    "softmax of both": ([layers.Softmax([1, 2])], (3, 4, 2)),
    "training": ([layers.Dropout(0.5), layers.GaussianNoise(0.5), layers.SpatialDropout1D(0.5)], (3, 4, 2)),
    "nested": ([Sequential([Dense(2), Sequential([Dense(3)])]), Dense(1)], (3, 4)),
    "double": ([GRU(3, dtype="float64"), Dense(1, dtype="float64")], (3, 4, 2)),
}


@pytest.mark.parametrize(("stack", "shape"), OTHERS.values(), ids=OTHERS)
def test_layers(run, stack, shape):
    x = floats(*shape)
    model = made(stack, x)
    assert_near(run(model, {"x": x})["y"], np.asarray(model(x)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(run, name):
    x = 3 * floats(20, 4)
    model = made([layers.Activation(name)], x)
    assert_near(run(model, {"x": x})["y"], model(x))


@pytest.mark.parametrize(
    "last",
    [
        lambda: layers.GlobalAveragePooling1D(),
        lambda: layers.GlobalMaxPooling1D(),
        lambda: layers.GlobalMaxPooling1D(keepdims=True),
        lambda: layers.Softmax(axis=1),
        lambda: layers.Softmax(axis=2),
        lambda: layers.LayerNormalization(),
        lambda: TimeDistributed(Dense(2)),
    ],
)
def test_layers_that_masks_reach(run, last):
    x = np.array([[3, 0, 1, 0], [0, 0, 0, 0], [1, 2, 2, 1]])
    model = made([Embedding(4, 3, mask_zero=True), layers.Dropout(0.5), last()], x)
    assert_near(run(model, {"x": x})["y"], model(x))


def test_any_number_of_rows_and_steps(run, runtime, tmp_path):
    x = np.ones((2, 5), int)
    model = made([Embedding(9, 4, mask_zero=True), LSTM(3), Dense(1)], x)
    export(model, tmp_path / "a.onnx")
    session = runtime.InferenceSession(str(tmp_path / "a.onnx"))
    assert [(put.name, put.shape) for put in session.get_inputs()] == [("x", ["B", "T"])]
    for shape in ((1, 1), (7, 3), (2, 80)):
        x = np.random.default_rng(SEED).integers(0, 9, shape)
        assert_near(session.run(None, {"x": x})[0], model(x), shape)


# --- at random -------------------------------------------------------------------------------------------------------


def drawn(rng):
    """Return a random model, built, and an input."""

    def pick(*values):
        return values[int(rng.integers(len(values)))]

    rows, steps, features = (int(n) for n in rng.integers(1, 8, 3))
    steps += 4  # for windows
    kinds = list(CELLS.values())
    mask = masks(pick(*PATTERNS), rows, steps, rng)
    if pick(False, True):
        x = rng.integers(1, 9, (rows, steps))
        x = x if mask is None else np.where(mask, x, 0)
        stack = [Embedding(9, features, mask_zero=pick(False, True))]
    else:
        x, stack = marked(mask, (rows, steps, features)), pick([], [Masking(7.0)])
    for _ in range(int(rng.integers(0, 4))):
        units, options = int(rng.integers(1, 6)), {"zero_output_for_mask": pick(False, True), **SEQUENCES}
        masked = any(isinstance(layer, Masking) or getattr(layer, "mask_zero", False) for layer in stack)
        choices = [
            pick(*kinds)(units, go_backwards=pick(False, True), use_bias=pick(False, True), **options),
            Bidirectional(pick(*kinds)(units, **SEQUENCES), pick("concat", "sum", "mul", "ave")),
            Dense(units, pick("relu", "tanh", "gelu", None)),
            TimeDistributed(Dense(units)),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            RNN([layers.LSTMCell(units), layers.GRUCell(2)], **SEQUENCES),
        ]
        if not masked:
            choices += [
                layers.Conv1D(units, 3, padding=pick("same", "causal"), activation=pick("relu", None)),
                layers.MaxPooling1D(2, 1, pick("valid", "same")),
            ]
        stack.append(pick(*choices))
    ends = [
        pick(*kinds)(3, go_backwards=pick(False, True)),
        Bidirectional(pick(*kinds)(3)),
        layers.GlobalMaxPooling1D(),
        layers.GlobalAveragePooling1D(),
    ]
    model = made([*stack, pick(*ends), Dense(2, pick("sigmoid", "softmax", None))], x, int(rng.integers(1 << 31)))
    return model, x


@pytest.mark.parametrize("number", range(20))
def test_random_models(run, number):
    model, x = drawn(np.random.default_rng([RUN_SEED, number]))
    assert_near(run(model, {"x": x})["y"], model(x), repr(model))


@pytest.mark.slow
def test_many_random_models(run):
    for number in range(1000):
        model, x = drawn(np.random.default_rng([RUN_SEED, 1, number]))
        assert_near(run(model, {"x": x})["y"], model(x), repr(model))


MODELS = Path(os.environ.get("RNNCORE_MODELS") or "/nowhere")
REAL = [path.with_suffix(".npz") for path in sorted(MODELS.glob("*.*")) if path.suffix in (".h5", ".keras")]
REAL = [path for path in REAL if path.exists()]


@pytest.mark.skipif(not REAL, reason="RNNCORE_MODELS names no folder of model files")
@pytest.mark.parametrize("path", REAL, ids=[path.stem for path in REAL])
def test_a_file_of_keras_becomes_one_of_onnx(run, path):
    source = next(path.with_suffix(suffix) for suffix in (".h5", ".keras") if path.with_suffix(suffix).exists())
    with np.load(path) as reference:
        x, y = reference["x"], reference["y_original" if "y_original" in reference else "y"]
    model = load_model(source, compile=False)
    x = x.astype("int64" if model.input_kind == "integer" else "float32")
    theirs = run(model, {"x": x})["y"]
    assert np.abs(theirs - y).max() <= 1e-5 * np.ptp(y)


# --- what has no counterpart -----------------------------------------------------------------------------------------


class Own(layers.Layer):
    def call(self, x, mask=None, training=False):
        return x


class OwnLSTM(LSTM):
    pass


REFUSED = {
    "not built": (lambda: Sequential([Dense(2, name="d")]), "the model is not built"),
    "own layer": (lambda: made([Own(name="mine")], floats(2, 3)), "mine: export: Own has no counterpart"),
    "own kind": (lambda: made([OwnLSTM(2)], floats(2, 3, 4)), "OwnLSTM has no counterpart"),
    "lecture's": (lambda: made([layers.CarryRNN(2)], floats(2, 3, 4)), "no operator for CarryRNNCell"),
    "softmax inside": (lambda: made([LSTM(2, "softmax")], floats(2, 3, 4)), "takes the activation 'softmax'"),
    "own inside": (
        lambda: made([GRU(2, Activation("tanh", np.tanh, lambda dy, y, z: dy))], floats(2, 3, 4)),
        "takes the activation 'tanh'",
    ),
    "own activation": (
        lambda: made([Dense(2, Activation("mine", np.tanh, lambda dy, y, z: dy))], floats(2, 3)),
        "the activation 'mine' is of your own",
    ),
}


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(make(), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install rnncore\[onnx\]"):
        export(made([Dense(2)], floats(2, 3)), tmp_path / "a.onnx")
