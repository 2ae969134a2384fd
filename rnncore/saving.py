"""Models and their weights in a file, and back.

A file (utils/archive.py says how it is made) holds what `get_config` says in plain values, and what training has made
of it in arrays: the weights, the optimizer's slots, the states of stateful layers, of the random generators. Classes
are looked up by name among those that the package has; others must be handed in as ``custom_objects``.

Sizes of the generators' array: one row a generator, of six 64-bit numbers.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .configured import PACKAGE, custom_object_scope, revived
from .layers.base import Layer
from .layers.checks import check_finite
from .layers.scopes import expected_weights, unbuilt_if_refused
from .lock import locked
from .training.description import refuse_another
from .utils import archive

VERSION = 1
OBJECT_LIMIT = 2000  # classes, and metrics by name, in a file
KERAS_MODELS, KERAS_WEIGHTS = (".keras", ".h5", ".hdf5"), (".h5", ".hdf5")  # names of files that are written as Keras's
NO_MODELS = {  # how files begin that are no models, though they are called so
    b"version https://git-lfs": "a Git LFS pointer, a text in the model's place: `git lfs pull` fetches the file",
    b"<!doctype": "an HTML page: what was downloaded is the page about the model; take its link to the raw file",
    b"<html": "an HTML page: what was downloaded is the page about the model; take its link to the raw file",
    b"<?xml": "an XML document, not a model",
    b"\x80": "a pickle, which could run anything and is not opened; have it saved by model.save",
    b"{": "a text of JSON, a configuration at most: the weights are not there",
}

_WORD = (1 << 64) - 1


@locked  # weights are not copied: no other thread may take a step meanwhile
def save_model(
    model: Any, path: str | os.PathLike, overwrite: bool = True, notes: Mapping[str, Any] | None = None
) -> None:
    """Write a model into one file: its configuration, how it is compiled, and all that training has made of it.

    Parameters
    ----------
    model : Sequential
    path : path
        ``.keras``, ``.h5`` and ``.hdf5`` are written as Keras does, see `rnncore.interop.keras`; under any other name
        it is rnncore's own form. A file there is replaced in one go: a cut run leaves the old or the new one.
    overwrite : bool
        Whether it may be replaced.
    notes : dict of str to plain values or arrays, optional
        What belongs to the model and is not in it, as a vocabulary: `load_notes` returns it.

    Raises
    ------
    FileExistsError
        There is such a file, and `overwrite` is False.
    TypeError
        The configuration, or a note, holds something that cannot be written in plain values, as a function.
    ValueError, ImportError
        Keras 3.15 cannot express the model, and its files hold no notes; h5py, which they need, is not there.

    Notes
    -----
    Weights that are not finite are written as they are, for a look at a model that diverged; see `load_model`.
    """
    if str(path).endswith(KERAS_MODELS):
        if notes is not None:
            raise ValueError(f"notes are given, and {path} is Keras's form, which has no place for them: name it .npz")
        _refuse_to_overwrite(path, overwrite)
        _keras().save_model(model, path)
    else:
        kept = {} if notes is None else {"notes": notes}
        _write(path, overwrite, "model", {**described_model(model), "state": model_state(model), **kept})


def check_form(model: Any, path: str | os.PathLike, weights_only: bool = False) -> None:
    """Raise what saving would, if Keras's form, which the path asks for, cannot hold the built model or be written."""
    if str(path).endswith(KERAS_WEIGHTS if weights_only else KERAS_MODELS):
        keras = _keras()
        keras.h5py_here() if weights_only else keras.described_for_keras(model)


def load_model(path: str | os.PathLike, custom_objects: Mapping[str, Any] | None = None, compile: bool = True) -> Any:
    """Return the model of a file: what it answers, and what more training makes of it, is as of the one saved.

    Parameters
    ----------
    path : path
        rnncore's own file or one of Keras's, of version 1 to 3.15; which, the file says, not its name. It may come from
        anyone: nothing in it is run, and what does not fit together is refused.
    custom_objects : dict of str to class or Activation, optional
        What is not the package's own, by name. Classes given here are called with what the file says.
    compile : bool
        Whether to compile it as it was.

    Raises
    ------
    ValueError
        The file is damaged, or no model's, or names a class that is not known; the message says which and why. Or a
        weight, a state or an array of the optimizer is not finite, which `set_weights` and `fit` refuse, too:
        ``numpy.load(path)`` shows the arrays of such a file.
    FileNotFoundError
    """
    if is_keras(path):
        return _keras().load_model(path, custom_objects, compile)
    content = _read(path, "model", without=["notes"] if compile else ["notes", "state/optimizer"])
    with refusing(path), custom_object_scope(custom_objects):
        check_number_of_objects([content["model"], content["compile"]])
        state = content["state"]
        with expected_weights(_arrays(state["weights"])):
            model = revived(content["model"], Layer)
            if not hasattr(model, "compile_from_config"):
                raise ValueError(f"it holds a {type(model).__name__}, no model")
            if content["input_shape"] is not None:
                model.ensure_built(tuple(content["input_shape"]))
        if compile and content["compile"] is not None:
            model.compile_from_config(content["compile"])
        set_model_state(model, state)
    return model


