"""The optimizers' formulas: how a gradient changes a weight and what is kept beside it.

Each rule is a plain function of one entry, or of arrays elementwise. Its arguments' names say what it gets: the weight
w, its gradient g, `square` (g²) or `size` (|g|) of it, the slots by their names, then the numbers of the step (see
`kernels.updates`). It returns the new w and the new slots. The references are those of `rnncore.optimizers`.

A rule is computed in the order in which it stands: its bits are the same in NumPy and compiled, and are Keras's order
of operations.
"""

from __future__ import annotations

import numpy as np


def moved(mean, value, rest):
    """Return a running mean, moved towards `value` by the share `rest` of the way."""
    return mean + (value - mean) * rest


def faded(mean, value, rho, rest):
    """Return a running mean, of which the share `rho` stays."""
    return rho * mean + rest * value


# --- SGD [1]_ -------------------------------------------------------------------------------------------------------


def sgd(w, g, lr):
    return w - lr * g


def pushed(momentum, g, lr, mu):
    """Return the momentum after a gradient."""
    return mu * momentum - lr * g


def sgd_momentum(w, g, momentum, lr, mu):
    momentum = pushed(momentum, g, lr, mu)
    return w + momentum, momentum


def sgd_nesterov(w, g, momentum, lr, mu):
    momentum = pushed(momentum, g, lr, mu)
    return w + pushed(momentum, g, lr, mu), momentum


# --- RMSprop [2]_ ---------------------------------------------------------------------------------------------------


def rmsprop(w, g, square, velocity, lr, rho, rest, epsilon):
    velocity = faded(velocity, square, rho, rest)
    return w - lr * g / np.sqrt(velocity + epsilon), velocity


def rmsprop_momentum(w, g, square, velocity, momentum, lr, rho, rest, epsilon, mu):
    velocity = faded(velocity, square, rho, rest)
    momentum = mu * momentum + lr * g / np.sqrt(velocity + epsilon)
    return w - momentum, velocity, momentum


def rmsprop_centered(w, g, square, velocity, average_gradient, lr, rho, rest, epsilon):
    velocity, average_gradient = faded(velocity, square, rho, rest), faded(average_gradient, g, rho, rest)
    variance = velocity - average_gradient * average_gradient
    return w - lr * g / np.sqrt(variance + epsilon), velocity, average_gradient


def rmsprop_centered_momentum(w, g, square, velocity, average_gradient, momentum, lr, rho, rest, epsilon, mu):
    velocity, average_gradient = faded(velocity, square, rho, rest), faded(average_gradient, g, rho, rest)
    variance = velocity - average_gradient * average_gradient
    momentum = mu * momentum + lr * g / np.sqrt(variance + epsilon)
    return w - momentum, velocity, average_gradient, momentum


# --- Adam [3]_ and what came of it ----------------------------------------------------------------------------------


def adam(w, g, square, momentum, velocity, alpha, rest_1, rest_2, epsilon):
    momentum, velocity = moved(momentum, g, rest_1), moved(velocity, square, rest_2)
    return w - momentum * alpha / (np.sqrt(velocity) + epsilon), momentum, velocity


def amsgrad(w, g, square, momentum, velocity, velocity_hat, alpha, rest_1, rest_2, epsilon):  # [4]_
    momentum, velocity = moved(momentum, g, rest_1), moved(velocity, square, rest_2)
    velocity_hat = np.maximum(velocity_hat, velocity)
    return w - momentum * alpha / (np.sqrt(velocity_hat) + epsilon), momentum, velocity, velocity_hat


def adamax(w, g, size, momentum, norm, alpha, rest_1, beta_2, epsilon):  # [3]_, section 7
    momentum, norm = moved(momentum, g, rest_1), np.maximum(beta_2 * norm, size)
    return w - alpha * momentum / (norm + epsilon), momentum, norm


def nadam(w, g, square, momentum, velocity, ahead, now, correction, rest_1, rest_2, epsilon):  # [8]_
    momentum, velocity = moved(momentum, g, rest_1), moved(velocity, square, rest_2)
    return w - (ahead * momentum + now * g) / (np.sqrt(velocity / correction) + epsilon), momentum, velocity


# --- others ---------------------------------------------------------------------------------------------------------


def adagrad(w, g, square, accumulator, lr, epsilon):  # [6]_
    accumulator = accumulator + square
    return w - lr * g / np.sqrt(accumulator + epsilon), accumulator


def adadelta(w, g, square, accumulated_grad, accumulated_delta_var, lr, rho, rest, epsilon):  # [7]_
    accumulated_grad = faded(accumulated_grad, square, rho, rest)
    ratio = np.sqrt(accumulated_delta_var + epsilon) / np.sqrt(accumulated_grad + epsilon)
    accumulated_delta_var = faded(accumulated_delta_var, ratio * ratio * square, rho, rest)
    return w - lr * (ratio * g), accumulated_grad, accumulated_delta_var


def lion(w, g, momentum, lr, beta_1, rest_1, beta_2, rest_2):  # [9]_
    return w - lr * np.sign(momentum * beta_1 + g * rest_1), momentum * beta_2 + g * rest_2
