"""One layer, here and in Keras on TensorFlow: same weights, inputs, masks and upstream gradients; all numbers compared.

A `Case` says what to compare, `data_of` draws the arrays, `run_ours` and `run_keras` return everything that comes
out under the same names, `assert_same` holds the two together, and `assert_same_steps` two steps of training.
`draw_case` draws one at random from the tables below. `pair` and `assert_close` do the same service for whole models.

TensorFlow is imported by `frameworks` only, when a test asks for it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

import rnncore
from rnncore import config
from rnncore.layers import RNN, Bidirectional, RecurrentCell

SIZES = (1, 2, 3, 4, 5, 8, 9, 17, 33)  # around the widths of vectors and of blocks of rows
STEPS = (1, 2, 3, 5, 8)
MASKS = ("right", "left", "holes", "row", "nothing")
FORWARD, GRADIENT = ({"float32": single, "float64": 1e-9} for single in (1e-5, 1e-4))

_FLAG = (False, True)
_SELDOM = (False, False, False, True)
_BOUNDED = ("tanh", "sigmoid", "hard_sigmoid", "softsign", "softmax")  # what states may run through without end
_ACTIVATIONS = (
    *_BOUNDED,
    *("relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "exponential", "linear"),
)
# powers of 2, because Keras keeps some of the factors in single precision
_PENALTIES = (("L1", {"l1": 1 / 64}), ("L2", {"l2": 1 / 32}), ("L1L2", {"l1": 1 / 128, "l2": 1 / 64}))
_PENALTY = (None,) * 6 + _PENALTIES
_CONSTRAINTS = (
    ("NonNeg", {}),
    ("MaxNorm", {"max_value": 0.5}),
    ("UnitNorm", {}),
    ("MinMaxNorm", {"min_value": 0.3, "max_value": 0.6, "rate": 0.5}),
)
_CONSTRAINT = (None,) * 8 + _CONSTRAINTS
# columns: of a gated kernel there are several, and Keras divides by the number of pairs
_ORTHOGONAL = ("OrthogonalRegularizer", {"factor": 1 / 16, "mode": "columns"})
_SINGLE = ("gelu", "leaky_relu", _ORTHOGONAL)  # in double precision Keras's have constants in single, or raise

# The values that `draw_case` chooses from, by option.
_WEIGHTS = {
    "use_bias": _FLAG,
    "kernel_regularizer": _PENALTY,
    "bias_regularizer": _PENALTY,
    "kernel_constraint": _CONSTRAINT,
    "bias_constraint": _CONSTRAINT,
}
_CELL = _WEIGHTS | {"recurrent_regularizer": _PENALTY, "recurrent_constraint": _CONSTRAINT}
_GATED = _CELL | dict.fromkeys(("kernel_regularizer", "recurrent_regularizer"), (*_PENALTY, _ORTHOGONAL))
CELLS = {
    "SimpleRNN": _CELL,
    "LSTM": _GATED | {"unit_forget_bias": _FLAG},
    "GRU": _GATED | {"reset_after": _FLAG},
}
DROPOUT = dict.fromkeys(("dropout", "recurrent_dropout"), (0.0, 0.4))
RUN = {  # what the layer around a cell does
    "return_sequences": _FLAG,
    "return_state": _FLAG,
    "go_backwards": _FLAG,
    "stateful": _SELDOM,
    "zero_output_for_mask": _FLAG,
    "activity_regularizer": _PENALTY,
}
FORGOTTEN = {"SimpleRNN": {"activity_regularizer"}}  # arguments that Keras's class takes and drops
MERGE_MODES = ("concat", "sum", "mul", "ave", None)


@cache
def frameworks():
    """Return the modules (keras, tensorflow), imported quietly, on the processor."""
    os.environ |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    import keras
    import tensorflow as tf

    return keras, tf


def made(library: Any, spec: Any) -> Any:
    """Return what `spec` says, from one of the libraries: (class, options) becomes an object, at any depth."""
    if isinstance(spec, list):
        return [made(library, part) for part in spec]
    if not isinstance(spec, tuple):
        return spec
    name, options = spec
    places = (library.layers, library.regularizers, library.constraints, library)
    cls = next(getattr(place, name) for place in places if hasattr(place, name))
    return cls(**{option: made(library, value) for option, value in options.items()})


@dataclass(frozen=True)
class Case:
    """What to compare.

    Attributes
    ----------
    layer : str
        The name of the class, here and there.
    shape : tuple of int
        Of x: (B, T, D) for a recurrent layer, (B, D) for a cell.
    options : mapping
        Arguments of both constructors; (class, options) stands for an object, such as a cell or a regularizer.
    mask : str, optional
        One of `MASKS`.
    initial_state : bool
        Whether random initial states are given.
    training : bool
        With dropout, ours draws the masks and Keras is handed them.
    batches : int
        How many calls come one after another (stateful layers); the gradients are those of the last.
    gain : float
        Of all weights: small where an activation has no bounds.
    dtype, backend : str
    seed : int
        Of all arrays.
    """

    layer: str
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    mask: str | None = None
    initial_state: bool = False
    training: bool = False
    batches: int = 1
    gain: float = 1.0
    dtype: str = "float32"
    backend: str = "numba"
    seed: int = 0

    def build(self, library: Any) -> Any:
        """Return the built layer of a library, in the dtype that is set."""
        layer = made(library, (self.layer, self.options))
        getattr(layer, "ensure_built", layer.build)(self.shape)
        return layer

    def call(self, layer: Any, x: Any, data: Any, states: Any) -> Any:
        """Return what a layer of either library makes of x."""
        options = {"training": self.training}
        if data.mask is not None:
            options["mask"] = data.mask
        if states is not None:
            options["states" if self.layer.endswith(("Cell", "Cells")) else "initial_state"] = states
        return layer(x, **options)


@dataclass(frozen=True)
class Data:
    """What goes in: x of each batch, the mask, the initial states (nested as a call takes them) and the weights."""

    x: list[np.ndarray]
    mask: np.ndarray | None
    states: list[Any] | None
    weights: list[np.ndarray]


def draw_case(rng: np.random.Generator, kind: str | None = None) -> Case:
    """Return a random case, of one of `KINDS`.

    In the compiled backend the activations are the default ones, because each pair of them is compiled anew.
    """
    draw = _Draw(rng)
    layer, options = KINDS[kind or draw.pick(list(KINDS))](draw)
    rows, steps, features = draw.pick(SIZES), draw.pick(STEPS[:2] if draw.wild else STEPS), draw.pick(SIZES)
    if features == 1 or "'units': 1," in repr(options):  # there Keras's gradient of |cos 0°| is noise, which is 0
        options = _replaced(options, _ORTHOGONAL, _PENALTIES[1])
    is_cell = layer.endswith(("Cell", "Cells"))
    # Keras halves the list of states: it must be as long in both directions
    halves = {options[name][0] == "LSTM" for name in ("layer", "backward_layer") if "backward_layer" in options}
    takes_states = layer not in ("Sequential", "TimeDistributed") and len(halves) < 2
    return Case(
        layer,
        (rows, features) if is_cell else (rows, steps, features),
        options,
        mask=None if is_cell or layer == "Sequential" else draw.pick((None, *MASKS)),
        initial_state=is_cell or (takes_states and draw.pick(_FLAG)),
        training=draw.training,
        batches=2 if "'stateful': True" in repr(options) else 1,
        gain=0.2 if draw.wild else 1.0,
        dtype=draw.dtype,
        backend=draw.backend,
        seed=int(rng.integers(2**31)),
    )


def _replaced(options: Any, old: Any, new: Any) -> Any:
    """Return options with another value for one of them, in all layers."""
    if options == old:
        return new
    if isinstance(options, dict):
        return {name: _replaced(value, old, new) for name, value in options.items()}
    if isinstance(options, (list, tuple)):
        return type(options)(_replaced(value, old, new) for value in options)
    return options


class _Draw:
    """The choices of one case."""

    def __init__(self, rng):
        self.rng, self.dtype = rng, "float32"
        self.backend = self.pick(config.BACKENDS)
        self.wild = self.backend == "numpy" and self.pick(_FLAG)
        self.training = self.pick(_FLAG)
        self.dtype = self.pick(list(FORWARD))

    def pick(self, values):
        allowed = [value for value in values if self.dtype == "float32" or value not in _SINGLE]
        return allowed[int(self.rng.integers(len(allowed)))]

    def options(self, *tables):
        chosen = {name: self.pick(values) for table in tables for name, values in table.items()}
        return {name: value for name, value in chosen.items() if value is not None}

    def sized(self, *tables, **fixed):
        options = {"units": self.pick(SIZES)} | self.options(*tables) | fixed
        if options["units"] == 1:  # where softmax has nothing to choose from, and Keras warns
            options = {name: "tanh" if value == "softmax" else value for name, value in options.items()}
        return options

    def cell(self, suffix="Cell", **fixed):
        name = self.pick(list(CELLS))
        tables = [CELLS[name], DROPOUT] if self.training else [CELLS[name]]
        if self.backend == "numpy":
            names = ("activation",) if name == "SimpleRNN" else ("activation", "recurrent_activation")
            tables.append(dict.fromkeys(names, _ACTIVATIONS if self.wild else _BOUNDED))
        options = self.sized(*tables, **fixed)
        return name + suffix, {key: value for key, value in options.items() if key not in FORGOTTEN.get(name, ())}

    def cells(self):
        return [self.cell() for _ in range(self.pick((2, 3)))]

    def layer(self, **fixed):
        """Return a recurrent layer: most often one that makes its own cell."""
        kind = self.pick(("own", "own", "cell", "cells", "stacked"))
        own = self.options(RUN) | fixed
        if kind == "own":
            return self.cell("", **own)
        cell = {"cell": self.cell, "cells": self.cells, "stacked": lambda: ("StackedRNNCells", {"cells": self.cells()})}
        return "RNN", {"cell": cell[kind]()} | own

    def both_ways(self, **fixed):
        merge_mode = self.pick(MERGE_MODES)
        shared = self.options({name: RUN[name] for name in ("return_sequences", "return_state", "stateful")}) | fixed
        if shared["return_state"]:
            shared["stateful"] = False  # Keras's compute_mask raises
        if self.pick(_FLAG):
            return "Bidirectional", {"layer": self.layer(**shared, go_backwards=False), "merge_mode": merge_mode}
        shared["units"], backwards = self.pick(SIZES), self.pick(_FLAG)
        pair = {
            name: self.cell("", **(self.options(RUN) | shared | {"go_backwards": way}))
            for name, way in (("layer", backwards), ("backward_layer", not backwards))
        }
        return "Bidirectional", pair | {"merge_mode": merge_mode}

    def either(self, **fixed):
        return self.both_ways(**fixed) if self.pick(_FLAG) else self.layer(**fixed)

    def dense(self):
        return "Dense", self.sized(_WEIGHTS, {"activation": _ACTIVATIONS})

    def stack(self):
        first = self.either(return_sequences=True, return_state=False)
        while "'merge_mode': None" in repr(first):
            first = self.either(return_sequences=True, return_state=False)
        return "Sequential", {"layers": [first, self.layer(return_state=False)]}


KINDS: dict[str, Callable[[_Draw], Any]] = {
    "one layer": lambda draw: draw.cell("", **draw.options(RUN)),
    "layer or cells": _Draw.layer,
    "Bidirectional": _Draw.both_ways,
    "two layers": _Draw.stack,
    "TimeDistributed": lambda draw: ("TimeDistributed", {"layer": draw.dense()}),
    "cell": _Draw.cell,
    "StackedRNNCells": lambda draw: ("StackedRNNCells", {"cells": draw.cells()}),
}


def draw_mask(kind: str | None, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray | None:
    """Return a mask of `shape` (B, T), False where a step is padding."""
    if kind is None:
        return None
    rows, steps = shape
    lengths = rng.integers(1, steps + 1, (rows, 1))
    if kind == "right":
        return np.arange(steps) < lengths
    if kind == "left":
        return np.arange(steps) >= steps - lengths
    mask = rng.random(shape) < 0.6
    if kind == "row":
        mask[rng.integers(rows)] = False
    return mask & (kind != "nothing")


def data_of(case: Case) -> Data:
    """Return the arrays of a case."""
    keras, _ = frameworks()
    rng = np.random.default_rng(case.seed)
    with using(case):
        layer = case.build(rnncore)

    def normal(shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(case.dtype)

    if layer.input_kind == "integer":
        x = [rng.integers(0, layer.input_dim, case.shape)]
    else:
        x = [normal(case.shape) for _ in range(case.batches)]
    # about 0.6 / sqrt(rows): linear cells stay bounded over the steps
    weights = [normal(w.shape, case.gain * (0.6 / np.sqrt(len(w)) if w.ndim > 1 else 0.5)) for w in layer.get_weights()]
    states = None
    if case.initial_state:
        states = keras.tree.map_structure(lambda units: normal((case.shape[0], units)), _state_sizes(layer))
    return Data(x, draw_mask(case.mask, case.shape[:2], rng), states, weights)


def _state_sizes(layer):
    """Return the sizes of the states of a layer of ours, nested as a call takes them."""
    if isinstance(layer, Bidirectional):
        return [size for child in layer.children() for size in _state_sizes(child)]
    return layer.cell.state_size if isinstance(layer, RNN) else layer.state_size


def _upstream(case, outputs):
    """Return a gradient for each output, the same in both libraries."""
    rng = np.random.default_rng([case.seed, 1])
    return [rng.standard_normal(y.shape).astype(case.dtype) for y in outputs]


def run_ours(case: Case, data: Data) -> tuple[dict[str, Any], list[Any]]:
    """Return what rnncore makes of `data`, and what was dropped: by batch and cell, of the input and of the state.

    By name there are the outputs, the output's mask, the penalties and, after "d ", gradients.
    """
    tree = frameworks()[0].tree
    outputs, drops, states = [], [], data.states
    with using(case):
        layer = case.build(rnncore)
        layer.set_weights(data.weights)
        for x in data.x:
            y = case.call(layer, x, data, states)
            outputs += tree.flatten(y)
            cells = [part for part in layer.walk() if isinstance(part, RecurrentCell)]
            drops.append([cell.draws for cell in cells])
            states = None
        mask, penalty = layer.compute_mask(x, data.mask), layer.penalty()
        dy = tree.pack_sequence_as(y, _upstream(case, tree.flatten(y)))
        dx = layer.backward(*dy) if isinstance(y, tuple) else layer.backward(dy)
    dstates = tree.flatten(layer.state_gradients) if data.states and case.batches == 1 else []
    dweights = [np.asarray(gradient) for gradient in layer.get_gradients()]
    return _named(outputs, mask, penalty, dx, dweights, dstates), drops


def run_keras(case: Case, data: Data, drops: Sequence[Any]) -> dict[str, Any]:
    """Return by name what Keras makes of `data` when it drops the same."""
    keras, tf = frameworks()
    tree, outputs = keras.tree, []
    with using(case):
        layer = case.build(keras)
        layer.set_weights(data.weights)
        weights = [variable.value for variable in layer.trainable_variables]
        states = given = data.states and tree.map_structure(tf.constant, data.states)
        for x, dropped in zip(map(tf.constant, data.x), drops, strict=True):
            _hand_over(dropped, layer)
            with tf.GradientTape() as tape:
                sources = [x, *weights, *(tree.flatten(states) if data.states and case.batches == 1 else [])]
                sources = [array for array in sources if array.dtype.is_floating]
                tape.watch(sources)
                y = tree.flatten(case.call(layer, x, data, given))
                penalty = sum(layer.losses)
                loss = penalty + sum(tf.reduce_sum(r * part) for r, part in zip(_upstream(case, y), y, strict=True))
            outputs += [part.numpy() for part in y]
            given = None
        mask = tree.flatten(layer.compute_mask(x, data.mask))
    gradients = [
        tf.convert_to_tensor(gradient).numpy()
        for gradient in tape.gradient(loss, sources, unconnected_gradients="zero")
    ]
    dx = gradients.pop(0) if x.dtype.is_floating else None
    return _named(outputs, mask[0], penalty, dx, gradients[: len(weights)], gradients[len(weights) :])


def _named(outputs, mask, penalty, dx, dweights, dstates):
    """Return everything in one dictionary."""
    groups = {"y": outputs, "mask": [mask], "penalty": [np.float64(penalty)]}
    groups |= {"d x": [dx], "d weight": dweights, "d state": dstates}
    return {f"{name} {n}": array for name, arrays in groups.items() for n, array in enumerate(arrays)}


def _hand_over(drops, layer):
    """Make the cells of a layer of Keras drop what ours did."""
    for cell, dropped in zip(_cells_of(layer) if drops else [], drops, strict=True):
        for drop, method in zip(dropped, ("get_dropout_mask", "get_recurrent_dropout_mask"), strict=True):
            if drop is not None:
                masks = list(drop) if len(drop) > 1 else drop[0]
                setattr(cell, method, lambda _, masks=masks: masks)


def _cells_of(layer):
    """Return the cells of a layer of Keras, from the first."""
    parts = [getattr(layer, name) for name in ("forward_layer", "backward_layer", "cell") if hasattr(layer, name)]
    parts += [*getattr(layer, "cells", []), *getattr(layer, "layers", [])]
    return [cell for part in parts for cell in _cells_of(part)] or [layer]


def assert_same(case: Case, data: Data | None = None) -> None:
    """Compare everything that comes out of a layer here and in Keras; a tensor that all but vanishes, by the others."""
    data = data_of(case) if data is None else data
    ours, drops = run_ours(case, data)
    theirs = run_keras(case, data, drops)
    assert list(ours) == list(theirs), case
    # inside a layer numbers are about 1, and Keras rounds exp(z) - 1 as such, however small what comes out
    for limits, is_gradient, floor in ((FORWARD, False, 0.02), (GRADIENT, True, 0.001)):
        group = {name: array for name, array in theirs.items() if name.startswith("d ") == is_gradient}
        largest = max(np.abs(array).max(initial=0) for array in group.values() if array is not None)
        for name, expected in group.items():
            assert_close(ours[name], expected, limits[case.dtype], f"{name} of {case}", max(1e-3 * largest, floor))


def assert_same_steps(case: Case) -> None:
    """Compare losses and weights of two steps of training, from the same weights; padding is masked as a value."""
    data, results = data_of(case), []
    x = data.x[0] if data.mask is None else np.where(data.mask[:, :, None], data.x[0], np.zeros((), case.dtype))
    with using(case):
        for library in (rnncore, frameworks()[0]):
            layer = case.build(library)
            model = library.Sequential([*([library.layers.Masking()] if case.mask else []), layer])
            model.build(case.shape)
            model.set_weights(data.weights)
            eager = {} if library is rnncore else {"run_eagerly": True}
            model.compile(library.optimizers.SGD(0.1), "mse", **eager)
            y = np.random.default_rng(case.seed).standard_normal(layer.compute_output_shape(case.shape))
            losses = [np.float64(model.train_on_batch(x, y.astype(case.dtype))) for _ in range(2)]
            results.append((losses, model.get_weights()))
    (our_losses, ours), (losses, theirs) = results
    for n, values in enumerate(zip(our_losses, losses, strict=True)):
        assert_close(*values, GRADIENT[case.dtype], f"loss {n} of {case}")
    for n, weights in enumerate(zip(ours, theirs, strict=True)):
        assert_close(*weights, GRADIENT[case.dtype], f"weight {n} after two steps of {case}")


def can_train(case: Case) -> bool:
    """Say whether a `Sequential` takes the layer, and the steps of both libraries are the same: no dropout."""
    several = any(f"'{name}" in repr(case.options) for name in ("return_state': True", "merge_mode': None"))
    return len(case.shape) == 3 and not several and not case.training


def assert_close(ours: Any, theirs: Any, limit: float, label: str, least: float = 0.0) -> None:
    """Compare two arrays: the same shape and dtype, entries within `limit` of the largest one of theirs, or `least`."""
    if theirs is None or ours is None:
        assert ours is theirs, label
        return
    theirs = np.asarray(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), label
    if theirs.dtype.kind != "f":
        assert np.array_equal(ours, theirs), label
        return
    largest = max(np.abs(theirs).max(initial=0.0), least)
    error = np.abs(ours - theirs).max(initial=0.0)
    assert error <= limit * largest + 1e-30, f"{label}: off by {error:.2e}, largest entry {largest:.2e}"


def pair(
    rows: Sequence[tuple[str, Mapping[str, Any]]], input_shape: Sequence[int | None] | None = None, seed: int = 0
) -> list[Any]:
    """Return [ours, Keras's]: a Sequential of layers, given by class and options, in each of the libraries.

    With `input_shape` they are built, and have the same random weights. Names are numbered from the start.
    """
    keras, _ = frameworks()
    keras.utils.clear_session()
    rnncore.layers.scopes.reset_names()
    models = [library.Sequential([made(library, row) for row in rows]) for library in (rnncore, keras)]
    if input_shape is not None:
        rng = np.random.default_rng(seed)
        for model in models:
            model.build(input_shape)
        weights = [rng.normal(0, 1 / np.sqrt(min(w.shape)), w.shape) for w in models[0].get_weights()]
        for model in models:
            model.set_weights(weights)
    return models


@contextmanager
def using(case: Case):
    """Let both libraries compute in the dtype of a case for a while, and ours in its backend, from its seed."""
    keras, _ = frameworks()
    before = keras.config.floatx(), keras.config.dtype_policy()
    settings, config._settings = config._settings, dict(config._settings)
    config.set_backend(case.backend)
    config.set_floatx(case.dtype)
    config.set_seed(case.seed)
    keras.config.set_floatx(case.dtype)  # the factors of penalties go by it
    keras.config.set_dtype_policy(case.dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
        config._settings = settings
