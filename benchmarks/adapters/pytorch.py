"""PyTorch."""

from __future__ import annotations

import importlib
from types import FunctionType, MethodType
from typing import TYPE_CHECKING

from .base import CHECKED, Loop, processors, steps

if TYPE_CHECKING:
    import numpy as np

    from ..cases import Case


class PyTorch(Loop):
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
        rows = self._rows(batch)
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


class PyTorchPadded(PyTorch):
    """The same on padded arrays, for masked cases of one layer: padding comes after a row's words.

    Each direction is a module of its own, which shares the parameters of the one that `PyTorch` trains. The backward
    one reads each row's words from the last to the first, then the padding. Of both the state after a row's last step
    that is no padding is what counts; later ones get no gradient. As in `PyTorch`, each row has a word.
    """

    def load(self, case: Case, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> None:
        super().load(case, x, y, weights)
        self.readers = []
        for suffix in ("", "_reverse")[: case.directions]:
            reader = type(self.recurrent)(case.embedding, case.units)
            for name, _ in list(reader.named_parameters()):
                setattr(reader, name, getattr(self.recurrent, name + suffix))
            self.readers.append(reader)

    def _logits(self, x):
        lengths, places = (x != 0).sum(1, keepdim=True), self.torch.arange(x.shape[1])
        orders = [places, (lengths - 1 - places) % x.shape[1]]  # the words backwards, then padding
        ways = [x.gather(1, order.expand_as(x)).t() for order in orders[: self.case.directions]]
        vectors = self.embedding(self.torch.stack(ways))  # one look-up: one gradient as large as the table
        last = (lengths.view(-1) - 1, places.new_tensor(range(len(x))))
        states = [reader(own)[0][last] for reader, own in zip(self.readers, vectors, strict=True)]
        return self.dense(self.torch.cat(states, dim=-1))


class PyTorchCompiled(PyTorch):
    """The same with torch.compile, as it is set by default, around the forward pass."""

    def load(self, case: Case, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> None:
        super().load(case, x, y, weights)
        # The compiler keeps what it made, and which sizes it saw change, by a code's name: each case has its own.
        code = PyTorch._logits.__code__.replace(co_name=f"logits_{case.name}")
        self._logits = self.torch.compile(MethodType(FunctionType(code, globals()), self))