def load_notes(path: str | os.PathLike) -> dict[str, Any]:
    """Return the notes that a model was saved with, none where there were none: plain values and arrays, from anyone.

    Raises
    ------
    ValueError
        The file is damaged, or no model's.
    FileNotFoundError
    """
    notes = _read(path, "model", without=["state"]).get("notes", {})
    if not isinstance(notes, dict):
        raise ValueError(f"{path}: its notes are no table by name")
    return notes


@locked
def save_weights(model: Any, path: str | os.PathLike, overwrite: bool = True) -> None:
    """Write the weights of a built model into one file; arguments and errors as those of `save_model`.

    Keras's form has the suffix ``.h5`` (``.weights.h5`` in Keras), ``.hdf5``.
    """
    if not model.built:
        raise ValueError(f"{model.name}: save_weights: there are no weights yet; call or build the model first")
    if str(path).endswith(KERAS_WEIGHTS):
        _refuse_to_overwrite(path, overwrite)
        return _keras().save_weights(model, path)
    content = {"input_shape": model.input_shape, "names": weight_names(model), "weights": model.weights}
    _write(path, overwrite, "weights", content)


@locked
def load_weights(model: Any, path: str | os.PathLike) -> None:
    """Take the weights from a file that `save_weights` or `save_model` wrote, here or in Keras, into a model that fits.

    Of one of Keras's the model must be built.

    Raises
    ------
    ValueError
        The file is damaged, or its weights do not fit, or are not finite; the model has not changed then.
    FileNotFoundError
    """
    if is_keras(path):
        return _keras().load_weights(model, path)
    content = _read(path, "weights", "model")
    with refusing(path):
        weights = _arrays(content["weights"] if content["kind"] == "weights" else content["state"]["weights"])
        with unbuilt_if_refused(model):  # no model of zeros is left behind
            if not model.built:
                with expected_weights(weights):
                    model.build(tuple(content["input_shape"]))
            check_fit(weight_names(model), model.weights, weights)
        for mine, theirs in zip(model.weights, weights, strict=True):
            mine[...] = theirs


@locked
def save_checkpoint(model: Any, path: str | os.PathLike, training: Mapping[str, Any]) -> None:
    """Write down where a `fit` under way stands, so that it can go on as if it had not been cut.

    `training` is what `described_training` returned when it began.
    """
    state = {**model_state(model), "trainable": [part.trainable for part in model.walk()]}
    _write(path, True, "checkpoint", {"training": training, "state": state, "place": model.fit_state.get_state()})


