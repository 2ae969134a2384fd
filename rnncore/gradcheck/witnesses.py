"""Four witnesses of a derivative, none of which knows the backward's answer when it chooses its step.

L is ``sum(dy * y)`` over all outputs, with a random dy: every output counts with a weight of its own.

===================  =============================================================================================
complex step         ``Im L(x + ih) / h``: no difference, so no rounding; where the functions take complex numbers
central differences  ``(L(x + h) - L(x - h)) / 2h`` at falling h, extrapolated (Ridders), with an error bar
Taylor remainder     ``|L(p + hv) - L(p) - h g·v|`` falls as h² if g is the gradient, and as h if it is not
dot product          ``<Jv, w> = <v, J'w>``: the backward as the transposed of the forward's own derivative
===================  =============================================================================================

Sources: Squire & Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998);
Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", Advances in Engineering Software 4 (1982).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from .problem import Problem

EPS = float(np.finfo(np.float64).eps)
TINY = 1e-30  # the complex step
ROUNDING = 256  # what a backward may lose, in units of what L itself loses: errors below are none
WIDEST = 2.0**-5  # the first step of central differences, relative to an entry above 1
LEVELS = 15  # halvings of it
CURVE = tuple(10.0**-k for k in range(1, 13))


class Loss:
    """L along cotangents, and what a small step does to it.

    Parameters
    ----------
    problem : Problem
    arrays : list
        Where it is looked at; default: the problem's.
    dys : list of list of ndarray
        K cotangents of all outputs: everything is found for all of them at once.
    """

    def __init__(self, problem: Problem, dys: list[list[np.ndarray]], arrays: list[Any] | None = None):
        self.problem, self.evaluations = problem, 0
        self.arrays = problem.arrays if arrays is None else arrays
        self.D = np.stack([np.concatenate([dy.ravel() for dy in own]) for own in dys])
        y = self.outputs(self.arrays)
        self.values = self.D @ y
        self.noise = EPS * (abs(self.D) @ abs(y)) + np.finfo(float).tiny

    def outputs(self, arrays: list[Any]) -> np.ndarray:
        """Return all outputs in a row."""
        self.evaluations += 1
        return np.concatenate([np.ravel(y) for y in self.problem.forward(arrays)])

    def entries(
        self, n: int, places: Iterable[int], method: str, step: float | None = None, tick: Callable = lambda: None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return dL/d(entry) of array n and error bars, each (K, entries), at flat indices."""
        places = list(places)
        found, bars = np.empty((2, len(self.D), len(places)))
        work = [a.copy() if m == n else a for m, a in enumerate(self.arrays)]
        if method == "complex":
            work = [a.astype(complex) if m in self.problem.moved else a for m, a in enumerate(work)]
        array = work[n] = np.ascontiguousarray(work[n])
        entry = array.reshape(-1)
        h = TINY if step is None else step
        for k, place in enumerate(places):
            before = entry[place]
            if method == "complex":
                entry[place] = before + 1j * h
                slope = self.outputs(work).imag / h
                found[:, k], bars[:, k] = self.D @ slope, 16 * EPS * (abs(self.D) @ abs(slope))
            else:

                def moved(by, place=place, before=before):
                    entry[place] = before + by
                    return self.D @ self.outputs(work)

                widest = WIDEST * max(1.0, abs(before)) if step is None else step
                found[:, k], bars[:, k] = central(moved, widest, self.noise)
            entry[place] = before
            tick()
        return found, bars

    def along(self, direction: list[Any], method: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivative of all outputs along a direction (None: not moved), and its error bars."""
        if method == "complex":
            slope = self.outputs(self._moved(direction, 1j * TINY)).imag / TINY
            return slope, 16 * EPS * abs(slope)
        y = self.outputs(self.arrays)
        return central(lambda by: self.outputs(self._moved(direction, by)), WIDEST, EPS * abs(y) + 1e-300)

    def _moved(self, direction, by):
        return [
            a + by * (np.zeros(a.shape) if v is None else v) if n in self.problem.moved else a
            for n, (a, v) in enumerate(zip(self.arrays, direction, strict=True))
        ]

    def sides(self, n: int, place: int, h: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the one-sided differences at an entry, right and left, each (K,)."""
        work = [a.copy() if m == n else a for m, a in enumerate(self.arrays)]
        entry = work[n].reshape(-1)
        before = entry[place]
        values = []
        for by in (h, -h):
            entry[place] = before + by
            values.append(self.D @ self.outputs(work))
        return (values[0] - self.values) / h, (self.values - values[1]) / h

    def on_a_kink(self, n: int, place: int, scale: float) -> bool:
        """Whether the derivative from the right is another than that from the left, however small the step."""
        least = max(1e-5 * scale, 1e2 * float(np.max(self.noise)) / 1e-6)

        def gap(h):
            return float(np.max(abs(np.subtract(*self.sides(n, place, h)))))

        return (wide := gap(1e-4)) > least and gap(1e-6) > max(0.2 * wide, least)

    def kink_along(self, direction: list[Any]) -> bool:
        """As `on_a_kink`, for a direction and any output."""
        gaps, y = [], self.outputs(self.arrays)
        for h in (1e-4, 1e-6):
            up, down = (self.outputs(self._moved(direction, by)) for by in (h, -h))
            gaps.append(float(np.max(abs(up - 2 * y + down), initial=0)) / h)
        return gaps[1] > max(0.2 * gaps[0], 1e-7)


def central(moved: Callable[[float], np.ndarray], widest: float, noise: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a derivative and its error bar, from the values at ``+h`` and ``-h`` of ever smaller h.

    The bar is the change that the last extrapolation made, and what rounding (`noise` in a value) makes of the step.
    The step of the smallest bar is taken, entry by entry.
    """
    h, since, table = widest, 0, []  # type: float, int, list[np.ndarray]
    best = bar = np.zeros(())
    for level in range(LEVELS):
        row = [(moved(h) - moved(-h)) / (2 * h)]
        for k in range(level):
            row.append((4 ** (k + 1) * row[k] - table[k]) / (4 ** (k + 1) - 1))
        if level == 0:
            best, bar = row[0], np.full(np.shape(row[0]), np.inf)
        for k in range(1, len(row)):
            change = np.maximum(abs(row[k] - row[k - 1]), abs(row[k] - table[k - 1])) + 2 * noise / h
            better = change < bar
            best, bar = np.where(better, row[k], best), np.where(better, change, bar)
            since = 0 if better.any() else since
        since += 1
        good = np.all(bar <= np.maximum(1e-11 * abs(best), 4 * noise / h))
        if level >= 2 and (good or (since > 3 and np.all(bar <= 1e-7 * abs(best) + 1e3 * noise))):
            break
        table, h = row, h / 2
    return best, bar


def takes_complex(problem: Problem, rng: np.random.Generator) -> str:
    """Return why the complex step cannot be used; empty if it can: it agrees with differences along a direction."""
    arrays, direction = problem.arrays, _direction(problem, rng)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tilted = [
                a + 1j * TINY * v if n in problem.moved else a
                for n, (a, v) in enumerate(zip(arrays, direction, strict=True))
            ]
            outputs = problem.forward(tilted)
    except Exception as error:  # the function is the user's: anything may come
        return f"forward takes no complex numbers ({type(error).__name__}: {str(error)[:60]})"
    slope = np.concatenate([np.ravel(y).imag for y in outputs]) / TINY
    loss = Loss(problem, [[np.ones(y.shape) for y in outputs]])
    real = np.concatenate([np.ravel(y).real for y in outputs])
    y = loss.outputs(arrays)
    if not np.all(abs(real - y) <= 1e-9 * np.max(abs(y), initial=1e-300)):
        return "forward computes something else with complex numbers"
    other, bars = loss.along(direction, "central")
    size = max(float(np.max(abs(other), initial=0)), float(np.max(abs(slope), initial=0)), 1e-300)
    if not np.all(abs(slope - other) <= 1e-5 * size + 4 * bars):
        return "forward is not analytic (a part of a complex number is lost on the way), or has a kink here"
    return ""


def _direction(problem: Problem, rng: np.random.Generator, only: int | None = None) -> list[Any]:
    """Return a random direction, each array's share of length 1; `only` one array is moved."""
    direction: list[Any] = []
    for n, a in enumerate(problem.arrays):
        moves = n in problem.moved and only in (None, n)
        v = rng.standard_normal(np.shape(a)) if moves else None
        direction.append(None if v is None else v / max(float(np.linalg.norm(v)), 1e-300))
    return direction


def taylor(loss: Loss, gradients: list[Any], rng: np.random.Generator) -> dict[str, Any]:
    """Return the order in which the remainder falls; steps whose remainder is rounding are left out.

    2.00 and more: the gradient is right; 1.00: it is not. None where the function is linear along the direction.
    """
    direction = _direction(loss.problem, rng)
    slope = sum(float(np.sum(g * v)) for g, v in zip(gradients, direction, strict=True) if v is not None)
    steps = [2.0**-k for k in range(3, 16)]
    values = [
        abs(float((loss.D[:1] @ loss.outputs(loss._moved(direction, h)))[0]) - loss.values[0] - h * slope)
        for h in steps
    ]
    above = [(h, r) for h, r in zip(steps, values, strict=True) if r > 200 * loss.noise[0]]
    orders = [float(np.log2(a[1] / b[1])) for a, b in pairwise(above) if a[0] == 2 * b[0]]
    order = float(np.median(orders[-3:])) if orders else None
    return {"order": order, "steps": steps, "remainders": values}


def dots(
    problem: Problem, loss: Loss, outputs: list[np.ndarray], method: str, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return for each array both sides of ``<Jv, w> = <v, J'w>``, a w for each, and their relative difference."""
    found = []
    for n in problem.moved:
        dys = problem.cotangents(outputs, rng)
        direction = _direction(problem, rng, only=n)
        slope, bars = loss.along(direction, method)
        w = np.concatenate([dy.ravel() for dy in dys])
        left, bar = float(w @ slope), float(abs(w) @ bars)
        back = problem.backward([dy.copy() for dy in dys], problem.copies())[n]
        right = float(np.sum(np.asarray(back) * direction[n])) if np.shape(back) == np.shape(direction[n]) else np.nan
        floor = max(abs(left), abs(right), 1e-3 * float(abs(w) @ abs(slope)), ROUNDING / 1e-6 * float(loss.noise[0]))
        error = abs(left - right) / floor if np.isfinite(right) else np.inf
        found.append(
            {
                "name": problem.names[n],
                "forward": left,
                "backward": right,
                "error": error,
                "bar": bar / floor,
                "direction": direction,
            }
        )
    return found


def step_curve(loss: Loss, n: int, place: int, truth: float) -> list[tuple[float, float]]:
    """Return the error of the plain central difference at an entry by its step: truncation falls, rounding rises."""
    curve = []
    for h in CURVE:
        right, left = loss.sides(n, place, h)
        curve.append((h, abs(float(right[0] + left[0]) / 2 - truth)))
    return curve
