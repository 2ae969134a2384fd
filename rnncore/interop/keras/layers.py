"""Layers of rnncore from their description in a file of Keras's, of any version.

Every option of the file is taken over, makes no difference here, or has the layer refused by name. What only says how a
weight began, or what training would add, is left out where it is not known, and told of.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ... import activations, constraints, initializers, layers, regularizers
from ...configured import custom_object_scope
from ...layers import Bidirectional, Layer, TimeDistributed
from ...layers.chain import InputLayer
from ...models import Sequential
from . import versions
from .chain import Described, advice, described, is_model, layers_of

_KNOWN = """Activation ActivityRegularization AveragePooling1D BatchNormalization Bidirectional Conv1D Dense Dropout ELU
    Embedding Flatten GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalMaxPooling1D Identity LSTM
    LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D Permute RNN ReLU RepeatVector Reshape SimpleRNN
    SimpleRNNCell Softmax SpatialDropout1D StackedRNNCells TimeDistributed"""
KNOWN = frozenset(_KNOWN.split())
WHY = {
    "Lambda": "is a Lambda: it holds Python code of whoever wrote the file, which rnncore does not run",
}
DTYPES = {"float32": "float32", "float64": "float64"}  # others are computed in float32
_LISTS = {"kernel_size", "strides", "dilation_rate", "pool_size"}  # of one number each
DEPTH, MOST = 16, 2000  # layers in layers; layers


class Reader:
    """Makes layers, and remembers what of their description was left out.

    Parameters
    ----------
    version : str or None
        Of Keras, that wrote the file.
    custom_objects : mapping of str to class or Activation

    Attributes
    ----------
    notes : list of str
        What was left out, and what is not as it was, a sentence each.
    kinds : dict of int to str
        By the ``id`` of a layer, the name of its class in the file.
    names : dict of int to list of str
        By the ``id`` of a model, what its layers are called in the file: here names have no slashes.
    """

    def __init__(self, version: str | None, custom_objects: Mapping[str, Any] | None = None):
        self.version, self.custom = version, dict(custom_objects or {})
        self.notes: list[str] = []
        self.kinds: dict[int, str] = {}
        self.names: dict[int, list[str]] = {}
        self._masked = self._depth = 0

    def model(self, model: Described, before: str | None = None) -> tuple[Sequential, tuple[int | None, ...] | None]:
        """Return a model, not built, and the shape of its input, if the file says it.

        Parameters
        ----------
        model : Described
        before : str, optional
            The name of a layer: the model is made of those before it.

        Raises
        ------
        ValueError
            It is not one chain of layers that are known here: the message names the layer, and says what can be done.
        """
        made: list[Layer] = []
        names: list[str] = []
        given: InputLayer | None = None
        for number, layer in enumerate(layers_of(model, before)):
            if layer.kind == "InputLayer":
                if given is not None or number:
                    raise ValueError(f"layer {layer.name!r:.100} is an input within the model; {advice(layer.name)}")
                given = self._input(layer)
                continue
            if not made and given is None:
                given = _declared(layer)
            made.append(self.layer(layer))
            names.append(layer.name)
        name = model.name.replace("/", "_") or None
        built = Sequential(made, name)
        shape = None if given is None else given.input_shape
        if shape is None:
            known = model.config.get("build_input_shape") or model.shape
            shape = None if not isinstance(known, list) or not known or isinstance(known[0], list) else tuple(known)
            if shape is not None:
                given = InputLayer(shape[1:], shape[0])
        built.declared = given
        self.kinds[id(built)], self.names[id(built)] = model.kind, names
        return built, shape

    def layer(self, layer: Described) -> Layer:
        """Return a layer, not built."""
        self._depth += 1
        if len(self.kinds) > MOST:
            raise ValueError(f"it describes more than {MOST:,} layers")
        try:
            if self._depth > DEPTH:
                raise ValueError(f"layer {layer.name!r:.100} stands in more than {DEPTH} others")
            made = self._layer(layer)
        except RecursionError as error:
            raise ValueError(f"layer {layer.name!r:.100} is nested too deep") from error
        finally:
            self._depth -= 1
        self.kinds[id(made)] = layer.kind
        self._masked += isinstance(made, layers.Masking) or bool(getattr(made, "mask_zero", False))
        return made

    def _layer(self, layer: Described) -> Layer:
        if is_model(layer):
            return self.model(layer)[0]
        own = self.custom.get(layer.kind)
        kind, config = versions.renewed(layer.kind, layer.config, self.version)
        if own is None and (kind not in KNOWN or layer.foreign or not hasattr(layers, kind)):
            where = f", a class of {layer.foreign:.100}" if layer.foreign else ""
            why = WHY.get(kind, f"is a {kind:.100}{where}, which rnncore does not have")
            raise ValueError(f"layer {layer.name!r:.100} {why}; {advice(layer.name)}")
        cls = own if own is not None else getattr(layers, kind)
        options = self._options(cls, config, f"layer {layer.name!r:.100}")
        options["name"] = layer.name.replace("/", "_")
        if cls is Bidirectional:
            return self._bidirectional(options)
        if layer.kind == "TimeDistributedDense":
            name = options.pop("name")
            return TimeDistributed(layers.Dense(**options), name=name)
        return cls(**options)

    def _bidirectional(self, options):
        layer, other = options["layer"], options.pop("backward_layer", None)
        layer.name = layer.name.removeprefix("forward_")
        made = Bidirectional(**options)
        if other is not None and _told(made.backward_layer) != _told(other):
            options["backward_layer"] = other
        if self._masked and made.forward_layer.return_sequences and versions.repeats_masked(self.version):
            options["zero_output_for_mask"] = False
        made = Bidirectional(**options)
        if other is not None:  # one of the two may be frozen
            made.backward_layer.trainable = made.trainable and other.trainable
        return made

    def _input(self, layer: Described) -> InputLayer:
        shape = layer.config.get("batch_shape", layer.config.get("batch_input_shape"))
        if not isinstance(shape, list) or not shape:
            raise ValueError(
                f"layer {layer.name!r:.100} has the shape {shape!r:.100}; expected a list, the batch first"
            )
        return InputLayer(shape[1:], shape[0], name=layer.name)

    # --- options -----------------------------------------------------------------------------------------------------

    def _options(self, cls: type, config: Mapping[str, Any], label: str) -> dict[str, Any]:
        """Return the arguments of a constructor, from what a file says."""
        allowed, found = inspect.signature(cls).parameters, dict[str, Any]()
        takes_all = any(each.kind is each.VAR_KEYWORD for each in allowed.values()) or cls in self.custom.values()
        for name, value in config.items():
            if name == "dtype":
                value = self._dtype(value, label)
            if name in allowed or (takes_all and name not in versions.WITHOUT_EFFECT):
                if name in versions.DEFAULTS and value in versions.DEFAULTS[name]:
                    continue
                found[name] = self._value(name, value, label)
            elif name in versions.DEFAULTS and value in versions.DEFAULTS[name]:
                continue
            elif name == "dropout" and value and cls is layers.Embedding:
                self.notes.append(
                    f"{label}: dropout={value!r:.20} of Keras 1's Embedding is left out: training differs"
                )
            elif name not in versions.WITHOUT_EFFECT and value not in (None, False, 0, "", []) and name != "name":
                raise ValueError(
                    f"{label} has {name}={value!r:.100}, which rnncore does not know; {advice(label[7:-1])}"
                )
        return found

    def _value(self, name: str, value: Any, label: str) -> Any:
        if name.endswith("activation"):
            return self.activation(value, label)
        for kind, module in _MODULES.items():
            if name.endswith(kind):
                return self._object(module, kind, value, label, name)
        if name in ("layer", "backward_layer", "cell"):
            if isinstance(value, list):
                return [self.layer(described(part)) for part in value]
            return None if value is None else self.layer(described(value))
        if name == "cells":
            return [self.layer(described(part)) for part in value]
        if name in _LISTS and isinstance(value, list) and len(value) == 1:
            return value[0]
        if name == "axis" and isinstance(value, list) and len(value) == 1:
            return value[0]
        if name == "seed" and not isinstance(value, int):
            return None
        return value

    def activation(self, value: Any, label: str) -> Any:
        """Return an activation, from its name or a function's description."""
        if isinstance(value, Mapping):
            inner = value.get("config")
            value = inner if value.get("class_name") == "function" else value.get("class_name")
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(f"{label} has the activation {value!r:.100}; expected a name")
        if value in self.custom:
            return self.custom[value]
        try:
            return activations.get(value)
        except ValueError as error:
            raise ValueError(f"{label}: {error}; name an Activation of your own in custom_objects") from error

    def _object(self, module: Any, kind: str, value: Any, label: str, name: str) -> Any:
        """Return an initializer, a regularizer or a constraint; where it is not known, what is there without it."""
        given = _without_module(value)
        if isinstance(given, Mapping) and "class_name" not in given and "name" in given:  # Keras 1
            given = _keras_1(kind, given)
        if isinstance(given, Mapping) and kind == "initializer":
            config = {k: v for k, v in given.get("config", {}).items() if k != "dtype"}
            if not isinstance(config.get("seed", 0), int):
                del config["seed"]
            given = {"class_name": str(given["class_name"]).removesuffix("Initializer"), "config": config}
        try:
            with custom_object_scope(self.custom):
                if isinstance(given, Mapping) and given["class_name"] in self.custom:
                    return self.custom[given["class_name"]](**given["config"])
                return module.get(given)
        except Exception:  # whatever stands there
            self.notes.append(f"{label}: {name} is {value!r:.80}, which is not known here, and left out")
            return "zeros" if kind == "initializer" else None

    def _dtype(self, value: Any, label: str) -> str | None:
        name: Any = value["config"].get("name") if isinstance(value, Mapping) else value
        if name is None or (isinstance(name, str) and (name in DTYPES or name.startswith("int"))):
            return DTYPES.get(name) if name else None
        note = f"{label} and others of the file are of {name!r:.50}: they are computed in float32"
        if not any(name in told for told in self.notes if isinstance(name, str)):
            self.notes.append(note)
        return "float32"


