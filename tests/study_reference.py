"""Models written out in torch with single-step cells, so that every gate and state is a tensor of its own.

The equations here are written from the cells' papers, and read nothing of rnncore but options and weights. `Written`
takes a model's layers; `run` goes through them and keeps each value by the names of `rnncore.study`, with its gradient.
Sizes: B rows, T steps, D inputs, H units.
"""

from dataclasses import dataclass, field

import numpy as np
from cases import PATTERNS, masks, randomize

from rnncore import Sequential, layers

CELLS = ("SimpleRNN", "LSTM", "GRU", "GRU reset before", "CarryRNN")


def sizes(rng):
    return tuple(int(n) for n in rng.integers(1, (5, 7, 5)))


def draw(rng, activations=("tanh", "softsign")):
    """Return a random model in float64, compiled, and x, y, mask for it."""
    B, T, D = sizes(rng)
    depth = int(rng.integers(1, 4))
    kinds = [CELLS[n] for n in rng.integers(len(CELLS), size=depth)]
    stack = []
    for n, kind in enumerate(kinds):
        options = {
            "return_sequences": n < depth - 1 or bool(rng.integers(2)),
            "zero_output_for_mask": bool(rng.integers(2)),
            "use_bias": bool(rng.integers(4)),
            "activation": activations[rng.integers(len(activations))],
            "dtype": "float64",
            "name": f"layer{n}",
        }
        if kind == "GRU reset before":
            options["reset_after"] = False
        make = getattr(layers, kind.split()[0])
        way = rng.integers(3)
        layer = make(int(rng.integers(1, 5)), go_backwards=bool(way == 1), **options)
        if way == 2:
            merge = ["concat", "sum", "mul", "ave"][int(rng.integers(4))]
            layer = layers.Bidirectional(layer, merge, name=f"both{n}")
        stack.append(layer)
    model = Sequential([*stack, layers.Dense(2, dtype="float64")])
    model.compile("sgd", "mse")
    x = rng.standard_normal((B, T, D))
    model.build(x.shape)
    randomize(model, rng, 0.7)
    mask = masks(PATTERNS[int(rng.integers(len(PATTERNS)))], B, T, rng)
    y = rng.standard_normal(model(x, mask=mask).shape)
    return model, x, y, mask


