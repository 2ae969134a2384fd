"""NumPy alone, with the lecture's loops."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .base import CHECKED, Loop, steps

if TYPE_CHECKING:
    import numpy as np

    from ..cases import Case


class Lecture(Loop):
    """What a student writes: the lecture's loops, in rnncore/bptt/lecture.py, and Adam over all weights, in NumPy."""

    libraries = ("numpy",)

    def __init__(self):
        self.np = importlib.import_module("numpy")

    def load(self, case: Case, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> None:
        from rnncore.bptt import lecture

        name = {"LSTM": "lstm", "SimpleRNN": "rnn"}[case.layer]
        self.forward, self.backward = getattr(lecture, f"{name}_forward"), getattr(lecture, f"{name}_backward")
        self.case, self.x, self.y, self.given = case, x, y, weights
        self._start()

    def check(self) -> dict[str, np.ndarray]:
        found = {"outputs": self._predicted(self.x[: CHECKED * self.case.batch])}
        if self.case.work == "train":
            loss, gradients = self._gradients(0)
            found |= {"loss": [loss]} | steps(gradients, [0 * gradient for gradient in gradients])
        return found

    def _start(self):
        self.weights, self.t = [weight.copy() for weight in self.given], 0
        self.m, self.v = ([self.np.zeros_like(weight) for weight in self.weights] for _ in range(2))

    def _run(self, x):
        table, W, U, b, V, c = self.weights
        start = self.np.zeros((len(x), self.case.units), table.dtype)
        states = (start, start) if self.case.layer == "LSTM" else (start,)
        hs, cache = self.forward(table[x.T], *states, W, U, b)
        return hs, cache, 1 / (1 + self.np.exp(-(hs[-1] @ V + c)))

    def _predicted(self, x):
        return self.np.concatenate(
            [self._run(x[n : n + self.case.batch])[2] for n in range(0, len(x), self.case.batch)]
        )

    def _gradients(self, batch):
        rows = self._rows(batch)
        x, y = self.x[rows], self.y[rows]
        table, W, U, _, V, _ = self.weights
        hs, cache, p = self._run(x)
        dlogits, dh = (p - y) / len(y), self.np.zeros_like(hs)
        dh[-1] = dlogits @ V.T
        dx, *_, dW, dU, db = self.backward(dh, cache, W, U)
        dtable = self.np.zeros_like(table)
        self.np.add.at(dtable, x.T, dx)
        loss = -self.np.mean(self.np.where(y == 1, self.np.log(p), self.np.log(1 - p)))
        return float(loss), [dtable, dW, dU, db, hs[-1].T @ dlogits, dlogits.sum(axis=0)]

    def _step(self, batch):
        loss, gradients = self._gradients(batch)
        self.t += 1
        rate = 1e-3 * (1 - 0.999**self.t) ** 0.5 / (1 - 0.9**self.t)
        for w, g, m, v in zip(self.weights, gradients, self.m, self.v, strict=True):
            m += 0.1 * (g - m)  # in place: no array is taken anew each step
            v += 0.001 * (g * g - v)
            w -= rate * m / (self.np.sqrt(v) + 1e-7)
        return loss
