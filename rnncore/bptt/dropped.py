"""The products with inputs of which dropout has left only some features: the others are not multiplied at all.

What is dropped is the same at all steps of a row of the batch. So positions come row by row, those of a row that have
the same input together, and a chunk holds some of one row, each input once. Otherwise as hoisted.py.
"""

from __future__ import annotations

import numpy as np

from ..compiler.jit import device_function
from ..compiler.workers import parallel_kernel
from ..kernels.rows import (
    add_kept_transposed_product,
    add_kept_weighted,
    add_row,
    add_sums,
    clear_columns,
    clear_row,
    clear_rows,
    copy_row,
    multiply_by,
    scale_row,
    scratch_of,
)
from .hoisted import CHUNK, columns_of

ASIDE = 16  # entries between two rows: of rows a power of two apart a column lies in a few places of a cache


@device_function
def _end_of_chunk(positions, first, end, batch):
    """Return the end of the chunk that begins with position `first`."""
    last = first + 1
    while last < min(end, first + CHUNK) and positions[last] % batch == positions[first] % batch:
        last += 1
    return last


@device_function
def _gather(scratch, item, rows, index, positions, first, last):
    """Put the inputs of some positions together, each once; fill in which each has, and return how many there are."""
    count, before = 0, -1
    for n in range(first, last):
        row = index[positions[n]] if index.shape[0] else positions[n]
        if row != before:
            copy_row(scratch[count, : rows.shape[1]], rows[row])
            count += 1
        item[n - first], before = count - 1, row
    return count


@device_function
def _gather_sums(scratch, item, dz, positions, first, last, c0, c1):
    """Put columns of the gradients of some positions together, those of positions with the same input added up."""
    before = -1
    for n in range(first, last):
        k = item[n - first]
        if k != before:
            copy_row(scratch[k], dz[positions[n], c0:c1])
        else:
            add_row(scratch[k], dz[positions[n], c0:c1])
        before = k


@device_function
def _find_kept(kept, drop):
    """Fill `kept` with the indices of the features that are not dropped; return how many there are."""
    count = 0
    for j in range(drop.shape[0]):
        kept[count] = j
        count += drop[j] != 0
    return count


@device_function
def _factor(drop):
    """Return what features that are not dropped are multiplied by: one number for all."""
    flat = drop.reshape(-1)
    for j in range(flat.shape[0]):
        if flat[j] != 0:
            return flat[j]
    return drop.dtype.type(1)


def _project(rows, index, drop, positions, weights, bias, out, begin, end):
    features, batch, factor = rows.shape[1], drop.shape[1], _factor(drop)
    inputs, kept = scratch_of(CHUNK, features, rows.dtype), np.empty(features, np.int64)
    results, item = scratch_of(CHUNK, out.shape[2], out.dtype), np.empty(CHUNK, np.int64)
    first = begin
    while first < end:
        last = _end_of_chunk(positions, first, end, batch)
        count = _gather(inputs, item, rows, index, positions, first, last)
        for g in range(out.shape[0]):
            left = _find_kept(kept, drop[g % drop.shape[0], positions[first] % batch])
            clear_rows(results, 0, count)
            add_kept_weighted(results, inputs, weights[g], 0, count, kept[:left])
            for n in range(first, last):
                scale_row(out[g, positions[n]], results[item[n - first]], factor, bias[g])
        first = last


def _weight_gradients(rows, index, drop, positions, dz, out, column, bias, begin, end):
    """Fill the columns from `begin` to `end` of all gates': each thread reads only its part of dz."""
    features, units, batch = rows.shape[1], dz.shape[2], drop.shape[1]
    inputs, kept = scratch_of(CHUNK, features + ASIDE, rows.dtype), np.empty(features, np.int64)
    outputs, chunk = scratch_of(CHUNK, units, dz.dtype).reshape(-1), np.empty(units, dz.dtype)
    item = np.empty(CHUNK, np.int64)
    clear_columns(out, column + begin, column + end)
    clear_row(bias[column + begin : column + end])
    first = 0
    while first < positions.shape[0]:
        last = _end_of_chunk(positions, first, positions.shape[0], batch)
        count = _gather(inputs, item, rows, index, positions, first, last)
        for g in range(begin // units, (end - 1) // units + 1):
            c0, c1 = columns_of(g, units, begin, end)
            gradient = outputs[: count * (c1 - c0)].reshape(count, c1 - c0)
            _gather_sums(gradient, item, dz[g], positions, first, last, c0, c1)
            left, own = _find_kept(kept, drop[g % drop.shape[0], positions[first] % batch]), column + g * units
            add_kept_transposed_product(out, inputs[:count], gradient, 0, left, own + c0, kept[:left])
            if bias.shape[0]:
                add_sums(bias[own + c0 : own + c1], gradient, chunk[: c1 - c0])
        first = last
    factor = _factor(drop)
    for i in range(features):
        multiply_by(out[i, column + begin : column + end], factor)


project, weight_gradients = (
    parallel_kernel(function, f"dropped.{function.__name__[1:]}") for function in (_project, _weight_gradients)
)
