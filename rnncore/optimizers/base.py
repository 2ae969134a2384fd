"""The base of the optimizers: options, slots and state, and what a step does around an update."""

from __future__ import annotations

import inspect
import math
import numbers
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from .. import config
from ..compiler import pool
from ..configured import Configured, snake_case
from ..copies import Copied
from ..kernels import updates
from ..layers.checks import check_finite
from ..sparse import SparseGradient
from ..unsupported import without_effect
from . import schedules
from .steps import Deferred, Gradient, by_numpy, compiled

AT_LEAST_ZERO, ABOVE_ZERO = "of at least 0", "above 0"
BELOW_ONE, TO_ONE, ABOVE_ZERO_TO_ONE = (
    "of at least 0 and below 1",
    "of at least 0 and at most 1",
    "above 0 and at most 1",
)
RANGES: dict[str, Callable[[Any], bool]] = {
    AT_LEAST_ZERO: lambda value: value >= 0,
    ABOVE_ZERO: lambda value: value > 0,
    BELOW_ONE: lambda value: 0 <= value < 1,
    TO_ONE: lambda value: 0 <= value <= 1,
    ABOVE_ZERO_TO_ONE: lambda value: 0 < value <= 1,
}


class Optimizer(Copied, Configured):
    """Base of the optimizers.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
        At least 0; may be set later (``optimizer.learning_rate = 1e-4``, or ``.assign(1e-4)`` of it). A schedule (see
        `schedules`) or a plain function takes the number of steps before this one, batches that were only accumulated
        included. (Keras calls a plain function with nothing; one without parameters is called so here too.)
    weight_decay : float, optional
        Decoupled [5]_, in every optimizer: before the update w shrinks by ``w * weight_decay * lr``.
    clipnorm : float, optional
        A gradient whose norm is above this is scaled down to it, each by itself.
    clipvalue : float, optional
        Entries are clipped to [-clipvalue, clipvalue].
    global_clipnorm : float, optional
        All gradients are scaled down together so that their common norm is no more than this. At most one
        of the three may be given.
    use_ema : bool
        Keep an exponential moving average of every array [10]_, ``a = ema_momentum * a + (1 - ema_momentum) * w``
        after each call, from the first weights that a step left. `finalize_variable_values` puts it in their place.
    ema_momentum : float
        From 0 to 1.
    ema_overwrite_frequency : int, optional
        After every so many updates the arrays become their averages.
    gradient_accumulation_steps : int, optional
        At least 2: only every so manieth call updates, with the mean of the gradients since the last update. Clips
        apply to that mean, averages are still taken at each call. A `SparseGradient` is added up densely.
    name : str, optional
    loss_scale_factor : None
        There for Keras's signature: there is no half precision to scale for.

    Raises
    ------
    ValueError
        A number out of its range (checked by each class), or more than one way to clip.
    """

    # Whether a gradient of 0 leaves weight and slots as they are, so that untouched rows need no work.
    ignores_zeros = False
    # Whether, while the gradient is 0, a weight's change never grows from step to step, but as a step's numbers grow.
    fades = False
    # What the classes' own numbers may be.
    ranges: ClassVar[Mapping[str, str]] = {
        "beta_1": BELOW_ONE,
        "beta_2": BELOW_ONE,
        "epsilon": ABOVE_ZERO,
        "initial_accumulator_value": AT_LEAST_ZERO,
        "momentum": TO_ONE,
        "rho": BELOW_ONE,
    }

    unkept = ("loss_scale_factor",)
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None

    def __init__(
        self,
        learning_rate: float | Callable[[int], float],
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        loss_scale_factor: float | None = None,
    ):
        without_effect(type(self), {"loss_scale_factor": loss_scale_factor})
        self._calls = 0
        self._learning_rate: float | Callable[[int], float] = 0.0
        self.learning_rate = learning_rate  # the setter takes more than the getter gives
        self.weight_decay = None if weight_decay is None else number("weight_decay", weight_decay)
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {clip: limit for clip, limit in clips.items() if limit is not None}
        for clip in clips:
            setattr(self, clip, number(clip, given[clip], ABOVE_ZERO) if clip in given else None)
        if len(given) > 1:
            raise ValueError(f"of clipnorm, clipvalue and global_clipnorm one may be given; got {given}")
        self.use_ema, self.ema_momentum = bool(use_ema), number("ema_momentum", ema_momentum, TO_ONE)
        self.ema_overwrite_frequency = _count("ema_overwrite_frequency", ema_overwrite_frequency, 1)
        self.gradient_accumulation_steps = _count("gradient_accumulation_steps", gradient_accumulation_steps, 2)
        self.name = name or snake_case(type(self).__name__)
        self._own: tuple[str, ...] = ()  # names of the class's own numbers
        self._undecayed: tuple[list[np.ndarray], str] = [], ""  # arrays, and a pattern of names
        self._decays: list[bool] = []  # whether weight_decay is for the array of that number
        self._arrays: list[np.ndarray] | None = None
        self._slots: list[dict[str, np.ndarray]] = []
        self._kept: list[dict[str, np.ndarray]] = []  # the base's own: "average", "gradient_accumulator"
        self._deferred = Deferred()

    def keep(self, **values: float) -> None:
        """Make a class's own numbers attributes, each held to its range, or raise ValueError."""
        for name, value in values.items():
            setattr(self, name, number(name, value, self.ranges[name]))
        self._own = tuple(values)

    @property
    def built(self) -> bool:
        """Whether there are slots: since `build`, or the first step."""
        return self._arrays is not None

    @property
    def arrays(self) -> list[np.ndarray]:
        """The arrays that there are slots of, in the order of the slots' numbers. May be set, to copies of them."""
        return list(self._arrays or ())

    @arrays.setter
    def arrays(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = list(arrays)

    @property
    def iterations(self) -> int:
        """Updates taken; calls that only accumulated are not counted."""
        return self._calls // (self.gradient_accumulation_steps or 1)

    @property
    def learning_rate(self) -> schedules.LearningRate:
        """The learning rate of the next step.

        Raises
        ------
        TypeError
            A number is set where a schedule or function was given.
        ValueError
            A number below 0, also if a schedule returns it.
        """
        if callable(self._learning_rate):
            value = schedules.at(self._learning_rate, self._calls)
            return schedules.LearningRate(number(f"learning_rate at step {self._calls}", value), self)
        return schedules.LearningRate(self._learning_rate, self)

    @learning_rate.setter
    def learning_rate(self, value: float | Callable[[int], float] | Mapping[str, Any]) -> None:
        if isinstance(value, Mapping):
            value = schedules.deserialize(value)
        if not callable(value):
            value = number("learning_rate", value)
            if callable(self._learning_rate):
                raise TypeError(f"learning_rate is {self._learning_rate!r} and cannot be set to the number {value!r}")
        self._learning_rate = value

    # --- what a class states -----------------------------------------------------------------------------------

    def slots(self) -> dict[str, float]:
        """Return the names of the arrays kept beside each weight, and what fills them at first."""
        raise NotImplementedError

    @staticmethod
    def update(w: np.ndarray, g: np.ndarray, *slots_and_numbers: Any) -> Any:
        """Return the new w and slots: a plain elementwise function, whose arguments' names say what they get.

        `kernels.updates` has the list of names. NumPy runs the update of a class of your own.
        """
        raise NotImplementedError

    def numbers(self, lr: float, t: int, exact: type[np.floating]) -> dict[str, float]:
        """Return the numbers that update `t` may ask for, by name; `exact` is the weights' precision."""
        return {"lr": lr}

    def counters(self) -> dict[str, float]:
        """Return the names of attributes that are numbers changed by `advance`, and what they start from."""
        return {}

    def advance(self, t: int) -> None:
        """Go on to update number `t`, once for all arrays: before the first of them is updated."""

    # --- a step ------------------------------------------------------------------------------------------------

    def exclude_from_weight_decay(self, var_list: Sequence[np.ndarray] = (), var_names: Sequence[str] = ()) -> None:
        """Leave arrays out of the weight decay; a call takes the place of the one before. A file does not keep it.

        Parameters
        ----------
        var_list : sequence of ndarray
            The arrays themselves, as a built layer has them (``layer.bias``).
        var_names : sequence of str
            Regular expressions that are searched for in the names of a model's weights, with those of model and layer
            before them: ``["bias", "dense/kernel"]``.

        Raises
        ------
        ValueError
            There are slots already.
        """
        if self.built:
            raise ValueError(f"{self.name}: exclude_from_weight_decay came after the first step; call it before")
        self._undecayed = list(var_list or ()), "|".join(var_names or ())

    def build(self, arrays: Iterable[np.ndarray], names: Sequence[str] | None = None) -> None:
        """Make the slots of `arrays`; the first `apply_gradients` does it where this was not called.

        `names` are those of the arrays, for `exclude_from_weight_decay`.

        Raises
        ------
        ValueError
            There is something else than a writeable float32 or float64 array.
        """
        arrays = list(arrays)
        _check_usable(arrays)
        left, pattern = self._undecayed
        if pattern and names is None:
            raise ValueError(f"{self.name}: var_names is {pattern!r}, but these arrays have no names; give var_list")
        undecayed = set(map(_memory, left))
        self._decays = [
            not (_memory(array) in undecayed or (pattern and re.search(pattern, name)))
            for array, name in zip(arrays, names or [""] * len(arrays), strict=True)
        ]
        self._deferred.flush()
        uses = {"average": self.use_ema, "gradient_accumulator": self.gradient_accumulation_steps}
        kept = {name: 0.0 for name, use in uses.items() if use}
        self._slots, self._kept = (
            [{name: np.full_like(a, fill) for name, fill in fills.items()} for a in arrays]
            for fills in (self.slots(), kept)
        )
        dtype = arrays[0].dtype if arrays else np.dtype(float)
        for name, start in self.counters().items():
            setattr(self, name, dtype.type(start))
        self._arrays, self._deferred = arrays, Deferred()

    def apply_gradients(self, gradients_and_arrays: Iterable[tuple[Gradient | None, np.ndarray]]) -> None:
        """Take one step, in place.

        Parameters
        ----------
        gradients_and_arrays : iterable of (gradient, array)
            Arrays of float32 or float64, of any shape: those of the first step, in any order. Slots belong to the
            array, not to its position. Arrays that are left out, as those of a layer with ``trainable = False``,
            stay as they are with their slots (moving averages go on). A gradient has its array's shape. A
            `SparseGradient` does what the dense gradient would, and none is made, but for what Keras on TensorFlow
            does otherwise with rows looked up more than once: they are clipped one by one, and a second moment
            takes the sum of their squares. A gradient of None leaves its array and slots alone, weight decay
            included.

        Raises
        ------
        ValueError
            A shape does not fit, or an array was not there in the first step. Nothing has changed then.
        """
        pairs = list(gradients_and_arrays)
        gradients, rate = self._checked(pairs), self._learning_rate
        lr = self.learning_rate if callable(rate) else rate
        if self._arrays is None:
            self.build(map(operator.itemgetter(1), pairs))
        t, steps = self.iterations + 1, self.gradient_accumulation_steps
        if steps:
            gradients = self._accumulated(gradients)
        if not steps or (self._calls + 1) % steps == 0:
            clips = self.clipvalue or self.clipnorm or self.global_clipnorm
            self._update(self._clipped(gradients) if clips else gradients, lr, t)
            for kept in self._kept if steps else ():
                kept["gradient_accumulator"][...] = 0
        if self.use_ema:
            self._average(t, [array for _, array in pairs])
        self._calls += 1

    def _checked(self, pairs: Sequence[tuple[Any, np.ndarray]]) -> list[Gradient | None]:
        """Return a gradient, or None, for each array that there are slots of, in its dtype; or raise ValueError."""
        arrays = list(map(operator.itemgetter(1), pairs))
        if self._arrays is None:
            _check_usable(arrays)
        own = arrays if self._arrays is None else self._arrays
        same = len(own) == len(arrays) and all(map(operator.is_, arrays, own))
        found: list[Gradient | None] = [None] * len(own)
        for i, place in enumerate(range(len(own)) if same else self.places(arrays)):
            gradient, array = pairs[i]
            if gradient is None:
                continue
            if not isinstance(gradient, SparseGradient):
                gradient = np.asarray(gradient)
            if gradient.shape != array.shape:
                raise ValueError(f"gradient {i} has shape {gradient.shape}; its array has shape {array.shape}")
            rows = gradient.rows if isinstance(gradient, SparseGradient) else gradient
            found[place] = gradient if rows.dtype == array.dtype else gradient.astype(array.dtype)
        return found

    def _update(self, gradients: Sequence[Gradient | None], lr: float, t: int) -> None:
        """Take update `t` with a gradient, or None, for each array."""
        if type(self).advance is not Optimizer.advance:
            self.advance(t)
        rule = updates.rule(self.update, frozenset(self._slots[0] if self._slots else ()))
        on_numba = config.backend() == "numba"
        by_kind: dict[tuple[np.dtype, float], np.ndarray] = {}
        jobs = []
        for i, (gradient, array, own) in enumerate(zip(gradients, self._arrays or (), self._slots, strict=True)):
            if gradient is None:
                continue
            decay = (self.weight_decay or 0.0) * self._decays[i]
            kind, every = (array.dtype, decay), bool(decay or not self.ignores_zeros)
            if kind not in by_kind:
                given = {**self.numbers(lr, t, array.dtype.type), "decay": decay * lr}
                if not given.keys() >= set(rule.numbers):
                    asked, had = set(rule.numbers) - given.keys(), sorted(given)
                    raise ValueError(f"{self.name}: update asks for {asked}; slots are {rule.slots}, numbers {had}")
                by_kind[kind] = np.array(list(map(given.__getitem__, rule.numbers)), array.dtype)
            step = rule, array, list(map(own.__getitem__, rule.slots)), gradient, by_kind[kind], every
            if on_numba and array.flags.c_contiguous and updates.kernels(rule) is not None:
                jobs += compiled(*step, self._deferred, i, self._settings(decay))
            else:
                if self._deferred:
                    self._deferred.flush(i)
                by_numpy(*step)
        pool.run(*jobs)
        if self._deferred:  # what nobody would ask for before reading the table is not left
            for i, gradient in enumerate(gradients):
                if isinstance(gradient, SparseGradient) and (gradient.table is None or self.use_ema):
                    self._deferred.flush(i)

    def _settings(self, decay: float) -> list[Any]:
        """Return whether a weight's change fades, and what a step's numbers are made of beside rate and step."""
        return [self.fades and not decay, decay, *(getattr(self, name) for name in self._own)]

    def _clipped(self, gradients: Sequence[Gradient | None]) -> list[Gradient | None]:
        if (limit := self.clipvalue) is not None:
            return [_mapped(g, lambda rows: np.clip(rows, -limit, limit)) for g in gradients]
        if (limit := self.clipnorm) is not None:
            return [_scaled(g, limit, _norm(g)) for g in gradients]
        if (limit := self.global_clipnorm) is not None:
            norm = math.hypot(*map(_norm, gradients))
            added = (
                g.added_up() if isinstance(g, SparseGradient) else g for g in gradients
            )  # as Keras, after the norm
            return [_scaled(g, limit, norm) for g in added]
        return list(gradients)

    def _accumulated(self, gradients: Sequence[Gradient | None]) -> list[Gradient | None]:
        """Add gradients to what came since the last update, and return the sums' share of a call."""
        for gradient, kept in zip(gradients, self._kept, strict=True):
            if isinstance(gradient, SparseGradient):
                kept["gradient_accumulator"][gradient.unique] += gradient.sums()
            elif gradient is not None:
                kept["gradient_accumulator"] += gradient
        return [
            None if gradient is None else kept["gradient_accumulator"] / self.gradient_accumulation_steps
            for gradient, kept in zip(gradients, self._kept, strict=True)
        ]

    def _average(self, t: int, given: list[np.ndarray]) -> None:
        """Let the averages follow all arrays, and now and then overwrite those that are `given`."""
        overwrites = self.ema_overwrite_frequency and t % self.ema_overwrite_frequency == 0
        overwritten = self.places(given) if overwrites else []
        for i, (array, kept) in enumerate(zip(self.arrays, self._kept, strict=True)):
            momentum = array.dtype.type(self.ema_momentum if t > 1 else 0)
            average = kept["average"]
            average *= momentum
            average += (1 - momentum) * array
            if i in overwritten:
                array[...] = average

    # --- state -------------------------------------------------------------------------------------------------

    def finalize_variable_values(self, arrays: Iterable[np.ndarray]) -> None:
        """Put the moving averages in these arrays' place, as `fit` does at its end; without `use_ema` do nothing.

        Raises
        ------
        ValueError
            An array was in no step.
        """
        if self.use_ema and self._calls:
            for i in self.places(list(arrays)):
                self.arrays[i][...] = self._kept[i]["average"]

    def __getstate__(self):
        self._deferred.flush()
        return {**super().__getstate__(), "_deferred": Deferred()}

    def get_state(self) -> dict[str, np.ndarray]:
        """Return all that a step depends on beside the arguments of the constructor, as copies.

        Returns
        -------
        dict
            ``"iterations"`` (int64, calls that only accumulated included), ``"learning_rate"`` (float64; not for
            a schedule or function, which the step determines), the class's counters, and a ``"{slot}/{i}"`` for
            each slot of array i, moving average and accumulator included, of that array's shape and dtype.
        """
        return {name: array.copy() for name, array in self.state().items()}

    def state(self) -> dict[str, np.ndarray]:
        """Return what `get_state` does, the slots themselves, which the next step changes."""
        self._deferred.flush()
        state = {"iterations": np.array(self._calls, np.int64)}
        if not callable(self._learning_rate):
            state["learning_rate"] = np.array(self._learning_rate, np.float64)
        if self.built:
            state |= {name: np.array(getattr(self, name)) for name in self.counters()}
        return state | dict(self._named_slots())

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `get_state` returned; the optimizer must have been built.

        Raises
        ------
        ValueError
            There are no slots yet, or names, shapes or dtypes are not those of this optimizer's, or something is not
            finite. Nothing has changed then.
        """
        if not self.built:
            raise ValueError(f"state: {self.name} has no slots yet; call build(arrays) first")
        expected = self.state()
        if set(state) != set(expected):
            missing, unknown = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
            raise ValueError(f"state does not fit {self.name}: missing {missing}, unknown {unknown}")
        for key, mine in expected.items():
            new = np.asarray(state[key])
            if new.shape != mine.shape or new.dtype != mine.dtype:
                raise ValueError(f"state[{key!r}] is {new.dtype} {new.shape}; expected {mine.dtype} {mine.shape}")
            check_finite(new, f"state[{key!r}]")
        if state["iterations"] < 0:
            raise ValueError(f"state['iterations'] is {int(state['iterations'])}; expected at least 0")
        if "learning_rate" in expected:
            self.learning_rate = float(state["learning_rate"])
        self._calls = int(state["iterations"])
        for name in self.counters():
            setattr(self, name, expected[name].dtype.type(state[name]))
        for key, slot in self._named_slots():
            slot[...] = state[key]

    @classmethod
    def parameters(cls):
        # The classes hand the common ones on as keywords, out of sight of their own signature.
        own, common = super().parameters(), inspect.signature(Optimizer).parameters
        return own | {name: common[name] for name in common if name not in (*own, *cls.unkept)}

    def argument(self, name):
        return self._learning_rate if name == "learning_rate" else super().argument(name)

    def _named_slots(self) -> Iterator[tuple[str, np.ndarray]]:
        both = zip(self._slots, self._kept, strict=True)
        return ((f"{name}/{i}", slot) for i, pair in enumerate(both) for name, slot in chain(*map(dict.items, pair)))

    def places(self, arrays: Sequence[np.ndarray]) -> list[int]:
        """Return the position that each of `arrays` had when the slots were made.

        Raises
        ------
        ValueError
            There are no slots of one of them, or it is given twice.
        """
        known = {_memory(array): i for i, array in enumerate(self.arrays)}
        places: list[int] = []
        for i, array in enumerate(arrays):
            place = known.get(_memory(array))
            if place is None:
                raise ValueError(
                    f"array {i} is not one of the {len(known)} that {self.name} was built with; "
                    "weights that were not trainable then, or were made since, need a new optimizer"
                )
            if place in places:
                raise ValueError(f"array {i} is given twice")
            places.append(place)
        return places


def _check_usable(arrays: Sequence[Any]) -> None:
    for i, array in enumerate(arrays):
        if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
            found = f"dtype {array.dtype}" if isinstance(array, np.ndarray) else f"type {type(array).__name__}"
            raise ValueError(f"array {i} is of {found}; expected a numpy array of float32 or float64")
        if not array.flags.writeable:
            raise ValueError(f"array {i} is read-only; an optimizer changes arrays in place")


def _memory(array: Any) -> tuple[Any, ...]:
    """Return what two views of the same memory have in common."""
    if not isinstance(array, np.ndarray):
        return (id(array),)
    return (array.ctypes.data, array.shape, array.strides, array.dtype.str)


def _mapped(gradient, change):
    """Return `gradient` with its entries, or those of its rows, changed."""
    if isinstance(gradient, SparseGradient):
        return gradient.mapped(change)
    return None if gradient is None else change(gradient)


def _norm(gradient: Gradient | None) -> float:
    """Return the root of the sum of squares; 0 for None."""
    if gradient is None:
        return 0.0
    return float(np.linalg.norm(np.ravel(gradient.rows if isinstance(gradient, SparseGradient) else gradient)))


def _scaled(gradient, limit: float, norm: float):
    """Return `gradient`, scaled down where `norm` is above `limit`."""
    return gradient if norm <= limit else _mapped(gradient, lambda rows: rows * (limit / norm))


def number(name: str, value: Any, allowed: str = AT_LEAST_ZERO) -> float:
    """Return `value` as a float, or raise ValueError if it is no finite number in the range `allowed`."""
    if not (isinstance(value, numbers.Real) and math.isfinite(value) and RANGES[allowed](value)):
        raise ValueError(f"{name} is {value!r}; expected a number {allowed}")
    return float(value)


def _count(name: str, value: Any, least: int) -> int | None:
    """Return `value` as an int of at least `least`, or None; raise ValueError for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; expected None or a whole number of at least {least}")
    return int(value)
