"""Check a backward: python -m rnncore check module:function

The function takes no arguments and returns what is checked: a layer and its input, ``layer, x``; a compiled model,
``model, x, y``; or two functions and their arrays, ``forward, backward, x, W, …``. A dict at the end has further
arguments of `check_layer`, `check_model` or `check`, as ``{"time_axis": {"x": 1}}``. The exit code is 0 where the
gradients are right, 1 where they are not, and 2 where they cannot be checked.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from ..utils.files import replaced


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("function", metavar="module:function", help="where the function is, as homework:task")
    parser.add_argument("--json", metavar="FILE", help="write the report into a file, too; - prints it instead")
    parser.add_argument("--entries", type=int, metavar="N", help="compare N entries (default: all of 5,000)")
    parser.add_argument("--rtol", type=float, metavar="R", help="relative error that is still right (default: 1e-6)")
    parser.add_argument("--method", choices=("auto", "complex", "central"), help="what entries are compared with")
    parser.add_argument("--seed", type=int, metavar="S", help="of what is drawn (default: 0)")


def run(options: argparse.Namespace) -> int:
    """Check what the function returns, and print the report."""
    from ..gradcheck import check_of

    what, *rest = _task(options.function)
    further = dict(rest.pop()) if rest and isinstance(rest[-1], dict) else {}
    chosen = {name: getattr(options, name) for name in ("entries", "rtol", "method", "seed")}
    further |= {name: value for name, value in chosen.items() if value is not None}
    function = check_of(what, *rest)
    try:
        found = _judged(function, options.function, [what, *rest], further)
    except (ValueError, TypeError) as error:
        if _of_ours(error):
            raise
        traceback.print_exc()  # from within a user's function: where it stands matters
        return 2
    if options.json == "-":
        print(found.to_json())
    else:
        print(found)
    if options.json not in (None, "-"):
        with replaced(options.json) as file:
            file.write(found.to_json().encode())
    return 0 if found.ok else 1


def _of_ours(error: BaseException) -> bool:
    """Return whether the package itself raised an error, to say something."""
    (*_, (last, _)) = traceback.walk_tb(error.__traceback__)
    return last.f_globals.get("__name__", "").startswith("rnncore.")


def _judged(function: Any, name: str, given: list[Any], further: dict[str, Any]) -> Any:
    least = 3 if function.__name__ == "check" else 2
    if len(given) < least:
        raise ValueError(
            f"{name} returned {len(given)} things; expected a layer and its input, or two functions and arrays"
        )
    return function(*given, **further)


def _task(name: str) -> list[Any]:
    """Return what the function called ``module:function`` returns."""
    module, colon, function = name.partition(":")
    if not module or not colon or not function:
        raise ValueError(f"function is {name!r}; expected module:function, as homework:task")
    folder = os.getcwd()
    if module.endswith(".py"):
        path = Path(module).with_suffix("")
        if path.is_absolute() or ".." in path.parts:
            folder, path = str(path.parent.resolve()), Path(path.name)
        module = ".".join(path.parts)
    if folder not in sys.path and not (folder == os.getcwd() and "" in sys.path):
        sys.path.insert(0, folder)
    found = import_module(module)
    if not callable(getattr(found, function, None)):
        raise ValueError(f"{module} has no function {function!r}; expected one that returns what is to be checked")
    task = getattr(found, function)()
    if not isinstance(task, (tuple, list)) or not task:
        raise TypeError(
            f"{name} returned a {type(task).__name__}; expected a tuple: layer, x or forward, backward, *arrays"
        )
    return list(task)
