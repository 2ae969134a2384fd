"""A hundred mistakes in true backward passes, for the score of the gradient check: ten kinds, ten of each.

A mistake is a text put in the place of another: in a student's LSTM in plain NumPy, in the cells, the layers and their
loops, the losses. What it is and where it is stands beside it.
"""

from __future__ import annotations

import dataclasses
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from examples import check_homework as student
from rnncore import gradcheck
from rnncore.bptt import numpy_loop
from rnncore.cells import Cell, carry_rnn, gru, lstm, simple_rnn
from rnncore.gradcheck import Report
from rnncore.layers import (
    GRU,
    LSTM,
    CarryRNN,
    Dense,
    Dropout,
    GlobalAveragePooling1D,
    Layer,
    LayerNormalization,
    SimpleRNN,
    SpatialDropout1D,
    core,
    pooling,
    recurrent,
)
from rnncore.losses import formulas

LAST, BEFORE = 3, 2  # of four steps: the last one, and the one before it
_numbers = count()


class Mistake(NamedTuple):
    """A mistake: what makes the report on it, its kind, and where it is."""

    kind: str
    owner: str
    change: str
    report: Callable[[], Report]
    step: int | None = None
    gates: str = ""
    value: str = ""  # the array, or of a cell the value
    kinds: tuple[str, ...] = ()  # others that say the same

    def judged(self, report: Report) -> tuple[bool, bool, bool]:
        """Return whether a report found it, its place, its kind."""
        w = report.where
        place = self.step is None or w.step == self.step
        place &= not self.gates or {*w.gates} == {*self.gates}
        values = f"{w.tensor}, {w.fault.name if w.fault else ''}".replace(",", " ").split()
        place &= not self.value or self.value in values
        found = report.verdict == "wrong"
        return found, found and place, found and report.kind in (self.kind, *self.kinds)


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

    def report():
        backward, arrays = edited(student.backward, *changes), student.arrays(seed)
        arrays[-1][1, 1] = not hole
        return gradcheck.check(student.forward, backward, *arrays, **student.WHERE)

    return report


def of_cell(layer_class: Any, module: Any, *changes: str, function: str = "step_backward", **options: Any):
    """A layer whose cell has another derivative; what `function` calls is taken from the module."""

    def report():
        wrong = edited(vars(module)[function], *changes)

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

    def report():
        with patched(owner, name, edited(vars(owner)[name], *changes)):
            return make()

    return report


def of_loss(formula: str, *changes: str, y: Any = None, p: Any = None) -> Callable[[], Report]:
    """A loss's formula beside its derivative, changed."""

    def report():
        rng = np.random.default_rng(0)
        target = rng.random((5, 3)) if y is None else y
        given = rng.uniform(0.1, 0.9, (5, 3)) if p is None else p
        gradient = vars(formulas)[f"{formula}_gradient"]
        gradient = edited(gradient, *changes) if changes else gradient
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
    def report():
        x, W, U, b, mask = student.arrays(1)
        keep = np.random.default_rng(3).random(x.shape) >= P
        keep[0, 0] = True, False
        where = {"time_axis": {"x": 1}, "gates": student.WHERE["gates"]}
        return gradcheck.check(dropout_forward, edited(dropout_backward, *changes), x, keep, W, U, b, mask, **where)

    return report


def of_dense(*changes: str, square: bool = False) -> Callable[[], Report]:
    def report():
        rng = np.random.default_rng(2)
        x, W, b = (
            rng.standard_normal((5, 3)),
            rng.standard_normal((3, 3 if square else 4)),
            rng.standard_normal(3 if square else 4),
        )
        return gradcheck.check(layer_forward, edited(layer_backward, *changes), x, W, b)

    return report


def of_softmax(*changes: str) -> Callable[[], Report]:
    def report():
        rng = np.random.default_rng(2)
        z, y = rng.standard_normal((5, 4)), np.eye(4)[[0, 1, 3, 2, 1]].astype(int)
        return gradcheck.check(softmax_loss, edited(softmax_loss_backward, *changes), z, y)

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
        self.add_weight("scale", (input_shape[-1],), lambda shape, dtype, rng: np.full(shape, 1.5, dtype))
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


_U = "dh_next = dz @ U.T"
_BLOCKS = "sum(d @ u for d, u in zip(np.split(dz, 4, axis=1), np.split(U, 4, axis=1)))"
_RNN = {"return_sequences": True, "dtype": "float64"}
_DENSE = student.arrays()


