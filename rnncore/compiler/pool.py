"""The worker pool: kernels run without the interpreter's lock, and several threads share the rows of each.

A kernel and its arguments are a `Job`. `run` cuts a job into shards of rows, one a thread; a thread computes each row
in the same way, so results do not depend on the number of threads. Workers get their shards from compiled code: see
workers.py. Waking a thread takes longer than many a job, so a worker that has nothing to do waits busily for a moment.
"""

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

# Floating point operations that a thread must get for its call to pay: 5 µs at a processor's best rate, 110 GFLOP/s
# where it was measured; to give a call and to wait for it takes 6.5 µs.
_WORTH_A_THREAD = 500_000

SPINS = 2_000_000  # turns of a busy wait: about a millisecond
NAP, LONGEST_NAP = 1e-4, 5e-2  # seconds that a thread sleeps after a wait in vain: at first, and at most

_NO_EDGES, _NO_QUEUES = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)


class Job(NamedTuple):
    """A call of a kernel on all rows, which may be cut into ranges of rows.

    Attributes
    ----------
    function : callable or None
        What `workers.parallel_kernel` returned, of ``(*arrays, begin, end, …)``.
    arrays : tuple
    rows : int
    work : int
        Floating point operations, about.
    out : object
        What `run` returns for the job when it is done.
    ends : ndarray of shape (rows,), optional
        The work of the rows up to and with each, where they have not the same.
    """

    function: Callable[..., None] | None
    arrays: tuple[Any, ...]
    rows: int
    work: int
    out: Any = None
    ends: np.ndarray | None = None

    def edge(self, n: int, shards: int) -> int:
        """Return where shard n of `shards` begins: a multiple of four, as kernels take four rows at a time."""
        if n == shards:
            return self.rows
        if self.ends is None:
            return 4 * (self.rows * n // (4 * shards))
        return min(self.rows, 4 * ((int(np.searchsorted(self.ends, self.ends[-1] * n / shards)) + 2) // 4))

    def call(self, begin: int, end: int, edges: np.ndarray = _NO_EDGES, queues: np.ndarray = _NO_QUEUES) -> None:
        """Do the rows from `begin` to `end` here, and put those from edges[n] to edges[n + 1] into queues[n]."""
        if self.function is not None and self.rows:
            self.function(*self.arrays, begin, end, edges, queues)


def done(out: Any) -> Job:
    """Return a job of which nothing is left to do."""
    return Job(None, (), 0, 0, out)


class Worker:
    """A thread that makes the calls in its queue: busily for a moment, as the next one comes soon; then it sleeps."""

    def __init__(self, queue: np.ndarray):
        from . import workers

        self._code, self._queue = workers, queue
        self._wanted, self._asleep, self._bell = False, False, threading.Event()
        threading.Thread(target=self._work, name="rnncore", daemon=True).start()

    def wake(self) -> None:
        """Have the thread look into its queue until `sleep`."""
        self._wanted = True  # before the look at whether it sleeps: the thread looks the other way round
        if self._asleep:
            self._bell.set()

    def sleep(self) -> None:
        """Let it sleep when it has made its calls."""
        self._wanted = False

    @property
    def given(self) -> int:
        """How many calls it was ever given."""
        return int(self._queue[self._code.GIVEN])

    @property
    def idle(self) -> bool:
        """Whether it has made all of them."""
        return self._queue[self._code.DONE] == self.given

    def reach(self, number: int) -> None:
        """Wait until it has made so many calls."""
        while not self._code.reached(self._queue, number, SPINS):
            self._bell.set()
            time.sleep(NAP)

    def wait(self, number: int) -> None:
        """Wait until it has made so many calls; MemoryError if one of its calls failed."""
        self.reach(number)
        self._code.check(self._queue)

    def _work(self):
        nap = NAP
        while True:
            before = self.given
            self._code.serve(self._queue, SPINS)
            self._bell.clear()
            self._asleep = True
            if not self._wanted and self.idle:
                self._bell.wait()
            else:  # who wants it compiles something first, perhaps, and needs the interpreter
                nap = NAP if self.given > before else min(2 * nap, LONGEST_NAP)
                self._bell.wait(nap)
            self._asleep = False


class WorkerPool:
    """Workers and the jobs that they are at; fewer workers than asked for where the system has no more threads."""

    def __init__(self, count: int):
        from . import workers

        workers.serve(np.zeros(workers.QUEUE, np.int64), 0)  # compiled here, where an error is told of
        self._code = workers
        self.queues, self.workers = np.zeros((count, workers.QUEUE), np.int64), []
        for queue in self.queues:
            try:
                self.workers.append(Worker(queue))
            except RuntimeError as error:
                self.queues = self.queues[: len(self.workers)]
                config.warn_once(
                    "no more threads",
                    f"{len(self.workers) + 1} of {count + 1} threads are used, to the same results: {error}. "
                    "RNNCORE_THREADS and set_threads ask for fewer",
                )
                break
        self.jobs: tuple[Job, ...] = ()  # whose arrays a worker may still use

    def begin(self, jobs: tuple[Job, ...]) -> Callable[[], None]:
        """Have a worker do jobs, and return what waits for it."""
        worker = self.workers[0]
        self.jobs = jobs if all(worker.idle for worker in self.workers) else (*self.jobs, *jobs)
        try:
            self._give(0, jobs)
        finally:
            worker.sleep()
        return partial(worker.wait, worker.given)

    def run(self, jobs: tuple[Job, ...], shards: int) -> None:
        """Do jobs in so many shards, or as many as there are threads for: the first one here."""
        workers, queues = self.workers[: shards - 1], self.queues[: shards - 1]
        shards = len(workers) + 1
        self.jobs = (*self.jobs, *jobs)
        try:
            for worker in workers:
                worker.wake()
            for job in jobs:
                edges = np.array([job.edge(n, shards) for n in range(1, shards + 1)])
                job.call(0, int(edges[0]), edges, queues)
        finally:
            self._wait(workers)

    def run_apart(self, *parts: list[Job]) -> None:
        """Do each part's jobs, one after the other, on a thread of its own: the first part's here.

        Calls are written down some at a time, those made here too: after each of them, Python would go on with cold
        caches. (Next to a kernel of half a millisecond a call takes 40 µs, among other calls 8.)
        """
        workers, code = self.workers[: len(parts) - 1], self._code
        own = np.zeros((1, code.QUEUE), np.int64)  # anew: what an interrupt leaves in one is never made
        apart, here = parts[1 : len(workers) + 1], [*chain(parts[0], *parts[len(workers) + 1 :])]
        self.jobs = (*self.jobs, *chain(*parts))
        try:
            for first in range(0, max(len(jobs) for jobs in (here, *apart)), code.SLOTS):
                some = slice(first, first + code.SLOTS)
                for n, jobs in enumerate(apart):
                    self._give(n, jobs[some])
                _put(here[some], own)
                code.serve(own[0], 1)
            code.check(own[0])
        finally:
            self._wait(workers)

    def _give(self, n, jobs):
        """Have worker n do all rows of jobs."""
        self.workers[n].wake()
        _put(jobs, self.queues[n : n + 1])

    def _wait(self, workers):
        """Wait for all, come what may: they write into arrays that are used again."""
        for worker in workers:
            worker.sleep()
        caught, waiting = None, list(workers)
        while waiting:
            try:
                waiting[-1].wait(waiting[-1].given)
                waiting.pop()
            except BaseException as error:  # an interrupt, or no memory
                caught = error
        self.jobs = ()
        if caught is not None:
            raise caught


def _put(jobs, queue):
    """Put calls for all rows of jobs into a queue, (1, QUEUE)."""
    for job in jobs:
        job.call(0, 0, np.array([0, job.rows]), queue)


_pools: dict[int, WorkerPool] = {}
_busy = threading.RLock()  # which an interrupt may leave taken: the thread that it came to gets it again


def _pool() -> WorkerPool:
    count = config.threads() - 1
    if count not in _pools:
        _pools[count] = WorkerPool(count)
    return _pools[count]


def shards_of(*jobs: Job) -> int:
    """Return how many threads are worth doing jobs together."""
    work = rows = 0
    for job in jobs:
        work, rows = work + job.work, max(rows, job.rows)
    return max(1, min(config.threads(), work // _WORTH_A_THREAD, rows // 4))


def run(*jobs: Job) -> list[Any]:
    """Do jobs, split over the threads where that pays, and return their `out`.

    Jobs do not wait for one another: one may use what another before it left in the same rows, but in no others.
    """
    if not jobs:
        return []
    shards = shards_of(*jobs)
    if shards > 1 and _busy.acquire(blocking=False):  # otherwise another thread of the user's has the workers
        try:
            _pool().run(jobs, shards)
        finally:
            _busy.release()
    else:
        for job in jobs:
            job.call(0, job.rows)
    return [job.out for job in jobs]


def run_apart(*parts: Sequence[Sequence[Job]]) -> None:
    """Do parts of a work that need nothing of one another.

    Each part is a sequence of stages, as many in each part; a job may use what the stages before it left in its part.
    With as many threads as parts each part is the work of one thread, which waits for no other before the end. (Where
    two processors share no cache, a training step of the lecture with dropout takes 12.0 ms so, and 15.4 otherwise.)
    """
    flat = [[*chain(*stages)] for stages in parts]
    work = sum(job.work for job in chain(*flat))
    alone = len(parts) > 1 and config.threads() == len(parts) and work >= len(parts) * _WORTH_A_THREAD
    if alone and _busy.acquire(blocking=False):
        try:
            _pool().run_apart(*flat)
        finally:
            _busy.release()
    else:
        for stage in zip(*parts, strict=True):
            run(*chain(*stage))


def begin(*jobs: Job) -> Callable[[], list[Any]]:
    """Have a worker do jobs while this thread goes on in Python; return what waits for their `out`.

    (A plain training step of the lecture takes 3 to 7 % less so.)
    """
    work = sum(job.work for job in jobs)
    if work >= _WORTH_A_THREAD and config.threads() > 1 and _busy.acquire(blocking=False):
        try:
            pool = _pool()
            wait = pool.begin(jobs) if pool.workers else partial(run, *jobs)
        finally:
            _busy.release()
        return lambda: (wait(), [job.out for job in jobs])[1]
    found = run(*jobs) if any(job.rows for job in jobs) else [job.out for job in jobs]
    return lambda: found


# --- processes that end or fork -------------------------------------------------------------------------------------

# The modules that bring the compiler: while one is imported, or a kernel compiled, a child could never compile.
_COMPILING = [f"{__package__}.{name}" for name in ("cache", "jit", "tile", "workers")]
_held: list[Any] = []  # the compiler's lock, while this process is forked


def _finish() -> None:
    """Wait for all that was begun: a process that ends takes its arrays along, one forked off has no workers."""
    for pool in _pools.values():
        for worker in pool.workers:
            worker.reach(worker.given)


def _before_fork() -> None:
    """Wait until no other thread is in the middle of what the child needs: there, it would never end.

    That is a call of a layer, a worker's call, an import of what compiles, and a kernel that is compiled. The engine's
    lock comes first, as it does for who computes.
    """
    engine_lock.acquire()
    _finish()
    while any(name in sys.modules for name in _COMPILING):
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
    _pools.clear()
    _after_fork()


atexit.register(_finish)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_start_anew)
