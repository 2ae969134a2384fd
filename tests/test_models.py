"""Sequential: training, evaluation, callbacks, output on the screen, Ctrl-C and divergence."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest

from rnncore import Sequential, config, losses, optimizers
from rnncore.callbacks import Callback, EarlyStopping, History
from rnncore.compiler import pool
from rnncore.layers import LSTM, Activation, Dense, Dropout, Embedding, Input, Layer, Masking, SimpleRNN
from rnncore.utils import progress
from rnncore.utils.interrupt import deferred_interrupt

V, T = 8, 5


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    config.set_backend("numpy")  # nothing to wait for; the backends are held together elsewhere


def reviews(count=21, seed=0):
    """Return ids (count, T) with padding, and whether there is a 1 among them."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, V, (count, T))
    x[np.arange(T) >= rng.integers(1, T + 1, count)[:, None]] = 0
    return x, (x == 1).any(axis=1).astype(int)


def classifier(optimizer="adam", dropout=0.0, seed=20, metrics=("accuracy",), **options):
    """Return a compiled model, the same one for the same seed."""
    config.set_seed(seed)
    layers = [Embedding(V, 4, mask_zero=True), LSTM(3, dropout=dropout, recurrent_dropout=dropout)]
    model = Sequential([*layers, Dense(1, activation="sigmoid")], **options)
    model.compile(optimizer, "binary_crossentropy", metrics=list(metrics))
    return model


def same(ours, theirs):
    """Whether two models have the same bits."""
    return all(np.array_equal(a, b) for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True))


class Recorder(Callback):
    """Notes every call of a hook."""

    def __init__(self, name="", events=None):
        self.name, self.events = name, [] if events is None else events

    def __getattribute__(self, hook):
        if hook.startswith("on_"):
            return lambda *arguments: self.events.append((self.name, hook, *arguments))
        return super().__getattribute__(hook)


class At(Callback):
    """Does something at one call of one hook."""

    def __init__(self, hook, action, number=0):
        def called(*arguments):
            if not isinstance(arguments[0], int) or arguments[0] == number:
                action(self.model)

        setattr(self, hook, called)


class Score(Callback):
    """Puts given values into the logs."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = self.values[epoch]


class Seen(Layer):
    """Notes what goes through."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, x, mask=None, training=False):
        if training:
            self.batches.append(x.copy())
        return x

    def call_backward(self, dy):
        return dy


# --- fit, evaluate, predict -------------------------------------------------------------------------------------------


def test_fit_learns_and_keeps_a_history():
    x, y = reviews(60)
    model = classifier(optimizers.Adam(0.03))
    before = model.evaluate(x, y, verbose=0)
    history = model.fit(x, y, batch_size=8, epochs=15, validation_data=reviews(10, 1), verbose=0)
    assert history is model.history
    assert isinstance(history, History)
    assert history.epoch == list(range(15))
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(len(values) == 15 and all(type(v) is float for v in values) for values in history.history.values())
    after = model.evaluate(x, y, verbose=0)
    assert after[0] < 0.5 * before[0]
    assert after[1] > 0.95


def test_the_logged_loss_is_the_running_mean():
    x, y = reviews(21)
    model = classifier(optimizers.SGD(0.0))
    history = model.fit(x, y, batch_size=8, verbose=0).history
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    assert {name: values[0] for name, values in history.items()} == pytest.approx(expected, rel=1e-6)


def test_what_evaluate_and_train_on_batch_return():
    x, y = reviews(7)
    model, bare = classifier(), classifier(metrics=())
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert model.evaluate(x, y, verbose=0, return_dict=True) == {"loss": loss, "accuracy": accuracy}
    assert bare.evaluate(x, y, verbose=0) == pytest.approx(loss)
    assert model.train_on_batch(x, y, return_dict=True) == {"loss": pytest.approx(loss), "accuracy": accuracy}
    assert bare.train_on_batch(x, y) == pytest.approx(loss)
    p = bare.predict(x)
    assert p.shape == (7, 1)
    assert bare.evaluate(x, y, verbose=0) == pytest.approx(losses.BinaryCrossentropy()(y, p), rel=1e-5)


def test_fit_is_train_on_batch_over_and_over():
    x, y = reviews(10)
    ours, theirs = classifier(dropout=0.3), classifier(dropout=0.3)
    ours.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for _ in range(2):
        for first in (0, 4, 8):
            theirs.train_on_batch(x[first : first + 4], y[first : first + 4])
    assert same(ours, theirs)


