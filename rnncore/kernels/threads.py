"""One pool of threads for the kernels, which run without the interpreter's lock."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .. import config

_WORTH_A_THREAD = 500_000  # floating point operations below which waking a thread costs more than it brings

TURNS = 2_000_000  # of a busy wait: about a millisecond
REST = 4_000  # turns that a thread leaves to another to let the interpreter's lock go
FAR = 1 << 62  # as if all had arrived, for good
NAP = 1e-4  # seconds that a thread sleeps which has waited in vain


class Job(NamedTuple):
    """A call of ``function(*arrays, begin, end)`` on all rows, which may be cut into ranges of rows.

    Attributes
    ----------
    function : callable
        Takes its arrays, then the first row and the end of its rows. It must be compiled, or be called on all rows.
    arrays : tuple
    rows : int
    work : int
        Floating point operations, about.
    out : object
        What `run` returns for the job when it is done.
    ends : ndarray of shape (rows,), optional
        The work of the rows up to and with each, where they have not the same.
    arrived : ndarray of shape (1,), int64, optional
        Where the parts wait for one another, `_jit.meet`, if they do.
    """

    function: Callable
    arrays: tuple[Any, ...]
    rows: int
    work: int
    out: Any = None
    ends: np.ndarray | None = None
    arrived: np.ndarray | None = None

    def edge(self, n: int, parts: int) -> int:
        """Return where part n of `parts` begins: rows are cut in fours, which the kernels take at a time."""
        if n == parts:
            return self.rows
        if self.ends is None:
            return 4 * (self.rows * n // (4 * parts))
        return min(self.rows, 4 * ((int(np.searchsorted(self.ends, self.ends[-1] * n / parts)) + 2) // 4))

    def part(self, n: int, parts: int) -> None:
        """Do part n of `parts`."""
        begin, end = self.edge(n, parts), self.edge(n + 1, parts)
        if begin < end:
            self.function(*self.arrays, begin, end)


def done(out: Any) -> Job:
    """Return a job of which nothing is left to do."""
    return Job(lambda begin, end: None, (), 0, 0, out)


class Worker:
    """A thread that waits for calls: busily for a moment, as in training the next one comes soon, then asleep.

    To wake a sleeping thread takes longer than many a job, and so it does to wait for the interpreter's lock. So the
    thread asks for the lock only when who gave the call has most probably let it go, and says that it has made the call
    when it has let the lock go itself. Calls are numbered by `given`; `done` is the last one made.
    """

    def __init__(self):
        from .._jit import say_and_spin, spin

        self._spin, self._say_and_spin = spin, say_and_spin
        self._call, self._error = None, None
        self.given, self.done = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self._asleep, self._lock, self._bell = False, threading.Lock(), threading.Semaphore(0)
        threading.Thread(target=self._work, name="rnncore", daemon=True).start()

    def begin(self, call: Callable[[], None]) -> None:
        """Let the thread make a call; `end` must come before the next one."""
        self._wait()  # for one that was given up: an interrupt came
        with self._lock:
            self._call, self._error = call, None
            self.given[0] += 1
            asleep, self._asleep = self._asleep, False
        if asleep:
            self._bell.release()

    def end(self) -> None:
        """Wait until the call has been made, and raise what it raised."""
        self._wait()
        if self._error is not None:
            raise self._error

    def _wait(self):
        while not self._spin(self.done, int(self.given[0]), TURNS, 0):
            time.sleep(NAP)

    def _work(self):
        number = 0
        while True:
            if not self._say_and_spin(self.done, number, self.given, TURNS, REST):
                with self._lock:
                    self._asleep = asleep = self.given[0] == number
                if asleep:
                    self._bell.acquire()
            try:
                self._call()
            except BaseException as error:
                self._error = error
            number += 1


@cache
def _workers(count: int) -> list[Worker]:
    return [Worker() for _ in range(count)]


_busy = threading.Lock()
os.register_at_fork(after_in_child=_workers.cache_clear)


def parts_of(*jobs: Job) -> int:
    """Return how many threads are worth doing jobs together."""
    work, fours = sum(job.work for job in jobs), max(job.rows for job in jobs) // 4
    return max(1, min(config.threads(), work // _WORTH_A_THREAD, fours))


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
            _share(jobs, parts)
        finally:
            _busy.release()
    else:
        _part(jobs, 0, 1)
    return [job.out for job in jobs]


def _share(jobs, parts):
    workers = _workers(config.threads() - 1)[: parts - 1]
    for n, worker in enumerate(workers, 1):
        worker.begin(partial(_part, jobs, n, parts))
    try:
        _part(jobs, 0, parts)
    except BaseException:
        _let_go(jobs)
        raise
    finally:
        for worker in workers:
            worker.end()


def _part(jobs, n, parts):
    try:
        for job in jobs:
            job.part(n, parts)
    except BaseException:
        _let_go(jobs)
        raise


def _let_go(jobs):
    """Let no part wait for one that does not come."""
    for job in jobs:
        if job.arrived is not None:
            job.arrived[0] = FAR
