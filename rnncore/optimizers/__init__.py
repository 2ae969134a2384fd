"""Optimizers: how a gradient changes a weight, in Keras's arithmetic and with its defaults.

An optimizer works in place on plain numpy arrays::

    optimizer.apply_gradients(zip(gradients, arrays))

One call is one step: clip the gradients, decay the arrays, update them. A class states its slots (the arrays it
keeps beside each weight), the numbers of a step, and one elementwise `update`; all else is the base's. NumPy runs the
update on blocks of the arrays that stay in the processor's cache; compiled, it is one loop over all of them, to the
same bits (see `kernels.updates`).

What a step does to the rows of an embedding that it has no gradient for:

=========================  =============================================================================
SGD, Adagrad               nothing: they are left alone
Adam, Nadam, Adamax,       momentum goes on, and fades: made up for when a row is next used or read, and
SGD and RMSprop with       cut short where it no longer changes a weight (Adam and Nadam if beta_1² is
momentum                   below beta_2 or with amsgrad, Adamax if beta_1 is below beta_2)
RMSprop, Adadelta          only slots fade: made up for likewise
Lion, and all with         every row changes at each step: made up for likewise, in full
`weight_decay`
`use_ema`, accumulation,   at once
an update of your own
=========================  =============================================================================

g  gradient    w  weight    t  number of the step, from 1    lr  learning rate

References
----------
.. [1] I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013
.. [2] T. Tieleman, G. Hinton, "Lecture 6.5: RMSprop", 2012
.. [3] D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015
.. [4] S. Reddi et al., "On the convergence of Adam and beyond", 2018
.. [5] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019
.. [6] J. Duchi et al., "Adaptive subgradient methods", 2011
.. [7] M. Zeiler, "ADADELTA: an adaptive learning rate method", 2012
.. [8] T. Dozat, "Incorporating Nesterov momentum into Adam", 2016
.. [9] X. Chen et al., "Symbolic discovery of optimization algorithms", 2023
.. [10] B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992
"""

from __future__ import annotations

import inspect
import math
import numbers
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from .. import config
from ..configured import Configured, described, resolve, snake_case
from ..kernels import threads, updates
from ..kernels.threads import Job
from ..layers.checks import check_finite
from ..sparse import RowGradient
from . import schedules

# Entries updated at a time: a block of the weight, its slots and temporaries fits a core's second-level cache.
BLOCK = 32768


