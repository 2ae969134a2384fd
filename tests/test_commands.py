"""``python -m rnncore``: info, convert and look, on files made here."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from rnncore import config
from rnncore.__main__ import COMMANDS, main
from rnncore.layers import LSTM, RNN, CarryRNN, Dense, Embedding, Input, LSTMCell, TextVectorization
from rnncore.models import Sequential, load_model


@pytest.fixture
def saved(tmp_path):
    """Return the path of a model of words, whose forget gate is open, and its folder."""
    config.set_backend("numpy")
    model = Sequential([Input((None,)), Embedding(9, 3, mask_zero=True, name="words"), LSTM(4, name="lstm"), Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    model.train_on_batch(np.ones((2, 3), int), np.ones((2, 1)))
    model.get_layer("lstm").bias[4:8] = 50
    model.save(tmp_path / "m.keras")
    (tmp_path / "words.json").write_text(json.dumps({"the": 1, "end": 2, "good": 3, "odd": 40}))
    return tmp_path / "m.keras"


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, error = capsys.readouterr()
    return status, out, error


def test_info(saved, capsys):
    status, out, _ = run(capsys, "info", saved)
    assert status == 0
    for part in (
        "a .keras file, a model; written by Keras 3.15",
        "Embedding",
        "units=4",
        "mask_zero=True",
        "(None, 4)",
    ):
        assert part in out
    assert "weights:   160 numbers" in out and "Adam at a rate of 0.001 (1 steps taken), loss mean_squared_error" in out
    assert "metrics mae" in out and out.endswith("runs here: yes\n")


def test_info_of_what_does_not_run_here(saved, capsys):
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(saved.with_name("x.keras"), "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"LSTM"', b'"Mystery"'))
    status, out, _ = run(capsys, "info", saved.with_name("x.keras"))
    assert (
        status == 1 and "lstm         Mystery     not here" in out and "runs here: no; layer 'lstm' is a Mystery" in out
    )
    load_model(saved).save_weights(saved.with_name("w.weights.h5"))
    status, out, _ = run(capsys, "info", saved.with_name("w.weights.h5"))
    assert status == 0 and "lstm/cell  float32 (3, 16)" in out and "160 numbers in 6 arrays" in out
    status, out, error = run(capsys, "info", saved.with_name("none.h5"))
    assert status == 2 and error.startswith("python -m rnncore info: no file ") and not out


def changed(saved, *pairs):
    """Return the path of a copy of a file with another configuration."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(saved.with_name("y.keras"), "w") as new:
        for name in old.namelist():
            content = old.read(name)
            for before, after in pairs if name == "config.json" else ():
                assert before in content
                content = content.replace(before, after)
            new.writestr(name, content)
    return saved.with_name("y.keras")


def test_a_file_steers_no_terminal_and_takes_no_memory_for_made_up_input(saved, capsys):
    ends = (b'"lstm"', b'"ls\\u001b[2Jtm"')
    for path in (changed(saved, ends), changed(saved, ends, (b'"LSTM"', b'"My\\u001b[31m\\n|stery"'))):
        for arguments in (("info", path), ("look", path), ("info", path.parent)):
            status, *told = run(capsys, *arguments)
            assert all(c.isprintable() or c == "\n" for text in told for c in text), arguments
            assert any("\\x1b[" in text for text in told), arguments
    path = changed(saved, (b"[null, null]", b"[null, 4000000000]"))
    status, _, error = run(capsys, "look", path)
    assert status == 2 and "too large to be made up: give --input" in error


def test_a_folder_becomes_a_table(saved, capsys):
    x = np.array([[1, 2, 3]])
    np.savez(saved.with_suffix(".npz"), x=x, y=load_model(saved).predict(x, verbose=0))
    (saved.parent / "p.h5").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    status, out, _ = run(capsys, "info", saved.parent)
    assert (
        status == 0
        and "| m.keras | 3.15.0 | InputLayer, Embedding 3, LSTM 4, Dense 1 | off by 0e+00 of the range |" in out
    )
    assert "| p.h5 |  |  | refused: it is a Git LFS pointer" in out
    np.savez(saved.with_suffix(".npz"), x=x)
    assert "Dense 1 | loads; not compared with m.npz: 'y is not a file" in run(capsys, "info", saved.parent)[1]


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".keras"])
def test_convert(saved, capsys, suffix):
    path = saved.with_name(f"new{suffix}")
    status, out, _ = run(capsys, "convert", saved, path)
    assert status == 0 and "160 weights in 3 layers" in out
    x = np.array([[1, 2, 0]])
    assert np.array_equal(load_model(path).predict(x, verbose=0), load_model(saved).predict(x, verbose=0))
    status, _, error = run(capsys, "convert", saved, path)
    assert status == 2 and "--overwrite" in error
    assert run(capsys, "convert", saved, path, "--overwrite")[0] == 0


