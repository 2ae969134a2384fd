"""Is a backward right? The derivative by its definition, against what `backward` returns.

The loss of a layer is ``sum(r * y)`` with a random r, so that every output counts with a weight of its own. Each
entry of each tensor is moved by itself, in float64:

    central       (8 (L(+h) - L(-h)) - (L(+2h) - L(-2h))) / 12h      error O(h^4), rounding about 1e-16 |L| / h
    complex step  Im L(x + ih) / h                                   no difference, so no rounding: h = 1e-30

Source: Squire & Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998).

    >>> print(check_layer(LSTM(4), x))
    >>> assert check_layer(MyLayer(), x).worst < 1e-7
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .configured import look_up
from .layers.base import Layer
from .layers.checks import plain
from .layers.rnn_cells import RecurrentCell, StackedRNNCells
from .lock import locked
from .models import Sequential

STEPS = {"central": 1e-3, "complex": 1e-30}
FINER = 8
DTYPES = {"central": "float64", "complex": "complex128"}


@dataclass(frozen=True)
class Row:
    """The comparison of one tensor.

    Attributes
    ----------
    name : str
    size : int
        Entries, all of them compared.
    error : float
        The largest of ``|analytic - numerical| / max(|analytic|, |numerical|, floor)`` over the entries. The floor
        is a thousandth of the tensor's largest gradient (so that entries near 0 are held to that), and no less
        than 1e8 times what a difference loses to rounding (which then makes an error of 1e-8 at most).
    index : tuple of int
        Where it is.
    analytic, numerical : float
        The two values there.
    """

    name: str
    size: int
    error: float
    index: tuple[int, ...]
    analytic: float
    numerical: float


@dataclass(frozen=True)
class Report:
    """The comparison of all tensors; print it for a table.

    Attributes
    ----------
    rows : list of Row
    method : str
    step : float
    worst : float
        The largest error of all.
    """

    rows: list[Row]
    method: str
    step: float

    @property
    def worst(self) -> float:
        return max((row.error for row in self.rows), default=0.0)

    def __str__(self) -> str:
        head = f"{'tensor':<28} {'entries':>8} {'worst error':>12}  {'at':<14} {'backward':>14} {self.method:>14}"
        lines = [
            f"{r.name:<28} {r.size:>8} {r.error:>12.2e}  {r.index!s:<14} {r.analytic:>14.6e} {r.numerical:>14.6e}"
            for r in self.rows
        ]
        return "\n".join([head, *lines, f"worst {self.worst:.2e}, by {self.method} differences, step {self.step:g}"])


@locked
def check_layer(
    layer: Layer,
    x: Any,
    mask: Any = None,
    training: bool = False,
    initial_state: Any = None,
    method: str = "central",
    step: float | None = None,
    seed: int = 0,
) -> Report:
    """Check the gradients of a layer or cell, of its input (if not integers), and of its initial states.

    Parameters
    ----------
    layer : Layer
        Any layer, yours too, or a model. It is left as it was.
    x : array_like
        Moved as well, where it is not integers.
    mask, training
        As in a call. The same dropout is drawn at every evaluation.
    initial_state : list of array_like, optional
        For recurrent layers; of a cell, the states before the step.
    method : {"central", "complex"}
        "complex" needs a layer whose arithmetic is analytic and whose ``call`` takes complex arrays.
    step : float, optional
        h; default 1e-3, complex 1e-30. Smaller where a kink (relu) may lie between.
    seed : int
        Of the weights r of the outputs.

    Returns
    -------
    Report
    """
    x = plain(x, "x")
    method_dtype = look_up(method, DTYPES, "method")
    is_cell = isinstance(layer, (RecurrentCell, StackedRNNCells))

    def run(x, states):
        given = {} if states is None else {"states" if is_cell else "initial_state": states}
        if is_cell:
            return layer(x, training=training, **given)
        return layer(x, mask=mask, training=training, **given)

    layer.ensure_built(layer.checked_input(x).shape)
    with same_start(layer) as rewind:
        run(x, initial_state)  # refuses what does not fit
        rewind()
        with in_dtype(layer, "float64"):
            x = x.astype(np.float64) if x.dtype.kind == "f" else x
            states = [np.array(state, np.float64) for state in _flat(initial_state)]
            y = run(x, _shaped(states, initial_state))
            rng = np.random.default_rng(seed)
            r = [rng.standard_normal(part.shape) for part in _flat(y)]
            dx = layer.backward(*_shaped(r, y)) if is_cell else layer.backward(_shaped(r, y))
            analytic = _weight_gradients(layer)
            if dx is not None and x.dtype.kind == "f":
                analytic["x"] = dx
            if states:
                gradients = _flat(layer.state_gradients)  # type: ignore[attr-defined]  # it took states
                analytic |= {f"initial_state[{n}]": gradient for n, gradient in enumerate(gradients)}

            with in_dtype(layer, method_dtype):
                moved = {"x": x} | {f"initial_state[{n}]": state for n, state in enumerate(states)}
                moved = {name: array.astype(method_dtype) for name, array in moved.items() if name in analytic}
                moved |= _weights(layer)

                def loss():
                    rewind()
                    start = [moved[f"initial_state[{n}]"] for n in range(len(states))]
                    y = run(moved.get("x", x), _shaped(start, initial_state))
                    return layer.penalty() + sum(np.sum(a * b) for a, b in zip(r, _flat(y), strict=True))

                return compare(loss, {name: moved[name] for name in analytic}, analytic, method, step)


@locked
def check_model(
    model: Sequential,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    training: bool = False,
    step: float | None = None,
) -> Report:
    """Check the gradients of a compiled model's loss with respect to every weight, by central differences.

    Parameters
    ----------
    model : Sequential
        With a loss. It is left as it was.
    x, y, sample_weight, training
        As in `Sequential.fit`.
    step : float, optional

    Returns
    -------
    Report
    """
    x, y, sample_weight = model.checked_data(x, y, sample_weight)
    model.ensure_built(x.shape)
    with in_dtype(model, "float64"), same_start(model) as rewind:

        def value_and_gradient():
            rewind()
            return model.loss_and_gradient(y, model.forward(x, training=training), sample_weight)

        model.backward_from_loss(value_and_gradient()[1])
        analytic = _weight_gradients(model)
        return compare(lambda: value_and_gradient()[0], _weights(model), analytic, "central", step)


def compare(
    loss: Callable[[], Any],
    arrays: dict[str, np.ndarray],
    analytic: dict[str, Any],
    method: str = "central",
    step: float | None = None,
) -> Report:
    """Compare analytic gradients with numerical ones of a function of no arguments.

    Parameters
    ----------
    loss : callable
        Reads `arrays`, which are changed in place, entry by entry, and put back.
    arrays : dict of str to ndarray
        float64, or complex128 for the complex step.
    analytic : dict of str to ndarray
        The gradients to check, by the same names.
    method : {"central", "complex"}
    step : float, optional
        Of central differences. An entry that is off is looked at once more with a finer one, as steep functions need:
        a gradient that is wrong is so at both.
    """
    derivative = look_up(method, {"central": _central, "complex": _complex_step}, "method")
    step = STEPS[method] if step is None else step
    rounding = np.finfo(np.float64).eps * abs(loss()) / step if method == "central" else 0.0
    rows = []
    for name, array in arrays.items():
        mine = np.asarray(analytic[name], np.float64)
        theirs = np.empty(array.shape)
        for index in np.ndindex(array.shape):
            before = array[index]
            theirs[index] = derivative(loss, array, index, step)
            array[index] = before
            if method == "central" and abs(mine[index] - theirs[index]) > 1e-8 * abs(mine[index]):
                finer = _central(loss, array, index, step / FINER)
                array[index] = before
                theirs[index] = min(theirs[index], finer, key=lambda value: abs(value - mine[index]))
        floor = max(1e-3 * max(np.abs(mine).max(), np.abs(theirs).max()), 1e8 * rounding, 1e-12)
        error = np.abs(mine - theirs) / np.maximum(np.maximum(np.abs(mine), np.abs(theirs)), floor)
        worst = tuple(int(n) for n in np.unravel_index(np.argmax(error), error.shape))
        rows.append(Row(name, mine.size, float(error[worst]), worst, float(mine[worst]), float(theirs[worst])))
    return Report(rows, method, step)


def _central(loss, array, index, h):
    before, values = array[index], []
    for n in (1, -1, 2, -2):
        array[index] = before + n * h
        values.append(loss())
    return (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * h)


def _complex_step(loss, array, index, h):
    array[index] += 1j * h
    return loss().imag / h


@contextmanager
def in_dtype(layer: Layer, dtype: str) -> Iterator[None]:
    """Let a layer and its parts compute in `dtype` for a while, on copies of their weights."""
    parts = list(layer.walk())
    before = [(part, part.dtype, _by_attribute(part)) for part in parts]
    try:
        for part, _, weights in before:
            part.dtype = dtype
            copies = {id(weight): weight.astype(dtype) for weight in weights.values()}
            for name, weight in weights.items():
                setattr(part, name, copies[id(weight)])
        yield
    finally:
        for part, own, weights in before:
            part.dtype = own
            for name, weight in weights.items():
                setattr(part, name, weight)


def _by_attribute(layer: Layer) -> dict[str, np.ndarray]:
    """Return a layer's own weights by every attribute that holds one."""
    weights = {name: getattr(layer, name) for name in layer.own_weights}
    known = {id(weight) for weight in weights.values()}
    return {**weights, **{name: value for name, value in vars(layer).items() if id(value) in known}}


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
            getattr(part, name)[...] = average

    try:
        yield rewind
    finally:
        rewind()


def _named(layer) -> Iterator[tuple[str, Layer, str]]:
    alone = len(layer.leaves()) == 1
    for part, name in layer.trainable_parts():
        yield (name if alone else f"{part.name}.{name}"), part, name


def _moving(layer) -> list[tuple[Layer, str]]:
    return [(part, name) for part in layer.walk() for name in part.own_weights if name in part.moving]


def _weights(layer) -> dict[str, np.ndarray]:
    return {label: getattr(leaf, name) for label, leaf, name in _named(layer)}


def _weight_gradients(layer) -> dict[str, np.ndarray]:
    return {label: np.asarray(leaf.gradients[name]) for label, leaf, name in _named(layer)}


def _flat(value) -> list[np.ndarray]:
    """Return the arrays of a nested list in a row; of None, none."""
    if isinstance(value, (list, tuple)):
        return [array for part in value for array in _flat(part)]
    return [] if value is None else [value]


def _shaped(arrays, like):
    """Return the arrays of a row nested as `like` is."""
    arrays = iter(arrays)

    def shaped(like):
        if isinstance(like, (list, tuple)):
            return [shaped(part) for part in like]
        return None if like is None else next(arrays)

    return shaped(like)
