"""Every layer shows its arguments: where a constructor is not written out, a stub file says them, and is current."""

import inspect
from typing import get_type_hints

import pytest
from make_stubs import MODULES, path_of, stub

from rnncore import layers
from rnncore.configured import subclasses
from rnncore.optimizers import Optimizer, classes

BASES = {"CellRNN", "RecurrentCell"}  # whose arguments are those of the cell that a subclass names


@pytest.mark.parametrize("module", MODULES)
def test_a_stub_is_current(module):
    assert path_of(module).read_text() == stub(module), "run python -m tests.make_stubs"


@pytest.mark.parametrize("name", sorted(set(layers.__all__) - BASES))
def test_every_layer_shows_its_arguments(name):
    cls = getattr(layers, name)
    if isinstance(cls, type) and cls.__module__ not in MODULES:
        kinds = {parameter.kind for parameter in inspect.signature(cls.__init__).parameters.values()}
        assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def test_every_optimizer_shows_its_arguments():
    own = inspect.signature(Optimizer, eval_str=True).parameters
    assert get_type_hints(classes.Options) == {name: own[name].annotation for name in own if name != "learning_rate"}
    for cls in subclasses(Optimizer):
        kwargs = inspect.signature(cls).parameters.get("kwargs")
        assert kwargs is None or kwargs.annotation in ("Unpack[Options]", "Unpack[_Options]")


def test_options_have_one_default():
    own = inspect.signature(layers.RNN).parameters
    others = inspect.signature(layers.LSTM).parameters
    assert {name: own[name].default for name in own if name != "cell"} == {
        name: others[name].default for name in own if name != "cell"
    }
