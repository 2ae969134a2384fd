"""Recurrent networks in NumPy, with backpropagation through time written out by hand.

Keras's names and Keras's numbers, for sequences; every gate and every gradient can be looked at and checked.

>>> import numpy as np
>>> from rnncore import Sequential, gradcheck, study
>>> from rnncore.layers import LSTM, Dense
>>> x = np.random.default_rng(0).normal(size=(64, 20, 3))
>>> y = x[:, 0, 0] > 0  # the task: what was the sign of the first number?
>>> model = Sequential([LSTM(16), Dense(1, activation="sigmoid")])
>>> model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
>>> history = model.fit(x, y, epochs=5, verbose=0)
>>> forget = study.trace(model, x)["lstm"]["f"]  # the forget gate: (64, 20, 16), by sequence, step and unit
>>> report = gradcheck.check_layer(LSTM(4), x[:2, :5])  # print it: a row for each weight

What a user stacks is in `layers`, what trains it in `optimizers`, `losses`, `metrics` and `callbacks`. `study` looks
inside and draws, `gradcheck` compares gradients with their definition, `config` has the settings of the process.
"""

from importlib import import_module
from typing import Any

from . import (
    activations,
    callbacks,
    config,
    constraints,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    preprocessing,
    regularizers,
    saving,
    unsupported,
    utils,
)
from .config import set_backend, set_floatx, set_threads
from .initializers import Initializer
from .layers import Input, Layer
from .lock import engine_lock
from .losses import Loss
from .metrics import Metric
from .models import Model, Sequential
from .optimizers import Optimizer
from .regularizers import Regularizer

__version__ = "0.1.0"

_LATER = ("gradcheck", "interop", "study")  # imported when they are asked for


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return import_module(f"{__name__}.{name}")
    return unsupported.refuse(__name__, name, depth=2)


__all__ = [
    "Initializer",
    "Input",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "activations",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "engine_lock",
    "gradcheck",
    "initializers",
    "interop",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "preprocessing",
    "regularizers",
    "saving",
    "set_backend",
    "set_floatx",
    "set_threads",
    "study",
    "utils",
]

unsupported.announce()
