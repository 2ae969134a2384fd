"""The verdict, the four witnesses, the place and the report: what a check says of right and of wrong functions."""

import json
import sys
import time

import numpy as np
import pytest

from examples import check_homework as student
from rnncore import __main__ as program
from rnncore import config, gradcheck
from rnncore.cells import lstm as lstm_cell
from rnncore.gradcheck import lines
from rnncore.gradcheck.fixture import gradients  # noqa: F401 - a fixture
from rnncore.gradcheck.witnesses import central
from rnncore.layers import GRU, LSTM, Activation, SimpleRNN
from tests.gradcheck_makers import changed, edited, of_cell, patching

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))


@pytest.fixture(autouse=True)
def numpy_backend():
    config.set_backend("numpy")


def forward(x, w):
    return np.tanh(x @ w)


def backward(dy, x, w):
    dz = dy * (1 - np.tanh(x @ w) ** 2)
    return dz @ w.T, x.T @ dz


def real(x, w):
    """The same for floats alone."""
    return np.tanh(x.astype(float) @ w)


# --- witnesses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [np.exp, np.sin, lambda x: 1 / (1 + x * x), lambda x: np.tanh(40 * x)])
def test_the_error_bar_of_a_difference_covers_its_error(function):
    for at in (-1.3, 0.02, 2.0):
        noise = np.finfo(float).eps * abs(function(at))
        found, bar = central(lambda h, at=at: np.asarray(function(at + h)), 2.0**-5, noise)
        exact = np.imag(function(at + 1e-30j)) / 1e-30
        assert abs(found - exact) <= bar + 1e-15
        assert bar <= 1e-7 * max(abs(exact), 1e-3)


def test_all_four_are_heard():
    said = gradcheck.check(forward, backward, X, W).witnesses
    assert list(said) == ["complex step", "central differences", "Taylor remainder", "dot product"]
    assert "order 2.0" in said["Taylor remainder"] or "order 1.9" in said["Taylor remainder"]
    wrong = gradcheck.check(forward, lambda dy, x, w: (1.03 * backward(dy, x, w)[0], backward(dy, x, w)[1]), X, W)
    assert "order 1.0" in wrong.witnesses["Taylor remainder"] and "in 1 of 2 arrays" in wrong.witnesses["dot product"]


def test_where_complex_numbers_are_not_taken_differences_are():
    report = gradcheck.check(real, backward, X, W)
    assert report.ok and report.method == "central" and report.worst < 1e-8
    assert "central differences, since" in report.notes[0]


def test_a_complex_step_that_loses_a_part_is_not_believed():
    report = gradcheck.check(lambda x: np.abs(x) ** 3, lambda dy, x: dy * 3 * x * abs(x), X)
    assert report.ok and report.method == "central"


def test_the_number_does_not_depend_on_what_backward_says():
    """Of two steps, the one nearer to the analytic value must not be the one that is kept."""
    x = {"x": X}
    values = [gradcheck.compare(lambda: np.sum(np.sin(50 * X)), x, {"x": g}).rows[0] for g in (50 * np.cos(50 * X), X)]
    again = gradcheck.compare(lambda: np.sum(np.sin(50 * X)), x, {"x": X + 1}).rows[0]
    assert values[0].error < 1e-7 and values[1].error > 0.1
    assert abs(again.numerical - 50 * np.cos(50 * X[again.index])) < 1e-6


def test_an_entry_outside_of_the_sample_is_found_by_the_dot_product():
    x = RNG.standard_normal(6000)

    def sly(dy, x):
        g = 2 * x * dy
        g[[n for n in range(6000) if n not in seen]] *= 1.01
        return g

    seen = set(range(6000))
    right = gradcheck.check(lambda x: x * x, sly, x)
    assert right.ok and right.rows[0].checked == 1000
    seen = set(np.flatnonzero(np.isfinite(right.errors["x"])).tolist())
    report = gradcheck.check(lambda x: x * x, sly, x)
    assert report.verdict == "wrong" and "dot product" in report.findings[0].words
    assert report.rows[0].error < 1e-6
    np.testing.assert_array_equal(report.errors["x"] >= 0, right.errors["x"] >= 0)  # the same sample


def test_kinks_are_no_false_alarm_and_hide_nothing():
    x = np.where(RNG.random((4, 5)) < 0.5, 0, RNG.standard_normal((4, 5)))
    report = gradcheck.check_layer(Activation("relu"), x, method="central")
    assert report.ok and report.rows[0].kinks == np.count_nonzero(x == 0)
    assert "kink" in report.notes[-1]
    wrong = gradcheck.check(lambda x: np.maximum(x, 0), lambda dy, x: dy * 1.1 * (x > 0), x)
    assert wrong.verdict == "wrong"


