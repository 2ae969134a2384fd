"""The register tile: the one loop that all matrix products of compiled code come down to, written in LLVM.

numba does not keep the sums of a small block of C in vector registers over the whole inner axis of ``C += A @ B``, and
a library's product can neither be called from inside the time loop nor promise the same bits for any split of rows.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

# What code is compiled for: the processor's features, or what NUMBA_CPU_FEATURES asks for.
ASKED: str | None = vars(config)["CPU_FEATURES"]
FEATURES = binding.get_host_cpu_features().flatten() if ASKED is None else ASKED
# Bytes of a vector register; the rows of a tile, and of a higher one; how many registers wide both are. The sums, a row
# of B and an entry of A must stay in registers: there are 32 of 64 bytes, or 16 of 32.
VECTOR, TILE_ROWS, HIGH_TILE_ROWS, TILE_VECTORS = (64, 4, 4, 4) if "+avx512f" in FEATURES.split(",") else (32, 4, 6, 2)


def _whole(builder, vector, size):
    """Return how a vector is loaded and stored, anywhere in memory."""

    def packed(pointer):
        return builder.bitcast(pointer, vector.as_pointer())

    return (
        lambda pointer: builder.load(packed(pointer), align=size),
        lambda value, pointer: builder.store(value, packed(pointer), align=size),
    )


def _masked(builder, vector, size, array, column):
    """Return how the part of a vector between `column` and the end of a row, the tail, is loaded and stored."""
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


def tile(rows: int, vectors: int, transposed: bool = False, of_kept: bool = False) -> Callable:
    """Return compiled code for ``C[i:i+rows, k:k+columns] += A[i:i+rows] @ B[:, j:j+columns]``.

    The sums of the tile stay in registers over the whole inner axis, one multiply-add an entry and step, in the order
    of that axis: an entry's bits do not depend on the tile that it falls into.

    Parameters
    ----------
    rows : int
    vectors : int
        The tile's columns in vector registers; 0 for the tail of a row, less than a register.
    transposed : bool
        Whether A comes transposed, (K, R).
    of_kept : bool
        Whether only some features count, those whose indices are in the array `kept`: columns of A and rows of B; if
        transposed, columns of A and rows of C, and i counts kept indices.
    """

    @intrinsic
    def add_tile(typingctx, C, A, B, i, j, k, kept):
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
            if of_kept:
                indices = context.make_array(kept)(context, builder, args[6])
                inner = inner if transposed else cgutils.unpack_tuple(builder, indices.shape, 1)[0]

            def index_of(n):
                return builder.load(builder.gep(indices.data, [n]))

            steps = [index(v * lanes) for v in range(max(vectors, 1))]
            columns = [builder.add(j, step) for step in steps]
            lines = [builder.add(i, index(r)) for r in range(rows)]
            lines = [index_of(line) for line in lines] if of_kept and transposed else lines
            places = [at(c, line, builder.add(k, step)) for line in lines for step in steps]
            start = [load(place) for place in places]

            before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
            builder.cbranch(builder.icmp_signed(">", inner, index(0)), loop, after)
            builder.position_at_end(loop)
            p = builder.phi(index)
            sums = [builder.phi(vector) for _ in places]
            feature = index_of(p) if of_kept and not transposed else p
            right = [load(at(b, feature, column)) for column in columns]
            added = []
            for line in lines:
                left = builder.load(at(a, p, line) if transposed else at(a, line, feature))
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

        return types.void(C, A, B, i, j, k, kept), codegen

    return add_tile
