"""``python -m examples.imdb``: its commands on small data of their own, and what it says to bad input."""

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import rnncore
from examples.imdb import models, padding, train
from examples.imdb.__main__ import main
from examples.imdb.predict import opened
from rnncore import saving
from rnncore.models import load_model


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Run in a folder of the test's own, in the plain loop."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    rnncore.set_backend("numpy")


@pytest.fixture(autouse=True, scope="module")
def small():
    """Let vocabularies be small: tables of 20,000 words and 400 steps take their time."""
    before = dict(models.MODELS)
    models.MODELS |= {name: replace(recipe, words=150, tokens=80) for name, recipe in before.items()}
    drawn, train.draw = train.draw, lambda *given: None
    yield
    models.MODELS |= before
    train.draw = drawn


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """Return an archive of a few reviews, those with the first word being positive; its words are beside it."""
    folder, rng = tmp_path_factory.mktemp("reviews"), np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 64), ("test", 16)):
        rows = np.empty(count, object)
        rows[:] = [rng.integers(2, 200, rng.integers(20, 60)).tolist() for _ in range(count)]
        labels = rng.integers(0, 2, count)
        for row in rows[labels == 1]:
            row[-3:] = [1, 1, 1]
        arrays |= {f"x_{part}": rows, f"y_{part}": labels}
    np.savez(folder / "imdb.npz", **arrays)
    (folder / "imdb_word_index.json").write_text(json.dumps({f"word{n}": n for n in range(1, 200)}))
    return str(folder / "imdb.npz")


@pytest.fixture(scope="module")
def made(reviews, small, tmp_path_factory):
    """Return a folder with a trained model of each of two kinds."""
    out = str(tmp_path_factory.mktemp("made"))
    rnncore.set_backend("numpy")
    for name in ("lstm80", "bilstm"):
        given = ["--model", name, "--data", reviews, "--out", out, "--epochs", "1", "--verbose", "0"]
        assert main(["train", *given]) == 0
    return out


def test_train_shows_reviews_and_saves_model_vocabulary_and_results_in_a_file_each(reviews, capsys, tmp_path):
    assert main(["--data", reviews, "--epochs", "1", "--verbose", "0"]) == 0  # train lstm80
    told = capsys.readouterr().out
    rows = re.findall(r"^ +0\.\d{3}   (?:positive|negative)  … .*$", told, flags=re.M)
    assert len(rows) == 6
    assert max(map(len, rows)) <= 60
    notes = saving.load_notes("results/imdb/lstm80-seed0.npz")
    assert notes["words"].split("\n")[:2] == ["word1", "word2"]
    assert (notes["num_words"], notes["tokens"], notes["model"]) == (150, 80, "lstm80")
    done = json.loads((tmp_path / "results/imdb/lstm80-seed0.json").read_text())
    assert done["test_accuracy"] == done["history"]["val_accuracy"][0]
    assert done["reviews"] == {"train": 64, "held_out": 0, "test": 16}


def test_ctrl_c_loses_nothing(reviews, monkeypatch, capsys):
    class Interrupts(train.EarlyStopping):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt("stopped by the test")

    monkeypatch.setattr(train, "EarlyStopping", Interrupts)
    assert main(["--data", reviews, "--epochs", "3", "--verbose", "0"]) == 130
    assert "stopped by the test; saving the model, then evaluating it" in capsys.readouterr().out
    model, reader = opened("results/imdb/lstm80-seed0.npz")
    assert model.predict(reader.read("word1").x).shape == (1, 1)


def test_predict_gives_probability_words_and_gates_and_the_words_shares_add_up(made, capsys, tmp_path):
    review = "Word9, word1! word149 and others"
    walk = str(tmp_path / "walk.html")
    assert main(["predict", review, "--model", "lstm80", "--out", made, "--html", walk]) == 0
    told = capsys.readouterr().out
    x = np.array([[0] * 74 + [1, 12, 4, 2, 2, 2]])
    p = load_model(f"{made}/lstm80-seed0.npz").predict(x)[0, 0]
    assert f"p(positive) = {p:.3f}: " in told
    assert "3 of its 5 words are not in the vocabulary: [?]" in told
    assert "all that lies" in told
    gates = told.split("lstm.f, row 0")[1].splitlines()[1:7]
    assert [line.split()[0] for line in gates] == ["[start]", "word9", "word1", "[?]", "[?]", "[?]"]
    shares = re.search(r"add up to ([+-][\d.]+), that of the padding before them ([+-][\d.]+)", told)
    after, before = map(float, re.search(r"the logit, ([+-][\d.]+), .* a vector, ([+-][\d.]+)\.", told).groups())
    assert sum(map(float, shares.groups())) == pytest.approx(after - before, abs=0.003)
    assert "word9" in (tmp_path / "walk.html").read_text()


