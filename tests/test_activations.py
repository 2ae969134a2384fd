"""Each activation and its derivative: against each other, Keras, compiled code, and numbers at the far ends."""

import math

import numpy as np
import pytest
from cases import SEED

from rnncore import activations
from rnncore.activations import ACTIVATIONS, ALIASES, ANALYTIC, NEEDS_INPUT, ROWWISE

EPS = {dtype: np.finfo(dtype).eps for dtype in ("float32", "float64")}
OWN = {name: ACTIVATIONS[name] for name in ACTIVATIONS if name not in ALIASES}
KINKS = (-3, -2.5, -1, -0.5, 0, 0.5, 1, 2.5, 3, 6)  # of all of them together

each = pytest.mark.parametrize("activation", OWN.values(), ids=OWN)
elementwise = pytest.mark.parametrize(
    "activation", [OWN[name] for name in OWN if name not in ROWWISE], ids=[name for name in OWN if name not in ROWWISE]
)
both_dtypes = pytest.mark.parametrize("dtype", EPS)


def points(dtype="float64", spread=4.0, rows=40):
    """Return z (rows, 7) and dy, no entry of z within 0.01 of a kink."""
    rng = np.random.default_rng(SEED)
    z = spread * rng.standard_normal((rows, 7))
    for kink in KINKS:
        z = np.where(abs(z - kink) < 0.01, kink + 0.01, z)
    return z.astype(dtype), rng.standard_normal(z.shape).astype(dtype)


def gradient(activation, z, dy):
    """Return dz; an activation that says it does not read z is not shown it."""
    y = activation(z)
    return activation.backward(dy, y, z if activation.needs_input else np.full_like(z, np.nan))


def assert_near(ours, theirs, limit, label=""):
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), label
    np.testing.assert_allclose(ours, theirs, rtol=limit, atol=limit, err_msg=label)


# --- against the definition ------------------------------------------------------------------------------------------


@each
def test_derivative_by_differences(activation):
    z, dy = points(spread=2.0)
    h = 1e-4
    numerical = np.empty_like(z)
    for n in range(z.shape[-1]):
        at = [z + k * h * np.eye(z.shape[-1])[n] for k in (1, -1, 2, -2)]
        up, down, up2, down2 = (np.sum(dy * activation(moved), axis=-1) for moved in at)
        numerical[:, n] = (8 * (up - down) - (up2 - down2)) / (12 * h)
    np.testing.assert_allclose(gradient(activation, z, dy), numerical, rtol=1e-8, atol=1e-9)


