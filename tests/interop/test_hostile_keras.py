"""Damaged and hostile files of Keras's: each loads or is refused in one sentence, in bounded time and memory.

Where ``RNNCORE_MODELS`` names a folder of real ones, they are what is damaged, beside files of our own.
"""

import contextlib
import faulthandler
import io
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

import h5py
import numpy as np
import pytest
from cases import RUN_SEED
from test_hostile_files import changed_bytes, changed_text

import rnncore
from rnncore import config
from rnncore.interop.keras import read_weights
from rnncore.layers import GRU, LSTM, Bidirectional, Dense, Embedding, Input
from rnncore.models import Sequential, load_model

LIMIT = 3 << 30  # bytes of address space
GROWTH = 400 << 20  # bytes that the files may add to the process that reads them
SECONDS = 20  # for one file


def new_model():
    rows = [Embedding(9, 3, mask_zero=True), Bidirectional(LSTM(2, return_sequences=True)), GRU(2), Dense(1, "sigmoid")]
    model = Sequential([Input((5,)), *rows])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def write_good_files(folder):
    """Write a file of each form, and return all that are to be damaged."""
    model = new_model()
    model.train_on_batch(np.ones((2, 5), int), np.ones((2, 1)))
    for name in ("own.keras", "own.h5"):
        model.save(folder / name)
    model.save_weights(folder / "own.weights.h5")
    real = Path(os.environ.get("RNNCORE_MODELS") or "/nowhere")
    found = [path for path in real.glob("*.*") if path.suffix in (".h5", ".keras")] if real.is_dir() else []
    return sorted(folder.iterdir()) + sorted(found)


def damaged_hdf5(content, rng):
    """Return HDF5 with something done to it: to its text, to its objects by h5py, or to its bytes."""
    kind = rng.random()
    if kind < 0.35:
        return damaged_structure(content, rng)
    if kind < 0.6:
        return changed_bytes(content, rng)
    content = bytearray(content)  # the numbers of the structures: sizes, addresses, versions, counts
    signatures = [content.find(word) for word in (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"\x89HDF")]
    for _ in range(rng.choice((1, 1, 3, 9))):
        at = rng.choice([n for n in signatures if n >= 0] or [0]) + rng.randrange(400)
        size = rng.choice((1, 2, 4, 8))
        odd = rng.choice((0, 1, 1 << 7, 1 << 15, 1 << 31, (1 << 64) - 1, rng.getrandbits(64), len(content)))
        content[at : at + size] = (odd & (1 << 8 * size) - 1).to_bytes(size, "little")
    return bytes(content)


def damaged_structure(content, rng):
    """Return HDF5 with an attribute, a link or an array changed."""
    memory = io.BytesIO(content)
    with contextlib.suppress(OSError, KeyError, ValueError, RuntimeError, TypeError), h5py.File(memory, "r+") as file:
        holders, arrays = [file], []
        file.visititems(lambda name, each: (arrays if isinstance(each, h5py.Dataset) else holders).append(each))
        texts = [(each, name) for each in holders for name in each.attrs]
        if texts and rng.random() < 0.6:
            each, name = rng.choice(texts)
            value = each.attrs[name]
            if isinstance(value, (str, bytes)) and value[:1] in ("{", b"{"):
                value = np.bytes_(changed_text(value, rng)[:60_000])
            else:
                odd = (b"", b"x", b"../..", b"/", [b"a", b"a"], 3.5, np.zeros(4), [], list(np.ravel(value)) * 3)
                value = rng.choice(odd)
            each.attrs[name] = value
        elif arrays:
            each, other = rng.choice(arrays), rng.choice(arrays)
            parent, name = each.parent, each.name
            kind = rng.randrange(6)
            if kind < 5:
                del file[name]
            if kind == 0:
                parent[name] = other  # the same one twice
            elif kind == 1:
                file[name] = h5py.ExternalLink("/etc/hostname", name)
            elif kind == 2:
                file.create_dataset(name, (1 << 20, 1 << 14), "f4", chunks=(1 << 10, 1 << 10), compression="gzip")
            elif kind == 3:
                file.create_dataset(
                    name, (rng.choice((0, 1, 3, 1 << 40)), 2), rng.choice(("f4", "i8", "S3", h5py.ref_dtype))
                )
            elif each.size and each.dtype.kind == "f":
                each[...] = rng.choice((np.nan, np.inf, 1e38, 0))
    return memory.getvalue()


