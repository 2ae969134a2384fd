"""What a first training compiles, compiled by two processes: another one begins with what is needed last.

The other one is a Python of its own. It gets the model in plain values, as a file has it, and a batch; it takes a step
in which kernels do not run, but are written down; and it compiles these, the last one first. They go to disk, where
this process finds them when it comes so far. Of a model with classes of a user's own it knows nothing: it just ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from . import config
from .configured import revived
from .layers.base import Layer, nothing_kept
from .saving import described_model


@contextmanager
def compiled_ahead(model: Any, batch: tuple[np.ndarray | None, ...]) -> Iterator[None]:
    """While the block trains a model for the first time, compile in another process what it needs last.

    Only where nothing is compiled yet, and there is a second processor.

    Parameters
    ----------
    model : Trainer
        Compiled.
    batch : tuple of ndarray or None
        x, y and sample_weight.
    """
    child = _begun(model, batch) if _pays() else None
    try:
        yield
    finally:
        if child:  # all that was needed is there, or the block failed
            child.kill()
            child.wait()


def _pays() -> bool:
    """Whether the other process would have something to compile, a processor, and a place to put it."""
    python = "python" in os.path.basename(sys.executable or "").lower()  # and no program that has one inside
    if not python or config.backend() != "numba" or config.threads() < 2 or config.processors() < 2:
        return False
    from ._jit import cache_folder

    folder = cache_folder()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return os.access(folder, os.W_OK) and not any(folder.glob("*.nbc"))


def _begun(model, batch):
    """Return the process, which has begun, or None: there is none where a model cannot be told in plain values."""
    with suppress(TypeError, ValueError, OSError), tempfile.TemporaryFile() as file:
        given = {name: array for name, array in zip(("x", "y", "weight"), batch, strict=True) if array is not None}
        np.savez(file, content=json.dumps(described_model(model)), **given)
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-c", "from rnncore.ahead import main; main()"],
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,  # Ctrl-C is for this process, which ends the other
        )


def main() -> None:
    """Be the other process: compile for the model and the batch that come in."""
    from ._crew import compile_for
    from .kernels.threads import noted

    parent = os.getppid()
    with np.load(sys.stdin.buffer) as given:
        content, x, y = json.loads(str(given["content"])), given["x"], given["y"]
        weight = given.get("weight")
    config.set_backend("numba")
    model = revived(content["model"], Layer)
    model.compile_from_config(content["compile"])
    model.ensure_built(content["input_shape"] or x.shape)
    with noted() as calls, suppress(Exception):
        _step(model, x, y, weight)
    for function, arguments in reversed(_each_once(calls)):
        if os.getppid() == parent:  # nobody waits for it where that one has ended
            compile_for(function, arguments)


def _step(model, x, y, weight):
    """Do what a training does, in the order in which it comes to it."""
    with np.errstate(all="ignore"), nothing_kept():
        model.forward(x)  # `fit` looks whether the targets fit
        _, gradient = model.loss_and_gradient(y, model.forward(x, training=True), weight)
        model.backward_from_loss(gradient)
        model.optimizer.apply_gradients(model.gradients_and_weights())


def _each_once(calls):
    """Return the calls; of those that need the same code only the first."""
    from ._crew import types_of

    found = {}
    for function, arguments in calls:
        found.setdefault((id(function), types_of(arguments)), (function, arguments))
    return list(found.values())