def read_checkpoint(path: str | os.PathLike, training: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote, for `resume`.

    Raises
    ------
    ValueError
        The file is damaged, or is of another training than `training`; the message says what differs.

    Warns
    -----
    UserWarning
        The file was written before descriptions were: only sizes and shapes will be compared.
    """
    content = _read(path, "checkpoint")
    if "training" in content:
        with refusing(path):
            refuse_another(content["training"], training)
    else:
        warnings.warn(f"{path}: of an older rnncore; it is taken to be of this model and data", stacklevel=5)
    return content


@locked
def resume(model: Any, path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Put a model, at the beginning of a `fit`, where `save_checkpoint` was called.

    Raises
    ------
    ValueError
        The content is damaged, or does not fit. The weights have not changed then, all else may: see `as_it_was`.
    """
    with refusing(path):
        state = content["state"]
        model.fit_state.set_state(content["place"])
        if "trainable" in state:
            for part, trainable in zip(model.walk(), state["trainable"], strict=True):
                part.trainable = trainable
        set_model_state(model, state)


def as_it_was(state: Any) -> Callable[[], None]:
    """Return what puts back all that `resume` and the callbacks' `on_train_begin` change, but the weights."""
    model = state.model
    objects = [state, state.source, state.validation, *state.callbacks, *model.metrics, model.optimizer]
    kept = [(each, dict(vars(each))) for each in objects if each is not None]
    own = {name: getattr(model, name) for name in ("fit_state", "history", "stop_training")}
    generators = [(generator, generator.bit_generator.state) for generator in model.generators()]
    states = [(layer, layer.kept_states) for layer in model.stateful_layers()]
    trainable = [(part, part.trainable) for part in model.walk()]

    def put_back():
        for each, attributes in kept:
            vars(each).clear()
            vars(each).update(attributes)
        vars(model).update(own)
        for generator, drawn in generators:
            generator.bit_generator.state = drawn
        for layer, state in states:
            layer.kept_states = state
        for part, value in trainable:
            part.trainable = value

    return put_back


# --- what a model is, and what training makes of it ------------------------------------------------------------------


def described_model(model: Any) -> dict[str, Any]:
    """Return in plain values how to make the model anew."""
    shape = list(model.input_shape) if model.built and model.input_shape else None
    return {"model": model.describe(), "input_shape": shape, "compile": model.get_compile_config()}


def model_state(model: Any) -> dict[str, Any]:
    """Return what training changes, in plain values and arrays: not copies, where they are the model's own."""
    optimizer = model.optimizer
    return {
        "names": weight_names(model),
        "weights": model.weights,
        "optimizer": optimizer.get_state() if optimizer is not None and optimizer.built else None,
        "optimized": model.optimized(),
        "generators": np.array([_from_generator(g) for g in model.generators()], np.uint64).reshape(-1, 6),
        "states": [layer.kept_states for layer in model.stateful_layers()],
    }


def set_model_state(model: Any, state: Mapping[str, Any]) -> None:
    """Put a model, built and compiled, where another was that `model_state` was asked of.

    Raises
    ------
    ValueError
        The state is not that of such a model.
    """
    generators, layers = model.generators(), model.stateful_layers()
    if state["generators"].shape != (len(generators), 6) or state["generators"].dtype != np.uint64:
        raise ValueError(f"it has no states of the model's {len(generators)} random generators")
    if len(state["states"]) != len(layers):
        raise ValueError(f"it has states of {len(state['states'])} recurrent layers; the model has {len(layers)}")
    for layer, states in zip(layers, state["states"], strict=True):
        _check_states(layer, states)
    weights = _arrays(state["weights"])
    check_fit(weight_names(model), model.weights, weights)
    if state["optimizer"] is not None and model.optimizer is not None:
        model.build_optimizer(_at(model, state.get("optimized")))
        model.optimizer.set_state(state["optimizer"])
    for mine, theirs in zip(model.weights, weights, strict=True):  # only when all is known to fit
        mine[...] = theirs
    for layer, states in zip(layers, state["states"], strict=True):
        layer.kept_states = states
    for generator, row in zip(generators, state["generators"], strict=True):
        _to_generator(generator, row)


def _at(model: Any, places: Any) -> list[np.ndarray]:
    """Return the model's weights at these positions; None, as in older files: the trainable ones."""
    if places is None:
        return model.trainable_weights
    weights = model.weights
    allowed = range(len(weights))
    if not isinstance(places, list) or not all(type(n) is int and n in allowed for n in places):
        raise ValueError(f"optimized is {places!r:.100}; expected positions among {len(weights)} weights")
    if len(set(places)) < len(places):
        raise ValueError(f"optimized is {places!r:.100}; expected each position once")
    return [weights[n] for n in places]


def weight_names(model: Layer) -> list[str]:
    """Return a name for each weight: its layer's and its own."""
    return [f"{leaf.name}/{name}" for leaf in model.walk() for name in leaf.own_weights]


def _from_generator(generator: np.random.Generator) -> tuple[int, ...]:
    """Return a generator's state as six 64-bit numbers."""
    state = generator.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise TypeError(f"a generator of kind {state['bit_generator']} cannot be written; expected PCG64, the default")
    both = [state["state"][name] for name in ("state", "inc")]
    halves = [half for number in both for half in (number >> 64, number & _WORD)]
    return (*halves, state["has_uint32"], state["uinteger"])


def _to_generator(generator: np.random.Generator, row: np.ndarray) -> None:
    """Put a generator where another was that `_from_generator` was asked of."""
    numbers = [int(number) for number in row]
    state, increment = (numbers[n] << 64 | numbers[n + 1] for n in (0, 2))
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": increment | 1},  # an even one is no generator's
        "has_uint32": numbers[4] & 1,
        "uinteger": numbers[5] & 0xFFFFFFFF,
    }


