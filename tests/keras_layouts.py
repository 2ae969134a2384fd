"""Files of models as Keras 1 and 2 wrote them, made from a model here: by their documentation and by real files.

What is written is the inverse of what a reader must do; the real files of the folder ``RNNCORE_MODELS`` hold both to
what those versions did.
"""

import json
from typing import Any

import h5py
import numpy as np

from rnncore.layers import RNN, Bidirectional, Embedding, TimeDistributed
from rnncore.layers.base import Layer

OLD = {  # class here -> (class there, {option here: option there}), Keras 1
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {}),
    "SimpleRNN": ("SimpleRNN", {}),
    "Dense": ("Dense", {}),
    "Embedding": ("Embedding", {}),
    "Dropout": ("Dropout", {"rate": "p"}),
    "Conv1D": ("Convolution1D", {}),
    "MaxPooling1D": ("MaxPooling1D", {}),
    "GlobalAveragePooling1D": ("GlobalAveragePooling1D", {}),
    "Masking": ("Masking", {}),
    "Activation": ("Activation", {}),
    "BatchNormalization": ("BatchNormalization", {}),
}
OPTIONS_1 = {
    "units": "output_dim",
    "recurrent_activation": "inner_activation",
    "kernel_initializer": "init",
    "recurrent_initializer": "inner_init",
    "use_bias": "bias",
    "dropout": "dropout_W",
    "recurrent_dropout": "dropout_U",
    "filters": "nb_filter",
    "kernel_size": "filter_length",
    "padding": "border_mode",
    "strides": "subsample_length",
    "rate": "p",
}
KEPT = {"name", "activation", "return_sequences", "go_backwards", "stateful", "input_dim", "output_dim", "mask_zero"}
KEPT |= {"mask_value", "pool_size", "epsilon", "momentum", "center", "scale"}


def _activation(value):
    return "hard_sigmoid" if value == "hard_sigmoid_keras2" else value


