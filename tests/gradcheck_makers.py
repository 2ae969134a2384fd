"""What a mistake in a backward pass is made with: a text put in the place of another, and a report on what comes of it.

Students' functions of our own stand here too: an LSTM behind dropout, a dense layer, a loss.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

from examples import check_homework as student
from rnncore import gradcheck
from rnncore.cells import Cell
from rnncore.gradcheck import Report
from rnncore.layers import (
    Layer,
)
from rnncore.losses import formulas

RNN = {"return_sequences": True, "dtype": "float64"}
_numbers = count()


def edited(function: Any, *changes: str, **names: Any) -> Any:
    """Return a function with texts in the place of others; its source can still be read."""
    source = textwrap.dedent(inspect.getsource(function))
    for right, wrong in zip(changes[::2], changes[1::2], strict=True):
        assert source.count(right) == 1, (function, right, source.count(right))
        source = source.replace(right, wrong)
    file = f"<mistake {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space = {**inspect.unwrap(function).__globals__, **names}
    made: dict[str, Any] = {}  # apart: a method may have the name of a function that it calls
    exec(compile(source, file, "exec"), space, made)
    made[function.__name__].__module__ = "tests"  # not the package's: kept out of the kernels' cache
    return made[function.__name__]


@contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let an attribute be another for a while."""
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def of_student(*changes: str, seed: int = 0, hole: bool = False) -> Callable[[], Report]:
    """The student's LSTM with another backward; with a hole, a step within a row is masked, too."""

    backward = edited(student.backward, *changes)

    def report():
        arrays = student.arrays(seed)
        arrays[-1][1, 1] = not hole
        return gradcheck.check(student.forward, backward, *arrays, **student.WHERE)

    return report


def of_cell(layer_class: Any, module: Any, *changes: str, function: str = "step_backward", **options: Any):
    """A layer whose cell has another derivative; what `function` calls is taken from the module."""

    wrong = edited(vars(module)[function], *changes)

    def report():
        made = {"equations": changed(layer_class.cell_class.equations, wrong)}
        public = type("WrongCell", (layer_class.cell_class,), made)
        layer = type("Wrong", (layer_class,), {"cell_class": public})
        return of_layer(layer(3, return_sequences=True, dtype="float64", **options))

    return report


def changed(cell: Cell, wrong: Any) -> Cell:
    """Return a cell with another derivative in the place of that of the same name."""
    stages = tuple(
        dataclasses.replace(s, step_backward=wrong) if s.step_backward.__name__ == wrong.__name__ else s
        for s in cell.stages
    )
    otherwise = {name: changed(other, wrong) for name, other in cell.otherwise.items()}
    return dataclasses.replace(cell, stages=stages, otherwise=otherwise)


def of_layer(layer: Layer, shape: tuple = (3, 4, 2), seed: int = 0, **options: Any) -> Report:
    """Return the report on a layer with random weights and input."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    layer(x)
    layer.set_weights([0.6 * rng.standard_normal(w.shape) for w in layer.get_weights()])
    if options.pop("hole", False):
        options["mask"] = np.ones(shape[:2], bool)
        options["mask"][0, -1] = options["mask"][1, 1] = False
    return gradcheck.check_layer(layer, x, **options)


def patching(owner: Any, name: str, *changes: str, make: Callable[[], Report]) -> Callable[[], Report]:
    """The report on what works with a function of the package that has been changed."""

    wrong = edited(vars(owner)[name], *changes)

    def report():
        with patched(owner, name, wrong):
            return make()

    return report


def of_loss(formula: str, *changes: str, y: Any = None, p: Any = None) -> Callable[[], Report]:
    """A loss's formula beside its derivative, changed."""

    gradient = vars(formulas)[f"{formula}_gradient"]
    gradient = edited(gradient, *changes) if changes else gradient

    def report():
        rng = np.random.default_rng(0)
        target = rng.random((5, 3)) if y is None else y
        given = rng.uniform(0.1, 0.9, (5, 3)) if p is None else p
        extra = (0.3,) if formula.startswith("huber") else ()
        return gradcheck.check(
            lambda p: vars(formulas)[formula](target, p, *extra),
            lambda dy, p: dy[..., None] * gradient(target, p, *extra),
            given,
            names="p",
            method="central",
        )

    return report


