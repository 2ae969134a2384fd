"""Learning rates that follow the step, with Keras's names and arguments; users find them as `optimizers.schedules`.

A schedule is a function of s, the number of steps taken so far: a whole number, or an array of them for a plot. All
is computed in float64 (Keras: float32), so values differ from Keras's in the seventh digit.

References
----------
.. [1] I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017
"""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..configured import Configured, resolve


class LearningRate(float):
    """The number that an optimizer's ``learning_rate`` is, with what Keras's variable has; a copy is a plain float."""

    _owner: Any

    def __new__(cls, value: float, owner: Any):
        made = super().__new__(cls, value)
        made._owner = owner
        return made

    def assign(self, value: float) -> None:
        """Give the optimizer another learning rate."""
        self._owner.learning_rate = value

    def numpy(self) -> np.float64:
        """Return the number."""
        return np.float64(self)

    def __reduce__(self):
        return float, (float(self),)


class LearningRateSchedule(Configured):
    """Base of the schedules: one of your own keeps its arguments in attributes of their names and is called."""

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of the step that follows `step` others; an array's for an array."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__(step)")


class _Decay(LearningRateSchedule):
    """What most share: a rate at first, and the steps that it takes to change, checked to be above 0."""

    def __init__(self, initial_learning_rate: float, decay_steps: int, name: str | None = None):
        _check_above_zero("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.name = name or type(self).__name__


class _Staircase(_Decay):
    """A decay by s / decay_steps, or with `staircase` by the whole part of it."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ):
        super().__init__(initial_learning_rate, decay_steps, name)
        self.decay_rate, self.staircase = decay_rate, bool(staircase)

    def _periods(self, step):
        periods = np.divide(step, self.decay_steps)
        return np.floor(periods) if self.staircase else periods


class ExponentialDecay(_Staircase):
    """initial_learning_rate * decay_rate^(s / decay_steps).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Above 0.
    decay_rate : float
    staircase : bool
        Take the whole part of s / decay_steps.
    name : str, optional
    """

    def __call__(self, step):
        return self.initial_learning_rate * np.power(float(self.decay_rate), self._periods(step))


class InverseTimeDecay(_Staircase):
    """initial_learning_rate / (1 + decay_rate * s / decay_steps); parameters of `ExponentialDecay`."""

    def __call__(self, step):
        return self.initial_learning_rate / (1 + self.decay_rate * self._periods(step))


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] while s <= boundaries[0], then values[1] while s <= boundaries[1], and so on.

    Parameters
    ----------
    boundaries : sequence of int
        Ascending.
    values : sequence of float
        One more than boundaries.
    name : str

    Raises
    ------
    ValueError
        Numbers of boundaries and values do not fit, or boundaries do not ascend.
    """

    def __init__(self, boundaries: Sequence[int], values: Sequence[float], name: str = "PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"there are {len(boundaries)} boundaries and {len(values)} values; expected one value more"
            )
        for argument, given in (("boundaries", boundaries), ("values", values)):
            if not all(isinstance(number, numbers.Real) for number in given):
                raise ValueError(f"{argument} is {list(given)!r:.200}; expected numbers")
        if list(boundaries) != sorted(boundaries):
            raise ValueError(f"boundaries is {list(boundaries)}; expected ascending steps")
        self.boundaries, self.values, self.name = list(boundaries), list(values), name

    def __call__(self, step):
        return np.asarray(self.values, float)[np.searchsorted(self.boundaries, step, side="left")]


class PolynomialDecay(_Decay):
    """(initial_learning_rate - end_learning_rate) * (1 - s / decay_steps)^power + end_learning_rate.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Above 0.
    end_learning_rate : float
    power : float
    cycle : bool
        After decay_steps begin anew, each time with decay_steps stretched to their next multiple; otherwise
        stay at the end.
    name : str, optional
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = None,
    ):
        super().__init__(initial_learning_rate, decay_steps, name)
        self.end_learning_rate, self.power, self.cycle = end_learning_rate, power, bool(cycle)

    def __call__(self, step):
        done = np.divide(step, self.decay_steps)
        done = done / np.maximum(1, np.ceil(done)) if self.cycle else np.minimum(done, 1)
        return (self.initial_learning_rate - self.end_learning_rate) * (1 - done) ** self.power + self.end_learning_rate


class CosineDecay(_Decay):
    """Half a cosine wave from the first rate to `alpha` times it [1]_, after a straight warm-up if there is one.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Above 0; the warm-up's come before them.
    alpha : float
        The share of the rate that is left at the end.
    name : str, optional
    warmup_target : float, optional
        The rate to climb to from `initial_learning_rate`, and to decay from.
    warmup_steps : int
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str | None = None,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        super().__init__(initial_learning_rate, decay_steps, name)
        self.alpha, self.warmup_target, self.warmup_steps = alpha, warmup_target, warmup_steps

    def __call__(self, step):
        start, top, warmup = self.initial_learning_rate, self.warmup_target, self.warmup_steps
        if top is None:  # no warm-up, whatever its steps: as Keras
            top, warmup = start, 0
        climbing = start + (top - start) * np.divide(step, max(1, warmup))
        done = np.clip((np.asarray(step) - warmup) / self.decay_steps, 0, 1)
        return np.where(np.asarray(step) < warmup, climbing, top * _half_cosine(done, self.alpha))[()]


class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine wave down, again and again, each `t_mul` times longer and `m_mul` times lower [1]_.

    Parameters
    ----------
    initial_learning_rate : float
    first_decay_steps : int
        Above 0.
    t_mul : float
        At least 1.
    m_mul : float
    alpha : float
        The share of the rate that is left at the end of a period.
    name : str
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ):
        _check_above_zero("first_decay_steps", first_decay_steps)
        if not t_mul >= 1:
            raise ValueError(f"t_mul is {t_mul!r}; expected a number of at least 1: periods that shrink have an end")
        self.initial_learning_rate, self.first_decay_steps = initial_learning_rate, first_decay_steps
        self.t_mul, self.m_mul, self.alpha, self.name = t_mul, m_mul, alpha, name

    def __call__(self, step):
        done = np.divide(step, self.first_decay_steps)
        if self.t_mul == 1:
            restarts = np.floor(done)
            done = done - restarts
        else:
            # n periods last 1 + t_mul + ... = (t_mul^n - 1) / (t_mul - 1) first ones. The logarithm of a whole
            # number of periods may come out a rounding error short of it.
            restarts = np.floor(np.log(1 + done * (self.t_mul - 1)) / np.log(self.t_mul) + 1e-9)
            length = np.power(float(self.t_mul), restarts)
            done = (done - (length - 1) / (self.t_mul - 1)) / length
        return self.initial_learning_rate * _half_cosine(done, self.alpha, np.power(float(self.m_mul), restarts))


def _half_cosine(done, alpha, height=1.0):
    """Return `height` at done = 0 and 0 at 1, along a cosine, lifted to end at `alpha`."""
    return (1 - alpha) * height * (1 + np.cos(np.pi * done)) / 2 + alpha


def _check_above_zero(name: str, value: Any) -> None:
    if not value > 0:
        raise ValueError(f"{name} is {value!r}; expected a number above 0")


def at(rate: Callable[..., Any], step: int) -> float:
    """Return what a schedule, or a function of the step or of nothing, gives for `step`."""
    takes_step = isinstance(rate, LearningRateSchedule) or inspect.signature(rate).parameters
    return np.asarray(rate(step) if takes_step else rate()).item()


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """Return a schedule in plain values: its class and its config."""
    return learning_rate_schedule.describe()


def deserialize(config: Mapping[str, Any]) -> LearningRateSchedule:
    """Return the schedule that `serialize` described.

    Raises
    ------
    ValueError, TypeError
        There is no schedule of that name; `config` is something else.
    """
    return resolve(config, _NAMES, LearningRateSchedule, "schedule")


_CLASSES = (
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
    CosineDecay,
    CosineDecayRestarts,
)
_NAMES = {cls.__name__: cls for cls in _CLASSES}
