"""Where a training left the finite numbers: the layer, the weight and the time step that an error names."""

from __future__ import annotations

import numpy as np

from ..kernels.scan import all_finite
from ..layers.base import Layer
from ..layers.checks import not_finite
from ..layers.core import Activated
from ..sparse import SparseGradient


def check_loss(model: Layer, value: float, where: str) -> None:
    """Raise FloatingPointError, saying where it began, if the loss is not finite."""
    if not np.isfinite(value):
        origin = _first_not_finite(model) or "the loss itself: every layer's output is finite"
        raise FloatingPointError(f"the loss became {value} in {where}; first in {origin}")


def check_gradients(model: Layer, gradients: list[np.ndarray | SparseGradient], where: str) -> None:
    """Raise FloatingPointError if a gradient is not finite, naming the first layer: there, or on the way back."""
    if all_finite(*map(_numbers, gradients)):
        return
    for layer in reversed(_units(model)):
        bad = [name for name, gradient in _gradients(layer) if not_finite(gradient) is not None]
        if bad:
            series = layer.time_series() if hasattr(layer, "time_series") else {}
            step = _time_step(layer, [array for name, array in series.items() if name.startswith("d")], back=True)
            origin = _first_not_finite(model) or f"layer {layer.name!r}{step}, on the way back"
            raise FloatingPointError(f"the gradient of {bad[0]} is not finite in {where}; first in {origin}")


def _gradients(layer):
    """Return the names and numbers of a layer's gradients."""
    return [
        (f"{part.name}.{name}", _numbers(gradient))
        for part in layer.walk()
        for name, gradient in (part.gradients.items() if part.trainable else ())
    ]


def _numbers(gradient):
    """Return a gradient's numbers: of a table's, the rows that were looked up."""
    return gradient.rows if isinstance(gradient, SparseGradient) else gradient


def _first_not_finite(model):
    """Say in which weight, or in which layer and at which time step, the last call left the finite numbers."""
    bad_weight = model.bad_weight()
    if bad_weight:
        return bad_weight
    for layer in _units(model):
        bad = [array for array in _last_values(layer) if not_finite(array) is not None]
        if bad:
            return f"layer {layer.name!r}{_time_step(layer, bad)}"
    return None


def _units(layer):
    """Return the layers that a message names: those that go through time with their cells, and all without parts."""
    if hasattr(layer, "time_series") or not layer.children():
        return [layer]
    return [unit for child in layer.children() for unit in _units(child)]


def _last_values(layer):
    """Return what the layer's last call computed, for a look where it went wrong."""
    if hasattr(layer, "time_series"):
        return [array for name, array in layer.time_series().items() if not name.startswith("d")]
    return [layer.logits, layer.output] if isinstance(layer, Activated) else [np.asarray(layer.output)]


def _time_step(layer, arrays, back=False):
    """Name the first step, in the order taken, at which one of `arrays` (B, T, ...) is not finite."""
    steps = [n for array in arrays if array.ndim > 2 for n in np.argwhere(~np.isfinite(array))[:, 1]]
    last = back != getattr(layer, "go_backwards", False)
    return f" at time step {(max if last else min)(steps)}" if steps else ""
