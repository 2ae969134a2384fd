"""The vectors for LSTM, GRU and RNN that the onnx package ships, and its reference implementation on random weights.

Left out: peepholes. `sequence_lens` comes in that vector alone, and onnx's own reference passes it over; other
activations, `clip` and `input_forget` come in none.
"""

import importlib
import itertools

import numpy as np
import pytest
from cases import SEED
from keras_reference import assert_close

from rnncore import layers

# by op: the layer, the places of our gates among theirs (LSTM: i, o, f, c), the number of vectors shipped in 1.23
OPS = {
    "LSTM": (layers.LSTM, [0, 2, 3, 1], 5),
    "GRU": (layers.GRU, [0, 1, 2], 6),
    "RNN": (layers.SimpleRNN, [0], 6),
}
LEFT_OUT = {"test_lstm_with_peepholes"}
DIRECTIONS = ("forward", "reverse", "bidirectional")


@pytest.fixture(scope="module")
def onnx():
    return pytest.importorskip("onnx")


def run_ours(op, X, W, R, B=None, initial_h=None, initial_c=None, *, direction="forward", layout=0, **attributes):
    """Return Y, Y_h and for LSTM Y_c, in the shapes of the operator, from its inputs and attributes.

    Sizes: T steps, B rows, H units, K directions; `layout` 0 has x as (T, B, D) and states as (K, B, H), 1 the rows
    first.
    """
    kind, order, _ = OPS[op]
    gates, units = len(order), R.shape[2]
    assert attributes.pop("hidden_size") == units
    options = {"return_sequences": True, "return_state": True, "use_bias": B is not None, "dtype": str(X.dtype)}
    if op == "GRU":
        options["reset_after"] = bool(attributes.pop("linear_before_reset", 0))
    assert not attributes, f"attributes without a counterpart: {attributes}"
    layer = kind(units, go_backwards=direction == "reverse", **options)
    if direction == "bidirectional":
        layer = layers.Bidirectional(layer)

    def ordered(weight):
        return weight.reshape(gates, units, -1)[order].reshape(weight.shape)

    weights = []
    for k in range(len(W)):
        weights += [ordered(W[k]).T, ordered(R[k]).T]
        if B is not None:
            pair = [ordered(bias) for bias in np.split(B[k], 2)]
            weights.append(np.stack(pair) if options.get("reset_after") else sum(pair))
    states = [state if layout == 0 else state.swapaxes(0, 1) for state in (initial_h, initial_c) if state is not None]
    x = X if layout else X.swapaxes(0, 1)
    layer.build(x.shape)
    layer.set_weights(weights)
    y, *last = layer(x, initial_state=[state[k] for k in range(len(W)) for state in states] or None)
    y = y[:, ::-1] if direction == "reverse" else y
    y = y.reshape(*y.shape[:2], len(W), units)  # (B, T, K, H)
    last = np.stack(last).reshape(len(W), -1, len(x), units)  # (K, S, B, H)
    last = [last[:, s] for s in range(last.shape[1])]
    return [y, *(state.swapaxes(0, 1) for state in last)] if layout else [y.transpose(1, 2, 0, 3), *last]


def assert_same(ours, names, theirs, limit, label):
    """Compare the outputs that a node names, in their order: Y, Y_h, Y_c; '' stands for one that is not asked for."""
    expected = [(n, name) for n, name in enumerate(names) if name]
    assert len(expected) == len(theirs) > 0, label
    for (n, name), array in zip(expected, theirs, strict=True):
        assert_close(ours[n], np.asarray(array), limit, f"{name} of {label}")


def shipped(onnx, op, monkeypatch):
    """Return by name the node, the inputs and the outputs of the vectors that onnx ships for an operator."""
    vectors = {}
    np.random.seed(SEED)  # noqa: NPY002 - what the vectors with random weights draw from
    module = importlib.import_module(f"onnx.backend.test.case.node.{op.lower()}")
    monkeypatch.setattr(
        module, "expect", lambda node, inputs, outputs, name: vectors.update({name: (node, inputs, outputs)})
    )
    case = getattr(module, op)
    for export in [name for name in vars(case) if name.startswith("export")]:
        getattr(case, export)()
    return vectors


@pytest.mark.parametrize("op", OPS)
def test_shipped_vectors(onnx, op, monkeypatch):
    vectors = {name: parts for name, parts in shipped(onnx, op, monkeypatch).items() if name not in LEFT_OUT}
    assert len(vectors) >= OPS[op][2]
    for name, (node, inputs, outputs) in vectors.items():
        given = dict(zip(node.input, inputs, strict=True))
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if "direction" in attributes:
            attributes["direction"] = attributes["direction"].decode()
        assert_same(run_ours(op, **given, **attributes), node.output, outputs, 1e-5, name)


# most of the vectors have one value for all weights, which cannot tell gates apart
CASES = [
    (op, direction, layout, attributes)
    for op, direction, layout in itertools.product(OPS, DIRECTIONS, (0, 1))
    for attributes in ([{}, {"linear_before_reset": 1}] if op == "GRU" else [{}])
]


@pytest.mark.parametrize(("op", "direction", "layout", "attributes"), CASES)
def test_random_weights(onnx, op, direction, layout, attributes):
    reference = pytest.importorskip("onnx.reference")
    rng = np.random.default_rng([SEED, len(op), layout])
    T, B, D, H, K, G = 5, 3, 4, 6, 1 + (direction == "bidirectional"), len(OPS[op][1])
    shapes = {"X": (T, B, D), "W": (K, G * H, D), "R": (K, G * H, H), "B": (K, 2 * G * H)}
    shapes |= {"initial_h": (K, B, H)} | ({"initial_c": (K, B, H)} if op == "LSTM" else {})
    given = {name: 0.6 * rng.standard_normal(shape) for name, shape in shapes.items()}
    if layout:
        given |= {name: given[name].swapaxes(0, 1).copy() for name in ("X", *list(shapes)[4:])}
    attributes = {"hidden_size": H, "direction": direction, "layout": layout} | attributes
    outputs = ["Y", "Y_h", "Y_c"][: 2 + (op == "LSTM")]
    names = ["X", "W", "R", "B", "", *list(shapes)[4:]]  # "": sequence_lens
    node = onnx.helper.make_node(op, names, outputs, **attributes)
    theirs = reference.ReferenceEvaluator(node).run(None, given)
    assert_same(run_ours(op, **given, **attributes), outputs, theirs, 1e-10, f"{op} {attributes}")
