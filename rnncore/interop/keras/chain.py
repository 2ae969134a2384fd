"""A model's configuration, of any version, as one chain of layers; or the sentence that says why it is none.

Keras writes a Sequential as a list of layers (up to 2.2.0) or a dict with one, and a functional model as layers that
say whose outputs they take: nested lists in Keras 1 and 2, in Keras 3 arguments with a ``keras_history``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

SEQUENTIAL, FUNCTIONAL = {"Sequential"}, {"Model", "Functional"}


class Described(NamedTuple):
    """A layer, or a model, as a file describes it.

    Attributes
    ----------
    kind : str
        Its class.
    name : str
    config : mapping
    foreign : str or None
        Where the class stands, if that is not Keras.
    shape : list or None
        Of the input that it was built for, if the file says so.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    foreign: str | None = None
    shape: list[Any] | None = None


def described(entry: Any) -> Described:
    """Return what one entry of a configuration describes."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str) or "config" not in entry:
        raise ValueError(f"where a layer should be described there is {entry!r:.100}")
    config = entry["config"]
    if isinstance(config, list):  # a Sequential up to 2.2.0
        config = {"layers": config}
    if not isinstance(config, Mapping):
        raise ValueError(f"the configuration of {entry['class_name']!r:.100} is {config!r:.100}")
    module = entry.get("module", "keras")
    keras = isinstance(module, str) and module.split(".")[0] in ("keras", "tf_keras", "tensorflow")
    name = config.get("name", entry.get("name")) or entry["class_name"].lower()
    built = entry.get("build_config") or {}
    shape = built.get("input_shape") if isinstance(built, Mapping) else None
    return Described(entry["class_name"], str(name), config, None if keras else str(module), shape)


def is_model(layer: Described) -> bool:
    """Return whether what is described is a model, and Keras's own."""
    return layer.foreign is None and layer.kind in SEQUENTIAL | FUNCTIONAL and "layers" in layer.config


def layers_of(model: Described, before: str | None = None) -> list[Described]:
    """Return the layers of a model in their order, the input's included; or only those that lead to layer `before`.

    Raises
    ------
    ValueError
        It is not one chain: the message names the layer where it is not. Or there is no layer `before`.
    """
    entries = model.config["layers"]
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"model {model.name!r:.100} has no layers")
    layers = [described(entry) for entry in entries]
    names = [layer.name for layer in layers]
    if before is not None and before not in names:
        raise ValueError(f"before is {before!r:.100}; the layers are {', '.join(names):.500}")
    if model.kind in SEQUENTIAL:
        return layers if before is None else layers[: names.index(before)]
    return _chained(model, dict(zip(names, entries, strict=True)), before)


def _chained(model: Described, entries: dict[str, Any], before: str | None) -> list[Described]:
    layers = {name: described(entry) for name, entry in entries.items()}
    sources = {name: partial(_source, layers[name], entries[name].get("inbound_nodes") or []) for name in entries}
    start, end = _only(model, "input_layers"), before or _only(model, "output_layers")
    order = [end]
    while order[0] != start:
        name = sources.get(order[0], str)()
        if name not in layers or name in order:
            raise ValueError(f"model {model.name!r:.100} does not lead from its input {start!r:.100} to {end!r:.100}")
        order.insert(0, name)
    if before is not None:
        return [layers[name] for name in order[:-1]]
    for name in layers:
        if name not in order and not _is_own_mask(layers, entries, sources, order, name):
            raise ValueError(
                f"layer {name!r:.100} ({layers[name].kind:.100}) is a branch beside the chain from input to output; "
                f"{advice(name)}"
            )
    return [layers[name] for name in order]


def _only(model: Described, part: str) -> str:
    """Return the layer that a model's only input or output belongs to."""
    found = list(_references(model.config.get(part)))
    if len(found) != 1:
        kind = part.partition("_")[0]
        names = ", ".join(repr(name) for name, *_ in found[:5])
        raise ValueError(
            f"model {model.name!r:.100} has {len(found)} {kind}s ({names:.200}); rnncore has models of one chain of "
            "layers only. interop.keras.read_weights gives the arrays"
        )
    return found[0][0]


def _source(layer: Described, nodes: Any) -> str:
    """Return the layer whose output a layer takes; masks do not count."""
    if not isinstance(nodes, list) or len(nodes) != 1:
        raise ValueError(f"layer {layer.name!r:.100} is called {len(nodes)} times; {advice(layer.name)}")
    node = nodes[0]
    if isinstance(node, Mapping):  # Keras 3
        given = node.get("kwargs")
        kwargs = given if isinstance(given, Mapping) else {}
        node = [node.get("args"), [value for key, value in kwargs.items() if key != "mask"]]
    found = [name for name, *_ in _references(node)]
    if len(found) != 1:
        raise ValueError(
            f"layer {layer.name!r:.100} ({layer.kind:.100}) takes {len(found)} inputs; {advice(layer.name)}"
        )
    return found[0]


def _references(value: Any) -> Iterator[tuple[str, int, int]]:
    """Yield each ``(layer, node, tensor)`` within `value`."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            history = value["config"]["keras_history"]
            yield str(history[0]), history[1], history[2]
        else:
            for part in value.values():
                yield from _references(part)
    elif isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and all(type(part) is int for part in value[1:3]):
            yield value[0], value[1], value[2]
            yield from _references(value[3:])
        else:
            for part in value:
                yield from _references(part)


def _is_own_mask(layers, entries, sources, order, name) -> bool:
    """Return whether what stands beside the chain computes the mask that the chain's Embedding or Masking gives."""
    if layers[name].kind == "Any":
        name = sources[name]()
    if name not in layers or layers[name].kind != "NotEqual" or (source := sources[name]()) not in order[:-1]:
        return False
    after = layers[order[order.index(source) + 1]]
    arguments = entries[name]["inbound_nodes"][0].get("args", [])
    value = arguments[1] if len(arguments) == 2 else None
    own = 0 if after.kind == "Embedding" and after.config.get("mask_zero") else after.config.get("mask_value")
    return value is not None and value == own


def advice(name: str) -> str:
    """Return what can be done about a layer that is refused, for the end of a sentence."""
    return (
        f"models here are one chain of rnncore's layers. The layers before it: interop.keras.load_model(path, before="
        f"{name!r:.100}); a class of your own for it: custom_objects; the arrays: interop.keras.read_weights(path)"
    )