def hostile(path, rng):
    """Return the bytes of a good file with something done to it."""
    whole = path.read_bytes()
    if whole[:4] == b"\x89HDF":
        return damaged_hdf5(whole, rng)
    if not zipfile.is_zipfile(path) or rng.random() < 0.15:
        return changed_bytes(whole, rng)
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    name = rng.choice(("config.json", "config.json", "model.weights.h5", "model.weights.h5", "metadata.json"))
    parts[name] = (damaged_hdf5 if name.endswith("h5") else changed_text)(parts[name], rng)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
        for name, part in parts.items():
            file.writestr(name, part)
    return memory.getvalue()


def serve():
    """Read the files whose paths come in, and say of each whether it was refused: the other process."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    warnings.simplefilter("ignore")
    config.set_backend("numpy")
    model, before = new_model(), 0
    for line in sys.stdin:
        path = Path(line[:-1])
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            if path.name.endswith(".weights.h5"):
                model.load_weights(path)
            else:
                load_model(path)
            told = "loaded"
        except ValueError as error:
            told = f"refused {str(error)[:2000]!r}"
        faulthandler.cancel_dump_traceback_later()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        before = before if "bad" in path.name else peak  # what a good one takes is taken
        print(told if peak - before < GROWTH else f"{(peak - before) >> 20} MB", flush=True)


@contextlib.contextmanager
def server():
    here = Path(__file__).parent
    paths = os.pathsep.join((str(here), str(here.parent), str(Path(rnncore.__file__).parent.parent)))
    command = [sys.executable, "-c", "import test_hostile_keras; test_hostile_keras.serve()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, **pipes) as process:
        yield process
        process.kill()


def answer(process, path):
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    return process.stdout.readline() or f"died: {process.stderr.read()[-5000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_damaged_files_are_refused(tmp_path, settings, count):
    config.set_backend("numpy")
    rng, told = random.Random(RUN_SEED), Counter()
    good = write_good_files(tmp_path)
    with server() as process:
        for path in good:
            answer(process, path)
        for n in range(count):
            path = tmp_path / f"bad.{good[n % len(good)].name}"
            path.write_bytes(hostile(good[n % len(good)], rng))
            found = answer(process, path)
            assert found == "loaded\n" or found.startswith((f"refused '{path}: ", f'refused "{path}: ')), (path, found)
            told[found.split()[0]] += 1
    assert told["refused"] > 0 and told["loaded"] > 0


def write_many_names(file):
    """Name one array sixteen million times."""
    file.attrs["layer_names"] = np.array([b"a"] * 4096)
    group = file.create_group("a")
    group.attrs["weight_names"] = np.array([b"w"] * 4096)
    group["w"] = np.float32(1)


def write_circle(file):
    """Let two links of a group lead to itself."""
    group = file.create_group("layers")
    group["a"] = group["b"] = group


@pytest.mark.parametrize("write", [write_many_names, write_circle])
def test_a_small_file_is_no_long_work(tmp_path, write):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        write(file)
    with pytest.raises(ValueError, match=r"m\.h5: its names and links lead to more than a file of its size can hold"):
        read_weights(tmp_path / "m.h5")


def hunt(count, seed):
    """Print what becomes of many damaged files, also of those that end the process: ``python -c`` by hand."""
    import tempfile

    config.set_backend("numpy")
    rng, told = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        good, n = write_good_files(Path(folder)), 0
        while n < count:
            with server() as process:
                for path in good:
                    answer(process, path)
                while n < count:
                    path = Path(folder) / f"bad.{good[n % len(good)].name}"
                    path.write_bytes(hostile(good[n % len(good)], rng))
                    found, n = answer(process, path), n + 1
                    told[found.split()[0]] += 1
                    if not (found == "loaded\n" or found.startswith((f"refused '{path}: ", f'refused "{path}: '))):
                        kept = Path(folder).parent / f"hostile-{seed}-{n}{path.suffix}"
                        kept.write_bytes(path.read_bytes())
                        print(json.dumps([str(kept), found[-1500:]]), flush=True)
                        break
    print(dict(told), flush=True)