def _mistakes() -> list[Mistake]:
    S, cell, loss = of_student, of_cell, of_loss
    found: list[Mistake] = []

    def add(kind, owner, change, report, step=None, gates="", value="", kinds=()):
        found.append(Mistake(kind, owner, change, report, step, gates, value, tuple(kinds)))

    # 1 sign
    add("sign", "student", "dc_next = -dc * f", S("dc_next = dc * f", "dc_next = -dc * f"), BEFORE, "ifk")
    add("sign", "student", "dh_next = -dz @ U.T", S(_U, "dh_next = -dz @ U.T"), BEFORE, "ifko")
    add("sign", "student", "do = -dh * tanh(c)", S("do = dh *", "do = -dh *"), LAST, "o")
    add("sign", "student", "dx = -dz @ W.T", S("= dz @ W.T", "= -dz @ W.T"), None, "", "x")
    add("sign", "student", "dU -= h_prev.T @ dz", S("dU +=", "dU -="), None, "", "U")
    add(
        "sign",
        "LSTM cell",
        "dc_prev = -dc * f",
        cell(LSTM, lstm, "dc_prev = dc * f", "dc_prev = -dc * f"),
        BEFORE,
        "",
        "dc_prev",
    )
    add("sign", "GRU cell", "dr = -dx_k * u_k", cell(GRU, gru, "dr = dx_k * u_k", "dr = -dx_k * u_k"), LAST, "r", "dr")
    add(
        "sign",
        "CarryRNN cell",
        "di = -dc * k",
        cell(CarryRNN, carry_rnn, "di = dc * k", "di = -dc * k"),
        BEFORE,
        "i",
        "di",
    )
    add("sign", "loss", "squared error: y - p", loss("squared_error", "(p - y)", "(y - p)"), None, "", "p")
    add("sign", "loss", "softmax: y - p", of_softmax("dy * dz", "-dy * dz"), None, "", "z")
    # 2 factor
    add("factor", "student", "dc += 2 dh o (1 - tanh²)", S("dc = dc + dh * o", "dc = dc + 2 * dh * o"), LAST, "ifk")
    add("factor", "student", "dW += 2 x.T @ dz", S("dW += x", "dW += 2 * x"), None, "", "W")
    add("factor", "student", "db is a mean", S("dz.sum(axis=0)", "dz.mean(axis=0)"), None, "", "b")
    add("factor", "student", "dk = dc * i / 2", S("dk = dc * i", "dk = dc * i / 2"), LAST, "k")
    add("factor", "student", "dc_next = dc * f / 2", S("dc_next = dc * f", "dc_next = 0.5 * dc * f"), BEFORE, "ifk")
    add("factor", "LSTM cell", "di = 2 * dc * k", cell(LSTM, lstm, "di = dc * k", "di = 2 * dc * k"), LAST, "i", "di")
    add(
        "factor",
        "GRU cell",
        "dz_r = d_sigmoid(2 * dr, …)",
        cell(GRU, gru, "d_sigmoid(dr, r, z_r)", "d_sigmoid(2 * dr, r, z_r)"),
        LAST,
        "r",
        "dz_r",
    )
    add("factor", "loss", "squared error without the 2", loss("squared_error", "2 * (p", "(p"), None, "", "p")
    add("factor", "loss", "absolute error not a mean", loss("absolute_error", " / p.shape[-1]", ""), None, "", "p")
    add("factor", "loss", "softmax not a mean", of_softmax(" - y) / len(z)", " - y)"), None, "", "z")
    # 3 swapped
    z4 = "[dz_i, dz_f, dz_k, dz_o]"
    add("swapped", "student", "dz: f and i", S(z4, "[dz_f, dz_i, dz_k, dz_o]"), LAST, "if")
    add("swapped", "student", "dz: k and o", S(z4, "[dz_i, dz_f, dz_o, dz_k]"), LAST, "ko")
    add("swapped", "student", "di = dc * f", S("di = dc * k", "di = dc * f"), LAST, "i")
    add("swapped", "student", "dk = dc * f", S("dk = dc * i", "dk = dc * f"), LAST, "k")
    add("swapped", "student", "dc_next = dc * i", S("dc_next = dc * f", "dc_next = dc * i"), BEFORE, "ifk")
    add(
        "swapped",
        "LSTM cell",
        "returns dz_f, dz_i",
        cell(LSTM, lstm, "return dz_i, dz_f", "return dz_f, dz_i"),
        LAST,
        "if",
    )
    add("swapped", "LSTM cell", "dk = dc * o", cell(LSTM, lstm, "dk = dc * i", "dk = dc * o"), LAST, "k", "dk")
    add(
        "swapped",
        "GRU cell",
        "returns dz_r, dz_z",
        cell(GRU, gru, "return dz_z, dz_r", "return dz_r, dz_z"),
        LAST,
        "zr",
    )
    add(
        "swapped",
        "CarryRNN cell",
        "dc_prev = dc * i",
        cell(CarryRNN, carry_rnn, "dc_prev = dc * f", "dc_prev = dc * i"),
        None,
        "",
        "dc_prev",
    )
    add(
        "swapped", "GRU cell", "du_k = dx_k * z", cell(GRU, gru, "du_k = dx_k * r", "du_k = dx_k * z"), None, "", "du_k"
    )
    # 4 transposed
    add("transposed", "student", "dh_next = dz @ U, by gate", S(_U, f"dh_next = {_BLOCKS}"), BEFORE, "ifko")
    add("transposed", "student", "the same, other numbers", S(_U, f"dh_next = {_BLOCKS}", seed=4), BEFORE, "ifko")
    add("transposed", "student", "dW = (x.T @ dz).T", S("return dx, dW", "return dx, dW.T"), None, "", "W")
    add(
        "transposed",
        "student",
        "dU by gate from dz.T @ h",
        S("dU += h_prev.T @ dz", "dU += np.concatenate([d.T @ h_prev for d in np.split(dz, 4, axis=1)], axis=1)"),
        None,
        "",
        "U",
    )
    add("transposed", "dense", "dx = dz @ W", of_dense("dz @ W.T", "dz @ W", square=True), None, "", "x")
    add("transposed", "dense", "dW = dz.T @ x", of_dense("x.T @ dz", "dz.T @ x"), None, "", "W")
    add("transposed", "dense", "dW = dz.T @ x, square", of_dense("x.T @ dz", "dz.T @ x", square=True), None, "", "W")
    turned = "@ recurrent[n].T", "@ recurrent[n]"
    for name, layer in (("LSTM", LSTM), ("GRU", GRU), ("SimpleRNN", SimpleRNN)):
        report = patching(numpy_loop, "backward", *turned, make=lambda layer=layer: of_layer(layer(3, **_RNN)))
        add("transposed", f"{name} loop", "dz @ recurrent[n]", report, BEFORE)
    # 5 derivative
    add("derivative", "student", "dz_f = df", S("dz_f = df * f * (1 - f)", "dz_f = df"), LAST, "f")
    add("derivative", "student", "dz_k = dk", S("dz_k = dk * (1 - k**2)", "dz_k = dk"), LAST, "k")
    add("derivative", "student", "dz_o = do * o", S("dz_o = do * o * (1 - o)", "dz_o = do * o"), LAST, "o")
    add("derivative", "student", "dz_i = di * (1 - i²)", S("di * i * (1 - i)", "di * (1 - i**2)"), LAST, "i")
    add("derivative", "student", "1 - c² for 1 - tanh(c)²", S("1 - np.tanh(c) ** 2", "1 - c**2"), LAST, "ifk")
    add("derivative", "student", "tanh'(c) forgotten", S(" * (1 - np.tanh(c) ** 2)", ""), LAST, "ifk")
    add(
        "derivative",
        "LSTM cell",
        "dz_i = di",
        cell(LSTM, lstm, "dz_i = d_sigmoid(di, i, z_i)", "dz_i = di"),
        LAST,
        "i",
        "dz_i",
    )
    add(
        "derivative",
        "GRU cell",
        "dz_z by tanh",
        cell(GRU, gru, "d_sigmoid(dz, z, z_z)", "d_tanh(dz, z, z_z)"),
        LAST,
        "z",
        "dz_z",
    )
    add(
        "derivative",
        "SimpleRNN cell",
        "dz_a = dh",
        cell(SimpleRNN, simple_rnn, "dz_a = d_tanh(dh, h, z_a)", "dz_a = dh"),
        LAST,
        "a",
        "dz_a",
    )
    add(
        "derivative",
        "layer",
        "Activation without its derivative",
        patching(
            core.Activated,
            "call_backward",
            "self.activation.backward(dy, self._y, self.logits)",
            "dy",
            make=lambda: of_layer(core.Activation("sigmoid")),
        ),
        None,
        "",
        "x",
    )
    # 6 path
    add("path", "student", "dc not carried", S("dc_next = dc * f + dc_held", "dc_next = dc_held"), BEFORE, "ifk")
    add("path", "student", "dc = …, not dc + …", S("dc = dc + dh", "dc = dh"), BEFORE, "ifk")
    add("path", "student", "dc_next = dc", S("dc_next = dc * f", "dc_next = dc"), BEFORE, "ifk")
    add(
        "path",
        "student",
        "dh_next without o's share",
        S(_U, "dh_next = dz[:, :-len(U)] @ U[:, :-len(U)].T"),
        BEFORE,
        "ifko",
    )
    add("path", "student", "df = dc", S("df = dc * c_prev", "df = dc"), LAST, "f")
    add("path", "LSTM cell", "dc = d_tanh(…)", cell(LSTM, lstm, "dc = dc + d_tanh", "dc = d_tanh"), BEFORE, "", "dc")
    add("path", "LSTM cell", "dk = dc", cell(LSTM, lstm, "dk = dc * i", "dk = dc"), LAST, "k", "dk")
    add(
        "path",
        "GRU reset before",
        "dh_prev = ds",
        cell(GRU, gru, "dh_prev = ds * r", "dh_prev = ds", function="reset_backward", reset_after=False),
        BEFORE,
        "",
        "dh_prev",
    )
    add("path", "CarryRNN cell", "df = dc", cell(CarryRNN, carry_rnn, "df = dc * c_prev", "df = dc"), BEFORE, "f", "df")
    add("path", "dense", "dx without W's last column", of_dense("dz @ W.T", "dz[:, :-1] @ W.T[:-1]"), None, "", "x")
    # 7 steps
    add(
        "steps",
        "student",
        "dh of the output at the end only",
        S("dh = dy[:, t] + dh_next", "dh = (dy[:, t] if t == x.shape[1] - 1 else 0) + dh_next"),
        BEFORE,
        "ifko",
    )
    add(
        "steps",
        "student",
        "stops after the last step",
        S("        dx[:, t]", "        if t < x.shape[1] - 1:\n            break\n        dx[:, t]"),
        BEFORE,
        "ifko",
    )
    add(
        "steps",
        "student",
        "nothing carried",
        S(f"{_U} + dh_held\n        dc_next = dc * f + dc_held", "dh_next = dc_next = np.zeros_like(h)"),
        BEFORE,
        "ifko",
    )
    add("steps", "student", "dW = …, not dW += …", S("dW +=", "dW ="), None, "", "W")
    add("steps", "student", "dU = …, not dU += …", S("dU +=", "dU ="), None, "", "U")
    add("steps", "student", "db = …, not db += …", S("db +=", "db ="), None, "", "b")
    add("steps", "student", "dW of the last step only", S("dW += x", "dW += (t == x.shape[1] - 1) * x"), None, "", "W")
    add(
        "steps", "student", "db of the last step only", S("db += dz", "db += (t == x.shape[1] - 1) * dz"), None, "", "b"
    )
    for name, layer in (("LSTM", LSTM), ("GRU", GRU)):
        report = patching(
            numpy_loop.NumpyRun,
            "backward",
            "dstates[0, len(dstates[0]) - len(dh) :] = dh",
            "dstates[0, -1] = dh[-1]",
            make=lambda layer=layer: of_layer(layer(3, **_RNN)),
        )
        add("steps", f"{name} loop", "dh of the output at the end only", report, BEFORE)
    # 8 mask
    held = "dh_held, dc_held = dh * ~m, dc * ~m\n        dh, dc = dh * m, dc * m"
    add("mask", "student", "no mask", S(held, "dh_held = dc_held = 0"), LAST)
    add("mask", "student", "no mask, other numbers", S(held, "dh_held = dc_held = 0", seed=5), LAST)
    add("mask", "student", "held, and taken too", S("dh, dc = dh * m, dc * m", "pass"), LAST)
    add(
        "mask",
        "student",
        "dc held, and taken too",
        S("dh, dc = dh * m, dc * m", "dh = dh * m", hole=True),
        1,
    )
    for name, layer in (("LSTM", LSTM), ("GRU", GRU), ("SimpleRNN", SimpleRNN)):
        report = patching(
            numpy_loop,
            "backward",
            "taken, idle = _rows(sequence.mask, t)",
            "taken, idle = _rows(None, t)",
            make=lambda layer=layer: of_layer(layer(3, **_RNN), hole=True),
        )
        add("mask", f"{name} loop", "no mask", report, LAST)
    add(
        "mask",
        "layer",
        "GlobalAveragePooling1D: shares of all",
        patching(
            pooling._GlobalPooling,
            "call_backward",
            "* self._shares",
            "* np.broadcast_to(self._shares.max(axis=1, keepdims=True), self._shares.shape)",
            make=lambda: of_layer(GlobalAveragePooling1D(dtype="float64"), hole=True),
        ),
        LAST,
        "",
        "",
    )
    for name, layer in (("LSTM", LSTM), ("SimpleRNN", SimpleRNN)):
        report = patching(
            recurrent.RNN,
            "call_backward",
            "dx if self._shown is None else dx * self._shown",
            "dx",
            make=lambda layer=layer: of_left_padded(layer),
        )
        add("mask", f"{name} layer", "what is not shown has a gradient", report, None, "", "", ("value", "path"))
    # 9 dropout
    add(
        "dropout", "student", "dx without keep and scale", of_dropout("dx = dx * keep / (1 - P)", "pass"), None, "", "x"
    )
    add(
        "dropout",
        "student",
        "dx without the scale",
        of_dropout("dx = dx * keep / (1 - P)", "dx = dx * keep"),
        None,
        "",
        "x",
    )

    def drop(layer):
        return lambda: of_layer(layer, (6, 5, 3), training=True)

    for name, layer in (("Dropout", Dropout(0.3, seed=1)), ("SpatialDropout1D", SpatialDropout1D(0.3, seed=1))):
        add(
            "dropout",
            name,
            "no mask",
            patching(core.Dropout, "call_backward", *_dropout_edit(True), make=drop(layer)),
            None,
            "",
            "x",
        )
        add(
            "dropout",
            name,
            "no scale",
            patching(core.Dropout, "call_backward", *_dropout_edit(False), make=drop(layer)),
            None,
            "",
            "x",
        )
    dropped = {"dropout": 0.3, "seed": 2, **_RNN}
    for name, layer in (("LSTM", LSTM), ("GRU", GRU), ("SimpleRNN", SimpleRNN), ("CarryRNN", CarryRNN)):
        report = patching(
            numpy_loop,
            "backward",
            "(_dropped(dblocks[g] @ kernels[g].T, sequence.drop_x, g) for g in gates)",
            "((dblocks[g] @ kernels[g].T) for g in gates)",
            make=lambda layer=layer: of_layer(layer(3, **dropped), training=True),
        )
        add("dropout", f"{name} loop", "dx without the mask", report, None, "", "x")
    # 10 accumulated
    arrays = student.arrays()
    add("accumulated", "student", "dW kept", adding(student.forward, student.backward, arrays, [1], **student.WHERE))
    add(
        "accumulated",
        "student",
        "dU, db kept",
        adding(student.forward, student.backward, arrays, [2, 3], **student.WHERE),
    )
    add(
        "accumulated",
        "student",
        "all kept",
        adding(student.forward, student.backward, arrays, [0, 1, 2, 3], **student.WHERE),
    )
    rng = np.random.default_rng(7)
    dense = [rng.standard_normal(shape) for shape in ((5, 3), (3, 4), (4,))]
    add("accumulated", "dense", "dW kept", adding(layer_forward, layer_backward, dense, [1]))
    add("accumulated", "dense", "db kept", adding(layer_forward, layer_backward, dense, [2]))
    add("accumulated", "layer", "a layer of one's own", lambda: of_layer(AddingLayer()))
    add("accumulated", "layer", "Dense", adding_layer(Dense, units=3))
    add("accumulated", "layer", "LayerNormalization", adding_layer(LayerNormalization))
    add("accumulated", "layer", "LSTM", adding_layer(LSTM, units=3))
    add("accumulated", "layer", "GRU", adding_layer(GRU, units=3))
    return found  # fmt: skip


def _dropout_edit(mask: bool) -> tuple[str, str]:
    source = inspect.getsource(core.Dropout.call_backward)
    right = "dy * self._drop"
    assert right in source
    return right, "dy" if mask else "dy * (self._drop != 0)"


def of_left_padded(layer: Any) -> Report:
    """A layer whose first steps are padding: their outputs are 0, although the states carry the initial ones."""
    rng = np.random.default_rng(1)
    mask = np.ones((3, 4), bool)
    mask[0, :2] = False
    own = layer(3, **_RNN)
    x = rng.standard_normal((3, 4, 2))
    own(x)
    states = [rng.standard_normal((3, 3)) for _ in own.cell.state_size]
    return gradcheck.check_layer(own, x, mask, initial_state=states)


MISTAKES = _mistakes()
