"""Constraints: what they promise of the weights, Keras's values and names, errors."""

import json

import numpy as np
import pytest
from cases import SEED

from rnncore import constraints
from rnncore.constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm, get

CASES = [
    ("NonNeg", {}),
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 0.5, "axis": 1}),
    ("MaxNorm", {"max_value": 1.5, "axis": [0, 1]}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": -1}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 1.0, "max_value": 2.0, "rate": 0.3, "axis": 1}),
]
each = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{'-'.join(given)}" for name, given in CASES])


def weights(dtype="float64", shape=(5, 4)):
    w = np.random.default_rng(SEED).standard_normal(shape).astype(dtype)
    w[:, 0] *= 5
    w[:, 1] *= 0.01
    w[:, 2] = 0
    return w


def norms(w, axis=0):
    return np.sqrt(np.sum(w * w, axis=axis))


def test_what_they_promise():
    w = weights()
    assert constraints.Constraint()(w) is w
    assert (NonNeg()(w) >= 0).all()
    np.testing.assert_allclose(NonNeg()(w), np.where(w > 0, w, 0))
    large, small, _, middle = norms(w)
    np.testing.assert_allclose(norms(MaxNorm(1.0)(w)), [1, small, 0, min(middle, 1)], rtol=1e-5)
    np.testing.assert_allclose(norms(UnitNorm()(w)), [1, 1, 0, 1], rtol=1e-4)
    np.testing.assert_allclose(norms(MinMaxNorm(0.5, 1.0)(w)), [1, 0.5, 0, min(middle, 1)], rtol=1e-5)
    np.testing.assert_allclose(norms(MinMaxNorm(0.0, 1.0, rate=0.25)(w))[0], 0.25 + 0.75 * large, rtol=1e-5)


@each
def test_shape_and_dtype(name, options):
    constraint = getattr(constraints, name)(**options)
    for dtype in ("float32", "float64"):
        w = weights(dtype)
        before = w.copy()
        moved = constraint(w)
        assert (moved.shape, moved.dtype) == (w.shape, w.dtype)
        np.testing.assert_array_equal(w, before)


@each
def test_config_and_back(name, options):
    constraint = getattr(constraints, name)(**options)
    described = json.loads(json.dumps(constraint.describe()))
    again = get(described)
    assert type(again) is type(constraint)
    assert again.get_config() == constraint.get_config() == described["config"]
    assert get(constraint) is constraint


def test_names():
    assert get(None) is None
    assert isinstance(get("max_norm"), MaxNorm) and get("max_norm").max_value == 2
    assert isinstance(get("NonNeg"), NonNeg)
    assert isinstance(get(UnitNorm), UnitNorm)
    assert isinstance(constraints.min_max_norm(0.1), MinMaxNorm)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxNorm(-1), "max_value is -1"),
        (lambda: MaxNorm(float("inf")), "max_value is inf"),
        (lambda: MaxNorm(1, axis="rows"), "axis is 'rows'"),
        (lambda: UnitNorm(axis=[0, 1.5]), "axis is"),
        (lambda: MinMaxNorm(2.0, 1.0), r"min_value is 2.0; expected a number in \[0, 1\]"),
        (lambda: MinMaxNorm(rate=1.5), "rate is 1.5"),
        (lambda: get("maxnorm"), "did you mean 'max_norm'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.keras
@each
def test_equals_keras(name, options):
    from keras_reference import frameworks

    keras, _ = frameworks()
    ours, theirs = (getattr(module, name)(**options) for module in (constraints, keras.constraints))
    assert ours.get_config() == (theirs.get_config() or {})
    for dtype, limit in (("float32", 1e-6), ("float64", 1e-12)):
        w = weights(dtype)
        np.testing.assert_allclose(ours(w), np.asarray(theirs(w)), rtol=limit, atol=0)


@pytest.mark.keras
def test_names_of_keras():
    from keras_reference import frameworks

    module = frameworks()[0].constraints
    for name in constraints._NAMES:
        assert type(get(name)).__name__ == type(module.get(name)).__name__
        assert get(name).get_config() == (module.get(name).get_config() or {})
