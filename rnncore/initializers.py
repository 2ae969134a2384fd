"""Starting values of weights, under Keras's names and with its distributions.

An initializer is called as ``initializer(shape, dtype, rng)``. Random ones draw in float64 and round to
`dtype`, so that the same seed gives the same weights in every dtype. The streams of random numbers are
NumPy's: the same seed gives other numbers than in Keras, of the same distribution.

References
----------
.. [1] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010
.. [2] K. He et al., "Delving deep into rectifiers", 2015
.. [3] Y. LeCun et al., "Efficient BackProp", 1998
.. [4] A. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear networks", 2014
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .config import checked_dtype, new_generator
from .configured import Configured, look_up, resolve, snake_case, subclasses, takes

Seed = int | np.random.Generator | None
Axes = Sequence[int] | None

# The standard deviation of N(0, 1) cut off at -2 and 2.
TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(Configured):
    """Base of the initializers: a subclass says what the values are."""

    def __call__(
        self,
        shape: tuple[int, ...],
        dtype: str | np.dtype | type | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Return new values.

        Parameters
        ----------
        shape : tuple of int
        dtype : str or numpy dtype, optional
            ``"float32"`` or ``"float64"``; `rnncore.config.floatx` when not given.
        rng : numpy.random.Generator, optional
            Where random values come from unless the initializer has a seed of its own. Without both, each
            call draws from a new stream of the process's seed.

        Returns
        -------
        ndarray of `shape` and `dtype`

        Raises
        ------
        ValueError
            `shape` or `dtype` is not one the initializer can fill.
        """
        if not isinstance(shape, (tuple, list)) or not all(isinstance(n, numbers.Integral) and n >= 0 for n in shape):
            raise ValueError(f"shape is {shape!r}; expected a tuple of whole numbers of at least 0")
        return np.asarray(self.values(tuple(shape), rng)).astype(checked_dtype(dtype), copy=False)

    def values(self, shape: tuple[int, ...], rng: np.random.Generator | None) -> np.ndarray:
        """Return the values, float64, of `shape`."""
        raise NotImplementedError


class Constant(Initializer):
    """Every entry is `value`, or those of an array are, which spreads over the shape as NumPy has it.

    Parameters
    ----------
    value : float or array_like
        Finite.
    """

    def __init__(self, value: float | Any = 0.0):
        self.value = _number("value", value) if np.ndim(value) == 0 else np.array(value, float)
        if not np.isfinite(self.value).all():
            raise ValueError("value is not finite; expected a number, or an array of finite ones")

    def values(self, shape, rng):
        try:
            return np.array(np.broadcast_to(self.value, shape))
        except ValueError:
            raise ValueError(f"value has shape {np.shape(self.value)}; it does not spread over {shape}") from None

    def get_config(self):
        return {"value": self.value if isinstance(self.value, float) else self.value.tolist()}


class Zeros(Initializer):
    """Every entry is 0."""

    short_names = ("zero",)

    def values(self, shape, rng):
        return np.zeros(shape)


class Ones(Initializer):
    """Every entry is 1."""

    short_names = ("one",)

    def values(self, shape, rng):
        return np.ones(shape)


class Identity(Initializer):
    """`gain` on the diagonal of a matrix, 0 elsewhere."""

    short_names = ("IdentityInitializer",)

    def __init__(self, gain: float = 1.0):
        self.gain = _number("gain", gain)

    def values(self, shape, rng):
        if len(shape) != 2:
            raise ValueError(f"shape is {shape}; Identity fills matrices only, shape (rows, columns)")
        return self.gain * np.eye(*shape)


