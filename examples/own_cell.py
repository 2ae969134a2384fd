"""A cell of one's own: the minimal gated unit, which rnncore has not got, in thirty lines.

    python -m examples.own_cell            about half a minute, most of it compiling
    python -m examples.own_cell --quick    10 steps to remember over instead of 30

Shows what a cell is: a `step`, its `step_backward`, and the names of their arguments, which say where each value comes
from (the table is in rnncore/cells/cell.py). The rest comes by itself: the time loop in NumPy and compiled, masks,
dropout, both directions, traces. Prints the gradient check of every weight, under a mask and in both backends, then
trains the unit to remember the first number of a sequence, beside a GRU.

    f = sigmoid(z_f)                       one gate where the GRU has two: it forgets and resets
    k = tanh(x_k + f u_k)                  the candidate; u_k is its recurrent part, x_k its input part
    h_t = h_{t-1} + f (k - h_{t-1})

Source: Zhou et al., "Minimal gated unit for recurrent neural networks", IJAC 13 (2016), with the gate applied after
the recurrent product.
"""

from __future__ import annotations

import argparse

import numpy as np

from examples.vanishing_gradient import task
from rnncore import Sequential, config, gradcheck
from rnncore.activations import d_sigmoid, d_tanh, sigmoid, tanh
from rnncore.cells import Cell, Stage
from rnncore.layers import GRU, Dense, layer_of


def step(z_f, x_k, u_k, h_prev):
    """One step, elementwise on (B, H)."""
    f = sigmoid(z_f)
    k = tanh(x_k + f * u_k)
    h = h_prev + f * (k - h_prev)
    return f, k, h


def step_backward(dh, f, k, u_k, h_prev, z_f, x_k):
    """Return the gradients of step's arguments, in their order."""
    # h = h_prev + f * (k - h_prev)
    df = dh * (k - h_prev)
    dk = dh * f
    dh_prev = dh - dh * f
    # k = tanh(x_k + f * u_k)
    dx_k = d_tanh(dk, k, x_k + f * u_k)
    du_k = dx_k * f
    df = df + dx_k * u_k
    # f = sigmoid(z_f)
    dz_f = d_sigmoid(df, f, z_f)
    return dz_f, dx_k, du_k, dh_prev


MGU = layer_of(
    Cell(
        "MGU",
        "The minimal gated unit: gates f and k, one state.",
        gates=("f", "k"),
        states=("h",),
        stages=(Stage(step, step_backward, "f k h"),),
    )
)
MGUCell = MGU.cell_class  # one step by itself


def main(arguments: list[str] | None = None) -> int:
    """Run the example; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.own_cell", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 steps, 3 epochs")
    options = parser.parse_args(arguments)
    steps, rows, epochs = (10, 2048, 3) if options.quick else (30, 4096, 8)
    config.set_seed(0)

    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((3, 5, 2)), np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 1, 0, 1, 0]])
    for backend in config.BACKENDS:
        config.set_backend(backend)
        layer = MGU(4, recurrent_dropout=0.2, return_sequences=True)
        print(f"{backend}:\n{gradcheck.check_layer(layer, x, mask, training=True)}\n")
    config.set_backend("numba")

    x, y = task(rows, steps, rng)
    for label, layer in {"MGU": MGU(32), "GRU": GRU(32)}.items():
        model = Sequential([layer, Dense(1, activation="sigmoid")])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, epochs=epochs, validation_split=0.25, verbose=0).history
        params, accuracy = layer.count_params(), history["val_accuracy"][-1]
        print(f"{label}: {params:,} parameters, accuracy {accuracy:.3f} after {steps} steps")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
