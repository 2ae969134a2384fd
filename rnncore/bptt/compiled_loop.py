"""The loops over time in machine code: what numpy_loop.py does step by step, for all rows of a batch at once.

The body of each loop is generated from the cell's plan (plan.py says what the arrays are), so that numba inlines the
cell's own functions over flat contiguous blocks. For an LSTM, what a step compiles to is this:

    forward     blocks[g, t] += states[h, t] @ weights[g], for the four gates
                i, f, k, o, h, c = step(z_i, z_f, z_k, z_o, c_prev), entry by entry
    backward    dz_i, dz_f, dz_k, dz_o, dc_prev, dc = step_backward(…), entry by entry
                dstates[h, t] += dblocks[g, t] @ transposed[g], for the four gates

Beside the plan's arrays the kernels take:

==========  ================  =========================================================================
projected   (G, n, H) | None  the gates' input parts where they are not in `blocks` yet: those of n distinct
                              inputs,
index       (T, B) | None     and which of them each row takes at each step
weights     (H, P*H)          the recurrent products' weights, side by side as Keras keeps them; or (P, H, H), put
                              together: what `prepared` gives
transposed  (P, H, H)         each of them transposed
fresh       int               dstates are filled in their slots from here on; below, the reverse loop clears them
==========  ================  =========================================================================

Where a step is not taken, `blocks` and `dblocks` hold nothing: what is there must not be read.

On the way forward `blocks` and `states` may have fewer slots, for runs of which only the end counts: steps take them in
turn. `states` needs two. `blocks` needs one, where inputs come as `projected`: arrays that do not grow with T, and so
stay in the caches.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..cells.cell import Cell
from ..compiler import pool
from ..compiler.memory import LINE
from ..compiler.pool import Job, done
from .plan import Location, Plan, PlannedProduct

FEW = 4  # rows that are too few for a tile of a product, and so for threads to share
ROWS = 128  # that go through all steps together: what they need of a step stays in the second cache


def _steps(blocks, index):
    """Return how many steps there are to take."""
    return blocks.shape[1] if index is None else len(index)


class CompiledLoop:
    """The loops of a cell, the batch split over threads: each takes its rows through all the steps.

    Of a few rows, the threads share the units instead, with a barrier at each step: prediction of one row is bound by
    how fast the weights are read, and so each thread reads its part of them.

    The rows of two threads are better kept in arrays of their own (`parts`). In common ones they lie side by side at
    each step, and what a processor fetches ahead of one's is the other's, at that moment written.
    """

    def __init__(self, plan: Plan):
        from .compiled_products import split

        self.plan, self._split = plan, split
        self._forward, self._backward, self._forward_few = _compile(plan)

    def parts(self, rows, mask) -> list[slice]:
        """Return which rows of a batch have arrays of their own.

        They are two, whatever number of threads there is, as sums over a part are added up.
        """
        middle = Job(None, (), rows, 0, ends=_ends(mask)).edge(1, 2)
        return [slice(0, middle), slice(middle, rows)] if 0 < middle < rows else [slice(0, rows)]

    def prepared(self, weights, rows) -> Job:
        """Return the job that puts weights together for so many rows; a few rows read them as they are."""
        return done(weights) if rows < FEW else self._split(weights, len(self.plan.products))

    def forward(
        self, blocks, states, weights, drop, mask, projected=None, index=None, training=False, first=0, end=None
    ) -> Job:
        """Return the job of steps, by default all: it fills `states` and turns `blocks` into the gates' values.

        A few rows in training, alone in a last batch, are no reason to compile the kernel for a few.
        """
        scratch, drop, ends, mask = _present(blocks, drop, mask)
        end, rows = _steps(blocks, index) if end is None else end, blocks.shape[2]
        work = 2 * weights.size * (end - first) * rows
        projected = np.empty((0, 0, 0), blocks.dtype) if projected is None else projected
        index = np.empty((0, 0), np.int64) if index is None else index
        if rows < FEW and weights.ndim == 2 and not drop.shape[0]:
            size = weights.size + weights.shape[1] + LINE // weights.itemsize
            copies = np.empty(size, weights.dtype)  # taken here: a thread that finds no memory would miss the barrier
            few = (blocks, states, weights, copies, mask, projected, index, first, end, np.zeros(1, np.int64))
            job = Job(self._forward_few, few, vectors_of(blocks), work)
            if not training or pool.shards_of(job) > 1:
                return job
        if weights.ndim == 2:
            (weights,) = pool.run(self._split(weights, len(self.plan.products)))
        arrays = (blocks, states, weights, scratch, drop, mask, projected, index, first, end)
        return Job(self._forward, arrays, rows, work, states, ends)

    def backward(self, blocks, states, transposed, drop, mask, dblocks, dstates, fresh=0, first=0, end=None) -> Job:
        """Return the job of going back from step end - 1 to `first`: it fills `dblocks`, and completes `dstates`."""
        end = blocks.shape[1] if end is None else end
        scratch, drop, ends, mask = _present(blocks, drop, mask)
        arrays = (blocks, states, transposed, scratch, drop, mask, dblocks, dstates, fresh, first, end)
        work = 2 * transposed.size * (end - first) * blocks.shape[2]
        return Job(self._backward, arrays, blocks.shape[2], work, dblocks, ends)


def _present(blocks, drop, mask):
    """Return scratch memory for a dropped source, and empty arrays for None: a kernel takes one type an argument.

    With a mask, also how much work there is up to each row: what threads share out.
    """
    none = np.empty((0, 0, 0), blocks.dtype)
    scratch = np.empty((0, 0) if drop is None else blocks.shape[2:], blocks.dtype)
    return scratch, none if drop is None else drop, _ends(mask), np.empty((0, 0), bool) if mask is None else mask


def _ends(mask):
    """Return `Job.ends` of a batch's rows."""
    return None if mask is None else np.cumsum(np.count_nonzero(mask, axis=0) + 1)


