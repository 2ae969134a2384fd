"""A run that was cut and started again ends where one in one piece does, bit for bit."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cases import RUN_SEED, few_at_first

import rnncore
from rnncore import config, saving
from rnncore.callbacks import (
    BackupAndRestore,
    Callback,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from rnncore.layers import GRU, LSTM, Dense, Dropout, Embedding, GaussianNoise, Input
from rnncore.layers.scopes import reset_names
from rnncore.models import Sequential, load_model
from rnncore.optimizers import SGD
from rnncore.optimizers.schedules import ExponentialDecay
from rnncore.training.description import plain
from rnncore.utils import PyDataset

COUNT, SIZE = 22, 4
STEPS = 5  # an epoch, a fifth of the samples kept for validation; the last batch has one


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    rnncore.set_backend("numpy")  # nothing here is about the loop


def data(count=COUNT):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 9, (count, 5))
    return x, (x[:, :1] > 4).astype(float)


def new_model(optimizer="adam"):
    """Return the model as a new process would make it."""
    reset_names()
    config.set_seed(7)
    layers = [Embedding(9, 4, mask_zero=True), LSTM(3, dropout=0.2, recurrent_dropout=0.3, return_sequences=True)]
    model = Sequential([*layers, GaussianNoise(0.1), GRU(2), Dropout(0.2), Dense(1, "sigmoid")])
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


class Cut(Exception):
    """What stands for the end of the process."""


class CutAt(Callback):
    """Raise at a batch, counted through all epochs, or at the end of an epoch."""

    def __init__(self, hook, number):
        setattr(self, hook, self._count)
        self.left = number

    def _count(self, *arguments):
        self.left -= 1
        if not self.left:
            raise Cut


def stopping():
    return EarlyStopping("loss", patience=9)


def fit(model, folder=None, save_freq="epoch", cut=None, **options):
    callbacks = [stopping()]
    if folder is not None:
        callbacks.append(BackupAndRestore(folder, save_freq=save_freq, delete_checkpoint=False))
    if cut is not None:
        callbacks.insert(0, CutAt(*cut))
    options = {"epochs": 3, "validation_split": 0.2, "batch_size": SIZE, "verbose": 0, "callbacks": callbacks} | options
    return model.fit(*data(), **options)


def same_bits(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.quick(4)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("save_freq", ["epoch", 1, 4])
@pytest.mark.parametrize(
    ("event", "number"),
    few_at_first(
        [
            ("on_train_batch_end", 5),
            ("on_train_batch_begin", 5),
            ("on_epoch_begin", 2),
            ("on_epoch_end", 1),
            ("on_epoch_end", 3),
            *(("on_train_batch_end", n) for n in (1, 2, 6, 13)),
        ],
        4,
    ),
)
def test_a_cut_run_ends_as_a_whole_one(optimizer, save_freq, event, number, tmp_path):
    whole, model = new_model(optimizer), new_model(optimizer)
    history = fit(whole)
    with pytest.raises(Cut):
        fit(model, tmp_path, save_freq, (event, number))
    again = new_model(optimizer)
    resumed = fit(again, tmp_path, save_freq)
    assert same_bits(again.get_weights(), whole.get_weights())
    assert same_bits(again.optimizer.get_state().values(), whole.optimizer.get_state().values())
    assert (resumed.history, resumed.epoch) == (history.history, history.epoch)
    assert again.generator.bit_generator.state == whole.generator.bit_generator.state
    assert whole.optimizer.iterations == 3 * STEPS


def test_the_best_weights_come_back_too(tmp_path):
    best = [EarlyStopping("accuracy", restore_best_weights=True, patience=9) for _ in range(3)]
    whole, again = new_model(), new_model()
    fit(whole, epochs=6, callbacks=[best[0]])
    with pytest.raises(Cut):
        fit(new_model(), epochs=6, callbacks=[best[1], CutAt("on_epoch_end", 6), BackupAndRestore(tmp_path)])
    fit(again, epochs=6, callbacks=[best[2], BackupAndRestore(tmp_path)])
    assert best[0].best_epoch == best[2].best_epoch < 5  # before the cut
    assert same_bits(again.get_weights(), whole.get_weights())


class Hooks(Callback):
    """Notes down what was called."""

    def __init__(self):
        self.called = []

    def on_epoch_begin(self, epoch, logs=None):
        self.called.append(f"begin {epoch}")

    def on_train_batch_end(self, batch, logs=None):
        self.called.append(f"batch {batch}")

    def on_epoch_end(self, epoch, logs=None):
        self.called.append(f"end {epoch}")


def test_no_hook_is_called_twice(tmp_path):
    whole, first, second = Hooks(), Hooks(), Hooks()
    fit(new_model(), callbacks=[whole])
    backup = BackupAndRestore(tmp_path, save_freq=1)
    with pytest.raises(Cut):
        fit(new_model(), callbacks=[first, CutAt("on_train_batch_begin", 8), backup])
    fit(new_model(), callbacks=[second, BackupAndRestore(tmp_path, save_freq=1)])
    assert first.called + second.called == whole.called
    assert len(second.called) < len(whole.called)


def test_the_backup_goes_when_training_has_ended(tmp_path):
    for delete in (True, False):
        fit(new_model(), callbacks=[BackupAndRestore(tmp_path / "in" / "here", 2, delete_checkpoint=delete)])
        left = [path.name for path in (tmp_path / "in" / "here").iterdir()]
        assert left == ([] if delete else ["training.npz"])


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    done = new_model()
    history = fit(done, tmp_path)
    again = new_model()
    assert fit(again, tmp_path).history == history.history
    assert same_bits(again.get_weights(), done.get_weights())
    more = new_model()
    assert fit(more, tmp_path, epochs=4).epoch == [0, 1, 2, 3]
    whole = new_model()
    fit(whole, epochs=4)
    assert same_bits(more.get_weights(), whole.get_weights())


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end"])
def test_a_run_that_was_stopped_stays_stopped(hook, tmp_path):
    class Stop(Callback):
        def __init__(self):
            setattr(self, hook, self.stop)

        def stop(self, number, logs=None):
            self.model.stop_training = self.model.stop_training or self.model.optimizer.iterations >= 7

    whole, model, again = new_model(), new_model(), new_model()
    history = fit(whole, callbacks=[Stop()])
    freq = "epoch" if hook == "on_epoch_end" else 1
    last = [CutAt("on_train_end", 1), BackupAndRestore(tmp_path, freq)]
    if hook == "on_train_batch_end":
        last[0].comes_last = True  # in the validation: after the backup of the batch that stopped training
    with pytest.raises(Cut):
        fit(model, callbacks=[Stop(), *last])
    assert fit(again, callbacks=[Stop(), BackupAndRestore(tmp_path, freq)]).history == history.history
    assert len(history.epoch) == 2
    assert same_bits(again.get_weights(), whole.get_weights())


def test_an_interrupted_run_keeps_its_backup(tmp_path):
    class Interrupt(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 8:
                signal.raise_signal(signal.SIGINT)

    whole, again = new_model(), new_model()
    with pytest.raises(KeyboardInterrupt):
        fit(new_model(), callbacks=[Interrupt(), BackupAndRestore(tmp_path, 1)])
    fit(again, callbacks=[BackupAndRestore(tmp_path, 1)])
    fit(whole, callbacks=[])
    assert same_bits(again.get_weights(), whole.get_weights())
    assert list(tmp_path.iterdir()) == []


def stateful_model():
    reset_names()
    config.set_seed(7)
    model = Sequential([Input((4, 3), batch_size=SIZE), LSTM(2, stateful=True, dropout=0.1), Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_states_go_on_too(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4, 3)), rng.standard_normal((20, 1))
    options = {"batch_size": SIZE, "epochs": 2, "shuffle": False, "verbose": 0}
    whole, again = stateful_model(), stateful_model()
    whole.fit(x, y, **options)
    with pytest.raises(Cut):
        stateful_model().fit(
            x, y, callbacks=[CutAt("on_train_batch_begin", 8), BackupAndRestore(tmp_path, 3)], **options
        )
    again.fit(x, y, callbacks=[BackupAndRestore(tmp_path, 3)], **options)
    assert same_bits(again.get_weights(), whole.get_weights())
    assert same_bits(again.layers[0].states, whole.layers[0].states)
    again.layers[0].reset_state()
    again.fit(x, y, **options)  # what is checked before training leaves no states of one row
    assert [state.shape for state in again.layers[0].states] == [(SIZE, 2)] * 2


@pytest.mark.quick(6)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: fit_other(count=21), r"x\.shape \(22, 5\), now \(21, 5\); other values of x; y.shape .*; and more$"),
        (lambda: fit_other(batch_size=5), "batch_size 4, now 5$"),
        (lambda: fit_other(units=3), r"layers\[1\]\.units 2, now 3$"),
        (lambda: fit_other(cell=GRU), r"layers\[1\] LSTM, now GRU$"),
        (lambda: fit_other(recurrent_dropout=0.5), r"layers\[1\]\.recurrent_dropout 0.0, now 0.5$"),
        (lambda: fit_other(trainable=False), r"layers\[1\]\.trainable True, now False$"),
        (lambda: fit_other(optimizer=SGD(0.1)), r"optimizer\.learning_rate 0.01, now 0.1$"),
        (lambda: fit_other(optimizer=SGD(ExponentialDecay(0.01, 9, 0.5))), "learning_rate 0.01, now ExponentialDecay$"),
        (lambda: fit_other(optimizer="adam"), "optimizer SGD, now Adam$"),
        (lambda: fit_other(loss="mse"), "loss BinaryCrossentropy, now MeanSquaredError$"),
        (lambda: fit_other(metrics=["mse"]), "metrics 0 entries, now 1 entries$"),
        (lambda: fit_other(shuffle=False), "shuffle True, now False$"),
        (lambda: fit_other(class_weight={1: 2.0}), "class_weight None, now"),
        (lambda: fit_other(sample_weight=np.ones(COUNT)), r"sample_weight None, now an array of shape \(22,\)$"),
        (lambda: fit_other(validation_data=data()), "validation None, now"),
        (lambda: fit_other(change=lambda x, y: (np.where(x == 8, 7, x), y)), "other values of x$"),
        (lambda: fit_other(change=lambda x, y: (x, 1 - y)), "other values of y$"),
        (lambda: fit_other(change=lambda x, y: (x.astype("int32"), y)), "x.dtype <i8, now <i4; other values of x$"),
    ],
)
def test_another_run_is_refused(change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Cut):
        fit_other(cut=True)
    kept = Path("backup/training.npz").read_bytes()
    with pytest.raises(ValueError, match=rf"^backup/training.npz: training was cut with .*{message}"):
        change()
    assert Path("backup/training.npz").read_bytes() == kept
    fit_other()  # the same, whatever its layers are called: it goes on


def test_other_validation_data_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = data(6)
    with pytest.raises(Cut):
        fit_other(cut=True, validation_data=(x, y))
    with pytest.raises(ValueError, match=r"training was cut with other values of validation\.y$"):
        fit_other(validation_data=(x, 1 - y))
    with pytest.raises(ValueError, match=r"training was cut with validation_freq 1, now 2 entries$"):
        fit_other(validation_data=(x, y), validation_freq=iter([1, 2]))
    fit_other(validation_data=(x, y), epochs=3, initial_epoch=1)  # where it ends and would have begun is free


def fit_other(
    count=COUNT, units=2, cut=False, cell=LSTM, optimizer="sgd", loss="bce", metrics=(), change=None, **options
):
    of_layer = {name: options.pop(name) for name in ("recurrent_dropout", "trainable") if name in options}
    model = Sequential([Embedding(9, 2), cell(units, **of_layer), Dense(1, "sigmoid")])
    model.compile(optimizer, loss, metrics=metrics)
    callbacks = [BackupAndRestore("backup", 2), *([CutAt("on_epoch_end", 1)] if cut else [])]
    options = {"epochs": 2, "batch_size": SIZE, "verbose": 0, "callbacks": callbacks} | options
    return model.fit(*(change or (lambda *both: both))(*data(count)), **options)


def looked_at(model, callbacks):
    """Return all that a refused backup may not change."""
    return [
        *model.get_weights(),
        *model.optimizer.get_state().values(),
        *(repr(generator.bit_generator.state) for generator in model.generators()),
        *(repr(layer.states) for layer in model.stateful_layers()),
        *(part.trainable for part in model.walk()),
        model.fit_state,
        model.history,
        repr(model.history.history),
        model.stop_training,
        *(repr(sorted(vars(callback).items())) for callback in callbacks),
    ]


DAMAGE = {  # by where it is found out; the last two after all else is in place
    "another learning rate": lambda content: content["training"]["compile"]["optimizer"]["config"].update(
        learning_rate=0.5
    ),
    "no description": lambda content: content.update(training=3),
    "the order of the pass": lambda content: content["place"]["source"].update(order=np.arange(3)),
    "the metrics": lambda content: content["place"]["metrics"].pop(),
    "the callbacks": lambda content: content["place"]["callbacks"]["EarlyStopping"][0].pop("wait"),
    "trainable": lambda content: content["state"]["trainable"].pop(),
    "no flag": lambda content: content["state"].update(trainable=[3] * len(content["state"]["trainable"])),
    "the generators": lambda content: content["state"].update(generators=np.zeros((2, 6), "uint64")),
    "which weights": lambda content: content["state"].update(optimized=[0, 0]),
    "weights that are not there": lambda content: content["state"].update(optimized=[99]),
    "the slots": lambda content: content["state"]["optimizer"].popitem(),
    "a weight": lambda content: content["state"]["weights"].__setitem__(3, np.zeros(2)),
}


@pytest.mark.quick(2)
@pytest.mark.parametrize("what", DAMAGE)
def test_a_refused_backup_changes_nothing(what, tmp_path):
    backup = BackupAndRestore(tmp_path, 2)
    stop = EarlyStopping("loss", patience=9, restore_best_weights=True)
    with pytest.raises(Cut):
        fit(new_model(), epochs=4, callbacks=[stop, backup, CutAt("on_train_batch_end", 7)])
    content = saving.archive.read(backup.path)
    DAMAGE[what](content)
    saving.archive.write(backup.path, content)
    kept = backup.path.read_bytes()
    model = new_model()
    fit(model, epochs=2, callbacks=[stop])  # has weights, slots, a history and a place that may be lost
    before = looked_at(model, [stop])
    with pytest.raises(ValueError, match=r"training\.npz: "):
        fit(model, epochs=4, callbacks=[stop, backup])
    after = looked_at(model, [stop])
    assert len(before) == len(after) and all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert backup.path.read_bytes() == kept
    backup.path.unlink()
    fit(model, epochs=4, callbacks=[stop, backup])  # nothing of it is left


def test_what_callbacks_made_of_the_learning_rate_is_gone_on_with(tmp_path):
    """In another process, and by the same model in this one: an interrupted `fit` that is called again."""

    def callbacks(*more):
        slower = LearningRateScheduler(lambda epoch, rate: rate / 2)
        return [slower, ReduceLROnPlateau("loss", patience=0, min_delta=9.0), *more, BackupAndRestore(tmp_path, 2)]

    whole, model = new_model(), new_model()
    fit(whole, callbacks=callbacks()[:-1])
    for again in (model, new_model()):
        with pytest.raises(Cut):
            fit(model, callbacks=callbacks(CutAt("on_epoch_begin", 3)))
        fit(again, callbacks=callbacks())
        assert same_bits(again.get_weights(), whole.get_weights())
        model = new_model()
    with pytest.raises(Cut):
        fit(model, callbacks=callbacks(CutAt("on_epoch_begin", 3)))
    model.optimizer.learning_rate = 0.125  # by the user, who wants something else
    with pytest.raises(ValueError, match=r"optimizer\.learning_rate 0.001, now 0.125"):
        fit(model, callbacks=callbacks())


def test_a_layer_that_was_frozen_stays_frozen(tmp_path):
    class Freeze(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.layers[1].trainable = epoch != 0

    whole, again = new_model(), new_model()
    fit(whole, epochs=4, callbacks=[Freeze()])
    with pytest.raises(Cut):
        fit(new_model(), epochs=4, callbacks=[Freeze(), BackupAndRestore(tmp_path, 2), CutAt("on_train_batch_end", 7)])
    fit(again, epochs=4, callbacks=[Freeze(), BackupAndRestore(tmp_path, 2)])
    assert same_bits(again.get_weights(), whole.get_weights())
    assert same_bits(again.optimizer.get_state().values(), whole.optimizer.get_state().values())


def metric_of(power):
    def error(y_true, y_pred):
        return np.abs(y_true - y_pred)[..., 0] ** power

    return error


def told(y_true, y_pred):
    return metric_of(2)(y_true, y_pred)


def test_functions_are_described_by_their_code(tmp_path, monkeypatch):
    """A model with a metric that is a function had no backup at all."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Cut):
        fit_other(metrics=[metric_of(2)], cut=True)
    for other, message in ((metric_of(3), "another metrics.0. of that name"), (told, "metrics.0..function")):
        with pytest.raises(ValueError, match=message):
            fit_other(metrics=[other])
    fit_other(metrics=[metric_of(2)])


