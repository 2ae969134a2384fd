"""Live against Keras on TensorFlow: the recurrent family, drawn at random, wrapped, stacked, and cell by cell."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from cases import RUN_SEED, few_at_first, some
from keras_reference import (
    KINDS,
    MERGE_MODES,
    Case,
    assert_same,
    assert_same_steps,
    can_train,
    draw_case,
    frameworks,
    made,
    pair,
)

import rnncore

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module", autouse=True)
def keras():
    return frameworks()[0]


# --- at random -------------------------------------------------------------------------------------------------------


def assert_same_draw(*seed):
    case = draw_case(np.random.default_rng(seed))
    print(case)
    assert_same(case)
    if can_train(case):
        assert_same_steps(case)


@pytest.mark.parametrize("number", range(20))
def test_random_configurations(number):
    print(f"RNNCORE_TEST_SEED={RUN_SEED}")
    assert_same_draw(RUN_SEED, number)


@pytest.mark.slow
@pytest.mark.parametrize("seed", some(range(500), 40))
def test_many_random_configurations(seed):
    assert_same_draw(seed)


def test_draws_reach_everything():
    drawn = [draw_case(np.random.default_rng(seed)) for seed in range(500)]
    text = repr(drawn)
    layers = "SimpleRNN LSTM GRU RNN Bidirectional TimeDistributed Sequential SimpleRNNCell LSTMCell GRUCell"
    objects = "StackedRNNCells L1 L2 L1L2 OrthogonalRegularizer NonNeg MaxNorm UnitNorm MinMaxNorm"
    activations = "tanh sigmoid hard_sigmoid softsign softmax relu relu6 leaky_relu elu selu gelu silu softplus"
    masks = "right left holes row nothing"
    for name in " ".join([layers, objects, activations, masks, "exponential linear concat sum mul ave"]).split():
        assert f"'{name}'" in text, name
    for option in ("use_bias", "reset_after", "unit_forget_bias", "stateful", "go_backwards", "zero_output_for_mask"):
        assert f"'{option}': True" in text and f"'{option}': False" in text, option
    for option in ("activity_regularizer", "bias_constraint", "recurrent_regularizer", "backward_layer"):
        assert f"'{option}': (" in text, option
    assert "'merge_mode': None" in text and len(KINDS) == len({kind_of(case) for case in drawn})
    assert sum(map(can_train, drawn)) > 100 and sum(case.training for case in drawn) > 100


def kind_of(case):
    if case.layer in ("SimpleRNN", "LSTM", "GRU"):
        return "one layer"
    return (
        "cell"
        if case.layer.endswith("Cell")
        else {"RNN": "layer or cells", "Sequential": "two layers"}.get(case.layer, case.layer)
    )


# --- wrapped, one by one ---------------------------------------------------------------------------------------------

SEQUENCES = {"return_sequences": True}
STATES = {"return_state": True}
TWO_CELLS = [("LSTMCell", {"units": 3}), ("GRUCell", {"units": 5})]
PENALTIES = {  # each with a default factor; rows of the kernels, as the default of the orthogonal one is
    "kernel_regularizer": "l2",
    "recurrent_regularizer": "orthogonal_regularizer",
    "bias_regularizer": "l1",
}


@pytest.mark.parametrize("mask", few_at_first([None, "holes", "left"], 2))
@pytest.mark.parametrize("options", [{}, SEQUENCES, SEQUENCES | STATES], ids=["last", "all", "states"])
@pytest.mark.parametrize("merge_mode", MERGE_MODES)
def test_bidirectional(merge_mode, options, mask):
    layer = ("LSTM", {"units": 3} | options)
    assert_same(
        Case("Bidirectional", (4, 6, 2), {"layer": layer, "merge_mode": merge_mode}, mask, mask not in (None, "row"))
    )


OTHERS = {
    "a backward layer": Case(
        "Bidirectional",
        (4, 6, 2),
        {
            "layer": ("GRU", {"units": 3} | SEQUENCES),
            "backward_layer": ("SimpleRNN", {"units": 5, "go_backwards": True} | SEQUENCES),
        },
        "holes",
        initial_state=True,
    ),
    "cells both ways": Case(
        "Bidirectional", (4, 6, 2), {"layer": ("RNN", {"cell": TWO_CELLS} | SEQUENCES | STATES)}, "holes", True
    ),
    "two cells": Case("RNN", (4, 6, 2), {"cell": TWO_CELLS} | SEQUENCES | STATES, "left", initial_state=True),
    "stateful cells": Case("RNN", (4, 6, 2), {"cell": TWO_CELLS, "stateful": True}, "right", batches=2),
    "a stack both ways": Case(
        "Sequential",
        (4, 6, 2),
        {
            "layers": [
                ("Bidirectional", {"layer": ("LSTM", {"units": 3} | SEQUENCES)}),
                ("Bidirectional", {"layer": ("LSTM", {"units": 4})}),
            ]
        },
    ),
    "every step by itself": Case("TimeDistributed", (4, 6, 2), {"layer": ("Dense", {"units": 3})}, "holes"),
    "a layer at every step": Case("TimeDistributed", (4, 6, 3, 2), {"layer": ("LSTM", {"units": 3})}),
    "penalties": Case("LSTM", (4, 6, 2), {"units": 3} | PENALTIES | {"activity_regularizer": "l1"}, "holes"),
    "penalties of both ways": Case(
        "Bidirectional", (4, 6, 2), {"layer": ("GRU", {"units": 3, "activity_regularizer": "l2"} | PENALTIES)}, "left"
    ),
    "a penalty on states": Case(
        "LSTM", (4, 6, 2), {"units": 3, "activity_regularizer": "l2"} | SEQUENCES | STATES, "right"
    ),
    "a penalty on states of cells": Case(
        "RNN", (4, 6, 2), {"cell": TWO_CELLS, "activity_regularizer": "l1"} | STATES, initial_state=True
    ),
}


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("other", OTHERS)
def test_wrapped_and_penalized(other, backend):
    assert_same(replace(OTHERS[other], backend=backend))


CONSTRAINED = {
    "SimpleRNN": ("SimpleRNN", {"units": 3}),
    "LSTM": ("LSTM", {"units": 3}),
    "GRU": ("GRU", {"units": 3}),
    "both ways": ("Bidirectional", {"layer": ("GRU", {"units": 3, "reset_after": False})}),
    "two cells": ("RNN", {"cell": TWO_CELLS}),
    "every step": ("TimeDistributed", {"layer": ("Dense", {"units": 3})}),
}


def constrained(spec, constraint):
    """Return a layer's spec with the constraint on every weight of whatever has weights."""
    if isinstance(spec, list):
        return [constrained(part, constraint) for part in spec]
    name, options = spec
    inside = {key: constrained(value, constraint) for key, value in options.items() if isinstance(value, (tuple, list))}
    weights = ("kernel", "bias") if name == "Dense" else ("kernel", "recurrent", "bias")
    return name, options | (inside or {f"{weight}_constraint": constraint for weight in weights})


