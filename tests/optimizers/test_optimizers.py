"""Optimizers: hand-worked steps, row gradients, exact resume, errors that change nothing, Keras's numbers."""

import math

import numpy as np
import pytest
from optimizer_cases import CASES, IDS, make

import rnncore
from rnncore import Input, Sequential, config, constraints, layers, optimizers
from rnncore.callbacks import Callback
from rnncore.kernels import updates
from rnncore.models import load_model
from rnncore.optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, Nadam, RMSprop, get
from rnncore.sparse import SparseGradient

CLIPS = [{}, {"clipnorm": 0.7}, {"clipvalue": 0.3}, {"global_clipnorm": 1.1}]
# What the base does around every optimizer's update.
COMMON = [
    *CLIPS,
    {"weight_decay": 0.2, "clipvalue": 0.3},
    {"use_ema": True, "ema_momentum": 0.9},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3, "weight_decay": 0.1},
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 3, "clipnorm": 0.2, "weight_decay": 0.1},
    {"gradient_accumulation_steps": 4, "use_ema": True, "ema_overwrite_frequency": 2, "global_clipnorm": 0.3},
]
# Every optimizer by itself; and each thing that the base does around one that leaves untouched rows alone, one that
# does not, and one that counts.
AROUND = [(name, options, {}) for name, options in CASES]
AROUND += [(name, {}, common) for name in ("SGD", "Adam", "Nadam") for common in COMMON[1:]]
AROUND_IDS = [f"{name}-{'-'.join([*options, *common]) or 'plain'}" for name, options, common in AROUND]


def arrays(dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in ((7, 3), (12,), (), (2, 3, 4))]


def steps(count, like, seed=1):
    """Return `count` steps' gradients; the spread of their sizes makes clips bind at some steps only."""
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(-2, 0, (count, len(like)))
    return [
        [np.asarray(rng.normal(0, size, a.shape), a.dtype) for size, a in zip(row, like, strict=True)] for row in sizes
    ]


# ---------------------------------------------------------------------------------------------------------------------
# By hand


def one(optimizer, *gradients, start=1.0):
    w = np.array([start])
    for g in gradients:
        optimizer.apply_gradients([(np.array([g]), w)])
    return w[0]


def test_sgd_by_hand():
    assert one(SGD(0.5), 0.2) == pytest.approx(0.9)
    # m = -0.1, w = 0.9; then m = 0.9 * -0.1 - 0.1 = -0.19, w = 0.71
    assert one(SGD(0.5, momentum=0.9), 0.2, 0.2) == pytest.approx(0.71)
    # m = -0.1, w = 1 + 0.9 * -0.1 - 0.1 = 0.81; m = -0.19, w = 0.81 + 0.9 * -0.19 - 0.1 = 0.539
    assert one(SGD(0.5, momentum=0.9, nesterov=True), 0.2, 0.2) == pytest.approx(0.539)


def test_rmsprop_by_hand():
    # v = 0.1 * 0.04 = 0.004, w = 1 - 0.1 * 0.2 / sqrt(0.005) with epsilon 0.001 = 1 - 0.282843
    assert one(RMSprop(0.1, epsilon=0.001), 0.2) == pytest.approx(0.717157, abs=1e-6)
    # centered: mean 0.02, variance 0.004 - 0.0004 = 0.0036, + 0.0013 = 0.07²: 1 - 0.02 / 0.07
    assert one(RMSprop(0.1, epsilon=0.0013, centered=True), 0.2) == pytest.approx(1 - 2 / 7)
    # then v = 0.0036 + 0.004, mean 0.018 + 0.02, variance 0.0076 - 0.001444
    second = 0.02 / math.sqrt(0.006156 + 0.0013)
    assert one(RMSprop(0.1, epsilon=0.0013, centered=True), 0.2, 0.2) == pytest.approx(1 - 2 / 7 - second)


def test_adam_by_hand():
    # m = 0.02, v = 0.00004, alpha = 0.1 sqrt(0.001) / 0.1 = 0.0316228
    # step 0.0316228 * 0.02 / (0.00632456 + 0.001) = 0.0863473; with epsilon beside the corrected v, as in PyTorch,
    # it would be 0.1 * 0.2 / (0.2 + 0.001)
    assert one(Adam(0.1, epsilon=0.001), 0.2) == pytest.approx(1 - 0.0863473, abs=1e-7)
    # g = 0 then: m = 0.018, v = 0.00003996, alpha = 0.1 sqrt(1 - 0.999²) / 0.19; epsilon 1e-7
    step = 0.1 * math.sqrt(0.001999) / 0.19 * 0.018 / (math.sqrt(0.00003996) + 1e-7)
    assert one(Adam(0.1), 0.2, 0.0) == pytest.approx(one(Adam(0.1), 0.2) - step)


