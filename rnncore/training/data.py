"""Samples, checked: arrays, and rows of different lengths; and what they weigh by their class.

N samples, B of them in a batch, T steps in the longest row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .. import losses
from ..layers.checks import finite, inspected, plain, whole

Batch = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]  # x, y, sample_weight

UNMASKED = (
    "x has rows of different lengths, and the model would take their padding for data: give its Embedding "
    "mask_zero=True, begin with Masking, pad x yourself (pad_sequences), or take batch_size=1"
)


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, end to end in one array.

    Attributes
    ----------
    flat : ndarray of shape (sum of all lengths, ...)
    starts, lengths : ndarray of shape (N,), int
        Where each row lies in it.
    """

    flat: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, rows: Any) -> Ragged:
        return Ragged(self.flat, self.starts[rows], self.lengths[rows])

    def padded(self, value: float | None) -> np.ndarray:
        """Return all rows as an array of shape (N, T, ...), filled up with `value` behind their ends.

        Raises
        ------
        ValueError
            There is something to fill up, and `value` is None.
        """
        steps = np.arange(max(1, self.lengths.max()))
        kept = steps < self.lengths[:, None]
        if value is None and not kept.all():
            raise ValueError(UNMASKED)
        array = np.full((*kept.shape, *self.flat.shape[1:]), 0 if value is None else value, self.flat.dtype)
        array[kept] = self.flat[(self.starts[:, None] + steps)[kept]]
        return array


@dataclass(frozen=True)
class Table:
    """x, y and sample_weight of N samples, checked; `padding` is what x's rows may be filled up with, or None."""

    columns: tuple[Any, ...]  # of ndarray or Ragged; y and sample_weight may be None
    padding: float | None

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, rows: Any) -> Table:
        return Table(tuple(None if column is None else column[rows] for column in self.columns), self.padding)

    @property
    def lengths(self) -> np.ndarray | None:
        """Those of x's rows, where they differ."""
        return self.columns[0].lengths if isinstance(self.columns[0], Ragged) else None

    def arrays(self, first: int = 0) -> Any:
        """Return the columns from number `first` on as arrays: ragged ones padded to the longest row, others as is."""
        fills = (self.padding, 0, 0)[first:]
        pairs = zip(self.columns[first:], fills, strict=True)
        return tuple([column.padded(fill) if isinstance(column, Ragged) else column for column, fill in pairs])


def checked(model: Any, x: Any, y: Any = None, sample_weight: Any = None, label: str = "") -> Table:
    """Return samples as a table, not copied where they are arrays, or raise ValueError or TypeError.

    Parameters
    ----------
    model : Trainer
        Its first layer says what x must be, and what is padding.
    x, y, sample_weight : array_like of shape (N, ...)
        Or lists of rows of different lengths; those of y and sample_weight are as long as those of x. x may stand
        alone in a list, as Keras has it.
    label : str
        What stands before a name in messages.
    """

    def checked_rows(flat):
        rows, first = model.checked_input(flat[None])[0], model.input_layer
        return rows if first.input_kind == "integer" else np.asarray(rows, first.dtype)

    if isinstance(x, (list, tuple)):
        x = _unwrapped(model, x)
    x = _column(x, "x", model.checked_input, checked_rows)
    columns = [x]
    for name, values in ((f"{label}y", y), (f"{label}sample_weight", sample_weight)):
        check = partial(inspected, label=name, kind="float", dtype=model.dtype)
        column = None if values is None else _column(values, name, check, check)
        if isinstance(column, Ragged):
            if not isinstance(x, Ragged) or not np.array_equal(column.lengths, x.lengths):
                raise ValueError(f"{name} is ragged, its rows have other lengths than those of x; expected the same")
        elif column is not None and (column.ndim == 0 or len(column) != len(x)):
            raise ValueError(f"{name} has shape {column.shape}; expected {len(x)} samples, as x has")
        columns.append(column)
    return Table(tuple(columns), model.padding_value if isinstance(x, Ragged) else None)


def _unwrapped(model: Any, x: Any) -> Any:
    """Return the array that stands alone in the list `x`, if the model takes it; else `x`."""
    if len(x) != 1 or getattr(x[0], "ndim", 0) < 2:
        return x
    try:
        model.check_shape(x[0].shape)
    except ValueError:
        return x
    return x[0]


def _column(values: Any, name: str, check: Callable, check_rows: Callable) -> np.ndarray | Ragged:
    """Return `values` checked as a whole, or where their rows differ in length, end to end."""
    rows = list(values) if isinstance(values, np.ndarray) and values.dtype == object and values.ndim else values
    if not isinstance(rows, (list, tuple)) or not all(map(_is_row, rows)):
        return check(values)
    lengths = np.array([len(row) for row in rows])
    if len(set(lengths)) < 2:
        return check(rows)
    try:
        flat = np.concatenate([plain(row, name) for row in rows if len(row)])
    except ValueError as error:
        raise ValueError(f"{name} is ragged, and its rows are not of one kind: {error}") from None
    return Ragged(check_rows(flat), np.cumsum(lengths) - lengths, lengths)


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0


# --- weights by class ------------------------------------------------------------------------------------------------


def checked_class_weight(class_weight: Any) -> dict[int, float] | None:
    """Return a weight by class, or None; raise TypeError or ValueError if it is neither."""
    if class_weight is None:
        return None
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight is {class_weight!r}; expected a dict of classes by number to their weights")
    return {
        whole(number, "class_weight: a class"): finite(weight, f"class_weight[{number}]")
        for number, weight in class_weight.items()
    }


def with_class_weight(
    class_weight: Mapping[int, float], loss: losses.Loss, y: Any, y_pred: np.ndarray, sample_weight: Any = None
) -> np.ndarray:
    """Return the weights of a batch's positions: those of their classes, 1 for a class without one, times their own.

    Parameters
    ----------
    class_weight : mapping of int to float
    loss : Loss
    y, sample_weight : array_like
        As in `Loss`. A class is what y says by its number, the largest entry where y has several a position, or y
        rounded where it has one.
    y_pred : ndarray of shape (B, ..., C)

    Returns
    -------
    ndarray of shape (B, ...) and y_pred's dtype
    """
    if isinstance(loss, losses.SparseCategoricalCrossentropy):
        classes = losses.fitted_classes(y, y_pred)
    else:
        y = losses.fitted(y, y_pred)
        classes = y[..., 0] if y.shape[-1] == 1 else y.argmax(axis=-1)
    numbers, places = np.unique(np.round(classes), return_inverse=True)
    weights = np.array([class_weight.get(int(number), 1.0) for number in numbers], y_pred.dtype)
    weights = weights[places].reshape(classes.shape)
    if sample_weight is None:
        return weights
    return weights * losses.aligned("sample_weight", sample_weight, classes.shape, y_pred.dtype)