@pytest.mark.parametrize(
    "change",
    [
        lambda array: np.asfortranarray(array),
        lambda array: np.repeat(array, 2, axis=1)[:, ::2],
        lambda array: array[::-1].copy()[::-1],
    ],
)
def test_how_data_lie_in_memory_makes_no_difference(change):
    array = np.random.default_rng(0).standard_normal((3000, 70))  # more than a chunk
    assert plain(change(array)) == plain(array)
    array[2999, 69] += 1
    assert plain(change(array)) != plain(np.zeros((3000, 70)))
    assert plain(np.float32(2)) == 2.0 and plain({"a": [float("nan")]}) == plain({"a": (float("nan"),)})


def test_an_older_backup_is_taken_with_a_warning(tmp_path):
    backup, whole, again = BackupAndRestore(tmp_path, 2), new_model(), new_model()
    fit(whole, callbacks=[])
    with pytest.raises(Cut):
        fit(new_model(), callbacks=[backup, CutAt("on_train_batch_end", 7)])
    content = saving.archive.read(backup.path)
    for part, name in ((content, "training"), (content["state"], "trainable"), (content["state"], "optimized")):
        del part[name]
    saving.archive.write(backup.path, content)
    with pytest.warns(UserWarning, match="of an older rnncore"):
        fit(again, callbacks=[backup])
    assert same_bits(again.get_weights(), whole.get_weights())


