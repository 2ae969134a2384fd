"""The time loop, forward and backward: what every cell has in common.

Arrays (T steps, B rows, H units; K blocks, S states, P recurrent products):

========  ================  ===========================================================================
blocks    (K, T, B, H)      one block a gate: its input part before the step, its value after it; then
                            what else the cell remembers
states    (S, T+1, B, H)    slot 0 the initial state, slot t+1 the state after step t
projected (G, n, H) | None  the gates' input parts where they are not in `blocks` yet: those of n distinct inputs,
place     (T, B) | None     and which of them each row takes at each step
weights   (H, P*H)          the recurrent products' weights, side by side as Keras keeps them; or (P, H, H), put
                            together: what `prepared` gives
turned    (P, H, H)         each of them transposed
drop      (P, B, H) | None  recurrent dropout: multiplies a product's source, constant over time
mask      (T, B) | None     False: the step is not taken, the states are carried over
dblocks   (K', T, B, H)     gradients of the pre-activations, then of intermediates; `blocks` itself, which they
                            overwrite, if the plan is `in_place`
dstates   (S, T+1, B, H)    in: what reaches states from outside, in their slots from `fresh` on; out: dL/d(state),
                            all paths together
========  ================  ===========================================================================

Where a step is not taken, `blocks` and `dblocks` hold nothing: what is there must not be read.

On the way forward `blocks` and `states` may have fewer slots, for runs of which only the end counts: steps take them in
turn. `states` needs two. `blocks` needs one, where inputs come as `projected`: arrays that do not grow with T, and so
stay in the caches.

There are two loops over the same plan of a cell: `NumpyLoop` on whole arrays, in any dtype, and the compiled one,
whose body is generated from the plan so that numba inlines the cell's own functions over flat contiguous blocks.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

from .. import config
from ..cells.cell import Cell, Product, Stage
from . import threads
from .products import NumpyProducts, matmul
from .threads import Job, done

FEW = 4  # rows that are too few for a tile of a product, and so for threads to share
ROWS = 128  # that go through all steps together: what they need of a step stays in the second cache


class Place(NamedTuple):
    """Where a value of step t lives: ``array[index, (t + offset) % slots]``."""

    array: str
    index: int
    offset: int


class PlannedProduct(NamedTuple):
    """``source @ weights[weight]`` is added to blocks[target]; its gradients go from dblocks[dtarget] to dsource."""

    source: Place
    dsource: Place
    target: int
    dtarget: int
    weight: int


class PlannedStage(NamedTuple):
    """A stage with the products before it, and the places of what its functions take and return."""

    stage: Stage
    products: list[PlannedProduct]
    inputs: list[Place]
    outputs: list[Place]
    backward_inputs: list[Place]
    backward_outputs: list[Place]


class Plan:
    """Where each name in a cell's functions lives.

    Attributes
    ----------
    blocks, dblocks : list of str
        What each block (and its gradient's) is called.
    places, gradients : dict of str to Place
        By name in the cell's functions.
    stages : list of PlannedStage
    in_place : bool
        Whether the way back writes each gate's gradient over the gate: a third less memory to go through. With several
        stages or intermediates a later function would still read what it overwrites.
    """

    def __init__(self, cell: Cell):
        self.cell = cell
        returned = [name for stage in cell.stages for name in stage.outputs]
        asked = [name for stage in cell.stages for name in stage.inputs]
        apart = [f"u_{gate}" for gate in cell.gates if f"u_{gate}" in asked]
        self.between = [name for name in returned if name not in (*cell.gates, *cell.states)]
        self.dblocks = [*cell.gates, *apart, *self.between]
        kept = [name for name in asked if name[:2] in ("z_", "x_") and name[2:] in returned and cell.keeps_inputs]
        self.blocks = [*self.dblocks, *kept]

        self.places = {name: Place("blocks", k, 0) for k, name in enumerate(self.blocks)}
        self.in_place = len(cell.stages) == 1 and not self.between
        array = "blocks" if self.in_place else "dblocks"
        self.gradients = {f"d{name}": Place(array, k, 0) for k, name in enumerate(self.dblocks)}
        for gate in cell.gates:
            home = next(self.places[name] for name in (f"z_{gate}", f"x_{gate}", gate) if name in self.places)
            for part in (f"z_{gate}", f"x_{gate}", f"u_{gate}"):
                self.places.setdefault(part, home)
                self.gradients.setdefault(f"d{part}", self.gradients[f"d{gate}"])
        for s, state in enumerate(cell.states):
            self.places |= {state: Place("states", s, 1), f"{state}_prev": Place("states", s, 0)}
            self.gradients |= {f"d{state}": Place("dstates", s, 1), f"d{state}_prev": Place("dstates", s, 0)}
        self.stages = [self._planned(stage) for stage in cell.stages]

    def _planned(self, stage: Stage) -> PlannedStage:
        both = self.places | self.gradients
        for role, given, known in (
            ("an argument of step", stage.inputs, self.places),
            ("an argument of step_backward", stage.backward_inputs, both),
        ):
            for name in given:
                if name not in known:
                    raise ValueError(
                        f"cell {self.cell.name!r}: {name!r} is not known as {role}; known: {sorted(known)}"
                    )
        fed = {name[2:] for name in stage.inputs if name[:2] in ("z_", "x_", "u_")}
        return PlannedStage(
            stage,
            [self._product(n, p) for n, p in enumerate(self.cell.products) if p.gate in fed],
            [self.places[name] for name in stage.inputs],
            [self.places[name] for name in stage.outputs],
            [both[name] for name in stage.backward_inputs],
            [self.gradients[f"d{name}"] for name in (*stage.inputs, *stage.completes.split())],
        )

    def _product(self, n: int, product: Product) -> PlannedProduct:
        gate, source = product.gate, product.source
        return PlannedProduct(
            self.places[source], self.gradients[f"d{source}"], self.target(gate), self.dtarget(gate), n
        )

    @cached_property
    def products(self) -> list[PlannedProduct]:
        """All products of a step, in the order of their weights."""
        return sorted((p for stage in self.stages for p in stage.products), key=lambda product: product.weight)

    @cached_property
    def together(self) -> list[list[PlannedProduct]]:
        """The products in runs of one source whose weights, and gradients' blocks, lie side by side."""
        runs = []
        for product in self.products:
            last = runs[-1][-1] if runs else None
            follows = last and (last.source, last.dtarget + 1) == (product.source, product.dtarget)
            if follows and product.weight < len(self.cell.gates):  # the extra ones have arrays of their own
                runs[-1].append(product)
            else:
                runs.append([product])
        return runs

    @cached_property
    def one_gradient(self) -> bool:
        """Whether the recurrent weights' gradients, and the bias's, come of the same dz as the inputs' weights'."""
        first, *others = self.together
        own = len(first) == len(self.cell.gates) and first[0].dtarget == 0
        return own and not others and not self.cell.split_bias

    @cached_property
    def homes(self) -> list[int]:
        """The blocks that hold the gates' input parts before the step."""
        return [self.places[f"x_{gate}"].index for gate in self.cell.gates]

    @cached_property
    def targets(self) -> list[int]:
        """The blocks that the gates' recurrent products are added to."""
        return [self.target(gate) for gate in self.cell.gates]

    def target(self, gate: str) -> int:
        """Return such a block, of one gate."""
        return self.places[f"u_{gate}"].index

    def dtarget(self, gate: str) -> int:
        """Return the block of the gradient of those products."""
        return self.gradients[f"du_{gate}"].index

    def sums(self, place: Place) -> bool:
        """Whether a gradient is added to what is there (states before the step, intermediates) or written."""
        if place.array == "dstates":
            return place.offset == 0
        return place.array == "dblocks" and self.dblocks[place.index] in self.between


class NumpyLoop:
    """The time loop on whole (B, H) arrays: the readable twin, in any dtype, complex numbers included."""

    def __init__(self, plan: Plan):
        self.plan = plan

    def parts(self, rows: int, mask: np.ndarray | None) -> list[slice]:
        """Return which rows of a batch have arrays of their own: see `CompiledLoop`."""
        return [slice(0, rows)]

    def prepared(self, weights: np.ndarray, rows: int) -> Job:
        """Return the job that puts weights together for so many rows: `forward` does it itself where nobody did."""
        return NumpyProducts.split(weights, len(self.plan.products))

    def forward(self, blocks, states, weights, drop, mask, projected=None, place=None) -> Job:
        """Return the job of every step: it fills `states` from slot 1 on and turns `blocks` into the gates' values."""
        arrays = {"blocks": blocks, "states": states}
        weights = weights if weights.ndim == 3 else self.prepared(weights, blocks.shape[2]).out
        for t in range(_steps(blocks, place)):
            taken, idle = _rows(mask, t)
            now, before, after = t % blocks.shape[1], t % states.shape[1], (t + 1) % states.shape[1]
            if projected is not None:
                for home, part in zip(self.plan.homes, projected, strict=True):
                    blocks[home, now, taken] = part[place[t, taken]]
            for stage, products, inputs, outputs, _, _ in self.plan.stages:
                for source, _, target, _, n in products:
                    value = _read(arrays, source, t, taken)
                    value = value if drop is None else value * drop[n, taken]
                    blocks[target, now, taken] += matmul(value, weights[n])
                with np.errstate(over="ignore"):  # an infinite exp is no news: compiled code does not tell either
                    values = stage.step(*(_read(arrays, place, t, taken) for place in inputs))
                for (array, index, offset), value in zip(outputs, _tuple(values), strict=True):
                    arrays[array][index, (t + offset) % arrays[array].shape[1], taken] = value
            states[:, after, idle] = states[:, before, idle]
        return done(states)

    def backward(self, blocks, states, turned, drop, mask, dblocks, dstates, fresh=0, first=0, end=None) -> Job:
        """Return the job of going back from step end - 1 to `first`: it fills `dblocks`, and completes `dstates`."""
        arrays = {"blocks": blocks, "states": states, "dblocks": dblocks, "dstates": dstates}
        for t in reversed(range(first, blocks.shape[1] if end is None else end)):
            taken, idle = _rows(mask, t)
            for name in self.plan.between:
                dblocks[self.plan.gradients[f"d{name}"].index, t, taken] = 0
            if t < fresh:
                dstates[:, t] = 0
            for stage, products, _, _, inputs, outputs in reversed(self.plan.stages):
                values = stage.step_backward(*(_read(arrays, place, t, taken) for place in inputs))
                for place, value in zip(outputs, _tuple(values), strict=True):
                    before = _read(arrays, place, t, taken) if self.plan.sums(place) else 0
                    arrays[place.array][place.index, t + place.offset, taken] = before + value
                for _, (array, index, offset), _, dtarget, n in products:
                    value = matmul(dblocks[dtarget, t, taken], turned[n])
                    arrays[array][index, t + offset, taken] += value if drop is None else value * drop[n, taken]
            dstates[:, t, idle] += dstates[:, t + 1, idle]
        return done(dblocks)


def _rows(mask, t):
    """Return indices of the rows that take step t and of those that do not."""
    return (slice(None), slice(0)) if mask is None else (np.flatnonzero(mask[t]), np.flatnonzero(~mask[t]))


def _read(arrays, place, t, rows):
    array = arrays[place.array]
    return array[place.index, (t + place.offset) % array.shape[1], rows]


def _steps(blocks, place):
    """Return how many steps there are to take."""
    return blocks.shape[1] if place is None else len(place)


def _tuple(values):
    return values if isinstance(values, tuple) else (values,)


class CompiledLoop:
    """The same loop in machine code, the batch split over threads: each takes its rows through all the steps.

    Of a few rows, the threads share the units instead, and meet at each step: prediction of one row is bound by how
    fast the weights are read, and so each reads its part of them.

    The rows of two threads are better kept in arrays of their own (`parts`). In common ones they lie side by side at
    each step, and what a processor fetches ahead of one's is the other's, at that moment written.
    """

    def __init__(self, plan: Plan):
        from .._jit import VECTOR
        from .compiled_products import CompiledProducts

        self.plan, self._vector, self._split = plan, VECTOR, CompiledProducts.split
        self._forward, self._backward, self._forward_few = _compile(plan)

    def parts(self, rows, mask) -> list[slice]:
        """As `NumpyLoop.parts`: two, whatever number of threads there is, as sums over a part are added up."""
        middle = Job(None, (), rows, 0, ends=_ends(mask)).edge(1, 2)
        return [slice(0, middle), slice(middle, rows)] if 0 < middle < rows else [slice(0, rows)]

    def prepared(self, weights, rows) -> Job:
        """As `NumpyLoop.prepared`; a few rows read them as they are."""
        return done(weights) if rows < FEW else self._split(weights, len(self.plan.products))

    def forward(self, blocks, states, weights, drop, mask, projected=None, place=None) -> Job:
        """As `NumpyLoop.forward`."""
        scratch, drop, ends, mask = _present(blocks, drop, mask)
        steps, rows = _steps(blocks, place), blocks.shape[2]
        work = 2 * weights.size * steps * rows
        projected = np.empty((0, 0, 0), blocks.dtype) if projected is None else projected
        place = np.empty((0, 0), np.int64) if place is None else place
        if rows < FEW and weights.ndim == 2 and not drop.shape[0]:
            size = weights.size + weights.shape[1] + self._vector // weights.itemsize
            room = np.empty(size, weights.dtype)  # taken here: who finds none would not come to meet
            few = (blocks, states, weights, room, mask, projected, place, steps, np.zeros(1, np.int64))
            job = Job(self._forward_few, few, vectors_of(blocks), work)
            if threads.parts_of(job) > 1:
                return job
        if weights.ndim == 2:
            (weights,) = threads.run(self._split(weights, len(self.plan.products)))
        arrays = (blocks, states, weights, scratch, drop, mask, projected, place, steps)
        return Job(self._forward, arrays, rows, work, states, ends)

    def backward(self, blocks, states, turned, drop, mask, dblocks, dstates, fresh=0, first=0, end=None) -> Job:
        """As `NumpyLoop.backward`."""
        end = blocks.shape[1] if end is None else end
        scratch, drop, ends, mask = _present(blocks, drop, mask)
        arrays = (blocks, states, turned, scratch, drop, mask, dblocks, dstates, fresh, first, end)
        work = 2 * turned.size * (end - first) * blocks.shape[2]
        return Job(self._backward, arrays, blocks.shape[2], work, dblocks, ends)


def _present(blocks, drop, mask):
    """Return room for a dropped source, and empty arrays for what is None: a kernel takes one type an argument.

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
    from .._jit import VECTOR

    return -(-array.shape[-1] * array.itemsize // VECTOR)


_USED = "aligned end_of_run carry carry_backward copy_row copy_rows clear_rows own_columns add_row_product"


def _compile(plan: Plan):
    """Return the compiled (forward, backward) over a range of rows, and forward over a range of units' vectors."""
    from .._crew import meet, shared
    from .._jit import VECTOR, called_functions, fingerprint, from_source, inlined, part
    from . import elementwise, rows

    names = {"VECTOR": VECTOR, "ROWS": ROWS, "meet": meet, **{name: getattr(rows, name) for name in _USED.split()}}
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
            pointwise = from_source(sources[-1], {"step": inlined(function)}, "pointwise")
            # numba names machine code by this and a count kept a process: from disk, two of one name would meet
            pointwise.__qualname__ = f"pointwise.{fingerprint([function], sources[-1:]) or id(function)}"
            names[f"pointwise_{way}_{n}"] = part(pointwise)
    compiled, (own, stages) = [], _few_body(plan)
    for way, source, product in (
        ("forward", _FORWARD.replace("<body>", _lines(_body(plan, "forward"), 16)), rows.recurrent),
        ("backward", _BACKWARD.replace("<body>", _lines(_body(plan, "backward"), 12)), rows.recurrent_backward),
        ("forward_few", _FORWARD_FEW.replace("<own>", _lines(own, 4)).replace("<stages>", _lines(stages, 8)), None),
    ):
        source = source.replace("<homes>", str((*plan.homes,)))
        key = fingerprint(functions, [*sources, source])
        function = from_source(source, {**names, "product": product}, way)
        compiled.append(shared(function, key and f"{plan.cell.name}.{way}.{key}"))
    return compiled


# A block of rows walks over the runs of rows that take the step, or do not; masked rows cost a copy.
_FORWARD = """
def forward(blocks, states, weights, scratch, drop, mask, projected, place, steps, begin, end):
    for top in range(begin, end, ROWS):
        bottom = min(top + ROWS, end)
        for t in range(steps):
            now, before, after = t % blocks.shape[1], t % states.shape[1], (t + 1) % states.shape[1]
            r0 = top
            while r0 < bottom:
                r1 = end_of_run(mask, t, r0, bottom)
                if mask.shape[0] and not mask[t, r0]:
                    carry(states, before, after, r0, r1)
                    r0 = r1
                    continue
                for g in range(projected.shape[0]):
                    copy_rows(blocks[<homes>[g], now], projected[g], place[t], r0, r1)
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
def forward_few(blocks, states, weights, room, mask, projected, place, steps, arrived, begin, end):
    lanes, units = VECTOR // states.itemsize, states.shape[3]
    vectors, c0, c1, all_shares = (units + lanes - 1) // lanes, begin * lanes, min(end * lanes, units), 0
    room = aligned(room)
    <own>
    for t in range(steps):
        now, before, after = t % blocks.shape[1], t % states.shape[1], (t + 1) % states.shape[1]
        for r in range(blocks.shape[2]):
            if mask.shape[0] and not mask[t, r]:
                for s in range(states.shape[0]):
                    copy_row(states[s, after, r, c0:c1], states[s, before, r, c0:c1])
                continue
            for g in range(projected.shape[0]):
                copy_row(blocks[<homes>[g], now, r, c0:c1], projected[g, place[t, r], c0:c1])
        <stages>
"""


def _lines(lines, indent) -> str:
    return ("\n" + " " * indent).join(lines)


def _at(place, where="r0:r1") -> str:
    return f"{place.array}[{place.index}, {_slot(place)}, {where}]"


def _slot(place) -> str:
    """Return the name of the slot of a value at step t."""
    return "now" if place.array in ("blocks", "dblocks") else "after" if place.offset else "before"


def _few_body(plan: Plan) -> tuple[list[str], list[str]]:
    """Return the lines that put a thread's weights together, and those that take its columns through step t."""
    own, lines, before = [], [], 0
    for n, (_, products, takes, gives, _, _) in enumerate(plan.stages):
        lines += ["for r in range(blocks.shape[2]):", "    if not mask.shape[0] or mask[t, r]:"]
        for chosen in _of_one_source(products):
            source = chosen[0].source
            targets, w, sums = tuple(p.target for p in chosen), f"w{len(own)}", f"sums{len(own)}"
            which = tuple(p.weight for p in chosen)
            own.append(f"{w}, {sums} = own_columns(room, {before}, weights, {which}, units, c0, c1)")
            before += len(which)
            lines += [
                f"        copy_row({sums}[{q}], blocks[{target}, now, r, c0:c1])" for q, target in enumerate(targets)
            ]
            row = f"{sums}.reshape(1, -1), {_at(source, 'r : r + 1')}"
            lines.append(f"        add_row_product({row}, {w}, 0, 0)")
            lines += [
                f"        copy_row(blocks[{target}, now, r, c0:c1], {sums}[{q}])" for q, target in enumerate(targets)
            ]
        places = ", ".join(_at(place, "r, c0:c1") for place in _distinct(takes, gives))
        lines += [
            f"        pointwise_forward_{n}({places})",
            "all_shares += vectors",
            "meet(arrived, end - begin, all_shares)",
        ]
    return own, lines


def _of_one_source(products: list[PlannedProduct]) -> list[list[PlannedProduct]]:
    """Return the products in groups of one source each, and no target twice."""
    groups = []
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
    lines = []
    for n, (_, products, *ways) in enumerate(plan.stages):
        takes, gives = ways[:2] if way == "forward" else ways[2:]
        step = f"pointwise_{way}_{n}({', '.join(_at(place) for place in _distinct(takes, gives))})"
        calls = _product_calls(plan, products, way)
        lines = [*lines, *calls, step] if way == "forward" else [step, *calls, *lines]
    sums = [plan.gradients[f"d{name}"] for name in plan.between] if way == "backward" else []
    return [*(f"clear_rows({_at(place)}, 0, r1 - r0)" for place in sums), *lines]


def _product_calls(plan: Plan, products: list[PlannedProduct], way: str) -> list[str]:
    """Return one loop over the products from each array: a call of its own each would be compiled once each."""
    lines, gradients = [], "blocks" if plan.in_place else "dblocks"
    for array in dict.fromkeys(p.source.array for p in products):
        chosen = [p for p in products if p.source.array == array]
        sources, targets, dtargets, weights = (
            tuple(column)
            for column in zip(*((p.source.index, p.target, p.dtarget, p.weight) for p in chosen), strict=True)
        )
        source, target = f"{array}[{sources}[p], {_slot(chosen[0].source)}, r0:r1]", f"blocks[{targets}[p], now, r0:r1]"
        dsource, dtarget = f"d{source}", f"{gradients}[{dtargets}[p], now, r0:r1]"
        added_to, factor = (target, source) if way == "forward" else (dsource, dtarget)
        lines += [
            f"for p in range({len(chosen)}):",
            f"    product({added_to}, {factor}, weights[{weights}[p]], scratch, drop, {weights}[p], r0)",
        ]
    return lines


def _distinct(takes, gives) -> list[Place]:
    return list(dict.fromkeys([*takes, *gives]))


def _pointwise_source(plan: Plan, takes, gives) -> str:
    """Return a loop of `step` over flat arrays, one argument a place: what is overwritten in place comes once."""
    name = {place: f"a{n}" for n, place in enumerate(_distinct(takes, gives))}
    results = ", ".join(f"y{n}" for n in range(len(gives)))
    return "\n".join(
        [
            f"def pointwise({', '.join(name.values())}):",
            *(f"    {a} = {a}.reshape(-1)" for a in name.values()),
            "    for n in range(a0.size):",
            f"        {results} = step({', '.join(f'{name[place]}[n]' for place in takes)})",
            *(f"        {name[p]}[n] {'+=' if plan.sums(p) else '='} y{n}" for n, p in enumerate(gives)),
        ]
    )


@cache
def loop(cell: Cell, backend: str):
    """Return the loop of a cell: compiled, or in NumPy where asked for or where the cell mixes units."""
    return (CompiledLoop if backend == "numba" and cell.elementwise else NumpyLoop)(Plan(cell))


def loop_for(cell: Cell, dtype: np.dtype):
    """Return the loop that runs `cell` in `dtype` now; complex numbers are the NumPy loop's."""
    return loop(cell, "numpy" if np.dtype(dtype).kind == "c" else config.backend())
