"""Losses: hand-worked numbers, every gradient against central differences, Keras's values, errors."""

import itertools
import math

import numpy as np
import pytest
from cases import few_at_first

from rnncore import losses
from rnncore.configured import snake_case
from rnncore.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
    get,
)

REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None]
NAMES = ["mean_squared_error", "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"]
# Losses without a form from logits, each with the options of its own.
PLAIN = [
    ("MeanAbsoluteError", {}),
    ("MeanAbsolutePercentageError", {}),
    ("MeanSquaredLogarithmicError", {}),
    ("Huber", {}),
    ("Huber", {"delta": 0.3}),
    ("LogCosh", {}),
    ("CosineSimilarity", {}),
    ("KLDivergence", {}),
    ("Poisson", {}),
    ("Hinge", {}),
    ("SquaredHinge", {}),
    ("CategoricalHinge", {}),
]
REAL = ("MeanAbsoluteError", "MeanAbsolutePercentageError", "Huber", "LogCosh", "CosineSimilarity")  # y from -2 to 2
ALL_NAMES = NAMES + list({snake_case(name): None for name, _ in PLAIN})

# Each loss with each of its options, by name and arguments.
CASES = [
    ("MeanSquaredError", {}),
    ("BinaryCrossentropy", {}),
    ("BinaryCrossentropy", {"from_logits": True}),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}),
    ("CategoricalCrossentropy", {}),
    ("CategoricalCrossentropy", {"from_logits": True}),
    ("CategoricalCrossentropy", {"label_smoothing": 0.3}),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.3}),
    ("SparseCategoricalCrossentropy", {}),
    ("SparseCategoricalCrossentropy", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", {"ignore_class": 2}),
    ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": -1}),
    *PLAIN,
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in CASES]


def batch(name, options, shape, seed, dtype="float64"):
    """Return y_true and y_pred (not normalised, where probabilities) of `shape`."""
    rng = np.random.default_rng(seed)
    any_number = options.get("from_logits") or "Hinge" in name or name in REAL
    y_pred = rng.normal(0, 2, shape) if any_number else rng.uniform(0.05, 0.95, shape)
    if name in REAL:
        y_true = rng.uniform(-2, 2, shape)
    elif name == "SparseCategoricalCrossentropy":
        y_true = rng.integers(0, shape[-1], shape[:-1])
        y_true[rng.random(shape[:-1]) < 0.2] = options.get("ignore_class", 0)
    elif name.startswith("Categorical"):
        y_true = np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
    else:
        y_true = rng.integers(0, 2, shape) * 1.0
    return y_true, y_pred.astype(dtype)


def weighting(kind, shape, seed):
    """Return sample weights and mask for losses of `shape`."""
    rng = np.random.default_rng(seed)
    kept = rng.random(shape) < 0.6
    kept[0] = False  # a sample that is masked entirely
    kept.flat[-1] = True
    return {
        "plain": (None, None),
        "weights": (rng.uniform(0, 3, shape), None),
        "mask": (None, kept),
        "both": (rng.uniform(0, 3, shape), kept),
        "sample": (rng.uniform(0, 3, (shape[0],) + (1,) * (len(shape) - 1)), kept),
        "nothing kept": (None, np.zeros(shape, bool)),
        "no weight": (np.zeros(shape), None),
        "little weight": (rng.uniform(0, 0.01, shape), None),  # in all less than 1
    }[kind]


WEIGHTINGS = ["plain", "weights", "mask", "both", "sample", "nothing kept", "no weight", "little weight"]


def numerical_gradient(f, x, step=1e-6):
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[i] += step
        below[i] -= step
        gradient[i] = (np.sum(f(above)) - np.sum(f(below))) / (2 * step)
    return gradient


# ---------------------------------------------------------------------------------------------------------------------
# By hand


def test_mean_squared_error_by_hand():
    # position 0: (0.5² + 1²) / 2 = 0.625, position 1: (2² + 0²) / 2 = 2; the mean of both 1.3125
    # gradient: 2 (p-y) / C / positions = (p-y) / 2
    value, gradient = MeanSquaredError().value_and_gradient([[0, 1], [2, 3]], [[0.5, 0.0], [4.0, 3.0]])
    assert value == 1.3125
    assert gradient.tolist() == [[0.25, -0.5], [1.0, 0.0]]


