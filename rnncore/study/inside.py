"""Gates, states and gradients of each recurrent layer at each step: backpropagation through time leaves them there.

Sizes: B rows, T steps, H units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers.base import Layer
from ..lock import locked
from ..models import Sequential


def recurrent_layers(model: Layer) -> list[Any]:
    """Return the layers of a model (or the layer itself) that go through time."""
    found = [layer for layer in model.walk() if hasattr(layer, "time_series")]
    if not found:
        raise ValueError(f"model: {model.name} has no recurrent layer")
    return found


@locked
def trace(model: Layer, x: Any, mask: Any = None, training: bool = False) -> dict[str, dict[str, np.ndarray]]:
    """Run a model and return what happened in its recurrent layers at each step.

    Parameters
    ----------
    model : Layer
        A model, or a single recurrent layer.
    x, mask, training
        As in a call.

    Returns
    -------
    dict of str to dict of str to ndarray of shape (B, T, H)
        By layer name: the gates after their activation (an LSTM's ``i``, ``f``, ``k``, ``o``; 0 at masked steps)
        and the states after each step (``h``, ``c``), steps in the order of x.

    Examples
    --------
    >>> trace(model, x)["lstm"]["f"].mean(axis=(0, 2))  # how much of the carry stays, by step
    """
    layers = recurrent_layers(model)
    model(x, mask=mask, training=training)
    return {layer.name: layer.time_series() for layer in layers}


@locked
def gradient_flow(model: Sequential, x: Any, y: Any, sample_weight: Any = None) -> dict[str, dict[str, np.ndarray]]:
    """Return the norm of the gradient that reaches each state at each step.

    Parameters
    ----------
    model : Sequential
        Compiled with a loss.
    x, y, sample_weight
        As in `Sequential.fit`. The loss is the one that `fit` would take a step on, without dropout.

    Returns
    -------
    dict of str to dict of str to ndarray of shape (B, T)
        By layer name: ``dh``, ``dc`` …, the Euclidean norm over the units of dL/dh_t, dL/dc_t over all paths
        (from the output at t and through step t+1), steps in the order of x. What falls from the last step to the
        first is the vanishing gradient.

    References
    ----------
    Hochreiter, "Untersuchungen zu dynamischen neuronalen Netzen", TU München (1991); Pascanu et al., ICML 2013.
    """
    layers = recurrent_layers(model)
    x, y, sample_weight = model.checked_data(x, y, sample_weight)
    model.ensure_built(x.shape)
    _, gradient = model.loss_and_gradient(y, model.forward(x), sample_weight)
    model.backward_from_loss(gradient)
    return {
        layer.name: {
            name: np.linalg.norm(values, axis=-1)
            for name, values in layer.time_series().items()
            if name.startswith("d") and not name.startswith("dz_")
        }
        for layer in layers
    }
