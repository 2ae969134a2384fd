"""A run of a cell by compiled code against one by NumPy: all that goes in, all that comes out."""

import itertools

import numpy as np
import pytest
from cases import PATTERNS, SEED, few_at_first, masks, some

from rnncore import config
from rnncore.bptt.compiled_loop import FEW, ROWS, loop
from rnncore.bptt.compiled_run import POSITIONS, CompiledRun
from rnncore.bptt.numpy_loop import NumpyRun
from rnncore.bptt.plan import Plan
from rnncore.bptt.run import Inputs, Sequence
from rnncore.cells import CARRY_RNN, GRU, GRU_RESET_BEFORE, LSTM, SIMPLE_RNN, Cell, Stage
from rnncore.compiler import pool

CELLS = {
    "lstm": LSTM,
    "gru_reset_before": GRU_RESET_BEFORE,
    "gru": GRU,
    "carry_rnn": CARRY_RNN,
    "simple_rnn": SIMPLE_RNN,
}
SIZES = [
    (6, 13, 5, 9),
    (1, 1, 1, 1),
    (5, 2, 3, 33),
    (4, 33, 2, 17),
    (267, 13, 19, 5),
    (3, ROWS + 9, 4, 3),
    (5, 26, 70, 67),  # weights in several strips
]  # T, B, D, H
INPUTS = ("dense", "looked up")
DROPPED = ("nothing", "x", "h", "both")


def draw(cell, sizes, pattern="none", inputs="dense", dropped="nothing", dtype="float64", bias=True):
    """Return a plan, random weights, a random sequence for it, and what reaches the last states from outside."""
    (T, B, D, H), rng, plan = sizes, np.random.default_rng(SEED), Plan(cell)
    G, P = len(cell.gates), len(cell.products)

    def random(*shape):
        return rng.standard_normal(shape).astype(dtype)

    def drop(*shape):
        return (rng.random(shape) < 0.7).astype(dtype) * np.asarray(1.5, dtype)

    scale = np.asarray((D + H) ** -0.5, dtype)
    weights = {"kernel": random(D, G * H) * scale, "recurrent_kernel": random(H, G * H) * scale}
    weights |= {name: random(H, H) * scale for name in cell.extra}
    if bias:
        weights["bias"] = random(*([2] if cell.split_bias else []), G * H)
    index = rng.integers(0, 7, T * B) if inputs == "looked up" else None
    mask = masks(pattern, B, T, rng)
    sequence = Sequence(
        Inputs(random(T * B if index is None else 7, D), index),
        random(len(cell.states), B, H),
        T,
        None if mask is None else np.ascontiguousarray(mask.T),
        drop(G if dropped == "both" else 1, B, D) if dropped in ("x", "both") else None,
        drop(P, B, H) if dropped in ("h", "both") else None,
    )
    return plan, weights, sequence, [random(B, H) for _ in cell.states]


def found(run_class, drawn, shown=None, bptt_steps=None, workspace=None, **options):
    """Return by name all that a run and its reverse loop give; only the last `shown` steps are given a gradient."""
    plan, weights, sequence, dlast = drawn
    T, (_, B, H), dtype = sequence.steps, sequence.initial.shape, sequence.initial.dtype
    run = run_class(plan, weights, sequence, training=True, workspace=workspace)
    results = {"last states": run.last_states, "outputs": run.outputs().copy()}
    dh = np.random.default_rng(SEED).standard_normal((T, B, H)).astype(dtype)[T - (T if shown is None else shown) :]
    dx, gradients = run.backward(dh if len(dh) else None, dlast, bptt_steps, **options)
    results |= {"dx": dx, **gradients, **{f"series {name}": array for name, array in run.series().items()}}
    results |= {f"initial {n}": gradient for n, gradient in enumerate(run.state_gradients())}
    results |= dict(zip(("blocks", "states", "dblocks", "dstates"), run.arrays(), strict=True))
    return {name: np.array(array) for name, array in results.items()}


def close(ours, plain, tolerance):
    assert ours.keys() == plain.keys() and len(plain) >= 9
    for name, array in plain.items():
        assert ours[name].dtype == array.dtype, name
        scale = np.abs(array).max(initial=0)
        np.testing.assert_allclose(ours[name], array, rtol=tolerance, atol=tolerance * scale, err_msg=name)


KINDS = list(itertools.product(CELLS, SIZES, PATTERNS, INPUTS, DROPPED))
KINDS = some([KINDS[n] for n in np.random.default_rng(SEED).permutation(len(KINDS))], 160)


@pytest.mark.parametrize(("cell", "sizes", "pattern", "inputs", "dropped"), few_at_first(KINDS, 60))
def test_compiled_equals_numpy(cell, sizes, pattern, inputs, dropped):
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        drawn = draw(CELLS[cell], sizes, pattern, inputs, dropped, dtype)
        close(found(CompiledRun, drawn), found(NumpyRun, drawn), tolerance)


@pytest.mark.parametrize("cell", CELLS)
def test_without_a_bias(cell):
    drawn = draw(CELLS[cell], SIZES[0], "holes", bias=False)
    ours, plain = found(CompiledRun, drawn), found(NumpyRun, drawn)
    assert "bias" not in plain
    close(ours, plain, 1e-12)


