"""The examples in docstrings run, and print what they say.

An example knows `np`, `rnncore`, what its module has, the layers and `Sequential`, `model` (compiled: words in, one
number out) and its data: `x`, ids of shape (8, 12), and `y` of shape (8,). All else it imports or makes itself.
"""

import doctest
import importlib
import inspect
import io
import pkgutil

import numpy as np
import pytest

import rnncore
from rnncore import config, layers

FREE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules():
    """Return the modules whose docstrings users read: all but the compiler, which takes numba to import."""
    yield "rnncore"
    for found in pkgutil.walk_packages(rnncore.__path__, "rnncore."):
        if not found.name.startswith(("rnncore.compiler", "rnncore.kernels", "rnncore.bptt")):
            yield found.name


def examples():
    """Return all docstrings with examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in modules():
        module = importlib.import_module(name)
        for found in finder.find(module, name):
            if found.examples:
                yield found


EXAMPLES = {found.name: found for found in examples()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config.set_backend("numpy")
    rnncore.utils.clear_session()  # names of layers are numbered from the start
    rng = np.random.default_rng(0)
    x, y = rng.integers(1, 50, (8, 12)), rng.integers(0, 2, 8)
    model = rnncore.Sequential([layers.Embedding(50, 4, mask_zero=True), layers.LSTM(4, name="lstm"), layers.Dense(1)])
    model.compile("adam", "mse")
    example = EXAMPLES[name]
    given = {name: getattr(layers, name) for name in layers.__all__}
    given |= {"np": np, "rnncore": rnncore, "Sequential": rnncore.Sequential, "model": model, "x": x, "y": y}
    example.globs = {**given, **example.globs}
    told = io.StringIO()
    done = doctest.DocTestRunner(optionflags=FREE).run(example, out=told.write, clear_globs=False)
    assert done.failed == 0, told.getvalue()


def test_there_are_examples():
    assert len(EXAMPLES) > 9
    for cls in (layers.LSTM, layers.TextVectorization, rnncore.Sequential):
        assert ">>>" in inspect.getdoc(cls), cls


def test_help_begins_with_what_it_is_and_ten_lines():
    about = rnncore.__doc__.splitlines()
    assert about[0].startswith("Recurrent networks in NumPy")
    lines = [line for line in about if line.startswith(">>> ")]
    assert len(lines) == 10
    assert about.index(lines[0]) < 5
    assert all(len(line) <= 120 for line in about)