class Optimizer(Configured):
    """Base of the optimizers.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
        At least 0; may be set later (``optimizer.learning_rate = 1e-4``). A schedule (see `schedules`) or a plain
        function takes the number of steps before this one, batches that were only accumulated included. (Keras
        calls a plain function with nothing; one without parameters is called so here too.)
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
        apply to that mean, averages are still taken at each call. A `RowGradient` is added up densely.
    name : str, optional

    Raises
    ------
    ValueError
        A number out of its range (checked by each class), or more than one way to clip.
    """

    # Whether a gradient of 0 leaves weight and slots as they are, so that untouched rows need no work.
    ignores_zeros = False
    # Whether, while the gradient is 0, a weight's change never grows from step to step, but as a step's numbers grow.
    fades = False

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
    ):
        self._calls = 0
        self._learning_rate: float | Callable[[int], float] = 0.0
        self.learning_rate = learning_rate
        self.weight_decay = None if weight_decay is None else _number("weight_decay", weight_decay)
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        for clip, limit in clips.items():
            setattr(self, clip, None if limit is None else _number(clip, limit, above_zero=True))
        given = {clip: limit for clip, limit in clips.items() if limit is not None}
        if len(given) > 1:
            raise ValueError(f"of clipnorm, clipvalue and global_clipnorm one may be given; got {given}")
        self.use_ema, self.ema_momentum = bool(use_ema), _number("ema_momentum", ema_momentum, most=1.0)
        self.ema_overwrite_frequency = _count("ema_overwrite_frequency", ema_overwrite_frequency, 1)
        self.gradient_accumulation_steps = _count("gradient_accumulation_steps", gradient_accumulation_steps, 2)
        self.name = name or snake_case(type(self).__name__)
        self._arrays: list[np.ndarray] | None = None
        self._slots: list[dict[str, np.ndarray]] = []
        self._kept: list[dict[str, np.ndarray]] = []  # the base's own: "average", "gradient_accumulator"
        self._late: dict[int, updates.LateRows] = {}  # by array
        self._settings: list[Any] | None = None  # of the last step

    @property
    def built(self) -> bool:
        """Whether there are slots: since `build`, or the first step."""
        return self._arrays is not None

    @property
    def arrays(self) -> list[np.ndarray]:
        """The arrays that there are slots of, in the order of the slots' numbers."""
        return list(self._arrays or ())

    @property
    def iterations(self) -> int:
        """Updates taken; calls that only accumulated are not counted."""
        return self._calls // (self.gradient_accumulation_steps or 1)

    @property
    def learning_rate(self) -> float:
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
            return _number(f"learning_rate at step {self._calls}", value)
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | Callable[[int], float] | Mapping[str, Any]) -> None:
        if isinstance(value, Mapping):
            value = schedules.deserialize(value)
        if not callable(value):
            value = _number("learning_rate", value)
            if callable(self._learning_rate):
                raise TypeError(f"learning_rate is {self._learning_rate!r} and cannot be set to the number {value!r}")
        self._learning_rate = value

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

    def build(self, arrays: Iterable[np.ndarray]) -> None:
        """Make the slots of `arrays`; the first `apply_gradients` does it where this was not called.

        Raises
        ------
        ValueError
            There is something else than a writeable float32 or float64 array.
        """
        arrays = list(arrays)
        _check_usable(arrays)
        self._settle()
        kept = {"average": self.use_ema, "gradient_accumulator": self.gradient_accumulation_steps}
        kept = {name: 0.0 for name, use in kept.items() if use}
        self._slots, self._kept = (
            [{name: np.full_like(a, fill) for name, fill in fills.items()} for a in arrays]
            for fills in (self.slots(), kept)
        )
        dtype = arrays[0].dtype if arrays else np.dtype(float)
        for name, start in self.counters().items():
            setattr(self, name, dtype.type(start))
        self._arrays, self._late = arrays, {}

    def apply_gradients(
        self, gradients_and_arrays: Iterable[tuple[np.ndarray | RowGradient | None, np.ndarray]]
    ) -> None:
        """Take one step, in place.

        Parameters
        ----------
        gradients_and_arrays : iterable of (gradient, array)
            Arrays of float32 or float64, of any shape: those of the first step, in any order. Slots belong to the
            array, not to its position. Arrays that are left out, as those of a layer with ``trainable = False``,
            stay as they are with their slots (moving averages go on). A gradient has its array's shape. A
            `RowGradient` does what the dense gradient would, and none is made, but for what Keras on TensorFlow
            does otherwise with rows looked up more than once: they are clipped one by one, and a second moment
            takes the sum of their squares. A gradient of None leaves its array and slots alone, weight decay
            included.

        Raises
        ------
        ValueError
            A shape does not fit, or an array was not there in the first step. Nothing has changed then.
        """
        pairs = list(gradients_and_arrays)
        arrays = [array for _, array in pairs]
        if self.built:
            places = self.places(arrays)
        else:
            places = list(range(len(arrays)))
            _check_usable(arrays)
        gradients, lr = _checked_gradients(pairs), self.learning_rate
        if not self.built:
            self.build(arrays)
        if len(places) < len(self._arrays) or places != sorted(places):
            given = dict(zip(places, gradients, strict=True))
            gradients, arrays = [given.get(i) for i in range(len(self._arrays))], self._arrays
        t, steps = self.iterations + 1, self.gradient_accumulation_steps
        if steps:
            gradients = self._accumulated(gradients)
        if not steps or (self._calls + 1) % steps == 0:
            self.advance(t)
            rule = updates.rule(self.update, frozenset(self.slots()))
            settings = [rule, *(v for name, v in vars(self).items() if type(v) is float and name[0] != "_")]
            if settings != self._settings:  # late rows are owed steps of one kind
                self._settle()
                self._settings, self._late = settings, {}
            gradients = self._clipped(gradients)
            numbers_of = {dtype: self._numbers(rule, lr, t, dtype) for dtype in {array.dtype for array in arrays}}
            steps_of_each = (
                self._step(i, gradient, rule, numbers_of[arrays[i].dtype])
                for i, gradient in enumerate(gradients)
                if gradient is not None
            )
            threads.run(*chain.from_iterable(steps_of_each))
            for i, gradient in enumerate(gradients):
                if isinstance(gradient, RowGradient) and (gradient.table is None or self.use_ema):
                    self._settle(i)
            for kept in self._kept if steps else ():
                kept["gradient_accumulator"][...] = 0
        if self.use_ema:
            self._average(t, places)
        self._calls += 1

    def finalize_variable_values(self, arrays: Iterable[np.ndarray]) -> None:
        """Put the moving averages in these arrays' place, as `fit` does at its end; without `use_ema` do nothing.

        Raises
        ------
        ValueError
            An array was in no step.
        """
        if self.use_ema and self._calls:
            for i in self.places(list(arrays)):
                self._arrays[i][...] = self._kept[i]["average"]

    def get_state(self) -> dict[str, np.ndarray]:
        """Return all that a step depends on beside the arguments of the constructor, as copies.

        Returns
        -------
        dict
            ``"iterations"`` (int64, calls that only accumulated included), ``"learning_rate"`` (float64; not for
            a schedule or function, which the step determines), the class's counters, and a ``"{slot}/{i}"`` for
            each slot of array i, moving average and accumulator included, of that array's shape and dtype.
        """
        self._settle()
        rate = {} if callable(self._learning_rate) else {"learning_rate": np.array(self.learning_rate, np.float64)}
        return {
            "iterations": np.array(self._calls, np.int64),
            **rate,
            **({name: np.array(getattr(self, name)) for name in self.counters()} if self.built else {}),
            **{key: slot.copy() for key, slot in self._named_slots()},
        }

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
        expected = self.get_state()
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

    def get_config(self) -> dict[str, Any]:
        # The classes hand these on as keywords, out of sight of their own signature.
        common = {name: getattr(self, name) for name in inspect.signature(Optimizer).parameters}
        return {**super().get_config(), **common, "learning_rate": described(self._learning_rate)}

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
        own = self._arrays or []
        if len(arrays) == len(own) and all(map(operator.is_, arrays, own)):
            return list(range(len(own)))
        known = {_memory(array): i for i, array in enumerate(own)}
        places = [known.get(_memory(array)) for array in arrays]
        for i, place in enumerate(places):
            if place is None:
                raise ValueError(
                    f"array {i} is not one of the {len(own)} that {self.name} was built with; "
                    "weights that were not trainable then, or were made since, need a new optimizer"
                )
            if place in places[:i]:
                raise ValueError(f"array {i} is given twice")
        return places

    def _clipped(self, gradients: list[np.ndarray | RowGradient | None]) -> list[np.ndarray | RowGradient | None]:
        if self.clipvalue is not None:
            return [_mapped(g, lambda rows: np.clip(rows, -self.clipvalue, self.clipvalue)) for g in gradients]
        if self.clipnorm is not None:
            return [_scaled(g, self.clipnorm, _norm(g)) for g in gradients]
        if self.global_clipnorm is not None:
            norm = math.hypot(*map(_norm, gradients))
            added = (g.added_up() if isinstance(g, RowGradient) else g for g in gradients)  # as Keras, after the norm
            return [_scaled(g, self.global_clipnorm, norm) for g in added]
        return gradients

    def _accumulated(self, gradients: list[np.ndarray | RowGradient | None]) -> list[np.ndarray | None]:
        """Add gradients to what came since the last update, and return the sums' share of a call."""
        for gradient, kept in zip(gradients, self._kept, strict=True):
            if isinstance(gradient, RowGradient):
                kept["gradient_accumulator"][gradient.unique] += gradient.sums()
            elif gradient is not None:
                kept["gradient_accumulator"] += gradient
        return [
            None if gradient is None else kept["gradient_accumulator"] / self.gradient_accumulation_steps
            for gradient, kept in zip(gradients, self._kept, strict=True)
        ]

    def _average(self, t: int, places: list[int]) -> None:
        overwrite = self.ema_overwrite_frequency and t % self.ema_overwrite_frequency == 0
        for i, (array, kept) in enumerate(zip(self._arrays, self._kept, strict=True)):
            momentum = array.dtype.type(self.ema_momentum if t > 1 else 0)
            for block in _blocks(array):
                average, w = kept["average"][block], array[block]
                average[...] = momentum * average + (1 - momentum) * w
                if overwrite and i in places:
                    w[...] = average

    def _numbers(self, rule: updates.Rule, lr: float, t: int, dtype: np.dtype) -> np.ndarray:
        given = self.numbers(lr, t, dtype.type) | {"decay": (self.weight_decay or 0.0) * lr}
        unknown = [name for name in rule.numbers if name not in given]
        if unknown:
            raise ValueError(f"{self.name}: update asks for {unknown}; slots are {rule.slots}, numbers {sorted(given)}")
        return np.array([given[name] for name in rule.numbers], dtype)

    def _step(self, i: int, gradient: np.ndarray | RowGradient, rule: updates.Rule, numbers: np.ndarray) -> list[Job]:
        """Update array `i`, or return what does it."""
        array, slots = self._arrays[i], [self._slots[i][name] for name in rule.slots]
        compiled = config.backend() == "numba" and array.flags.c_contiguous and updates.kernels(rule) is not None
        every = self.weight_decay or not self.ignores_zeros
        if not compiled or not isinstance(gradient, RowGradient):
            self._settle(i)
        if not isinstance(gradient, RowGradient):
            if compiled:
                return [updates.step_whole(rule, array, gradient, slots, numbers)]
            _step_blocks(rule, array, gradient, slots, numbers)
            return []
        adding = gradient.summing(updates.MOMENTS.get(rule.moment, updates.square))
        touched = *adding.out, numbers, gradient.unique
        if not compiled:
            threads.run(adding)
            _step_rows(rule, array, slots, *touched, every)
            return []
        if every:
            return [adding, self._late_rows(i, gradient.table, rule, slots).step(*touched)]
        return [adding, updates.step_rows(rule, array, slots, *touched)]

    def _late_rows(self, i, table, rule, slots) -> updates.LateRows:
        """Return what makes up for the updates of array `i`, of which `table`, if there is one, knows."""
        if i not in self._late:
            self._late[i] = updates.LateRows(rule, self._arrays[i], slots, self.fades and not self.weight_decay)
        late = self._late[i]
        if table is not None and table.late is not late:
            if table.late is not None:  # another optimizer's
                table.late.settle()
            table.late = late
        return late

    def _settle(self, *indices: int) -> None:
        """Make up for late updates of these arrays; by default of all."""
        for i in indices or self._late:
            if i in self._late:
                self._late[i].settle()


