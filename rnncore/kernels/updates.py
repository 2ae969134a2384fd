"""An optimizer's update: a plain function of elementwise arithmetic, run by NumPy on arrays and compiled into loops.

Its arguments' *names* say what they get:

==================  ==================================================================================================
``w``, ``g``        the weight and its gradient
``square, size``    g² or |g|; of a table's row the sum of those of its look-ups
a slot's name       that slot: an array beside the weight
any other           a number, the same for the whole step, in the weight's dtype
==================  ==================================================================================================

It returns the new w, then the new slots in the order of its arguments. Before it, ``w - w * decay`` decays the weight.

Compiled code computes what NumPy does, bit for bit: no product and sum are contracted into one rounding. So parts,
threads and backends change no bit, and deferred updates give a row what it would have been at the time.

Sizes: V rows of D entries, N look-ups, U distinct rows among them, T steps, S numbers a step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from string import Template
from typing import NamedTuple

import numpy as np

from ..compiler import pool
from ..compiler.pool import Job

SHARDS = 64  # of a table's rows, dealt out one by one: frequent words, whose rows are more work, have neighbouring ids
LONGEST = 1024  # steps that a row's updates may be deferred
CHECK = 16  # deferred steps between two looks at whether they still move a row's weights
BLOCK = 32768  # entries that NumPy updates at a time: with slots and temporaries they fit a core's second-level cache
RUNS = 4, 1  # of its steps taken in one go, while there are so many: what they change stays in registers
FLOPS = 20  # of an entry's update: its square root and its division count for several


def square(g):
    """Return g²."""
    return g * g


def size(g):
    """Return |g|."""
    return np.abs(g)


MOMENTS = {"square": square, "size": size}


class Rule(NamedTuple):
    """An update, and what its arguments are."""

    update: Callable
    arguments: tuple[str, ...]
    moment: str | None
    slots: tuple[str, ...]
    numbers: tuple[str, ...]  # the last is "decay", which the update itself does not take

    def step(self, w, g, moment, slots: Sequence[np.ndarray], numbers: np.ndarray) -> None:
        """Change `w` and its slots in place, in NumPy, a block of rows at a time; a moment of None is that of `g`."""
        if w.size > BLOCK and len(w) > 1:
            rows = max(1, BLOCK * len(w) // w.size)
            for block in (slice(start, start + rows) for start in range(0, len(w), rows)):
                own = None if moment is None else moment[block]
                self.step(w[block], g[block], own, [slot[block] for slot in slots], numbers)
            return
        given = dict(zip((*self.slots, *self.numbers), (*slots, *numbers), strict=True))
        decay = given["decay"]
        given |= {"w": w - w * decay if decay else w, "g": g}
        if self.moment:
            given[self.moment] = MOMENTS[self.moment](g) if moment is None else moment
        results = self.update(*map(given.__getitem__, self.arguments))
        for array, result in zip((w, *slots), results if slots else [results], strict=True):
            array[...] = result


@cache
def rule(update: Callable, slots: frozenset[str]) -> Rule:
    """Return the rule of an update whose slots have these names."""
    arguments = tuple(inspect.signature(update).parameters)
    moment = next((name for name in arguments if name in MOMENTS), None)
    own = tuple(name for name in arguments if name in slots)
    numbers = tuple(name for name in arguments if name not in {"w", "g", moment, *own})
    return Rule(update, arguments, moment, own, (*numbers, "decay"))


class Kernels(NamedTuple):
    """A rule's compiled loops; each takes its arrays, then the first entry or shard, and the end of them."""

    whole: Callable  # flat arrays: w, g, *slots, numbers
    rows: Callable  # w, g (U, D), moment (U, D), *slots, numbers, ids (U,)
    catch_up: Callable  # w, *slots, history (T, S), applied (V,), ids (N,), largest (S,), small: see `DeferredUpdates`


