"""Work on blocks of rows, for inside the time loop: no library call, no allocation, no thread.

``C (R, N) += A (R, K) @ B (K, N)``: four rows of A and four of B at a time, so that the inner loop runs along
contiguous rows of B and C and vectorises. Every row's sums are taken in the same order whatever rows stand beside
it: results do not depend on how a batch is split.
"""

from __future__ import annotations

from .._jit import kernel


@kernel
def add_product(C, A, B):
    """``C += A @ B`` for C-contiguous matrices."""
    rows, inner = A.shape
    columns = B.shape[1]
    for i in range(0, rows - rows % 4, 4):
        c0, c1, c2, c3 = C[i], C[i + 1], C[i + 2], C[i + 3]
        for p in range(0, inner - inner % 4, 4):
            b0, b1, b2, b3 = B[p], B[p + 1], B[p + 2], B[p + 3]
            a00, a01, a02, a03 = A[i, p], A[i, p + 1], A[i, p + 2], A[i, p + 3]
            a10, a11, a12, a13 = A[i + 1, p], A[i + 1, p + 1], A[i + 1, p + 2], A[i + 1, p + 3]
            a20, a21, a22, a23 = A[i + 2, p], A[i + 2, p + 1], A[i + 2, p + 2], A[i + 2, p + 3]
            a30, a31, a32, a33 = A[i + 3, p], A[i + 3, p + 1], A[i + 3, p + 2], A[i + 3, p + 3]
            for j in range(columns):
                c0[j] = c0[j] + a00 * b0[j] + a01 * b1[j] + a02 * b2[j] + a03 * b3[j]
                c1[j] = c1[j] + a10 * b0[j] + a11 * b1[j] + a12 * b2[j] + a13 * b3[j]
                c2[j] = c2[j] + a20 * b0[j] + a21 * b1[j] + a22 * b2[j] + a23 * b3[j]
                c3[j] = c3[j] + a30 * b0[j] + a31 * b1[j] + a32 * b2[j] + a33 * b3[j]
        for p in range(inner - inner % 4, inner):
            b0 = B[p]
            a00, a10, a20, a30 = A[i, p], A[i + 1, p], A[i + 2, p], A[i + 3, p]
            for j in range(columns):
                c0[j] = c0[j] + a00 * b0[j]
                c1[j] = c1[j] + a10 * b0[j]
                c2[j] = c2[j] + a20 * b0[j]
                c3[j] = c3[j] + a30 * b0[j]
    for i in range(rows - rows % 4, rows):
        c0 = C[i]
        for p in range(inner):
            a00, b0 = A[i, p], B[p]
            for j in range(columns):
                c0[j] = c0[j] + a00 * b0[j]


# Loops rather than slices assigned to: numba takes seconds to compile each of those.


@kernel
def clear(matrix):
    """Set a matrix to 0."""
    for i in range(matrix.shape[0]):
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
    add_product(target, source, weight)


@kernel
def recurrent_backward(dsource, dtarget, turned, scratch, drop, n, r0):
    """``dsource += (dtarget @ turned) * drop[n]``, `turned` being the weight transposed."""
    rows, units = dsource.shape
    added = dsource
    if drop.shape[0]:
        added = scratch[r0 : r0 + rows]
        clear(added)
    add_product(added, dtarget, turned)
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
