"""Steps in which values are changed: a pre-activation, a gate or a state gets another value, there and back.

No formula of a cell stands here. A pre-activation is changed before the cell's `step`, a state that `step` returns
after it. A gate is changed where it is made, and a carry that is shown in the same step where that is read: in the
call of an activation. So `step` runs with other functions in the place of its activations, which know by which call
they are reached; and in `step_backward` the derivatives know by their second argument, the gate's value, whose they
are.

A change is ``y = change(v)``. What was changed reads y from then on, and its gradient goes back through the change:
with dy = dL/dy, ``dv = dy * change'(v)``; none where the value was replaced by a given one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..cells.cell import Cell, Stage, with_names

Rows = slice | np.ndarray


class Change(NamedTuple):
    """What becomes of one value, at which steps, rows and units; the loop's order.

    Attributes
    ----------
    steps, rows, units : ndarray of shape (T,), (B,) and (H,), bool
    forward : ndarray of shape (T, B, H), or callable
        The values that stand for it, or what makes them, (n, H), of it.
    backward : callable, optional
        Of a callable: (dy, y, v) -> dv, as of an activation.
    """

    steps: np.ndarray
    rows: np.ndarray
    units: np.ndarray
    forward: Any
    backward: Callable | None = None

    def values(self, v: np.ndarray, t: int, taken: Rows) -> np.ndarray:
        """Return what stands for v, (n, H), at step t."""
        new = self.forward(v) if callable(self.forward) else self.forward[t, taken]
        return np.where(self.rows[taken][:, None] & self.units, new, v).astype(v.dtype, copy=False)

    def gradient(self, dy: np.ndarray, y: np.ndarray, v: np.ndarray, taken: Rows) -> np.ndarray:
        """Return dL/dv from dL/dy."""
        dv = 0 if self.backward is None else self.backward(dy, y, v)
        return np.where(self.rows[taken][:, None] & self.units, dv, dy).astype(v.dtype, copy=False)


class Call(NamedTuple):
    """A call of an activation within `step`: the gate that it makes, and the state of the same step that it reads."""

    makes: str | None
    reads: str | None


def changeable(cell: Cell) -> list[str]:
    """Return the names of what can be changed in a cell's steps."""
    found = []
    for stage in cell.stages:
        hidden = {*cell.gates, *stage.completes.split()} - {name for call in calls_of(stage) for name in call}
        found += [name for name in stage.inputs if name[:2] in ("z_", "x_", "u_")]
        found += [name for name in stage.outputs if name not in hidden]  # these are used where nothing can reach them
    return found


@lru_cache(maxsize=64)
def calls_of(stage: Stage) -> tuple[Call, ...]:
    """Return the calls of activations in `step`, in their order: which value is whose is seen by running it once."""
    seen: list[tuple[Any, Any]] = []

    def noting(activation):
        def noted(z):
            seen.append((z, np.array(activation(z))))  # an object of its own, with `linear` too
            return seen[-1][1]

        return noted

    step = with_names(stage.step, {name: noting(function) for name, function in _activations(stage).items()})
    values = step(*[np.full((1, 1), 0.5) for _ in stage.inputs])
    returned = dict(zip(stage.outputs, values if isinstance(values, tuple) else (values,), strict=True))

    def name_of(value, names):
        return next((name for name in names if returned.get(name) is value), None)

    gates = [name for name in stage.outputs if f"d{name}" not in stage.backward_inputs]
    return tuple(Call(name_of(y, gates), name_of(z, stage.completes.split())) for z, y in seen)


def _activations(stage: Stage) -> dict[str, Callable]:
    """Return the functions that `step` calls and whose derivatives ``d_…`` its backward does, by their global names."""
    used, back = stage.step.__code__.co_names, stage.step_backward.__code__.co_names
    return {name: stage.step.__globals__[name] for name in used if f"d_{name}" in back}