def test_binary_crossentropy_by_hand():
    # y=1, p=0.8: -log 0.8 = 0.22314; y=0, p=0.4: -log 0.6 = 0.51083; mean 0.36698
    # gradients (p-y) / (p(1-p)) = -1.25 and 1.66667, halved
    value, gradient = BinaryCrossentropy().value_and_gradient([[1], [0]], np.array([[0.8], [0.4]]))
    assert value == pytest.approx(0.36698, abs=5e-6)
    assert gradient.ravel() == pytest.approx([-0.625, 0.83333], abs=5e-6)


def test_categorical_crossentropy_by_hand():
    # logits (log 1, log 3): p = (1/4, 3/4); y = second: -log 0.75 = 0.28768; p - y = (0.25, -0.25)
    z = np.log([[1.0, 3.0]])
    for loss, y in ((CategoricalCrossentropy(), [[0, 1]]), (SparseCategoricalCrossentropy(), [1])):
        value, gradient = loss.value_and_gradient(y, z, logits=True)
        assert value == pytest.approx(0.28768, abs=5e-6)
        assert gradient == pytest.approx(np.array([[0.25, -0.25]]))


@pytest.mark.parametrize(
    ("loss", "y", "p", "value", "gradient"),
    [
        # errors 1 and -3
        (MeanAbsoluteError(), [0, 1], [1, -2], 2, [0.5, -0.5]),
        # 1/2 and 3/4 of the target: 62.5 %
        (MeanAbsolutePercentageError(), [2, -4], [3, -1], 62.5, [25, 12.5]),
        # log 2 - log 1 and log 4 - log 4; (log 2)² / 2 and 2 log 2 / 2 / 2
        (MeanSquaredLogarithmicError(), [0, 3], [1, 3], math.log(2) ** 2 / 2, [math.log(2) / 2, 0]),
        # 0.5 within delta, 3 beyond: 0.125 and 3 - 0.5; with delta 2 6 - 2
        (Huber(), [0, 0], [0.5, -3], 1.3125, [0.25, -0.5]),
        (Huber(2.0), [0, 0], [0.5, -3], 2.0625, [0.25, -1]),
        (LogCosh(), [0, 0], [1, -1000], (math.log(math.cosh(1)) + 1000 - math.log(2)) / 2, [math.tanh(1) / 2, -0.5]),
        # (3, 4) and the first axis: cosine 0.6; moving along the first brings p closer, 1 - 0.36 of 1/5
        (CosineSimilarity(), [2, 0], [3, 4], -0.6, [-0.128, 0.096]),
        # 0.25 log(0.25 / 0.5) + 0.75 log(0.75 / 0.5)
        (KLDivergence(), [0.25, 0.75], [0.5, 0.5], 0.75 * math.log(3) - math.log(2), [-0.5, -1.5]),
        (Poisson(), [2, 0], [4, 1], (5 - 2 * math.log(4)) / 2, [0.25, 0.5]),
        # targets 0 and 1 stand for -1 and 1: margins 1 + 0.5 and 1 - 3, below 0
        (Hinge(), [0, 1], [0.5, 3], 0.75, [0.5, 0]),
        (Hinge(), [-1, 1], [0.5, 0.5], 1, [0.5, -0.5]),
        (SquaredHinge(), [0, 1], [0.5, 3], 1.125, [1.5, 0]),
        # the largest wrong one 2, the right one 0.5
        (CategoricalHinge(), [0, 1, 0], [1, 0.5, 2], 2.5, [0, -1, 1]),
        (CategoricalHinge(), [0, 1, 0], [1, 3.5, 2], 0, [0, 0, 0]),
        (CategoricalHinge(), [0, 1, 0], [2, 0.5, 2], 2.5, [0.5, -1, 0.5]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, losses.Loss) else "",
)
def test_other_losses_by_hand(loss, y, p, value, gradient):
    found, found_gradient = loss.value_and_gradient([y], np.array([p], float))
    assert found == pytest.approx(value, abs=1e-6)
    assert found_gradient[0] == pytest.approx(gradient, abs=1e-6)


def test_label_smoothing_by_hand():
    # binary, s = 0.2: y 1 -> 0.9. p = 0.5: -0.9 log 0.5 - 0.1 log 0.5 = log 2
    assert BinaryCrossentropy(label_smoothing=0.2)([[1]], [[0.5]]) == pytest.approx(math.log(2))
    # categorical, s = 0.2, C = 4: y -> (0.85, 0.05, 0.05, 0.05), p = (.7, .1, .1, .1):
    # -0.85 log 0.7 - 0.15 log 0.1 = 0.30317 + 0.34539
    value = CategoricalCrossentropy(label_smoothing=0.2)([[1, 0, 0, 0]], np.array([[0.7, 0.1, 0.1, 0.1]]))
    assert value == pytest.approx(0.64856, abs=5e-6)


def test_reductions_by_hand():
    # Squared errors 1, 4, 9, 16 of two sequences of two steps.
    y, p = np.zeros((2, 2, 1)), np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    weights, mask = [[1, 2], [0, 3]], [[True, False], [True, True]]
    expected = {
        # plain     weights: 1+8+0+48 = 57 mask: 1+9+16 = 26  both: 1+0+48 = 49
        "sum": (30, 57, 26, 49),
        "sum_over_batch_size": (30 / 4, 57 / 4, 26 / 3, 49 / 3),  # by positions, or those the mask keeps
        "mean_with_sample_weight": (30 / 4, 57 / 6, 26 / 3, 49 / 4),  # by the weights: 1+2+0+3 and 1+0+3
    }
    for reduction, values in expected.items():
        loss = MeanSquaredError(reduction)
        found = (loss(y, p), loss(y, p, weights), loss(y, p, mask=mask), loss(y, p, weights, mask))
        assert found == pytest.approx(values), reduction
    assert MeanSquaredError(None)(y, p, weights, mask).tolist() == [[1, 0], [0, 48]]


def test_weights_that_cancel_leave_no_gradient():
    loss = MeanSquaredError("mean_with_sample_weight")
    value, gradient = loss.value_and_gradient([[0], [0]], [[1.0], [2.0]], [1, -1])
    assert value == 0 and gradient.tolist() == [[0], [0]]


def test_a_weight_a_sample_holds_for_all_its_steps():
    y, p = batch("MeanSquaredError", {}, (4, 4, 3), 0)  # as many steps as samples: broadcasting alone would mix them up
    for reduction, mask in itertools.product(REDUCTIONS, [None, np.tri(4, dtype=bool)]):
        loss = MeanSquaredError(reduction)
        value, gradient = loss.value_and_gradient(y, p, [1, 2, 3, 4], mask)
        same, same_gradient = loss.value_and_gradient(y, p, np.repeat([[1], [2], [3], [4]], 4, axis=1), mask)
        assert np.array_equal(value, same) and np.array_equal(gradient, same_gradient)


# ---------------------------------------------------------------------------------------------------------------------
# Gradients


def assert_gradient(loss, y, p, weights, mask, label=""):
    value, gradient = loss.value_and_gradient(y, p, weights, mask)
    assert np.array_equal(value, loss(y, p, weights, mask))
    numerical = numerical_gradient(lambda x: loss(y, x, weights, mask), p)
    rounding = 2e-8 * max(1, np.abs(value).max())  # what the difference of two values loses
    np.testing.assert_allclose(gradient, numerical, rtol=1e-7, atol=rounding, err_msg=label)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("shape", few_at_first([[3, 4, 2], [5, 3], [2, 3, 2, 4]], 1), ids=str)
def test_gradient(name, options, shape):
    y, p = batch(name, options, shape, 1)
    for kind in ("plain", "both"):
        assert_gradient(getattr(losses, name)(**options), y, p, *weighting(kind, shape[:-1], 2), kind)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_of_every_reduction(reduction):
    """Weights, masks and reductions are the base's: one loss tells, and one that ignores positions itself."""
    for name, options in (("MeanSquaredError", {}), ("SparseCategoricalCrossentropy", {"ignore_class": 2})):
        y, p = batch(name, options, (3, 4, 3), 1)
        for kind in WEIGHTINGS:
            loss = getattr(losses, name)(**options, reduction=reduction)
            assert_gradient(loss, y, p, *weighting(kind, (3, 4), 2), kind)


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_fused_gradient(name, smoothing):
    options = {"label_smoothing": smoothing} if smoothing and "sparse" not in name else {}
    loss = type(get(name))(**options)
    y, z = batch(type(loss).__name__, {"from_logits": True}, (3, 4, 3), 3)
    value, gradient = loss.value_and_gradient(y, z, logits=True)
    np.testing.assert_allclose(gradient, numerical_gradient(lambda x: loss(y, x, logits=True), z), atol=1e-9)
    # The same through the probabilities, where they are far from the clip.
    p = 1 / (1 + np.exp(-z)) if loss.fuses == "sigmoid" else np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    assert value == pytest.approx(loss(y, p), rel=1e-6)


def test_extreme_logits_stay_finite():
    z = np.array([[-1e4], [-50.0], [0.0], [50.0], [1e4]], "float32")
    for y, expected in ((1.0, [1e4, 50, math.log(2), 0, 0]), (0.0, [0, 0, math.log(2), 50, 1e4])):
        loss = BinaryCrossentropy(reduction=None)
        value, gradient = loss.value_and_gradient(np.full((5, 1), y), z, logits=True)
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-20)
        np.testing.assert_allclose(gradient.ravel(), np.array([0, 0, 0.5, 1, 1]) - y, atol=1e-20)
    z = np.array([[1e4, 0, -1e4]], "float32")
    for loss, y in ((CategoricalCrossentropy(), [[0, 0, 1]]), (SparseCategoricalCrossentropy(), [2])):
        value, gradient = loss.value_and_gradient(y, z, logits=True)
        assert value == 2e4
        assert gradient.tolist() == [[1, 0, -1]]


