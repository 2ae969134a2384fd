"""Dense, Activation, Dropout, Identity and ActivityRegularization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .. import activations, config, constraints, initializers, regularizers
from ..bptt.run import Inputs
from ..compiler.pool import run
from .base import Layer, dropout_mask
from .checks import checked_shape, flag, fraction, positive, seed_or_none

SMALL = 8192  # multiplications of a product back through Dense: for so few no kernel is called, nor compiled


class Activated(Layer):
    """A layer that ends in an activation: ``y = activation(z)``.

    A loss that is exact on the pre-activations (sigmoid with binary, softmax with categorical crossentropy) reads
    `logits` and goes back through `backward_from_logits`, past the activation.
    """

    left_out: ClassVar[tuple[str, ...]] = ("logits", "_y")
    activation: activations.Activation
    logits: np.ndarray

    def activate(self, z: np.ndarray) -> np.ndarray:
        """Return the activation of z, and keep what the backward pass needs."""
        self.logits, self._y = z, self.activation(z)
        return self._y

    def call_backward(self, dy):
        # y = activation(z)
        return self.backward_from_logits(self.activation.backward(dy, self._y, self.logits))

    def backward_from_logits(self, dz: np.ndarray) -> np.ndarray:
        """Return the gradient of x from that of the pre-activation."""
        raise NotImplementedError


class Dense(Activated):
    """``y = activation(x @ kernel + bias)`` on the last axis, as Keras.

    Parameters
    ----------
    units : int
        H, the number of outputs.
    activation : str, Activation or None
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer, activity_regularizer : str, Regularizer or None
    kernel_constraint, bias_constraint : str, Constraint or None
    name, dtype, trainable
        See `Layer`.

    Attributes
    ----------
    kernel : ndarray of shape (D, H)
    bias : ndarray of shape (H,), or None
    """

    left_out = ("_x",)

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, dtype, trainable, activity_regularizer)
        self.units = positive(units, f"{self.name}: units")
        self.activation = activations.get(activation)
        self.use_bias = flag(use_bias, f"{self.name}: use_bias")
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape):
        shape = (input_shape[-1], self.units)
        self.add_by_options("kernel", shape)
        if self.use_bias:
            shape = (self.units,)
            self.add_by_options("bias", shape)
        else:
            self.bias = None

    def call(self, x, mask=None, training=False):
        self._x = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        self._compiled = config.compiles(self.dtype)  # the backward pass runs on what the forward pass ran on
        bias = self.bias if self.use_bias else np.zeros(self.units, self.dtype)
        if self._compiled and self.units > 1:
            from ..bptt import compiled_products as products

            z = np.empty((1, len(self._x), self.units), self.dtype)
            run(products.project(Inputs(self._x), self.kernel[None, None], bias[None], None, z))
        elif self._compiled:  # a kernel is no faster for one column, and its call takes longer than this
            z = np.einsum("nd,dh->nh", self._x, self.kernel) + bias
        else:
            with np.errstate(invalid="ignore"):  # on some processors a BLAS raises it for finite numbers
                z = self._x @ self.kernel + bias
        return self.activate(z.reshape(*x.shape[:-1], self.units))

    def backward_from_logits(self, dz):
        # z = x @ kernel + bias, over all leading axes
        x, flat = self._x, np.ascontiguousarray(dz).reshape(-1, self.units)
        if not self._compiled or flat.size * x.shape[1] <= SMALL:
            with np.errstate(invalid="ignore"):
                gradients = {"kernel": x.T @ flat, "bias": flat.sum(axis=0)}
                dx = flat @ self.kernel.T
            self.gradients = {name: gradients[name] for name in self.own_weights}
            return dx.reshape(*dz.shape[:-1], -1)
        from ..bptt import compiled_products as products

        (transposed,) = run(products.transposed(self.kernel, 1))
        self.gradients = {name: np.empty_like(getattr(self, name)) for name in self.own_weights}
        dx, _ = run(
            products.input_gradients(flat[None], transposed, None, None, None, np.empty_like(x)),
            products.weight_gradients(Inputs(x), flat[None], None, *self.gradients.values()),
        )
        return dx.reshape(*dz.shape[:-1], -1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)


class Activation(Activated):
    """An activation as a layer of its own.

    Parameters
    ----------
    activation : str or Activation
    name, dtype
        See `Layer`.
    """

    def __init__(self, activation: Any, name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        self.activation = activations.get(activation)

    def call(self, x, mask=None, training=False):
        return self.activate(x)

    def backward_from_logits(self, dz):
        return dz


class Dropout(Layer):
    """Set a share of the inputs to 0 in training, and scale the others so that the sum stays the same.

    Parameters
    ----------
    rate : float in [0, 1)
    noise_shape : sequence of int or None, optional
        The mask's shape, None for the input's own size; an axis of 1 shares one draw.
    seed : int, optional
    name, dtype
        See `Layer`.

    References
    ----------
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014).
    """

    left_out = ("_drop",)

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name, dtype)
        self.rate = fraction(rate, f"{self.name}: rate")
        self.noise_shape = None if noise_shape is None else checked_shape(noise_shape, f"{self.name}: noise_shape")
        self.seed = seed_or_none(seed, f"{self.name}: seed")
        self.generator = config.new_generator(self.seed)

    def mask_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape of the mask for an input of `shape`."""
        wanted = shape if self.noise_shape is None else self.noise_shape
        if len(wanted) != len(shape) or any(n not in (None, 1, size) for n, size in zip(wanted, shape, strict=True)):
            raise ValueError(f"{self.name}: noise_shape is {wanted}; it does not spread over x of shape {tuple(shape)}")
        return tuple(size if n is None else n for n, size in zip(wanted, shape, strict=True))

    def check_shape(self, shape):
        super().check_shape(shape)
        self.mask_shape(shape)

    def call(self, x, mask=None, training=False):
        self._drop = None
        if training and self.rate:
            self._drop = dropout_mask(self.rate, self.mask_shape(x.shape), self.generator, self.dtype)
        return x if self._drop is None else x * self._drop

    def call_backward(self, dy):
        # y = x * drop
        return dy if self._drop is None else dy * self._drop


class Identity(Layer):
    """The input as it is, mask included."""

    def call(self, x, mask=None, training=False):
        return x

    def call_backward(self, dy):
        return dy


class ActivityRegularization(Identity):
    """A penalty on what passes by: ``l1 * sum(|x|) + l2 * sum(x²)``, divided by the number of rows.

    Parameters
    ----------
    l1, l2 : float
    name, dtype
        See `Layer`.
    """

    unkept = ("activity_regularizer",)  # l1 and l2 say it

    def __init__(self, l1: float = 0.0, l2: float = 0.0, name: str | None = None, dtype: str | None = None):
        penalty = regularizers.L1L2(l1, l2)
        super().__init__(name, dtype, activity_regularizer=penalty)
        self.l1, self.l2 = penalty.l1, penalty.l2
