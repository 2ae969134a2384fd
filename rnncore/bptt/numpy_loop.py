"""Backpropagation through time for any cell, in NumPy: the loop forward, the reverse loop, the weights' gradients.

lecture.py writes the same out for an LSTM. Here a `Plan` says which functions and products a cell has; masks, dropout
and truncation come in; any dtype will do, complex numbers included. It is what the compiled loop is tested against.

Sizes: T steps, B rows, D inputs, H units, G gates, P recurrent products. Time comes first: x is (T, B, D). plan.py says
what blocks, states and their gradients are.
"""

from __future__ import annotations

import numpy as np

from .plan import Location, Plan
from .run import Run, Sequence

# exp overflows where a sigmoid saturates, and some BLAS raise "invalid" for finite numbers
quiet = np.errstate(over="ignore", invalid="ignore")


@quiet
def forward(plan: Plan, weights: dict[str, np.ndarray], sequence: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Take every step; return blocks and states."""
    (S, B, H), T = sequence.initial.shape, sequence.steps
    blocks, recurrent = _input_parts(plan, weights, sequence), _recurrent(plan, weights)
    states = np.zeros((S, T + 1, B, H), blocks.dtype)
    arrays = {"blocks": blocks, "states": states}
    states[:, 0] = sequence.initial
    changes = sequence.changes

    for t in range(T):
        taken, idle = _rows(sequence.mask, t)
        for stage, products, inputs, outputs, _, _ in plan.stages:
            # z_g += (source * drop_n) @ recurrent_n
            for source, _, target, _, n in products:
                factor = _dropped(_read(arrays, source, t, taken), sequence.drop_h, n, taken)
                blocks[target, t, taken] += factor @ recurrent[n]
            given = [_read(arrays, location, t, taken) for location in inputs]
            values = stage.step(*given) if changes is None else changes.step(stage, t, taken, given)
            values = values if isinstance(values, tuple) else (values,)
            for (array, index, offset), value in zip(outputs, values, strict=True):
                arrays[array][index, t + offset, taken] = value
        states[:, t + 1, idle] = states[:, t, idle]
    return blocks, states


@quiet
def backward(
    plan: Plan,
    weights: dict[str, np.ndarray],
    sequence: Sequence,
    blocks: np.ndarray,
    states: np.ndarray,
    dstates: np.ndarray,
    bptt_steps: int | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Go back through every step, and return what that gives: `reverse`, then the gradients of x and of the weights.

    Returns
    -------
    dblocks : ndarray of shape (K', T, B, H)
    dx : ndarray of shape (T, B, D)
    gradients : dict of str to ndarray
        Of the weights, by name.
    """
    dblocks = reverse(plan, weights, sequence, blocks, states, dstates, bptt_steps)
    gradients = weight_gradients(plan, weights, sequence, blocks, states, dblocks)
    return dblocks, input_gradient(plan, weights, sequence, dblocks), gradients


@quiet
def reverse(
    plan: Plan,
    weights: dict[str, np.ndarray],
    sequence: Sequence,
    blocks: np.ndarray,
    states: np.ndarray,
    dstates: np.ndarray,
    bptt_steps: int | None = None,
) -> np.ndarray:
    """Run the reverse loop.

    Parameters
    ----------
    plan, weights, sequence
        As in `forward`.
    blocks, states : ndarray
        What it returned.
    dstates : ndarray of shape (S, T+1, B, H)
        What reaches the states from outside; filled in with dL/d(state), over all paths.
    bptt_steps : int, optional
        After so many steps, and again after as many, only what comes from outside goes on.

    Returns
    -------
    dblocks : ndarray of shape (K', T, B, H)
    """
    recurrent = _recurrent(plan, weights)
    dblocks = np.zeros((len(plan.dblocks), *blocks.shape[1:]), blocks.dtype)
    arrays = {"blocks": blocks, "states": states, "dblocks": dblocks, "dstates": dstates}
    T, outside, changes = sequence.steps, dstates.copy() if bptt_steps else dstates, sequence.changes

    for t in reversed(range(T)):
        taken, idle = _rows(sequence.mask, t)
        for stage, products, _, _, inputs, outputs in reversed(plan.stages):
            given = [_read(arrays, location, t, taken) for location in inputs]
            values = stage.step_backward(*given) if changes is None else changes.step_backward(stage, t, taken, given)
            values = values if isinstance(values, tuple) else (values,)
            for location, value in zip(outputs, values, strict=True):
                before = _read(arrays, location, t, taken) if plan.sums(location) else 0
                arrays[location.array][location.index, t + location.offset, taken] = before + value
            # dsource += (dz_g @ recurrent_n.T) * drop_n
            for _, (array, index, offset), _, dtarget, n in products:
                value = dblocks[dtarget, t, taken] @ recurrent[n].T
                arrays[array][index, t + offset, taken] += _dropped(value, sequence.drop_h, n, taken)
        dstates[:, t, idle] += dstates[:, t + 1, idle]
        if bptt_steps and t and (T - t) % bptt_steps == 0:
            dstates[:, t] = outside[:, t]
    return dblocks


def input_gradient(plan: Plan, weights: dict[str, np.ndarray], sequence: Sequence, dblocks: np.ndarray) -> np.ndarray:
    """Return dL/dx, (T, B, D), from the gradients of the pre-activations."""
    # dx = sum over g of (dz_g @ kernel_g.T) * drop_g
    kernels = _by_gate(plan, weights["kernel"])
    parts = (_dropped(dblocks[g] @ kernel.T, sequence.drop_x, g) for g, kernel in enumerate(kernels))
    return sum(parts, np.zeros((), dblocks.dtype))


def weight_gradients(
    plan: Plan,
    weights: dict[str, np.ndarray],
    sequence: Sequence,
    blocks: np.ndarray,
    states: np.ndarray,
    dblocks: np.ndarray,
    steps: slice = slice(None),
) -> dict[str, np.ndarray]:
    """Return the weights' gradients by name: the sum over all steps, or what some `steps` add to it."""
    # dkernel_g = sum over t of (x * drop_g).T @ dz_g
    x, dz = inputs_of(sequence)[steps], dblocks[:, steps]
    gates = range(len(plan.homes))
    columns = [_summed(_dropped(x, sequence.drop_x, g), dz[g]) for g in gates]
    # drecurrent_n = sum over t of (source * drop_n).T @ dz_n
    found, arrays = [], {"blocks": blocks, "states": states[:, :-1]}
    for (array, index, _), _, _, dtarget, n in plan.products:
        source = arrays[array][index, steps]
        found.append(_summed(_dropped(source, sequence.drop_h, n), dz[dtarget]))
    own, extra = found[: len(gates)], found[len(gates) :]
    gradients = {"kernel": np.concatenate(columns, axis=1), "recurrent_kernel": np.concatenate(own, axis=1)}
    gradients |= dict(zip(plan.cell.extra, extra, strict=True))
    # dbias_g = sum over t and rows of dz_g
    if "bias" in weights:
        parts = [dz[: len(gates)], dz[[plan.dtarget(gate) for gate in plan.cell.gates]]]
        sums = [part.sum(axis=(1, 2)).ravel() for part in parts[: 1 + plan.cell.split_bias]]
        gradients["bias"] = np.stack(sums).reshape(weights["bias"].shape)
    return gradients


@quiet
def preactivations(
    plan: Plan, weights: dict[str, np.ndarray], sequence: Sequence, blocks: np.ndarray, states: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what each step's functions are given of the products, by name, each (T, B, H).

    The loop writes a gate over its pre-activation: here it comes from the states that the gates have made.
    """
    parts, recurrent = _input_parts(plan, weights, sequence), _recurrent(plan, weights)
    arrays = {"blocks": blocks, "states": states[:, :-1]}
    for source, _, target, _, n in plan.products:
        parts[target] += _dropped(arrays[source.array][source.index], sequence.drop_h, n) @ recurrent[n]
    fed = [name for stage, *_ in plan.stages for name in stage.inputs if name[:2] in ("z_", "x_", "u_")]
    return {name: parts[plan.locations[name].index] for name in fed}


class NumpyRun(Run):
    """A run of a cell over a sequence by NumPy."""

    def __init__(self, plan, weights, sequence, kept="all", training=False, workspace=None):
        super().__init__(plan, weights, sequence)
        self.blocks, self.states = forward(plan, weights, sequence)
        self.gradients: tuple[np.ndarray, ...] = ()  # dblocks and dstates, after `backward`

    @property
    def last_states(self):
        return self.states[:, -1].copy()  # who gets them may write into them

    def outputs(self):
        return self.states[0, 1:]

    def backward(self, dh, dlast=(), bptt_steps=None, to=None, size=None, of_rows=False):
        self.gradients, dstates = (), np.zeros_like(self.states)  # a backward pass that fails leaves none
        if dh is not None:
            dstates[0, len(dstates[0]) - len(dh) :] = dh
        for state, outside in zip(dstates, dlast, strict=False):
            state[-1] += 0 if outside is None else outside
        forth = self.plan, self.weights, self.sequence, self.blocks, self.states
        dblocks, dx, gradients = backward(*forth, dstates, bptt_steps)
        self.gradients = dblocks, dstates
        dx, index = dx.reshape(-1, dx.shape[2]), self.sequence.inputs.index
        if of_rows:
            out = np.zeros(self.sequence.inputs.rows.shape, dx.dtype)
            np.add.at(out, index, dx)
            return out, gradients
        out = np.zeros((len(dx) if size is None else size, dx.shape[1]), dx.dtype)
        valid = slice(None) if self.mask is None else self.mask.ravel()
        out[valid if to is None else to[valid]] = dx[valid]
        return out, gradients

    def parts(self):
        return [(self.blocks, self.states, *self.gradients)]


def inputs_of(sequence: Sequence) -> np.ndarray:
    """Return the inputs of every step, (T, B, D)."""
    rows, index, _, _ = sequence.inputs
    x = rows if index is None else rows[index]
    return x.reshape(sequence.steps, -1, x.shape[1])


def _input_parts(plan: Plan, weights: dict[str, np.ndarray], sequence: Sequence) -> np.ndarray:
    """Return blocks, (K, T, B, H), with what the inputs and the biases give of the pre-activations at all steps."""
    x, (_, B, H) = inputs_of(sequence), sequence.initial.shape
    blocks = np.zeros((len(plan.blocks), sequence.steps, B, H), x.dtype)
    # z_g = (x * drop_g) @ kernel_g + bias_g
    for g, (home, kernel) in enumerate(zip(plan.homes, _by_gate(plan, weights["kernel"]), strict=True)):
        blocks[home] = _dropped(x, sequence.drop_x, g) @ kernel
    if "bias" in weights:
        biases = weights["bias"].reshape(-1, len(plan.homes), H)  # one a gate; with split_bias for its two products
        for which, bias in zip((plan.homes, plan.targets), biases, strict=False):
            for g, block in enumerate(which):
                blocks[block] += bias[g]
    return blocks


def _by_gate(plan: Plan, weight: np.ndarray) -> list[np.ndarray]:
    """Return the columns of each gate."""
    return np.split(weight, len(plan.homes), axis=1)


def _recurrent(plan: Plan, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the weight of each recurrent product, (H, H)."""
    return _by_gate(plan, weights["recurrent_kernel"]) + [weights[name] for name in plan.cell.extra]


def _dropped(x: np.ndarray, drop: np.ndarray | None, n: int, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
    """Return what dropout leaves of x, (…, rows, D): the n-th draw, or the only one."""
    return x if drop is None else x * drop[n % len(drop), rows]


def _summed(x: np.ndarray, dz: np.ndarray) -> np.ndarray:
    """Return the sum over steps and rows of x's outer product with dz: (D, H) from (T, B, D) and (T, B, H)."""
    return x.reshape(-1, x.shape[2]).T @ dz.reshape(-1, dz.shape[2])


def _rows(mask: np.ndarray | None, t: int):
    """Return indices of the rows that take step t, and of those that do not."""
    return (slice(None), slice(0)) if mask is None else (np.flatnonzero(mask[t]), np.flatnonzero(~mask[t]))


def _read(arrays: dict[str, np.ndarray], location: Location, t: int, rows: slice | np.ndarray) -> np.ndarray:
    return arrays[location.array][location.index, t + location.offset, rows]