def test_predict_answers_every_line_of_standard_input(made, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\ufeffword1 word1\r\n\nword7\x1b[31m word8\nnothing\n"))
    assert main(["predict", "--out", made]) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line[7:] for line in told[::2]] == ["word1 word1", r"word7\x1b[31m word8"]
    assert told[1] == "  –    there is no word in ''" and told[3][7:] == "(no word of it is known) nothing"
    monkeypatch.setattr(sys, "stdin", io.StringIO("word1 word1\n"))
    assert main(["predict", "--out", made]) == 0
    assert capsys.readouterr().out.splitlines() == told[:1]
    assert main(["predict", "--out", made, "--html", "walk.html"]) == 2  # of which line would it be?
    assert "--html shows one review" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lstm80", pytest.param("bilstm", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("review", "code", "says"),
    [
        ("", 1, "there is no word in ''"),
        (" \n?!\t", 1, r"there is no word in ' \\n?!\\t'"),
        ("nothing known here", 0, "So the answer is that for a review of unknown words."),
        ("word1 \x00\x1b[2J\x9b31mword2\r", 0, "p(positive) = "),
        ("Фильм понравился 映画 🎬 لا", 0, "p(positive) = "),
        ("word1 word2 " * 50_000, 0, "all that lies"),
        ("x" * 1_000_000, 0, "1 of its 1 words"),
        ("lone \ud800 surrogate", 2, "surrogate"),
    ],
    ids=["empty", "no-word", "unknown", "control", "scripts", "100,000-words", "one-word", "surrogate"],
)
def test_predict_has_an_answer_or_a_sentence_for_any_text(made, name, review, code, says, capsys):
    assert main(["predict", review, "--model", name, "--out", made]) == code
    told = capsys.readouterr()
    assert says in told.out + told.err
    assert not {"\x1b", "\x00", "\x9b", "\r"} & set(told.out + told.err)


def test_other_models_and_vocabularies_are_refused(made, capsys, tmp_path):
    model, reader = opened(f"{made}/lstm80-seed0.npz")
    notes = {name: getattr(reader, name) for name in ("model", "words", "num_words", "tokens")}
    cases = {
        "none": (None, "there is no vocabulary beside the model"),
        "larger": ({**notes, "num_words": 30_000}, "its vocabulary has 30,000 words, its Embedding has 150 rows"),
        "tokens": ({**notes, "tokens": -5}, "150 words and -5 tokens"),
        "pieces": ({**notes, "model": "subwords"}, "the model is not subwords"),
        "empty": ({**notes, "words": ""}, "there is no vocabulary beside the model"),
        "odd": ({**notes, "words": 7}, "there is no vocabulary beside the model"),
    }
    for name, (given, says) in cases.items():
        saving.save_model(model, f"{name}.npz", notes=given)
        assert main(["predict", "a", "--model", f"{name}.npz"]) == 2, name
        assert says in capsys.readouterr().err
    (tmp_path / "cut.npz").write_bytes((tmp_path / "none.npz").read_bytes()[:5000])
    for path, says in (("cut.npz", "damaged"), ("nowhere.npz", "no file and none of lstm80"), (".", "no file")):
        assert main(["predict", "a", "--model", path]) == 2
        assert says in capsys.readouterr().err
    assert main(["predict", "a"]) == 2
    assert "no model in results/imdb; python -m examples.imdb train --out results/imdb makes" in capsys.readouterr().err


def test_data_of_the_wrong_kind_or_cut_short_is_refused(reviews, capsys, tmp_path):
    content = Path(reviews).read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name, says in (("cut", "damaged"), ("text", "damaged"), ("other", "not an imdb.npz"), ("none", "no file")):
        assert main(["--data", f"{name}.npz"]) == 2
        assert says in capsys.readouterr().err


def test_a_closed_pipe_ends_it_quietly(made, monkeypatch, capfd):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

        def fileno(self):
            return opened_null.fileno()

    with open("/dev/null", "w") as opened_null:
        monkeypatch.setattr(sys, "stdout", Closed())
        assert main(["predict", "word1", "--out", made]) == 0
    assert capfd.readouterr().err == ""