def test_amsgrad_by_hand():
    # beta_2 0: v is g² alone, 4 and then 0.01; amsgrad divides by sqrt(4) both times
    # m = 2, w = 1 - 0.1 * 2/2; beta_1 0: m = 0.1, w -= 0.1 * 0.1/2
    assert one(Adam(0.1, 0.0, 0.0, 1e-12, amsgrad=True), 2.0, 0.1) == pytest.approx(1 - 0.1 - 0.005)
    assert one(Adam(0.1, 0.0, 0.0, 1e-12), 2.0, 0.1) == pytest.approx(1 - 0.1 - 0.1)


def test_adagrad_by_hand():
    # a = 0.1 + 0.04 + 0.02 (epsilon) = 0.16; 1 - 0.1 * 0.2 / 0.4
    assert one(Adagrad(0.1, 0.1, 0.02), 0.2) == pytest.approx(0.95)


def test_adadelta_by_hand():
    # v = 0.5 * 0.04 = 0.02, + 0.0025 = 0.15²; d = -0.05 / 0.15 * 0.2 = -1/15, u = 0.5 / 225; w = 1 - 0.3 / 15
    optimizer, w = Adadelta(0.3, rho=0.5, epsilon=0.0025), np.array([1.0])
    optimizer.apply_gradients([(np.array([0.2]), w)])
    assert w[0] == pytest.approx(0.98)
    assert optimizer.get_state()["accumulated_delta_var/0"][0] == pytest.approx(1 / 450)


def test_adamax_by_hand():
    # m = 0.02, u = 0.2, corrected m 0.2: a step of 0.1 * 0.2 / 0.25. Then g = 0: u = 0.1, m = 0.018 / 0.19
    assert one(Adamax(0.1, epsilon=0.05), 0.2) == pytest.approx(0.92)
    assert one(Adamax(0.1, beta_2=0.5, epsilon=0.1), 0.2, 0.0) == pytest.approx(1 - 0.2 / 3 - 0.1 * 0.018 / 0.19 / 0.2)


def test_nadam_by_hand():
    # beta_1 = 1/2: b(1) = 0.26, b(2) = 0.5 * (1 - 0.4608) = 0.2696; m = 0.1, v corrected 0.04
    # 0.2696 * 0.1 / (1 - 0.26 * 0.2696) + 0.74 * 0.2 / 0.74 = 0.028992 + 0.2, divided by 0.2 + 0.05
    ahead = 0.2696 * 0.1 / (1 - 0.26 * 0.2696) + 0.2
    assert one(Nadam(0.1, beta_1=0.5, epsilon=0.05), 0.2) == pytest.approx(1 - 0.1 * ahead / 0.25)


def test_lion_by_hand():
    # Every step is of 0.1. m = 0.02 after g = 2 (beta_2 0.99); 0.9 * 0.02 - 0.1 * 0.17 is still above 0, -0.19 not
    assert one(Lion(0.1), 2.0) == pytest.approx(0.9)
    assert one(Lion(0.1), 2.0, -0.17) == pytest.approx(0.8)
    assert one(Lion(0.1), 2.0, -0.19) == pytest.approx(1.0)


def test_moving_average_by_hand():
    # w: 0.9 0.8 0.7; average: the first weights, 0.5 * 0.9 + 0.5 * 0.8 = 0.85, 0.5 * 0.85 + 0.5 * 0.7 = 0.775
    optimizer, w = SGD(0.1, use_ema=True, ema_momentum=0.5), np.array([1.0])
    for weight, average in ((0.9, 0.9), (0.8, 0.85), (0.7, 0.775)):
        optimizer.apply_gradients([(np.array([1.0]), w)])
        assert (w[0], optimizer.get_state()["average/0"][0]) == pytest.approx((weight, average))
    optimizer.finalize_variable_values([w])
    assert w[0] == pytest.approx(0.775)
    # Overwritten every second step: 0.9; 0.8 -> 0.85; 0.75, average 0.8; 0.65 -> 0.725
    overwriting = SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    assert one(overwriting, 1, 1) == pytest.approx(0.85)
    overwriting = SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    assert one(overwriting, 1, 1, 1, 1) == pytest.approx(0.725)


