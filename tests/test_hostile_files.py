"""Thousands of damaged and hostile files: each loads or is refused in one sentence, in bounded time and memory."""

import copy
import faulthandler
import json
import os
import random
import resource
import subprocess
import sys
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cases import RUN_SEED

import rnncore
from rnncore import config
from rnncore.callbacks import BackupAndRestore, Callback, EarlyStopping
from rnncore.datasets import imdb
from rnncore.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    MaxPooling1D,
    ReLU,
    RepeatVector,
    Reshape,
    Softmax,
)
from rnncore.layers.scopes import reset_names
from rnncore.metrics import AUC, Precision
from rnncore.models import Sequential, load_model
from rnncore.optimizers import Adam, schedules

LIMIT = 3 << 30  # bytes of address space: whatever goes wrong, the machine lives on
GROWTH = 400 << 20  # bytes that the files may add to the process that reads them: each has a few million at most
SECONDS = 20  # for one file, on a machine that does other things too


def new_model():
    reset_names()  # a checkpoint is of a model of these names
    layers = [
        Embedding(11, 4, mask_zero=True),
        Bidirectional(LSTM(3, return_sequences=True, dropout=0.1)),
        BatchNormalization(),
        Softmax(),
        GRU(2, stateful=True),
        RepeatVector(4),
        Conv1D(2, 2, padding="causal"),
        MaxPooling1D(3, 1),
        ReLU(6.0),
        Flatten(),
        Reshape((2, 2)),
        Flatten(),
        Dropout(0.1),
        Dense(1, "sigmoid"),
    ]
    model = Sequential(layers)
    rate = schedules.PiecewiseConstantDecay([3, 5], [0.1, 0.01, 0.001])
    asked = ["acc", "mae", AUC(num_thresholds=9), Precision(thresholds=[0.2, 0.5])]
    model.compile(Adam(rate, use_ema=True), "binary_crossentropy", metrics=asked)
    return model


def batches():
    rng = np.random.default_rng(3)
    while True:
        x = rng.integers(0, 11, (4, 5))
        yield x, (x[:, :1] > 4).astype(float)


def fit(model, *callbacks, epochs=2):
    options = {"steps_per_epoch": 3, "validation_data": batches(), "validation_steps": 1, "verbose": 0}
    model.fit(
        batches(), epochs=epochs, callbacks=[EarlyStopping("loss", restore_best_weights=True), *callbacks], **options
    )


class Restoring(Callback):
    """Begins a `fit`, as it must be to go on from a checkpoint, does `work` with what reads one, and leaves it."""

    class Done(Exception):
        pass

    def __init__(self, work):
        self.work = work

    def read(self, path):
        backup = BackupAndRestore(path.parent)
        backup.path, backup.model, backup.params = path, self.model, {"epochs": 2}
        backup.on_train_begin()

    def on_train_begin(self, logs=None):
        self.work(self.read)
        raise Restoring.Done


def write_good_files(folder):
    """Write a file of each of `READERS`, and a checkpoint."""
    model = new_model()
    fit(model, BackupAndRestore(folder, 2, delete_checkpoint=False))
    model.save(folder / "model")
    model.save_weights(folder / "weights")
    (folder / "training.npz").rename(folder / "checkpoint")
    (folder / "index").write_text(json.dumps({f"word{n} \"'": n for n in range(1, 300)}))
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = np.empty(20, object)
        arrays[f"x_{part}"][:] = [rng.integers(1, 900, rng.integers(1, 9)).tolist() for _ in range(20)]
        arrays[f"y_{part}"] = np.arange(20) % 2
    with open(folder / "reviews", "wb") as file:
        np.savez(file, **arrays)


READERS = {
    "model": load_model,
    "weights": lambda path: new_model().load_weights(path),
    "index": imdb.get_word_index,
    "reviews": imdb.read,
}


# --- what is done to them ---------------------------------------------------------------------------------------------

ODD = [None, True, False, -1, 0, 3, 1 << 31, 1 << 62, 10**12, 10**30, 10**4000, 0.5, -1e308, 1e308]
ODD += [float("nan"), float("-inf"), "", "lstm", "..", "|O", [], {}, [[]], [0.5] * 70]
ODD += [{"class_name": "LSTM", "config": {"units": 1 << 40}}, {"class_name": [], "config": []}]
ODD += [{"class_name": "AUC", "config": {"num_thresholds": 30_000_000}}]
ODD += [{"npy": "x.npy", "dtype": "<f4", "shape": [1 << 30]}]


