"""Recurrent layers: sequences of a batch, in and out of a cell's time loop.

The loop takes arrays with time first, (T, B, …): steps in the order that they are taken, rows sorted by length where
there is a mask. x is not transposed for that: an index says which position of x each step of each row reads. At a
masked step the loop carries the states over, and the layer chooses the output. Sizes: T steps, B rows, D inputs, H
units.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence as SequenceOf
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ..bptt.run import Inputs, Sequence
from ..cells import Cell
from ..configured import revived
from ..lock import locked
from ..sparse import EmbeddedRows, SparseGradient
from .base import Layer
from .options import OPTIONS, bound, options_of, signature_of, with_options
from .rnn_cells import RecurrentCell, StackedRNNCells, dtype_of
from .scopes import keeps


class RNN(Layer):
    """A cell, or several on top of one another, run over a sequence.

    Parameters
    ----------
    cell : RecurrentCell, StackedRNNCells or list of RecurrentCell
        With several, each one's output is the next one's input, and all are held still at masked steps.
    return_sequences : bool
        Whether the output is that of every step, (B, T, H), or of the last, (B, H).
    return_state : bool
        Whether the call returns a list, the output and then the last states, each (B, H); with several cells a
        list of states a cell.
    go_backwards : bool
        Whether the steps are taken from the last to the first; outputs come in the order taken.
    stateful : bool
        Whether a batch starts from the last states of the batch before, until `reset_state`. The number of rows
        is fixed then, and no gradient goes back into the batch before.
    unroll : bool
        Accepted; the loop is compiled as it is.
    zero_output_for_mask : bool
        Whether masked steps output 0 instead of repeating the output before.
    bptt_steps : int, optional
        Truncated backpropagation: the gradient is cut `bptt_steps` before the end, twice as many before it, and
        so on; that of the last output goes back just that many steps (Williams & Peng, Neural Computation 2
        (1990)). Default: all the way.
    activity_regularizer : str, Regularizer or None
        Of the output.
    name, dtype, trainable
        See `Layer`.

    Attributes
    ----------
    cells : list of RecurrentCell
    states : list of ndarray of shape (B, H), or None
        With `stateful`, where the next batch starts: one a state (an LSTM's h, c), in the form that `initial_state`
        takes; with several cells a list a cell. None before the first call and after `reset_state`. May be set.
    state_gradients : list of ndarray of shape (B, H)
        dL/d(initial state), one a state, from the last `backward`; with several cells a list a cell.

    Notes
    -----
    A masked step copies the states and repeats the output. Steps masked before the first valid one output 0, as
    Keras does on TensorFlow, although the states carry the initial ones.

    Examples
    --------
    >>> layer = LSTM(4, return_sequences=True, return_state=True)
    >>> y, h, c = layer(np.ones((2, 5, 3)))  # two sequences of five steps, three numbers each
    >>> y.shape, c.shape
    ((2, 5, 4), (2, 4))
    >>> dx = layer.backward([np.ones_like(y), None, None])
    >>> sorted(layer.time_series())
    ['c', 'dc', 'dh', 'dz_f', 'dz_i', 'dz_k', 'dz_o', 'f', 'h', 'i', 'k', 'o']
    """

    input_ranks = (3, 3)
    takes_embedded_rows = True
    left_out = ("_embedded", "_index", "_order", "_shown")
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    zero_output_for_mask: bool
    bptt_steps: int | None
    _order: np.ndarray | None = None  # of the rows in the loop, from the last call

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        bptt_steps: int | None = None,
        use_cudnn: bool | str = "auto",
        activity_regularizer: Any = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
    ):
        options = dict(locals())
        del options["self"]
        self._set_up(options)

    def _set_up(self, options: dict[str, Any]) -> None:
        """Take the options of the layer; what is left of them makes the cell."""
        own = {name: options.pop(name) for name in options_of("layer")}
        asked = own["dtype"]
        super().__init__(*(own.pop(name) for name in ("name", "dtype", "trainable", "activity_regularizer")))
        for name, value in own.items():
            setattr(self, name, OPTIONS[name].checked(value, f"{self.name}: {name}"))
        self.cell = self.make_cell(options)
        self.dtype = dtype_of(self.cell, asked)
        self.cells: list[RecurrentCell] = self.cell.cells if isinstance(self.cell, StackedRNNCells) else [self.cell]
        self.kept_states: list[np.ndarray] | None = None  # (S, B, H) a cell

    def make_cell(self, options: dict[str, Any]) -> RecurrentCell | StackedRNNCells:
        """Return the cell, from the constructor's arguments that are not the layer's own."""
        cell = revived(options["cell"])
        if isinstance(cell, list):
            cell = StackedRNNCells(cell)
        if not isinstance(cell, (RecurrentCell, StackedRNNCells)):
            raise TypeError(
                f"{self.name}: cell is {cell!r}; expected a RecurrentCell, StackedRNNCells or a list of cells"
            )
        return cell

    def children(self):
        return self.cells

    def build(self, input_shape):
        shape = (None, input_shape[-1])
        for cell in self.cells:
            cell.ensure_built(shape)
            shape = (None, cell.units)

    def __call__(  # type: ignore[override]
        self, x: Any, mask: Any = None, training: bool = False, initial_state: Any = None
    ) -> Any:
        """Run the layer over a sequence.

        Parameters
        ----------
        x : array_like of shape (B, T, D)
        mask : array_like of shape (B, T), bool, optional
            False: the step is padding.
        training : bool
            Whether dropout drops.
        initial_state : array_like of shape (B, H), or a list of one a state, optional
            Default: zeros, or with `stateful` the states of the batch before. With several cells a list a cell.

        Returns
        -------
        ndarray of shape (B, H) or (B, T, H)
            With return_state a list: the output, then the last states.
        """
        return super().__call__(x, mask, training, initial_state=initial_state)

    def call(self, x, mask=None, training=False, initial_state=None):
        rows, steps, _ = x.shape
        self._order = order = _by_length(mask)
        back = None if order is None else np.argsort(order)
        self._index = index = _index(rows, steps, self.go_backwards)
        if order is not None:
            self._index = index = index[:, order]
        self._embedded = x if isinstance(x, EmbeddedRows) else None
        mask = None if mask is None else mask.reshape(-1)[index]
        if self._embedded is not None:
            inputs = Inputs(x.rows.astype(self.dtype, copy=False), x.inverse.reshape(-1)[index.reshape(-1)])
        else:
            inputs = Inputs(np.ascontiguousarray(x).reshape(rows * steps, -1), index.reshape(-1))
        ends = []
        for cell, initial in zip(self.cells, self._initial(initial_state, rows), strict=True):
            last = cell is self.cells[-1] and not self.return_sequences
            kept = "all" if training or keeps() else "last" if last else "states"
            sequence = Sequence(inputs, _ordered(initial, order, 1), steps, mask)
            states, h = cell.run(sequence, training, order, kept, outputs=not last)
            ends.append(_ordered(states, back, 1))
            inputs = None if last else Inputs(h.reshape(-1, cell.units))
        if self.stateful:
            self.kept_states = [end.copy() for end in ends]  # what is returned is the user's

        self._shown = None  # (T, B, 1): where the output is the state, and not 0
        h = h if self.return_sequences else states[:1]
        if mask is not None:
            shown = mask if self.zero_output_for_mask else np.logical_or.accumulate(mask, axis=0)
            self._shown = shown[-len(h) :, :, None]
            h = np.where(self._shown, h, np.zeros((), h.dtype))
        h = _ordered(h, back, 1)  # in the order taken, with go_backwards too
        y = h.swapaxes(0, 1).copy() if self.return_sequences else h[0].copy()  # h is the cell's workspace
        return [y, *self._by_cell([list(end) for end in ends])] if self.return_state else y

    def call_backward(self, dy):
        dy, *dlast = dy if self.return_state else [dy]
        dends = (dlast if len(self.cells) > 1 else [dlast]) if dlast else [()] * len(self.cells)
        dx = None
        if dy is not None:
            dx = _ordered(dy.swapaxes(0, 1) if self.return_sequences else dy[None], self._order, 1)
            dx = dx if self._shown is None else dx * self._shown
        for cell, dend in zip(reversed(self.cells), reversed(dends), strict=True):
            dend = [None if own is None else _ordered(own, self._order, 0) for own in dend]
            if cell is self.cells[0]:
                dx = self._input_gradient(cell, dx, dend)
            else:
                dx = cell.run_backward(dx, dend, self.bptt_steps).reshape(*self._index.shape, -1)
            cell.add_penalty_gradients()
        return dx

    def _input_gradient(self, cell, dy, dend):
        """Run the reverse loop of the first cell, and return dL/dx.

        Of look-ups it is a `SparseGradient`: an entry each look-up not masked, or, where they may be added up and no
        dropout stands between, an entry each row.
        """
        sequence, index, found = cell.last_run.sequence, self._index.reshape(-1), self._embedded
        if found is None:
            dx = cell.run_backward(dy, dend, self.bptt_steps, index)
            return dx.reshape(*self._index.shape[::-1], -1)
        if found.summed and sequence.drop_x is None:
            dx = cell.run_backward(dy, dend, self.bptt_steps, of_rows=True)
            return SparseGradient(found.first, dx, (index.size, dx.shape[1]))
        ids, to = found.every, index
        if sequence.mask is not None and not sequence.mask.all():  # each position's rank among those not masked
            ids, rank = np.sort(index[sequence.mask.reshape(-1)]), np.zeros_like(index)
            rank[ids] = np.arange(len(ids))
            to = rank[index]
        dx = cell.run_backward(dy, dend, self.bptt_steps, to, len(ids))
        return SparseGradient(ids, dx, (index.size, dx.shape[1]))

    @property
    @locked
    def state_gradients(self):
        self.check_caller("state_gradients")
        back = _inverse(self._order)
        return self._by_cell([[_ordered(own, back, 0) for own in cell.state_gradients] for cell in self.cells])

    def count_states(self) -> int:
        """Return how many entries a list of the layer's states has."""
        return len(self._by_cell([cell.state_size for cell in self.cells]))

    @property
    def states(self) -> list[Any] | None:
        return None if self.kept_states is None else self._by_cell([list(own) for own in self.kept_states])

    @states.setter
    def states(self, states: Any) -> None:
        if states is None:
            self.kept_states = None
            return
        rows = np.shape(states[0] if len(self.cells) == 1 else states[0][0])[0]
        self.kept_states = self._checked_initial(states, rows, "states")

    def reset_state(self) -> None:
        """Forget the states of the batch before (`stateful`): the next one starts from zeros."""
        self.kept_states = None

    def reset_states(self) -> None:
        """`reset_state`, by its older name."""
        self.reset_state()

    def _initial(self, given, rows):
        """Return the initial states, one array (S, B, H) a cell."""
        kept = self.kept_states
        if given is not None:
            return self._checked_initial(given, rows, "initial_state")
        if kept is None:
            return [cell.checked_states(None, rows, self.name) for cell in self.cells]
        if kept[0].shape[1] != rows:
            raise ValueError(
                f"{self.name}: x has {rows} rows, but the layer is stateful and its states have "
                f"{kept[0].shape[1]}; call reset_state() before a batch of another size"
            )
        return kept

    def _checked_initial(self, given, rows, label):
        labels = [f"{self.name}: {label}"]
        if len(self.cells) == 1:
            given = [given]
        elif not isinstance(given, (list, tuple)) or len(given) != len(self.cells):
            raise ValueError(f"{self.name}: {label} must be a list of {len(self.cells)}, a list of states a cell")
        else:
            labels = [f"{labels[0]}[{n}]" for n in range(len(given))]
        return [cell.checked_states(own, rows, name) for cell, own, name in zip(self.cells, given, labels, strict=True)]

    def _by_cell(self, states: list[Any]) -> list[Any]:
        """Return a list of states a cell as a user sees it: of a single cell without the outer list."""
        return states if len(self.cells) > 1 else states[0]

    def compute_mask(self, x, mask=None):
        return mask if self.return_sequences else None

    def compute_output_shape(self, input_shape: SequenceOf[int | None]):
        batch, steps, _ = input_shape
        units = self.cells[-1].units
        y = (batch, steps, units) if self.return_sequences else (batch, units)
        states = [[(batch, cell.units)] * len(cell.state_size) for cell in self.cells]
        return [y, *self._by_cell(states)] if self.return_state else y

    @locked
    def time_series(self) -> dict[str, np.ndarray]:
        """Return what the last call (and backward) did at each step, in the order of x.

        Returns
        -------
        dict of str to ndarray of shape (B, T, H)
            The gates, the states (``h``, ``c`` …) after each step and, after a `backward`, ``dh``, ``dc`` …: the
            gradient of the loss with respect to that state, over all its paths; plus ``dz_g`` for each gate. With
            several cells each name follows its cell's: ``lstm_cell_1.f``. A training step leaves them, too.

        Raises
        ------
        ValueError
            There was no call, or the last one was another thread's, or `evaluate`'s or `predict`'s, which keep no
            steps.
        """
        return {
            name: self.by_row(array)
            for cell in self.cells
            for name, array in self.by_cell(cell, cell.last_run.series()).items()
        }

    def by_row(self, array: np.ndarray) -> np.ndarray:
        """Return what the last call's loop has by step, (T, B, ...), by row and in the order of x: (B, T, ...)."""
        self.check_caller("time_series")
        array = _ordered(array[:: -1 if self.go_backwards else 1], _inverse(self._order), 1)
        return array.swapaxes(0, 1).copy()

    def by_cell(self, cell: RecurrentCell, series: dict[str, Any]) -> dict[str, Any]:
        """Return what a cell has by name by the layer's names: with several cells each follows its cell's."""
        return series if len(self.cells) == 1 else {f"{cell.name}.{name}": own for name, own in series.items()}

    @locked
    def valid_steps(self) -> np.ndarray:
        """Return which steps of the last call counted, bool of shape (B, T), in the order of x: all without a mask."""
        self.check_caller("valid_steps")
        mask = self.cells[0].last_run.mask
        valid = np.ones(self._index.shape[::-1], bool)
        if mask is not None:
            valid.reshape(-1)[self._index] = mask
        return valid


@lru_cache(maxsize=16)
def _index(rows: int, steps: int, backwards: bool) -> np.ndarray:
    """Return an array of shape (T, B): the flat position in x, (B, T, …), that each row reads at each step."""
    return np.arange(steps)[:: -1 if backwards else 1, None] + np.arange(rows) * steps


def _by_length(mask: np.ndarray | None) -> np.ndarray | None:
    """Return the indices that sort the rows by length, longest first; None where they are sorted.

    With padding on one side only the rows that take a step are then the first ones: the loop takes them in one go.
    """
    if mask is None:
        return None
    lengths = mask.sum(axis=1)
    return None if np.all(lengths[:-1] >= lengths[1:]) else np.argsort(-lengths, kind="stable")


def _ordered(array: np.ndarray, order: np.ndarray | None, axis: int) -> np.ndarray:
    """Return `array` with the rows along `axis` in the order of the indices; None: as they are."""
    return array if order is None else array.take(order, axis)


def _inverse(order: np.ndarray | None) -> np.ndarray | None:
    """Return the indices that undo an order."""
    return None if order is None else np.argsort(order)


class CellRNN(RNN):
    """Base of the layers that make their own cell: they take its options and the layer's.

    A layer of your own is a subclass with `cell_class`.
    """

    cell_class: ClassVar[type[RecurrentCell]]
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__signature__ = signature_of(cls, cls.cell_class.equations, "cell", "layer")
        cls.__doc__ = with_options(with_options(cls.__doc__, cls.cell_class.__doc__), RNN.__doc__)

    def __init__(self, *args: Any, **kwargs: Any):
        self._set_up(bound(type(self), args, kwargs))

    def make_cell(self, options):
        return self.cell_class(**options, name=self.name, dtype=self.dtype, trainable=self.trainable)

    def __getattr__(self, name: str) -> Any:
        # units, kernel, dropout …: what the cell has, the layer has
        if name.startswith("__") or "cell" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.cell, name)


def layer_of(equations: Cell, module: str | None = None) -> type[CellRNN]:
    """Return the layer of a cell of your own, a class; its `cell_class` is the public cell, which takes one step.

    Parameters
    ----------
    equations : Cell
        Its `name` is the layer's.
    module : str, optional
        Where the classes can be found by their names; default: where `step` stands.
    """
    where = {"__doc__": equations.about, "__module__": module or equations.stages[0].step.__module__}
    cell: Any = type(f"{equations.name}Cell", (RecurrentCell,), {"equations": equations, **where})
    layer: Any = type(equations.name, (CellRNN,), {"cell_class": cell, **where})
    if module is None:  # only the layer has a name there
        cell.__qualname__ = f"{equations.name}.cell_class"
    return layer
