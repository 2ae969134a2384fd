"""One pass over a batch to look at: what a user gave, checked; forward, loss, backward; the model stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..configured import look_up
from ..gradcheck.layers import checked_layer, same_start
from ..layers.base import Layer
from ..layers.checks import checked_array, plain
from ..layers.recurrent import RNN
from ..layers.rnn_cells import RecurrentCell
from ..training import data
from ..training.trainer import NO_LOSS, Trainer


def recurrent_layers(model: Layer) -> list[Any]:
    """Return the layers of a model (or the layer itself) that go through time.

    Raises
    ------
    ValueError
        There is none, or two have one name.
    """
    found = [layer for layer in checked_layer(model, what="model").walk() if hasattr(layer, "time_series")]
    if not found:
        kinds = ", ".join(type(part).__name__ for part in model.walk() if not part.children()) or "no layer"
        raise ValueError(
            f"model: {model.name} has no recurrent layer ({kinds}); gates and states are those of LSTM, GRU …"
        )
    names = [layer.name for layer in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"model: {model.name} has two recurrent layers named {name!r}; give each a name=")
    return found


def recurrent_layer(model: Layer, layer: str | None = None) -> RNN:
    """Return the recurrent layer of that name, or the only one."""
    found = {each.name: each for each in recurrent_layers(model)}
    if layer is not None:
        return look_up(layer, found, "layer")
    if len(found) > 1:
        raise ValueError(f"model: {model.name} has the recurrent layers {', '.join(found)}; say which one by layer=…")
    return next(iter(found.values()))


def single_cell(layer: RNN) -> RecurrentCell:
    """Return the cell of a layer of one."""
    if len(layer.cells) > 1:
        raise ValueError(
            f"{layer.name} is an RNN of {len(layer.cells)} cells in one loop; here a layer must have one: stack layers"
        )
    return layer.cells[0]


class Batch(NamedTuple):
    """What a user gave to look at, checked: arrays, x's rows padded where they were of different lengths.

    Attributes
    ----------
    x, y, sample_weight : ndarray or None
    mask : ndarray of shape (B, T), bool, or None
        As given, or of the rows' lengths where nothing in the model says what is padding.
    lengths : ndarray of shape (B,), int, or None
        Those of x's rows, where they differ.
    """

    x: np.ndarray
    y: np.ndarray | None = None
    sample_weight: np.ndarray | None = None
    mask: np.ndarray | None = None
    lengths: np.ndarray | None = None


def checked(model: Layer, x: Any, y: Any = None, sample_weight: Any = None, mask: Any = None) -> Batch:
    """Return a batch; raise ValueError or TypeError where it does not fit the model."""
    if isinstance(model, Trainer):
        if y is not None and model.loss is None:
            raise ValueError(NO_LOSS.format(model.name))
        table = data.checked(model, x, y, sample_weight)
        x, y, sample_weight = table.arrays()
        return Batch(x, y, sample_weight, mask, table.lengths)
    if y is not None or sample_weight is not None:
        raise ValueError(
            f"y came with {model.name}, a layer by itself, which has no loss; put it into a compiled Sequential, "
            "or give the gradient of its output as dy"
        )
    lengths = None if isinstance(x, np.ndarray) or not isinstance(x, (list, tuple)) else {len(plain(r, "x")) for r in x}
    if lengths is None or len(lengths) < 2:
        return Batch(model.checked_input(x), mask=mask)
    if mask is not None:
        raise ValueError("mask came with x of rows of different lengths, which say themselves where they end")
    rows = [plain(row, "x") for row in x]
    ragged = data.Ragged(np.concatenate(rows), *_extents(rows))
    return Batch(model.checked_input(ragged.padded(0)), mask=_until(ragged.lengths), lengths=ragged.lengths)


def _extents(rows):
    """Return where each row begins in all of them end to end, and how long it is."""
    lengths = np.array([len(row) for row in rows])
    return np.cumsum(lengths) - lengths, lengths


def _until(lengths):
    return np.arange(lengths.max()) < lengths[:, None]


class Pass(NamedTuple):
    """What a pass gave; the rest lies in the layers until their next call.

    Attributes
    ----------
    output : ndarray
    loss : float or None
        With y: that `fit` takes a step on.
    """

    output: Any
    loss: float | None = None


def run(model: Any, batch: Batch, training: bool = False, dy: Any = None) -> Pass:
    """Go through a model and, where there is y or dy, back."""
    output = model(batch.x, mask=batch.mask, training=training)
    if batch.y is not None:
        loss, gradient = model.loss_and_gradient(batch.y, output, batch.sample_weight)
        model.backward_from_loss(gradient)
        return Pass(output, loss)
    if dy is not None:
        model.backward(dy if isinstance(output, list) else checked_array(dy, "dy", "float", model.dtype, output.shape))
    return Pass(output)


@contextmanager
def as_it_was(model: Layer) -> Iterator[None]:
    """Let random generators, and states kept between batches, be after the block what they were before it."""
    with same_start(model):
        yield
