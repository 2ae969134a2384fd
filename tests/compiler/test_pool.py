"""The worker pool: every row is done once, by whatever thread; nothing is lost where a call fails or is interrupted."""

import os
import subprocess
import sys
import time
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest

from rnncore import config
from rnncore.compiler import pool, workers
from rnncore.compiler.pool import Job
from rnncore.compiler.workers import SLOTS, _add, _load, parallel_kernel

ROWS = 41


def _mark(counts, marks, flag, column, factor, begin, end):
    """Count each row's visits, in a column of its own, and note who came."""
    mine = counts[:, column]  # a view: the thread that gave the array counts its users, a worker does not
    for i in range(begin, end):
        mine[i] += 1
        marks[0, i] = begin * factor if flag else -1.0


def _ask_too_much(out, first, begin, end):
    out[begin] = np.empty(1 << 46 if begin >= first else 1)[0]


def _double(counts, begin, end):
    for i in range(begin, end):
        counts[i, 0] *= 2


def _meet(arrived, n, begin, end):
    """Wait for the other part's n-th job; not very long, and not at all once one has waited in vain."""
    _add(arrived[n], 1)
    turns = 0
    while _load(arrived[n], 0) < 2 and _load(arrived[0], 1) == 0:
        turns += 1
        if turns == 10**9:
            arrived[0, 1] = 1


mark, ask_too_much, double, meet = (parallel_kernel(function) for function in (_mark, _ask_too_much, _double, _meet))


@pytest.fixture(autouse=True)
def always_parallel(monkeypatch):
    monkeypatch.setattr(pool, "_WORTH_A_THREAD", 1)
    config.set_threads(2)


def marking(column=0, factor=1.0, columns=1, rows=ROWS):
    counts, marks = np.zeros((ROWS, columns), np.int64), np.zeros((1, ROWS), np.float32)
    return Job(mark, (counts, marks, True, column, factor), rows, 10**9, (counts, marks))


