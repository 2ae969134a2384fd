"""Metrics: hand-worked numbers, masks and weights of sequences, the choice of "accuracy", Keras's values."""

import itertools

import numpy as np
import pytest

from rnncore import losses, metrics
from rnncore.metrics import (
    BinaryAccuracy,
    CategoricalAccuracy,
    Mean,
    MeanSquaredError,
    SparseCategoricalAccuracy,
    get,
)

CLASSES = [BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy, MeanSquaredError]


def batch(cls, shape, seed):
    rng = np.random.default_rng(seed)
    p = rng.random(shape, dtype="float32")
    if cls is SparseCategoricalAccuracy:
        return rng.integers(0, shape[-1], shape[:-1]), p
    if cls is CategoricalAccuracy:
        return np.eye(shape[-1], dtype="float32")[rng.integers(0, shape[-1], shape[:-1])], p
    return rng.integers(0, 2, shape).astype("float32"), p


def value_of(metric, *batches, **weighting):
    for y, p in batches:
        metric.update_state(y, p, **weighting)
    return metric.result()


def test_binary_accuracy_by_hand():
    # 0.5 is not above the threshold and counts as 0: right, right, right, wrong
    metric = BinaryAccuracy()
    assert value_of(metric, ([[0], [1], [0], [1]], [[0.5], [0.51], [0.1], [0.5]])) == 0.75
    metric.update_state([[1]], [[0.2]])  # a running mean: 3 of 5
    assert metric.result() == 0.6
    metric.reset_state()
    assert metric.result() == 0.0
    assert value_of(BinaryAccuracy(threshold=0.2), ([[0], [1]], [[0.3], [0.3]])) == 0.5


def test_the_threshold_is_of_the_predictions_dtype():
    # float32(0.1) is above the float64 0.1: compared there, an exact tie would count as 1.
    metric = BinaryAccuracy(threshold=0.1)
    assert value_of(metric, ([[0]], np.array([[0.1]], "float32"))) == 1.0


def test_categorical_accuracies_by_hand():
    p = [[0.1, 0.6, 0.3], [0.05, 0.95, 0.0]]
    assert value_of(SparseCategoricalAccuracy(), ([2, 1], p)) == 0.5
    assert value_of(SparseCategoricalAccuracy(), ([[2], [1]], p)) == 0.5
    assert value_of(CategoricalAccuracy(), ([[0, 0, 1], [0, 1, 0]], p)) == 0.5
    assert value_of(SparseCategoricalAccuracy(), ([2, 1], p), sample_weight=[0.7, 0.3]) == pytest.approx(0.3)
    assert value_of(CategoricalAccuracy(), ([[1, 0]], [[0.5, 0.5]])) == 1.0  # of equal entries the first


def test_mean_squared_error_by_hand():
    # squares 0.25, 1 and 4, 0: means 0.625 and 2, their mean 1.3125; weighted 3:1 (1.875 + 2) / 4
    pair = ([[0, 1], [2, 3]], [[0.5, 0.0], [4.0, 3.0]])
    assert value_of(MeanSquaredError(), pair) == 1.3125
    assert value_of(MeanSquaredError(), pair, sample_weight=[3, 1]) == 0.96875


