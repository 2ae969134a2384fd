"""A run of a cell over a sequence by compiled code: which kernels run, on which arrays, on which thread.

What it computes is what numpy_loop.py does. All products but the recurrent ones are hoisted out of the loop:
``x @ kernel + bias`` for all steps before it, the weights' gradients after it. Where inputs come again (words in a
batch of reviews) each is multiplied once. The rows of a batch are kept in two parts with arrays of their own, one for
each of two threads.

Sizes: T steps, B rows, D inputs, H units, G gates. Time comes first.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from ..compiler.memory import aligned_empty
from ..compiler.pool import begin, done, run, run_apart
from . import compiled_products as products
from .compiled_loop import loop
from .run import Inputs, Run, concatenated

POSITIONS = 256  # whose input parts are there at the same time where only states are kept


class Part(NamedTuple):
    """What a run leaves of some rows of the batch; see plan.py for the arrays' shapes."""

    rows: slice
    inputs: Inputs
    blocks: np.ndarray
    states: np.ndarray
    drop_h: np.ndarray | None  # (P, B, H)
    mask: np.ndarray | None  # (T, B)
    valid: np.ndarray | None  # (M,), the positions t*B + b that are not masked


class CompiledRun(Run):
    """A run of a cell over a sequence by compiled code."""

    def __init__(self, plan, weights, sequence, kept="all", training=False, workspace=None):
        super().__init__(plan, weights, sequence)
        self._workspace, self._backs = {} if workspace is None else workspace, []
        (_, B, self._units), T = sequence.initial.shape, sequence.steps
        self.dtype, self._loop, inputs, mask = sequence.initial.dtype, loop(plan.cell), sequence.inputs, sequence.mask
        kernel, recurrent = weights["kernel"], weights["recurrent_kernel"]
        if plan.cell.extra:
            recurrent = np.concatenate([recurrent, *(weights[name] for name in plan.cell.extra)], axis=1)
        split = begin(products.split(kernel, len(plan.homes), T * B), self._loop.prepared(recurrent, B))
        bias, apart = self._biases()

        count = T * B if mask is None else np.count_nonzero(mask)
        by_row = sequence.drop_x is None and inputs.comes_again(count)
        parts = self._loop.parts(B, mask)
        at_once = by_row and not apart  # the loop takes all steps in one go: nothing is put into its blocks before
        together = T  # steps whose blocks are there at the same time: few stay in the caches
        if kept != "all" and at_once:
            together = 1
        elif kept != "all" and plan.homes == [*range(len(plan.homes))]:
            together = min(T, max(1, POSITIONS // (parts[0].stop - parts[0].start)))
        slots = together, 2 if kept == "last" else T + 1
        self._parts, jobs, projected, index = [], [], None, None
        for rows in parts:
            part = self._part(rows, slots)
            part.states[:, 0] = sequence.initial[:, rows]
            self._parts.append(part)
        kernels, recurrents = split()
        if by_row:
            projected = self._array("projected", len(plan.homes), len(inputs.rows), self._units)
            run(products.project(Inputs(inputs.rows), kernels, bias, None, projected))
        chunk = T if at_once else together
        for part in self._parts:
            index = part.inputs.index.reshape(T, -1) if by_row else None
            arrays = part.blocks, part.states, recurrents, part.drop_h, part.mask, projected, index
            stages = []
            for first in range(0, T, chunk):
                end = min(first + chunk, T)
                started = [] if by_row else [self._projection(part, kernels, bias, first, end)]
                started += [self._filled(part, target, value, first, end) for target, value in apart.items()]
                stages += [started, [self._loop.forward(*arrays, training, first, end)]]
            jobs.append(stages)
        run_apart(*jobs)
        self._last = T % slots[1]
        if kept == "all":  # the other thread transposes the weights while this one goes on
            both = products.transposed(kernel, len(plan.homes)), products.transposed(recurrent, len(plan.products))
            self._transposed = begin(*both) if training else partial(run, *both)

    @property
    def last_states(self):
        return np.concatenate([part.states[:, self._last] for part in self._parts], axis=1)

    def outputs(self):
        return concatenated([part.states[0, 1:] for part in self._parts], 1)

    def parts(self):
        gradients = self._backs or [()] * len(self._parts)
        return [(part.blocks, part.states, *own) for part, own in zip(self._parts, gradients, strict=True)]

    def backward(self, dh, dlast=(), bptt_steps=None, to=None, size=None, of_rows=False):
        self._backs, parts, gates = [], self._parts, len(self.plan.homes)  # the arrays of _backs are used again
        T, (_, B, _), D = self.sequence.steps, self.sequence.initial.shape, self.sequence.inputs.rows.shape[1]
        fresh = T if dh is None else T + 1 - len(dh)
        kernels, recurrent = self._transposed()
        backs, arrays = [], []
        for n, part in enumerate(parts):
            dblocks = self._array(f"dblocks{n}", len(self.plan.dblocks), *part.blocks.shape[1:])
            dstates = self._array(f"dstates{n}", *part.states.shape)
            dstates[:, fresh:] = 0
            if dh is not None:
                dstates[0, fresh:] = dh[:, part.rows]
            for own, outside in zip(dstates, dlast, strict=False):
                if outside is not None:
                    own[-1] += outside[part.rows]
            backs.append((dblocks, dstates))
            arrays.append((part.blocks, part.states, recurrent, part.drop_h, part.mask, dblocks, dstates, fresh))
        end = T
        while bptt_steps is not None and end > bptt_steps:
            first = end - bptt_steps
            outside = [dstates[:, first].copy() if first >= fresh else 0 for _, dstates in backs]
            run(*(self._loop.backward(*own, first, end) for own in arrays))
            for (_, dstates), came in zip(backs, outside, strict=True):
                dstates[:, first] = came
            end = first

        # z_g = (x * drop) @ kernel_g + (source * drop) @ recurrent_g + bias_g, over all steps at once
        entries = sum(weight.size for weight in self.weights.values())
        size = T * B if size is None else size
        sums = [
            aligned_empty((entries,), self.dtype),
            *(self._array(f"sums{n}", entries) for n in range(1, len(parts))),
        ]
        taken = T * B if self.mask is None else sum(len(part.valid) for part in parts)
        dx = None if of_rows else aligned_empty((size, D), self.dtype)
        if dx is not None and taken < size:
            dx[...] = 0
        jobs = []
        for part, (dblocks, _), own, flat in zip(parts, backs, arrays, sums, strict=True):
            back, dz = self._loop.backward(*own, 0, end), dblocks[:gates].reshape(gates, -1, self._units)
            if of_rows:
                to_inputs = products.row_gradients(part.inputs, dz, kernels, part.valid)
            else:
                index = _of_part(to, T, B, part)
                to_inputs = products.input_gradients(dz, kernels, part.inputs.drop, part.valid, index, dx)
            jobs.append([[back], [to_inputs, *self._weight_gradients(part, dblocks, flat)]])
        run_apart(*jobs)
        if of_rows:
            dx, *others = (to_inputs.out for _, (to_inputs, *_) in jobs)
            for other in others:
                dx += other
        for other in sums[1:]:
            sums[0] += other
        self._backs = backs
        return dx, self._gradients_in(sums[0])

    def _part(self, rows, slots):
        """Return where the run of some rows of the batch begins: with arrays of their own."""
        _, initial, T, mask, *drops, _ = self.sequence
        batch, count, inputs, n = initial.shape[1], rows.stop - rows.start, self.sequence.inputs, len(self._parts)
        if count < batch:
            drops = [None if drop is None else np.ascontiguousarray(drop[:, rows]) for drop in drops]
            mask = None if mask is None else np.ascontiguousarray(mask[:, rows])
            inputs = inputs._replace(index=_of_rows(inputs.index, T, batch, rows))
        drop_x, drop_h = drops
        valid = None if mask is None else np.flatnonzero(mask)
        blocks = self._array(f"blocks{n}", len(self.plan.blocks), slots[0], count, self._units)
        states = self._array(f"states{n}", len(initial), slots[1], count, self._units)
        return Part(rows, products.dropped(inputs, drop_x, T * count, valid), blocks, states, drop_h, mask, valid)

    def _projection(self, part, kernels, bias, first, end):
        """Return the job that puts the gates' input parts of some steps where the loop looks for them."""
        homes, rows = self.plan.homes, part.blocks.shape[2]
        inputs, valid = _of_steps(part, first, end)
        if homes == [*range(homes[0], homes[0] + len(homes))]:
            out = part.blocks[homes[0] : homes[-1] + 1].reshape(len(homes), -1, self._units)
            return products.project(inputs, kernels, bias, valid, out)
        out = aligned_empty((len(homes), (end - first) * rows, self._units), self.dtype)
        run(products.project(inputs, kernels, bias, valid, out))
        part.blocks[homes] = out.reshape(len(homes), -1, rows, self._units)
        return done(out)

    def _filled(self, part, target, value, first, end):
        """Return the job that starts a recurrent part that is kept apart, at some steps, with its bias."""
        out = part.blocks[target].reshape(1, -1, self._units)
        nothing = Inputs(np.empty(((end - first) * part.blocks.shape[2], 0), self.dtype))
        return products.project(nothing, np.empty((1, 1, 0, self._units), self.dtype), value[None], None, out)

    def _biases(self):
        """Return the bias of each gate's input part, (G, H), and what starts recurrent parts that are kept apart."""
        plan, gates = self.plan, len(self.plan.homes)
        given = self.weights.get("bias")
        if given is not None and plan.homes == plan.targets and given.ndim == 1:
            return given.reshape(gates, -1), {}
        bias = np.zeros((2, gates, self._units), self.dtype)
        if given is not None:
            bias[: given.ndim] = given.reshape(-1, gates, self._units)
        joined = np.array([target == home for target, home in zip(plan.targets, plan.homes, strict=True)])
        apart = {target: bias[1, n] for n, target in enumerate(plan.targets) if not joined[n]}
        return bias[0] + bias[1] * joined[:, None].astype(self.dtype), apart

    def _gradients_in(self, flat):
        """Return the gradients that lie in a flat array, by name, in the weights' order."""
        found, begin = {}, 0
        for name, weight in self.weights.items():
            found[name] = flat[begin : begin + weight.size].reshape(weight.shape)
            begin += weight.size
        return found

    def _weight_gradients(self, part, dblocks, flat):
        """Return the jobs that put the weights' gradients of some rows into a flat array."""
        plan, gates, gradients = self.plan, len(self.plan.homes), self._gradients_in(flat)
        columns, extra = gates * self._units, [*plan.cell.extra]
        dz = dblocks[:gates].reshape(gates, -1, self._units)
        bias, *own_bias = gradients["bias"].reshape(-1, columns) if "bias" in gradients else [None]
        jobs = [products.weight_gradients(part.inputs, dz, part.valid, gradients["kernel"], bias)]
        for together in plan.together:
            n, dtarget, count = together[0].weight, together[0].dtarget, len(together)
            if n < gates:
                where = gradients["recurrent_kernel"], *(own_bias or [None]), n * self._units
            else:
                where = (gradients[extra[n - gates]],)
            dz = dblocks[dtarget : dtarget + count].reshape(count, -1, self._units)
            jobs.append(products.weight_gradients(self._sources(part, together), dz, part.valid, *where))
        return jobs

    def _sources(self, part, together):
        """Return what recurrent products that are taken together multiply, at all positions of a part."""
        (array, index, _), n, count = together[0].source, together[0].weight, len(together)
        source = (part.states if array == "states" else part.blocks)[index, : part.states.shape[1] - 1]
        drop = None if part.drop_h is None else part.drop_h[n : n + count]
        inputs = Inputs(source.reshape(-1, self._units))
        return products.dropped(inputs, drop, len(inputs.rows), part.valid)

    def _array(self, name, *shape):
        """Return an array of the workspace, to be filled: large fresh arrays cost time."""
        size, array = math.prod(shape), self._workspace.get(name)
        if array is None or array.size < size or array.dtype != self.dtype:
            self._workspace[name] = array = None  # what is left goes before more is taken
            self._workspace[name] = array = aligned_empty((size,), self.dtype)
        return array[:size].reshape(shape)


def _of_rows(index, steps, batch, rows):
    """Return what is said of each position, step by step, for those of some rows; None says of each its number."""
    index = np.arange(steps * batch) if index is None else index
    return index.reshape(steps, batch)[:, rows].ravel()


def _of_steps(part, first, end):
    """Return the inputs of some steps of a part, and which of their positions are not masked."""
    rows, inputs, valid = part.blocks.shape[2], part.inputs, part.valid
    begin, stop = first * rows, end * rows
    if valid is not None:
        valid = valid[slice(*np.searchsorted(valid, (begin, stop)))] - begin
    if inputs.index is not None:
        return inputs._replace(index=inputs.index[begin:stop]), valid
    return inputs._replace(rows=inputs.rows[begin:stop]), valid


def _of_part(to, steps, batch, part):
    """Return what is said of each position for those of a part that are not masked; None for its own place."""
    if part.rows != slice(0, batch):
        to = _of_rows(to, steps, batch, part.rows)
    return to if to is None or part.valid is None else to[part.valid]
