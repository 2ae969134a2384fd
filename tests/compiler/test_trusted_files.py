"""Files that nobody else can have written: owners, modes, links, flipped bits."""

import os
import stat

import pytest

from rnncore.compiler import trusted_files

posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes have no meaning on this system")
CONTENT = bytes(range(0, 256, 8))


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of ours, two below one of ours, with a file in it."""
    made = tmp_path / "above" / "folder"
    trusted_files.write(made, "file", CONTENT)
    return made


def give_away(path, monkeypatch):
    """Have a path belong to another user: in truth if we may, else by being a third one who sees root's as root's."""
    if os.geteuid() == 0:
        os.chown(path, 1234, -1)
    else:
        theirs, us, fstat, lstat = os.stat(path).st_ino, os.geteuid(), os.fstat, os.lstat

        def seen(status):
            fields = [*status]
            fields[stat.ST_UID] = us + 1 if status.st_ino == theirs else status.st_uid
            return os.stat_result(fields)

        monkeypatch.setattr(os, "fstat", lambda given: seen(fstat(given)))
        monkeypatch.setattr(os, "lstat", lambda given: seen(lstat(given)))


@posix
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077, 0o777])
def test_modes_do_not_go_by_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        trusted_files.write(tmp_path / "a" / "b", "file", CONTENT)
    finally:
        os.umask(before)
    assert [mode(tmp_path / each) for each in ("a", "a/b", "a/b/file")] == [0o700, 0o700, 0o600]
    assert trusted_files.read(tmp_path / "a" / "b", "file") == CONTENT


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        trusted_files.read(tmp_path / "none", "file")
    assert not (tmp_path / "none").exists()  # reading makes nothing
    with pytest.raises(FileNotFoundError):
        trusted_files.read(tmp_path, "file")


@posix
@pytest.mark.parametrize("which", ["file", ".", ".."])
@pytest.mark.parametrize("fault", ["group", "others", "owner"])
def test_what_others_may_have_written_is_refused(fault, which, folder, monkeypatch):
    path = (folder / which).resolve()
    if fault == "owner":
        give_away(path, monkeypatch)
    else:
        path.chmod(mode(path) | {"group": 0o020, "others": 0o002}[fault])
    message = f"{path} (belongs to another user|may be written by other users)"
    with pytest.raises(PermissionError, match=message):
        trusted_files.read(folder, "file")
    if which == "file":  # it is written anew
        trusted_files.write(folder, "file", b"new")
        assert trusted_files.read(folder, "file") == b"new" and mode(path) == 0o600
    else:
        with pytest.raises(PermissionError, match=message):
            trusted_files.write(folder, "file", b"new")
        assert [each.name for each in folder.iterdir()] == ["file"]


@posix
def test_a_sticky_folder_may_be_above_but_not_hold_files(folder):
    folder.parent.chmod(0o1777)
    assert trusted_files.read(folder, "file") == CONTENT
    folder.chmod(0o1777)
    with pytest.raises(PermissionError):
        trusted_files.read(folder, "file")


@posix
def test_links_are_followed_before_anything_is_checked(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert trusted_files.read(tmp_path / "link", "file") == CONTENT
    folder.parent.chmod(0o777)  # not above the link
    with pytest.raises(PermissionError, match="above may be written"):
        trusted_files.read(tmp_path / "link", "file")
    with pytest.raises(PermissionError, match="above may be written"):
        trusted_files.write(tmp_path / "link", "file", b"")


@posix
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_refused_at_once(kind, folder, tmp_path):
    os.rename(folder / "file", tmp_path / "elsewhere")
    {"link": lambda path: path.symlink_to(tmp_path / "elsewhere"), "pipe": os.mkfifo, "folder": os.mkdir}[kind](
        folder / "file"
    )
    with pytest.raises(OSError, match=r"no file of at most|symbolic link|a directory"):
        trusted_files.read(folder, "file")


def test_a_file_that_is_too_large_is_not_read(folder):
    os.truncate(folder / "file", trusted_files.LARGEST + 1)
    with pytest.raises(OSError, match="no file of at most"):
        trusted_files.read(folder, "file")


@pytest.mark.slow
def test_every_flipped_bit_and_every_cut_is_found(folder):
    whole = (folder / "file").read_bytes()
    damaged = [whole[:n] for n in range(len(whole))] + [whole + b"\0"]
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        (folder / "file").write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            trusted_files.read(folder, "file")


def test_a_file_does_not_stand_for_another(folder):
    (folder / "other").write_bytes((folder / "file").read_bytes())
    (folder / "other").chmod(0o600)
    with pytest.raises(ValueError, match="damaged"):
        trusted_files.read(folder, "other")


def test_a_write_that_fails_leaves_what_was_there(folder, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        trusted_files.write(folder, "file", b"new")
    assert [each.name for each in folder.iterdir()] == ["file"]
    assert trusted_files.read(folder, "file") == CONTENT
