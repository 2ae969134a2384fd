"""A look inside: gates and gradients at every step, also while a model is trained, and figures of them."""

from .callbacks import GateRecorder, GradientFlow
from .inside import gradient_flow, recurrent_layers, trace

__all__ = ["GateRecorder", "GradientFlow", "gradient_flow", "recurrent_layers", "trace"]
