"""Activations, each beside its derivative.

An activation is a pair of plain functions: ``y = tanh(z)`` and ``dz = d_tanh(dy, y, z)``, the gradient of the
loss with respect to z from its gradient with respect to y. Wherever possible the derivative is written from
the *output* y, because the output is what a cell remembers; ``NEEDS_INPUT`` names those that read z.

They serve arrays (complex ones too, for complex-step checks) and, compiled, the inner loop on scalars. In the
derivatives of sigmoid and tanh no number stands: in compiled float32 code a literal would promote to float64.
``np.where`` is not used: numba makes an array of it even for scalars. All are finite and quiet for any z a network
may meet (`exponential` is infinite where exp is).

NumPy orders complex numbers by their real part, so ``z > 0`` and ``np.maximum`` do with z + ih what they do with z,
and the complex step holds for all of them, off their kinks. ``np.abs`` would break it: hence `_magnitude`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .configured import look_up


def linear(z):
    return z


def d_linear(dy, y, z):
    return dy


def sigmoid(z):
    with np.errstate(over="ignore"):  # exp(-z) = inf gives the right 0
        return 1 / (1 + np.exp(-z))


def d_sigmoid(dy, y, z):
    return dy * (y - y * y)


def tanh(z):
    return np.tanh(z)


def d_tanh(dy, y, z):
    return dy - dy * y * y


def relu(z):
    return np.maximum(z, 0)


def d_relu(dy, y, z):
    return dy * (y > 0)


def leaky_relu(z):
    return np.maximum(z, 0.2 * z)


def d_leaky_relu(dy, y, z):
    return dy * (y > 0) + 0.2 * dy * (y <= 0)


def relu6(z):
    return np.minimum(np.maximum(z, 0), 6)


def d_relu6(dy, y, z):
    return dy * ((y > 0) & (y < 6))


def elu(z):
    return np.maximum(z, 0) + np.expm1(np.minimum(z, 0))


def d_elu(dy, y, z):
    return dy * np.minimum(y + 1, 1)


_SELU_SCALE, _SELU_SLOPE = 1.0507009873554805, 1.7580993408473766  # the fixed point's lambda, and lambda alpha


def selu(z):
    return _SELU_SCALE * np.maximum(z, 0) + _SELU_SLOPE * np.expm1(np.minimum(z, 0))


def d_selu(dy, y, z):
    return dy * (y + _SELU_SLOPE) * (y < 0) + _SELU_SCALE * dy * (y >= 0)


def exponential(z):
    return np.exp(z)


def d_exponential(dy, y, z):
    return dy * y


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-_magnitude(z)))


def d_softplus(dy, y, z):
    return -dy * np.expm1(-y)  # sigmoid(z) = 1 - exp(-y)


def log_sigmoid(z):
    return -softplus(-z)


def d_log_sigmoid(dy, y, z):
    return -dy * np.expm1(y)


def softsign(z):
    return z / (1 + _magnitude(z))


def d_softsign(dy, y, z):
    return dy * (1 - np.abs(y)) ** 2


def squareplus(z):
    return np.maximum(z, 0) + 2 / (_magnitude(z) + np.sqrt(z * z + 4))  # (z + sqrt(z^2 + 4)) / 2 without cancelling


def d_squareplus(dy, y, z):
    return dy * (y * y / (y * y + 1))  # from y^2 - z y - 1 = 0


def silu(z):
    return z * sigmoid(z)


def d_silu(dy, y, z):
    s = sigmoid(z)
    return dy * (s + y * (1 - s))


def gelu(z):
    a = _magnitude(z)
    return np.maximum(z, 0) - a * _normal_tail(a)  # z P(X <= z)


def d_gelu(dy, y, z):
    below = 0.5 + np.copysign(0.5 - _normal_tail(np.abs(z)), z)  # P(X <= z)
    return dy * (below + z * np.exp(-z * z / 2) * _INVERSE_ROOT_2_PI)


def mish(z):
    return z * tanh(softplus(z))


def d_mish(dy, y, z):
    s = softplus(z)
    t = tanh(s)
    return dy * t + d_softplus(d_tanh(dy * z, t, s), s, z)


def tanh_shrink(z):
    return z - tanh(z)


def d_tanh_shrink(dy, y, z):
    return dy * tanh(z) ** 2


def soft_shrink(z):
    return z - np.minimum(np.maximum(z, -0.5), 0.5)


def d_soft_shrink(dy, y, z):
    return dy * (y != 0)


def hard_shrink(z):
    return z * ((z < -0.5) | (z > 0.5))


def d_hard_shrink(dy, y, z):
    return dy * (y != 0)


def hard_tanh(z):
    return np.minimum(np.maximum(z, -1), 1)


def d_hard_tanh(dy, y, z):
    return dy * ((y > -1) & (y < 1))


def hard_sigmoid(z):
    return np.minimum(np.maximum(z / 6 + 0.5, 0), 1)


def d_hard_sigmoid(dy, y, z):
    return dy / 6 * ((y > 0) & (y < 1))


def hard_sigmoid_keras2(z):
    return np.minimum(np.maximum(0.2 * z + 0.5, 0), 1)  # what Keras 1 and 2 call hard_sigmoid


def d_hard_sigmoid_keras2(dy, y, z):
    return 0.2 * dy * ((y > 0) & (y < 1))


def hard_silu(z):
    return z * hard_sigmoid(z)


def d_hard_silu(dy, y, z):
    s = hard_sigmoid(z)
    return dy * s + d_hard_sigmoid(dy * z, s, z)


def sparse_sigmoid(z):
    return np.minimum(np.maximum((z + 1) / 2, 0), 1)


def d_sparse_sigmoid(dy, y, z):
    return dy / 2 * ((y > 0) & (y < 1))


def sparse_plus(z):
    return np.maximum(z, (hard_tanh(z) + 1) ** 2 / 4)


def d_sparse_plus(dy, y, z):
    return dy * np.sqrt(np.minimum(y, 1))


def softmax(z):
    e = np.exp(z - np.max(z.real, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def d_softmax(dy, y, z):
    return y * (dy - np.sum(dy * y, axis=-1, keepdims=True))


def log_softmax(z):
    z = z - np.max(z.real, axis=-1, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))


def d_log_softmax(dy, y, z):
    return dy - np.exp(y) * np.sum(dy, axis=-1, keepdims=True)


swish, hard_swish, celu = silu, hard_silu, elu  # celu differs for an alpha other than 1 only


def _magnitude(z):
    return np.maximum(z, -z)


# P(X > a) of X ~ N(0, 1), a >= 0, is exp(-a^2 / 2) times a quotient of polynomials; their coefficients, highest power
# first: Hart et al., "Computer approximations" (1968), no. 5666, as printed in West, "Better approximations to
# cumulative normal functions", Wilmott (2005). Within 2.3e-16 of math.erfc's (absolute: the far tail has few digits).
_TAIL = (
    (0.0, 0.0883883476483184),
    (0.0352624965998911, 1.75566716318264),
    (0.700383064443688, 16.064177579207),
    (6.37396220353165, 86.7807322029461),
    (33.912866078383, 296.564248779674),
    (112.079291497871, 637.333633378831),
    (221.213596169931, 793.826512519948),
    (220.206867912376, 440.413735824752),
)
_INVERSE_ROOT_2_PI = 0.3989422804014327


def _normal_tail(a):
    a = np.minimum(a, 40)  # 0 from there on
    above, below = 0 * a, 0 * a
    for c, d in _TAIL:
        above, below = above * a + c, below * a + d
    return np.exp(-a * a / 2) * above / below


@dataclass(frozen=True)
class Activation:
    """A function and its derivative.

    Attributes
    ----------
    name : str
        The name it goes by in a configuration.
    forward : callable
        ``y = forward(z)``, elementwise on arrays.
    backward : callable
        ``dz = backward(dy, y, z)``.
    needs_input : bool
        Whether `backward` reads z. If not, z is forgotten, and any array may stand in its place.
    elementwise : bool
        False where one output depends on a whole row (softmax): such a cell runs on the NumPy backend only.
    analytic : bool
        Whether the function is analytic on the whole line. The others have kinks, where they have no derivative
        (or no second one): a central difference must not step across, and a complex step must not stand on one.
    """

    name: str
    forward: Callable
    backward: Callable
    needs_input: bool = False
    elementwise: bool = True
    analytic: bool = False

    def __call__(self, z: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # exp is infinite above 88 (float32) without a word, as in compiled code
            return self.forward(z)

    def describe(self) -> str:
        """Return the name, which is what a configuration holds."""
        return self.name


_PAIRS = (
    (linear, d_linear),
    (sigmoid, d_sigmoid),
    (tanh, d_tanh),
    (relu, d_relu),
    (leaky_relu, d_leaky_relu),
    (relu6, d_relu6),
    (elu, d_elu),
    (selu, d_selu),
    (exponential, d_exponential),
    (softplus, d_softplus),
    (log_sigmoid, d_log_sigmoid),
    (softsign, d_softsign),
    (squareplus, d_squareplus),
    (silu, d_silu),
    (gelu, d_gelu),
    (mish, d_mish),
    (tanh_shrink, d_tanh_shrink),
    (soft_shrink, d_soft_shrink),
    (hard_shrink, d_hard_shrink),
    (hard_tanh, d_hard_tanh),
    (hard_sigmoid, d_hard_sigmoid),
    (hard_sigmoid_keras2, d_hard_sigmoid_keras2),
    (hard_silu, d_hard_silu),
    (sparse_sigmoid, d_sparse_sigmoid),
    (sparse_plus, d_sparse_plus),
    (softmax, d_softmax),
    (log_softmax, d_log_softmax),
)
NEEDS_INPUT = frozenset({"gelu", "hard_silu", "mish", "silu", "tanh_shrink"})
ROWWISE = frozenset({"log_softmax", "softmax"})
ANALYTIC = frozenset(
    {"exponential", "gelu", "linear", "log_sigmoid", "log_softmax", "mish", "sigmoid", "silu", "softmax", "softplus"}
    | {"squareplus", "tanh", "tanh_shrink"}
)
ALIASES = {"celu": "elu", "hard_swish": "hard_silu", "swish": "silu"}
ACTIVATIONS = {
    f.__name__: Activation(
        f.__name__, f, d, f.__name__ in NEEDS_INPUT, f.__name__ not in ROWWISE, f.__name__ in ANALYTIC
    )
    for f, d in _PAIRS
}
ACTIVATIONS |= {alias: ACTIVATIONS[name] for alias, name in ALIASES.items()}


def get(identifier: Any) -> Activation:
    """Return an activation.

    Parameters
    ----------
    identifier : str, Activation, function of this module or None
        None is ``linear``. An activation of your own is an `Activation` with your two functions.
    """
    if isinstance(identifier, Activation):
        return identifier
    if identifier is None:
        return ACTIVATIONS["linear"]
    if callable(identifier):
        found = ACTIVATIONS.get(getattr(identifier, "__name__", ""))
        if found is None or found.forward is not identifier:
            raise ValueError(
                f"activation: {identifier!r} comes without its derivative; "
                "pass rnncore.activations.Activation(name, forward, backward)"
            )
        return found
    return look_up(identifier, ACTIVATIONS, "activation")
