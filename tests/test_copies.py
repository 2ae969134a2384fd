"""Pickles and copies of models, layers, optimizers, metrics, callbacks: what comes back goes on as the original."""

import copy
import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import rnncore
from rnncore import callbacks, constraints, initializers, layers, losses, metrics, optimizers, regularizers
from rnncore.cells import LSTM as EQUATIONS
from rnncore.layers import LSTM, Bidirectional, Dense, Dropout, Embedding, Layer

Own = layers.layer_of(EQUATIONS)
Own.__module__, Own.__qualname__ = __name__, "Own"
Own.cell_class.__module__, Own.cell_class.__qualname__ = __name__, "Own.cell_class"
WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
    "read-only": lambda value: _from_buffers(value),
}
GIVEN = {  # what constructors must be given, by the argument's name
    "units": 3,
    "learning_rate": 0.1,
    "input_dim": 9,
    "output_dim": 2,
    "rate": 0.5,
    "stddev": 0.5,
    "n": 2,
    "dims": (2, 1),
    "target_shape": (-1,),
    "activation": "gelu",
    "filepath": "a",
    "filename": "a",
    "backup_dir": "a",
    "schedule": abs,
    "shape": (2,),
    "function": np.ones,
    "pool_size": 2,
    "filters": 2,
    "kernel_size": 2,
    "padding": 1,
    "cropping": 1,
    "fn": losses.mean_squared_error,
    "initial_learning_rate": 0.1,
    "decay_steps": 5,
    "decay_rate": 0.9,
    "boundaries": [3],
    "values": [0.1, 0.2],
    "first_decay_steps": 5,
    "input": np.ones((1, 2)),
    "x": np.ones((1, 2)),
    "y": np.ones((1, 2)),
}


def _from_buffers(value):
    """As joblib hands it to another process: arrays that can only be read."""
    buffers = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])


def made(cls):
    required = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
    wrapped = {"layer": LSTM(3), "cell": layers.LSTMCell(3), "cells": [layers.GRUCell(3)]}
    known = {**GIVEN, **wrapped}
    return cls(**{name: known[name] for name in required if name in known})


def classes():
    for module in (layers, losses, metrics, optimizers, optimizers.schedules, callbacks, initializers, regularizers):
        for name, cls in sorted(vars(module).items()):
            if isinstance(cls, type) and cls.__module__.startswith("rnncore") and name == cls.__name__:
                yield cls
    yield from (constraints.MaxNorm, Own, Own.cell_class)


BASES = {
    "Metric",
    "Layer",
    "RNN",
    "CellRNN",
    "RecurrentCell",
    "InputLayer",
    "LearningRateSchedule",
    "RandomInitializer",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_class(way):
    seen = 0
    for cls in classes():
        if cls.__name__ in BASES or cls.__name__.startswith("_") or cls.__name__ == "LearningRate":
            continue
        value = made(cls)
        again = WAYS[way](value)
        assert type(again) is cls
        if hasattr(value, "get_config"):
            assert repr(again.get_config()) == repr(value.get_config())
        seen += 1
    assert seen > 100


def reviews():
    rng = np.random.default_rng(4)
    return rng.integers(0, 40, (24, 7)), rng.integers(0, 2, 24)


def reviewer(rows=40):
    model = rnncore.Sequential(
        [
            Embedding(rows, 4, mask_zero=True),
            Bidirectional(LSTM(3, return_sequences=True, dropout=0.2, recurrent_dropout=0.2)),
            Own(3, activation="gelu", stateful=True),
            Dropout(0.3),
            Dense(1, activation="sigmoid", use_bias=False),
        ]
    )
    model.compile(
        optimizers.Nadam(0.01, use_ema=True),
        "binary_crossentropy",
        metrics=["accuracy", metrics.AUC(), metrics.F1Score("macro")],
    )
    return model


def check_goes_on(way):
    x, y = reviews()
    model, stopping = reviewer(), callbacks.EarlyStopping("loss", patience=9)
    model.fit(x, y, 8, 2, 0, callbacks=[stopping])
    again, stopping = WAYS[way]((model, stopping))
    assert stopping.model is again
    results = [each.fit(x, y, 8, 2, 0, callbacks=[stopping]).history for each in (model, again)]
    assert results[0] == results[1]
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.layers[0] is not model.layers[0]
    np.testing.assert_array_equal(again.optimizer.get_state()["momentum/0"], model.optimizer.get_state()["momentum/0"])


@pytest.mark.parametrize("way", WAYS)
def test_training_goes_on_as_the_original_s(way):
    rnncore.set_backend("numpy")
    check_goes_on(way)


@pytest.mark.slow
def test_updates_that_are_pending_are_taken_along():
    rnncore.set_backend("numba")
    check_goes_on("pickle")


def test_what_the_last_call_left_stays():
    rnncore.set_backend("numpy")
    x, y = reviews()
    model = reviewer()
    model.train_on_batch(x[:8], y[:8])
    size = len(pickle.dumps(model))
    model.layers[2].reset_state()
    model.train_on_batch(np.tile(x, (40, 3)), np.tile(y, 40))
    model.layers[2].reset_state()
    assert len(pickle.dumps(model)) < size + 1000
    again = copy.deepcopy(model)
    with pytest.raises(ValueError, match="backward came before a call"):
        again.backward(np.ones((960, 1)))
    with pytest.raises(ValueError, match="there are no steps to look at"):
        again.layers[2].time_series()
    assert again.layers[2].cells[0].draws == (None, None)


class Doubling(Layer):
    def call(self, x, mask=None, training=False):
        self.factor = 2
        return x * self.factor


def test_a_layer_of_one_s_own_keeps_its_attributes():
    layer = Doubling()
    layer(np.ones((1, 2)))
    layer.note = "mine"
    again = pickle.loads(pickle.dumps(layer))
    assert (again.note, again.factor, again.name, again.last_output) == ("mine", 2, layer.name, None)


def answers(model, x):
    rnncore.set_backend("numpy")
    return model.predict(x)


@pytest.mark.slow
def test_a_pool_of_processes():
    rnncore.set_backend("numpy")
    x, _ = reviews()
    model = rnncore.Sequential([Embedding(40, 4), LSTM(3), Dense(1)])
    expected = model.predict(x)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        np.testing.assert_array_equal(pool.submit(answers, model, x).result(), expected)
