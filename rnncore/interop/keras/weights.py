"""Where the weights of a layer are in a file, and how those of older versions become ours.

Keras 3 keeps arrays by position: ``layers/<class>[_n]/…/vars/0``, n counted a class in the order of the model. Older
versions, and Keras 3 in its ``.h5``, keep a list of arrays a layer, those that are not trained last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...layers import RNN, Bidirectional, Layer, RecurrentCell, StackedRNNCells, TimeDistributed
from ...models import Sequential
from ...saving import check_fit
from . import versions
from .hdf5 import Hdf5

LAYERS, OLDER = "layers", "_layer_checkpoint_dependencies"  # the latter in 2.12 and 2.13


class Stored(NamedTuple):
    """The arrays of a file, a list a layer.

    Attributes
    ----------
    arrays : list of list of ndarray
        As in the file: a list a layer that has any.
    names : list of list of str
        What they are called there.
    layers : list of str
        Whose they are.
    """

    arrays: list[list[np.ndarray]]
    names: list[list[str]]
    layers: list[str]


# --- by position -----------------------------------------------------------------------------------------------------


def snake_case(kind: str) -> str:
    """Return the name of a class as Keras 3 has it in paths: ``ReLU`` -> ``re_lu``, ``Conv1D`` -> ``conv1d``."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W", "", kind))).lower()


def places(
    layers: Iterable[Layer], kinds: Mapping[int, str], path: str = LAYERS
) -> Iterator[tuple[Layer, list[tuple[Layer, str]]]]:
    """Yield each layer, with its parts that may have weights and the group that Keras 3 keeps them in."""
    counts: Counter[str] = Counter()
    for layer in layers:
        name = snake_case(kinds.get(id(layer), type(layer).__name__))
        numbered = f"{name}_{counts[name]}" if counts[name] else name
        counts[name] += 1
        yield layer, list(_parts(layer, kinds, f"{path}/{numbered}"))


def _parts(layer: Layer, kinds: Mapping[int, str], path: str) -> Iterator[tuple[Layer, str]]:
    if isinstance(layer, Sequential):
        for _, parts in places(layer.layers, kinds, f"{path}/{LAYERS}"):
            yield from parts
    elif isinstance(layer, Bidirectional):
        yield from _parts(layer.forward_layer, kinds, f"{path}/forward_layer")
        yield from _parts(layer.backward_layer, kinds, f"{path}/backward_layer")
    elif isinstance(layer, TimeDistributed):
        yield from _parts(layer.layer, kinds, f"{path}/layer")
    elif isinstance(layer, RNN):
        if isinstance(layer.cell, StackedRNNCells):
            for _, parts in places(layer.cells, kinds, f"{path}/cell/cells"):
                yield from parts
        else:
            yield layer.cell, f"{path}/cell"
    else:
        yield layer, path


def by_position(file: Hdf5, layers: Sequence[Layer], kinds: Mapping[int, str]) -> dict[int, list[np.ndarray]]:
    """Return the arrays of each part, by its ``id``, from a file of Keras 3."""
    root = LAYERS if file.group(LAYERS) is not None else OLDER
    if file.group(root) is None:
        raise ValueError(f"it has no group {LAYERS!r}: there are no weights in it, or they are not of Keras")
    return {
        id(part): numbered(file, f"{group}/vars") for _, parts in places(layers, kinds, root) for part, group in parts
    }


def numbered(file: Hdf5, path: str) -> list[np.ndarray]:
    """Return the arrays ``0``, ``1`` … of a group; none if there is no such group."""
    group = file.group(path)
    return [] if group is None else [file.array(str(n), group) for n in range(len(file.keys(group)))]


# --- by list ---------------------------------------------------------------------------------------------------------


def lists(file: Hdf5, group: Any) -> Stored:
    """Return the arrays of a file of Keras 1 or 2, or of a ``.h5`` of Keras 3, from its group with ``layer_names``."""
    stored = Stored([], [], [])
    for layer in file.names("layer_names", group) or []:
        inside = file.group(layer, group)
        if inside is None:
            raise ValueError(f"it has no group for its layer {layer!r:.100}")
        names = file.names("weight_names", inside) or []
        if names:
            stored.layers.append(layer)
            stored.names.append(names)
            stored.arrays.append([file.array(name, inside) for name in names])
    return stored


