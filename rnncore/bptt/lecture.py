"""Backpropagation through time as a lecture writes it: two loops for an LSTM, two for a SimpleRNN.

The equations are the cells' own: `step` and `step_backward` of cells/lstm.py and cells/simple_rnn.py. All else is here:
the loop over time, the matrix products, and the gradients of the weights. The engine's fast loops are tested against
this file.

Sizes: T steps, B batch, D inputs, H units, G gates (4 in an LSTM, in Keras's order i, f, k, o; 1 in a SimpleRNN).
x is (T, B, D), time first; W is (D, G*H), U is (H, G*H), b is (G*H,). Any floating or complex dtype.
"""

import numpy as np

from ..cells import lstm, simple_rnn


def lstm_forward(x, h, c, W, U, b):
    """Run an LSTM over a sequence, from the initial states h and c, both (B, H).

    Returns
    -------
    hs : ndarray of shape (T, B, H)
        The hidden state after each step.
    cache : list of tuple
        What each step leaves for `lstm_backward`; the gates' values among it.
    """
    hs, cache = [], []
    for t in range(len(x)):
        h_prev, c_prev = h, c
        z = x[t] @ W + h_prev @ U + b
        i, f, k, o, h, c = lstm.step(*np.split(z, 4, axis=1), c_prev)
        hs.append(h)
        cache.append((x[t], h_prev, c_prev, z, i, f, k, o, c))
    return np.stack(hs), cache


def lstm_backward(dh, cache, W, U):
    """Go back through the same steps.

    Parameters
    ----------
    dh : ndarray of shape (T, B, H)
        dL/dh_t of every step t, by way of that step's output alone: what reaches h_t from step t+1 is added here.
    cache : list of tuple
        From `lstm_forward`.
    W, U : ndarray of shape (D, 4*H) and (H, 4*H)

    Returns
    -------
    dx, dh0, dc0, dW, dU, db : ndarray
        dL/d(each argument of `lstm_forward`), in its shape.
    """
    dx, dh_next, dc, dW, dU, db = [None] * len(cache), 0, 0, 0, 0, 0
    for t in reversed(range(len(cache))):
        x_t, h_prev, c_prev, z, i, f, k, o, c = cache[t]
        # h is shown at t, and step t+1 reads it
        dh_t = dh[t] + dh_next
        # i, f, k, o, h, c = step(*np.split(z, 4, axis=1), c_prev)
        *dz, dc, _ = lstm.step_backward(dh_t, dc, i, f, k, o, c, c_prev, *np.split(z, 4, axis=1))
        dz = np.concatenate(dz, axis=1)
        # z = x[t] @ W + h_prev @ U + b
        dW += x_t.T @ dz
        dU += h_prev.T @ dz
        db += dz.sum(axis=0)
        dx[t] = dz @ W.T
        dh_next = dz @ U.T
    return np.stack(dx), dh_next, dc, dW, dU, db


def rnn_forward(x, h, W, U, b):
    """Run a SimpleRNN over a sequence, from the initial state h (B, H); returns as `lstm_forward`."""
    hs, cache = [], []
    for t in range(len(x)):
        h_prev = h
        z = x[t] @ W + h_prev @ U + b
        h = simple_rnn.step(z)
        hs.append(h)
        cache.append((x[t], h_prev, z, h))
    return np.stack(hs), cache


def rnn_backward(dh, cache, W, U):
    """Go back through the same steps; as `lstm_backward`, and returns dx, dh0, dW, dU, db."""
    dx, dh_next, dW, dU, db = [None] * len(cache), 0, 0, 0, 0
    for t in reversed(range(len(cache))):
        x_t, h_prev, z, h = cache[t]
        # h is shown at t, and step t+1 reads it
        dh_t = dh[t] + dh_next
        # h = step(z)
        dz = simple_rnn.step_backward(dh_t, h, z)
        # z = x[t] @ W + h_prev @ U + b
        dW += x_t.T @ dz
        dU += h_prev.T @ dz
        db += dz.sum(axis=0)
        dx[t] = dz @ W.T
        dh_next = dz @ U.T
    return np.stack(dx), dh_next, dW, dU, db
