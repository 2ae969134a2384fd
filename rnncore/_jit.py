"""How functions are compiled, and where compiled ones are kept. Only here and in _crew.py is numba imported.

Kernels are cached on disk in a folder named by a digest of every source file of the package and of the versions
of numba, NumPy and Python. A change anywhere is another folder, so a stale kernel cannot be loaded: numba itself
would look at the one file a function stands in, not at the functions that it calls.
"""

from __future__ import annotations

import dis
import gc
import hashlib
import os
import pickle
import platform
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import caching, cgutils, types
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock as compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from . import config
from .utils import own_files

# error_model="numpy": no ZeroDivision branch, without which loops with a division do not vectorise.
# Of fastmath only "contract" (a*b + c in one rounding): NaN and infinity keep their meaning, sums keep their order.
# Made at the import, which forks wait for: numba has a lock for it that is not the compiler's.
cpu_target.target_context  # noqa: B018

FLAGS = {"error_model": "numpy", "fastmath": {"contract"}}
EXACT = {"error_model": "numpy"}  # NumPy's own bits


@cache
def cache_folder() -> Path:
    """Return the folder of the compiled kernels: below ``RNNCORE_CACHE_DIR``, else below the user's cache.

    OSError if there is neither.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256(repr((numba.__version__, np.__version__, platform.python_version())).encode())
    for source in sorted(package.rglob("*.py")):
        digest.update(source.relative_to(package).as_posix().encode() + b"\0" + source.read_bytes())
    try:
        user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(os.environ.get("RNNCORE_CACHE_DIR") or Path(user, "rnncore", "kernels")).expanduser()
    except RuntimeError as error:  # no home
        raise NotADirectoryError(str(error)) from error
    return Path(root, digest.hexdigest()[:20]).absolute()  # wherever the process goes


class _KernelCache(caching.NullCache):
    """Compiled code on disk: a file for each kernel and its arguments' types.

    There is no index, which two processes might write at the same time. Files are pickles, and so only those count
    that nobody else can have written: see `utils.own_files`.
    """

    def __init__(self, name: str):
        self.name = name

    def load_overload(self, sig, target_context):
        """Return the compiled code for arguments of such types, or None: it is compiled then."""
        target_context.refresh()
        found = None
        try:
            content = own_files.read(cache_folder(), self._file(sig, target_context.codegen()))
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
            own_files.write(cache_folder(), self._file(sig, data.codegen), caching.dumps(data._reduce()))
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


def called_functions(function: FunctionType) -> list[FunctionType]:
    """Return the plain functions among the global names that a function uses."""
    names = dict.fromkeys(i.argval for i in dis.get_instructions(function) if i.opname == "LOAD_GLOBAL")
    values = (function.__globals__.get(name) for name in names)
    return [value for value in values if isinstance(value, FunctionType)]


def fingerprint(functions: list[FunctionType], sources: list[str]) -> str | None:
    """Return a digest of functions, of those they call, and of generated code.

    None if one of the functions stands outside the package, where a change of what it calls goes unseen: such a
    kernel must not be kept on disk.
    """
    package = str(Path(__file__).parent) + os.sep
    digest = hashlib.sha256(repr(sources).encode())
    waiting = list(functions)
    while waiting:
        function = waiting.pop()
        code = function.__code__
        if not code.co_filename.startswith(package):
            return None
        digest.update(repr((code.co_code, code.co_names, code.co_varnames)).encode())
        waiting += called_functions(function)
    return digest.hexdigest()[:12]


def kernel(function: Callable, name: str | None = None, flags: dict = FLAGS) -> Callable:
    """Compile `function` at its first call, without the interpreter's lock.

    Parameters
    ----------
    function : function
    name : str, optional
        What the compiled code is filed under on disk, unique in the package; None keeps it in memory only (code
        that stands outside the package, which the digest does not cover).
    flags : dict
        `FLAGS` or `EXACT`; of what is inlined too.
    """
    dispatcher = numba.njit(nogil=True, no_cfunc_wrapper=True, **flags)(function)
    if name is not None:
        function.__qualname__ = name
        dispatcher._cache = _KernelCache(name)
    dispatcher.compile = _uncollected(dispatcher.compile)
    return dispatcher


def _uncollected(compile_for: Callable) -> Callable:
    """Let a kernel be compiled without the garbage collector, which took an eighth of the time, for nothing."""

    def compiled(signature):
        with compiler_lock:  # which it takes anyway: of two threads, none finds the collector paused by the other
            collects = gc.isenabled()
            gc.disable()
            try:
                return compile_for(signature)
            finally:
                if collects:
                    gc.enable()

    return compiled


def part(function: Callable) -> Callable:
    """Compile `function` for kernels to call, without a way in from Python: that takes less time."""
    return numba.njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **FLAGS)(function)


def inlined(function: Callable) -> Callable:
    """Compile `function` into each of its callers: numba's own inlining, which the vectoriser can see through."""
    return numba.njit(inline="always", **FLAGS)(function)