def test_jobs_are_cut_by_their_work():
    ends = np.cumsum([100, 90, 80, 70, 10, 10, 10, 10, 10, 10, 10, 10])
    job = Job(None, (), 12, 1, ends=ends)
    assert [job.edge(n, 2) for n in range(3)] == [0, 4, 12]
    assert [job.edge(n, 3) for n in range(4)] == [0, 0, 4, 12]
    assert [Job(None, (), 13, 1).edge(n, 2) for n in range(3)] == [0, 4, 13]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_row_is_done_once(count):
    config.set_threads(count)
    for columns in (1, 3):
        ((counts, marks),) = pool.run(marking(columns - 1, 0.5, columns))
        assert counts.sum(axis=0).tolist() == [0] * (columns - 1) + [ROWS] and counts.max() == 1
        assert np.unique(marks).tolist() == [0.5 * (4 * (ROWS * n // (4 * count))) for n in range(count)]


def test_a_part_without_rows_is_left_out():
    config.set_threads(3)
    job = marking(rows=8)._replace(ends=np.array([90, 92, 94, 96, 97, 98, 99, 100]))
    assert [job.edge(n, 3) for n in range(4)] == [0, 0, 0, 8]
    ((counts, _),) = pool.run(job)
    assert counts[:, 0].tolist() == [1] * 8 + [0] * (ROWS - 8)


def test_more_jobs_than_a_worker_may_be_behind():
    for found, _ in pool.run(*(marking() for _ in range(3 * SLOTS))):
        assert (found == 1).all()


def test_a_job_goes_by_what_one_before_left_in_its_rows():
    first = marking()
    pool.run(first, Job(double, (first.out[0],), ROWS, 10**9))
    assert (first.out[0] == 2).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_go_through_their_stages(parts, count):
    config.set_threads(count)
    jobs = [marking() for _ in range(parts)]
    stages = [[[job], [Job(double, (job.out[0],), ROWS, 10**9)], []] for job in jobs]
    pool.run_apart(*stages)
    assert all((job.out[0] == 2).all() for job in jobs)
    if count == parts:
        assert all((job.out[1] == 0).all() for job in jobs)  # each in one piece
        assert pool._pool().jobs == ()


def test_parts_of_more_jobs_than_a_queue_holds_are_done_at_the_same_time():
    arrived = np.zeros((3 * SLOTS, 2), np.int64)
    stages = [[Job(meet, (arrived, n), 8, 10**9)] for n in range(len(arrived))]
    pool.run_apart(stages, stages)
    assert (arrived[:, 0] == 2).all() and arrived[0, 1] == 0  # none waited in vain for its partner


def test_what_an_interrupt_left_is_not_done_later(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    calls = [marking(), marking()]
    with monkeypatch.context() as patched:
        patched.setattr(pool._pool(), "_code", SimpleNamespace(**{**vars(workers), "serve": interrupted}))
        with pytest.raises(KeyboardInterrupt):
            pool.run_apart(*([[job]] for job in calls))
    pool.run_apart(*([[marking()]] for _ in calls))
    assert (calls[0].out[0] == 0).all() and (calls[1].out[0] == 1).all()


def test_a_call_in_the_middle_of_another(monkeypatch):
    """As a signal's handler makes one between the writing down of calls and their being made."""
    put, outer, inner = pool._put, [marking(), marking()], [marking(), marking()]
    left = [inner]

    def interrupted(jobs, queue):
        put(jobs, queue)
        if jobs[0] is outer[0] and left:
            pool.run_apart(*([[job]] for job in left.pop()))

    monkeypatch.setattr(pool, "_put", interrupted)
    pool.run_apart(*([[job]] for job in outer))
    assert all((job.out[0] == 1).all() for job in (*outer, *inner))


def test_a_part_that_fails_is_told_of():
    first = marking()
    with pytest.raises(MemoryError, match="a thread found no memory"):
        pool.run_apart([[first]], [[Job(ask_too_much, (np.ones(8), 0), 8, 10**9)]])
    assert (first.out[0] == 1).all()
    second = marking()
    with pytest.raises(TypeError):
        pool.run_apart([[Job(mark, ("nothing that compiles",), 8, 10**9)]], [[second]])
    assert (second.out[0] == 1).all() and pool._pool().jobs == ()


def test_workers_sleep_and_wake():
    for n in range(200):
        ((counts, _),) = pool.run(marking())
        assert (counts == 1).all()
        if n % 50 == 0:
            time.sleep(0.01)  # long enough to fall asleep


def test_a_worker_without_memory_is_told_of():
    out = np.ones(8)
    with pytest.raises(MemoryError, match="a thread found no memory"):
        pool.run(Job(ask_too_much, (out, 1), 8, 10**9))
    ((counts, _),) = pool.run(marking())
    assert (counts == 1).all()


def test_an_error_here_lets_workers_finish():
    first = marking()
    with pytest.raises(TypeError):
        pool.run(first, Job(mark, ("nothing that compiles",), 8, 10**9))
    assert (first.out[0] == 1).all()
    ((counts, _),) = pool.run(marking())
    assert (counts == 1).all()


def test_an_interrupt_waits_for_workers(monkeypatch):
    first, waited = marking(), []
    meant = pool.Worker.wait

    def interrupted(worker, number):
        waited.append(number)
        if len(waited) < 3:
            raise KeyboardInterrupt
        meant(worker, number)

    monkeypatch.setattr(pool.Worker, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.run(first)
    assert len(waited) == 3 and (first.out[0] == 1).all()
    assert pool._pool().jobs == () and not pool._pool().workers[0]._wanted
    ((counts, _),) = pool.run(marking())
    assert (counts == 1).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_was_begun_is_there_when_asked_for(count):
    config.set_threads(count)
    waiting = [pool.begin(marking(), marking()) for _ in range(3 * SLOTS)]
    pool.run(marking())
    for wait in [*waiting, pool.begin(marking())]:
        for counts, marks in wait():
            assert (counts == 1).all() and (marks == 0).all()  # in one piece
    if count > 1:
        assert len(pool._pool().jobs) <= 1
        with pytest.raises(MemoryError, match="a thread found no memory"):
            pool.begin(Job(ask_too_much, (np.ones(8), 0), 8, 10**9))()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: there are threads
def test_a_process_that_is_forked_off_has_its_own_workers():
    wait = pool.begin(marking())
    child, code = os.fork(), 1
    if child == 0:
        try:
            code = not all((counts == 1).all() for counts, _ in [*wait(), *pool.run(marking(), marking())])
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


FORKED = """
import os, signal, sys, threading, time
import numpy as np
from rnncore import config
from rnncore.compiler.pool import Job, run

config.set_threads(2)
begun = threading.Event()

def large(x):
    LINES

def small(x):
    return x.sum()

def other():
    begun.set()
    from rnncore.compiler.jit import kernel
    kernel(large)(np.ones(3))

if sys.argv[1] == "compile":
    import rnncore.compiler.workers
threading.Thread(target=other).start()
begun.wait()
for _ in range(4):
    time.sleep(0.1)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        from rnncore.compiler.jit import kernel
        os._exit(kernel(small)(np.ones(3)) != 3.0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
""".replace("LINES", "; ".join(f"x[{n % 3}] = np.sqrt(x[{n % 2}] + {n}.0)" for n in range(40)))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("what", ["import", "compile"])
def test_a_fork_while_another_thread_compiles(what, tmp_path):
    """The child's compiler is not taken for ever by a thread that it has not."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "RNNCORE_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("started", [0, 1])
def test_fewer_threads_than_asked_for(started, monkeypatch):
    """As where RLIMIT_NPROC is reached: said once, and all rows are done by those that there are."""
    start, left = Thread.start, iter(range(started))

    def limited(thread):
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(pool, "_pools", {})
    monkeypatch.setattr(config, "_said", set())
    monkeypatch.setattr(Thread, "start", limited)
    config.set_threads(3)
    with pytest.warns(UserWarning, match=f"^{started + 1} of 3 threads are used, to the same results: can't start"):
        results = pool.run(marking(), marking())
    config.set_threads(4)
    results += pool.run(marking()) + pool.begin(marking())()
    apart = [marking() for _ in range(4)]
    pool.run_apart(*([[job]] for job in apart))
    for counts, _ in [*results, *(job.out for job in apart)]:
        assert (counts == 1).all()


def test_the_number_of_threads_may_change_in_between(monkeypatch):
    for count in (2, 1):
        config.set_threads(count)
        fewer = pool._pool()
        config.set_threads(4)
        assert len(pool._pool().workers) > len(fewer.workers)
        with monkeypatch.context() as patched:
            patched.setattr(pool, "_pool", lambda fewer=fewer: fewer)
            ((counts, _),) = pool.run(marking())
            ((begun, _),) = pool.begin(marking())()
            apart = [marking() for _ in range(config.threads())]
            pool.run_apart(*([[job]] for job in apart))
        assert (counts == 1).all() and (begun == 1).all() and all((job.out[0] == 1).all() for job in apart)


def test_several_threads_of_a_user_at_once():
    found = [[] for _ in range(4)]

    def compute(n):
        for _ in range(50):
            found[n] += [counts for counts, _ in pool.run(marking(), marking())]

    others = [Thread(target=compute, args=(n,)) for n in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    for own in found:
        assert len(own) == 100 and all((counts == 1).all() for counts in own)


def test_more_arguments_than_there_is_room_for_are_refused():
    names = ", ".join(f"a{n}" for n in range(26))
    space = {}
    exec(f"def many({names}, begin, end):\n    pass", space)
    arrays = tuple(np.zeros((1, 1, 1, 1)) for _ in range(26))
    with pytest.raises(Exception, match="a slot has 2048"):
        pool.run(Job(parallel_kernel(space["many"]), arrays, 8, 10**9))
    ((counts, _),) = pool.run(marking())
    assert (counts == 1).all()