def test_validation_split_takes_the_last_samples_before_shuffling():
    x, y = reviews(20)
    weight = np.linspace(0.5, 1.5, 20)
    ours, theirs = classifier(), classifier()
    split = ours.fit(x, y, validation_split=0.3, sample_weight=weight, epochs=3, batch_size=4, verbose=0)
    rest = (x[14:], y[14:], weight[14:])
    given = theirs.fit(
        x[:14], y[:14], validation_data=rest, sample_weight=weight[:14], epochs=3, batch_size=4, verbose=0
    )
    assert split.history == given.history
    assert same(ours, theirs)
    values = ours.evaluate(*rest[:2], sample_weight=rest[2], verbose=0, batch_size=4)
    assert values == [split.history["val_loss"][-1], split.history["val_accuracy"][-1]]


def test_sample_weights():
    x, y = reviews(9)
    weight = np.arange(9.0)
    model = classifier()
    single = [model.evaluate(x[n : n + 1], y[n : n + 1], verbose=0)[0] for n in range(9)]
    loss, accuracy = model.evaluate(x, y, sample_weight=weight, verbose=0, batch_size=4)
    assert loss == pytest.approx(np.mean(weight * single), rel=1e-5)
    assert accuracy == model.evaluate(x, y, verbose=0)[1]
    # a weight of 2 is the sample twice, up to the number that divides
    plain, doubled = classifier("sgd"), classifier("sgd")
    plain.train_on_batch(x[[0, 1, 1]], y[[0, 1, 1]], sample_weight=[1, 1, 1])
    doubled.train_on_batch(x[:2], y[:2], sample_weight=np.array([1, 2]) * 2 / 3)
    for ours, theirs in zip(plain.get_weights(), doubled.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("size", [1, 4, 21, 1000])
def test_the_batch_size_does_not_matter_to_predictions(size):
    x, y = reviews(21)
    model = classifier()
    model.fit(x, y, verbose=0)
    np.testing.assert_allclose(model.predict(x, batch_size=size), model.predict(x), atol=1e-6)
    ours, theirs = (model.evaluate(x, y, batch_size=n, verbose=0) for n in (size, 32))
    assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(("size", "sizes"), [(8, [8, 8, 5]), (7, [7, 7, 7]), (None, [21]), (100, [21])])
def test_batches(size, sizes):
    x, y = reviews(21)
    seen = Seen()
    model = Sequential([seen, Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(x, y, batch_size=size, verbose=0).history
    assert [len(batch) for batch in seen.batches] == sizes
    assert sorted(map(tuple, np.concatenate(seen.batches))) == sorted(map(tuple, x))
    assert np.isfinite(history["loss"]).all()


def test_shuffling_is_reproducible_by_the_seed():
    def orders(seed, **options):
        config.set_seed(seed)
        seen = Seen()
        model = Sequential([seen, Dense(1)])
        model.compile("sgd", "mse")
        model.fit(np.arange(50.0)[:, None] / 50, np.zeros(50), batch_size=50, epochs=2, verbose=0, **options)
        return [(50 * batch[:, 0]).round().astype(int).tolist() for batch in seen.batches]

    first = orders(1)
    assert first == orders(1) != orders(2)
    assert first[0] != first[1]
    assert orders(1, shuffle=False) == [list(range(50))] * 2


def test_the_same_seed_gives_the_same_bits():
    x, y = reviews(21)
    first, again, other = (classifier(dropout=0.3, seed=seed) for seed in (3, 3, 4))
    for model in (first, again, other):
        model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    assert same(first, again)
    assert not same(first, other)
    assert first.history.history == again.history.history


def test_initial_epoch():
    x, y = reviews(4)
    assert classifier().fit(x, y, epochs=5, initial_epoch=3, verbose=0).epoch == [3, 4]
    assert classifier().fit(x, y, epochs=3, initial_epoch=3, verbose=0).epoch == []


def test_lists_will_do():
    x, y = reviews(6)
    ours, theirs = classifier(), classifier()
    ours.fit(x.tolist(), y.tolist(), sample_weight=[1] * 6, verbose=0)
    theirs.fit(x, y, verbose=0)
    assert same(ours, theirs)
    assert np.array_equal(ours.predict(x.tolist()), theirs.predict(x))


@pytest.mark.parametrize("kind", ["int64", "int8", "float64", "float16"])
def test_data_are_not_copied(kind):
    x, y = reviews(6)
    x = x.astype(kind)
    model = classifier() if kind.startswith("int") else Sequential([Dense(1)])
    found = model.checked_data(x, y, np.ones(6))
    assert found[0] is x
    assert found[1] is y


def test_losses_of_sequences_count_valid_steps():
    x, _ = reviews(6)
    y = x % 3
    config.set_seed(1)
    model = Sequential([Embedding(V, 4, mask_zero=True), LSTM(3, return_sequences=True), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    p = model.predict(x)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    chosen = np.take_along_axis(p, y[..., None], axis=-1)[..., 0]
    assert loss == pytest.approx(-np.log(chosen[x != 0]).mean(), rel=1e-5)
    assert accuracy == pytest.approx((p.argmax(axis=-1) == y)[x != 0].mean())


@pytest.mark.parametrize(("activation", "loss"), [("sigmoid", "binary_crossentropy"), (None, "mse")])
def test_a_model_of_models_is_the_same_model(activation, loss):
    x, y = reviews(8)
    flat = [Embedding(V, 4, mask_zero=True), LSTM(3, return_sequences=True), LSTM(2), Dense(1, activation)]
    config.set_seed(0)
    ours = Sequential(flat)
    nested = [Embedding(V, 4, mask_zero=True), LSTM(3, return_sequences=True), LSTM(2), Dense(1, activation)]
    theirs = Sequential([Sequential(nested[:2]), Sequential([nested[2], Sequential(nested[3:])])])
    for model in (ours, theirs):
        model.compile("sgd", loss)
        model.build((None, T))
    theirs.set_weights(ours.get_weights())
    assert np.array_equal(ours.predict(x), theirs.predict(x))
    for model in (ours, theirs):
        model.train_on_batch(x, y)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_layers_that_do_not_train():
    x, y = reviews(8)
    model = classifier()
    model.layers[1].trainable = False
    model.build((None, T))
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [True, False, False, False, True, True]


# --- callbacks --------------------------------------------------------------------------------------------------------


def test_the_order_of_callbacks():
    x, y = reviews(10)
    events = []
    classifier().fit(
        x,
        y,
        batch_size=5,
        epochs=2,
        validation_split=0.2,
        callbacks=[Recorder("a", events), Recorder("b", events)],
        verbose=0,
    )
    assert [name for name, *_ in events] == ["a", "b"] * (len(events) // 2)
    batches = [("on_train_batch_begin", 0), ("on_train_batch_end", 0), ("on_train_batch_begin", 1)]
    batches.append(("on_train_batch_end", 1))
    batches += [("on_test_begin",), ("on_test_batch_begin", 0), ("on_test_batch_end", 0), ("on_test_end",)]
    epochs = [[("on_epoch_begin", n), *batches, ("on_epoch_end", n)] for n in range(2)]
    hooks = [event[1:3] if len(event) > 2 and isinstance(event[2], int) else event[1:2] for event in events[::2]]
    assert hooks == [("on_train_begin",), *epochs[0], *epochs[1], ("on_train_end",)]
    logs = {hook: rest[-1] for _, hook, *rest in events if rest}
    assert list(logs["on_train_batch_end"]) == ["accuracy", "loss"]
    assert list(logs["on_epoch_end"]) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert logs["on_train_end"] == logs["on_epoch_end"]


def test_what_a_callback_knows():
    x, y = reviews(10)
    callback = Callback()
    model = classifier()
    model.fit(x, y, batch_size=4, epochs=2, callbacks=callback, verbose=0)
    assert callback.model is model
    assert callback.params == {"epochs": 2, "steps": 3, "verbose": 0}


def test_a_callback_alone_and_what_it_puts_into_the_logs():
    x, y = reviews(4)
    history = classifier().fit(x, y, epochs=2, callbacks=Score([1, 2]), verbose=0)
    assert history.history["score"] == [1, 2]


@pytest.mark.parametrize(
    ("hook", "number", "batches", "epochs"),
    [("on_epoch_end", 1, 10, 2), ("on_train_batch_end", 2, 3, 1), ("on_epoch_begin", 0, 1, 1)],
)
def test_stop_training(hook, number, batches, epochs):
    x, y = reviews(10)
    recorder = Recorder()
    stop = At(hook, lambda model: setattr(model, "stop_training", True), number)
    history = classifier().fit(x, y, batch_size=2, epochs=9, callbacks=[recorder, stop], verbose=0)
    hooks = [event[1] for event in recorder.events]
    assert hooks.count("on_train_batch_end") == batches
    assert hooks.count("on_epoch_end") == epochs == len(history.epoch)
    assert hooks[-1] == "on_train_end"


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [  # the last two are what Keras 3.15.1 made of it
        ([5, 4, 3, 2, 1], {"patience": 0, "mode": "min"}, 5, 4),
        ([5, 4, 4.5, 2, 1], {"patience": 0, "mode": "min"}, 3, 1),
        ([5, 4, 4.5, 2, 3, 3, 1], {"patience": 1, "mode": "min"}, 3, 1),
        ([5, 4, 4.5, 4.2, 3, 3, 3, 1], {"patience": 2, "mode": "min"}, 4, 1),
        ([0.1, 0.2, 0.15, 0.3, 0.2, 0.2, 0.9], {"patience": 2, "mode": "max"}, 6, 3),
        ([5, 4.95, 4.9, 4.85, 1], {"patience": 2, "mode": "min", "min_delta": 0.1}, 3, 0),
        ([5, 4.95, 4.9, 4.85, 1], {"patience": 2, "mode": "min", "min_delta": -0.1}, 3, 0),
        ([5, 6, 4, 3, 2, 1], {"patience": 2, "mode": "min", "baseline": 3.5}, 2, 0),
        ([5, 4.5, 4, 3, 2, 1], {"patience": 2, "mode": "min", "baseline": 3.5}, 6, 5),
        ([1, 5, 6, 4, 5, 5, 3], {"patience": 1, "mode": "min", "start_from_epoch": 2}, 5, 3),
        ([1, 2, 3], {"patience": 5, "mode": "min"}, 3, 0),
        ([2, 2, 2, 2], {"patience": 2, "mode": "min"}, 3, 0),
    ],
)
def test_early_stopping(values, options, epochs, best):
    x, y = reviews(6)
    stopping = EarlyStopping("score", restore_best_weights=True, **options)
    kept = []
    keep = At("on_epoch_end", lambda model: kept.append(model.get_weights()))
    keep.on_epoch_end = lambda epoch, logs: kept.append(keep.model.get_weights())
    model = classifier(optimizers.SGD(0.5))
    for _ in range(2):  # the callback can be used again
        kept.clear()
        history = model.fit(x, y, epochs=len(values), callbacks=[keep, Score(values), stopping], verbose=0)
        assert len(history.epoch) == epochs
        assert (stopping.best_epoch, stopping.best) == (best, values[best])
        assert stopping.stopped_epoch == (epochs - 1 if epochs < len(values) else 0)
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept[best], strict=True))


def test_early_stopping_restores_nothing_unless_told(capsys):
    x, y = reviews(6)
    model, stopping = classifier(), EarlyStopping("score", mode="min", verbose=1)
    weights = []
    keep = At("on_epoch_end", lambda model: weights.append(model.get_weights()), 1)
    model.fit(x, y, epochs=5, callbacks=[Score([1, 2]), stopping, keep], verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[0], strict=True))
    assert capsys.readouterr().out == "Epoch 2: early stopping\n"


def test_early_stopping_of_what_is_not_in_the_logs():
    x, y = reviews(6)
    with pytest.warns(UserWarning, match="monitor is 'val_loss'; the logs have accuracy, loss: nothing"):
        assert len(classifier().fit(x, y, epochs=2, callbacks=EarlyStopping(), verbose=0).epoch) == 2


# --- on the screen ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verbose", "lines"), [("auto", 3), (0, 0), (1, 3), (2, 3)])
def test_one_line_an_epoch(capsys, verbose, lines):
    x, y = reviews(12)
    classifier().fit(x, y, batch_size=2, epochs=3, validation_split=0.25, verbose=verbose)
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == len(out.splitlines()) == lines
    assert all(character.isprintable() for character in out.replace("\n", ""))
    for n, line in enumerate(out.splitlines()):
        assert line.startswith(f"Epoch {n + 1}/3 - ")
        assert [part.split(": ")[0] for part in line.split(" - ")[2:]] == [
            "accuracy",
            "loss",
            "val_accuracy",
            "val_loss",
        ]


def test_evaluate_leaves_a_line_and_predict_none(capsys):
    x, y = reviews(12)
    model = classifier()
    model.predict(x, verbose=1)
    model.evaluate(x, y, verbose=0)
    assert capsys.readouterr() == ("", "")
    model.evaluate(x, y)
    out = capsys.readouterr().out
    assert out.startswith("Evaluate - ")
    assert out.count("\n") == 1


class Screen:
    """A terminal that remembers."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.mark.parametrize("fails", [False, True])
def test_the_bar_on_a_terminal_is_closed(monkeypatch, fails):
    x, y = reviews(12)
    screen, bars = Screen(), []
    monkeypatch.setattr(sys, "stdout", screen)
    init = progress.Progress.__init__
    monkeypatch.setattr(progress.Progress, "__init__", lambda self, *args: (bars.append(self), init(self, *args))[0])
    slow = Callback()
    slow.on_train_batch_end = lambda batch, logs: time.sleep(0.12)  # tqdm draws ten times a second
    press = At("on_train_batch_end", lambda model: signal.raise_signal(signal.SIGINT), 1)
    model = classifier()
    with pytest.raises(KeyboardInterrupt) if fails else nullcontext():
        model.fit(x, y, batch_size=4, callbacks=[slow, press] if fails else slow)
    assert re.search(r"\rEpoch 1/1:  33%\|.*\| 1/3 \[.*, accuracy: 0\.\d+ - loss: ", screen.text)
    assert screen.text.endswith("\n") != fails
    assert len(bars) == 1
    assert bars[0]._bar.disable  # what tqdm sets when it closes a bar


def test_summary():
    model = classifier(name="critic")
    lines = []
    model.summary(print_fn=lines.append)
    assert "0 (unbuilt)" in lines[1]
    model.build((None, T))
    lines.clear()
    model.layers[0].trainable = False
    model.summary(print_fn=lines.append)
    names = [layer.name for layer in model.layers]
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in lines[1].splitlines() if line.startswith("│")]
    assert lines[0] == 'Model: "critic"'
    assert rows == [
        [f"{names[0]} (Embedding)", "(None, 5, 4)", "32"],
        [f"{names[1]} (LSTM)", "(None, 3)", "96"],
        [f"{names[2]} (Dense)", "(None, 1)", "4"],
    ]
    assert len({len(line) for line in lines[1].splitlines()}) == 1
    assert lines[2:] == [
        " Total params: 132 (528.00 B)",
        " Trainable params: 100 (400.00 B)",
        " Non-trainable params: 32 (128.00 B)",
    ]
    model.train_on_batch(*reviews(2))
    lines.clear()
    model.summary(print_fn=lines.append)
    assert (lines[2], lines[5]) == (" Total params: 334 (1.31 KB)", " Optimizer params: 202 (812.00 B)")


def test_the_summary_counts_bytes_of_the_dtype():
    model = Sequential([Dense(512, dtype="float64")])
    model.build((None, 1024))
    lines = []
    model.summary(print_fn=lines.append)
    assert lines[2] == " Total params: 524,800 (4.00 MB)"


# --- what a model is --------------------------------------------------------------------------------------------------


def test_layers_come_and_go():
    model = Sequential([Dense(3, name="one"), Dense(2, name="two")])
    assert model.predict(np.ones((2, 4))).shape == (2, 2)
    kept = model.layers[0].get_weights()
    assert model.pop().name == "two"
    model.add(Dense(5, name="three"))
    assert model.predict(np.ones((2, 4))).shape == (2, 5)
    assert np.array_equal(model.layers[0].get_weights()[0], kept[0])
    assert model.get_layer("three") is model.get_layer(index=1) is model.layers[-1]
    assert model.count_params() == 4 * 3 + 3 + 3 * 5 + 5


def test_a_refused_layer_leaves_the_model_built():
    class Wrong(Layer):
        def build(self, input_shape):
            raise KeyError("units")

        def call(self, x):
            return x

    model = Sequential([Input((4,)), Dense(3), Dense(2)])
    for layer, error in ((LSTM(2), ValueError), (Wrong(), KeyError)):
        with pytest.raises(error):
            model.add(layer)
        assert model.built and model.output.shape == (None, 2)
    model.pop()
    assert model.built and model.output.shape == (None, 3)


def test_a_model_from_its_configuration():
    layers = [Masking(-1.0), SimpleRNN(3, return_sequences=True), LSTM(2), Dropout(0.1), Dense(1), Activation("tanh")]
    model = Sequential([Sequential(layers, name="inner"), Dense(2)], name="outer")
    again = Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert again is not model
    assert [type(leaf) for leaf in again.leaves()] == [type(leaf) for leaf in model.leaves()]
    assert repr(Dense(2, name="d")) == "Dense(2, name='d')"


def test_a_model_is_a_layer():
    x = np.linspace(-1, 1, 24).reshape(2, 3, 4)
    model = Sequential([LSTM(3, return_sequences=True), Dense(2)])
    y = model(x)
    dx = model.backward(np.ones_like(y))
    assert dx.shape == x.shape
    assert [g.shape for g in model.get_gradients()] == [w.shape for w in model.get_weights()]
    model.predict(x[:1])  # a later run is what backward goes back through
    with pytest.raises(ValueError, match=r"dy has shape \(2, 3, 2\); expected \(1, 3, 2\)"):
        model.backward(np.ones_like(y))


# --- float32 all the way ----------------------------------------------------------------------------------------------


def floats_in(thing, seen=None):
    """Yield (place, dtype) of every array of floats that an object holds, wherever."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        if thing.dtype.kind == "f":
            yield thing.dtype.name
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from floats_in(value, seen)
    elif isinstance(thing, (list, tuple)):
        for value in thing:
            yield from floats_in(value, seen)
    elif isinstance(thing, (Layer, optimizers.Optimizer, type(np.float32))) or hasattr(thing, "rows"):
        yield from floats_in(vars(thing), seen)


@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize(("dtype", "how"), [("float32", "default"), ("float64", "floatx"), ("float64", "argument")])
def test_one_dtype_all_the_way(backend, dtype, how):
    config.set_backend(backend)
    if how == "floatx":
        config.set_floatx(dtype)
    options = {"dtype": dtype} if how == "argument" else {}
    dropped = {"dropout": 0.2, "recurrent_dropout": 0.2}
    for first, x in ((Embedding(V, 4, mask_zero=True, **options), reviews(8)[0]), (Masking(**options), None)):
        x = np.random.default_rng(0).random((8, T, 4)) if x is None else x
        layers = [first, LSTM(3, return_sequences=True, **dropped, **options), SimpleRNN(3, **dropped, **options)]
        layers += [Dropout(0.2, **options), Dense(2, "tanh", **options), Activation("relu", **options)]
        model = Sequential([*layers, Dense(1, "sigmoid", **options)])
        model.compile(optimizers.Adam(clipnorm=1.0), "binary_crossentropy", metrics=["accuracy"])
        model.fit(x, np.arange(8) % 2, sample_weight=np.ones(8), validation_split=0.2, verbose=0)
        assert model.predict(x).dtype == dtype
        y = model(x.tolist())
        dx = model.backward(np.ones(y.shape, "float64"))
        gradients = [np.asarray(g) for g in model.get_gradients()]
        assert {g.dtype.name for g in (y, *model.get_weights(), *gradients)} == {dtype}
        assert dx is None or dx.dtype == dtype
        found = list(floats_in(model))
        assert len(found) > 40
        assert set(found) == {dtype}


def test_layers_of_two_dtypes():
    x = np.random.default_rng(0).random((4, T, 3))
    y = np.zeros(4)
    double = {"dtype": "float64"}
    layers = [LSTM(3, return_sequences=True), Dense(3), LSTM(2, **double), Dense(2), Dense(2, **double), Dense(1)]
    model = Sequential(layers)
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    for layer in model.layers:
        assert {g.dtype.name for g in [layer.last_output, *layer.weights, *layer.get_gradients()]} == {layer.dtype}
    assert model.predict(x).dtype == np.float32
    assert model.backward(np.ones_like(model(x))).dtype == np.float32


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "number", "epochs", "batches", "message"),
    [
        ("on_train_batch_end", 1, 0, 2, "stopped after epoch 1, batch 2"),
        ("on_train_batch_begin", 1, 0, 2, "stopped after epoch 1, batch 2"),
        ("on_epoch_begin", 1, 1, 6, "stopped after epoch 2, batch 1"),
        ("on_epoch_end", 1, 2, 10, "stopped after epoch 2"),
        ("on_train_end", 0, 2, 10, "stopped at the end of training"),
    ],
)
def test_interrupt(hook, number, epochs, batches, message):
    x, y = reviews(10)
    recorder, press = Recorder(), At(hook, lambda model: signal.raise_signal(signal.SIGINT), number)
    model = classifier()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=message):
        model.fit(x, y, batch_size=2, epochs=2, callbacks=[press, recorder], verbose=0)
    assert signal.getsignal(signal.SIGINT) is before
    hooks = [event[1] for event in recorder.events]
    assert (hooks.count("on_train_batch_end"), hooks[-1], hooks.count("on_train_end")) == (batches, "on_train_end", 1)
    assert model.history.epoch == list(range(epochs))
    assert model.optimizer.iterations == batches
    assert np.isfinite(model.predict(x)).all()
    assert len(model.fit(x, y, epochs=2, verbose=0).epoch) == 2


