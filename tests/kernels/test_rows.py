"""Matrix products by register tiles: right, and each row to the same bits whatever rows stand beside it."""

import numpy as np
import pytest

INNER = 5


@pytest.fixture(scope="module")
def product():
    from rnncore.compiler.jit import kernel
    from rnncore.kernels.rows import add_product

    return kernel(lambda C, A, B, begin, end: add_product(C, A, B, begin, end, 0))


@pytest.mark.parametrize("columns", [1, 16, 33, 65], ids="columns={}".format)
def test_bits_of_a_row(product, columns):
    """Up to 21 rows every way to take them by tiles of six, of four and of one row comes up."""
    rng = np.random.default_rng(columns)
    A, B, start = (rng.normal(size=shape).astype("f") for shape in ((24, INNER), (INNER, columns), (24, columns)))
    alone = start.copy()
    for row in range(24):
        product(alone, A, B, row, row + 1)
    np.testing.assert_allclose(alone, start + A.astype("d") @ B, rtol=1e-5, atol=1e-5)
    for rows in range(22):
        found = start.copy()
        product(found, A, B, 2, 2 + rows)
        np.testing.assert_array_equal(found[2 : 2 + rows], alone[2 : 2 + rows], err_msg=f"{rows} rows")
        np.testing.assert_array_equal(found[:2], start[:2], err_msg=f"{rows} rows: those before")
        np.testing.assert_array_equal(found[2 + rows :], start[2 + rows :], err_msg=f"{rows} rows: those behind")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_begins_with_a_cache_line(dtype):
    from rnncore.compiler.jit import kernel
    from rnncore.compiler.memory import LINE, aligned_empty
    from rnncore.kernels.rows import scratch_of

    scratch = kernel(lambda like, rows, columns: scratch_of(rows, columns, like.dtype))
    for size in range(1, 30):  # memory of some sizes begins with a line by chance
        for array in (aligned_empty((size, 3), dtype), scratch(np.empty(0, dtype), size, 3)):
            assert array.shape == (size, 3) and array.dtype == dtype and array.flags.c_contiguous
            assert array.ctypes.data % LINE == 0
            array[...] = size  # all of it is there
    assert aligned_empty((0, 3), dtype).shape == (0, 3)