def compiled_form(function: Callable) -> Callable:
    """Decorate a chooser of compiled code for a plain function: called with types, it returns an implementation."""
    return overload(function, inline="always", jit_options=FLAGS)


def float_type(typ) -> np.dtype:
    """Return the numpy dtype of a numba scalar type."""
    return np.dtype(typ.name)


def from_source(source: str, names: dict, function: str) -> Callable:
    """Run generated `source` among `names` and return one function of it."""
    space = {"__name__": __name__, **names}  # numba looks a cached kernel's module up by it
    exec(compile(source, f"<rnncore {function}>", "exec"), space)
    return space[function]


_LAYOUT = {32: (23, 127), 64: (52, 1023)}  # bits of the mantissa, bias of the exponent


@intrinsic
def power_of_two(typingctx, shifted):
    """``2**n`` as a float, where `shifted` is n plus 1.5 times two to the bits of the mantissa."""
    mantissa, bias = _LAYOUT[shifted.bitwidth]

    def codegen(context, builder, signature, args):
        integer = ir.IntType(shifted.bitwidth)
        bits = builder.shl(builder.bitcast(args[0], integer), integer(mantissa))
        return builder.bitcast(builder.add(bits, integer(bias << mantissa)), args[0].type)

    return shifted(shifted), codegen


@intrinsic
def clipped(typingctx, x, low, high):
    """`x` moved into [low, high], NaN left as it is: two selects, no branch."""

    def codegen(context, builder, signature, args):
        x, low, high = args
        x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
        return builder.select(builder.fcmp_ordered(">", x, high), high, x)

    return x(x, x, x), codegen


# --- register tiles for matrix products -----------------------------------------------------------------------------

# Bytes of a vector register, and how many registers wide a tile of four rows is: its sums must stay in registers.
VECTOR, TILE_VECTORS = (64, 4) if binding.get_host_cpu_features().get("avx512f") else (32, 2)
TILE_ROWS = 4


def _whole(builder, vector, size):
    """Return how a vector is loaded and stored, anywhere in memory."""

    def packed(pointer):
        return builder.bitcast(pointer, vector.as_pointer())

    return (
        lambda pointer: builder.load(packed(pointer), align=size),
        lambda value, pointer: builder.store(value, packed(pointer), align=size),
    )


def _masked(builder, vector, size, array, column):
    """Return how the part of a vector is loaded and stored that lies between `column` and the end of a row."""
    lanes, index = vector.count, ir.IntType(64)
    wide, mask = ir.VectorType(index, lanes), ir.VectorType(ir.IntType(1), lanes)
    _, width = cgutils.unpack_tuple(builder, array.shape, 2)
    rest = builder.insert_element(ir.Constant(wide, ir.Undefined), builder.sub(width, column), ir.IntType(32)(0))
    first = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    rest = builder.shuffle_vector(rest, ir.Constant(wide, ir.Undefined), first)
    there = builder.icmp_signed("<", ir.Constant(wide, list(range(lanes))), rest)
    pointer, align = vector.element.as_pointer(), ir.IntType(32)
    name = f"v{lanes}f{8 * size}.p0"
    loaded = ir.FunctionType(vector, [pointer, align, mask, vector])
    stored = ir.FunctionType(ir.VoidType(), [vector, pointer, align, mask])
    load = cgutils.get_or_insert_function(builder.module, loaded, f"llvm.masked.load.{name}")
    store = cgutils.get_or_insert_function(builder.module, stored, f"llvm.masked.store.{name}")
    zeros = ir.Constant(vector, [0.0] * lanes)
    return (
        lambda pointer: builder.call(load, [pointer, align(size), there, zeros]),
        lambda value, pointer: builder.call(store, [value, pointer, align(size), there]),
    )


