"""What kind of mistake it is: patterns between the gradient that came and the one that should have come.

Each function takes the two, `a` (what backward gave) and `n` (what it should have), and returns a `Finding` or None. A
pattern must hold for every entry, to five digits: a coincidence of many entries does not happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

SAME = 1e-5
CANDIDATES = ("k", "g", "c~", "a", "ct")  # what an LSTM's candidate may be called


class Finding(NamedTuple):
    """A recognised mistake.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    words : str
        What it is and how it is mended, a sentence.
    """

    kind: str
    words: str


KINDS = {
    "sign": "minus the true gradient",
    "factor": "a constant times the true gradient",
    "zero": "no gradient where there is one",
    "shape": "a gradient of another shape",
    "transposed": "an array stands for its transposed",
    "swapped": "one gate's gradient (or value) in the place of another's",
    "derivative": "the derivative of an activation is missing, or taken of another value",
    "path": "one of the ways that the gradient takes is forgotten",
    "step": "a value of another step",
    "steps": "only some steps count",
    "mask": "a gradient at steps that the forward does not take",
    "dropout": "dropout's factor is missing",
    "accumulated": "gradients are added to those of the call before",
    "unread": "the forward never reads the array",
    "value": "wrong in no known way",
}


def sigmoid(z):
    """Return the logistic function."""
    return 1 / (1 + np.exp(-z))


def same(a: Any, n: Any, tolerance: float = SAME) -> bool:
    """Whether two arrays agree in every entry, relative to the larger of the entry and a thousandth of the largest."""
    size = np.max(abs(n), initial=0)
    return bool(np.all(abs(a - n) <= tolerance * np.maximum(abs(n), 1e-3 * size)) and (size > 0 or not np.any(a)))


def constant(a: np.ndarray, n: np.ndarray) -> float | None:
    """Return c if ``a = c n`` in every entry; None if not, or if n is 0."""
    square = float(np.sum(n * n))
    if not square:
        return None
    c = float(np.sum(a * n)) / square
    return c if c and same(a, c * n) else None


def factor(a: np.ndarray, n: np.ndarray, sizes: Mapping[str, int], rates: Iterable[float] = ()) -> Finding | None:
    """A constant ratio, and where it may come from: `sizes` has what a mean might divide by."""
    if n.size < 2 and not np.any(n):
        return None
    c = constant(a, n)
    if c is None or abs(c - 1) <= SAME:
        return None if np.any(a) or not np.any(n) else Finding("zero", "backward gives 0 where there is a gradient")
    if abs(c + 1) <= SAME:
        return Finding("sign", "the sign is wrong: exactly minus the true gradient")
    guesses = []
    for rate in rates:
        if abs(c - (1 - rate)) <= SAME:
            return Finding(
                "dropout",
                f"the factor 1 / (1 - {rate:g}) of dropout is missing: it scales the forward, so the backward too",
            )
    for name, size in sizes.items():
        if size > 1 and abs(abs(c) / size - 1) <= SAME:
            guesses.append(f"{name} is {size}: summed where the forward takes the mean")
        if size > 1 and abs(abs(c) * size - 1) <= SAME:
            guesses.append(f"{name} is {size}: a mean where the forward sums")
    if abs(abs(c) - 2) <= SAME:
        guesses.append("counted twice, or the 2 of a square too often")
    if abs(abs(c) - 0.5) <= SAME:
        guesses.append("a factor 2 is missing, as that of a square")
    if c < 0:
        guesses.append("and the sign is wrong")
    why = f" ({'; '.join(guesses)})" if guesses else ""
    return Finding("factor", f"every entry is {c:.6g} times the true one{why}")


def transposed(a: np.ndarray, n: np.ndarray, blocks: int = 1) -> Finding | None:
    """The transposed array, whole or block by block."""
    if a.ndim != 2 or n.ndim != 2 or n.shape[1] % blocks:
        return None
    if a.shape == n.shape[::-1] and same(a.T, n):
        return Finding(
            "transposed",
            "it is the transposed of the true gradient: the factors of its product stand the wrong way round",
        )
    if a.shape != n.shape or n.shape[0] != n.shape[1] // blocks:
        return None
    turned = np.concatenate([part.T for part in np.split(a, blocks, axis=1)], axis=1)
    if not same(a, n) and same(turned, n):
        which = "each gate's block of it" if blocks > 1 else "it"
        return Finding("transposed", f"{which} is the transposed of the true gradient: write x.T @ dz, not dz.T @ x")
    return None


def swapped(a: Mapping[str, np.ndarray], n: Mapping[str, np.ndarray]) -> Finding | None:
    """Gates that have one another's gradients."""
    pairs = {g: o for g in n for o in n if g != o and not same(a[g], n[g]) and np.any(n[o]) and same(a[g], n[o])}
    wrong = [g for g in n if not same(a[g], n[g])]
    if not pairs or set(pairs) != set(wrong):
        return None
    said = ", ".join(f"{g} has that of {o}" for g, o in pairs.items())
    return Finding(
        "swapped", f"the gates' gradients are swapped: {said}; keep to the order in which the forward splits z"
    )