HOSTILE_PLACES = {
    "epoch": -1,
    "batch": 0.5,
    "order": [np.zeros(COUNT, np.int64), np.arange(COUNT - 1), np.arange(COUNT) * 1.0, 3],
    "taken": -1,
    "epochs": "1",
    "source": [None, {}, {"passes": 0, "taken": 2, "epochs": 0}],
    "stopped": 1,
    "metrics": [[], [{"total": 0.0}] * 2, [{"total": "0", "count": 0.0}] * 2],
    "callbacks": [None, {"History": 3}, {"History": [{"epoch": []}]}],
    "count": None,
}


@pytest.mark.quick(6)
@pytest.mark.parametrize(
    ("name", "value"),
    [(n, v) for n, values in HOSTILE_PLACES.items() for v in (values if isinstance(values, list) else [values])],
)
def test_a_hostile_place(name, value, tmp_path, monkeypatch):
    backup = BackupAndRestore(tmp_path, 2)
    with pytest.raises(Cut):
        new_model().fit(*data(), batch_size=SIZE, verbose=0, callbacks=[backup, CutAt("on_epoch_end", 1)])
    content = saving.archive.read(backup.path)
    place = content["place"]
    (place if name in place else place["source"])[name] = value
    saving.archive.write(backup.path, content)
    with pytest.raises(ValueError, match=r"training\.npz: "):
        new_model().fit(*data(), batch_size=SIZE, verbose=0, callbacks=[backup])