def test_interrupt_in_the_validation():
    x, y = reviews(10)
    seen = Seen()
    model = Sequential([seen, Dense(1)])
    model.compile("sgd", "mse")

    def call(x, mask=None, training=False):
        if len(x) == 4 and not training:
            signal.raise_signal(signal.SIGINT)
        return x

    seen.call = call
    with pytest.raises(KeyboardInterrupt, match="stopped in the validation of epoch 1"):
        model.fit(x, y, batch_size=7, validation_data=(x[:4], y[:4]), epochs=2, verbose=0)
    assert model.optimizer.iterations == 2
    assert model.history.epoch == []


def test_a_second_interrupt_does_not_wait():
    def press_twice():
        with deferred_interrupt() as pressed:
            signal.raise_signal(signal.SIGINT)
            assert len(pressed) == 1
            signal.raise_signal(signal.SIGINT)
            pytest.fail("the second one waited too")

    with pytest.raises(KeyboardInterrupt):
        press_twice()


def test_other_handlers_and_threads_are_left_alone():
    came = []
    before = signal.signal(signal.SIGINT, lambda *arguments: came.append(1))
    try:
        with deferred_interrupt() as pressed:
            signal.raise_signal(signal.SIGINT)
        assert (came, pressed) == ([1], [])
    finally:
        signal.signal(signal.SIGINT, before)
    x, y = reviews(4)
    model = classifier()
    thread = threading.Thread(target=lambda: model.fit(x, y, verbose=0))
    thread.start()
    thread.join()
    assert model.history.epoch == [0]


