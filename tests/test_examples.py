"""The examples end as they say: run as a user would, on data of their own where they need some."""

import json
import re

import numpy as np
import pytest

import rnncore
from examples import imdb, own_cell
from rnncore import saving
from rnncore.models import load_model


@pytest.fixture
def reviews(tmp_path):
    """Return an archive of a few reviews, those with the first word being positive; its words are beside it."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 64), ("test", 16)):
        rows = np.empty(count, object)
        rows[:] = [rng.integers(2, 200, 60).tolist() for _ in range(count)]
        labels = rng.integers(0, 2, count)
        for row in rows[labels == 1]:
            row[-3:] = [1, 1, 1]
        arrays |= {f"x_{part}": rows, f"y_{part}": labels}
    np.savez(tmp_path / "imdb.npz", **arrays)
    (tmp_path / "imdb_word_index.json").write_text(json.dumps({f"word{n}": n for n in range(1, 200)}))
    return str(tmp_path / "imdb.npz")


def test_imdb(reviews, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    for name, small in {"WORDS": 150, "TOKENS": 8, "draw": lambda *given: None}.items():
        monkeypatch.setattr(imdb, name, small)
    monkeypatch.chdir(tmp_path)
    rnncore.set_backend("numpy")
    assert imdb.main(["--data", reviews, "--epochs", "1", "--verbose", "0"]) == 0
    told = capsys.readouterr().out
    rows = re.findall(r"^ +0\.\d{3}   (?:positive|negative)  … .*$", told, flags=re.M)
    assert len(rows) == 6
    assert max(len(row) for row in rows) <= 60
    notes = saving.load_notes("results/imdb.npz")
    assert notes["words"].split("\n")[:2] == ["word1", "word2"]
    assert (notes["num_words"], notes["tokens"]) == (150, 8)
    assert imdb.main(["--ask", "Word9, word1! word199 and others"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[-1] for line in told.splitlines()[1:-1]] == ["[start]", "word9", "word1", "[?]", "[?]", "[?]"]
    p = load_model("results/imdb.npz").predict(np.array([[0, 0, 1, 12, 4, 2, 2, 2]]))[0, 0]
    assert told.splitlines()[-1] == f"p(positive) = {p:.3f}"
    assert imdb.main(["--ask", "a", "--model", "nowhere.npz"]) == 1
    assert "no file nowhere.npz; python -m examples.imdb writes it" in capsys.readouterr().out


@pytest.mark.slow
def test_own_cell_learns_in_its_quick_run(capsys):
    assert own_cell.main(["--quick"]) == 0
    accuracies = re.findall(r"accuracy (0\.\d+) after 10 steps", capsys.readouterr().out)
    assert len(accuracies) == 2
    assert min(map(float, accuracies)) > 0.6