def test_accumulation_by_hand():
    # Calls 1 and 2 change nothing, call 3 takes the mean of 3, 6 and 0, clipped to 2.5: 1 - 0.1 * 2.5
    optimizer, w = SGD(0.1, gradient_accumulation_steps=3, clipvalue=2.5), np.array([1.0])
    for g, weight, taken in ((3, 1, 0), (6, 1, 0), (0, 0.75, 1), (1, 0.75, 1), (1, 0.75, 1), (1, 0.65, 2)):
        optimizer.apply_gradients([(np.array([g]), w)])
        assert (w[0], optimizer.iterations) == pytest.approx((weight, taken))


def test_fit_ends_with_the_averages():
    x, y = np.random.default_rng(0).normal(size=(2, 24, 3)).astype("float32")
    model = Sequential([Input((3,)), layers.Dense(3)])
    model.compile(SGD(0.5, use_ema=True, ema_momentum=0.5), "mse")
    model.fit(x, y, 8, epochs=2, verbose=0)
    state = model.optimizer.get_state()
    for i, weight in enumerate(model.get_weights()):
        assert np.array_equal(weight, state[f"average/{i}"]) and weight.any()


def test_decay_comes_after_the_clip_and_before_the_update():
    # g = 4 is clipped to 1; w = 2 - 2 * 0.1 * 0.5 = 1.9 (the decay is not clipped), - 0.5 * 1 = 1.4
    assert one(SGD(0.5, weight_decay=0.1, clipnorm=1.0), 4.0, start=2.0) == pytest.approx(1.4)


def test_clips_by_hand():
    w = [np.zeros(2), np.zeros(1)]
    g = [np.array([3.0, 4.0]), np.array([12.0])]  # norms 5 and 12, together 13
    for clip, expected in (
        ({"clipnorm": 10.0}, [[3, 4], [10]]),
        ({"clipvalue": 3.5}, [[3, 3.5], [3.5]]),
        ({"global_clipnorm": 6.5}, [[1.5, 2], [6]]),
        ({"global_clipnorm": 14.0}, [[3, 4], [12]]),
    ):
        arrays_ = [a.copy() for a in w]
        SGD(1.0, **clip).apply_gradients(zip(g, arrays_, strict=True))
        for array, wanted in zip(arrays_, expected, strict=True):
            assert -array == pytest.approx(wanted), clip
    assert g[0].tolist() == [3, 4] and g[1].tolist() == [12]  # the caller's gradients stay


def test_a_norm_that_is_not_a_number_does_not_pass_for_a_small_one():
    for clip in ({"clipnorm": 1.0}, {"global_clipnorm": 1.0}):
        w = np.zeros(2)
        SGD(**clip).apply_gradients([(np.array([math.nan, 1.0]), w)])
        assert np.isnan(w).all()


# ---------------------------------------------------------------------------------------------------------------------
# The contract


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_place_and_of_one_dtype(name, options, dtype):
    optimizer, ours = make(name, **options), arrays(dtype)
    before, same = [a.copy() for a in ours], list(ours)
    optimizer.learning_rate = np.float64(0.01)  # a numpy scalar that would make float64 of float32
    for gradients in steps(3, ours):  # an odd number: Lion's steps of one size could cancel
        optimizer.apply_gradients(zip(gradients, ours, strict=True))
    assert optimizer.iterations == 3
    for array, mine, old in zip(ours, same, before, strict=True):
        assert array is mine and array.dtype == dtype and not np.array_equal(array, old)
    assert {key: slot.dtype for key, slot in optimizer.get_state().items() if "/" in key} == {
        f"{slot}/{i}": np.dtype(dtype) for i in range(4) for slot in optimizer.slots()
    }


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_parts_do_not_matter(name, options, monkeypatch):
    """Blocks of a large array, strides and views change no bit."""
    whole = np.random.default_rng(2).normal(size=(40, 6)).astype("float32")
    strided = np.asfortranarray(whole)
    blocks = whole.copy()
    results = []
    for size, array in ((10**9, whole), (17, blocks), (17, strided)):
        monkeypatch.setattr(updates, "BLOCK", size)
        optimizer = make(name, **options)
        for (gradient,) in steps(3, [array]):
            optimizer.apply_gradients([(gradient, array[:])])  # a new view each time
        results.append(array)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


