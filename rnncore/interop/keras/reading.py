"""Models and weights from files of Keras's, from version 1 on; Keras and TensorFlow are not imported."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...layers import Layer
from ...layers.scopes import expected_weights
from ...lock import locked
from ...models import Sequential
from . import compiled, versions, weights
from .contents import Contents, contents_of
from .layers import Reader

Arrays = list[np.ndarray]


def load_model(
    path: str | os.PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    before: str | None = None,
) -> Sequential:
    """Return the model of a ``.keras`` or ``.h5`` file, with the numbers of the version that wrote it.

    `rnncore.models.load_model` calls this for such a file, whatever it is called.

    Parameters
    ----------
    path : path
        The file may come from anyone: nothing in it is run, and sizes are checked before memory is taken.
    custom_objects : dict of str to class or Activation, optional
        What is not the package's own, by the name in the file. Classes given here are called with what the file says.
    compile : bool
        Whether to compile it as it was, with the optimizer's slots, so that training goes on.
    before : str, optional
        The name of a layer: only those before it are read, the model is not compiled.

    Raises
    ------
    ValueError
        The file is damaged, or holds no model, or one that is not a chain of layers known here: the message names the
        layer, and says what can be done.
    FileNotFoundError
    ImportError
        h5py is not there.

    Warns
    -----
    UserWarning
        Something was left out that training would need, or the model could not be compiled as it was.
    """
    with contents_of(path) as contents:
        if contents.model is None:
            raise ValueError(
                "it holds weights only: make the model, build it, and call its load_weights; "
                "interop.keras.read_weights gives the arrays"
            )
        reader = Reader(contents.version, custom_objects)
        model = _built(contents, reader, before)
        if compile and before is None and contents.compiled is not None:
            _compile(contents, reader, model)
    for note in reader.notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    return model


def _built(contents: Contents, reader: Reader, before: str | None) -> Sequential:
    assert contents.model is not None
    model, shape = reader.model(contents.model, before)
    found = _weights_of(contents, reader, model)
    with expected_weights(array for arrays in found for array in arrays):
        if shape is not None:
            model.build(shape)
        elif any(found):
            raise ValueError("it does not say the shape of the model's input")
    pairs = []
    for layer, arrays in zip(model.layers, found, strict=True):
        order = weights.legacy_order(layer) if contents.form != "keras" else _own_order(layer)
        pairs += weights.place(layer, order, arrays)
    for mine, theirs in pairs:  # only when all are known to fit
        mine[...] = theirs
    return model


def _own_order(layer: Layer) -> list[tuple[Layer, str]]:
    return [(part, name) for part in layer.walk() for name in part.own_weights]


def _weights_of(contents: Contents, reader: Reader, model: Sequential) -> list[Arrays]:
    """Return the arrays of each layer, in an order of ours."""
    if contents.form == "keras":
        by_part = weights.by_position(contents.arrays, model.layers, reader.kinds)
        return [_of_layer(layer, by_part) for layer in model.layers]
    stored = weights.lists(contents.arrays, contents.arrays.group("model_weights"))
    by_name = dict(zip(stored.layers, stored.arrays, strict=True))
    flipped, found = weights.flips(contents.version, contents.backend), []
    for layer, name in zip(model.layers, reader.names[id(model)], strict=True):
        arrays = weights.without_states(layer, by_name.get(name, []))
        found.append(_cast(layer, weights.in_our_order(layer, arrays, flipped)))
    return found


def _of_layer(layer: Layer, by_part: Mapping[int, Arrays]) -> Arrays:
    return _cast(layer, [array for part in layer.walk() for array in by_part.get(id(part), [])])


def _cast(layer: Layer, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [array.astype(layer.dtype, copy=False) for array in arrays]


def _compile(contents: Contents, reader: Reader, model: Sequential) -> None:
    """Compile a model as it was; note what cannot be had."""
    assert contents.compiled is not None
    try:
        model.compile(**compiled.arguments(contents.compiled, reader.custom, reader.notes))
    except (ValueError, TypeError) as error:
        reader.notes.append(f"not compiled: {error!s:.300}; call the model's compile")
        return
    try:
        _set_optimizer_state(contents, reader, model)
    except Exception as error:  # whatever stands there: training begins anew
        model.optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
        reader.notes.append(f"the optimizer begins anew: {error!s:.200}")


def _set_optimizer_state(contents: Contents, reader: Reader, model: Sequential) -> None:
    file, asked = contents.arrays, contents.compiled or {}
    group = file.group("optimizer/vars" if contents.form == "keras" else "optimizer_weights")
    if group is None or not model.built:
        return
    if contents.form == "keras":
        arrays = weights.numbered(file, "optimizer/vars")
    else:
        names = file.names("weight_names", group)
        if names is None:
            return  # something else under that name: left alone
        arrays = [file.array(name, group) for name in names]
    if not arrays:
        return
    config = asked.get("optimizer", asked.get("optimizer_config")) or {}
    config = config.get("config", {}) if isinstance(config, Mapping) else {}
    legacy = versions.before(contents.version, 2, 11) or bool(config.get("is_legacy_optimizer"))
    if contents.form != "keras" and legacy:
        arrays = _legacy_slots_in_our_order(contents, reader, model, arrays)
    model.optimizer.build(model.trainable_weights)
    compiled.set_state(model.optimizer, arrays, len(model.trainable_weights), legacy)


def _legacy_slots_in_our_order(
    contents: Contents, reader: Reader, model: Sequential, arrays: list[np.ndarray]
) -> list[np.ndarray]:
    """Return the arrays of an optimizer up to Keras 2.10, with those of each slot in the order of our weights."""
    if "CuDNNLSTM" in reader.kinds.values():
        raise ValueError("what it keeps of a CuDNNLSTM's two biases is not that of their sum")
    stored = weights.lists(contents.arrays, contents.arrays.group("model_weights"))
    names = dict(zip(stored.layers, stored.names, strict=True))
    flipped = weights.flips(contents.version, contents.backend)
    trained: list[tuple[Layer, list[str]]] = []
    for layer, name in zip(model.layers, reader.names[id(model)], strict=True):
        own, kept = names.get(name, []), len(layer.weights) - len(layer.trainable_weights)
        if layer.trainable_weights:
            trained.append((layer, own[: len(own) - kept]))
    order = [name for _, own in trained for name in own]
    if versions.major(contents.version) < 2:
        order = sorted(order)  # as Keras 1 does
    scalars = [array for array in arrays[:2] if array.shape == ()]
    rest, found = arrays[len(scalars) :], list(scalars)
    for _ in model.optimizer.slots():
        by_name = dict(zip(order, rest, strict=False))
        rest = rest[len(order) :]
        for layer, own in trained:
            found += weights.in_our_order(layer, [by_name[name] for name in own], flipped)
    return found + rest


@locked
def load_weights(model: Sequential, path: str | os.PathLike) -> None:
    """Take the weights from a file of Keras's, of weights or of a whole model, into a built model.

    Layers go by their order, as in Keras; in files of Keras 3 each class by itself.

    Raises
    ------
    ValueError
        The file is damaged, or its weights do not fit, or are not finite; the model has not changed then.
    FileNotFoundError, ImportError
    """
    if not model.built:
        raise ValueError(f"{model.name}: load_weights: the model has no shapes yet; build it for an input shape first")
    pairs: list[tuple[np.ndarray, Any]] = []
    with contents_of(path) as contents:
        if contents.form in ("keras", "weights3"):
            by_part = weights.by_position(contents.arrays, model.layers, {})
            for layer in model.layers:
                pairs += weights.place(layer, _own_order(layer), _of_layer(layer, by_part))
        else:
            root = contents.arrays.root
            stored = weights.lists(
                contents.arrays, contents.arrays.group("model_weights") if contents.form == "h5" else root
            )
            own = [layer for layer in model.layers if layer.weights]
            if len(own) != len(stored.arrays):
                raise ValueError(
                    f"it has weights of {len(stored.arrays)} layers; the model has {len(own)} with weights"
                )
            flipped = weights.flips(contents.version, contents.backend)
            for layer, arrays in zip(own, stored.arrays, strict=True):
                arrays = weights.without_states(layer, arrays)
                arrays = _cast(layer, weights.in_our_order(layer, arrays, flipped))
                pairs += weights.place(layer, weights.legacy_order(layer), arrays)
        for mine, theirs in pairs:
            mine[...] = theirs


def read_weights(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """Return all arrays of a file of Keras's, also where its model cannot be made here.

    Returns
    -------
    dict of str to list of ndarray
        By layer, as Keras wrote them; of Keras 3 by the path in the file: ``"lstm/cell"``.
    """
    with contents_of(path) as contents:
        file = contents.arrays
        if contents.form in ("h5", "weights"):
            stored = weights.lists(file, file.group("model_weights") if contents.form == "h5" else file.root)
            return dict(zip(stored.layers, stored.arrays, strict=True))
        found: dict[str, list[np.ndarray]] = {}
        root = weights.LAYERS if file.group(weights.LAYERS) is not None else weights.OLDER
        ahead = [(root, 0)]
        while ahead:
            path_, depth = ahead.pop()
            for name in file.keys(file.group(path_)) if depth < 16 else ():
                inside = f"{path_}/{name}"
                if name == "vars":
                    arrays = weights.numbered(file, inside)
                    if arrays:
                        found[path_.removeprefix(f"{root}/")] = arrays
                else:
                    ahead.append((inside, depth + 1))
        return dict(sorted(found.items()))
