"""A model's weights from and to the modules of a PyTorch model, by name; torch_recurrent.py has the recurrent ones.

=====================  ========================================  ===============================================
here                   torch.nn                                  the module's arrays
=====================  ========================================  ===============================================
Dense                  Linear                                    ``weight`` (H, D), ``bias``
Embedding              Embedding                                 ``weight`` (V, D)
Conv1D                 Conv1d, of (B, D, T)                      ``weight`` (F, D, K), ``bias``
LayerNormalization     LayerNorm                                 ``weight``, ``bias``
BatchNormalization     BatchNorm1d                               ``weight``, ``bias``, ``running_mean``, ``running_var``
SimpleRNN, LSTM, GRU   RNN, LSTM, GRU; a layer here for each of  ``weight_ih_l0`` …
                       the module's layers
=====================  ========================================  ===============================================
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import layers
from ..layers import Layer
from ..lock import locked
from ..saving import weight_names
from . import safetensors
from .torch_recurrent import weights_from_torch, weights_to_torch

__all__ = ["Moved", "load_state", "save_state", "weights_from_torch", "weights_to_torch"]

EPSILON = 1e-5  # torch's default in both normalizations; a state does not say it


class _Entry(NamedTuple):
    """An array of a module and the weight that it is, transposed by `axes`; of no weight, what stands for it."""

    leaf: str
    weight: str | None
    axes: tuple[int, ...] | None = None


_PLAIN: dict[type, tuple[_Entry, ...]] = {
    layers.Dense: (_Entry("weight", "kernel", (1, 0)), _Entry("bias", "bias")),
    layers.Embedding: (_Entry("weight", "embeddings"),),
    layers.Conv1D: (_Entry("weight", "kernel", (2, 1, 0)), _Entry("bias", "bias")),
    layers.LayerNormalization: (_Entry("weight", "gamma"), _Entry("bias", "beta")),
    layers.BatchNormalization: (
        _Entry("weight", "gamma"),
        _Entry("bias", "beta"),
        _Entry("running_mean", "moving_mean"),
        _Entry("running_var", "moving_variance"),
        _Entry("num_batches_tracked", None),
    ),
}
_ACTIVATIONS: dict[type, list[tuple[str, ...]]] = {
    layers.SimpleRNNCell: [("tanh",), ("relu",)],
    layers.LSTMCell: [("tanh", "sigmoid")],
    layers.GRUCell: [("tanh", "sigmoid")],
}
_PARTS = {"kernel": ("weight_ih",), "recurrent_kernel": ("weight_hh",), "bias": ("bias_ih", "bias_hh")}


@dataclass(frozen=True)
class Moved:
    """What went where; print it for a table.

    Attributes
    ----------
    rows : list of (str, str)
        The arrays of the PyTorch model, and the weight here, each with its shape.
    left : list of str
        Arrays of the PyTorch model that belong to no weight here.
    """

    rows: list[tuple[str, str]]
    left: list[str]

    def __str__(self) -> str:
        width = max([len("PyTorch"), *(len(theirs) for theirs, _ in self.rows)])
        lines = [f"{theirs:{width}}  {ours}" for theirs, ours in [("PyTorch", "rnncore"), *self.rows]]
        return "\n".join([*lines, *(f"{name:{width}}  (left aside)" for name in self.left)])


class _Unit(NamedTuple):
    """What one layer of a module stands for: a layer here, or a cell of several."""

    label: str
    layer: Any

    @property
    def recurrent(self) -> bool:
        return isinstance(self.layer, (layers.RNN, layers.Bidirectional, layers.RecurrentCell))


def load_state(
    model: Layer,
    state: Mapping[str, Any] | str | os.PathLike,
    modules: Mapping[str, str] | None = None,
    print_fn: Callable[[str], Any] | None = print,
) -> Moved:
    """Give a built model the weights of a PyTorch model, and print what went where.

    Parameters
    ----------
    model : Layer
        A `Sequential`, most often, of layers that compute what the modules do: the state does not say it.
    state : mapping of str to array_like, or path
        ``module.state_dict()``, or a ``.safetensors`` file of it, for which PyTorch need not be there.
    modules : mapping of str to str, optional
        The names of modules by the names of layers here. Needed only where the shapes fit several; layers in a row with
        one name are the layers of one recurrent module.
    print_fn : callable or None
        Takes the table.

    Returns
    -------
    Moved
        The table.

    Raises
    ------
    ValueError
        The file is damaged or no ``.safetensors``; a layer fits no module, or several; an option of a layer is none of
        PyTorch's. The model has not changed then.

    Warns
    -----
    UserWarning
        A normalization has another `epsilon` than PyTorch's default.

    Examples
    --------
    ``load_state(model, "model.safetensors")``, or where modules have names of their own
    ``load_state(model, "model.safetensors", {"dense": "head.fc1", "dense_1": "head.fc2"})``.
    """
    if not model.built:
        raise ValueError(f"{model.name}: the model is not built; call it, or build it for an input shape, first")
    state = safetensors.read(state) if isinstance(state, (str, os.PathLike)) else _checked(state)
    units = list(_units(model))
    modules = _checked_modules(modules, units)
    for unit in units:
        _check_options(unit)
    groups = _Groups(state)
    weights, rows, used = [], [], set[str]()
    for unit, (prefix, place) in zip(units, _matched(units, groups, modules), strict=True):
        weights += groups.pieces(prefix, unit)[place]
        leaves = _leaves(unit, place)
        used |= {_joined(prefix, leaf) for each in leaves for leaf in each}
        rows += _rows(unit, prefix, leaves, state)
    tracked = {_joined(prefix, "num_batches_tracked") for prefix in groups.names}
    model.set_weights(weights)
    moved = Moved(rows, [name for name in state if name not in used | tracked])
    if print_fn is not None:
        print_fn(str(moved))
    return moved


@locked
def save_state(
    model: Layer,
    path: str | os.PathLike,
    modules: Mapping[str, str] | None = None,
    print_fn: Callable[[str], Any] | None = print,
) -> Moved:
    """Write a model's weights into a ``.safetensors`` file for a PyTorch model, and print what went where.

    ``module.load_state_dict(safetensors.torch.load_file(path))`` takes them there.

    Parameters
    ----------
    model : Layer
    path : path
    modules : mapping of str to str, optional
        The names of modules by the names of layers here; default: the same. Recurrent layers in a row with one name
        become the layers of one module.
    print_fn : callable or None

    Returns
    -------
    Moved

    Raises
    ------
    ValueError
        A layer with weights has no counterpart in PyTorch, or two have one name.
    """
    if not model.built:
        raise ValueError(f"{model.name}: the model is not built; call it, or build it for an input shape, first")
    units = list(_units(model))
    modules = _checked_modules(modules, units)
    state: dict[str, np.ndarray] = {}
    placed: list[tuple[_Unit, str, int]] = []
    stacks: dict[str, list[Any]] = {}
    for n, unit in enumerate(units):
        _check_options(unit)
        prefix = modules.get(unit.label, unit.label)
        own = stacks.setdefault(prefix, [])
        if own and not (unit.recurrent and modules.get(units[n - 1].label, units[n - 1].label) == prefix):
            raise ValueError(
                f"modules: {prefix!r} is the name of several; only recurrent layers in a row may share one"
            )
        placed.append((unit, prefix, len(own)))
        own.append(unit.layer.get_weights())
        arrays = weights_to_torch(own) if unit.recurrent else _plain_arrays(unit.layer)
        state |= {_joined(prefix, leaf): array for leaf, array in arrays.items()}
    safetensors.write(path, state)
    rows = [row for unit, prefix, place in placed for row in _rows(unit, prefix, _leaves(unit, place), state)]
    moved = Moved(rows, [])
    if print_fn is not None:
        print_fn(str(moved))
    return moved


# --- what there is ---------------------------------------------------------------------------------------------------


def _units(layer: Any, label: str = "") -> Iterator[_Unit]:
    """Yield what has weights, in their order."""
    if isinstance(layer, layers.TimeDistributed):
        yield from _units(layer.layer, label or layer.name)
    elif hasattr(layer, "layers"):
        for child in layer.layers:
            yield from _units(child, _joined(label, child.name))
    elif isinstance(layer, layers.RNN) and len(layer.cells) > 1:
        yield from (_Unit(_joined(label or layer.name, cell.name), cell) for cell in layer.cells)
    elif layer.weights:
        yield _Unit(label or layer.name, layer)


def _entries(layer: Layer) -> list[_Entry]:
    """Return what a module for a layer holds, in the order of the layer's weights."""
    return [entry for entry in _PLAIN[type(layer)] if entry.weight is None or entry.weight in layer.weight_names]