class RandomInitializer(Initializer):
    """Base of the initializers that draw.

    Parameters
    ----------
    seed : int or numpy.random.Generator, optional
        A whole number gives the same values at each call, as in Keras; a generator goes on from where it
        stands. Either wins over the `rng` of the call.
    """

    def __init__(self, seed: Seed = None):
        whole = isinstance(seed, numbers.Integral) and not isinstance(seed, bool) and seed >= 0
        if not (whole or seed is None or isinstance(seed, np.random.Generator)):
            raise ValueError(f"seed is {seed!r}; expected a whole number of at least 0, a numpy Generator or None")
        self.seed = seed

    def values(self, shape, rng):
        return self.draw(shape, new_generator(rng if self.seed is None else self.seed))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return the values, float64, of `shape`, drawn from `rng`."""
        raise NotImplementedError


class RandomNormal(RandomInitializer):
    """N(`mean`, `stddev`²)."""

    short_names = ("normal",)

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.mean, self.stddev = _number("mean", mean), _number("stddev", stddev, least=0.0)

    def draw(self, shape, rng):
        return self.mean + self.stddev * rng.standard_normal(shape)


class TruncatedNormal(RandomNormal):
    """N(`mean`, `stddev`²), drawn again where it falls beyond two `stddev` of `mean`.

    The standard deviation of what comes out is 0.8796 `stddev`.
    """

    def draw(self, shape, rng):
        return self.mean + self.stddev * _truncated_normal(shape, rng)


class RandomUniform(RandomInitializer):
    """U(`minval`, `maxval`)."""

    short_names = ("uniform",)

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.minval, self.maxval = _number("minval", minval), _number("maxval", maxval)
        if self.minval > self.maxval:
            raise ValueError(f"minval is {minval!r}, above maxval, {maxval!r}")

    def draw(self, shape, rng):
        return rng.uniform(self.minval, self.maxval, shape)


class VarianceScaling(RandomInitializer):
    """Values of mean 0 and variance `scale` / n, where n counts a unit's connections.

    Parameters
    ----------
    scale : float
        Above 0.
    mode : {"fan_in", "fan_out", "fan_avg"}
        What n is: the inputs of a unit, its outputs, or the mean of both. A matrix is (inputs, outputs), the
        fused (D, 4H) kernel of an LSTM too: its fan_out is 4H, as in Keras. A vector has n of both.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        ``"normal"`` is another name of the first, which is widened so that its variance is as said in spite
        of the cut.
    seed : int or numpy.random.Generator, optional
    input_axes, output_axes : sequence of int, optional
        The axes of the shape whose sizes, multiplied, are the numbers of inputs and of outputs; both or none.
    """

    fans: ClassVar = {
        "fan_in": lambda fan_in, fan_out: fan_in,
        "fan_out": lambda fan_in, fan_out: fan_out,
        "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
    }
    distributions: ClassVar = {  # each of mean 0 and standard deviation 1
        "truncated_normal": lambda shape, rng: _truncated_normal(shape, rng) / TRUNCATED_STDDEV,
        "untruncated_normal": lambda shape, rng: rng.standard_normal(shape),
        "uniform": lambda shape, rng: rng.uniform(-math.sqrt(3), math.sqrt(3), shape),
    }

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Axes = None,
        output_axes: Axes = None,
    ):
        super().__init__(seed)
        self.scale = _number("scale", scale, least=0.0)
        if not self.scale:
            raise ValueError(f"scale is {scale!r}; expected a number above 0")
        self.mode = mode
        self.distribution = "truncated_normal" if distribution == "normal" else distribution
        look_up(self.mode, self.fans, "mode")
        look_up(self.distribution, self.distributions, "distribution")
        self.input_axes, self.output_axes = _axes("input_axes", input_axes), _axes("output_axes", output_axes)

    def draw(self, shape, rng):
        n = max(1.0, self.fans[self.mode](*self._fans(shape)))
        return math.sqrt(self.scale / n) * self.distributions[self.distribution](shape, rng)

    def _fans(self, shape):
        if self.input_axes is None or self.output_axes is None:
            return _fans(shape)
        axes = [*self.input_axes, *self.output_axes]
        if not all(-len(shape) <= axis < len(shape) for axis in axes):
            raise ValueError(f"input_axes and output_axes are {axes}; shape {shape} has {len(shape)} axes")
        return tuple(math.prod(shape[axis] for axis in axes) for axes in (self.input_axes, self.output_axes))


class GlorotUniform(VarianceScaling):
    """U(-l, l), l² = 6 / (fan_in + fan_out) [1]_."""

    def __init__(self, seed: Seed = None, input_axes: Axes = None, output_axes: Axes = None):
        super().__init__(1.0, "fan_avg", "uniform", seed, input_axes, output_axes)


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance 2 / (fan_in + fan_out) [1]_."""

    def __init__(self, seed: Seed = None, input_axes: Axes = None, output_axes: Axes = None):
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, input_axes, output_axes)


class HeUniform(VarianceScaling):
    """U(-l, l), l² = 6 / fan_in [2]_."""

    def __init__(self, seed: Seed = None, input_axes: Axes = None, output_axes: Axes = None):
        super().__init__(2.0, "fan_in", "uniform", seed, input_axes, output_axes)