def _check_states(layer: Any, states: Any) -> None:
    """Raise ValueError if `states` are not what the layer keeps from a batch: an array (S, B, H) a cell, or None."""
    if states is None:
        return
    rows = {array.shape[1] for array in _arrays(states) if array.ndim == 3}
    expected = [((len(cell.state_size), row, cell.units), layer.dtype) for cell in layer.cells for row in rows]
    if [(array.shape, array.dtype.name) for array in states] != expected:
        raise ValueError(f"the states of layer {layer.name!r} do not fit it")
    for array in states:
        check_finite(array, f"a state of layer {layer.name!r}")


def check_fit(names: Sequence[str], own: Sequence[np.ndarray], given: Sequence[np.ndarray]) -> None:
    """Raise ValueError if the weights `given` are not finite ones of the same shapes as the model's `own`."""
    if len(given) != len(own):
        raise ValueError(f"it has {len(given)} weights; the model has {len(own)}")
    for name, mine, theirs in zip(names, own, given, strict=True):
        if mine.shape != theirs.shape or theirs.dtype.kind != "f":
            raise ValueError(
                f"its weight for {name} is {theirs.dtype} {theirs.shape}; expected {mine.dtype} {mine.shape}"
            )
        check_finite(theirs, f"its weight for {name}", mine.dtype)


def _arrays(values: Any) -> list[np.ndarray]:
    """Return `values`, which must be a list of arrays."""
    if not isinstance(values, list) or not all(isinstance(value, np.ndarray) for value in values):
        raise ValueError("there is something else where arrays should be")
    return values


# --- the file --------------------------------------------------------------------------------------------------------


def _keras() -> Any:
    """Return what reads and writes Keras's files: the one hook, by name, so that the engine imports none of it."""
    return importlib.import_module(f"{PACKAGE}.interop.keras")


def is_keras(path: str | os.PathLike) -> bool:
    """Return whether a file is for `_keras`, by its first bytes: HDF5, or a zip that does not begin as one of ours.

    Raises
    ------
    ValueError
        It is what downloads give in the place of a model: the message says what.
    """
    if not os.path.isfile(path):
        return False  # for the reader's own message
    with open(path, "rb") as file:
        begin = file.read(512)
    for start, sentence in NO_MODELS.items():
        if begin.lstrip()[: len(start)].lower() == start:
            raise ValueError(f"{path}: it is {sentence}")
    if begin[:4] == b"PK\x03\x04":
        return begin[30:].startswith(
            (b"config.json", b"metadata.json", b"model.weights.h5", b"variables.h5", b"assets/")
        )
    return begin[:8] == b"\x89HDF\r\n\x1a\n"


def _refuse_to_overwrite(path: str | os.PathLike, overwrite: bool) -> None:
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{path} is there already, and overwrite is False")


def _write(path: str | os.PathLike, overwrite: bool, kind: str, content: Mapping[str, Any]) -> None:
    _refuse_to_overwrite(path, overwrite)
    archive.write(path, {"format": "rnncore", "version": VERSION, "kind": kind, **content})


def _read(path: str | os.PathLike, *kinds: str, without: Sequence[str] = ()) -> dict[str, Any]:
    content = archive.read(path, without)
    if content.get("format") != "rnncore":
        raise ValueError(f"{path}: its format is {content.get('format')!r:.100}; expected 'rnncore'")
    if type(content.get("version")) is not int or content["version"] != VERSION:
        raise ValueError(
            f"{path}: its version is {content.get('version')!r:.100}; this rnncore reads version {VERSION}"
        )
    if content.get("kind") not in kinds:
        raise ValueError(f"{path}: it holds a {content.get('kind')!r:.100}; expected {' or '.join(map(repr, kinds))}")
    return content


@contextmanager
def refusing(path: str | os.PathLike) -> Iterator[None]:
    """Turn what goes wrong in the block into a ValueError that names the file."""
    try:
        yield
    except Exception as error:  # constructors that are given anything may raise anything
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise ValueError(f"{path}: {what:.500}") from error


def check_number_of_objects(content: Any) -> None:
    """Raise ValueError if plain values describe more than `OBJECT_LIMIT` objects."""
    count, ahead = 0, [content]
    while ahead:
        value = ahead.pop()
        if isinstance(value, dict):
            count += "class_name" in value
            ahead += value.values()
        elif isinstance(value, list):
            count += sum(isinstance(item, str) for item in value)
            ahead += value
    if count > OBJECT_LIMIT:
        raise ValueError(f"it describes {count:,} objects; at most {OBJECT_LIMIT:,} are allowed")