# --- students of their own -----------------------------------------------------------------------------------------

P = 0.25


def dropout_forward(x, keep, W, U, b, mask):
    """The student's LSTM on inputs that dropout has gone over."""
    return student.forward(x * keep / (1 - P), W, U, b, mask)


def dropout_backward(dy, x, keep, W, U, b, mask):
    dx, dW, dU, db, _ = student.backward(dy, x * keep / (1 - P), W, U, b, mask)
    dx = dx * keep / (1 - P)
    return dx, None, dW, dU, db, None


def layer_forward(x, W, b):
    """A student's dense layer."""
    return 1 / (1 + np.exp(-(x @ W + b)))


def layer_backward(dy, x, W, b):
    s = layer_forward(x, W, b)
    dz = dy * s * (1 - s)
    return dz @ W.T, x.T @ dz, dz.sum(axis=0)


def softmax_loss(z, y):
    """A student's loss: the mean over the rows of the crossentropy of softmax."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return -np.sum(y * np.log(e / e.sum(axis=1, keepdims=True))) / len(z)


def softmax_loss_backward(dy, z, y):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    dz = (e / e.sum(axis=1, keepdims=True) - y) / len(z)
    return dy * dz, None


def of_dropout(*changes: str) -> Callable[[], Report]:
    wrong = edited(dropout_backward, *changes)

    def report():
        x, W, U, b, mask = student.arrays(1)
        keep = np.random.default_rng(3).random(x.shape) >= P
        keep[0, 0] = True, False
        where = {"time_axis": {"x": 1}, "gates": student.WHERE["gates"]}
        return gradcheck.check(dropout_forward, wrong, x, keep, W, U, b, mask, **where)

    return report


def of_dense(*changes: str, square: bool = False) -> Callable[[], Report]:
    wrong = edited(layer_backward, *changes)

    def report():
        rng = np.random.default_rng(2)
        x, W, b = (
            rng.standard_normal((5, 3)),
            rng.standard_normal((3, 3 if square else 4)),
            rng.standard_normal(3 if square else 4),
        )
        return gradcheck.check(layer_forward, wrong, x, W, b)

    return report


def of_softmax(*changes: str) -> Callable[[], Report]:
    wrong = edited(softmax_loss_backward, *changes)

    def report():
        rng = np.random.default_rng(2)
        z, y = rng.standard_normal((5, 4)), np.eye(4)[[0, 1, 3, 2, 1]].astype(int)
        return gradcheck.check(softmax_loss, wrong, z, y)

    return report


class Adding:
    """A backward that adds to what it gave before, as a class that keeps its gradients does."""

    def __init__(self, backward, which):
        self.backward, self.which, self.kept = backward, which, None

    def __call__(self, *arguments):
        found = list(self.backward(*arguments))
        if self.kept is None:
            self.kept = [np.zeros_like(g) if g is not None else None for g in found]
        for n in self.which:
            self.kept[n] = self.kept[n] + found[n]
            found[n] = self.kept[n].copy()
        return found


def adding(forward, backward, arrays, which, **where) -> Callable[[], Report]:
    return lambda: gradcheck.check(forward, Adding(backward, which), *arrays, **where)


class AddingLayer(Layer):
    """A layer of one's own that never forgets its gradients."""

    def build(self, input_shape):
        self.add_weight((input_shape[-1],), lambda shape, dtype, rng: np.full(shape, 1.5, dtype), name="scale")
        self._sum = 0

    def call(self, x, mask=None, training=False):
        self._x = x
        return x * self.scale

    def call_backward(self, dy):
        self._sum = self._sum + (dy * self._x).reshape(-1, len(self.scale)).sum(axis=0)
        self.gradients = {"scale": self._sum}
        return dy * self.scale


