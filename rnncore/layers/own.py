"""Layers of a user's own: what their `call` takes, what comes out of it, and what they lack to be trained."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import config
from ..configured import is_own
from ..lock import locked
from .scopes import states_apart

CONTEXT = ("mask", "training")  # what `call` is given beside x, if it takes it
NAMELESS = "variable"  # what a weight without a name is called, with a number
_SIZES = (2, 3)  # that stand for an axis of any size, one after the other


def taken(call: Callable) -> tuple[str, ...]:
    """Return which of `CONTEXT` a `call` takes, by its signature."""
    parameters = inspect.signature(call).parameters
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return CONTEXT
    return tuple(name for name in CONTEXT if name in parameters)


@locked
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
            with np.errstate(all="ignore"), states_apart(layer):
                shapes.append(np.shape(_to_ask(layer).called(np.zeros(given, dtype), None, False)))
        except Exception as error:
            raise ValueError(
                f"{layer.name}: call fails for zeros of shape {given}, which would have told the shape of its output: "
                f"{error}; mend it, or define compute_output_shape(input_shape)"
            ) from error
    if () in shapes:
        raise ValueError(f"{layer.name}: call returned a number; expected an array with a row for each of x")
    rest = (one if one == other else None for one, other in zip(*(shape[1:] for shape in shapes), strict=True))
    return (input_shape[0], *rest)


def _to_ask(layer: Any) -> Any:
    """Return a copy of a layer, for a call that leaves nothing in it; or the layer, where the call builds its parts.

    What the last call left is for the way back. The weights that optimizers change are no copies: they may be large.
    """
    if layer.last_output is None and not all(part.built for part in layer.walk()):
        return layer
    same = [part.stored(name) for part in layer.walk() for name in part.own_weights if name not in part.moving]
    return copy.deepcopy(layer, {id(weight): weight for weight in same})


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
    """Raise NotImplementedError if a layer, or one that it is made of, is a user's without a backward pass.

    A user's `call` beside a backward pass of the package's, inherited, is told of once.
    """
    if layer._own and not layer._goes_back:
        raise lacks_backward(layer)
    cls = type(layer)
    if layer._own and not is_own(cls.call_backward):
        base = next(each for each in cls.__mro__ if not is_own(each)).__name__
        config.warn_once(
            f"inherited backward pass of {cls.__qualname__}",
            f"{layer.name}: {cls.__name__} has a `call` of its own and the backward pass of {base}: the gradients are "
            f"those of {base}'s `call`. Define call_backward(self, dy) where they differ; gradcheck.check_layer tells",
        )
    for child in () if layer._own else layer.children():
        check_backward(child)


def sublayers(layer: Any, base: type) -> list[Any]:
    """Return the layers among a layer's attributes, and in lists and dicts there, in the order they were set in."""
    found: dict[int, Any] = {}
    for name, value in vars(layer).items():
        several = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
        for part in several if name != "_parts" else ():  # which are these
            if isinstance(part, base):
                found[id(part)] = part
    return list(found.values())
