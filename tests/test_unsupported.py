"""Keras's names: each is here, or says in one sentence that it is not and what is the nearest thing."""

import importlib
import subprocess
import sys
from functools import reduce

import numpy as np
import pytest

import rnncore
from rnncore.unsupported import EVERYWHERE, UNSUPPORTED

SENTENCES = {
    "rnncore.layers.Conv1DTranspose": "rnncore.layers has no Conv1DTranspose; the nearest thing: Conv1D",
    "rnncore.layers.MultiHeadAttention": "a recurrent layer with return_sequences=True",
    "rnncore.layers.Concatenate": "Bidirectional, with its merge_mode; a model is one chain of layers",
    "rnncore.ops": "rnncore has no ops; the nearest thing: NumPy",
    "rnncore.backend": "rnncore.config for floatx",
    "rnncore.applications": "models.load_model",
    "rnncore.utils.plot_model": r"model.summary\(\)",
    "rnncore.metrics.MeanIoU": "F1Score",
    "rnncore.losses.serialize": r"get_config\(\) and from_config\(config\) of the class",
    "rnncore.optimizers.legacy": "the names without it",
    "rnncore.datasets.mnist": "imdb: reviews as sequences of words",
    "rnncore.callbacks.GradientFlow": "rnncore.study, which has it",
    "rnncore.layers.StringLookup": "TextVectorization in its mode 'int', or preprocessing.text.Tokenizer",
}


@pytest.mark.parametrize(("path", "sentence"), SENTENCES.items())
def test_what_is_absent_says_the_nearest_thing(path, sentence):
    module, _, name = path.rpartition(".")
    assert not hasattr(importlib.import_module(module), name)
    with pytest.raises(AttributeError, match=sentence):
        getattr(importlib.import_module(module), name)
    with pytest.raises(ImportError, match=sentence):
        exec(f"from {module} import {name}")


MODULES = {
    "rnncore.preprocessing.image": "rnncore.preprocessing has no image; the nearest thing: nothing for images",
    "rnncore.applications.vgg16": "rnncore has no applications; the nearest thing: models.load_model",
    "rnncore.utils.np_utils": r"rnncore.utils has no np_utils; the nearest thing: utils.to_categorical",
    "rnncore.datasets.mnist": "rnncore.datasets has no mnist; the nearest thing: imdb",
    "rnncore.backend": "rnncore has no backend; the nearest thing: rnncore.config",
}


@pytest.mark.parametrize(("module", "sentence"), MODULES.items())
def test_modules_that_are_absent(module, sentence):
    for way in (f"from {module} import anything", f"import {module}"):
        with pytest.raises(ModuleNotFoundError, match=f"^{sentence}"):
            exec(way)


RIGHT = {
    "Adam": (lambda: rnncore.optimizers.Adam(lr=0.1), "Adam has no argument 'lr': it is learning_rate"),
    "RMSprop": (lambda: rnncore.optimizers.RMSprop(decay=0.1), "RMSprop has no argument 'decay': learning_rate takes"),
    "LSTM": (
        lambda: rnncore.layers.LSTM(3, batch_first=True),
        r"LSTM has no argument 'batch_first': none is needed, x is",
    ),
    "GRU": (lambda: rnncore.layers.GRU(3, batch_input_shape=(2, 3, 4)), r"an Input\(batch_shape=…\) before the layer"),
    "cell": (
        lambda: rnncore.layers.LSTMCell(3, return_sequences=True),
        "LSTMCell has no argument 'return_sequences': ",
    ),
    "Dense": (
        lambda: rnncore.layers.Dense(3, activaton="relu"),
        "Dense has no argument 'activaton': did you mean activation?",
    ),
    "Dropout": (lambda: rnncore.layers.Dropout(p=0.1), "Dropout has no argument 'p': it is rate"),
    "loss": (lambda: rnncore.losses.Huber(beta=1), "Huber has no argument 'beta': did you mean delta|it has delta"),
    "metric": (lambda: rnncore.metrics.AUC(thresh=3), "AUC has no argument 'thresh': did you mean thresholds?"),
    "Embedding": (
        lambda: rnncore.layers.Embedding(num_embeddings=3),
        "Embedding has no argument 'num_embeddings': it is",
    ),
    "callback": (lambda: rnncore.callbacks.EarlyStopping(patients=2), "no argument 'patients': did you mean patience"),
    "positions": (
        lambda: rnncore.layers.LSTM(),
        "^LSTM: missing a required argument: 'units'; its arguments are units, ",
    ),
}


