"""Initializers: the distributions they promise, seeds, and Keras's names and numbers."""

import inspect
import math

import numpy as np
import pytest

from rnncore import config, initializers
from rnncore.initializers import get

RANDOM = [
    "random_normal",
    "truncated_normal",
    "random_uniform",
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "variance_scaling",
    "orthogonal",
]
FIXED = ["zeros", "ones", "constant", "identity"]


@pytest.fixture(scope="module")
def keras_initializers():
    keras = pytest.importorskip("keras")
    return keras.initializers


# What a (200, 300) kernel must look like: standard deviation, and the bound that no entry passes.
# fan_in 200, fan_out 300, their mean 250. Uniform on [-l, l]: l = sqrt(3) * stddev. Truncated: 2 stddev / 0.8796.
@pytest.mark.parametrize(
    ("name", "stddev", "bound"),
    [
        ("random_normal", 0.05, math.inf),
        ("truncated_normal", 0.05 * 0.8796, 0.1),
        ("random_uniform", 0.05 / math.sqrt(3), 0.05),
        ("glorot_uniform", math.sqrt(1 / 250), math.sqrt(6 / 500)),
        ("glorot_normal", math.sqrt(1 / 250), 2 * math.sqrt(1 / 250) / 0.8796),
        ("he_uniform", math.sqrt(2 / 200), math.sqrt(6 / 200)),
        ("he_normal", math.sqrt(2 / 200), 2 * math.sqrt(2 / 200) / 0.8796),
        ("lecun_uniform", math.sqrt(1 / 200), math.sqrt(3 / 200)),
        ("lecun_normal", math.sqrt(1 / 200), 2 * math.sqrt(1 / 200) / 0.8796),
        ("variance_scaling", math.sqrt(1 / 200), 2 * math.sqrt(1 / 200) / 0.8796),
    ],
)
def test_distribution(name, stddev, bound):
    values = get(name)((200, 300), rng=np.random.default_rng(1))
    assert values.std() == pytest.approx(stddev, rel=0.01)
    assert abs(values.mean()) < 5 * stddev / math.sqrt(values.size)
    assert 0.99 * min(bound, 3 * stddev) < np.abs(values).max() <= 1.0001 * bound


def test_mean_of_the_normals_and_bounds_of_the_uniform():
    rng = np.random.default_rng(2)
    assert initializers.RandomNormal(3.0, 0.1)((100, 100), rng=rng).mean() == pytest.approx(3, abs=0.01)
    truncated = initializers.TruncatedNormal(-3.0, 0.1)((100, 100), rng=rng)
    assert -3.2 <= truncated.min() < -3.19 and -2.81 < truncated.max() <= -2.8
    uniform = initializers.RandomUniform(1.0, 2.0)((100, 100), rng=rng)
    assert 1 <= uniform.min() < 1.01 and 1.99 < uniform.max() <= 2


@pytest.mark.parametrize(
    ("mode", "n"), [("fan_in", 5 * 7 * 3), ("fan_out", 5 * 7 * 400), ("fan_avg", 5 * 7 * (3 + 400) / 2)]
)
def test_fans_of_a_convolution_kernel(mode, n):
    values = initializers.VarianceScaling(2.0, mode, "untruncated_normal")((5, 7, 3, 400), rng=np.random.default_rng(3))
    assert values.std() == pytest.approx(math.sqrt(2 / n), rel=0.02)


def test_fan_of_a_vector_is_its_length():
    values = initializers.HeUniform()((600,), rng=np.random.default_rng(4))
    assert 0.97 * 0.1 < np.abs(values).max() <= 0.1  # l = sqrt(6 / 600)


def test_variance_scaling_takes_normal_for_truncated_normal():
    assert initializers.VarianceScaling(distribution="normal").distribution == "truncated_normal"


def test_fixed_values():
    assert get("zeros")((2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert get("ones")((2, 1)).tolist() == [[1], [1]]
    assert initializers.Constant(-2.5)((2,)).tolist() == [-2.5, -2.5]
    rows = initializers.Constant([[1, 2, 3]])
    assert rows((2, 3), "float32").tolist() == [[1, 2, 3], [1, 2, 3]]
    assert initializers.Constant.from_config(rows.get_config())((1, 3)).tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match=r"value has shape \(1, 3\); it does not spread over \(3, 2\)"):
        rows((3, 2))
    with pytest.raises(ValueError, match="value is not finite"):
        initializers.Constant([1, np.nan])
    assert get(None) is None
    assert get("OrthogonalInitializer").gain == initializers.IdentityInitializer().gain == 1
    assert initializers.Identity(3)((2, 3)).tolist() == [[3, 0, 0], [0, 3, 0]]


@pytest.mark.parametrize("shape", [(6, 24), (24, 6), (5, 5), (2, 3, 4), (4, 2, 3)])
def test_orthogonal_on_the_whole_matrix(shape):
    q = initializers.Orthogonal(2.0)(shape, "float64", np.random.default_rng(5)).reshape(-1, shape[-1]) / 2
    product = q @ q.T if len(q) < shape[-1] else q.T @ q
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-14)


def test_orthogonal_favours_no_sign():
    # numpy's QR alone gives R a diagonal of mostly one sign, and Q's first column a first entry below 0.
    rng = np.random.default_rng(6)
    positive = sum(initializers.Orthogonal()((3, 3), rng=rng)[0, 0] > 0 for _ in range(200))
    assert 70 < positive < 130


@pytest.mark.parametrize("name", RANDOM + FIXED)
def test_dtype_and_shape(name):
    for dtype in ("float32", "float64"):
        values = get(name)((3, 4), dtype, np.random.default_rng(0))
        assert values.dtype == dtype and values.shape == (3, 4)
    assert get(name)((3, 4)).dtype == config.floatx()


