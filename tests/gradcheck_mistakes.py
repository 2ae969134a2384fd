"""A hundred mistakes in true backward passes, for the score of the gradient check: ten kinds, ten of each.

A mistake is a text put in the place of another: in a student's LSTM in plain NumPy, in the cells, the layers and their
loops, the losses. What it is and where it is stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from examples import check_homework as student
from rnncore.bptt import numpy_loop
from rnncore.cells import carry_rnn, gru, lstm, simple_rnn
from rnncore.gradcheck import Report
from rnncore.layers import (
    GRU,
    LSTM,
    CarryRNN,
    Dense,
    Dropout,
    GlobalAveragePooling1D,
    LayerNormalization,
    SimpleRNN,
    SpatialDropout1D,
    core,
    pooling,
    recurrent,
)
from tests.gradcheck_makers import (
    RNN,
    AddingLayer,
    adding,
    adding_layer,
    layer_backward,
    layer_forward,
    of_cell,
    of_dense,
    of_dropout,
    of_layer,
    of_left_padded,
    of_loss,
    of_softmax,
    of_student,
    patching,
)

LAST, BEFORE = 3, 2  # of four steps: the last one, and the one before it


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


_U = "dh_next = dz @ U.T"
_BLOCKS = "sum(d @ u for d, u in zip(np.split(dz, 4, axis=1), np.split(U, 4, axis=1)))"


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
        report = patching(numpy_loop, "reverse", *turned, make=lambda layer=layer: of_layer(layer(3, **RNN)))
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
            make=lambda layer=layer: of_layer(layer(3, **RNN)),
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
            "reverse",
            "taken, idle = _rows(sequence.mask, t)",
            "taken, idle = _rows(None, t)",
            make=lambda layer=layer: of_layer(layer(3, **RNN), hole=True),
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
            patching(core.Dropout, "call_backward", "dy * self._drop", "dy", make=drop(layer)),
            None,
            "",
            "x",
        )
        add(
            "dropout",
            name,
            "no scale",
            patching(core.Dropout, "call_backward", "dy * self._drop", "dy * (self._drop != 0)", make=drop(layer)),
            None,
            "",
            "x",
        )
    dropped = {"dropout": 0.3, "seed": 2, **RNN}
    for name, layer in (("LSTM", LSTM), ("GRU", GRU), ("SimpleRNN", SimpleRNN), ("CarryRNN", CarryRNN)):
        report = patching(
            numpy_loop,
            "input_gradient",
            "_dropped(dblocks[g] @ kernel.T, sequence.drop_x, g)",
            "dblocks[g] @ kernel.T",
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


MISTAKES = _mistakes()