def test_float32_code_against_its_float64_self():
    arrays = X.astype("f4"), W.astype("f4")
    report = gradcheck.check(forward, backward, *arrays, against="float64")
    assert report.ok and 1e-9 < report.worst < 2e-4
    wrong = gradcheck.check(forward, lambda dy, x, w: (dy @ w.T, x.T @ dy), *arrays, against="float64")
    assert wrong.verdict == "wrong"


# --- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["rows first", "steps first", "no rows", "last output"])
def test_any_layout_of_x(order):
    """The step and the gate are found whatever the order of x's axes, and where the last output alone is returned."""
    x, W, U, b, mask = student.arrays(1)
    mask[:] = True
    broken = edited(student.backward, "dz_f = df * f * (1 - f)", "dz_f = df")
    axis = 1
    if order == "rows first":
        pair = student.forward, broken
    elif order == "steps first":
        x, axis = x.transpose(1, 0, 2), 0

        def back(dy, x, *rest):
            dx, *other = broken(dy.transpose(1, 0, 2), x.transpose(1, 0, 2), *rest)
            return [dx.transpose(1, 0, 2), *other]

        pair = (lambda x, *rest: student.forward(x.transpose(1, 0, 2), *rest).transpose(1, 0, 2)), back
    elif order == "no rows":
        x, axis, mask = x[1], 0, mask[:1]

        def back(dy, x, *rest):
            dx, *other = broken(dy[None], x[None], *rest)
            return [dx[0], *other]

        pair = (lambda x, *rest: student.forward(x[None], *rest)[0]), back
    else:

        def back(dy, x, *rest):
            at_all = np.zeros((*x.shape[:2], dy.shape[-1]))
            at_all[:, -1] = dy
            return broken(at_all, x, *rest)

        pair = (lambda x, *rest: student.forward(x, *rest)[:, -1]), back
    names = ["x", "W", "U", "b", "mask"]
    report = gradcheck.check(*pair, x, W, U, b, mask, names=names, time_axis={"x": axis}, gates=student.WHERE["gates"])
    assert (report.verdict, report.where.step, report.where.gates) == ("wrong", 3, ("f",))
    assert report.kind == "derivative"
    assert set(report.by_step) == {0, 1, 2, 3} and max(report.by_gate, key=report.by_gate.get) == "f"


def test_a_plain_recurrent_network_without_gates():
    def forth(x, W, U, b):
        h, out = np.zeros((len(x), len(U))), []
        for t in range(x.shape[1]):
            h = np.tanh(x[:, t] @ W + h @ U + b)
            out.append(h)
        return np.stack(out, axis=1)

    def back(dy, x, W, U, b):
        hs = forth(x, W, U, b)
        dx, dW, dU, db, dh = np.zeros_like(x), 0, 0, 0, 0
        for t in reversed(range(x.shape[1])):
            before = hs[:, t - 1] if t else np.zeros_like(hs[:, 0])
            dz = (dy[:, t] + dh) * (1 - hs[:, t] ** 2)
            dx[:, t] = dz @ W.T
            dW, dU, db = dW + x[:, t].T @ dz, dU + before.T @ dz, db + dz.sum(axis=0)
            dh = dz @ U
        return dx, dW, dU, db

    arrays = [RNG.standard_normal(shape) for shape in ((2, 4, 3), (3, 3), (3, 3), (3,))]
    report = gradcheck.check(forth, back, *arrays, time_axis={"x": 1})
    assert report.where.step == 2 and report.kind == "transposed"


@pytest.mark.parametrize(
    ("right", "wrong", "name", "kind", "mend"),
    [
        ("dc_prev = dc * f", "dc_prev = -dc * f", "dc_prev", "sign", "dc_prev = dc * f"),
        ("dc = dc + d_tanh", "dc = d_tanh", "dc", "path", "dc = dc + d_tanh(dh * o, a, c)"),
        ("df = dc * c_prev", "df = dc * c", "df", "step", "df = dc * c_prev"),
        ("dz_o = d_sigmoid(do, o, z_o)", "dz_o = do", "dz_o", "derivative", "dz_o = d_sigmoid(do, o, z_o)"),
        ("di = dc * k", "di = dc * k * 2", "di", "factor", "di = dc * k"),
        ("return dz_i, dz_f", "return dz_f, dz_i", "dz_i", "swapped", "return dz_i, dz_f, dz_k, dz_o, dc_prev, dc"),
    ],
)
def test_the_line_and_its_mend(right, wrong, name, kind, mend):
    cell = changed(LSTM.cell_class.equations, edited(lstm_cell.step_backward, right, wrong))
    (fault,) = lines.faults("lstm", cell, np.random.default_rng(0))
    assert (fault.name, fault.kind, fault.mend) == (name, kind, mend)
    assert fault.line and fault.text.partition(" ")[0] == wrong.partition(" ")[0]


