"""Who is measured, and how one asks a peer: a table, and the near end of the pipe to its process."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cases import Case

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Peer:
    """A library in one of its ways to run.

    Attributes
    ----------
    needs : tuple of str
        Packages without which it is skipped.
    adapter : str
        ``module:class`` in the worker, made with `arguments`.
    environment : dict of str to str
    needs_programs : tuple of str
        Programs without which it is skipped.
    cannot : callable
        Returns why the peer has no such case, or None.
    differs : tuple of (callable, str)
        Where a condition holds of a case, what the peer does otherwise there.
    keeps : bool
        Whether what a process compiles is found on disk by the next.
    swept : bool
        Whether the sweep has it unless told otherwise.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    adapter: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    needs_programs: tuple[str, ...] = ()
    cannot: Callable[[Case], str | None] = lambda case: None
    differs: tuple[tuple[Callable[[Case], bool], str], ...] = ()
    keeps: bool = False
    swept: bool = True

    def missing(self) -> list[str]:
        """Return what of `needs` and `needs_programs` is not installed."""
        packages = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return packages + [name for name in self.needs_programs if shutil.which(name) is None]


def _trains(case):
    return case.work == "train"


def _drops(case):
    return bool(case.dropout or case.recurrent_dropout)


def _as_in_the_lecture(case):
    plain = not (case.mask or case.bidirectional or _drops(case))
    return plain and case.depth == 1 and case.layer in ("LSTM", "SimpleRNN")


def _dropout_in_torch(case):
    return "torch.nn has no dropout inside a recurrence" if _drops(case) else None


def _padded_in_torch(case):
    if not case.mask:
        return "as pytorch: there is no padding"
    return _dropout_in_torch(case) or ("it is written for one layer" if case.depth > 1 else None)


_REPEATS = (_trains, "a word that comes again in a batch may be computed once: on other words other times")
_DRAWS = (_drops, "draws other numbers than rnncore; compared without dropout")
_LOOK_UPS = (_trains, "Adam's second moment of a word's vector adds up the squares of its look-ups")
_SUMS = (_trains, "Adam's second moment of a word's vector is that of its look-ups' sum")
_BARE = (lambda case: case.work == "predict", "a bare forward pass under inference_mode, batch by batch")
_PACKED = (lambda case: case.mask, "packed, sequences sorted by length in each step")
_BATCHES = (lambda case: case.work == "predict", "a bare forward pass, batch by batch")
_KERAS = "benchmarks.adapters.keras_like:KerasLike"

PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "rnncore",
            "rnncore",
            ("numba",),
            _KERAS,
            ("rnncore",),
            {"RNNCORE_BACKEND": "numba"},
            differs=(_REPEATS, _LOOK_UPS),
            keeps=True,
        ),
        Peer(
            "rnncore-dense",
            "rnncore, dense_gradient",
            ("numba",),
            _KERAS,
            ("rnncore", "", "yes"),
            {"RNNCORE_BACKEND": "numba"},
            cannot=lambda case: None if _trains(case) else "predicts as rnncore does",
            differs=(_REPEATS, _SUMS),
            keeps=True,
            swept=False,
        ),
        Peer(
            "rnncore-numpy",
            "rnncore, NumPy loop",
            (),
            _KERAS,
            ("rnncore",),
            {"RNNCORE_BACKEND": "numpy"},
            differs=(_LOOK_UPS,),
            swept=False,
        ),
        Peer(
            "keras-tf",
            "Keras on TensorFlow, graph",
            ("keras", "tensorflow"),
            _KERAS,
            ("keras", "no"),
            {"KERAS_BACKEND": "tensorflow"},
            differs=(_DRAWS, _LOOK_UPS),
        ),
        Peer(
            "keras-tf-jit",
            "Keras on TensorFlow, jit_compile",
            ("keras", "tensorflow"),
            _KERAS,
            ("keras", "yes"),
            {"KERAS_BACKEND": "tensorflow"},
            differs=(_DRAWS, _LOOK_UPS),
            swept=False,
        ),
        Peer(
            "keras-jax",
            "Keras on JAX",
            ("keras", "jax"),
            _KERAS,
            ("keras",),
            {"KERAS_BACKEND": "jax"},
            differs=(_DRAWS, _SUMS),
        ),
        Peer(
            "lecture",
            "the lecture's loops, NumPy",
            (),
            "benchmarks.adapters.lecture:Lecture",
            cannot=lambda case: None if _as_in_the_lecture(case) else "one LSTM or SimpleRNN, no mask, no dropout",
            differs=(_SUMS,),
            swept=False,
        ),
        Peer(
            "onnxruntime",
            "ONNX Runtime",
            ("onnx", "onnxruntime"),
            "benchmarks.adapters.onnx_runtime:OnnxRuntime",
            cannot=lambda case: "it only predicts" if _trains(case) else None,
            differs=((lambda case: True, "a bare forward pass of the file that rnncore writes, batch by batch"),),
            swept=False,
        ),
        Peer(
            "pytorch",
            "PyTorch",
            ("torch",),
            "benchmarks.adapters.pytorch:PyTorch",
            cannot=_dropout_in_torch,
            differs=(_SUMS, _BARE, _PACKED),
        ),
        Peer(
            "pytorch-padded",
            "PyTorch, padded",
            ("torch",),
            "benchmarks.adapters.pytorch:PyTorchPadded",
            cannot=_padded_in_torch,
            differs=(_SUMS, _BARE, (lambda case: True, "computes the padded steps as well, and drops their states")),
            swept=False,
        ),
        Peer(
            "pytorch-compiled",
            "PyTorch, torch.compile",
            ("torch",),
            "benchmarks.adapters.pytorch:PyTorchCompiled",
            needs_programs=(os.environ.get("CXX", "g++"),),  # as torch chooses its compiler
            cannot=_dropout_in_torch,
            differs=(
                _SUMS,
                _BARE,
                _PACKED,
                (lambda case: True, "the graph ends before the recurrence: compiled is the look-up, all else is not"),
            ),
            keeps=True,
            swept=False,
        ),
        Peer(
            "jax-scan",
            "JAX, lax.scan",
            ("jax",),
            "benchmarks.adapters.jax_scan:JaxScan",
            cannot=lambda case: "no dropout is written for it" if _drops(case) else None,
            differs=(_SUMS, _BATCHES),
            swept=False,
        ),
    )
}


class PeerError(RuntimeError):
    """A peer's process answered with an error, or not at all."""


class PeerEnded(PeerError):
    """A peer's process ended, and with it what it had loaded."""


class Worker:
    """The process of a peer, asked by methods of its `Session`: ``worker.ask("time", steps=3)``.

    Parameters
    ----------
    peer : Peer
    threads : int
        By environment variables, and by leaving it that many processors where the system can.
    environment : dict of str to str
        More variables.
    """

    def __init__(self, peer: Peer, threads: int, environment: dict[str, str] | None = None):
        self.peer = peer
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer.adapter, *peer.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env={**os.environ, **thread_limits(threads), **peer.environment, **(environment or {})},
        )
        keep_to(self._process.pid, threads)

    def send(self, do: str, **arguments: Any) -> None:
        """Ask without waiting for the answer."""
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        except OSError:
            raise PeerEnded(self._last_words()) from None

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to what was sent."""
        line = self._process.stdout.readline()
        if not line:
            raise PeerEnded(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send, and wait."""
        self.send(do, **arguments)
        return self.answer()

    def close(self) -> None:
        """End the process."""
        with self._log, self._process:
            self._process.kill()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _last_words(self):
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()[-3:]
        return f"the process of {self.peer.name} ended: {' / '.join(lines) or 'it said nothing'}"


def thread_limits(threads: int) -> dict[str, str]:
    """Return the environment variables that the libraries read at their import."""
    names = ("OMP", "OPENBLAS", "MKL", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")
    count = str(threads)
    return {
        **{f"{name}_THREADS" if name.startswith("TF") else f"{name}_NUM_THREADS": count for name in names},
        "RNNCORE_THREADS": count,
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


# What keeps a library from instructions that the processor has: by their own variables, read at their import. NumPy's
# own loops, TensorFlow's and ONNX Runtime's have none.
ISA = {
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",  # those of that processor
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
}


def keep_to(process: int, threads: int) -> None:
    """Let a process run on that many of our processors only; without such a call in the system do nothing."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, sorted(os.sched_getaffinity(0))[:threads])
