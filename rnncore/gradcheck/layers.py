"""A layer, a cell or a model as the problem that is checked: its weights, input and states are the arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from ..layers.base import Layer
from ..layers.checks import plain
from ..layers.recurrent import RNN
from ..layers.rnn_cells import RecurrentCell, StackedRNNCells
from ..training.trainer import NO_LOSS, Trainer
from .problem import Problem, flat, shaped, told


def checked_layer(layer: Any, kind: type = Layer, what: str = "layer") -> Any:
    """Return the layer, or raise TypeError: a class is not yet one."""
    if isinstance(layer, type):
        raise TypeError(f"{what} is the class {layer.__name__}; expected an object of it: {layer.__name__}(…)")
    if not isinstance(layer, kind):
        hint = " (for two functions there is check)" if callable(layer) else ""
        raise TypeError(f"{what} is {told(layer)}; expected a {what}{hint}")
    return layer


@contextmanager
def layer_problem(layer: Layer, x: Any, mask: Any, training: bool, initial_state: Any) -> Iterator[Problem]:
    """Yield the problem of a layer or cell, which computes on copies of its weights within the block."""
    x = plain(x, "x")
    is_cell = isinstance(layer, (RecurrentCell, StackedRNNCells))

    def run(x, states):
        given = {} if states is None else {"states" if is_cell else "initial_state": states}
        if is_cell:
            return layer(x, training=training, **given)
        return layer(x, mask=mask, training=training, **given)

    with ExitStack() as opened:
        layer.ensure_built(layer.checked_input(x).shape)
        rewind = opened.enter_context(same_start(layer))
        run(x, initial_state)  # refuses what does not fit
        rewind()
        opened.enter_context(in_dtype(layer, "float64"))
        opened.enter_context(_any_features(layer))
        weights = list(_named(layer))
        states = [np.array(state, np.float64) for state in flat(initial_state)]
        x = x.astype(np.float64) if x.dtype.kind == "f" else x
        names = [*(name for name, _, _ in weights), "x", *(f"initial_state[{n}]" for n in range(len(states)))]
        held = [] if x.dtype.kind == "f" else [len(weights)]
        arrays = [*(getattr(leaf, name).copy() for _, leaf, name in weights), x, *states]
        like: list[Any] = [None]

        def forward(arrays):
            rewind()
            kind = any(isinstance(a, np.ndarray) and a.dtype.kind == "c" for a in arrays)
            _cast(layer, "complex128" if kind else "float64")
            for (_, leaf, name), array in zip(weights, arrays, strict=False):
                _put(leaf, name, np.ascontiguousarray(array))
            after = arrays[len(weights) + 1 :]
            like[0] = run(arrays[len(weights)], shaped(after, initial_state) if states else initial_state)
            return [*flat(like[0]), np.asarray(layer.penalty())]

        def backward(dys, arrays):
            forward(arrays)
            dys = shaped(dys[:-1], like[0])
            dx = layer.backward(*dys) if is_cell else layer.backward(dys)
            found = [np.asarray(leaf.gradients[name]) for _, leaf, name in weights]
            after = list(flat(layer.state_gradients)) if states else []
            return [*found, None if held else dx, *after]

        problem = Problem(names, arrays, [n for n in range(len(arrays)) if n not in held], forward, backward, fixed=1)
        problem.label = f"{type(layer).__name__} {layer.name!r}"
        _describe(problem, layer)
        yield problem


def _describe(problem: Problem, layer: Layer) -> None:
    """Say what is known of a layer's gates, steps, equations and dropout."""
    cells = [part for part in layer.walk() if isinstance(part, RecurrentCell)]
    problem.cells = [(cell.name, cell._cell) for cell in cells]
    rates = {getattr(p, o, 0) for p in layer.walk() for o in ("dropout", "recurrent_dropout", "rate")}
    problem.rates = tuple(sorted(r for r in rates if isinstance(r, float) and r))
    for cell in cells:
        for weight in ("kernel", "recurrent_kernel", "bias"):
            for name in (weight, f"{cell.name}.{weight}"):
                if name in problem.names:
                    problem.gates[name] = cell._cell.gates
    x = problem.names.index("x") if "x" in problem.names else -1
    if x in problem.moved and problem.arrays[x].ndim == 3:
        problem.time_axis = {"x": 1}
    problem.backwards = isinstance(layer, RNN) and layer.go_backwards