def test_clip_of_probabilities():
    # Wholly wrong: 1 - 1e-7 is 1 - 1.19e-7 in float32, -log 1e-7 = 16.118; no gradient past the clip.
    p = np.array([[0.0], [1.0], [0.5]], "float32")
    value, gradient = BinaryCrossentropy(reduction=None).value_and_gradient([[1], [0], [1]], p)
    np.testing.assert_allclose(value, [16.118, 15.942, math.log(2)], atol=1e-3)
    assert gradient.ravel().tolist() == [0, 0, -2]
    value, gradient = SparseCategoricalCrossentropy(reduction=None).value_and_gradient([0], [[0.0, 1.0]])
    assert value[0] == pytest.approx(16.118, abs=1e-3)
    assert gradient.tolist() == [[0, 0]]
    # Categorical divides by the sum first: 2e-7 of 1.8 is 1.111e-7, above the clip; sparse clips 1.8 to 1.
    p = np.array([[2e-7, 1.8]])
    assert CategoricalCrossentropy()([[1, 0]], p) == pytest.approx(-math.log(2e-7 / 1.8), rel=1e-6)
    assert SparseCategoricalCrossentropy()([0], p) == pytest.approx(-math.log(2e-7), rel=1e-6)


def test_no_prediction_becomes_a_silent_zero():
    loss = BinaryCrossentropy()
    value, gradient = loss.value_and_gradient([[1.0], [1.0]], np.array([[math.nan], [0.5]]))
    assert math.isnan(value) and math.isnan(gradient[0, 0])


