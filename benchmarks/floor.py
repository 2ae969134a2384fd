"""The machine's own limit: the best rate of a float32 matrix product, whoever computes it.

    python -m benchmarks.floor numpy     one line of JSON: GFLOP/s by shape

`best` runs this in a process for each library and each kernel of OpenBLAS, which chooses among its kernels when it is
loaded, and not always well.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from typing import Any

from .peers import ROOT, keep_to, thread_limits

# (M, K, N): the products of a training step of the lecture's model over all steps, and a large square one.
SHAPES = ((2560, 128, 512), (2560, 512, 128), (128, 2560, 512), (1024, 1024, 1024))
CORES = ("", "Haswell", "Zen", "SkylakeX")  # OPENBLAS_CORETYPE; "" leaves the choice to OpenBLAS
SECONDS = 0.15  # for each shape


def rates(library: str) -> dict[str, float]:
    """Return GFLOP/s by shape, of the fastest run of each, by the `matmul` of "numpy" or "torch"."""
    module = importlib.import_module(library)
    ones = {"numpy": lambda shape: module.ones(shape, "float32"), "torch": module.ones}[library]
    found = {}
    for M, K, N in SHAPES:
        a, b, best = ones((M, K)), ones((K, N)), float("inf")
        end = time.perf_counter() + SECONDS
        while (begin := time.perf_counter()) < end:
            module.matmul(a, b)
            best = min(best, time.perf_counter() - begin)
        found[f"{M}×{K}×{N}"] = 2e-9 * M * K * N / best
    return found


def best(threads: int) -> dict[str, Any]:
    """Measure on so many threads.

    Returns
    -------
    dict
        ``"gflops"``, ``"by"`` (who, and at which shape), and ``"all"``: GFLOP/s by setting and shape.
    """
    cores = ("",) if "OPENBLAS_CORETYPE" in os.environ else CORES  # `--isa` has chosen
    settings = {f"NumPy, OPENBLAS_CORETYPE={core}" if core else "NumPy": ("numpy", core) for core in cores}
    found = {}
    for setting, (library, core) in {**settings, "PyTorch": ("torch", "")}.items():
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.floor", library],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, **thread_limits(threads), **({"OPENBLAS_CORETYPE": core} if core else {})},
        )
        keep_to(process.pid, threads)
        output, _ = process.communicate()
        if process.returncode == 0:  # else: not installed, or a kernel that this processor has not
            found[setting] = json.loads(output)
    gflops, setting, shape = max((rate, setting, shape) for setting, by in found.items() for shape, rate in by.items())
    return {"gflops": gflops, "by": f"{setting} at {shape}", "all": found}


if __name__ == "__main__":
    print(json.dumps(rates(sys.argv[1])))
