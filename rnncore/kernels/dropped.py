"""The products with inputs of which dropout has left only some features: the others are not multiplied at all.

What is dropped is the same at all steps of a row of the batch. So positions come row by row, and a chunk holds some of
one row. Otherwise as hoisted.py.
"""

from __future__ import annotations

import numpy as np

from .._crew import shared
from .._jit import kernel
from .hoisted import CHUNK, columns_of
from .rows import (
    add_picked_product,
    add_picked_turned_product,
    add_product,
    add_sums,
    clear_columns,
    clear_row,
    clear_rows,
    copy_row,
    multiply_row,
)


@kernel
def _end_of_chunk(positions, first, end, batch):
    """Return the end of the chunk that begins with position `first`."""
    last = first + 1
    while last < min(end, first + CHUNK) and positions[last] % batch == positions[first] % batch:
        last += 1
    return last


@kernel
def _gather(scratch, rows, place, positions, first, last):
    """Put the rows of some positions together."""
    for n in range(first, last):
        p = positions[n]
        copy_row(scratch[n - first], rows[place[p] if place.shape[0] else p])


@kernel
def _kept(picks, drop):
    """Fill in which features are not dropped, and return them."""
    count = 0
    for j in range(drop.shape[0]):
        if drop[j] != 0:
            picks[count] = j
            count += 1
    return picks[:count]


def _project(rows, place, drop, positions, weights, bias, out, begin, end):
    features, batch = rows.shape[1], drop.shape[1]
    inputs, scaled = np.empty((CHUNK, features), rows.dtype), np.empty((CHUNK, features), rows.dtype)
    results, picks = np.empty((CHUNK, out.shape[2]), out.dtype), np.empty(features, np.int64)
    first = begin
    while first < end:
        last = _end_of_chunk(positions, first, end, batch)
        count = last - first
        _gather(inputs, rows, place, positions, first, last)
        for g in range(out.shape[0]):
            left = drop[g % drop.shape[0], positions[first] % batch]
            for i in range(count):
                multiply_row(scaled[i], inputs[i], left)
                copy_row(results[i], bias[g])
            add_picked_product(results, scaled, weights[g], 0, count, 0, _kept(picks, left))
            for i in range(count):
                copy_row(out[g, positions[first + i]], results[i])
        first = last


def _weight_gradients(rows, place, drop, positions, dz, out, column, bias, begin, end):
    """Fill the columns from `begin` to `end` of all gates': each thread reads only its part of dz."""
    features, units, batch = rows.shape[1], dz.shape[2], drop.shape[1]
    inputs, scaled = np.empty((CHUNK, features), rows.dtype), np.empty((CHUNK, features), rows.dtype)
    outputs, picks, chunk = np.empty(CHUNK * units, dz.dtype), np.empty(features, np.int64), np.empty(units, dz.dtype)
    clear_columns(out, column + begin, column + end)
    clear_row(bias[column + begin : column + end])
    first = 0
    while first < positions.shape[0]:
        last = _end_of_chunk(positions, first, positions.shape[0], batch)
        count = last - first
        _gather(inputs, rows, place, positions, first, last)
        for g in range(begin // units, (end - 1) // units + 1):
            c0, c1 = columns_of(g, units, begin, end)
            left = drop[g % drop.shape[0], positions[first] % batch]
            gradient = outputs[: count * (c1 - c0)].reshape(count, c1 - c0)
            for i in range(count):
                multiply_row(scaled[i], inputs[i], left)
                copy_row(gradient[i], dz[g, positions[first + i], c0:c1])
            kept, own = _kept(picks, left), column + g * units
            add_picked_turned_product(out, scaled[:count], gradient, 0, kept.shape[0], own + c0, kept)
            if bias.shape[0]:
                add_sums(bias[own + c0 : own + c1], gradient, chunk[: c1 - c0])
        first = last


def _input_gradients(dz, turned, drop, to, out, begin, end):
    """Go through rows `begin` to `end` of the batch, with weights of which each row's share is dropped beforehand."""
    (units, features), batch = turned.shape[1:], drop.shape[1]
    steps = dz.shape[1] // batch
    scaled, target = np.empty((units, features), turned.dtype), np.empty((steps, features), out.dtype)
    for b in range(begin, end):
        clear_rows(target, 0, steps)
        for g in range(dz.shape[0]):
            for i in range(units):
                multiply_row(scaled[i], turned[g, i], drop[g % drop.shape[0], b])
            own = dz[g].reshape(steps, batch * units)[:, b * units : (b + 1) * units]
            add_product(target, own, scaled, 0, steps, 0)
        for t in range(steps):
            p = t * batch + b
            copy_row(out[to[p] if to.shape[0] else p], target[t])


project, weight_gradients, input_gradients = (
    shared(function, f"dropped.{function.__name__[1:]}") for function in (_project, _weight_gradients, _input_gradients)
)
