"""A cell with its weights: one step by itself, or a whole sequence at once.

All products but the recurrent ones are hoisted out of the time loop: ``x @ kernel + bias`` for all steps before it,
the weight gradients after it. Sizes: T steps, B rows, D inputs, H units, G gates. Time comes first here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import cells, config
from ..cells import Cell
from ..configured import resolve
from ..kernels.products import Inputs, products_for
from ..kernels.threads import begin, run
from ..kernels.time_loop import Plan, loop_for
from .base import Layer, dropout_mask, keeps
from .checks import checked_array
from .options import ABSENT, OPTIONS, bound, options_of, signature_of, with_options


class Memory(NamedTuple):
    """What a run leaves for the way back; see kernels/time_loop.py for the arrays' shapes."""

    inputs: Inputs
    blocks: np.ndarray | None  # None when their gradients have taken their place
    states: np.ndarray
    turned: Callable[[], list[np.ndarray]]  # gives the weights, of the inputs and recurrent, as the way back takes them
    drop_h: np.ndarray | None  # (P, B, H)
    mask: np.ndarray | None  # (T, B)
    valid: np.ndarray | None  # (M,), the positions t*B + b that are not masked
    products: Any  # what ran, and so runs back: those of the backend at the time
    loop: Any


class RecurrentCell(Layer):
    """Base of the cells: weights and options around a cell's equations.

    A cell of your own is a subclass with `equations`, a `rnncore.cells.Cell`; `RNN` then runs it over time, in both
    backends, under masks, and under the gradient check: examples/own_cell.py shows one.

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
    kernel_regularizer, recurrent_regularizer, bias_regularizer : str, Regularizer or None
    kernel_constraint, recurrent_constraint, bias_constraint : str, Constraint or None
    dropout, recurrent_dropout : float in [0, 1)
        Shares of the inputs and of the state dropped before their products, one draw a batch, the same at every
        step (Gal & Ghahramani, NeurIPS 2016). As in Keras, with recurrent_dropout each gate has its own draw.
    seed : int, optional
        Of the initial weights and of dropout.
    name, dtype, trainable
        See `Layer`.

    Attributes
    ----------
    kernel : ndarray of shape (D, G*H)
    recurrent_kernel : ndarray of shape (H, G*H)
    bias : ndarray of shape (G*H,), or (2, G*H) with a row for the recurrent part (GRU with reset_after)
    state_size : list of int
    state_gradients : list of ndarray of shape (B, H)
        dL/d(states given), from the last `backward`.
    draws : tuple of ndarray or None
        What the last call dropped: of the inputs, (G or 1, B, D), and of the recurrent products' sources, (P, B, H).
    """

    equations: ClassVar[Cell]
    changes: ClassVar[dict[str, Any]] = {}  # defaults that differ from those in options.py
    moves: ClassVar[dict[str, str]] = {}
    input_ranks = (2, 2)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__signature__ = signature_of(options_of("cell"), cls.changes, cls.moves)
        cls.__doc__ = with_options(cls.__doc__, RecurrentCell.__doc__)

    def __init__(self, *args: Any, **kwargs: Any):
        options = bound(type(self), args, kwargs)
        super().__init__(*(options.pop(name) for name in ("name", "dtype", "trainable")))
        for name, value in options.items():
            setattr(self, name, OPTIONS[name].checked(value, f"{self.name}: {name}"))
        self.generator = config.new_generator(self.seed)
        self._cell = self.chosen_equations().with_activations(
            self.activation, getattr(self, "recurrent_activation", None)
        )
        self._plan = Plan(self._cell)
        self._rooms: dict[str, np.ndarray] = {}
        self.memory: Memory | None = None
        self.dblocks: np.ndarray | None = None  # of the last way back, like the next one: see kernels/time_loop.py
        self.dstates: np.ndarray | None = None

    def chosen_equations(self) -> Cell:
        """Return the equations that the options choose."""
        return self.equations

    @property
    def state_size(self) -> list[int]:
        """The size of each state."""
        return [self.units] * len(self._cell.states)

    def build(self, input_shape):
        H, columns, spec = self.units, len(self._cell.gates) * self.units, self._cell
        role = {"regularizer": self.recurrent_regularizer, "constraint": self.recurrent_constraint}
        self.add_weight(
            "kernel",
            (input_shape[-1], columns),
            self.kernel_initializer,
            self.kernel_regularizer,
            self.kernel_constraint,
        )
        self.add_weight("recurrent_kernel", (H, columns), self.recurrent_initializer, **role)
        for name in spec.extra:
            self.add_weight(name, (H, H), self.recurrent_initializer, **role)
        if self.use_bias:
            shape = (2, columns) if spec.split_bias else (columns,)
            self.add_weight("bias", shape, self.bias_initializer, self.bias_regularizer, self.bias_constraint)
            if getattr(self, "unit_forget_bias", False):
                forget = spec.gates.index("f") * H
                self.bias[..., forget : forget + H] = 1

    @property
    def state_gradients(self) -> list[np.ndarray]:
        """dL/d(states given), from the last `backward`; none before."""
        return [] if self.dstates is None else list(self.dstates[:, 0].copy())

    # --- one step ----------------------------------------------------------------------------------------------

    def __call__(self, x: Any, states: Any = None, training: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
        """Take one step.

        Parameters
        ----------
        x : array_like of shape (B, D)
        states : array_like of shape (B, H), or a list of one a state, optional
            Default: zeros.
        training : bool
            Whether dropout drops.

        Returns
        -------
        y : ndarray of shape (B, H)
            The output, which is the first state.
        states : list of ndarray of shape (B, H)
            After the step.
        """
        y, *states = super().__call__(x, training=training, states=states)
        return y, states

    def call(self, x, mask=None, training=False, states=None):
        initial = self.checked_states(states, len(x), "states")
        after = self.run(Inputs(x), initial, 1, None, training)[:, -1]
        return [after[0].copy(), *after.copy()]

    def backward(self, dy: Any, dstates: Sequence[Any] | None = None) -> np.ndarray:
        """Go back through the last step.

        Parameters
        ----------
        dy : array_like of shape (B, H)
            dL/d(output).
        dstates : list of array_like of shape (B, H), optional
            dL/d(states returned), None for zero.

        Returns
        -------
        ndarray of shape (B, D)
            dL/dx; `state_gradients` has dL/d(states given) and `get_gradients` those of the weights.
        """
        return super().backward([dy, *([None] * len(self.state_size) if dstates is None else dstates)])

    def call_backward(self, dy):
        upstream = self.zero_gradients(1)
        for s, part in zip((0, *range(len(self.state_size))), dy, strict=True):
            if part is not None:
                upstream[s, -1] += part
        return self.run_backward(upstream)

    def compute_output_shape(self, input_shape):
        state = (input_shape[0], self.units)
        return [state] * (1 + len(self.state_size))

    def checked_states(self, given: Any, rows: int, label: str) -> np.ndarray:
        """Return states as an array of shape (S, B, H); zeros where none are given."""
        names = self._cell.states
        if given is None:
            return np.zeros((len(names), rows, self.units), self.dtype)
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(given) != len(names):
            raise ValueError(f"{self.name}: {label} has {len(given)} arrays; expected {len(names)}: {', '.join(names)}")
        shape = (rows, self.units)
        return np.stack(
            [
                checked_array(state, f"{self.name}: {label}[{n}]", "float", self.dtype, shape)
                for n, state in enumerate(given)
            ]
        )

    # --- a sequence --------------------------------------------------------------------------------------------

    def run(
        self,
        inputs: Inputs,
        initial: np.ndarray,
        steps: int,
        mask: np.ndarray | None,
        training: bool,
        order: np.ndarray | None = None,
        kept: str = "all",
    ) -> np.ndarray:
        """Take every step of a sequence.

        Parameters
        ----------
        inputs : Inputs
            Of the T*B positions, step by step; what is dropped of them is drawn here.
        initial : ndarray of shape (S, B, H)
        steps : int
            T.
        mask : ndarray of shape (T, B), bool, or None
        training : bool
        order : ndarray of shape (B,), int, optional
            Which row of the batch each row is: what is dropped of a row does not depend on where it stands.
        kept : {"all", "states", "last"}
            "all" leaves a `memory` for the way back; otherwise only the states that are returned are kept.

        Returns
        -------
        ndarray of shape (S, T+1, B, H), or (S, 2, B, H) with "last"
            The states, the initial ones first; or, with "last", those before and after the last step.
        """
        self.memory = None  # its arrays are used again
        B, H, plan, kernel, extra = initial.shape[1], self.units, self._plan, self.kernel, self._extra()
        products, loop = products_for(self._cell.elementwise, self.dtype), loop_for(self._cell, self.dtype)
        recurrent = np.concatenate([self.recurrent_kernel, *extra], axis=1) if extra else self.recurrent_kernel
        weights = begin(products.split(kernel, len(plan.homes), steps * B), loop.prepared(recurrent, B))
        self.draws = self._draw_dropout(B, inputs.rows.shape[1]) if training else (None, None)
        drop_x, drop_h = (drop if drop is None or order is None else drop.take(order, 1) for drop in self.draws)
        valid = None if mask is None else np.flatnonzero(mask)
        inputs = products.dropped(inputs, drop_x, steps * B, valid)

        by_row = inputs.comes_again(steps * B if valid is None else len(valid))
        bias, apart = self._biases()
        one_step = by_row and kept != "all" and not apart
        blocks = self._room("blocks", len(plan.blocks), 1 if one_step else steps, B, H)
        for target, value in apart.items():
            blocks[target] = value
        states = self._room("states", len(self._cell.states), 2 if kept == "last" else steps + 1, B, H)
        states[:, 0] = initial
        projected = place = None
        kernels, recurrents = weights()
        if by_row:
            projected, place = self._room("projected", len(plan.homes), len(inputs.rows), H), inputs.place
            run(products.project(Inputs(inputs.rows), kernels, bias, None, projected))
            place = place.reshape(steps, B)
        else:
            homes = plan.homes
            together = homes == list(range(homes[0], homes[0] + len(homes)))
            out = blocks[homes[0] : homes[-1] + 1] if together else np.empty((len(homes), steps, B, H), self.dtype)
            run(products.project(inputs, kernels, bias, valid, out.reshape(len(homes), -1, H)))
            if not together:
                blocks[homes] = out
        loop.forward(blocks, states, recurrents, drop_h, mask, projected, place)
        self.dblocks = self.dstates = None
        if kept == "all":

            def turned(do):
                return do(products.turned(kernel, len(plan.homes)), products.turned(recurrent, len(plan.products)))

            back = turned(begin) if training else partial(turned, run)
            self.memory = Memory(inputs, blocks, states, back, drop_h, mask, valid, products, loop)
        return states[:, ::-1] if kept == "last" and steps % 2 == 0 else states

    def remembered(self, for_backward: bool = False) -> Memory:
        """Return what the last run left, or raise ValueError: nothing, or with `for_backward` no gates any more."""
        if self.memory is None or (for_backward and self.memory.blocks is None):
            raise ValueError(
                f"{self.name}: there are no steps to look at or to go back through; call the layer first "
                "(fit, evaluate and predict keep none)"
            )
        return self.memory

    def run_backward(
        self,
        upstream: np.ndarray,
        bptt_steps: int | None = None,
        to: np.ndarray | None = None,
        size: int | None = None,
        of_rows: bool = False,
    ) -> np.ndarray:
        """Go back through the last `run`, and fill `gradients` and `state_gradients`.

        Parameters
        ----------
        upstream : ndarray of shape (S, n, B, H)
            What reaches the last n states from outside; what `zero_gradients` returned, filled.
        bptt_steps : int, optional
            Cut the way back between steps, `bptt_steps` before the end, twice as many, and so on: no gradient
            goes further than that.
        to : ndarray of shape (M,), int, optional
            In which row of the result the gradient of each position stands that is not masked; default: in its own.
        size : int, optional
            How many rows the result has; default T*B.
        of_rows : bool
            Whether the gradients of each of the inputs' rows are to be added up; nothing may be dropped then.

        Returns
        -------
        ndarray of shape (size, D)
            dL/dx, or dL/d(the inputs' rows), one a row.
        """
        memory, H, gates = self.remembered(for_backward=True), self.units, len(self._cell.gates)
        blocks, T, B, plan = memory.blocks, *memory.blocks.shape[1:3], self._plan
        if not plan.in_place:
            dblocks = self._room("dblocks", len(plan.dblocks), T, B, H)
        elif keeps():
            blocks = dblocks = self._room("dblocks", *blocks.shape)
            dblocks[...] = memory.blocks
        else:
            self.memory, dblocks = memory._replace(blocks=None), blocks
        dstates, fresh = self._room("dstates", *memory.states.shape), T + 1 - upstream.shape[1]
        products, inputs, valid = memory.products, memory.inputs, memory.valid
        kernels, recurrent = memory.turned()
        D, dz = inputs.rows.shape[1], dblocks[:gates].reshape(gates, T * B, H)
        both = np.empty((D + H, gates * H), self.dtype)
        self.gradients = {"kernel": both[:D], "recurrent_kernel": both[D:]}
        others = [name for name in self.weight_names if name not in self.gradients]
        self.gradients |= {name: np.empty_like(getattr(self, name)) for name in others}
        bias = self.gradients["bias"].reshape(-1, gates * H) if self.use_bias else [None]
        arrays = (blocks, memory.states, recurrent, memory.drop_h, memory.mask, dblocks, dstates)
        end = T
        while end > 0:
            first = 0 if bptt_steps is None else max(0, end - bptt_steps)
            outside = dstates[:, first].copy() if first >= fresh else 0
            memory.loop.backward(*arrays, fresh, first, end)
            if first:
                dstates[:, first] = outside
            end = first
        self.dblocks, self.dstates = dblocks, dstates

        # z_g = (x * drop) @ kernel_g + (source * drop) @ recurrent_g + bias_g, over all steps at once
        if of_rows:
            dx_job = products.row_gradients(inputs, dz, kernels, valid)
        else:
            dx_job = products.input_gradients(dz, kernels, inputs.drop, valid, to, T * B if size is None else size)
        if plan.one_gradient and inputs.drop is not None and memory.drop_h is not None:  # [x h] as one factor
            beside = self._sources(plan.together[0])
            dx, _ = run(dx_job, products.weight_gradients(inputs, dz, valid, both, bias[0], beside=beside))
            return dx
        dx, *_ = run(
            dx_job,
            products.weight_gradients(inputs, dz, valid, self.gradients["kernel"], bias[0]),
            *(self._recurrent_gradient(those, *bias[1:]) for those in plan.together),
        )
        return dx

    def zero_gradients(self, slots: int) -> np.ndarray:
        """Return zeros for `run_backward`, (S, slots, B, H): for what reaches the states after the last steps."""
        last = self._room("dstates", *self.remembered().states.shape)[:, -slots:]
        last[...] = 0
        return last

    def _room(self, name, *shape):
        """Return an array to be filled, in memory that is used anew by each call: large fresh arrays cost time."""
        size, room = math.prod(shape), self._rooms.get(name)
        if room is None or room.size < size or room.dtype != self.dtype:
            self._rooms[name] = room = None  # what is left goes before more is taken
            self._rooms[name] = room = np.empty(size, self.dtype)
        return room[:size].reshape(shape)

    def series(self) -> dict[str, np.ndarray]:
        """Return the last run by name, each (T, B, H): see `RNN.time_series`."""
        returned, memory = {name for stage in self._cell.stages for name in stage.outputs}, self.remembered()
        blocks = () if memory.blocks is None else zip(self._plan.blocks, memory.blocks, strict=True)
        found = {name: self._taken(block) for name, block in blocks if name in returned}
        found |= {name: memory.states[s, 1:] for s, name in enumerate(self._cell.states)}
        if self.dstates is not None:
            found |= {f"d{name}": self.dstates[s, 1:] for s, name in enumerate(self._cell.states)}
            found |= {f"dz_{gate}": self._taken(self.dblocks[k]) for k, gate in enumerate(self._cell.gates)}
        return found

    def _taken(self, block):
        """Return a block of the loop with 0 at the steps that were not taken, where it holds nothing."""
        mask = self.memory.mask
        return block if mask is None else np.where(mask[:, :, None], block, np.zeros((), block.dtype))

    def _extra(self):
        return [getattr(self, name) for name in self._cell.extra]

    def _sources(self, together):
        """Return what recurrent products that are taken together multiply, at all positions."""
        memory, (array, index, _), n, count = self.memory, together[0].source, together[0].weight, len(together)
        source = (memory.states if array == "states" else memory.blocks)[index, : memory.states.shape[1] - 1]
        drop = None if memory.drop_h is None else memory.drop_h[n : n + count]
        inputs = Inputs(source.reshape(-1, self.units))
        return memory.products.dropped(inputs, drop, len(inputs.rows), memory.valid)

    def _recurrent_gradient(self, together, bias=None):
        """Return the job that fills in the gradients of the weights of products that are taken together."""
        n, dtarget, gates = together[0].weight, together[0].dtarget, len(self._cell.gates)
        dz = self.dblocks[dtarget : dtarget + len(together)].reshape(len(together), -1, self.units)
        if n < gates:
            where = self.gradients["recurrent_kernel"], bias, n * self.units
        else:
            where = (self.gradients[[*self._cell.extra][n - gates]],)
        return self.memory.products.weight_gradients(self._sources(together), dz, self.memory.valid, *where)

    def _biases(self):
        """Return the bias of each gate's input part, (G, H), and what starts recurrent parts that are kept apart."""
        gates, plan = self._cell.gates, self._plan
        if self.use_bias and plan.homes == plan.targets and not self._cell.split_bias:
            return self.bias.reshape(len(gates), -1), {}
        bias = np.zeros((2, len(gates), self.units), self.dtype)
        if self.use_bias:
            bias[: 2 if self._cell.split_bias else 1] = self.bias.reshape(-1, len(gates), self.units)
        joined = np.array([target == home for target, home in zip(plan.targets, plan.homes, strict=True)])
        apart = {target: bias[1, n] for n, target in enumerate(plan.targets) if not joined[n]}
        return bias[0] + bias[1] * joined[:, None].astype(self.dtype), apart

    def _draw_dropout(self, rows, features):
        """Return the masks of the inputs and of the recurrent products' sources, None where nothing is dropped."""
        gates, extra = len(self._cell.gates), len(self._cell.extra)
        drop_x = drop_h = None
        if self.dropout:
            apart = gates if self.recurrent_dropout else 1
            drop_x = dropout_mask(self.dropout, (apart, rows, features), self.generator, self.dtype)
        if self.recurrent_dropout:
            drop_h = dropout_mask(self.recurrent_dropout, (gates, rows, self.units), self.generator, self.dtype)
            if extra:  # these multiply the carry, which is never dropped
                drop_h = np.concatenate([drop_h, np.ones((extra, rows, self.units), self.dtype)])
        return drop_x, drop_h


class SimpleRNNCell(RecurrentCell):
    """The plain recurrent cell, ``h_t = tanh(x_t W + h_{t-1} U + b)``: see cells/simple_rnn.py."""

    equations = cells.SIMPLE_RNN
    changes = {"recurrent_activation": ABSENT}


class LSTMCell(RecurrentCell):
    """Long short-term memory, with the gates i, f, k, o and the carry line c: see cells/lstm.py."""

    equations = cells.LSTM
    changes = {"unit_forget_bias": True}


class GRUCell(RecurrentCell):
    """The gated recurrent unit, with the gates z, r and the candidate k: see cells/gru.py."""

    equations = cells.GRU
    changes = {"reset_after": True}
    moves = {"reset_after": "recurrent_dropout"}

    def chosen_equations(self):
        return cells.GRU if self.reset_after else cells.GRU_RESET_BEFORE


class CarryRNNCell(RecurrentCell):
    """The lecture's own carry formulation: see cells/carry_rnn.py. One weight more, carry_kernel (H, H)."""

    equations = cells.CARRY_RNN
    changes = {"unit_forget_bias": True}


class StackedRNNCells(Layer):
    """Cells on top of one another, as one cell: each one's output is the next one's input.

    Parameters
    ----------
    cells : sequence of RecurrentCell
    name : str, optional
    """

    input_ranks = (2, 2)

    def __init__(self, cells: Sequence[RecurrentCell], name: str | None = None):
        cells = [resolve(cell, CELLS, RecurrentCell, "cell") if isinstance(cell, Mapping) else cell for cell in cells]
        if not cells or not all(isinstance(cell, RecurrentCell) for cell in cells):
            raise TypeError(f"cells is {cells!r}; expected a list of RecurrentCell")
        if len({cell.dtype for cell in cells}) > 1:
            raise ValueError(f"cells have dtypes {[cell.dtype for cell in cells]}; expected the same")
        super().__init__(name, cells[0].dtype)
        self.cells = list(cells)

    def children(self):
        return self.cells

    @property
    def state_size(self) -> list[list[int]]:
        """The sizes of each cell's states."""
        return [cell.state_size for cell in self.cells]

    @property
    def state_gradients(self) -> list[list[np.ndarray]]:
        """dL/d(states given), a list a cell, from the last `backward`."""
        return [cell.state_gradients for cell in self.cells]

    def build(self, input_shape):
        for cell in self.cells:
            cell.ensure_built(input_shape)
            input_shape = (input_shape[0], cell.units)

    def __call__(self, x: Any, states: Any = None, training: bool = False) -> tuple[np.ndarray, list[list[np.ndarray]]]:
        """Take one step; as `RecurrentCell`, with a list of states a cell."""
        x = self.checked_input(x)
        self.ensure_built(x.shape)
        if states is not None and len(states) != len(self.cells):
            raise ValueError(f"{self.name}: states has {len(states)} entries; expected a list of states a cell")
        after = []
        for cell, own in zip(self.cells, states or [None] * len(self.cells), strict=True):
            x, own = cell(x, own, training)
            after.append(own)
        self.output = x
        return x, after

    def backward(self, dy: Any, dstates: Sequence[Any] | None = None) -> np.ndarray:
        """Go back through the last step; as `RecurrentCell`, with a list of states' gradients a cell."""
        for cell, own in zip(reversed(self.cells), reversed(dstates or [None] * len(self.cells)), strict=True):
            dy = cell.backward(dy, own)
        return dy


CELLS = {cls.__name__: cls for cls in (SimpleRNNCell, LSTMCell, GRUCell, CarryRNNCell, StackedRNNCells)}