@pytest.mark.parametrize("pattern", ["none", "holes"])
@pytest.mark.parametrize("bptt_steps", [None, 1, 2, 4])
@pytest.mark.parametrize("shown", [0, 1, 3, 6])
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before"])
def test_truncation_and_outputs_that_nobody_sees(cell, shown, bptt_steps, pattern):
    """The memory of the run before is used again: nothing of it may be read."""
    drawn, names = draw(CELLS[cell], SIZES[0], pattern), ("blocks", "states", "dblocks", "dstates", "sums")
    workspace = {f"{name}{n}": np.full(9999, np.nan) for name in names for n in (0, 1)}
    close(found(CompiledRun, drawn, shown, bptt_steps, workspace), found(NumpyRun, drawn, shown, bptt_steps), 1e-12)


@pytest.mark.parametrize("run_class", [CompiledRun, NumpyRun])
@pytest.mark.parametrize("pattern", ["none", "holes"])
def test_where_the_gradients_of_inputs_go(pattern, run_class):
    drawn = draw(LSTM, SIZES[0], pattern, "looked up")
    _, _, sequence, _ = drawn
    index, whole = sequence.inputs.index, found(run_class, drawn)["dx"]
    valid = np.ones(len(whole), bool) if sequence.mask is None else sequence.mask.ravel()
    assert not whole[~valid].any()
    to = np.zeros(len(whole), int)
    to[valid] = np.random.default_rng(SEED).permutation(valid.sum())
    moved = found(run_class, drawn, to=to, size=int(valid.sum()))["dx"]
    np.testing.assert_array_equal(moved[to[valid]], whole[valid])
    by_row = np.zeros((7, whole.shape[1]))
    np.add.at(by_row, index, whole)
    np.testing.assert_allclose(found(run_class, drawn, of_rows=True)["dx"], by_row, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("run_class", [CompiledRun, NumpyRun])
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("pattern", ["none", "holes"])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_kept_changes_no_bit(cell, pattern, inputs, run_class, monkeypatch):
    monkeypatch.setattr(pool, "_WORTH_A_THREAD", 1)
    # some steps behind the last whole chunk of POSITIONS, with many rows and with one
    for sizes in ((7, ROWS + 9, 3, 5), (5, 3, 3, 19), (POSITIONS + 9, 1, 3, 5)):
        plan, weights, sequence, _ = draw(CELLS[cell], sizes, pattern, inputs)
        whole, states, last = (run_class(plan, weights, sequence, kept) for kept in ("all", "states", "last"))
        assert np.abs(whole.last_states).max() > 0
        for run in (states, last):
            np.testing.assert_array_equal(run.last_states, whole.last_states)
        np.testing.assert_array_equal(states.outputs(), whole.outputs())


@pytest.mark.quick(10)
@pytest.mark.parametrize(("inputs", "dropped"), [("dense", "nothing"), ("looked up", "both"), ("looked up", "nothing")])
@pytest.mark.parametrize("pattern", ["none", "holes"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_number_of_threads_changes_no_bit(cell, pattern, inputs, dropped, monkeypatch):
    monkeypatch.setattr(pool, "_WORTH_A_THREAD", 1)
    drawn, results = draw(CELLS[cell], (7, 23, 5, 19), pattern, inputs, dropped, "float32"), []
    for count in (1, 2, 3, 5):
        config.set_threads(count)
        results.append(found(CompiledRun, drawn))
    for other in results[1:]:
        for name, array in results[0].items():
            np.testing.assert_array_equal(other[name], array, err_msg=name)


@pytest.mark.quick(8)
@pytest.mark.parametrize("rows", [1, FEW - 1])
@pytest.mark.parametrize("pattern", ["none", "holes"])
@pytest.mark.parametrize("cell", CELLS)
def test_threads_share_the_units_of_few_rows(cell, pattern, rows, monkeypatch):
    monkeypatch.setattr(pool, "_WORTH_A_THREAD", 1)
    jobs, meant = [], pool.shards_of
    monkeypatch.setattr(pool, "shards_of", lambda *given: jobs.extend(given) or meant(*given))
    for units, dtype in ((200, "float32"), (70, "float64")):
        drawn, results = draw(CELLS[cell], (6, rows, 4, units), pattern, dtype=dtype), []
        for count in (1, 2, 3):
            config.set_threads(count)
            results.append(found(CompiledRun, drawn))
        assert any("forward_few" in getattr(job.function, "__name__", "") for job in jobs)
        jobs.clear()
        for other in results[1:]:
            for name, array in results[0].items():
                np.testing.assert_array_equal(other[name], array, err_msg=name)


def test_rows_do_not_depend_on_their_neighbours():
    plan, weights, sequence, _ = draw(LSTM, (5, 7, 3, 11), dtype="float32")
    every = CompiledRun(plan, weights, sequence).outputs()
    x = sequence.inputs.rows.reshape(5, 7, 3)
    for row in range(7):
        own = Sequence(Inputs(np.ascontiguousarray(x[:, row])), sequence.initial[:, row : row + 1].copy(), 5)
        np.testing.assert_array_equal(CompiledRun(plan, weights, own).outputs()[:, 0], every[:, row])


def test_parts_share_the_work():
    parts = loop(LSTM).parts
    assert parts(32, None) == [slice(0, 16), slice(16, 32)]
    assert parts(7, None) == [slice(0, 7)]
    mask = np.arange(40)[:, None] < np.repeat([40, 10], [8, 24])
    assert parts(32, mask) == [slice(0, 8), slice(8, 32)]


def test_a_cell_that_asks_for_an_unknown_name_is_refused():
    def step(z_a, memory):
        return z_a + memory

    with pytest.raises(ValueError, match="'memory' is not known"):
        Plan(Cell("odd", gates=("a",), states=("h",), stages=(Stage(step, lambda dh: (dh, dh), "h"),)))
