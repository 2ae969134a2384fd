"""SimpleRNN: the state is a squashed sum of the input and the previous state.

Sizes: B batch, D inputs, H units. All below is elementwise on (B, H).

    z_a = x_t W + h_{t-1} U + b
    h_t = tanh(z_a)

Backward, with dh_t = dL/dh_t from the output at t and from step t+1 together:

    dz_a = dh_t (1 - h_t^2)
    dh_{t-1} = dz_a U^T         once per step: T factors of U^T and of tanh' <= 1 make the gradient vanish

Source: Elman, "Finding structure in time", Cognitive Science 14 (1990); Pascanu et al., "On the difficulty of
training recurrent neural networks", ICML 2013, eq. 5.
"""

from ..activations import d_tanh, tanh
from .cell import Cell, Stage


def step(z_a):
    h = tanh(z_a)
    return h


def step_backward(dh, h, z_a):
    # h = tanh(z_a)
    dz_a = d_tanh(dh, h, z_a)
    return dz_a


SIMPLE_RNN = Cell(
    "SimpleRNN",
    "The plain recurrent layer, ``h_t = tanh(x_t W + h_{t-1} U + b)``: see cells/simple_rnn.py.",
    gates=("a",),
    states=("h",),
    stages=(Stage(step, step_backward, "h"),),
)
