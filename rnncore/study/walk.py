"""A walk through what a layer did with a text: one page for a browser, which holds all that it needs.

Of each recurrent layer the page has the inputs, the states before each step, the gradients that arrive at each step,
and the weights, in half precision. All else it computes from them by the cell's equations (equations.py): gates,
products, gradients. So what it shows adds up. Sizes: T steps, D inputs, H units.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import zlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ..layers.base import Layer
from ..layers.core import Activated
from ..layers.recurrent import RNN
from ..layers.rnn_cells import RecurrentCell
from ..lock import locked
from ..utils.files import replaced
from .equations import equations, notes
from .names import gates, meaning, names
from .passes import Batch, as_it_was, checked, recurrent_layers
from .saliency import Chain, saliency, without_penalties
from .trace import of_run
from .words import words_of

PAGE = files(__package__) / "page"
SCRIPTS = ("numbers.js", "formulas.js", "charts.js", "step.js", "page.js")


@locked
def walk(
    model: Layer,
    x: Any,
    row: int = 0,
    words: Any = None,
    path: str | os.PathLike = "walk.html",
    *,
    mask: Any = None,
    target: int | None = None,
    step: int | None = None,
) -> Path:
    """Write a page that walks through a text word by word: all units, one unit, one step with its equations.

    Open it in a browser, of 2023 or later; it asks nothing of any network. Click a word and a unit, or use the arrow
    keys; what is pointed at shows the products that it is made of.

    Parameters
    ----------
    model : Layer
        A model, or a single recurrent layer. It stays as it was.
    x : array_like of shape (B, T, ...), or list of rows of different lengths
        As in `fit`.
    row : int
        Which row of x.
    words : list of list of str, callable or mapping, optional
        As in `trace`; default: those of a model that takes texts, or else the ids, or the steps' numbers.
    path : path
        Where the page goes; ``.html``.
    mask : array_like of shape (B, T), bool, optional
        As in a call.
    target : int, optional
        Which output is the answer, of several; default: the largest.
    step : int, optional
        At which step, where the output has steps; default: the last one that counts.

    Returns
    -------
    Path

    Raises
    ------
    ValueError, TypeError
        No recurrent layer, a row that is not there, numbers that are not finite, or a cell or an activation whose
        equations cannot be shown: one without source, or one that mixes units.

    Notes
    -----
    Gradients are those of the answer, before the last layer's activation: labels are not needed. What each word brings
    to the answer is `saliency` by integrated gradients.

    Examples
    --------
    >>> walked = walk(model, x, row=3, path="walk.html")  # words=… puts a word beside each step
    """
    cells = [(layer, cell) for layer in recurrent_layers(model) for cell in layer.cells]
    batch, words, at = _one_row(model, x, row, words, mask)
    with as_it_was(model), without_penalties(model):
        chain = Chain(model, batch.x, batch.mask, "logit", target, -1 if step is None else step)
        kept = np.ones(chain.vectors.shape[1], bool) if chain.mask is None else chain.mask[at]
        if not kept.any():
            raise ValueError(f"row {row} of x is padding only: there is nothing to walk through")
        if step is None:
            chain.step = int(np.flatnonzero(kept)[-1]) - len(kept)
        found = saliency(model, batch.x, target=target, step=chain.step, mask=batch.mask)
        value = chain.values(chain.vectors, chain.mask)[at]
        chain.gradient()  # leaves that of each step in the layers
        pack, places = _Pack(), _places(chain.layers)
        data = {
            "words": words,
            "saliency": [round(float(score), 9) for score in np.nan_to_num(found.scores[at])],
            "answer": _answer(chain, at, value),
            "parts": [_part(layer, cell, at, words, places[layer.name], pack) for layer, cell in cells],
        }
    with replaced(path) as file:
        file.write(_page(f"A walk through {model.name}", data, pack).encode())
    return Path(path)


def _one_row(model: Layer, x: Any, row: int, words: Any, mask: Any) -> tuple[Batch, list[str], int]:
    """Return a batch with the row in it, the row's words, and where in the batch it is."""
    count = len(x)
    if isinstance(row, bool) or not isinstance(row, (int, np.integer)) or not -count <= row < count:
        raise ValueError(f"row is {row!r}; x has {count} rows: expected a whole number from 0 to {count - 1}")
    at = int(row) % count
    if not any(getattr(part, "stateful", False) for part in model.walk()):  # whose states belong to a whole batch
        one = slice(at, at + 1)
        x, at, mask = x[one], 0, None if mask is None else np.asarray(mask)[one]
        if isinstance(words, (list, tuple)) and len(words) == count and not isinstance(words[0], str):
            words = words[one]
    batch = checked(model, x, mask=mask)
    found = words_of(model, batch, words)
    if found is not None:
        return batch, found[at], at
    ids = batch.x[at] if batch.x.ndim == 2 and batch.x.dtype.kind in "iu" else range(1, batch.x.shape[1] + 1)
    return batch, [str(each) for each in ids], at


