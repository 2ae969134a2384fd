"""Work on blocks of rows, for inside the time loop: no library call, no allocation, no thread.

Matrix products go through tiles of C whose sums stay in registers. Every entry is summed in the order of the inner
axis, whatever tile it falls into: results do not depend on how rows are split or on which rows stand beside.
"""

from __future__ import annotations

import numpy as np

from ..compiler.jit import address, device_function, inlined
from ..compiler.memory import LINE
from ..compiler.tile import HIGH_TILE_ROWS, TILE_ROWS, TILE_VECTORS, VECTOR, tile

ROW = 2 * TILE_VECTORS  # registers of a tile of one row: so wide, B is read from end to end
FOURS = (0, 0, 2, 2, 1, 1)  # tiles of four rows, by how many rows tiles of six leave over: so at most one row is left


def _product(transposed: bool = False, of_kept: bool = False):
    """Return the compiled product for A (R, K), or transposed: (K, R); that of one row; that with weights in strips.

    With `of_kept` only the features in the array `kept` count: see `tile`.
    """
    high = TILE_ROWS if of_kept else HIGH_TILE_ROWS  # whose rows' places, with indices, are too many for six
    both = high > TILE_ROWS
    full, tail = (tile(high, vectors, transposed, of_kept) for vectors in (TILE_VECTORS, 0))
    low, low_tail = (tile(TILE_ROWS, vectors, transposed, of_kept) for vectors in (TILE_VECTORS, 0))
    long = not (transposed or of_kept)  # of these there are single rows only at an end: not worth the time to compile
    long_row, full_row, tail_row = (tile(1, vectors, transposed, of_kept) for vectors in (ROW, TILE_VECTORS, 0))

    def row_product(C, A, B, i, first, kept=0):
        """Add the product to row i, as below."""
        columns, lanes, j = B.shape[1], VECTOR // C.itemsize, 0
        while long and j + ROW * lanes <= columns:
            long_row(C, A, B, i, j, first + j, kept)
            j += ROW * lanes
        while j + TILE_VECTORS * lanes <= columns:
            full_row(C, A, B, i, j, first + j, kept)
            j += TILE_VECTORS * lanes
        while j < columns:
            tail_row(C, A, B, i, j, first + j, kept)
            j += lanes

    # numba names machine code by this and a count kept a process: from disk, two of one name would meet
    row_product.__qualname__ += f".{transposed}.{of_kept}"
    row_product = device_function(row_product)

    def product(C, A, B, begin, end, first, kept=0):
        """Add the product to the rows from `begin` to `end` of C, (R, N) += A @ B (K, N); rows C-contiguous.

        C may have more columns: N are meant, from `first` on.
        """
        columns, rows = B.shape[1], end - begin
        lanes = VECTOR // C.itemsize
        fours = min(FOURS[rows % high], rows // TILE_ROWS) if both else 0
        middle = begin + (rows - TILE_ROWS * fours) // high * high
        last = middle + TILE_ROWS * fours
        j = 0
        while j + TILE_VECTORS * lanes <= columns:
            for i in range(begin, middle, high):
                full(C, A, B, i, j, first + j, kept)
            if both:
                for i in range(middle, last, TILE_ROWS):
                    low(C, A, B, i, j, first + j, kept)
            j += TILE_VECTORS * lanes
        while j < columns:
            for i in range(begin, middle, high):
                tail(C, A, B, i, j, first + j, kept)
            if both:
                for i in range(middle, last, TILE_ROWS):
                    low_tail(C, A, B, i, j, first + j, kept)
            j += lanes
        for i in range(last, end):
            row_product(C, A, B, i, first, kept)

    product.__qualname__ += f".{transposed}.{of_kept}"
    product = device_function(product)

    def weighted(C, A, strips, begin, end, kept=0):
        """Add to the rows from `begin` to `end` of C, (R, N), their product with weights (K, N) in strips.

        These are strips of columns, (S, K, columns of a strip), of which the last may be wider than what is left of the
        weights. Where a row of weights is kilobytes long, a tile's columns lie in a few places of a cache, in turn. One
        strip as wide as the weights is the weights themselves.
        """
        wide, columns = strips.shape[2], C.shape[1]
        for s in range(strips.shape[0]):
            first = s * wide
            product(C, A, strips[s, :, : min(wide, columns - first)], begin, end, first, kept)

    weighted.__qualname__ += f".{transposed}.{of_kept}"
    return product, row_product, device_function(weighted)


add_product, add_row_product, add_weighted = _product()
add_transposed_product, *_ = _product(transposed=True)
*_, add_kept_weighted = _product(of_kept=True)
add_kept_transposed_product, *_ = _product(transposed=True, of_kept=True)


# Loops rather than slices assigned to: numba takes seconds to compile each of those. A row by itself: a loop over the
# columns of a matrix whose row may be negative, for all numba knows, does not vectorise.


@inlined
def copy_row(target, source):
    """Fill a row with another."""
    for j in range(target.shape[0]):
        target[j] = source[j]


@inlined
def clear_row(target):
    """Set a row to 0."""
    for j in range(target.shape[0]):
        target[j] = 0


@device_function
def clear_rows(matrix, begin, end):
    """Set rows of a matrix to 0."""
    for i in range(begin, end):
        clear_row(matrix[i])


@device_function
def clear_columns(matrix, first, end):
    """Set columns of a matrix to 0."""
    for i in range(matrix.shape[0]):
        clear_row(matrix[i, first:end])


@inlined
def add_row(target, source):
    """Add a row to another."""
    for j in range(target.shape[0]):
        target[j] += source[j]


@device_function
def add_sums(total, matrix, scratch):
    """Add what the rows of a matrix add up to: sums of sums, whose error grows more slowly."""
    clear_row(scratch)
    for i in range(matrix.shape[0]):
        add_row(scratch, matrix[i])
    add_row(total, scratch)


@inlined
def multiply_row(target, source, factor):
    """Fill a row with the product of two."""
    for j in range(target.shape[0]):
        target[j] = source[j] * factor[j]


@inlined
def multiply_by(target, factor):
    """Multiply a row by a number."""
    for j in range(target.shape[0]):
        target[j] *= factor


@inlined
def scale_row(target, source, factor, start):
    """Fill a row with another times a number, plus a third."""
    for j in range(target.shape[0]):
        target[j] = source[j] * factor + start[j]


@inlined
def add_multiplied_row(target, source, factor):
    """Add the product of two rows to a row."""
    for j in range(target.shape[0]):
        target[j] += source[j] * factor[j]


@device_function
def copy_rows(target, source, index, begin, end):
    """Fill the rows from `begin` to `end` of a matrix: row i with row index[i] of another."""
    for i in range(begin, end):
        copy_row(target[i], source[index[i]])


@device_function
def aligned(array):
    """Return what of a flat array begins with a cache line: see compiler/memory.py."""
    return array[-address(array) % LINE // array.itemsize :]


@device_function
def scratch_of(rows, columns, dtype):
    """Return an array to be filled that begins with a cache line."""
    size = rows * columns
    return aligned(np.empty(size + LINE, dtype))[:size].reshape(rows, columns)


@device_function
def strip_of(own, inner, size, column):
    """Return the strip, (K, at most ROW registers), of (K, N) weights in strips that has a column; and which of it."""
    wide = ROW * VECTOR // own.itemsize
    first = column - column % wide
    end = min(first + wide, size)
    return own[inner * first : inner * end].reshape(inner, end - first), column - first


@device_function
def own_columns(scratch, before, weights, which, units, first, end):
    """Copy the columns from `first` to `end` of P of the weights that lie side by side, where one thread reads them.

    Return them, P*width columns in strips, and a place for sums, (P, width). Both lie in a part of `scratch` that no
    other thread uses, behind what those columns of `before` other weights take.
    """
    width, inner = end - first, weights.shape[0]
    begin = (inner + 1) * (before * units + len(which) * first)
    size = len(which) * width
    own = scratch[begin : begin + inner * size]
    sums = scratch[begin + inner * size : begin + (inner + 1) * size].reshape(len(which), width)
    for q in range(len(which)):
        column, last = q * width, (q + 1) * width
        while column < last:
            strip, j = strip_of(own, inner, size, column)
            more = min(last - column, strip.shape[1] - j)
            source = which[q] * units + first + column - q * width
            for k in range(inner):
                copy_row(strip[k, j : j + more], weights[k, source : source + more])
            column += more
    return own, sums


@device_function
def add_strips_product(target, source, own, inner):
    """Add to a row, (1, N), the product of another, (1, K), with weights in strips: read from end to end."""
    size, column = target.shape[1], 0
    while column < size:
        strip, _ = strip_of(own, inner, size, column)
        add_row_product(target, source, strip, 0, column)
        column += strip.shape[1]


@device_function
def carry(states, before, after, r0, r1):
    """Give the rows from r0 to r1 in the slot `after` the states that they have in the slot `before`."""
    for s in range(states.shape[0]):
        for r in range(r0, r1):
            copy_row(states[s, after, r], states[s, before, r])


@device_function
def carry_backward(dstates, t, r0, r1):
    """Add to the states' gradients of the rows from r0 to r1 at step t those that they have at step t + 1."""
    for s in range(dstates.shape[0]):
        for r in range(r0, r1):
            add_row(dstates[s, t, r], dstates[s, t + 1, r])


@inlined
def recurrent(target, source, weight, scratch, drop, n, r0):
    """``target += (source * drop[n]) @ weight``, in strips, on the rows from r0 on; an empty `drop` drops nothing."""
    rows = source.shape[0]
    if drop.shape[0]:
        dropped = scratch[r0 : r0 + rows]
        for i in range(rows):
            multiply_row(dropped[i], source[i], drop[n, r0 + i])
        source = dropped
    add_weighted(target, source, weight, 0, rows)


@inlined
def recurrent_backward(dsource, dtarget, transposed, scratch, drop, n, r0):
    """``dsource += (dtarget @ transposed) * drop[n]``, `transposed` being the weight's transpose, in strips."""
    rows = dsource.shape[0]
    added = dsource
    if drop.shape[0]:
        added = scratch[r0 : r0 + rows]
        clear_rows(added, 0, rows)
    add_weighted(added, dtarget, transposed, 0, rows)
    if drop.shape[0]:
        for i in range(rows):
            add_multiplied_row(dsource[i], added[i], drop[n, r0 + i])


@device_function
def end_of_run(mask, t, r0, end):
    """Return the end of the rows from r0 on that all take step t, or all do not; an empty `mask`: all take it."""
    r1 = r0 if mask.shape[0] else end
    while r1 < end and mask[t, r1] == mask[t, r0]:
        r1 += 1
    return r1
