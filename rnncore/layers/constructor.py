"""How a layer's constructor and its `build` are wrapped: arguments that every layer takes, and what a build records."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

from .. import regularizers
from ..configured import is_own
from ..unsupported import without_effect
from .checks import checked_shape


def recorded_build(build: Callable) -> Callable:
    """Return a layer's `build` that checks the shape, starts without weights, and notes what it was built for."""

    @functools.wraps(build)
    def recorded(self, input_shape=None):
        if type(self).build is not recorded:  # called as super().build by the one that does the noting
            return build(self, input_shape)
        shape = None if input_shape is None else checked_shape(input_shape, f"{self.name}: input_shape")
        self.built, self.own_weights, self.gradients = False, list(self._first), {}
        try:
            build(self, shape)
            self._name_weights()
            parts = self.walk()
            _check_apart(self.name, parts)
        except BaseException:
            self.own_weights = list(self._first)
            raise
        self.built, self.input_shape, self._parts = True, shape and (None, *shape[1:]), parts

    return recorded


def _check_apart(name: str, parts: list[Any]) -> None:
    """Raise ValueError if a layer is there twice: the second call would take from the first one its way back."""
    seen: set[int] = set()
    for part in parts:
        if id(part) in seen:
            raise ValueError(
                f"{name}: the layer {part.name!r} is part of it twice, and goes back through its last call only; "
                "make another one"
            )
        seen.add(id(part))


_OLDER = {  # what older Keras scripts tell the first layer of its input -> the shape that it says
    "input_shape": lambda shape: shape,
    "input_dim": lambda size: (size,),
    "input_length": lambda steps: None,  # nothing depends on it: any number of steps fits
}
_EVERY = ("trainable", "activity_regularizer")  # what every layer takes, listed or not


def placed_arguments(constructor: Callable) -> Callable:
    """Return a layer's constructor that takes the arguments of `_EVERY` and `_OLDER`, too, and warns of the latter."""
    own, ours = inspect.signature(constructor), not is_own(constructor)
    listed, hands_on = own.parameters.keys(), any(p.kind == p.VAR_KEYWORD for p in own.parameters.values())
    every = () if hands_on else tuple(name for name in _EVERY if name not in own.parameters)

    @functools.wraps(constructor)
    def placed(self, *args, **kwargs):
        older = {name: kwargs.pop(name) for name in _OLDER if name in kwargs and not _takes(type(self), name)}
        if ours and not kwargs.keys() <= listed:
            without_effect(type(self), kwargs, but=listed)
        further = {name: kwargs.pop(name) for name in every if name in kwargs}
        constructor(self, *args, **kwargs)
        for name, value in further.items():
            setattr(self, name, regularizers.get(value) if name == "activity_regularizer" else value)
        for name, value in older.items():
            shape, label = _OLDER[name](value), f"{self.name}: {name}"
            if shape is not None:
                self.declared_shape = checked_shape(shape, label)
            warnings.warn(f"{label} is of older Keras; an Input(shape) before the layer says it now", stacklevel=2)
        if self.own_weights and not self.built:  # a build of its own makes them anew
            self._name_weights()
            self._first = tuple(self.own_weights)

    placed.takes_more = True  # type: ignore[attr-defined]  # than the constructor's signature says
    if every:
        defaults = {"trainable": True, "activity_regularizer": None}
        more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name]) for name in every]
        placed.__signature__ = own.replace(parameters=[*own.parameters.values(), *more])  # type: ignore[attr-defined]
    return placed


def _takes(cls: type, name: str) -> bool:
    """Return whether the constructor of a class, or of one that it comes from, has an argument of that name."""
    constructors = (vars(base).get("__init__") for base in cls.__mro__)
    return any(name in inspect.signature(each).parameters for each in constructors if each)