@pytest.mark.parametrize(("name", "options", "common"), AROUND, ids=AROUND_IDS)
def test_row_gradient_is_the_dense_one(name, options, common):
    rng = np.random.default_rng(3)
    table, bias = rng.normal(size=(50, 4)).astype("float32"), rng.normal(size=4).astype("float32")
    dense_table, dense_bias = table.copy(), bias.copy()
    ours, dense = make(name, **{**options, **common}), make(name, **{**options, **common})
    for step in range(20):
        ids = np.unique(rng.integers(0, 50, 9)) if step != 7 else np.array([], np.int64)
        rows, g = rng.normal(size=(len(ids), 4)).astype("float32"), rng.normal(size=4).astype("float32")
        gradient = SparseGradient(ids, rows, (50, 4))
        ours.apply_gradients([(gradient, table), (g, bias)])
        dense.apply_gradients([(np.asarray(gradient), dense_table), (g, dense_bias)])
    rounding = 1e-5 if "norm" in "".join(common) else 0  # a norm's sum of squares runs in another order
    for mine, theirs in ((table, dense_table), (bias, dense_bias)):
        np.testing.assert_allclose(mine, theirs, rtol=rounding, atol=rounding)
    for key, slot in dense.get_state().items():
        np.testing.assert_allclose(ours.get_state()[key], slot, rtol=rounding, atol=rounding, err_msg=key)


def test_row_gradient_never_becomes_a_table(monkeypatch):
    def refuse(self, dtype=None, copy=None):
        raise AssertionError("the dense gradient was made")

    monkeypatch.setattr(SparseGradient, "__array__", refuse)
    for clip in CLIPS:
        table = np.zeros((50, 4), "float32")
        Adam(**clip).apply_gradients([(SparseGradient(np.array([3]), np.ones((1, 4), "float64"), (50, 4)), table)])
        assert np.flatnonzero(table.any(axis=1)).tolist() == [3]


def test_no_gradient_leaves_array_and_slots_alone():
    optimizer, (a, b) = Adam(weight_decay=0.1), (np.ones(3), np.ones(3))
    optimizer.apply_gradients([(np.ones(3), a), (None, b)])
    assert (b == 1).all() and (a != 1).all()
    state = optimizer.get_state()
    assert (state["momentum/1"] == 0).all() and (state["momentum/0"] != 0).all()
    optimizer.apply_gradients([(None, a), (np.ones(3), b)])  # the step counts for both
    assert optimizer.iterations == 2 and (b != 1).all()