def _answer(chain: Chain, at: int, value: float) -> dict[str, Any]:
    """Return the number that the page asks about, before and after the last activation."""
    last = chain.layers[-1]
    activation = last.activation.name if isinstance(last, Activated) else "linear"
    output = np.asarray(chain.output)
    name = "answer" if output.shape[-1] == 1 else f"output {int(chain.place[-1][at])}"
    return {"name": name, "value": float(value), "output": float(output[chain.place][at]), "activation": activation}


def _places(layers: list[Any]) -> dict[str, dict[str, bool]]:
    """Return for each layer by name whether its steps come in the reverse order of the words, and whether it reads
    what another recurrent layer puts out."""
    found: dict[str, dict[str, bool]] = {}
    turned = above = False
    for layer in layers:
        found |= {part.name: {"turned": turned, "above": above} for part in layer.walk()}
        if isinstance(layer, RNN) and layer.go_backwards and layer.return_sequences:
            turned = not turned
        above |= any(isinstance(part, RNN) for part in layer.walk())
    return found


def _part(
    layer: RNN, cell: RecurrentCell, at: int, words: list[str], place: dict[str, bool], pack: _Pack
) -> dict[str, Any]:
    """Return what the page knows of a cell of a layer, and pack its arrays."""
    run = cell.last_run
    plan = run.plan
    try:
        lines = equations(plan)
    except ValueError as error:
        raise ValueError(f"{layer.name}: {error}") from None
    arrays = of_run(run)
    for stage, *_ in plan.stages:
        arrays |= _arriving(stage, arrays)
    before = [f"{state}_prev" for state in plan.cell.states]
    kept = ["x", *before, *(f"d{state}" for state in plan.cell.states)]
    shown = {name: layer.by_row(arrays[name])[at] for name in kept}
    shown |= {name: weight.reshape(-1, weight.shape[-1]) for name, weight in run.weights.items()}
    for name, array in shown.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{layer.name}: {name} has values that are not finite; there is nothing to show")
    valid, steps = layer.valid_steps()[at], shown["x"].shape[0]
    own = words if steps == len(words) else [f"step {t + 1}" for t in range(steps)]
    return {
        "name": layer.name if len(layer.cells) == 1 else f"{layer.name}.{cell.name}",
        "kind": type(cell).equations.name,
        "H": cell.units,
        "names": names(plan, False),
        "shown": [*gates(plan), *(state for state in reversed(plan.cell.states) if state not in plan.cell.gates)],
        "states": list(plan.cell.states),
        "between": plan.between,
        "backwards": layer.go_backwards,
        "sequences": layer.return_sequences or cell is not layer.cells[-1],
        "mask": "".join("1" if each else "0" for each in valid),
        "words": own[::-1] if place["turned"] else None if own is words else own,
        "turned": place["turned"],
        "above": place["above"] or cell is not layer.cells[0],
        "meanings": {name: meaning(plan, name) for name in names(plan, False)},
        "notes": notes(plan),
        "equations": lines,
        "arrays": {name: pack.add(array) for name, array in shown.items()},
    }


def _arriving(stage: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what reaches from outside of the step the gradients that its equations complete: linear in them."""
    completed = [f"d{state}" for state in stage.completes.split()]
    if not completed:
        return {}
    given = {name: arrays[name] for name in stage.backward_inputs}
    given |= {name: np.zeros_like(arrays[name]) for name in completed}
    within = stage.step_backward(*given.values())[len(stage.inputs) :]
    return {name: arrays[name] - own for name, own in zip(completed, within, strict=True)}


class _Pack:
    """Arrays behind one another: of each the rows' largest magnitudes (float32), then its shares of them (float16)."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self._places: dict[bytes, int] = {}

    def add(self, array: np.ndarray) -> list[int]:
        """Return where an array lies: offset, rows, columns. One that was there before lies there only once."""
        scales = np.abs(array).max(axis=1, initial=0).astype("<f4")
        shares = (array / np.where(scales, scales, 1)[:, None]).astype("<f2")
        packed = scales.tobytes() + shares.tobytes()
        packed += bytes(-len(packed) % 4)
        if packed not in self._places:
            self._places[packed] = len(self.bytes)
            self.bytes += packed
        return [self._places[packed], *array.shape]

    def text(self) -> str:
        return base64.b64encode(zlib.compress(bytes(self.bytes), 9)).decode()


def _page(title: str, data: dict[str, Any], pack: _Pack) -> str:
    """Return the page. Words and names come in as JSON, without a "<", and are never read as HTML."""
    scripts = "\n".join((PAGE / name).read_text("utf-8") for name in SCRIPTS)
    script = f'"use strict";\n{{\n{scripts}}}\n'  # a block: the page's names are its own
    style = (PAGE / "style.css").read_text("utf-8")
    parts = {
        "title": html.escape(title),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "data": json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        "pack": pack.text(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], (PAGE / "page.html").read_text("utf-8"))


def _hash(text: str) -> str:
    """Return what a Content-Security-Policy says of a script or style: nothing else may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
