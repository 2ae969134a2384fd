"""What is said of characters is so: the pieces of the text, what is inside quotes, what counting comes to."""

import json
import math
from collections import Counter

import numpy as np
import pytest

import rnncore
from examples import program
from examples.characters import __main__ as characters
from examples.characters import ngrams, sources, units
from rnncore.models import load_model

TEXT = 'def f(a):\n    """Say b."""\n    if a == "x":\n        return f(a + \'y\')\n\n    return 0\n'


def test_the_parts_have_no_module_in_common():
    parts = [part.split() for part in (sources.TRAINING, sources.VALIDATION, sources.HELD_OUT)]
    assert sum(map(len, parts)) == len(set().union(*parts)) > 70


def test_each_row_goes_on_where_it_ended_in_the_batch_before():
    ids, rows, steps = np.arange(95), 3, 5
    x, y = sources.streams(ids, rows, steps)
    assert x.shape == y.shape == (18, 5)
    np.testing.assert_array_equal(y, x + 1)
    for row in range(rows):
        read = x.reshape(-1, rows, steps)[:, row].ravel()
        np.testing.assert_array_equal(read, np.arange(30) + 30 * row)
    with pytest.raises(ValueError, match="a text of 15 characters is too short for 3 rows of 5"):
        sources.streams(ids[:15], rows, steps)


def test_sources_are_read_and_what_is_missing_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources.sysconfig, "get_path", lambda name: str(tmp_path))
    (tmp_path / "a.py").write_bytes(b"x = '\xff\t'\n")
    assert sources.encoded(sources.read("a b")).tolist() == [
        *(sources.ALPHABET.index(letter) for letter in "x = '"),
        *[len(sources.ALPHABET) - 1] * 2,
        sources.ALPHABET.index("'"),
        0,
    ]
    assert capsys.readouterr().out == "Not in this Python: b\n"
    with pytest.raises(FileNotFoundError, match=r"no sources of Python's standard library in .*: c\.py"):
        sources.read("c")


def test_labels_of_a_text():
    found = sources.labels(TEXT)
    inside = "".join(letter for letter, own in zip(TEXT, found["quotes"], strict=True) if own)
    assert inside == '"""Say b.""' + '"x' + "'y"
    lines = np.split(np.arange(len(TEXT)), np.flatnonzero(np.array(list(TEXT)) == "\n")[:-1] + 1)
    depth = [found["depth"][line].tolist() for line in lines]
    assert depth[1] == [0.25, 0.5, 0.75, *[1.0] * (len(depth[1]) - 3)]
    assert [own[-1] for own in depth] == [0, 1, 1, 2, 0, 1]
    assert [found["column"][line].tolist() for line in lines] == [list(range(len(line))) for line in lines]
    nested = "s = f'a{g(\"b\")}c' + d\n\x0ct = 1\n"
    inside = sources.labels(nested)["quotes"]
    assert "".join(letter for letter, own in zip(nested, inside, strict=True) if own) == 'f\'a{g("b")}c'


def test_counting_is_counting():
    rng, size = np.random.default_rng(0), 4
    training, other = rng.integers(0, size, 300), rng.integers(0, size, 40)
    shares = ngrams.Counts(training, 3, size).shares(other)

    def count(*run):
        return Counter(zip(*(training[n : len(training) - len(run) + 1 + n] for n in range(len(run))), strict=True))[
            run
        ]

    for t, now in enumerate(other):
        one = count(now) / len(training)
        two = count(other[t - 1], now) / count(other[t - 1]) if t else one
        three = count(*other[t - 2 : t + 1]) / count(*other[t - 2 : t]) if t > 1 else two
        np.testing.assert_allclose(shares[t], [1 / size, one, two, three], rtol=1e-12)


def test_what_was_never_met_falls_back():
    counts = ngrams.Counts(np.array([0, 1, 0, 1, 0]), 3, 4)
    np.testing.assert_allclose(counts.shares(np.array([0, 1, 1, 0]))[2:], [[0.25, 0.4, 0, 0], [0.25, 0.6, 1, 1]])


