"""What `fit`, `evaluate` and `predict` are given, held to what they take before anything changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import losses
from ..layers.checks import positive
from ..layers.scopes import nothing_kept, states_apart
from .batches import gives_batches
from .callback import Callback
from .compiled import RunningMetrics
from .data import Table

ROWS = 16  # in which a sample is looked at before training: for a single one other code would be compiled
AT_ONCE = 4096  # samples whose targets are looked at together: they may be copied


def optional(value: Any, label: str) -> int | None:
    """Return a whole number above 0, or None."""
    return None if value is None else positive(value, label)


def verbosity(verbose: Any) -> int:
    """Return 0, 1 or 2."""
    if not isinstance(verbose, (int, str)) or verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"verbose is {verbose!r}; expected 'auto', 0, 1 or 2")
    return 1 if verbose == "auto" else int(verbose)


def callbacks_given(callbacks: Any) -> list[Callback]:
    """Return the callbacks as a list."""
    if isinstance(callbacks, Callback):
        return [callbacks]
    callbacks = list(callbacks) if isinstance(callbacks, Iterable) else [] if callbacks is None else [callbacks]
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks has {callback!r}; expected objects of rnncore.callbacks.Callback")
    return callbacks


def validates_after(validation_freq: Any) -> Callable[[int], bool]:
    """Return a function that says whether there is a validation after an epoch, from 1."""
    if isinstance(validation_freq, Iterable) and not isinstance(validation_freq, str):
        epochs = {positive(epoch, "validation_freq: an epoch") for epoch in validation_freq}
        return epochs.__contains__
    every = positive(validation_freq, "validation_freq")
    return lambda epoch: epoch % every == 0


def validation_parts(validation_data: Any) -> Sequence[Any]:
    """Return x, y and perhaps sample_weight of what `fit` is to evaluate, or what gives them by batches."""
    parts = validation_data if isinstance(validation_data, (tuple, list)) else (validation_data,)
    if len(parts) not in ((1,) if gives_batches(parts[0] if parts else None) else (2, 3)):
        raise ValueError(
            f"validation_data is a {type(validation_data).__name__}; expected (x, y), (x, y, sample_weight), "
            "or an object that gives batches"
        )
    return parts


def check_targets(model: Any, table: Table, label: str = "") -> None:
    """Raise ValueError if y, sample_weight or a metric do not fit the model's output for the first sample."""
    x, y, sample_weight = [a if a is None else a.repeat(ROWS, axis=0) for a in table[:1].arrays()]
    with np.errstate(all="ignore"), nothing_kept(), states_apart(model):
        y_pred = model.forward(x)
    by_step = model.output_mask is not None
    try:
        for first in range(0, len(table), AT_ONCE):
            part = table[first : first + AT_ONCE]
            targets, weight = part.arrays(first=1)
            steps = y_pred.shape[1:2] if part.lengths is None or not by_step else [int(part.lengths.max())]
            seen = np.broadcast_to(y_pred.dtype.type(0), (len(part), *steps, *y_pred.shape[2:]))
            model.loss.targets(targets, seen)
            if weight is not None:
                losses.aligned("sample_weight", weight, seen.shape[:-1], seen.dtype)
        RunningMetrics(model, apart=True).add(0.0, y, y_pred, sample_weight)
    except ValueError as error:
        raise ValueError(f"{label}{error}") from None