PLACES_BEYOND = [
    ("source", "epochs", 10**12, "epochs is 1000000000000; its History has 2"),
    ("source", "passes", 10**12, "in pass 1000000000001"),
    ("source", "passes", 1, "there is one of over 7 batches"),
    ("source", "taken", 10**12, "after 1000000000000 batches; 2 epochs, and 7 batches in all, have not so many"),
    ("validation", "passes", 1, "there is one of over 4 batches"),
    ("validation", "taken", 5, "after 5 batches; 2 epochs, and 4 batches in all, have not so many"),
    ("validation", "epochs", 3, "epochs is 3; its History has 2"),
]


# without steps_per_epoch a pass, and an epoch, has as many batches as there are: there is always one pass
@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("kind", "name", "value", "message", "steps"),
    [
        (*case, steps)
        for case in PLACES_BEYOND
        for steps in (3, None)
        if (*case[:3], steps) != ("source", "passes", 1, None)
    ],
)
def test_a_place_beyond_all_bounds(kind, name, value, message, steps, tmp_path):
    if steps is None:
        message = message.replace(", and 7 batches in all,", "")
        message = "now there are 5" if (kind, name) == ("source", "taken") else message

    def fit(*callbacks):
        x = endless() if steps else Finite()
        options = {"steps_per_epoch": steps, "validation_data": endless(), "validation_steps": 2, "verbose": 0}
        new_model().fit(x, epochs=3, callbacks=[BackupAndRestore(tmp_path, 1), *callbacks], **options)

    with pytest.raises(Cut):
        fit(CutAt("on_train_batch_begin", 8 if steps else 12))
    path = tmp_path / "training.npz"
    content = saving.archive.read(path)
    assert len(content["place"]["callbacks"]["History"][0]["epoch"]) == 2
    content["place"][kind][name] = value
    saving.archive.write(path, content)
    with pytest.raises(ValueError, match=rf"training\.npz: .*{message}"):
        fit()


