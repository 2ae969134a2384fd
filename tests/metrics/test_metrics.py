"""Metrics: hand-worked numbers, masks and weights of sequences, the choice of "accuracy", Keras's values."""

import itertools
import re

import numpy as np
import pytest
from cases import few_at_first

from rnncore import Input, Sequential, layers, losses, metrics
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


# Every other metric with each of its options; "one" sees one output a position, 2-D or longer as the test says.
MEANS = [
    ("TopKCategoricalAccuracy", {"k": 2}),
    ("SparseTopKCategoricalAccuracy", {"k": 2}),
    ("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True}),
    ("MeanAbsoluteError", {}),
    ("MeanAbsolutePercentageError", {}),
    ("MeanSquaredLogarithmicError", {}),
    ("KLDivergence", {}),
    ("Poisson", {}),
    ("Hinge", {}),
    ("SquaredHinge", {}),
    ("CategoricalHinge", {}),
    ("LogCoshError", {}),
    ("CosineSimilarity", {}),
    ("BinaryCrossentropy", {}),
    ("BinaryCrossentropy", {"from_logits": True}),
    ("CategoricalCrossentropy", {}),
    ("CategoricalCrossentropy", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", {}),
    ("SparseCategoricalCrossentropy", {"from_logits": True}),
]
COUNTS = [
    ("RootMeanSquaredError", {}),
    *[
        (name, options)
        for name in ("Precision", "Recall")
        for options in (
            {},
            {"thresholds": 0.3},
            {"thresholds": [0.8, 0.2, 0.5]},
            {"top_k": 2},
            {"top_k": 2, "thresholds": 0.4},
            {"class_id": 1},
            {"class_id": 1, "top_k": 1},
        )
    ],
    *[
        ("AUC", {"curve": curve, "summation_method": method, "num_thresholds": 50})
        for curve in ("ROC", "PR")
        for method in ("interpolation", "minoring", "majoring")
    ],
    *[
        (f"{truth}{sign}", options)
        for truth in ("True", "False")
        for sign in ("Positives", "Negatives")
        for options in ({}, {"thresholds": [0.8, 0.2, 0.5]})
    ],
    ("AUC", {"num_thresholds": 200}),
    ("AUC", {"thresholds": [0.7, 0.1, 0.3]}),
    ("AUC", {"from_logits": True}),
    ("AUC", {"label_weights": [0.5, 2.0, 1.0]}),
    ("AUC", {"multi_label": True}),
    ("AUC", {"multi_label": True, "curve": "PR", "label_weights": [0.5, 2.0, 1.0]}),
]
F1 = [
    (name, {"average": average, "threshold": threshold} | options)
    for name, options in (("F1Score", {}), ("FBetaScore", {"beta": 2.0}))
    for average in (None, "micro", "macro", "weighted")
    for threshold in (None, 0.4)
]


def batch_of(name, options, shape, seed):
    rng = np.random.default_rng(seed)
    p = rng.random(shape, dtype="float32")
    if options.get("from_logits"):
        p = 6 * p - 3
    if options.get("from_sorted_ids"):
        p = p.argsort(axis=-1).astype("float32")
    if name.startswith("Sparse") or name == "Perplexity":
        return rng.integers(0, shape[-1], shape[:-1]), p
    if "Categorical" in name:
        return np.eye(shape[-1], dtype="float32")[rng.integers(0, shape[-1], shape[:-1])], p
    return rng.integers(0, 2, shape).astype("float32"), p


def made(name, options):
    return getattr(metrics, name)(**options)


def names(cases):
    return [f"{name}-{'-'.join(map(str, options.values()))}" for name, options in cases]


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


def test_top_k_by_hand():
    p = [[0.1, 0.6, 0.3], [0.5, 0.5, 0.0]]
    for k, expected in ((1, 0.5), (2, 1.0)):  # of equal entries both are among the first
        assert value_of(metrics.SparseTopKCategoricalAccuracy(k), ([2, 1], p)) == expected
        assert value_of(metrics.TopKCategoricalAccuracy(k), ([[0, 0, 1], [0, 1, 0]], p)) == expected
    assert value_of(metrics.SparseTopKCategoricalAccuracy(3), ([-1, 7], p)) == 0  # no such classes
    assert value_of(metrics.SparseTopKCategoricalAccuracy(1, from_sorted_ids=True), ([2, 1], [[2, 1], [2, 1]])) == 0.5


def test_precision_and_recall_by_hand():
    # Above 0.5: a right one and a wrong one; of two true ones one is missed. Above 0.2: 2 right, 1 wrong
    pair = ([[1], [0], [1], [0]], [[0.9], [0.8], [0.3], [0.1]])
    assert value_of(metrics.Precision(), pair) == 0.5 == value_of(metrics.Recall(), pair)
    assert value_of(metrics.Precision([0.5, 0.2, 0.95]), pair) == pytest.approx([1 / 2, 2 / 3, 0])
    assert value_of(metrics.Recall([0.5, 0.2, 0.95]), pair) == pytest.approx([1 / 2, 1, 0])
    assert value_of(metrics.Precision(), pair, sample_weight=[3, 1, 1, 1]) == 0.75
    assert value_of(metrics.Precision(0.8), pair) == 1  # 0.8 itself is not above it
    assert value_of(metrics.Precision(), ([1, 0], [0.9, 0.8]), sample_weight=[1, 0]) == 0.5 * 2  # plain vectors
    # Of each row the largest: of the first row right, of the second wrong; the one true label of row 2 is missed
    pair = ([[1, 0, 1], [0, 1, 0]], [[0.9, 0.2, 0.8], [0.3, 0.2, 0.1]])
    assert value_of(metrics.Precision(top_k=1), pair) == 0.5
    assert value_of(metrics.Recall(top_k=1), pair) == pytest.approx(1 / 3)
    assert value_of(metrics.Recall(top_k=1, class_id=2), pair) == 0
    assert metrics.Precision().result() == 0 and (metrics.Recall([0.1, 0.2]).result() == [0, 0]).all()


def test_auc_by_hand():
    # Keras's example: at -, 0.5 and + recall 1, 0.5, 0 and false positives' share 1, 0, 0: (1 + 0.5) / 2
    pair = ([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    assert value_of(metrics.AUC(num_thresholds=3), pair) == pytest.approx(0.75)
    assert value_of(metrics.AUC(num_thresholds=3, summation_method="majoring"), pair) == pytest.approx(1.0)
    assert value_of(metrics.AUC(num_thresholds=3, summation_method="minoring"), pair) == pytest.approx(0.5)
    assert value_of(metrics.AUC(num_thresholds=3), pair, sample_weight=[1, 0, 0, 1]) == pytest.approx(1.0)
    # Precision over recall: (1, 1/2), (0.5, 1), (0, 0); straight counts from (2, 4) to (1, 1): slope 1/3,
    # intercept 1 - 1/3: (1/3) (1 + 2/3 log 4) / 2, and 1 * 1 / 2
    expected = (1 + 2 / 3 * np.log(4)) / 6 + 0.5
    assert value_of(metrics.AUC(num_thresholds=3, curve="PR"), pair) == pytest.approx(expected)
    # Enough thresholds: the share of pairs (true, false) in the right order, 3 of 4.
    assert value_of(metrics.AUC(), pair) == pytest.approx(0.75)


def test_f1_by_hand():
    # Largest: classes 0, 1, 1 for the true 0, 0, 1. Class 0: precision 1, recall 1/2; class 1: 1/2, 1; class 2: none
    pair = (np.eye(3)[[0, 0, 1]], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0]])
    assert value_of(metrics.F1Score(), pair) == pytest.approx([2 / 3, 2 / 3, 0], abs=1e-6)
    assert value_of(metrics.F1Score("micro"), pair) == pytest.approx(2 / 3, abs=1e-6)
    assert value_of(metrics.F1Score("macro"), pair) == pytest.approx(4 / 9, abs=1e-6)
    assert value_of(metrics.F1Score("weighted"), pair) == pytest.approx(2 / 3, abs=1e-6)
    # Above 0.15 also class 0 in the last two rows: 2 right, 1 wrong
    assert value_of(metrics.F1Score(threshold=0.15), pair)[0] == pytest.approx(2 * (2 / 3) / (2 / 3 + 1), abs=1e-6)


def test_accuracy_and_sum_by_hand():
    assert value_of(metrics.Accuracy(), ([[1], [2], [3]], [[1.0], [0.0], [3.0]])) == pytest.approx(2 / 3)
    metric = metrics.Sum()
    metric.update_state([[1, 2], [3, 4]])
    metric.update_state([1, 3, 5], sample_weight=[1, 0, 2])
    assert metric.result() == 10 + 11
    metric.reset_state()
    assert metric.result() == 0


def test_a_function_as_a_metric():
    def error(y_true, y_pred, factor=1):
        return factor * np.abs(y_pred - y_true)[..., 0]

    pair = ([[1], [2], [3]], [[1.0], [0.0], [4.0]])
    assert value_of(get(error), pair) == 1 and get(error).name == "error"
    wrapped = metrics.MeanMetricWrapper(error, "threefold", factor=3)
    assert (wrapped.get_config()["factor"], repr(wrapped.clone())) == (3, repr(wrapped))
    assert value_of(wrapped, pair, sample_weight=[0, 0, 1]) == 3 and wrapped.name == "threefold"
    for function, cls in (
        (metrics.mean_squared_error, MeanSquaredError),
        (losses.mean_squared_error, MeanSquaredError),
        (metrics.categorical_accuracy, CategoricalAccuracy),
        (metrics.sparse_top_k_categorical_accuracy, metrics.SparseTopKCategoricalAccuracy),
    ):
        assert type(get(function)) is cls and get(function).name == function.__name__
    assert type(losses.get(losses.mean_squared_error)) is losses.MeanSquaredError
    assert type(get(losses.huber)) is metrics.MeanMetricWrapper  # no metric of its own, as in Keras
    with pytest.raises(TypeError, match="loss: got <function"):
        losses.get(error)
    with pytest.raises(TypeError, match="fn is 3; expected a function"):
        metrics.MeanMetricWrapper(3)


def test_perplexity_by_hand():
    # Probabilities 1/2, 1/4 and, in a batch of another length, 1/8: the cube root of 64
    p = np.array([[[0.5, 0.5], [0.75, 0.25]]])
    last = np.array([[[0.125, 0.875]]])
    metric = metrics.Perplexity()
    assert metric.result() == 1
    assert value_of(metric, ([[0, 1]], p), ([[0]], last)) == pytest.approx(4)
    assert value_of(metrics.Perplexity(), ([[0, 1]], p), mask=[[False, True]]) == pytest.approx(4)
    assert value_of(metrics.Perplexity(), ([[0, 1]], p), sample_weight=[[2, 1]]) == pytest.approx(16 ** (1 / 3))
    logits = metrics.Perplexity(from_logits=True)
    assert value_of(logits, ([[0, 1]], np.log(p))) == pytest.approx(8**0.5)
    # e to the loss of one batch
    y, p = batch_of("Perplexity", {}, (4, 5, 3), 0)
    mask = np.tri(4, 5, dtype=bool)
    loss = losses.SparseCategoricalCrossentropy()(y, p, mask=mask)
    assert value_of(metrics.Perplexity(), (y, p), mask=mask) == pytest.approx(np.exp(loss), rel=1e-6)


@pytest.mark.parametrize(("name", "options"), MEANS + COUNTS + F1, ids=names(MEANS + COUNTS + F1))
def test_masks_and_weights_of_the_others(name, options):
    y, p = batch_of(name, options, (6, 5, 3), 10)
    rng = np.random.default_rng(5)
    mask, weights = rng.random((6, 5)) < 0.5, rng.uniform(0, 2, (6, 5))
    changed = np.where(mask[..., None], p, p[..., ::-1])
    changed_y = np.where(mask.reshape(mask.shape + (1,) * (y.ndim - 2)), y, y[::-1])
    kept = value_of(made(name, options), (y, p), mask=mask)
    assert np.array_equal(kept, value_of(made(name, options), (changed_y, changed), mask=mask))
    assert kept == pytest.approx(value_of(made(name, options), (y[mask], p[mask])), rel=1e-6)
    assert not np.allclose(kept, value_of(made(name, options), (y, p)), rtol=1e-9)
    both = value_of(made(name, options), (y, p), sample_weight=weights, mask=mask)
    assert both == pytest.approx(value_of(made(name, options), (y, p), sample_weight=weights * mask), rel=1e-6)
    metric = made(name, options)
    fresh = metric.result()
    value_of(metric, (y, p))
    metric.reset_state()
    assert np.array_equal(metric.result(), fresh)
    again = get({"class_name": name, "config": metric.get_config()})
    assert again.get_config() == metric.get_config()
    assert np.array_equal(value_of(again, (y, p)), value_of(made(name, options), (y, p)))


def test_values_a_class_in_a_model(capsys):
    x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    model = Sequential([Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile(
        "sgd", "categorical_crossentropy", metrics=[metrics.F1Score(), metrics.AUC(), "top_k_categorical_accuracy"]
    )
    history = model.fit(x, np.eye(3)[np.arange(12) % 3], epochs=1, verbose=2).history
    assert history["f1_score"][0].shape == (3,) and 0 < history["auc"][0] < 1
    assert history["top_k_categorical_accuracy"] == [1.0]
    assert "f1_score: [" in capsys.readouterr().out


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
    assert BinaryAccuracy.from_config(mine.get_config()).get_config() == {
        "name": "mine",
        "dtype": None,
        "threshold": 0.3,
    }


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
        (lambda: metrics.TopKCategoricalAccuracy(0), "k is 0; expected a whole number of at least 1"),
        (lambda: metrics.Precision(1.5), "thresholds is 1.5; expected numbers from 0 to 1"),
        (lambda: value_of(metrics.Recall(top_k=4), (np.ones((2, 3)), np.ones((2, 3)))), "top_k is 4; y_pred has 3"),
        (lambda: value_of(metrics.Recall(class_id=3), (np.ones((2, 3)), np.ones((2, 3)))), "class_id is 3; y_pred has"),
        (lambda: metrics.F1Score("mean"), "unknown average 'mean'; known: macro, micro, none, weighted"),
        (lambda: metrics.TruePositives([0.5, -1]), r"thresholds is \[0.5, -1\]; expected numbers from 0 to 1"),
        (lambda: metrics.FBetaScore(beta=0.0), "beta is 0.0; expected a number above 0"),
        (lambda: metrics.F1Score(threshold=0.0), "threshold is 0.0; expected a number above 0"),
        (lambda: metrics.AUC(1), "num_thresholds is 1; expected a whole number of at least 2"),
        (lambda: metrics.AUC(curve="PRGAIN"), "unknown curve 'PRGAIN'.*known: PR, ROC"),
        (lambda: metrics.AUC(summation_method="mid"), "unknown summation_method 'mid'"),
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


def updated(keras, metric, batches):
    for y, p, weights, mask in batches:
        y_pred = keras.ops.convert_to_tensor(p)
        if mask is not None:
            keras.src.backend.set_keras_mask(y_pred, keras.ops.convert_to_tensor(mask))
        metric.update_state(y, y_pred, weights)


def theirs_after(keras, metric, batches):
    updated(keras, metric, batches)
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
@pytest.mark.parametrize(("name", "options"), MEANS + COUNTS + F1, ids=names(MEANS + COUNTS + F1))
def test_the_others_against_keras(keras, name, options):
    shapes = [(6, 7, 3), (3, 2, 3)]
    if (name, options) in F1 or options.get("multi_label"):
        shapes = [(8, 3), (1, 3), (5, 3)]  # Keras takes these two-dimensional only
    rng = np.random.default_rng(4)
    for weighted, masked in itertools.product([False, True], [False, True]):
        ours, theirs, batches = made(name, options), getattr(keras.metrics, name)(**options), []
        for seed, shape in enumerate(shapes):
            weights = rng.uniform(0, 2, shape[:-1]).astype("float32") if weighted else None
            mask = rng.random(shape[:-1]) < 0.6 if masked else None
            y, p = batch_of(name, options, shape, seed)
            ours.update_state(y, p, weights, mask)
            if masked and (name, options) not in MEANS:  # Keras overlooks the mask there: it gets weights of 0
                weights, mask = mask * (np.float32(1) if weights is None else weights), None
            batches.append((y, p, weights, mask))
        updated(keras, theirs, batches)
        np.testing.assert_allclose(ours.result(), np.asarray(theirs.result()), rtol=2e-5, atol=1e-6)
        config = theirs.get_config()
        for key in options:
            assert np.array_equal(np.asarray(config[key]), np.asarray(ours.get_config()[key]))


def test_the_dtype_that_a_metric_looks_in():
    y, p = np.array([[1.0], [0.0]]), np.array([[0.3], [0.4]], "float32")
    wide, usual = metrics.BinaryAccuracy(dtype="float64", threshold=0.3), metrics.BinaryAccuracy(threshold=0.3)
    for metric in (wide, usual):
        metric.update_state(y, p)
    assert (wide.result(), usual.result()) == (0.5, 0.0)  # 0.3 as a float32 is above 0.3
    for cls in (metrics.Precision, metrics.AUC, metrics.F1Score, metrics.Sum, metrics.LogCoshError, metrics.Perplexity):
        assert cls(dtype="float64").get_config()["dtype"] == "float64"
    assert metrics.MeanMetricWrapper(losses.mean_squared_error, dtype="float64").dtype == "float64"


@pytest.mark.keras
@pytest.mark.parametrize(("name", "options"), MEANS + COUNTS + F1, ids=names(MEANS + COUNTS + F1))
def test_the_dtype_that_a_metric_looks_in_against_keras(keras, name, options):
    ours, theirs = made(name, {**options, "dtype": "float64"}), getattr(keras.metrics, name)(**options, dtype="float64")
    y, p = batch_of(name, options, (8, 3), 1)
    ours.update_state(y, p)
    theirs.update_state(y, p)
    np.testing.assert_allclose(
        ours.result(), np.asarray(theirs.result()), rtol=5e-6, atol=1e-9
    )  # Keras sums in float32


@pytest.mark.keras
@pytest.mark.parametrize("shape", [(5, 3), (4, 6, 3)])
def test_functions_against_keras(keras, shape):
    for name, options in {
        "binary_accuracy": {"threshold": 0.3},
        "categorical_accuracy": {},
        "sparse_categorical_accuracy": {},
        "top_k_categorical_accuracy": {"k": 2},
        "sparse_top_k_categorical_accuracy": {"k": 2},
        "mean_squared_error": {},
        "hinge": {},
    }.items():
        y, p = batch_of(name.title().replace("_", ""), options, shape, 3)
        ours, theirs = (getattr(library, name)(y, p, **options) for library in (metrics, keras.metrics))
        np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-6, err_msg=name)
        assert ours.dtype == "float32", name


@pytest.mark.keras
def test_accuracy_and_sum_against_keras(keras):
    rng = np.random.default_rng(8)
    y, p, weights = rng.integers(0, 2, (4, 5)), rng.integers(0, 2, (4, 5)).astype("float32"), rng.random((4, 5))
    for ours, theirs in ((metrics.Accuracy(), keras.metrics.Accuracy()), (metrics.Sum(), keras.metrics.Sum())):
        arguments = (y, p) if "accuracy" in ours.name else (p,)
        for metric in (ours, theirs):
            metric.update_state(*arguments)
            metric.update_state(*arguments, sample_weight=weights.astype("float32"))
        assert ours.result() == pytest.approx(float(theirs.result()), rel=1e-6)


@pytest.mark.keras
def test_a_weight_a_sample_without_a_mask_against_keras(keras):
    y, p = batch(BinaryAccuracy, (5, 7, 1), 5)
    weights = np.random.default_rng(6).uniform(0, 2, 5).astype("float32")
    expected = theirs_after(keras, keras.metrics.BinaryAccuracy(), [(y, p, weights, None)])
    assert value_of(BinaryAccuracy(), (y, p), sample_weight=weights) == pytest.approx(expected, rel=1e-6)


@pytest.mark.keras
@pytest.mark.parametrize(
    ("loss", "y_shape", "p_shape"),
    few_at_first(
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
        3,
    ),
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
    for name, cls in metrics._NAMES.items():
        if cls is not metrics.Perplexity and name.lower() != "kld":  # which Keras has not
            assert type(keras.metrics.get(name)).__name__ == cls.__name__
    for name, options in MEANS + COUNTS + F1:
        assert (
            re.sub(r"(?<=[a-z])_[0-9]+$", "", getattr(keras.metrics, name)(**options).name) == made(name, options).name
        )
