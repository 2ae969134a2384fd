"""The table of a model's layers, as Keras prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from textwrap import wrap
from typing import Any

from . import config


def summary(model: Any, print_fn: Any = print, by_gate: bool = False) -> None:
    """Print a table of the layers, their output shapes and numbers of parameters, as Keras does.

    Parameters
    ----------
    model : Sequential
    print_fn : callable
        Takes a string.
    by_gate : bool
        Whether the parameters of recurrent layers are counted gate by gate, too.
    """
    shape, rows = model.input_shape, []
    for layer in model.layers:
        shape = None if shape is None else layer.compute_output_shape(shape)
        count = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
        rows.append((f"{layer.name} ({type(layer).__name__})", "?" if shape is None else str(tuple(shape)), count))
        rows += [(f"  {name}", "", f"{size:,}") for name, size in _gates(layer)] if by_gate else []
    print_fn(f'Model: "{model.name}"')
    print_fn(_table(("Layer (type)", "Output Shape", "Param #"), rows))
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
        count, size = sum(array.size for array in arrays), sum(array.nbytes for array in arrays)
        print_fn(f" {kind} params: {count:,} ({_bytes(size)})")


def _gates(layer: Any) -> Iterator[tuple[str, int]]:
    """Yield for each gate of a layer's cells its name and the number of its parameters."""
    for cell in layer.leaves():
        for gate, columns in cell.columns_by_gate().items() if hasattr(cell, "columns_by_gate") and cell.built else ():
            yield f"{cell.name}: {gate}", sum(getattr(cell, name)[..., own].size for name, own in columns.items())


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024 or unit == "GB":
            return f"{count:.2f} {unit}"
        count /= 1024
    raise AssertionError


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows in a box of 80 columns, the last one to the right; what is too long goes on in the next line."""
    widths = (33, 24, 15)

    def line(left, fill, middle, right):
        return left + middle.join(fill * width for width in widths) + right

    def cells(row, bar):
        texts = (wrap(text, width - 2, break_on_hyphens=False) for text, width in zip(row, widths, strict=True))
        filled = (
            [f" {text:{side}{width - 2}} " for text, side, width in zip(part, "<<>", widths, strict=True)]
            for part in zip_longest(*texts, fillvalue="")
        )
        return "\n".join(bar + bar.join(part) + bar for part in filled)

    body = f"\n{line('├', '─', '┼', '┤')}\n".join(cells(row, "│") for row in rows)
    return "\n".join(
        [line("┏", "━", "┳", "┓"), cells(head, "┃"), line("┡", "━", "╇", "┩"), body, line("└", "─", "┴", "┘")]
    )