def test_masked_positions_do_not_matter():
    for name, options in CASES:
        loss = getattr(losses, name)(**options)
        y, p = batch(name, options, (3, 4, 3), 4)
        _, mask = weighting("mask", (3, 4), 5)
        value, gradient = loss.value_and_gradient(y, p, mask=mask)
        assert (gradient[~mask] == 0).all() and (gradient[mask] != 0).any()
        p[~mask] = 0.3
        assert loss(y, p, mask=mask) == value


def test_ignored_class_is_left_out_like_masked_steps():
    y, z = batch("SparseCategoricalCrossentropy", {"from_logits": True}, (4, 5, 3), 6)
    y[1, 2:] = -1
    loss = SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    value, gradient = loss.value_and_gradient(y, z)
    expected = SparseCategoricalCrossentropy(from_logits=True).value_and_gradient(np.maximum(y, 0), z, mask=y >= 0)
    assert value == expected[0] and np.array_equal(gradient, expected[1])


# ---------------------------------------------------------------------------------------------------------------------
# The contract


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(name, options, dtype):
    y, p = batch(name, options, (3, 4, 3), 7, dtype)
    before = p.copy()
    for reduction, (weights, mask) in itertools.product(
        REDUCTIONS, [weighting("plain", (3, 4), 0), weighting("both", (3, 4), 0)]
    ):
        loss = getattr(losses, name)(**options, reduction=reduction)
        value, gradient = loss.value_and_gradient(y, p, weights, mask)
        assert gradient.dtype == dtype and gradient.shape == p.shape
        assert value.dtype == dtype if reduction in ("none", None) else isinstance(value, float)
    assert np.array_equal(p, before)


