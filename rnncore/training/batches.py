"""Where batches come from: arrays, ragged rows, objects that make them by their number, generators.

A `Source` gives them one after another, and can go back to where a cut run stood.
"""

from __future__ import annotations

import inspect
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..layers.checks import whole
from .data import UNMASKED, Batch, Table, checked

NEAR = 50  # batches whose rows are shuffled, then sorted by length together
EMPTY = "x gives no batch; expected at least one"


class Source:
    """Base of what gives batches. A pass goes through the data once; an epoch may take less, or end in the next pass.

    Attributes
    ----------
    steps : int or None
        Batches in a pass, if that is known.
    ragged : bool
        Whether rows are padded a batch at a time, so that batches have different lengths.
    continues : bool
        Whether a new evaluation goes on where the last one ended; otherwise it begins with the first batch.
    remembers : tuple of str
        What says which batch comes next.
    """

    steps: int | None = None
    ragged = False
    continues = False
    remembers: tuple[str, ...] = ()

    def __init__(self, hooks: Any = None):
        self.epochs = 0  # that have ended
        self._hooks = hooks

    def sample(self) -> Table:
        """Return samples to build a model by and to check beforehand: all, or those of a first batch."""
        raise NotImplementedError

    def ready(self, anew: bool, generator: np.random.Generator | None = None) -> bool:
        """Begin a pass if the last one is through, or `anew` if that is possible; return whether a batch is there.

        `generator` draws the pass's order; None: as it comes.
        """
        raise NotImplementedError

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Batch:
        raise NotImplementedError

    def begin_epoch(self, anew: bool = True, generator: np.random.Generator | None = None) -> bool:
        """Tell the user's object, if it wants to know; the rest is `ready`."""
        self._tell("on_epoch_begin")
        return self.ready(anew, generator)

    def end_epoch(self) -> None:
        """Count the epoch, and tell the user's object."""
        self.epochs += 1
        self._tell("on_epoch_end")

    def get_state(self) -> dict[str, Any]:
        """Return what says which batch comes next, in plain values and arrays."""
        return {name: getattr(self, name) for name in ("epochs", *self.remembers)}

    def set_state(self, state: Mapping[str, Any], under_way: bool, epochs: int, most: int | None) -> None:
        """Go to where `get_state` was called, in an epoch `under_way` or between two.

        The user's object is told of as many epochs as it was. That, and what is drawn from it again, is no more than
        `epochs`, those that have ended, and `most`, the batches that may have been taken, if they were counted out:
        the state may come from anyone.

        Raises
        ------
        ValueError
            Other data, or no such state.
        """
        if set(state) != set(self.get_state()):
            raise ValueError("training was cut with another kind of data")
        if whole(state["epochs"], "epochs") > epochs:
            raise ValueError(f"epochs is {state['epochs']}; its History has {epochs}")
        self._go_to(state, epochs, most)
        for _ in range(whole(state["epochs"], "epochs") if self._hooks is not None else 0):
            self._tell("on_epoch_begin")
            self._tell("on_epoch_end")
        if under_way:
            self._tell("on_epoch_begin")
        self.epochs = whole(state["epochs"], "epochs")

    def _tell(self, hook):
        if hasattr(self._hooks, hook):
            getattr(self._hooks, hook)()

    def _go_to(self, state, epochs, most):
        raise NotImplementedError

    def restored(self, outputs: Sequence[np.ndarray], by_step: bool) -> np.ndarray | list[np.ndarray]:
        """Return the outputs for a pass's batches, an output a sample, in the order in which the samples were given.

        `by_step`: it has the steps of its sample. Where shapes differ, it is a list.
        """
        return joined(outputs)

    def close(self) -> None:
        """Close what this object has opened."""


