"""Sequential: layers in a row, each taking what the one before gives."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .configured import custom_object_scope, described, look_up, revived
from .layers.base import Layer
from .layers.chain import Chain, InputLayer, check_behind
from .layers.scopes import unbuilt_if_refused, unique_name, weights_within
from .lock import locked
from .saving import check_number_of_objects, load_model, load_weights, refusing, save_model, save_weights
from .sparse import EmbeddedRows
from .summary import in_short, summary
from .training import Trainer
from .utils import archive

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json"]

JSON_BYTES = 1 << 28  # of the weights of a model from a text


class _Described(type):
    """Makes `Model(inputs, outputs)` a call of `_of_chain`."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _of_chain(*args, **kwargs) if cls is Model else super().__call__(*args, **kwargs)

    @property
    def __signature__(cls) -> inspect.Signature:
        if cls is Model:
            return inspect.signature(_of_chain)
        own = inspect.signature(cls.__init__)  # type: ignore[misc]
        return own.replace(parameters=[*own.parameters.values()][1:])


class Model(Trainer, metaclass=_Described):
    """The model of a chain described in the functional style, a `Sequential`: ``Model(inputs, outputs)``.

    It shares its layers, and their weights, with other models that they are in: the front part of a model, whose
    output is a layer's, is ``Model(model.inputs, layer.output)``.

    Parameters
    ----------
    inputs : Chain, or a list of one
        What `Input` returned; or ``layer.output``, from which on the layers are taken.
    outputs : Chain, or a list of one
        The last of the layers called on it, one on the other.
    name : str, optional

    Raises
    ------
    TypeError, ValueError
        Several inputs or outputs, or outputs that do not come from `inputs`: rnncore has models of one chain only.
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if Model in cls.__bases__ and cls.__module__ != __name__:
            raise TypeError(
                f"{cls.__name__} is a subclass of Model, whose call rnncore could not go back through, as it "
                "differentiates nothing by itself: stack the layers in a Sequential; or subclass Layer, with call and "
                "call_backward, and let that be a layer of one"
            )


class Sequential(Model):
    """A row of layers, each taking what the one before gives, masks included.

    Parameters
    ----------
    layers : iterable of Layer, optional
    name : str, optional

    Attributes
    ----------
    layers : list of Layer
        And those of `Trainer`.

    Examples
    --------
    >>> model = Sequential([Embedding(50, 4, mask_zero=True), LSTM(8), Dense(1, activation="sigmoid")])
    >>> model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    >>> history = model.fit(x, y, batch_size=4, epochs=2, validation_split=0.25, verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'loss', 'val_accuracy', 'val_loss']
    >>> model
    <Sequential 'sequential...', 625 parameters>
      Embedding(50, 4, mask_zero=True)  (None, 12, 4)  200
      LSTM(8)                           (None, 8)      416
      Dense(1, activation='sigmoid')    (None, 1)        9
    """

    casts = False  # each layer does it for itself

    def __init__(self, layers: Iterable[Layer] | None = None, name: str | None = None):
        super().__init__(name)
        if isinstance(layers, (str, Layer)) or not isinstance(layers, Iterable | None):
            raise TypeError(f"{self.name}: layers is {layers!r}; expected a list of layers")
        self.layers: list[Layer] = []
        self.declared: InputLayer | None = None
        self._head: InputLayer | None = None  # that, or what was made of the shape that the model was built for
        self._fits: tuple[int | None, ...] | None = None  # the shape of x that was last found to fit all layers
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer | InputLayer) -> None:
        """Put a layer at the end; an `Input` comes first, and lets the model build at once."""
        if isinstance(layer, InputLayer):
            if self.layers or self.declared:
                raise ValueError(f"{self.name}: Input must come first, and once")
            self.declared = layer
            return
        if not isinstance(layer, Layer) or layer is self:
            raise TypeError(f"{self.name}: add got {'itself' if layer is self else repr(layer)}; expected a layer")
        if any(layer is other for other in self.layers):
            raise ValueError(f"{self.name}: layer {layer.name!r} is in the model already")
        if any(layer.name == other.name for other in self.layers):
            raise ValueError(f"{self.name}: there is a layer named {layer.name!r} already; names are unique in a model")
        before = self.declared
        if layer.declared_shape and not self.layers and self.declared is None:
            self.declared = InputLayer(layer.declared_shape)
        self.layers.append(layer)
        self.built, self.dtype, self.output_layer, self._fits = False, layer.dtype, layer, None
        try:
            self._build_from_input()
        except BaseException:
            self.declared = before
            self.pop()
            raise

    def _build_from_input(self):
        if self.declared is not None and self.layers:
            self.build(self.declared.input_shape)

    def pop(self) -> Layer:
        """Take the last layer away and return it."""
        if not self.layers:
            raise ValueError(f"{self.name}: pop: there is no layer")
        layer = self.layers.pop()
        self.built, self.dtype, self._fits = False, (self.layers or [layer])[-1].dtype, None
        self.output_layer = self.layers[-1] if self.layers else None
        self._build_from_input()
        return layer

    # --- a layer of layers -------------------------------------------------------------------------------------

    def children(self):
        return self.layers

    @property
    def input_layer(self) -> Layer:  # type: ignore[override]
        """The first layer."""
        if not self.layers:
            raise ValueError(f"{self.name}: the model has no layers; add some first")
        return self.layers[0]

    @property
    def input_kind(self) -> str:  # type: ignore[override]
        """That of the first layer."""
        return self.input_layer.input_kind

    @property
    def output_kind(self) -> str:  # type: ignore[override]
        """That of the last layer."""
        return self.layers[-1].output_kind if self.layers else "float"

    @property
    def mask_axes(self) -> int:  # type: ignore[override]
        """That of the first layer."""
        return self.input_layer.mask_axes

    @property
    def padding_value(self) -> float | None:  # type: ignore[override]
        """That of the first layer."""
        return self.input_layer.padding_value

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make all weights, for inputs of `input_shape` (batch first, None: any size)."""
        self.check_shape(input_shape)  # before the first weight is made
        shape: Any = tuple(input_shape)
        self._fits = shape
        for layer in self.layers:
            layer.ensure_built(shape)
            shape = layer.compute_output_shape(shape)
        self._describe(input_shape)

    def _describe(self, input_shape: Sequence[int | None]) -> None:
        """Let the layers have an `input` and an `output`, as in the functional style."""
        if self.declared is not None:
            self._head = self.declared
        elif self._head is None or self._head.input_shape[1:] != tuple(input_shape[1:]):
            for layer in self.layers:  # not of a shape that is no more
                if layer.described is not None and layer.described.head is self._head:
                    layer.described = None
            self._head = InputLayer(list(input_shape[1:]))
        chain: Chain = self._head
        for layer in self.layers:
            chain = chain.extended(layer)

    @property
    def input(self) -> Chain:
        """What stands for the model's input: see `Model`."""
        if not self.built or self._head is None:
            raise AttributeError(f"{self.name}: there is no input yet: the model is not built")
        return self._head

    @property
    def output(self) -> Chain:
        """What stands for its output."""
        chain = self.input
        for layer in self.layers:
            chain = chain.extended(layer)
        return chain

    @property
    def inputs(self) -> list[Chain]:
        """`input`, in a list as Keras has it."""
        return [self.input]

    @property
    def outputs(self) -> list[Chain]:
        """`output`, in a list as Keras has it."""
        return [self.output]

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.built:
            self._describe(self._head.input_shape)

    @locked
    def check_shape(self, shape):
        kind, before = self.input_layer.input_kind, None
        with unbuilt_if_refused(self):  # a layer of a user's own must be built to tell its output's shape
            for layer in self.layers:
                if layer.input_kind not in (kind, "float"):
                    raise ValueError(f"{self.name}: {layer.name} takes {layer.input_kind}s; it must be the first layer")
                kind = layer.output_kind
                check_behind(before, layer, shape)
                before, shape = layer, layer.compute_output_shape(shape)
                if isinstance(shape, list):
                    raise ValueError(f"{self.name}: {layer.name} returns its states too; in a Sequential it must not")

    def compute_output_shape(self, input_shape):
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    @property
    def output_shape(self) -> tuple[int | None, ...] | None:
        """The shape of the output, batch first; None before the model is built, as its `input_shape`."""
        return None if self.input_shape is None else self.compute_output_shape(self.input_shape)

    def compute_mask(self, x, mask=None):
        """Return the mask that goes with the output of the last call."""
        return self.output_mask

    def checked_input(self, x):
        x = self.input_layer.checked_input(x)
        if x.shape != self._fits or not all(layer.built for layer in self.layers):
            self.check_shape(x.shape)
            self._fits = x.shape
        return x

    def call(self, x, mask=None, training=False):
        for layer in self.layers:
            if isinstance(x, EmbeddedRows) and not layer.takes_embedded_rows:
                x = np.asarray(x)
            if layer.input_kind == "integer" and layer is not self.layers[0]:
                x = layer.checked_input(x)  # of what a TextVectorization gives; the model has checked its own x
            y = layer.forward(x, mask, training)
            mask = layer.compute_mask(x, mask)
            x = y
        self.output_mask = mask
        return np.asarray(x)  # an embedding at the end gives what it looked up

    def call_backward(self, dy, from_logits=False):
        """Go back through the layers from the output's gradient, or from that of the last one's pre-activations."""
        for layer in reversed(self.layers):
            through = layer.backward_from_logits if from_logits else None
            dy, from_logits = layer.pull_back(dy.astype(layer.dtype, copy=False), through), False
            if dy is None:  # behind it are words, not numbers
                if layer.input_kind == "float" and layer is not self.layers[0]:
                    raise TypeError(f"{layer.name}: call_backward returned None; expected the gradient of x")
                break
        return dy

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or its place."""
        if index is None:
            return look_up(name, {layer.name: layer for layer in self.layers}, "layer", f"{self.name}: name")
        if not isinstance(index, (int, np.integer)) or not -len(self.layers) <= index < len(self.layers):
            raise ValueError(f"{self.name}: index is {index!r}; expected a whole number below {len(self.layers)}")
        return self.layers[index]

    def get_config(self):
        first = [] if self.declared is None else [self.declared]
        return {"layers": described([*first, *self.layers]), "name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Sequential:
        """Build a model, not compiled and with new weights, from what `get_config` returned.

        `custom_objects` has classes (and activations) that are not the package's own, by name.
        """
        with custom_object_scope(custom_objects):
            rows = revived(config["layers"])
        inputs = rows[:1] if isinstance(rows[0] if rows else None, InputLayer) else []
        model = cls(rows[len(inputs) :], config["name"])
        if inputs:  # last, so that the model builds once
            model.declared = inputs[0]
            model._build_from_input()
        return model

    def to_json(self, **options: Any) -> str:
        """Return the configuration, without weights and what is compiled, as a text: see `model_from_json`.

        `options` are those of `json.dumps`. What has no plain values, as a function, raises TypeError.
        """
        return json.dumps({"class_name": "Sequential", "config": self.get_config()}, **options)

    # --- saving ------------------------------------------------------------------------------------------------

    def save(self, path: Any, overwrite: bool = True) -> None:
        """Write the model into one file: see `rnncore.saving.save_model`."""
        save_model(self, path, overwrite)

    def save_weights(self, path: Any, overwrite: bool = True) -> None:
        """Write the weights into one file: see `rnncore.saving.save_weights`."""
        save_weights(self, path, overwrite)

    def load_weights(self, path: Any) -> None:
        """Take the weights from a file: see `rnncore.saving.load_weights`."""
        load_weights(self, path)

    summary = summary

    def __repr__(self) -> str:
        return in_short(self)


def _of_chain(inputs: Chain, outputs: Chain, name: str | None = None) -> Sequential:
    given = {"inputs": inputs, "outputs": outputs}
    for argument, value in given.items():
        chains = list(value) if isinstance(value, (list, tuple)) else [value]
        if not chains or not all(isinstance(chain, Chain) for chain in chains):
            raise TypeError(
                f"Model: {argument} is {value!r:.200}; expected one Input, and what the layers called on it return: "
                "rnncore has models of one chain, and Sequential"
            )
        if len(chains) > 1:
            each = "; [Model(inputs, output) for output in outputs] makes one for each" * (argument == "outputs")
            raise TypeError(f"Model: {argument} are {len(chains)}; rnncore has models of one chain only{each}")
        given[argument] = chains[0]
    start, end = given.values()
    layers = end.since(start)
    if layers is None:
        raise ValueError("Model: outputs does not begin at inputs")
    if not layers:
        raise ValueError("Model: there is no layer between inputs and outputs")
    model = Sequential(name=name or unique_name("functional"))
    for layer in (start if isinstance(start, InputLayer) else InputLayer(start.shape[1:]), *layers):
        model.add(layer)
    return model


_of_chain.__qualname__ = "Model"  # in what Python says of its arguments


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Sequential:
    """Return the model, not compiled and with new weights, that `Sequential.to_json` described.

    Parameters
    ----------
    json_string : str
        It may come from anyone: nothing in it is run, and no more is built than weights of `JSON_BYTES`.
    custom_objects : dict of str to class or Activation, optional
        What is not the package's own, by name.

    Raises
    ------
    ValueError
        It describes no model, or one that is too large; ``Sequential.from_config`` builds any.
    """
    content = archive.parsed(json_string.encode(), "json_string")
    with refusing("json_string"):
        check_number_of_objects(content)
    if content.get("class_name") != "Sequential" or not isinstance(content.get("config"), dict):
        raise ValueError(f"json_string describes a {content.get('class_name')!r:.100}; expected 'Sequential'")
    with refusing("json_string"), weights_within(JSON_BYTES):
        return Sequential.from_config(content["config"], custom_objects)


def clone_model(model: Sequential) -> Sequential:
    """Return a model of the same configuration, not compiled and with new weights."""
    made = Sequential.from_config(model.get_config())
    if model.input_shape is not None and not made.built:
        made.build(model.input_shape)
    return made
