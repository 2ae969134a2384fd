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
    x, kernels, recurrent = _by_gate(plan, weights, sequence)
    blocks = np.zeros((len(plan.blocks), T, B, H), x.dtype)
    states = np.zeros((S, T + 1, B, H), x.dtype)
    arrays = {"blocks": blocks, "states": states}
    states[:, 0] = sequence.initial

    # z_g = (x * drop_g) @ kernel_g + bias_g, for all steps at once
    for g, home in enumerate(plan.homes):
        blocks[home] = _dropped(x, sequence.drop_x, g) @ kernels[g]
    if "bias" in weights:
        biases = weights["bias"].reshape(-1, len(plan.homes), H)  # one a gate; with split_bias for its two products
        for which, bias in zip((plan.homes, plan.targets), biases, strict=False):
            for g, block in enumerate(which):
                blocks[block] += bias[g]

    for t in range(T):
        taken, idle = _rows(sequence.mask, t)
        for stage, products, inputs, outputs, _, _ in plan.stages:
            # z_g += (source * drop_n) @ recurrent_n
            for source, _, target, _, n in products:
                factor = _dropped(_read(arrays, source, t, taken), sequence.drop_h, n, taken)
                blocks[target, t, taken] += factor @ recurrent[n]
            values = stage.step(*[_read(arrays, location, t, taken) for location in inputs])
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
    """Go back through every step: the reverse loop.

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
    dx : ndarray of shape (T, B, D)
    gradients : dict of str to ndarray
        Of the weights, by name.
    """
    x, kernels, recurrent = _by_gate(plan, weights, sequence)
    dblocks = np.zeros((len(plan.dblocks), *blocks.shape[1:]), blocks.dtype)
    arrays = {"blocks": blocks, "states": states, "dblocks": dblocks, "dstates": dstates}
    T, outside = sequence.steps, dstates.copy() if bptt_steps else dstates

    for t in reversed(range(T)):
        taken, idle = _rows(sequence.mask, t)
        for stage, products, _, _, inputs, outputs in reversed(plan.stages):
            values = stage.step_backward(*[_read(arrays, location, t, taken) for location in inputs])
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

    # dkernel_g = sum over t of (x * drop_g).T @ dz_g
    # dx = sum over g of (dz_g @ kernel_g.T) * drop_g
    gates = range(len(plan.homes))
    columns = [_summed(_dropped(x, sequence.drop_x, g), dblocks[g]) for g in gates]
    dx = sum((_dropped(dblocks[g] @ kernels[g].T, sequence.drop_x, g) for g in gates), np.zeros((), x.dtype))
    # drecurrent_n = sum over t of (source * drop_n).T @ dz_n
    found = []
    for (array, index, _), _, _, dtarget, n in plan.products:
        source = arrays[array][index, :T]
        found.append(_summed(_dropped(source, sequence.drop_h, n), dblocks[dtarget]))
    own, extra = found[: len(gates)], found[len(gates) :]
    gradients = {"kernel": np.concatenate(columns, axis=1), "recurrent_kernel": np.concatenate(own, axis=1)}
    gradients |= dict(zip(plan.cell.extra, extra, strict=True))
    # dbias_g = sum over t and rows of dz_g
    if "bias" in weights:
        parts = [dblocks[: len(gates)], dblocks[[plan.dtarget(gate) for gate in plan.cell.gates]]]
        sums = [part.sum(axis=(1, 2)).ravel() for part in parts[: 1 + plan.cell.split_bias]]
        gradients["bias"] = np.stack(sums).reshape(weights["bias"].shape)
    return dblocks, dx, gradients


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

    def arrays(self):
        return [(self.blocks, self.states, *self.gradients)]


def _by_gate(plan: Plan, weights: dict[str, np.ndarray], sequence: Sequence):
    """Return x, (T, B, D); the kernel of each gate, (D, H); and of each recurrent product the weight, (H, H)."""
    rows, index, _, _ = sequence.inputs
    x = rows if index is None else rows[index]
    kernels, own = [np.split(weights[name], len(plan.homes), axis=1) for name in ("kernel", "recurrent_kernel")]
    return x.reshape(sequence.steps, -1, x.shape[1]), kernels, own + [weights[name] for name in plan.cell.extra]


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
