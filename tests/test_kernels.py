"""The elementary functions of compiled code; its cache on disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnncore
from rnncore import activations

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
from rnncore.bptt.compiled_loop import loop
from rnncore.kernels import threads
for name in sys.argv[1:]:
    states = np.zeros((1, 3, 2, 2), "float32")
    runner = loop(SIMPLE_RNN.with_activations(activations.get(name)))
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