def test_a_line_in_the_report():
    report = of_cell(LSTM, lstm_cell, "df = dc * c_prev", "df = dc * c")()
    assert (report.where.step, report.where.gates, report.kind) == (3, ("f",), "step")
    said = " ".join(str(report).split())
    assert "line 9: df = dc * c" in said and "write df = dc * c_prev" in said


def test_right_cells_have_no_faulty_line():
    for layer in (LSTM, GRU, SimpleRNN):
        for activation in ("tanh", "gelu", "silu", "softplus"):
            own = layer(2, activation=activation)
            assert list(lines.faults("x", own.cell._cell, np.random.default_rng(0))) == []


def test_the_step_is_that_of_x_where_steps_are_taken_backwards():
    from rnncore.bptt import numpy_loop

    layer = LSTM(3, return_sequences=True, go_backwards=True)
    x = RNG.standard_normal((2, 4, 2))
    report = patching(
        numpy_loop, "reverse", "@ recurrent[n].T", "@ recurrent[n]", make=lambda: gradcheck.check_layer(layer, x)
    )()
    assert report.where.step == 1  # taken last but one


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_report_in_words_html_and_json():
    report = gradcheck.check(forward, lambda dy, x, w: (-backward(dy, x, w)[0], backward(dy, x, w)[1]), X, W)
    assert str(report).startswith("wrong: <lambda>, the gradient of x; worst relative error 2")
    assert "minus the true gradient" in report._repr_html_() and "<lambda>" not in report._repr_html_()
    content = json.loads(report.to_json())
    assert content["what"][0]["kind"] == "sign" and content["where"]["tensor"] == "x"
    assert [row["name"] for row in content["tensors"]] == ["x", "w"]
    assert min(error for _, error in report.curve) < 1e-3 * report.curve[0][1]  # truncation falls, then rounding rises


def test_a_gradient_that_is_not_finite_or_not_there():
    for wrong in (lambda dy, x, w: (np.nan * x, w), lambda dy, x, w: (None, w), lambda dy, x, w: (x[0], w)):
        report = gradcheck.check(forward, wrong, X, W)
        assert report.verdict == "wrong" and not np.isfinite(report.worst)
        assert str(report) and json.loads(report.to_json())["worst"] is None


def test_a_failing_test_prints_the_report(gradients):  # noqa: F811
    assert gradients(forward, backward, X, W).ok
    with pytest.raises(AssertionError, match=r"wrong: (.|\n)*every entry is 2 times") as failed:
        gradients(lambda x: x * x, lambda dy, x: 4 * x * dy, X)
    assert "tensor " in str(failed.value)
    gradcheck.assert_gradients(SimpleRNN(2), X[None])


def test_the_command(capsys, tmp_path, monkeypatch):
    assert program.main(["check", "examples.check_homework:task", "--json", str(tmp_path / "r.json")]) == 0
    assert capsys.readouterr().out.startswith("right: ")
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "right"
    (tmp_path / "wrong_homework.py").write_text(
        "import numpy as np\ndef task(): return (lambda x: x * x), (lambda dy, x: dy * x), np.ones(3)\n"
        "def nothing(): return ()\ndef broken(): return {}['x']\n"
        "def model():\n    from rnncore import Sequential, layers\n    made = Sequential([layers.SimpleRNN(2)])\n"
        "    made.compile('sgd', 'mse')\n    return made, np.ones((2, 3, 1)), np.ones((2, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert program.main(["check", "wrong_homework:task", "--seed", "3"]) == 1
    assert "a factor 2 is missing" in capsys.readouterr().out
    for asked in ("wrong_homework:nothing", "wrong_homework:other", "wrong_homework", "no_such_module_here:task"):
        assert program.main(["check", asked]) == 2
        told = capsys.readouterr()
        assert told.err.startswith("python -m rnncore check: ") and told.err.count("\n") == 1 and not told.out
    with pytest.raises(KeyError):
        program.main(["check", "wrong_homework:broken"])
    assert program.main(["check", "wrong_homework:model"]) == 0  # of its loss: y is no mask
    assert "Sequential" in capsys.readouterr().out
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "elsewhere.py").write_text("from wrong_homework import task\n")
    assert program.main(["check", f"{tmp_path / 'away' / 'elsewhere.py'}:task"]) == 1


def test_a_bar_where_somebody_looks(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    gradcheck.check(forward, backward, X, W)
    assert "entry" in capsys.readouterr().out
    gradcheck.check(forward, backward, X, W, verbose=0)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_large_layer_within_its_time():
    begin = time.process_time()  # of this process: others may be at work
    report = gradcheck.check_layer(LSTM(64), RNG.standard_normal((4, 20, 32)))
    assert report.ok and sum(row.size for row in report.rows) == 27392
    assert time.process_time() - begin < 20