def test_convert_refuses(saved, capsys):
    assert "expected one of .keras" in run(capsys, "convert", saved, saved.with_name("m.pb"))[2]
    model = Sequential([Input((3, 2)), CarryRNN(2)])
    model.save(saved.with_name("own.npz"))
    assert "is a CarryRNN" in run(capsys, "convert", saved.with_name("own.npz"), saved.with_name("own.keras"))[2]


def test_look_at_a_text(saved, capsys):
    words = ["look", saved, "--vocabulary", saved.with_name("words.json"), "--text"]
    status, out, _ = run(capsys, *words, "The strange, GOOD end!")
    assert status == 0 and "no such word: 'strange'" in out
    lines = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in lines[4:7]] == [["0", "The"], ["1", "GOOD"], ["2", "end"]]
    assert all(line[4:6] == ["1.00", "█"] for line in lines[4:7])  # the forget gate, behind the input gate
    assert lines[7][0] == "answer:"
    status, out, _ = run(capsys, *words, "the end", "--html", saved.with_name("walk.html"))
    assert status == 0 and "the" in saved.with_name("walk.html").read_text()
    status, out, _ = run(capsys, *words, "the odd", "--index-from", 3)
    assert [line.split()[1] for line in out.splitlines()[3:6]] == ["(begin)", "the", "(odd)"]


def test_look_at_cells_in_one_loop_and_at_a_model_that_takes_texts(tmp_path, settings, capsys):
    config.set_backend("numpy")
    Sequential([Input((3, 2)), RNN([LSTMCell(3), LSTMCell(2)])]).save(tmp_path / "cells.npz")
    status, out, _ = run(capsys, "look", tmp_path / "cells.npz")
    assert status == 0 and "lstm_cell" in out and ".f" in out
    texts = TextVectorization(vocabulary=["good", "bad", "not"])
    model = Sequential([texts, Embedding(5, 3, mask_zero=True), LSTM(2, name="lstm"), Dense(1)])
    model(np.array(["not good"]))
    model.save(tmp_path / "texts.npz")
    page = tmp_path / "walk.html"
    status, out, _ = run(capsys, "look", tmp_path / "texts.npz", "--text", "not good", "--html", page)
    assert status == 0 and page.is_file() and [line.split()[1] for line in out.splitlines()[3:5]] == ["not", "good"]
    assert "the model takes texts: give --text" in run(capsys, "look", tmp_path / "texts.npz")[2]


def test_look_at_an_array(saved, capsys, tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1, 2, 3, 0], [4, 4, 0, 0]]))
    (tmp_path / "deep.json").write_text('{"a": ' * 100_000)
    status, out, _ = run(
        capsys, "look", saved, "--input", tmp_path / "x.npy", "--row", 1, "--figure", tmp_path / "g.png"
    )
    assert status == 0 and (tmp_path / "g.png").read_bytes()[:4] == b"\x89PNG"
    assert "lstm: 4 units, 4 steps" in out
    assert "no --text or --input: random numbers of shape (1, 24)" in run(capsys, "look", saved)[1]
    for arguments, message in (
        (("--text", "a"), "--text needs --vocabulary"),
        (("--input", tmp_path / "x.npy", "--row", 2), "--row is 2; the input has 2 rows"),
        (("--text", "no", "--vocabulary", saved.with_name("words.json")), "none of its words"),
        (("--text", "no", "--vocabulary", tmp_path / "deep.json"), "deep.json is nested more than 64 deep"),
    ):
        status, _, error = run(capsys, "look", saved, *arguments)
        assert status == 2 and message in error and error.count("\n") == 1


def test_it_is_a_program():
    done = subprocess.run([sys.executable, "-m", "rnncore", "--help"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)
