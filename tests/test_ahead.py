"""What a first training compiles, compiled by a child too: nothing but the time changes, and no child is left."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rnncore import Sequential, _crew, _jit, config
from rnncore.kernels import ahead, threads
from rnncore.kernels.threads import Job, noted
from rnncore.layers import LSTM, Dense, Embedding

FORKS = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only")


class Loop:
    """Stands for a kernel, and says what became of it."""

    def __init__(self, name, told):
        self.name, self.told = name, told

    def __call__(self, *arguments):
        self.told.append(("called", self.name))


def model(dropout=0.2):
    made = Sequential([Embedding(50, 4), LSTM(3, dropout=dropout, recurrent_dropout=dropout), Dense(1)])
    made.compile("adam", "mse")
    return made


def childless():
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return True


@pytest.mark.parametrize("work", [1, 10**9])
def test_jobs_are_noted_and_not_done(work):
    told, count = [], config.threads()
    jobs = [Job(Loop(name, told), (name,), rows, work, name) for name, rows in (("a", 9), ("b", 0), ("c", 9))]
    with noted() as calls:
        assert threads.run(*jobs) == ["a", "b", "c"]
        assert threads.begin(*jobs)() == ["a", "b", "c"]
        threads.run_apart([jobs[:1], jobs[2:]], [jobs[2:], jobs[:1]])
    assert [name for _, (name,) in calls] == ["a", "c"] * 2 + ["a", "c", "c", "a"]
    assert not told and config.threads() == count
    config.set_threads(1)
    threads.run(*jobs)
    assert told == [("called", "a"), ("called", "c")]


def test_a_noted_step_calls_what_a_step_calls(monkeypatch):
    ids, y = np.arange(640).reshape(32, 20) % 50, np.zeros((32, 1), np.float32)
    with noted() as calls:
        model().fit(ids, y, verbose=0)
    asked = {function.py_func.__qualname__.split(".2")[0] for function, _ in calls}
    assert {"dropped.project", "dropped.input_gradients", "dropped.weight_gradients", "lookups.taken"} <= asked
    assert {"lstm_tanh_sigmoid.forward", "lstm_tanh_sigmoid.backward"} <= {name[: name.rfind(".")] for name in asked}


def test_the_last_is_compiled_first_whatever_fails(monkeypatch):
    compiled = []

    def compile_for(function, arguments):
        compiled.append(function.name)
        if function.name == "c":
            raise ValueError(function.name)

    def step():
        for name in "abcd":
            threads.run(Job(Loop(name, []), (), 8, 1))
        raise ZeroDivisionError

    monkeypatch.setattr(_crew, "compile_for", compile_for)
    ahead.compile_backwards(step)
    assert compiled == ["d", "c", "b", "a"]


@FORKS
@pytest.mark.parametrize("fails", [False, True])
def test_no_child_outlives_the_block(fails, monkeypatch):
    monkeypatch.setattr(ahead, "_pays", lambda: True)
    monkeypatch.setattr(ahead, "compile_backwards", lambda step: step())
    forked, children = ahead._forked, []
    monkeypatch.setattr(ahead, "_forked", lambda step: children.append(forked(step)) or children[-1])
    for step in (lambda: 1 / 0, lambda: time.sleep(600)):  # it is through already, or under way
        try:
            with ahead.compiled_ahead(step):
                time.sleep(0.2)
                assert not fails
        except AssertionError:
            assert fails
    assert len(children) == 2 and childless()


@FORKS
def test_an_interrupt_of_the_child_is_its_end(monkeypatch):
    monkeypatch.setattr(ahead, "compile_backwards", lambda step: step())
    child = ahead._forked(lambda: time.sleep(600))
    time.sleep(0.2)
    os.kill(child, signal.SIGINT)
    assert os.waitpid(child, 0)[0] == child


@pytest.mark.parametrize(
    ("setting", "value"),
    [("backend", lambda: config.set_backend("numpy")), ("threads", lambda: config.set_threads(1)), ("disk", None)],
)
def test_no_child_where_it_does_not_pay(setting, value, monkeypatch, tmp_path):
    monkeypatch.setattr(_jit, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    config.set_threads(2)
    assert ahead._pays() == (sys.platform == "linux")
    if setting == "disk":
        (tmp_path / "kernel.nbi").touch()
    else:
        value()
    assert not ahead._pays()


@FORKS
def test_batches_of_the_users_own_code_are_not_asked_for_in_a_child(monkeypatch):
    asked = []
    monkeypatch.setattr(ahead, "_pays", lambda: asked.append(1))
    batch = np.ones((4, 6), int), np.zeros((4, 1), np.float32)
    model().fit((batch for _ in range(2)), verbose=0)
    assert not asked
    model().fit(*batch, verbose=0)
    assert asked


_TRAINED = """
import sys, numpy as np
from rnncore import Sequential, _jit, utils
from rnncore.kernels import ahead
from rnncore.layers import LSTM, Dense, Embedding

if sys.argv[1] == "alone":
    ahead._pays = lambda: False
utils.set_random_seed(3)
model = Sequential([Embedding(50, 4), LSTM(3), Dense(1, activation="sigmoid")])
model.compile("adam", "binary_crossentropy")
compiled, save = [], _jit._KernelCache.save_overload
_jit._KernelCache.save_overload = lambda self, *given: (compiled.append(self), save(self, *given))[1]
model.fit(np.arange(1600).reshape(80, 20) % 50, np.arange(80) % 2, epochs=2, verbose=0)
np.savez(sys.argv[2], *model.get_weights(), history=model.history.history["loss"])
print(len(compiled))
"""


@FORKS
@pytest.mark.slow
def test_a_child_takes_a_part_of_the_compiling_and_changes_no_bit(tmp_path):
    counts, results = {}, {}
    for way in ("alone", "ahead"):
        result, cache = tmp_path / f"{way}.npz", tmp_path / way
        environment = {**os.environ, "RNNCORE_CACHE_DIR": str(cache), "RNNCORE_THREADS": "2"}
        command = [sys.executable, "-c", _TRAINED, way, str(result)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        counts[way] = int(done.stdout), len(list(cache.rglob("*.nbi")))
        results[way] = np.load(result)
    assert counts["alone"][0] == counts["alone"][1]
    assert counts["ahead"][0] < counts["ahead"][1]  # the others are the child's
    for name, array in results["alone"].items():
        np.testing.assert_array_equal(results["ahead"][name], array, err_msg=name)
