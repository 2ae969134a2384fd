"""rnncore: recurrent networks in NumPy, with backpropagation through time written out by hand."""

from . import activations, callbacks, config, datasets, initializers, layers, losses, metrics, models, optimizers, utils
from .config import set_backend, set_floatx, set_threads
from .models import Sequential

__version__ = "0.1.0"

__all__ = [
    "Sequential",
    "activations",
    "callbacks",
    "config",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "set_backend",
    "set_floatx",
    "set_threads",
    "utils",
]