def test_predictions_of_other_types_become_floats():
    value, gradient = MeanSquaredError().value_and_gradient([0], [[2]])
    assert value == 4.0 and gradient.dtype == "float32"


def test_targets_may_lack_a_last_axis_of_one():
    p = np.random.default_rng(8).uniform(size=(4, 3, 1))
    y = np.random.default_rng(9).integers(0, 2, (4, 3))
    mask = y == 1
    for loss in (BinaryCrossentropy(), MeanSquaredError()):
        assert loss(y, p, mask=mask) == loss(y[..., None], p, mask=mask)
        assert loss(y[:, 0], p[:, 0]) == loss(y[:, :1], p[:, 0])
    ids = np.array([[0, 1, 2]])
    loss, p = SparseCategoricalCrossentropy(), np.random.default_rng(10).uniform(size=(1, 3, 4))
    assert loss(ids, p) == loss(ids[..., None], p) == loss(ids.astype(float), p)


def test_functions_return_the_loss_of_each_position():
    for name in ALL_NAMES:
        y, p = batch(type(get(name)).__name__, {}, (3, 4, 3), 11)
        found = getattr(losses, name)(y, p)
        assert found.shape == (3, 4)
        assert found.mean() == pytest.approx(get(name)(y, p))
        assert getattr(losses, name).__name__ == name
    y, z = batch("Huber", {}, (3, 3), 12)
    assert np.array_equal(losses.huber(y, z, 0.5), Huber(0.5, None)(y, z))
    assert np.array_equal(losses.huber(y, z, delta=0.5), Huber(0.5, None)(y, z))
    y, z = batch("BinaryCrossentropy", {"from_logits": True}, (3, 3), 12)
    smoothed = BinaryCrossentropy(True, 0.1)(y, z)
    assert losses.binary_crossentropy(y, z, from_logits=True, label_smoothing=0.1).mean() == pytest.approx(smoothed)


def test_get_and_config():
    for name in ALL_NAMES:
        loss = get(name)
        assert loss.name == {"huber": "huber_loss"}.get(name, name)
        assert type(get(type(loss).__name__)) is type(get(type(loss))) is type(loss)
        assert get(loss) is loss
        assert get({"class_name": type(loss).__name__, "config": loss.get_config()}).get_config() == loss.get_config()
    for short, cls in (
        ("bce", BinaryCrossentropy),
        ("mse", MeanSquaredError),
        ("mae", MeanAbsoluteError),
        ("mape", MeanAbsolutePercentageError),
        ("msle", MeanSquaredLogarithmicError),
        ("kld", KLDivergence),
    ):
        assert type(get(short)) is type(get(short.upper())) is cls
    assert BinaryCrossentropy(True, 0.1, reduction="sum", name="b").get_config() == {
        "from_logits": True,
        "label_smoothing": 0.1,
        "axis": -1,
        "reduction": "sum",
        "name": "b",
        "dtype": None,
    }


