"""Recurrent layers here and in PyTorch: same weights, inputs, padding, initial states and upstream gradients.

A `Case` says what to compare, `run_ours` and `run_torch` return everything that comes out under the same names.
Sizes: B rows, T steps, D inputs, H units, S states (1, or h and c), K = layers x directions. torch is imported only
when a case runs.
"""

from dataclasses import dataclass

import numpy as np
from keras_reference import assert_close

from rnncore import config, layers
from rnncore.interop import weights_from_torch

MODULES = {"SimpleRNN": "RNN", "LSTM": "LSTM", "GRU": "GRU"}
SIZES = (1, 2, 3, 4, 5, 8, 9, 17, 33)
STEPS = (1, 2, 3, 5, 8, 13)
FORWARD, GRADIENT = ({"float32": single, "float64": 1e-10} for single in (1e-5, 1e-4))
# A gradient that all but vanishes is judged by this share of the largest one: it went through factors 1 - h^2 with h
# next to 1, and float32 holds few of their digits.
LEAST = {"float32": 1e-2, "float64": 0.0}


@dataclass(frozen=True)
class Case:
    layer: str
    shape: tuple[int, int, int] = (5, 7, 4)  # of x: (B, T, D)
    units: int = 6
    depth: int = 1  # layers on top of one another
    bidirectional: bool = False
    packed: bool = False  # sequences of different lengths: packed there, masked here
    initial_state: bool = True
    use_bias: bool = True
    return_sequences: bool = True  # False: the last output, from the last layer's h_n
    activation: str = "tanh"
    dtype: str = "float64"
    backend: str = "numba"
    seed: int = 0


class Data:
    """What goes in, drawn for a case."""

    def __init__(self, case: Case):
        rng = np.random.default_rng(case.seed)
        B, T, _ = case.shape
        directions = 1 + case.bidirectional
        states = (case.depth * directions, 1 + (case.layer == "LSTM"), B, case.units)  # (K, S, B, H)

        def normal(*shape, scale=1.0):
            return (scale * rng.standard_normal(shape)).astype(case.dtype)

        self.x = normal(*case.shape)
        self.lengths = rng.integers(1, T + 1, B) if case.packed else None
        self.mask = np.arange(T) < self.lengths[:, None] if case.packed else None
        # about 0.6 / sqrt(columns): relu stays bounded over the steps
        self.state = {
            name: normal(*weight.shape, scale=0.6 / np.sqrt(weight.shape[1]) if weight.ndim > 1 else 0.5)
            for name, weight in module_of(case).state_dict().items()
        }
        self.initial = normal(*states) if case.initial_state else None
        self.dy = normal(B, *([T] if case.return_sequences else []), case.units * directions)
        self.dlast = normal(*states)


def draw_case(rng: np.random.Generator) -> Case:
    """Return a random case; the compiled backend keeps tanh, it compiles each activation anew."""

    def pick(values):
        return values[rng.integers(len(values))]

    flags = ("bidirectional", "packed", "initial_state", "use_bias", "return_sequences")
    layer, backend = pick(list(MODULES)), pick(config.BACKENDS)
    return Case(
        layer,
        (pick(SIZES), pick(STEPS), pick(SIZES)),
        pick(SIZES),
        depth=pick((1, 2)),
        **{name: bool(pick((False, True))) for name in flags},
        activation=pick(("tanh", "relu")) if (layer, backend) == ("SimpleRNN", "numpy") else "tanh",
        dtype=pick(list(FORWARD)),
        backend=backend,
        seed=int(rng.integers(2**31)),
    )


def module_of(case: Case):
    import torch

    options = {"nonlinearity": case.activation} if case.layer == "SimpleRNN" else {}
    return getattr(torch.nn, MODULES[case.layer])(
        case.shape[2],
        case.units,
        case.depth,
        bias=case.use_bias,
        batch_first=True,
        bidirectional=case.bidirectional,
        dtype=getattr(torch, case.dtype),
        **options,
    )


