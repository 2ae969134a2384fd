"""One pool of threads for the kernels, which run without the interpreter's lock."""

from __future__ import annotations

import atexit
import logging  # noqa: F401  its hook takes a lock that the compiler needs: of hooks, the last one registered runs first
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from .. import config
from ..lock import engine_lock

_WORTH_A_THREAD = 500_000  # floating point operations below which waking a thread costs more than it brings

TURNS = 2_000_000  # of a busy wait: about a millisecond
NAP, LONGEST_NAP = 1e-4, 5e-2  # seconds that a thread sleeps which has waited in vain: at first, and again and again


class Job(NamedTuple):
    """A call of a kernel on all rows, which may be cut into ranges of rows.

    Attributes
    ----------
    function : callable
        What `workers.shared` returned, of ``(*arrays, begin, end, …)``.
    arrays : tuple
    rows : int
    work : int
        Floating point operations, about.
    out : object
        What `run` returns for the job when it is done.
    ends : ndarray of shape (rows,), optional
        The work of the rows up to and with each, where they have not the same.
    """

    function: Callable | None
    arrays: tuple[Any, ...]
    rows: int
    work: int
    out: Any = None
    ends: np.ndarray | None = None

    def edge(self, n: int, parts: int) -> int:
        """Return where part n of `parts` begins: rows are cut in fours, which the kernels take at a time."""
        if n == parts:
            return self.rows
        if self.ends is None:
            return 4 * (self.rows * n // (4 * parts))
        return min(self.rows, 4 * ((int(np.searchsorted(self.ends, self.ends[-1] * n / parts)) + 2) // 4))


def done(out: Any) -> Job:
    """Return a job of which nothing is left to do."""
    return Job(None, (), 0, 0, out)


class Helper:
    """A thread that makes the calls in its mail (see workers.py): busily for a moment, then it sleeps.

    In training the next call comes soon, and to wake a thread takes longer than many a job.
    """

    def __init__(self, mail: np.ndarray):
        from . import workers

        self._code, self._mail = workers, mail
        self._wanted, self._asleep, self._bell = False, False, threading.Event()
        threading.Thread(target=self._work, name="rnncore", daemon=True).start()

    def wake(self) -> None:
        """Have the thread look into its mail until `sleep`."""
        self._wanted = True  # before the look at whether it sleeps: it looks the other way round
        if self._asleep:
            self._bell.set()

    def sleep(self) -> None:
        """Let it sleep when it has made its calls."""
        self._wanted = False

    @property
    def given(self) -> int:
        """How many calls it was ever given."""
        return int(self._mail[self._code.GIVEN])

    @property
    def idle(self) -> bool:
        """Whether it has made all of them."""
        return self._mail[self._code.DONE] == self.given

    def reach(self, number: int) -> None:
        """Wait until it has made so many calls."""
        while not self._code.reached(self._mail, number, TURNS):
            self._bell.set()
            time.sleep(NAP)

    def wait(self, number: int) -> None:
        """Wait until it has made so many calls; MemoryError if one of its calls failed."""
        self.reach(number)
        if self._mail[self._code.FAILED]:
            self._mail[self._code.FAILED] = 0
            raise MemoryError("a thread found no memory for its part of the work")

    def _work(self):
        nap = NAP
        while True:
            before = self.given
            self._code.help_out(self._mail, TURNS)
            self._bell.clear()
            self._asleep = True
            if not self._wanted and self.idle:
                self._bell.wait()
            else:  # who wants it compiles something first, perhaps, and needs the interpreter
                nap = NAP if self.given > before else min(2 * nap, LONGEST_NAP)
                self._bell.wait(nap)
            self._asleep = False


class Crew:
    """Helpers, and what they are at; fewer than asked for where the system has no more threads."""

    def __init__(self, count: int):
        from . import workers

        workers.help_out(np.zeros(workers.MAIL, np.int64), 0)  # compiled here, where an error is told of
        self.mails, self.helpers = np.zeros((count, workers.MAIL), np.int64), []
        for mail in self.mails:
            try:
                self.helpers.append(Helper(mail))
            except RuntimeError as error:
                self.mails = self.mails[: len(self.helpers)]
                config.warn_once(
                    "no more threads",
                    f"{len(self.helpers) + 1} of {count + 1} threads are used, to the same results: {error}. "
                    "RNNCORE_THREADS and set_threads ask for fewer",
                )
                break
        self.jobs: tuple[Job, ...] = ()  # whose arrays a helper may still use

    def begin(self, jobs: tuple[Job, ...]) -> Callable[[], None]:
        """Have a helper do jobs, and return what waits for it."""
        helper = self.helpers[0]
        self.jobs = jobs if all(helper.idle for helper in self.helpers) else (*self.jobs, *jobs)
        helper.wake()
        try:
            for job in jobs:
                if job.rows:
                    job.function(*job.arrays, 0, 0, np.array([0, job.rows]), self.mails[:1])
        finally:
            helper.sleep()
        return partial(helper.wait, helper.given)

    def run(self, jobs: tuple[Job, ...], parts: int) -> None:
        """Do jobs in so many parts, or as many as there are threads for: the first one here."""
        helpers, mails = self.helpers[: parts - 1], self.mails[: parts - 1]
        parts = len(helpers) + 1
        self.jobs = (*self.jobs, *jobs)
        try:
            for helper in helpers:
                helper.wake()
            for job in jobs:
                if job.rows:
                    edges = np.array([job.edge(n, parts) for n in range(1, parts + 1)])
                    job.function(*job.arrays, 0, int(edges[0]), edges, mails)
        finally:
            self._wait(helpers)

    def run_apart(self, *parts: list[Job]) -> None:
        """Do each part's jobs, one after the other, on a thread of its own: the first part's here."""
        helpers = self.helpers[: len(parts) - 1]
        self.jobs = (*self.jobs, *chain(*parts))
        try:
            for n, helper in enumerate(helpers):
                helper.wake()
                for job in parts[n + 1]:
                    if job.rows:
                        job.function(*job.arrays, 0, 0, np.array([0, job.rows]), self.mails[n : n + 1])
            for job in chain(parts[0], *parts[len(helpers) + 1 :]):
                if job.rows:
                    job.function(*job.arrays, 0, job.rows, *_ALONE)
        finally:
            self._wait(helpers)

    def _wait(self, helpers):
        """Wait for all, come what may: they write into arrays that are used again."""
        for helper in helpers:
            helper.sleep()
        caught, waiting = None, list(helpers)
        while waiting:
            try:
                waiting[-1].wait(waiting[-1].given)
                waiting.pop()
            except BaseException as error:  # an interrupt, or no memory
                caught = error
        self.jobs = ()
        if caught is not None:
            raise caught


_crews: dict[int, Crew] = {}
_busy = threading.RLock()  # which an interrupt may leave taken: the thread that it came to gets it again
_ALONE = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)


def _crew() -> Crew:
    count = config.threads() - 1
    if count not in _crews:
        _crews[count] = Crew(count)
    return _crews[count]


def _finish() -> None:
    """Wait for all that was begun: a process that ends takes its arrays along, one forked off has no helpers."""
    for crew in _crews.values():
        for helper in crew.helpers:
            helper.reach(helper.given)


_held: list[Any] = []  # the compiler's lock, while this process is forked


def _before_fork() -> None:
    """Wait until no other thread is in the middle of what the child needs: there, it would never end.

    That is a call of a layer, a helper's call, an import of what compiles, and a kernel that is compiled. The engine's
    lock comes first, as it does for who computes.
    """
    engine_lock.acquire()
    _finish()
    while "rnncore.compiler.jit" in sys.modules:
        for name in _under_way():
            import_module(name)  # waits for the thread that imports it
        from .jit import compiler_lock

        compiler_lock.acquire()
        if not _under_way():
            _held.append(compiler_lock)
            return
        compiler_lock.release()


def _under_way() -> list[str]:
    """Return the modules that are just being imported, of the packages that kernels need."""
    ours = [name for name in list(sys.modules) if name.partition(".")[0] in ("rnncore", "numba", "llvmlite", "numpy")]
    specs = ((name, getattr(sys.modules.get(name), "__spec__", None)) for name in ours)
    return [name for name, spec in specs if getattr(spec, "_initializing", False)]


def _after_fork() -> None:
    if _held:
        _held.pop().release()
    engine_lock.release()


def _start_anew() -> None:
    global _busy
    _busy = threading.RLock()
    _crews.clear()
    _after_fork()


atexit.register(_finish)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_start_anew)


def parts_of(*jobs: Job) -> int:
    """Return how many threads are worth doing jobs together."""
    work = rows = 0
    for job in jobs:
        work, rows = work + job.work, max(rows, job.rows)
    return max(1, min(config.threads(), work // _WORTH_A_THREAD, rows // 4))


def run(*jobs: Job) -> list[Any]:
    """Do jobs, split over the threads where that pays, and return their `out`.

    They do not wait for one another: one may go by what another before it left in the same rows, but in no others.
    However many threads there are, each row is computed in the same way: results do not depend on their number.
    """
    if not jobs:
        return []
    parts = parts_of(*jobs)
    if parts > 1 and _busy.acquire(blocking=False):  # otherwise another thread of the user's has them
        try:
            _crew().run(jobs, parts)
        finally:
            _busy.release()
    else:
        for job in jobs:
            if job.rows:
                job.function(*job.arrays, 0, job.rows, *_ALONE)
    return [job.out for job in jobs]


def run_apart(*parts: Sequence[Sequence[Job]]) -> None:
    """Do parts of a work that need nothing of one another; each in as many stages, of jobs that may go by those before.

    Where there are as many threads, each part is the work of one, who waits for no other before the end.
    """
    flat = [[*chain(*stages)] for stages in parts]
    work = sum(job.work for job in chain(*flat))
    alone = len(parts) > 1 and config.threads() == len(parts) and work >= len(parts) * _WORTH_A_THREAD
    if alone and _busy.acquire(blocking=False):
        try:
            _crew().run_apart(*flat)
        finally:
            _busy.release()
    else:
        for stage in zip(*parts, strict=True):
            run(*chain(*stage))


def begin(*jobs: Job) -> Callable[[], list[Any]]:
    """Have another thread do jobs while this one goes on with what is no job; return what waits for their `out`."""
    work = sum(job.work for job in jobs)
    if work >= _WORTH_A_THREAD and config.threads() > 1 and _busy.acquire(blocking=False):
        try:
            crew = _crew()
            wait = crew.begin(jobs) if crew.helpers else partial(run, *jobs)
        finally:
            _busy.release()
        return lambda: (wait(), [job.out for job in jobs])[1]
    found = run(*jobs) if any(job.rows for job in jobs) else [job.out for job in jobs]
    return lambda: found