# --- data that are no arrays ------------------------------------------------------------------------------------------


class Reshuffled(PyDataset):
    """Batches that the object itself mixes anew after each epoch, and before it moves by one."""

    def __init__(self):
        super().__init__()
        self.arrays, self.rng = data(), np.random.default_rng(4)

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        return tuple(array[SIZE * index : SIZE * index + SIZE] for array in self.arrays)

    def on_epoch_begin(self):
        self.arrays = [np.roll(array, 1, axis=0) for array in self.arrays]

    def on_epoch_end(self):
        order = self.rng.permutation(COUNT)
        self.arrays = [array[order] for array in self.arrays]


class Finite:
    """Gives fresh iterators of five batches."""

    def __iter__(self):
        given = Reshuffled()
        return (given[n] for n in range(STEPS))


def endless():
    """Yield random batches."""
    rng = np.random.default_rng(3)
    while True:
        x = rng.integers(0, 9, (SIZE, 5))
        yield x, (x[:, :1] > 4).astype(float)


def ragged():
    """Return rows of different lengths, and what is said of them."""
    x, y = data()
    return [row[: n % 5 + 1] for n, row in enumerate(x.tolist())], y


KINDS = {  # what fit is called with in each process
    "ragged": lambda: dict(zip("xy", ragged(), strict=True)),
    "ragged, a pass in parts": lambda: {**KINDS["ragged"](), "steps_per_epoch": 4},
    "arrays, a pass in parts": lambda: {**dict(zip("xy", data(), strict=True)), "steps_per_epoch": 4},
    "sequence": lambda: {"x": Reshuffled()},
    "sequence, in order and in parts": lambda: {"x": Reshuffled(), "shuffle": False, "steps_per_epoch": 2},
    "generator": lambda: {"x": endless(), "steps_per_epoch": 5},
    "iterable": lambda: {"x": Finite()},
    "iterable, a pass in parts": lambda: {"x": Finite(), "steps_per_epoch": 3},
}


