"""A run of a cell over a sequence: what it is given, and what it leaves: states, gradients, a look at each step.

T steps, B rows, N = T*B positions, step by step; D inputs, H units, G gates, S states, P recurrent products.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as SequenceOf
from typing import Any, NamedTuple

import numpy as np

from .plan import Plan


class Inputs(NamedTuple):
    """What is multiplied at each position l: ``rows[index[l]] * drop[g, l % B]``.

    Attributes
    ----------
    rows : ndarray of shape (n, D)
    index : ndarray of shape (N,), int, or None
        None: position l has row l.
    drop : ndarray of shape (G or 1, B, D) or None
        Dropout, constant over time; by gate where the gates have draws of their own. 0, or one factor for all.
    order : ndarray of shape (M,), int, or None
        Of what is dropped, for the compiled products: the positions that are computed, one row of the batch after the
        other, and of a row those with the same input together, which is multiplied once.
    """

    rows: np.ndarray
    index: np.ndarray | None = None  # type: ignore[assignment]  # not tuple's method
    drop: np.ndarray | None = None
    order: np.ndarray | None = None

    def comes_again(self, positions: int) -> bool:
        """Whether so many rows come again, whole, at several positions that each is better multiplied only once."""
        return self.index is not None and self.drop is None and 4 * len(self.rows) < 3 * positions


class Sequence(NamedTuple):
    """A sequence for a cell to run over.

    Attributes
    ----------
    inputs : Inputs
        Whole: `drop_x` says what is dropped of them.
    initial : ndarray of shape (S, B, H)
        The states before the first step.
    steps : int
        T.
    mask : ndarray of shape (T, B), bool, or None
        False: the step is not taken, the states are carried over.
    drop_x : ndarray of shape (G or 1, B, D) or None
        What the inputs are multiplied by, at all steps; by gate where each has a draw of its own.
    drop_h : ndarray of shape (P, B, H) or None
        What the recurrent products' sources are multiplied by, at all steps.
    changes : Changes, optional
        What is given another value in the steps: NumPy runs these.
    """

    inputs: Inputs
    initial: np.ndarray
    steps: int
    mask: np.ndarray | None = None
    drop_x: np.ndarray | None = None
    drop_h: np.ndarray | None = None
    changes: Any = None


class Run(ABC):
    """A run of a cell over a sequence; making one takes every step.

    Parameters
    ----------
    plan : Plan
    weights : dict of str to ndarray
        ``kernel`` (D, G*H), ``recurrent_kernel`` (H, G*H), the cell's extra ones (H, H), and if there is one ``bias``,
        (G*H,) or (2, G*H).
    sequence : Sequence
    kept : {"all", "states", "last"}
        "all" keeps what the reverse loop needs; otherwise only the states of every step, or of the last, are kept.
    training : bool
        Whether the reverse loop is going to follow.
    workspace : dict of str to ndarray
        Arrays of the run before, of which the memory is used again.
    """

    def __init__(
        self,
        plan: Plan,
        weights: dict[str, np.ndarray],
        sequence: Sequence,
        kept: str = "all",
        training: bool = False,
        workspace: dict[str, np.ndarray] | None = None,
    ):
        self.plan, self.weights, self.sequence, self.mask = plan, weights, sequence, sequence.mask

    @property
    @abstractmethod
    def last_states(self) -> np.ndarray:
        """The states after the last step, (S, B, H)."""

    @abstractmethod
    def outputs(self) -> np.ndarray:
        """Return the first state after each step, (T, B, H): memory of the run, perhaps."""

    @abstractmethod
    def backward(
        self,
        dh: np.ndarray | None,
        dlast: SequenceOf[np.ndarray | None] = (),
        bptt_steps: int | None = None,
        to: np.ndarray | None = None,
        size: int | None = None,
        of_rows: bool = False,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Run the reverse loop.

        Parameters
        ----------
        dh : ndarray of shape (n, B, H) or None
            What reaches the first state from outside, after each of the last n steps.
        dlast : sequence of ndarray of shape (B, H) or None
            What else reaches each state after the last step.
        bptt_steps : int, optional
            Truncation: the gradient is cut `bptt_steps` before the end, twice as many, and so on.
        to : ndarray of shape (T*B,), int, optional
            In which row of dx the gradient of each position stands, if it is not masked; default: in its own.
        size : int, optional
            How many rows dx has; default T*B.
        of_rows : bool
            Whether the gradients of each of the inputs' rows are added up; nothing may be dropped then.

        Returns
        -------
        dx : ndarray of shape (size, D)
            dL/dx, or dL/d(the inputs' rows), one a row.
        gradients : dict of str to ndarray
            Of the weights, by name.
        """

    @abstractmethod
    def parts(self) -> list[tuple[np.ndarray, ...]]:
        """Return for each part of the rows blocks and states, and after `backward` dblocks and dstates: see plan.py.

        Of the steps that were not taken blocks and dblocks have anything.
        """

    def state_gradients(self) -> list[np.ndarray]:
        """Return dL/d(initial state), one (B, H) a state, copies; none before `backward`."""
        first = [dstates[:, 0] for _, _, *gradients in self.parts() for dstates in gradients[1:]]
        return list(np.concatenate(first, axis=1)) if first else []

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return blocks and states of all rows, and after `backward` dblocks and dstates; 0 at steps not taken."""
        blocks, states, *gradients = (concatenated(arrays, 2) for arrays in zip(*self.parts(), strict=True))
        gradients[:1] = [self._taken(dblocks) for dblocks in gradients[:1]]
        return self._taken(blocks), states, *gradients

    def series(self) -> dict[str, np.ndarray]:
        """Return what happened at each step by name, each (T, B, H): gates (0 at masked steps), states, gradients."""
        blocks, states, *gradients = self.arrays()
        cell = self.plan.cell
        returned = {name for stage in cell.stages for name in stage.outputs}
        pairs = zip(self.plan.blocks, blocks, strict=True)
        found = {name: block for name, block in pairs if name in returned}
        found |= dict(zip(cell.states, states[:, 1:], strict=True))
        if gradients:
            dblocks, dstates = gradients
            found |= {f"d{name}": own for name, own in zip(cell.states, dstates[:, 1:], strict=True)}
            found |= {f"dz_{gate}": own for gate, own in zip(cell.gates, dblocks, strict=False)}
        return found

    def _taken(self, blocks):
        """Return blocks with 0 at the steps that were not taken."""
        return blocks if self.mask is None else np.where(self.mask[:, :, None], blocks, np.zeros((), blocks.dtype))


def concatenated(parts: SequenceOf[np.ndarray], axis: int) -> np.ndarray:
    """Return the parts' arrays in one; that of a single part as it is."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)
