"""The constructors' arguments of the recurrent family, stated once: name, default, type, check, and whose it is."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import numpy as np

from .. import activations, constraints, initializers, regularizers
from ..activations import Activation
from ..cells import Cell
from ..configured import check_arguments
from ..constraints import Constraint
from ..initializers import Initializer
from ..regularizers import Regularizer
from .checks import finite, flag, fraction, positive, seed_or_none

REQUIRED = inspect.Parameter.empty
ABSENT = object()  # only cells whose `defaults` name the option have it


class Option(NamedTuple):
    """An argument: its default, its type, what turns a given value into the one kept, and who takes it."""

    default: Any
    kind: Any
    checked: Any  # (value, label) -> value; None: the base Layer checks it
    owner: str  # "cell", "layer" or "both"


def _named(get):
    return lambda value, label: get(value)


def _positive_or_none(value, label):
    return None if value is None else positive(value, label)


def _implementation(value, label):
    if value not in (0, 1, 2):
        raise ValueError(f"{label} is {value!r}; expected 1 or 2, which are the same here (or 0, of older Keras)")
    return value


def _as_given(value, label):
    return value


def _flag_or_number(value, label):
    return value if isinstance(value, (bool, np.bool_)) else finite(value, label)


_ACTIVATION = str | Activation | None, _named(activations.get), "cell"
_INITIALIZER = str | Initializer | None, _named(initializers.get), "cell"
_REGULARIZER = str | Regularizer | None, _named(regularizers.get), "cell"
_CONSTRAINT = str | Constraint | None, _named(constraints.get), "cell"

OPTIONS = {  # in Keras's order
    "units": Option(REQUIRED, int, positive, "cell"),
    "activation": Option("tanh", *_ACTIVATION),
    "recurrent_activation": Option("sigmoid", *_ACTIVATION),
    "use_bias": Option(True, bool, flag, "cell"),
    "kernel_initializer": Option("glorot_uniform", *_INITIALIZER),
    "recurrent_initializer": Option("orthogonal", *_INITIALIZER),
    "bias_initializer": Option("zeros", *_INITIALIZER),
    "unit_forget_bias": Option(ABSENT, bool | float, _flag_or_number, "cell"),
    "kernel_regularizer": Option(None, *_REGULARIZER),
    "recurrent_regularizer": Option(None, *_REGULARIZER),
    "bias_regularizer": Option(None, *_REGULARIZER),
    "activity_regularizer": Option(None, str | Regularizer | None, None, "layer"),
    "kernel_constraint": Option(None, *_CONSTRAINT),
    "recurrent_constraint": Option(None, *_CONSTRAINT),
    "bias_constraint": Option(None, *_CONSTRAINT),
    "dropout": Option(0.0, float, fraction, "cell"),
    "recurrent_dropout": Option(0.0, float, fraction, "cell"),
    "seed": Option(None, int | None, seed_or_none, "cell"),
    "return_sequences": Option(False, bool, flag, "layer"),
    "return_state": Option(False, bool, flag, "layer"),
    "go_backwards": Option(False, bool, flag, "layer"),
    "stateful": Option(False, bool, flag, "layer"),
    "unroll": Option(False, bool, flag, "layer"),
    "reset_after": Option(ABSENT, bool, flag, "cell"),
    "use_cudnn": Option("auto", bool | str, _as_given, "layer"),
    "zero_output_for_mask": Option(False, bool, flag, "layer"),
    "bptt_steps": Option(None, int | None, _positive_or_none, "layer"),
    "name": Option(None, str | None, None, "both"),
    "dtype": Option(None, str | None, None, "both"),
    "trainable": Option(True, bool, None, "both"),
    "implementation": Option(2, int, _implementation, "cell"),
}


# Where Keras's order is not that of its other layers: class -> (option, the one that it stands behind).
_MOVED = {"SimpleRNN": ("seed", "unroll"), "GRUCell": ("reset_after", "recurrent_dropout")}


def options_of(*owners: str) -> dict[str, Option]:
    """Return the options that one of `owners` takes."""
    return {name: option for name, option in OPTIONS.items() if option.owner in (*owners, "both")}


def signature_of(cls: type, cell: Cell, *owners: str) -> inspect.Signature:
    """Return the signature of the constructor of a class for `cell`: the options of `owners` that the cell has."""
    defaults = {name: cell.defaults.get(name, option.default) for name, option in options_of(*owners).items()}
    names = [name for name, default in defaults.items() if default is not ABSENT]
    if not cell.gated:
        names.remove("recurrent_activation")
    for name, other in (_MOVED[base.__name__] for base in cls.__mro__ if base.__name__ in _MOVED):
        names.remove(name)
        names.insert(names.index(other) + 1, name)
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature(
        [inspect.Parameter(name, keyword, default=defaults[name], annotation=OPTIONS[name].kind) for name in names]
    )


def bound(cls: type, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the constructor's arguments by name, defaults filled in, or raise TypeError that says what is wrong."""
    signature = inspect.signature(cls)
    check_arguments(cls, kwargs, signature.parameters)
    try:
        given = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{cls.__name__}: {error}; its arguments are {', '.join(signature.parameters)}") from None
    given.apply_defaults()
    return given.arguments


def with_options(doc: str | None, base: str) -> str:
    """Return a class's docstring with the parameters and all that follows from that of its base."""
    return f"{inspect.cleandoc(doc or '')}\n\n{inspect.cleandoc(base).split(chr(10) * 2, 1)[1]}"
