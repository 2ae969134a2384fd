"""Where a training left the finite numbers: the layer, the weight and the time step that an error names."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers.checks import not_finite
from ..layers.core import Activated


def loss_error(model: Any, value: float, where: str) -> FloatingPointError:
    """Return the error for a loss of the last call that is not finite: it says where that began."""
    origin = _first_not_finite(model) or "the loss itself: every layer's output is finite"
    return FloatingPointError(f"the loss became {value} in {where}; first in {origin}")


def gradient_error(model: Any, where: str) -> FloatingPointError:
    """Return the error for a gradient, or an average, that is not finite: it names the first layer, of either pass."""
    for layer in reversed(_units(model)):
        bad = [name for name, gradient in _gradients(layer) if not_finite(gradient) is not None]
        if bad:
            series = layer.time_series() if hasattr(layer, "time_series") else {}
            step = _time_step(layer, [array for name, array in series.items() if name.startswith("d")], back=True)
            origin = _first_not_finite(model) or f"layer {layer.name!r}{step}, in the backward pass"
            return FloatingPointError(f"the gradient of {bad[0]} is not finite in {where}; first in {origin}")
    return FloatingPointError(f"{model.bad_weight() or 'a gradient is not finite'}, in {where}")


def step_of(model: Any, where: str) -> str:
    """Return where in training a step is, with its number."""
    return f"{where} (step {model.optimizer.iterations + 1})"


def _gradients(layer):
    """Return the names of a layer's gradients, and they."""
    return [
        (f"{part.name}.{name}", gradient)
        for part in layer.walk()
        for name, gradient in (part.own_gradients.items() if part.trainable else ())
    ]


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
    return [layer.logits, layer.last_output] if isinstance(layer, Activated) else [np.asarray(layer.last_output)]


def _time_step(layer, arrays, back=False):
    """Name the first step, in the order taken, at which one of `arrays` (B, T, ...) is not finite."""
    steps = [n for array in arrays if array.ndim > 2 for n in np.argwhere(~np.isfinite(array))[:, 1]]
    last = back != getattr(layer, "go_backwards", False)
    return f" at time step {(max if last else min)(steps)}" if steps else ""