@pytest.mark.slow
def test_interrupt_from_outside():
    program = textwrap.dedent(
        """
        import time
        import numpy as np
        from rnncore import Sequential, config
        from rnncore.callbacks import Callback, EarlyStopping
        from rnncore.layers import LSTM, Dense, Embedding

        class Slow(Callback):
            def on_train_batch_end(self, batch, logs=None):
                self.counted = self.counted + 1 if batch else 1
                time.sleep(0.01)
            def on_epoch_end(self, epoch, logs=None):
                logs["score"] = abs(epoch - 1)
                self.weights = getattr(self, "weights", []) + [self.model.get_weights()]
                print("epoch", epoch, flush=True)
            def on_train_end(self, logs=None):
                self.ended = True

        config.set_backend("numpy")
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 9, (80, 5)), rng.integers(0, 2, 80)
        model = Sequential([Embedding(9, 4), LSTM(3), Dense(1, activation="sigmoid")])
        model.compile("adam", "binary_crossentropy")
        slow = Slow()
        best = EarlyStopping("score", mode="min", patience=10**6, restore_best_weights=True)
        try:
            model.fit(x, y, epochs=10**6, batch_size=2, callbacks=[slow, best], verbose=0)
        except KeyboardInterrupt as reason:
            assert str(reason).startswith("stopped after epoch"), reason
        assert slow.ended
        assert len(model.history.epoch) == len(slow.weights) >= 3
        assert model.optimizer.iterations >= 40 * len(slow.weights)
        assert (best.best_epoch, best.stopped_epoch) == (1, 0)
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), slow.weights[1]))
        assert np.isfinite(model.predict(x)).all()
        print("done", flush=True)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        for line in process.stdout:
            if line.startswith("epoch 2"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert err == ""
    assert out.splitlines()[-1] == "done"
    assert process.returncode == 0


# --- divergence -------------------------------------------------------------------------------------------------------


class Poison(Layer):
    """Makes one number NaN (or what is asked for), on the way there or back, in one step of training."""

    def __init__(self, value=np.nan, step=2, when=3, back=False):
        super().__init__()
        self.value, self.step, self.when, self.back, self.calls = value, step, when, back, 0

    def spoiled(self, array):
        array = array.copy()
        if self.calls == self.when:
            array[0, self.step] = self.value
        return array

    def call(self, x, mask=None, training=False):
        self.calls += training
        return x if self.back or not training else self.spoiled(x)

    def call_backward(self, dy):
        return self.spoiled(dy) if self.back else dy


def poisoned(layers, poison, place):
    """Return a compiled model with the layer `poison` at a place, and data for five steps an epoch."""
    model = Sequential([*layers[:place], poison, *layers[place:]])
    model.compile("adam", "mse")
    x, y = np.random.default_rng(0).random((10, 4, 3)), np.zeros(10)
    return model, x, y


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_numbers_that_are_not_finite(value, place):
    poison = Poison(value)
    model, x, y = poisoned([LSTM(3, return_sequences=True), SimpleRNN(2), Dense(1)], poison, place)
    kept = []
    keep = Callback()
    keep.on_train_batch_end = lambda batch, logs: kept.append((model.get_weights(), model.optimizer.get_state()))
    recorder = Recorder()
    # tanh hides an infinity from the loss, not from the gradient
    what = r"the loss became nan|the gradient of \S+ is not finite"
    expected = rf"({what}) in epoch 1, batch 3 \(step 3\); first in layer 'poison\S*' at time step 2"
    with pytest.raises(FloatingPointError, match=expected):
        model.fit(x, y, batch_size=2, epochs=2, callbacks=[keep, recorder], verbose=0)
    assert len(kept) == 2
    np.testing.assert_equal((model.get_weights(), model.optimizer.get_state()), kept[-1])
    assert recorder.events[-1][1] == "on_train_end"
    assert model.history.epoch == []
    assert np.isfinite(model.predict(x)).all()


@pytest.mark.parametrize("backwards", [False, True])
def test_a_gradient_that_is_not_finite(backwards):
    poison = Poison(np.inf, step=2, back=True)
    recurrent = SimpleRNN(2, return_sequences=True, go_backwards=backwards, name="inner")
    model, x, y = poisoned([recurrent, LSTM(3), Dense(1)], poison, 1)
    before = []
    keep = Callback()
    keep.on_train_batch_begin = lambda batch, logs=None: before.append(model.get_weights())
    # the poison is behind the layer's third output: with go_backwards that is step 1 of its input
    step = 1 if backwards else 2
    expected = (
        rf"inner\.kernel is not .* in epoch 1, batch 3 \(step 3\); first in layer 'inner' at time step {step}, in"
    )
    with pytest.raises(FloatingPointError, match=expected):
        model.fit(x, y, batch_size=2, callbacks=[keep], verbose=0)
    np.testing.assert_equal(model.get_weights(), before[-1])
    assert model.optimizer.iterations == 2


def test_the_layer_that_overflows_is_named():
    model = Sequential([Dense(2, name="first"), Dense(2, activation="sigmoid", name="second"), Dense(1, name="third")])
    model.compile("sgd", "mse")
    model.build((None, 2))
    model.layers[1].set_weights([np.full((2, 2), 3e38), np.zeros(2)])
    model.layers[0].set_weights([np.eye(2), np.zeros(2)])
    x, y = np.array([[1.0, 2.0]]), np.zeros(1)
    model.layers[2].set_weights([np.array([[3e38], [3e38]]), np.zeros(1)])
    with pytest.raises(
        FloatingPointError, match=r"the loss became inf in this batch \(step 1\); first in layer 'second'"
    ):
        model.train_on_batch(x, y)
    with pytest.raises(FloatingPointError, match="in the evaluation, batch 1; first in layer 'second'"):
        model.evaluate(x, y, verbose=0)
    model.layers[1].set_weights([np.eye(2), np.zeros(2)])
    model.layers[2].set_weights([np.array([[1e30], [1e30]]), np.zeros(1)])
    with pytest.raises(FloatingPointError, match="first in the loss itself: every layer's output is finite"):
        model.train_on_batch(x, y)


def test_a_validation_loss_that_is_not_finite():
    model = Sequential([Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((2, 1)), np.ones(2)
    with pytest.raises(FloatingPointError, match="the loss became inf in the validation of epoch 1, batch 1"):
        model.fit(x, y, validation_data=(x, 1e30 * y), verbose=0)


@pytest.mark.filterwarnings("ignore:overflow")
def test_weights_that_an_update_makes_infinite():
    model = Sequential([Dense(1, name="only")])
    model.compile(optimizers.SGD(1e38), "mse")
    x, y = np.full((2, 1), 1e3), np.full(2, 1e3)
    with pytest.raises(
        FloatingPointError, match=r"weight kernel of layer 'only' is not finite: .*after epoch 1, batch 1"
    ):
        model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="weight kernel of layer 'only' is not finite"):
        model.predict(x)


def test_the_best_weights_survive_divergence():
    model, x, y = poisoned([SimpleRNN(2), Dense(1)], Poison(when=12), 0)
    best = EarlyStopping("loss", patience=9, restore_best_weights=True)
    weights = []
    keep = Callback()
    keep.on_epoch_end = lambda epoch, logs: weights.append(model.get_weights())
    with pytest.raises(FloatingPointError, match=r"epoch 3, batch 2 \(step 12\)"):
        model.fit(x, y, batch_size=2, epochs=5, callbacks=[keep, best], verbose=0)
    assert len(model.history.epoch) == 2
    np.testing.assert_equal(model.get_weights(), weights[best.best_epoch])


def test_fit_compiles_nothing_for_a_single_row(monkeypatch):
    """Five seconds of it, on a machine where nothing is compiled yet."""
    config.set_backend("numba")
    config.set_threads(2)
    monkeypatch.setattr(pool, "_WORTH_A_THREAD", 1)
    jobs, meant = [], pool.shards_of
    monkeypatch.setattr(pool, "shards_of", lambda *given: jobs.extend(given) or meant(*given))
    model = Sequential([LSTM(40), Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.random.default_rng(0).standard_normal((8, 6, 3)), np.zeros((8, 1))
    model.fit(x, y, batch_size=4, validation_data=(x, y), verbose=0)
    names = " ".join(job.function.__name__ for job in jobs if job.function is not None)
    assert "forward" in names and "forward_few" not in names
    model.predict(x[:1], verbose=0)
    assert any("forward_few" in job.function.__name__ for job in jobs if job.function is not None)


def test_a_model_in_a_model_that_lost_a_layer_is_checked_anew():
    inner = Sequential([Dense(8), Dense(4)])
    outer, x = Sequential([inner, Dense(1)]), np.ones((2, 3))
    outer(x)
    inner.pop()
    with pytest.raises(ValueError, match=r"8 features.*built for 4"):
        outer(x)


@pytest.mark.parametrize(
    "refused",
    [
        lambda model: model.fit(np.ones((4, 3)), np.ones((4, 7)), verbose=0),
        lambda model: model.fit(np.ones((4, 3)), np.ones((4, 1)), validation_data=(np.ones((2, 3)), np.ones((2, 7)))),
        lambda model: model.evaluate(np.ones((4, 3)), np.ones((4, 7)), verbose=0),
    ],
    ids=("targets", "targets of the validation", "evaluate"),
)
def test_what_is_refused_chooses_no_shapes(refused):
    model = Sequential([Dense(2), Sequential([Dense(1)])])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"y_true has shape"):
        refused(model)
    assert not model.built and not any(part.built for part in model.walk())
    model.fit(np.ones((4, 5)), np.ones((4, 1)), verbose=0)  # of other features
    assert model.built and model.layers[0].kernel.shape == (5, 2)
