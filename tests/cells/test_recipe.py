"""CONTRIBUTING's recipe: one file in cells/ is a cell, its layer, its gradient check and both backends."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases import few_at_first

import rnncore

PACKAGE = Path(rnncore.__file__).parent
USE = """
import pickle

import numpy as np

from rnncore import Sequential, gradcheck, study
from rnncore.layers import RNN, Leaky, LeakyCell

assert pickle.loads(pickle.dumps(Leaky)) is Leaky and pickle.loads(pickle.dumps(LeakyCell)) is LeakyCell
assert Leaky.__doc__.startswith("A leaky unit") and "recurrent_dropout" in Leaky.__doc__
x, mask = np.random.default_rng(0).standard_normal((3, 5, 2)), np.arange(5) < [[5], [2], [3]]
options = {"dtype": "float64", "dropout": 0.2, "recurrent_dropout": 0.3}
for layer in (Leaky(4, return_sequences=True, **options), RNN(LeakyCell(4, **options))):
    report = gradcheck.check_layer(layer, x, mask, training=True)
    assert report.worst < 1e-7, str(report)
assert list(study.trace(layer, x)[layer.name]) == ["x", "z_f", "z_k", "f", "k", "h", "h_prev"]
y, states = LeakyCell(4)(x[:, 0])
assert y.shape == (3, 4) and len(states) == 1
assert "recurrent_activation" in Leaky.from_config(Leaky(4).get_config()).get_config()
"""


@pytest.mark.parametrize("backend", few_at_first(["numpy", "numba"], 1))
def test_a_cell_is_one_file(backend, tmp_path):
    recipe = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    _, _, source = recipe.partition("```python\n")
    shutil.copytree(PACKAGE, tmp_path / "rnncore", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "rnncore" / "cells" / "leaky.py").write_text(source.partition("```")[0])
    settings = {"RNNCORE_BACKEND": backend, "RNNCORE_CACHE_DIR": str(tmp_path / "kernels"), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", USE]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