@pytest.mark.parametrize("constraint", few_at_first(["max_norm", "min_max_norm", "non_neg", "unit_norm"], 2))
@pytest.mark.parametrize("layer", CONSTRAINED)
def test_constraints_after_two_steps(layer, constraint):
    name, options = constrained(CONSTRAINED[layer], constraint)
    assert_same_steps(Case(name, (4, 5, 2), options, mask="right"))


# --- cells by themselves ---------------------------------------------------------------------------------------------


CELLS = {
    "SimpleRNNCell": ("SimpleRNNCell", {"units": 3}),
    "LSTMCell": ("LSTMCell", {"units": 3}),
    "GRUCell": ("GRUCell", {"units": 3}),
    "GRUCell, reset before": ("GRUCell", {"units": 3, "reset_after": False}),
}


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"dropout": 0.4, "recurrent_dropout": 0.3}], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_one_step(cell, options, backend):
    name, own = CELLS[cell]
    assert_same(Case(name, (4, 2), own | options, initial_state=True, training=True, backend=backend))


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_one_step_of_cells_on_top_of_one_another(backend):
    cells = {"cells": list(CELLS.values())}
    assert_same(Case("StackedRNNCells", (4, 2), cells, initial_state=True, backend=backend))


# --- weights, arguments, summary -------------------------------------------------------------------------------------


LAYERS = {
    **CONSTRAINED,
    **CELLS,
    "GRU, reset before": ("GRU", {"units": 3, "reset_after": False}),
    "no bias": ("GRU", {"units": 3, "use_bias": False}),
    "stack": ("StackedRNNCells", {"cells": TWO_CELLS}),
    "Dense": ("Dense", {"units": 3}),
    "Embedding": ("Embedding", {"input_dim": 7, "output_dim": 3}),
}


