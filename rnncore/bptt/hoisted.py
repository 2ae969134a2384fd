"""The kernels of compiled_products.py, where nothing is dropped: each fills its result from row `begin` to row `end`.

Positions are taken a chunk at a time, so that what a chunk needs stays in the first caches. Where rows are looked up,
dropped or masked, a chunk is put together in scratch memory; else the arrays are used as they lie.
"""

from __future__ import annotations

import numpy as np

from ..compiler.jit import device_function
from ..compiler.workers import parallel_kernel
from ..kernels.rows import (
    add_multiplied_row,
    add_row,
    add_sums,
    add_transposed_product,
    add_weighted,
    clear_columns,
    clear_row,
    clear_rows,
    copy_row,
    scratch_of,
)

CHUNK = 256  # positions
SIDE = 16  # of a square of a weight: the lines of its rows fit into the few places of a cache that they may take


@device_function
def _position(valid, n):
    """Return the n-th position taken; `valid` is empty where all are, or none."""
    return valid[n] if valid.shape[0] else n


@device_function
def _gathered(scratch, rows, index, valid, first, count):
    """Put the rows of `count` positions together, and return them; what lies there already is not copied."""
    if index.shape[0] == 0 and valid.shape[0] == 0:
        return rows[first : first + count]
    for i in range(count):
        p = _position(valid, first + i)
        copy_row(scratch[i], rows[index[p] if index.shape[0] else p])
    return scratch[:count]


@device_function
def _scattered(out, scratch, to, first, count):
    """Put the rows of `count` positions where they belong."""
    for i in range(count):
        copy_row(out[to[first + i]], scratch[i])


def _split(weight, out, begin, end):
    gates, strips, wide = out.shape[0], out.shape[1], out.shape[3]
    units = weight.shape[1] // gates
    for i in range(begin, end):
        for g in range(gates):
            for s in range(strips):
                width = min(wide, units - s * wide)
                first = g * units + s * wide
                copy_row(out[g, s, i, :width], weight[i, first : first + width])


