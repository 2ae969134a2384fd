"""The elementary functions of compiled code: against NumPy's, in units in the last place."""

import numpy as np
import pytest

from rnncore import activations

POINTS = np.concatenate([s * np.logspace(-30, 2.9, 20_001) for s in (1, -1)] + [np.linspace(-20, 20, 40_001), [0.0]])


@pytest.fixture(scope="module")
def compiled():
    """Return the compiled sigmoid and tanh as functions of arrays."""
    from rnncore.compiler.jit import from_source, kernel
    from rnncore.kernels.elementwise import register

    made = {}
    for function in (activations.sigmoid, activations.tanh):
        register(function)
        source = "def each(x, y):\n    for n in range(x.size):\n        y[n] = f(x[n])"
        made[function.__name__] = kernel(from_source(source, {"f": function}, "each"))
    return made


@pytest.mark.quick(2)
@pytest.mark.parametrize(("dtype", "ulps"), [("float32", 6), ("float64", 6)])
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_units_in_the_last_place(compiled, name, dtype, ulps):
    x = POINTS.astype(dtype)
    y = np.empty_like(x)
    compiled[name](x, y)
    wide = x.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        exact = 1 / (1 + np.exp(-wide)) if name == "sigmoid" else np.tanh(wide)
    tiny = np.finfo(dtype).tiny
    spacing = np.spacing(np.maximum(np.abs(exact), tiny).astype(dtype)).astype(np.longdouble)
    normal = np.abs(exact) > 4 * tiny  # below, sigmoid ends in a denormal number and not in 0
    error = np.abs(y - exact) / spacing
    assert error[normal].max() < ulps
    assert (np.abs(y[~normal]) <= 8 * tiny).all()
    assert (np.diff(y[np.argsort(x, kind="stable")]) >= -ulps * np.spacing(np.float64(1)) * 1e9).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_and_nan(compiled, dtype):
    x = np.array([np.inf, -np.inf, np.nan, 1e30, -1e30, 0.0, -0.0], dtype)
    y = np.empty_like(x)
    compiled["tanh"](x, y)
    np.testing.assert_array_equal(y, np.array([1, -1, np.nan, 1, -1, 0, 0], dtype))
    assert list(np.signbit(y[-2:])) == [False, True]
    compiled["sigmoid"](x, y)
    np.testing.assert_allclose(y, np.array([1, 0, np.nan, 1, 0, 0.5, 0.5], dtype), atol=np.finfo(dtype).tiny)
