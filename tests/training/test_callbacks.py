"""Callbacks: what they do to training, and that they do as Keras's."""

import copy
import warnings
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

import rnncore
from rnncore import losses, metrics
from rnncore.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from rnncore.layers import Dense, Input
from rnncore.models import Sequential


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    rnncore.set_backend("numpy")


def fit(callbacks, epochs=4, x=None, **options):
    rnncore.config.set_seed(3)
    model = Sequential([Input((3,)), Dense(2, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    x = np.linspace(-1, 1, 24).reshape(8, 3) if x is None else x
    options = {"batch_size": 4, "verbose": 0} | options
    return model, model.fit(x, np.ones((8, 2)), epochs=epochs, callbacks=callbacks, **options)


class Values(Callback):
    """Puts values into the logs, an epoch each."""

    def __init__(self, values, name="value"):
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


PLATEAUS = [
    ({"patience": 1}, [3, 3, 3, 3, 2, 2], [0.1, 0.1, 0.01, 0.001, 1e-4, 1e-4]),
    ({"patience": 2, "factor": 0.5}, [3, 3, 3, 3, 3, 3], [0.1, 0.1, 0.1, 0.05, 0.05, 0.025]),
    ({"patience": 1, "cooldown": 2, "min_lr": 0.004}, [3] * 6, [0.1, 0.1, 0.01, 0.01, 0.004, 0.004]),
    ({"patience": 1, "mode": "max", "min_delta": 0.5}, [3, 4, 4.4, 5, 6, 7], [0.1, 0.1, 0.1, 0.01, 0.01, 0.01]),
]


@pytest.mark.parametrize(("options", "values", "rates"), PLATEAUS)
def test_the_learning_rate_falls_on_a_plateau(options, values, rates, capsys):
    callback = ReduceLROnPlateau("value", verbose=1, **({"mode": "min"} | options))
    setting = LambdaCallback(on_train_begin=lambda logs=None: setattr(callback.model.optimizer, "learning_rate", 0.1))
    _, history = fit([setting, Values(values), callback], epochs=6)
    assert history.history["learning_rate"] == pytest.approx(rates)
    lines = [
        f"Epoch {n + 1}: the learning rate falls to {after:g}"
        for n, (before, after) in enumerate(pairwise(rates))
        if after < before
    ]
    assert capsys.readouterr().out.splitlines()[: len(lines)] == lines


@pytest.mark.keras
def test_the_plateau_is_keras_s():
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(5)
    for n in range(60):
        options = {
            "patience": int(rng.integers(0, 4)),
            "cooldown": int(rng.integers(0, 4)),
            "factor": float(rng.choice([0.1, 0.5])),
            "min_lr": float(rng.choice([0.0, 1e-3])),
            "mode": ("min", "max")[n % 2],
            "min_delta": 0.25,  # between the values: Keras compares in float32
        }
        values = rng.integers(0, 30, 20) / 10
        rates = []
        for module in (rnncore, keras):
            callback = module.callbacks.ReduceLROnPlateau("value", **options)
            model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.1), metrics=[])
            callback.set_model(model) if module is keras else setattr(callback, "model", model)
            callback.on_train_begin()
            seen = []
            for epoch, value in enumerate(values):
                callback.on_epoch_end(epoch, {"value": float(value)})
                seen.append(model.optimizer.learning_rate)
            rates.append(seen)
        assert rates[0] == pytest.approx(rates[1], rel=1e-6), options


# --- which values are better ------------------------------------------------------------------------------------------


def own(y_true, y_pred):
    return np.abs(y_true - y_pred)[..., 0]


def told(y_true, y_pred):
    return own(y_true, y_pred)


told.direction = "min"


class Own(metrics.Mean):
    """A metric of a user's, which does not say which values are better."""

    def update_state(self, y_true, y_pred, sample_weight=None, mask=None):
        self.add(1.0, 1.0)


def monitored(asked, monitor, make=EarlyStopping, others=(), epochs=1, **more):
    """Fit with a callback that looks at a metric; return the callback."""
    model = Sequential([Input((3,)), Dense(1, "sigmoid")])
    model.compile("sgd", "mse", metrics=asked, **more)
    callback = make(monitor=monitor)
    x = np.linspace(-1, 1, 24).reshape(8, 3)
    model.fit(x, (x[:, :1] > 0) * 1.0, epochs=epochs, validation_split=0.25, verbose=0, callbacks=[*others, callback])
    return callback


@pytest.mark.parametrize(
    ("asked", "monitor", "sign"),
    [
        (metrics.AUC(), "val_auc", 1),
        (metrics.Precision(name="error"), "val_error", 1),
        (metrics.F1Score(threshold=0.5), "f1_score", 1),
        (metrics.CosineSimilarity(), "val_cosine_similarity", 1),
        (losses.cosine_similarity, "val_cosine_similarity", 1),  # stands for the metric, which is positive
        (metrics.MeanMetricWrapper(losses.cosine_similarity, "c"), "c", -1),
        (metrics.BinaryAccuracy(name="val_loss_like"), "val_val_loss_like", 1),
        (metrics.MeanSquaredError(name="accuracy"), "val_accuracy", -1),
        (metrics.FalseNegatives(), "val_false_negatives", -1),
        ("acc", "acc", 1),
        ("mae", "val_mae", -1),
        (losses.huber, "huber", -1),
        (metrics.binary_accuracy, "binary_accuracy", 1),
        (told, "val_told", -1),
        ("acc", "val_loss", -1),
    ],
)
def test_the_metric_says_which_values_are_better(asked, monitor, sign):
    assert monitored([asked], monitor).sign == sign


def test_names_that_compile_makes():
    asked = {"weighted_metrics": [metrics.AUC(name="q"), metrics.MeanAbsoluteError(name="q")]}
    assert [monitored(["mse"], name, **asked).sign for name in ("val_q", "weighted_q")] == [1, -1]
    twice = {"weighted_metrics": ["mse", metrics.Recall(name="mse")]}
    assert [monitored(["mse"], name, **twice).sign for name in ("val_weighted_mse", "weighted_mse_1")] == [-1, 1]


@pytest.mark.keras
def test_directions_are_keras_s():
    """The four counts have one here; Keras asks for a mode."""
    keras = pytest.importorskip("keras")
    signs = {"up": "max", "down": "min", None: None}
    both = [name for name in dir(metrics) if isinstance(getattr(keras.metrics, name, None), type)]
    assert len(both) > 30
    for name in both:
        if name not in ("Metric", "MeanMetricWrapper") and not name.startswith(("True", "False")):
            theirs = signs[getattr(getattr(keras.metrics, name)(), "_direction", None)]
            assert getattr(metrics, name).direction == theirs, name


@pytest.mark.parametrize("asked", [own, Own(name="own")])
@pytest.mark.parametrize("make", [EarlyStopping, ReduceLROnPlateau])
def test_what_says_nothing_is_refused_before_training(asked, make):
    begun = []
    noting = LambdaCallback(on_train_begin=lambda logs=None: begun.append(1))
    with pytest.raises(
        ValueError, match=r"'val_own', and the metric's direction is None; say mode='min' or mode='max'"
    ):
        monitored([asked], "val_own", make, [noting])
    assert begun == [] and monitored([asked], "val_own", lambda monitor: make(monitor, mode="max")).sign == 1


def test_a_checkpoint_asks_only_where_it_compares(tmp_path):
    monitored([own], "own", lambda monitor: ModelCheckpoint(tmp_path / "a", monitor, save_weights_only=True))
    with pytest.raises(ValueError, match="the metric's direction is None"):
        monitored([own], "own", lambda monitor: ModelCheckpoint(tmp_path / "b", monitor, save_best_only=True))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_another_callback_puts_into_the_logs_needs_a_mode():
    with pytest.raises(ValueError, match=r"'value', and no metric of the model has that name; say mode='min' or"):
        fit([Values([3, 2]), EarlyStopping("value")], epochs=2)
    with pytest.raises(ValueError, match="monitor is 'val_los'; the logs have loss"):
        fit([EarlyStopping("val_los")])


def seldom_validated(library, path):
    """Return the history, and what three callbacks ended with, of a training with a validation every other epoch."""
    callbacks = [
        library.callbacks.EarlyStopping("val_loss", patience=2, mode="max"),
        library.callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5, mode="max"),
        library.callbacks.ModelCheckpoint(path, "val_loss", mode="max", save_best_only=True, save_weights_only=True),
    ]
    model = library.Sequential([library.layers.Input((3,)), library.layers.Dense(2, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    x, y = np.linspace(-1, 1, 24).reshape(8, 3), np.ones((8, 2))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        history = model.fit(x, y, 4, 9, 0, callbacks, validation_data=(x, y), shuffle=False, validation_freq=2)
    assert sum("val_loss" in str(warning.message) for warning in told) == 3 * len(history.epoch) // 2
    return history.history, callbacks[0].stopped_epoch, callbacks[2].best, model.get_weights()


def test_an_epoch_without_the_monitored_value_goes_by(tmp_path):
    history, stopped, best, _ = seldom_validated(rnncore, tmp_path / "a.weights.h5")
    assert (stopped, len(history["loss"]), best) == (5, 6, history["val_loss"][0])
    assert history["learning_rate"] == [0.01, 0.01, 0.01, 0.01, 0.005, 0.005]
    model = Sequential([Input((3,)), Dense(2)])
    model.load_weights(tmp_path / "a.weights.h5")  # of the best epoch, although others came without a value
    x = np.linspace(-1, 1, 24).reshape(8, 3)
    assert np.mean((model.predict(x) - 1) ** 2) == pytest.approx(best)


@pytest.mark.keras
def test_an_epoch_without_the_monitored_value_goes_by_as_in_keras(tmp_path):
    both = [seldom_validated(library, tmp_path / "a.weights.h5") for library in (rnncore, pytest.importorskip("keras"))]
    (ours, *mine), (theirs, *others) = both
    assert list(ours) == list(theirs)
    for name, values in ours.items():
        assert values == pytest.approx(theirs[name], rel=1e-6)
    assert mine[0] == others[0]
    assert mine[1] == pytest.approx(others[1])


SCHEDULES = {
    "epoch": lambda epoch: 0.1 / (1 + epoch),
    "epoch and rate": lambda epoch, rate: rate * 0.5,
    "rate as an option": lambda epoch, rate=1.0: rate * 0.25,
    "any": lambda *given: 0.01 * len(given),
}


def scheduled(library, schedule):
    model = library.Sequential([library.layers.Input((3,)), library.layers.Dense(2, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    setting = library.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs=None: epoch == 1 and model.optimizer.learning_rate.assign(0.25)
    )
    callbacks = [setting, library.callbacks.LearningRateScheduler(schedule)]
    x = np.linspace(-1, 1, 24).reshape(8, 3)
    return model.fit(x, np.ones((8, 2)), 4, 3, 0, callbacks, shuffle=False).history


def test_schedules_of_both_signatures():
    rates = {name: scheduled(rnncore, schedule)["learning_rate"] for name, schedule in SCHEDULES.items()}
    assert rates["epoch"] == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert rates["epoch and rate"] == pytest.approx([0.005, 0.125, 0.0625])
    assert rates["rate as an option"] == pytest.approx([0.0025, 0.0625, 0.015625])
    assert rates["any"] == pytest.approx([0.02, 0.02, 0.02])


@pytest.mark.keras
def test_schedules_of_both_signatures_as_keras():
    keras = pytest.importorskip("keras")
    for schedule in SCHEDULES.values():
        ours, theirs = (scheduled(library, schedule) for library in (rnncore, keras))
        for name, values in ours.items():
            assert values == pytest.approx(theirs[name], rel=1e-6), name


def test_a_learning_rate_is_assigned():
    optimizer = rnncore.optimizers.SGD(0.5)
    optimizer.learning_rate.assign(0.25)
    assert (optimizer.learning_rate, optimizer.learning_rate.numpy()) == (0.25, 0.25)
    assert type(copy.deepcopy(optimizer.learning_rate)) is float
    with pytest.raises(ValueError, match="learning_rate is -1"):
        optimizer.learning_rate.assign(-1)


def test_several_values_cannot_be_compared():
    with pytest.raises(ValueError, match=r"monitor is 'auc', which has 2 values in an array; expected one number"):
        monitored([metrics.Precision([0.3, 0.6], name="auc")], "auc")


def test_a_rising_value_goes_on():
    """As the issue has it: this ended training, with the weights of the first epoch."""
    rising = Values([0.903, 0.954, 0.988, 1.0], "val_auc")
    stopping = EarlyStopping("val_auc", patience=1, restore_best_weights=True)
    model = monitored([metrics.AUC()], "val_auc", lambda monitor: stopping, [rising], epochs=4).model
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (1.0, 3, 0)
    assert len(model.history.epoch) == 4


def test_a_schedule(capsys):
    _, history = fit([LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else 1.0, verbose=1)])
    assert history.history["learning_rate"] == [1, 0.5, 0.25, 0.125]
    assert capsys.readouterr().out.splitlines()[1] == "Epoch 2: the learning rate is 0.5"
    with pytest.raises(ValueError, match="what schedule returned is None; expected a finite number"):
        fit([LearningRateScheduler(lambda epoch, rate: None)])


@pytest.mark.parametrize("validation", [False, True])
def test_a_table_of_the_logs(validation, tmp_path):
    path = tmp_path / "log.csv"
    _, history = fit([CSVLogger(path, ";")], epochs=2, validation_split=0.5 * validation)
    columns = sorted(history.history) + ([] if validation else ["val_loss"])
    rows = [[str(history.history[name][n]) if name in history.history else "NA" for name in columns] for n in (0, 1)]
    lines = [["epoch", *columns], ["0", *rows[0]], ["1", *rows[1]]]
    assert path.read_bytes().decode() == "".join(";".join(line) + "\r\n" for line in lines)
    once = path.read_bytes()
    fit([CSVLogger(path, ";")], epochs=2, validation_split=0.5 * validation)
    assert path.read_bytes() == once
    fit([CSVLogger(path, ";", append=True)], epochs=2, validation_split=0.5 * validation)
    assert path.read_bytes() == once + once.split(b"\r\n", 1)[1]


@pytest.mark.keras
@pytest.mark.parametrize("names", [["loss", "accuracy"], ["loss", "val_loss"]])
def test_the_table_is_keras_s(names, tmp_path):
    keras = pytest.importorskip("keras")
    for module in (rnncore, keras):
        callback = module.callbacks.CSVLogger(str(tmp_path / module.__name__))
        callback.on_train_begin()
        for epoch in range(3):
            callback.on_epoch_end(epoch, {name: epoch + 0.1 * n for n, name in enumerate(names)})
        callback.on_train_end()
    assert (tmp_path / "rnncore").read_bytes() == (tmp_path / "keras").read_bytes()


class Cut(Exception):
    """What stands for the end of the process."""


def cut_at(epoch):
    def on_epoch_end(n, logs=None):
        if n == epoch:
            raise Cut

    return LambdaCallback(on_epoch_end=on_epoch_end)


def test_callbacks_remember(tmp_path):
    """A run that was cut after the table had its line, and before the backup, has that line once."""

    def callbacks(folder):
        first = [Values([5, 5, 4, 4, 4, 4, 4, 4]), CSVLogger(folder / "log.csv")]
        return [*first, ReduceLROnPlateau("value", patience=2, mode="min"), BackupAndRestore(folder / "backup")]

    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    model, history = fit(callbacks(tmp_path / "whole"), epochs=8)
    for epoch in (1, 3, 4):
        *others, backup = callbacks(tmp_path / "cut")
        with pytest.raises(Cut):
            fit([*others, cut_at(epoch), backup], epochs=8)
    again, resumed = fit(callbacks(tmp_path / "cut"), epochs=8)
    assert resumed.history == history.history
    assert len(set(history.history["learning_rate"])) > 1
    assert np.array_equal(again.layers[0].kernel, model.layers[0].kernel)
    assert (tmp_path / "cut" / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()


def test_numbers_that_are_not_finite_end_training(capsys):
    huge = np.full((8, 3), 1e30)  # its square is infinite in float32
    with pytest.raises(FloatingPointError):
        fit([], x=huge)
    begun = []
    model, history = fit([TerminateOnNaN(), LambdaCallback(on_epoch_begin=lambda *a: begun.append(a))], x=huge)
    assert np.isnan(history.history["loss"]).all() and history.epoch == [0]
    assert len(begun) == 1
    assert np.array_equal(model.layers[0].kernel, np.ones((3, 2)))
    assert capsys.readouterr().out == "Batch 0: Invalid loss, terminating training\n"
    with pytest.raises(RuntimeError, match="Batch 0: the loss became inf"):
        fit([TerminateOnNaN(raise_error=True)], x=huge)


def test_functions_as_a_callback():
    seen = []
    names = ("on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end")
    hooks = {name: lambda *arguments, name=name: seen.append(name) for name in (*names, "on_train_end")}
    fit([LambdaCallback(**hooks)], epochs=1)
    begin, epoch, first, last, end = names
    assert seen == [begin, epoch, first, last, first, last, end, "on_train_end"]
    seen.clear()
    fit([LambdaCallback(on_epoch_end=None)])
    with pytest.raises(ValueError, match=r"unknown hook 'on_epoch_ends' .did you mean 'on_epoch_end'"):
        LambdaCallback(on_epoch_ends=print)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ReduceLROnPlateau(factor=1.0), ValueError, "ReduceLROnPlateau: factor is 1.0"),
        (lambda: ReduceLROnPlateau(patience=-1), ValueError, "ReduceLROnPlateau: patience is -1"),
        (lambda: ReduceLROnPlateau(3), TypeError, "ReduceLROnPlateau: monitor is 3"),
        (lambda: LearningRateScheduler(0.1), TypeError, "schedule is 0.1; expected a function"),
        (lambda: CSVLogger("a", append="yes"), TypeError, "CSVLogger: append is 'yes'"),
        (lambda: EarlyStopping(min_delta=float("nan")), ValueError, "EarlyStopping: min_delta is nan"),
    ],
)
def test_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_state_of_another_callback_is_refused():
    with pytest.raises(ValueError, match=r"EarlyStopping remembers best, .*; got best"):
        EarlyStopping().set_state({"best": 1.0})