def layers_of(case: Case) -> list[layers.Layer]:
    made = []
    for n in range(case.depth):
        shown = case.return_sequences or n < case.depth - 1
        layer = getattr(layers, case.layer)(
            case.units,
            activation=case.activation,
            use_bias=case.use_bias,
            return_sequences=shown,
            return_state=True,
            zero_output_for_mask=shown,  # as pad_packed_sequence fills up
            dtype=case.dtype,
        )
        made.append(layers.Bidirectional(layer) if case.bidirectional else layer)
    return made


def run_ours(case: Case, data: Data) -> dict[str, np.ndarray]:
    stack, last, dinitial = layers_of(case), [], []
    per_layer = (case.depth, -1, *data.dlast.shape[2:])  # a layer's states: the forward h and c, the backward ones
    initial = [None] * case.depth if data.initial is None else map(list, data.initial.reshape(per_layer))
    y = data.x
    config.set_backend(case.backend)  # until the test ends: conftest.py puts it back
    for layer, weights, own in zip(stack, weights_from_torch(data.state), initial, strict=True):
        layer.build(y.shape)
        layer.set_weights(weights)
        y, *after = layer(y, mask=data.mask, initial_state=own)
        last += after
    dx = data.dy
    for layer, dlast in zip(reversed(stack), reversed(data.dlast.reshape(per_layer)), strict=True):
        dx = layer.backward([dx, *dlast])
        dinitial = [*layer.state_gradients, *dinitial]
    dweights = [layer.get_gradients() for layer in stack]
    dinitial = None if data.initial is None else np.stack(dinitial).reshape(data.dlast.shape)
    return _named(y, np.stack(last).reshape(data.dlast.shape), dx, dinitial, dweights)


def run_torch(case: Case, data: Data) -> dict[str, np.ndarray]:
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    module = module_of(case)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in data.state.items()})
    x = torch.from_numpy(data.x).requires_grad_()
    initial = given = None
    if data.initial is not None:
        initial = [torch.tensor(part).requires_grad_() for part in data.initial.swapaxes(0, 1)]  # S of (K, B, H)
        given = tuple(initial) if case.layer == "LSTM" else initial[0]
    if case.packed:
        lengths = torch.from_numpy(data.lengths)
        y, last = module(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False), given)
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=case.shape[1])
    else:
        y, last = module(x, given)
    last = torch.stack(last if case.layer == "LSTM" else [last], dim=1)  # (K, S, B, H)
    if not case.return_sequences:
        y = torch.cat(list(last[-1 - case.bidirectional :, 0]), dim=-1)
    ((y * torch.from_numpy(data.dy)).sum() + (last * torch.from_numpy(data.dlast)).sum()).backward()

    gradients = {name: weight.grad.numpy() for name, weight in module.named_parameters()}
    if case.layer != "GRU":  # each of the two biases has the gradient of our one, and the mapping adds them up
        gradients |= {name: gradient / 2 for name, gradient in gradients.items() if name.startswith("bias")}
    dinitial = None if initial is None else np.stack([part.grad.numpy() for part in initial], axis=1)
    y, last = y.detach().numpy(), last.detach().numpy()
    return _named(y, last, x.grad.numpy(), dinitial, weights_from_torch(gradients))


def _named(y, last, dx, dinitial, dweights):
    named = {"y": y, "d x": dx}
    for name, states in (("last", last), ("d initial", dinitial)):
        if states is not None:
            named |= {f"{name} {letter}": states[:, n] for n, letter in zip(range(states.shape[1]), "hc", strict=False)}
    for n, arrays in enumerate(dweights):
        named |= {f"d weight {n} {m}": array for m, array in enumerate(arrays)}
    return named


def assert_same(case: Case) -> None:
    """Compare everything that comes out of a case here and in torch."""
    data = Data(case)
    ours, theirs = run_ours(case, data), run_torch(case, data)
    assert ours.keys() == theirs.keys(), case
    largest = max(np.abs(array).max() for name, array in theirs.items() if name.startswith("d "))
    for name, expected in theirs.items():
        limits, least = FORWARD, 0.1  # of sums of numbers of the size of 1
        if name.startswith("d "):
            limits, least = GRADIENT, LEAST[case.dtype] * largest
        assert_close(ours[name], expected, limits[case.dtype], f"{name} of {case}", least)
