"""Do the tests find a fault? Deliberate ones, put one after another into a copy of the checkout.

    python -m tests.mutations             each fault against the tests nearest to it
    python -m tests.mutations --all       those that they miss against the quick run, too
    python -m tests.mutations --check     only whether each entry still fits the sources
    python -m tests.mutations --only 3 17

The same tests are run without a fault first: a test that fails anyway finds nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
QUICK = ["-m", "not slow", "--ignore", "tests/test_mutations.py"]  # whose table the fault does not fit any more
TIMEOUT = 3600  # seconds of a run of tests: a fault that makes a loop endless is found


class Mutation(NamedTuple):
    """A fault: `old`, which stands once in a file of the package, becomes `new`."""

    kind: str
    file: str
    old: str
    new: str
    tests: str  # the nearest ones: what pytest is given, below tests/
    backend: str = "numpy"  # "numba" where the fault is in what is compiled

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.kind:<22} {self.file}: {old} -> {new}"

    def nearest(self) -> list[str]:
        """Return pytest's arguments for the nearest tests."""
        paths, *options = self.tests.partition(" -")
        arguments = [f"tests/{path}" for path in paths.split()] + shlex.split("".join(options))
        return [*arguments, "-n", "0", "-m", "not slow and not keras"]


LECTURE = "bptt/test_lecture.py -k numpy"  # layers against the lecture, which has the same cells
DERIVATIVE = "bptt/test_lecture.py -k derivative"
CELLS = "layers/test_gradients.py::test_cells_by_themselves_and_run -k numpy"
LAYERS = (
    "layers/test_gradients.py::test_other_layers layers/test_layers.py::test_dense layers/test_layers.py::test_dropout"
)
SMALL_LAYERS = "layers/test_small_layers.py"
PADDING = "layers/test_padding.py::test_outputs_at_every_step layers/test_padding.py::test_gradients -k numpy"
LOSSES = "losses/test_losses.py"
OPTIMIZERS = "optimizers/test_optimizers.py -k by_hand"

