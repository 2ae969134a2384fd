"""Input, and the layers called on it: a model in the functional style, as long as it is one chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..configured import Configured
from ..unsupported import without_effect
from .checks import checked_shape, positive


class Chain:
    """What stands for an array while a model is described: an input and the layers that it goes through.

    Attributes
    ----------
    head : InputLayer
    layers : list of Layer
    shape : tuple of int or None
        Of the output.
    """

    def __init__(self, head: InputLayer, layers: Sequence[Any] = ()):
        self.head, self.layers = head, list(layers)

    @property
    def shape(self) -> tuple[int | None, ...]:
        shape = self.head.input_shape
        for layer in self.layers:
            shape = layer.compute_output_shape(shape)
        return shape

    def then(self, layer: Any) -> Chain:
        """Return the chain with a layer more, built for what comes."""
        if isinstance(self.shape, list):
            raise ValueError(f"{layer.name}: x is a list of outputs; rnncore describes models of one chain only")
        layer.check_shape(self.shape)
        layer.ensure_built(self.shape)
        return Chain(self.head, [*self.layers, layer])

    def __repr__(self) -> str:
        return f"Chain(shape={self.shape}, layers={[layer.name for layer in self.layers]})"


class InputLayer(Chain, Configured):
    """The shape of a model's input: first in a `Sequential`, which then builds at once, or the head of a chain.

    Parameters
    ----------
    shape : sequence of int or None, optional
        Without the batch axis; None for any size.
    batch_size : int, optional
    dtype : str, optional
        Accepted; each layer takes what it needs.
    sparse, ragged, input_tensor, optional
        There for Keras's signature: their defaults alone are taken.
    batch_shape : sequence of int or None, optional
        `batch_size` and `shape` in one; one of the two says the shape.
    name : str, optional

    Attributes
    ----------
    input_shape : tuple of int or None
        Batch first.
    """

    unkept = ("sparse", "ragged", "batch_shape", "input_tensor", "optional")

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: None = None,
        optional: bool = False,
        name: str | None = None,
    ):
        given = {"sparse": sparse, "ragged": ragged, "input_tensor": input_tensor, "optional": optional}
        without_effect(type(self), given)
        if (shape is None) == (batch_shape is None):
            raise ValueError(f"Input: shape is {shape!r} and batch_shape {batch_shape!r}; expected one of the two")
        if shape is None:
            batch_size, *shape = checked_shape(batch_shape, "Input: batch_shape")
        batch_size = None if batch_size is None else positive(batch_size, "Input: batch_size")
        Chain.__init__(self, self)
        shape = (shape,) if isinstance(shape, int) else shape
        self.input_shape = (batch_size, *checked_shape(shape, "Input: shape"))
        self.batch_size, self.dtype, self.name = batch_size, dtype, name or "input_layer"

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": list(self.input_shape[1:])}


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: None = None,
    optional: bool = False,
) -> InputLayer:
    """Return an `InputLayer`: ``x = Input((None,)); y = Dense(1)(LSTM(8)(Embedding(9, 4)(x))); Model(x, y)``."""
    return InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name)
