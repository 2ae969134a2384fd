"""Compiled kernels on disk: compiling takes tens of seconds, and a stale or planted kernel must never be loaded.

Kernels are cached in a folder named by a digest of every source file that code is compiled from and of the versions of
numba, NumPy and Python. A change in one of them is another folder, so a stale kernel cannot be loaded: numba itself
would look at the one file a function stands in, not at the functions that it calls. Who may have written a file: see
trusted_files.py.
"""

from __future__ import annotations

import dis
import hashlib
import os
import pickle
import platform
import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import FunctionType

import numba
import numpy as np
from numba.core import caching
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys

from .. import config
from . import trusted_files

PACKAGE = Path(__file__).parents[1]
# Where functions stand that are compiled, and all that is imported there: tests/test_house.py holds the list to it.
COMPILED = ("activations", "bptt", "cells", "compiler", "config", "configured", "kernels", "lock", "optimizers/rules")


@cache
def compiled_sources() -> list[Path]:
    """Return the files that code is compiled from."""
    found = [[*(PACKAGE / name).rglob("*.py"), (PACKAGE / name).with_suffix(".py")] for name in COMPILED]
    return sorted(path for paths in found for path in paths if path.is_file())


@cache
def cache_folder() -> Path:
    """Return the folder of the compiled kernels: below ``RNNCORE_CACHE_DIR``, else below the user's cache.

    OSError if there is neither.
    """
    digest = hashlib.sha256(repr((numba.__version__, np.__version__, platform.python_version())).encode())
    for source in compiled_sources():
        digest.update(source.relative_to(PACKAGE).as_posix().encode() + b"\0" + source.read_bytes())
    try:
        user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(os.environ.get("RNNCORE_CACHE_DIR") or Path(user, "rnncore", "kernels")).expanduser()
    except RuntimeError as error:  # no home
        raise NotADirectoryError(str(error)) from error
    return Path(root, digest.hexdigest()[:20]).absolute()  # wherever the process goes


class KernelCache(caching.NullCache):
    """Compiled code on disk: a file for each kernel and its arguments' types.

    There is no index, which two processes might write at the same time. Files are pickles, and so only those count
    that nobody else can have written: see `trusted_files.py`.
    """

    def __init__(self, name: str):
        self.name = name

    def load_overload(self, sig, target_context):
        """Return the compiled code for arguments of such types, or None: it is compiled then."""
        rtsys.initialize(target_context)  # all that code which is compiled needs; its `refresh` is the compiler's
        found = None
        try:
            content = trusted_files.read(cache_folder(), self._file(sig, target_context.codegen()))
            found = CompileResult._rebuild(target_context, *pickle.loads(content))
        except FileNotFoundError:
            pass
        except OSError as error:
            _say_not_kept(error)
        except Exception:  # a damaged file, or one that numba cannot take, whatever it raises: compile anew
            found = None
        if found is None:
            self._began = time.perf_counter()
            config.compiling.begin()
        return found

    def save_overload(self, sig, data):
        """Keep compiled code, where there is a place for it."""
        config.compiling.seconds += time.perf_counter() - self._began
        if data.library.has_dynamic_globals:  # addresses of this process
            return
        try:
            trusted_files.write(cache_folder(), self._file(sig, data.codegen), caching.dumps(data._reduce()))
        except OSError as error:
            _say_not_kept(error)

    def _file(self, sig, codegen):
        key = hashlib.sha256(repr((sig, codegen.magic_tuple(), self.name)).encode()).hexdigest()
        return f"{re.sub(r'[<>]', '', self.name)}.{key[:16]}.nbc"  # which Windows does not take


def _say_not_kept(error: OSError) -> None:
    config.warn_once(
        "kernels are not kept",
        f"compiled kernels are not kept on disk, each process compiles them anew: {error}. Name a folder of yours in "
        "RNNCORE_CACHE_DIR, or take other users' right to write from the one that is named (chmod go-w)",
    )


def called_functions(function: Callable) -> list[Callable]:
    """Return the plain functions among the global names that a function uses."""
    names = dict.fromkeys(i.argval for i in dis.get_instructions(function) if i.opname == "LOAD_GLOBAL")
    values = (function.__globals__.get(name) for name in names)
    return [value for value in values if isinstance(value, FunctionType)]


def fingerprint(functions: Sequence[Callable], sources: list[str]) -> str | None:
    """Return a digest of functions, of those they call, and of generated code.

    None if one of the functions stands outside of these files, where a change of what it calls goes unseen: such a
    kernel must not be kept on disk.
    """
    digest, covered = hashlib.sha256(repr(sources).encode()), set(map(str, compiled_sources()))
    waiting = list(functions)
    while waiting:
        function = waiting.pop()
        code = function.__code__
        if code.co_filename not in covered:
            return None
        digest.update(repr((code.co_code, code.co_names, code.co_varnames)).encode())
        waiting += called_functions(function)
    return digest.hexdigest()[:12]