class HeNormal(VarianceScaling):
    """Truncated normal of variance 2 / fan_in [2]_."""

    def __init__(self, seed: Seed = None, input_axes: Axes = None, output_axes: Axes = None):
        super().__init__(2.0, "fan_in", "truncated_normal", seed, input_axes, output_axes)


class LecunUniform(VarianceScaling):
    """U(-l, l), l² = 3 / fan_in [3]_."""

    def __init__(self, seed: Seed = None, input_axes: Axes = None, output_axes: Axes = None):
        super().__init__(1.0, "fan_in", "uniform", seed, input_axes, output_axes)


class LecunNormal(VarianceScaling):
    """Truncated normal of variance 1 / fan_in [3]_."""

    def __init__(self, seed: Seed = None, input_axes: Axes = None, output_axes: Axes = None):
        super().__init__(1.0, "fan_in", "truncated_normal", seed, input_axes, output_axes)


class Orthogonal(RandomInitializer):
    """`gain` times a matrix with orthonormal columns, or rows where those are fewer [4]_.

    The whole matrix is orthogonal: a fused (H, 4H) recurrent kernel has H orthonormal rows, and the (H, H)
    block of one gate is not orthogonal by itself. More axes than two are taken as rows, but the last.
    """

    short_names = ("OrthogonalInitializer",)

    def __init__(self, gain: float = 1.0, seed: Seed = None):
        super().__init__(seed)
        self.gain = _number("gain", gain)

    def draw(self, shape, rng):
        if len(shape) < 2:
            raise ValueError(f"shape is {shape}; Orthogonal needs at least two axes")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        # QR leaves the signs of the columns to the routine; those of R's diagonal make Q uniformly distributed.
        q *= np.copysign(1.0, np.diag(r))
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class FromFunction(Initializer):
    """What a function gives for a shape and a dtype.

    Parameters
    ----------
    function : callable
        Takes the shape, the dtype and a `numpy.random.Generator`, or the first of them, and returns an array of that
        shape.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def __call__(self, shape, dtype=None, rng=None):
        shape, dtype = tuple(shape), checked_dtype(dtype)
        given = next((given for n in (3, 2, 1) if takes(self.function, *(given := (shape, dtype.name, rng)[:n]))), ())
        values = np.asarray(self.function(*given))
        if values.shape != shape:
            raise ValueError(f"{self.function!r} gave an array of shape {values.shape}; expected {shape}")
        return values.astype(dtype, copy=False)


def get(identifier: str | Mapping[str, Any] | type | Initializer | None) -> Initializer | None:
    """Return an initializer from itself, its class, a Keras name or a ``{"class_name", "config"}``; None for None.

    A function of shape and dtype (and perhaps a generator) becomes a `FromFunction`, an array a `Constant`.

    Raises
    ------
    ValueError, TypeError
        There is none of that name; `identifier` is none of these.
    """
    if identifier is None:
        return None
    if isinstance(identifier, np.ndarray):
        return Constant(identifier)
    if callable(identifier) and not isinstance(identifier, (type, Initializer)):
        return FromFunction(identifier)
    return resolve(identifier, _NAMES, Initializer, "initializer")


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the numbers of inputs and outputs of a unit; axes before the last two are a convolution's window."""
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _truncated_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return draws of N(0, 1), drawn again where they are beyond -2 or 2."""
    drawn = np.asarray(rng.standard_normal(shape))
    while (beyond := np.abs(drawn) > 2).any():
        drawn[beyond] = rng.standard_normal(np.count_nonzero(beyond))
    return drawn


def _axes(name: str, value: Axes) -> list[int] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(axis, numbers.Integral) for axis in value):
        raise ValueError(f"{name} is {value!r}; expected a list of whole numbers, or None")
    return [int(axis) for axis in value]


def _number(name: str, value: float, least: float = -math.inf) -> float:
    if not isinstance(value, numbers.Real) or not least <= value < math.inf:
        raise ValueError(f"{name} is {value!r}; expected a number" + (f" of at least {least:g}" if least == 0 else ""))
    return float(value)


_CLASSES: list[Any] = [cls for cls in subclasses(Initializer) if cls not in (RandomInitializer, FromFunction)]
_NAMES = {name: cls for cls in _CLASSES for name in cls.names()}
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal
globals().update({snake_case(cls.__name__): cls for cls in _CLASSES})  # as Keras has them, too
