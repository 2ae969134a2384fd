"""One layer, here and in Keras on TensorFlow: same weights, inputs, masks and upstream gradients; all numbers compared.

A `Case` says what to compare, `data_of` draws the arrays, `run_ours` and `run_keras` return everything that comes
out under the same names, `assert_same` holds the two together. A new recurrent layer needs a line in `DRAWN` to be
drawn at random. `pair` and `assert_close` do the same service for whole models.

TensorFlow is imported by `frameworks` only, when a test asks for it.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

import rnncore
from rnncore import config

SIZES = (1, 2, 3, 4, 5, 8, 9, 17, 33)  # around the widths of vectors and of blocks of rows
STEPS = (1, 2, 3, 5, 8)
MASKS = ("right", "left", "holes", "row", "nothing")
FORWARD, GRADIENT = ({"float32": single, "float64": 1e-9} for single in (1e-5, 1e-4))

_FLAG = (False, True)
_BOUNDED = ("tanh", "sigmoid", "hard_sigmoid")  # what gates a product of states may run through without end
_RECURRENT = {
    "activation": (*_BOUNDED, "relu", "linear"),
    "use_bias": _FLAG,
    "return_sequences": _FLAG,
    "return_state": _FLAG,
    "go_backwards": _FLAG,
    "zero_output_for_mask": _FLAG,
    "dropout": (0.0, 0.4),
    "recurrent_dropout": (0.0, 0.4),
}
DRAWN = {  # the values that `draw_case` chooses from, by layer and option
    "SimpleRNN": _RECURRENT,
    "LSTM": _RECURRENT | {"recurrent_activation": _BOUNDED},
}


@cache
def frameworks():
    """Return the modules (keras, tensorflow), imported quietly, on the processor."""
    os.environ |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    import keras
    import tensorflow as tf

    return keras, tf


@dataclass(frozen=True)
class Case:
    """What to compare.

    Attributes
    ----------
    layer : str
        The name of the class, here and there.
    shape : tuple of int
        Of x: (B, T, D) for a recurrent layer.
    options : mapping
        Arguments of both constructors.
    mask : str, optional
        One of `MASKS`.
    initial_state : bool
        Whether random initial states are given.
    training : bool
        With dropout, ours draws the masks and Keras is handed them.
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
    dtype: str = "float32"
    backend: str = "numba"
    seed: int = 0

    def build(self, layers: Any) -> Any:
        """Return the built layer of a library, given its module of layers."""
        seed = {"seed": self.seed} if self.training else {}
        layer = getattr(layers, self.layer)(**self.options, **seed, dtype=self.dtype)
        getattr(layer, "ensure_built", layer.build)(self.shape)
        return layer

    def call_options(self, data: Any, states: Sequence[Any]) -> dict[str, Any]:
        """Return what goes into the call besides x."""
        options = {"training": self.training}
        if data.mask is not None:
            options["mask"] = data.mask
        if states:
            options["initial_state"] = list(states)
        return options


@dataclass(frozen=True)
class Data:
    """What goes in: x, the mask, the initial states, the weights and one upstream gradient an output."""

    x: np.ndarray
    mask: np.ndarray | None
    states: list[np.ndarray]
    weights: list[np.ndarray]
    upstream: list[np.ndarray]