def _sgd(w, g, lr):
    return w - lr * g


def _momentum(w, g, momentum, lr, mu):
    momentum = mu * momentum - lr * g
    return w + momentum, momentum


def _nesterov(w, g, momentum, lr, mu):
    momentum = mu * momentum - lr * g
    return w + (mu * momentum - lr * g), momentum


class SGD(Optimizer):
    """w -= lr*g, or with momentum m = mu*m - lr*g; w += m [1]_.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        mu, from 0 to 1.
    nesterov : bool
        Go by the momentum that the next step will have: w += mu*m - lr*g.
    **kwargs
        See `Optimizer`.
    """

    fades = True

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.momentum, self.nesterov = _number("momentum", momentum, most=1.0), bool(nesterov)

    def slots(self):
        return {"momentum": 0.0} if self.momentum else {}

    @property
    def ignores_zeros(self):
        return not self.momentum

    def numbers(self, lr, t, exact):
        return {"lr": lr, "mu": self.momentum}

    @property
    def update(self):
        return _sgd if not self.momentum else _nesterov if self.nesterov else _momentum


def _rmsprop(w, g, square, velocity, lr, rho, rest, epsilon):
    velocity = rho * velocity + rest * square
    return w - lr * g / np.sqrt(velocity + epsilon), velocity