MUTATIONS = [
    # --- a sign ------------------------------------------------------------------------------------------------
    Mutation(
        "sign",
        "cells/lstm.py",
        "dc_prev = dc * f",
        "dc_prev = -dc * f",
        DERIVATIVE,
    ),
    Mutation(
        "sign",
        "cells/gru.py",
        "dh_prev = ds * r",
        "dh_prev = -ds * r",
        CELLS,
    ),
    Mutation(
        "sign",
        "losses/formulas.py",
        "np.maximum(z, 0) - y * z",
        "np.maximum(z, 0) + y * z",
        LOSSES,
    ),
    Mutation(
        "sign",
        "optimizers/rules.py",
        "return w + pushed(momentum, g, lr, mu), momentum",
        "return w + pushed(momentum, -g, lr, mu), momentum",
        OPTIMIZERS,
    ),
    # --- a gate in another's place -----------------------------------------------------------------------------
    Mutation(
        "gate swapped",
        "cells/lstm.py",
        "return dz_i, dz_f, dz_k, dz_o, dc_prev, dc",
        "return dz_f, dz_i, dz_k, dz_o, dc_prev, dc",
        DERIVATIVE,
    ),
    Mutation(
        "gate swapped",
        "cells/lstm.py",
        'gates=("i", "f", "k", "o")',
        'gates=("f", "i", "k", "o")',
        LECTURE,
    ),
    Mutation(
        "gate swapped",
        "cells/gru.py",
        "dz_z = d_sigmoid(dz, z, z_z)\n    dz_r",
        "dz_z = d_sigmoid(dz, r, z_z)\n    dz_r",
        CELLS,
    ),
    Mutation(
        "gate swapped",
        "layers/rnn_cells.py",
        'spec.gates.index("f")',
        'spec.gates.index("i")',
        "layers/test_layers.py::test_starting_weights",
    ),
    # --- a mask ignored ----------------------------------------------------------------------------------------
    Mutation(
        "mask ignored",
        "bptt/numpy_loop.py",
        "states[:, t + 1, idle] = states[:, t, idle]",
        "states[:, t + 1, idle] = 0",
        PADDING,
    ),
    Mutation(
        "mask ignored",
        "bptt/numpy_loop.py",
        "dstates[:, t, idle] += dstates[:, t + 1, idle]",
        "dstates[:, t, idle] += 0",
        PADDING,
    ),
    Mutation(
        "mask ignored",
        "losses/shapes.py",
        "kept = np.where(kept, weight, dtype.type(0))",
        "kept = np.full(kept.shape, weight)",
        LOSSES,
    ),
    Mutation(
        "mask ignored",
        "layers/pooling.py",
        "np.max(np.where(kept, x, -np.inf), axis=1, keepdims=True)",
        "np.max(x, axis=1, keepdims=True)",
        SMALL_LAYERS,
    ),
    Mutation(
        "mask ignored",
        "layers/embedding.py",
        "return x != 0 if self.mask_zero else None",
        "return None",
        "layers/test_layers.py::test_masks_that_go_on",
    ),
    # --- one too many, one too few -----------------------------------------------------------------------------
    Mutation(
        "off by one",
        "optimizers/classes.py",
        "alpha = lr * np.sqrt(1 - exact(self.beta_2) ** t) /",
        "alpha = lr * np.sqrt(1 - exact(self.beta_2) ** (t + 1)) /",
        OPTIMIZERS,
    ),
    Mutation(
        "off by one",
        "bptt/compiled_run.py",
        "self._last = T % slots[1]",
        "self._last = (T - 1) % slots[1]",
        "bptt/test_runs.py::test_compiled_equals_numpy -k sizes1",
        "numba",
    ),
    Mutation(
        "off by one",
        "bptt/numpy_loop.py",
        "(T - t) % bptt_steps == 0",
        "(T - t) % bptt_steps == 1",
        "layers/test_recurrent.py::test_bptt_steps_cuts_where_the_reference_does -k numpy",
    ),
    Mutation(
        "off by one",
        "bptt/compiled_loop.py",
        "now, before, after = t, t, t + 1\n",
        "now, before, after = t, t, t\n",
        "bptt/test_lecture.py -k numba",
        "numba",
    ),
    # --- transposed --------------------------------------------------------------------------------------------
    Mutation(
        "transposed",
        "bptt/numpy_loop.py",
        "value = dblocks[dtarget, t, taken] @ recurrent[n].T",
        "value = dblocks[dtarget, t, taken] @ recurrent[n]",
        LECTURE,
    ),
    Mutation(
        "transposed",
        "layers/core.py",
        "dx = flat @ self.kernel.T",
        "dx = flat @ self.kernel.reshape(self.kernel.T.shape)",
        LAYERS,
    ),
    Mutation(
        "transposed",
        "bptt/lecture.py",
        "dh_next = dz @ U.T\n    return np.stack(dx), dh_next, dW, dU, db",
        "dh_next = dz @ U\n    return np.stack(dx), dh_next, dW, dU, db",
        DERIVATIVE,
    ),
    Mutation(
        "transposed",
        "layers/recurrent.py",
        "y = h.swapaxes(0, 1).copy() if self.return_sequences",
        "y = h.reshape(*h.shape[1::-1], -1).copy() if self.return_sequences",
        LECTURE,
    ),
    # --- a bias forgotten --------------------------------------------------------------------------------------
    Mutation(
        "bias forgotten",
        "layers/core.py",
        "bias = self.bias if self.use_bias else np.zeros(self.units, self.dtype)",
        "bias = np.zeros(self.units, self.dtype)",
        LAYERS,
    ),
    Mutation(
        "bias forgotten",
        "bptt/numpy_loop.py",
        "sums = [part.sum(axis=(1, 2)).ravel()",
        "sums = [0 * part.sum(axis=(1, 2)).ravel()",
        LECTURE,
    ),
    Mutation(
        "bias forgotten",
        "bptt/numpy_loop.py",
        "blocks[block] += bias[g]",
        "blocks[block] = blocks[block] if which is plan.targets else blocks[block] + bias[g]",
        CELLS,
    ),
    Mutation(
        "bias forgotten",
        "bptt/hoisted.py",
        "copy_row(target[i], bias[g])",
        "clear_row(target[i])",
        "bptt/test_lecture.py -k numba",
        "numba",
    ),
    # --- what dropout keeps is not scaled ----------------------------------------------------------------------
    Mutation(
        "dropout scale forgotten",
        "layers/base.py",
        "np.multiply(keep, 1 / np.asarray(1 - rate, dtype), dtype=dtype)",
        "keep.astype(dtype)",
        LAYERS,
    ),
    Mutation(
        "dropout scale forgotten",
        "bptt/numpy_loop.py",
        "return x if drop is None else x * drop[n % len(drop), rows]",
        "return x if drop is None else x * (drop[n % len(drop), rows] != 0)",
        "bptt/test_runs.py::test_compiled_equals_numpy -k both",  # forward and back alike: no gradient check finds it
        "numba",
    ),
    Mutation(
        "dropout scale forgotten",
        "bptt/numpy_loop.py",
        "_dropped(dblocks[g] @ kernel.T, sequence.drop_x, g) for",
        "dblocks[g] @ kernel.T for",
        CELLS,
    ),
    Mutation(
        "dropout scale forgotten",
        "bptt/dropped.py",
        "multiply_by(out[i, column + begin : column + end], factor)",
        "multiply_by(out[i, column + begin : column + end], 1)",
        "bptt/test_runs.py::test_compiled_equals_numpy -k both",
        "numba",
    ),
    # --- a slot, or a moment, in another's place ---------------------------------------------------------------
    Mutation(
        "wrong slot",
        "optimizers/rules.py",
        "(np.sqrt(velocity) + epsilon), momentum, velocity",
        "(np.sqrt(velocity) + epsilon), velocity, momentum",
        OPTIMIZERS,
    ),
    Mutation(
        "wrong slot",
        "optimizers/rules.py",
        "lr * g / np.sqrt(variance + epsilon), velocity, average_gradient\n",
        "lr * g / np.sqrt(variance + epsilon), average_gradient, velocity\n",
        OPTIMIZERS,
    ),
    Mutation(
        "wrong moment",
        "kernels/lookups.py",
        "zip(sums, (rows, moment(rows)), strict=True)",
        "zip(sums, (rows, rows), strict=True)",
        "kernels/test_lookups.py",
    ),
    Mutation(
        "wrong slot",
        "cells/lstm.py",
        'states=("h", "c")',
        'states=("c", "h")',
        LECTURE,
    ),
    # --- along another axis ------------------------------------------------------------------------------------
    Mutation(
        "wrong axis",
        "layers/normalization.py",
        "dn.mean(axis=axes, keepdims=True)",
        "dn.mean(axis=self._others, keepdims=True)",
        SMALL_LAYERS,
    ),
    Mutation(
        "wrong axis",
        "activations.py",
        "return y * (dy - np.sum(dy * y, axis=-1, keepdims=True))",
        "return y * (dy - np.sum(dy * y, axis=0, keepdims=True))",
        "test_activations.py -k softmax",
    ),
    Mutation(
        "wrong axis",
        "activations.py",
        "return z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))",
        "return z - np.log(np.sum(np.exp(z), axis=0, keepdims=True))",
        LOSSES,
    ),
    # --- another reduction -------------------------------------------------------------------------------------
    Mutation(
        "wrong reduction",
        "losses/classes.py",
        "divisor = float(weights.sum())",
        "divisor = math.prod(shape)",
        LOSSES,
    ),
    Mutation(
        "wrong reduction",
        "bptt/numpy_loop.py",
        "np.add.at(out, index, dx)",
        "out[index] = dx",
        "layers/test_dense_gradient.py::test_the_dense_gradient_is_the_same -k numpy",
    ),
    Mutation(
        "wrong reduction",
        "bptt/compiled_run.py",
        "for other in sums[1:]:",
        "for other in sums[2:]:",
        "bptt/test_lecture.py -k numba",
        "numba",
    ),
    Mutation(
        "wrong reduction",
        "optimizers/base.py",
        'kept["gradient_accumulator"] / self.gradient_accumulation_steps',
        'kept["gradient_accumulator"]',
        OPTIMIZERS,
    ),
    # --- in layers of windows, in averages, in what goes elsewhere ---------------------------------------------
    Mutation(
        "off by one",
        "layers/windows.py",
        "return max(beyond, 0) // 2",
        "return -(-max(beyond, 0) // 2)",
        f"{SMALL_LAYERS} -k convolution",
    ),
    Mutation(
        "mask ignored",
        "layers/normalization.py",
        "kept = np.ones(x.shape[:1], bool) if mask is None else mask",
        "kept = np.ones(x.shape[:1], bool)",
        f"{SMALL_LAYERS} -k averages",
    ),
    Mutation(
        "wrong reduction",
        "layers/normalization.py",
        "dn = dn - shares * (dn.sum(axis=others, keepdims=True) + along)",
        "dn = dn - shares * dn.sum(axis=others, keepdims=True) - along / len(dn)",
        "layers/test_gradients.py::test_layers_that_read_masks",
    ),
    Mutation(
        "gate swapped",
        "interop/onnx_recurrent.py",
        '"LSTM", [0, 3, 1, 2]',
        '"LSTM", [0, 1, 3, 2]',
        "interop/test_onnx_export.py::test_any_mask",
    ),
    Mutation(
        "mask ignored",
        "interop/onnx_recurrent.py",
        "source, shown = valid.before, valid.left",
        "source, shown = valid.before, valid.mask",
        "interop/test_onnx_export.py::test_any_mask",
    ),
    Mutation(
        "transposed",
        "interop/torch.py",
        '_Entry("weight", "kernel", (2, 1, 0))',
        '_Entry("weight", "kernel", (2, 0, 1))',
        "interop/test_torch_models.py",
    ),
]