def test_mean_by_hand():
    metric = Mean()
    assert metric.result() == 0.0
    metric.update_state([1, 3, 5, 7])
    assert metric.result() == 4.0
    metric.reset_state()
    metric.update_state([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
    assert metric.result() == 2.0
    # A running loss: a number a batch, weighed by the batch's size. (2*32 + 3*8) / 40
    metric.reset_state()
    metric.update_state(2.0, sample_weight=32)
    metric.update_state(3.0, sample_weight=8)
    assert metric.result() == 2.2


def test_mask_by_hand():
    # right wrong | right right, the mask keeps steps 0 | 0 and 1: 3 of 3, of T = 2 steps each weighs a half
    y, p = np.ones((2, 2, 1)), np.array([[[0.9], [0.1]], [[0.9], [0.9]]])
    metric = BinaryAccuracy()
    metric.update_state(y, p, mask=[[True, False], [True, True]])
    assert (metric.total, metric.count) == (1.5, 1.5)
    # A batch of one wrong step, T = 1: Keras's count is of samples' mean weights, so the step weighs 1, not a half.
    metric.update_state(y[:1, :1], p[:1, 1:], mask=[[True]])
    assert metric.result() == 1.5 / 2.5


def test_everything_masked_counts_for_nothing():
    metric = BinaryAccuracy()
    metric.update_state(np.ones((2, 3, 1)), np.ones((2, 3, 1)), mask=np.zeros((2, 3), bool))
    assert metric.result() == 0.0
    metric.update_state([[1]], [[1.0]])
    assert metric.result() == 1.0


@pytest.mark.parametrize("cls", CLASSES)
def test_masked_steps_do_not_matter(cls):
    y, p = batch(cls, (4, 5, 3), 10)
    mask = np.random.default_rng(1).random((4, 5)) < 0.5
    changed = np.where(mask[..., None], p, 1 - p)
    assert value_of(cls(), (y, p), mask=mask) == value_of(cls(), (y, changed), mask=mask)
    assert value_of(cls(), (y, p), mask=mask) == pytest.approx(value_of(cls(), (y[mask], p[mask])))
    assert value_of(cls(), (y, p)) != value_of(cls(), (y, changed))


@pytest.mark.parametrize("cls", CLASSES)
def test_weights_times_mask(cls):
    y, p = batch(cls, (4, 4, 3), 2)
    weights = np.random.default_rng(3).uniform(0, 2, 4)
    mask = np.tri(4, dtype=bool)
    together = value_of(cls(), (y, p), sample_weight=weights, mask=mask)
    assert together == pytest.approx(value_of(cls(), (y, p), sample_weight=weights[:, None] * mask))


def test_get_by_name_and_config():
    for cls in (*CLASSES, Mean):
        assert type(get(cls)) is cls
        assert type(get(cls.__name__)) is cls
        assert type(get(cls().name)) is cls
        assert type(get({"class_name": cls.__name__, "config": {"name": "m"}})) is cls
    assert get("mse").name == "mse" and type(get("mse")) is type(get("MSE")) is MeanSquaredError
    mine = BinaryAccuracy("mine", threshold=0.3)
    assert get(mine) is mine and mine.name == "mine"
    assert BinaryAccuracy.from_config(mine.get_config()).get_config() == {"name": "mine", "threshold": 0.3}


@pytest.mark.parametrize("name", ["accuracy", "acc", "Accuracy"])
def test_accuracy_is_chosen_by_the_shapes(name):
    for loss, shape, cls in (
        ("binary_crossentropy", (None, 1), BinaryAccuracy),
        ("binary_crossentropy", (None, 80, 1), BinaryAccuracy),
        ("binary_crossentropy", (None, 3), CategoricalAccuracy),
        ("categorical_crossentropy", (None, 3), CategoricalAccuracy),
        (losses.SparseCategoricalCrossentropy(), (None, 80, 3), SparseCategoricalAccuracy),
        ("mse", (None, 1), BinaryAccuracy),
        (None, (5,), CategoricalAccuracy),
    ):
        metric = get(name, loss, shape)
        assert type(metric) is cls and metric.name == name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get("acuracy"), "unknown metric 'acuracy'"),
        (lambda: get("accuracy"), "output_shape is None; 'accuracy' needs the shape"),
        (lambda: value_of(BinaryAccuracy(), (np.ones((2, 3)), np.ones((2, 1)))), r"y_true has shape \(2, 3\)"),
        (lambda: value_of(SparseCategoricalAccuracy(), (np.ones((2, 3)), np.ones((2, 3)))), r"\(2,\) or \(2, 1\)"),
        (lambda: Mean().update_state(np.ones((2, 3)), np.ones(3)), r"sample_weight has shape \(3,\)"),
        (lambda: Mean().update_state(np.ones((2, 3)), mask=np.ones((2, 2))), r"mask has shape \(2, 2\)"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---------------------------------------------------------------------------------------------------------------------
# Keras


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def theirs_after(keras, metric, batches):
    for y, p, weights, mask in batches:
        y_pred = keras.ops.convert_to_tensor(p)
        if mask is not None:
            keras.src.backend.set_keras_mask(y_pred, keras.ops.convert_to_tensor(mask))
        metric.update_state(y, y_pred, weights)
    return float(metric.result())


@pytest.mark.keras
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("shapes", [[(8, 3), (5, 3)], [(6, 7, 4), (3, 2, 4)]], ids=["vectors", "sequences"])
def test_against_keras(keras, cls, shapes):
    rng = np.random.default_rng(4)
    for weighted, masked in itertools.product(["", "all", "sample"], [False, True]):
        batches = []
        for seed, shape in enumerate(shapes):
            weights = {
                "": None,
                "all": rng.uniform(0, 2, shape[:-1]).astype("float32"),
                "sample": rng.uniform(0, 2, (shape[0],) + (1,) * (len(shape) - 2)).astype("float32"),
            }[weighted]
            batches.append((*batch(cls, shape, seed), weights, rng.random(shape[:-1]) < 0.6 if masked else None))
        ours, theirs = cls(), getattr(keras.metrics, cls.__name__)()
        for one in batches:
            ours.update_state(*one)
        assert ours.result() == pytest.approx(theirs_after(keras, theirs, batches), rel=1e-6), (weighted, masked)
        assert ours.name == theirs.name


@pytest.mark.keras
def test_a_weight_a_sample_without_a_mask_against_keras(keras):
    y, p = batch(BinaryAccuracy, (5, 7, 1), 5)
    weights = np.random.default_rng(6).uniform(0, 2, 5).astype("float32")
    expected = theirs_after(keras, keras.metrics.BinaryAccuracy(), [(y, p, weights, None)])
    assert value_of(BinaryAccuracy(), (y, p), sample_weight=weights) == pytest.approx(expected, rel=1e-6)


@pytest.mark.keras
@pytest.mark.parametrize(
    ("loss", "y_shape", "p_shape"),
    [
        ("binary_crossentropy", (6,), (6, 1)),
        ("binary_crossentropy", (6, 1), (6, 1)),
        ("binary_crossentropy", (6, 3), (6, 3)),
        ("binary_crossentropy", (6, 5, 1), (6, 5, 1)),
        ("categorical_crossentropy", (6, 3), (6, 3)),
        ("sparse_categorical_crossentropy", (6,), (6, 3)),
        ("sparse_categorical_crossentropy", (6, 1), (6, 3)),
        ("sparse_categorical_crossentropy", (6, 5), (6, 5, 3)),
        ("sparse_categorical_crossentropy", (6, 5, 1), (6, 5, 3)),
    ],
)
def test_choice_of_accuracy_against_keras(keras, loss, y_shape, p_shape):
    """A whole Keras model, with a mask where there are steps: its logged accuracy is ours, under the same name."""
    rng = np.random.default_rng(7)
    p = rng.random(p_shape, dtype="float32")
    y = rng.integers(0, 2, y_shape).astype("float32")
    masking = [keras.layers.Masking()] if len(p_shape) == 3 else []
    mask = None
    if masking:
        p[:, 3:] = p[0] = 0
        mask = (p != 0).any(-1)
    model = keras.Sequential([keras.Input(p_shape[1:]), *masking, keras.layers.Activation("linear")])
    model.compile(loss=loss, metrics=["accuracy"])
    expected = model.evaluate(p, y, verbose=0, return_dict=True)["accuracy"]
    metric = get("accuracy", loss, p_shape)
    metric.update_state(y, p, mask=mask)
    assert metric.result() == pytest.approx(expected, rel=1e-6)


@pytest.mark.keras
def test_names_against_keras(keras):
    for name in metrics._NAMES:
        assert type(keras.metrics.get(name)).__name__ == type(get(name)).__name__
