"""What happened in the recurrent layers at each step, by name: see names.py for all the names.

Sizes: B rows, T steps, D inputs, H units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..bptt.numpy_loop import input_gradient, inputs_of, preactivations
from ..bptt.run import Run
from ..configured import look_up
from ..gradcheck.problem import told
from ..layers.base import Layer
from ..layers.recurrent import RNN
from ..lock import locked
from .names import fed, gates, meaning
from .names import names as names_of
from .passes import as_it_was, checked, recurrent_layers, run
from .reduced import batches_of, reduced
from .words import words_of


class Named(Mapping):
    """A mapping whose look-up says which names there are, by a ValueError; `get` and ``in`` as of any other."""

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401, that is what it is


class Series(Named):
    """What one layer did: arrays (B, T, H) by name, NaN at masked steps.

    Attributes
    ----------
    layer, kind : str
        The layer's name, and its class.
    mask : ndarray of shape (B, T), bool
        Which steps count.
    gates, states : list of str
        Which of the names are gates after their activation, and which states.
    """

    def __init__(self, layer: RNN, arrays: dict[str, np.ndarray], about: dict[str, str]):
        self.layer, self.kind, self.mask = layer.name, type(layer).__name__, layer.valid_steps()
        self._arrays, self._about = arrays, about
        self.gates, self.states = (
            [name for cell in layer.cells for name in layer.by_cell(cell, dict.fromkeys(some(cell.last_run.plan)))]
            for some in (gates, lambda plan: plan.cell.states)
        )

    @property
    def shown(self) -> list[str]:
        """Gates and states: what a look at a layer begins with."""
        return [*self.gates, *self.states]

    def __getitem__(self, name: str) -> np.ndarray:
        if name.startswith("d") and name[1:] in self._arrays and not any(own.startswith("d") for own in self._arrays):
            raise ValueError(f"{self.layer}: there are no gradients in the trace; give y as well: trace(model, x, y)")
        return look_up(name, self._arrays, "name", f"{self.layer}: name")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __repr__(self) -> str:
        steps = f"{int(self.mask.sum())} of {self.mask.size} steps"
        lines = [f"{self.layer} ({self.kind}), {steps}"]
        for name, array in self._arrays.items():
            low, high = np.nanmin(array, initial=np.inf), np.nanmax(array, initial=-np.inf)
            extent = f"{low:9.3g} … {high:<9.3g}" if low <= high else f"{'nothing':>21}"
            lines.append(f"  {name:<8} {array.shape!s:<16} {extent}  {self._about[name]}".rstrip())
        return "\n".join(lines)


class Trace(Named):
    """What the recurrent layers did: ``trace["lstm"]["f"]``, or ``trace["lstm.f"]``; print it for a table.

    Attributes
    ----------
    names : list of str
        All there is, with the layers' names: ``lstm.f``.
    mask : ndarray of shape (B, T), bool
        Which steps count, of the first recurrent layer; each layer's own is ``trace["lstm"].mask``.
    words : list of list of str, or None
        A word a step, if they were given.
    loss : float or None
        With y.
    output : ndarray
        What the model returned.
    """

    def __init__(self, layers: dict[str, Series], words: list[list[str]] | None, loss: float | None, output: Any):
        self._layers, self.words, self.loss, self.output = layers, words, loss, output
        self._places = {f"{layer}.{name}": (layer, name) for layer, series in layers.items() for name in series}
        self.names = list(self._places)
        self.mask = next(iter(layers.values())).mask

    def __getitem__(self, name: str) -> Any:
        if name in self._places:
            layer, own = self._places[name]
            return self._layers[layer][own]
        layer, dot, own = name.partition(".")
        series = look_up(layer, self._layers, "layer")
        return series[own] if dot else series

    def __contains__(self, name: object) -> bool:
        return name in self._places or name in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        rows, steps = self.mask.shape
        loss = "" if self.loss is None else f"; loss {self.loss:.4f}"
        return "\n".join([f"Trace of {rows} rows, {steps} steps{loss}", *map(repr, self._layers.values())])

    def to_frame(self, *names: str) -> Any:
        """Return a pandas DataFrame: a line a row and step that counts, a column a layer, name and unit.

        Parameters
        ----------
        *names : str
            ``lstm.f`` …; default: all. Of layers whose steps are not those of the first one, none.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas") from error
        columns = {}
        for name in names or self.names:
            array = self[name]
            if array.shape[:2] != self.mask.shape:
                if names:
                    raise ValueError(f"{name} has {array.shape[1]} steps, the frame {self.mask.shape[1]}")
                continue
            for unit, values in enumerate(array[self.mask].T):
                columns[(*self._places[name], unit)] = values
        rows, steps = np.nonzero(self.mask)
        index: dict[str, Any] = {"row": rows, "step": steps}
        if self.words is not None:
            index["word"] = [self.words[row][step] for row, step in zip(rows, steps, strict=True)]
        frame = pd.DataFrame(columns, index=pd.MultiIndex.from_arrays([*index.values()], names=[*index]))
        frame.columns.names = ["layer", "name", "unit"]
        return frame


