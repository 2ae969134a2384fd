"""What a run is given: a cell's inputs at every position, and all else that it goes by.

T steps, B rows, N = T*B positions, step by step; D inputs, H units, G gates, S states, P recurrent products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .changed import Changes


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
    changes: Changes | None = None
