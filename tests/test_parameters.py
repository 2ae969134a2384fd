"""Keras's parameters, listed: each is taken, or refused in a sentence. The list is made by `keras_parameters`."""

import functools
import importlib
import inspect
import json

import keras_parameters
import pytest

import rnncore
from rnncore.callbacks import Callback
from rnncore.configured import Configured
from rnncore.layers import LSTM, Dense, GRUCell, LSTMCell
from rnncore.unsupported import ARGUMENTS

LISTED = json.loads(keras_parameters.TABLE.read_text())

# What a class needs, and values other than the defaults: by parameter, or class and parameter.
NEEDED = {
    "units": 3,
    "rate": 0.1,
    "stddev": 0.1,
    "activation": "tanh",
    "input_dim": 5,
    "output_dim": 2,
    "cell": LSTMCell(2),
    "cells": [LSTMCell(2)],
    "layer": LSTM(2),
    "dims": (1,),
    "target_shape": (2,),
    "n": 2,
    "shape": (3,),
    "learning_rate": 0.1,
    "initial_learning_rate": 0.1,
    "decay_steps": 3,
    "first_decay_steps": 3,
    "decay_rate": 0.5,
    "boundaries": [1],
    "values": [0.1, 0.2],
    "filepath": "model",
    "filename": "log.csv",
    "backup_dir": "folder",
    "schedule": lambda epoch, rate: rate,
    "fn": lambda y, p: y - p,
    "pool_size": 2,
    "filters": 3,
    "kernel_size": 2,
}
OTHER = NEEDED | {
    "name": "mine",
    "dtype": "float64",
    "RNN.dtype": "float32",  # its cell's
    "StackedRNNCells.dtype": "float32",
    "seed": 3,
    "activation": "relu",
    "recurrent_activation": "hard_sigmoid",
    "axis": -1,  # the one there is, but for a constraint's and LayerNormalization's
    "reduction": "sum",
    "thresholds": [0.2, 0.7],
    "threshold": 0.25,
    "average": "micro",
    "curve": "PR",
    "summation_method": "minoring",
    "label_weights": [1.0, 2.0],
    "ignore_class": -1,
    "noise_shape": (None, 1),
    "weights": [[[1.0, 2.0]] * 5],
    "backward_layer": LSTM(2, go_backwards=True),
    "merge_mode": "sum",
    "use_cudnn": False,
    "data_format": "channels_last",
    "mode": "max",
    "OrthogonalRegularizer.mode": "columns",
    "distribution": "uniform",
    "minval": -1.0,
    "input_axes": [0],
    "output_axes": [1],
    "VarianceScaling.mode": "fan_out",
    "clipnorm": 1.0,
    "clipvalue": 1.0,
    "global_clipnorm": 1.0,
    "ema_overwrite_frequency": 5,
    "gradient_accumulation_steps": 2,
    "weight_decay": 0.01,
    "monitor": "loss",
    "save_freq": 5,
    "initial_value_threshold": 0.5,
    "baseline": 0.5,
    "separator": ";",
    "value": 2.0,
    "class_id": 1,
    "top_k": 1,
    "num_labels": 2,
    "batch_size": 2,
    "TextVectorization.split": "character",
    "standardize": "lower",
    "ngrams": 2,
    "max_tokens": 9,
    "output_sequence_length": 4,
    "vocabulary": ["a", "b"],
    "encoding": "latin-1",
    "batch_shape": (2, 3),
    "t_mul": 3.0,
    "alpha": 0.5,
    "delta": 2.0,
    "label_smoothing": 0.5,
    "warmup_target": 0.5,
    "end_learning_rate": 0.01,
    "initial_accumulator_value": 0.5,
    "k": 3,
    "strides": 3,
    "padding": "same",
    "dilation_rate": 2,
    "max_value": 3.0,
    "beta": 2.0,
    "power": 2.0,
}
ALONE = {  # of these a class takes the default alone, and says so itself
    ("BatchNormalization", "renorm"),
    ("Conv1D", "groups"),
}
DIFFERENT = {  # parameters whose default here is written in another way
    "name": "None stands for the class's",
    "data_format": "None stands for the one there is",
    "activation": "None stands for linear",
}


def class_of(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"rnncore.{module}"), name)


def refused(cls):
    """Return why, by parameter, a class does not take all of Keras's values."""
    return {name: why for base in cls.__mro__ for name, why in ARGUMENTS.get(base.__name__, {}).items()}


