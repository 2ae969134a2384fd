"""Calls of compiled code that threads give one another without the interpreter.

A call through Python would wait for the interpreter's lock, and begin with cold caches: it took 31 µs, and takes 6.5.
So a kernel that threads share writes its own call down for the workers, with other rows, before it does its own rows.

A worker finds its calls in its *call queue*, an array of int64 (`QUEUE`,): how many calls were given, how many are done
and how many failed, then a ring buffer of slots. A slot holds the address of the code that makes the call, the
arguments as compiled code has them, and the rows.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .jit import FLAGS, device_function, from_source, inlined, kernel

GIVEN, DONE, FAILED, FIRST = 0, 8, 16, 24  # words of a queue; a cache line for each, as two threads look there
SLOTS, SLOT = 16, 256  # calls that a worker may be behind; words of one
QUEUE = FIRST + SLOTS * SLOT

PATIENCE = 4096  # turns of a busy wait after which a thread lets others have its processor


@intrinsic
def _load(typingctx, array, n):
    """Return array[n] as it is at this moment: another thread may have changed it."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.load_atomic(builder.gep(data, [args[1]]), "acquire", align=array.dtype.bitwidth // 8)

    return array.dtype(array, n), codegen


@intrinsic
def _store(typingctx, array, n, value):
    """Set array[n] for other threads to see, after all that was written before."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        builder.store_atomic(args[2], builder.gep(data, [args[1]]), "release", align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, n, array.dtype), codegen


@intrinsic
def _add(typingctx, array, value):
    """Add to array[0], to which other threads add as well, after all that was written before."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        builder.atomic_rmw("add", data, args[1], "acq_rel")
        return context.get_dummy_value()

    return types.void(array, array.dtype), codegen


_yield = types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else numba.njit(lambda: 0)


@device_function
def barrier(arrived, share, all_shares):
    """Add a thread's share to those that arrived, and wait, busily, until all of them have."""
    _add(arrived, share)
    turns = 0
    while _load(arrived, 0) < all_shares:
        turns += 1
        if turns % PATIENCE == 0:
            _yield()


# --- calls are given ------------------------------------------------------------------------------------------------


def parallel_kernel(function: Callable, name: str | None = None, flags: dict = FLAGS) -> Callable:
    """Compile ``function(*arguments, begin, end)``, a loop over rows, to be called by several threads at once.

    Parameters
    ----------
    function : function
        It returns nothing. Arguments are arrays and numbers.
    name, flags
        As of `jit.kernel`.

    Returns
    -------
    callable
        Of ``(*arguments, begin, end, edges, queues)``: it puts the rows from edges[n] to edges[n + 1] into queues[n],
        for a worker, and does those from `begin` to `end`. It does not wait for workers.
    """
    given = [*inspect.signature(function).parameters][:-2]
    names = {"_body": inlined(function), "_free_slot": _free_slot, "_enqueue": _enqueue, "_publish": _publish}
    own = function.__name__.strip("_")
    return kernel(from_source(_PARALLEL.format(own=own, arguments=", ".join(given)), names, own), name, flags)


_PARALLEL = """
def {own}({arguments}, begin, end, edges, queues):
    for _n in range(queues.shape[0]):
        if edges[_n] < edges[_n + 1]:
            _enqueue(queues, _free_slot(queues, _n), edges[_n], edges[_n + 1], edges, {arguments})
            _publish(queues, _n)
    if begin < end:
        _body({arguments}, begin, end)
"""


@device_function
def _free_slot(queues, n):
    """Return where the next call for worker n is written, among the words of all queues; wait until a slot is free."""
    queue, turns = queues[n], 0
    while queue[GIVEN] - _load(queue, DONE) >= SLOTS:
        turns += 1
        if turns % PATIENCE == 0:
            _yield()
    return n * QUEUE + FIRST + queue[GIVEN] % SLOTS * SLOT


@device_function
def _publish(queues, n):
    _store(queues[n], GIVEN, queues[n, GIVEN] + 1)