def _rmsprop_momentum(w, g, square, velocity, momentum, lr, rho, rest, epsilon, mu):
    velocity = rho * velocity + rest * square
    momentum = mu * momentum + lr * g / np.sqrt(velocity + epsilon)
    return w - momentum, velocity, momentum


def _rmsprop_centered(w, g, square, velocity, average_gradient, lr, rho, rest, epsilon):
    velocity = rho * velocity + rest * square
    average_gradient = rho * average_gradient + rest * g
    variance = velocity - average_gradient * average_gradient
    return w - lr * g / np.sqrt(variance + epsilon), velocity, average_gradient


def _rmsprop_centered_momentum(w, g, square, velocity, average_gradient, momentum, lr, rho, rest, epsilon, mu):
    velocity = rho * velocity + rest * square
    average_gradient = rho * average_gradient + rest * g
    variance = velocity - average_gradient * average_gradient
    momentum = mu * momentum + lr * g / np.sqrt(variance + epsilon)
    return w - momentum, velocity, average_gradient, momentum


class RMSprop(Optimizer):
    """v = rho*v + (1-rho)*g²; w -= lr*g / sqrt(v + epsilon) [2]_; epsilon stands inside the root.

    Parameters
    ----------
    learning_rate : float
    rho : float
        From 0 to below 1.
    momentum : float
        mu, from 0 to 1: m = mu*m + lr*g / sqrt(...); w -= m.
    epsilon : float
        Above 0.
    centered : bool
        Take v minus the square of the gradients' running mean, an estimate of their variance.
    **kwargs
        See `Optimizer`.
    """

    fades = True

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.rho, self.momentum = _rate("rho", rho), _number("momentum", momentum, most=1.0)
        self.epsilon, self.centered = _number("epsilon", epsilon, above_zero=True), bool(centered)

    def slots(self):
        used = {"velocity": True, "momentum": self.momentum, "average_gradient": self.centered}
        return {name: 0.0 for name, use in used.items() if use}

    def numbers(self, lr, t, exact):
        return {"lr": lr, "mu": self.momentum, "rho": self.rho, "rest": 1 - self.rho, "epsilon": self.epsilon}

    @property
    def update(self):
        if self.centered:
            return _rmsprop_centered_momentum if self.momentum else _rmsprop_centered
        return _rmsprop_momentum if self.momentum else _rmsprop


