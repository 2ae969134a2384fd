"""rnncore: recurrent networks in NumPy, with backpropagation through time written out by hand."""

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

unsupported.announce()

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
    "initializers",
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
    "utils",
]