def summed_too_little(a: np.ndarray, shape: tuple[int, ...], n: np.ndarray | None) -> Finding:
    """A gradient of the wrong shape."""
    words = f"the gradient has shape {a.shape} and the array {shape}"
    if a.shape == shape[::-1] and n is not None and same(a.T, n):
        return Finding("transposed", f"{words}: it is the transposed of the true gradient")
    extra = a.ndim - len(shape)
    if extra > 0 and a.shape[extra:] == shape:
        total = a.sum(axis=tuple(range(extra)))
        axes = "axis 0" if extra == 1 else f"the first {extra} axes"
        if n is not None and same(total, n):
            return Finding(
                "shape",
                f"{words}: summed over {axes} as well (the rows of the batch, .sum(axis=0)) it is the true gradient",
            )
        return Finding("shape", f"{words}: a sum over {axes} is missing")
    if a.size == 1 and shape:
        return Finding("shape", f"{words}: summed over an axis too many")
    if a.size == int(np.prod(shape)):
        return Finding("shape", f"{words}: the same number of entries, to be reshaped")
    return Finding("shape", f"{words}; they must be the same")


def activation(a: np.ndarray, n: np.ndarray, z: np.ndarray, name: str = "z") -> Finding | None:
    """A missing or wrong derivative of sigmoid or tanh, or relu's, at a known pre-activation z, entry by entry."""
    keep = abs(n) > 1e-6 * np.max(abs(n), initial=0)
    if np.count_nonzero(keep) < 2:
        return None
    a, n, z = a[keep], n[keep], z[keep]
    s, t = sigmoid(z), np.tanh(z)
    ds, dt = s * (1 - s), 1 - t * t
    table = (
        (
            "sigmoid",
            1 / ds,
            f"the derivative of the sigmoid is missing: d{name} = d · s (1 - s), with s = sigmoid({name})",
        ),
        ("tanh", 1 / dt, f"the derivative of tanh is missing: d{name} = d · (1 - a²), with a = tanh({name})"),
        (
            "sigmoid",
            z * (1 - z) / ds,
            f"the sigmoid's derivative is s (1 - s) of its output s, not of its input {name}",
        ),
        ("tanh", (1 - z * z) / dt, f"tanh's derivative is 1 - a² of its output a, not of its input {name}"),
        ("sigmoid", (1 - s * s) / ds, "the derivative of tanh stands for that of the sigmoid, s (1 - s)"),
        ("tanh", t * (1 - t) / dt, "the derivative of the sigmoid stands for that of tanh, 1 - a²"),
        ("sigmoid", s / ds, "the sigmoid's derivative is s (1 - s); a factor 1 - s is missing"),
        ("sigmoid", (1 - s) / ds, "the sigmoid's derivative is s (1 - s); a factor s is missing"),
        ("tanh", (1 - t) / dt, "tanh's derivative is 1 - a²; the square is missing"),
        ("sigmoid", ds, "the sigmoid's derivative stands there twice"),
        ("tanh", dt, "tanh's derivative stands there twice"),
    )
    with np.errstate(all="ignore"):
        for _, ratio, words in table:
            if same(a, ratio * n) and not same(ratio, np.ones_like(ratio)):
                return Finding("derivative", words)
            if same(a, -ratio * n):
                return Finding("derivative", f"{words}; and the sign is wrong")
    return None


def squashed(a: np.ndarray, n: np.ndarray, out: np.ndarray, y: np.ndarray) -> Finding | None:
    """A wrong derivative of ``tanh(c)`` on the way from h = o tanh(c) to c; `out` is tanh(c), y is h."""
    with np.errstate(all="ignore"):
        c, dt = np.arctanh(out), 1 - out * out
        table = (
            (1 / dt, "the derivative of tanh(c) is missing: dc += dh · o · (1 - tanh(c)²)"),
            ((1 - c * c) / dt, "the derivative of tanh(c) is taken from c: write 1 - tanh(c)², not 1 - c²"),
            ((1 - y * y) / dt, "the derivative of tanh(c) is taken from h: write 1 - tanh(c)², not 1 - h²"),
            (out * (1 - out) / dt, "the derivative of a sigmoid stands for that of tanh(c), 1 - tanh(c)²"),
            ((1 - out) / dt, "the derivative of tanh(c) is 1 - tanh(c)²; the square is missing"),
            (out / dt, "tanh(c) stands for its derivative, 1 - tanh(c)²"),
            (dt, "the derivative of tanh(c) stands there twice"),
        )
        for ratio, words in table:
            if same(a, ratio * n):
                return Finding("derivative", words)
            if same(a, -ratio * n):
                return Finding("derivative", f"{words}; and the sign is wrong")
    return None


