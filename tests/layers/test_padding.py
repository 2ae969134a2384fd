"""Padding is not there: a padded batch does what the reviews do one by one, forward, back and in training."""

import numpy as np
import pytest
from cases import PATTERNS, SEED, few_at_first, masks

from rnncore import Sequential, config
from rnncore.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    CarryRNN,
    Dense,
    Embedding,
    GRUCell,
    LSTMCell,
    Masking,
    SimpleRNN,
)

WORDS, ROWS, STEPS = 9, 6, 7
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
CELLS = [SimpleRNN, LSTM, GRU, CarryRNN]
SIDES = [pattern for pattern in PATTERNS if pattern != "empty row"]

both_backends = pytest.mark.parametrize("backend", config.BACKENDS)
both_dtypes = pytest.mark.parametrize("dtype", few_at_first(TOLERANCE, 1))
all_cells = pytest.mark.parametrize("cell", CELLS)


def reset_before(units, **options):
    return GRU(units, reset_after=False, **options)


def both_ways(units, **options):
    return Bidirectional(LSTM(units, **options))


def both_ways_multiplied(units, **options):
    return Bidirectional(GRU(units, **options), merge_mode="mul")


def stacked(units, **options):
    return RNN([LSTMCell(2), GRUCell(units)], **options)


all_layers = pytest.mark.parametrize("cell", [*CELLS, reset_before, both_ways, both_ways_multiplied, stacked])


def padded(pattern, seed=SEED, steps=STEPS):
    """Return ids (ROWS, steps) with 0 as padding, and the same reviews without it."""
    rng = np.random.default_rng(seed)
    kept = masks(pattern, ROWS, steps, rng)
    kept = np.ones((ROWS, steps), bool) if kept is None else kept
    x = np.where(kept, rng.integers(1, WORDS, (ROWS, steps)), 0)
    return x, [row[row > 0] for row in x]


def moved(reviews, pattern, steps=STEPS, seed=SEED):
    """Return the reviews padded another way."""
    rng = np.random.default_rng(seed)
    x = np.zeros((len(reviews), steps), int)
    for row, review in zip(x, reviews, strict=True):
        places = {"right": np.arange(len(review)), "left": np.arange(steps - len(review), steps)}
        holes = np.sort(rng.choice(steps, len(review), replace=False))
        row[places.get(pattern, holes)] = review
    return x


def tagger(cell, dtype, **options):
    """Return a model that labels every step, with weights that no pattern hides behind."""
    config.set_floatx(dtype)
    layers = [Embedding(WORDS, 3, mask_zero=True), cell(4, return_sequences=True, **options)]
    layers += [cell(3, return_sequences=True, **options), Dense(2, activation="softmax")]
    model = Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return with_weights(model)