@pytest.mark.parametrize(("name", "options", "common"), AROUND, ids=AROUND_IDS)
def test_resume_is_exact(name, options, common):
    options = {**options, **common}
    first, ours = make(name, **options), arrays()
    gradients = steps(8, ours)
    for g in gradients[:4]:
        first.apply_gradients(zip(g, ours, strict=True))
    first.learning_rate = 0.003
    saved, copies = first.get_state(), [a.copy() for a in ours]
    for g in gradients[4:]:
        first.apply_gradients(zip(g, ours, strict=True))
    second = get({"class_name": name, "config": make(name, **options).get_config()})
    second.build(copies)
    second.set_state(saved)
    assert (second.iterations, second.learning_rate) == (4 // common.get("gradient_accumulation_steps", 1), 0.003)
    for g in gradients[4:]:
        second.apply_gradients(zip(g, copies, strict=True))
    for mine, theirs in zip(copies, ours, strict=True):
        assert np.array_equal(mine, theirs)
    assert first.get_state().keys() == second.get_state().keys()


def test_state_is_a_copy():
    optimizer, w = SGD(momentum=0.9), np.ones(2)
    optimizer.build([w])
    state = optimizer.get_state()
    state["momentum/0"][:] = 5
    assert (optimizer.get_state()["momentum/0"] == 0).all()
    optimizer.set_state(state)
    state["momentum/0"][:] = 7
    assert (optimizer.get_state()["momentum/0"] == 5).all()


def test_get_and_config():
    made = Adam(0.1, beta_1=0.5, clipnorm=1.0)
    assert get(made) is made
    assert made.get_config() == {
        "learning_rate": 0.1,
        "beta_1": 0.5,
        "beta_2": 0.999,
        "epsilon": 1e-7,
        "amsgrad": False,
        "weight_decay": None,
        "clipnorm": 1.0,
        "clipvalue": None,
        "global_clipnorm": None,
        "use_ema": False,
        "ema_momentum": 0.99,
        "ema_overwrite_frequency": None,
        "gradient_accumulation_steps": None,
        "name": "adam",
    }
    for name in ("SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion"):
        assert type(get(name)) is type(get(name.lower())) is type(get(getattr(optimizers, name)))
        config = get(name).get_config()
        assert get({"class_name": name, "config": config}).get_config() == config


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: SGD(-0.1), "learning_rate is -0.1; expected a number of at least 0"),
        (lambda: SGD("0.1"), "learning_rate is '0.1'"),
        (lambda: SGD(math.nan), "learning_rate is nan"),
        (lambda: setattr(SGD(), "learning_rate", math.inf), "learning_rate is inf"),
        (lambda: SGD(momentum=1.5), "momentum is 1.5.*at least 0 and at most 1"),
        (lambda: SGD(weight_decay=-1), "weight_decay is -1"),
        (lambda: AdamW(weight_decay=None), "weight_decay is None"),
        (lambda: SGD(clipnorm=0), "clipnorm is 0; expected a number above 0"),
        (lambda: SGD(clipvalue=-1), "clipvalue is -1"),
        (lambda: SGD(global_clipnorm=-1), "global_clipnorm is -1"),
        (lambda: SGD(clipnorm=1, clipvalue=2), "one may be given; got {'clipnorm': 1, 'clipvalue': 2}"),
        (lambda: Adam(beta_1=1.0), "beta_1 is 1.0.*below 1"),
        (lambda: Adam(beta_2=-0.1), "beta_2 is -0.1"),
        (lambda: Adam(epsilon=0), "epsilon is 0; expected a number above 0"),
        (lambda: RMSprop(rho=1), "rho is 1"),
        (lambda: Adagrad(initial_accumulator_value=-1), "initial_accumulator_value is -1"),
        (lambda: Lion(beta_1=0), "beta_1 is 0; expected a number above 0 and at most 1"),
        (lambda: SGD(use_ema=True, ema_momentum=1.1), "ema_momentum is 1.1.*at most 1"),
        (
            lambda: SGD(use_ema=True, ema_overwrite_frequency=0),
            "ema_overwrite_frequency is 0; expected None or a whole",
        ),
        (lambda: SGD(gradient_accumulation_steps=1), "gradient_accumulation_steps is 1; .* at least 2"),
        (lambda: SGD(gradient_accumulation_steps=2.0), "gradient_accumulation_steps is 2.0; .* at least 2"),
        (lambda: get("rmsporp"), "unknown optimizer 'rmsporp'.*did you mean 'rmsprop'"),
        (lambda: SGD().build([[1.0]]), "array 0 is of type list; expected a numpy array"),
        (lambda: SGD().build([np.ones(2), np.ones(2, int)]), "array 1 is of dtype int64"),
        (lambda: SGD().build([np.broadcast_to(1.0, 3)]), "array 0 is read-only"),
        (lambda: SGD().apply_gradients([(np.ones(1), [1.0])]), "array 0 is of type list"),
        (lambda: SGD().set_state({}), r"no slots yet; call build\(arrays\) first"),
    ],
)
def test_errors(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_unknown_argument():
    with pytest.raises(TypeError, match="Adam has no argument 'lr': it is learning_rate"):
        Adam(lr=0.1)


@pytest.mark.parametrize("built", [False, True])
def test_a_refused_step_changes_nothing(built):
    optimizer, ours = Adam(), arrays()
    if built:
        optimizer.apply_gradients(zip(*steps(1, ours), ours, strict=True))
    state, before = optimizer.get_state(), [a.copy() for a in ours]
    (gradients,) = steps(1, ours)
    gradients[3] = gradients[3][:1]
    wrong = [(zip(gradients, ours, strict=True), r"gradient 3 has shape \(1, 3, 4\); its array has shape \(2, 3, 4\)")]
    rows = SparseGradient(np.array([0]), np.ones((1, 3)), (8, 3))
    wrong.append(([(rows, ours[0]), *zip(steps(1, ours)[0][1:], ours[1:], strict=True)], "gradient 0 has shape"))
    if built:
        good = steps(1, ours)[0]
        twice = [ours[0], ours[0], *ours[2:]]
        wrong.append((zip([good[0], *good[:1], *good[2:]], twice, strict=True), "array 1 is given twice"))
        copies = [*ours[:2], *(a.copy() for a in ours[2:])]
        wrong.append((zip(good, copies, strict=True), "array 2 is not one of the 4 that adam was built with"))
    for pairs, message in wrong:
        with pytest.raises(ValueError, match=message):
            optimizer.apply_gradients(pairs)
        assert all(np.array_equal(a, b) for a, b in zip(ours, before, strict=True))
        assert optimizer.get_state().keys() == state.keys()
        assert all(np.array_equal(optimizer.get_state()[key], state[key]) for key in state)


def test_a_refused_state_changes_nothing():
    optimizer, w = SGD(momentum=0.9), np.ones(2)
    optimizer.apply_gradients([(np.ones(2), w)])
    state = optimizer.get_state()
    for change, message in (
        ({"velocity/0": np.ones(2)}, r"missing \[\], unknown \['velocity/0'\]"),
        ({"momentum/0": np.ones(3)}, r"state\['momentum/0'\] is float64 \(3,\); expected float64 \(2,\)"),
        ({"momentum/0": np.ones(2, "float32")}, "is float32"),
        ({"iterations": np.array(9), "learning_rate": np.array(-1.0)}, "learning_rate is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.set_state({**state, **change})
        assert all(np.array_equal(optimizer.get_state()[key], state[key]) for key in state)
    with pytest.raises(ValueError, match=r"missing \['momentum/0'\]"):
        optimizer.set_state({key: state[key] for key in ("iterations", "learning_rate")})


# ---------------------------------------------------------------------------------------------------------------------
def reader(library, **excluded):
    """Return the weights of a small model after two steps with weight decay, but for what is excluded."""
    library.utils.clear_session()
    model = library.Sequential(
        [library.layers.Embedding(6, 2), library.layers.LSTM(2, unit_forget_bias=False), library.layers.Dense(1)]
    )
    model.build((None, 3))
    model.set_weights([np.full(weight.shape, 0.5, "float32") for weight in model.get_weights()])
    optimizer = library.optimizers.Adam(0.01, weight_decay=5.0)
    given = {name: list(value(model)) for name, value in excluded.items()}
    optimizer.exclude_from_weight_decay(**given)
    model.compile(optimizer, "mse")
    for _ in range(2):
        model.train_on_batch(np.array([[0, 1, 2], [1, 2, 2]]), np.ones((2, 1)))
    return model


EXCLUDED = {
    "names": {"var_names": lambda model: ["bias", "embedding/"]},
    "arrays": {"var_list": lambda model: [model.layers[0].embeddings, model.layers[2].bias]},
    "both": {"var_names": lambda model: ["recurrent"], "var_list": lambda model: [model.layers[2].kernel]},
}


@pytest.mark.parametrize("kind", EXCLUDED)
def test_exclusions_from_weight_decay(kind):
    decays = {  # 0.5 shrinks by a tenth in two steps, beside what the gradients do
        name: abs(weight[-1].ravel()[-1] - 0.5) > 0.04
        for name, weight in zip(
            ("embeddings", "kernel", "recurrent_kernel", "bias", "dense kernel", "dense bias"),
            reader(rnncore, **EXCLUDED[kind]).get_weights(),
            strict=True,
        )
    }
    left = {name for name, moved in decays.items() if not moved}
    assert (
        left
        == {
            "names": {"embeddings", "bias", "dense bias"},
            "arrays": {"embeddings", "dense bias"},
            "both": {"recurrent_kernel", "dense kernel"},
        }[kind]
    )


def test_exclusions_are_said_in_time():
    optimizer = Adam(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    w = np.ones(3)
    with pytest.raises(ValueError, match="adam: var_names is 'bias', but these arrays have no names; give var_list"):
        optimizer.apply_gradients([(w, w)])
    optimizer.exclude_from_weight_decay([w])
    optimizer.apply_gradients([(np.zeros(3), w)])
    assert w.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="adam: exclude_from_weight_decay came after the first step"):
        optimizer.exclude_from_weight_decay([w])


@pytest.mark.keras
@pytest.mark.parametrize("kind", EXCLUDED)
def test_exclusions_from_weight_decay_against_keras(keras, kind):
    ours, theirs = (reader(library, **EXCLUDED[kind]).get_weights() for library in (rnncore, keras))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


# Keras


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.mark.keras
@pytest.mark.parametrize(("name", "options", "common"), AROUND, ids=AROUND_IDS)
def test_twenty_steps_against_keras(keras, name, options, common):
    ours = arrays()
    theirs = [keras.Variable(a, name=f"w{i}") for i, a in enumerate(ours)]
    mine, other = make(name, **{**options, **common}), getattr(keras.optimizers, name)(**{**options, **common})
    for step, gradients in enumerate(steps(20, ours)):
        if step == 10:
            mine.learning_rate = other.learning_rate = 0.02
        if step == 15:
            gradients[1] = np.zeros_like(gradients[1])
        mine.apply_gradients(zip(gradients, ours, strict=True))
        other.apply_gradients(zip(map(keras.ops.convert_to_tensor, gradients), theirs, strict=True))
        for array, variable in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(array, variable.numpy(), rtol=3e-6, atol=3e-6, err_msg=f"step {step}")
    state = mine.get_state()
    assert len(other.variables) == len(state)  # their iterations and learning rate, too
    for key in (key for key in state if "/" in key):
        slot, i = key.split("/")
        (variable,) = [v for v in other.variables if v.path.endswith(f"w{i}_{slot}")]
        np.testing.assert_allclose(state[key], variable.numpy(), rtol=2e-5, atol=1e-6, err_msg=key)
    assert (mine.iterations, state["iterations"]) == (int(other.iterations), 20)
    mine.finalize_variable_values(ours)
    other.finalize_variable_values(theirs)
    for array, variable in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(array, variable.numpy(), rtol=3e-6, atol=3e-6)


@pytest.mark.keras
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_float64_against_keras(keras, name, options):
    """The same arithmetic to the last digits, where numbers are such that Keras's rounding them to float32 is none."""
    options = {key: value for key, value in make(name, **options).get_config().items() if key != "name"}
    options = {key: float(np.float32(value)) if type(value) is float else value for key, value in options.items()}
    tolerance = 1e-6 if name == "Nadam" else 1e-12  # its 0.96 is not such a number, and no option
    ours = arrays("float64")
    theirs = [keras.Variable(a, dtype="float64") for a in ours]
    mine, other = make(name, **options), getattr(keras.optimizers, name)(**options)
    for gradients in steps(20, ours):
        mine.apply_gradients(zip(gradients, ours, strict=True))
        other.apply_gradients(zip(map(keras.ops.convert_to_tensor, gradients), theirs, strict=True))
    for array, variable in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(array, variable.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.keras
@pytest.mark.parametrize(("name", "options", "common"), AROUND, ids=AROUND_IDS)
def test_row_gradients_against_keras(keras, name, options, common):
    """TensorFlow's gradient of an embedding; of an id looked up twice the squares are added, not the sum's square."""
    import tensorflow as tf

    rng = np.random.default_rng(5)
    table = rng.normal(size=(20, 3)).astype("float32")
    variable = keras.Variable(table)
    mine, other = make(name, **{**options, **common}), getattr(keras.optimizers, name)(**{**options, **common})
    for _ in range(20):
        ids = rng.integers(0, 20, 9)
        rows = rng.normal(size=(len(ids), 3)).astype("float32")
        mine.apply_gradients([(SparseGradient(ids, rows, table.shape), table)])
        other.apply_gradients([(tf.IndexedSlices(tf.constant(rows), tf.constant(ids), table.shape), variable)])
    np.testing.assert_allclose(table, variable.numpy(), rtol=2e-4, atol=2e-5)


@pytest.mark.keras
def test_names_and_defaults_against_keras(keras):
    for name in optimizers._NAMES:
        theirs, ours = keras.optimizers.get(name).get_config(), get(name).get_config()
        for key in ours.keys() - {"name"}:  # theirs are numbered
            assert theirs[key] == pytest.approx(ours[key]), (name, key)


# ---------------------------------------------------------------------------------------------------------------------
# Layers that are frozen after the first step


class Switch(Callback):
    """Sets the `trainable` of a layer at the end of the first epoch."""

    def __init__(self, layer, value):
        self.layer, self.value = layer, value

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.layer.trainable = self.value


def two_layers(optimizer="adam", **options):
    config.set_seed(4)
    model = Sequential([Input((3,)), layers.Dense(2, **options), layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


FITTED = np.linspace(-1, 1, 24).reshape(8, 3), np.ones((8, 1))


@pytest.mark.parametrize("frozen", [0, 1])
def test_slots_belong_to_the_weight(frozen):
    """A layer frozen by a callback stays as it is; the other one trains on with its own slots, also in later fits."""
    model = two_layers(Adam(0.1))
    layer, other = model.layers[frozen], model.layers[1 - frozen]
    before = model.get_weights()
    model.fit(*FITTED, epochs=3, verbose=0, callbacks=[Switch(layer, False)])
    held, state = layer.get_weights(), model.optimizer.get_state()
    assert not np.array_equal(held[0], before[2 * frozen])
    # By hand: the weights and slots of the other layer alone, with the frozen one's outputs as they are.
    alone = Adam(0.1)
    alone.build(other.weights)
    numbers = [2 * (1 - frozen), 2 * (1 - frozen) + 1]
    alone.set_state(
        {"iterations": state["iterations"], "learning_rate": state["learning_rate"]}
        | {f"{slot}/{n}": state[f"{slot}/{i}"] for n, i in enumerate(numbers) for slot in ("momentum", "velocity")}
    )
    copies = [w.copy() for w in other.weights]
    _, gradient = model.loss_and_gradient(FITTED[1], model(FITTED[0], training=True))
    model.backward_from_loss(gradient)
    alone.apply_gradients(zip(model.get_gradients(), other.trainable_weights, strict=True))
    expected = other.get_weights()
    other.set_weights(copies)
    model.train_on_batch(*FITTED)
    assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), expected, strict=True))
    layer.trainable = True
    model.train_on_batch(*FITTED)
    assert not any(np.array_equal(a, b) for a, b in zip(layer.get_weights(), held, strict=True))
    assert model.optimizer.iterations == 5


@pytest.mark.keras
@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "Nadam"])
def test_freezing_is_keras_s(name):
    keras = pytest.importorskip("keras")
    ours = two_layers(make(name, learning_rate=0.05))
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    theirs.compile(getattr(keras.optimizers, name)(0.05), "mse", run_eagerly=True)  # compiled, it looks once only
    theirs.set_weights(ours.get_weights())
    for trainable in (True, False, False, True):
        for model in (ours, theirs):
            model.layers[0].trainable = trainable
            model.train_on_batch(*FITTED)
    for mine, its in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"use_ema": True, "ema_overwrite_frequency": 2}, {"weight_decay": 0.1}])
