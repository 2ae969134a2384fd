"""Files fetched as Keras does: once, whole, and what was asked for."""

import hashlib
import http.server
import threading
from pathlib import Path

import pytest

from rnncore.utils import get_file


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    source = tmp_path / "a text.txt"
    source.write_bytes(b"one")
    return source


def test_a_file_is_fetched_once(source, tmp_path):
    path = get_file("text.txt", source.as_uri())
    assert path == str(tmp_path / "home" / "datasets" / "text.txt")
    source.write_bytes(b"two")
    assert Path(get_file("text.txt", source.as_uri())).read_bytes() == b"one"
    assert Path(get_file("text.txt", source.as_uri(), force_download=True)).read_bytes() == b"two"
    other = get_file(origin=source.as_uri(), cache_dir=tmp_path / "other", cache_subdir="texts")
    assert other == str(tmp_path / "other" / "texts" / "a text.txt")


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_hash(source, kind):
    one, two = (hashlib.new(kind, text).hexdigest() for text in (b"one", b"two"))
    path = Path(get_file("text.txt", source.as_uri(), file_hash=one.upper()))
    with pytest.raises(ValueError, match="gave has not the file_hash"):
        get_file("text.txt", source.as_uri(), file_hash=two)
    assert [*path.parent.iterdir()] == [path] and path.read_bytes() == b"one"
    source.write_bytes(b"two")
    assert Path(get_file("text.txt", source.as_uri(), file_hash=two)).read_bytes() == b"two"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "origin is None"),
        ({"origin": "file:///"}, ValueError, "fname is ''; expected the name of a file"),
        ({"fname": "../text", "origin": "file:///text"}, ValueError, "fname is '../text'"),
        ({"fname": "text", "origin": "file:///no/such/file"}, OSError, "no/such/file"),
    ],
)
def test_errors(source, arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        get_file(**arguments)
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


class BrokenOff(http.server.BaseHTTPRequestHandler):
    """Announces ten bytes and gives three."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"one")

    def log_message(self, *arguments):
        pass


def test_an_answer_that_breaks_off_is_not_kept(source, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), BrokenOff) as server:
        threading.Thread(target=server.handle_request).start()
        with pytest.raises(ConnectionError, match="broke off after 3 of 10 bytes"):
            get_file("text.txt", f"http://127.0.0.1:{server.server_port}/text.txt")
    assert [*(tmp_path / "home").rglob("*")] == [tmp_path / "home" / "datasets"]


@pytest.mark.keras
def test_the_place_is_keras_s(source, tmp_path):
    keras = pytest.importorskip("keras")
    ours = get_file("text.txt", source.as_uri(), cache_dir=tmp_path)
    assert keras.utils.get_file("text.txt", source.as_uri(), cache_dir=str(tmp_path)) == ours