def _adam(w, g, square, momentum, velocity, alpha, rest_1, rest_2, epsilon):
    momentum = momentum + (g - momentum) * rest_1
    velocity = velocity + (square - velocity) * rest_2
    return w - momentum * alpha / (np.sqrt(velocity) + epsilon), momentum, velocity


def _amsgrad(w, g, square, momentum, velocity, velocity_hat, alpha, rest_1, rest_2, epsilon):
    momentum = momentum + (g - momentum) * rest_1
    velocity = velocity + (square - velocity) * rest_2
    velocity_hat = np.maximum(velocity_hat, velocity)
    return w - momentum * alpha / (np.sqrt(velocity_hat) + epsilon), momentum, velocity, velocity_hat


class Adam(Optimizer):
    """Running means of g and g², and a step of their ratio [3]_.

        m += (1-beta_1) * (g - m)
        v += (1-beta_2) * (g² - v)
        w -= lr * sqrt(1-beta_2^t) / (1-beta_1^t) * m / (sqrt(v) + epsilon)

    epsilon is added to the root of the uncorrected v ("epsilon hat" of the paper), so it is not that of PyTorch.

    Parameters
    ----------
    learning_rate : float
    beta_1, beta_2 : float
        From 0 to below 1.
    epsilon : float
        Above 0.
    amsgrad : bool
        Divide by the largest v so far [4]_.
    **kwargs
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1, self.beta_2 = _rate("beta_1", beta_1), _rate("beta_2", beta_2)
        self.epsilon, self.amsgrad = _number("epsilon", epsilon, above_zero=True), bool(amsgrad)

    def slots(self):
        return {"momentum": 0.0, "velocity": 0.0, **({"velocity_hat": 0.0} if self.amsgrad else {})}

    @property
    def fades(self):
        return self.amsgrad or self.beta_1**2 <= self.beta_2

    def numbers(self, lr, t, exact):
        # In the weights' precision, as Keras has it: in float32 1 - 0.999^1 is off by 1e-5 of itself.
        alpha = lr * np.sqrt(1 - exact(self.beta_2) ** t) / (1 - exact(self.beta_1) ** t)
        return {"alpha": alpha, "rest_1": 1 - self.beta_1, "rest_2": 1 - self.beta_2, "epsilon": self.epsilon}

    @property
    def update(self):
        return _amsgrad if self.amsgrad else _adam


class AdamW(Adam):
    """Adam with weight decay on by default [5]_; `weight_decay` must be a number."""

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        weight_decay = _number("weight_decay", weight_decay)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **kwargs)


class Adagrad(Optimizer):
    """a += g²; w -= lr*g / sqrt(a + epsilon) [6]_.

    Parameters
    ----------
    learning_rate : float
    initial_accumulator_value : float
        What a starts from, at least 0.
    epsilon : float
        Above 0.
    **kwargs
        See `Optimizer`.
    """

    ignores_zeros = True

    def __init__(
        self,
        learning_rate: float = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.initial_accumulator_value = _number("initial_accumulator_value", initial_accumulator_value)
        self.epsilon = _number("epsilon", epsilon, above_zero=True)

    def slots(self):
        return {"accumulator": self.initial_accumulator_value}

    def numbers(self, lr, t, exact):
        return {"lr": lr, "epsilon": self.epsilon}

    @staticmethod
    def update(w, g, square, accumulator, lr, epsilon):
        accumulator = accumulator + square
        return w - lr * g / np.sqrt(accumulator + epsilon), accumulator


class Adadelta(Optimizer):
    """A step of the ratio of two running means: of changes d² and of gradients [7]_.

        v = rho*v + (1-rho)*g²
        d = -sqrt(u + epsilon) / sqrt(v + epsilon) * g
        u = rho*u + (1-rho)*d²
        w += lr*d

    Parameters
    ----------
    learning_rate : float
        1 is the paper's.
    rho : float
        From 0 to below 1.
    epsilon : float
        Above 0.
    **kwargs
        See `Optimizer`.
    """

    fades = True

    def __init__(self, learning_rate: float = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.rho, self.epsilon = _rate("rho", rho), _number("epsilon", epsilon, above_zero=True)

    def slots(self):
        return {"accumulated_grad": 0.0, "accumulated_delta_var": 0.0}

    def numbers(self, lr, t, exact):
        return {"lr": lr, "rho": self.rho, "rest": 1 - self.rho, "epsilon": self.epsilon}

    @staticmethod
    def update(w, g, square, accumulated_grad, accumulated_delta_var, lr, rho, rest, epsilon):
        accumulated_grad = rho * accumulated_grad + rest * square
        ratio = np.sqrt(accumulated_delta_var + epsilon) / np.sqrt(accumulated_grad + epsilon)
        accumulated_delta_var = rho * accumulated_delta_var + rest * (ratio * ratio * square)
        return w - lr * (ratio * g), accumulated_grad, accumulated_delta_var


class Adamax(Optimizer):
    """Adam with the largest size of recent gradients for the root of v (section 7 of [3]_).

        m += (1-beta_1) * (g - m)
        u = max(beta_2*u, |g|)
        w -= lr / (1-beta_1^t) * m / (u + epsilon)

    Parameters
    ----------
    learning_rate : float
    beta_1, beta_2 : float
        From 0 to below 1.
    epsilon : float
        Above 0.
    **kwargs
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1, self.beta_2 = _rate("beta_1", beta_1), _rate("beta_2", beta_2)
        self.epsilon = _number("epsilon", epsilon, above_zero=True)

    def slots(self):
        return {"momentum": 0.0, "norm": 0.0}

    @property
    def fades(self):
        return self.beta_1 <= self.beta_2

    def numbers(self, lr, t, exact):
        alpha = lr / (1 - exact(self.beta_1) ** t)
        return {"alpha": alpha, "rest_1": 1 - self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}

    @staticmethod
    def update(w, g, size, momentum, norm, alpha, rest_1, beta_2, epsilon):
        momentum = momentum + (g - momentum) * rest_1
        norm = np.maximum(beta_2 * norm, size)
        return w - alpha * momentum / (norm + epsilon), momentum, norm


