"""Stub files of the modules whose classes are made, not written: all arguments, for type checkers and editors.

    python -m tests.make_stubs

What a class takes is what `inspect.signature` says of it. A stub stands for its whole module: ``__all__`` names the
classes, and their methods are those of their bases, in other modules.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path

MODULES = ["rnncore.layers.from_cells"]


def stub(name: str) -> str:
    """Return the text of a module's stub file."""
    module = importlib.import_module(name)
    public = sorted(module.__all__, key=lambda each: (not each.isupper(), each))  # as ruff sorts them
    classes = "\n".join(_class(getattr(module, each)) for each in public)
    used = sorted(set(re.findall(r"(rnncore\.[a-z_.]+|typing)\.[A-Z]", classes)))
    return "\n".join(
        [
            '"""Written by ``python -m tests.make_stubs``: change nothing here."""',
            "",
            *(f"import {module}" for module in used),
            "",
            "__all__ = [",
            *(f'    "{each}",' for each in public),
            "]",
            "",
            classes,
        ]
    )


def _class(cls: type) -> str:
    bases = ", ".join(f"{base.__module__}.{base.__qualname__}" for base in cls.__bases__)
    about = (cls.__doc__ or cls.__name__).splitlines()[0]
    parameters = inspect.signature(cls, eval_str=True).parameters.values()
    return "\n".join(
        [
            f"class {cls.__name__}({bases}):",
            f'    """{about}"""',
            "",
            "    def __init__(",
            "        self,",
            *(f"        {_parameter(parameter)}," for parameter in parameters),
            "    ) -> None: ...",
            "",
        ]
    )


def _parameter(parameter: inspect.Parameter) -> str:
    default = parameter.default
    text = str(parameter.replace(default=inspect.Parameter.empty))
    if default is inspect.Parameter.empty:
        return text
    return f"{text} = {json.dumps(default) if isinstance(default, str) else repr(default)}"


def path_of(name: str) -> Path:
    """Return where a module's stub file is."""
    return Path(importlib.import_module(name).__file__ or "").with_suffix(".pyi")


if __name__ == "__main__":
    for each in MODULES:
        path_of(each).write_text(stub(each))