@dataclass
class Written:
    """A model written out; `kept` has each recurrent layer's tensors by name, a list of T in the order of x.

    `changes` is {"layer.name": function of (t, tensor)}: t in x. `last` has the states after the last step.
    """

    model: Sequential
    changes: dict = field(default_factory=dict)
    kept: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    last: dict = field(default_factory=dict)
    states: dict = field(default_factory=dict)

    def run(self, x, mask):
        import torch

        self.kept.clear()
        y = x
        for layer in self.model.layers:
            if isinstance(layer, layers.Dense):
                kernel, bias = self._weights(layer)
                y = y @ kernel + bias
            elif isinstance(layer, layers.Bidirectional):
                one, other = (self._recurrent(half, y, mask) for half in layer.children())
                if layer.forward_layer.return_sequences:
                    other = other.flip(1)
                merge = {
                    "concat": lambda a, b: torch.cat([a, b], -1),
                    "sum": lambda a, b: a + b,
                    "mul": lambda a, b: a * b,
                    "ave": lambda a, b: (a + b) / 2,
                }
                y = merge[layer.merge_mode](one, other)
                mask = mask if layer.forward_layer.return_sequences else None
            else:
                y = self._recurrent(layer, y, mask)
                mask = mask if layer.return_sequences else None
        return y

    def _weights(self, part):
        import torch

        if part not in self.weights:
            self.weights[part] = [torch.tensor(w, requires_grad=True) for w in part.get_weights()]
        return self.weights[part]

    def _recurrent(self, layer, x, mask):
        """Return the output of a recurrent layer, after the masks' rules."""
        import torch

        B, T, _ = x.shape
        H, name = layer.units, layer.name
        kind = type(layer).__name__
        weights = dict(zip(layer.cell.weight_names, self._weights(layer), strict=True))
        kept = self.kept[name] = {}
        h, c = (torch.zeros(B, H, dtype=torch.float64) for _ in range(2))
        shown = torch.zeros(B, 1, dtype=torch.bool)
        output, outputs = torch.zeros(B, H, dtype=torch.float64), []
        order = range(T)[:: -1 if layer.go_backwards else 1]

        def note(what, t, value):
            change = self.changes.get(f"{name}.{what}")
            value = value if change is None else change(t, value)
            value = value + 0  # a tensor of its own
            if value.requires_grad:
                value.retain_grad()
            kept.setdefault(what, [None] * T)[t] = value
            return value

        squash = {"tanh": torch.tanh, "softsign": torch.nn.functional.softsign}[layer.activation.name]
        for t in order:
            step = {"LSTM": self._lstm, "CarryRNN": self._carry, "GRU": self._gru, "SimpleRNN": self._simple}[kind]
            x_t = note("x", t, x[:, t])
            h_prev, c_prev = note("h_prev", t, h), note("c_prev", t, c)
            h_new, c_new = step(layer, weights, x_t, h_prev, c_prev, lambda what, v, t=t: note(what, t, v), squash)
            keep = torch.ones(B, 1, dtype=torch.bool) if mask is None else mask[:, t : t + 1]
            h, c = torch.where(keep, h_new, h_prev), torch.where(keep, c_new, c_prev)
            shown = shown | keep
            output = torch.where(keep, h_new, torch.zeros_like(h) if layer.zero_output_for_mask else output)
            outputs.append(output)
        self.last[name] = {"h": h, "c": c}
        self.states[name] = ["h", "c"] if kind in ("LSTM", "CarryRNN") else ["h"]
        return torch.stack(outputs, 1) if layer.return_sequences else outputs[-1]

    @staticmethod
    def _sums(weights, x, h, gates, H):
        """Return the input and the recurrent parts of each gate, biases with the input's (of two with their own)."""
        import torch

        bias = weights.get("bias", torch.zeros(gates * H, dtype=torch.float64))
        own, other = bias if bias.ndim == 2 else (bias, torch.zeros_like(bias))
        inner = (x @ weights["kernel"] + own).split(H, 1)
        return inner, (h @ weights["recurrent_kernel"] + other).split(H, 1)

    def _lstm(self, layer, weights, x, h, c, note, squash):
        a, b = self._sums(weights, x, h, 4, layer.units)
        z = {g: note(f"z_{g}", p + q) for g, p, q in zip("ifko", a, b, strict=True)}
        i, f, k, o = (note(g, squash(z[g]) if g == "k" else z[g].sigmoid()) for g in "ifko")
        c = note("c", i * k + f * c)
        return note("h", o * squash(c)), c

    def _carry(self, layer, weights, x, h, c, note, squash):
        a, b = self._sums(weights, x, h, 4, layer.units)
        b = [*b[:3], b[3] + c @ weights["carry_kernel"]]
        z = {g: note(f"z_{g}", p + q) for g, p, q in zip("ifko", a, b, strict=True)}
        i, f, k = note("i", z["i"].sigmoid()), note("f", z["f"].sigmoid()), note("k", squash(z["k"]))
        return note("h", squash(z["o"])), note("c", i * k + f * c)

    def _gru(self, layer, weights, x, h, c, note, squash):
        import torch

        H = layer.units
        (x_z, x_r, x_k), (u_z, u_r, u_k) = self._sums(weights, x, h, 3, H)
        z, r = note("z", note("z_z", x_z + u_z).sigmoid()), note("r", note("z_r", x_r + u_r).sigmoid())
        if layer.reset_after:
            k = squash(note("x_k", x_k) + r * note("u_k", u_k))
        else:
            s = note("s", r * h)
            bias = weights["bias"][2 * H :] if "bias" in weights else torch.zeros(H, dtype=torch.float64)
            k = squash(
                note("z_k", x @ weights["kernel"][:, 2 * H :] + bias + s @ weights["recurrent_kernel"][:, 2 * H :])
            )
        k = note("k", k)
        return note("h", z * h + (1 - z) * k), c

    def _simple(self, layer, weights, x, h, c, note, squash):
        (a,), (b,) = self._sums(weights, x, h, 1, layer.units)
        return note("h", squash(note("z_a", a + b))), c


def arrays_of(tensors, gradient=False):
    """Return tensors of each step, or their gradients, as (B, T, H); of what nothing depends on the gradient is 0."""
    found = []
    for tensor in tensors:
        value = (np.zeros(tensor.shape) if tensor.grad is None else tensor.grad) if gradient else tensor.detach()
        found.append(np.asarray(value))
    return np.stack(found, axis=1)