class Nadam(Optimizer):
    """Adam that goes by the momentum which the next step will have [8]_.

        b(t) = beta_1 * (1 - 0.96^t / 2),  the momentum of step t;  B = b(1) * ... * b(t)
        m += (1-beta_1) * (g - m)
        v += (1-beta_2) * (g² - v)
        w -= lr * (b(t+1) / (1 - B*b(t+1)) * m + (1-b(t)) / (1-B) * g) / (sqrt(v / (1-beta_2^t)) + epsilon)

    Parameters
    ----------
    learning_rate : float
    beta_1, beta_2 : float
        From 0 to below 1.
    epsilon : float
        Above 0.
    **kwargs
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1, self.beta_2 = _rate("beta_1", beta_1), _rate("beta_2", beta_2)
        self.epsilon = _number("epsilon", epsilon, above_zero=True)

    def slots(self):
        return {"momentum": 0.0, "velocity": 0.0}

    def counters(self):
        return {"u_product": 1.0}

    def advance(self, t):
        self.u_product = self.u_product * self._momentum(t, self.u_product.dtype.type)

    def _momentum(self, t: int, exact: type[np.floating]) -> np.floating:
        return exact(self.beta_1) * (1 - exact(0.5) * exact(0.96) ** t)

    @property
    def fades(self):
        return self.beta_1**2 <= self.beta_2

    def numbers(self, lr, t, exact):
        now, after, product = self._momentum(t, exact), self._momentum(t + 1, exact), exact(self.u_product)
        return {
            "ahead": lr * after / (1 - product * after),
            "now": lr * (1 - now) / (1 - product),
            "correction": 1 - exact(self.beta_2) ** t,
            "rest_1": 1 - exact(self.beta_1),
            "rest_2": 1 - exact(self.beta_2),
            "epsilon": self.epsilon,
        }

    @staticmethod
    def update(w, g, square, momentum, velocity, ahead, now, correction, rest_1, rest_2, epsilon):
        momentum = momentum + (g - momentum) * rest_1
        velocity = velocity + (square - velocity) * rest_2
        return w - (ahead * momentum + now * g) / (np.sqrt(velocity / correction) + epsilon), momentum, velocity


class Lion(Optimizer):
    """w -= lr * sign(beta_1*m + (1-beta_1)*g), then m = beta_2*m + (1-beta_2)*g [9]_.

    Every entry moves by lr, so lr is smaller than Adam's by three to ten times, and a weight decay larger.

    Parameters
    ----------
    learning_rate : float
    beta_1 : float
        Above 0 to 1.
    beta_2 : float
        From 0 to 1.
    **kwargs
        See `Optimizer`.
    """

    def __init__(self, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = _number("beta_1", beta_1, most=1.0, above_zero=True)
        self.beta_2 = _number("beta_2", beta_2, most=1.0)

    def slots(self):
        return {"momentum": 0.0}

    def numbers(self, lr, t, exact):
        beta_1, beta_2 = exact(self.beta_1), exact(self.beta_2)
        return {"lr": lr, "beta_1": beta_1, "rest_1": 1 - beta_1, "beta_2": beta_2, "rest_2": 1 - beta_2}

    @staticmethod
    def update(w, g, momentum, lr, beta_1, rest_1, beta_2, rest_2):
        return w - lr * np.sign(momentum * beta_1 + g * rest_1), momentum * beta_2 + g * rest_2


def get(identifier: str | Mapping[str, Any] | type | Optimizer) -> Optimizer:
    """Return an optimizer from itself, its class, a Keras name or a ``{"class_name", "config"}``.

    Raises
    ------
    ValueError, TypeError
        There is none of that name; `identifier` is none of these.
    """
    return resolve(identifier, _NAMES, Optimizer, "optimizer")


def _check_usable(arrays: list[Any]) -> None:
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


def _checked_gradients(pairs: Sequence[tuple[Any, np.ndarray]]) -> list[np.ndarray | RowGradient | None]:
    """Return the gradients in their arrays' dtypes, or raise ValueError for one of another shape."""
    checked = []
    for i, (gradient, array) in enumerate(pairs):
        if gradient is not None:
            if not isinstance(gradient, RowGradient):
                gradient = np.asarray(gradient)
            if gradient.shape != array.shape:
                raise ValueError(f"gradient {i} has shape {gradient.shape}; its array has shape {array.shape}")
            if gradient.dtype != array.dtype:
                gradient = gradient.astype(array.dtype)
        checked.append(gradient)
    return checked


