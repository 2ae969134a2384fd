"""What a first training compiles, compiled by another process too: nothing but the time changes, and none is left."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import rnncore
from rnncore import Sequential, _crew, _jit, ahead, config, saving
from rnncore.kernels import threads
from rnncore.kernels.threads import Job, noted
from rnncore.layers import LSTM, Dense, Embedding, Identity

IDS, TARGETS = np.arange(640).reshape(32, 20) % 50, np.zeros((32, 1), np.float32)


class Loop:
    """Stands for a kernel, and says when it is called."""

    def __init__(self, name, called):
        self.name, self.called = name, called

    def __call__(self, *arguments):
        self.called.append(self.name)


class Mine(Identity):
    """A user's own layer."""


def model(*more):
    made = Sequential([Embedding(50, 4), LSTM(3, dropout=0.2, recurrent_dropout=0.2), *more, Dense(1)])
    made.compile("adam", "mse")
    return made


@pytest.fixture
def nothing_compiled(monkeypatch, tmp_path):
    monkeypatch.setattr(_jit, "cache_folder", lambda: tmp_path / "kernels")
    monkeypatch.setattr(config, "processors", lambda: 2)
    config.set_threads(2)
    return tmp_path / "kernels"


@pytest.mark.parametrize("work", [1, 10**9])
def test_jobs_are_noted_and_not_done(work):
    called, count = [], config.threads()
    jobs = [Job(Loop(name, called), (name,), rows, work, name) for name, rows in (("a", 9), ("b", 0), ("c", 9))]
    with noted() as calls:
        assert threads.run(*jobs) == ["a", "b", "c"]
        assert threads.begin(*jobs)() == ["a", "b", "c"]
        threads.run_apart([jobs[:1], jobs[2:]], [jobs[2:], jobs[:1]])
    assert [name for _, (name,) in calls] == ["a", "c"] * 2 + ["a", "c", "c", "a"]
    assert not called and config.threads() == count
    config.set_threads(1)
    threads.run(*jobs)
    assert called == ["a", "c"]


def compiled_by_the_other(made, monkeypatch, tmp_path, compile_for=lambda function, arguments: None):
    """Return the names of what the other process compiles, in its order; it is played by this one."""
    compiled, given = [], tmp_path / "given.npz"
    np.savez(given, content=ahead.json.dumps(saving.described_model(made)), x=IDS, y=TARGETS)

    def noting(function, arguments):
        compiled.append(function.py_func.__qualname__)
        compile_for(function, arguments)

    monkeypatch.setattr(_crew, "compile_for", noting)
    with open(given, "rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        ahead.main()
    return compiled


def test_the_other_process_compiles_what_a_step_calls_each_once_the_last_first(monkeypatch, tmp_path):
    compiled = compiled_by_the_other(model(), monkeypatch, tmp_path)
    assert len(compiled) > 8
    last, first = compiled.index("dropped.project"), compiled.index("dropped.weight_gradients")
    assert first < last
    assert compiled[-1] in ("split", "turned", "project", "lookups.taken")  # what a training needs first
    assert compiled.count("dropped.project") == compiled.count("dropped.weight_gradients") == 1
    assert any(name.startswith("lstm_tanh_sigmoid.backward") for name in compiled)
    assert config.backend() == "numba"


def test_nothing_is_compiled_for_one_that_has_ended(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(os, "getppid", lambda: asked.append(1) or len(asked))
    assert compiled_by_the_other(model(), monkeypatch, tmp_path) == []


def test_classes_of_a_users_own_are_not_known_there(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="Mine"):
        compiled_by_the_other(model(Mine()), monkeypatch, tmp_path)


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("fails", [False, True])
def test_no_process_outlives_the_block(fails, monkeypatch):
    begun, children = ahead._begun, []
    monkeypatch.setattr(ahead, "_begun", lambda *given: children.append(begun(*given)) or children[-1])
    try:
        with ahead.compiled_ahead(model(), (IDS, TARGETS, None)):
            assert children[0].poll() is None
            assert not fails
    except AssertionError:
        assert fails
    assert children[0].poll() is not None


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("error", [OSError("no process to be had"), TypeError("no plain value")])
def test_training_needs_no_other_process(error, monkeypatch):
    def refuse(*given, **options):
        raise error

    monkeypatch.setattr(
        *((ahead, "described_model") if isinstance(error, TypeError) else (subprocess, "Popen")), refuse
    )
    with ahead.compiled_ahead(model(), (IDS, TARGETS, None)):
        pass


@pytest.mark.parametrize("setting", ["backend", "threads", "processors", "another program", "on disk", "no folder"])
def test_no_process_where_it_does_not_pay(setting, nothing_compiled, monkeypatch):
    assert ahead._pays()
    if setting == "backend":
        config.set_backend("numpy")
    elif setting == "threads":
        config.set_threads(1)
    elif setting == "processors":
        monkeypatch.setattr(config, "processors", lambda: 1)
    elif setting == "another program":
        monkeypatch.setattr(sys, "executable", "/usr/bin/blender")
    elif setting == "on disk":
        (nothing_compiled / "kernel.nbc").touch()
    else:
        nothing_compiled.rmdir()
        nothing_compiled.write_text("in the way")
        monkeypatch.setattr(_jit, "cache_folder", lambda: nothing_compiled / "below")
    assert not ahead._pays()


def test_batches_of_the_users_own_code_are_not_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(ahead, "_pays", lambda: asked.append(1))
    model().fit(((IDS, TARGETS) for _ in range(2)), verbose=0)
    assert not asked
    model().fit(IDS, TARGETS, verbose=0)
    assert asked


_TRAINED = """
import sys, numpy as np
from rnncore import Sequential, _jit, ahead, utils
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


@pytest.mark.slow
def test_another_process_takes_a_part_of_the_compiling_and_changes_no_bit(tmp_path):
    counts, results = {}, {}
    for way in ("alone", "ahead"):
        result, cache = tmp_path / f"{way}.npz", tmp_path / way
        environment = {**os.environ, "RNNCORE_CACHE_DIR": str(cache), "RNNCORE_THREADS": "2"}
        environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(rnncore.__file__))
        command = [sys.executable, "-c", _TRAINED, way, str(result)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        counts[way] = int(done.stdout), len(list(cache.rglob("*.nbc")))
        results[way] = np.load(result)
    assert counts["alone"][0] == counts["alone"][1]
    assert counts["ahead"][0] < counts["ahead"][1]  # the rest is the other process's
    for name, array in results["alone"].items():
        np.testing.assert_array_equal(results["ahead"][name], array, err_msg=name)
