"""Live against PyTorch: RNN, LSTM and GRU with mapped weights, one way and back, and the mapping itself."""

import numpy as np
import pytest
from cases import RUN_SEED
from torch_reference import MODULES, Case, assert_same, draw_case, layers_of, module_of

from rnncore import layers
from rnncore.interop import weights_from_torch, weights_to_torch

pytestmark = [
    pytest.mark.torch,
    # OpenBLAS sets the flag now and then though all is finite (numpy issue 24067); a NaN would fail the comparison
    pytest.mark.filterwarnings("ignore:invalid value encountered in matmul:RuntimeWarning"),
]

all_layers = pytest.mark.parametrize("layer", MODULES)
bidirectional = pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
depths = pytest.mark.parametrize("depth", [1, 2])


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # the arrays are small: threads would wait for one another
    return torch


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("packed", [False, True], ids=["full", "packed"])
@bidirectional
@depths
@all_layers
def test_layers(layer, depth, bidirectional, packed):
    assert_same(Case(layer, depth=depth, bidirectional=bidirectional, packed=packed))


@pytest.mark.usefixtures("torch")
@all_layers
def test_a_larger_size_in_float32(layer):
    assert_same(Case(layer, (42, 30, 20), 48, depth=2, bidirectional=True, packed=True, dtype="float32"))


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("number", range(40))
def test_random_cases(number):
    assert_same(draw_case(np.random.default_rng([RUN_SEED, number])))


@pytest.mark.slow
@pytest.mark.usefixtures("torch")
def test_many_random_cases():
    for number in range(500):
        assert_same(draw_case(np.random.default_rng([RUN_SEED, 1, number])))


# --- weights to torch ------------------------------------------------------------------------------------------------


def random_stack(case):
    """Return layers with random weights, each built for the output of the one before."""
    rng = np.random.default_rng(case.seed)
    stack, features = layers_of(case), case.shape[2]
    for layer in stack:
        layer.build((None, None, features))
        layer.set_weights([rng.standard_normal(weight.shape) for weight in layer.get_weights()])
        features = case.units * (1 + case.bidirectional)
    return stack


@bidirectional
@depths
@all_layers
def test_weights_into_torch(torch, layer, depth, bidirectional):
    case = Case(layer, depth=depth, bidirectional=bidirectional)
    stack, module = random_stack(case), module_of(case)
    state = weights_to_torch([own.get_weights() for own in stack])
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    y = x = np.random.default_rng(1).standard_normal(case.shape)
    for own in stack:
        y = own(y)[0]
    np.testing.assert_allclose(y, module(torch.from_numpy(x))[0].detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("use_bias", [False, True])
@bidirectional
@all_layers
def test_there_and_back(layer, bidirectional, use_bias):
    case = Case(layer, depth=3, bidirectional=bidirectional, use_bias=use_bias)
    weights = [own.get_weights() for own in random_stack(case)]
    state = {f"rnn.{name}": array for name, array in weights_to_torch(weights).items()} | {"head.weight": np.ones(3)}
    back = weights_from_torch(state, prefix="rnn.")
    for ours, again in zip(weights, back, strict=True):
        assert all(map(np.array_equal, ours, again)) and len(ours) == len(again)


def test_weights_are_copies():
    state = {"weight_ih_l0": np.ones((3, 2)), "weight_hh_l0": np.ones((3, 3))}
    for array in weights_from_torch(state)[0]:
        array[...] = 2
    assert all((array == 1).all() for array in state.values())


LSTM_STATE = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_hr_l0": (1, 2)}, "weight_hr_l0"),  # proj_size
        ({"weight_ih_l0": None}, "expected weight_ih_l0"),
        ({"weight_hh_l0": None}, "has not all of weight_ih_l0, weight_hh_l0"),
        ({"bias_hh_l0": None}, "biases both or none"),
        ({"weight_hh_l0": (8, 3)}, r"weight_hh_l0 has shape \(3, 8\)"),
        ({"weight_ih_l0": (6, 3)}, r"weight_ih_l0 has shape \(6, 3\); expected 2 axes and 8 rows"),
        ({"bias_hh_l0": (6,)}, r"bias_hh_l0 has shape \(6,\)"),
        ({"weight_ih_l2": (8, 2), "weight_hh_l2": (8, 2)}, "has not all of weight_ih_l1"),
    ],
)
def test_states_refused(changes, message):
    state = {name: np.ones(shape) for name, shape in (LSTM_STATE | changes).items() if shape}
    with pytest.raises(ValueError, match=message):
        weights_from_torch(state)


def test_a_module_is_no_state():
    with pytest.raises(TypeError, match=r"module\.state_dict\(\)"):
        weights_from_torch(object())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.GRU(2, reset_after=False), r"bias has shape \(6,\); expected \(2, 6\)"),
        (layers.CarryRNN(2), "shape"),
        (layers.CarryRNN(2, use_bias=False), "bias has shape"),
        (layers.Bidirectional(layers.CarryRNN(2)), "has 8 weights"),
        (layers.Bidirectional(layers.CarryRNN(2, use_bias=False)), "bias has shape"),
        (layers.TimeDistributed(layers.Dense(2)), "recurrent_kernel has shape"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_layers_refused(layer, message):
    layer.build((None, 5, 3))
    with pytest.raises(ValueError, match=message):
        weights_to_torch([layer.get_weights()])
