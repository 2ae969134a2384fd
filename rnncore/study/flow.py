"""How far back the gradient reaches."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers.base import Layer
from .names import gradient_of
from .trace import trace


def gradient_flow(
    model: Layer, x: Any, y: Any = None, sample_weight: Any = None, *, mask: Any = None, dy: Any = None
) -> dict[str, dict[str, np.ndarray]]:
    """Return the norm of the gradient that reaches each state at each step.

    Parameters
    ----------
    model, x, y, sample_weight, mask, dy
        As in `trace`. The loss is the one that `fit` would take a step on, without dropout.

    Returns
    -------
    dict of str to dict of str to ndarray of shape (B, T)
        By layer name: ``dh``, ``dc`` …, the Euclidean norm over the units of dL/dh_t, dL/dc_t over all paths
        (from the output at t and through step t+1), steps in the order of x, NaN at masked ones. What falls from the
        last step to the first is the vanishing gradient.

    References
    ----------
    Hochreiter, "Untersuchungen zu dynamischen neuronalen Netzen", TU München (1991); Pascanu et al., ICML 2013.
    """
    if y is None and dy is None:
        raise ValueError("y is None; a gradient needs y, or of a layer by itself dy")
    found = trace(model, x, y, sample_weight=sample_weight, mask=mask, dy=dy)
    return {
        layer: {gradient_of(state): np.linalg.norm(series[gradient_of(state)], axis=-1) for state in series.states}
        for layer, series in found.items()
    }