def draw_case(rng: np.random.Generator, backend: str | None = None) -> Case:
    """Return a random case.

    Without `backend`, that is drawn too, and the compiled one keeps the default activations: it compiles each anew.
    """

    def pick(values):
        return values[rng.integers(len(values))]

    layer, chosen = pick(list(DRAWN)), backend or pick(config.BACKENDS)
    names = [name for name in DRAWN[layer] if backend or chosen == "numpy" or not name.endswith("activation")]
    return Case(
        layer,
        (pick(SIZES), pick(STEPS), pick(SIZES)),
        {"units": pick(SIZES)} | {name: pick(DRAWN[layer][name]) for name in names},
        mask=pick((None, *MASKS)),
        initial_state=pick(_FLAG),
        training=pick(_FLAG),
        dtype=pick(list(FORWARD)),
        backend=chosen,
        seed=int(rng.integers(2**31)),
    )


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
    rng = np.random.default_rng(case.seed)
    layer = case.build(rnncore.layers)

    def normal(shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(case.dtype)

    if layer.input_kind == "integer":
        x = rng.integers(0, layer.input_dim, case.shape)
    else:
        x = normal(case.shape)
    # about 0.6 / sqrt(rows): linear cells stay bounded over the steps
    weights = [normal(w.shape, 0.6 / np.sqrt(len(w)) if w.ndim > 1 else 0.5) for w in layer.get_weights()]
    outputs = layer.compute_output_shape(case.shape)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    states = [normal((case.shape[0], layer.units)) for _ in layer.cell.states] if case.initial_state else []
    mask = draw_mask(case.mask, case.shape[:2], rng)
    return Data(x, mask, states, weights, [normal(shape) for shape in outputs])


def run_ours(case: Case, data: Data) -> dict[str, Any]:
    """Return by name what rnncore makes of `data`: the outputs, the output's mask and, after "d ", gradients."""
    with using_backend(case.backend):
        layer = case.build(rnncore.layers)
        layer.set_weights(data.weights)
        y = layer(data.x, **case.call_options(data, data.states))
        mask = layer.compute_mask(data.x, data.mask)
        dx = layer.backward(data.upstream if isinstance(y, list) else data.upstream[0])
    dstates = layer.state_gradients if data.states else []
    return _named(y, mask, dx, [np.asarray(gradient) for gradient in layer.get_gradients()], dstates)


def run_keras(case: Case, data: Data) -> dict[str, Any]:
    """Return by name what Keras makes of `data`."""
    keras, tf = frameworks()
    layer = case.build(keras.layers)
    layer.set_weights(data.weights)
    _hand_dropout_over(case, layer)
    x, *states = (tf.constant(array) for array in (data.x, *data.states))
    weights = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch([array for array in (x, *states) if array.dtype.is_floating])
        y = layer(x, **case.call_options(data, states))
        loss = sum(tf.reduce_sum(r * part) for r, part in zip(data.upstream, _listed(y), strict=True))
    mask = layer.compute_mask(x, data.mask)
    sources = [array for array in (x, *weights, *states) if array.dtype.is_floating]
    gradients = [
        tf.convert_to_tensor(gradient).numpy()
        for gradient in tape.gradient(loss, sources, unconnected_gradients="zero")
    ]
    dx = gradients.pop(0) if x.dtype.is_floating else None
    y = [part.numpy() for part in _listed(y)]
    return _named(y, _listed(mask)[0], dx, gradients[: len(weights)], gradients[len(weights) :])


def _named(y, mask, dx, dweights, dstates):
    """Return everything in one dictionary."""
    groups = {"y": _listed(y), "mask": [mask], "d x": [dx], "d weight": dweights, "d state": dstates}
    return {f"{name} {n}": array for name, arrays in groups.items() for n, array in enumerate(arrays)}


def _listed(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _hand_dropout_over(case, layer):
    """Make Keras's recurrent layer drop what ours does at its first call."""
    if case.training and hasattr(layer, "cell"):
        drops = case.build(rnncore.layers)._draw_dropout(case.shape[0], case.shape[-1])
        for drop, method in zip(drops, ("get_dropout_mask", "get_recurrent_dropout_mask"), strict=True):
            if drop is not None:
                masks = list(drop) if len(drop) > 1 else drop[0]
                setattr(layer.cell, method, lambda _, masks=masks: masks)


def assert_same(case: Case, data: Data | None = None) -> None:
    """Compare everything that comes out of a layer here and in Keras."""
    data = data_of(case) if data is None else data
    ours, theirs = run_ours(case, data), run_keras(case, data)
    assert list(ours) == list(theirs), case
    for name, expected in theirs.items():
        limits = GRADIENT if name.startswith("d ") else FORWARD
        assert_close(ours[name], expected, limits[case.dtype], f"{name} of {case}")


def assert_close(ours: Any, theirs: Any, limit: float, label: str) -> None:
    """Compare two arrays: the same shape and dtype, entries within `limit` of the largest one of theirs."""
    if theirs is None or ours is None:
        assert ours is theirs, label
        return
    theirs = np.asarray(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), label
    if theirs.dtype.kind != "f":
        assert np.array_equal(ours, theirs), label
        return
    largest = np.abs(theirs).max(initial=0.0)
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
    rnncore.layers.base.reset_names()
    models = [
        library.Sequential([getattr(library.layers, name)(**options) for name, options in rows])
        for library in (rnncore, keras)
    ]
    if input_shape is not None:
        rng = np.random.default_rng(seed)
        for model in models:
            model.build(input_shape)
        weights = [rng.normal(0, 1 / np.sqrt(min(w.shape)), w.shape) for w in models[0].get_weights()]
        for model in models:
            model.set_weights(weights)
    return models


@contextmanager
def using_backend(name: str):
    """Let rnncore run its time loops in another backend for a while."""
    before = config.backend()
    config.set_backend(name)
    try:
        yield
    finally:
        config.set_backend(before)
