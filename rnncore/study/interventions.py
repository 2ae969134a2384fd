"""What if: gates, states and pre-activations changed at will, and what that did to output and loss.

Sizes: B rows, T steps, H units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..bptt.changed import Change, Changes, changeable
from ..configured import look_up
from ..layers.base import Layer
from ..layers.recurrent import RNN
from ..layers.rnn_cells import RecurrentCell
from ..lock import locked
from .passes import as_it_was, checked, recurrent_layers
from .passes import run as run_pass
from .slopes import derivative

Where = int | slice | list[int] | np.ndarray | None


class Place(NamedTuple):
    """What can be changed: a name of a cell in a layer."""

    layer: RNN
    cell: RecurrentCell
    name: str


class Wanted(NamedTuple):
    """What is to become of one place, and where."""

    value: Any
    units: Where
    steps: Where
    rows: Where


def places(model: Layer) -> dict[str, Place]:
    """Return all that can be changed in a model, by its name: ``lstm.f``."""
    found: dict[str, Place] = {}
    for layer in recurrent_layers(model):
        for cell in layer.cells:
            own = {name: Place(layer, cell, name) for name in changeable(cell.plan.cell)}
            found |= {f"{layer.name}.{name}": place for name, place in layer.by_cell(cell, own).items()}
    return found


@contextmanager
def intervene(
    model: Layer, changes: Mapping[str, Any], *, units: Where = None, steps: Where = None, rows: Where = None
) -> Iterator[None]:
    """Let values be changed in all that the model does in the block: calls, `predict`, `trace`, backward, even `fit`.

    What comes after reads the changed value: the states and gates of later steps, and a carry's own hidden state. The
    gradient goes back through the change: none through a value that was replaced.

    Parameters
    ----------
    model : Layer
        A model, or a single recurrent layer.
    changes : mapping of str to number, array_like, callable or pair of callables
        What becomes of a gate (``lstm.f``), a state (``lstm.c``) or a pre-activation (``lstm.z_f``): a number (0
        ablates); an array that broadcasts to (B, T, H), as another run's ``trace["lstm.f"]`` (patching); a function of
        the values (n, H) at a step, that works entry by entry (``lambda f: f / 2``); or a pair of such a function and
        its backward, (dy, y, v) -> dv, as those in `rnncore.activations`. `places` lists the names.
    units, steps, rows : int, list of int, slice or bool array, optional
        Where; default: everywhere. Steps as in x, with go_backwards, too. Rows are those of a call's batch: `predict`
        makes batches of its own.

    Raises
    ------
    ValueError
        A name that does not exist, a place outside, an array of another shape or NaN at a step that is taken, a
        function that mixes entries; some of it in the first call.

    Examples
    --------
    >>> with intervene(model, {"lstm.f": 1.0}, units=[1, 3]):
    ...     y_open = model(x)  # what two units do not forget
    >>> bool(np.allclose(y_open, model(x)))
    False
    """
    known = places(model)
    if not isinstance(changes, Mapping):
        raise TypeError(f"changes is {changes!r}; expected names and what becomes of them, as {{'lstm.f': 1.0}}")
    wanted: dict[int, tuple[Place, dict[str, Wanted]]] = {}
    for name, value in changes.items():
        place = look_up(name, known, "name", "changes")
        if place.cell.changing is not None and place.name in place.cell.changing.wanted:
            raise ValueError(f"changes: {name} is changed already, by an intervene around this one")
        wanted.setdefault(id(place.cell), (place, {}))[1][place.name] = Wanted(
            _checked(value, name), units, steps, rows
        )
    before = [(place.cell, place.cell.changing) for place, _ in wanted.values()]
    try:
        for place, own in wanted.values():
            outer = place.cell.changing
            place.cell.changing = _Changing(place.layer, place.cell, own | ({} if outer is None else outer.wanted))
        yield
    finally:
        for cell, changing in before:
            cell.changing = changing


def _checked(value, name):
    pair = isinstance(value, tuple) and len(value) == 2 and all(map(callable, value))
    if callable(value) or pair:
        return value
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"changes: {name} is {value!r}; expected a number, an array, a function of the values or two functions"
        ) from None
    if np.isinf(array).any() or np.isnan(array).all():
        raise ValueError(f"changes: {name} is not finite")
    return array


class _Changing:
    """Makes the `Changes` of a run, which has an order of its own for rows and steps."""

    def __init__(self, layer: RNN, cell: RecurrentCell, wanted: dict[str, Wanted]):
        self.layer, self.cell, self.wanted = layer, cell, wanted

    def __call__(self, sequence: Any, order: np.ndarray | None) -> Changes:
        sizes = sequence.steps, sequence.initial.shape[1], self.cell.units
        return Changes(
            self.cell.plan.cell,
            {name: self._change(name, own, sizes, sequence.mask, order) for name, own in self.wanted.items()},
        )

    def _change(self, name, wanted, sizes, mask, order):
        T, B, H = sizes
        label = f"{self.layer.name}.{name}"
        steps = chosen(wanted.steps, T, "steps", label)[:: -1 if self.layer.go_backwards else 1]
        rows, units = chosen(wanted.rows, B, "rows", label), chosen(wanted.units, H, "units", label)
        rows = rows if order is None else rows[order]
        value, backward = wanted.value, None
        if isinstance(value, tuple):
            value, backward = value
        elif callable(value):
            backward = derivative(value, f"changes: {label}")
        if not callable(value):
            try:
                value = np.broadcast_to(value, (B, T, H)).swapaxes(0, 1)
            except ValueError:
                raise ValueError(
                    f"changes: {label} has shape {value.shape}; expected one that broadcasts to {(B, T, H)} (B, T, H)"
                ) from None
            value = value[:: -1 if self.layer.go_backwards else 1]
            value = value if order is None else value[:, order]
            taken = steps[:, None, None] & rows[:, None] & units & (True if mask is None else mask[:, :, None])
            if np.isnan(value[taken]).any():
                t = int(np.argwhere(np.isnan(value) & taken)[0][0])
                raise ValueError(
                    f"changes: {label} is NaN at step {T - 1 - t if self.layer.go_backwards else t}, which is "
                    "taken here; in a trace masked steps are NaN"
                )
        return Change(steps, rows, units, value, backward)


def chosen(where: Where, size: int, what: str, label: str) -> np.ndarray:
    """Return which of `size` are meant, bool; raise ValueError for one that is outside."""
    found = np.zeros(size, bool)
    if isinstance(where, np.ndarray) and where.dtype == bool and where.shape != (size,):
        raise ValueError(f"{label}: {what} is bool of shape {where.shape}; expected {(size,)}")
    try:
        found[slice(None) if where is None else where] = True
    except IndexError:
        raise ValueError(f"{label}: {what} is {where!r}; there are {size}, from 0 to {size - 1}") from None
    return found


class Effect(NamedTuple):
    """What a change did.

    Attributes
    ----------
    loss, loss_before : float or None
        With y; ``loss`` is with the change.
    output, output_before : ndarray
    """

    loss: float | None
    loss_before: float | None
    output: np.ndarray
    output_before: np.ndarray

    def __repr__(self) -> str:
        moved = np.abs(np.asarray(self.output) - self.output_before).max()
        loss = "" if self.loss is None else f"loss {self.loss_before:.6g} → {self.loss:.6g}, "
        return f"<{loss}output moved by up to {moved:.3g}>"


@locked
def effect(
    model: Layer,
    changes: Mapping[str, Any],
    x: Any,
    y: Any = None,
    *,
    units: Where = None,
    steps: Where = None,
    rows: Where = None,
    mask: Any = None,
    sample_weight: Any = None,
) -> Effect:
    """Return what changes would do to output and loss: with them beside without.

    Parameters
    ----------
    model, changes, units, steps, rows
        As in `intervene`.
    x, y, mask, sample_weight
        As in `trace`.
    """
    batch = checked(model, x, y, sample_weight, mask)
    loss_before, output_before = _scored(model, batch)
    with intervene(model, changes, units=units, steps=steps, rows=rows):
        loss, output = _scored(model, batch)
    return Effect(loss, loss_before, output, output_before)


@locked
def effects(
    model: Layer,
    x: Any,
    y: Any,
    value: float | Callable = 0.0,
    *,
    names: str | list[str] | None = None,
    units: Where = None,
    mask: Any = None,
    sample_weight: Any = None,
) -> dict[str, np.ndarray]:
    """Return what each gate, changed at each step alone, would do to the loss.

    Parameters
    ----------
    model, x, y, mask, sample_weight
        As in `trace`; the model is compiled.
    value : number or callable
        What becomes of the gate, as in `intervene`.
    names : str or list of str, optional
        What is changed, ``lstm.f`` …, in place of all gates.
    units : optional
        Where; default: all units together.

    Returns
    -------
    dict of str to ndarray of shape (gates, T)
        By layer: the loss with the change less that without, a row a gate, in the order of `weights_by_gate` or of
        `names`; NaN at steps that every row masks.
    """
    batch, known = checked(model, x, y, sample_weight, mask), places(model)
    if batch.y is None:
        raise ValueError("y is None; what a change does to the loss needs y")
    before, _ = _scored(model, batch)
    layers = {layer.name: layer for layer in recurrent_layers(model)}
    taken = {name: layer.valid_steps().any(axis=0) for name, layer in layers.items()}
    names = [names] if isinstance(names, str) else names
    if names is None:
        names = [name for name, (_, cell, own) in known.items() if own in cell.plan.cell.gates]
    found: dict[str, list[np.ndarray]] = {}
    for name in names:
        layer = look_up(name, known, "name", "names").layer.name
        row = np.full(len(taken[layer]), np.nan)
        for t in np.flatnonzero(taken[layer]):
            with intervene(model, {name: value}, units=units, steps=int(t)):
                row[t] = _scored(model, batch)[0] - before
        found.setdefault(layer, []).append(row)
    return {layer: np.stack(rows) for layer, rows in found.items()}


def _scored(model, batch):
    """Return the loss, without a way back, and the output."""
    with as_it_was(model):
        output = run_pass(model, batch._replace(y=None)).output
        return None if batch.y is None else model.loss_of(batch.y, output, batch.sample_weight), output