def config_1(layer: Layer) -> dict[str, Any]:
    """Return the entry of a layer in a configuration of Keras 1."""
    if isinstance(layer, Bidirectional):
        inner = config_1(layer.layer)
        return {
            "class_name": "Bidirectional",
            "config": {"name": layer.name, "merge_mode": layer.merge_mode, "layer": inner},
        }
    if isinstance(layer, TimeDistributed):
        inner = config_1(layer.layer)
        return {"class_name": "TimeDistributedDense", "config": {**inner["config"], "name": layer.name}}
    kind, renamed = OLD[type(layer).__name__]
    own = layer.get_config()
    names = {name: name for name in KEPT} | ({} if isinstance(layer, Embedding) else OPTIONS_1) | renamed
    config = {names[name]: _activation(value) for name, value in own.items() if name in names}
    for old in ("init", "inner_init"):
        if old in config:
            config[old] = "glorot_uniform"
    if "unit_forget_bias" in own:
        config["forget_bias_init"] = "one"
    if kind == "MaxPooling1D":
        config |= {"pool_length": config.pop("pool_size"), "stride": config.pop("subsample_length")}
    if isinstance(layer, RNN):
        config |= {"consume_less": "cpu", "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.25}}
    return {"class_name": kind, "config": config | {"trainable": True}}


def arrays_1(layer: Layer, arrays: list[np.ndarray], packed: bool = False) -> list[tuple[str, np.ndarray]]:
    """Return the names and the arrays of a layer in a file of Keras 1; `arrays` in our order, weights or slots."""
    children = layer.children() if isinstance(layer, Bidirectional) else [layer]
    share = len(arrays) // len(children)
    found = []
    for n, child in enumerate(children):
        own, name = arrays[n * share : (n + 1) * share], child.name
        gates = len(child.cell.equations.gates) if isinstance(child, RNN) else 1
        if gates > 1 and not packed:
            blocks = [np.split(array, gates, axis=-1) for array in own]
            letters = {4: "ifco", 3: "zrh"}[gates]
            order = [0, 2, 1, 3] if gates == 4 else [0, 1, 2]  # W, U, b of i, c, f, o
            found += [(f"{name}_{role}_{letters[g]}", blocks[r][g]) for g in order for r, role in enumerate("WUb")]
        elif type(child).__name__ == "Conv1D":
            found += [(f"{name}_W", own[0][:, None]), *((f"{name}_b", array) for array in own[1:])]
        elif type(child).__name__ == "BatchNormalization":
            roles = ("gamma", "beta", "running_mean", "running_std")
            found += [(f"{name}_{role}", array) for role, array in zip(roles, own, strict=False)]
        else:
            found += [
                (f"{name}_{role}", array) for role, array in zip("WUb" if len(own) == 3 else "Wb", own, strict=False)
            ]
    return found


def config_2(layer: Layer, kinds: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the entry of a layer in a configuration of Keras 2; `kinds` puts classes in the place of ours."""
    own = layer.get_config()
    kind = (kinds or {}).get(type(layer).__name__, type(layer).__name__)
    if isinstance(layer, (Bidirectional, TimeDistributed)):
        inner = config_2(layer.layer, kinds)
        merge = {"merge_mode": layer.merge_mode} if isinstance(layer, Bidirectional) else {}
        return {"class_name": kind, "config": {"name": layer.name, "layer": inner, "trainable": True, **merge}}
    config = {name: _activation(value) for name, value in own.items()}
    for name in ("bptt_steps", "zero_output_for_mask", "seed", "use_cudnn", "dense_gradient", "dtype"):
        config.pop(name, None)
    if isinstance(layer, RNN):
        config |= {"implementation": 1}
    if kind.startswith("CuDNN"):
        for name in ("activation", "recurrent_activation", "use_bias", "dropout", "recurrent_dropout", "reset_after"):
            config.pop(name, None)
    if kind == "LeakyReLU":
        config["alpha"] = {"type": "ndarray", "dtype": "float32", "value": config.pop("negative_slope")}
    return {"class_name": kind, "config": config}


def arrays_cudnn(layer: Layer, arrays: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Return the names and arrays of a CuDNNLSTM or CuDNNGRU, whose blocks lie as cuDNN reads them."""
    kernel, recurrent, bias = arrays
    gates = len(layer.cell.equations.gates)
    blocks = [
        np.concatenate([block.T.reshape(block.shape) for block in np.split(array, gates, axis=1)], axis=1)
        for array in (kernel, recurrent)
    ]
    both = bias.reshape(-1) if gates == 3 else np.concatenate([bias * 0.25, bias * 0.75])
    return [
        (f"{layer.name}/{n}:0", array)
        for n, array in zip(("kernel", "recurrent_kernel", "bias"), [*blocks, both], strict=True)
    ]


def write(
    path, model, version: str | None, rows, arrays, *, backend=None, functional=False, training=None, slots=()
) -> None:
    """Write a whole model.

    Parameters
    ----------
    rows : list of dict
        Entries of a configuration, a layer each.
    arrays : list of list of (str, ndarray)
        A list a layer.
    functional : bool
        Whether the configuration is that of a functional model.
    training : dict, optional
        The ``training_config``.
    slots : list of (str, ndarray)
        What the optimizer keeps.
    """
    shape = list(model.declared.input_shape)
    if functional:
        names = ["the_input", *(row["config"]["name"] for row in rows)]
        entries = [{"class_name": "InputLayer", "config": {"batch_input_shape": shape, "name": names[0]}}, *rows]
        for n, row in enumerate(entries):
            row |= {"name": names[n], "inbound_nodes": [[[names[n - 1], 0, 0, {}]]] if n else []}
        ends = {"input_layers": [[names[0], 0, 0]], "output_layers": [[names[-1], 0, 0]]}
        config = {"class_name": "Model", "config": {"name": "model_1", "layers": entries, **ends}}
    else:
        rows[0]["config"]["batch_input_shape"] = shape
        config = {"class_name": "Sequential", "config": rows}
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        for holder in (file, group) if version and version[0] != "1" else (file,):
            if version is not None:
                holder.attrs["keras_version"] = np.bytes_(version)
            if backend is not None:
                holder.attrs["backend"] = np.bytes_(backend)
        file.attrs["model_config"] = np.bytes_(json.dumps(config))
        if training is not None:
            file.attrs["training_config"] = np.bytes_(json.dumps(training))
        _write_lists(group, rows, arrays)
        if slots:
            inside = file.create_group("optimizer_weights")
            inside.attrs["weight_names"] = [name.encode() for name, _ in slots]
            for name, array in slots:
                inside[name] = array


def write_weights(path, rows, arrays, version=None) -> None:
    """Write weights only."""
    with h5py.File(path, "w") as file:
        if version is not None:
            file.attrs["keras_version"] = np.bytes_(version)
        _write_lists(file, rows, arrays)


def _write_lists(group, rows, arrays):
    names = [row["config"]["name"] for row in rows]
    group.attrs["layer_names"] = [name.encode() for name in names]
    for name, own in zip(names, arrays, strict=True):
        inside = group.create_group(name)
        inside.attrs["weight_names"] = [weight.encode() for weight, _ in own]
        for weight, array in own:
            inside[weight] = array
