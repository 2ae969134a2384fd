"""How far back does the gradient reach? SimpleRNN beside LSTM, before and after they learn to remember.

    python -m examples.vanishing_gradient

The task: the first number of a sequence of noise is +1 or -1; say which, at the end. All that can be learned comes
from the gradient that arrives at the first step. Measured: the norm of dL/dh_t (and dL/dc_t on the carry line) against
the distance from the loss. Writes one figure and prints, for each, the factor by which the norm shrinks a step and the
share of it that arrives at the first step. Takes about a minute.
"""

from __future__ import annotations

import argparse

import numpy as np

from rnncore import Sequential, config
from rnncore.layers import LSTM, Dense, SimpleRNN
from rnncore.study import gradient_flow
from rnncore.study.plots import plot_distance


def main(arguments: list[str] | None = None) -> int:
    """Run the example; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.vanishing_gradient", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="length of a sequence (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="of 2,048 sequences (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", default="results/vanishing_gradient.png", help="default: %(default)s")
    options = parser.parse_args(arguments)
    config.set_seed(options.seed)

    x, y = task(2048, options.steps, np.random.default_rng(options.seed))
    x_test, y_test = task(512, options.steps, np.random.default_rng(options.seed + 1))
    curves, styles = {}, {}
    print(f"{'':<28}{'a step':>10}{'at the first step':>20}{'accuracy':>12}")
    for kind, color in ((SimpleRNN, "C0"), (LSTM, "C1")):
        model = Sequential([kind(32, name=kind.__name__), Dense(1, activation="sigmoid")])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        for when, style in (("untrained", ":"), ("trained", "-")):
            if when == "trained":
                model.fit(x, y, epochs=options.epochs, verbose=0)
            accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
            for name, norms in gradient_flow(model, x_test, y_test)[kind.__name__].items():
                label = f"{kind.__name__}, {name}, {when}"
                curves[label] = norms.mean(axis=0)
                styles[label] = f"{color if name == 'dh' else 'C2'}{style}"
                print(f"{label:<28}{a_step(curves[label]):>10.3f}{arrives(curves[label]):>20.1e}{accuracy:>12.3f}")
    print(f"\n{verdict(curves)}")
    print(f"Figure: {plot_distance(curves, options.figure, f'Gradient over {options.steps} steps', styles)}")
    return 0


def task(rows: int, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return noise (B, T, 1) whose first number is the sign to remember, and that sign as 0 or 1."""
    y = rng.integers(0, 2, rows)
    x = 0.1 * rng.standard_normal((rows, steps, 1))
    x[:, 0, 0] = 2 * y - 1
    return x.astype(np.float32), y


def arrives(norms: np.ndarray) -> float:
    """Return the norm at the first step as a share of that at the last."""
    return float(norms[0] / norms[-1])


def a_step(norms: np.ndarray) -> float:
    """Return the factor a step back multiplies the norm by, on the geometric mean."""
    return arrives(norms) ** (1 / max(len(norms) - 1, 1))


def verdict(curves: dict[str, np.ndarray]) -> str:
    """Return in a sentence what the numbers say."""
    share = {label: arrives(norms) for label, norms in curves.items()}
    rnn, carry = share["SimpleRNN, dh, trained"], share["LSTM, dc, trained"]
    return (
        f"Verdict: of the gradient at the last step, {rnn:.1e} arrives at the first in the trained SimpleRNN and "
        f"{carry:.1e} along the LSTM's carry line; before training it was {share['SimpleRNN, dh, untrained']:.1e} and "
        f"{share['LSTM, dc, untrained']:.1e} (forget gates start near sigmoid(1) = 0.73: the line must be opened first)."
    )


if __name__ == "__main__":
    raise SystemExit(main())
