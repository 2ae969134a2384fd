"""Models and weights into files that Keras 3.15 opens; what it cannot express is refused by name."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import activations, constraints, initializers, losses, metrics, optimizers, regularizers
from ...activations import Activation
from ...configured import is_own
from ...layers import RNN, Bidirectional, Layer, StackedRNNCells, TimeDistributed
from ...layers.chain import InputLayer
from ...lock import locked
from ...models import Sequential
from ...optimizers import schedules
from ...utils.files import replaced
from . import compiled, layers, weights
from .contents import ARRAYS, CONFIG, METADATA
from .hdf5 import h5py_here, write_names

VERSION = "3.15.0"  # whose files these are

_OWN = {  # options that Keras does not have -> what they must be, any value where it makes no difference
    "bptt_steps": (None,),
    "dense_gradient": (False,),
    "implementation": None,
    "use_cudnn": None,
    "zero_output_for_mask": None,  # of Bidirectional: asked below
}
_ONLY_HERE = {"hard_sigmoid_keras2"}
_DATE = (1980, 1, 1, 0, 0, 0)  # the same model, the same bytes


class Inexpressible(ValueError):
    """Something that a file of Keras 3.15 cannot say."""


@locked
def save_model(model: Sequential, path: str | os.PathLike) -> None:
    """Write a model, as it is compiled: ``.keras``, with the optimizer's slots, or the older form for ``.h5``.

    The older form goes without them: Keras 3.15, which finds slots there, its own too, can train the model no more.

    Parameters
    ----------
    model : Sequential
        Built.
    path : path

    Raises
    ------
    ValueError
        The model is not built, or has what Keras 3.15 does not: the message names the layer and the option.
    ImportError
        h5py is not there.
    """
    described, asked = described_for_keras(model)
    if str(path).endswith(".keras"):
        described |= {"build_config": {"input_shape": _shape(model)}, "compile_config": asked}
        content = _bytes(lambda file: _write_by_position(file, model, asked is not None))
        metadata = {"keras_version": VERSION, "date_saved": "1980-01-01@00:00:00"}
        with replaced(path) as file, zipfile.ZipFile(file, "w") as archive:
            members = {METADATA: json.dumps(metadata).encode(), CONFIG: json.dumps(described).encode(), ARRAYS: content}
            for name, text in members.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), text)
    else:
        content = _bytes(lambda file: _write_lists(file, model, described, asked))
        with replaced(path) as file:
            file.write(content)


def described_for_keras(model: Sequential) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return what Keras 3.15's file says of a model and of how it is compiled; errors as those of `save_model`."""
    _check_built(model, "save")
    h5py_here()
    return _model(model), _compile_config(model)


@locked
def save_weights(model: Sequential, path: str | os.PathLike) -> None:
    """Write the weights of a built model, and its optimizer's slots, as ``save_weights`` of Keras 3 does.

    Errors as those of `save_model`.
    """
    _check_built(model, "save_weights")
    optimized = model.optimizer is not None and model.optimizer.built  # as Keras has them, where there are slots
    content = _bytes(lambda file: _write_by_position(file, model, optimized))
    with replaced(path) as file:
        file.write(content)


def _check_built(model: Sequential, what: str) -> None:
    if not isinstance(model, Sequential):
        raise TypeError(f"{what}: model is a {type(model).__name__}; expected a Sequential")
    if not model.built:
        raise ValueError(f"{model.name}: {what}: there are no weights yet; call or build the model first")


def _bytes(write: Any) -> bytes:
    """Return the bytes of an HDF5 file that `write` fills."""
    memory = io.BytesIO()
    with h5py_here().File(memory, "w") as file:
        write(file)
    return memory.getvalue()


# --- the configuration -----------------------------------------------------------------------------------------------


