"""Random models of one chain, as rows of (class, options) that both libraries make objects of, and data for them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

SIZES = (1, 2, 3, 4, 5)
BOUNDED = ("tanh", "sigmoid", "hard_sigmoid", "softsign")
PENALTIES = (None,) * 4 + (("L2", {"l2": 1 / 32}), ("L1", {"l1": 1 / 64}), ("L1L2", {"l1": 1 / 64, "l2": 1 / 64}))
CONSTRAINTS = (None,) * 6 + (("MaxNorm", {"max_value": 0.5}), ("NonNeg", {}), ("UnitNorm", {}))
RATES = (
    ("ExponentialDecay", {"initial_learning_rate": 0.01, "decay_steps": 3, "decay_rate": 0.9}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.01, "decay_steps": 2, "decay_rate": 0.5, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [4, 8], "values": [0.01, 0.005, 0.001]}),
    ("CosineDecay", {"initial_learning_rate": 0.01, "decay_steps": 20}),
    ("PolynomialDecay", {"initial_learning_rate": 0.01, "decay_steps": 20}),
)
OPTIMIZERS = {  # Nadam apart: what Keras multiplies up it does not write
    "SGD": {"momentum": (0.0, 0.9), "nesterov": (False, True)},
    "RMSprop": {"momentum": (0.0, 0.5), "centered": (False, True), "rho": (0.9, 0.8)},
    "Adam": {"amsgrad": (False, True), "beta_1": (0.9, 0.5), "epsilon": (1e-7, 1e-3)},
    "AdamW": {"weight_decay": (0.004, 0.1)},
    "Adagrad": {"initial_accumulator_value": (0.1, 0.5)},
    "Adadelta": {"rho": (0.95, 0.5)},
    "Adamax": {},
    "Lion": {},
}
COMMON = {
    "clipnorm": (None, None, None, 0.5),
    "use_ema": (False, False, False, True),
    "gradient_accumulation_steps": (None, None, None, 2),
}
HEADS = {  # activation of the last layer -> losses, and metrics, that go with it
    "sigmoid": (("binary_crossentropy", "BinaryCrossentropy"), ("accuracy", "AUC")),
    "softmax": (("categorical_crossentropy", "CategoricalCrossentropy"), ("accuracy", "KLDivergence")),
    "linear": (("mse", "mean_absolute_error", "Huber", "LogCosh"), ("mae", "MeanSquaredError")),
}


@dataclass
class RandomModel:
    """A model: its input's shape, its rows, what it is compiled with, and data.

    `masked` says whether an Embedding or a Masking masks steps, `functional` whether Keras makes it in that style.
    """

    seed: int
    shape: tuple[int, ...]
    rows: list[Any]
    optimizer: tuple[str, dict[str, Any]]
    loss: Any
    metrics: list[Any]
    x: np.ndarray
    y: np.ndarray
    functional: bool
    batch_size: int | None = None


class _Draw:
    def __init__(self, seed):
        self.rng = np.random.default_rng([20, seed])

    def one(self, values):
        return values[int(self.rng.integers(len(values)))]

    def some(self, **options):
        return {name: self.one(values) for name, values in options.items()}

    def maybe(self, share=0.5):
        return bool(self.rng.random() < share)


def drawn(seed: int) -> RandomModel:
    """Return the random model of a number."""
    draw = _Draw(seed)
    rows_in_batch, steps, features = 4, draw.one((4, 5, 7)), draw.one((1, 2, 3, 5))
    stateful = draw.maybe(0.1)
    ids = draw.maybe(0.4)
    masked = draw.maybe(0.5)
    rows: list[Any] = []
    if ids:
        shape: tuple[int, ...] = (steps,)
        options = {"input_dim": 7, "output_dim": features, "mask_zero": masked}
        rows.append(("Embedding", options | draw.some(embeddings_regularizer=PENALTIES)))
        x = draw.rng.integers(0, 7, (rows_in_batch, steps))
        x[:, 0] = np.maximum(x[:, 0], 1)
    else:
        shape = (steps, features)
        x = draw.rng.standard_normal((rows_in_batch, steps, features)).astype(np.float32)
        if masked:
            rows.append(("Masking", {"mask_value": 0.0}))
            x[1, 2:] = 0
            x[2, :1] = 0
    for _ in range(draw.one((0, 1, 1, 2))):
        rows += _middle(draw, masked, steps)
    rows += _end(draw, masked, stateful)
    units, (activation, (losses, metrics)) = draw.one(SIZES), draw.one(list(HEADS.items()))
    if activation == "sigmoid":
        units = 1
    if activation == "softmax":
        units = draw.one((2, 3))
    rows.append(("Dense", {"units": units, "activation": activation}))
    if activation == "softmax":
        y = np.eye(units, dtype=np.float32)[draw.rng.integers(units, size=rows_in_batch)]
    elif activation == "sigmoid":
        y = draw.rng.integers(2, size=(rows_in_batch, 1)).astype(np.float32)
    else:
        y = draw.rng.standard_normal((rows_in_batch, units)).astype(np.float32)
    name = draw.one(list(OPTIMIZERS))
    optimizer = {"learning_rate": 0.01, **draw.some(**OPTIMIZERS[name], **COMMON)}
    if draw.maybe(0.2):
        optimizer["learning_rate"] = draw.one(RATES)
    if optimizer["gradient_accumulation_steps"] and optimizer["use_ema"]:
        optimizer["use_ema"] = False
    # Of a word that comes twice the squares are summed apart: less the mean's square that may be below 0, which has no
    # root; Keras 3.15 on TensorFlow fails there.
    if ids and "centered" in optimizer:
        optimizer["centered"] = False
    batch_size = rows_in_batch if stateful else None
    functional = draw.maybe(0.3) and not stateful
    rows = [(kind, {**options, "name": f"layer_{n}"}) for n, (kind, options) in enumerate(rows)]
    return RandomModel(
        seed, shape, rows, (name, optimizer), draw.one(losses), [draw.one(metrics)], x, y, functional, batch_size
    )


def _weights(draw, *roles):
    options = {}
    for role in roles:
        options |= draw.some(**{f"{role}_regularizer": PENALTIES, f"{role}_constraint": CONSTRAINTS})
    return options


def _recurrent(draw, **options):
    kind = draw.one(("LSTM", "LSTM", "GRU", "GRU", "SimpleRNN"))
    found = {"units": draw.one(SIZES), **draw.some(activation=BOUNDED, use_bias=(True, True, False))}
    found |= _weights(draw, "kernel", "recurrent") if draw.maybe(0.3) else {}
    if kind != "SimpleRNN":
        found |= draw.some(recurrent_activation=("sigmoid", "sigmoid", "hard_sigmoid"))
    if kind == "LSTM":
        found |= draw.some(unit_forget_bias=(True, False))
    if kind == "GRU":
        found |= draw.some(reset_after=(True, False))
    found |= draw.some(go_backwards=(False, False, False, True), zero_output_for_mask=(False, True))
    return kind, found | options


def _cell(draw):
    kind, options = _recurrent(draw)
    for name in ("go_backwards", "zero_output_for_mask"):
        options.pop(name)
    return f"{kind}Cell", options


def _wrapped(draw, **options):
    """Return a recurrent layer in one of the forms that it comes in."""
    form = draw.one(("plain", "plain", "both", "both", "cells"))
    if form == "plain":
        return _recurrent(draw, **options)
    if form == "cells":
        cells = [_cell(draw) for _ in range(draw.one((1, 2)))]
        return "RNN", {"cell": cells if len(cells) > 1 else cells[0], **options}
    inner = _recurrent(draw, **options)
    inner[1].pop("go_backwards")
    return "Bidirectional", {"layer": inner, **draw.some(merge_mode=("concat", "concat", "sum", "mul", "ave"))}


def _middle(draw, masked, steps):
    """Return a layer that gives a sequence."""
    plain = {
        "Activation": {"activation": ("relu", "elu", "softplus", "silu", "gelu", "hard_sigmoid", "leaky_relu")},
        "ActivityRegularization": {"l2": (0.01,)},
        "BatchNormalization": {"momentum": (0.99, 0.5), "center": (True, False), "scale": (True, False)},
        "Dropout": {"rate": (0.0,)},
        "ELU": {"alpha": (1.0, 0.5)},
        "GaussianNoise": {"stddev": (0.0,)},
        "Identity": {},
        "LayerNormalization": {"center": (True, False), "scale": (True, False)},
        "LeakyReLU": {"negative_slope": (0.3, 0.1)},
        "ReLU": {"max_value": (None, 1.0), "negative_slope": (0.0, 0.2)},
        **({} if masked else {"Softmax": {}}),  # Keras's fails for the masks of steps
        "SpatialDropout1D": {"rate": (0.0,)},
    }
    windows = ("Conv1D", "MaxPooling1D", "AveragePooling1D")
    kind = draw.one(
        ["recurrent"] * 9 + list(plain) + ["Dense", "TimeDistributed"] * 2 + list(windows) * (2 * (not masked))
    )
    if kind == "recurrent":
        return [_wrapped(draw, return_sequences=True)]
    if kind in plain:
        return [(kind, draw.some(**plain[kind]))]
    dense = ("Dense", {"units": draw.one(SIZES), "activation": draw.one(("tanh", "relu")), **_weights(draw, "kernel")})
    if kind == "TimeDistributed":
        return [("TimeDistributed", {"layer": dense})]
    if kind == "Dense":
        return [dense]
    if kind == "Conv1D":
        options = {
            "filters": draw.one(SIZES),
            "kernel_size": draw.one((1, 2, 3)),
            "activation": draw.one(("relu", "tanh")),
        }
        stride = draw.one(({}, {}, {"strides": 2}, {"dilation_rate": 2}))
        return [(kind, options | stride | {"padding": draw.one(("same", "causal"))})]
    return [(kind, {"pool_size": draw.one((2, 3)), "padding": "same", "strides": draw.one((None, 1))})]


def _end(draw, masked, stateful):
    """Return layers that make a vector of a sequence."""
    kind = draw.one(["recurrent"] * 6 + ["GlobalAveragePooling1D"] + ["GlobalMaxPooling1D", "Flatten"] * (not masked))
    if stateful:
        return [_recurrent(draw, stateful=True)]
    if kind != "recurrent":
        return [(kind, {})]
    if draw.maybe(0.15):
        return [_wrapped(draw), ("RepeatVector", {"n": 3}), _wrapped(draw)]
    return [_wrapped(draw)]
