"""A look inside: gates and gradients at every step, by name, changed at will; while a model is trained too; figures.

Arrays first. Each takes a model or a single layer, and leaves it as it was; layers' names are the keys, and masked
steps are NaN:

=====================  ================================================================================================
`trace`                every gate, state, pre-activation, input and gradient by name; the names: `study.names`
`gradient_flow`        the norm of the gradient that reaches each state
`intervene`            a block in which gates, states or pre-activations are changed; `effect` says what that does,
                       `effects` what each gate at each step does to the loss
`jacobian`             of a state by a state before it; `step_jacobians`, `singular_values`, `spectral_radius`
`paths`                the ways on which a gradient comes: line, output, gates; `terms` of its sum over positions,
                       `gate_shares` of the gates
`saliency`             which steps the output owes to
`half_life`            of each unit's memory; `saturation`, `dead_units`, `update_ratios` of `named_weights`
`lyapunov`             exponents along a run; `fixed_points`, and slow ones
`find_units`           which unit follows sentiment, position, a word
`weights_by_gate`      views of the weights
`generate`             what a model that says what comes next goes on to say
`Watch`                any of these over the epochs of a training; `GateRecorder`, `GradientFlow`, `UpdateRatios`
`study.plots`          figures, `study.text` the same for a terminal
`walk`                 a page for a browser: all units, one unit, one step with its equations and numbers
=====================  ================================================================================================
"""

from .callbacks import GateRecorder, GradientFlow, UpdateRatios, Watch
from .dynamics import FixedPoints, fixed_points, lyapunov
from .flow import gradient_flow
from .generation import generate
from .interventions import Effect, effect, effects, intervene
from .jacobians import jacobian, singular_values, spectral_radius, step_jacobians
from .memory import dead_units, half_life, named_weights, saturation, update_ratios
from .passes import recurrent_layers
from .paths import Paths, gate_shares, paths, terms
from .saliency import Saliency, saliency
from .trace import Series, Trace, trace
from .units import find_units
from .walk import walk
from .weights import weights_by_gate

__all__ = [
    "Effect",
    "FixedPoints",
    "GateRecorder",
    "GradientFlow",
    "Paths",
    "Saliency",
    "Series",
    "Trace",
    "UpdateRatios",
    "Watch",
    "dead_units",
    "effect",
    "effects",
    "find_units",
    "fixed_points",
    "gate_shares",
    "generate",
    "gradient_flow",
    "half_life",
    "intervene",
    "jacobian",
    "lyapunov",
    "named_weights",
    "paths",
    "recurrent_layers",
    "saliency",
    "saturation",
    "singular_values",
    "spectral_radius",
    "step_jacobians",
    "terms",
    "trace",
    "update_ratios",
    "walk",
    "weights_by_gate",
]