@pytest.mark.parametrize("layer", [*LAYERS, "a backward layer"])
def test_weights_go_both_ways(keras, layer):
    other = OTHERS.get(layer)
    name, options = (other.layer, other.options) if other else LAYERS[layer]
    is_cell = name.endswith(("Cell", "Cells"))
    case = Case(name, (4, 5) if is_cell or name == "Embedding" else (4, 5, 2), options)
    x = np.random.default_rng(0).integers(0, 7, case.shape).astype("float32")
    for source, target in ((rnncore, keras), (keras, rnncore)):
        source, target = case.build(source), case.build(target)
        given = [weight + 0.1 for weight in source.get_weights()]  # none of zeros only
        source.set_weights(given)
        target.set_weights(source.get_weights())
        assert len(target.get_weights()) == len(given)
        assert all(map(np.array_equal, target.get_weights(), given))
        states = (
            [keras.tree.map_structure(lambda n: np.ones((4, n), "float32"), state_sizes(source))] if is_cell else []
        )
        outputs = [keras.tree.flatten(layer(x, *states)) for layer in (source, target)]
        for one, other in zip(*outputs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def state_sizes(cell):
    """Return a list: Keras says a number where there is one state."""
    sizes = [state_sizes(one) for one in cell.cells] if hasattr(cell, "cells") else cell.state_size
    return sizes if isinstance(sizes, list) else [sizes]


OWN = {"bptt_steps", "dense_gradient", "implementation", "zero_output_for_mask"}
OWN |= {"use_cudnn", "seed", "activity_regularizer"}  # which Keras's have, too, often
NOT_OURS = {"dtype", "trainable", "activity_regularizer", "quantization_config"}  # of layers that need none


@pytest.mark.parametrize("layer", LAYERS)
def test_defaults_are_those_of_keras(keras, layer):
    ours, theirs = (made(library, LAYERS[layer]).get_config() for library in (rnncore, keras))
    assert ours.keys() - theirs.keys() <= OWN
    assert theirs.keys() - ours.keys() <= NOT_OURS
    assert_same_config(ours, theirs)


def assert_same_config(ours, theirs):
    """Compare what both say, at any depth; an activation that is left out is linear."""
    if isinstance(theirs, dict):
        for key in ours.keys() & theirs.keys() - {"dtype", "name"}:
            assert_same_config(ours[key], theirs[key])
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same_config(one, other)
    else:
        assert ours == (theirs or "linear" if ours == "linear" else theirs)


@pytest.mark.parametrize("layer", ["SimpleRNN", "LSTM", "GRU", "SimpleRNNCell", "LSTMCell", "GRUCell"])
def test_arguments_come_in_the_order_of_keras(keras, layer):
    ours, theirs = (list(inspect.signature(getattr(x.layers, layer)).parameters) for x in (rnncore, keras))
    shared = [name for name in theirs if name != "kwargs"]
    assert ours[: len(shared)] == shared


BOTH_WAYS = [
    ("Embedding", {"input_dim": 8185, "output_dim": 64}),
    ("Bidirectional", {"layer": ("LSTM", {"units": 64} | SEQUENCES)}),
    ("Bidirectional", {"layer": ("LSTM", {"units": 32})}),
    ("Dense", {"units": 64, "activation": "relu"}),
    ("Dense", {"units": 1}),
]


@pytest.mark.parametrize("shape", [(None, 80), (None, None)])
def test_summary(monkeypatch, shape):
    monkeypatch.setenv("COLUMNS", "80")  # Keras fits its table to the terminal
    texts = []
    for model in pair(BOTH_WAYS, shape):
        lines = []
        model.summary(print_fn=lines.append)
        texts.append("\n".join(lines).rstrip())
    assert texts[0] == texts[1]
    assert all(count in texts[0] for count in ("66,048", "41,216", "635,329"))


@pytest.mark.parametrize("layer", ["LSTM", "both ways"])
def test_reset_state(keras, layer):
    inner = ("LSTM", {"units": 3, "stateful": True})
    spec = inner if layer == "LSTM" else ("Bidirectional", {"layer": inner})
    x = np.random.default_rng(0).standard_normal((4, 5, 2)).astype("float32")
    for library in (rnncore, keras):
        layer = made(library, spec)
        first, second = (np.array(layer(x)) for _ in range(2))
        layer.reset_state()
        assert np.array_equal(first, layer(x)) and not np.array_equal(first, second)
