"""Sigmoid and tanh that vectorise: a polynomial and an exponent put together bit by bit.

    x = n ln 2 + r,  |r| <= ln 2 / 2        n by adding and subtracting a number so large that it rounds
    p = r + r^2/2! + r^3/3! + ...           exp(r) - 1, by its Taylor sum
    exp(x) = 2^n p + 2^n
    exp(x) - 1 = 2^n p + (2^n - 1)          exact near zero, which tanh needs

ln 2 is subtracted in two parts (Cody & Waite, "Software manual for the elementary functions", 1980).
"""

from __future__ import annotations

import inspect
from functools import cache
from math import factorial
from types import FunctionType

import numpy as np

from .. import activations
from ..compiler.cache import called_functions
from ..compiler.jit import EXACT, FLAGS, clipped, compiled_form, float_type, from_source, merged, power_of_two


def _exp_minus_1(c):
    """Return the compiled sum ``r + c[2] r^2 + c[3] r^3 + ...``, by Horner's rule."""
    nested = f"c{len(c) - 1}"
    for k in range(len(c) - 2, 1, -1):
        nested = f"c{k} + r * ({nested})"
    names = {f"c{k}": value for k, value in enumerate(c)}
    return merged(from_source(f"def exp_minus_1(r): return r + r * r * ({nested})", names, "exp_minus_1"))


# mantissa bits, degree of the polynomial, range of finite exp(x), ln 2 in two parts
_FLOATS = {
    "float32": (23, 7, -87.3, 88.0, 0.693359375, -2.12194440e-4),
    "float64": (52, 13, -708.3, 709.0, 0.693145751953125, 1.42860682030941723212e-6),
}


def _compiled(dtype: str):
    """Return sigmoid and tanh of scalars of `dtype`. Every constant is typed: a literal would be a float64."""
    mantissa, degree, low, high, ln2_high, ln2_low = _FLOATS[dtype]
    real = np.dtype(dtype).type
    low, high, ln2_high, ln2_low = real(low), real(high), real(ln2_high), real(ln2_low)
    log2_e, rounder, one, two = real(1 / np.log(2)), real(1.5 * 2**mantissa), real(1), real(2)
    exp_minus_1 = _exp_minus_1([real(1 / factorial(k)) for k in range(degree + 1)])

    @merged
    def parts(x):
        shifted = x * log2_e + rounder
        n = shifted - rounder
        return exp_minus_1((x - n * ln2_high) - n * ln2_low), power_of_two(shifted)

    @merged
    def sigmoid(z):
        p, scale = parts(clipped(-z, low, high))
        return one / (one + (scale * p + scale))

    @merged
    def tanh(z):
        p, scale = parts(clipped(two * abs(z), low, high))
        e = scale * p + (scale - one)
        return np.copysign(e / (e + two), z)

    return {activations.sigmoid: lambda z: sigmoid(z), activations.tanh: lambda z: tanh(z)}


_SCALAR = {dtype: _compiled(dtype) for dtype in _FLOATS}


@cache
def register(function: FunctionType, exact: bool = False) -> None:
    """Give a plain function, and those it calls, compiled forms: ours where there is one, else its own source.

    `exact`: with NumPy's own bits, no multiply-add.
    """
    for called in called_functions(function):
        register(called, exact)
    arguments = ", ".join(inspect.signature(function).parameters)

    def implementation(*types):
        own = _SCALAR[float_type(types[0]).name].get(function)
        return function if own is None else own

    names = {"implementation": implementation}
    compiled_form(function, EXACT if exact else FLAGS)(
        from_source(f"def choose({arguments}): return implementation({arguments})", names, "choose")
    )
