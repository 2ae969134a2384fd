"""Check your homework: an LSTM written out in plain NumPy, beside rnncore's, and its backward on trial.

    python -m examples.check_homework                    value by value, then the gradients
    python -m rnncore check examples.check_homework:task    the gradients alone

`forward` and `backward` are what a student writes: change a line of them, and run the example again. It shows first
whether every value of the forward pass, gate by gate and step by step, is that of rnncore's LSTM with the same weights;
then whether `backward` is the derivative of `forward`, and if not, at which step and gate it goes wrong, and how.
"""

from __future__ import annotations

import argparse

import numpy as np

from rnncore import gradcheck
from rnncore.layers import LSTM


def sigmoid(z):
    """Return the logistic function."""
    return 1 / (1 + np.exp(-z))


def steps(x, W, U, b, mask):
    """Take every step; return what each of them computes. x is (B, T, D), mask is (B, T): False holds h and c."""
    h = c = np.zeros((len(x), len(U)))
    taken = []
    for t in range(x.shape[1]):
        h_prev, c_prev, m = h, c, mask[:, t, None]
        z = x[:, t] @ W + h_prev @ U + b
        z_i, z_f, z_k, z_o = np.split(z, 4, axis=1)
        i, f, k, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_k), sigmoid(z_o)
        c = f * c_prev + i * k
        h = o * np.tanh(c)
        taken.append({"h_prev": h_prev, "c_prev": c_prev, "m": m, "i": i, "f": f, "k": k, "o": o, "c": c, "h": h})
        h, c = np.where(m, h, h_prev), np.where(m, c, c_prev)
    return taken, h


def forward(x, W, U, b, mask):
    """Return the output of every step, (B, T, H)."""
    taken, h = steps(x, W, U, b, mask)
    return np.stack([step["h_prev"] for step in taken[1:]] + [h], axis=1)


def backward(dy, x, W, U, b, mask):
    """Return the gradients of x, W, U and b from that of the output; the mask has none."""
    dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    taken, h = steps(x, W, U, b, mask)
    dh_next = dc_next = np.zeros_like(h)
    for t in reversed(range(x.shape[1])):
        h_prev, c_prev, m, i, f, k, o, c, h = taken[t].values()
        dh = dy[:, t] + dh_next
        dc = dc_next
        dh_held, dc_held = dh * ~m, dc * ~m
        dh, dc = dh * m, dc * m
        do = dh * np.tanh(c)
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        df = dc * c_prev
        di = dc * k
        dk = dc * i
        dz_i = di * i * (1 - i)
        dz_f = df * f * (1 - f)
        dz_k = dk * (1 - k**2)
        dz_o = do * o * (1 - o)
        dz = np.concatenate([dz_i, dz_f, dz_k, dz_o], axis=1)
        dx[:, t] = dz @ W.T
        dW += x[:, t].T @ dz
        dU += h_prev.T @ dz
        db += dz.sum(axis=0)
        dh_next = dz @ U.T + dh_held
        dc_next = dc * f + dc_held
    return dx, dW, dU, db, None


WHERE = {"time_axis": {"x": 1}, "gates": {"W": "ifko", "U": "ifko", "b": "ifko"}}


def arrays(seed: int = 0, rows: int = 3, steps: int = 4, features: int = 2, units: int = 3):
    """Return x, W, U, b and a mask for them: the last step of the first row is padding."""
    rng = np.random.default_rng(seed)
    shapes = (rows, steps, features), (features, 4 * units), (units, 4 * units), (4 * units,)
    x, W, U, b = (rng.standard_normal(shape) for shape in shapes)
    mask = np.ones((rows, steps), bool)
    mask[0, -1] = False
    return x, W, U, b, mask


def task():
    """Return what ``python -m rnncore check examples.check_homework:task`` checks."""
    return forward, backward, *arrays(), WHERE


def beside_ours(x, W, U, b, mask) -> list[str]:
    """Return a line for each value of the forward pass: how far it is from rnncore's, and where first."""
    layer = LSTM(len(U), return_sequences=True, dtype="float64")
    layer.build(x.shape)
    layer.set_weights([W, U, b])
    y = layer(x, mask=mask)
    ours, (taken, _) = layer.time_series(), steps(x, W, U, b, mask)
    lines = [f"{'value':<8} {'largest difference':>20}   first at"]
    pairs = {name: np.stack([step[name] for step in taken], axis=1) for name in "ifkoc"}
    for name, mine in pairs.items():
        gap = np.where(mask[:, :, None], abs(mine - ours[name]), 0)
        lines.append(_line(name, gap))
    return [*lines, _line("y", abs(forward(x, W, U, b, mask) - y))]


def _line(name, gap):
    wrong = np.argwhere(np.moveaxis(gap, 1, 0) > 1e-9)
    first = f"step {wrong[0][0]}, row {wrong[0][1]}, unit {wrong[0][2]}" if len(wrong) else "nowhere"
    return f"{name:<8} {gap.max():>20.1e}   {first}"


def main(arguments: list[str] | None = None) -> int:
    """Run the example; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.check_homework", description=__doc__.splitlines()[0])
    parser.parse_args(arguments)
    given = arrays()
    print("\n".join(beside_ours(*given)), end="\n\n")
    report = gradcheck.check(forward, backward, *given, **WHERE)
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
