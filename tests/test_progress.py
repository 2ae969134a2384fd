"""What a training says of itself: on terminals wide and narrow, in files and notebooks, and where nobody listens."""

import io
import os
import re
import signal
import subprocess
import sys
from types import ModuleType

import pytest

from rnncore.utils import progress
from rnncore.utils.progress import Progress

pty = pytest.importorskip("pty")  # of POSIX

SCRIPT = """
import sys, time
import numpy as np
import rnncore as keras

keras.set_backend("numpy")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse", metrics=["mae"])

def wait(batch, logs):
    if batch == 1 and "press" in sys.argv:
        import signal
        signal.raise_signal(signal.SIGINT)
    time.sleep(0.11)  # tqdm draws ten times a second

slow = keras.callbacks.LambdaCallback(on_train_batch_end=wait)
model.fit(np.ones((24, 3)), np.ones(24), batch_size=8, epochs=2, callbacks=[slow], verbose=1)
print("the end", file=sys.stderr)
"""
LINE = r"Epoch 2/2 - \d\.\ds - loss: \d\.\d{4}(e-\d\d)? - mae: \d\.\d{4}(e-\d\d)?"


def run(*arguments, **options):
    environment = {name: value for name, value in os.environ.items() if name != "TERM"}
    options = {"stdout": subprocess.PIPE, "env": environment | {"TERM": "xterm"}, "stderr": subprocess.PIPE} | options
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], timeout=120, check=False, **options)


def on_a_terminal(columns, *arguments, term="xterm"):
    """Return how the script ended, and what a terminal of so many columns was sent."""
    import fcntl
    import struct
    import termios

    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(mine, "rb", buffering=0) as screen:
        done = run(*arguments, stdout=theirs, env={**os.environ, "TERM": term})
        os.close(theirs)
        sent = b""
        while True:
            try:
                piece = screen.read(1 << 16)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            sent += piece
    return done, sent.decode()


def shown(sent):
    """Return the lines that are left on an endless screen."""
    return [line.rsplit("\r", 1)[-1].rstrip() for line in sent.replace("\r\n", "\n").split("\n")]


@pytest.mark.slow
@pytest.mark.parametrize("columns", [20, 80])
def test_a_terminal(columns):
    done, sent = on_a_terminal(columns)
    assert done.returncode == 0 and b"the end" in done.stderr
    first, second, rest = shown(sent)
    assert first.startswith("Epoch 1/2 - ") and re.fullmatch(LINE, second) and not rest
    bars = [piece for piece in re.split(r"[\r\n]+", sent) if "%|" in piece]
    assert len(bars) > 3
    assert max(map(len, bars)) <= columns
    assert any("loss: " in bar for bar in bars) == (columns == 80)


@pytest.mark.slow
def test_a_terminal_that_cannot_go_back():
    done, sent = on_a_terminal(80, term="dumb")
    assert done.returncode == 0
    assert "%" not in sent and "\r" not in sent.replace("\r\n", "")
    assert len(shown(sent)) == 3


def test_a_file(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        assert run(stdout=log).returncode == 0
    text = (tmp_path / "log").read_text()
    assert text.isprintable() or set(re.sub(r"[ -~]", "", text)) == {"\n"}
    first, second = text.splitlines()
    assert first.startswith("Epoch 1/2 - ") and re.fullmatch(LINE, second)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [None, 80])
def test_ctrl_c(columns):
    """It ends as a program does that was interrupted, and the last line says where."""
    done, sent = (run("press"), None) if columns is None else on_a_terminal(columns, "press")
    assert done.returncode == -signal.SIGINT
    assert done.stderr.decode().splitlines()[-1] == "KeyboardInterrupt: stopped after epoch 1, batch 2"
    if sent is not None:
        assert "%|" in sent and shown(sent) == [""]  # the bar is gone


@pytest.mark.slow
def test_nobody_listens(tmp_path):
    shut = run(stdout=None, preexec_fn=lambda: os.close(1))
    assert (shut.returncode, shut.stderr) == (0, b"the end\n")
    reader, writer = os.pipe()
    os.close(reader)
    broken = run(stdout=writer)
    os.close(writer)
    assert broken.stderr.startswith(b"the end\n")


class Closing(io.StringIO):
    """A terminal that is closed while it is written to."""

    def isatty(self):
        return True

    def write(self, text):
        if "2/3" in text:
            self.close()
        return super().write(text)


def test_a_terminal_that_goes_away(monkeypatch):
    monkeypatch.setattr(sys, "stdout", screen := Closing())
    with Progress("Epoch", 3, 1) as bar:
        for _ in range(3):
            bar._bar.last_print_t = 0  # long ago: tqdm draws
            bar.step({"loss": 1.0})
        bar.done({"loss": 1.0}, 0.0)
    assert screen.closed


def test_output_that_is_closed_or_none(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for screen in (closed, None):
        monkeypatch.setattr(sys, "stdout", screen)
        with Progress("Epoch", 3, 1) as bar:
            assert bar._bar is None
            bar.step({"loss": 1.0})
            bar.done({"loss": 1.0}, 0.0)


def test_a_notebook(monkeypatch):
    class OutStream(io.StringIO):
        pass

    OutStream.__module__ = "ipykernel.iostream"
    for screen, lively in ((OutStream(), True), (io.StringIO(), False)):
        monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
        monkeypatch.setattr(sys, "stdout", screen)  # one that a block was redirected to is no notebook
        assert progress._lively() is lively


@pytest.mark.slow
def test_compiling_is_told_once_a_machine(tmp_path):
    script = SCRIPT.replace('keras.set_backend("numpy")\n', "").replace("time.sleep(0.11)", "pass")
    environment = {**os.environ, "RNNCORE_CACHE_DIR": str(tmp_path), "RNNCORE_THREADS": "1"}  # so that nobody helps
    first, second = (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, env=environment)
        for _ in range(2)
    )
    assert first.stdout.count("Compiling kernels") == 1
    assert re.search(r"Epoch 1/2 - [\d.]+s \([\d.]+s of it compiling\) - loss", first.stdout)
    assert "ompiling" not in second.stdout
