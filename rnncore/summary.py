"""The table of a model's layers, as Keras prints it; and a few lines of it, which stand for a model."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise, zip_longest
from textwrap import wrap
from typing import Any

from . import config

COLUMNS = {"Layer (type)": "<", "Output Shape": "<", "Param #": ">", "Trainable": "^"}  # and how they are aligned
EMPTY = " There are no layers yet: add some."
UNBUILT = " Nothing is built yet: call the model, fit it, or begin with Input(shape)."


def summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
    by_gate: bool = False,
) -> None:
    """Print a table of the layers, their output shapes and numbers of parameters, as Keras does.

    Parameters
    ----------
    model : Sequential
    line_length : int, optional
        Default: 88, with `show_trainable` 100, or what the terminal has.
    positions : sequence of float, optional
        Where the columns end, as shares of the line.
    print_fn : callable, optional
        Takes a string; default `print`.
    expand_nested : bool
        Whether the layers of a model within the model have rows, too.
    show_trainable : bool
        Whether to say which layers with weights are trainable.
    layer_range : (str, str), optional
        Names, or regular expressions, of the first and the last layer shown.
    by_gate : bool
        Whether the gates of recurrent layers have rows with their parameters, too.

    Raises
    ------
    ValueError
        No layer's name is one of `layer_range`, or a column would have no room.
    """
    print_fn = print_fn or print
    count = 4 if show_trainable else 3
    length = line_length or min((88, 100)[show_trainable], shutil.get_terminal_size().columns - 4)
    ends = list(positions or (0.45, 0.80, 1.0))
    ends = ends if positions or not show_trainable else [*(0.9 * end for end in ends), 1.0]
    rows = [row[:count] for row in _rows(_chosen(model.layers, layer_range), model.input_shape, expand_nested, by_gate)]
    print_fn(f'Model: "{model.name}"')
    print_fn(_table(rows, _widths(ends[:count], length)))
    if not any(layer.built for layer in model.layers):
        print_fn(UNBUILT if model.layers else EMPTY)
        return
    trainable = {id(weight) for weight in model.trainable_weights}
    kinds = {
        "Trainable": model.trainable_weights,
        "Non-trainable": [weight for weight in model.weights if id(weight) not in trainable],
    }
    if model.optimizer is not None and model.optimizer.built:
        state = model.optimizer.get_state()
        if "learning_rate" in state:  # no schedule's
            state["learning_rate"] = state["learning_rate"].astype(config.floatx())  # as Keras keeps it
        kinds["Optimizer"] = list(state.values())
    for kind, arrays in {"Total": [*chain(*kinds.values())], **kinds}.items():
        params, size = sum(array.size for array in arrays), sum(array.nbytes for array in arrays)
        print_fn(f" {kind} params: {params:,} ({_bytes(size)})")


def in_short(model: Any) -> str:
    """Return a line for the model and one for each layer: the call that makes it, its output shape, its parameters."""
    layers = model.layers
    calls = [f"{type(x).__name__} {x.name!r}" if hasattr(x, "layers") else repr(x) for x in layers]
    if not layers or not all(layer.built for layer in layers):
        kind = f"<{type(model).__name__} {model.name!r}, {'not built' if layers else 'no layers'}>"
        return "\n".join([kind, *(f"  {call}" for call in calls)])
    found = zip(calls, _rows(layers, model.input_shape), strict=True)
    rows = [(call, shape, count) for call, (_, shape, count, _) in found]
    widths = [max((len(row[n]) for row in rows), default=0) for n in range(3)]
    lines = ["  {:{}}  {:{}}  {:>{}}".format(*chain(*zip(row, widths, strict=True))) for row in rows]
    return "\n".join([f"<{type(model).__name__} {model.name!r}, {model.count_params():,} parameters>", *lines])


def _rows(
    layers: Sequence[Any], shape: Any, expand_nested: bool = False, by_gate: bool = False, level: int = 0
) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row a layer, for an input of `shape` (None: not known): name, output shape, parameters, trainable."""
    for layer in layers:
        before, shape = shape, None if shape is None else layer.compute_output_shape(shape)
        name = "   " * level + "└ " * bool(level) + f"{layer.name} ({type(layer).__name__})"
        count = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
        trains = ("Y" if layer.trainable else "N") if layer.weights else "-"
        yield name, "?" if shape is None else str(tuple(shape)), count, trains
        for cell in layer.leaves() if by_gate and layer.built else ():
            for gate, columns in cell.columns_by_gate().items() if hasattr(cell, "columns_by_gate") else ():
                size = sum(getattr(cell, own)[..., part].size for own, part in columns.items())
                yield f"{'   ' * level} · {cell.name}: {gate}", "", f"{size:,}", ""
        if expand_nested and hasattr(layer, "layers"):
            yield from _rows(layer.layers, before, True, by_gate, level + 1)


def _chosen(layers: Sequence[Any], layer_range: Sequence[str] | None) -> Sequence[Any]:
    """Return the layers from the first that has the first name, or fits it, to the last that has the second."""
    if layer_range is None:
        return layers
    places = []
    for which, name in zip((0, -1), layer_range, strict=True):
        found = [n for n, layer in enumerate(layers) if re.match(name, layer.name)]
        if not found:
            raise ValueError(f"layer_range is {layer_range!r}; no layer's name is, or fits, {name!r}")
        places.append(found[which])
    return layers[min(places) : max(places) + 1]


def _widths(ends: Sequence[float], length: int) -> list[int]:
    """Return the widths of columns that end at these shares of `length`: of the frame each bears the same, as in Keras.

    Raises
    ------
    ValueError
        There is no room for a column.
    """
    places = [0, *(int(end * length) for end in ends)]
    widths = [end - begin + 2 for begin, end in pairwise(places)]
    excess = sum(widths) + len(widths) + 1 - length
    for n in range(len(widths)):
        share = round(excess / (len(widths) - n))
        widths[n], excess = widths[n] - share, excess - share
    for n, wanted in enumerate(len(heading) + 2 for heading in list(COLUMNS)[: len(widths)]):
        lacks = max(0, wanted - widths[n])  # a heading stays whole, where the names have room to give
        widths[0], widths[n] = widths[0] - lacks, widths[n] + lacks
    if min(widths) < 3:
        raise ValueError(f"line_length is {length!r}; its columns would be {widths} wide")
    return widths


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024 or unit == "GB":
            return f"{count:.2f} {unit}"
        count /= 1024
    raise AssertionError


def _table(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """Return rows in a box; what is too long goes on in the next line."""

    def line(left, fill, middle, right):
        return left + middle.join(fill * width for width in widths) + right

    def cells(row, bar):
        texts = (wrap(text, width - 2, break_on_hyphens=False) for text, width in zip(row, widths, strict=True))
        filled = (
            [f" {text:{side}{width - 2}} " for text, side, width in zip(part, COLUMNS.values(), widths, strict=False)]
            for part in zip_longest(*texts, fillvalue="")
        )
        return "\n".join(bar + bar.join(part) + bar for part in filled)

    inside = f"\n{line('├', '─', '┼', '┤')}\n".join(cells(row, "│") for row in rows)
    head = [line("┏", "━", "┳", "┓"), cells(list(COLUMNS)[: len(widths)], "┃"), line("┡", "━", "╇", "┩")]
    return "\n".join([*head, *([inside] if rows else []), line("└", "─", "┴", "┘")])
