"""CarryRNN: the lecture's own way to the LSTM, a SimpleRNN with a carry line laid beside it.

Sizes: B batch, D inputs, H units. All below is elementwise on (B, H); gates i, f, k, o are the column blocks of the
weights. The state h is the output; the carry c travels beside it.

    i_t = sigmoid(x_t W_i + h_{t-1} U_i + b_i)
    f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)
    k_t = tanh(x_t W_k + h_{t-1} U_k + b_k)
    c_t = i_t k_t + c_{t-1} f_t                                       the carry, "next" in the lecture's c_{t+1}
    h_t = tanh(x_t W_o + h_{t-1} U_o + c_{t-1} V_o + b_o)             the output sees the carry it came with

Where the LSTM lets a gate show the carry, here a weight matrix V_o mixes it into the output. Derivation, with dh and
dc the gradients that reach h_t and c_t. h_t depends on c_{t-1} and not on c_t, so the two do not meet in the step:

    dz_o = dh (1 - h_t^2)
    di = dc k      dk = dc i      df = dc c_{t-1}
    dc_{t-1} = dc f + dz_o V_o^T          the line, and what the next output read from it
    dh_{t-1} = sum_g dz_g U_g^T

The first term of dc_{t-1} is the LSTM's: multiplied by the forget gate alone, it need not vanish.

Source: the carry formulation in Chollet, "Deep learning with Python" (2017), section 6.2.2, with the LSTM's squashing
functions for the gates.
"""

from ..activations import d_sigmoid, d_tanh, sigmoid, tanh
from .cell import Cell, Product, Stage


def step(z_i, z_f, z_k, z_o, c_prev):
    i = sigmoid(z_i)
    f = sigmoid(z_f)
    k = tanh(z_k)
    h = tanh(z_o)
    c = i * k + c_prev * f
    return i, f, k, h, c


def step_backward(dh, dc, i, f, k, h, c_prev, z_i, z_f, z_k, z_o):
    # c = i * k + c_prev * f
    di = dc * k
    dk = dc * i
    df = dc * c_prev
    dc_prev = dc * f
    # i, f, k, h = sigmoid(z_i), sigmoid(z_f), tanh(z_k), tanh(z_o)
    dz_i = d_sigmoid(di, i, z_i)
    dz_f = d_sigmoid(df, f, z_f)
    dz_k = d_tanh(dk, k, z_k)
    dz_o = d_tanh(dh, h, z_o)
    return dz_i, dz_f, dz_k, dz_o, dc_prev


CARRY_RNN = Cell(
    "CarryRNN",
    "The lecture's carry formulation, a SimpleRNN with a carry line beside it: see cells/carry_rnn.py.",
    gates=("i", "f", "k", "o"),
    states=("h", "c"),
    stages=(Stage(step, step_backward, "i f k h c"),),
    extra={"carry_kernel": Product("c_prev", "o")},
    defaults={"unit_forget_bias": True},
)