def _plain_arrays(layer: Layer) -> dict[str, np.ndarray]:
    arrays = {}
    for leaf, weight, axes in _entries(layer):
        array = np.zeros((), np.int64) if weight is None else np.asarray(getattr(layer, weight))
        arrays[leaf] = array if axes is None else np.ascontiguousarray(array.transpose(axes))
    return arrays


def _leaves(unit: _Unit, place: int) -> list[tuple[str, ...]]:
    """Return for each weight of a unit the names in its module of what it is made of."""
    if not unit.recurrent:
        return [(entry.leaf,) for entry in _entries(unit.layer) if entry.weight]
    directions = unit.layer.children() if isinstance(unit.layer, layers.Bidirectional) else [unit.layer]
    return [
        tuple(f"{part}_l{place}{suffix}" for part in _PARTS[name])
        for suffix, part in zip(("", "_reverse"), directions, strict=False)
        for leaf in part.walk()
        for name in leaf.own_weights
    ]


def _rows(unit: _Unit, prefix: str, leaves: list[tuple[str, ...]], state: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for parts, name, weight in zip(leaves, weight_names(unit.layer), unit.layer.weights, strict=True):
        names, own = [_joined(prefix, part) for part in parts], name.removeprefix(f"{unit.layer.name}/")
        rows.append((f"{' + '.join(names)} {state[names[0]].shape}", f"{unit.label}: {own} {weight.shape}"))
    return rows


def _joined(prefix: str, leaf: str) -> str:
    return f"{prefix}.{leaf}" if prefix else leaf


# --- what fits -------------------------------------------------------------------------------------------------------


class _Groups:
    """The arrays of a state by their modules."""

    def __init__(self, state: Mapping[str, Any]):
        self.names: dict[str, dict[str, Any]] = {}
        for name, array in state.items():
            prefix, _, leaf = name.rpartition(".")
            self.names.setdefault(prefix, {})[leaf] = array
        self._recurrent: dict[str, Any] = {}

    def pieces(self, prefix: str, unit: _Unit) -> list[list[np.ndarray]]:
        """Return the weights that each layer of a module would give to one of a unit's kind; none if it is another."""
        group = self.names[prefix]
        if unit.recurrent:
            if not any(leaf.startswith("weight_ih_l") for leaf in group):
                return []
            if prefix not in self._recurrent:
                try:
                    self._recurrent[prefix] = weights_from_torch(group)
                except ValueError:  # such as of LSTMs with projections
                    self._recurrent[prefix] = []
            return self._recurrent[prefix]
        entries = _entries(unit.layer)
        if {entry.leaf for entry in entries} - {"num_batches_tracked"} != group.keys() - {"num_batches_tracked"}:
            return []
        arrays = [(np.asarray(group[leaf]), axes) for leaf, weight, axes in entries if weight]
        if any(axes is not None and array.ndim != len(axes) for array, axes in arrays):
            return []
        return [[array if axes is None else array.transpose(axes) for array, axes in arrays]]


def _matched(units: list[_Unit], groups: _Groups, modules: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return for each unit the module that is its own, and the place of its layer there."""
    found: dict[int, tuple[str, int]] = {}
    free = set(groups.names)
    while len(found) < len(units):
        options = {n: _options(n, units, found, free, groups, modules) for n in range(len(units)) if n not in found}
        for n, each in options.items():
            if not each:
                raise ValueError(_no_module(units[n], groups, free, modules))
        sure = next((each[0] for each in options.values() if len(each) == 1), None)
        if sure is None:
            n, each = next(iter(options.items()))
            raise ValueError(
                f"{units[n].label} fits the modules {', '.join(sorted({prefix for prefix, _ in each})[:9])} alike; "
                f"say which it is, as modules={{{units[n].label!r}: {each[0][0]!r}}}"
            )
        prefix, start = sure
        count = len(groups.pieces(prefix, units[start]))
        found |= {start + place: (prefix, place) for place in range(count)}
        free.discard(prefix)
    return [found[n] for n in range(len(units))]


def _options(n, units, found, free, groups, modules):
    """Return the modules, and the units that they would begin at, that may cover unit n."""
    wanted, named = modules.get(units[n].label), set(modules.values())
    options = []
    for prefix in sorted(free):
        if prefix != wanted and (wanted is not None or prefix in named):
            continue
        pieces = groups.pieces(prefix, units[n])
        for start in range(max(0, n - len(pieces) + 1), n + 1) if pieces else ():
            covered = range(start, start + len(pieces))
            if covered.stop > len(units) or any(m in found for m in covered):
                continue
            if all(
                modules.get(units[m].label) == wanted
                and units[m].recurrent == units[n].recurrent
                and [piece.shape for piece in pieces[m - start]] == [weight.shape for weight in units[m].layer.weights]
                for m in covered
            ):
                options.append((prefix, start))
    return options


def _no_module(unit: _Unit, groups: _Groups, free: set[str], modules: Mapping[str, str]) -> str:
    own = _listed(dict(zip(weight_names(unit.layer), unit.layer.weights, strict=True)))
    wanted = [modules[unit.label]] if unit.label in modules else sorted(free)
    there = {prefix or "(the module itself)": groups.names[prefix] for prefix in wanted[:20] if prefix in groups.names}
    told = "; ".join(f"{prefix}: {_listed(group)}" for prefix, group in there.items())
    return f"no module fits the layer {unit.label} ({own}); the state has {told or 'none of that name':.2000}"


def _listed(arrays: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in arrays.items())


# --- checks ----------------------------------------------------------------------------------------------------------


def _checked(state: Any) -> Mapping[str, Any]:
    if not isinstance(state, Mapping):
        raise TypeError(f"state is a {type(state).__name__}; expected a mapping, module.state_dict(), or a path")
    return {name: np.asarray(array) for name, array in state.items()}


def _checked_modules(modules: Mapping[str, str] | None, units: list[_Unit]) -> Mapping[str, str]:
    labels = [unit.label for unit in units]
    unknown = [label for label in modules or {} if label not in labels]
    if unknown:
        raise ValueError(f"modules names the layers {unknown}; those with weights are {labels}")
    return modules or {}


def _check_options(unit: _Unit) -> None:
    """Raise ValueError for what PyTorch's modules cannot compute, and warn of what a state does not say."""
    layer = unit.layer
    if isinstance(layer, layers.Bidirectional) and layer.merge_mode != "concat":
        raise ValueError(f"{unit.label}: merge_mode is {layer.merge_mode!r}; PyTorch has 'concat' only")
    if unit.recurrent:
        for cell in (part for part in layer.walk() if isinstance(part, layers.RecurrentCell)):
            inside = tuple(
                getattr(cell, name).name for name in ("activation", "recurrent_activation") if hasattr(cell, name)
            )
            before = not getattr(cell, "reset_after", True)
            if inside not in _ACTIVATIONS.get(type(cell), []) or before:
                inside += ("reset_after=False",) * before
                raise ValueError(
                    f"{unit.label}: {type(cell).__name__} with {', '.join(inside)} is none of PyTorch's: "
                    "RNN with tanh or relu, LSTM and GRU (reset_after=True) with tanh and sigmoid"
                )
    elif type(layer) not in _PLAIN:
        known = ", ".join(each.__name__ for each in _PLAIN)
        raise ValueError(
            f"{unit.label}: {type(layer).__name__} has no counterpart in PyTorch here; these layers have: {known}, and "
            "recurrent ones"
        )
    elif getattr(layer, "epsilon", EPSILON) != EPSILON:
        warnings.warn(
            f"{unit.label}: epsilon is {layer.epsilon}, PyTorch's default {EPSILON}, and a state does not say it: "
            "the same weights compute the same with the same one only",
            stacklevel=3,
        )