def fit_kind(model, kind, folder=None, cut=None):
    """Fit as `fit` does, on data of a kind; the validation's generator goes on from epoch to epoch."""
    callbacks = [] if folder is None else [BackupAndRestore(folder, save_freq=2, delete_checkpoint=False)]
    if cut is not None:
        callbacks.insert(0, CutAt(*cut))
    options = {"epochs": 4, "batch_size": SIZE, "verbose": 0, "validation_data": endless(), "validation_steps": 2}
    return model.fit(**KINDS[kind](), **options, callbacks=callbacks)


@pytest.mark.quick(2)
@pytest.mark.filterwarnings("ignore:x ran out of batches")
@pytest.mark.parametrize(
    ("event", "number"), few_at_first([("on_train_batch_end", 7), ("on_train_batch_end", 3), ("on_epoch_begin", 3)], 1)
)
@pytest.mark.parametrize("kind", KINDS)
def test_other_data_go_on_too(kind, event, number, tmp_path):
    whole, again = new_model(), new_model()
    history = fit_kind(whole, kind)
    with pytest.raises(Cut):
        fit_kind(new_model(), kind, tmp_path, (event, number))
    resumed = fit_kind(again, kind, tmp_path)
    assert resumed.history == history.history
    assert same_bits(again.get_weights(), whole.get_weights())
    assert again.generator.bit_generator.state == whole.generator.bit_generator.state


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("ragged", "sequence", "training was cut with .*x an array of shape .*, now 5 batches"),
        ("generator", "ragged", "training was cut with .*x batches as they come, now an array"),
        ("sequence", "six", "training was cut with x 5 batches, now 6 batches$"),
        ("ragged", "ragged, another row", "training was cut with other values of x$"),
        ("ragged", "ragged, another length", "training was cut with other values of x.lengths"),
        ("generator", "short", "training was cut after 4 batches; now there are 3"),
    ],
)
def test_other_data_are_refused(first, second, message, tmp_path, monkeypatch):
    class Six(Reshuffled):
        def __len__(self):
            return 6

    def changed(row, value):
        x, y = ragged()
        x[row] = value(x[row])
        return {"x": x, "y": y}

    monkeypatch.setitem(KINDS, "ragged, another row", lambda: changed(9, lambda row: [(row[0] + 1) % 9, *row[1:]]))
    monkeypatch.setitem(KINDS, "ragged, another length", lambda: changed(9, lambda row: row[:-1]))
    monkeypatch.setitem(KINDS, "six", lambda: {"x": Six()})
    monkeypatch.setitem(KINDS, "short", lambda: {"x": itertools.islice(endless(), 3), "steps_per_epoch": 5})
    with pytest.raises(Cut):
        fit_kind(new_model(), first, tmp_path, ("on_train_batch_end", 5))
    with pytest.raises(ValueError, match=rf"training\.npz: {message}"):
        fit_kind(new_model(), second, tmp_path)


