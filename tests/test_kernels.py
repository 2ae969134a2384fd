"""The compiled loop against its NumPy twin; its elementary functions; its cache on disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import PATTERNS, SEED, masks

import rnncore
from rnncore import activations, config
from rnncore.cells import CARRY_RNN, GRU, GRU_RESET_BEFORE, LSTM, SIMPLE_RNN, Cell, Stage
from rnncore.kernels import threads
from rnncore.kernels.products import products_for
from rnncore.kernels.time_loop import ROWS, Plan, loop

CELLS = {cell.name: cell for cell in (SIMPLE_RNN, LSTM, GRU, GRU_RESET_BEFORE, CARRY_RNN)}
SIZES = [(1, 1, 1), (1, 5, 2), (6, 9, 3), (4, 33, 17), (3, 8, 130)]


def run(cell, backend, dtype, sizes, pattern="none", dropped=False, fresh=0):
    """Return blocks, states and their gradients after a forward and a backward from random arrays.

    Nothing reaches the states below `fresh` from outside: -`fresh` says so by zeros.
    """
    steps, rows, units = sizes
    rng = np.random.default_rng(SEED)
    plan = Plan(cell)

    def random(*shape):
        return rng.standard_normal(shape).astype(dtype)

    blocks = random(len(plan.blocks), steps, rows, units)
    states = np.zeros((len(cell.states), steps + 1, rows, units), dtype)
    states[:, 0] = random(len(cell.states), rows, units)
    weights = random(units, len(cell.products) * units) / np.asarray(units, dtype) ** 0.5
    drop = random(len(cell.products), rows, units) if dropped else None
    mask = masks(pattern, rows, steps, rng)
    mask = None if mask is None else np.ascontiguousarray(mask.T)
    dstates = np.zeros_like(states)
    dstates[0, 1:] = random(steps, rows, units)
    dstates[:, -1] += random(len(cell.states), rows, units)
    dstates[:, : abs(fresh)] = np.nan if fresh > 0 else 0
    dblocks = np.full((len(plan.dblocks), steps, rows, units), np.nan, dtype)
    runner = loop(cell, backend)
    threads.run(runner.forward(blocks, states, weights, drop, mask))
    (turned,) = threads.run(products_for(backend == "numba", dtype).turned(weights, len(cell.products)))
    again = blocks
    if plan.in_place:
        again = dblocks = blocks.copy()
    threads.run(runner.backward(again, states, turned, drop, mask, dblocks, dstates, max(0, fresh)))
    dblocks = dblocks[: len(plan.dblocks)]
    for array in (blocks, dblocks) if mask is not None else ():
        array[:, ~mask] = 0  # nothing is there
    return blocks, states, dblocks, dstates


@pytest.mark.parametrize("dropped", [False, True], ids=["whole", "dropped"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_compiled_equals_numpy(cell, sizes, pattern, dropped):
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        ours = run(cell, "numba", dtype, sizes, pattern, dropped)
        plain = run(cell, "numpy", dtype, sizes, pattern, dropped)
        for mine, theirs in zip(ours, plain, strict=True):
            assert mine.dtype == theirs.dtype == dtype
            np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("pattern", ["none", "holes"])
def test_what_is_below_fresh_is_not_read(pattern, backend):
    for fresh in (1, 4, 5):
        ours, plain = (run(LSTM, backend, "float64", (5, 7, 11), pattern, fresh=sign * fresh) for sign in (1, -1))
        for mine, theirs in zip(ours, plain, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    "sizes", [(6, ROWS + 9, 5), (5, 3, 19), pytest.param((1, 2, 3), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("pattern", ["none", "holes"])
@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_fewer_slots_change_no_bit(cell, backend, pattern, sizes, monkeypatch):
    """Where only the end counts, steps take two slots of the states in turn, and one of the blocks."""
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1)
    steps, rows, units = sizes
    rng, plan = np.random.default_rng(SEED), Plan(cell)
    initial = rng.standard_normal((len(cell.states), rows, units))
    projected = rng.standard_normal((len(plan.homes), 7, units))
    place, mask = rng.integers(0, 7, (steps, rows)), masks(pattern, rows, steps, rng)
    weights = rng.standard_normal((units, len(cell.products) * units))
    mask = None if mask is None else np.ascontiguousarray(mask.T)
    apart = plan.homes != [plan.target(gate) for gate in cell.gates]  # what starts from a bias at each step
    ends = []
    for slots, of_states in ((steps, steps + 1), (steps if apart else 1, 2)):
        blocks = np.zeros((len(plan.blocks), slots, rows, units))
        states = np.zeros((len(cell.states), of_states, rows, units))
        states[:, 0] = initial
        threads.run(loop(cell, backend).forward(blocks, states, weights, None, mask, projected, place))
        ends.append(states[:, steps % of_states])
    assert np.abs(ends[0]).max() > 0
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("pattern", ["none", "holes"])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_number_of_threads_changes_no_bit(cell, pattern, monkeypatch):
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1)
    results = []
    for count in (1, 2, 3):
        config.set_threads(count)
        results.append(run(cell, "numba", "float32", (7, 23, 19), pattern, True))
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("pattern", ["none", "holes"])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_threads_share_the_units_of_few_rows(cell, pattern, rows, monkeypatch):
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1)
    jobs, meant = [], threads.parts_of
    monkeypatch.setattr(threads, "parts_of", lambda *given: jobs.extend(given) or meant(*given))
    for units, dtype in ((200, "float32"), (70, "float64")):
        results = []
        for count in (1, 2, 3):
            config.set_threads(count)
            results.append(run(cell, "numba", dtype, (6, rows, units), pattern))
        assert any("forward_few" in job.function.__name__ for job in jobs)
        jobs.clear()
        for other in results[1:]:
            for first, second in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(first, second)


def test_rows_do_not_depend_on_their_neighbours():
    every = run(LSTM, "numba", "float32", (5, 7, 11))
    steps, rows, units = 5, 7, 11
    # the same row alone: cut out of the same random arrays
    rng = np.random.default_rng(SEED)
    blocks = rng.standard_normal((4, steps, rows, units)).astype("float32")
    states = np.zeros((2, steps + 1, rows, units), "float32")
    states[:, 0] = rng.standard_normal((2, rows, units)).astype("float32")
    weights = rng.standard_normal((units, 4 * units)).astype("float32") / np.float32(units) ** 0.5
    for row in range(rows):
        alone = np.ascontiguousarray(blocks[:, :, row : row + 1]), np.ascontiguousarray(states[:, :, row : row + 1])
        threads.run(loop(LSTM, "numba").forward(*alone, weights, None, None))
        np.testing.assert_array_equal(alone[1][:, :, 0], every[1][:, :, row])


def test_a_cell_that_asks_for_an_unknown_name_is_refused():
    def step(z_a, memory):
        return z_a + memory

    with pytest.raises(ValueError, match="'memory' is not known"):
        Plan(Cell("odd", ("a",), ("h",), (Stage(step, lambda dh: (dh, dh), "h"),)))


# --- elementary functions ---------------------------------------------------------------------------------------

POINTS = np.concatenate([s * np.logspace(-30, 2.9, 20_001) for s in (1, -1)] + [np.linspace(-20, 20, 40_001), [0.0]])


@pytest.fixture(scope="module")
def compiled():
    """Return the compiled sigmoid and tanh as functions of arrays."""
    from rnncore._jit import from_source, kernel
    from rnncore.kernels.elementwise import register

    made = {}
    for function in (activations.sigmoid, activations.tanh):
        register(function)
        source = "def each(x, y):\n    for n in range(x.size):\n        y[n] = f(x[n])"
        made[function.__name__] = kernel(from_source(source, {"f": function}, "each"))
    return made


@pytest.mark.parametrize(("dtype", "ulps"), [("float32", 6), ("float64", 6)])
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_units_in_the_last_place(compiled, name, dtype, ulps):
    x = POINTS.astype(dtype)
    y = np.empty_like(x)
    compiled[name](x, y)
    wide = x.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        exact = 1 / (1 + np.exp(-wide)) if name == "sigmoid" else np.tanh(wide)
    tiny = np.finfo(dtype).tiny
    spacing = np.spacing(np.maximum(np.abs(exact), tiny).astype(dtype)).astype(np.longdouble)
    normal = np.abs(exact) > 4 * tiny  # below, sigmoid ends in a denormal number and not in 0
    error = np.abs(y - exact) / spacing
    assert error[normal].max() < ulps
    assert (np.abs(y[~normal]) <= 8 * tiny).all()
    assert (np.diff(y[np.argsort(x, kind="stable")]) >= -ulps * np.spacing(np.float64(1)) * 1e9).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_and_nan(compiled, dtype):
    x = np.array([np.inf, -np.inf, np.nan, 1e30, -1e30, 0.0, -0.0], dtype)
    y = np.empty_like(x)
    compiled["tanh"](x, y)
    np.testing.assert_array_equal(y, np.array([1, -1, np.nan, 1, -1, 0, 0], dtype))
    assert list(np.signbit(y[-2:])) == [False, True]
    compiled["sigmoid"](x, y)
    np.testing.assert_allclose(y, np.array([1, 0, np.nan, 1, 0, 0.5, 0.5], dtype), atol=np.finfo(dtype).tiny)


# --- the cache on disk ------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import numpy as np
from rnncore import activations
from rnncore.cells import SIMPLE_RNN
from rnncore.kernels import threads
from rnncore.kernels.products import products_for
from rnncore.kernels.time_loop import loop
for name in sys.argv[1:]:
    states = np.zeros((1, 3, 2, 2), "float32")
    runner = loop(SIMPLE_RNN.with_activations(activations.get(name)), "numba")
    threads.run(runner.forward(np.ones((1, 2, 2, 2), "float32"), states, np.ones((2, 2), "float32"), None, None))
    print(sum(runner._forward.stats.cache_hits.values()), float(states[0, -1, 0, 0]))
"""


