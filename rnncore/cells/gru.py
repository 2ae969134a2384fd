"""GRU: one state, kept or replaced by a candidate; a second gate decides how much of it the candidate sees.

Sizes: B batch, D inputs, H units. All below is elementwise on (B, H); gates z, r, k are the column blocks of the
weights, in this order (Keras: z, r, h).

    z = sigmoid(x_z + u_z)        the update gate: z keeps the state (Cho et al. write it the other way round)
    r = sigmoid(x_r + u_r)        the reset gate
    h_t = z h_{t-1} + (1 - z) k

with x_g = x_t W_g + b_g, and the candidate k in two forms:

    k = tanh(x_k + r u_k)         u_k = h_{t-1} U_k + b'_k: reset after the product (cuDNN's, and Keras's default)
    k = tanh(x_k + s U_k)         s = r h_{t-1}: reset before it (the paper's); a second product within the step

Backward, with dh the gradient that reaches h_t from the output and from step t+1:

    dz = dh (h_{t-1} - k)     dk = dh (1 - z)     dh_{t-1} = dh z + the products' share
    after:   dx_k = dk k'     du_k = dx_k r       dr = dx_k u_k
    before:  dz_k = dk k'     ds = dz_k U_k^T     dr = ds h_{t-1}     dh_{t-1} += ds r

Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, eq. 5 to 8.
"""

from ..activations import d_sigmoid, d_tanh, sigmoid, tanh
from .cell import Cell, Stage


def update(z, k, h_prev):
    h = z * h_prev + (k - z * k)
    return h


def update_backward(dh, z, k, h_prev):
    # h = z * h_prev + (k - z * k)
    dz = dh * (h_prev - k)
    dk = dh - dh * z
    dh_prev = dh * z
    return dz, dk, dh_prev


def step(z_z, z_r, x_k, u_k, h_prev):
    z = sigmoid(z_z)
    r = sigmoid(z_r)
    k = tanh(x_k + r * u_k)
    h = update(z, k, h_prev)
    return z, r, k, h


def step_backward(dh, z, r, k, u_k, h_prev, z_z, z_r, x_k):
    # h = update(z, k, h_prev)
    dz, dk, dh_prev = update_backward(dh, z, k, h_prev)
    # k = tanh(x_k + r * u_k)
    dx_k = d_tanh(dk, k, x_k + r * u_k)
    du_k = dx_k * r
    dr = dx_k * u_k
    # z, r = sigmoid(z_z), sigmoid(z_r)
    dz_z = d_sigmoid(dz, z, z_z)
    dz_r = d_sigmoid(dr, r, z_r)
    return dz_z, dz_r, dx_k, du_k, dh_prev


# Reset before the product: two stages, with the product of s between them.


def reset(z_r, h_prev):
    r = sigmoid(z_r)
    s = r * h_prev
    return r, s


def reset_backward(ds, r, h_prev, z_r):
    # s = r * h_prev
    dr = ds * h_prev
    dh_prev = ds * r
    # r = sigmoid(z_r)
    dz_r = d_sigmoid(dr, r, z_r)
    return dz_r, dh_prev


def candidate(z_z, z_k, h_prev):
    z = sigmoid(z_z)
    k = tanh(z_k)
    h = update(z, k, h_prev)
    return z, k, h


def candidate_backward(dh, z, k, h_prev, z_z, z_k):
    # h = update(z, k, h_prev)
    dz, dk, dh_prev = update_backward(dh, z, k, h_prev)
    # z, k = sigmoid(z_z), tanh(z_k)
    dz_z = d_sigmoid(dz, z, z_z)
    dz_k = d_tanh(dk, k, z_k)
    return dz_z, dz_k, dh_prev


GRU_RESET_BEFORE = Cell(
    "GRU_reset_before",
    gates=("z", "r", "k"),
    states=("h",),
    stages=(Stage(reset, reset_backward, "r s"), Stage(candidate, candidate_backward, "z k h")),
    sources={"k": "s"},
)

GRU = Cell(
    "GRU",
    "The gated recurrent unit, with the gates z, r and the candidate k: see cells/gru.py.",
    gates=("z", "r", "k"),
    states=("h",),
    stages=(Stage(step, step_backward, "z r k h"),),
    split_bias=True,
    defaults={"reset_after": True},
    otherwise={"reset_after": GRU_RESET_BEFORE},
)
