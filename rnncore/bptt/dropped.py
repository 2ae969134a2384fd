"""The products with inputs of which dropout has left only some features: the others are not multiplied at all.

What is dropped is the same at all steps of a row of the batch. So positions come row by row, those of a row that have
the same input together, and a chunk holds some of one row, each input once. Otherwise as hoisted.py.
"""

from __future__ import annotations

import numpy as np

from ..compiler.jit import part
from ..compiler.workers import shared
from ..kernels.rows import (
    add_picked_product,
    add_picked_turned_product,
    add_row,
    add_sums,
    clear_columns,
    clear_row,
    clear_rows,
    copy_row,
    multiply_by,
    scale_row,
)
from .hoisted import CHUNK, columns_of

ASIDE = 16  # entries between two rows: of rows a power of two apart a column lies in a few places of a cache


@part
def _end_of_chunk(positions, first, end, batch):
    """Return the end of the chunk that begins with position `first`."""
    last = first + 1
    while last < min(end, first + CHUNK) and positions[last] % batch == positions[first] % batch:
        last += 1
    return last


@part
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


@part
def _add_up(gradient, item):
    """Add up, in index, the rows of the positions that have the same input."""
    before = -1
    for i in range(gradient.shape[0]):
        k = item[i]
        if k != before and k != i:
            copy_row(gradient[k], gradient[i])
        elif k == before:
            add_row(gradient[k], gradient[i])
        before = k


@part
def _add_kept(picks, count, drop, first):
    """Put which features are not dropped, counted from `first`, behind `count` others; return how many are there."""
    for j in range(drop.shape[0]):
        picks[count] = first + j
        count += drop[j] != 0
    return count


@part
def _factor(drop):
    """Return what features that are not dropped are multiplied by: one number for all."""
    flat = drop.reshape(-1)
    for j in range(flat.shape[0]):
        if flat[j] != 0:
            return flat[j]
    return drop.dtype.type(1)


def _project(rows, index, drop, positions, weights, bias, out, begin, end):
    features, batch, factor = rows.shape[1], drop.shape[1], _factor(drop)
    inputs, picks = np.empty((CHUNK, features), rows.dtype), np.empty(features, np.int64)
    results, item = np.empty((CHUNK, out.shape[2]), out.dtype), np.empty(CHUNK, np.int64)
    first = begin
    while first < end:
        last = _end_of_chunk(positions, first, end, batch)
        count = _gather(inputs, item, rows, index, positions, first, last)
        for g in range(out.shape[0]):
            kept = _add_kept(picks, 0, drop[g % drop.shape[0], positions[first] % batch], 0)
            clear_rows(results, 0, count)
            add_picked_product(results, inputs, weights[g], 0, count, 0, picks[:kept])
            for n in range(first, last):
                scale_row(out[g, positions[n]], results[item[n - first]], factor, bias[g])
        first = last


def _weight_gradients(rows, index, drop, beside, beside_drop, positions, dz, out, column, bias, begin, end):
    """Fill the columns from `begin` to `end` of all gates': each thread reads only its part of dz.

    The features of `beside`, which has a row a position, come after those of `rows`.
    """
    own, units, batch = rows.shape[1], dz.shape[2], drop.shape[1]
    features = own + beside.shape[1]
    inputs, picks = np.empty((CHUNK, features + ASIDE), rows.dtype), np.empty(features, np.int64)
    outputs, chunk = np.empty(CHUNK * units, dz.dtype), np.empty(units, dz.dtype)
    item = np.empty(CHUNK, np.int64)
    clear_columns(out, column + begin, column + end)
    clear_row(bias[column + begin : column + end])
    first = 0
    while first < positions.shape[0]:
        last = _end_of_chunk(positions, first, positions.shape[0], batch)
        count, row = last - first, positions[first] % batch
        items = _gather(inputs, item, rows, index, positions, first, last)
        for i in range(count if beside.shape[0] else 0):
            copy_row(inputs[i, own:features], beside[positions[first + i]])
        for g in range(begin // units, (end - 1) // units + 1):
            c0, c1 = columns_of(g, units, begin, end)
            gradient = outputs[: count * (c1 - c0)].reshape(count, c1 - c0)
            for i in range(count):
                copy_row(gradient[i], dz[g, positions[first + i], c0:c1])
            place_of_g = column + g * units
            if beside_drop.shape[0]:
                kept = _add_kept(picks, 0, beside_drop[g % beside_drop.shape[0], row], own)
                add_picked_turned_product(out, inputs[:count], gradient, 0, kept, place_of_g + c0, picks[:kept])
            _add_up(gradient, item)
            gradient, kept = gradient[:items], _add_kept(picks, 0, drop[g % drop.shape[0], row], 0)
            add_picked_turned_product(out, inputs[:items], gradient, 0, kept, place_of_g + c0, picks[:kept])
            if bias.shape[0]:
                add_sums(bias[place_of_g + c0 : place_of_g + c1], gradient, chunk[: c1 - c0])
        first = last
    factor, beside_factor = _factor(drop), _factor(beside_drop)
    for i in range(features):
        multiply_by(out[i, column + begin : column + end], factor if i < own else beside_factor)


project, weight_gradients = (
    shared(function, f"dropped.{function.__name__[1:]}") for function in (_project, _weight_gradients)
)
