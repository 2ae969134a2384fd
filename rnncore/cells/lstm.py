"""LSTM: three gates and a carry line on which the gradient is only multiplied by the forget gate.

Sizes: B batch, D inputs, H units. All but the products with W and U, which stand in bptt/, is elementwise on (B, H).

    z_g = x_t W_g + h_{t-1} U_g + b_g      for the gates g = i, f, k, o, the four column blocks of the weights

    i = sigmoid(z_i)                       how much of the candidate goes in
    f = sigmoid(z_f)                       how much of the carry stays
    k = tanh(z_k)                          the candidate (Keras: c, others: g)
    o = sigmoid(z_o)                       how much of the carry is shown
    c_t = i k + f c_{t-1}                  the carry line
    h_t = o tanh(c_t)

Backward, with dh and dc the gradients that reach h_t and c_t from the output and from step t+1:

    dc += dh o (1 - tanh(c_t)^2)
    do = dh tanh(c_t)      di = dc k      dk = dc i      df = dc c_{t-1}
    dc_{t-1} = dc f                        no weight and no squashing on this line: it need not vanish
    dz_g = dg g'                           from the gates' outputs
    dh_{t-1} = sum_g dz_g U_g^T

Source: Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9 (1997); the forget gate: Gers et
al., "Learning to forget", Neural Computation 12 (2000).
"""

from ..activations import d_sigmoid, d_tanh, sigmoid, tanh
from .cell import Cell, Stage


def step(z_i, z_f, z_k, z_o, c_prev):
    i = sigmoid(z_i)
    f = sigmoid(z_f)
    k = tanh(z_k)
    o = sigmoid(z_o)
    c = i * k + f * c_prev
    h = o * tanh(c)
    return i, f, k, o, h, c


def step_backward(dh, dc, i, f, k, o, c, c_prev, z_i, z_f, z_k, z_o):
    # h = o * tanh(c)
    a = tanh(c)
    do = dh * a
    dc = dc + d_tanh(dh * o, a, c)
    # c = i * k + f * c_prev
    di = dc * k
    dk = dc * i
    df = dc * c_prev
    dc_prev = dc * f
    # i, f, k, o = sigmoid(z_i), sigmoid(z_f), tanh(z_k), sigmoid(z_o)
    dz_i = d_sigmoid(di, i, z_i)
    dz_f = d_sigmoid(df, f, z_f)
    dz_k = d_tanh(dk, k, z_k)
    dz_o = d_sigmoid(do, o, z_o)
    return dz_i, dz_f, dz_k, dz_o, dc_prev, dc


LSTM = Cell(
    "LSTM",
    "Long short-term memory, with the gates i, f, k, o and the carry line c: see cells/lstm.py.",
    gates=("i", "f", "k", "o"),
    states=("h", "c"),
    stages=(Stage(step, step_backward, "i f k o h c", completes="c"),),
    defaults={"unit_forget_bias": True},
)
