"""Recurrent layers: what stands around a cell's time loop.

Inside, time comes first: x is (T, B, D), turned once on entry and once on exit (and reversed, for go_backwards).
All products but the recurrent one are hoisted out of the loop: ``x @ kernel + bias`` for all steps before it, the
three weight gradients after it. Sizes: T steps, B rows, D inputs, H units, G gates.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import activations, cells, config, initializers
from ..cells import Cell
from ..kernels.time_loop import Plan, loop_for
from .base import Layer, checked_array, dropout_mask, fraction, positive

Missing = object()  # stands for the default of an option that a layer does not have

_OPTIONS = (  # the constructor of every recurrent layer: argument, default, type
    ("units", inspect.Parameter.empty, "int"),
    ("activation", "tanh", "str | Activation | None"),
    ("recurrent_activation", "sigmoid", "str | Activation | None"),
    ("use_bias", True, "bool"),
    ("kernel_initializer", "glorot_uniform", "str | Initializer"),
    ("recurrent_initializer", "orthogonal", "str | Initializer"),
    ("bias_initializer", "zeros", "str | Initializer"),
    ("unit_forget_bias", True, "bool"),
    ("dropout", 0.0, "float"),
    ("recurrent_dropout", 0.0, "float"),
    ("seed", None, "int | None"),
    ("return_sequences", False, "bool"),
    ("return_state", False, "bool"),
    ("go_backwards", False, "bool"),
    ("zero_output_for_mask", False, "bool"),
    ("name", None, "str | None"),
    ("dtype", None, "str | None"),
    ("trainable", True, "bool"),
)


class Memory(NamedTuple):
    """What a call leaves for the way back, time first; see kernels/time_loop.py for the arrays' shapes."""

    x: np.ndarray  # (T, B, D)
    blocks: np.ndarray
    states: np.ndarray
    kernels: np.ndarray  # (G, D, H)
    recurrent: np.ndarray  # (P, H, H)
    drop_x: np.ndarray | None  # (G or 1, B, D)
    drop_h: np.ndarray | None  # (P, B, H)
    mask: np.ndarray | None  # (T, B)
    shown: np.ndarray | None  # (T, B, 1): where the output is the state, and not 0