def classifier(cell, dtype, **options):
    """Return a model that labels a review."""
    config.set_floatx(dtype)
    layers = [Embedding(WORDS, 3, mask_zero=True), cell(4, return_sequences=True, **options), cell(3, **options)]
    model = Sequential([*layers, Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy")
    return with_weights(model)


def with_weights(model):
    model.build((None, None))
    rng = np.random.default_rng(SEED)
    model.set_weights([0.7 * rng.standard_normal(w.shape) for w in model.get_weights()])
    return model


def gradients(model):
    return [np.array(gradient, "float64") for gradient in model.get_gradients()]


def assert_close(ours, theirs, dtype, what=""):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE[dtype] * max(1.0, np.abs(b).max()), err_msg=what)


# --- predictions ------------------------------------------------------------------------------------------------------


@pytest.mark.quick(12)
@pytest.mark.parametrize("pattern", SIDES)
@all_layers
@both_dtypes
@both_backends
def test_predictions(backend, dtype, cell, pattern):
    config.set_backend(backend)
    x, reviews = padded(pattern)
    model = classifier(cell, dtype)
    alone = np.concatenate([model.predict(review[None]) for review in reviews])
    assert np.ptp(alone) > 1e-3
    together = model.predict(x)
    assert together.dtype == dtype
    assert_close(together, alone, dtype)
    # whoever shares the batch, and in whatever order
    for rows in ([3], [0, 3], [5, 4, 3, 2, 1, 0], [3, 3, 3, 3, 3, 3, 3, 1]):
        assert_close(model.predict(x[rows]), alone[rows], dtype)
    # whatever the side, and however much there is of it
    for way in ("right", "left", "holes"):
        for steps in (STEPS, 3 * STEPS):
            assert_close(model.predict(moved(reviews, way, steps)), alone, dtype, f"{way}, {steps} steps")


@pytest.mark.quick(16)
@pytest.mark.parametrize("pattern", SIDES)
@all_layers
@both_backends
def test_outputs_at_every_step(backend, cell, pattern):
    config.set_backend(backend)
    x, reviews = padded(pattern)
    model = tagger(cell, "float64")
    y = model.predict(x)
    for row, review, ids in zip(y, reviews, x, strict=True):
        assert_close(row[ids > 0], model.predict(review[None])[0], "float64")


@all_cells
@both_backends
def test_go_backwards(backend, cell):
    config.set_backend(backend)
    x, reviews = padded("holes")
    config.set_floatx("float64")
    model = with_weights(Sequential([Embedding(WORDS, 3, mask_zero=True), cell(3, go_backwards=True), Dense(1)]))
    assert_close(model.predict(x), [model.predict(review[None])[0] for review in reviews], "float64")


@both_backends
def test_masking_does_the_same_for_numbers(backend):
    config.set_backend(backend)
    x, reviews = padded("holes")
    model = classifier(LSTM, "float64")
    table = np.vstack([np.full(3, -1.0), model.layers[0].embeddings[1:]])
    other = Sequential([Masking(-1.0), *model.layers[1:]])
    assert_close(other.predict(table[x]), [model.predict(review[None])[0] for review in reviews], "float64")


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.quick(12)
@pytest.mark.parametrize("pattern", SIDES)
@all_layers
@both_dtypes
@both_backends
def test_gradients(backend, dtype, cell, pattern):
    config.set_backend(backend)
    x, reviews = padded(pattern)
    model = classifier(cell, dtype)
    dy = np.random.default_rng(1).standard_normal((ROWS, 1))
    alone = [0] * len(model.get_weights())
    for review, upstream in zip(reviews, dy, strict=True):
        model(review[None])
        model.backward(upstream[None])
        alone = [a + b for a, b in zip(alone, gradients(model), strict=True)]
    model(x)
    model.backward(dy)
    assert all(np.abs(gradient).max() > 1e-4 for gradient in alone)
    assert_close(gradients(model), alone, dtype)
    assert not gradients(model)[0][0].any()  # the table's row of padding


@all_layers
@both_backends
def test_gradients_of_the_loss_of_every_step(backend, cell):
    """The loss of a masked sequence is a mean over valid steps: times their number it adds up."""
    config.set_backend(backend)
    x, reviews = padded("holes")
    model = tagger(cell, "float64")
    total = [0] * len(model.get_weights())
    for review in reviews:
        _, gradient = model.loss_and_gradient(review[None] % 2, model(review[None]))
        model.backward_from_loss(gradient)
        total = [a + len(review) * b for a, b in zip(total, gradients(model), strict=True)]
    _, gradient = model.loss_and_gradient(x % 2, model(x))
    model.backward_from_loss(gradient)
    assert_close([np.count_nonzero(x) * g for g in gradients(model)], total, "float64")


OPTIONS = [
    {},
    {"return_sequences": True},
    {"return_sequences": True, "return_state": True, "go_backwards": True},
    {"return_sequences": True, "zero_output_for_mask": True, "dropout": 0.2, "recurrent_dropout": 0.2, "seed": 1},
]


def run(cell, options, mask, seed=SEED, dtype="float32"):
    """Return a layer after a call with random everything, its input, output and the gradient that goes back."""
    rng = np.random.default_rng(seed)
    layer = cell(4, dtype=dtype, **options)
    x = rng.standard_normal((ROWS, STEPS, 3))
    states = [rng.standard_normal((ROWS, 4)) for _ in cell.cell_class.equations.states]
    layer.build(x.shape)
    layer.set_weights([0.7 * rng.standard_normal(w.shape) for w in layer.get_weights()])
    y = layer(x, mask=mask, training="dropout" in options, initial_state=states)
    dy = [rng.standard_normal(part.shape) for part in y] if isinstance(y, list) else rng.standard_normal(y.shape)
    return layer, x, states, y, dy


@pytest.mark.parametrize("pattern", few_at_first(PATTERNS[::-1], 2))
@pytest.mark.parametrize("options", OPTIONS)
@all_cells
@both_backends
def test_no_gradient_at_masked_steps_and_backward_twice(backend, cell, options, pattern):
    config.set_backend(backend)
    mask = masks(pattern, ROWS, STEPS, np.random.default_rng(SEED))
    layer, _, _, _, dy = run(cell, options, mask)
    first = [layer.backward(dy), *layer.get_gradients(), *layer.state_gradients]
    kept = [array.copy() for array in first]
    second = [layer.backward(dy), *layer.get_gradients(), *layer.state_gradients]
    for one, copy, two in zip(first, kept, second, strict=True):
        assert np.array_equal(one, copy)
        assert np.array_equal(two, copy)
    dx = first[0]
    if mask is not None:
        assert not dx[~mask].any()
        assert dx[mask].all() or options.get("dropout")


@pytest.mark.parametrize("options", OPTIONS)
@all_cells
@both_backends
def test_a_row_that_is_masked_entirely(backend, cell, options):
    config.set_backend(backend)
    mask = np.random.default_rng(SEED).random((ROWS, STEPS)) < 0.7
    mask[:, 2] = True
    mask[4] = False
    layer, x, states, y, dy = run(cell, options, mask, dtype="float64")
    dx = layer.backward(dy)
    out, *last = y if isinstance(y, list) else [y]
    _, *dlast = dy if isinstance(dy, list) else [dy]
    assert not out[4].any()
    for state, initial in zip(last, states, strict=False):
        assert np.array_equal(state[4], initial[4])
    assert not dx[4].any()
    for n, gradient in enumerate(layer.state_gradients):
        assert np.array_equal(gradient[4], dlast[n][4] if dlast else np.zeros(4))
    if "dropout" in options:
        return
    # the weights' gradients are those of the other rows
    others = [n for n in range(ROWS) if n != 4]
    ours = [gradient.copy() for gradient in layer.get_gradients()]
    layer(x[others], mask=mask[others], initial_state=[state[others] for state in states])
    layer.backward([part[others] for part in dy] if isinstance(dy, list) else dy[others])
    assert_close(ours, layer.get_gradients(), "float64")


# --- training ---------------------------------------------------------------------------------------------------------


@all_cells
@both_backends
def test_training_does_not_see_the_side(backend, cell):
    config.set_backend(backend)
    _, reviews = padded("right")
    y = np.arange(ROWS) % 2
    trained = []
    for way in ("right", "left", "holes"):
        model = classifier(cell, "float64")
        model.fit(moved(reviews, way), y, batch_size=4, epochs=3, shuffle=False, verbose=0)
        trained.append(model.get_weights())
    for other in trained[1:]:
        assert max(np.abs(a - b).max() for a, b in zip(other, trained[0], strict=True)) < 1e-9


@all_cells
def test_the_same_bits_from_the_same_seed_and_any_number_of_threads(cell):
    config.set_backend("numba")
    rng = np.random.default_rng(SEED)
    x = rng.integers(1, WORDS, (37, 60))
    x[rng.random(x.shape) < 0.2] = 0
    y = rng.integers(0, 2, 37)
    runs = []
    for threads in (1, 2, 2, 3):
        config.set_threads(threads)
        config.set_seed(4)
        layers = [Embedding(WORDS, 8, mask_zero=True), cell(32, dropout=0.2, recurrent_dropout=0.2)]
        model = Sequential([*layers, Dense(1, activation="sigmoid")])
        model.compile("adam", "binary_crossentropy")
        model.fit(x, y, epochs=2, verbose=0)
        runs.append([*model.get_weights(), model.predict(x)])
    for other in runs[1:]:
        np.testing.assert_equal(other, runs[0])