def misfits() -> list[str]:
    """Return what is wrong with the entries: a file or a test that is not there, a text that is not there once."""
    wrong = []
    for number, mutation in enumerate(MUTATIONS, 1):
        file = ROOT / "rnncore" / mutation.file
        if not file.is_file():
            wrong.append(f"{number}: there is no file {mutation.file}")
        elif (count := file.read_text().count(mutation.old)) != 1:
            wrong.append(f"{number}: {mutation.file} has {mutation.old!r} {count} times; expected once")
        for test in mutation.tests.split(" -")[0].split():
            path, _, name = test.partition("::")
            path = ROOT / "tests" / path
            if not path.is_file() or f"def {name}" not in path.read_text():
                wrong.append(f"{number}: there is no test {test}")
    return wrong


def copied(to: Path) -> Path:
    """Return a copy of the checkout: the faults are never in the one that is worked in."""
    ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "results", "build", "dist")
    return Path(shutil.copytree(ROOT, to / "rnncore", ignore=ignored))


def failure(root: Path, arguments: list[str], backend: str) -> str:
    """Return the first test that fails, or how pytest ended otherwise; empty where all pass.

    Raises
    ------
    ValueError
        There are no such tests.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",  # of a file changed twice in a second an old form would be taken
        "RNNCORE_BACKEND": backend,
        "RNNCORE_CACHE_DIR": str(root.parent / "kernels"),
    }
    briefly = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *briefly, *arguments]
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"no end within {TIMEOUT} s"
    if done.returncode in (4, 5):
        raise ValueError(f"pytest {shlex.join(arguments)} runs no test:\n{done.stdout}{done.stderr}")
    named = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "" if done.returncode == 0 else named[0] if named else f"pytest ended with {done.returncode}"


def found(root: Path, mutation: Mutation, arguments: list[str], sound: set[tuple[str, ...]]) -> str:
    """Return the first test that finds a fault; `sound` has the tests that passed without one.

    Raises
    ------
    RuntimeError
        A test fails without the fault.
    """
    run = (*arguments, mutation.backend)
    if run not in sound and (broken := failure(root, arguments, mutation.backend)):
        raise RuntimeError(f"without a fault: {broken}")
    sound.add(run)
    file = root / "rnncore" / mutation.file
    source = file.read_text()
    file.write_text(source.replace(mutation.old, mutation.new))
    try:
        return failure(root, arguments, mutation.backend)
    finally:
        file.write_text(source)


def main(arguments: list[str] | None = None) -> int:
    """Print what becomes of each fault; return 0 where all are found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="what the nearest tests miss against the quick run, too")
    parser.add_argument("--check", action="store_true", help="only whether each entry still fits the sources")
    parser.add_argument(
        "--only",
        type=int,
        nargs="+",
        metavar="N",
        choices=range(1, 1 + len(MUTATIONS)),
        help="entries by their number, from 1",
    )
    options = parser.parse_args(arguments)
    wrong = misfits()
    if wrong or options.check:
        print("\n".join(wrong) or f"{len(MUTATIONS)} entries fit the sources")
        return len(wrong) > 0
    chosen = [(n, mutation) for n, mutation in enumerate(MUTATIONS, 1) if not options.only or n in options.only]
    with tempfile.TemporaryDirectory() as away:
        root, caught, sound = copied(Path(away)), 0, set()
        for n, mutation in chosen:
            start = time.perf_counter()
            by = found(root, mutation, mutation.nearest(), sound)
            if not by and options.all:
                by = found(root, mutation, QUICK, sound)
            caught += bool(by)
            outcome = f"caught by {by}" if by else "MISSED"
            print(f"{n:3} {time.perf_counter() - start:6.1f} s  {mutation}\n{'':14}{outcome}", flush=True)
    print(f"caught {caught} of {len(chosen)}")
    return caught < len(chosen)


if __name__ == "__main__":
    raise SystemExit(main())