def fresh_process(cache: Path, *names: str, package: Path = Path(rnncore.__file__).parent) -> list[tuple[int, float]]:
    """Run two steps in a new process, for each activation; return how many kernels came from disk, and the state."""
    env = {**os.environ, "RNNCORE_CACHE_DIR": str(cache), "PYTHONPATH": str(package.parent)}
    command = [sys.executable, "-W", "error", "-c", SCRIPT, *names]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=package.parent)
    return [(int(hits), float(state)) for hits, state in map(str.split, done.stdout.splitlines())]


@pytest.mark.slow
def test_the_second_process_compiles_nothing_and_a_stale_kernel_is_impossible(tmp_path):
    package = tmp_path / "changed" / "rnncore"
    shutil.copytree(Path(rnncore.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "cache"
    expected = pytest.approx(np.tanh(1 + 2 * np.tanh(1)), rel=1e-6)
    assert [fresh_process(cache, "tanh", package=package) for _ in range(2)] == [[(0, expected)], [(1, expected)]]

    cell = package / "cells" / "simple_rnn.py"  # a called function, in another file than the kernel's
    cell.write_text(cell.read_text().replace("    h = tanh(z_a)\n    return", "    h = tanh(z_a + z_a)\n    return"))
    changed = [(0, pytest.approx(np.tanh(2 + 4 * np.tanh(2)), rel=1e-6))]
    assert fresh_process(cache, "tanh", package=package) == changed

    for kernel in cache.rglob("*.nb?"):
        kernel.write_bytes(b"damaged")
    assert fresh_process(cache, "tanh", package=package) == changed


@pytest.mark.slow
def test_kernels_from_two_processes_do_not_meet_under_one_name(tmp_path):
    tanh, linear = pytest.approx(np.tanh(1 + 2 * np.tanh(1)), rel=1e-6), 3.0
    assert fresh_process(tmp_path, "tanh") == [(0, tanh)]
    assert fresh_process(tmp_path, "linear") == [(0, linear)]
    assert fresh_process(tmp_path, "tanh", "linear") == [(1, tanh), (1, linear)]
    assert fresh_process(tmp_path, "linear", "tanh") == [(1, linear), (1, tanh)]
