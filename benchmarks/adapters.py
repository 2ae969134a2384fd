"""How each library is told to do the work of a case. Runs in the worker; a library is imported when it is made.

One is made for each case: it has ``libraries`` (names, for their versions), ``load(case, x, y, weights)``, ``check()``
and ``time(steps)``. Weights come and go in the order and layout of Keras's ``get_weights``.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from .cases import Case

CHECKED = 2  # batches whose outputs are compared


def per_call(function: Callable[[], object], times: int) -> float:
    """Return the seconds a call takes, on average over so many."""
    begin = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - begin) / times


def processors() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def steps(before: list[np.ndarray], after: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a step changed in each weight."""
    return {f"step of weight {n}": new - old for n, (old, new) in enumerate(zip(before, after, strict=True))}


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


class OnnxRuntime:
    """ONNX Runtime on the file that ``rnncore.interop.onnx`` writes of the case's model, batch by batch."""

    libraries = ("onnxruntime",)

    def __init__(self):
        self.runtime = importlib.import_module("onnxruntime")

    def load(self, case: Case, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> None:
        from rnncore.interop.onnx import export

        ours, options = KerasLike("rnncore"), self.runtime.SessionOptions()
        ours.load(case, x, y, weights)
        options.intra_op_num_threads = processors()
        with tempfile.TemporaryDirectory() as folder:
            export(ours.model, Path(folder, "case.onnx"))
            self.session = self.runtime.InferenceSession(Path(folder, "case.onnx").read_bytes(), options)
        self.case, self.x = case, x.astype("int64")

    def check(self) -> dict[str, np.ndarray]:
        return {"outputs": self._predicted(self.x[: CHECKED * self.case.batch])}

    def time(self, steps: int) -> float:
        return per_call(lambda: self._predicted(self.x), steps)

    def _predicted(self, x):
        import numpy as np

        parts = np.split(x, range(self.case.batch, len(x), self.case.batch))
        return np.concatenate([self.session.run(None, {"x": part})[0] for part in parts])


class Lecture:
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

    def time(self, steps: int) -> float:
        if self.case.work != "train":
            return per_call(lambda: self._predicted(self.x), steps)
        self._step(0)
        batches = iter(range(1, steps + 1))
        return per_call(lambda: self._step(next(batches)), steps)

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
        rows = slice(batch * self.case.batch, (batch + 1) * self.case.batch)
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


class PyTorch:
    """A plain loop: forward, backward, step of the fused Adam. Time first, and packed where there is padding.

    The second of the two biases that torch.nn.RNN and LSTM have is held at 0: it is trained nowhere else.
    """

    libraries = ("torch",)

    def __init__(self):
        self.torch = torch = importlib.import_module("torch")
        torch.set_num_threads(processors())

    def load(self, case: Case, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> None:
        self.case, self.weights = case, weights
        self.x, self.y = self.torch.from_numpy(x), self.torch.from_numpy(y)
        nn = self.torch.nn
        self.embedding = nn.Embedding(case.vocabulary, case.embedding)
        self.recurrent = getattr(nn, {"SimpleRNN": "RNN"}.get(case.layer, case.layer))(
            case.embedding, case.units, case.depth, bidirectional=case.bidirectional
        )
        self.dense = nn.Linear(case.directions * case.units, 1)
        for name, parameter in self.recurrent.named_parameters():
            parameter.requires_grad_(case.layer == "GRU" or "bias_hh" not in name)
        self._start_with("Adam", fused=True)

    def check(self) -> dict[str, np.ndarray]:
        found = {"outputs": self._predicted(self.x[: CHECKED * self.case.batch])}
        if self.case.work == "train":
            self._start_with("SGD", lr=1.0)
            found["loss"] = [self._step(0)]
            found |= steps(self.weights, self._weights())
            self._start_with("Adam", fused=True)
        return found

    def time(self, steps: int) -> float:
        if self.case.work != "train":
            return per_call(lambda: self._predicted(self.x), steps)
        self._step(0)
        batches = iter(range(1, steps + 1))
        return per_call(lambda: self._step(next(batches)), steps)

    def _logits(self, x):
        vectors = self.embedding(x.t())
        if self.case.mask:
            lengths = (x != 0).sum(1)
            vectors = self.torch.nn.utils.rnn.pack_padded_sequence(vectors, lengths, enforce_sorted=False)
        _, last = self.recurrent(vectors)
        h = last[0] if self.case.layer == "LSTM" else last
        return self.dense(self.torch.cat(list(h[-self.case.directions :]), dim=-1))

    def _predicted(self, x):
        with self.torch.inference_mode():
            return self.torch.cat([self._logits(part).sigmoid() for part in x.split(self.case.batch)]).numpy()

    def _step(self, batch):
        rows = slice(batch * self.case.batch, (batch + 1) * self.case.batch)
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.binary_cross_entropy_with_logits(self._logits(self.x[rows]), self.y[rows])
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _start_with(self, optimizer, **options):
        from rnncore.interop import weights_to_torch

        table, *recurrent, kernel, bias = self.weights
        apiece = 3 * self.case.directions
        layers = [recurrent[n : n + apiece] for n in range(0, len(recurrent), apiece)]
        parts = {
            self.embedding: {"weight": table},
            self.recurrent: weights_to_torch(layers),
            self.dense: {"weight": kernel.T, "bias": bias},
        }
        for module, state in parts.items():
            module.load_state_dict({name: self.torch.tensor(array) for name, array in state.items()})
        parameters = [parameter for module in parts for parameter in module.parameters()]
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        self.optimizer = getattr(self.torch.optim, optimizer)(trained, **options)

    def _weights(self):
        from rnncore.interop import weights_from_torch

        recurrent = [array for layer in weights_from_torch(self._state(self.recurrent)) for array in layer]
        dense = self._state(self.dense)
        return [self._state(self.embedding)["weight"], *recurrent, dense["weight"].T, dense["bias"]]

    def _state(self, module):
        return {name: value.detach().numpy() for name, value in module.state_dict().items()}
