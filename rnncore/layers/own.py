"""Layers of a user's own: what their `call` takes, what comes out of it, and what they lack to be trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..configured import PACKAGE

CONTEXT = ("mask", "training")  # what `call` is given beside x, if it takes it
NAMELESS = "variable"  # what a weight without a name is called, with a number
_SIZES = (2, 3)  # that stand for an axis of any size, one after the other


def is_own(function: Callable) -> bool:
    """Return whether a function is not the package's."""
    return function.__module__.partition(".")[0] != PACKAGE


def taken(call: Callable) -> tuple[str, ...]:
    """Return which of `CONTEXT` a `call` takes, by its signature."""
    parameters = inspect.signature(call).parameters
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return CONTEXT
    return tuple(name for name in CONTEXT if name in parameters)


def output_shape(layer: Any, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """Return the shape of what a layer's `call` makes of zeros, few rows of them; an axis of any size gives one.

    Raises
    ------
    ValueError
        `call` takes no such zeros.
    """
    dtype, shapes = np.int64 if layer.input_kind == "integer" else layer.dtype, []
    layer.ensure_built(input_shape)
    for size in _SIZES:
        given = (size, *(size if n is None else n for n in input_shape[1:]))
        try:
            with np.errstate(all="ignore"):
                shapes.append(np.shape(layer.called(np.zeros(given, dtype), None, False)))
        except Exception as error:
            raise ValueError(
                f"{layer.name}: call fails for zeros of shape {given}, which would have told the shape of its output: "
                f"{error}; mend it, or define compute_output_shape(input_shape)"
            ) from error
    if () in shapes:
        raise ValueError(f"{layer.name}: call returned a number; expected an array with a row for each of x")
    rest = (one if one == other else None for one, other in zip(*(shape[1:] for shape in shapes), strict=True))
    return (input_shape[0], *rest)


def lacks_backward(layer: Any) -> NotImplementedError:
    """Return the error for a layer without a backward pass: it says in a sentence how to write one."""
    names = [name for part, name in layer.trainable_parts() if part is layer]
    weights = f"put {', '.join(f'self.gradients[{name!r}] = dL/d({name})' for name in names)}, and " if names else ""
    weights = "go back through its layers by their `backward`, " + weights if layer.children() else weights
    return NotImplementedError(
        f"{layer.name}: {type(layer).__name__} has no backward pass, as rnncore differentiates nothing by itself; to "
        f"train it define `def call_backward(self, dy)`: from dy, dL/d(output), {weights}return dL/dx, of x's shape "
        "(gradcheck.check_layer then tells whether it is right)"
    )


def check_backward(layer: Any) -> None:
    """Raise NotImplementedError if a layer, or one that it is made of, is a user's without a backward pass."""
    if layer._own and not layer._goes_back:
        raise lacks_backward(layer)
    for child in () if layer._own else layer.children():
        check_backward(child)


def sublayers(layer: Any, base: type) -> list[Any]:
    """Return the layers among a layer's attributes, and in lists there, in the order in which they were set."""
    found: dict[int, Any] = {}
    for name, value in vars(layer).items():
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, base) and not name.startswith("_"):
                found[id(part)] = part
    return list(found.values())