_BYTES, _CALL = ir.IntType(8).as_pointer(), ir.FunctionType(ir.IntType(32), [ir.IntType(8).as_pointer()])


@intrinsic
def _enqueue(typingctx, queues, slot, begin, end, edges, *arguments):
    """Write down a call of the function in which this stands, with these arguments and rows, and no workers."""

    def codegen(context, builder, signature, args):
        pairs = zip(arguments, cgutils.unpack_tuple(builder, args[5]), strict=True)
        values = [_borrowed(context, builder, kind, value) for kind, value in pairs]
        own = cgutils.pack_struct(builder, [*values, *args[2:4]])
        call = _caller(context, builder, [*arguments, begin, end, edges, queues], own.type)
        record = cgutils.pack_struct(builder, [builder.bitcast(call, _BYTES), own])
        size = context.get_abi_sizeof(record.type)
        if size > 8 * SLOT:
            raise ValueError(f"arguments take {size} bytes; a slot has {8 * SLOT}")
        data = builder.gep(context.make_array(queues)(context, builder, args[0]).data, [args[1]])
        builder.store(record, builder.bitcast(data, record.type.as_pointer()))
        return context.get_dummy_value()

    return types.void(queues, slot, begin, end, edges, types.StarArgTuple.from_types(arguments)), codegen


def _borrowed(context, builder, kind, value):
    """Return an argument without the array's reference count: who gave it keeps it until the call is done."""
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo, array.parent = (ir.Constant(field.type, None) for field in (array.meminfo, array.parent))
    return array._getvalue()


def _caller(context, builder, kinds, own):
    """Return a function that makes the call in a slot, and says whether it failed."""
    module, function = builder.module, builder.function
    function.attributes.add("noinline")
    caller = ir.Function(module, _CALL, module.get_unique_name("made"))
    caller.linkage = "internal"
    inside = ir.IRBuilder(caller.append_basic_block())
    record = ir.LiteralStructType([_BYTES, own])
    pair = inside.load(inside.bitcast(caller.args[0], record.as_pointer()))
    values = [inside.extract_value(pair, [1, n]) for n in range(len(own.elements))]
    none = [ir.Constant(context.get_value_type(kind), None) for kind in kinds[-2:]]
    status, _ = context.call_conv.call_function(inside, function, types.none, kinds, [*values, *none])
    inside.ret(inside.zext(status.is_error, ir.IntType(32)))
    return caller


# --- calls are made -------------------------------------------------------------------------------------------------


@intrinsic
def _make_call(typingctx, slot):
    """Make the call in a slot; 0 if it did not fail."""

    def codegen(context, builder, signature, args):
        data = builder.bitcast(context.make_array(slot)(context, builder, args[0]).data, _BYTES)
        call = builder.load(builder.bitcast(data, _BYTES.as_pointer()))
        return builder.call(builder.bitcast(call, _CALL.as_pointer()), [data])

    return types.int32(slot), codegen


@partial(kernel, name="serve")
def serve(queue, turns):
    """Make the calls that are given, one after the other, until there was none for so many turns."""
    done, left = queue[DONE], turns
    while left > 0:
        if _load(queue, GIVEN) == done:
            left -= 1
            continue
        first = FIRST + done % SLOTS * SLOT
        if _make_call(queue[first : first + SLOT]) != 0:
            _store(queue, FAILED, queue[FAILED] + 1)
        done += 1
        _store(queue, DONE, done)
        left = turns


@partial(kernel, name="reached")
def reached(queue, number, turns):
    """Wait, busily, until so many calls are done; False if they were not within so many turns."""
    while turns > 0 and _load(queue, DONE) < number:
        turns -= 1
    return turns > 0


def check(queue: np.ndarray) -> None:
    """Raise MemoryError if a call that was made failed, once."""
    if queue[FAILED]:
        queue[FAILED] = 0
        raise MemoryError("a thread found no memory for its part of the work")
