"""A look inside: gates and gradients at every step, by name, changed at will; while a model is trained too; figures."""

from .callbacks import GateRecorder, GradientFlow
from .flow import gradient_flow
from .interventions import Effect, effect, effects, intervene
from .passes import recurrent_layers
from .trace import Series, Trace, trace

__all__ = [
    "Effect",
    "GateRecorder",
    "GradientFlow",
    "Series",
    "Trace",
    "effect",
    "effects",
    "gradient_flow",
    "intervene",
    "recurrent_layers",
    "trace",
]
