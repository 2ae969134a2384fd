"""JAX without Keras: the recurrence is a `jax.lax.scan`."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING

from .base import CHECKED, Loop, steps

if TYPE_CHECKING:
    import numpy as np

    from ..cases import Case


class JaxScan(Loop):
    """What is written in JAX by hand: one compiled function a training step, with Adam in it.

    The products with the inputs are taken of all steps at once, before the scan. Where there is padding the scan keeps
    the states as they are, so that the backward direction starts at each row's last word.
    """

    libraries = ("jax", "jaxlib")

    def __init__(self):
        self.jax = importlib.import_module("jax")

    def load(self, case: Case, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> None:
        self.case, self.x, self.y = case, x, y
        self.cell = {"LSTM": self._lstm, "SimpleRNN": self._simple_rnn, "GRU": self._gru}[case.layer]
        self.probabilities = self.jax.jit(lambda weights, x: self.jax.nn.sigmoid(self._logits(weights, x)))
        self.gradients = self.jax.jit(self.jax.value_and_grad(self._loss))
        self.adam = self.jax.jit(self._adam)  # donating the state took longer: 64 against 53 ms, the lecture's model
        self.weights = [self.jax.numpy.array(weight) for weight in weights]
        moments = [[self.jax.numpy.zeros_like(weight) for weight in weights] for _ in range(2)]
        self.state = (self.jax.numpy.zeros(()), self.weights, *moments)

    def check(self) -> dict[str, np.ndarray]:
        found = {"outputs": self._predicted(self.x[: CHECKED * self.case.batch])}
        if self.case.work == "train":
            rows = self._rows(0)
            loss, gradients = self.gradients(self.weights, self.x[rows], self.y[rows])
            found |= {"loss": [loss]} | steps(gradients, [0 * gradient for gradient in gradients])
        return found

    def _predicted(self, x):
        import numpy as np

        parts = np.split(x, range(self.case.batch, len(x), self.case.batch))
        return np.concatenate([self.probabilities(self.weights, part) for part in parts])  # waits for each

    def _step(self, batch):
        rows = self._rows(batch)
        self.state, loss = self.jax.block_until_ready(self.adam(self.state, self.x[rows], self.y[rows]))
        return float(loss)

    # --- what is compiled --------------------------------------------------------------------------------------------

    def _adam(self, state, x, y):
        t, weights, ms, vs = state
        loss, gradients = self.jax.value_and_grad(self._loss)(weights, x, y)
        t = t + 1
        rate = 1e-3 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        ms = [m + 0.1 * (g - m) for m, g in zip(ms, gradients, strict=True)]
        vs = [v + 0.001 * (g * g - v) for v, g in zip(vs, gradients, strict=True)]
        weights = [w - rate * m / (v**0.5 + 1e-7) for w, m, v in zip(weights, ms, vs, strict=True)]
        return (t, weights, ms, vs), loss

    def _loss(self, weights, x, y):
        logits = self._logits(weights, x)
        return (self.jax.nn.softplus(logits) - y * logits).mean()

    def _logits(self, weights, x):
        table, *recurrent, kernel, bias = weights
        x, directions, np = x.T, self.case.directions, self.jax.numpy
        h, mask = table[x], x[:, :, None] != 0 if self.case.mask else None
        for n in range(0, len(recurrent), 3 * directions):
            layer = [recurrent[n + 3 * way : n + 3 * way + 3] for way in range(directions)]
            lasts, hs = zip(*[self._scan(h, mask, *own, way == 1) for way, own in enumerate(layer)], strict=True)
            h = np.concatenate(hs, axis=-1)
        return np.concatenate(lasts, axis=-1) @ kernel + bias

    def _scan(self, x, mask, W, U, b, backwards):
        """Return a layer's last output and those of all steps; compiled, what is not used is left out."""
        W_b, U_b = b if self.case.layer == "GRU" else (b, None)
        start = self.jax.numpy.zeros((x.shape[1], self.case.units), x.dtype)
        states = (start, start) if self.case.layer == "LSTM" else (start,)
        step = partial(self._one_step, U, U_b)
        (last, *_), hs = self.jax.lax.scan(step, states, (x @ W + W_b, mask), reverse=backwards)
        return last, hs

    def _one_step(self, U, U_b, states, inputs):
        z, seen = inputs
        new = self.cell(z, U, U_b, *states)
        if seen is not None:
            new = tuple(self.jax.numpy.where(seen, now, before) for now, before in zip(new, states, strict=True))
        return new, new[0]

    def _lstm(self, z, U, _, h, c):
        i, f, k, o = self.jax.numpy.split(z + h @ U, 4, axis=-1)
        sigmoid, tanh = self.jax.nn.sigmoid, self.jax.numpy.tanh
        c = sigmoid(f) * c + sigmoid(i) * tanh(k)
        return sigmoid(o) * tanh(c), c

    def _simple_rnn(self, z, U, _, h):
        return (self.jax.numpy.tanh(z + h @ U),)

    def _gru(self, x, U, U_b, h):
        split, sigmoid = self.jax.numpy.split, self.jax.nn.sigmoid
        (x_z, x_r, x_k), (h_z, h_r, h_k) = split(x, 3, axis=-1), split(h @ U + U_b, 3, axis=-1)
        z = sigmoid(x_z + h_z)
        k = self.jax.numpy.tanh(x_k + sigmoid(x_r + h_r) * h_k)
        return (z * h + (1 - z) * k,)
