"""A look inside: gates and gradients at every step, by name, changed at will; while a model is trained too; figures."""

from .callbacks import GateRecorder, GradientFlow
from .flow import gradient_flow
from .passes import recurrent_layers
from .trace import Series, Trace, trace

__all__ = ["GateRecorder", "GradientFlow", "Series", "Trace", "gradient_flow", "recurrent_layers", "trace"]
