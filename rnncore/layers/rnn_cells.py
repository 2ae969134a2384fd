"""A cell with its weights and options, as a user sees it: one step by itself, or a whole sequence at once.

The time loops are in rnncore/bptt. Sizes: T steps, B rows, D inputs, H units, G gates. Time comes first here.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence as SequenceOf
from typing import Any, ClassVar

import numpy as np

from .. import config
from ..activations import Activation
from ..bptt.numpy_loop import NumpyRun
from ..bptt.plan import Plan
from ..bptt.run import Inputs, Run, Sequence
from ..cells import Cell
from ..configured import revived
from ..lock import locked
from .base import Layer, dropout_mask
from .checks import checked_array
from .options import OPTIONS, bound, signature_of, with_options


class RecurrentCell(Layer):
    """Base of the cells: weights and options around a cell's `equations`, which `layer_of` takes.

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
    implementation : {1, 2}
        Accepted; there is one.

    Attributes
    ----------
    kernel : ndarray of shape (D, G*H)
    recurrent_kernel : ndarray of shape (H, G*H)
    bias : ndarray of shape (G*H,), or (2, G*H) with a row for the recurrent part (GRU with reset_after), or None
    state_size : list of int
    state_gradients : list of ndarray of shape (B, H)
        dL/d(states given), from the last `backward`.
    draws : tuple of ndarray or None
        What the last call dropped: of the inputs, (G or 1, B, D), and of the recurrent products' sources, (P, B, H).
    """

    equations: ClassVar[Cell]
    __signature__: ClassVar[inspect.Signature]
    input_ranks = (2, 2)
    left_out = ("_cell", "_plan", "_run", "_workspace", "draws", "changing")
    draws: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    changing: Any = None  # (sequence, order of the rows) -> Changes: set by the study
    units: int
    activation: Activation
    use_bias: bool
    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: Any
    dropout: float
    recurrent_dropout: float
    seed: int | None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__signature__ = signature_of(cls, cls.equations, "cell")
        cls.__doc__ = with_options(cls.__doc__, RecurrentCell.__doc__)

    def __init__(self, *args: Any, **kwargs: Any):
        options = bound(type(self), args, kwargs)
        super().__init__(*(options.pop(name) for name in ("name", "dtype", "trainable")))
        for name, value in options.items():
            setattr(self, name, OPTIONS[name].checked(value, f"{self.name}: {name}"))
        self.generator = config.new_generator(self.seed)
        self._set_up()

    def _set_up(self) -> None:
        """Make what follows from the options, and is no part of a pickle: functions, and memory for runs."""
        cell = self.equations
        for name, other in cell.otherwise.items():
            cell = cell if getattr(self, name) else other
        self._cell = cell.with_activations(self.activation, getattr(self, "recurrent_activation", None))
        self._plan = Plan(self._cell)
        self._workspace: dict[str, np.ndarray] = {}
        self._run: Run | None = None

    def __setstate__(self, state):
        super().__setstate__(state)
        self._set_up()

    @property
    def plan(self) -> Plan:
        """The cell's equations, with its activations, and where each name in them lives in a run's arrays."""
        return self._plan

    @property
    def state_size(self) -> list[int]:
        """The size of each state."""
        return [self.units] * len(self._cell.states)

    def build(self, input_shape):
        H, columns, spec = self.units, len(self._cell.gates) * self.units, self._cell
        self.add_by_options("kernel", (input_shape[-1], columns))
        self.add_by_options("recurrent_kernel", (H, columns), "recurrent")
        for name in spec.extra:
            self.add_by_options(name, (H, H), "recurrent")
        if self.use_bias:
            shape = (2, columns) if spec.split_bias else (columns,)
            self.add_by_options("bias", shape)
            start = getattr(self, "unit_forget_bias", False)
            if start is not False:
                forget = spec.gates.index("f") * H
                self.bias[..., forget : forget + H] = start  # True is 1
        else:
            self.bias = None

    def columns_by_gate(self) -> dict[str, dict[str, slice]]:
        """Return for each gate by the weights' names which of their columns belong to it."""
        H, spec = self.units, self._cell
        shared = ["kernel", "recurrent_kernel", *(["bias"] if self.use_bias else [])]
        return {
            gate: dict.fromkeys(shared, slice(n * H, (n + 1) * H))
            | {name: slice(None) for name, product in spec.extra.items() if product.gate == gate}
            for n, gate in enumerate(spec.gates)
        }

    @property
    @locked
    def state_gradients(self) -> list[np.ndarray]:
        """dL/d(states given), from the last `backward`; none before."""
        self.check_caller("state_gradients")
        return [] if self._run is None else self._run.state_gradients()

    # --- one step ----------------------------------------------------------------------------------------------

    def __call__(  # type: ignore[override]
        self, x: Any, states: Any = None, training: bool = False
    ) -> tuple[np.ndarray, list[np.ndarray]]:
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
        initial = self.checked_states(states, len(x), f"{self.name}: states")
        after, _ = self.run(Sequence(Inputs(np.ascontiguousarray(x)), initial, 1), training)
        return [after[0].copy(), *after]

    def backward(self, dy: Any, dstates: SequenceOf[Any] | None = None) -> np.ndarray:
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
            count = "1 array" if len(given) == 1 else f"{len(given)} arrays"
            raise ValueError(f"{label} has {count}; expected {len(names)}: {', '.join(names)}")
        shape = (rows, self.units)
        return np.stack(
            [checked_array(state, f"{label}[{n}]", "float", self.dtype, shape) for n, state in enumerate(given)]
        )

    # --- a sequence --------------------------------------------------------------------------------------------

    def run(
        self,
        sequence: Sequence,
        training: bool,
        order: np.ndarray | None = None,
        kept: str = "all",
        outputs: bool = False,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Draw what is dropped and take every step of a sequence.

        `order` is the row of the batch that each row is: what is dropped of a row does not depend on the rows' order.
        `kept` as in `Run`; "all" leaves the run for `run_backward`.

        Returns
        -------
        states : ndarray of shape (S, B, H)
            After the last step.
        h : ndarray of shape (T, B, H) or None
            With `outputs` the first state after each step, which may be the cell's workspace.
        """
        self._run = None  # its arrays are used again
        rows, features = sequence.initial.shape[1], sequence.inputs.rows.shape[1]
        drops_any = training and (self.dropout or self.recurrent_dropout)
        self.draws = self._draw_dropout(rows, features) if drops_any else (None, None)
        drops = [drop if drop is None or order is None else drop.take(order, 1) for drop in self.draws]
        sequence = sequence._replace(drop_x=drops[0], drop_h=drops[1])
        # of the equations only: a weight that a subclass adds has a gradient that the subclass makes
        names = ["kernel", "recurrent_kernel", *self._cell.extra, *(["bias"] if self.use_bias else [])]
        weights = {name: getattr(self, name) for name in names}
        if self.changing is not None:
            sequence = sequence._replace(changes=self.changing(sequence, order))
        run = self._run_class()(self._plan, weights, sequence, kept, training, self._workspace)
        self._run = run if kept == "all" else None
        return run.last_states, run.outputs() if outputs else None

    def _run_class(self) -> type[Run]:
        """Return what runs the cell now: compiled, or NumPy.

        NumPy where asked for, where the cell mixes units, and where values in its steps are changed.
        """
        if self.changing is not None or not (self._cell.elementwise and config.compiles(self.dtype)):
            return NumpyRun
        from ..bptt.compiled_run import CompiledRun  # which imports numba

        return CompiledRun

    @property
    def last_run(self) -> Run:
        """What the last run left; ValueError if that is nothing."""
        if self._run is None:
            raise ValueError(
                f"{self.name}: there are no steps to look at or to go back through; call the layer first "
                "(evaluate and predict keep none)"
            )
        return self._run

    def run_backward(self, *arguments: Any, **options: Any) -> np.ndarray:
        """Run the reverse loop, fill `gradients`, and return dx: arguments as those of `Run.backward`."""
        dx, self.gradients = self.last_run.backward(*arguments, **options)
        return dx

    def _draw_dropout(self, rows, features):
        """Return the masks of the inputs and of the recurrent products' sources, None where nothing is dropped."""
        gates, extra = len(self._cell.gates), len(self._cell.extra)
        drop_x = drop_h = None
        if self.dropout:
            draws = gates if self.recurrent_dropout else 1
            drop_x = dropout_mask(self.dropout, (draws, rows, features), self.generator, self.dtype)
        if self.recurrent_dropout:
            drop_h = dropout_mask(self.recurrent_dropout, (gates, rows, self.units), self.generator, self.dtype)
            if extra:  # these multiply the carry, which is never dropped
                drop_h = np.concatenate([drop_h, np.ones((extra, rows, self.units), self.dtype)])
        return drop_x, drop_h


def dtype_of(cell: Layer, dtype: str | None) -> str:
    """Return the dtype of what is made of a cell: the cell's own, or raise ValueError if another one is asked for."""
    if dtype is not None and config.checked_dtype(dtype).name != cell.dtype:
        raise ValueError(f"dtype is {dtype!r}; the cell {cell.name} computes in {cell.dtype}: expected the same")
    return cell.dtype


class StackedRNNCells(Layer):
    """Cells on top of one another, as one cell: each one's output is the next one's input.

    Parameters
    ----------
    cells : sequence of RecurrentCell
        All of one dtype.
    name, dtype, trainable
        See `Layer`; `dtype` is that of the cells.
    """

    input_ranks = (2, 2)

    def __init__(
        self,
        cells: SequenceOf[RecurrentCell],
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
    ):
        cells = revived(list(cells))
        if not cells or not all(isinstance(cell, RecurrentCell) for cell in cells):
            raise TypeError(f"cells is {cells!r}; expected a list of RecurrentCell")
        if len({cell.dtype for cell in cells}) > 1:
            raise ValueError(f"cells have dtypes {[cell.dtype for cell in cells]}; expected the same")
        super().__init__(name, dtype_of(cells[0], dtype), trainable)
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

    @locked
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
        self.last_output = x
        return x, after

    @locked
    def backward(self, dy: Any, dstates: SequenceOf[Any] | None = None) -> np.ndarray:
        """Go back through the last step; as `RecurrentCell`, with a list of states' gradients a cell."""
        for cell, own in zip(reversed(self.cells), reversed(dstates or [None] * len(self.cells)), strict=True):
            dy = cell.backward(dy, own)
        return dy
