"""A cell with its weights: one step by itself, or a whole sequence at once.

All products but the recurrent ones are hoisted out of the time loop: ``x @ kernel + bias`` for all steps before it,
the weight gradients after it. Sizes: T steps, B rows, D inputs, H units, G gates. Time comes first here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import cells, config
from ..cells import Cell
from ..configured import resolve
from ..kernels.products import Inputs, products_for
from ..kernels.threads import begin, done, run, run_apart
from ..kernels.time_loop import Plan, loop_for
from .base import Layer, dropout_mask, keeps
from .checks import checked_array
from .options import ABSENT, OPTIONS, bound, options_of, signature_of, with_options


class Part(NamedTuple):
    """What a run leaves of some rows of the batch; see kernels/time_loop.py for the arrays' shapes."""

    rows: slice
    inputs: Inputs
    blocks: np.ndarray | None  # None when their gradients have taken their place
    states: np.ndarray
    drop_h: np.ndarray | None  # (P, B, H)
    mask: np.ndarray | None  # (T, B)
    valid: np.ndarray | None  # (M,), the positions t*B + b that are not masked


class Memory(NamedTuple):
    """What a run leaves for the way back."""

    parts: list[Part]
    turned: Callable[[], list[np.ndarray]]  # gives the weights, of the inputs and recurrent, as the way back takes them
    products: Any  # what ran, and so runs back: those of the backend at the time
    loop: Any
    mask: np.ndarray | None  # (T, B), of all rows

    @property
    def dropped(self) -> bool:
        """Whether something is dropped of the inputs."""
        return self.parts[0].inputs.drop is not None


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
    unit_forget_bias : bool or float
        Whether the forget gate's bias starts at 1 (Jozefowicz et al., ICML 2015), or the value that it starts at.
        Either takes the place of what `bias_initializer` gives it, as in Keras; False leaves that.
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
        self.way_back: list[tuple[np.ndarray, np.ndarray]] = []  # dblocks and dstates of the last one, by part

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
            start = getattr(self, "unit_forget_bias", False)
            if start is not False:
                forget = spec.gates.index("f") * H
                self.bias[..., forget : forget + H] = start  # True is 1

    @property
    def state_gradients(self) -> list[np.ndarray]:
        """dL/d(states given), from the last `backward`; none before."""
        return list(np.concatenate([dstates[:, 0] for _, dstates in self.way_back], axis=1)) if self.way_back else []

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
        after, _ = self.run(Inputs(x), initial, 1, None, training)
        return [after[0].copy(), *after]

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
        dy, *dstates = dy
        return self.run_backward(None if dy is None else dy[None], dstates)

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
        sequence: bool = False,
    ) -> tuple[np.ndarray, np.ndarray | None]:
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
        sequence : bool
            Whether the outputs of all steps are returned.

        Returns
        -------
        states : ndarray of shape (S, B, H)
            After the last step.
        h : ndarray of shape (T, B, H) or None
            The first state after each step: the cell's own memory, perhaps.
        """
        self.memory, self.way_back = None, []  # its arrays are used again
        B, plan, kernel, extra = initial.shape[1], self._plan, self.kernel, self._extra()
        products, loop = products_for(self._cell.elementwise, self.dtype), loop_for(self._cell, self.dtype)
        recurrent = np.concatenate([self.recurrent_kernel, *extra], axis=1) if extra else self.recurrent_kernel
        weights = begin(products.split(kernel, len(plan.homes), steps * B), loop.prepared(recurrent, B))
        self.draws = self._draw_dropout(B, inputs.rows.shape[1]) if training else (None, None)
        drops = [drop if drop is None or order is None else drop.take(order, 1) for drop in self.draws]
        bias, apart = self._biases()

        count = steps * B if mask is None else np.count_nonzero(mask)
        by_row = drops[0] is None and inputs.comes_again(count)
        slots = 1 if by_row and kept != "all" and not apart else steps, 2 if kept == "last" else steps + 1
        parts, jobs, projected, place = [], [], None, None
        for rows in loop.parts(B, mask):
            part = self._part(len(parts), rows, inputs, drops, steps, mask, B, slots, products)
            for target, value in apart.items():
                part.blocks[target] = value
            part.states[:, 0] = initial[:, rows]
            parts.append(part)
        kernels, recurrents = weights()
        if by_row:
            projected = self._room("projected", len(plan.homes), len(inputs.rows), self.units)
            run(products.project(Inputs(inputs.rows), kernels, bias, None, projected))
        for part in parts:
            project = [] if by_row else [self._projection(part, kernels, bias, products)]
            place = part.inputs.place.reshape(steps, -1) if by_row else None
            forward = loop.forward(part.blocks, part.states, recurrents, part.drop_h, part.mask, projected, place)
            jobs.append([project, [forward]])
        run_apart(*jobs)
        if kept == "all":

            def turned(do):
                return do(products.turned(kernel, len(plan.homes)), products.turned(recurrent, len(plan.products)))

            back = turned(begin) if training else partial(turned, run)
            self.memory = Memory(parts, back, products, loop, mask)
        last = steps % slots[1]
        states = np.concatenate([part.states[:, last] for part in parts], axis=1)
        return states, _joined([part.states[0, 1:] for part in parts], 1) if sequence else None

    def _part(self, n, rows, inputs, drops, steps, mask, batch, slots, products):
        """Return where a run of some rows of the batch begins: with arrays of their own, used anew by each run."""
        plan, count = self._plan, rows.stop - rows.start
        if count < batch:
            drops = [None if drop is None else np.ascontiguousarray(drop[:, rows]) for drop in drops]
            mask = None if mask is None else np.ascontiguousarray(mask[:, rows])
            place = _positions_of(steps, batch, rows.start, rows.stop)
            inputs = inputs._replace(place=place if inputs.place is None else inputs.place[place])
        drop_x, drop_h = drops
        valid = None if mask is None else np.flatnonzero(mask)
        blocks = self._room(f"blocks{n}", len(plan.blocks), slots[0], count, self.units)
        states = self._room(f"states{n}", len(self._cell.states), slots[1], count, self.units)
        return Part(rows, products.dropped(inputs, drop_x, steps * count, valid), blocks, states, drop_h, mask, valid)

    def _projection(self, part, kernels, bias, products):
        """Return the job that puts the gates' input parts where the loop looks for them."""
        homes, shape = self._plan.homes, part.blocks.shape[1:]
        size = len(homes), math.prod(shape[:-1]), self.units
        if homes == [*range(homes[0], homes[0] + len(homes))]:
            out = part.blocks[homes[0] : homes[-1] + 1].reshape(size)
            return products.project(part.inputs, kernels, bias, part.valid, out)
        out = np.empty(size, self.dtype)
        run(products.project(part.inputs, kernels, bias, part.valid, out))
        part.blocks[homes] = out.reshape(len(homes), *shape)
        return done(out)

    def remembered(self, for_backward: bool = False) -> Memory:
        """Return what the last run left, or raise ValueError: nothing, or with `for_backward` no gates any more."""
        if self.memory is None or (for_backward and self.memory.parts[0].blocks is None):
            raise ValueError(
                f"{self.name}: there are no steps to look at or to go back through; call the layer first "
                "(fit, evaluate and predict keep none)"
            )
        return self.memory

    def run_backward(
        self,
        dy: np.ndarray | None,
        dstates: Sequence[np.ndarray | None] = (),
        bptt_steps: int | None = None,
        to: np.ndarray | None = None,
        size: int | None = None,
        of_rows: bool = False,
    ) -> np.ndarray:
        """Go back through the last `run`, and fill `gradients` and `state_gradients`.

        Parameters
        ----------
        dy : ndarray of shape (n, B, H) or None
            What reaches the first state from outside, after each of the last n steps.
        dstates : sequence of ndarray of shape (B, H) or None
            What else reaches each state after the last step.
        bptt_steps : int, optional
            Cut the way back between steps, `bptt_steps` before the end, twice as many, and so on: no gradient
            goes further than that.
        to : ndarray of shape (T*B,), int, optional
            In which row of the result the gradient of each position stands, if it is not masked; default: in its own.
        size : int, optional
            How many rows the result has; default T*B.
        of_rows : bool
            Whether the gradients of each of the inputs' rows are to be added up; nothing may be dropped then.

        Returns
        -------
        ndarray of shape (size, D)
            dL/dx, or dL/d(the inputs' rows), one a row.
        """
        memory, plan, gates = self.remembered(for_backward=True), self._plan, len(self._cell.gates)
        self.way_back = []  # its arrays are used again
        parts, products = memory.parts, memory.products
        T, B, D = parts[0].blocks.shape[1], parts[-1].rows.stop, parts[0].inputs.rows.shape[1]
        fresh = T if dy is None else T + 1 - len(dy)
        kernels, recurrent = memory.turned()
        backs, arrays = [], []
        for n, part in enumerate(parts):
            if not plan.in_place:
                blocks, dblocks = part.blocks, self._room(f"dblocks{n}", len(plan.dblocks), *part.blocks.shape[1:])
            elif keeps():
                blocks = dblocks = self._room(f"dblocks{n}", *part.blocks.shape)
                dblocks[...] = part.blocks
            else:
                blocks = dblocks = part.blocks
                parts[n] = part._replace(blocks=None)
            own = self._room(f"dstates{n}", *part.states.shape)
            own[:, fresh:] = 0
            if dy is not None:
                own[0, fresh:] = dy[:, part.rows]
            for s, outside in enumerate(dstates):
                if outside is not None:
                    own[s, -1] += outside[part.rows]
            backs.append((dblocks, own))
            arrays.append((blocks, part.states, recurrent, part.drop_h, part.mask, dblocks, own, fresh))
        end = T
        while bptt_steps is not None and end > bptt_steps:
            first = end - bptt_steps
            outside = [own[:, first].copy() if first >= fresh else 0 for _, own in backs]
            run(*(memory.loop.backward(*own, first, end) for own in arrays))
            for (_, own), came in zip(backs, outside, strict=True):
                own[:, first] = came
            end = first

        # z_g = (x * drop) @ kernel_g + (source * drop) @ recurrent_g + bias_g, over all steps at once
        entries = sum(getattr(self, name).size for name in self._own_weights())
        size = T * B if size is None else size
        sums = [np.empty(entries, self.dtype), *(self._room(f"sums{n}", entries) for n in range(1, len(parts)))]
        taken = T * B if memory.mask is None else sum(len(part.valid) for part in parts)
        dx = None if of_rows else (np.empty if taken == size else np.zeros)((size, D), self.dtype)
        jobs = []
        for part, (dblocks, _), own, flat in zip(parts, backs, arrays, sums, strict=True):
            back, dz = memory.loop.backward(*own, 0, end), dblocks[:gates].reshape(gates, -1, self.units)
            if of_rows:
                to_inputs = products.row_gradients(part.inputs, dz, kernels, part.valid)
            else:
                place = _of_part(to, T, B, part)
                to_inputs = products.input_gradients(dz, kernels, part.inputs.drop, part.valid, place, dx)
            jobs.append([[back], [to_inputs, *self._weight_gradients(part, dblocks, flat)]])
        run_apart(*jobs)
        if of_rows:
            dx, *others = (to_inputs.out for _, (to_inputs, *_) in jobs)
            for other in others:
                dx += other
        for other in sums[1:]:
            run(products.added(sums[0], other))
        self.gradients, self.way_back = self._gradients_in(sums[0]), backs
        return dx

    def _own_weights(self):
        """Return the names of the equations' weights; what a subclass adds has a gradient that it makes itself."""
        return ["kernel", "recurrent_kernel", *self._cell.extra, *(["bias"] if self.use_bias else [])]

    def _gradients_in(self, flat):
        """Return the gradients that lie in a flat array, by name, in that order."""
        found, begin = {}, 0
        for name in self._own_weights():
            weight = getattr(self, name)
            found[name] = flat[begin : begin + weight.size].reshape(weight.shape)
            begin += weight.size
        return found

    def _weight_gradients(self, part, dblocks, flat):
        """Return the jobs that put the weights' gradients of some rows into a flat array."""
        memory, plan, columns = self.memory, self._plan, len(self._cell.gates) * self.units
        products, gradients = memory.products, self._gradients_in(flat)
        dz = dblocks[: len(self._cell.gates)].reshape(len(self._cell.gates), -1, self.units)
        bias, *own_bias = gradients["bias"].reshape(-1, columns) if self.use_bias else [None]
        if plan.one_gradient and part.inputs.drop is not None and part.drop_h is not None:  # [x h] as one factor
            beside = self._sources(part, plan.together[0])
            both = flat[: gradients["kernel"].size + gradients["recurrent_kernel"].size].reshape(-1, columns)
            return [products.weight_gradients(part.inputs, dz, part.valid, both, bias, beside=beside)]
        jobs = [products.weight_gradients(part.inputs, dz, part.valid, gradients["kernel"], bias)]
        for together in plan.together:
            n, dtarget, count = together[0].weight, together[0].dtarget, len(together)
            if n < len(self._cell.gates):
                where = gradients["recurrent_kernel"], *(own_bias or [None]), n * self.units
            else:
                where = (gradients[[*self._cell.extra][n - len(self._cell.gates)]],)
            dz = dblocks[dtarget : dtarget + count].reshape(count, -1, self.units)
            jobs.append(products.weight_gradients(self._sources(part, together), dz, part.valid, *where))
        return jobs

    def _room(self, name, *shape):
        """Return an array to be filled, in memory that is used anew by each call: large fresh arrays cost time."""
        size, room = math.prod(shape), self._rooms.get(name)
        if room is None or room.size < size or room.dtype != self.dtype:
            self._rooms[name] = room = None  # what is left goes before more is taken
            self._rooms[name] = room = np.empty(size, self.dtype)
        return room[:size].reshape(shape)

    def series(self) -> dict[str, np.ndarray]:
        """Return the last run by name, each (T, B, H): see `RNN.time_series`."""
        parts, plan = self.remembered().parts, self._plan
        returned = {name for stage in self._cell.stages for name in stage.outputs}
        found = {}
        if parts[0].blocks is not None:
            blocks = _joined([_taken(part.blocks, part.mask) for part in parts], 2)
            found |= {name: block for name, block in zip(plan.blocks, blocks, strict=True) if name in returned}
        states = _joined([part.states[:, 1:] for part in parts], 2)
        found |= dict(zip(self._cell.states, states, strict=True))
        if self.way_back:
            dstates = _joined([own[:, 1:] for _, own in self.way_back], 2)
            found |= {f"d{name}": own for name, own in zip(self._cell.states, dstates, strict=True)}
            pairs = zip(self.way_back, parts, strict=True)
            dblocks = _joined([_taken(own[: len(self._cell.gates)], part.mask) for (own, _), part in pairs], 2)
            found |= {f"dz_{gate}": own for gate, own in zip(self._cell.gates, dblocks, strict=True)}
        return found

    def _extra(self):
        return [getattr(self, name) for name in self._cell.extra]

    def _sources(self, part, together):
        """Return what recurrent products that are taken together multiply, at all positions of a part."""
        (array, index, _), n, count = together[0].source, together[0].weight, len(together)
        source = (part.states if array == "states" else part.blocks)[index, : part.states.shape[1] - 1]
        drop = None if part.drop_h is None else part.drop_h[n : n + count]
        inputs = Inputs(source.reshape(-1, self.units))
        return self.memory.products.dropped(inputs, drop, len(inputs.rows), part.valid)

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


def _taken(blocks, mask):
    """Return blocks of the loop with 0 at the steps that were not taken, where they hold nothing."""
    return blocks if mask is None else np.where(mask[:, :, None], blocks, np.zeros((), blocks.dtype))


def _joined(parts, axis):
    """Return the parts' arrays in one; that of a single part as it is."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)


@lru_cache(maxsize=16)
def _positions_of(steps, batch, begin, end):
    """Return the positions t*B + b of some rows, step by step."""
    return np.arange(steps * batch).reshape(steps, batch)[:, begin:end].ravel()


def _of_part(to, steps, batch, part):
    """Return what is said of each position for those of a part that are not masked; None for its own place."""
    if part.rows == slice(0, batch):
        return to if to is None or part.valid is None else to[part.valid]
    place = _positions_of(steps, batch, part.rows.start, part.rows.stop)
    place = place if part.valid is None else place[part.valid]
    return place if to is None else to[place]


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
