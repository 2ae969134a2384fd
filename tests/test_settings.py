"""What the environment says, and what is made of it."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import rnncore
from rnncore import config
from rnncore.compiler import cache
from rnncore.utils.files import keras_home


def test_an_empty_variable_is_as_none(monkeypatch, tmp_path):
    names = ("RNNCORE_THREADS", "RNNCORE_BACKEND", "RNNCORE_CACHE_DIR", "XDG_CACHE_HOME", "KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = []
    for value in (None, ""):
        for name in names:
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        monkeypatch.setattr(config, "_settings", {"floatx": "float32", "backend": None, "threads": None})
        found.append((config.threads(), config.backend(), cache.cache_folder.__wrapped__(), keras_home()))
    assert found[0] == found[1]
    assert tmp_path in found[0][2].parents


@pytest.mark.parametrize("value", ["999999999", "0", "1025", "-1", "two", "1.5", " "])
def test_a_number_of_threads_that_is_none(value, monkeypatch):
    monkeypatch.setenv("RNNCORE_THREADS", value)
    with pytest.raises(ValueError, match=r"RNNCORE_THREADS\) is '.*'; expected a whole number from 1 to 1024"):
        config.threads()


def test_more_processors_than_threads(monkeypatch):
    monkeypatch.delenv("RNNCORE_THREADS", raising=False)
    monkeypatch.setattr(config, "processors", lambda: 4096)
    assert config.threads() == 1024


def test_a_cache_below_a_home_or_the_working_folder_is_one_place(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for given in ("~/kernels", "kernels"):
        monkeypatch.setenv("RNNCORE_CACHE_DIR", given)
        assert cache.cache_folder.__wrapped__().parent == tmp_path / "kernels"


def test_without_a_home_kernels_are_not_kept(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("RNNCORE_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OSError, match="Could not determine home"):
        cache.cache_folder.__wrapped__()


def test_numba_that_is_switched_off_is_told_of_once(monkeypatch):
    monkeypatch.delenv("RNNCORE_BACKEND", raising=False)
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    monkeypatch.setattr(config, "_said", set())
    with pytest.warns(UserWarning, match="NUMBA_DISABLE_JIT is set"):
        assert config.backend() == "numpy"
    config.set_backend("numba")  # not said again
    assert config.backend() == "numpy"


SCRIPT = """
import numpy as np
from rnncore import Sequential, config, utils
from rnncore.layers import LSTM, Dense, Embedding

utils.set_random_seed(3)
model = Sequential([Embedding(50, 4, mask_zero=True), LSTM(3, dropout=0.2, recurrent_dropout=0.2), Dense(1)])
model.compile("adam", "mse")
x = np.arange(160).reshape(16, 10) % 50
model.fit(x, x[:, 0] / 50, batch_size=4, verbose=0)
print(config.backend(), float(model.predict(x, verbose=0).sum()))
"""


@pytest.mark.slow
def test_a_model_is_trained_with_numba_switched_off():
    found = []
    for given in ({"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_DISABLE_JIT": "", "RNNCORE_BACKEND": "numpy"}):
        environment = os.environ | {"PYTHONPATH": str(Path(rnncore.__file__).parent.parent), "RNNCORE_BACKEND": ""}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, env=environment | given
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("NUMBA_DISABLE_JIT is set") == ("RNNCORE_BACKEND" not in given)
        found.append(done.stdout)
    assert found[0] == found[1] and found[0].startswith("numpy ")