P = np.full((4, 3, 2), 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeanSquaredError("avg"), "unknown reduction 'avg'.*mean_with_sample_weight, none, sum, sum_over"),
        (lambda: BinaryCrossentropy(label_smoothing=1.5), "label_smoothing is 1.5.*from 0 to 1"),
        (lambda: CategoricalCrossentropy(axis=1), "axis is 1.*only -1"),
        (lambda: CosineSimilarity(axis=0), "axis is 0.*only -1"),
        (lambda: Huber(0), "delta is 0; expected a number above 0"),
        (lambda: get("crossentropie"), "unknown loss 'crossentropie'"),
        (lambda: MeanSquaredError()(P[:, :, 0], P), r"y_true has shape \(4, 3\), y_pred \(4, 3, 2\)"),
        (lambda: BinaryCrossentropy()(P[:3], P), r"y_true has shape \(3, 3, 2\), y_pred \(4, 3, 2\)"),
        (lambda: SparseCategoricalCrossentropy()(P, P), r"have shape \(4, 3\) or \(4, 3, 1\)"),
        (lambda: SparseCategoricalCrossentropy()([0, 2], P[:2, 0]), "holds the class 2; allowed: 0 to 1"),
        (lambda: SparseCategoricalCrossentropy()([0, -1], P[:2, 0]), "holds the class -1; allowed: 0 to 1"),
        (lambda: SparseCategoricalCrossentropy()([0, math.nan], P[:2, 0]), "holds the class nan; allowed: 0 to 1"),
        (lambda: SparseCategoricalCrossentropy()([0, 0.5], P[:2, 0]), "holds the class 0.5; allowed: whole"),
        (lambda: MeanSquaredError()(P, P, np.ones(3)), r"sample_weight has shape \(3,\); the losses have .*\(4, 3\)"),
        (lambda: MeanSquaredError()(P, P, np.ones((4, 2))), r"sample_weight has shape \(4, 2\)"),
        (lambda: MeanSquaredError()(P, P, np.ones((4, 3, 2))), r"sample_weight has shape \(4, 3, 2\)"),
        (lambda: MeanSquaredError()(P, P, mask=np.ones((3, 4))), r"mask has shape \(3, 4\)"),
        (lambda: MeanSquaredError().value_and_gradient(P, P, logits=True), "MeanSquaredError has no form from logits"),
        (lambda: MeanSquaredError()(1.0, 2.0), "y_pred is the number 2.0"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_class_alone_is_warned_about():
    with pytest.warns(UserWarning, match=r"y_pred has shape \(2, 1\).*binary_crossentropy") as caught:
        assert CategoricalCrossentropy()(np.ones((2, 1)), np.ones((2, 1))) == pytest.approx(0, abs=1e-6)
    assert caught[0].filename == __file__


# ---------------------------------------------------------------------------------------------------------------------
# Keras


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def keras_loss(keras, loss, y, p, weights, mask):
    """Return Keras's value and gradient, as numpy, on the TensorFlow backend."""
    import tensorflow as tf

    p = tf.Variable(p)
    with tf.GradientTape() as tape:
        y_pred = tf.identity(p)
        if mask is not None:
            keras.src.backend.set_keras_mask(y_pred, tf.constant(mask))
        value = loss(y, y_pred, weights)
    return value.numpy(), tape.gradient(value, p).numpy()


def assert_as_keras(keras, name, options, shape, dtype, cases):
    tolerance = {"float32": 3e-6, "float64": 1e-12}[dtype]
    if name == "LogCosh":
        tolerance = max(tolerance, 1e-8)  # Keras's log 2 is a float32
    for seed, (kind, reduction) in enumerate(cases):
        y, p = batch(name, options, shape, seed, dtype)
        p[0, 0] *= 1e-9  # clipped, where a probability
        weights, mask = weighting(kind, shape[:-1], seed)
        ours = getattr(losses, name)(**options, reduction=reduction)
        theirs = getattr(keras.losses, name)(**options, reduction=reduction, dtype=dtype)
        expected, expected_gradient = keras_loss(keras, theirs, y, p, weights, mask)
        value, gradient = ours.value_and_gradient(y, p, weights, mask)
        what = f"{kind} {reduction}"
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance, err_msg=what)
        scale = max(1, np.abs(expected_gradient).max())
        np.testing.assert_allclose(gradient, expected_gradient, rtol=tolerance, atol=tolerance * scale, err_msg=what)