def test_a_frozen_weight_stays(options):
    model = two_layers(Adam(0.1, **options))
    model.fit(*FITTED, epochs=3, verbose=0)
    model.layers[0].trainable = False
    held = model.layers[0].get_weights()
    model.fit(*FITTED, epochs=3, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.layers[0].get_weights(), held, strict=True))


def test_what_was_never_trainable_is_refused_before_training():
    model = two_layers()
    model.layers[0].trainable = False
    model.fit(*FITTED, verbose=0)
    model.layers[0].trainable = True
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"array 0 is not one of the 2 that adam was built with; .* a new optimizer"):
        model.fit(*FITTED, verbose=0)
    assert model.optimizer.iterations == 1
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    model.compile("adam", "mse")
    model.fit(*FITTED, verbose=0)
    assert not np.array_equal(model.get_weights()[0], before[0])


def test_a_model_that_was_frozen_on_its_way_is_saved(tmp_path):
    model = two_layers(Adam(0.1))
    model.fit(*FITTED, verbose=0)
    model.layers[0].trainable = False
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    for each in (model, again):
        each.fit(*FITTED, verbose=0)
        each.layers[0].trainable = True
        each.fit(*FITTED, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


def test_a_layer_of_layers_is_frozen_as_a_whole():
    """Its cell's constraint and regularizer too, which once went on."""
    layer = layers.LSTM(2, kernel_regularizer="l2", kernel_constraint=constraints.MaxNorm(0.01))
    inner = Sequential([layers.TimeDistributed(layers.Dense(3, kernel_regularizer="l2")), layer])
    model = Sequential([Input((4, 3)), inner, layers.Dense(1)])
    model.compile("sgd", "mse")
    assert model.penalty() > 0
    inner.trainable = False
    held = inner.get_weights()
    assert model.penalty() == 0 and not layer.trainable and not layer.cell.trainable
    model.fit(np.ones((4, 4, 3)), np.ones((4, 1)), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(inner.get_weights(), held, strict=True))
    inner.trainable = True
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 4, 3)), np.ones((4, 1)), verbose=0)
    assert not any(np.array_equal(a, b) for a, b in zip(inner.get_weights()[:1], held, strict=False))
    fixed = layers.TimeDistributed(layers.Dense(3, kernel_regularizer="l2"), trainable=False)
    fixed.build((None, 4, 3))
    assert fixed.penalty() == 0 and fixed.layer.trainable
