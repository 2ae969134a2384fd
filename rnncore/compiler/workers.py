"""Calls of compiled code that threads give one another: none of it needs the interpreter, nor waits for its lock.

A thread that calls a `shared` function does the first rows itself, and before it begins it has written down for each
helper the same call with other rows. A mail is where one helper finds its calls, an array of int64 (`MAIL`,): how many
were given, how many are done, how many failed, and a ring of slots; in each the address of the code that makes the
call, the rows, and the arguments as compiled code has them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .jit import FLAGS, from_source, inlined, kernel, part

GIVEN, DONE, FAILED, FIRST = 0, 8, 16, 24  # places in a mail; a cache line for each, as two threads look there
SLOTS, SLOT = 16, 256  # calls that a helper may be behind; words of one
MAIL = FIRST + SLOTS * SLOT

PATIENCE = 4096  # turns of a wait after which a thread lets others have its processor


@intrinsic
def _now(typingctx, array, n):
    """What stands at a place at this moment: another thread may have changed it."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.load_atomic(builder.gep(data, [args[1]]), "acquire", align=array.dtype.bitwidth // 8)

    return array.dtype(array, n), codegen


@intrinsic
def _say(typingctx, array, n, value):
    """Put a value there for other threads to see, with all that was written before it."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        builder.store_atomic(args[2], builder.gep(data, [args[1]]), "release", align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, n, array.dtype), codegen


@intrinsic
def _add(typingctx, array, value):
    """Add to an entry that other threads add to as well, after all that was written before."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        builder.atomic_rmw("add", data, args[1], "acq_rel")
        return context.get_dummy_value()

    return types.void(array, array.dtype), codegen


_let_others = types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else numba.njit(lambda: 0)


@part
def meet(arrived, share, all_shares):
    """Add a thread's share to those that arrived, and wait, busily, until all of them have."""
    _add(arrived, share)
    turns = 0
    while _now(arrived, 0) < all_shares:
        turns += 1
        if turns % PATIENCE == 0:
            _let_others()


# --- to give calls --------------------------------------------------------------------------------------------------


def shared(function: Callable, name: str | None = None, flags: dict = FLAGS) -> Callable:
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
        Of ``(*arguments, begin, end, edges, mails)``: it does the rows from `begin` to `end`, and has the helper who
        looks into mails[n] do those from edges[n] to edges[n + 1]. It does not wait for them.
    """
    given = [*inspect.signature(function).parameters][:-2]
    names = {"_body": inlined(function), "_free_slot": _free_slot, "_put": _put, "_announce": _announce}
    own = function.__name__.strip("_")
    return kernel(from_source(_SHARED.format(own=own, arguments=", ".join(given)), names, own), name, flags)


_SHARED = """
def {own}({arguments}, begin, end, edges, mails):
    for _n in range(mails.shape[0]):
        if edges[_n] < edges[_n + 1]:
            _put(mails, _free_slot(mails, _n), edges[_n], edges[_n + 1], edges, {arguments})
            _announce(mails, _n)
    if begin < end:
        _body({arguments}, begin, end)
"""


@part
def _free_slot(mails, n):
    """Return where the next call for a helper is put, among all mails' words."""
    mail, turns = mails[n], 0
    while mail[GIVEN] - _now(mail, DONE) >= SLOTS:
        turns += 1
        if turns % PATIENCE == 0:
            _let_others()
    return n * MAIL + FIRST + mail[GIVEN] % SLOTS * SLOT


@part
def _announce(mails, n):
    _say(mails[n], GIVEN, mails[n, GIVEN] + 1)


_BYTES, _CALL = ir.IntType(8).as_pointer(), ir.FunctionType(ir.IntType(32), [ir.IntType(8).as_pointer()])


@intrinsic
def _put(typingctx, mails, slot, begin, end, edges, *arguments):
    """Write down a call of the function in which this stands, with these arguments, rows, and no helpers."""

    def codegen(context, builder, signature, args):
        pairs = zip(arguments, cgutils.unpack_tuple(builder, args[5]), strict=True)
        values = [_borrowed(context, builder, kind, value) for kind, value in pairs]
        own = cgutils.pack_struct(builder, [*values, *args[2:4]])
        call = _caller(context, builder, [*arguments, begin, end, edges, mails], own.type)
        record = cgutils.pack_struct(builder, [builder.bitcast(call, _BYTES), own])
        size = context.get_abi_sizeof(record.type)
        if size > 8 * SLOT:
            raise ValueError(f"arguments take {size} bytes; there is room for {8 * SLOT}")
        data = builder.gep(context.make_array(mails)(context, builder, args[0]).data, [args[1]])
        builder.store(record, builder.bitcast(data, record.type.as_pointer()))
        return context.get_dummy_value()

    return types.void(mails, slot, begin, end, edges, types.StarArgTuple.from_types(arguments)), codegen


def _borrowed(context, builder, kind, value):
    """Return an argument without what counts who uses an array: who gave it keeps it until the call is done."""
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo, array.parent = (ir.Constant(part.type, None) for part in (array.meminfo, array.parent))
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


# --- to make them ---------------------------------------------------------------------------------------------------


@intrinsic
def _made(typingctx, slot):
    """Make the call in a slot; 0 if it did not fail."""

    def codegen(context, builder, signature, args):
        data = builder.bitcast(context.make_array(slot)(context, builder, args[0]).data, _BYTES)
        call = builder.load(builder.bitcast(data, _BYTES.as_pointer()))
        return builder.call(builder.bitcast(call, _CALL.as_pointer()), [data])

    return types.int32(slot), codegen


@partial(kernel, name="help_out")
def help_out(mail, turns):
    """Make the calls that are given, one after the other, until there was none for so many turns."""
    done, left = mail[DONE], turns
    while left > 0:
        if _now(mail, GIVEN) == done:
            left -= 1
            continue
        first = FIRST + done % SLOTS * SLOT
        if _made(mail[first : first + SLOT]) != 0:
            _say(mail, FAILED, mail[FAILED] + 1)
        done += 1
        _say(mail, DONE, done)
        left = turns


@partial(kernel, name="reached")
def reached(mail, number, turns):
    """Wait, busily, until so many calls are done; False if they were not within so many turns."""
    while turns > 0 and _now(mail, DONE) < number:
        turns -= 1
    return turns > 0
