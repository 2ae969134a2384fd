"""Look-ups by id: their order and sums, compiled and by NumPy."""

import numpy as np
import pytest

from rnncore import config
from rnncore.kernels import lookups, threads
from rnncore.kernels.updates import size, square
from rnncore.sparse import RowGradient

RNG = np.random.default_rng(0)
IDS = {
    "none": np.array([], np.int64),
    "zero": np.array([0]),
    "few": RNG.integers(0, 5, 40),
    "a digit": RNG.integers(0, lookups.DIGITS, 300),
    "two": RNG.zipf(1.3, 2000) % 20_000,
    "three": RNG.integers(0, 2**40, 500)[RNG.integers(0, 500, 900)],
    "int32": RNG.integers(0, 9000, 50).astype("int32"),
    "every other": RNG.integers(0, 9000, 50)[::2],
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_groups(ids):
    compiled = lookups.grouped(ids)
    config.set_backend("numpy")
    for ours, plain in zip(compiled, lookups.grouped(ids), strict=True):
        assert ours.dtype == np.int64 and np.array_equal(ours, plain)
    assert np.array_equal(compiled.ids, np.unique(ids))
    assert np.array_equal(ids[compiled.order], np.sort(ids))
    for n, (first, end) in enumerate(zip(compiled.first, compiled.first[1:], strict=False)):
        assert np.array_equal(compiled.order[first:end], np.flatnonzero(ids == compiled.ids[n]))


@pytest.mark.parametrize("moment", [square, size])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_sums(ids, dtype, moment, monkeypatch):
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1)
    rows = RNG.normal(size=(len(ids), 5)).astype(dtype)
    config.set_threads(2)
    (compiled,) = threads.run(lookups.summing(rows, lookups.grouped(ids), moment))
    config.set_backend("numpy")
    (plain,) = threads.run(lookups.summing(rows, lookups.grouped(ids), moment))
    for ours, theirs, part in zip(compiled, plain, (rows, moment(rows)), strict=True):
        assert ours.dtype == dtype and np.array_equal(ours, theirs)
        by_hand = [part[ids == id_].sum(axis=0) for id_ in np.unique(ids)]
        np.testing.assert_allclose(ours, np.reshape(by_hand, (-1, 5)), rtol=1e-5, atol=1e-5)


def test_row_gradient():
    ids, rows = np.array([4, 1, 4]), np.array([[1.0, 2], [3, 4], [-2, 7]])
    gradient = RowGradient(ids, rows, (6, 2))
    assert gradient.unique.tolist() == [1, 4] and gradient.sums().tolist() == [[3, 4], [-1, 9]]
    assert threads.run(gradient.summing(size))[0][1].tolist() == [[3, 4], [3, 9]]
    assert np.asarray(gradient).tolist() == [[0, 0], [3, 4], [0, 0], [0, 0], [-1, 9], [0, 0]]
