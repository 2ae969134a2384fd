"""Schedules: hand-worked rates, in an optimizer, resumed, written down; Keras's numbers."""

import numpy as np
import pytest

from rnncore import Input, Sequential, layers
from rnncore.models import load_model
from rnncore.optimizers import SGD, Adam, Nadam, get, schedules
from rnncore.optimizers.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

CASES = [
    ("ExponentialDecay", (0.1, 7, 0.5), {}),
    ("ExponentialDecay", (0.1, 7, 0.5), {"staircase": True}),
    ("InverseTimeDecay", (0.1, 7, 0.5), {}),
    ("InverseTimeDecay", (0.1, 7, 0.5), {"staircase": True}),
    ("PiecewiseConstantDecay", ([5, 12, 20], [0.1, 0.05, 0.2, 0.01]), {}),
    ("PolynomialDecay", (0.1, 15), {}),
    ("PolynomialDecay", (0.1, 15), {"end_learning_rate": 0.02, "power": 2.5}),
    ("PolynomialDecay", (0.1, 8, 0.02), {"cycle": True, "power": 0.5}),
    ("CosineDecay", (0.1, 15), {}),
    ("CosineDecay", (0.1, 15), {"alpha": 0.2, "warmup_steps": 6}),
    ("CosineDecay", (0.1, 15), {"alpha": 0.2, "warmup_target": 0.5, "warmup_steps": 6}),
    ("CosineDecayRestarts", (0.1, 5), {}),
    ("CosineDecayRestarts", (0.1, 5), {"t_mul": 1.0, "m_mul": 0.5, "alpha": 0.1}),
    ("CosineDecayRestarts", (0.1, 4), {"t_mul": 1.5, "m_mul": 0.8}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, _, options in CASES]


def make(name, arguments, options):
    return getattr(schedules, name)(*arguments, **options)


def test_by_hand():
    for schedule, expected in (
        (ExponentialDecay(0.8, 2, 0.25), {0: 0.8, 1: 0.4, 2: 0.2, 4: 0.05}),
        (ExponentialDecay(0.8, 2, 0.25, staircase=True), {1: 0.8, 2: 0.2, 3: 0.2}),
        (InverseTimeDecay(0.6, 2, 1.0), {0: 0.6, 1: 0.4, 4: 0.2}),
        (InverseTimeDecay(0.6, 2, 1.0, staircase=True), {1: 0.6, 2: 0.3, 5: 0.2}),
        (PiecewiseConstantDecay([2, 5], [3, 2, 1]), {0: 3, 2: 3, 3: 2, 5: 2, 6: 1, 99: 1}),
        (PolynomialDecay(1.0, 4, 0.2), {0: 1.0, 1: 0.8, 4: 0.2, 9: 0.2}),
        (PolynomialDecay(1.0, 4, 0.0, power=2), {1: 0.5625, 2: 0.25}),
        # The second time round 8 steps: at 6 a quarter is left.
        (PolynomialDecay(1.0, 4, 0.0, cycle=True), {0: 1.0, 4: 0.0, 5: 0.375, 6: 0.25, 8: 0.0, 9: 0.25}),
        (CosineDecay(1.0, 4, alpha=0.2), {0: 1.0, 2: 0.6, 4: 0.2, 7: 0.2}),
        (CosineDecay(0.0, 4, warmup_target=1.0, warmup_steps=2), {0: 0.0, 1: 0.5, 2: 1.0, 4: 0.5, 6: 0.0, 9: 0.0}),
        # Periods of 2, 4 and 8 steps from 0, 2 and 6, each half as high.
        (CosineDecayRestarts(1.0, 2, m_mul=0.5), {0: 1, 1: 0.5, 2: 0.5, 4: 0.25, 6: 0.25, 10: 0.125, 14: 0.125}),
        (CosineDecayRestarts(1.0, 2, t_mul=1.0), {0: 1.0, 1: 0.5, 2: 1.0, 3: 0.5}),
    ):
        for step, rate in expected.items():
            assert schedule(step) == pytest.approx(rate, abs=1e-12), (schedule, step)


@pytest.mark.parametrize(("name", "arguments", "options"), CASES, ids=IDS)
def test_an_array_of_steps_for_a_plot(name, arguments, options):
    schedule, steps = make(name, arguments, options), np.arange(40)
    rates = schedule(steps)
    assert rates.shape == (40,) and len(np.unique(rates)) > 3
    np.testing.assert_allclose(rates, [schedule(int(step)) for step in steps], rtol=1e-12, atol=1e-15)


def test_every_restart_is_met():
    """However the logarithm rounds, the first step of a period has its full rate."""
    for t_mul in (2, 3, 5, 10):
        schedule = CosineDecayRestarts(1.0, 1, t_mul=t_mul)
        assert [schedule(sum(t_mul**i for i in range(n))) for n in range(1, 9)] == pytest.approx([1.0] * 8)


def test_an_optimizer_follows_it():
    w = np.zeros(1)
    for rate in (PiecewiseConstantDecay([0, 2], [1.0, 10.0, 100.0]), lambda step: 10.0 ** min(2, (step + 1) // 2)):
        optimizer, w = SGD(rate), np.zeros(1)
        path = []
        for expected in (1.0, 10.0, 10.0, 100.0):
            assert optimizer.learning_rate == expected
            optimizer.apply_gradients([(np.array([-1.0]), w)])
            path.append(w[0])
        assert path == [1, 11, 21, 121]
    optimizer = SGD(lambda: 0.5)  # as Keras calls a plain function
    optimizer.apply_gradients([(np.array([-1.0]), w)])
    assert w[0] == 121.5


def test_accumulated_batches_count_as_steps():
    optimizer, w = SGD(lambda step: float(step), gradient_accumulation_steps=2), np.zeros(1)
    for expected in (0, -1, -1, -4):  # rates 1 and 3: the calls before the one that updates
        optimizer.apply_gradients([(np.ones(1), w)])
        assert w[0] == expected


def test_weight_decay_goes_by_it():
    optimizer, w = SGD(lambda step: 0.5 / (step + 1), weight_decay=0.2), np.array([1.0])
    for expected in (0.9, 0.9 * 0.95):
        optimizer.apply_gradients([(np.zeros(1), w)])
        assert w[0] == pytest.approx(expected)


def test_resume_goes_on_at_the_step():
    schedule, (first, second) = ExponentialDecay(0.1, 3, 0.5), (np.ones(2), np.ones(2))
    optimizer, other = Adam(schedule), Adam(schedule)
    for _ in range(3):
        optimizer.apply_gradients([(np.ones(2), first)])
    state = optimizer.get_state()
    assert "learning_rate" not in state
    second[:] = first
    other.build([second])
    other.set_state(state)
    assert other.learning_rate == optimizer.learning_rate == 0.05
    for one, array in ((optimizer, first), (other, second)):
        one.apply_gradients([(np.full(2, 0.3), array)])
    assert np.array_equal(first, second)


@pytest.mark.parametrize(("name", "arguments", "options"), CASES, ids=IDS)
def test_config(name, arguments, options):
    schedule = make(name, arguments, options)
    again = schedules.deserialize(schedules.serialize(schedule))
    assert type(again) is type(schedule) and again.get_config() == schedule.get_config()
    config = SGD(schedule).get_config()
    assert config["learning_rate"] == {"class_name": name, "config": schedule.get_config()}
    restored = get({"class_name": "SGD", "config": config})
    assert restored.get_config() == config and restored.learning_rate == schedule(0)


@pytest.mark.parametrize("calls", [1, 4])
def test_a_saved_model_goes_on(tmp_path, calls):
    """Also one that has only accumulated so far, as after a single call."""
    x, y = np.random.default_rng(0).normal(size=(2, 8, 3)).astype("float32")
    model = Sequential([Input((3,)), layers.Dense(3)])
    options = {"use_ema": True, "gradient_accumulation_steps": 2}
    model.compile(Nadam(ExponentialDecay(0.1, 2, 0.5), **options), "huber")
    for _ in range(calls):
        model.train_on_batch(x, y)
    lines = []
    model.summary(print_fn=lines.append)
    assert " Optimizer params: 50 (204.00 B)" in lines  # four slots of 12 weights, the step of 8 bytes, the product
    model.save(tmp_path / "model.rnn")
    other = load_model(tmp_path / "model.rnn")
    assert other.optimizer.get_config() == model.optimizer.get_config()
    for one in (model, other):
        one.train_on_batch(x[:4], y[:4])
    states = model.optimizer.get_state(), other.optimizer.get_state()
    assert states[0].keys() == states[1].keys() and all(np.array_equal(states[0][k], states[1][k]) for k in states[0])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


class Own(LearningRateSchedule):
    def __init__(self, top=0.5):
        self.top = top

    def __call__(self, step):
        return np.float32(self.top / (step + 1))


def test_one_of_ones_own():
    optimizer = SGD(Own(0.25))
    assert optimizer.learning_rate == 0.25 and isinstance(optimizer.learning_rate, float)
    assert optimizer.get_config()["learning_rate"] == {"class_name": "Own", "config": {"top": 0.25}}


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: ExponentialDecay(0.1, 0, 0.5), ValueError, "decay_steps is 0; expected a number above 0"),
        (lambda: CosineDecayRestarts(0.1, -1), ValueError, "first_decay_steps is -1"),
        (lambda: CosineDecayRestarts(0.1, 1, t_mul=0.5), ValueError, "t_mul is 0.5; expected a number of at least 1"),
        (lambda: PiecewiseConstantDecay([1], [0.1]), ValueError, "1 boundaries and 1 values; expected one value more"),
        (lambda: PiecewiseConstantDecay([2, 1], [1, 2, 3]), ValueError, r"boundaries is \[2, 1\]; expected ascending"),
        (lambda: schedules.deserialize({"class_name": "Exp", "config": {}}), ValueError, "unknown schedule 'Exp'"),
        (lambda: setattr(SGD(ExponentialDecay(1, 1, 1)), "learning_rate", 0.1), TypeError, "cannot be set to .* 0.1"),
        (lambda: LearningRateSchedule()(0), NotImplementedError, "LearningRateSchedule has no __call__"),
        (
            lambda: SGD(lambda step: -1.0).learning_rate,
            ValueError,
            "learning_rate at step 0 is -1.0; expected a number",
        ),
    ],
)
def test_errors(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_a_rate_that_is_refused_changes_nothing():
    optimizer, w = SGD(lambda step: np.nan if step else 1.0, momentum=0.5), np.zeros(1)
    optimizer.apply_gradients([(np.ones(1), w)])
    state = optimizer.get_state()
    with pytest.raises(ValueError, match="learning_rate at step 1 is nan"):
        optimizer.apply_gradients([(np.ones(1), w)])
    assert w[0] == -1 and optimizer.get_state() == state


# ---------------------------------------------------------------------------------------------------------------------
# Keras


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.mark.keras
@pytest.mark.parametrize(("name", "arguments", "options"), CASES, ids=IDS)
def test_against_keras(keras, name, arguments, options):
    ours, theirs = make(name, arguments, options), getattr(keras.optimizers.schedules, name)(*arguments, **options)
    expected = [float(theirs(step)) for step in range(40)]
    np.testing.assert_allclose(ours(np.arange(40)), expected, rtol=2e-6, atol=1e-8)
    assert theirs.get_config() == ours.get_config()


@pytest.mark.keras
@pytest.mark.parametrize("accumulation", [None, 3])
def test_steps_against_keras(keras, accumulation):
    rng = np.random.default_rng(0)
    array = rng.normal(size=(4, 3)).astype("float32")
    variable = keras.Variable(array)
    options = {"weight_decay": 0.1, "gradient_accumulation_steps": accumulation}
    mine, other = (
        module.Adam(module.schedules.CosineDecayRestarts(0.1, 3), **options)
        for module in (__import__("rnncore").optimizers, keras.optimizers)
    )
    for _ in range(20):
        gradient = rng.normal(size=array.shape).astype("float32")
        mine.apply_gradients([(gradient, array)])
        other.apply_gradients([(keras.ops.convert_to_tensor(gradient), variable)])
        np.testing.assert_allclose(array, variable.numpy(), rtol=3e-6, atol=3e-6)
    assert len(other.variables) == len(mine.get_state())