@pytest.mark.parametrize("name", RANDOM)
def test_seeds(name):
    cls = type(get(name))
    seeded = cls(seed=7)
    first = seeded((4, 5))
    assert np.array_equal(first, seeded((4, 5)))  # as in Keras, the same at each call
    assert np.array_equal(first, seeded((4, 5), rng=np.random.default_rng(99)))  # its own seed wins
    assert np.array_equal(first, cls()((4, 5), rng=np.random.default_rng(7)))
    assert np.array_equal(first, seeded((4, 5), "float64").astype("float32"))  # one seed, one set of weights
    assert not np.array_equal(first, cls(seed=8)((4, 5)))
    rng = np.random.default_rng(7)
    assert not np.array_equal(cls()((4, 5), rng=rng), cls()((4, 5), rng=rng))  # an rng goes on
    assert not np.array_equal(cls()((4, 5)), cls()((4, 5)))  # and so does the process's


def test_a_generator_as_seed_goes_on():
    initializer = initializers.RandomUniform(seed=np.random.default_rng(1))
    assert not np.array_equal(initializer((9,)), initializer((9,)))


def test_the_process_seed(monkeypatch):
    monkeypatch.setattr(config, "_root", np.random.SeedSequence(3))
    first = get("glorot_uniform")((3, 3))
    monkeypatch.setattr(config, "_root", np.random.SeedSequence(3))
    assert np.array_equal(first, get("glorot_uniform")((3, 3)))


def test_get():
    made = initializers.HeNormal(seed=3)
    assert get(made) is made
    assert isinstance(get("GlorotUniform"), initializers.GlorotUniform)
    assert isinstance(get(initializers.Orthogonal), initializers.Orthogonal)
    for alias, cls in (("uniform", "RandomUniform"), ("normal", "RandomNormal"), ("zero", "Zeros"), ("one", "Ones")):
        assert type(get(alias)).__name__ == cls
    rebuilt = get({"class_name": "VarianceScaling", "config": {"scale": 2.0, "mode": "fan_out", "seed": 5}})
    assert rebuilt.get_config() == {
        "scale": 2.0,
        "mode": "fan_out",
        "distribution": "truncated_normal",
        "seed": 5,
        "input_axes": None,
        "output_axes": None,
    }


@pytest.mark.parametrize("name", RANDOM + FIXED)
def test_config_round_trip(name):
    initializer = get(name)
    config_ = initializer.get_config()
    assert type(initializer).from_config(config_).get_config() == config_


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.HeNormal(seed="x"), "seed is 'x'"),
        (lambda: initializers.HeNormal(seed=-1), "seed is -1"),
        (lambda: initializers.HeNormal(seed=True), "seed is True"),
        (lambda: initializers.VarianceScaling(scale=0), "scale is 0"),
        (lambda: initializers.VarianceScaling(scale=-1.0), "scale is -1"),
        (lambda: initializers.VarianceScaling(mode="fan"), "unknown mode 'fan'.*fan_avg, fan_in, fan_out"),
        (lambda: initializers.VarianceScaling(distribution="t"), "unknown distribution 't'.*uniform"),
        (lambda: initializers.RandomNormal(stddev=-0.1), "stddev is -0.1.*at least 0"),
        (lambda: initializers.RandomNormal(mean="0"), "mean is '0'; expected a number"),
        (lambda: initializers.RandomUniform(2.0, 1.0), "minval is 2.0, above maxval, 1.0"),
        (lambda: initializers.Constant(math.nan), "value is nan"),
        (lambda: initializers.Orthogonal()((3,)), r"shape is \(3,\); Orthogonal"),
        (lambda: initializers.Identity()((3, 3, 3)), r"shape is \(3, 3, 3\); Identity"),
        (lambda: get("zeros")((2, -1)), r"shape is \(2, -1\)"),
        (lambda: get("zeros")(3), "shape is 3; expected a tuple"),
        (lambda: get("zeros")((3,), "int32"), "dtype is 'int32'"),
        (lambda: get("glorot_unifrom"), "unknown initializer 'glorot_unifrom'.*did you mean 'glorot_uniform'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.keras
def test_every_name_of_ours_is_one_of_keras(keras_initializers):
    for name in set(initializers._NAMES) - {"Constant", "constant"}:  # Keras's own look-up of it fails
        assert type(keras_initializers.get(name)).__name__ == type(get(name)).__name__


@pytest.mark.keras
@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("shape", [(128, 512), (64, 64), (2000, 16)])
def test_distribution_is_that_of_keras(keras_initializers, name, shape):
    ours = get(name)(shape, rng=np.random.default_rng(8))
    theirs = np.asarray(type(keras_initializers.get(name))(seed=1)(shape))
    assert ours.dtype == theirs.dtype
    error = 1 / math.sqrt(ours.size)  # of sampling, in standard deviations
    assert ours.std() == pytest.approx(theirs.std(), rel=4 * error)
    quantiles = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(
        np.quantile(ours, quantiles), np.quantile(theirs, quantiles), atol=12 * error * ours.std()
    )


@pytest.mark.keras
@pytest.mark.parametrize("name", RANDOM + FIXED)
def test_defaults_are_those_of_keras(keras_initializers, name):
    theirs = inspect.signature(getattr(keras_initializers, type(get(name)).__name__)).parameters
    ours = inspect.signature(type(get(name))).parameters
    assert {key: theirs[key].default for key in ours} == {key: ours[key].default for key in ours}
    assert list(ours) == list(theirs)
