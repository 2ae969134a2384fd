"""Compiled kernels on disk: loaded by the next process, and only if nothing has changed and nobody touched them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import RUN_SEED

import rnncore

posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes have no meaning on this system")
SCRIPT = """
import sys
import numpy as np
from rnncore import activations
from rnncore.cells import SIMPLE_RNN
from rnncore.bptt.compiled_loop import loop
from rnncore.compiler import pool
for name in sys.argv[1:]:
    states = np.zeros((1, 3, 2, 2), "float32")
    runner = loop(SIMPLE_RNN.with_activations(activations.get(name)))
    pool.run(runner.forward(np.ones((1, 2, 2, 2), "float32"), states, np.ones((2, 2), "float32"), None, None))
    hits = [sum(kernel.stats.cache_hits.values()) for kernel in (runner._forward, runner._forward_few)]
    print(sum(hits), float(states[0, -1, 0, 0]))
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


# --- files that cannot be used -------------------------------------------------------------------------------------

KERNEL = """
import os, random, sys, warnings
import numpy as np
from rnncore import config
from rnncore.compiler.cache import cache_folder
from rnncore.compiler.jit import kernel

def total(x):
    s = 0.0
    for n in range(x.size):
        s += x[n]
    return s

def from_disk():
    made = kernel(total, "total")
    assert made(np.arange(5.0)) == 10.0
    return sum(made.stats.cache_hits.values())
"""

FLIPS = """
assert (from_disk(), from_disk()) == (0, 1)
(file,) = cache_folder().iterdir()
random.seed(int(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    content = bytearray(file.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    file.write_bytes(content)
    assert (from_disk(), from_disk()) == (0, 1)
    assert list(cache_folder().iterdir()) == [file]
"""

TOLD = """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print([from_disk() for _ in range(3)], *(str(each.message) for each in caught), sep="\\n")
"""


def run(script, *arguments, **environment):
    """Return the lines that a process with the kernel above writes."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", KERNEL + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"PYTHONPATH": str(Path(rnncore.__file__).parent.parent)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("flips", [4, pytest.param(500, marks=pytest.mark.slow)])
def test_a_damaged_kernel_is_compiled_anew(flips, tmp_path):
    run(FLIPS, RUN_SEED, flips, RNNCORE_CACHE_DIR=str(tmp_path / "cache"))


@pytest.mark.slow
@posix
@pytest.mark.parametrize("fault", ["others", "in the way"])
def test_kernels_that_cannot_be_kept_are_told_of_once(fault, tmp_path):
    cache = tmp_path / "cache"
    assert run(TOLD, RNNCORE_CACHE_DIR=str(cache)) == ["[0, 1, 1]"]
    if fault == "others":
        cache.chmod(0o770)
        reason = f"{cache} may be written by other users (mode 770)"
    else:
        (cache / "file").touch()
        cache, reason = cache / "file" / "below", f"{cache / 'file'} is no folder"
    hits, *told = run(TOLD, RNNCORE_CACHE_DIR=str(cache))
    assert hits == "[0, 0, 0]"
    assert len(told) == 1 and reason in told[0] and "RNNCORE_CACHE_DIR" in told[0]