def other_value(a: np.ndarray, n: np.ndarray, gate: str, values: Mapping[str, np.ndarray]) -> Finding | None:
    """A product with another value of the LSTM's step than that which the gate's gradient (or the carry's) has."""
    candidate = next((name for name in CANDIDATES if name in values), "")
    right = {"i": candidate, candidate: "i", "f": "c_prev", "o": "tanh(c)", "dc": "f"}.get(gate, "")
    if right not in values:
        return None
    what = "dc_prev = dc" if gate == "dc" else f"d{gate} = {'dh' if gate == 'o' else 'dc'}"
    with np.errstate(all="ignore"):
        for name, value in {**values, "1": np.ones_like(values[right])}.items():
            for sign in (1, -1):
                if name != right and same(a, sign * value / values[right] * n):
                    kind = "step" if {name, right} == {"c", "c_prev"} else "path" if name == "1" else "swapped"
                    wrong = f"the factor {right} is missing" if name == "1" else f"{name} stands where {right} should"
                    also = "; and the sign is wrong" if sign < 0 else ""
                    return Finding(kind, f"{wrong}: {what} · {right}{also}")
    return None


def some_steps(a: np.ndarray, n: np.ndarray, last: int = -1) -> Finding | None:
    """Some of the steps' contributions are right, the others 0; steps come first, in the order taken."""
    T = len(n)
    right = [same(a[t], n[t]) and bool(np.any(n[t])) for t in range(T)]
    gone = [not np.any(a[t]) and bool(np.any(n[t])) for t in range(T)]
    if not any(gone) or not all(r or g or not np.any(m) for r, g, m in zip(right, gone, n, strict=True)):
        return None
    return Finding("steps", steps_words([t for t in range(T) if right[t]], T))


def some_sum(a: np.ndarray, parts: np.ndarray) -> Finding | None:
    """The sum of some steps' contributions instead of all; `parts` has them, steps first."""
    T = len(parts)
    subsets = [[T - 1], [0], list(range(1, T)), list(range(T - 1))]
    if not np.any(a) and not np.any(parts[0]) and np.any(parts):
        return Finding("steps", "only the share of the first step is there, which is 0: write dU += …, not dU = …")
    for chosen in subsets:
        if 0 < len(chosen) < T and np.any(parts[chosen]) and same(a, parts[chosen].sum(axis=0)):
            return Finding("steps", steps_words(chosen, T))
    if T > 1 and same(a, parts.sum(axis=0) / T):
        return Finding("factor", f"the mean over the {T} steps where the forward's gradient is their sum")
    return None


def steps_words(right: list[int], steps: int) -> str:
    """Say which steps alone count."""
    if right == [steps - 1]:
        return "only the gradient of the last step is there: each step's share is added, dW += …, over all steps"
    if right == [0]:
        return "only the gradient of the first step is there, the last one taken backward: write dW += …, not dW = …"
    if not right:
        return "no step's gradient is there"
    return f"of {steps} steps only {_listed(right)} count: each step's share is added"


def _listed(steps: list[int]) -> str:
    if len(steps) > 2 and steps == list(range(steps[0], steps[-1] + 1)):
        return f"{steps[0]} to {steps[-1]}"
    return ", ".join(map(str, steps))


def masked(a: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return where backward gives a gradient to what the forward does not read: n is 0 there, exactly."""
    size = np.max(abs(n), initial=0)
    return (abs(n) <= 1e-13 * size) & (abs(a) > SAME * size)


def dropped(a: np.ndarray, n: np.ndarray, rates: Iterable[float]) -> Finding | None:
    """Dropout that the backward does not know of: scattered zeros, and one factor elsewhere."""
    size = np.max(abs(n), initial=0)
    zero = abs(n) <= 1e-13 * size
    if not zero.any() or zero.all():
        return None
    c = constant(a[~zero], n[~zero])
    if c is None or not 0 < c < 1:
        return None
    kept = abs(a[zero]) > SAME * size
    if kept.any():
        return Finding(
            "dropout",
            f"dropout is not in the backward: what the forward dropped has a gradient, and the rest {c:.6g} of "
            f"its own; multiply by the forward's mask and its 1 / (1 - p), p = {1 - c:.6g}",
        )
    if rates and not any(abs(c - (1 - r)) <= SAME for r in rates):
        return None
    return Finding(
        "dropout",
        f"the factor 1 / (1 - p) of dropout is missing, p = {1 - c:.6g}: what is kept has {c:.6g} of its gradient",
    )
