"""Layers around layers: both directions, and every step by itself.

Sizes: B rows, T steps, H units of one direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..configured import look_up
from ..unsupported import without_effect
from .base import Layer
from .checks import flag
from .recurrent import RNN

# merge mode: (y from y of the two directions, dy of the two from dy and what they gave)
_MERGES = {
    "concat": (lambda a, b: np.concatenate([a, b], axis=-1), lambda dy, a, b: np.split(dy, [a.shape[-1]], axis=-1)),
    "sum": (lambda a, b: a + b, lambda dy, a, b: (dy, dy)),
    "mul": (lambda a, b: a * b, lambda dy, a, b: (dy * b, dy * a)),
    "ave": (lambda a, b: (a + b) / 2, lambda dy, a, b: (dy / 2, dy / 2)),
    "none": (lambda a, b: [a, b], lambda dy, a, b: dy),
}


class Bidirectional(Layer):
    """A recurrent layer from the first step to the last beside one from the last to the first.

    Parameters
    ----------
    layer : RNN
        LSTM, GRU, … or RNN: made anew twice from its configuration, as ``forward_layer`` and ``backward_layer``.
    merge_mode : {"concat", "sum", "mul", "ave", None}
        How the two outputs become one; None: a list of both.
    weights : None
        There for Keras's signature: `set_weights` sets them.
    backward_layer : RNN, optional
        What goes backwards, if it is not to be the same.
    name, dtype, trainable
        See `Layer`; `dtype` is handed on to both.
    zero_output_for_mask : bool, optional
        Whether both output 0 at masked steps. Default: as in Keras 3, with ``return_sequences``; False, to repeat the
        output before, is what Keras 1 and 2 did.

    Notes
    -----
    As in Keras, the backward outputs are reversed in time, so that both directions' outputs of a step come together.
    The initial states of a call, and the states that it returns, are those of the forward layer and then those of the
    backward one.

    References
    ----------
    Schuster & Paliwal, "Bidirectional recurrent neural networks", IEEE Trans. Signal Processing 45 (1997).

    Examples
    --------
    >>> Bidirectional(GRU(4))(np.ones((2, 5, 3))).shape
    (2, 8)
    """

    input_ranks = (3, 3)
    takes_embedded_rows = True
    unkept = ("weights",)
    left_out = ("_pair",)

    def __init__(
        self,
        layer: RNN,
        merge_mode: str | None = "concat",
        weights: None = None,
        backward_layer: RNN | None = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        zero_output_for_mask: bool | None = None,
    ):
        for argument, given in (("layer", layer), ("backward_layer", backward_layer or layer)):
            if not isinstance(given, RNN):
                raise TypeError(f"Bidirectional: {argument} is {given!r}; expected a recurrent layer")
        without_effect(type(self), {"weights": weights})
        super().__init__(name, dtype or layer.dtype, trainable)
        self.layer, self.merge_mode = layer, merge_mode
        look_up(merge_mode or "none", _MERGES, "merge_mode")
        made = {"dtype": self.dtype, "trainable": trainable and layer.trainable}
        self.forward_layer = layer.clone(name=f"forward_{layer.name}", **made)
        self.backward_layer = self._mirrored() if backward_layer is None else backward_layer
        self._check_pair()
        self.zero_output_for_mask = zero_output_for_mask
        for child in self.children():
            zero = child.return_sequences if zero_output_for_mask is None else zero_output_for_mask
            child.zero_output_for_mask = flag(zero, f"{self.name}: zero_output_for_mask")

    def _mirrored(self) -> RNN:
        """Return the forward layer, made anew to go the other way."""
        return self.forward_layer.clone(
            name=f"backward_{self.layer.name}", go_backwards=not self.forward_layer.go_backwards
        )

    def argument(self, name):
        if name != "layer":
            return super().argument(name)
        own = {"name": self.layer.name, "zero_output_for_mask": self.layer.zero_output_for_mask}
        return self.forward_layer.clone(**own)  # as it is now: who freezes it means the layer that is saved

    def _is_default(self, name, value, default):
        if name == "backward_layer":
            return value.get_config() == self._mirrored().get_config()
        return super()._is_default(name, value, default)

    def _check_pair(self) -> None:
        one, other = self.children()
        if one.go_backwards == other.go_backwards:
            raise ValueError(f"{self.name}: layer and backward_layer both have go_backwards={one.go_backwards}")
        for option in ("return_sequences", "return_state", "stateful"):
            if getattr(one, option) != getattr(other, option):
                raise ValueError(
                    f"{self.name}: {option} is {getattr(one, option)} in layer and {getattr(other, option)} "
                    "in backward_layer; expected the same"
                )
        units = [child.cells[-1].units for child in (one, other)]
        if self.merge_mode in ("sum", "mul", "ave") and units[0] != units[1]:
            raise ValueError(f"{self.name}: merge_mode {self.merge_mode!r} needs the same units both ways; got {units}")

    def children(self):
        return [self.forward_layer, self.backward_layer]

    def build(self, input_shape):
        for child in self.children():
            child.ensure_built(input_shape)

    def __call__(  # type: ignore[override]
        self, x: Any, mask: Any = None, training: bool = False, initial_state: Any = None
    ) -> Any:
        """Run both directions; arguments and results as those of `RNN`."""
        return super().__call__(x, mask, training, initial_state=initial_state)

    def call(self, x, mask=None, training=False, initial_state=None):
        states = [None, None]
        if initial_state is not None:
            first, second = (child.count_states() for child in self.children())
            if not isinstance(initial_state, (list, tuple)) or len(initial_state) != first + second:
                raise ValueError(
                    f"{self.name}: initial_state must be a list of {first + second}: "
                    f"{first} of the forward layer, then {second} of the backward one"
                )
            states = [initial_state[:first], initial_state[first:]]
        outputs = [
            child.forward(x, mask, training, initial_state=own)
            for child, own in zip(self.children(), states, strict=True)
        ]
        after = []
        if self.forward_layer.return_state:
            after = [state for _, *states in outputs for state in states]
            outputs = [y for y, *_ in outputs]
        self._pair = outputs[0], self._reversed(outputs[1])
        y = _MERGES[self.merge_mode or "none"][0](*self._pair)
        return [*(y if isinstance(y, list) else [y]), *after] if after or isinstance(y, list) else y

    def call_backward(self, dy):
        dafter = []
        if isinstance(dy, list):
            outputs = 1 if self.merge_mode else 2
            dy, dafter = dy[:outputs], dy[outputs:]
            dy = dy if self.merge_mode is None else dy[0]
        one, other = (None, None) if dy is None else _MERGES[self.merge_mode or "none"][1](dy, *self._pair)
        pair = [one, None if other is None else self._reversed(other)]
        if self.forward_layer.return_state:
            half = self.forward_layer.count_states()  # an LSTM has more states than a GRU
            pair = [[pair[0], *dafter[:half]], [pair[1], *dafter[half:]]]
        first, second = (child.pull_back(own) for child, own in zip(self.children(), pair, strict=True))
        return first + second

    def _reversed(self, y):
        return np.ascontiguousarray(y[:, ::-1]) if self.forward_layer.return_sequences else y

    @property
    def state_gradients(self) -> list[Any]:
        """dL/d(initial states), the forward layer's and then the backward one's."""
        return [gradient for child in self.children() for gradient in child.state_gradients]

    @property
    def states(self) -> list[Any] | None:
        """Where the next batch starts (stateful layers): the states of the forward layer, then of the backward one."""
        pairs = [child.states for child in self.children()]
        return None if None in pairs else pairs[0] + pairs[1]

    def reset_state(self) -> None:
        """Forget the states of the batch before (stateful layers)."""
        for child in self.children():
            child.reset_state()

    def reset_states(self) -> None:
        """`reset_state`, by its older name."""
        self.reset_state()

    def compute_mask(self, x, mask=None):
        return mask if self.forward_layer.return_sequences else None

    def compute_output_shape(self, input_shape: Sequence[int | None]):
        one, other = (child.compute_output_shape(input_shape) for child in self.children())
        states = []
        if self.forward_layer.return_state:
            (one, *states), (other, *more) = one, other
            states += more
        if self.merge_mode is None:
            return [one, other, *states]
        y = (*one[:-1], one[-1] + other[-1]) if self.merge_mode == "concat" else one
        return [y, *states] if states else y


class TimeDistributed(Layer):
    """A layer applied to every step by itself, with the same weights.

    Parameters
    ----------
    layer : Layer
        With one output: no states beside it.
    name, trainable, dtype
        See `Layer`; `dtype` is that of `layer` where it is not given.

    Notes
    -----
    The steps of all rows go through the layer as one large batch, (B*T, ...): floats, or what else it takes, as ids of
    shape (B, T, S) for an `Embedding`.

    A mask (B, T) passes by. Of one (B, T, S) the layer gets that of each step, (B*T, S). The output's mask is the one
    that the layer makes; where it makes none, those steps count of which a part did.
    """

    input_ranks = (3, 64)
    mask_axes = 64
    left_out = ("_steps",)

    def __init__(self, layer: Layer, name: str | None = None, trainable: bool = True, dtype: str | None = None):
        if not isinstance(layer, Layer):
            raise TypeError(f"TimeDistributed: layer is {layer!r}; expected a layer")
        super().__init__(name, dtype or layer.dtype, trainable)
        self.layer = layer

    @property
    def input_kind(self) -> str:  # type: ignore[override]
        """That of the layer."""
        return self.layer.input_kind

    @property
    def padding_value(self) -> float | None:  # type: ignore[override]
        """That of the layer."""
        return self.layer.padding_value

    def children(self):
        return [self.layer]

    def build(self, input_shape):
        self.layer.ensure_built((None, *input_shape[2:]))

    def check_shape(self, shape):
        super().check_shape(shape)
        self.layer.check_shape((None, *shape[2:]))
        self.compute_output_shape(shape)

    def checked_input(self, x):
        x = super().checked_input(x)
        self.layer.checked_input(_joined(x))
        return x

    def call(self, x, mask=None, training=False):
        self._steps = x.shape[:2]
        y = self.layer.forward(_joined(x), _inner(mask), training)
        return _apart(y, self._steps).astype(self.dtype, copy=False)

    def call_backward(self, dy):
        dx = self.layer.pull_back(_joined(dy).astype(self.layer.dtype, copy=False))
        return None if dx is None else _apart(dx, self._steps)

    def compute_mask(self, x, mask=None):
        made = self.layer.compute_mask(_joined(x), _inner(mask))
        if made is not None:
            return _apart(made, x.shape[:2])
        return mask if mask is None or mask.ndim < 3 else mask.reshape(*mask.shape[:2], -1).any(axis=2)

    def compute_output_shape(self, input_shape: Sequence[int | None]):
        batch, steps, *rest = input_shape
        inner = self.layer.compute_output_shape((batch, *rest))
        if isinstance(inner, list):
            raise ValueError(f"{self.name}: {self.layer.name} returns a list, as with its states; expected one output")
        return (batch, steps, *inner[1:])


def _joined(array: Any) -> np.ndarray:
    """Return an array with its first two axes, rows and steps, as one."""
    return np.asarray(array).reshape(-1, *array.shape[2:])


def _apart(array: Any, steps: tuple[int, int]) -> np.ndarray:
    """Return an array with its first axis as two: rows and steps."""
    return np.asarray(array).reshape(*steps, *array.shape[1:])


def _inner(mask: np.ndarray | None) -> np.ndarray | None:
    """Return the mask within each step, if there is one."""
    return None if mask is None or mask.ndim < 3 else _joined(mask)