class Changes:
    """The changes in a run: NumPy's loop takes its steps through here.

    Parameters
    ----------
    cell : Cell
    changes : mapping of str to Change
        By the names of `changeable`.
    """

    def __init__(self, cell: Cell, changes: Mapping[str, Change]):
        self.cell, self.changes = cell, changes
        # (name, t) -> (B, H): what was there, and what came for it
        self.before: dict[tuple[str, int], np.ndarray] = {}
        self.after: dict[tuple[str, int], np.ndarray] = {}

    def step(self, stage: Stage, t: int, taken: Rows, given: Sequence[np.ndarray]) -> Any:
        """Return what the stage's `step` does, with the changes."""
        names = self._at(t)
        if names.isdisjoint((*stage.inputs, *stage.outputs)):
            return stage.step(*given)
        given = [
            self._changed(name, t, taken, v) if name in names else v
            for name, v in zip(stage.inputs, given, strict=True)
        ]
        calls, within = iter(calls_of(stage)), {name for call in calls_of(stage) for name in call}

        def reached(activation):
            def changed(z):
                makes, reads = next(calls)
                if reads in names:
                    z = self._changed(reads, t, taken, z)
                y = activation(z)
                return self._changed(makes, t, taken, y) if makes in names else y

            return changed

        step = with_names(stage.step, {name: reached(own) for name, own in _activations(stage).items()})
        values = step(*given)
        values = values if isinstance(values, tuple) else (values,)
        found = []
        for name, value in zip(stage.outputs, values, strict=True):
            if name in names:
                value = self.after[name, t][taken] if name in within else self._changed(name, t, taken, value)
            found.append(value)
        return tuple(found)

    def step_backward(self, stage: Stage, t: int, taken: Rows, given: Sequence[np.ndarray]) -> Any:
        """Return what the stage's `step_backward` does, with the changes."""
        names = self._at(t)
        if names.isdisjoint((*stage.inputs, *stage.outputs)):
            return stage.step_backward(*given)
        within = {call.reads for call in calls_of(stage)} & names  # states that were changed where they are shown
        after = [name for name in stage.outputs if name in names and name not in (*self.cell.gates, *within)]
        own = dict(zip(stage.backward_inputs, given, strict=True))
        for name in names:
            if name in stage.inputs and name in own:
                own[name] = self.after[name, t][taken]
            if name in after:
                if name in own:
                    own[name] = self.before[name, t][taken]
                own[f"d{name}"] = self._gradient(name, t, taken, own[f"d{name}"])

        def back(derivative):
            def changed(dy, y, z):
                name = next((name for name in stage.outputs if name in self.cell.gates and own.get(name) is y), None)
                if name not in names:
                    return derivative(dy, y, z)
                return derivative(self._gradient(name, t, taken, dy), self.before[name, t][taken], z)

            return changed

        derivatives = {f"d_{name}": stage.step_backward.__globals__[f"d_{name}"] for name in _activations(stage)}
        plain = with_names(stage.step_backward, {name: back(function) for name, function in derivatives.items()})

        def run(**gradients):
            values = plain(**{**own, **gradients})
            return list(values) if isinstance(values, tuple) else [values]

        results = run()
        for name in within:  # linear in the gradients: only what the change lets through is to come out at its place
            place = len(stage.inputs) + stage.completes.split().index(name)
            total, zero = results[place], np.zeros_like(own[f"d{name}"])
            shown = run(**{f"d{name}": zero})[place]
            results = run(**{f"d{name}": self._gradient(name, t, taken, total) - shown})
            results[place] = total
        for n, name in enumerate(stage.inputs):
            if name in names:
                results[n] = self._gradient(name, t, taken, results[n])
        return tuple(results)

    def of_step(self, t: int, rows: np.ndarray) -> Changes:
        """Return the changes of one step, for a run of it alone with some of the rows."""
        own = {
            name: change._replace(
                steps=change.steps[t : t + 1],
                rows=change.rows[rows],
                forward=change.forward if callable(change.forward) else change.forward[t : t + 1, rows],
            )
            for name, change in self.changes.items()
        }
        made = Changes(self.cell, own)
        for mine, theirs in ((made.before, self.before), (made.after, self.after)):
            mine |= {(name, 0): values[rows] for (name, step), values in theirs.items() if step == t}
        return made

    def _at(self, t):
        return {name for name, change in self.changes.items() if change.steps[t]}

    def _changed(self, name, t, taken, v):
        y = self.changes[name].values(v, t, taken)
        for kept, value in ((self.before, v), (self.after, y)):
            kept[name, t] = np.zeros((len(self.changes[name].rows), v.shape[1]), v.dtype)
            kept[name, t][taken] = value
        return y

    def _gradient(self, name, t, taken, dy):
        before, after = self.before[name, t][taken], self.after[name, t][taken]
        return self.changes[name].gradient(dy, after, before, taken)