def _transposed(weight, out, begin, end):
    columns, units, wide, side = weight.shape[0], out.shape[2], out.shape[3], min(SIDE, out.shape[3])
    for first in range(0, columns, side):  # a square at a time stays in the first cache
        strip, c, last = first // wide, first % wide, min(first + side, columns)
        for row in range(begin, end, side):
            for j in range(row, min(row + side, end)):
                target = out[j // units, strip, j % units, c : c + last - first]
                for i in range(target.shape[0]):
                    target[i] = weight[first + i, j]


def _project(rows, index, weights, bias, valid, out, begin, end):
    inputs = scratch_of(CHUNK, rows.shape[1], rows.dtype)
    results = scratch_of(CHUNK, out.shape[2], out.dtype)
    for first in range(begin, end, CHUNK):
        count = min(CHUNK, end - first)
        taken = _gathered(inputs, rows, index, valid, first, count)
        for g in range(out.shape[0]):
            target = results[:count] if valid.shape[0] else out[g, first : first + count]
            for i in range(count):
                copy_row(target[i], bias[g])
            add_weighted(target, taken, weights[g], 0, count)
            if valid.shape[0]:
                _scattered(out[g], target, valid, first, count)


@device_function
def _by_row(index, valid, positions, rows):
    """Return the rows that are taken, the positions taken, one row's after the other's, and where each row's begin."""
    order, ends = np.empty(positions, np.int64), np.zeros(rows + 1, np.int64)
    for n in range(positions):
        ends[index[_position(valid, n)] + 1] += 1
    for row in range(rows):
        ends[row + 1] += ends[row]
    taken, starts, count = np.empty(rows, np.int64), np.empty(rows + 1, np.int64), 0
    for row in range(rows):
        taken[count], starts[count] = row, ends[row]
        count += ends[row] < ends[row + 1]
    starts[count] = positions
    for n in range(positions):
        p = _position(valid, n)
        order[ends[index[p]]] = p
        ends[index[p]] += 1
    return taken[:count], order, starts


@device_function
def columns_of(g, units, begin, end):
    """Return which columns of gate g lie between two of all gates' columns."""
    return max(begin - g * units, 0), min(end - g * units, units)


@device_function
def _added_up(scratch, dz, order, starts, first, count, c0, c1):
    """Put together, for `count` rows, what some columns of the gradients at its positions add up to."""
    for i in range(count):
        target = scratch[i]
        clear_row(target)
        for k in range(starts[first + i], starts[first + i + 1]):
            add_row(target, dz[order[k], c0:c1])


def _weight_gradients(rows, index, dz, valid, positions, by_row, out, column, bias, begin, end):
    """Fill the columns from `begin` to `end` of all gates': each thread reads only its part of dz."""
    features, units = rows.shape[1], dz.shape[2]
    inputs, outputs = scratch_of(CHUNK, features, rows.dtype), scratch_of(CHUNK, units, dz.dtype).reshape(-1)
    chunk = np.empty(units, dz.dtype)
    chosen, order, starts = _by_row(index, valid, positions if by_row else 0, rows.shape[0])
    clear_columns(out, column + begin, column + end)
    clear_row(bias[column + begin : column + end])
    items = chosen.shape[0] if by_row else positions
    for first in range(0, items, CHUNK):
        count = min(CHUNK, items - first)
        if by_row:
            taken = _gathered(inputs, rows, chosen, valid[:0], first, count)
        else:
            taken = _gathered(inputs, rows, index, valid, first, count)
        for g in range(begin // units, (end - 1) // units + 1):
            c0, c1 = columns_of(g, units, begin, end)
            gradient = outputs[: count * (c1 - c0)].reshape(count, c1 - c0)
            if by_row:
                _added_up(gradient, dz[g], order, starts, first, count, c0, c1)
            elif valid.shape[0] or c1 - c0 < units:
                for i in range(count):
                    copy_row(gradient[i], dz[g, _position(valid, first + i), c0:c1])
            else:
                gradient = dz[g, first : first + count]
            own = column + g * units
            add_transposed_product(out, taken, gradient, 0, features, own + c0)
            if bias.shape[0]:
                add_sums(bias[own + c0 : own + c1], gradient, chunk[: c1 - c0])


def _input_gradients(dz, transposed, drop, valid, to, out, begin, end):
    outputs = scratch_of(CHUNK, dz.shape[2], dz.dtype)
    results = scratch_of(CHUNK, out.shape[1], out.dtype)
    product = scratch_of(CHUNK if drop.shape[0] else 0, out.shape[1], out.dtype)
    for first in range(begin, end, CHUNK):
        count = min(CHUNK, end - first)
        target = results[:count] if to.shape[0] else out[first : first + count]
        clear_rows(target, 0, count)
        for g in range(dz.shape[0]):
            gradient = _gathered(outputs, dz[g], valid[:0], valid, first, count)
            if drop.shape[0] == 0:
                add_weighted(target, gradient, transposed[g], 0, count)
                continue
            clear_rows(product, 0, count)
            add_weighted(product, gradient, transposed[g], 0, count)
            for i in range(count):
                factor = drop[g % drop.shape[0], _position(valid, first + i) % drop.shape[1]]
                add_multiplied_row(target[i], product[i], factor)
        if to.shape[0]:
            _scattered(out, target, to, first, count)


def _row_gradients(index, dz, transposed, valid, positions, out, begin, end):
    outputs = scratch_of(CHUNK, dz.shape[2], dz.dtype)
    results = scratch_of(CHUNK, out.shape[1], out.dtype)
    chosen, order, starts = _by_row(index, valid, positions, out.shape[0])
    clear_rows(out, begin, end)
    first = 0
    while first < chosen.shape[0] and chosen[first] < begin:
        first += 1
    while first < chosen.shape[0] and chosen[first] < end:
        count = 1
        while count < CHUNK and first + count < chosen.shape[0] and chosen[first + count] < end:
            count += 1
        target, gradient = results[:count], outputs[:count]
        clear_rows(target, 0, count)
        for g in range(dz.shape[0]):
            _added_up(gradient, dz[g], order, starts, first, count, 0, dz.shape[2])
            add_weighted(target, gradient, transposed[g], 0, count)
        _scattered(out, target, chosen, first, count)
        first += count


split, transposed, project, weight_gradients, input_gradients, row_gradients = (
    parallel_kernel(function, function.__name__[1:])
    for function in (_split, _transposed, _project, _weight_gradients, _input_gradients, _row_gradients)
)