def _object(module: str, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as Keras 3 describes it: with the module that its class is in."""
    return {
        "module": module,
        "class_name": described["class_name"],
        "config": dict(described["config"]),
        "registered_name": None,
    }


def _model(model: Sequential) -> dict[str, Any]:
    shape: Any = _shape(model)
    rows = []
    given = model.declared or InputLayer(shape[1:], shape[0])
    config = {"batch_shape": list(given.input_shape), "name": given.name, "sparse": False}
    config["dtype"] = "int32" if model.input_kind == "integer" else model.layers[0].dtype
    rows.append(_object("keras.layers", {"class_name": "InputLayer", "config": config}))
    for layer in model.layers:
        rows.append(_layer(layer, given.input_shape[0]) | {"build_config": {"input_shape": list(shape)}})
        shape = layer.compute_output_shape(shape)
    return _object("keras", {"class_name": "Sequential", "config": {"name": model.name, "layers": rows}})


def _shape(model: Sequential) -> list[Any]:
    return list(model.declared.input_shape if model.declared is not None else model.input_shape or ())


def _layer(layer: Layer, rows: int | None) -> dict[str, Any]:
    """Return the description of a layer in a model for `rows` rows, or raise ValueError if Keras 3.15 has no such."""
    kind, label = type(layer).__name__, f"layer {layer.name!r}"
    if isinstance(layer, Sequential):
        return _model(layer)
    if kind not in layers.KNOWN or is_own(type(layer)):
        raise Inexpressible(
            f"{label} is a {kind}, which Keras 3.15 does not have; save it under another suffix, as .npz"
        )
    own = layer.get_config()
    if kind == "LeakyReLU":
        own.pop("alpha", None)  # another name of negative_slope
    config = {name: _option(name, value, layer, label) for name, value in own.items() if name not in _OWN}
    for option, allowed in _OWN.items():
        if allowed is not None and option in own and own[option] not in allowed:
            raise Inexpressible(f"{label} has {option}={own[option]!r}, which Keras 3.15 does not have")
    if isinstance(layer, RNN):
        config["zero_output_for_mask"] = layer.zero_output_for_mask
        if layer.stateful and rows is None:
            raise Inexpressible(f"{label} is stateful; Keras needs a fixed batch size then: Input(batch_shape=…)")
    if isinstance(layer, Bidirectional):
        if layer.zero_output_for_mask is not None:
            raise Inexpressible(f"{label} has zero_output_for_mask={layer.zero_output_for_mask}: Keras 3 has no choice")
        config["layer"], config["backward_layer"] = (_layer(child, rows) for child in layer.children())
    elif isinstance(layer, TimeDistributed):
        config["layer"] = _layer(layer.layer, rows)
    elif isinstance(layer, StackedRNNCells):
        config["cells"] = [_layer(cell, rows) for cell in layer.cells]
    elif isinstance(layer, RNN) and "cell" in own:
        config["cell"] = _layer(layer.cell, rows)
    config["name"] = layer.name
    for option, usual in (("trainable", True), ("activity_regularizer", None)):  # not all of Keras's take them
        if own.get(option) is usual:
            config.pop(option, None)
    return _object("keras.layers", {"class_name": kind, "config": config})


_ROOMS = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


def _option(name: str, value: Any, layer: Layer, label: str) -> Any:
    """Return the value of an option as Keras 3 writes it."""
    if name.endswith("activation"):
        known = activations.ACTIVATIONS.get(value) if isinstance(value, str) else None
        given = getattr(layer, name, None)
        if known is None or value in _ONLY_HERE or (isinstance(given, Activation) and given is not known):
            raise Inexpressible(f"{label} has {name}={value!r}, which Keras 3.15 does not have")
        return value
    for kind, room in _ROOMS.items():
        if name.endswith(kind) and value is not None:
            if value["class_name"] not in vars(room) or vars(room)[value["class_name"]] is not type(
                getattr(layer, name)
            ):
                raise Inexpressible(f"{label} has {name}={value['class_name']}, which Keras 3.15 does not have")
            return _object(f"keras.{kind}s", value)
    if name == "unit_forget_bias" and not isinstance(value, (bool, np.bool_)):
        raise Inexpressible(f"{label} has unit_forget_bias={value!r}; in Keras 3.15 it is True or False")
    if name == "seed" and not isinstance(value, int | None):
        return None
    return value


def _compile_config(model: Sequential) -> dict[str, Any] | None:
    asked = model.get_compile_config()
    if asked is None:
        return None
    own, loss = model.optimizer, model.loss
    if type(own) not in vars(optimizers).values():
        raise Inexpressible(f"optimizer {type(own).__name__} is not one of Keras 3.15")
    config = dict(asked["optimizer"]["config"])
    rate = config["learning_rate"]
    if isinstance(rate, Mapping):
        if rate["class_name"] not in vars(schedules):
            raise Inexpressible(f"learning_rate is a {rate['class_name']}, which Keras 3.15 does not have")
        config["learning_rate"] = _object("keras.optimizers.schedules", rate)
    elif callable(rate):
        raise Inexpressible("learning_rate is a function, which a file cannot hold; a schedule it can")
    found: dict[str, Any] = {
        "optimizer": _object("keras.optimizers", {"class_name": type(own).__name__, "config": config}),
        "loss": None,
        "loss_weights": None,
    }
    if loss is not None:
        found["loss"] = _of("keras.losses", losses, "loss", loss, asked["loss"])
    for part in ("metrics", "weighted_metrics"):
        found[part] = [
            name if isinstance(name, str) else _of("keras.metrics", metrics, "metric", name, name)
            for name in asked[part]
        ]
    return found | {"run_eagerly": False, "steps_per_execution": 1, "jit_compile": False}


def _of(module: str, room: Any, kind: str, given: Any, described: Any) -> dict[str, Any]:
    if not isinstance(described, Mapping) or described.get("class_name") not in room.__all__:
        raise Inexpressible(f"{kind} {given!r:.100} is not one of Keras 3.15")
    config = dict(described["config"])
    if config.get("reduction", "") is None:
        config["reduction"] = "none"
    return _object(module, {"class_name": described["class_name"], "config": config})


# --- the arrays ------------------------------------------------------------------------------------------------------


def _write_by_position(file: Any, model: Sequential, optimized: bool) -> None:
    for _, parts in weights.places(model.layers, {}):
        for part, path in parts:
            group = file.require_group(f"{path}/vars")
            group.attrs["name"] = part.name
            for number, name in enumerate(part.own_weights):
                group[str(number)] = getattr(part, name)
    if optimized:
        for number, array in enumerate(_optimizer_state(model)):
            file[f"optimizer/vars/{number}"] = array


def _write_lists(file: Any, model: Sequential, described: Mapping[str, Any], asked: Mapping[str, Any] | None) -> None:
    """Write the older form: the configuration in attributes, and a list of arrays a layer."""
    said = {"keras_version": VERSION, "backend": "tensorflow"}
    plain = {"class_name": described["class_name"], "config": _older(described["config"])}
    file.attrs.update(said | {"model_config": json.dumps(plain)})
    group = file.create_group("model_weights")
    group.attrs.update(said)
    write_names(group, "layer_names", [layer.name for layer in model.layers])
    for layer in model.layers:
        inside = group.create_group(layer.name)
        pairs = [(f"{part.name}/{name}", getattr(part, name)) for part, name in weights.legacy_order(layer)]
        names = [f"{number}/{name}" for number, (name, _) in enumerate(pairs)]  # two parts may have one name
        write_names(inside, "weight_names", names)
        for name, (_, array) in zip(names, pairs, strict=True):
            inside[name] = array
    write_names(group.create_group("top_level_model_weights"), "weight_names", [])
    if asked is not None:
        training = {name: value for name, value in asked.items() if name != "optimizer"}
        for part in ("metrics", "weighted_metrics"):
            training[part] = [_metric_of_older(metric) for metric in training[part]]
        optimizer = {name: asked["optimizer"][name] for name in ("class_name", "config")}
        file.attrs["training_config"] = json.dumps(training | {"optimizer_config": optimizer})


def _metric_of_older(metric: Any) -> Any:
    """Return a metric as Keras 3.15 reads it in the older form: most names, its own too, it does not find there."""
    if not isinstance(metric, str) or metric.lower() in ("accuracy", "acc"):
        return metric
    found = metrics.get(metric)
    return _object("keras.metrics", found.describe())


def _older(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's configuration with its layers as the older form has them: without modules."""
    rows = [{"class_name": row["class_name"], "config": row["config"]} for row in config["layers"]]
    return {
        **config,
        "layers": [row | ({"config": _older(row["config"])} if "layers" in row["config"] else {}) for row in rows],
    }


def _optimizer_state(model: Sequential) -> list[np.ndarray]:
    """Return what the optimizer keeps of the weights that are trained now; what it would begin with, if it has none."""
    own, arrays = model.optimizer, model.trainable_weights
    if own.built and len(own.arrays) == len(arrays):
        with contextlib.suppress(ValueError):
            if own.places(arrays) == list(range(len(arrays))):
                return compiled.state_of(own, len(arrays))
    fresh = type(own).from_config(own.get_config())
    fresh.build(arrays)
    if own.built:
        warnings.warn(
            f"{model.name}: what the optimizer keeps is of other weights than are trainable now; it is not written",
            stacklevel=4,
        )
    return compiled.state_of(fresh, len(arrays))
