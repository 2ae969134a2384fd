"""Sequential: layers in a row, each taking what the one before gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .configured import custom_object_scope, described, look_up, revived
from .layers.base import Layer, unique_name
from .layers.chain import Chain, InputLayer
from .saving import load_model, load_weights, save_model, save_weights
from .sparse import EmbeddedRows
from .summary import in_short, summary
from .training import Trainer

__all__ = ["Model", "Sequential", "load_model"]


class Sequential(Trainer):
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
        self.input: InputLayer | None = None
        self._fits: tuple[int | None, ...] | None = None  # the shape of x that was last found to fit all layers
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer | InputLayer) -> None:
        """Put a layer at the end; an `Input` comes first, and lets the model build at once."""
        if isinstance(layer, InputLayer):
            if self.layers or self.input:
                raise ValueError(f"{self.name}: Input must come first, and once")
            self.input = layer
            return
        if not isinstance(layer, Layer) or layer is self:
            raise TypeError(f"{self.name}: add got {layer!r}; expected a layer")
        if any(layer is other for other in self.layers):
            raise ValueError(f"{self.name}: layer {layer.name!r} is in the model already")
        if any(layer.name == other.name for other in self.layers):
            raise ValueError(f"{self.name}: there is a layer named {layer.name!r} already; names are unique in a model")
        before = self.input
        if layer.declared_shape and not self.layers and self.input is None:
            self.input = InputLayer(layer.declared_shape)
        self.layers.append(layer)
        self.built, self.dtype, self.output_layer, self._fits = False, layer.dtype, layer, None
        try:
            self._build_from_input()
        except ValueError:
            self.pop()
            self.input = before
            raise

    def _build_from_input(self):
        if self.input is not None and self.layers:
            self.build(self.input.input_shape)

    def pop(self) -> Layer:
        """Take the last layer away and return it."""
        if not self.layers:
            raise ValueError(f"{self.name}: pop: there is no layer")
        layer = self.layers.pop()
        self.built, self.dtype, self._fits = False, (self.layers or [layer])[-1].dtype, None
        self.output_layer = self.layers[-1] if self.layers else None
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

    def check_shape(self, shape):
        kind = self.input_layer.input_kind
        for layer in self.layers:
            if layer.input_kind not in (kind, "float"):
                raise ValueError(f"{self.name}: {layer.name} takes {layer.input_kind}s; it must be the first layer")
            kind = layer.output_kind
            layer.check_shape(shape)
            shape = layer.compute_output_shape(shape)
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
        first = [] if self.input is None else [self.input]
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
            model.input = inputs[0]
            model._build_from_input()
        return model

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


def Model(inputs: InputLayer, outputs: Chain, name: str | None = None) -> Sequential:
    """Return the model of a chain described in the functional style.

    Parameters
    ----------
    inputs : InputLayer
        What `Input` returned.
    outputs : Chain
        The last of the layers called on it, one on the other.
    name : str, optional

    Raises
    ------
    TypeError, ValueError
        Several inputs or outputs, or outputs that do not come from `inputs`: rnncore has models of one chain only.
    """
    for argument, given in (("inputs", inputs), ("outputs", outputs)):
        if not isinstance(given, Chain):
            raise TypeError(
                f"Model: {argument} is {given!r}; expected one Input, and what the layers called on it return: "
                "rnncore has models of one chain, and Sequential"
            )
    if outputs.head is not inputs:
        raise ValueError("Model: outputs does not begin at inputs")
    model = Sequential(name=name or unique_name("functional"))
    for layer in (inputs, *outputs.layers):
        model.add(layer)
    return model