@pytest.mark.parametrize(("call", "sentence"), RIGHT.values(), ids=RIGHT)
def test_arguments_by_another_name(call, sentence):
    with pytest.raises(TypeError, match=sentence) as told:
        call()
    assert len(str(told.value)) < 700


def test_arguments_of_layers_of_one_s_own():
    class Own(rnncore.layers.Layer):
        def __init__(self, size, **kwargs):
            super().__init__(**kwargs)

    assert Own(3, name="a", trainable=False).name == "a"
    with pytest.raises(TypeError, match=r"Own has no argument 'sizes': did you mean size\?"):
        Own(3, sizes=4)


def test_what_nobody_has_is_an_ordinary_error():
    done = subprocess.run(
        [sys.executable, "-c", "import rnncore; rnncore.layers.Embeding"], capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == "AttributeError: rnncore.layers has no Embeding. Did you mean: 'Embedding'?"
    with pytest.raises(ImportError, match="cannot import name 'Embeding'"):
        from rnncore.layers import Embeding  # noqa: F401
    assert not hasattr(rnncore.datasets, "__wrapped__")


def of_keras(module):
    """Return the module of Keras that has the place of one of ours."""
    return reduce(getattr, module.split(".")[1:], pytest.importorskip("keras"))


@pytest.mark.keras
@pytest.mark.parametrize("module", UNSUPPORTED)
def test_every_name_of_keras(module):
    theirs = of_keras(module)
    ours, unknown = importlib.import_module(module), []
    names = [name for name in dir(theirs) if not name.startswith("_")]
    for name in (name for name in names if not hasattr(ours, name)):
        with pytest.raises(AttributeError) as error:
            getattr(ours, name)
        if "the nearest thing: " not in str(error.value):
            unknown.append(name)
    assert not unknown
    assert names


@pytest.mark.keras
@pytest.mark.parametrize("module", UNSUPPORTED)
def test_nothing_that_keras_has_not_is_in_the_table(module):
    from fnmatch import filter as matching

    theirs = of_keras(module)
    others = {"np_utils", "TimeseriesGenerator", "skipgrams", "make_sampling_table"}  # of Keras 2
    others |= {"GateRecorder", "GradientFlow"}  # of the study
    for patterns in UNSUPPORTED[module]:
        assert all(matching(dir(theirs), pattern) for pattern in set(patterns.split()) - others), patterns


def test_two_inputs_are_refused_in_one_sentence():
    one, other = rnncore.Input((3,)), rnncore.Input((3,))
    with pytest.raises(TypeError, match=r"dense.*: x is a list of inputs; rnncore has models of one chain of layers"):
        rnncore.layers.Dense(2)([one, other])
    with pytest.raises(TypeError, match="inputs are 2; rnncore has models of one chain only"):
        rnncore.Model([one, other], rnncore.layers.Dense(2)(one))


@pytest.mark.parametrize(("kind", "argument"), [("losses", "loss"), ("metrics", "metric"), ("optimizers", "optimizer")])
def test_names_in_strings(kind, argument):
    with pytest.raises(ValueError, match=rf"unknown {argument} 'ada'.*; known: "):
        getattr(rnncore, kind).get("ada")


def test_small_letters():
    assert rnncore.initializers.glorot_uniform is rnncore.initializers.GlorotUniform
    assert rnncore.layers.Dense(2, kernel_initializer=rnncore.initializers.zeros)(np.ones((1, 3))).tolist() == [[0, 0]]
    assert EVERYWHERE