def test_weights_are_fitted_to_the_text_they_are_given():
    shares = np.random.default_rng(1).uniform(0.01, 1, (500, 3))
    shares[:, 1] += 0.3
    weights = ngrams.fitted(shares)
    assert weights.sum() == pytest.approx(1) and weights.argmax() == 1
    best = ngrams.perplexity(shares, weights)
    for n in range(3):
        other = 0.95 * weights + 0.05 * np.eye(3)[n]
        assert ngrams.perplexity(shares, other) >= best - 1e-6
    assert ngrams.perplexity(np.full((9, 2), 0.2), np.array([0.5, 0.5])) == pytest.approx(5)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Let the standard library be a few lines, and the network small."""
    rnncore.set_backend("numpy")
    for n, name in enumerate(("ast", "shlex", "queue")):
        lines = [TEXT.replace("Say b", f"{name} {k}").replace("return 0", f"return {k + n}") for k in range(12)]
        (tmp_path / f"{name}.py").write_text("\n".join(lines))
    monkeypatch.setattr(sources.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(program, "write_figure", lambda *given: None)
    monkeypatch.setattr(characters, "STEPS", 8)
    monkeypatch.setattr(units, "SHOWN", 200)
    return tmp_path


def test_the_program(library, capsys):
    out = library / "out"
    assert characters.main(["--quick", "--units", "5", "--length", "9", "--out", str(out), "--verbose", "0"]) == 0
    told = capsys.readouterr().out
    results = json.loads((out / "characters.json").read_text())
    perplexities = results["perplexity"]
    assert 1 < perplexities["3-gram"] < perplexities["LSTM"] < 97  # one pass of 5 units against counts
    assert f"{perplexities['LSTM']:7.3f}   {math.log2(perplexities['LSTM']):.3f} bits" in told
    assert [len(text) for text in results["written"].values()] == [14, 14, 14]
    assert set(results["what units do"]) == set(units.WHAT) and "Unit " in told

    parts = {"training": "ast", "validation": sources.VALIDATION, "held out": sources.HELD_OUT}
    ids = {part: sources.encoded(sources.read(modules)) for part, modules in parts.items()}
    again = characters.measured(load_model(out / "characters.npz"), ids, 16)  # states begin anew
    assert again == pytest.approx(perplexities)
    capsys.readouterr()

    said = []
    for prompt in ("\ndef ", "\ndef ", "Ж\t", "x" * 3000):
        options = ["--prompt", prompt, "--temperature", "1", "--length", "9", "--out", str(out)]
        assert characters.main(options) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == results["written"]["1.0"] + "\n" == said[1]
    assert said[2].startswith(2 * sources.OTHER)
    assert [len(text) for text in said[2:]] == [12, 3010]
    assert characters.main(["--prompt", "", "--out", str(out)]) == 2
    assert "prompt is empty" in capsys.readouterr().err
    assert characters.main(["--prompt", "a", "--out", str(library / "nowhere")]) == 2
    assert "python -m examples.characters writes it" in capsys.readouterr().err
    assert characters.main(["--prompt", "a", "--temperature", "-1", "--out", str(out)]) == 2
    assert "temperature is -1.0; expected a number of at least 0" in capsys.readouterr().err
    assert characters.main(["--quick", "--out", str(out / "characters.json")]) == 2
    assert "File exists" in capsys.readouterr().err


def test_a_model_of_something_else_is_refused(library, capsys):
    other = rnncore.Sequential([rnncore.layers.Input((3,)), rnncore.layers.Dense(1)])
    other.save(library / "characters.npz")
    assert characters.main(["--prompt", "a", "--out", str(library)]) == 2
    told = capsys.readouterr().err
    assert "is no model of this program's alphabet" in told and told.count("\n") == 1


def test_interrupted_it_measures_what_there_is(library, monkeypatch, capsys):
    def interrupted(self, *given):
        raise KeyboardInterrupt("stopped after epoch 1, batch 1")

    monkeypatch.setattr(characters.Anew, "on_train_batch_end", interrupted, raising=False)
    assert characters.main(["--quick", "--units", "3", "--length", "3", "--out", str(library), "--verbose", "0"]) == 130
    assert "Interrupted: stopped after epoch 1, batch 1" in capsys.readouterr().out
    assert json.loads((library / "characters.json").read_text())["perplexity"]["LSTM"] > 1


def test_a_unit_that_follows_the_quotes_is_found(monkeypatch):
    rnncore.set_backend("numpy")
    text = TEXT * 8
    monkeypatch.setattr(units, "SHOWN", len(text))
    model = characters.made(6)
    follows = np.random.default_rng(0).normal(size=(*units.pieces(sources.encoded(text)).shape, 6))
    follows[..., 4] = -2 * units.pieces(sources.labels(text)["quotes"])
    with rnncore.study.intervene(model, {"lstm.c": follows}):
        found = units.found(model, model, text, text)["quotes"]
        begin, end = units.passage(text, 3)
        state = units.states(model, text, {"quotes": found})["quotes"]
    assert (found["unit"], found["validation"], found["held out"]) == (4, pytest.approx(-1), pytest.approx(-1))
    assert found["all units"] == pytest.approx(1)
    assert text[begin:end].count("\n") == 3 and text[begin - 1] == "\n" and text[begin:end].count('"') >= 6
    assert (state == 1).tolist() == (sources.labels(text)["quotes"] == 1).tolist()


@pytest.mark.slow
def test_the_figure(tmp_path):
    rnncore.set_backend("numpy")
    text, model = TEXT * 30, characters.made(6)
    found = units.found(model, model, text, text)
    program.write_figure(tmp_path / "a.png", lambda figure: units.draw(figure, model, text, found), units.SIZE)
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_smaller_network_beats_the_trigram_after_an_epoch(tmp_path):
    assert characters.main(["--epochs", "1", "--units", "128", "--out", str(tmp_path), "--verbose", "0"]) == 0
    results = json.loads((tmp_path / "characters.json").read_text())
    assert results["perplexity"]["LSTM"] < 0.9 * results["perplexity"]["3-gram"]
    depth = results["what units do"]["depth"]
    assert abs(depth["held out"]) > abs(depth["untrained"])
