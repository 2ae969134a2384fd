"""What a person sees of the package: `dir`, a repr, the names of weights, a summary."""

import json
import subprocess
import sys

import numpy as np
import pytest

import rnncore
from rnncore import Sequential, constraints, initializers, layers, losses, metrics, optimizers, regularizers
from rnncore.layers import GRU, LSTM, RNN, Bidirectional, Dense, Dropout, Embedding, Input, LSTMCell, TimeDistributed

SHOWN = {
    "LSTM(4)": LSTM(4),
    "LSTM(4, dropout=0.2, return_sequences=True)": LSTM(4, dropout=0.2, return_sequences=True),
    "GRU(4, kernel_regularizer=L2(l2=0.5), name='mine')": GRU(4, kernel_regularizer=regularizers.L2(0.5), name="mine"),
    "LSTM(4, activation='relu', dtype='float64')": LSTM(4, "relu", dtype="float64"),
    "LSTM(4, kernel_initializer=HeNormal(seed=3))": LSTM(4, kernel_initializer=initializers.HeNormal(3)),
    "Embedding(9, 2, mask_zero=True)": Embedding(9, 2, mask_zero=True),
    "Embedding(9, 2, embeddings_initializer=GlorotUniform())": Embedding(9, 2, "glorot_uniform"),
    "Dense(2, kernel_constraint=MaxNorm(max_value=3.0))": Dense(2, kernel_constraint=constraints.MaxNorm(3.0)),
    "Bidirectional(LSTM(4), merge_mode='sum')": Bidirectional(LSTM(4), "sum"),
    "TimeDistributed(Dense(2, activation='softmax'))": TimeDistributed(Dense(2, "softmax")),
    "RNN(StackedRNNCells([LSTMCell(2), LSTMCell(3)]))": RNN([LSTMCell(2), LSTMCell(3)]),
    "Dropout(0.5, trainable=False)": Dropout(0.5, trainable=False),
    "GlobalAveragePooling1D()": layers.GlobalAveragePooling1D(),
    "TextVectorization(max_tokens=9)": layers.TextVectorization(9, vocabulary=["a"]),
    "Adam()": optimizers.Adam(),
    "AdamW(learning_rate=0.01, clipnorm=1.0)": optimizers.AdamW(0.01, clipnorm=1.0),
    "SGD(learning_rate=ExponentialDecay(0.1, 9, 0.5))": optimizers.SGD(
        optimizers.schedules.ExponentialDecay(0.1, 9, 0.5)
    ),
    "BinaryCrossentropy(from_logits=True)": losses.BinaryCrossentropy(from_logits=True),
    "Huber()": losses.Huber(),
    "Precision(thresholds=[0.2, 0.7])": metrics.Precision([0.2, 0.7]),
    "Constant(value=2.0)": initializers.Constant(2.0),
}


@pytest.mark.parametrize("text", SHOWN)
def test_a_repr_is_the_call_without_the_defaults(text):
    assert repr(SHOWN[text]) == text
    known = {name: cls for module in (layers, optimizers, metrics, losses) for name, cls in vars(module).items()}
    known |= {name: cls for module in (initializers, regularizers, constraints) for name, cls in vars(module).items()}
    assert repr(eval(text, known | vars(optimizers.schedules))) == text


def test_a_class_of_ones_own_that_forgets_an_argument():
    class Mine(layers.Identity):
        def __init__(self, times, once=1):
            super().__init__()
            self.once = once

    assert repr(Mine(3, once=2)) == "Mine(once=2)"


def test_a_model_is_shown_in_a_few_lines():
    rnncore.utils.clear_session()
    model = Sequential([Embedding(20_000, 128, mask_zero=True), LSTM(64), Dense(1, activation="sigmoid")])
    assert repr(model).splitlines() == [
        "<Sequential 'sequential', not built>",
        "  Embedding(20000, 128, mask_zero=True)",
        "  LSTM(64)",
        "  Dense(1, activation='sigmoid')",
    ]
    model.build((None, 80))
    assert repr(model).splitlines() == [
        "<Sequential 'sequential', 2,609,473 parameters>",
        "  Embedding(20000, 128, mask_zero=True)  (None, 80, 128)  2,560,000",
        "  LSTM(64)                               (None, 64)          49,408",
        "  Dense(1, activation='sigmoid')         (None, 1)               65",
    ]
    outer = Sequential([model, Dense(2)], name="outer")
    assert repr(outer) == "<Sequential 'outer', not built>\n  Sequential 'sequential'\n  Dense(2)"
    assert repr(Sequential(name="none")) == "<Sequential 'none', no layers>"


