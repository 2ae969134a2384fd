"""Regularizers: worked numbers, gradients against central differences, Keras's values and names, errors."""

import json

import numpy as np
import pytest
from cases import SEED

from rnncore import regularizers
from rnncore.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer, get

CASES = [
    ("L1", {}),
    ("L1", {"l1": 0.3}),
    ("L2", {}),
    ("L2", {"l2": 0.3}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.2, "l2": 0.3}),
    ("OrthogonalRegularizer", {}),
    ("OrthogonalRegularizer", {"factor": 0.7, "mode": "columns"}),
]
each = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{'-'.join(given)}" for name, given in CASES])


def weights(dtype="float64", shape=(4, 6)):
    return np.random.default_rng(SEED).standard_normal(shape).astype(dtype)


def test_worked_numbers():
    w = np.array([[1.0, -2.0], [3.0, 0.0]])
    assert L1(0.5)(w) == 3.0
    assert L2(0.5)(w) == 7.0
    assert L1L2(0.5, 0.5)(w) == 10.0
    assert L1L2()(w) == 0.0
    np.testing.assert_array_equal(L1(0.5).gradient(w), [[0.5, -0.5], [0.5, 0]])
    np.testing.assert_array_equal(L2(0.5).gradient(w), w)
    assert OrthogonalRegularizer(2.0)(w) == pytest.approx(2 / np.sqrt(5))  # |cos| of (1, -2) and (3, 0)
    assert OrthogonalRegularizer()(np.eye(5)) == 0.0


@each
@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (2, 2)])
def test_gradient_by_differences(name, options, shape):
    regularizer, w, h = getattr(regularizers, name)(**options), weights(shape=shape), 1e-6
    numerical = np.empty_like(w)
    for index in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[index] = h
        numerical[index] = (regularizer(w + step) - regularizer(w - step)) / (2 * h)
    np.testing.assert_allclose(regularizer.gradient(w), numerical, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal_at_the_edge(mode):
    regularizer = OrthogonalRegularizer(0.5, mode)
    for w in (np.ones((1, 1)), np.zeros((3, 3)), np.eye(3)):
        assert regularizer(w) == 0.0
        np.testing.assert_array_equal(regularizer.gradient(w), np.zeros_like(w))
    w = weights(shape=(3, 3))
    w[0] = w[:, 0] = 0  # a vector without a direction
    assert np.isfinite(regularizer(w))
    assert np.isfinite(regularizer.gradient(w)).all()
    tiny = 1e-9 * weights(shape=(3, 4))  # held at length 1e-7: the penalty moves with the lengths
    numerical = np.empty_like(tiny)
    for index in np.ndindex(tiny.shape):
        step = np.zeros_like(tiny)
        step[index] = 1e-13
        numerical[index] = (regularizer(tiny + step) - regularizer(tiny - step)) / 2e-13
    np.testing.assert_allclose(regularizer.gradient(tiny), numerical, rtol=1e-3)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        regularizer(np.ones(3))


@each
def test_types(name, options):
    regularizer = getattr(regularizers, name)(**options)
    for dtype in ("float32", "float64"):
        gradient = regularizer.gradient(weights(dtype))
        assert (gradient.dtype, gradient.shape) == (dtype, (4, 6))
        assert type(regularizer(weights(dtype))) is float


@each
def test_config_and_back(name, options):
    regularizer = getattr(regularizers, name)(**options)
    described = json.loads(json.dumps(regularizer.describe()))
    again = get(described)
    assert type(again) is type(regularizer)
    assert again.get_config() == regularizer.get_config() == described["config"]
    assert get(regularizer) is regularizer


def test_names():
    assert get(None) is None
    assert isinstance(get("l1"), L1) and get("l1").l1 == 0.01
    assert isinstance(get("L2"), L2)
    assert get("l1_l2").get_config() == {"l1": 0.01, "l2": 0.01}
    assert get("L1L2").get_config() == get("l1l2").get_config() == {"l1": 0.0, "l2": 0.0}
    assert isinstance(get("orthogonal_regularizer"), OrthogonalRegularizer)
    assert isinstance(get(L1), L1)
    assert isinstance(regularizers.l2(1e-4), L2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L1(-1), "l1 is -1"),
        (lambda: L2(float("nan")), "l2 is nan"),
        (lambda: L1L2(0.1, "0.2"), "l2 is '0.2'"),
        (lambda: OrthogonalRegularizer(float("inf")), "factor is inf"),
        (lambda: OrthogonalRegularizer(0.1, "row"), "did you mean 'rows'"),
        (lambda: get("l3"), "unknown regularizer 'l3'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_function_has_no_derivative():
    with pytest.raises(TypeError, match="expected the name of a regularizer or an object of it"):
        get(lambda w: 0.0)


def test_ones_own():
    class Cubes(Regularizer):
        """A user's own."""

        def __call__(self, w):
            return float(np.sum(w**3))

        def gradient(self, w):
            return 3 * w * w

    own = Cubes()
    assert get(own) is own
    assert own.describe() == {"class_name": "Cubes", "config": {}}


def assert_same_config(ours, theirs):
    """Compare two configs; some of Keras's numbers are float32 inside."""
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6))


@pytest.mark.keras
@each
def test_equals_keras(name, options):
    from keras_reference import frameworks

    keras, tf = frameworks()
    ours, theirs = (getattr(module, name)(**options) for module in (regularizers, keras.regularizers))
    assert_same_config(ours.get_config(), theirs.get_config())
    for shape in ((4, 6), (6, 4), (2, 3)):
        w = weights("float32", shape)
        x = tf.constant(w)
        with tf.GradientTape() as tape:
            tape.watch(x)
            penalty = theirs(x)
        dw = tape.gradient(penalty, x, unconnected_gradients="zero").numpy()
        assert ours(w) == pytest.approx(float(penalty), rel=1e-5)
        np.testing.assert_allclose(ours.gradient(w), dw, rtol=1e-4, atol=1e-6)


@pytest.mark.keras
def test_names_of_keras():
    from keras_reference import frameworks

    module = frameworks()[0].regularizers
    for name in ("L1", "l1", "L2", "l2", "L1L2", "l1l2", "OrthogonalRegularizer", "orthogonal_regularizer"):
        assert type(get(name)).__name__ == type(module.get(name)).__name__
        assert_same_config(get(name).get_config(), module.get(name).get_config())


def test_the_base_penalises_nothing():
    w = np.ones((2, 3))
    assert regularizers.Regularizer()(w) == 0
    assert regularizers.Regularizer().gradient(w).tolist() == [[0, 0, 0], [0, 0, 0]]

    class Own(regularizers.Regularizer):
        def __call__(self, w):
            return float(np.sum(w))

    with pytest.raises(NotImplementedError, match=r"Own says the penalty and not its derivative: define gradient\(w\)"):
        Own().gradient(w)