@each
def test_derivative_by_complex_step(activation):
    """It holds off the kinks too, where the function is not analytic on the whole line."""
    z, dy = points()
    stepped = np.empty_like(z)
    for n in range(z.shape[-1]):
        moved = activation(z + 1e-30j * np.eye(z.shape[-1])[n])
        stepped[:, n] = np.sum(dy * moved, axis=-1).imag / 1e-30
    np.testing.assert_allclose(gradient(activation, z, dy), stepped, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", sorted(ANALYTIC))
def test_analytic_ones_have_no_kink(name):
    at = np.repeat(np.array([KINKS], float), 5, axis=0) + 1e-9 * np.arange(-2, 3)[:, None]
    slopes = gradient(OWN[name], at, np.ones_like(at)) if name not in ROWWISE else np.zeros_like(at)
    curvature = np.diff(slopes, axis=0)
    np.testing.assert_allclose(np.diff(curvature, axis=0), 0, atol=2e-14 * max(1, abs(slopes).max()))


def test_what_is_said_of_each():
    for names in (NEEDS_INPUT, ROWWISE, ANALYTIC, set(ALIASES.values())):
        assert names <= OWN.keys()
    assert {name for name, a in OWN.items() if a.needs_input} == NEEDS_INPUT
    assert {name for name, a in OWN.items() if not a.elementwise} == ROWWISE
    assert {name for name, a in OWN.items() if a.analytic} == ANALYTIC
    for name, activation in ACTIVATIONS.items():
        assert activations.get(name) is activation
        assert activations.get(getattr(activations, name)) is activation
        assert activations.get(activation.describe()) is activation


@pytest.mark.parametrize("scale", [1e-3, 1, 10])
def test_normal_distribution_against_erfc(scale):
    a = scale * abs(np.random.default_rng(SEED).standard_normal(20_000))
    exact = [math.erfc(x / math.sqrt(2)) / 2 for x in a]
    np.testing.assert_allclose(activations._normal_tail(a), exact, rtol=0, atol=4e-16)


# --- at the far ends -------------------------------------------------------------------------------------------------

GROWING = {"linear", "relu", "leaky_relu", "elu", "softplus", "squareplus", "silu", "gelu", "mish"} | {
    name for name in OWN if name.endswith(("shrink", "hard_silu", "sparse_plus"))
}  # they end as z


@each
@both_dtypes
def test_far_ends(activation, dtype):
    """Warnings are errors: nothing overflows or is 0 / 0 on the way."""
    z = np.array([[-1e4], [-100], [0], [100], [1e4]], dtype)
    y = activation(z)
    dz = activation.backward(np.ones_like(y), y, z)
    infinite = (activation.name == "exponential") & (z > {"float32": 88, "float64": 709}[dtype])
    np.testing.assert_array_equal(np.isposinf(y), infinite)
    np.testing.assert_array_equal(np.isposinf(dz), infinite)
    assert np.isfinite(y[~infinite]).all() and np.isfinite(dz[~infinite]).all()
    if activation.name in GROWING:
        np.testing.assert_allclose(y[-1], z[-1], rtol=1e-4)
        np.testing.assert_allclose(dz[-1], 1, rtol=1e-6)
    if activation.elementwise:
        np.testing.assert_allclose(y[0], activation.forward(z[0]))


@pytest.mark.parametrize("name", sorted(ROWWISE))
@both_dtypes
def test_far_rows(name, dtype):
    z = np.array([[1e4, -1e4, 0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4 + 0.5]], dtype)
    y = OWN[name](z)
    dz = OWN[name].backward(np.ones_like(y), y, z)
    assert np.isfinite(y).all() and np.isfinite(dz).all()
    np.testing.assert_allclose(np.sum(np.exp(y) if name == "log_softmax" else y, axis=-1), 1, rtol=10 * EPS[dtype])


@pytest.mark.parametrize(
    ("name", "z", "expected"),
    [
        ("softplus", -50.0, math.exp(-50)),
        ("log_sigmoid", 50.0, -math.exp(-50)),
        ("squareplus", -1e4, 0.99999999e-4),
        ("elu", -1e-20, -1e-20),
        ("selu", 2.0, 2.1014019747109610),
        ("gelu", 1.0, 0.8413447460685429),
        ("mish", 1.0, 0.8650983882673103),
        ("sparse_plus", 0.5, 0.5625),
        ("hard_silu", 1.5, 1.125),
        ("hard_sigmoid_keras2", 2.0, 0.9),
    ],
)
def test_worked_numbers(name, z, expected):
    assert float(OWN[name](np.array([z]))[0]) == pytest.approx(expected, rel=1e-14)


@each
@both_dtypes
def test_dtype_is_kept(activation, dtype):
    z, dy = points(dtype)
    y = activation(z)
    assert y.dtype == activation.backward(dy, y, z).dtype == dtype
    assert y.shape == z.shape


# --- compiled --------------------------------------------------------------------------------------------------------

EACH = """
def each(z, dy, y, dz):
    for n in range(z.size):
        y[n] = f(z[n])
        dz[n] = d(dy[n], y[n], z[n])
"""


@pytest.mark.slow  # each is compiled
@elementwise
def test_compiled_equals_numpy(activation):
    from rnncore.compiler.jit import from_source, kernel
    from rnncore.kernels.elementwise import register

    register(activation.forward)
    register(activation.backward)
    compiled = kernel(from_source(EACH, {"f": activation.forward, "d": activation.backward}, "each"))
    for dtype, eps in EPS.items():
        z, dy = (part.reshape(-1) for part in points(dtype))
        z[:5] = (-100, 100, -30, 30, 0)
        dy[:5] = 1
        y, dz = np.empty_like(z), np.empty_like(z)
        compiled(z, dy, y, dz)
        expected = activation(z)
        np.testing.assert_allclose(y, expected, rtol=16 * eps, atol=16 * eps)
        expected = activation.backward(dy, y, z)
        np.testing.assert_allclose(dz, expected, rtol=16 * eps, atol=64 * eps)


# --- Keras -----------------------------------------------------------------------------------------------------------


OLDER = {"hard_sigmoid_keras2"}  # Keras 3 has it no more


@pytest.mark.keras
@pytest.mark.parametrize("name", sorted(ACTIVATIONS.keys() - OLDER))
def test_equals_keras(name):
    from keras_reference import frameworks

    keras, tf = frameworks()
    activation, theirs = activations.get(name), keras.activations.get(name)
    # TensorFlow holds 0.2, and gelu's 1 / sqrt(2), as float32 numbers, in float64 too
    for dtype, limit in (("float32", 1e-5), ("float64", 1e-7 if name in ("gelu", "leaky_relu") else 1e-12)):
        z, dy = points(dtype)
        x = tf.constant(z)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = theirs(x)
        dz = tape.gradient(y, x, output_gradients=tf.constant(dy))
        assert_near(activation(z), y.numpy(), limit, f"{name} {dtype}")
        assert_near(gradient(activation, z, dy), dz.numpy(), limit, f"gradient of {name} {dtype}")


@pytest.mark.keras
def test_every_name_of_keras():
    from keras_reference import frameworks

    module = frameworks()[0].activations
    theirs = {name for name in dir(module) if name[0] != "_"} - {"deserialize", "get", "serialize"}
    left_out = {"glu", "threshold"}  # halves an axis; takes two more numbers
    left_out |= {"sparsemax"}  # in Keras 3.15 its outputs do not sum to 1
    assert theirs - left_out == ACTIVATIONS.keys() - OLDER
