"""Optimizers: how a gradient changes a weight, in Keras's arithmetic and with its defaults.

An optimizer works in place on plain numpy arrays::

    optimizer.apply_gradients(zip(gradients, arrays))

One call is one step: clip the gradients, decay the arrays, update them. A class states its slots (the arrays it
keeps beside each weight) and one elementwise `update`; all else is the base's. Because updates are elementwise,
the base may run them on any part of the arrays: on blocks that stay in the processor's cache, and, for the
gradient of an embedding, once on the touched rows and once, with a gradient of 0, on the rest.

g  gradient    w  weight    t  number of the step, from 1    lr  learning rate

References
----------
.. [1] I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013
.. [2] T. Tieleman, G. Hinton, "Lecture 6.5: RMSprop", 2012
.. [3] D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015
.. [4] S. Reddi et al., "On the convergence of Adam and beyond", 2018
.. [5] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019
.. [6] J. Duchi et al., "Adaptive subgradient methods", 2011
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .configured import Configured, resolve, snake_case
from .sparse import RowGradient

# Entries updated at a time: a block of the weight, its slots and temporaries fits a core's second-level cache.
BLOCK = 32768


class Optimizer(Configured):
    """Base of the optimizers.

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set later (``optimizer.learning_rate = 1e-4``).
    weight_decay : float, optional
        Decoupled [5]_, in every optimizer: before the update w shrinks by ``w * weight_decay * lr``.
    clipnorm : float, optional
        A gradient whose norm is above this is scaled down to it, each by itself.
    clipvalue : float, optional
        Entries are clipped to [-clipvalue, clipvalue].
    global_clipnorm : float, optional
        All gradients are scaled down together so that their common norm is no more than this. At most one
        of the three may be given.
    name : str, optional

    Attributes
    ----------
    iterations : int
        Steps taken.

    Raises
    ------
    ValueError
        A number out of its range (checked by each class), or more than one way to clip.
    """

    # Whether a gradient of 0 leaves weight and slots as they are, so that untouched rows need no work.
    ignores_zeros = False
    # Whether `update` takes the square of the gradient.
    uses_squares = True

    def __init__(
        self,
        learning_rate: float,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        self.learning_rate = learning_rate
        self.weight_decay = None if weight_decay is None else _number("weight_decay", weight_decay)
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        for clip, limit in clips.items():
            setattr(self, clip, None if limit is None else _number(clip, limit, above_zero=True))
        given = {clip: limit for clip, limit in clips.items() if limit is not None}
        if len(given) > 1:
            raise ValueError(f"of clipnorm, clipvalue and global_clipnorm one may be given; got {given}")
        self.name = name or snake_case(type(self).__name__)
        self.iterations = 0
        self._arrays: list[np.ndarray] | None = None
        self._slots: list[dict[str, np.ndarray]] = []

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = _number("learning_rate", value)

    @property
    def built(self) -> bool:
        """Whether it has slots."""
        return self._arrays is not None

    def slots(self) -> dict[str, float]:
        """Return the names of the arrays kept beside each weight, and what fills them at first."""
        raise NotImplementedError

    def update(
        self,
        gradient: np.ndarray,
        square: np.ndarray | None,
        array: np.ndarray,
        slots: Mapping[str, np.ndarray],
        lr: float,
        t: int,
    ) -> None:
        """Change `array` and `slots` in place; all have one shape and dtype, and only elementwise work is allowed.

        `square` is what a second moment takes in (see `RowGradient.squares`), for classes with `uses_squares`.
        """
        raise NotImplementedError

    def build(self, arrays: Iterable[np.ndarray]) -> None:
        """Make the slots of `arrays`; the first `apply_gradients` does it where this was not called.

        Raises
        ------
        ValueError
            There is something else than a writeable float32 or float64 array.
        """
        arrays = list(arrays)
        _check_usable(arrays)
        self._slots = [{name: np.full_like(a, fill) for name, fill in self.slots().items()} for a in arrays]
        self._arrays = arrays

    def apply_gradients(
        self, gradients_and_arrays: Iterable[tuple[np.ndarray | RowGradient | None, np.ndarray]]
    ) -> None:
        """Take one step, in place.

        Parameters
        ----------
        gradients_and_arrays : iterable of (gradient, array)
            The same arrays in the same order at each step; each float32 or float64, of any shape. A gradient
            has its array's shape. A `RowGradient` does what the dense gradient would, and none is made, but for
            what Keras on TensorFlow does otherwise with rows looked up more than once: they are clipped one by
            one, and a second moment takes the sum of their squares. A gradient of None leaves its array and slots
            alone, weight decay included.

        Raises
        ------
        ValueError
            A shape does not fit, or the arrays are others than in the first step. Nothing has changed then.
        """
        pairs = list(gradients_and_arrays)
        arrays = [array for _, array in pairs]
        built = self._arrays is not None
        if built:
            self._check_same(arrays)
        else:
            _check_usable(arrays)
        gradients = _checked_gradients(pairs)
        if not built:
            self.build(arrays)
        t = self.iterations + 1
        for gradient, array, slots in zip(self._clipped(gradients), arrays, self._slots, strict=True):
            if isinstance(gradient, RowGradient):
                self._step_rows(gradient, array, slots, t)
            elif gradient is not None:
                self._step(gradient, None, array, slots, t)
        self.iterations = t

    def get_state(self) -> dict[str, np.ndarray]:
        """Return all that a step depends on beside the arguments of the constructor, as copies.

        Returns
        -------
        dict
            ``"iterations"`` (int64), ``"learning_rate"`` (float64) and a ``"{slot}/{i}"`` for each slot of
            array i, of that array's shape and dtype.
        """
        return {
            "iterations": np.array(self.iterations, np.int64),
            "learning_rate": np.array(self.learning_rate, np.float64),
            **{key: slot.copy() for key, slot in self._named_slots()},
        }

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `get_state` returned; the optimizer must have been built.

        Raises
        ------
        ValueError
            There are no slots yet, or names, shapes or dtypes are not those of this optimizer's. Nothing has
            changed then.
        """
        if self._arrays is None:
            raise ValueError(f"state: {self.name} has no slots yet; call build(arrays) first")
        expected = self.get_state()
        if set(state) != set(expected):
            missing, unknown = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
            raise ValueError(f"state does not fit {self.name}: missing {missing}, unknown {unknown}")
        for key, mine in expected.items():
            new = np.asarray(state[key])
            if new.shape != mine.shape or new.dtype != mine.dtype:
                raise ValueError(f"state[{key!r}] is {new.dtype} {new.shape}; expected {mine.dtype} {mine.shape}")
        self.learning_rate = float(state["learning_rate"])
        self.iterations = int(state["iterations"])
        for key, slot in self._named_slots():
            slot[...] = state[key]

    def get_config(self) -> dict[str, Any]:
        # The classes hand these on as keywords, out of sight of their own signature.
        common = {name: getattr(self, name) for name in inspect.signature(Optimizer).parameters}
        return {**super().get_config(), **common}

    def _named_slots(self) -> Iterator[tuple[str, np.ndarray]]:
        return ((f"{name}/{i}", slot) for i, slots in enumerate(self._slots) for name, slot in slots.items())

    def _check_same(self, arrays: list[np.ndarray]) -> None:
        if len(arrays) != len(self._arrays):
            raise ValueError(f"got {len(arrays)} arrays; {self.name} was built with {len(self._arrays)}")
        for i, (array, mine) in enumerate(zip(arrays, self._arrays, strict=True)):
            # A new view of the same memory is the same array.
            if array is not mine and getattr(array, "__array_interface__", None) != mine.__array_interface__:
                raise ValueError(
                    f"array {i} is not the one that {self.name} was built with; "
                    "give the same arrays in the same order at each step"
                )

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

    def _step(self, gradient, square, array, slots, t) -> None:
        for block in _blocks(array):
            w = array[block]
            if self.weight_decay:
                w -= w * self.weight_decay * self.learning_rate
            g2 = square[block] if square is not None else gradient[block] ** 2 if self.uses_squares else None
            self.update(
                gradient[block], g2, w, {name: slot[block] for name, slot in slots.items()}, self.learning_rate, t
            )

    def _step_rows(self, gradient: RowGradient, array: np.ndarray, slots: Mapping[str, np.ndarray], t: int) -> None:
        ids = gradient.unique
        rows, row_slots = array[ids], {name: slot[ids] for name, slot in slots.items()}
        self._step(gradient.sums(), gradient.squares() if self.uses_squares else None, rows, row_slots, t)
        if self.weight_decay or not self.ignores_zeros:
            # The touched rows come out wrong here and are put right below.
            self._step(np.broadcast_to(array.dtype.type(0), array.shape), None, array, slots, t)
        array[ids] = rows
        for name, slot in slots.items():
            slot[ids] = row_slots[name]


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

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.momentum, self.nesterov = _number("momentum", momentum, most=1.0), bool(nesterov)

    uses_squares = False

    def slots(self):
        return {"momentum": 0.0} if self.momentum else {}

    @property
    def ignores_zeros(self):
        return not self.momentum

    def update(self, gradient, square, array, slots, lr, t):
        change = -lr * gradient
        if self.momentum:
            m = slots["momentum"]
            m[...] = self.momentum * m + change
            change = self.momentum * m + change if self.nesterov else m
        array += change


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

    def update(self, gradient, square, array, slots, lr, t):
        v = slots["velocity"]
        v[...] = self.rho * v + (1 - self.rho) * square
        variance = v
        if self.centered:
            mean = slots["average_gradient"]
            mean[...] = self.rho * mean + (1 - self.rho) * gradient
            variance = v - mean**2
        change = lr * gradient / np.sqrt(variance + self.epsilon)
        if self.momentum:
            m = slots["momentum"]
            m[...] = self.momentum * m + change
            change = m
        array -= change


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

    def update(self, gradient, square, array, slots, lr, t):
        m, v = slots["momentum"], slots["velocity"]
        # In the weights' precision, as Keras has it: in float32 1 - 0.999^1 is off by 1e-5 of itself.
        exact = array.dtype.type
        alpha = lr * np.sqrt(1 - exact(self.beta_2) ** t) / (1 - exact(self.beta_1) ** t)
        m += (gradient - m) * (1 - self.beta_1)
        v += (square - v) * (1 - self.beta_2)
        if self.amsgrad:
            v_hat = slots["velocity_hat"]
            v = np.maximum(v_hat, v, out=v_hat)
        array -= m * alpha / (np.sqrt(v) + self.epsilon)


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

    def update(self, gradient, square, array, slots, lr, t):
        a = slots["accumulator"]
        a += square
        array -= lr * gradient / np.sqrt(a + self.epsilon)


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


def _checked_gradients(pairs: Sequence[tuple[Any, np.ndarray]]) -> list[np.ndarray | RowGradient | None]:
    """Return the gradients in their arrays' dtypes, or raise ValueError for one of another shape."""
    checked = []
    for i, (gradient, array) in enumerate(pairs):
        if gradient is not None:
            if not isinstance(gradient, RowGradient):
                gradient = np.asarray(gradient)
            if gradient.shape != array.shape:
                raise ValueError(f"gradient {i} has shape {gradient.shape}; its array has shape {array.shape}")
            gradient = _mapped(gradient, lambda rows, dtype=array.dtype: rows.astype(dtype, copy=False))
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


_CLASSES = (SGD, RMSprop, Adam, AdamW, Adagrad)
_NAMES = {**{cls.__name__: cls for cls in _CLASSES}, **{cls.__name__.lower(): cls for cls in _CLASSES}}
