"""A recurrent layer as a dynamical system: Lyapunov exponents along a run; fixed and slow points.

Sizes: B rows, T steps, D inputs, H units, S states; N = S*H.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..bptt.numpy_loop import NumpyRun
from ..bptt.run import Inputs, Sequence
from ..layers.base import Layer
from ..layers.checks import checked_array, positive, whole
from ..layers.rnn_cells import RecurrentCell
from ..lock import locked
from .jacobians import Steps, steps_of


@locked
def lyapunov(model: Layer, x: Any, *, layer: str | None = None, mask: Any = None, burn_in: int = 0) -> np.ndarray:
    """Return the Lyapunov exponents of a run: the logarithms of how a step stretches small differences, on the average.

    Above 0 differences between states grow (chaos), below 0 they die out.

    Parameters
    ----------
    model, x, layer, mask
        As in `jacobian`. They are of the states along x, and the better the longer it is.
    burn_in : int
        So many steps turn the directions before any are counted.

    Returns
    -------
    ndarray of shape (B, N)
        Of all states together, N = S*H, the largest first; NaN for a row that counts no step.

    References
    ----------
    Benettin et al., Meccanica 15 (1980); Engelken, Wolf, Abbott, "Lyapunov spectra of chaotic recurrent neural
    networks", Phys. Rev. Research 5 (2023).
    """
    chosen, steps = steps_of(model, x, layer, mask)
    kept = np.ones((steps.count, steps.B), bool) if steps.sequence.mask is None else steps.sequence.mask
    burn_in = whole(burn_in, "burn_in")
    if burn_in >= steps.count:
        raise ValueError(f"burn_in is {burn_in}; x has {steps.count} steps")
    size = steps.S * steps.H
    turned = np.tile(np.eye(size), (steps.B, 1, 1))
    sums, counts = np.zeros((steps.B, size)), np.zeros((steps.B, 1))
    for t in range(steps.count):
        turned, stretched = np.linalg.qr(steps.factor(t) @ turned)
        with np.errstate(divide="ignore"):
            grown = np.log(np.abs(np.diagonal(stretched, axis1=1, axis2=2)))
        if t >= burn_in:
            sums += np.where(kept[t][:, None], grown, 0)
            counts += kept[t][:, None]
    with np.errstate(invalid="ignore"):
        found = -np.sort(-(sums / counts), axis=1)
    return chosen.by_row(found[None])[:, 0]


class FixedPoints(NamedTuple):
    """States that a step with one constant input leaves where they are, or nearly.

    Attributes
    ----------
    states : ndarray of shape (n, N)
        All states, h and then c, the slowest first.
    speed : ndarray of shape (n,)
        ½ ‖step(s) - s‖²: 0 at a fixed point, small at a slow one.
    jacobians : ndarray of shape (n, N, N)
        Of the step, there.
    eigenvalues : ndarray of shape (n, N), complex
        The largest first; inside of the unit circle what is near comes nearer.
    stable : ndarray of shape (n,), bool
        Whether all are inside.
    axes : ndarray of shape (min(n, N), N)
        The principal directions of the points: where they lie on a line (a line attractor), the first one is it.
    shares : ndarray of shape (min(n, N),)
        What each of these has of the points' variance.
    """

    states: np.ndarray
    speed: np.ndarray
    jacobians: np.ndarray
    eigenvalues: np.ndarray
    stable: np.ndarray
    axes: np.ndarray
    shares: np.ndarray

    def __repr__(self) -> str:
        lines = [f"{len(self.speed)} points, {int(self.stable.sum())} of them stable"]
        for speed, values in zip(self.speed[:8], self.eigenvalues, strict=False):
            lines.append(f"  speed {speed:.1e}   |eigenvalues| {np.array2string(np.abs(values[:5]), precision=3)}")
        return "\n".join(lines + ["  …"] * (len(self.speed) > 8))


@locked
def fixed_points(
    model: Layer,
    x: Any,
    *,
    inputs: Any = None,
    layer: str | None = None,
    mask: Any = None,
    starts: int = 64,
    iterations: int = 200,
    tolerance: float = 1e-12,
    apart: float = 1e-3,
    seed: int = 0,
) -> FixedPoints:
    """Look for states at which the layer stands still, from states that it comes through on x.

    The speed ½ ‖step(s) - s‖² is brought down by Levenberg's and Marquardt's method with the exact Jacobian [1]_.

    Parameters
    ----------
    model, x, layer, mask
        As in `jacobian`.
    inputs : array_like of shape (D,), optional
        The constant input; default: the zero vector.
    starts : int
        Of how many states along x.
    iterations : int
        At most so many improvements of each.
    tolerance : float
        A point is kept if its speed is no higher. Higher: slow points, as those of a line attractor [2]_, too.
    apart : float
        Points nearer to one another count as one.
    seed : int
        Which states along x are drawn.

    References
    ----------
    .. [1] Sussillo, Barak, "Opening the black box", Neural Computation 25 (2013).
    .. [2] Maheswaranathan et al., "Reverse engineering recurrent networks for sentiment classification reveals line
       attractor dynamics", NeurIPS 2019.
    """
    chosen, steps = steps_of(model, x, layer, mask)
    cell = chosen.cells[0]
    features = steps.x.shape[2]
    inputs = np.zeros(features) if inputs is None else inputs
    inputs = checked_array(inputs, "inputs", "float", "float64", (features,))
    visited = np.moveaxis(steps.states, 0, 2).reshape(-1, steps.S * steps.H).astype(np.float64)  # (T+1, B, N)
    rng = np.random.default_rng(seed)
    visited = visited[rng.permutation(len(visited))[: positive(starts, "starts")]]
    step = _Step(cell, inputs)
    points = _slowest(step, visited, positive(iterations, "iterations"))
    moved, jacobians = step(points)
    speed = 0.5 * ((moved - points) ** 2).sum(axis=1)
    kept = _distinct(points, speed, tolerance, apart)
    points, speed, jacobians = points[kept], speed[kept], jacobians[kept]
    values = np.linalg.eigvals(jacobians) if len(points) else np.zeros((0, points.shape[1]), complex)
    order = np.argsort(-np.abs(values), axis=1)
    values = np.take_along_axis(values, order, axis=1)
    stable = (np.abs(values) < 1).all(axis=1)
    centred = points - points.mean(axis=0) if len(points) else points
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    shares = sizes**2 / max(float((sizes**2).sum()), np.finfo(float).tiny)
    return FixedPoints(points, speed, jacobians, values, stable, axes, shares)


class _Step:
    """A step of a cell with one input, in float64: from states (n, N) to those after it, and the Jacobian."""

    def __init__(self, cell: RecurrentCell, inputs: np.ndarray):
        self.plan, self.inputs, self.units = cell.plan, inputs, cell.units
        self.weights = {name: getattr(cell, name).astype(np.float64) for name in cell.weight_names}

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(points)
        initial = points.reshape(n, -1, self.units).swapaxes(0, 1)
        run = NumpyRun(self.plan, self.weights, Sequence(Inputs(np.tile(self.inputs, (n, 1))), initial, 1))
        return run.states[:, 1].swapaxes(0, 1).reshape(n, -1), Steps(run).factor(0)


def _slowest(step: _Step, points: np.ndarray, iterations: int) -> np.ndarray:
    """Return the points from which no damped Gauss-Newton step gets any slower."""
    identity, damping = np.eye(points.shape[1]), np.full(len(points), 1e-3)
    moved, jacobians = step(points)
    residual = moved - points
    speed = (residual**2).sum(axis=1)
    for _ in range(iterations):
        slopes = jacobians - identity
        normal = slopes.swapaxes(1, 2) @ slopes + damping[:, None, None] * identity
        downhill = np.linalg.solve(normal, -(slopes.swapaxes(1, 2) @ residual[:, :, None]))[:, :, 0]
        tried = points + downhill
        moved, tried_jacobians = step(tried)
        tried_residual = moved - tried
        tried_speed = (tried_residual**2).sum(axis=1)
        better = tried_speed < speed
        if not better.any() and (damping > 1e8).all():
            break
        points = np.where(better[:, None], tried, points)
        residual = np.where(better[:, None], tried_residual, residual)
        jacobians = np.where(better[:, None, None], tried_jacobians, jacobians)
        speed = np.where(better, tried_speed, speed)
        damping = np.clip(np.where(better, damping / 4, damping * 4), 1e-12, 1e9)
    return points


def _distinct(points: np.ndarray, speed: np.ndarray, tolerance: float, apart: float) -> list[int]:
    """Return the indices of points that are slow enough and not near a slower one, the slowest first."""
    kept: list[int] = []
    for n in np.argsort(speed):
        if speed[n] <= tolerance and all(np.linalg.norm(points[n] - points[other]) >= apart for other in kept):
            kept.append(int(n))
    return kept