_MODULES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


def _without_module(value: Any) -> Any:
    if isinstance(value, Mapping) and "class_name" in value:
        config: Any = value.get("config") if isinstance(value.get("config"), Mapping) else {}
        return {"class_name": value["class_name"], "config": {k: v for k, v in config.items() if v is not None}}
    return value


def _keras_1(kind: str, value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a penalty or a constraint as later versions write it."""
    if kind == "regularizer":
        l1, l2 = value.get("l1", 0), value.get("l2", 0)
        return {"class_name": "L1L2", "config": {"l1": l1, "l2": l2}} if l1 or l2 else None
    names = {"maxnorm": "MaxNorm", "nonneg": "NonNeg", "unitnorm": "UnitNorm"}
    name = names.get(str(value["name"]).lower().replace("_", ""), str(value["name"]))
    config = {{"m": "max_value"}.get(key, key): part for key, part in value.items() if key != "name"}
    return {"class_name": name, "config": {} if name == "NonNeg" else config}


def _told(layer: Layer) -> dict[str, Any]:
    """Return a layer's configuration, without what Bidirectional sets itself."""
    return {
        k: v for k, v in layer.get_config().items() if k not in ("name", "zero_output_for_mask", "trainable", "seed")
    }


def _declared(layer: Described) -> InputLayer | None:
    """Return the input that older versions have the first layer declare."""
    config = layer.config
    shape = config.get("batch_input_shape")
    if shape is None and isinstance(config.get("layer"), Mapping):  # of a wrapper, by the layer within
        inner = config["layer"].get("config")
        shape = inner.get("batch_input_shape") if isinstance(inner, Mapping) else None
    if shape is None and config.get("input_shape"):
        shape = [None, *config["input_shape"]]
    return InputLayer(shape[1:], shape[0]) if isinstance(shape, list) and shape else None