@cache
def kernels(rule: Rule) -> Kernels | None:
    """Return the compiled loops; None for an update that stands outside the package, which is left to NumPy."""
    from ..compiler.cache import called_functions, fingerprint
    from ..compiler.jit import EXACT, from_source, inlined
    from ..compiler.workers import parallel_kernel
    from . import elementwise

    moment = MOMENTS[rule.moment] if rule.moment else None
    pieces = _pieces(rule)
    sources = [loop.substitute(pieces) for loop in _LOOPS.values()]
    key = fingerprint([rule.update, *([moment] if moment else [])], sources)
    if key is None:
        return None
    for called in called_functions(rule.update):
        elementwise.register(called, exact=True)
    names = {"update": inlined(rule.update), "moment": moment and inlined(moment), "SHARDS": SHARDS, "CHECK": CHECK}
    return Kernels(
        *(
            parallel_kernel(from_source(source, names, name), f"{rule.update.__qualname__}.{name}.{key}", EXACT)
            for name, source in zip(_LOOPS, sources, strict=True)
        )
    )


def _compiled(rule: Rule) -> Kernels:
    """Return the compiled loops of a rule that has them."""
    found = kernels(rule)
    assert found is not None
    return found


_LOOPS = {
    "whole": Template("""
def whole(w, g, $slots numbers, begin, end):
    $unpack
    w, g = w[begin:end], g[begin:end]
    $parts
    for n in range(w.shape[0]):
        $step_whole
"""),
    "rows": Template("""
def rows(table, gradients, moments, $tables numbers, ids, begin, end):
    $unpack
    for shard in range(begin, end):
        for u in range(shard, ids.shape[0], SHARDS):
            i = ids[u]
            w, g, m = table[i], gradients[u], moments[u]
            $views
            for n in range(w.shape[0]):
                $step_row
"""),
    "catch_up": Template("""
def catch_up(table, $tables history, applied, ids, largest, small, begin, end):
    steps, zero = history.shape[0], history.dtype.type(0)
    for k in range(ids.shape[0]):
        i = ids[k]
        if i % SHARDS < begin or i % SHARDS >= end or applied[i] == steps:
            continue
        t, applied[i] = applied[i], steps
        w = table[i]
        $views
        untouched = largest[-1] == zero
        for n in range(w.shape[0]):
            untouched &= $untouched
        if untouched:
            continue
        while t < steps:
            until, moves = min(t + CHECK, steps), True
            if small and until < steps:
                numbers, moves = largest, False
                $unpack
                for n in range(w.shape[0]):
                    $change
                    moves |= not abs(change) <= abs(w[n]) * small
                if not moves:
                    until = steps$runs
"""),
}
_RUN = Template("""
            while t + $count <= until:
                $unpack
                if moves:
                    for n in range(w.shape[0]):
                        $take
                        $steps
                        $put
                else:
                    for n in range(w.shape[0]):
                        $take_slots
                        $steps_of_slots
                        $put_slots
                t += $count""")


def _pieces(rule: Rule) -> dict[str, str]:
    """Return what the loops leave open: a slot is the table t0, whose row is s0; a number is c0."""
    tables, slots, held = ([f"{letter}{n}" for n in range(len(rule.slots))] for letter in "tse")
    numbers = [f"c{n}" for n in range(len(rule.numbers))]
    entries = [f"{slot}[n]" for slot in slots]

    def step(targets: list[str], *sources: str, slots: list[str] = entries, numbers: list[str] = numbers) -> str:
        taken = dict(zip(("w", "g", rule.moment, *rule.slots), (*sources, *slots), strict=True))
        taken |= dict(zip(rule.numbers, numbers, strict=True))
        if sources[0] != "zero":
            taken["w"] += f" - {sources[0]} * {taken['decay']}"
        return f"{', '.join(targets)} = update({', '.join(taken[name] for name in rule.arguments)})"

    def run(count: int) -> str:
        each = [[f"{number}_{k}" for number in numbers] for k in range(count)]
        pairs = list(zip(["x", *held], after, strict=True))
        take, put = [f"{a} = {b}" for a, b in pairs], [f"{b} = {a}" for a, b in pairs]
        lines = {
            "unpack": [f"{name} = history[t + {k}, {n}]" for k in range(count) for n, name in enumerate(each[k])],
            "take": take,
            "steps": [step(["x", *held], "x", "zero", "zero", slots=held, numbers=own) for own in each],
            "put": put,
            "take_slots": take[1:],
            "steps_of_slots": [step(["_", *held], "zero", "zero", "zero", slots=held, numbers=own) for own in each],
            "put_slots": put[1:],
        }
        return _RUN.substitute({name: "; ".join(line) or "pass" for name, line in lines.items()}, count=count)

    after = ["w[n]", *entries]
    return {
        "tables": "".join(f"{table}, " for table in tables),
        "slots": "".join(f"{slot}, " for slot in slots),
        "parts": "; ".join(f"{slot} = {slot}[begin:end]" for slot in slots),
        "views": "; ".join(f"{slot} = {table}[i]" for slot, table in zip(slots, tables, strict=True)),
        "unpack": "; ".join(f"{number} = numbers[{n}]" for n, number in enumerate(numbers)),
        "untouched": " and ".join(f"{entry} == zero" for entry in entries) or "True",
        "step_whole": step(after, "w[n]", "g[n]", "moment(g[n])"),
        "step_row": step(after, "w[n]", "g[n]", "m[n]"),
        "change": step(["change", *"_" * len(entries)], "zero", "zero", "zero"),
        "runs": "".join(map(run, RUNS)),
    }