def test_weights_and_gradients_by_name():
    layer = LSTM(4)
    assert (layer.weight_names, dict(layer.gradients)) == ([], {})
    expected = {
        layer: "kernel recurrent_kernel bias",
        RNN([LSTMCell(2, name="a"), LSTMCell(3, use_bias=False, name="b")]): "a/kernel a/recurrent_kernel a/bias "
        "b/kernel b/recurrent_kernel",
        Bidirectional(GRU(2, use_bias=False, name="g")): "forward_g/kernel forward_g/recurrent_kernel "
        "backward_g/kernel backward_g/recurrent_kernel",
        Sequential([LSTM(2, name="l"), Dense(1, name="d")]): "l/kernel l/recurrent_kernel l/bias d/kernel d/bias",
    }
    for layer, names in expected.items():
        layer.backward(np.ones_like(layer(np.ones((2, 3, 2)))))
        assert layer.weight_names == names.split()
        assert {*layer.gradients} == {*layer.weight_names}
        for name, weight, gradient in zip(layer.weight_names, layer.weights, layer.get_gradients(), strict=True):
            assert np.shape(gradient) == weight.shape
            assert layer.gradients[name] is gradient


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_study_and_gradcheck_come_with_the_package():
    code = "import json, sys, rnncore; before = [*sys.modules]; rnncore.study.trace, rnncore.gradcheck.check_layer; "
    code += "print(json.dumps([dir(rnncore), before, [*sys.modules]]))"
    shown, before, after = run(code)
    shown = {name for name in shown if not name.startswith("__")}
    assert shown == set(rnncore.__all__) >= {"study", "gradcheck", "layers", "Sequential"}
    assert not shown & {
        "sparse",
        "configured",
        "lock",
        "kernels",
        "cells",
        "bptt",
        "compiler",
        "training",
        "unsupported",
    }
    assert "rnncore.study" not in before
    assert not {"numba", "matplotlib", "torch", "onnx"} & {*after}


def test_dir_of_a_module_has_no_modules_of_the_engine():
    for module in (layers, losses, metrics, optimizers, rnncore.models, rnncore.utils):
        inside = [name for name in dir(module) if not name.startswith("__")]
        assert sorted(inside) == sorted(module.__all__)
        assert all(hasattr(module, name) for name in inside)


def summary_of(model, **options):
    lines = []
    model.summary(print_fn=lines.append, **options)
    return "\n".join(lines)


def test_a_summary_where_nothing_is_built_says_so():
    text = summary_of(Sequential([LSTM(3), Dense(1)]))
    assert text.endswith("\n Nothing is built yet: call the model, fit it, or begin with Input(shape).")
    assert "There are no layers yet" in summary_of(Sequential())


NESTED = [("Dense", 3, True), ("inner", [("LSTM", 2, False), ("Dense", 2, True)]), ("Flatten",), ("Dense", 1, True)]


def nested(library):
    """Return a model with one inside of it, in either library."""

    def made(row):
        name, *rest = row
        if name == "inner":
            return library.Sequential([made(part) for part in rest[0]], name="inner")
        if name == "LSTM":
            return library.layers.LSTM(rest[0], return_sequences=True, trainable=rest[1], name="memory")
        return getattr(library.layers, name)(*rest[:1], **({"trainable": rest[1]} if rest else {}))

    library.utils.clear_session()
    return library.Sequential([library.Input((4, 5)), *(made(row) for row in NESTED)])


@pytest.mark.keras
@pytest.mark.parametrize(
    "options",
    [{"expand_nested": True}, {"show_trainable": True}, {"expand_nested": True, "show_trainable": True}]
    + [{"layer_range": ("inner", "flatten")}, {"line_length": 60}, {"positions": [0.5, 0.75, 1.0]}],
    ids=str,
)
def test_a_summary_as_keras_prints_it(options, monkeypatch):
    from keras_reference import frameworks

    keras, _ = frameworks()
    monkeypatch.setenv("COLUMNS", "120")
    ours, theirs = (summary_of(nested(library), **options) for library in (rnncore, keras))
    rows = [[line.split("│") for line in text.splitlines() if line.startswith("│")] for text in (ours, theirs)]
    cells = [[[cell.strip() for cell in row] for row in table] for table in rows]
    assert cells[0] == cells[1]
    assert [line.split() for line in ours.splitlines() if "params" in line] == [
        line.split() for line in theirs.splitlines() if "params" in line
    ]
    if "show_trainable" not in options:  # its heading stays whole here
        assert {len(line) for line in ours.splitlines()[1:6]} == {len(line) for line in theirs.splitlines()[1:6]}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layer_range": ("dense", "nobody")}, "is, or fits, 'nobody'"), ({"line_length": 9}, "line_length is 9")],
)
def test_a_summary_that_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sequential([Input((3,)), Dense(2)]).summary(**options)