def test_reviews_numbered_by_other_words_are_refused(made, reviews, capsys, monkeypatch):
    monkeypatch.setattr("examples.imdb.reviews.word_ranks", lambda data: {"other": 1, "words": 2})
    for command in ("evaluate", "padding"):
        assert main([command, "--data", reviews, "--out", made, "--model", "lstm80"]) == 2
        assert "was trained on reviews numbered by other words than" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused_before_training(reviews, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(train.Sequential, "fit", None)
    (tmp_path / "file").write_text("")
    assert main(["--data", reviews, "--out", str(tmp_path / "file")]) == 2
    assert "file', no folder that can be written to: File exists" in capsys.readouterr().err


def test_weights_are_averaged_from_an_epoch_on(monkeypatch):
    model = train.Sequential([train.layers.Input((2,)), train.layers.Dense(1)])
    model.compile("sgd", "mse")
    seen = []
    average = train.WeightAverage(2)
    keep = train.Callback()
    keep.on_epoch_end = lambda epoch, logs=None: seen.append(model.get_weights())
    rng = np.random.default_rng(0)
    model.fit(rng.normal(size=(8, 2)), rng.normal(size=8), epochs=4, callbacks=[average, keep], verbose=0)
    expected = [np.mean(weights, axis=0) for weights in zip(*seen[1:], strict=True)]
    for ours, mean in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, mean, rtol=1e-6)


@pytest.mark.slow
def test_evaluate_and_padding(made, reviews, capsys, monkeypatch):
    monkeypatch.setattr(padding, "ZEROS", (3, 30))
    given = ["--model", "bilstm", "--out", made, "--data", reviews]
    assert main(["evaluate", *given]) == 0
    assert "on 16 reviews" in capsys.readouterr().out
    assert main(["padding", *given, "--reviews", "6"]) == 0  # 1 if a masked answer moves
    with open(f"{made}/padding-bilstm-seed0.json") as file:
        changes = json.load(file)["changes"]
    assert {told["largest"] for told in changes if told["masked"]} == {0}
    assert min(told["mean"] for told in changes if not told["masked"]) > 1e-4


def test_compare_makes_its_table_of_what_is_there(made, reviews, capsys, monkeypatch):
    monkeypatch.setattr("examples.imdb.compare.train", None)  # nothing is trained again
    given = ["--models", "lstm80", "bilstm", "--data", reviews, "--out", made, "--epochs", "1"]
    assert main(["compare", *given]) == 0
    rows = re.findall(
        r"^\| (lstm80|bilstm) \| ([\d,]+) \|.*\| (\d+\.\d\d) \| – \| – \|$", capsys.readouterr().out, re.M
    )
    assert [row[:2] for row in rows] == [("lstm80", "150,913"), ("bilstm", "83,969")]
    (Path(made) / "lstm80-seed7.json").write_text("{}")
    assert main(["compare", "--table", *given]) == 2
    assert "lstm80-seed7.json is no result of train or keras" in capsys.readouterr().err
    (Path(made) / "lstm80-seed7.json").unlink()


@pytest.mark.slow
def test_a_model_of_pieces_takes_texts_from_its_file(reviews, capsys):
    pytest.importorskip("tokenizers")
    given = ["--data", reviews, "--model", "subwords", "--epochs", "1", "--verbose", "0"]
    assert main(["train", *given]) == 0
    capsys.readouterr()
    model, _ = opened("results/imdb/subwords-seed0.npz")
    direct = model.predict(np.array(["word9 word1"], object))[0, 0]
    assert main(["predict", "word9 word1"]) == 0
    assert f"p(positive) = {direct:.3f}" in capsys.readouterr().out
    assert main(["evaluate", "--data", reviews]) == 0


def test_keras_says_what_is_missing_and_what_has_no_counterpart(monkeypatch, reviews, capsys):
    assert main(["keras", "--model", "carry"]) == 2
    assert "Keras has no CarryRNN" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "keras", None)
    assert main(["keras", "--data", reviews]) == 2
    assert "Keras is not installed" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("name", ["lstm80", "bilstm"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_are_kerass(name, dtype, reviews, tmp_path):
    pytest.importorskip("keras")
    assert main(["keras", "--model", name, "--dtype", dtype, "--steps", "0", "--data", reviews]) == 0
    told = json.loads((tmp_path / f"results/imdb/{name}-{dtype}-beside-keras.json").read_text())
    assert len(told["loss"]) == -(-64 // models.MODELS[name].batch)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simple_rnn", "gru", "carry", "stacked", "pooled"])
def test_every_model_is_trained_and_explained(name, reviews, capsys):
    rnncore.set_backend("numba")
    assert main(["train", "--model", name, "--data", reviews, "--epochs", "1", "--verbose", "0"]) == 0
    assert main(["predict", "word1 word2 word3", "--model", name]) == 0
    assert "all that lies" in capsys.readouterr().out
