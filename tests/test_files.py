"""Files that are replaced in one go: by several writers at once, after kills, through links, with their modes."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import rnncore
from rnncore.utils import archive
from rnncore.utils.files import replaced

FOLDER = Path(rnncore.__file__).parent.parent


def write(path, content=b"new"):
    with replaced(path) as file:
        file.write(content)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.slow
def test_two_threads_may_save_to_one_path(tmp_path):
    path, errors, done = tmp_path / "a", [], threading.Event()
    archive.write(path, {"number": 0, "array": np.full(999, 0)})

    def told(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    def save(first):
        for number in range(first, first + 200):
            archive.write(path, {"number": number, "array": np.full(999, number)})

    def look():
        while not done.is_set():
            content = archive.read(path)
            assert (content["array"] == content["number"]).all()

    writers = [threading.Thread(target=told, args=(lambda first=first: save(first),)) for first in (1000, 2000)]
    readers = [threading.Thread(target=told, args=(look,)) for _ in range(2)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert errors == []
    assert archive.read(path)["number"] in (1199, 2199)
    assert names(tmp_path) == ["a"]


HALF = """
import sys, time
from rnncore.utils.files import replaced
with replaced(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_the_drafts_of_killed_saves_go_and_those_of_living_ones_stay(tmp_path):
    path = tmp_path / "a"
    write(path, b"old")
    write(tmp_path / "b", b"other")
    command = [sys.executable, "-c", HALF, path]
    saves = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(FOLDER)})
        for _ in range(3)
    ]
    try:
        for save in saves:
            assert save.stdout.readline() == b"half\n"
        assert len(names(tmp_path)) == 5
        for save in saves[:2]:
            save.send_signal(signal.SIGKILL)
            save.wait()
        assert len(names(tmp_path)) == 5
        assert path.read_bytes() == b"old"
        write(tmp_path / "b")  # removes its own drafts only
        assert len(names(tmp_path)) == 5
        write(path)
        assert len(names(tmp_path)) == 3
        assert path.read_bytes() == b"new"
    finally:
        for save in saves:
            save.kill()
            save.wait()
            save.stdout.close()
    write(path)
    assert names(tmp_path) == ["a", "b"]


def fail(path, error):
    with replaced(path) as file:
        file.write(b"half")
        raise error


def test_what_fails_leaves_the_old_file_and_no_draft(tmp_path):
    write(tmp_path / "a", b"old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(tmp_path / "a", error)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_planted_draft_is_neither_followed_nor_removed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    given = iter(["x" * 16, "y" * 16])
    monkeypatch.setattr("rnncore.utils.files.secrets.token_hex", lambda size: next(given))
    seen = []
    with replaced(tmp_path / "a") as file:
        seen += [name for name in names(tmp_path) if name.endswith(".draft")]
        file.write(b"new")
    planted = tmp_path / seen[0].replace("x" * 16, "y" * 16)
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError):
        write(tmp_path / "a", b"newer")
    assert victim.read_bytes() == b"mine"
    assert planted.is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "new")
        assert mode(tmp_path / "new") == 0o666 & ~umask
        for kept in (0o600, 0o640, 0o664, 0o444):
            (tmp_path / "new").chmod(kept)
            with replaced(tmp_path / "new"):
                draft = next(path for path in tmp_path.iterdir() if path.name.endswith(".draft"))
                assert mode(draft) == 0o600  # never open to more than the file was
            assert mode(tmp_path / "new") == kept
    finally:
        os.umask(before)


def test_what_a_link_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "target"
    write(target, b"old")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to("there/target")
    (tmp_path / "chain").symlink_to("link")
    (tmp_path / "dangling").symlink_to("there/other")
    write(tmp_path / "chain")
    write(tmp_path / "dangling")
    assert target.read_bytes() == (tmp_path / "there" / "other").read_bytes() == b"new"
    assert mode(target) == 0o640
    assert all((tmp_path / name).is_symlink() for name in ("link", "chain", "dangling"))
    assert names(tmp_path / "there") == ["other", "target"]
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="round"):
        write(tmp_path / "round")


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "x" * 251 + ".npz"])
def test_long_names(tmp_path, name):
    write(tmp_path / name)
    write(tmp_path / name, b"newer")
    assert names(tmp_path) == [name]
    with pytest.raises(OSError, match="too long"):
        write(tmp_path / ("x" * 256))
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device", "link to a pipe"])
def test_what_is_no_plain_file_is_refused(tmp_path, kind, monkeypatch):
    path, real = tmp_path / "a", tmp_path / ("b" if kind.startswith("link") else "a")
    if kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            monkeypatch.chdir(tmp_path)  # the names of sockets are short
            server.bind("a")
    elif kind == "device":
        path = real = Path(os.devnull)
    else:
        os.mkfifo(real)
    if real != path:
        path.symlink_to(real)
    before, kinds = os.lstat(real), names(tmp_path)
    error = IsADirectoryError if kind == "folder" else FileExistsError
    with pytest.raises(error, match=rf"^{path} is (a folder|no plain file)"):
        write(path)
    assert os.path.samestat(os.lstat(real), before)
    assert names(tmp_path) == kinds


def test_the_folder_is_made_and_synchronised(tmp_path, monkeypatch):
    synchronised = []
    original = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synchronised.append(os.fstat(number).st_mode) or original(number))
    write(tmp_path / "one" / "two" / "a")
    assert [stat.S_ISDIR(kind) for kind in synchronised] == [False, True]  # the file, then that it is there
