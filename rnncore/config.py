"""What holds for the whole process: the default dtype, the backend of the time loop, the threads, the seed."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

BACKENDS = ("numba", "numpy")
DTYPES = ("float32", "float64", "complex128")  # the last one for complex-step gradient checks only

MOST_THREADS = 1024

_settings: dict[str, Any] = {"floatx": "float32", "backend": None, "threads": None}
_root = np.random.SeedSequence()
_said: set[str] = set()


def warn_once(subject: str, message: str) -> None:
    """Warn, the first time in this process that there is something to say about the subject."""
    if subject not in _said:
        _said.add(subject)
        warnings.warn(message, stacklevel=3)


def floatx() -> str:
    """Return the dtype that layers compute in unless told otherwise: ``"float32"`` or ``"float64"``."""
    return _settings["floatx"]


def set_floatx(dtype: str) -> None:
    """Set the default dtype of layers made from now on.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"set_floatx: dtype is {dtype!r}; allowed: 'float32', 'float64'")
    _settings["floatx"] = dtype


def checked_dtype(dtype: str | np.dtype | type | None) -> np.dtype:
    """Return `dtype` (None: the default) as a numpy dtype the engine computes in, or raise ValueError."""
    try:
        found = np.dtype(floatx() if dtype is None else dtype)
    except (TypeError, ValueError):  # NumPy makes nothing of it
        found = None
    if found is None or found.name not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; allowed: 'float32', 'float64'")
    return found


def backend() -> str:
    """Return what runs the time loop: ``"numba"`` (default) or ``"numpy"``, first set by ``RNNCORE_BACKEND``."""
    if _settings["backend"] is None:
        set_backend(os.environ.get("RNNCORE_BACKEND") or "numba")
    return _settings["backend"]


def compiles(dtype: str | np.dtype) -> bool:
    """Return whether kernels run compiled now, on arrays of `dtype`: complex numbers are NumPy's."""
    return backend() == "numba" and np.dtype(dtype).kind != "c"


def set_backend(name: str) -> None:
    """Choose what runs the time loop from the next call of a layer on; its backward pass runs on the same.

    Parameters
    ----------
    name : {"numba", "numpy"}

    Warns
    -----
    UserWarning
        numba compiles nothing (``NUMBA_DISABLE_JIT=1``): NumPy runs the time loop then. Said once.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend (set_backend or RNNCORE_BACKEND) is {name!r}; allowed: {', '.join(BACKENDS)}")
    if name == "numba" and _compiles_nothing():
        name = "numpy"
        warn_once("numba is off", "NUMBA_DISABLE_JIT is set, and numba compiles nothing: the backend 'numpy' is used")
    _settings["backend"] = name


def _compiles_nothing() -> bool:
    """Whether numba was told to compile nothing: what it was told, or would be when it is imported."""
    settings = getattr(sys.modules.get("numba"), "config", None)
    if settings is not None:
        return bool(settings.DISABLE_JIT)
    try:
        return bool(int(os.environ.get("NUMBA_DISABLE_JIT", "0")))
    except ValueError:  # numba passes over it too
        return False


class Compiling:
    """What compiling kernels took of this process's time: each once a machine, after that they come from disk.

    Attributes
    ----------
    seconds : float
    begin : callable
        Called before each: see `utils.progress.compiling_told`.
    """

    def __init__(self) -> None:
        self.seconds: float = 0.0
        self.begin: Callable[[], None] = lambda: None


compiling = Compiling()


def threads() -> int:
    """Return the number of threads a kernel uses: as set, else ``RNNCORE_THREADS``, else the processors we may use."""
    if _settings["threads"] is None:
        set_threads(os.environ.get("RNNCORE_THREADS") or min(processors(), MOST_THREADS))
    return _settings["threads"]


def set_threads(count: int | str) -> None:
    """Set the number of threads of the kernels; results do not depend on it.

    Parameters
    ----------
    count : int
        From 1 to 1024.
    """
    if not str(count).isdecimal() or not 1 <= int(count) <= MOST_THREADS:
        raise ValueError(
            f"threads (set_threads or RNNCORE_THREADS) is {count!r}; expected a whole number from 1 to {MOST_THREADS}"
        )
    _settings["threads"] = int(count)


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_seed(seed: int) -> None:
    """Seed every generator made from now on (initial weights, dropout, shuffling).

    Parameters
    ----------
    seed : int
        At least 0.
    """
    global _root
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"set_seed: seed is {seed!r}; expected a whole number of at least 0")
    _root = np.random.SeedSequence(seed)


def new_seed() -> np.random.SeedSequence:
    """Return the next independent seed that comes from the process's own."""
    return _root.spawn(1)[0]


@contextmanager
def seeds_apart() -> Iterator[None]:
    """Let what is made in the block take other seeds than the process's, so that what comes after has the same ones."""
    global _root
    before, _root = _root, np.random.SeedSequence(0)
    try:
        yield
    finally:
        _root = before


def new_generator(seed: int | np.random.Generator | np.random.SeedSequence | None = None) -> np.random.Generator:
    """Return a generator of its own: from `seed`, or else from the next `new_seed`."""
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(new_seed() if seed is None else seed)
