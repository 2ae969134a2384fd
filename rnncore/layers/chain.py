"""Input, and the layers called on it: a model in the functional style, as long as it is one chain."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NoReturn

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

    @property
    def before(self) -> Chain:
        """The chain without its last layer."""
        return Chain(self.head, self.layers[:-1]) if len(self.layers) > 1 else self.head

    def then(self, layer: Any) -> Chain:
        """Return the chain with a layer more, built for what comes."""
        shape = self.shape
        if isinstance(shape, list):
            raise ValueError(f"{layer.name}: x is a list of outputs; rnncore describes models of one chain only")
        check_behind(self.layers[-1] if self.layers else None, layer, shape)
        layer.ensure_built(shape)
        return self.extended(layer)

    def extended(self, layer: Any) -> Chain:
        """Return the chain with a layer more, which remembers the first one that it is in: its `output`."""
        made = Chain(self.head, [*self.layers, layer])
        if layer.described is None:
            layer.described = made
        return made

    def since(self, start: Chain) -> list[Any] | None:
        """Return the layers that come after another chain; None if this one does not begin with it."""
        count = len(start.layers)
        same = len(self.layers) >= count and all(map(operator.is_, self.layers, start.layers))
        return self.layers[count:] if same and self.head is start.head else None

    def __repr__(self) -> str:
        return f"Chain(shape={self.shape}, layers={[layer.name for layer in self.layers]})"

    def __iter__(self) -> NoReturn:
        one = not isinstance(self.shape, list)
        what = "an array, which has no rows yet" if one else f"the output of {self.layers[-1].name} and its states"
        raise TypeError(f"x stands for {what}, and cannot be taken apart: {_ONE_CHAIN}")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError(f"x stands for an array, which has no numbers yet: {_ONE_CHAIN}")


_ONE_CHAIN = (
    "rnncore describes models of one chain, of layers called one on the other; call the layers on arrays to do more "
    "with what they return"
)


def _refused(name: str) -> Any:
    def operation(self: Chain, *others: Any) -> NoReturn:
        raise TypeError(f"{name}: x stands for an array, which has no numbers yet: {_ONE_CHAIN}")

    return operation


for _name in ("add", "sub", "mul", "truediv", "matmul", "pow"):
    setattr(Chain, f"__{_name}__", _refused(_name))
    setattr(Chain, f"__r{_name}__", _refused(_name))
for _name in ("getitem", "neg", "abs"):
    setattr(Chain, f"__{_name}__", _refused(_name))


def check_behind(before: Any, layer: Any, shape: Any) -> None:
    """Raise ValueError if a layer does not take what the one before it gives, of `shape`."""
    try:
        layer.check_shape(shape)
    except ValueError as error:
        last = getattr(before, "forward_layer", before)
        if getattr(last, "return_sequences", None) is False and len(shape) < layer.input_ranks[0]:
            raise ValueError(
                f"{error}; {before.name}, before it, gives its last output only: with return_sequences=True that of "
                "every step"
            ) from None
        raise


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
        `batch_size` and `shape` in one, in their place.
    name : str, optional
    input_shape, batch_input_shape : sequence of int or None, optional
        What older Keras calls `shape` and `batch_shape`.

    Attributes
    ----------
    input_shape : tuple of int or None
        Batch first.
    """

    unkept = ("sparse", "ragged", "batch_shape", "input_tensor", "optional", "input_shape", "batch_input_shape")

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
        *,
        input_shape: Sequence[int | None] | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
    ):
        unused = {"sparse": sparse, "ragged": ragged, "input_tensor": input_tensor, "optional": optional}
        without_effect(type(self), unused)
        shapes = {"shape": shape, "batch_shape": batch_shape}
        shapes |= {"input_shape": input_shape, "batch_input_shape": batch_input_shape}
        given = {argument: value for argument, value in shapes.items() if value is not None}
        if len(given) != 1:
            raise ValueError(f"Input: expected one of {', '.join(shapes)}; got {given or 'none of them'}")
        [(argument, only)] = given.items()
        sizes = checked_shape((only,) if isinstance(only, int) else only, f"Input: {argument}")
        if argument.startswith("batch"):
            if not sizes or batch_size is not None:
                raise ValueError(f"Input: {argument} is {sizes} and batch_size {batch_size}; the one says the other")
            batch_size, sizes = sizes[0], sizes[1:]
        batch_size = None if batch_size is None else positive(batch_size, "Input: batch_size")
        Chain.__init__(self, self)
        self.input_shape = (batch_size, *sizes)
        self.batch_size, self.dtype, self.name = batch_size, dtype, name or "input_layer"

    def get_config(self) -> dict[str, Any]:
        first = {"shape": list(self.input_shape[1:]), "batch_size": self.batch_size}
        return {**first, "dtype": self.dtype, "name": self.name}


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
    """Return an `InputLayer`: ``x = Input((None,)); y = Dense(1)(LSTM(8)(Embedding(9, 4)(x))); Model(x, y)``.

    ``Input(batch_shape=(B, ...))`` says `batch_size` and `shape` in one.
    """
    return InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name)
