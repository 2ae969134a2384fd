"""Activations, each beside its derivative.

An activation is a pair of plain functions: ``y = tanh(z)`` and ``dz = d_tanh(dy, y, z)``, the gradient of the
loss with respect to z from its gradient with respect to y. Wherever possible the derivative is written from
the *output* y, because the output is what a cell remembers; ``NEEDS_INPUT`` names those that read z.

They serve arrays (complex ones too, for complex-step checks) and, compiled, the inner loop on scalars. In the
derivatives of sigmoid and tanh no number stands: in compiled float32 code a literal would promote to float64.
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
    return np.where(z > 0, z, 0 * z)


def d_relu(dy, y, z):
    return np.where(y > 0, dy, 0 * dy)


def hard_sigmoid(z):
    return np.minimum(np.maximum(z / 6 + 0.5, 0), 1)


def d_hard_sigmoid(dy, y, z):
    return np.where((y > 0) & (y < 1), dy / 6, 0 * dy)


def softmax(z):
    e = np.exp(z - np.max(z.real, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def d_softmax(dy, y, z):
    return y * (dy - np.sum(dy * y, axis=-1, keepdims=True))


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
    """

    name: str
    forward: Callable
    backward: Callable
    needs_input: bool = False
    elementwise: bool = True

    def __call__(self, z: np.ndarray) -> np.ndarray:
        return self.forward(z)

    def describe(self) -> str:
        """Return the name, which is what a configuration holds."""
        return self.name


_PAIRS = (
    (linear, d_linear),
    (sigmoid, d_sigmoid),
    (tanh, d_tanh),
    (relu, d_relu),
    (hard_sigmoid, d_hard_sigmoid),
    (softmax, d_softmax),
)
NEEDS_INPUT: frozenset[str] = frozenset()
ROWWISE = frozenset({"softmax"})
ACTIVATIONS = {
    f.__name__: Activation(f.__name__, f, d, f.__name__ in NEEDS_INPUT, f.__name__ not in ROWWISE) for f, d in _PAIRS
}


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