@contextmanager
def model_problem(model: Any, x: Any, y: Any, sample_weight: Any, training: bool) -> Iterator[Problem]:
    """Yield the problem of a compiled model's loss with respect to its weights."""
    if model.loss is None:
        raise ValueError(NO_LOSS.format(model.name))
    x, y, sample_weight = model.checked_data(x, y, sample_weight)
    model.ensure_built(x.shape)
    with in_dtype(model, "float64"), same_start(model) as rewind:
        weights = list(_named(model))

        def value_and_gradient(arrays):
            rewind()
            for (_, leaf, name), array in zip(weights, arrays, strict=True):
                _put(leaf, name, np.ascontiguousarray(array))
            return model.loss_and_gradient(y, model.forward(x, training=training), sample_weight)

        def backward(dys, arrays):
            model.backward_from_loss(value_and_gradient(arrays)[1])
            return [np.asarray(leaf.gradients[name]) for _, leaf, name in weights]

        arrays = [getattr(leaf, name).copy() for _, leaf, name in weights]
        names, moved = [name for name, _, _ in weights], list(range(len(arrays)))
        problem = Problem(names, arrays, moved, lambda a: [np.asarray(value_and_gradient(a)[0])], backward, fixed=1)
        problem.label = f"{type(model).__name__} {model.name!r}"
        _describe(problem, model)
        yield problem


def checked_model(model: Any) -> Any:
    """Return a model that can be trained, or raise TypeError."""
    return checked_layer(model, Trainer, "model")


@contextmanager
def in_dtype(layer: Layer, dtype: str) -> Iterator[None]:
    """Let a layer and its parts compute in `dtype` for a while, on copies of their weights."""
    parts = layer.walk()
    before = [(part, part.dtype, {name: getattr(part, name) for name in part.own_weights}) for part in parts]
    try:
        for part, _, weights in before:
            for name, weight in weights.items():
                _put(part, name, weight.copy())
        _cast(layer, dtype)
        yield
    finally:
        for part, own, weights in before:
            part.dtype = own
            for name, weight in weights.items():
                _put(part, name, weight)


def _put(layer: Layer, name: str, weight: np.ndarray) -> None:
    """Put an array in the place of a layer's weight, in every attribute that holds it: a user's layer may have two."""
    before = getattr(layer, name)
    for each in {name: None, **{each: None for each, value in vars(layer).items() if value is before}}:
        setattr(layer, each, weight)


def _cast(layer: Layer, dtype: str) -> None:
    """Let a layer and its parts compute in `dtype` from now on."""
    for part in layer.walk():
        if part.dtype != dtype:
            part.dtype = dtype
            for name in part.own_weights:
                weight = getattr(part, name)
                real = weight.real if weight.dtype.kind == "c" and dtype != "complex128" else weight
                _put(part, name, real.astype(dtype))


@contextmanager
def _any_features(layer: Layer) -> Iterator[None]:
    """Let a recurrent layer take inputs of another number of features: its kernel is an argument here."""
    before = layer.input_shape
    try:
        if isinstance(layer, RNN):
            layer.input_shape = None
        yield
    finally:
        layer.input_shape = before


@contextmanager
def same_start(layer: Layer) -> Iterator[Callable[[], None]]:
    """Yield a function that sets random generators, what is kept between batches and averages back to what they are."""
    draws = [(generator, generator.bit_generator.state) for generator in layer.generators()]
    averages = [(part, name, getattr(part, name).copy()) for part, name in _moving(layer)]
    kept = [(part, part.kept_states) for part in layer.walk() if hasattr(part, "kept_states")]

    def rewind():
        for generator, state in draws:
            generator.bit_generator.state = state
        for part, states in kept:
            part.kept_states = states
        for part, name, average in averages:
            _put(part, name, average.astype(part.dtype))

    try:
        yield rewind
    finally:
        rewind()


def _named(layer: Layer) -> Iterator[tuple[str, Layer, str]]:
    """Yield each trainable weight: what it is called, whose it is, its name there."""
    alone = len(layer.leaves()) == 1
    for part, name in layer.trainable_parts():
        yield (name if alone else f"{part.name}.{name}"), part, name


def _moving(layer: Layer) -> list[tuple[Layer, str]]:
    return [(part, name) for part in layer.walk() for name in part.own_weights if name in part.moving]
