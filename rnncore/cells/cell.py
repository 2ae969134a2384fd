"""What a cell is: pointwise steps with their derivatives, and which products feed them.

A cell holds no arrays. It says, by the *names* of its functions' arguments, what a step reads and writes, and the
time loops (rnncore/bptt) bring the arrays:

==========  ==============================================================================================
``z_g``     the pre-activation of gate g: ``x @ kernel + bias`` plus the recurrent product
``x_g``     its input part alone        } asked for separately where the two do not just add up
``u_g``     its recurrent part alone    } (the candidate of GRU with reset_after)
``s_prev``  state s before the step; ``s`` after it
others      what an earlier stage of the same step returned
``da``      the gradient of the loss with respect to a, for each of the above
==========  ==============================================================================================

`step` returns the values named in `returns`: gates (remembered after their activation), states, or intermediates.
`step_backward` takes any of these names and the gradients of what `step` returned, and returns the gradients of
`step`'s arguments, in the order of `step`'s signature (and then those that it completes, see `Stage`).
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from types import FunctionType
from typing import Any

from ..activations import Activation


@dataclasses.dataclass(frozen=True)
class Stage:
    """One pointwise function of a step and its derivative.

    Attributes
    ----------
    step, step_backward : function
        Plain elementwise functions; see the module's table for what their arguments are called.
    returns : str
        The names of what `step` returns, separated by spaces.
    completes : str
        The states whose gradient `step_backward` completes, because they reach another state within the step (c
        reaches h in an LSTM): it returns these gradients too, last.
    """

    step: Callable
    step_backward: Callable
    returns: str
    completes: str = ""

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.step).parameters)

    @cached_property
    def backward_inputs(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.step_backward).parameters)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.returns.split())


@dataclasses.dataclass(frozen=True)
class Product:
    """One recurrent product of a step: ``source @ weight`` is added to the pre-activation of `gate`."""

    source: str
    gate: str


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent cell.

    Attributes
    ----------
    name : str
        The layer's, ``LSTM``; the public cell is then ``LSTMCell``.
    about : str
        What the cell is, in a sentence: the layer's docstring begins with it. A cell of the package that has it gets a
        layer and a public cell in `rnncore.layers`.
    gates : tuple of str
        The column blocks of kernel, recurrent_kernel and bias, in order.
    states : tuple of str
        What is carried from step to step; the first one is the output.
    stages : tuple of Stage
        Usually one. A later stage may multiply what an earlier one returned with weights.
    sources : mapping of gate to str
        What a gate's block of recurrent_kernel multiplies, where it is not ``h_prev``.
    extra : mapping of weight name to Product
        Further (H, H) weights and what they multiply.
    defaults : mapping of str to object
        Options that not every cell has (``unit_forget_bias``, ``reset_after``), with their defaults, and other defaults
        than those of the table in layers/options.py.
    otherwise : mapping of str to Cell
        The equations that take the place of these where the option of that name is False.
    split_bias : bool
        Whether the recurrent part has a bias of its own: bias is (2, G*H), the input's row first.
    keeps_inputs : bool
        Whether pre-activations are remembered beside the gates (activations whose derivative reads its input).
    elementwise : bool
        False: an activation mixes units, so the cell runs on the NumPy backend.
    """

    name: str
    about: str = ""
    _: dataclasses.KW_ONLY
    gates: tuple[str, ...]
    states: tuple[str, ...]
    stages: tuple[Stage, ...]
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Product] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    otherwise: Mapping[str, Cell] = dataclasses.field(default_factory=dict)
    split_bias: bool = False
    keeps_inputs: bool = False
    elementwise: bool = True

    @cached_property
    def products(self) -> tuple[Product, ...]:
        """Every recurrent product of a step: those of recurrent_kernel, gate by gate, then the extra ones."""
        own = tuple(Product(self.sources.get(gate, f"{self.states[0]}_prev"), gate) for gate in self.gates)
        return own + tuple(self.extra.values())

    @property
    def gated(self) -> bool:
        """Whether ``sigmoid`` stands in the equations, for which `recurrent_activation` chooses another function."""
        return any("sigmoid" in stage.step.__code__.co_names for stage in self.stages)

    @cache  # noqa: B019 - cells are few, and one cell with the same activations is one compiled loop
    def with_activations(self, activation: Activation, recurrent_activation: Activation | None = None) -> Cell:
        """Return the cell with other functions in the place of ``tanh`` (and of ``sigmoid``) in its equations."""
        swap = {"tanh": activation.forward, "d_tanh": activation.backward}
        chosen = [activation]
        if recurrent_activation is not None:
            swap |= {"sigmoid": recurrent_activation.forward, "d_sigmoid": recurrent_activation.backward}
            chosen.append(recurrent_activation)
        return dataclasses.replace(
            self,
            name="_".join([self.name, *(a.name for a in chosen)]),
            stages=tuple(
                dataclasses.replace(s, step=with_names(s.step, swap), step_backward=with_names(s.step_backward, swap))
                for s in self.stages
            ),
            keeps_inputs=any(a.needs_input for a in chosen),
            elementwise=all(a.elementwise for a in chosen),
        )


def with_names(function: Any, values: Mapping[str, object]) -> FunctionType:
    """Return `function` with other values behind some of the global names it uses."""
    return FunctionType(function.__code__, {**function.__globals__, **values}, function.__name__)