def own(cls):
    """Return the parameters of a constructor, those that it hands on among them."""
    found = dict(inspect.signature(cls).parameters)
    if issubclass(cls, rnncore.Optimizer):
        common = inspect.signature(rnncore.Optimizer).parameters
        found |= {name: common[name] for name in common if name not in found}
    if cls is rnncore.callbacks.LambdaCallback:  # its parameters are the hooks
        hook = inspect.Parameter("hook", inspect.Parameter.KEYWORD_ONLY, default=None)
        found |= {name: hook for name in dir(Callback) if name.startswith("on_")}
    return {name: p for name, p in found.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def other_than(cls, name, default):
    """Return a value that is not the default."""
    for key in (f"{cls.__name__}.{name}", name):
        if key in OTHER and (key in NEEDED) <= (default is inspect.Parameter.empty or key == "activation"):
            return OTHER[key]
    for end, value in {"_initializer": "ones", "_regularizer": "l2", "_constraint": "non_neg"}.items():
        if name.endswith(end):
            return value
    if isinstance(default, bool):
        return not default
    if isinstance(default, (int, float)):
        return default + 1 if isinstance(default, int) else default / 2 + 0.1
    return (lambda *given: None) if name.startswith("on_") else OTHER[name]


def made(cls, **given):
    """Return an object of a class, with what it needs and what is given."""
    needs = {
        name: NEEDED[name]
        for name, p in own(cls).items()
        if p.default is inspect.Parameter.empty and name not in given and name in NEEDED
    }
    if cls is rnncore.layers.InputLayer and "batch_shape" not in given:
        needs = {"shape": (3,)} | needs
    if cls is rnncore.layers.TimeDistributed:
        needs["layer"] = Dense(2)
    if cls is rnncore.Metric:  # what it counts, a subclass says
        cls = type("Mine", (cls,), {"reset_state": lambda self: None})
    return cls(**needs | given)


PAIRS = [(path, name) for path, parameters in LISTED.items() for name in parameters]


@functools.cache
def known(path):
    return class_of(path), own(class_of(path)), refused(class_of(path))


@pytest.mark.parametrize("path", LISTED)
def test_every_parameter_is_taken_or_refused_in_a_sentence(path):
    cls, parameters, why = known(path)
    for name, written in LISTED[path].items():
        if name in why:
            allowed, reason = why[name]
            for value in allowed:
                made(cls, **{name: value})
            with pytest.raises(ValueError, match=f"{name} is 'something'; only .* taken: ") as refusal:
                made(cls, **{name: "something"})
            assert reason in str(refusal.value)
            continue
        assert name in parameters, f"{path} does not take {name}"
        default = parameters[name].default
        if written != keras_parameters.REQUIRED and name not in DIFFERENT:
            assert repr(default) == written or eval(written, {}) == default, f"{path}: {name}"
        if (cls.__name__, name) in ALONE:
            with pytest.raises(ValueError, match=name):
                made(cls, **{name: other_than(cls, name, default)})
            continue
        thing = made(cls, **{name: other_than(cls, name, default)})
        if default is not inspect.Parameter.empty and written != keras_parameters.REQUIRED and "shape" not in name:
            made(cls, **{name: eval(written, {})})
        if isinstance(thing, Configured) and name not in (*cls.unkept, *DIFFERENT):
            assert name in thing.get_config(), f"{path} forgets {name}"


def test_positions():
    """What Keras's constructors take without a name stands in the same order."""
    for path, listed in LISTED.items():
        if path == "callbacks.LambdaCallback":  # hooks come by name
            continue
        _, parameters, why = known(path)
        named = {"name", "dtype", "trainable", "activity_regularizer", *why}  # by name in most of Keras's
        common = [name for name in listed if name in parameters and name not in named]
        assert common == [name for name in parameters if name in common], path


@pytest.mark.keras
def test_the_list_is_that_of_live_keras():
    pytest.importorskip("keras")
    assert keras_parameters.listed() == LISTED


def test_every_class_with_a_sentence_is_listed():
    assert {path.rpartition(".")[2] for path in LISTED} >= {*ARGUMENTS} - {"RecurrentCell"}
    assert issubclass(GRUCell, rnncore.layers.RecurrentCell)
    assert len(PAIRS) > 600
