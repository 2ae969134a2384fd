"""What the constructors of Keras's classes take, of those that are here, with defaults: ``keras_parameters.json``.

    python -m tests.keras_parameters

Written from live Keras's signatures. What a constructor takes as ``**kwargs`` and hands on is taken from the classes
that it comes from, but for what it gives these itself.
"""

from __future__ import annotations

import importlib
import inspect
import json
from functools import reduce
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_suffix(".json")
MODULES = (
    *("layers", "optimizers", "optimizers.schedules", "losses", "metrics"),
    *("initializers", "regularizers", "constraints", "callbacks"),
)
HANDS_ON = ("layers", "optimizers")  # elsewhere nothing is made of `**kwargs`
GIVEN = {"cell", "pool_dimensions", "pool_mode", "rank"}  # by a class to the one that it comes from
REQUIRED = "required"


def listed() -> dict[str, dict[str, str]]:
    """Return by class, and then by parameter, the default as Python writes it."""
    import keras

    found = {}
    for module in MODULES:
        theirs = reduce(getattr, module.split("."), keras)
        ours = vars(importlib.import_module(f"rnncore.{module}"))
        for name in sorted(dir(theirs)):
            cls = getattr(theirs, name)
            if isinstance(cls, type) and name[0].isupper() and isinstance(ours.get(name), type):
                found[f"{module}.{name}"] = _taken(cls, module in HANDS_ON)
    return found


def _taken(cls: type, hands_on: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in cls.__mro__:
        constructor: Any = vars(base).get("__init__")
        if constructor is None:
            continue
        _, *parameters = inspect.signature(constructor).parameters.values()
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        given = GIVEN if base is not cls else set()
        found |= {p.name: _written(p.default) for p in named if p.name not in {*found, *given}}
        if not hands_on or len(named) == len(parameters) or base.__name__ == "InputLayer":
            break
    return found


def _written(default: Any) -> str:
    return REQUIRED if default is inspect.Parameter.empty else repr(default)


if __name__ == "__main__":
    TABLE.write_text(json.dumps(listed(), indent=1) + "\n")
