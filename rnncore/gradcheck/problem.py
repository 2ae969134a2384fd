"""What is checked: two functions and the arrays they are checked at; and what is found wrong before anything is judged.

A user's arrays are copied first and never handed out: whatever raises, they are as they were.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..cells import Cell
from ..layers.checks import not_finite

SAME = 1e-12  # of two evaluations at one place, relative: sums may be taken in another order


@dataclass
class Problem:
    """A function of arrays, and what claims to be its backward.

    Attributes
    ----------
    names : list of str
        Of the arrays, in order.
    arrays : list
        float64 where a gradient is asked for; anything else is held constant.
    moved : list of int
        Which arrays have gradients.
    forward : callable
        ``forward(arrays)`` returns the outputs, a flat list of arrays.
    backward : callable
        ``backward(dys, arrays)`` returns a gradient for each array, None for those held constant.
    fixed : int
        How many of the last outputs are parts of the loss itself: their gradient is always 1.
    time_axis : dict of str to int
    gates : dict of str to tuple of str
        The column blocks of an array's last axis.
    backwards : bool
        Whether the steps are taken from the last to the first.
    cells : list of (str, Cell)
        Whose equations stand behind the functions, for the line.
    rates : tuple of float
        Dropout's, where they are known.
    label : str
        What is checked.
    accumulates : list of str
        The arrays whose gradients a call adds to those of the call before.
    notes : list of str
        What else the report should say.
    """

    names: list[str]
    arrays: list[Any]
    moved: list[int]
    forward: Callable[[list[Any]], list[np.ndarray]]
    backward: Callable[[list[np.ndarray], list[Any]], list[Any]]
    fixed: int = 0
    time_axis: dict[str, int] = field(default_factory=dict)
    gates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    backwards: bool = False
    cells: list[tuple[str, Cell]] = field(default_factory=list)
    rates: tuple[float, ...] = ()
    label: str = "backward"
    accumulates: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def copies(self, dtype: Any = None) -> list[Any]:
        """Return copies of the arrays, those that are moved as `dtype`."""
        return [
            (a.astype(dtype or a.dtype) if n in self.moved else a.copy()) if isinstance(a, np.ndarray) else a
            for n, a in enumerate(self.arrays)
        ]

    def cotangents(self, outputs: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """Return a random gradient of the outputs; 1 for those that are the loss itself."""
        edge = len(outputs) - self.fixed
        return [rng.standard_normal(y.shape) if n < edge else np.ones(y.shape) for n, y in enumerate(outputs)]


def told(value: Any) -> str:
    """Return a value as a message shows it: short, in a line."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    return " ".join(f"{value!r:.60}".split())


