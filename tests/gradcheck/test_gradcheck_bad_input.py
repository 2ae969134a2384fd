"""What is wrong in kind gets a sentence; and nothing of the user's is changed, whatever raises."""

import numpy as np
import pytest

from rnncore import Sequential, gradcheck
from rnncore.layers import LSTM, Dense, Dropout

X, W = np.arange(6.0).reshape(2, 3), np.ones((3, 2))


def forward(x, w):
    return x @ w


def backward(dy, x, w):
    return dy @ w.T, x.T @ dy


def changing(x, w):
    x += 1
    return x @ w


def kept(dy, x, w):
    x[0] = 0
    return backward(dy, x, w)


RNG = np.random.default_rng(0)
CASES = {
    "float32": (lambda: check(X.astype("f4"), W), TypeError, "x is float32.*against='float64'"),
    "a list": (lambda: check(X.tolist(), W), TypeError, r"x is a list; expected an array: np.array\(x, dtype=float\)"),
    "integers": (lambda: check(X.astype(int), W), TypeError, r"x has dtype int64.*x.astype\(float\)"),
    "not finite": (lambda: check(X * np.nan, W), ValueError, r"x is not finite: nan at \(0, 0\)"),
    "no arrays": (lambda: gradcheck.check(forward, backward), ValueError, "there are no arrays"),
    "no function": (
        lambda: gradcheck.check(X, backward, X, W),
        TypeError,
        "forward is an array of .*expected a function",
    ),
    "a layer's class": (lambda: gradcheck.check_layer(LSTM, X), TypeError, r"layer is the class LSTM; .*LSTM\(…\)"),
    "no dy": (
        lambda: gradcheck.check(forward, lambda x, w: (x, w), X, W),
        TypeError,
        r"backward takes \(x, w\); it is called with \(dy, x, w\)",
    ),
    "too few arrays": (lambda: check(X), TypeError, r"forward takes \(x, w\); it is called with \(x\)"),
    "empty": (lambda: check(X[:0], W), ValueError, r"x has shape \(0, 3\), without an entry"),
    "no layer": (lambda: gradcheck.check_layer(forward, X), TypeError, "expected a layer .*there is check"),
    "names": (lambda: check(X, W, names="x"), ValueError, r"names is \['x'\]; expected 2"),
    "surplus name": (lambda: check(X, W, time_axis={"z": 1}), ValueError, "time_axis names 'z'; .*x, w"),
    "axis": (lambda: check(X, W, time_axis={"x": 2}), ValueError, "time_axis of x is 2; expected one of its 2 axes"),
    "gates": (lambda: check(X, W, gates={"w": "ifo"}), ValueError, "3 blocks; the last axis of w has 2 columns"),
    "gates twice": (lambda: check(X, W, gates={"w": "ii"}), ValueError, "expected different letters"),
    "too few": (
        lambda: gradcheck.check(forward, lambda dy, x, w: dy @ w.T, X, W),
        ValueError,
        "backward returned 1 gradients; expected 2, one an array: x, w",
    ),
    "missing name": (
        lambda: gradcheck.check(forward, lambda dy, x, w: {"x": dy @ w.T}, X, W),
        ValueError,
        r"gradients named \['x'\]; expected \['x', 'w'\]",
    ),
    "chance": (
        lambda: gradcheck.check(lambda x, w: x @ w * RNG.random(), backward, X, W),
        ValueError,
        "forward gave two results .*drawn at random.*seed the generator",
    ),
    "changing": (lambda: gradcheck.check(changing, backward, X, W), ValueError, r"forward writes into its argument x"),
    "backward changing": (lambda: gradcheck.check(forward, kept, X, W), ValueError, "backward writes into its .* x"),
    "no number": (lambda: gradcheck.check(lambda x, w: "y", backward, X, W), TypeError, "forward returned 'y'"),
    "uncompiled": (lambda: gradcheck.check_model(Sequential([Dense(1)]), X, X), ValueError, "there is no loss"),
    "no model": (lambda: gradcheck.check_model(Dense(1), X, X), TypeError, "expected a model"),
    "entries": (lambda: check(X, W, entries=0), ValueError, "entries is 0"),
    "rtol": (lambda: check(X, W, rtol=-1), ValueError, "rtol is -1"),
    "method": (lambda: check(X, W, method="centrall"), ValueError, "did you mean 'central'"),
    "loss": (lambda: gradcheck.compare(lambda: X, {"x": X}, {"x": X}), TypeError, "loss returned .*expected a number"),
    "loss of NaN": (lambda: gradcheck.compare(lambda: np.nan, {"x": X}, {"x": X}), ValueError, "finite number"),
    "analytic": (lambda: gradcheck.compare(lambda: 1.0, {"x": X}, {"y": X}), ValueError, "analytic has the names"),
    "its shape": (lambda: gradcheck.compare(lambda: 1.0, {"x": X}, {"x": X[0]}), ValueError, r"shape \(3,\)"),
    "its dtype": (
        lambda: gradcheck.compare(lambda: 1.0, {"x": X.astype("f4")}, {"x": X}),
        TypeError,
        "arrays: x is float32; expected an array of float64",
    ),
}


def check(*arrays, **options):
    return gradcheck.check(forward, backward, *arrays, **options)


@pytest.mark.parametrize(("call", "error", "said"), CASES.values(), ids=CASES)
def test_one_sentence(call, error, said):
    before = X.copy(), W.copy()
    with pytest.raises(error, match=said) as caught:
        call()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert np.array_equal(before[0], X) and np.array_equal(before[1], W)


def test_what_the_forward_never_reads():
    report = gradcheck.check(lambda x, w: x * 2, lambda dy, x, w: (dy * 2, w), X, W)
    assert report.kind == "unread" and report.where.tensor == "w"
    assert gradcheck.check(lambda x, w: x * 2, lambda dy, x, w: (dy * 2, 0 * w), X, W).ok


def test_arrays_are_put_back_when_the_loss_raises():
    x, calls = X.copy(), []

    def loss():
        calls.append(1)
        if len(calls) > 5:
            raise KeyError("mine")
        return float(np.sum(x**2))

    with pytest.raises(KeyError, match="mine"):
        gradcheck.compare(loss, {"x": x}, {"x": 2 * x})
    np.testing.assert_array_equal(x, X)


def test_a_layer_is_as_it_was_whatever_raises():
    layer = LSTM(2, dropout=0.5, seed=3, stateful=True)
    x = np.ones((2, 3, 2), np.float32)
    layer(x)
    before, draws, kept = layer.get_weights(), layer.generator.bit_generator.state, layer.states
    call = type(layer).call
    try:
        type(layer).call = lambda self, x, **given: call(self, x, **given) if self.dtype == "float32" else 1 / 0
        with pytest.raises(ZeroDivisionError):
            gradcheck.check_layer(layer, x, training=True)
    finally:
        type(layer).call = call
    assert layer.dtype == "float32" and layer.generator.bit_generator.state == draws
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(kept, layer.states, strict=True))
    assert layer.input_shape == (None, 3, 2)


def test_dropout_is_drawn_again_alike():
    assert gradcheck.check_layer(Dropout(0.4), np.ones((3, 4)), training=True).ok