def vectors_of(array: np.ndarray) -> int:
    """Return how many vector registers a row takes."""
    from ..compiler.tile import VECTOR

    return -(-array.shape[-1] * array.itemsize // VECTOR)


_USED = "aligned end_of_run carry carry_backward copy_row copy_rows clear_rows own_columns add_strips_product"


def _compile(plan: Plan):
    """Return the compiled (forward, backward) over a range of rows, and forward over a range of units' vectors."""
    from ..compiler.cache import called_functions, fingerprint
    from ..compiler.jit import device_function, from_source, merged
    from ..compiler.tile import VECTOR
    from ..compiler.workers import barrier, parallel_kernel
    from ..kernels import elementwise, rows

    names: dict[str, Any] = {"VECTOR": VECTOR, "ROWS": ROWS, "barrier": barrier}
    names |= {name: getattr(rows, name) for name in _USED.split()}
    functions, sources = [], []
    for n, (stage, _, inputs, outputs, backward_inputs, backward_outputs) in enumerate(plan.stages):
        for way, function, takes, gives in (
            ("forward", stage.step, inputs, outputs),
            ("backward", stage.step_backward, backward_inputs, backward_outputs),
        ):
            for called in called_functions(function):
                elementwise.register(called)
            sources.append(_pointwise_source(plan, takes, gives))
            functions.append(function)
            pointwise = from_source(sources[-1], {"step": merged(function)}, "pointwise")
            # numba names machine code by this and a count kept a process: from disk, two of one name would meet
            pointwise.__qualname__ = f"pointwise.{fingerprint([function], sources[-1:]) or id(function)}"
            names[f"pointwise_{way}_{n}"] = device_function(pointwise)
    compiled, (own, stages) = [], _few_body(plan)
    for way, source, product in (
        ("forward", _FORWARD.replace("<body>", _lines(_body(plan, "forward"), 16)), rows.recurrent),
        ("backward", _BACKWARD.replace("<body>", _lines(_body(plan, "backward"), 12)), rows.recurrent_backward),
        ("forward_few", _FORWARD_FEW.replace("<own>", _lines(own, 4)).replace("<stages>", _lines(stages, 8)), None),
    ):
        source = source.replace("<homes>", str((*plan.homes,)))
        key = fingerprint(functions, [*sources, source])
        function = from_source(source, {**names, "product": product}, way)
        compiled.append(parallel_kernel(function, key and f"{plan.cell.name}.{way}.{key}"))
    return compiled


# A block of rows walks over the runs of rows that take the step, or do not; masked rows cost a copy.
_FORWARD = """
def forward(blocks, states, weights, scratch, drop, mask, projected, index, first, last, begin, end):
    for top in range(begin, end, ROWS):
        bottom = min(top + ROWS, end)
        for t in range(first, last):
            now, before, after = t % blocks.shape[1], t % states.shape[1], (t + 1) % states.shape[1]
            r0 = top
            while r0 < bottom:
                r1 = end_of_run(mask, t, r0, bottom)
                if mask.shape[0] and not mask[t, r0]:
                    carry(states, before, after, r0, r1)
                    r0 = r1
                    continue
                for g in range(projected.shape[0]):
                    copy_rows(blocks[<homes>[g], now], projected[g], index[t], r0, r1)
                <body>
                r0 = r1
"""
_BACKWARD = """
def backward(blocks, states, weights, scratch, drop, mask, dblocks, dstates, fresh, first, last, begin, end):
    for t in range(last - 1, first - 1, -1):
        now, before, after = t, t, t + 1
        if t < fresh:
            for s in range(dstates.shape[0]):
                clear_rows(dstates[s, t], begin, end)
        r0 = begin
        while r0 < end:
            r1 = end_of_run(mask, t, r0, end)
            if mask.shape[0] and not mask[t, r0]:
                carry_backward(dstates, t, r0, r1)
                r0 = r1
                continue
            <body>
            r0 = r1
"""


# Each thread puts its columns of the weights together, by what they multiply, and reads them from end to end.
_FORWARD_FEW = """
def forward_few(blocks, states, weights, copies, mask, projected, index, first, last, arrived, begin, end):
    lanes, units = VECTOR // states.itemsize, states.shape[3]
    vectors, c0, c1, all_shares = (units + lanes - 1) // lanes, begin * lanes, min(end * lanes, units), 0
    copies = aligned(copies)
    <own>
    for t in range(first, last):
        now, before, after = t % blocks.shape[1], t % states.shape[1], (t + 1) % states.shape[1]
        for r in range(blocks.shape[2]):
            if mask.shape[0] and not mask[t, r]:
                for s in range(states.shape[0]):
                    copy_row(states[s, after, r, c0:c1], states[s, before, r, c0:c1])
                continue
            for g in range(projected.shape[0]):
                copy_row(blocks[<homes>[g], now, r, c0:c1], projected[g, index[t, r], c0:c1])
        <stages>
"""


def _lines(lines, indent) -> str:
    return ("\n" + " " * indent).join(lines)


def _at(location, where="r0:r1") -> str:
    return f"{location.array}[{location.index}, {_slot(location)}, {where}]"


def _slot(location) -> str:
    """Return the name of the slot of a value at step t."""
    return "now" if location.array in ("blocks", "dblocks") else "after" if location.offset else "before"


def _few_body(plan: Plan) -> tuple[list[str], list[str]]:
    """Return the lines that put a thread's weights together, and those that take its columns through step t."""
    own: list[str] = []
    lines: list[str] = []
    before = 0
    for n, (_, products, takes, gives, _, _) in enumerate(plan.stages):
        lines += ["for r in range(blocks.shape[2]):", "    if not mask.shape[0] or mask[t, r]:"]
        for chosen in _of_one_source(products):
            source = chosen[0].source
            targets, w, sums = tuple(p.target for p in chosen), f"w{len(own)}", f"sums{len(own)}"
            which = tuple(p.weight for p in chosen)
            own.append(f"{w}, {sums} = own_columns(copies, {before}, weights, {which}, units, c0, c1)")
            before += len(which)
            lines += [
                f"        copy_row({sums}[{q}], blocks[{target}, now, r, c0:c1])" for q, target in enumerate(targets)
            ]
            row = f"{sums}.reshape(1, -1), {_at(source, 'r : r + 1')}"
            lines.append(f"        add_strips_product({row}, {w}, states.shape[3])")
            lines += [
                f"        copy_row(blocks[{target}, now, r, c0:c1], {sums}[{q}])" for q, target in enumerate(targets)
            ]
        locations = ", ".join(_at(location, "r, c0:c1") for location in _distinct(takes, gives))
        lines += [
            f"        pointwise_forward_{n}({locations})",
            "all_shares += vectors",
            "barrier(arrived, end - begin, all_shares)",
        ]
    return own, lines


def _of_one_source(products: list[PlannedProduct]) -> list[list[PlannedProduct]]:
    """Return the products in groups of one source each, and no target twice."""
    groups: list[list[PlannedProduct]] = []
    for product in products:
        for group in groups:
            if group[0].source == product.source and product.target not in [other.target for other in group]:
                group.append(product)
                break
        else:
            groups.append([product])
    return groups


def _body(plan: Plan, way: str) -> list[str]:
    """Return the lines that take rows r0 to r1 through step t."""
    lines: list[str] = []
    for n, (_, products, *ways) in enumerate(plan.stages):
        takes, gives = ways[:2] if way == "forward" else ways[2:]
        step = f"pointwise_{way}_{n}({', '.join(_at(location) for location in _distinct(takes, gives))})"
        calls = _product_calls(plan, products, way)
        lines = [*lines, *calls, step] if way == "forward" else [step, *calls, *lines]
    sums = [plan.gradients[f"d{name}"] for name in plan.between] if way == "backward" else []
    return [*(f"clear_rows({_at(location)}, 0, r1 - r0)" for location in sums), *lines]


def _product_calls(plan: Plan, products: list[PlannedProduct], way: str) -> list[str]:
    """Return one loop over the products from each array: a call of its own each would be compiled once each."""
    lines = []
    for array in dict.fromkeys(p.source.array for p in products):
        chosen = [p for p in products if p.source.array == array]
        sources, targets, dtargets, weights = (
            tuple(column)
            for column in zip(*((p.source.index, p.target, p.dtarget, p.weight) for p in chosen), strict=True)
        )
        source, target = f"{array}[{sources}[p], {_slot(chosen[0].source)}, r0:r1]", f"blocks[{targets}[p], now, r0:r1]"
        dsource, dtarget = f"d{source}", f"dblocks[{dtargets}[p], now, r0:r1]"
        added_to, factor = (target, source) if way == "forward" else (dsource, dtarget)
        lines += [
            f"for p in range({len(chosen)}):",
            f"    product({added_to}, {factor}, weights[{weights}[p]], scratch, drop, {weights}[p], r0)",
        ]
    return lines


def _distinct(takes, gives) -> list[Location]:
    return list(dict.fromkeys([*takes, *gives]))


def _pointwise_source(plan: Plan, takes, gives) -> str:
    """Return the source of a loop of `step` over flat arrays; an array that is read and overwritten is one argument."""
    name = {location: f"a{n}" for n, location in enumerate(_distinct(takes, gives))}
    results = ", ".join(f"y{n}" for n in range(len(gives)))
    return "\n".join(
        [
            f"def pointwise({', '.join(name.values())}):",
            *(f"    {a} = {a}.reshape(-1)" for a in name.values()),
            "    for n in range(a0.size):",
            f"        {results} = step({', '.join(f'{name[location]}[n]' for location in takes)})",
            *(f"        {name[p]}[n] {'+=' if plan.sums(p) else '='} y{n}" for n, p in enumerate(gives)),
        ]
    )


@cache
def loop(cell: Cell) -> CompiledLoop:
    """Return the compiled loops of a cell."""
    return CompiledLoop(Plan(cell))
