"""How a Python function becomes machine code: what numba is asked for, and three instructions that it has no name for.

Four kinds of functions are compiled. A *kernel* is called from Python; `workers.parallel_kernel` makes those that
several threads share. A *device function* is called by kernels only. An *inlined* function is compiled into each of its
callers by numba, a *merged* one by LLVM, so that a loop around it vectorises.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock as compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from .cache import KernelCache

# Made at the import, which forks wait for: numba has a lock for it that is not the compiler's.
cpu_target.target_context  # noqa: B018

# error_model="numpy": no ZeroDivision branch, with which loops with a division do not vectorise.
# Of fastmath only "contract" (a*b + c in one rounding): NaN and infinity keep their meaning, sums keep their order.
FLAGS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}
EXACT: dict[str, Any] = {"error_model": "numpy"}  # NumPy's own bits

_njit: Any = numba.njit  # whose annotations lack some of its options
_overload: Any = overload


def kernel(function: Callable, name: str | None = None, flags: dict = FLAGS) -> Callable:
    """Compile `function` at its first call, without the interpreter's lock.

    Parameters
    ----------
    function : function
    name : str, optional
        What the compiled code is filed under on disk, unique in the package; None keeps it in memory only (code
        that stands where the digest does not look).
    flags : dict
        `FLAGS` or `EXACT`; of what is inlined too.
    """
    dispatcher = _njit(nogil=True, no_cfunc_wrapper=True, **flags)(function)
    if name is not None:
        function.__qualname__ = name
        dispatcher._cache = KernelCache(name)
    dispatcher.compile = _without_collector(dispatcher.compile)
    return dispatcher


def _without_collector(compile_for: Callable) -> Callable:
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


def device_function(function: Callable) -> Callable:
    """Compile `function` for kernels to call, without a way in from Python: that compiles in a sixth less time."""
    return _njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **FLAGS)(function)


def inlined(function: Callable) -> Callable:
    """Compile `function` into each of its callers: numba's own inlining, which the vectoriser can see through."""
    return _njit(inline="always", **FLAGS)(function)


# A chain of functions of numbers: numba takes four times as long to inline it as LLVM, to the same machine code.
_MERGED: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def merged(function: Callable) -> Callable:
    """Compile a function of numbers into each of its callers, by LLVM: a loop around it vectorises, too."""
    return _njit(**_MERGED, **FLAGS)(function)


def compiled_form(function: Callable, flags: dict) -> Callable:
    """Decorate a chooser of compiled code for a plain function of numbers: called with types, it returns that."""
    return _overload(function, jit_options={**_MERGED, **flags})


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


@intrinsic
def address(typingctx, array):
    """Where in memory an array begins."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(context.make_array(array)(context, builder, args[0]).data, ir.IntType(64))

    return types.int64(array), codegen
