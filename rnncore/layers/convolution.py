"""Conv1D: the same small product at every step.

Sizes: B rows, T steps, N windows, K places in a window, D inputs, F filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import activations, constraints, initializers, regularizers
from ..configured import look_up
from .checks import flag, positive
from .core import Activated
from .pooling import channels_last
from .windows import Windows, check_steps, single, warn_of_mask

_PADDINGS = {name: name for name in ("valid", "same", "causal")}


class Conv1D(Activated):
    """A product with the steps of a window, at every place of the window along the steps (a cross-correlation)::

        y[n] = activation(sum over k of x[n * strides + k * dilation_rate - before] @ kernel[k] + bias)

    Steps before the first and behind the last count as 0. A mask ends here, as in Keras: padding is read as any other
    step, with a warning.

    Parameters
    ----------
    filters : int
        F, the number of outputs a step.
    kernel_size : int
        K. This and the next ones also as a list or tuple of one number.
    strides : int
    padding : {"valid", "same", "causal"}
        No step beyond the ends; as many outputs as steps (divided by `strides`), ``before`` half of what windows reach
        over the ends; or no step after the output's own.
    data_format : {"channels_last"}, optional
        Inputs are (B, T, D); Keras's "channels_first" is not for sequences, and refused.
    dilation_rate : int
        Not together with `strides`, as in Keras.
    groups : 1
        Every filter sees all inputs; anything else is refused.
    activation : str, Activation or None
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer, activity_regularizer : str, Regularizer or None
    kernel_constraint, bias_constraint : str, Constraint or None
    name, dtype, trainable
        See `Layer`.

    Attributes
    ----------
    kernel : ndarray of shape (K, D, F)
    bias : ndarray of shape (F,), or None
    """

    input_ranks = (3, 3)
    left_out = ("_x",)

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
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
        self.filters = positive(filters, f"{self.name}: filters")
        self.kernel_size = single(kernel_size, f"{self.name}: kernel_size")
        self.strides = single(strides, f"{self.name}: strides")
        self.padding = look_up(padding, _PADDINGS, "padding", f"{self.name}: padding")
        self.data_format = channels_last(data_format, f"{self.name}: data_format")
        self.dilation_rate = single(dilation_rate, f"{self.name}: dilation_rate")
        if self.strides > 1 and self.dilation_rate > 1:
            raise ValueError(
                f"{self.name}: strides is {self.strides} and dilation_rate {self.dilation_rate}; expected 1 for one"
            )
        self.groups = positive(groups, f"{self.name}: groups")
        if self.groups > 1:
            raise ValueError(f"{self.name}: groups is {groups}; expected 1, every filter sees all inputs")
        self.activation = activations.get(activation)
        self.use_bias = flag(use_bias, f"{self.name}: use_bias")
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.windows = Windows(self.kernel_size, self.strides, self.dilation_rate, self.padding)

    def build(self, input_shape):
        shape = (self.kernel_size, input_shape[-1], self.filters)
        self.add_by_options("kernel", shape)
        if self.use_bias:
            shape = (self.filters,)
            self.add_by_options("bias", shape)
        else:
            self.bias = None

    def check_shape(self, shape):
        super().check_shape(shape)
        check_steps(self.windows, shape, self.name)

    def call(self, x, mask=None, training=False):
        warn_of_mask(mask, self.name)
        self._x = x
        rows, steps, _ = x.shape
        z = np.zeros((rows, self.windows.count(steps), self.filters), x.dtype)
        with np.errstate(invalid="ignore"):  # on some processors a BLAS raises it for finite numbers
            for k, outputs, inputs in self.windows.places(steps):
                own = z[:, outputs]
                own += (_rows(x[:, inputs]) @ self.kernel[k]).reshape(own.shape)
        return self.activate(z + self.bias if self.use_bias else z)

    def backward_from_logits(self, dz):
        # z[outputs] = sum over k of x[inputs] @ kernel[k] + bias
        x, kernel = self._x, self.kernel
        dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
        with np.errstate(invalid="ignore"):
            for k, outputs, inputs in self.windows.places(x.shape[1]):
                own, dz_rows = dx[:, inputs], _rows(dz[:, outputs])
                own += (dz_rows @ kernel[k].T).reshape(own.shape)
                dkernel[k] = _rows(x[:, inputs]).T @ dz_rows
        gradients = {"kernel": dkernel, "bias": dz.sum(axis=(0, 1))}
        self.gradients = {name: gradients[name] for name in self.own_weights}
        return dx

    def compute_mask(self, x, mask=None):
        return None

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        rows, steps, _ = input_shape
        return (rows, None if steps is None else self.windows.count(steps), self.filters)


def _rows(steps: np.ndarray) -> np.ndarray:
    """Return the steps of all rows one below the other: one large product is faster than one a row."""
    return steps.reshape(-1, steps.shape[-1])