class _Numbered(Source):
    """Base of the sources whose batches have numbers, so that any of them can be had at once.

    Parameters
    ----------
    unit : str
        What `count` counts, for messages.
    count, size : int
        All of them; those in a batch.
    """

    remembers = ("unit", "count", "size", "order", "taken")

    def __init__(self, unit: str, count: int, size: int, hooks: Any = None):
        super().__init__(hooks)
        self.unit, self.count, self.size = unit, count, size
        self.steps = -(-count // size)
        self.order: np.ndarray | None = None  # None: as they come
        self.taken = self.steps  # batches of the pass

    def ready(self, anew, generator=None):
        if anew or self.taken >= self.steps:
            self.order, self.taken = self.new_order(generator), 0
        return self.steps > 0

    def new_order(self, generator: np.random.Generator | None) -> np.ndarray | None:
        """Return the order of a pass."""
        return None if generator is None else generator.permutation(self.count)

    def __next__(self):
        if self.taken >= self.steps:
            raise StopIteration
        rows = slice(self.taken * self.size, (self.taken + 1) * self.size)
        self.taken += 1
        return self.batch(rows if self.order is None else self.order[rows])

    def batch(self, rows: slice | np.ndarray) -> Batch:
        """Return the batch of some of what is counted."""
        raise NotImplementedError

    def _go_to(self, state, epochs, most):
        for what in ("{count} {unit}", "{size} {unit} a batch"):
            before, now = (what.format(**values) for values in (state, vars(self)))
            if before != now:
                raise ValueError(f"training was cut with {before}; now there are {now}")
        order = state["order"]
        if order is not None and (order.dtype != np.int64 or not np.array_equal(np.sort(order), np.arange(self.count))):
            raise ValueError(f"the pass's order is none of {self.count} {self.unit}")
        self.order, self.taken = order, min(whole(state["taken"], "taken"), self.steps)


class Samples(_Numbered):
    """The batches of a table.

    Parameters
    ----------
    table : Table
    size : int
        B; the last batch of a pass may be smaller.
    sort : bool
        Whether ragged rows come by their length, where they are not shuffled.
    """

    def __init__(self, table: Table, size: int, sort: bool = False):
        super().__init__("samples", len(table), size)
        self.table, self.sort, self.ragged = table, sort, table.lengths is not None
        if self.ragged and size > 1 and table.padding is None:
            raise ValueError(UNMASKED)

    def sample(self):
        return self.table

    def batch(self, rows):
        return self.table[rows].arrays()

    def new_order(self, generator):
        order = super().new_order(generator)
        if not self.ragged or (order is None and not self.sort):
            return order
        return np.argsort(self.table.lengths, kind="stable") if order is None else self._near(order, generator)

    def _near(self, order, generator):
        """Bring rows of nearly the same length together; the batches keep a random order, a smaller one is last."""
        full = self.count - self.count % self.size
        chunks = np.array_split(order[:full], range(NEAR * self.size, full, NEAR * self.size))
        batches = [chunk[np.argsort(self.table.lengths[chunk], kind="stable")] for chunk in chunks]
        batches = generator.permutation(np.concatenate(batches).reshape(-1, self.size))
        return np.concatenate([batches.reshape(-1), order[full:]])

    def restored(self, outputs, by_step):
        if not self.ragged:
            return super().restored(outputs, by_step)
        order = np.arange(self.count) if self.order is None else self.order
        rows = joined(outputs)
        if by_step:  # without those of the padding
            rows = [row[:length] for row, length in zip(rows, self.table.lengths[order], strict=True)]
        back = np.argsort(order)
        return rows[back] if isinstance(rows, np.ndarray) else [rows[n] for n in back]


class Made(_Numbered):
    """The batches of an object that makes them by their number.

    Parameters
    ----------
    check : callable
        Makes a table of what the object returns.
    given : object
        With ``__getitem__``, and perhaps ``on_epoch_begin`` and ``on_epoch_end``.
    count : int
    """

    def __init__(self, check: Callable[[Any], Table], given: Any, count: int):
        super().__init__("batches", count, 1, given)
        self._check, self._given = check, given

    def sample(self):
        if not self.count:
            raise ValueError(EMPTY)
        return self._check(self._given[0])

    def batch(self, rows):
        number = rows.start if isinstance(rows, slice) else int(rows[0])
        return self._check(self._given[number]).arrays()


class Stream(Source):
    """The batches of a generator or another iterable; a pass asks it for an iterator.

    A generator is its own iterator, and is left open: it can be gone on with. Going back to where a cut run stood draws
    all batches from the beginning up to there.

    Parameters
    ----------
    check : callable
        Makes a table of what the iterator gives.
    given : iterable
    hooks : object, optional
        With ``on_epoch_begin`` and ``on_epoch_end``.
    """

    remembers = ("passes", "taken")
    continues = True

    def __init__(self, check: Callable[[Any], Table], given: Iterable[Any], hooks: Any = None):
        super().__init__(hooks)
        self._check, self._given = check, given
        self._iterator: Any = None
        self._ahead: list[Any] = []  # a batch that was looked at, and not taken
        self.passes, self.taken = 0, 0
        self.steps = operator.length_hint(given, 0) or None

    def sample(self):
        if not self.ready(False):
            raise ValueError(EMPTY)
        return self._check(self._ahead[0])

    def ready(self, anew, generator=None):
        if self._iterator is None:
            self._open()
        if not self._look():
            self.passes, self.taken = self.passes + 1, 0
            self._open()
        return self._look()

    def __next__(self):
        try:
            item = self._next()
        except StopIteration:
            self.steps = self.taken or None  # a pass was that long
            raise
        self.taken += 1
        return self._check(item).arrays()

    def _open(self):
        iterator = iter(self._given)
        if iterator is not self._iterator:
            self.close()
            self._iterator = iterator

    def _look(self):
        if not self._ahead:
            self._ahead = list(itertools.islice(self._iterator, 1))
        return bool(self._ahead)

    def _next(self):
        return self._ahead.pop() if self._ahead else next(self._iterator)

    def _go_to(self, state, epochs, most):
        self.passes, self.taken = whole(state["passes"], "passes"), whole(state["taken"], "taken")
        left = math.inf if most is None else most
        if self.passes > epochs + 1 or self.taken > left:  # an epoch begins one pass at most
            raise ValueError(
                f"training was cut in pass {self.passes + 1} after {self.taken} batches; "
                f"{epochs} epochs" + (f", and {most} batches in all," if most is not None else "") + " have not so many"
            )
        for _ in range(self.passes):  # where batches were not counted out, training needs a pass that ends
            self._ahead, left = [], left - len(self._ahead)
            for _ in self._iterator:
                left -= 1
                if left < 0:
                    raise ValueError(
                        f"training was cut after {self.passes} passes; there is one of over {most} batches"
                    )
            self._open()
        for n in range(self.taken):
            if not self._look():
                raise ValueError(f"training was cut after {self.taken} batches; now there are {n}")
            self._next()

    def close(self):
        if self._iterator is not self._given:
            self._ahead = []
            if hasattr(self._iterator, "close"):
                self._iterator.close()
            self._iterator = None


def source(
    model: Any,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    steps: int | None = None,
    label: str = "",
    sort: bool = False,
    targets: bool = False,
) -> Source:
    """Return the batches of what a user gave.

    Parameters
    ----------
    model : Trainer
    x : array_like, ragged list or Table, or object with ``__len__`` and ``__getitem__``, or iterable
        The latter two give batches, (x,), (x, y) or (x, y, sample_weight), themselves; y and sample_weight are left
        out then, and `batch_size` has no meaning.
    y, sample_weight : array_like or ragged list, optional
    batch_size : int, optional
        Default: 32, or what makes `steps` batches.
    steps : int, optional
        How many batches are wanted.
    label : str
        What stands before names in messages.
    sort : bool
        Whether ragged rows come by their length; of arrays, only those are taken that are in the `steps` batches.
    targets : bool
        Whether each batch that x gives must have a y.

    Raises
    ------
    ValueError, TypeError
    """
    if inspect.isroutine(x):
        hint = ", as what it returns when it is called" if inspect.isgeneratorfunction(x) else ""
        raise TypeError(f"{label}x is a function, {x.__qualname__}; expected samples, or what gives batches{hint}")
    if not gives_batches(x):
        table = x if isinstance(x, Table) else checked(model, x, y, sample_weight, label)
        size = batch_size or (-(-len(table) // steps) if steps else 32)
        return Samples(table[: steps * size] if steps and sort else table, size, sort)
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(f"{label}{name} came beside a {type(x).__name__}, which gives it with each batch itself")

    def check(batch):
        parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(f"{label}a batch has {len(parts)} parts; expected (x,), (x, y) or (x, y, sample_weight)")
        table = checked(model, *parts, label=label)
        if targets and table.columns[1] is None:
            raise ValueError(
                f"{label}y is None; the loss needs targets: expected (x, y) or (x, y, sample_weight) in each batch"
            )
        return table

    if not hasattr(x, "__getitem__"):
        return Stream(check, x)
    count = x.num_batches if hasattr(x, "num_batches") else len(x)
    if count is None:
        return Stream(check, map(x.__getitem__, itertools.count()), hooks=x)
    return Made(check, x, count)


def gives_batches(x: Any) -> bool:
    """Whether x gives batches itself; otherwise it holds samples."""
    if x is None or isinstance(x, (list, tuple, str, bytes, range, Mapping, Table)) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__iter__") or (
        hasattr(x, "__getitem__") and (hasattr(x, "num_batches") or hasattr(x, "__len__"))
    )


def joined(outputs: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """Return the rows of all batches in one array, or where their shapes differ, in a list."""
    if len({output.shape[1:] for output in outputs}) == 1:
        return np.concatenate(outputs)
    return [row for output in outputs for row in output]
