"""A look inside: gates and gradients at every step, and figures of them."""

from .inside import gradient_flow, recurrent_layers, trace

__all__ = ["gradient_flow", "recurrent_layers", "trace"]
