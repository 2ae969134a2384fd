"""Deferred updates of a table's rows: after a flush the rows are what a step at a time makes of them, bit for bit."""

import numpy as np
import pytest
from cases import few_at_first
from optimizer_cases import CASES, IDS, make

from rnncore import Sequential, config
from rnncore.compiler import pool
from rnncore.kernels import updates
from rnncore.layers import LSTM, Dense, Embedding
from rnncore.models import load_model
from rnncore.optimizers import SGD, Adam, Nadam
from rnncore.optimizers.schedules import CosineDecayRestarts
from rnncore.sparse import SparseGradient

V, D = 50, 7  # rows that fill no vector register


class Table:
    """What stands for the layer that a table belongs to."""

    deferred = None


class Run:
    """A table under one optimizer: updated at once by NumPy, or compiled, with deferred updates."""

    def __init__(self, optimizer, deferred, dtype="float32", rows=V):
        self.optimizer, self.deferred = optimizer, deferred
        self.w = np.random.default_rng(2).uniform(-0.05, 0.05, (rows, D)).astype(dtype)
        self.table = Table() if deferred else None

    def step(self, ids, rows):
        config.set_backend("numba" if self.deferred else "numpy")
        self.optimizer.apply_gradients([(SparseGradient(ids, rows, self.w.shape, self.table), self.w)])

    def read(self, ids=None):
        if self.deferred and self.table.deferred:
            self.table.deferred.flush(None if ids is None else np.unique(ids))

    def arrays(self):
        """Return the optimizer's state, which flushes pending updates, and then the weights."""
        return [*self.optimizer.get_state().values(), self.w]


