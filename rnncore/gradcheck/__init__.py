"""Is a backward right, and if not: where does it go wrong, and how?

    >>> x = np.random.default_rng(0).normal(size=(2, 4, 3))
    >>> report = check_layer(LSTM(4), x, verbose=0)  # a layer, yours too; print it
    >>> report.verdict, report.ok
    ('right', True)
    >>> forward, backward = (lambda x, w: x @ w), (lambda dy, x, w: (dy @ w.T, x.T @ -dy))  # a pair of your own
    >>> check(forward, backward, x[0], np.ones((3, 2)), verbose=0).kind
    'sign'

``assert_gradients(MyLayer(), x)`` is for tests; ``check(…, time_axis={"x": 1}, gates={"W": "ifko"})`` names step and
gate.

The verdict rests on four witnesses (witnesses.py); where.py says the step, the gate, the unit and, of a cell, the line;
what.py knows the usual mistakes. docs/gradient-check.md shows ten of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..layers.base import Layer
from ..lock import locked
from ..training.trainer import Trainer
from .judge import judge
from .layers import checked_layer, checked_model, layer_problem, model_problem
from .problem import Problem, of_pair, told
from .report import Report, Row
from .what import KINDS, Finding
from .where import Diagnosis

__all__ = [
    "KINDS",
    "Diagnosis",
    "Finding",
    "Report",
    "Row",
    "assert_gradients",
    "check",
    "check_layer",
    "check_model",
    "compare",
]


@locked
def check(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *arrays: Any,
    names: Sequence[str] | str | None = None,
    time_axis: Mapping[str, int] | None = None,
    gates: Mapping[str, Any] | None = None,
    rtol: float = 1e-6,
    method: str = "auto",
    step: float | None = None,
    entries: int | None = None,
    seed: int = 0,
    against: str | None = None,
    verbose: int = 1,
) -> Report:
    """Check a backward of your own against its forward.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays)`` returns y, an array or several.
    backward : callable
        ``backward(dy, *arrays)`` returns dL/d(array), one an array, or a dict by name; dy is shaped as y was. None for
        an array that is held constant, as a mask.
    *arrays : ndarray of float64
        Where the gradient is checked; they are copied first. Integers, bools and objects are handed on as they are.
    names : sequence of str, optional
        Default: forward's own arguments.
    time_axis : dict of str to int, optional
        Which axis of the input counts the steps, as ``{"x": 1}``: the report names the step.
    gates : dict of str to str, optional
        What the column blocks of kernels and biases are called, as ``{"W": "ifko", "U": "ifko", "b": "ifko"}``.
    rtol : float
        The relative error of an entry up to which it is right, beside the error bar of the numerical derivative.
    method : {"auto", "complex", "central"}
        What entries are compared with; "auto" takes the complex step where forward allows it.
    step : float, optional
        The (first) step.
    entries : int, optional
        How many entries to compare. Default: all of 5,000; of more, 1,000 drawn by `seed`, and all together by dot
        products.
    seed : int
        Of the weights of the outputs, and of all else that is drawn.
    against : {"float64"}, optional
        The arrays may be float32: backward runs in it, and is held to the float64 derivative, with rtol 2e-4.
    verbose : int
        0: without a bar.

    Returns
    -------
    Report

    Raises
    ------
    TypeError, ValueError
        An argument is not what it should be; a function draws at random, or writes into its arguments.

    Examples
    --------
    >>> report = check(lambda x, w: x @ w, lambda dy, x, w: (dy @ w.T, x.T @ dy), np.ones((2, 3)), np.ones((3, 4)))
    >>> report.verdict
    'right'
    """
    problem = of_pair(forward, backward, arrays, names, time_axis, gates, against)
    return judge(problem, method, step, rtol, entries, seed, verbose, loose=against is not None)


@locked
def check_layer(
    layer: Layer,
    x: Any,
    mask: Any = None,
    training: bool = False,
    initial_state: Any = None,
    method: str = "auto",
    step: float | None = None,
    seed: int = 0,
    rtol: float = 1e-6,
    entries: int | None = None,
    verbose: int = 1,
) -> Report:
    """Check the gradients of a layer or cell, of its input (if not integers), and of its initial states.

    Parameters
    ----------
    layer : Layer
        Any layer, yours too, or a model. It is left as it was; it computes in float64 meanwhile.
    x : array_like
        Moved as well, where it is not integers.
    mask, training
        As in a call. The same dropout is drawn at every evaluation.
    initial_state : list of array_like, optional
        For recurrent layers; of a cell, the states before the step.
    method : {"auto", "complex", "central"}
        "auto" takes the complex step where the layer's arithmetic is analytic, on the NumPy backend.
    step : float, optional
        The first step of central differences, smaller where a kink (relu) may lie between; or the complex step.
    seed, rtol, entries, verbose
        As in `check`.

    Returns
    -------
    Report
    """
    with layer_problem(checked_layer(layer), x, mask, training, initial_state) as problem:
        return judge(problem, method, step, rtol, entries, seed, verbose)


@locked
def check_model(
    model: Any,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    training: bool = False,
    step: float | None = None,
    rtol: float = 1e-6,
    entries: int | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> Report:
    """Check the gradients of a compiled model's loss with respect to every weight, by central differences.

    Parameters
    ----------
    model : Sequential
        With a loss. It is left as it was.
    x, y, sample_weight, training
        As in `Sequential.fit`.
    step, rtol, entries, seed, verbose
        As in `check`.

    Returns
    -------
    Report
    """
    with model_problem(checked_model(model), x, y, sample_weight, training) as problem:
        return judge(problem, "central", step, rtol, entries, seed, verbose)


def assert_gradients(what: Any, *arguments: Any, **options: Any) -> Report:
    """Raise AssertionError with the report unless the gradients are right.

    Parameters
    ----------
    what : Layer or callable
        A layer, and then the arguments of `check_layer`; a compiled model with x and y, as of `check_model`; or a
        forward function, and then those of `check`.
    **options
        As there.

    Returns
    -------
    Report
        Where they are right.
    """
    options.setdefault("verbose", 0)
    report = check_of(what, *arguments)(what, *arguments, **options)
    if not report.ok:
        raise AssertionError(str(report))
    return report


def check_of(what: Any, *arguments: Any) -> Callable[..., Report]:
    """Return which of the checks takes these: `check`, `check_layer` or `check_model`."""
    if isinstance(what, Trainer) and what.loss is not None and len(arguments) > 1:
        return check_model
    return check if callable(what) and not isinstance(what, (Layer, type)) else check_layer


def compare(
    loss: Callable[[], Any],
    arrays: Mapping[str, np.ndarray],
    analytic: Mapping[str, Any],
    method: str = "central",
    step: float | None = None,
    rtol: float = 1e-6,
) -> Report:
    """Compare analytic gradients with numerical ones of a function of no arguments.

    Parameters
    ----------
    loss : callable
        Returns a number. It reads `arrays`, which are changed in place, entry by entry, and put back, also where it
        raises.
    arrays : dict of str to ndarray
        float64, or complex128 for the complex step.
    analytic : dict of str to ndarray
        The gradients to check, by the same names.
    method : {"central", "complex"}
    step : float, optional
        As in `check`.
    rtol : float

    Raises
    ------
    TypeError, ValueError
        The arrays are not float64, a gradient is missing, one too many, or of another shape; the loss is no number.
    """
    for label, given in (("arrays", arrays), ("analytic", analytic)):
        if not isinstance(given, Mapping) or not given:
            raise TypeError(f"{label} is {told(given)}; expected a dict of arrays by name")
    if set(arrays) != set(analytic):
        raise ValueError(f"analytic has the names {sorted(analytic)}; expected those of arrays: {sorted(arrays)}")
    kinds = ("float64",) if method == "central" else ("float64", "complex128")
    for name, array in arrays.items():
        if (
            not isinstance(array, np.ndarray)
            or array.dtype not in kinds
            or (method == "complex" and array.dtype.kind != "c")
        ):
            came = array.dtype if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
            raise TypeError(f"arrays: {name} is {came}; expected an array of {kinds[-1]}, which loss reads")
        if np.shape(analytic[name]) != array.shape:
            raise ValueError(f"analytic: {name} has shape {np.shape(analytic[name])}; expected {array.shape}")
    mine, kept = list(arrays.values()), [array.copy() for array in arrays.values()]

    def forward(given):
        for own, array in zip(mine, given, strict=True):
            own[...] = array
        value = np.asarray(loss())
        if value.shape != () or value.dtype.kind not in "iufc":
            raise TypeError(f"loss returned {told(value)}; expected a number")
        if not np.isfinite(value):
            raise ValueError(f"loss returned {value}; expected a finite number")
        return [value]

    real = [array.real.astype(np.float64) for array in kept]
    problem = Problem(
        list(arrays), real, list(range(len(mine))), forward, lambda dys, given: [analytic[name] for name in arrays], 1,
        label="loss",
    )  # fmt: skip
    try:
        return judge(problem, method, step, rtol, verbose=0, others=False)
    finally:
        for own, before in zip(mine, kept, strict=True):
            own[...] = before
