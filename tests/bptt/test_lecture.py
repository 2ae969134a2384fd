"""The lecture's loops: against the layers in both backends, and against the derivative by its definition."""

import numpy as np
import pytest
from cases import RUN_SEED

from rnncore import config
from rnncore.bptt import lecture
from rnncore.layers import LSTM, SimpleRNN

RNG = np.random.default_rng(RUN_SEED)
CELLS = {
    "lstm": (LSTM, 4, 2, lecture.lstm_forward, lecture.lstm_backward),
    "simple_rnn": (SimpleRNN, 1, 1, lecture.rnn_forward, lecture.rnn_backward),
}
SIZES = [  # T, B, D, H
    (1, 1, 1, 1),
    (1, 5, 3, 4),
    (6, 1, 2, 3),
    (5, 4, 3, 1),
    (7, 41, 5, 9),
    *(tuple(map(int, RNG.integers(1, 12, 4))) for _ in range(2)),
]


def arguments(cell, sizes, rng):
    """Return random arguments of a forward loop, and a gradient of its outputs."""
    steps, rows, features, units = sizes
    _, gates, states, *_ = CELLS[cell]
    shapes = [(steps, rows, features), *[(rows, units)] * states]
    shapes += [(features, gates * units), (units, gates * units), (gates * units,)]
    return [rng.standard_normal(shape) for shape in shapes], rng.standard_normal((steps, rows, units))


@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_the_layers_compute_what_the_lecture_does(cell, sizes, backend):
    config.set_backend(backend)
    layer_class, _, _, forward, backward = CELLS[cell]
    (x, *states, W, U, b), dh = arguments(cell, sizes, np.random.default_rng(RUN_SEED))
    layer = layer_class(sizes[-1], return_sequences=True, dtype="float64")
    layer.build((None, None, sizes[2]))
    layer.set_weights([W, U, b])
    y = layer(x.swapaxes(0, 1), initial_state=states)
    dx = layer.backward(dh.swapaxes(0, 1))

    hs, cache = forward(x, *states, W, U, b)
    found = [y.swapaxes(0, 1), dx.swapaxes(0, 1), *layer.state_gradients, *layer.get_gradients()]
    for mine, expected in zip(found, [hs, *backward(dh, cache, W, U)], strict=True):
        assert np.abs(mine - expected).max() <= 1e-12 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (4, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_the_lectures_gradients_are_the_derivative(cell, sizes):
    """dL/da = Im L(a + ih) / h for L = sum(dh * hs): exact to rounding, as no difference is taken."""
    *_, forward, backward = CELLS[cell]
    given, dh = arguments(cell, sizes, np.random.default_rng(RUN_SEED))
    _, cache = forward(*given)
    for n, gradient in enumerate(backward(dh, cache, *given[-3:-1])):
        assert gradient.shape == given[n].shape
        for index in np.ndindex(gradient.shape):
            moved = [array.astype(complex) for array in given]
            moved[n][index] += 1e-30j
            hs, _ = forward(*moved)
            assert (dh * hs).sum().imag / 1e-30 == pytest.approx(gradient[index], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_lecture_computes_in_the_dtype_it_is_given(cell, dtype):
    *_, forward, backward = CELLS[cell]
    given, dh = arguments(cell, (3, 2, 4, 5), np.random.default_rng(RUN_SEED))
    given = [array.astype(dtype) for array in given]
    hs, cache = forward(*given)
    assert {array.dtype.name for array in (hs, *backward(dh.astype(dtype), cache, *given[-3:-1]))} == {dtype}