def adding_layer(base: Any, shape: tuple = (3, 4, 2), **options: Any) -> Callable[[], Report]:
    """A layer of the package whose weights' gradients are added to those of the call before."""

    def call_backward(self, dy):
        dx = base.call_backward(self, dy)
        for leaf in self.leaves():
            kept = leaf.__dict__.setdefault("_kept", {})
            for name in leaf.gradients:
                kept[name] = kept.get(name, 0) + np.asarray(leaf.gradients[name])
                leaf.gradients[name] = kept[name]
        return dx

    def report():
        made = type(base.__name__, (base,), {"call_backward": call_backward})
        return of_layer(made(**options), shape)

    return report


def of_left_padded(layer: Any) -> Report:
    """A layer whose first steps are padding: their outputs are 0, although the states carry the initial ones."""
    rng = np.random.default_rng(1)
    mask = np.ones((3, 4), bool)
    mask[0, :2] = False
    own = layer(3, **RNN)
    x = rng.standard_normal((3, 4, 2))
    own(x)
    states = [rng.standard_normal((3, 3)) for _ in own.cell.state_size]
    return gradcheck.check_layer(own, x, mask, initial_state=states)


# --- mistakes that nobody chose -------------------------------------------------------------------------------------

ALIKE = (
    {"i", "f", "k", "o", "c", "c_prev", "h_prev"},
    {"dh", "dc", "do", "df", "di", "dk"},
    {"dz_i", "dz_f", "dz_k", "dz_o"},
)


def random_edits(number: int, seed: int = 0) -> Iterator[tuple[str, Callable[[], Report]]]:
    """Yield single random edits of the student's backward that change its gradients, no two of them the same.

    A value is put in the place of another of its kind, plus becomes minus, a factor or a term is left out.
    """
    rng, arrays = np.random.default_rng(seed), student.arrays()
    dy = rng.standard_normal(student.forward(*arrays).shape)
    right, seen = student.backward(dy, *arrays), set()
    source = textwrap.dedent(inspect.getsource(student.backward))
    while len(seen) < number:
        tree = ast.parse(source)
        (loop,) = (node for node in ast.walk(tree) if isinstance(node, ast.For))
        statement: Any = loop.body[rng.integers(1, len(loop.body))]
        before = ast.unparse(statement)
        nodes = [n for n in ast.walk(statement.value) if _edits(n)]
        if not nodes:
            continue
        node = nodes[rng.integers(len(nodes))]
        edits = _edits(node)
        new = edits[rng.integers(len(edits))]
        statement.value = _Put(node, new).visit(statement.value)
        change = f"{before} -> {ast.unparse(ast.fix_missing_locations(statement))}"
        space = dict(vars(student))
        exec(compile(ast.fix_missing_locations(tree), "<random edit>", "exec"), space)
        try:
            came = space["backward"](dy, *arrays)
        except Exception:  # it does not even run
            continue
        same = all(
            np.shape(a) == b.shape and np.allclose(a, b, rtol=1e-9) for a, b in zip(came[:4], right, strict=False)
        )
        if same or change in seen:
            continue
        seen.add(change)
        yield change, lambda wrong=space["backward"]: gradcheck.check(student.forward, wrong, *arrays, **student.WHERE)


def _edits(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.Name):
        return [ast.Name(n, ast.Load()) for group in ALIKE if node.id in group for n in sorted(group - {node.id})]
    if isinstance(node, ast.BinOp):
        flipped = {ast.Add: ast.Sub, ast.Sub: ast.Add}.get(type(node.op))
        others = [ast.BinOp(node.left, flipped(), node.right)] if flipped else []
        return [*others, node.left, node.right]
    return []


class _Put(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node):
        return self.new if node is self.old else self.generic_visit(node)