def in_our_order(layer: Layer, arrays: list[np.ndarray], flipped: bool = False) -> list[np.ndarray]:
    """Return the arrays that a layer has in a file as the layer here has them; the layer need not be built.

    Parameters
    ----------
    layer : Layer
    arrays : list of ndarray
        All of it, or what an optimizer keeps of all that is trained: the same is done to them.
    flipped : bool
        Whether kernels of convolutions were written by Theano, which goes through them backwards.
    """
    cells = [part for part in layer.walk() if isinstance(part, RecurrentCell)]
    if cells and len(cells) == len(layer.leaves()):
        gates = len(cells[0].equations.gates)
        if gates > 1 and len(arrays) == 3 * gates * len(cells):
            return [array for part in _chunks(arrays, 3 * gates) for array in _from_keras_1(part)]
        if len(arrays) == 3 * len(cells):
            return [array for part in _chunks(arrays, 3) for array in _from_cudnn(gates, *part)]
        return arrays
    if type(layer).__name__ == "Conv1D" and arrays:
        return [_convolution(arrays[0], flipped), *arrays[1:]]
    return arrays


def _chunks(values: list[Any], size: int) -> list[list[Any]]:
    return [values[n : n + size] for n in range(0, len(values), size)]


def _from_keras_1(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return kernel, recurrent kernel and bias of Keras 1's arrays: W, U, b of each gate, an LSTM's as i, c, f, o."""
    gates = _chunks(arrays, 3)
    if len(gates) == 4:
        gates = [gates[n] for n in (0, 2, 1, 3)]
    if any(array.ndim != axes for gate in gates for array, axes in zip(gate, (2, 2, 1), strict=True)):
        raise ValueError("the arrays of a recurrent layer of Keras 1 are not W, U and b of each gate")
    return [np.concatenate(parts, axis=-1) for parts in zip(*gates, strict=True)]


def _from_cudnn(gates: int, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """Return the weights of a layer of cuDNN's, known by a bias for input and state each, as ours; others as they are.

    A gate's block there is what cuDNN reads, the transpose with the shape of the original.
    """
    units = recurrent.shape[0] if recurrent.ndim == 2 else 0
    if bias.shape != (2 * gates * units,) or gates == 1 or kernel.shape[1:] != (gates * units,):
        return [kernel, recurrent, bias]
    kernel, recurrent = (
        np.concatenate([block.reshape(units, -1).T for block in np.split(array, gates, axis=1)], axis=1)
        for array in (kernel, recurrent)
    )
    pair = bias.reshape(2, -1)
    return [kernel, recurrent, pair if gates == 3 else pair.sum(axis=0)]


def _convolution(kernel: np.ndarray, flipped: bool) -> np.ndarray:
    """Return the kernel (K, D, F) of a convolution over steps; Keras 1 has it with an axis more."""
    if kernel.ndim == 4:
        if kernel.shape[1] != 1:  # (F, D, K, 1), before 1.1
            kernel = kernel.transpose(2, 3, 1, 0)
        kernel = kernel[:, 0]
    return np.ascontiguousarray(kernel[::-1]) if flipped else kernel


# --- into a model ----------------------------------------------------------------------------------------------------


def legacy_order(layer: Layer) -> list[tuple[Layer, str]]:
    """Return a built layer's weights, each by its owner and name, in the order of lists: what is not trained last."""
    every = [(part, name) for part in layer.walk() for name in part.own_weights]
    trained = [(part, name) for part, name in layer.trainable_parts()]
    return trained + [pair for pair in every if pair not in trained]


def place(
    layer: Layer, order: Sequence[tuple[Layer, str]], arrays: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, Any]]:
    """Return pairs of a built layer's own arrays and those that go into them.

    Raises
    ------
    ValueError
        They do not fit.
    """
    own = [getattr(part, name) for part, name in order]
    names = [f"{layer.name}/{name}" if part is layer else f"{layer.name}/{part.name}/{name}" for part, name in order]
    check_fit(names, own, arrays)
    return list(zip(own, arrays, strict=True))


def without_states(layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return the arrays of a layer without the states of stateful ones, which TensorFlow's Keras 2 writes last."""
    count = sum(len(cell.state_size) for rnn in layer.stateful_layers() if rnn.stateful for cell in rnn.cells)
    cells = [part for part in layer.walk() if isinstance(part, RecurrentCell)]
    return arrays[:-count] if count and len(arrays) == sum(2 + cell.use_bias for cell in cells) + count else arrays


def flips(file_version: str | None, backend: str | None) -> bool:
    """Return whether kernels of convolutions are to be turned: Keras 2 says who computed, and Theano goes backwards."""
    return backend == "theano" and versions.major(file_version) == 2