def places(value, arrays=True):
    """Yield each object or list within `value`, and a key of it; if not `arrays`, without those that stand for one."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if arrays or not (isinstance(item, dict) and "npy" in item):
            yield value, key
            if isinstance(item, (dict, list)):
                yield from places(item, arrays)


def some_places(content, rng):
    """Return those of one branch, so that arrays, which are most of a file, do not take most of the changes."""
    branches = (
        [part for part in content.values() if isinstance(part, (dict, list))] if isinstance(content, dict) else []
    )
    for branch in (rng.choice(branches) if branches else content, content):
        found = list(places(branch, rng.random() < 0.1))
        if found:
            return found
    return [([0], 0)]


def change_value(content, rng):
    inside, key = rng.choice(some_places(content, rng))
    inside[key] = copy.deepcopy(rng.choice(ODD))  # or it might come to hold itself


def change_number(content, rng):
    numbers = [(inside, key) for inside, key in some_places(content, rng) if type(inside[key]) in (int, float)]
    if numbers:
        inside, key = rng.choice(numbers)
        number = inside[key]
        inside[key] = rng.choice((-number, number + 1, str(number), [number], number == 1, 1.0, 10**12, 1 << 63))


def delete_key(content, rng):
    inside, key = rng.choice(some_places(content, rng))
    del inside[key]


def swap(content, rng):
    (one, a), (other, b) = rng.choices(some_places(content, rng), k=2)
    one[a], other[b] = json.loads(json.dumps([other[b], one[a]]))  # copies: one may hold the other


def repeat(content, rng):
    lists = [inside for inside, _ in some_places(content, rng) if isinstance(inside, list)]
    if lists:
        inside = rng.choice(lists)
        text = json.dumps(inside)
        times = min(rng.choice((2, 70, 5000)), 1 + 1_000_000 // len(text))
        inside[:] = [part for _ in range(times) for part in json.loads(text)]  # copies: what they hold may be repeated


def wrap(content, rng):
    inside, key = rng.choice(some_places(content, rng))
    for _ in range(rng.choice((1, 5, 50, 70))):
        inside[key] = (
            {"class_name": "TimeDistributed", "config": {"layer": inside[key]}} if rng.random() < 0.3 else [inside[key]]
        )


def long_string(content, rng):
    inside, key = rng.choice(some_places(content, rng))
    inside[key] = rng.choice(('"', "\\", "\x00", "[", "a", "€")) * rng.choice((99, 200_000))


CHANGES = [change_value, change_value, change_number, change_number, delete_key, swap, repeat, wrap, long_string]


def changed_text(text, rng):
    content = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if content:
            rng.choice(CHANGES)(content, rng)
    text = json.dumps(content)
    if rng.random() < 0.15:  # a key twice
        brackets = [n for n, letter in enumerate(text) if letter == "{"]
        keys = [key for _, key in places(content) if isinstance(key, str)]
        if brackets and keys:
            n = rng.choice(brackets) + 1
            text = f"{text[:n]}{json.dumps(rng.choice(keys))}: {json.dumps(rng.choice(ODD))}, {text[n:]}"
    if rng.random() < 0.1:  # what is no JSON
        text = rng.choice(
            ('{"a": "' + '\\"' * 500_000, "[" * 500_000, "[[]," * 300_000, text[: len(text) // 2], text * 2)
        )
    return text.encode()


def changed_bytes(content, rng):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        first = rng.randrange(len(content) or 1)
        last = min(len(content), first + rng.choice((1, 2, 4, 40, 4000)))
        part = content[first:last]
        kind = rng.randrange(6)
        if kind == 0 and part:
            content[first] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del content[first:]
        else:
            content[first:last] = (b"", rng.randbytes(len(part)), part * rng.choice((2, 50)), b"\xff" * len(part))[
                kind - 2
            ]
    return bytes(content)


def hostile(path, rng):
    """Return the bytes of a good file with something done to it."""
    whole = path.read_bytes()
    if path.name == "index":
        return changed_text(whole, rng) if rng.random() < 0.8 else changed_bytes(whole, rng)
    if rng.random() < 0.25:
        return changed_bytes(whole, rng)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    if "model.json" in parts and rng.random() < 0.8:
        parts["model.json"] = changed_text(parts["model.json"], rng)
    else:
        name = rng.choice(list(parts))
        parts[name] = changed_bytes(parts[name], rng)
    new = path.with_name("new")
    with zipfile.ZipFile(new, "w") as file:
        for name, part in parts.items():
            file.writestr(name, part)
    return new.read_bytes()


# --- what becomes of them ---------------------------------------------------------------------------------------------


def serve():
    """Read the files whose kinds and paths come in, and say of each whether it was refused: the other process."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    warnings.simplefilter("ignore")
    config.set_backend("numpy")

    def work(read_checkpoint):
        readers, before = {**READERS, "checkpoint": read_checkpoint}, 0
        for line in sys.stdin:
            kind, path = line[:-1].split(" ", 1)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            try:
                readers[kind](Path(path))
                told = "loaded"
            except ValueError as error:
                told = f"refused {str(error)[:2000]!r}"
            faulthandler.cancel_dump_traceback_later()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            before = before if "bad" in path else peak  # what a good one takes is taken
            print(told if peak - before < GROWTH else f"{(peak - before) >> 20} MB", flush=True)

    with pytest.raises(Restoring.Done):
        fit(new_model(), Restoring(work))


@pytest.fixture
def server():
    here = Path(__file__).parent
    paths = os.pathsep.join((str(here), str(Path(rnncore.__file__).parent.parent)))
    command = [sys.executable, "-c", "import test_hostile_files; test_hostile_files.serve()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, **pipes) as process:
        yield process
        process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_fuzz(tmp_path, server, settings, count):
    config.set_backend("numpy")
    rng, told = random.Random(RUN_SEED), Counter()
    write_good_files(tmp_path)

    def answer(kind, path):
        server.stdin.write(f"{kind} {path}\n")
        server.stdin.flush()
        return server.stdout.readline() or server.stderr.read()[-5000:]

    kinds = (*READERS, "checkpoint")
    assert [answer(kind, tmp_path / kind) for kind in kinds] == ["loaded\n"] * len(kinds)
    for n in range(count):
        kind, path = kinds[n % len(kinds)], tmp_path / f"bad {kinds[n % len(kinds)]}"
        path.write_bytes(hostile(tmp_path / kind, rng))
        found = answer(kind, path)
        assert found == "loaded\n" or found.startswith((f"refused '{path}: ", f'refused "{path}: ')), found
        told[found.split()[0]] += 1
    assert told["refused"] > told["loaded"] > 0
