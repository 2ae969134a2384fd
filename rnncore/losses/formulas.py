"""The losses' formulas, each (B, ..., C) -> (B, ...), and under it its derivative, (B, ..., C) -> (B, ..., C).

y is the target, p a prediction or probability, z its logit (pre-activation); `ids` are targets that are classes by
number, of shape (B, ...).
"""

from __future__ import annotations

import math

import numpy as np

from ..activations import log_softmax, sigmoid, softmax

# Probabilities are kept this far from 0 and 1 before their logarithm is taken (keras.config.epsilon()).
EPSILON = 1e-7


def squared_error(y, p):
    return np.mean((p - y) ** 2, axis=-1)


def squared_error_gradient(y, p):
    return 2 * (p - y) / p.shape[-1]


def absolute_error(y, p):
    return np.mean(np.abs(p - y), axis=-1)


def absolute_error_gradient(y, p):
    return np.sign(p - y) / p.shape[-1]


def percentage_error(y, p):
    return 100 * np.mean(np.abs(p - y) / np.maximum(np.abs(y), EPSILON), axis=-1)


def percentage_error_gradient(y, p):
    return 100 * np.sign(p - y) / np.maximum(np.abs(y), EPSILON) / p.shape[-1]


def squared_logarithmic_error(y, p):
    return np.mean((_log_after_one(p) - _log_after_one(y)) ** 2, axis=-1)


def squared_logarithmic_error_gradient(y, p):
    error = _log_after_one(p) - _log_after_one(y)
    return np.where(p < EPSILON, 0, 2 * error / (np.maximum(p, EPSILON) + 1) / p.shape[-1])


def huber_error(y, p, delta):
    error = np.abs(p - y)
    return np.mean(np.where(error <= delta, error**2 / 2, delta * error - delta**2 / 2), axis=-1)


def huber_error_gradient(y, p, delta):
    return np.clip(p - y, -delta, delta) / p.shape[-1]


def log_cosh_error(y, p):
    # log cosh e = log(exp(e) + exp(-e)) - log 2
    return np.mean(np.logaddexp(p - y, y - p) - math.log(2), axis=-1)


def log_cosh_error_gradient(y, p):
    return np.tanh(p - y) / p.shape[-1]


def negative_cosine(y, p):
    return -np.sum(_unit(y) * _unit(p), axis=-1)


def negative_cosine_gradient(y, p):
    # q = p/|p|; d(-y·q)/dp = (q (y·q) - y) / |p|, y of length 1. A p shorter than EPSILON is divided by that instead.
    length, y, q = _length(p), _unit(y), _unit(p)
    along = np.where(length > EPSILON, np.sum(y * q, axis=-1, keepdims=True), 0)
    return (q * along - y) / np.maximum(length, EPSILON)


def divergence(y, p):
    y, p = _clipped(y, most=1), _clipped(p, most=1)
    return np.sum(y * np.log(y / p), axis=-1)


def divergence_gradient(y, p):
    return _through_clip(p, -_clipped(y, most=1) / _clipped(p, most=1), most=1)


def poisson_likelihood(y, p):
    return np.mean(p - y * np.log(p + EPSILON), axis=-1)


def poisson_likelihood_gradient(y, p):
    return (1 - y / (p + EPSILON)) / p.shape[-1]


def margin(y, p):
    return np.mean(np.maximum(1 - y * p, 0), axis=-1)


def margin_gradient(y, p):
    return np.where(y * p <= 1, -y, 0) / p.shape[-1]


def squared_margin(y, p):
    return np.mean(np.maximum(1 - y * p, 0) ** 2, axis=-1)


def squared_margin_gradient(y, p):
    return -2 * y * np.maximum(1 - y * p, 0) / p.shape[-1]


def categorical_margin(y, p):
    return np.maximum(np.max((1 - y) * p, axis=-1) - np.sum(y * p, axis=-1) + 1, 0)


def categorical_margin_gradient(y, p):
    wrong = (1 - y) * p
    worst = wrong.max(axis=-1, keepdims=True)
    share = (wrong == worst).astype(p.dtype)  # of equal ones each takes its part, as TensorFlow's maximum
    share /= share.sum(axis=-1, keepdims=True)
    return np.where(worst - np.sum(y * p, axis=-1, keepdims=True) + 1 >= 0, (1 - y) * share - y, 0)


def binary_from_probabilities(y, p):
    p = _clipped(p)
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p), axis=-1)


def binary_from_probabilities_gradient(y, p):
    c = _clipped(p)
    return _through_clip(p, (c - y) / (c * (1 - c)) / p.shape[-1])


def binary_from_logits(y, z):
    # -y log s(z) - (1-y) log s(-z), written so that no exponential overflows and no logarithm sees a 0
    return np.mean(np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z))), axis=-1)


def binary_from_logits_gradient(y, z):
    return (sigmoid(z) - y) / z.shape[-1]


def categorical_from_probabilities(y, p):
    p = _clipped(p / p.sum(axis=-1, keepdims=True))
    return -np.sum(y * np.log(p), axis=-1)


def categorical_from_probabilities_gradient(y, p):
    total = p.sum(axis=-1, keepdims=True)
    q = p / total
    dq = _through_clip(q, -y / _clipped(q))
    return (dq - np.sum(dq * q, axis=-1, keepdims=True)) / total


def categorical_from_logits(y, z):
    return -np.sum(y * log_softmax(z), axis=-1)


def categorical_from_logits_gradient(y, z):
    # For a y that sums to 1 over the classes; TensorFlow's gradient takes that for granted too.
    return softmax(z) - y


def sparse_from_probabilities(ids, p):
    # Clipping is followed by dividing by the sum, where the categorical form divides first: so does Keras.
    p = _clipped(p)
    return np.log(p.sum(axis=-1)) - np.log(_chosen(ids, p))


def sparse_from_probabilities_gradient(ids, p):
    c = _clipped(p)
    return _through_clip(p, 1 / c.sum(axis=-1, keepdims=True) - _one_hot(ids, c) / c)


def sparse_from_logits(ids, z):
    return -_chosen(ids, log_softmax(z))


def sparse_from_logits_gradient(ids, z):
    return softmax(z) - _one_hot(ids, z)


def _clipped(p, most=1 - EPSILON):
    return np.clip(p, EPSILON, most)


def _through_clip(p, gradient, most=1 - EPSILON):
    return np.where((p < EPSILON) | (p > most), 0, gradient)


def _log_after_one(x):
    return np.log(np.maximum(x, EPSILON) + 1)


def _length(x):
    return np.sqrt(np.sum(x * x, axis=-1, keepdims=True))


def _unit(x):
    return x / np.maximum(_length(x), EPSILON)


def _chosen(ids, p):
    return np.take_along_axis(p, ids[..., None], axis=-1)[..., 0]


def _one_hot(ids, p):
    return (np.arange(p.shape[-1]) == ids[..., None]).astype(p.dtype)