# --- a process that is killed -----------------------------------------------------------------------------------------

SCRIPT = """
import os, signal, sys, zipfile
sys.path[:0] = [sys.argv[1], os.path.dirname(sys.argv[1])]
from test_resume import KINDS, data, new_model
from rnncore import config
from rnncore.callbacks import BackupAndRestore, EarlyStopping, ModelCheckpoint
config.set_backend("numpy")
model = new_model()
if len(sys.argv) > 5:  # be killed in the middle of that call
    module, name, left = sys.argv[5].split()
    owner = {"os": os, "ZipFile": zipfile.ZipFile}[module]
    original, left = getattr(owner, name), int(left)
    def counted(*arguments, **options):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    setattr(owner, name, counted)
callbacks = [
    EarlyStopping("loss", patience=50, restore_best_weights=True),
    ModelCheckpoint(sys.argv[2] + "/best", "loss", save_best_only=True),
    BackupAndRestore(sys.argv[2] + "/backup", save_freq=int(sys.argv[3])),
]
print("begins", flush=True)
what = KINDS[os.environ["KIND"]]() if "KIND" in os.environ else dict(zip("xy", data()), validation_split=0.2)
model.fit(**what, batch_size=4, epochs=int(sys.argv[4]), verbose=0, callbacks=callbacks)
model.save(sys.argv[2] + "/final")
"""