@locked
def trace(
    model: Layer,
    x: Any,
    y: Any = None,
    words: Any = None,
    *,
    mask: Any = None,
    sample_weight: Any = None,
    training: bool = False,
    dy: Any = None,
    names: Iterable[str] | None = None,
    reduce: Any = None,
    batch_size: int = 32,
) -> Any:
    """Run a model and return what happened in its recurrent layers at each step; the model stays as it was.

    Parameters
    ----------
    model : Layer
        A model, or a single layer. It is built if it was not.
    x : array_like of shape (B, T, ...), or list of rows of different lengths
        As in `fit`; rows of different lengths are padded behind their ends.
    y, sample_weight : array_like, optional
        As in `fit`, of a compiled model: the gradients are there, too.
    words : list of list of str, callable or mapping, optional
        A word a step, or what gives them for ids: see `words.aligned`. A model that takes texts has its own.
    mask : array_like of shape (B, T), bool, optional
        As in a call.
    training : bool
        Whether dropout drops, as in a step of training: what the next one would draw.
    dy : array_like, optional
        In place of y: the gradient of the output, of a layer or a model without a loss.
    names : str or iterable of str, optional
        What to keep, ``lstm.f`` or of every layer ``f``; default: all.
    reduce : {"mean", "histogram", "words"} or callable, optional
        Of a whole data set, in the memory of a batch: x is then what `fit` takes, generators and ragged rows too, and
        for each layer and name there is a `Mean`, a `Histogram` or a `Mean` for each word (`study.reduced`). A function
        is called with the `Trace` of each batch, and what it returns comes in a list.
    batch_size : int
        Of these.

    Returns
    -------
    Trace
        A mapping of layer names (``forward_lstm`` and ``backward_lstm`` in a Bidirectional) to mappings of names to
        arrays of shape (B, T, H), steps in the order of x, NaN at masked steps. The names: see `study.names`.

    Raises
    ------
    ValueError, TypeError
        No recurrent layer, y without a loss, or what does not fit the model.

    Examples
    --------
    >>> trace(model, x)["lstm"]["f"].shape  # the forget gate of every row, step and unit
    (8, 12, 4)
    >>> np.nanmean(trace(model, x, y)["lstm"]["dc"], axis=(0, 2)).shape  # the gradient on the carry line, by step
    (12,)
    """
    names = [names] if isinstance(names, str) else names
    layers, wanted = recurrent_layers(model), None if names is None else list(names)
    if reduce is not None:
        each = batches_of(model, x, y, words, batch_size, mask=mask, sample_weight=sample_weight, dy=dy)
        return reduced((trace(model, **own, training=training, names=wanted) for own in each), reduce)
    batch = checked(model, x, y, sample_weight, mask)
    with as_it_was(model):
        done = run(model, batch, training, dy)
    found = {layer.name: _series(layer, wanted) for layer in layers}
    if wanted is not None:
        _check_names(wanted, layers)
    return Trace(found, words_of(model, batch, words), done.loss, done.output)


def checked_trace(found: Any) -> Trace:
    """Return a trace, or raise TypeError where something else was given for one."""
    if not isinstance(found, Trace):
        raise TypeError(f"trace is {told(found)}; expected what trace(model, x) returned")
    return found


def of_run(run: Run, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    """Return all that a run has by name, each (T, B, H), in the order of the table in names.py."""
    plan, weights, sequence = run.plan, run.weights, run.sequence
    blocks, states, *gradients = run.arrays()
    places, found = {**plan.locations, **plan.gradients}, {}
    arrays = {"blocks": blocks, "states": states, **dict(zip(("dblocks", "dstates"), gradients, strict=False))}
    before = {}
    if any(wanted(name) for name in fed(plan)):
        before = preactivations(plan, weights, sequence, blocks, states)
        for (name, t), values in sequence.changes.after.items() if sequence.changes else ():
            if name in before:
                before[name][t] = values
    for name in names_of(plan, bool(gradients)):
        if not wanted(name):
            continue
        if name == "x":
            found[name] = inputs_of(sequence)
        elif name == "dx":
            found[name] = input_gradient(plan, weights, sequence, gradients[0])
        elif name in before:
            found[name] = before[name]
        else:
            array, index, offset = places[name]
            found[name] = arrays[array][index]
            if array in ("states", "dstates"):
                found[name] = found[name][offset : offset + sequence.steps]
    return found


def _series(layer: RNN, wanted: list[str] | None) -> Series:
    """Return what the layer's last call and backward did."""
    arrays: dict[str, np.ndarray] = {}
    about: dict[str, str] = {}
    masked = ~layer.valid_steps()
    for cell in layer.cells:
        last = cell.last_run
        plain = names_of(last.plan)
        full = dict(zip(plain, layer.by_cell(cell, {name: name for name in plain}), strict=True))

        def asked(name, full=full):
            return wanted is None or not {name, full[name], f"{layer.name}.{full[name]}"}.isdisjoint(wanted)

        for name, array in of_run(last, asked).items():
            array = layer.by_row(array)
            array[masked] = np.nan
            arrays[full[name]], about[full[name]] = array, meaning(last.plan, name)
    return Series(layer, arrays, about)


def _check_names(wanted, layers):
    """Raise ValueError if a name is none of any layer."""
    known = {}
    for layer in layers:
        for cell in layer.cells:
            own = dict.fromkeys(names_of(cell.last_run.plan))
            full = layer.by_cell(cell, own)
            known |= own | full | {f"{layer.name}.{name}": None for name in full}
    for name in wanted:
        look_up(name, known, "name", "names")
