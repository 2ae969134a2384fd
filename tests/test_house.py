"""Does every line know its room? The imports, held to the plan of the house."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import rnncore
from rnncore.compiler.cache import compiled_sources

PACKAGE = Path(rnncore.__file__).parent
ABOVE_THE_LAYERS = {"models", "training", "study", "losses", "optimizers", "datasets"}
FORBIDDEN = {  # what a room's files may not import
    "cells": {"config", "compiler", "kernels", "bptt", "layers", "numba"} | ABOVE_THE_LAYERS,
    "compiler": {"activations", "cells", "kernels", "bptt", "layers"} | ABOVE_THE_LAYERS,
    "kernels": {"bptt", "layers", "numba"} | ABOVE_THE_LAYERS,
    "bptt": {"layers", "numba"} | ABOVE_THE_LAYERS,
    "layers": {"saving", "callbacks", "numba", "jit", "workers", "tile"} | ABOVE_THE_LAYERS,
    "datasets": {"layers", "models", "study", "cells", "kernels", "compiler", "numba"},
    "": {"study", "interop", "numba", "llvmlite"},  # the engine, whatever its room
}
EXEMPT = {
    "compiler": {"numba", "llvmlite"},
    "commands": {"study", "interop"},
}


def module_of(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def uses(path: Path, modules: set[str]) -> set[str]:
    """Return the package's modules that a file imports, at its top or inside a function."""
    name, found = module_of(path), set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            found |= {
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in modules else module for alias in node.names
            }
    return found & modules - {name}


def test_no_import_cycle_among_files_or_folders():
    files = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    graph = {name: uses(path, set(files)) for name, path in files.items()}
    folder = {name: ".".join(name.split(".")[:2]) for name in files}
    folders = {
        above: {folder[n] for m in files if folder[m] == above for n in graph[m]} - {above} for above in folder.values()
    }
    assert "rnncore.bptt.plan" in graph["rnncore.bptt.run"] and "rnncore.bptt" in folders["rnncore.layers"]
    for edges in (graph, folders):
        TopologicalSorter(edges).prepare()  # raises CycleError, which names the cycle


def test_the_digest_of_kernels_covers_all_that_they_are_compiled_from():
    files = {module_of(path) for path in PACKAGE.rglob("*.py")}
    covered = {module_of(path): path for path in compiled_sources()}
    assert {"rnncore.cells.lstm", "rnncore.kernels.rows", "rnncore.optimizers.rules"} <= covered.keys()
    for name, path in covered.items():
        assert uses(path, files) <= covered.keys(), name


def imported(path: Path) -> set[str]:
    """Return every part of every module name that a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            names |= set((node.module or "").split("."))
            if (node.level and not node.module) or node.module == "rnncore":
                names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path):
    room = path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else ""
    forbidden = FORBIDDEN.get(room, set()) | (FORBIDDEN[""] if room != "study" else {"numba"})
    assert imported(path) & (forbidden - EXEMPT.get(room, set())) == set()


# What starts another process, in `os` and by itself.
STARTS = re.compile(r"(fork|forkpty|system|popen|startfile|(exec|spawn|posix_spawn)[lv]?p?e?)")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_starts_another_process(path):
    assert imported(path) & {"subprocess", "multiprocessing", "_posixsubprocess", "pty", "posix", "nt"} == set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("os", "asyncio"):
            assert not STARTS.fullmatch(node.attr) and "subprocess" not in node.attr, f"line {node.lineno}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "asyncio", "concurrent.futures"):
            names = [alias.name for alias in node.names]
            assert not [name for name in names if STARTS.fullmatch(name) or "Process" in name], f"line {node.lineno}"


def test_import_loads_no_numba_and_nothing_heavy():
    heavy = ("numba", "h5py", "tqdm", "matplotlib", "pooch", "tensorflow", "keras", "requests")
    code = f"import sys, rnncore; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist():
    assert all(hasattr(rnncore, name) for name in rnncore.__all__)