def tile(rows: int, vectors: int, turned: bool = False, picked: bool = False) -> Callable:
    """Return compiled code for ``C[i:i+rows, k:k+columns] += A[i:i+rows] @ B[:, j:j+columns]``.

    The sums of the tile stay in registers over the whole inner axis, one multiply-add an entry and step, in the order
    of that axis: an entry's bits do not depend on the tile that it falls into.

    Parameters
    ----------
    rows : int
    vectors : int
        The tile's columns in vector registers; 0 for one of which only what lies before the end of a row counts.
    turned : bool
        Whether A comes transposed, (K, R).
    picked : bool
        Whether only some features count, those in `picks`: columns of A and rows of B; if turned, columns of A and
        rows of C, and i counts picks.
    """

    @intrinsic
    def add_tile(typingctx, C, A, B, i, j, k, picks):
        lanes, size = VECTOR * 8 // C.dtype.bitwidth, C.dtype.bitwidth // 8

        def codegen(context, builder, signature, args):
            c, a, b = (context.make_array(t)(context, builder, v) for t, v in zip((C, A, B), args[:3], strict=True))
            index, vector = ir.IntType(64), ir.VectorType(context.get_data_type(C.dtype), lanes)
            undefined, fused = ir.Constant(vector, ir.Undefined), ("contract",)
            first = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

            def at(array, row, column):
                step, _ = cgutils.unpack_tuple(builder, array.strides, 2)
                width = builder.udiv(step, index(size))
                return builder.gep(array.data, [builder.add(builder.mul(row, width), column)])

            i, j, k = args[3:6]
            load, store = _whole(builder, vector, size) if vectors else _masked(builder, vector, size, b, j)
            inner = cgutils.unpack_tuple(builder, b.shape, 2)[0]
            if picked:
                chosen = context.make_array(picks)(context, builder, args[6])
                (inner,) = (inner,) if turned else cgutils.unpack_tuple(builder, chosen.shape, 1)

            def pick(n):
                return builder.load(builder.gep(chosen.data, [n]))

            steps = [index(v * lanes) for v in range(max(vectors, 1))]
            columns = [builder.add(j, step) for step in steps]
            lines = [builder.add(i, index(r)) for r in range(rows)]
            lines = [pick(line) for line in lines] if picked and turned else lines
            places = [at(c, line, builder.add(k, step)) for line in lines for step in steps]
            start = [load(place) for place in places]

            before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
            builder.cbranch(builder.icmp_signed(">", inner, index(0)), loop, after)
            builder.position_at_end(loop)
            p = builder.phi(index)
            sums = [builder.phi(vector) for _ in places]
            feature = pick(p) if picked and not turned else p
            right = [load(at(b, feature, column)) for column in columns]
            added = []
            for line in lines:
                left = builder.load(at(a, p, line) if turned else at(a, line, feature))
                left = builder.insert_element(undefined, left, ir.IntType(32)(0))
                left = builder.shuffle_vector(left, undefined, first)
                for value in right:
                    product = builder.fmul(left, value, flags=fused)
                    added.append(builder.fadd(product, sums[len(added)], flags=fused))
            following = builder.add(p, index(1))
            for phi, come, again in zip([p, *sums], [index(0), *start], [following, *added], strict=True):
                phi.add_incoming(come, before)
                phi.add_incoming(again, loop)
            builder.cbranch(builder.icmp_signed("<", following, inner), loop, after)

            builder.position_at_end(after)
            ends = [builder.phi(vector) for _ in places]
            for end, come, again in zip(ends, start, added, strict=True):
                end.add_incoming(come, before)
                end.add_incoming(again, loop)
            for end, place in zip(ends, places, strict=True):
                store(end, place)
            return context.get_dummy_value()

        return types.void(C, A, B, i, j, k, picks), codegen

    return add_tile
