"""What a state owes to what came before: Jacobians between steps, exact, by the cell's own derivative.

Sizes: B rows, T steps, D inputs, H units, S states; N = S*H.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..bptt.numpy_loop import input_gradient, inputs_of, reverse
from ..bptt.run import Inputs, Run, Sequence
from ..configured import look_up
from ..layers.base import Layer
from ..layers.recurrent import RNN
from ..lock import locked
from .names import fed
from .passes import as_it_was, checked, recurrent_layer, single_cell
from .passes import run as run_pass

ROWS = 4096  # that a step goes back with at once


class Back(NamedTuple):
    """What many gradients of the states after a step, (S, B, n, H), become as they go back through it.

    Attributes
    ----------
    before : ndarray of shape (S, B, n, H)
        Those of the states before the step; of a row that masks it, as they came.
    after : ndarray of shape (S, B, n, H)
        Those of the states after it, over all paths: an LSTM's h shows c.
    dblocks : ndarray of shape (K', B, n, H)
    """

    before: np.ndarray
    after: np.ndarray
    dblocks: np.ndarray


class Steps:
    """The steps of a run without dropout, one by one: many gradients at once go back through each."""

    def __init__(self, run: Run):
        self.plan, self.weights, self.sequence = run.plan, run.weights, run.sequence
        blocks, states, *_ = run.arrays()
        self.blocks, self.states, self.x = blocks, states, inputs_of(run.sequence)
        self.count, (self.S, _, self.B, self.H) = self.sequence.steps, states.shape

    def back(self, t: int, gradients: np.ndarray) -> Back:
        """Take gradients of the states after step t, (S, B, n, H), back through it."""
        _, B, n, _ = gradients.shape
        found = [
            self._back(t, np.repeat(rows, n), gradients[:, rows].reshape(self.S, -1, self.H))
            for rows in np.array_split(np.arange(B), max(1, min(B, B * n // ROWS)))
        ]
        joined = (np.concatenate(parts, axis=-2) for parts in zip(*found, strict=True))
        return Back(*(array.reshape(*array.shape[:-2], B, n, array.shape[-1]) for array in joined))

    def _back(self, t, rows, gradients):
        mask, changes = self.sequence.mask, self.sequence.changes
        mask = None if mask is None else mask[t : t + 1, rows]
        changes = None if changes is None else changes.of_step(t, rows)
        step = Sequence(Inputs(self.x[t, rows]), self.states[:, t, rows], 1, mask, changes=changes)
        dstates = np.stack([np.zeros_like(gradients), gradients], axis=1)
        blocks, states = self.blocks[:, t : t + 1, rows], self.states[:, t : t + 2, rows]
        dblocks = reverse(self.plan, self.weights, step, blocks, states, dstates)
        return dstates[:, 0], dstates[:, 1], dblocks[:, 0]

    def inputs(self, back: Back) -> np.ndarray:
        """Return the gradients of x, (B, n, D)."""
        return input_gradient(self.plan, self.weights, self.sequence, back.dblocks)

    def identity(self, states: list[int]) -> np.ndarray:
        """Return a gradient of 1 for each unit of some states, (S, B, len(states)*H, H)."""
        ones = np.zeros((self.S, self.B, len(states), self.H, self.H), self.states.dtype)
        for n, state in enumerate(states):
            ones[state, :, n] = np.eye(self.H)
        return ones.reshape(self.S, self.B, -1, self.H)

    def factor(self, t: int) -> np.ndarray:
        """Return the Jacobian of all states after step t by all before it, (B, N, N)."""
        back = self.back(t, self.identity([*range(self.S)]))
        return np.moveaxis(back.before, 0, 2).reshape(self.B, self.S * self.H, -1)


def steps_of(model: Layer, x: Any, layer: str | None = None, mask: Any = None) -> tuple[RNN, Steps]:
    """Run a model, and return the recurrent layer that is meant and its steps."""
    chosen = recurrent_layer(model, layer)
    cell = single_cell(chosen)
    with as_it_was(model):
        run_pass(model, checked(model, x, mask=mask))
    return chosen, Steps(cell.last_run)


@locked
def jacobian(
    model: Layer,
    x: Any,
    of: str = "h",
    wrt: str = "h",
    step: int = -1,
    *,
    layer: str | None = None,
    mask: Any = None,
) -> np.ndarray:
    """Return how a state after one step depends on what was there at each step up to it.

    Parameters
    ----------
    model : Layer
        A recurrent layer, or a model: of several recurrent layers `layer` names one.
    x, mask
        As in `trace`.
    of : str
        A state: ``h``, ``c``.
    wrt : str
        A state, after each step; the other states of that step are held (wrt="h" holds c_t, wrt="c" holds h_t, which
        shows it). Or ``x``, or a pre-activation (``z_f``).
    step : int
        After which step `of` is; in x. Negative ones count from the end of the order taken: -1 is the step taken last,
        with go_backwards the first of x.

    Returns
    -------
    ndarray of shape (B, T, H, H)
        Entry [b, t, i, j] = ∂of_step[b, i] / ∂wrt_t[b, j]: the identity at t = step where `of` is `wrt`, 0 after it,
        NaN at masked steps. With wrt="x" of shape (B, T, H, D).

    Raises
    ------
    ValueError
        A name or a step that is not there, or several layers and none named.
    """
    chosen, steps = steps_of(model, x, layer, mask)
    states = {name: n for n, name in enumerate(steps.plan.cell.states)}
    inner = fed(steps.plan)
    look_up(of, states, "state", "of")
    look_up(wrt, dict.fromkeys([*states, "x", *inner]), "name", "wrt")
    end = place_of(step, steps.count, chosen.go_backwards)
    columns = steps.x.shape[2] if wrt == "x" else steps.H
    found = np.zeros((steps.count, steps.B, steps.H, columns), steps.states.dtype)
    gradients = steps.identity([states[of]])
    for t in reversed(range(end + 1)):
        back = steps.back(t, gradients)
        if wrt in states:
            found[t] = gradients[states[wrt]]
        else:
            found[t] = steps.inputs(back) if wrt == "x" else back.dblocks[steps.plan.gradients[f"d{wrt}"].index]
        gradients = back.before
    found = chosen.by_row(found)
    found[~chosen.valid_steps()] = np.nan
    return found


def place_of(step: int, count: int, backwards: bool) -> int:
    """Return the place, in the order taken, of a step of x; negative ones count in that order."""
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or not -count <= step < count:
        raise ValueError(f"step is {step!r}; there are {count}, from 0 to {count - 1}, and negative ones from the end")
    return int(step + count if step < 0 else count - 1 - step if backwards else step)


@locked
def step_jacobians(model: Layer, x: Any, *, layer: str | None = None, mask: Any = None) -> np.ndarray:
    """Return the factors of these products: at each step the Jacobian of all states after it by all before it.

    Returns
    -------
    ndarray of shape (B, T, N, N)
        N = S*H, the states' units one state after the other (h, then c). Steps in the order of x, NaN at masked ones.
    """
    chosen, steps = steps_of(model, x, layer, mask)
    found = chosen.by_row(np.stack([steps.factor(t) for t in range(steps.count)]))
    found[~chosen.valid_steps()] = np.nan
    return found


def singular_values(jacobians: np.ndarray) -> np.ndarray:
    """Return the singular values of matrices, (..., n, m) to (..., min(n, m)), the largest first; NaN of NaN."""
    return _of_each(jacobians, lambda found: np.linalg.svd(found, compute_uv=False), min(np.shape(jacobians)[-2:]))


def spectral_radius(jacobians: np.ndarray) -> np.ndarray:
    """Return the largest absolute eigenvalue of square matrices, (..., n, n) to (...); NaN of NaN."""
    return _of_each(jacobians, lambda found: np.abs(np.linalg.eigvals(found)).max(axis=-1, keepdims=True), 1)[..., 0]


def _of_each(matrices, function, size):
    matrices = np.asarray(matrices)
    if matrices.ndim < 2:
        raise ValueError(f"jacobians has shape {matrices.shape}; expected matrices in its last two axes")
    known = np.isfinite(matrices).all(axis=(-2, -1))
    found = np.full((*matrices.shape[:-2], size), np.nan, matrices.dtype)
    if known.any():
        found[known] = function(matrices[known])
    return found
