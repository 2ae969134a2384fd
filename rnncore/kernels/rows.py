"""Work on blocks of rows, for inside the time loop: no library call, no allocation, no thread.

Matrix products go through tiles of C whose sums stay in registers. Every entry is summed in the order of the inner
axis, whatever tile it falls into: results do not depend on how rows are split or on which rows stand beside.
"""

from __future__ import annotations

from .._jit import TILE_ROWS, TILE_VECTORS, VECTOR, kernel, tile


def _product(turned: bool):
    """Return the compiled product for A (R, K), or turned: (K, R)."""
    wide, wide_row = tile(TILE_ROWS, TILE_VECTORS, turned), tile(1, TILE_VECTORS, turned)
    slim, slim_row = tile(TILE_ROWS, 1, turned), tile(1, 1, turned)
    single = tile(1, 0, turned)

    def product(C, A, B, begin, end):
        """Add the product to the rows from `begin` to `end` of C, (R, N) += A @ B (K, N); all C-contiguous."""
        columns = C.shape[1]
        lanes = VECTOR // C.itemsize
        fours = end - (end - begin) % TILE_ROWS
        j = 0
        while j + TILE_VECTORS * lanes <= columns:
            for i in range(begin, fours, TILE_ROWS):
                wide(C, A, B, i, j)
            for i in range(fours, end):
                wide_row(C, A, B, i, j)
            j += TILE_VECTORS * lanes
        while j + lanes <= columns:
            for i in range(begin, fours, TILE_ROWS):
                slim(C, A, B, i, j)
            for i in range(fours, end):
                slim_row(C, A, B, i, j)
            j += lanes
        while j < columns:
            for i in range(begin, end):
                single(C, A, B, i, j)
            j += 1

    return kernel(product)


add_product, add_turned_product = _product(turned=False), _product(turned=True)


# Loops rather than slices assigned to: numba takes seconds to compile each of those.


@kernel
def clear_rows(matrix, begin, end):
    """Set rows of a matrix to 0."""
    for i in range(begin, end):
        for j in range(matrix.shape[1]):
            matrix[i, j] = 0


@kernel
def clear_row(arrays, t, r):
    """Set row r at time t to 0 in every one of the arrays."""
    for k in range(arrays.shape[0]):
        for j in range(arrays.shape[3]):
            arrays[k, t, r, j] = 0


@kernel
def copy_row(arrays, t, to, r):
    """Copy row r at time t to time `to` in every one of the arrays."""
    for k in range(arrays.shape[0]):
        for j in range(arrays.shape[3]):
            arrays[k, to, r, j] = arrays[k, t, r, j]


@kernel
def copy_rows(target, source, place, begin, end):
    """Fill rows of a matrix with those of another that `place` names."""
    for i in range(begin, end):
        for j in range(target.shape[1]):
            target[i, j] = source[place[i], j]


@kernel
def add_row(arrays, t, to, r):
    """Add row r at time t to that at time `to` in every one of the arrays."""
    for k in range(arrays.shape[0]):
        for j in range(arrays.shape[3]):
            arrays[k, to, r, j] += arrays[k, t, r, j]


@kernel
def recurrent(target, source, weight, scratch, drop, n, r0):
    """``target += (source * drop[n]) @ weight`` on the rows from r0 on; an empty `drop` drops nothing."""
    rows, units = source.shape
    if drop.shape[0]:
        dropped = scratch[r0 : r0 + rows]
        for i in range(rows):
            for j in range(units):
                dropped[i, j] = source[i, j] * drop[n, r0 + i, j]
        source = dropped
    add_product(target, source, weight, 0, rows)


@kernel
def recurrent_backward(dsource, dtarget, turned, scratch, drop, n, r0):
    """``dsource += (dtarget @ turned) * drop[n]``, `turned` being the weight transposed."""
    rows, units = dsource.shape
    added = dsource
    if drop.shape[0]:
        added = scratch[r0 : r0 + rows]
        clear_rows(added, 0, rows)
    add_product(added, dtarget, turned, 0, rows)
    if drop.shape[0]:
        for i in range(rows):
            for j in range(units):
                dsource[i, j] += added[i, j] * drop[n, r0 + i, j]


@kernel
def end_of_run(mask, t, r0, end):
    """Return the first row from r0 on that does not take step t; an empty `mask` means that all take it."""
    if mask.shape[0] == 0:
        return end
    while r0 < end and mask[t, r0]:
        r0 += 1
    return r0