class Recurrent(Layer):
    """Base of the recurrent layers.

    Parameters
    ----------
    units : int
        H, the size of the state.
    activation, recurrent_activation : str, Activation or None
        What stands for tanh and for sigmoid in the cell's equations.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    unit_forget_bias : bool
        Whether the forget gate's bias starts at 1 (Jozefowicz et al., ICML 2015).
    dropout, recurrent_dropout : float in [0, 1)
        Shares of the inputs and of the state dropped before their products, one draw a batch, the same at every
        step (Gal & Ghahramani, NeurIPS 2016). As in Keras, with recurrent_dropout each gate has its own draw.
    seed : int, optional
        Of the initial weights and of dropout.
    return_sequences : bool
        Whether the output is that of every step, (B, T, H), or of the last, (B, H).
    return_state : bool
        Whether the call returns a list, the output and then the last states, each (B, H).
    go_backwards : bool
        Whether the steps are taken from the last to the first; outputs come in the order taken.
    zero_output_for_mask : bool
        Whether masked steps output 0 instead of repeating the output before.
    name, dtype, trainable
        See `Layer`.

    Attributes
    ----------
    kernel : ndarray of shape (D, G*H)
    recurrent_kernel : ndarray of shape (H, G*H)
    bias : ndarray of shape (G*H,)
    state_gradients : list of ndarray of shape (B, H)
        dL/d(initial state), one a state, from the last `backward`.

    Notes
    -----
    A masked step copies the states and repeats the output. Steps masked before the first valid one output 0, as
    Keras does on TensorFlow, although the states carry the initial ones.
    """

    cell: Cell
    changes: dict[str, Any] = {}  # defaults of a subclass that differ; None as a value: it has no such option
    input_ranks = (3, 3)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__doc__ = "\n\n".join([inspect.cleandoc(cls.__doc__ or ""), *_COMMON_DOC])
        rows = [(name, cls.changes.get(name, default), kind) for name, default, kind in _OPTIONS]
        cls.__signature__ = inspect.Signature(
            [
                inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
                for name, default, kind in rows
                if default is not Missing
            ]
        )

    def __init__(self, *args: Any, **kwargs: Any):
        try:
            given = inspect.signature(type(self)).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{type(self).__name__}: {error}; its arguments are {inspect.signature(type(self))}"
            ) from None
        given.apply_defaults()
        options = given.arguments
        super().__init__(options.pop("name"), options.pop("dtype"), options.pop("trainable"))
        checks = {"units": positive, "dropout": fraction, "recurrent_dropout": fraction}
        for option, value in options.items():
            if option.endswith("activation"):
                value = activations.get(value)
            elif option.endswith("initializer"):
                value = initializers.get(value)
            elif option in checks:
                value = checks[option](value, f"{self.name}: {option}")
            setattr(self, option, value)
        self.generator = config.new_generator(self.seed)
        self._cell = type(self).cell.with_activations(self.activation, getattr(self, "recurrent_activation", None))
        self._plan = Plan(self._cell)
        self.state_gradients: list[np.ndarray] = []

    def build(self, input_shape):
        gates = len(self._cell.gates)
        self.add_weight("kernel", (input_shape[-1], gates * self.units), self.kernel_initializer)
        self.add_weight("recurrent_kernel", (self.units, gates * self.units), self.recurrent_initializer)
        if self.use_bias:
            bias = self.add_weight("bias", (gates * self.units,), self.bias_initializer)
            if getattr(self, "unit_forget_bias", False):
                forget = self._cell.gates.index("f") * self.units
                bias[forget : forget + self.units] = 1

    def __call__(self, x: Any, mask: Any = None, training: bool = False, initial_state: Any = None) -> Any:
        """Run the layer over a sequence.

        Parameters
        ----------
        x : array_like of shape (B, T, D)
        mask : array_like of shape (B, T), bool, optional
            False: the step is padding.
        training : bool
            Whether dropout drops.
        initial_state : array_like of shape (B, H), or a list of one a state, optional
            Default: zeros.

        Returns
        -------
        ndarray of shape (B, H) or (B, T, H)
            With return_state a list: the output, then the last states.
        """
        return super().__call__(x, mask, training, initial_state=initial_state)

    def call(self, x, mask=None, training=False, initial_state=None):
        x = np.ascontiguousarray(self._time_first(x))
        mask = None if mask is None else np.ascontiguousarray(self._time_first(mask))
        (T, B, D), H, gates = x.shape, self.units, self._cell.gates
        kernels, recurrent = self._split(self.kernel), self._split(self.recurrent_kernel)
        drop_x, drop_h = self._draw_dropout(B, D) if training else (None, None)

        blocks = np.empty((len(self._plan.blocks), T, B, H), self.dtype)
        for n, gate in enumerate(gates):
            block = blocks[self._plan.places[f"x_{gate}"].index]
            np.matmul(_dropped(x, drop_x, n).reshape(T * B, D), kernels[n], out=block.reshape(T * B, H))
            if self.use_bias:
                block += self.bias[n * H : (n + 1) * H]
        states = np.zeros((len(self._cell.states), T + 1, B, H), self.dtype)
        states[:, 0] = self._initial(initial_state, B)
        loop_for(self._cell, self.dtype).forward(blocks, states, recurrent, drop_h, mask)

        shown = None
        if mask is not None:
            shown = (mask if self.zero_output_for_mask else np.logical_or.accumulate(mask, axis=0))[..., None]
        self.state_gradients = []
        self._memory = Memory(x, blocks, states, kernels, recurrent, drop_x, drop_h, mask, shown)
        return self._output_of(states, shown)

    def _output_of(self, states, shown):
        h = states[0, 1:] if self.return_sequences else states[0, -1:]
        if shown is not None:
            h = np.where(shown if self.return_sequences else shown[-1:], h, np.zeros((), h.dtype))
        y = h.swapaxes(0, 1) if self.return_sequences else h[0]
        y = np.ascontiguousarray(y)
        return [y, *states[:, -1].copy()] if self.return_state else y

    def call_backward(self, dy):
        memory = self._memory
        T, B, D = memory.x.shape
        dstates = self._upstream(dy, memory)
        dblocks = np.empty((len(self._plan.dblocks), T, B, self.units), self.dtype)
        loop_for(self._cell, self.dtype).backward(
            memory.blocks, memory.states, memory.recurrent, memory.drop_h, memory.mask, dblocks, dstates
        )
        self._dblocks, self._dstates = dblocks, dstates
        self.state_gradients = list(dstates[:, 0].copy())

        # z_g = (x * drop) @ kernel_g + (source * drop) @ recurrent_g + bias_g, over all steps at once
        gates = range(len(self._cell.gates))
        dz = dblocks[: len(gates)].reshape(len(gates), T * B, self.units)
        inputs = [_dropped(memory.x, memory.drop_x, n).reshape(T * B, D) for n in gates]
        self.gradients = {
            "kernel": np.concatenate([inputs[n].T @ dz[n] for n in gates], axis=1),
            "recurrent_kernel": np.concatenate([self._recurrent_gradient(p) for p in self._products()], axis=1),
        }
        if self.use_bias:
            self.gradients["bias"] = np.concatenate([dz[n].sum(axis=0) for n in gates])
        dx = np.zeros_like(memory.x)
        for n in gates:
            dx += _dropped((dz[n] @ memory.kernels[n].T).reshape(T, B, D), memory.drop_x, n)
        return np.ascontiguousarray(self._time_first(dx, back=True))

    def _upstream(self, dy, memory):
        """Return dstates as the loop takes it: the output's gradient in the slots of h, those of the last states."""
        dstates = np.zeros_like(memory.states)
        dy, *dlast = dy if self.return_state else [dy]
        for s, part in enumerate(dlast):
            if part is not None:
                dstates[s, -1] = part
        if dy is None:
            return dstates
        dy = dy.swapaxes(0, 1) if self.return_sequences else dy[None]
        if memory.shown is not None:
            dy = dy * memory.shown[-len(dy) :]
        dstates[0, -len(dy) :] += dy
        return dstates

    def _products(self):
        return [product for stage in self._plan.stages for product in stage.products]

    def _recurrent_gradient(self, product):
        memory, H = self._memory, self.units
        array, index, offset = product.source
        T = memory.x.shape[0]
        source = (memory.states if array == "states" else memory.blocks)[index, offset : offset + T]
        dz = self._dblocks[product.dtarget].reshape(-1, H)
        return _dropped(source, memory.drop_h, product.weight).reshape(-1, H).T @ dz

    def _split(self, weight):
        """Return the column blocks of a fused weight, (G, rows, H)."""
        return np.ascontiguousarray(weight.reshape(weight.shape[0], -1, self.units).swapaxes(0, 1))

    def _time_first(self, array, back=False):
        """Return (B, T, ...) as (T, B, ...) in the order the steps are taken; with `back`, the other way round."""
        if back and self.go_backwards:
            array = array[::-1]
        array = array.swapaxes(0, 1)
        return array[::-1] if self.go_backwards and not back else array

    def _draw_dropout(self, rows, features):
        """Return the masks of the inputs and of the recurrent products' sources, None where nothing is dropped."""
        products = len(self._cell.products)
        drop_x = drop_h = None
        if self.dropout:
            apart = len(self._cell.gates) if self.recurrent_dropout else 1
            drop_x = dropout_mask(self.dropout, (apart, rows, features), self.generator, self.dtype)
        if self.recurrent_dropout:
            drop_h = dropout_mask(self.recurrent_dropout, (products, rows, self.units), self.generator, self.dtype)
        return drop_x, drop_h

    def _initial(self, given, rows):
        """Return the initial states as an array that broadcasts to (S, B, H)."""
        if given is None:
            return np.zeros((), self.dtype)
        names = self._cell.states
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(given) != len(names):
            raise ValueError(f"{self.name}: initial_state has {len(given)} arrays; expected {len(names)}: {names}")
        return np.stack(
            [
                checked_array(s, f"{self.name}: initial_state[{n}]", "float", self.dtype, shape=(rows, self.units))
                for n, s in enumerate(given)
            ]
        )

    def compute_mask(self, x, mask=None):
        return mask if self.return_sequences else None

    def compute_output_shape(self, input_shape: Sequence[int | None]):
        batch, steps, _ = input_shape
        y = (batch, steps, self.units) if self.return_sequences else (batch, self.units)
        return [y, *[(batch, self.units)] * len(self._cell.states)] if self.return_state else y

    def time_series(self) -> dict[str, np.ndarray]:
        """Return what the last call (and backward) did at each step, in the order of x.

        Returns
        -------
        dict of str to ndarray of shape (B, T, H)
            The gates, the states (``h``, ``c`` …) after each step and, after a `backward`, ``dh``, ``dc`` …: the
            gradient of the loss with respect to that state, over all its paths; plus ``dz_g`` for each gate.
        """
        found = {name: self._memory.blocks[k] for k, name in enumerate(self._plan.blocks) if name in self._returned()}
        found |= {name: self._memory.states[s, 1:] for s, name in enumerate(self._cell.states)}
        if self.state_gradients:
            found |= {f"d{name}": self._dstates[s, 1:] for s, name in enumerate(self._cell.states)}
            found |= {f"dz_{gate}": self._dblocks[k] for k, gate in enumerate(self._cell.gates)}
        return {name: np.ascontiguousarray(self._time_first(array, back=True)) for name, array in found.items()}

    def _returned(self):
        return {name for stage in self._cell.stages for name in stage.outputs}


_COMMON_DOC = [inspect.cleandoc(Recurrent.__doc__).split("\n\n", 1)[1]]  # all but its first line


def _dropped(array, drop, n):
    """Return `array` (T, B, ...) times the n-th mask (or the one there is); None drops nothing."""
    return array if drop is None else array * drop[n % len(drop)]


class SimpleRNN(Recurrent):
    """The plain recurrent layer, ``h_t = tanh(x_t W + h_{t-1} U + b)``: see cells/simple_rnn.py."""

    cell = cells.SIMPLE_RNN
    changes = {"recurrent_activation": Missing, "unit_forget_bias": Missing}


class LSTM(Recurrent):
    """Long short-term memory, with the gates i, f, k, o and the carry line c: see cells/lstm.py."""

    cell = cells.LSTM