def flat(value: Any) -> Iterator[np.ndarray]:
    """Yield the arrays of a nested list, tuple or dict in a row; of None, none."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from flat(part)
    elif value is not None:
        yield np.asarray(value)


def shaped(arrays: Any, like: Any) -> Any:
    """Return the arrays of a row nested as `like` is."""
    arrays = iter(arrays)

    def nested(like):
        if isinstance(like, Mapping):
            return {name: nested(part) for name, part in like.items()}
        if isinstance(like, (list, tuple)):
            return type(like)(map(nested, like)) if type(like) in (list, tuple) else [nested(part) for part in like]
        return None if like is None else next(arrays)

    return nested(like)


# --- a pair of functions ----------------------------------------------------------------------------------------------


def of_pair(
    forward: Any,
    backward: Any,
    arrays: Sequence[Any],
    names: Sequence[str] | None = None,
    time_axis: Mapping[str, int] | None = None,
    gates: Mapping[str, Any] | None = None,
    against: str | None = None,
) -> Problem:
    """Return the problem of a user's two functions, or say in one sentence what is wrong with what came.

    See `rnncore.gradcheck.check` for the parameters.
    """
    for label, function in (("forward", forward), ("backward", backward)):
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"{label} is {told(function)}; expected a function (for a layer there is check_layer)")
    called = _names(forward, arrays, names)
    _check_takes("forward", forward, called)
    _check_takes("backward", backward, ["dy", *called])
    if against not in (None, "float64"):
        raise ValueError(f"against is {against!r}; allowed: None, 'float64'")
    for name, array in zip(called, arrays, strict=True):
        _check_given(name, array, against)
    given = [np.array(a) if isinstance(a, np.ndarray) else a for a in arrays]
    like: list[Any] = [None]

    def run(arrays):
        like[0] = forward(*arrays)
        outputs = list(flat(like[0]))
        if not outputs or any(y.dtype.kind not in "iufc" for y in outputs):
            raise TypeError(f"forward returned {told(like[0])}; expected an array of numbers, or several")
        return outputs

    def run_back(dys, arrays):
        if against is not None:
            dys = [dy.astype(np.float32) for dy in dys]
            arrays = [
                a.astype(own.dtype) if isinstance(a, np.ndarray) else a for a, own in zip(arrays, given, strict=True)
            ]
        return _gradients(backward(shaped(dys, like[0]), *arrays), called, arrays)

    moved = [n for n, a in enumerate(given) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    if not moved:
        raise TypeError("there is no float array among the arguments; expected one whose gradient is to be checked")
    cast = [a.astype(np.float64) if n in moved else a for n, a in enumerate(given)]
    problem = Problem(called, cast, moved, run, run_back, label=getattr(backward, "__name__", "backward"))
    _try(problem, given)
    problem.time_axis = _checked_axes(time_axis or {}, problem)
    problem.gates = _checked_gates(gates or {}, problem)
    return problem


def _names(forward, arrays, names) -> list[str]:
    if not arrays:
        raise ValueError("there are no arrays; expected check(forward, backward, *arrays)")
    if names is None:
        try:
            parameters = inspect.signature(forward).parameters.values()
        except (TypeError, ValueError):
            parameters = {}.values()
        known = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        return [known[n] if n < len(known) else f"array {n}" for n in range(len(arrays))]
    if isinstance(names, str):
        names = names.split()
    names = list(names)
    if len(names) != len(arrays) or len(set(names)) != len(names):
        raise ValueError(f"names is {names}; expected {len(arrays)} different names, one an array")
    return names


def _check_takes(label, function, wanted):
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one written in C
        return
    try:
        signature.bind(*wanted)
    except TypeError:
        raise TypeError(f"{label} takes {signature}; it is called with ({', '.join(wanted)})") from None


def _check_given(name, array, against):
    if isinstance(array, (list, tuple)):
        raise TypeError(f"{name} is a {type(array).__name__}; expected an array: np.array({name}, dtype=float)")
    if not isinstance(array, np.ndarray):
        return
    if array.dtype == np.float32 and against is None:
        raise TypeError(
            f"{name} is float32, whose rounding hides errors below 1e-3; pass {name}.astype(float), or "
            "against='float64' to hold float32 code to its float64 self"
        )
    if array.dtype.kind == "f" and array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} is {array.dtype}; expected float64: {name}.astype(float)")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; expected float64, or integers that are held constant")
    if not array.size:
        raise ValueError(f"{name} has shape {array.shape}, without an entry; expected some")
    where = not_finite(array)
    if where is not None:
        raise ValueError(f"{name} is not finite: {array[where]} at {where}")


def _gradients(returned: Any, names: list[str], arrays: list[Any]) -> list[Any]:
    """Return what a backward gave as a list, one an array."""
    if isinstance(returned, Mapping):
        surplus, missing = (
            set(returned) - set(names),
            [
                name
                for name, a in zip(names, arrays, strict=True)
                if name not in returned and isinstance(a, np.ndarray) and a.dtype.kind in "fc"
            ],
        )
        if surplus or missing:
            raise ValueError(
                f"backward returned gradients named {sorted(map(str, returned))}; expected {names}, the arrays' names"
            )
        return [returned.get(name) for name in names]
    if isinstance(returned, np.ndarray) or not isinstance(returned, (list, tuple)):
        returned = [returned]
    if len(returned) != len(names):
        raise ValueError(
            f"backward returned {len(returned)} gradients; expected {len(names)}, one an array: {', '.join(names)} "
            "(None for one that is held constant)"
        )
    return list(returned)


def _try(problem: Problem, given: list[Any]) -> None:
    """Call both functions, and say what forbids a judgement: chance, inputs written into, values not finite."""
    arrays = problem.copies()
    outputs = [y.copy() for y in problem.forward(arrays)]
    _refuse_changed("forward", problem, arrays)
    for y in outputs:
        if not_finite(y) is not None:
            raise ValueError(f"forward returned what is not finite: {y[not_finite(y)]} at {not_finite(y)}")
    again = problem.forward(problem.copies())
    gap = max((float(np.max(abs(a - b), initial=0)) for a, b in zip(outputs, again, strict=True)), default=0.0)
    if gap > SAME * max(1.0, *(float(np.max(abs(y), initial=0)) for y in outputs)):
        raise ValueError(
            f"forward gave two results for the same arrays, {gap:.1e} apart: something in it is drawn at random or "
            "kept from call to call; draw it once before and pass it as an argument, or seed the generator inside"
        )
    dys = problem.cotangents(outputs, np.random.default_rng(1))
    kept, arrays = [dy.copy() for dy in dys], problem.copies()
    returned = problem.backward(dys, arrays)
    _refuse_changed("backward", problem, arrays)
    if any(not np.array_equal(a, b) for a, b in zip(dys, kept, strict=True)):
        problem.notes.append("backward writes into dy, the caller's array; it was given copies here")
    for n, gradient in enumerate(returned):
        if n not in problem.moved and gradient is not None and isinstance(given[n], np.ndarray):
            raise TypeError(
                f"{problem.names[n]} has dtype {given[n].dtype}, which no small step can move, and backward returns a "
                f"gradient for it; pass {problem.names[n]}.astype(float), or return None to hold it constant"
            )


def again(problem: Problem, dys: list[np.ndarray], first: list[Any]) -> None:
    """Call backward once more: it must give the same gradients, and not add to those of the call before.

    Raises
    ------
    ValueError
        It gives others.
    """
    calls = [first]
    for _ in range(2):
        back = problem.backward([dy.copy() for dy in dys], problem.copies())
        calls.append([None if g is None else np.array(g) for g in back])
        if all(_same(a, b) for a, b in zip(*calls[-2:], strict=True)):
            return
    for n in problem.moved:
        one, two, three = (call[n] for call in calls)
        if _same(one, two):
            continue
        if not _same(two - one, three - two):
            raise ValueError(
                f"backward gave two gradients of {problem.names[n]} for the same dy: something in it is drawn at "
                "random or kept from call to call; fix the draw, and start from zeros"
            )
        problem.accumulates.append(problem.names[n])


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None or a.shape != b.shape or a.dtype.kind not in "fiu" or not a.size:
        return True  # other checks say what is wrong with it
    size = np.max(abs(a))
    return not np.isfinite(size) or bool(np.max(abs(a - b)) <= 1e-9 * size)


def _refuse_changed(which, problem, arrays):
    for name, before, after in zip(problem.names, problem.arrays, arrays, strict=True):
        if isinstance(before, np.ndarray) and not np.array_equal(before, after):
            raise ValueError(f"{which} writes into its argument {name}; let it work on a copy: {name} = {name}.copy()")


def _checked_axes(time_axis, problem):
    if not isinstance(time_axis, Mapping):
        raise TypeError(f"time_axis is {time_axis!r}; expected a dict, as {{{problem.names[0]!r}: 1}}")
    for name, axis in time_axis.items():
        _check_known("time_axis", name, problem)
        ranks = np.ndim(problem.arrays[problem.names.index(name)])
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or not -ranks <= axis < ranks:
            raise ValueError(f"time_axis of {name} is {axis!r}; expected one of its {ranks} axes, from 0")
    return {name: int(axis) % np.ndim(problem.arrays[problem.names.index(name)]) for name, axis in time_axis.items()}


def _checked_gates(gates, problem):
    if not isinstance(gates, Mapping):
        raise TypeError(f"gates is {gates!r}; expected a dict, as {{{problem.names[0]!r}: 'ifko'}}")
    for name, own in gates.items():
        _check_known("gates", name, problem)
        columns = problem.arrays[problem.names.index(name)].shape[-1:]
        if not isinstance(own, (str, list, tuple)) or not own or len(set(own)) != len(own):
            raise ValueError(f"gates of {name} is {own!r}; expected different letters, as 'ifko'")
        if not columns or columns[0] % len(own):
            raise ValueError(
                f"gates of {name} is {own!r}, {len(own)} blocks; "
                f"the last axis of {name} has {columns[0] if columns else 0} columns"
            )
    return {name: tuple(own) for name, own in gates.items()}


def _check_known(argument, name, problem):
    if name not in problem.names or problem.names.index(name) not in problem.moved:
        known = ", ".join(problem.names[n] for n in problem.moved)
        raise ValueError(f"{argument} names {name!r}; the arrays that are moved: {known}")