def same_bits(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def random_steps(count, seed=3, dtype="float32"):
    """Yield ids, some often and some seldom, some twice in a step, and the gradients of their look-ups."""
    rng = np.random.default_rng(seed)
    often = 1 / np.arange(1, V - 4) ** 1.5  # the last rows never
    for _ in range(count):
        ids = rng.choice(V - 5, rng.integers(0, 7), p=often / often.sum())
        yield ids, (rng.normal(size=(len(ids), D)) * 10 ** rng.uniform(-6, 0)).astype(dtype)


@pytest.mark.quick(6)
@pytest.mark.parametrize("dtype", few_at_first(["float32", "float64"], 1))
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_as_at_once(name, options, dtype):
    deferred, at_once = Run(make(name, **options), True, dtype), Run(make(name, **options), False, dtype)
    rng = np.random.default_rng(4)
    for n, (ids, rows) in enumerate(random_steps(300, dtype=dtype)):
        deferred.step(ids, rows)
        at_once.step(ids, rows)
        if n % 30 == 7:
            deferred.read(rng.integers(0, V, (2, 3)))
        if n % 100 == 50:
            assert same_bits(deferred.arrays(), at_once.arrays())
        if n == 120:
            for run in (deferred, at_once):
                run.optimizer.learning_rate = 0.5
    assert same_bits(deferred.arrays(), at_once.arrays())


@pytest.mark.quick(10)
@pytest.mark.parametrize("gap", [1, 2, 10, 500, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adam", {}),
        ("Adam", {"amsgrad": True}),
        ("Adam", {"beta_1": 0.9, "beta_2": 0.5}),
        ("SGD", {"momentum": 0.99, "nesterov": True}),
        ("RMSprop", {"momentum": 0.9}),
        ("Adamax", {}),
        ("Nadam", {}),
    ],
)
def test_gaps(name, options, gap):
    """A row waits while others are touched, and the learning rate rises again and again."""
    rates = CosineDecayRestarts(0.01, 37, m_mul=1.05)
    deferred, at_once = (
        Run(make(name, learning_rate=rates, **options), deferred, rows=6) for deferred in (True, False)
    )
    rng = np.random.default_rng(5)
    for n in range(gap + 2):
        ids = np.array([1, 4] if n in (0, gap) else [2])
        rows = (rng.normal(size=(len(ids), D)) * 1e-3).astype("float32")
        deferred.step(ids, rows)
        at_once.step(ids, rows)
    assert same_bits(deferred.arrays(), at_once.arrays())


def test_a_change_that_grows():
    """With a velocity that fades faster than the momentum, what is too small for a weight now is not so later."""
    deferred, at_once = (Run(Adam(1e-11, beta_2=0.5, epsilon=1e-12), deferred) for deferred in (True, False))
    for n in range(60):
        ids, rows = np.array([n and 2]), np.full((1, D), 1e-3, "float32")
        deferred.step(ids, rows)
        at_once.step(ids, rows)
    assert same_bits(deferred.arrays(), at_once.arrays())


def test_reads_change_no_bit():
    quiet, read = Run(Adam(0.1), True), Run(Adam(0.1), True)
    rng = np.random.default_rng(6)
    for ids, rows in random_steps(400):
        for run in (quiet, read):
            run.step(ids, rows)
        if rng.random() < 0.4:
            read.read(rng.integers(0, V, 3))
        if rng.random() < 0.1:
            read.read()
        if rng.random() < 0.1:
            read.optimizer.get_state()
    assert same_bits(quiet.arrays(), read.arrays())


@pytest.mark.slow
def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr(pool, "_WORTH_A_THREAD", 1)
    results = []
    for count in (1, 2, 3):
        config.set_threads(count)
        run = Run(Adam(0.1), True)
        for ids, rows in random_steps(200):
            run.step(ids, rows)
        results.append(run.arrays())
    assert same_bits(results[0], results[1]) and same_bits(results[0], results[2])


def test_rows_wait():
    run = Run(Adam(0.1), True)
    start = run.w.copy()
    run.step(np.array([3]), np.ones((1, D), "float32"))
    after = run.w.copy()
    for _ in range(4):
        run.step(np.array([5]), np.ones((1, D), "float32"))
    assert np.array_equal(run.w[3], after[3])
    run.read(np.array([2, 3]))
    assert (run.w[3] < after[3]).all()
    run.read()
    assert np.array_equal(np.flatnonzero((run.w != start).any(axis=1)), [3, 5])


@pytest.mark.parametrize(
    "change", [{"beta_1": 0.99}, {"beta_1": 0.1}, {"epsilon": 1e-3}, {"amsgrad": True}, {"weight_decay": 0.1}]
)
def test_settings_that_change(change):
    deferred, at_once = Run(Adam(0.1), True), Run(Adam(0.1), False)
    for n, (ids, rows) in enumerate(random_steps(60)):
        for run in (deferred, at_once):
            if n == 30 and "amsgrad" not in change:
                vars(run.optimizer).update(change)
            run.step(ids, rows)
    assert same_bits(deferred.arrays(), at_once.arrays())


@pytest.mark.parametrize("options", [{"use_ema": True}, {"gradient_accumulation_steps": 3}, {"global_clipnorm": 0.1}])
def test_what_goes_round_an_update(options):
    deferred, at_once = Run(Adam(0.1, **options), True), Run(Adam(0.1, **options), False)
    for ids, rows in random_steps(60):
        deferred.step(ids, rows)
        at_once.step(ids, rows)
    for mine, theirs in zip(deferred.arrays(), at_once.arrays(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)


def test_dense_gradients_in_between():
    deferred, at_once = Run(Adam(0.1), True), Run(Adam(0.1), False)
    for n, (ids, rows) in enumerate(random_steps(40)):
        deferred.step(ids, rows)
        at_once.step(ids, rows)
        if n % 10 == 5:
            for run in (deferred, at_once):
                run.optimizer.apply_gradients([(np.full_like(run.w, 0.1), run.w)])
        if n % 10 == 7:
            for run in (deferred, at_once):
                run.optimizer.apply_gradients([(None, run.w)])
    assert same_bits(deferred.arrays(), at_once.arrays())


def test_an_update_of_your_own_is_run_by_numpy():
    class Signs(SGD):
        ignores_zeros = False
        update = staticmethod(lambda w, g, momentum, lr: (w - lr * np.sign(momentum + g), momentum + g))

        def slots(self):
            return {"momentum": 0.0}

    deferred, at_once = Run(Signs(0.1), True), Run(Signs(0.1), False)
    for ids, rows in random_steps(20):
        deferred.step(ids, rows)
        at_once.step(ids, rows)
    assert deferred.table.deferred is None
    assert same_bits(deferred.arrays(), at_once.arrays())


def test_a_long_history_is_cut(monkeypatch):
    monkeypatch.setattr(updates, "LONGEST", 16)
    deferred, at_once = Run(Nadam(0.1), True), Run(Nadam(0.1), False)
    for ids, rows in random_steps(100):
        deferred.step(ids, rows)
        at_once.step(ids, rows)
    assert deferred.table.deferred.steps < 16
    assert same_bits(deferred.arrays(), at_once.arrays())


# ---------------------------------------------------------------------------------------------------------------------
# In a model

X = np.random.default_rng(7).integers(0, V, (64, 5))
Y = (X[:, :1] > V // 2).astype("float32")


def new_model(optimizer="adam", **options):
    config.set_seed(8)
    model = Sequential([Embedding(V, 4, **options), LSTM(3), Dense(1, "sigmoid")])
    model.compile(optimizer, "binary_crossentropy")
    return model


def train(model, first, last, read=lambda model: None):
    for n in range(first, last):
        model.train_on_batch(X[n % 64 : n % 64 + 2], Y[n % 64 : n % 64 + 2])
        read(model)


def reads():
    """Return ways to look at a model, each of which brings rows up to date."""
    return [
        lambda model: model.get_weights(),
        lambda model: model.layers[0].embeddings[3],
        lambda model: model.predict(X[:5]),
        lambda model: model.evaluate(X, Y, verbose=0),
        lambda model: model.optimizer.get_state(),
        lambda model: model.set_weights(model.get_weights()),
    ]


@pytest.mark.parametrize("read", range(len(reads())))
def test_looking_at_a_model_changes_no_bit(read):
    model, looked_at = new_model(), new_model()
    train(model, 0, 40)
    train(looked_at, 0, 40, reads()[read])
    assert same_bits(model.get_weights(), looked_at.get_weights())
    assert same_bits(model.optimizer.get_state().values(), looked_at.optimizer.get_state().values())


def test_rows_of_a_model_wait_and_come():
    """Also against a custom training loop, which has every row up to date at all times."""
    model, custom = new_model(), new_model()
    train(model, 0, 30)
    layer = model.layers[0]
    stored = layer.stored("embeddings").copy()
    assert layer.deferred.steps == 30 and not np.array_equal(stored, layer.embeddings)
    held = None
    for n in range(30):
        _, gradient = custom.loss_and_gradient(Y[n : n + 2], custom(X[n : n + 2], training=True))
        custom.backward_from_loss(gradient)
        held = held or custom.trainable_weights
        custom.optimizer.apply_gradients(zip(custom.get_gradients(), held, strict=True))
    assert custom.layers[0].deferred is None
    assert same_bits(model.get_weights(), held)


def test_arrays_that_were_held_are_right_after_fit():
    model = new_model()
    model.build((None, 5))
    held = model.weights
    model.fit(X, Y, 4, epochs=2, verbose=0)
    assert same_bits(held, model.get_weights()) and model.layers[0].deferred is not None
    assert same_bits(held[:1], [model.layers[0].stored("embeddings")])


def test_saved_in_the_middle(tmp_path):
    model = new_model()
    train(model, 0, 25)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    for each in (model, again):
        train(each, 25, 60)
    assert same_bits(model.get_weights(), again.get_weights())


def test_weights_that_are_set():
    deferred, at_once = new_model(), new_model()
    for model, backend in ((deferred, "numba"), (at_once, "numpy")):
        config.set_backend(backend)
        train(model, 0, 20)
        weights = [1.5 * weight for weight in model.get_weights()]
        model.set_weights(weights)
        assert same_bits(model.get_weights(), [weight.astype("float32") for weight in weights])
        train(model, 20, 25)
    np.testing.assert_allclose(deferred.get_weights()[0], at_once.get_weights()[0], rtol=1e-5, atol=1e-6)
    table = np.zeros((V, 4), "float32")
    deferred.layers[0].embeddings = table
    assert deferred.layers[0].embeddings is table and deferred.layers[0].deferred is None


@pytest.mark.parametrize("second", ["adam", "rmsprop", "adadelta"])
def test_another_optimizer(second):
    """Pending updates of the first are taken before the second steps, also where the layer was frozen for a while."""
    deferred, at_once = new_model(), new_model()
    for model, backend in ((deferred, "numba"), (at_once, "numpy")):
        config.set_backend(backend)
        train(model, 0, 20)
        model.layers[0].trainable = False
        model.compile(Adam(0.01), "binary_crossentropy")
        frozen = model.get_weights()[0]
        train(model, 20, 30)
        assert np.array_equal(model.get_weights()[0], frozen)
        model.layers[0].trainable = True
        model.compile(second, "binary_crossentropy")
        train(model, 30, 50)
    np.testing.assert_allclose(deferred.get_weights()[0], at_once.get_weights()[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", [Adam(0.01), SGD(0.1, momentum=0.9, weight_decay=0.1)])
def test_frozen_for_a_while(optimizer):
    """Pending updates of the steps before are taken, and none of those between."""
    deferred, at_once = new_model(), new_model()
    for model, backend in ((deferred, "numba"), (at_once, "numpy")):
        config.set_backend(backend)
        model.compile(type(optimizer).from_config(optimizer.get_config()), "binary_crossentropy")
        for first, trainable in ((0, True), (20, False), (30, True)):
            model.layers[0].trainable = trainable
            train(model, first, first + 10)
    np.testing.assert_allclose(deferred.get_weights()[0], at_once.get_weights()[0], rtol=1e-4, atol=1e-5)


def test_two_optimizers_in_turn():
    deferred, at_once = new_model(), new_model()
    for model, backend in ((deferred, "numba"), (at_once, "numpy")):
        config.set_backend(backend)
        both = [Adam(0.01), SGD(0.1, momentum=0.9)]
        for n in range(30):
            model.optimizer = both[n % 2]
            train(model, n, n + 1)
    np.testing.assert_allclose(deferred.get_weights()[0], at_once.get_weights()[0], rtol=1e-4, atol=1e-5)


def test_two_models_share_nothing():
    first, second, alone = new_model(), new_model(), new_model()
    train(alone, 0, 20)
    for n in range(20):
        train(first, n, n + 1)
        train(second, 40 - n, 41 - n)
    assert same_bits(first.get_weights(), alone.get_weights())


@pytest.mark.parametrize("options", [{"embeddings_regularizer": "l2"}, {"embeddings_constraint": "max_norm"}])
def test_what_reads_the_whole_table_at_each_step(options):
    deferred, at_once = new_model(**options), new_model(**options)
    train(deferred, 0, 20)
    config.set_backend("numpy")
    train(at_once, 0, 20)
    np.testing.assert_allclose(deferred.get_weights()[0], at_once.get_weights()[0], rtol=1e-5, atol=1e-6)
