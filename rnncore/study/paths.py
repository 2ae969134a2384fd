"""By which ways a gradient comes: along the carry line, from the output, through the gates; and of which steps.

Sizes: B rows, T steps, H units.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..bptt.numpy_loop import weight_gradients
from ..layers.base import Layer
from ..layers.recurrent import RNN
from ..lock import locked
from .jacobians import Steps
from .passes import as_it_was, checked, recurrent_layers, run, single_cell
from .weights import by_gate


class Paths(NamedTuple):
    """What adds up to dL/dc_t, each (B, T, H), steps in the order of x, NaN at masked steps.

    Attributes
    ----------
    line : ndarray
        Along the carry line: ``dc_{t+1} * f_{t+1}``, with all that had come together at t+1.
    output : ndarray
        Through h_t from what the layer put out at t (and at the masked steps that repeat it).
    gates : ndarray
        Through h_t from the gates of step t+1 (of a CarryRNN, whose gates read the carry, from c_t itself).
    line_only : ndarray
        What the forget gates alone would bring from the last step: no part of the sum.
    """

    line: np.ndarray
    output: np.ndarray
    gates: np.ndarray
    line_only: np.ndarray

    def __repr__(self) -> str:
        return f"<{', '.join(self._fields)}: each {self.line.shape}>"


@locked
def paths(
    model: Layer, x: Any, y: Any = None, *, sample_weight: Any = None, mask: Any = None, dy: Any = None
) -> dict[str, Paths]:
    """Return by which ways the gradient reaches the carry at each step.

    Parameters
    ----------
    model, x, y, sample_weight, mask, dy
        As in `trace`.

    Returns
    -------
    dict of str to Paths
        By layer: of those with a carry line (LSTM, CarryRNN).

    Raises
    ------
    ValueError
        No layer has one, or an LSTM's gradient was cut (``bptt_steps``).
    """
    layers = [layer for layer in recurrent_layers(model) if "c" in single_cell(layer).plan.cell.states]
    if not layers:
        raise ValueError(f"model: no recurrent layer of {model.name} has a carry line; LSTM and CarryRNN have one")
    with _outside(layers) as outside:
        _pass_back(model, x, y, sample_weight, mask, dy)
    return {layer.name: _paths(layer, outside[layer.name]) for layer in layers}


@contextmanager
def _outside(layers: list[Any]) -> Iterator[dict[str, np.ndarray | None]]:
    """Yield what reaches each layer's output from outside in a backward pass in the block, of its last steps."""
    found: dict[str, np.ndarray | None] = {}

    def noting(layer, run_backward):
        def noted(dh, *arguments, **options):
            found[layer.name] = dh
            return run_backward(dh, *arguments, **options)

        return noted

    cells = [layer.cells[0] for layer in layers]
    for layer, cell in zip(layers, cells, strict=True):
        cell.run_backward = noting(layer, cell.run_backward)
    try:
        yield found
    finally:
        for cell in cells:
            del cell.run_backward


def _pass_back(model, x, y, sample_weight, mask, dy):
    if y is None and dy is None:
        raise ValueError("y is None; a gradient needs y, or of a layer by itself dy")
    for layer in recurrent_layers(model):
        if layer.bptt_steps is not None:
            raise ValueError(f"{layer.name}: bptt_steps cuts the gradient, so that what reaches a step is not the sum")
    with as_it_was(model):
        run(model, checked(model, x, y, sample_weight, mask), dy=dy)