def step_whole(rule: Rule, w, g, slots: Sequence[np.ndarray], numbers: np.ndarray) -> Job:
    """Return what changes C-contiguous arrays in place, compiled."""
    flat = [array.reshape(-1) for array in (w, np.ascontiguousarray(g), *slots)]
    return Job(_compiled(rule).whole, (*flat, numbers), w.size, FLOPS * w.size)


def step_rows(rule: Rule, w, slots: Sequence[np.ndarray], g, moment, numbers: np.ndarray, ids: np.ndarray) -> Job:
    """Return what changes the rows `ids` (U,), each there once, of C-contiguous tables in place, compiled."""
    return Job(_compiled(rule).rows, (w, g, moment, *slots, numbers, ids), SHARDS, FLOPS * g.size)


class DeferredUpdates:
    """A table whose rows without a gradient wait for their updates until they are next used or read.

    A step changes every row: without a gradient, momentum goes on. What it does to a row depends on the row and on the
    step's numbers alone. So these are kept, and a row gets its pending updates later, many steps at once, to the same
    bits. That takes no more arithmetic and less memory traffic, and next to nothing once a row's change is too small to
    change its weights. Rows that were never touched cost nothing.

    Parameters
    ----------
    rule : Rule
    w : ndarray of shape (V, D)
    slots : sequence of ndarray of shape (V, D)
        All C-contiguous; changed in place.
    fades : bool
        Whether the change of a weight never grows from one step without a gradient to the next, but as the numbers
        of the steps grow.
    """

    def __init__(self, rule: Rule, w: np.ndarray, slots: Sequence[np.ndarray], fades: bool):
        self.rule, self.w, self.slots = rule, w, slots
        self.history = np.empty((LONGEST, len(rule.numbers)), w.dtype)
        self.steps = 0  # in the history
        self.largest = np.zeros(len(rule.numbers), w.dtype)  # of each number in the history
        self.applied = np.zeros(len(w), np.int64)  # of these steps, by row
        # Of a weight: a quarter of half a unit in its last place, where that is smallest.
        self.small = np.finfo(w.dtype).eps / (16 if fades else np.inf)

    def step(self, g: np.ndarray, moment: np.ndarray, numbers: np.ndarray, ids: np.ndarray) -> Job:
        """Defer a step of all rows but `ids` (U,), each there once, and return what takes it with these.

        `g` and `moment`, (U, D), may be filled until it does.
        """
        self.flush(None if self.steps == LONGEST else ids)
        self.history[self.steps] = numbers
        self.largest = np.maximum(self.largest, numbers) if self.steps else numbers
        self.steps += 1
        self.applied[ids] = self.steps
        return step_rows(self.rule, self.w, self.slots, g, moment, numbers, ids)

    def pending(self, ids: np.ndarray) -> list[Job]:
        """Return what takes the pending updates of the rows `ids`, each there once: nothing where there are none."""
        behind = self.steps * len(ids) - int(self.applied[ids].sum())
        if not behind:
            return []
        arrays = (self.history[: self.steps], self.applied, ids, self.largest, self.small)
        work = behind * self.w.shape[1] * FLOPS
        return [Job(_compiled(self.rule).catch_up, (self.w, *self.slots, *arrays), SHARDS, work)]

    def flush(self, ids: np.ndarray | None = None) -> None:
        """Take the pending updates of the rows `ids`, each there once; by default of all."""
        if self.steps:
            pool.run(*self.pending(np.arange(len(self.w)) if ids is None else ids))
        if ids is None:
            self.steps, self.applied[:] = 0, 0