def start(folder, save_freq, epochs, *more):
    command = [sys.executable, "-c", SCRIPT, Path(__file__).parent, folder, str(save_freq), str(epochs), *more]
    environment = os.environ | {"PYTHONPATH": str(Path(rnncore.__file__).parent.parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout.readline() == b"begins\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "kind"),
    [
        (3, None),
        pytest.param(20, None, marks=pytest.mark.slow),
        *(pytest.param(5, kind, marks=pytest.mark.slow) for kind in ("ragged", "sequence", "generator")),
    ],
)
def test_kill(kills, kind, tmp_path, monkeypatch):
    if kind is not None:
        monkeypatch.setenv("KIND", kind)
    epochs, rng = 4 + 12 * kills, random.Random(RUN_SEED)
    (tmp_path / "whole").mkdir()
    with start(tmp_path / "whole", 1000, epochs) as process:
        assert process.wait() == 0
    killed = 0
    cut = tmp_path / "cut"
    cut.mkdir()
    while killed < kills:
        with start(cut, 1, epochs) as process:  # a backup a step: it spends most of its time writing
            time.sleep(rng.uniform(0, 0.5))
            process.kill()
            process.wait()
        killed += 1
        backup = cut / "backup" / "training.npz"
        if backup.exists():
            assert saving.archive.read(backup)["kind"] == "checkpoint"
        if (cut / "best").exists():
            load_model(cut / "best")
        if (cut / "final").exists():
            (cut / "final").unlink()
    with start(cut, 1, epochs) as process:
        assert process.wait() == 0
    one, other = (load_model(tmp_path / name / "final") for name in ("whole", "cut"))
    assert same_bits(other.get_weights(), one.get_weights())
    assert same_bits(other.optimizer.get_state().values(), one.optimizer.get_state().values())
    assert (cut / "best").read_bytes() == (tmp_path / "whole" / "best").read_bytes()
    assert list((cut / "backup").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("call", few_at_first(["os replace 4", "os fsync 9", "ZipFile open 50", "ZipFile open 51"], 1))
def test_killed_while_it_writes(call, tmp_path):
    with start(tmp_path, 1, 2, call) as process:
        assert process.wait() == -signal.SIGKILL
    drafts = [path.name for path in (tmp_path / "backup").iterdir() if path.name.startswith(".")]
    assert len(drafts) == 1
    with start(tmp_path, 1, 2) as process:
        assert process.wait() == 0
    assert list((tmp_path / "backup").iterdir()) == []
    whole = new_model()
    fit(whole, epochs=2, callbacks=[EarlyStopping("loss", patience=50, restore_best_weights=True)])
    assert same_bits(load_model(tmp_path / "final").get_weights(), whole.get_weights())


# --- ModelCheckpoint --------------------------------------------------------------------------------------------------


class Loss(Callback):
    """Puts values into the logs, an epoch each."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["value"] = self.values[epoch]


@pytest.mark.parametrize(
    ("options", "saved"),
    [
        ({}, [1, 2, 3, 4]),
        ({"save_best_only": True}, [1, 3]),
        ({"save_best_only": True, "mode": "max"}, [1, 2, 4]),
        ({"save_best_only": True, "initial_value_threshold": 2.5}, [3]),
    ],
)
def test_which_epochs_are_saved(options, saved, tmp_path, capsys):
    options = {"mode": "min"} | options
    checkpoint = ModelCheckpoint(tmp_path / "{epoch:02d}-{value:.1f}", "value", **options, verbose=1)
    values = [3, 4, 2, 5]
    fit(new_model(), epochs=4, callbacks=[Loss(values), checkpoint])
    names = [f"{epoch:02d}-{values[epoch - 1]:.1f}" for epoch in saved]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert capsys.readouterr().out.splitlines() == [
        f"Epoch {epoch}: saved {tmp_path / name}" for epoch, name in zip(saved, names, strict=True)
    ]


def test_batches_are_counted_through_all_epochs(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}-{batch}", save_freq=4, save_weights_only=True)
    model = new_model()
    fit(model, epochs=2, validation_split=0.0, callbacks=[checkpoint])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-4", "2-2", "2-6"]
    again = new_model()
    again.load_weights(tmp_path / "2-6")
    assert same_bits(again.get_weights(), model.get_weights())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ModelCheckpoint("a", save_freq="batch"), ValueError, "ModelCheckpoint: save_freq is 'batch'"),
        (lambda: BackupAndRestore("a", 0), ValueError, "BackupAndRestore: save_freq is 0"),
        (lambda: BackupAndRestore(""), ValueError, "backup_dir is empty"),
        (lambda: ModelCheckpoint("a", 3), TypeError, "ModelCheckpoint: monitor is 3"),
        (lambda: ModelCheckpoint("a", mode="up"), ValueError, "unknown mode 'up'"),
    ],
)
def test_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("{val_los}", {}, r"filepath is .*\{val_los\}', but 'val_los' is not among epoch, accuracy, loss"),
        ("a", {"save_best_only": True, "monitor": "val_los"}, "monitor is 'val_los'; the logs have"),
    ],
)
def test_what_is_not_in_the_logs(name, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit(new_model(), epochs=1, callbacks=[ModelCheckpoint(tmp_path / name, **options)])