def _paths(layer: RNN, dh: np.ndarray | None) -> Paths:
    last = layer.cells[0].last_run
    steps, line = Steps(last), last.plan.cell.states.index("c")
    put_out = np.zeros((steps.count, steps.B, steps.H), steps.states.dtype)
    if dh is not None:
        put_out[steps.count - len(dh) :] = dh
    mask = np.ones((steps.count, steps.B), bool) if last.mask is None else last.mask
    zero = np.zeros((steps.B, steps.H), put_out.dtype)
    # what came from outside since the last step that counts; and what that sent back: to h, and to c along the line
    # and through its gates
    output, from_next, along, through, alone = zero, zero, zero, zero, zero
    ended = np.zeros(steps.B, bool)  # whether there was such a step
    found = np.zeros((4, steps.count, *zero.shape), zero.dtype)
    for t in reversed(range(steps.count)):
        output = output + put_out[t]
        gradients = np.zeros((steps.S, steps.B, 4, steps.H), zero.dtype)
        gradients[0, :, 0], gradients[0, :, 1] = output, from_next
        gradients[0, :, 2], gradients[line, :, 2] = output + from_next, along + through
        last_dc = steps.back(t, gradients).after[line, :, 2]
        alone = np.where(ended[:, None], alone, last_dc)
        gradients[line, :, 3] = alone
        back = steps.back(t, gradients)
        shown = back.after[line]
        found[:, t] = along, shown[:, 0], shown[:, 1] + through, alone
        # of what reaches c_{t-1}: the products' share, and the line's
        taken = mask[t][:, None]
        products = _through_products(steps, back.dblocks, line)
        output = np.where(taken, 0, output)
        from_next = np.where(taken, back.before[0, :, 2], from_next)
        along = np.where(taken, back.before[line, :, 2] - products[:, 2], along)
        through = np.where(taken, products[:, 2], through)
        alone = np.where(taken, back.before[line, :, 3] - products[:, 3], alone)
        ended |= mask[t]
    arrays = [layer.by_row(own) for own in found]
    for array in arrays:
        array[~layer.valid_steps()] = np.nan
    return Paths(*arrays)


def _through_products(steps: Steps, dblocks: np.ndarray, state: int) -> np.ndarray:
    """Return what recurrent products send back to a state before the step, (B, n, H)."""
    found = np.zeros(dblocks.shape[1:], dblocks.dtype)
    for product in steps.plan.products:
        if product.dsource == ("dstates", state, 0):
            found += (
                dblocks[product.dtarget]
                @ steps.weights[list(steps.plan.cell.extra)[product.weight - len(steps.plan.homes)]].T
            )
    return found


@locked
def terms(
    model: Layer, x: Any, y: Any = None, *, sample_weight: Any = None, mask: Any = None, dy: Any = None
) -> dict[str, dict[str, np.ndarray]]:
    """Return the lecture's sum over positions: what each step adds to the gradient of each weight.

    Parameters
    ----------
    model, x, y, sample_weight, mask, dy
        As in `trace`.

    Returns
    -------
    dict of str to dict of str to ndarray of shape (T, ...)
        By layer and weight, steps in the order of x: ``terms["lstm"]["kernel"][t]`` is ``x_t.T @ dz_t``, added up
        over the rows; 0 where all mask the step. The sum over the first axis is the gradient of the weight, without
        what regularizers add.
    """
    _pass_back(model, x, y, sample_weight, mask, dy)
    return {layer.name: _terms(layer) for layer in recurrent_layers(model)}


def _terms(layer: RNN) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for cell in layer.cells:
        last = cell.last_run
        blocks, states, dblocks, _ = last.arrays()
        steps = range(last.sequence.steps)[:: -1 if layer.go_backwards else 1]
        parts = [
            weight_gradients(last.plan, last.weights, last.sequence, blocks, states, dblocks, slice(t, t + 1))
            for t in steps
        ]
        found |= layer.by_cell(cell, {name: np.stack([part[name] for part in parts]) for name in parts[0]})
    return found


@locked
def gate_shares(
    model: Layer, x: Any, y: Any = None, *, sample_weight: Any = None, mask: Any = None, dy: Any = None
) -> dict[str, dict[str, float]]:
    """Return each gate's share of the gradient: of the sum of the squares over all weights of the layer.

    Returns
    -------
    dict of str to dict of str to float
        By layer and gate; a layer's add up to 1 (or are 0 where nothing comes back).
    """
    found = {}
    _pass_back(model, x, y, sample_weight, mask, dy)
    for layer in recurrent_layers(model):
        squares = {
            name: sum(float(np.sum(np.square(array, dtype=np.float64))) for array in own.values())
            for cell in layer.cells
            for name, own in layer.by_cell(cell, by_gate(cell, cell.gradients)).items()
        }
        total = sum(squares.values()) or 1.0
        found[layer.name] = {name: square / total for name, square in squares.items()}
    return found
