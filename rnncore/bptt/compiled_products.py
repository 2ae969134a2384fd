"""The products that are hoisted out of the time loop, over all steps at once, as jobs for the threads.

N = T*B positions, step by step; D inputs, H units, G gates. Only the positions in `valid`, an array (M,) of int, or
None for all, are computed; what a result has elsewhere is left alone. A `Job` is done by `compiler.pool.run`, several
together.
"""

from __future__ import annotations

import numpy as np

from ..compiler.memory import aligned_empty
from ..compiler.pool import Job, done
from ..kernels.lookups import grouped
from . import dropped as of_dropped
from . import hoisted
from .run import Inputs

STRIP = 256  # bytes of a strip's rows: those of a tile of the widest registers
SPLIT = 128  # positions from which on it pays to put weights into strips


def dropped(inputs, drop, positions, valid) -> Inputs:
    """Return the inputs of so many positions with what is dropped of them."""
    if drop is None:
        return inputs
    return inputs._replace(drop=drop, order=_by_row(inputs, positions, drop.shape[1], valid))


def split(weight, gates, positions=None) -> Job:
    """The column blocks by gate of (D, G*H), in strips, to multiply so many positions: (G, S, D, columns of a strip).

    What strips are for: see `add_weighted` in kernels/rows.py. Where positions are few, one is as wide as a block, and
    the result a view.
    """
    units = weight.shape[1] // gates
    if positions is not None and positions < SPLIT:
        return done(weight.reshape(len(weight), gates, 1, units).transpose(1, 2, 0, 3))
    out = _strips(gates, len(weight), units, weight.dtype)
    return Job(hoisted.split, (weight, out), len(weight), 8 * weight.size, out)


def transposed(weight, gates) -> Job:
    """The same blocks transposed, as the backward pass multiplies with them: (G, S, H, columns of a strip)."""
    columns, rows = weight.shape
    out = _strips(gates, rows // gates, columns, weight.dtype)
    return Job(hoisted.transposed, (weight, out), rows, 32 * weight.size, out)


def _strips(gates, rows, columns, dtype):
    """Return memory for matrices in strips."""
    wide = min(columns, STRIP // dtype.itemsize)
    return aligned_empty((gates, -(-columns // wide), rows, wide), dtype)


def project(inputs, weights, bias, valid, out) -> Job:
    """``out[g] = x[g] @ weights[g] + bias[g]``: (G, N, H) from weights in strips, as of `split`, and bias (G, H).

    `out` may have more positions: those of the inputs are meant.
    """
    positions = inputs.rows if inputs.index is None else inputs.index
    count, index = len(positions if valid is None else valid), _indices(inputs.index)
    work = 2 * count * weights.size
    if inputs.drop is None:
        return Job(hoisted.project, (inputs.rows, index, weights, bias, _indices(valid), out), count, work, out)
    arrays = (inputs.rows, index, inputs.drop, inputs.order, weights, bias, out)
    return Job(of_dropped.project, arrays, count, work, out)


def weight_gradients(inputs, dz, valid, out, bias=None, column=0) -> Job:
    """``x[g].T @ dz[g]`` side by side in `out` (D, ...), G*H columns from `column` on, from dz (G, N, H).

    In the same columns of `bias` (...,), if there is one, ``dz[g]`` added up over the positions.
    """
    count, columns, index = _count(dz, valid), len(dz) * dz.shape[2], _indices(inputs.index)
    bias = np.empty(0, out.dtype) if bias is None else bias
    if inputs.drop is not None:
        dropped_arrays = (inputs.rows, index, inputs.drop, inputs.order, dz, out, column, bias)
        return Job(of_dropped.weight_gradients, dropped_arrays, columns, 2 * out.shape[0] * columns * count, out)
    by_row = inputs.comes_again(count)
    work = 2 * out.shape[0] * columns * (len(inputs.rows) if by_row else count)
    arrays = (inputs.rows, index, dz, _indices(valid), count, by_row, out, column, bias)
    return Job(hoisted.weight_gradients, arrays, columns, work, out)


def input_gradients(dz, transposed, drop, valid, to, out) -> Job:
    """``dz[g] @ transposed[g] * drop[g]`` added up over the gates, into `out` (n, D): of valid[n] in row to[n]."""
    count = _count(dz, valid)
    to, work = _indices(valid if to is None else to), 2 * count * transposed.size
    drop = np.empty((0, 0, 0), dz.dtype) if drop is None else drop
    arrays = (dz, transposed, drop, _indices(valid), to, out)
    return Job(hoisted.input_gradients, arrays, count, work, out)


def row_gradients(inputs, dz, transposed, valid) -> Job:
    """``dz[g] @ transposed[g]`` added up over the gates and over the positions of each of the rows, (n, D)."""
    out = aligned_empty(inputs.rows.shape, dz.dtype)
    arrays = (inputs.index, dz, transposed, _indices(valid), _count(dz, valid), out)
    return Job(hoisted.row_gradients, arrays, len(out), 2 * len(out) * transposed.size, out)


def _count(array, valid):
    """Return how many positions of an array (G, N, …) are computed."""
    return array.shape[1] if valid is None else len(valid)


def _by_row(inputs, positions, batch, valid):
    """Return `Inputs.order`."""
    row = np.arange(positions) % batch
    if inputs.index is not None and len(inputs.rows) < positions:
        row = row * len(inputs.rows) + inputs.index
    elif valid is None:
        return np.arange(positions).reshape(-1, batch).T.ravel()
    return grouped(row).order if valid is None else valid[grouped(row[valid]).order]


def _indices(positions):
    """Return indices, or an empty array for None: a kernel takes one type an argument."""
    return np.empty(0, np.int64) if positions is None else positions
