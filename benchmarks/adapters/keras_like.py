"""Keras, and rnncore, which has its names."""

from __future__ import annotations

import importlib
import os
import time
from typing import TYPE_CHECKING

from .base import CHECKED, per_call, steps

if TYPE_CHECKING:
    import numpy as np

    from ..cases import Case


class KerasLike:
    """Keras, or what has its names.

    Parameters
    ----------
    library : str
        The package.
    jit_compile : {"", "no", "yes"}
        Keras's argument of `compile`; nothing where it is left to choose, or has none.
    dense_gradient : {"", "yes"}
        rnncore's argument of `Embedding`.
    """

    def __init__(self, library: str, jit_compile: str = "", dense_gradient: str = ""):
        self.library = importlib.import_module(library)
        self.layers, self.optimizers, self.callbacks = (
            importlib.import_module(f"{library}.{part}") for part in ("layers", "optimizers", "callbacks")
        )
        self.options = {"jit_compile": jit_compile == "yes"} if jit_compile else {}
        self.embedding = {"dense_gradient": True} if dense_gradient else {}
        below = {"tensorflow": ["tensorflow"], "jax": ["jax", "jaxlib"]}.get(os.environ.get("KERAS_BACKEND"), [])
        self.libraries = [library, *(below if library == "keras" else ["numpy", "numba"])]

    def load(self, case: Case, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> None:
        self.case, self.x, self.y, self.weights = case, x, y, weights
        stack = [self.layers.Embedding(case.vocabulary, case.embedding, mask_zero=case.mask, **self.embedding)]
        for n in range(case.depth):
            layer = getattr(self.layers, case.layer)(
                case.units,
                return_sequences=n < case.depth - 1,
                dropout=case.dropout,
                recurrent_dropout=case.recurrent_dropout,
            )
            stack.append(self.layers.Bidirectional(layer) if case.bidirectional else layer)
        self.model = self.library.Sequential([*stack, self.layers.Dense(1, activation="sigmoid")])
        self.model.build((None, case.steps))
        self._start_with("Adam")

    def check(self) -> dict[str, np.ndarray]:
        rows = slice(self.case.batch)
        found = {"outputs": self.model.predict(self.x[: CHECKED * self.case.batch], verbose=0)}
        if self.case.work == "train":
            self._start_with("SGD", learning_rate=1.0)
            history = self.model.fit(self.x[rows], self.y[rows], batch_size=self.case.batch, verbose=0)
            found["loss"] = history.history["loss"]
            found |= steps(self.weights, self.model.get_weights())
            self._start_with("Adam")
        return found

    def time(self, steps: int) -> float:
        if self.case.work != "train":
            return per_call(self._predicted, steps)
        rows = slice((steps + 1) * self.case.batch)
        stamps: list[float] = []

        class Stamps(self.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                stamps.append(time.perf_counter())

        # From the end of the first batch on: what fit does once is not a step's.
        self.model.fit(
            self.x[rows], self.y[rows], batch_size=self.case.batch, shuffle=False, verbose=0, callbacks=[Stamps()]
        )
        return (stamps[-1] - stamps[0]) / steps

    def _predicted(self):
        if self.case.work == "call" and hasattr(self.model, "predict_on_batch"):
            return self.model.predict_on_batch(self.x)
        return self.model.predict(self.x, batch_size=self.case.batch, verbose=0)

    def _start_with(self, optimizer, **options):
        self.model.set_weights(self.weights)
        chosen = getattr(self.optimizers, optimizer)(**options)
        self.model.compile(chosen, "binary_crossentropy", **self.options)
