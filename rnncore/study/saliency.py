"""Which steps the output owes to: by the gradient, by its integral, or by leaving each step out.

Sizes: B rows, T steps, D features of a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from ..configured import look_up
from ..layers.base import Layer
from ..layers.checks import positive
from ..layers.core import Activated
from ..layers.masking import Masking
from ..lock import locked
from ..models import Sequential
from .passes import as_it_was, checked
from .words import words_of


class Saliency(NamedTuple):
    """What each step contributes to one number that the model puts out.

    Attributes
    ----------
    scores : ndarray of shape (B, T)
        NaN at masked steps. Above 0: the step raises that number.
    value, baseline : ndarray of shape (B,)
        The number for x, and for the baseline: a zero vector at every step that counts.
    error : float or None
        Of integrated gradients: the largest over the rows of |sum of scores - (value - baseline)|, relative to the
        larger of |value - baseline| and a thousandth of its largest over the rows. The sum must be that difference.
    words : list of list of str, or None
    method, of : str
    """

    scores: np.ndarray
    value: np.ndarray
    baseline: np.ndarray
    error: float | None
    words: list[list[str]] | None
    method: str
    of: str

    def __repr__(self) -> str:
        off = "" if self.error is None else f", error {self.error:.1e}"
        return f"<scores {self.scores.shape} of the {self.of}, by {self.method}{off}>"


METHODS = dict.fromkeys(("gradient_input", "integrated_gradients", "leave_one_out"))
ROWS, TOLERANCE, HALVINGS = 512, 2e-4, 12  # rows at once; of a part of the integral, and how often it is halved
OF = dict.fromkeys(("logit", "probability"))


class Chain:
    """A model from the vectors of its steps on: the layers after the embedding or the `Masking` at its beginning.

    Every call starts from the same states of stateful layers, those of now.
    """

    def __init__(self, model: Layer, x: np.ndarray, mask: np.ndarray | None, of: str, target: Any, step: int):
        self._kept_states = [(layer, layer.kept_states) for layer in model.stateful_layers()]
        model(x, mask=mask)  # builds and checks it
        layers = _flat(model)
        heads = list(takewhile(lambda layer: layer.input_kind != "float" or isinstance(layer, Masking), layers))
        self.layers, self.of, self.target, self.step = layers[len(heads) :], of, target, step
        if not self.layers:
            raise ValueError(f"model: {model.name} has nothing after its {type(heads[-1]).__name__}")
        for layer in heads:
            given = x
            x = np.asarray(layer.forward(given, mask))
            mask = layer.compute_mask(given, mask)
        self.vectors, self.mask = np.asarray(x, model.dtype), mask
        if self.vectors.ndim != 3:
            raise ValueError(f"model: its steps have shape {self.vectors.shape}; expected vectors, (B, T, D)")

    def values(self, vectors: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Return the number that is asked about, one a row: (B,), or for n batches at once (n*B,)."""
        y = vectors
        for stateful, states in self._kept_states:
            times = (1, len(vectors) // len(self.vectors), 1)
            stateful.kept_states = None if states is None else [np.tile(own, times) for own in states]
        for layer in self.layers:
            given, y = y, layer.forward(y, mask)
            mask = layer.compute_mask(given, mask)
        last, self.output = self.layers[-1], y
        if isinstance(y, list):
            raise ValueError(f"{last.name} returns its states too; expected one output")
        self._logits = self.of == "logit" and isinstance(last, Activated)
        y = np.asarray(last.logits if self._logits else y)
        self.place = self._chosen(y)
        return y[self.place]

    def gradient(self) -> np.ndarray:
        """Return the gradient of those numbers by the vectors, (B, T, D)."""
        dy = np.zeros(np.shape(self.output), self.vectors.dtype)
        dy[self.place] = 1
        through = self._logits
        for layer in reversed(self.layers):
            dy, through = layer.pull_back(dy, layer.backward_from_logits if through else None), False
        return dy

    def _chosen(self, y):
        """Return the index of one number a row."""
        place = [np.arange(len(y))]
        if y.ndim == 3:
            if not -y.shape[1] <= self.step < y.shape[1]:
                raise ValueError(f"step is {self.step}; the output has {y.shape[1]}")
            place.append(np.full(len(y), self.step))
        elif y.ndim != 2:
            raise ValueError(f"the output has shape {y.shape}; expected (B, C), or (B, T, C) and a step")
        if self.target is None:
            self.target = y[tuple(place)].argmax(axis=-1)  # of x itself: the first call
        target = np.asarray(self.target)
        target = np.tile(target, len(y) // len(target)) if target.ndim else np.full(len(y), target)
        if len(target) != len(y) or target.dtype.kind not in "iu" or not ((target >= 0) & (target < y.shape[-1])).all():
            raise ValueError(f"target is {self.target!r}; expected a number below {y.shape[-1]}, or one a row")
        return (*place, target)


def _flat(model: Layer) -> list[Any]:
    """Return the layers of a model in a row, of models in it too; a layer alone."""
    return [each for layer in model.layers for each in _flat(layer)] if isinstance(model, Sequential) else [model]


@locked
def saliency(
    model: Layer,
    x: Any,
    method: str = "integrated_gradients",
    *,
    of: str = "logit",
    target: Any = None,
    step: int = -1,
    steps: int = 64,
    words: Any = None,
    mask: Any = None,
) -> Saliency:
    """Return what each step of x contributes to the output.

    Parameters
    ----------
    model : Layer
        A Sequential, or a single layer. Ids are looked up first: the steps' vectors are then their embeddings.
    x, words, mask
        As in `trace`.
    method : {"gradient_input", "integrated_gradients", "leave_one_out"}
        The gradient by each step's vector times that vector; its integral from the baseline on (by Gauss and
        Legendre) [1]_; or what is lost when the step is masked, where the model masks, or else has the baseline for
        its vector.
    of : {"logit", "probability"}
        Of the last layer's pre-activation, or of its output. Of a layer that ends in no activation both are the output.
    target : int or array_like of shape (B,), optional
        Which of several outputs; default: the largest one for each row.
    step : int
        Of which step, where the output has steps.
    steps : int
        Of the integral: points of Gauss and Legendre. Where the gradients between two places do not add up to what lies
        between them, each half gets as many, and again.

    Returns
    -------
    Saliency

    References
    ----------
    .. [1] Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", ICML 2017.
    """
    look_up(method, METHODS, "method")
    look_up(of, OF, "of")
    batch = checked(model, x, mask=mask)
    with as_it_was(model), without_penalties(model):
        chain = Chain(model, batch.x, batch.mask, of, target, step)
        vectors, kept = chain.vectors, chain.mask
        value = chain.values(vectors, kept).copy()
        if method == "gradient_input":
            scores = (chain.gradient() * vectors).sum(axis=-1)
        baseline = chain.values(np.zeros_like(vectors), kept).copy()
        scale = _scale(value, baseline)
        if method == "leave_one_out":
            scores = _left_out(chain, value)
        elif method == "integrated_gradients":
            scores = (_integrated(chain, positive(steps, "steps"), scale) * vectors).sum(axis=-1)
    error = None
    if kept is not None:
        scores[~kept] = np.nan
    if method == "integrated_gradients":
        error = float((np.abs(np.nansum(scores, axis=1) - (value - baseline)) / scale).max())
    named = words_of(model, batch, words)
    return Saliency(scores, value, baseline, error, named, method, of)


@contextmanager
def without_penalties(model: Layer) -> Iterator[None]:
    """Let gradients in the block be those of the output: no activity regularizer adds to them, nothing cuts them."""
    names = ("activity_regularizer", "bptt_steps")
    before = [(part, name, getattr(part, name)) for part in model.walk() for name in names if name in vars(part)]
    try:
        for part, name, _ in before:
            setattr(part, name, None)
        yield
    finally:
        for part, name, value in before:
            setattr(part, name, value)


def _scale(value: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Return what an error is relative to, a row: the difference, or a thousandth of the largest one."""
    moved = np.abs(value - baseline)
    return np.maximum(np.maximum(moved, 1e-3 * moved.max()), np.finfo(moved.dtype).tiny)


def _integrated(chain: Chain, count: int, scale: np.ndarray) -> np.ndarray:
    """Return the mean of the gradient over the way from the baseline to the vectors, (B, T, D)."""
    nodes, shares = np.polynomial.legendre.leggauss(count)
    vectors, total, todo = chain.vectors, np.zeros_like(chain.vectors), [(0.0, 1.0, 0)]
    while todo:
        begin, end, halved = todo.pop()
        places = begin + (end - begin) * (nodes + 1) / 2
        part = np.zeros_like(vectors)
        for chosen in np.array_split(np.arange(count), -(-count * len(vectors) // ROWS)):
            chain.values(*_variants([(vectors * place).astype(vectors.dtype) for place in places[chosen]], chain.mask))
            own = chain.gradient().reshape(len(chosen), *vectors.shape)
            part += np.tensordot(shares[chosen] * (end - begin) / 2, own, 1).astype(vectors.dtype)
        ends = [chain.values((vectors * place).astype(vectors.dtype), chain.mask).copy() for place in (begin, end)]
        products = part * vectors
        off = np.abs(products.sum(axis=(1, 2)) - (ends[1] - ends[0]))
        rounding = 100 * np.finfo(vectors.dtype).eps * (np.abs(products).sum(axis=(1, 2)) + np.abs(ends).sum(axis=0))
        if halved < HALVINGS and (off > TOLERANCE * scale + rounding).any():
            middle = (begin + end) / 2
            todo += [(begin, middle, halved + 1), (middle, end, halved + 1)]
        else:
            total += part
    return total


def _left_out(chain: Chain, value: np.ndarray) -> np.ndarray:
    """Return what is lost without each step, (B, T)."""
    vectors, kept = chain.vectors, chain.mask
    B, T, _ = vectors.shape
    scores = np.empty((B, T), vectors.dtype)
    for steps in np.array_split(np.arange(T), -(-B * T // ROWS)):
        given, masks = _variants([vectors] * len(steps), kept)
        for n, t in enumerate(steps):
            if masks is None:
                given[n * B : (n + 1) * B, t] = 0
            else:
                masks[n * B : (n + 1) * B, t] = False
        scores[:, steps] = (value - chain.values(given, masks).reshape(-1, B)).T
    return scores


def _variants(vectors: list[np.ndarray], mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return several batches, and their masks, as one."""
    given = np.concatenate(vectors).astype(vectors[0].dtype)
    return given, None if mask is None else np.tile(mask, (len(vectors), 1))
