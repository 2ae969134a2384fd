"""Scripts for Keras, run as they stand and with rnncore in their import lines: what they print is the same.

The scripts, in the folder of that name, draw their data and initial weights with NumPy and keep the order of batches.
"""

import contextlib
import io
import re
import sys
import warnings
from pathlib import Path

import pytest

SCRIPTS = sorted(Path(__file__).with_name("scripts").glob("*.py"))
SLOW = {path.stem for path in SCRIPTS} - {"reviews"}
TEXT = "the rain in spain stays mainly in the plain, and in between the grains remain as plain as rain. " * 6
NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e-?\d+)?")


def printed(path, library):
    """Return what a script prints, with `library` in the place of Keras in its import lines."""
    source = re.sub(r"^import keras$", f"import {library} as keras", path.read_text(), flags=re.MULTILINE)
    source = re.sub(r"^from keras\b", f"from {library}", source, flags=re.MULTILINE)
    told = io.StringIO()
    with contextlib.redirect_stdout(told), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names of older Keras, in both
        exec(compile(source, path.name, "exec"), {"__name__": "__main__"})
    return re.sub(r"\x1b\[[\d;]*m", "", told.getvalue())


@pytest.fixture
def surroundings(monkeypatch, tmp_path):
    text = pytest.importorskip("keras.src.legacy.preprocessing.text")
    monkeypatch.setitem(sys.modules, "keras.preprocessing.text", text)  # where Keras 2 had it
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "letters.txt").write_text(TEXT)  # fetched before
    monkeypatch.setenv("LETTERS", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")  # Keras fits its table to the terminal


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow) if path.stem in SLOW else path for path in SCRIPTS],
    ids=lambda path: path.stem,
)
@pytest.mark.usefixtures("surroundings")
def test_a_script_prints_the_same(path):
    from keras_reference import frameworks

    import rnncore

    keras, _ = frameworks()
    results = []
    for library in (keras, rnncore):
        library.utils.clear_session()
        results.append(printed(path, library.__name__))
    theirs, ours = results
    assert NUMBER.sub("#", ours).split() == NUMBER.sub("#", theirs).split()
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (ours, theirs)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-5, abs=1e-5)
    assert len(numbers[0]) > 2


def test_there_are_scripts():
    assert [path.stem for path in SCRIPTS] == [
        "autoencoder",
        "both_ways",
        "forecast",
        "guide_masking",
        "guide_recurrent",
        "letters",
        "own_layers",
        "reviews",
        "stateful",
        "sums",
        "tokens",
    ]
