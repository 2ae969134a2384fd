"""A cell that is not in the library runs like those that are."""

from dataclasses import replace

import numpy as np
import pytest
from cases import PATTERNS, SEED, few_at_first, masks, randomize

from examples.own_cell import MGU, MGUCell
from rnncore import cells, config, gradcheck, study
from rnncore.bptt.compiled_loop import loop
from rnncore.layers import RNN, Bidirectional, SimpleRNNCell


@pytest.mark.parametrize("pattern", few_at_first(PATTERNS[::-1], 1))
@pytest.mark.parametrize("backend", few_at_first(["numpy", "numba"], 1))
def test_own_cell(backend, pattern):
    config.set_backend(backend)
    rng = np.random.default_rng(SEED)
    x, mask = rng.standard_normal((3, 5, 2)), masks(pattern, 3, 5, rng)
    states = [rng.standard_normal((3, 4))]
    layer = RNN(MGUCell(4, dropout=0.2, recurrent_dropout=0.3, dtype="float64"), return_sequences=True)
    layer(x)
    randomize(layer, rng)
    assert gradcheck.check_layer(layer, x, mask, training=True, initial_state=states).worst < 1e-7
    assert gradcheck.check_layer(layer, x, mask, initial_state=states, method="complex").worst < 1e-12
    assert gradcheck.check_layer(Bidirectional(MGU(3)), x, mask).worst < 1e-7


@pytest.mark.slow
def test_both_backends_agree_on_the_equations_by_hand():
    x = np.random.default_rng(SEED).standard_normal((2, 3, 2))
    layer = MGU(4, dtype="float64", seed=1, bias_initializer="normal", return_sequences=True)
    h, hs = np.zeros((2, 4)), []
    layer(x)
    kernel, recurrent, bias = layer.get_weights()
    for t in range(3):
        x_f, x_k = np.split(x[:, t] @ kernel + bias, 2, axis=1)
        u_f, u_k = np.split(h @ recurrent, 2, axis=1)
        f = 1 / (1 + np.exp(-x_f - u_f))
        h = (1 - f) * h + f * np.tanh(x_k + f * u_k)
        hs.append(h)
    for backend in config.BACKENDS:
        config.set_backend(backend)
        np.testing.assert_allclose(layer(x), np.stack(hs, axis=1), rtol=1e-12)
    assert set(study.trace(layer, x)[layer.name]) == {"x", "z_f", "x_k", "u_k", "f", "k", "h", "h_prev"}


@pytest.mark.slow
def test_kernels_of_a_users_cell_are_not_kept_on_disk():
    layer = MGU(2)
    layer(np.ones((1, 2, 2)))
    cell = layer.cell._cell
    assert type(loop(cell)._forward._cache).__name__ == "NullCache"


def test_a_cell_that_says_something_wrong_is_refused():
    with pytest.raises(TypeError, match="unit_forget_bias"):
        MGUCell(3, unit_forget_bias=True)


class TwoBiasesCell(SimpleRNNCell):
    """A plain cell with a bias for each of its two products, as some frameworks have it."""

    equations = replace(cells.SIMPLE_RNN, split_bias=True)


@pytest.mark.parametrize("dropouts", [{}, {"dropout": 0.2, "recurrent_dropout": 0.3}])
def test_two_biases_of_one_sum(dropouts):
    layer = RNN(TwoBiasesCell(3, dtype="float64", **dropouts))
    x = np.random.default_rng(SEED).standard_normal((5, 4, 2))
    layer(x)
    randomize(layer, np.random.default_rng(SEED))
    assert gradcheck.check_layer(layer, x, training=True).worst < 1e-7
