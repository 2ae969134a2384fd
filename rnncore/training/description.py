"""What a training is, in plain values: a backup says it, and is compared with the `fit` that finds it.

A training is the model, what `compile` and `fit` were asked for, and the data where they are arrays. Arrays stand by
their shape, dtype and a digest of their bytes, functions by their name and a digest of their code. Left out is what
makes no difference to a run that goes on: names of layers, seeds (what was drawn is in the backup), how many epochs
there are, and which other callbacks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from .batches import Samples, Source
from .data import Ragged

CHUNK = 1 << 20  # bytes of an array that are copied at a time, where it is not contiguous
SHOWN = 3  # differences in a message

_LEFT_OUT = {"name", "seed"}
_UNSAID = {"config", "model", "compile", "fit", "data"}  # keys that a message does without
_ABSENT = "absent"


def described_training(state: Any) -> dict[str, Any]:
    """Return what the training at `state` is, in values that JSON gives back as they were."""
    model, asked = state.model, state.model.get_compile_config()
    return {
        "model": plain({**model.get_config(), "layers": model.children()}, _LEFT_OUT),
        "compile": {name: plain(value, () if "metrics" in name else _LEFT_OUT) for name, value in asked.items()},
        "fit": {
            **{name: plain(value) for name, value in state.asked.items()},
            "steps_per_epoch": state.steps,
            "batch_size": _size(state.source),
            "validation_steps": state.validation_steps,
            "validation_batch_size": _size(state.validation),
        },
        "data": _data(state.source),
        "validation": _data(state.validation),
    }


def _size(source: Source | None) -> int | None:
    """Return the size of batches, where that is not left to what gives them."""
    return source.size if isinstance(source, Samples) else None


def _data(source: Source | None) -> dict[str, Any] | None:
    if source is None:
        return None
    if isinstance(source, Samples):
        return {name: plain(part) for name, part in zip(("x", "y", "sample_weight"), source.table.columns, strict=True)}
    return {"x": f"{source.steps} batches" if hasattr(source, "count") else "batches as they come"}


def plain(value: Any, without: Any = ()) -> Any:
    """Return `value` in dicts, lists, strings and finite numbers that are equal for what is the same.

    Parameters
    ----------
    value : object
    without : container of str
        Keys of dicts that are left out.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, without) for key, item in value.items() if key not in without}
    if isinstance(value, (list, tuple)):
        return [plain(item, without) for item in value]
    if isinstance(value, np.ndarray):
        return {"shape": str(value.shape), "dtype": value.dtype.str, "values": _digest(value)}
    if isinstance(value, Ragged):
        end = value.starts[-1] + value.lengths[-1] if len(value) else 0
        rows = value.flat[value.starts[0] if len(value) else 0 : end]
        return {"rows": len(value), "lengths": plain(value.lengths), **plain(rows)}
    if isinstance(value, type):
        return value.__qualname__
    if hasattr(value, "describe"):
        return plain(value.describe(), without)
    if isinstance(value, functools.partial):
        return plain([value.func, value.args, value.keywords], without)
    if isinstance(value, MethodType):
        return plain(value.__func__)
    if isinstance(value, FunctionType):
        return {"function": value.__qualname__, "code": _hashed(_code_of(value))}
    return type(value).__qualname__  # whatever else it has, nothing says


def _digest(array: np.ndarray) -> str:
    """Return a digest of an array's bytes, in C order."""
    if array.dtype.hasobject:
        return _hashed(repr(array.tolist()))
    array = array.reshape(1) if not array.ndim else array
    rows = max(1, CHUNK * len(array) // max(1, array.nbytes))
    found = blake2b(digest_size=16)
    for first in range(0, len(array), rows):
        found.update(np.ascontiguousarray(array[first : first + rows]).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _hashed(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _code_of(function: FunctionType) -> str:
    """Return what a function does, as a text: its instructions, and the values that go with them."""
    given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            given.append(cell.cell_contents)
        except ValueError:  # nothing was put into it yet
            given.append(None)
    return repr([_instructions(function.__code__), *map(_constant, given)])


def _instructions(code: CodeType) -> list[Any]:
    return [code.co_code.hex(), code.co_names, [_constant(value) for value in code.co_consts]]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _instructions(value)
    if isinstance(value, frozenset):
        return sorted(map(repr, value))  # their own order changes from process to process
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, tuple)):
        return repr(value)
    return type(value).__qualname__


def refuse_another(before: Any, now: Any) -> None:
    """Raise ValueError if two trainings are not the same, saying what differs."""
    found = list(islice(_differences(before, now, ""), SHOWN + 1))
    if found:
        more = "; and more" if len(found) > SHOWN else ""
        raise ValueError(f"training was cut with {'; '.join(found[:SHOWN])}{more}")


def _differences(before: Any, now: Any, label: str) -> Iterator[str]:
    """Yield what differs, in words; each of `before` and `now` may be anything that JSON holds."""
    if isinstance(before, dict) and isinstance(now, dict) and before.get("class_name") == now.get("class_name"):
        for key in {**now, **before}:
            inside = label if key in _UNSAID else f"{label}.{key}" if label else key
            yield from _differences(before.get(key, _ABSENT), now.get(key, _ABSENT), inside)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for n, pair in enumerate(zip(before, now, strict=True)):
            yield from _differences(*pair, f"{label}[{n}]")
    elif before != now:
        name, _, last = label.rpartition(".")
        if last == "values":
            yield f"other values of {name}"
        elif last == "code":
            yield f"another {name} of that name"
        else:
            yield f"{label or 'what is no description:'} {_shown(before)}, now {_shown(now)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} entries"
    if isinstance(value, dict):
        value = value.get("class_name", value.get("function", f"an array of shape {value.get('shape')}"))
    return f"{value!s:.100}"