def _mapped(gradient, change):
    """Return `gradient` with its entries, or those of its rows, changed."""
    if isinstance(gradient, RowGradient):
        return gradient.mapped(change)
    return None if gradient is None else change(gradient)


def _norm(gradient: np.ndarray | RowGradient | None) -> float:
    """Return the root of the sum of squares; 0 for None."""
    if gradient is None:
        return 0.0
    return float(np.linalg.norm(np.ravel(gradient.rows if isinstance(gradient, RowGradient) else gradient)))


def _scaled(gradient, limit: float, norm: float):
    """Return `gradient`, scaled down where `norm` is above `limit`."""
    return gradient if norm <= limit else _mapped(gradient, lambda rows: rows * (limit / norm))


def _blocks(array: np.ndarray) -> Iterator[Any]:
    """Yield indices that cut `array` along its first axis into parts of about `BLOCK` entries."""
    if array.size <= BLOCK:
        yield ...
        return
    rows = max(1, BLOCK * len(array) // array.size)
    yield from (slice(start, start + rows) for start in range(0, len(array), rows))


def _step_blocks(rule, array, gradient, slots, numbers, moment=None) -> None:
    """Update an array by NumPy."""
    for block in _blocks(array):
        own = None if moment is None else moment[block]
        rule.step(array[block], gradient[block], own, [slot[block] for slot in slots], numbers)


def _step_rows(rule, array, slots, gradient, moment, numbers, ids, every: bool) -> None:
    """Update the rows `ids` of a table by NumPy, and with a gradient of 0, if `every`, the others."""
    tables = array, *slots
    rows, *row_slots = touched = [table[ids] for table in tables]
    _step_blocks(rule, rows, gradient, row_slots, numbers, moment)
    if every:
        _step_blocks(rule, array, np.broadcast_to(array.dtype.type(0), array.shape), slots, numbers)
    for table, part in zip(tables, touched, strict=True):
        table[ids] = part  # what came out wrong


def _number(name: str, value: Any, most: float = math.inf, above_zero: bool = False) -> float:
    """Return `value` as a float from 0 (or above it) to `most`, or raise ValueError."""
    real = isinstance(value, numbers.Real) and math.isfinite(value)
    if not real or not (value > 0 if above_zero else value >= 0) or value > most:
        wanted = ("above 0" if above_zero else "of at least 0") + (f" and at most {most:g}" if most < math.inf else "")
        raise ValueError(f"{name} is {value!r}; expected a number {wanted}")
    return float(value)


def _rate(name: str, value: Any) -> float:
    """Return `value` as a float from 0 to below 1, or raise ValueError."""
    if _number(name, value) >= 1:
        raise ValueError(f"{name} is {value!r}; expected a number of at least 0 and below 1")
    return float(value)


def _count(name: str, value: Any, least: int) -> int | None:
    """Return `value` as an int of at least `least`, or None; raise ValueError for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; expected None or a whole number of at least {least}")
    return int(value)


_CLASSES = (SGD, RMSprop, Adam, AdamW, Adagrad, Adadelta, Adamax, Nadam, Lion)
_NAMES = {**{cls.__name__: cls for cls in _CLASSES}, **{cls.__name__.lower(): cls for cls in _CLASSES}}