@pytest.mark.keras
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", few_at_first(["float32", "float64"], 1))
def test_against_keras(keras, name, options, dtype):
    for shape in ([6, 7, 4], [5, 3]):
        cases = [("plain", "sum_over_batch_size"), ("both", "sum_over_batch_size")]
        assert_as_keras(keras, name, options, shape, dtype, cases)


@pytest.mark.parametrize("name", ["MeanSquaredError", "Huber", "CosineSimilarity", "BinaryCrossentropy"])
def test_the_dtype_that_a_loss_computes_in(name):
    y, p = batch(name, {}, (6, 4), 3, "float32")
    loss = getattr(losses, name)(dtype="float64")
    value, gradient = loss.value_and_gradient(y, p)
    wide = getattr(losses, name)().value_and_gradient(y.astype(float), p.astype(float))
    assert (loss.dtype, gradient.dtype, value) == ("float64", np.float32, pytest.approx(wide[0], rel=1e-14))
    np.testing.assert_allclose(gradient, wide[1], rtol=1e-6)
    assert getattr(losses, name)(dtype="float32", reduction=None)(y.astype(float), p.astype(float)).dtype == np.float32
    with pytest.raises(ValueError, match="dtype is 'float16'; allowed: 'float32', 'float64'"):
        getattr(losses, name)(dtype="float16")


@pytest.mark.keras
@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_the_dtype_that_a_loss_computes_in_against_keras(keras, name):
    y, p = batch(name, {}, (6, 4), 3, "float32")
    theirs = keras_loss(keras, getattr(keras.losses, name)(dtype="float64"), y, p, None, None)
    ours = getattr(losses, name)(dtype="float64").value_and_gradient(y, p)
    assert ours[0] == pytest.approx(float(theirs[0]), rel=1e-7)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6, atol=1e-9)


@pytest.mark.keras
def test_reductions_against_keras(keras):
    for name, options in (("MeanSquaredError", {}), ("SparseCategoricalCrossentropy", {"ignore_class": 2})):
        assert_as_keras(keras, name, options, [6, 7, 4], "float32", itertools.product(WEIGHTINGS, REDUCTIONS))


@pytest.mark.keras
@pytest.mark.parametrize("name", ALL_NAMES)
def test_functions_against_keras(keras, name):
    y, p = batch(type(get(name)).__name__, {}, (6, 5, 4), 1, "float32")
    expected = np.asarray(getattr(keras.losses, name)(y, p))
    np.testing.assert_allclose(getattr(losses, name)(y, p), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.keras
def test_flat_targets_against_keras(keras):
    y, p = batch("BinaryCrossentropy", {}, (9, 1), 2, "float32")
    for name in NAMES[:2]:
        assert get(name)(y[:, 0], p) == pytest.approx(float(keras.losses.get(type(get(name)).__name__)(y[:, 0], p)))


@pytest.mark.keras
@pytest.mark.parametrize(
    ("activation", "name"), few_at_first([("softmax", NAMES[3]), ("softmax", NAMES[2]), ("sigmoid", NAMES[1])], 1)
)
def test_fusion_against_a_keras_model(keras, activation, name):
    """A Keras model computes the loss through its last activation: so do we with logits=True, deep in saturation."""
    loss = get(name)
    y, z = batch(type(loss).__name__, {"from_logits": True}, (16, 4), 3, "float32")
    z *= 20
    model = keras.Sequential([keras.Input((4,)), keras.layers.Activation(activation)])
    model.compile(loss=name)
    assert loss.fuses == activation
    assert loss(y, z, logits=True) == pytest.approx(model.evaluate(z, y, verbose=0), rel=1e-6)
    assert loss(y, z, logits=True) > loss(y, model.predict(z, verbose=0)) + 1  # the clip would show


@pytest.mark.keras
def test_names_and_defaults_against_keras(keras):
    for name in losses._NAMES:
        found = keras.losses.get(name)
        assert getattr(found, "__name__", type(found).__name__) in (
            type(get(name)).__name__,
            snake_case(type(get(name)).__name__),
        )
    for name in ALL_NAMES:
        theirs = getattr(keras.losses, type(get(name)).__name__)().get_config()
        ours = get(name).get_config()
        assert {key: ours[key] for key in theirs} == theirs
