"""What a recurrent layer does between batches and far back in time: truncated BPTT, stateful, own cells."""

import itertools
import tracemalloc

import numpy as np
import pytest
from cases import PATTERNS, SEED, few_at_first, masks, randomize

from rnncore import Sequential, config, gradcheck, study
from rnncore.bptt import compiled_run, numpy_loop
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
    SimpleRNN,
    TimeDistributed,
    embedding,
)

LAYERS = [SimpleRNN, LSTM, GRU, CarryRNN]
ROWS, STEPS, FEATURES, UNITS = 3, 7, 2, 4


def made(layer_class, **options):
    rng = np.random.default_rng(SEED)
    layer = layer_class(UNITS, dtype="float64", return_sequences=True, return_state=True, **options)
    layer.build((None, None, FEATURES))
    randomize(layer, rng)
    return layer, rng.standard_normal((ROWS, STEPS, FEATURES)), rng


def flat_gradients(layer):
    return [np.asarray(g) for g in layer.get_gradients()]


# --- truncated backpropagation through time ---------------------------------------------------------------------


def cut_reference(layer_class, x, mask, states, dy, dlast, steps):
    """Run pieces of `steps` one after another, aligned at the end, with the states handed on as plain numbers."""
    total = x.shape[1]
    edges = [0, *range(total % steps or steps, total + 1, steps)]
    pieces, dxs, gradients = [], [], 0
    for begin, end in itertools.pairwise(edges):
        layer, _, _ = made(layer_class)
        part = None if mask is None else mask[:, begin:end]
        _, *states = layer(x[:, begin:end], mask=part, initial_state=states)
        pieces.append((layer, begin, end))
    for layer, begin, end in reversed(pieces):
        dxs.insert(0, layer.backward([dy[:, begin:end], *dlast]))
        dlast = [None] * len(dlast)
        gradients = [a + b for a, b in zip(flat_gradients(layer), gradients or [0] * 9, strict=False)]
    return np.concatenate(dxs, axis=1), gradients, pieces[0][0].state_gradients


@pytest.mark.quick(12)
@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("layer_class", LAYERS)
def test_bptt_steps_cuts_where_the_reference_does(backend, layer_class, steps):
    config.set_backend(backend)
    for pattern in ("none", "right", "holes"):
        layer, x, rng = made(layer_class, bptt_steps=steps)
        mask = masks(pattern, ROWS, STEPS, rng)
        if mask is not None:
            mask[:, 0] = True  # else the reference's pieces would show 0 where the whole repeats an output
        states = [rng.standard_normal((ROWS, UNITS)) for _ in layer.cell.state_size]
        y, *last = layer(x, mask=mask, initial_state=states)
        dy, dlast = rng.standard_normal(y.shape), [rng.standard_normal(h.shape) for h in last]
        if mask is not None:
            dy *= mask[..., None]  # likewise
        dx = layer.backward([dy, *dlast])
        if steps < STEPS:
            assert all(np.abs(g).max() > 0 for g in flat_gradients(layer))
        expected_dx, expected, expected_states = cut_reference(layer_class, x, mask, states, dy, dlast, steps)
        np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-12)
        for mine, theirs in zip(flat_gradients(layer), expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)
        for mine, theirs in zip(layer.state_gradients, expected_states, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


def test_the_last_outputs_gradient_reaches_back_just_so_far():
    layer = LSTM(UNITS, bptt_steps=3)
    x = np.random.default_rng(SEED).standard_normal((ROWS, STEPS, FEATURES))
    dx = layer.backward(np.ones_like(layer(x)))
    assert (np.abs(dx).max(axis=(0, 2)) > 0).tolist() == [False] * 4 + [True] * 3


# --- from batch to batch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer_class", LAYERS)
def test_stateful_pieces_are_the_whole(layer_class):
    whole, x, rng = made(layer_class)
    piece, _, _ = made(layer_class, stateful=True)
    mask = masks("holes", ROWS, STEPS, rng)
    mask[:, [0, 3, 5]] = True  # a piece begins with a valid step: at a masked one it would show 0
    y, *last = whole(x, mask=mask)
    parts = [piece(x[:, a:b], mask=mask[:, a:b]) for a, b in ((0, 3), (3, 5), (5, 7))]
    np.testing.assert_allclose(np.concatenate([part[0] for part in parts], axis=1), y, rtol=1e-12)
    for mine, theirs in zip(parts[-1][1:], last, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    with pytest.raises(ValueError, match="stateful and its states have 3; call reset_state"):
        piece(x[:2])
    piece.reset_state()
    np.testing.assert_array_equal(piece(x, mask=mask)[0], y)


def test_a_long_stream_trains_in_pieces():
    rng = np.random.default_rng(SEED)
    stream = rng.integers(0, 2, (8, 400))
    x, y = np.eye(2, dtype="float32")[stream], np.roll(stream, 3, axis=1)  # say what came three steps ago
    config.set_seed(1)
    model = Sequential([LSTM(16, stateful=True, return_sequences=True), Dense(1, activation="sigmoid")])
    model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.01
    for _ in range(6):
        model.layers[0].reset_state()
        for begin in range(0, 400, 10):
            logs = model.train_on_batch(x[:, begin : begin + 10], y[:, begin : begin + 10, None], return_dict=True)
    assert logs["accuracy"] > 0.98  # of the ten outputs, three look back into the piece before


# --- the error at every position, summed over the sequence ------------------------------------------------------


@pytest.mark.slow
def test_every_position_has_a_target_and_a_weight():
    rng = np.random.default_rng(SEED)
    x = rng.integers(0, 5, (64, 6)) + 1
    y = np.where(np.arange(6) == 0, 0, np.roll(x, 1, axis=1) - 1)  # the word before
    x[:, 4:] *= rng.integers(0, 2, (64, 1))  # some end earlier
    config.set_seed(1)
    model = Sequential(
        [
            Embedding(6, 8, mask_zero=True),
            GRU(24, return_sequences=True),
            TimeDistributed(Dense(5, activation="softmax")),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.02
    weight = np.where(np.arange(6) == 0, 0.0, 1.0) * np.ones((64, 1))  # the first has no word before
    history = model.fit(x, y, sample_weight=weight, epochs=25, batch_size=16, verbose=0).history
    predicted = model.predict(x).argmax(axis=-1)
    counted = (x > 0) & (weight > 0)
    assert (predicted == y)[counted].mean() > 0.98
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    assert gradcheck.check_model(model, x[:3], y[:3], weight[:3]).worst < 1e-6


# --- the study sees every direction and mask --------------------------------------------------------------------


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_both_directions_are_seen_in_the_order_of_x(layer_class, pattern):
    _, x, rng = made(layer_class)
    mask = masks(pattern, ROWS, STEPS, rng)
    layer = Bidirectional(layer_class(UNITS, return_sequences=True, name="memory"))
    y = layer(x, mask=mask)
    layer.backward(np.ones_like(y))
    seen = study.trace(layer, x, mask=mask)
    shown = np.ones((ROWS, STEPS), bool) if mask is None else mask
    for half, name in ((y[..., :UNITS], "forward_memory"), (y[..., UNITS:], "backward_memory")):
        assert set(seen[name]) >= {"h", *layer_class.cell_class.equations.states}
        np.testing.assert_array_equal(half[shown], seen[name]["h"][shown])
        assert (half[~shown] == 0).all()


def test_stacked_cells_are_seen_by_name():
    layer = RNN([LSTMCell(3, name="below"), LSTMCell(2, name="above")])
    seen = study.trace(layer, np.ones((2, 5, 3)))[layer.name]
    assert seen["below.f"].shape == (2, 5, 3)
    assert seen["above.c"].shape == (2, 5, 2)


def test_two_kinds_of_layers_in_two_directions():
    rng = np.random.default_rng(SEED)
    layer = Bidirectional(LSTM(3, return_state=True), backward_layer=GRU(3, go_backwards=True, return_state=True))
    x, states = rng.standard_normal((2, 4, 3)), [rng.standard_normal((2, 3)) for _ in range(3)]
    assert gradcheck.check_layer(layer, x, initial_state=states).worst < 1e-7
    with pytest.raises(ValueError, match="must be a list of 3: 2 of the forward layer, then 1 of the backward"):
        layer(x, initial_state=states[:2])
    with pytest.raises(ValueError, match=r"'sum' needs the same units both ways; got \[3, 1\]"):
        Bidirectional(LSTM(3), "sum", backward_layer=LSTM(1, go_backwards=True))


@pytest.mark.parametrize(("layer", "arrays"), [(SimpleRNN, 2), (GRU, 5), (LSTM, 6)])
def test_memory_is_that_of_gates_and_states(layer, arrays):
    """Of each step one array a gate and a state, and in the backward pass their gradients, and that of x."""
    rows, steps, units, features = 16, 300, 64, 24
    rng, one = np.random.default_rng(SEED), rows * steps * units * 4
    x, dy = rng.standard_normal((rows, steps, features), "float32"), rng.standard_normal((rows, units), "float32")
    built = layer(units)
    built(x, training=True)  # compiles what there is to compile
    built.backward(dy)
    again = layer.from_config(built.get_config())
    again.build(x.shape)
    for call, expected in (
        (lambda: again.forward(x, training=True), arrays * one),
        (lambda: again.call_backward(dy), arrays * one + x.nbytes),
    ):
        tracemalloc.start()
        call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 0.8 * expected < peak < 1.2 * expected, (peak / expected, call)


# --- what predict and evaluate keep -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize("steps", few_at_first([7, 6, 1], 1))
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize(
    "inner",
    [
        *(lambda kind=kind, **options: kind(UNITS, **options) for kind in LAYERS),
        lambda **options: RNN([LSTMCell(3), LSTMCell(UNITS)], **options),
        lambda **options: Bidirectional(LSTM(UNITS, **options)),
    ],
    ids=[*(kind.__name__ for kind in LAYERS), "two cells", "Bidirectional"],
)
def test_predict_keeps_no_steps(inner, sequences, steps, backend, monkeypatch):
    config.set_backend(backend)
    monkeypatch.setattr(embedding, "MANY", 1)
    x = np.random.default_rng(SEED).integers(0, 5, (ROWS + 5, steps))
    layer = inner(return_sequences=sequences)
    model = Sequential([Embedding(5, FEATURES, mask_zero=True), layer, Dense(1)])
    model.compile("sgd", "mse")
    y = model(x)
    dy = np.ones_like(y)
    model.backward(dy)
    before = [np.asarray(gradient) for gradient in model.get_gradients()]
    np.testing.assert_array_equal(model.predict(x), y)
    assert model.evaluate(x, y, verbose=0) == 0
    for look in (getattr(layer, "forward_layer", layer).time_series, lambda: model.backward(dy)):
        with pytest.raises(ValueError, match="evaluate and predict keep none"):
            look()
    model(x)
    model.backward(dy)
    for gradient, other in zip(model.get_gradients(), before, strict=True):
        np.testing.assert_array_equal(np.asarray(gradient), other)


@pytest.mark.parametrize("backend", config.BACKENDS)
def test_a_training_step_shows_its_gates(backend):
    config.set_backend(backend)
    x = np.random.default_rng(SEED).standard_normal((ROWS, STEPS, FEATURES))
    model = Sequential([LSTM(UNITS, dtype="float64", name="lstm"), Dense(1, dtype="float64")])
    model.compile("sgd", "mse")
    model.build(x.shape)
    before = study.trace(model, x)["lstm"]
    model.train_on_batch(x, np.ones((ROWS, 1)))
    series = model.layers[0].time_series()
    for gate in "ifkohc":
        np.testing.assert_array_equal(series[gate], before[gate])
    assert {"dh", "dc", "dz_f"} < set(series)


def test_predict_needs_no_memory_for_steps_that_nobody_sees():
    rows, steps, units = 64, 400, 32
    x = np.random.default_rng(SEED).integers(0, 50, (rows, steps))
    peaks = []
    for run in (lambda model: model.forward(x), lambda model: model.predict(x, batch_size=rows)):
        model = Sequential([Embedding(50, 8), LSTM(units)])
        model(x[:1])
        tracemalloc.start()
        run(model)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    kept = 6 * rows * steps * units * 4
    assert peaks[0] > kept > 4 * peaks[1], (kept, peaks)


@pytest.mark.parametrize(("one", "other"), [("numpy", "numba"), ("numba", "numpy")])
def test_the_way_back_is_of_the_backend_of_the_way_there(one, other):
    rng = np.random.default_rng(SEED)
    x, dy, found = rng.standard_normal((5, 9, 4)), rng.standard_normal((5, 3)), []
    for there, back in ((one, one), (one, other)):
        layer = LSTM(3, dropout=0.4, recurrent_dropout=0.3, seed=2, dtype="float64")
        config.set_backend(there)
        layer(x, training=True)
        config.set_backend(back)
        found.append([layer.backward(dy), *layer.get_gradients()])
    for straight, crossed in zip(*found, strict=True):
        np.testing.assert_array_equal(crossed, straight)


@pytest.mark.parametrize("backend", config.BACKENDS)
def test_a_cell_that_is_built_again_has_gradients_of_its_new_weights(backend):
    config.set_backend(backend)
    cell, rng = LSTMCell(3, dtype="float64", seed=1), np.random.default_rng(SEED)
    for features in (4, 7):
        cell.build((None, features))
        y, _ = cell(rng.standard_normal((2, features)))
        cell.backward(np.ones_like(y))
        assert [gradient.shape for gradient in cell.get_gradients()] == [(features, 12), (3, 12), (12,)]


class Gained(LSTMCell):
    """A cell with a weight more, before the others."""

    def build(self, input_shape):
        self.add_weight((5, 4), self.bias_initializer, name="gain")
        super().build(input_shape)


@pytest.mark.parametrize("backend", config.BACKENDS)
def test_a_subclass_may_have_a_weight_more(backend):
    config.set_backend(backend)
    x, found = np.random.default_rng(SEED).standard_normal((4, 6, 5)), []
    for cell_class in (LSTMCell, Gained):
        layer = RNN(cell_class(3, dtype="float64", seed=1, dropout=0.3, recurrent_dropout=0.3))
        layer.build(x.shape)
        for name in ("kernel", "recurrent_kernel", "bias"):
            weight = getattr(layer.cell, name)
            weight[...] = np.random.default_rng(weight.size).standard_normal(weight.shape)
        layer.cell.generator = config.new_generator(2)
        layer.backward(np.ones_like(layer(x, training=True)))
        found.append(layer.cell.gradients)
    plain, gained = found
    assert list(plain) == ["kernel", "recurrent_kernel", "bias"]
    for name, gradient in plain.items():
        np.testing.assert_array_equal(gained[name], gradient, err_msg=name)


def test_states_are_a_list_that_initial_state_takes():
    x = np.random.default_rng(SEED).standard_normal((2, 4, 5))
    layer, both = LSTM(3, stateful=True, dtype="float64"), Bidirectional(LSTM(3, stateful=True, dtype="float64"))
    assert layer.states is None and both.states is None
    layer(x), both(x)
    assert [state.shape for state in layer.states] == [(2, 3)] * 2  # [h, c], as Keras's
    assert [state.shape for state in both.states] == [(2, 3)] * 4
    follower, kept = layer.clone(stateful=False), layer.states
    follower.build(x.shape)
    follower.set_weights(layer.get_weights())
    np.testing.assert_array_equal(follower(x, initial_state=kept), layer(x))
    layer.states = kept  # go back to where the first batch ended
    np.testing.assert_array_equal(follower(x, initial_state=kept), layer(x))
    with pytest.raises(ValueError, match="states has 1 array; expected 2: h, c"):
        layer.states = kept[:1]
    layer.reset_states(), both.reset_states()
    assert layer.states is None and both.states is None
    stacked = RNN([LSTMCell(3), GRUCell(2)], stateful=True)
    stacked(x)
    assert [[state.shape for state in own] for own in stacked.states] == [[(2, 3)] * 2, [(2, 2)]]


def test_returned_states_are_the_users():
    layer = LSTM(3, stateful=True, return_state=True, dtype="float64", seed=1)
    x = np.random.default_rng(SEED).standard_normal((2, 4, 5))
    _, *states = layer(x)
    kept = [state.copy() for state in layer.states]
    for state in states:
        state[:] = 0
    np.testing.assert_array_equal(layer.states, kept)
    assert np.abs(kept).min() > 0


@pytest.mark.parametrize(
    ("backend", "module", "called"), [("numba", compiled_run, "run_apart"), ("numpy", numpy_loop, "backward")]
)
def test_a_backward_pass_that_failed_shows_no_gradients(backend, module, called, monkeypatch):
    config.set_backend(backend)
    layer = LSTM(3, dtype="float64", seed=1)
    y = layer(np.ones((2, 4, 5)))
    layer.backward(np.ones_like(y))
    assert layer.state_gradients and "dc" in layer.time_series()

    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(module, called, fail)
    with pytest.raises(MemoryError):
        layer.backward(np.ones_like(y))
    assert not layer.state_gradients and "dc" not in layer.time_series()


@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize("rows", [3, 12])
def test_a_cell_takes_arrays_however_they_lie(rows, backend):
    config.set_backend(backend)
    cell, rng = LSTMCell(4, dtype="float64"), np.random.default_rng(SEED)
    x = rng.standard_normal((rows, 10))
    for own in (x.copy("F")[:, :5], x[:, ::2], np.broadcast_to(x[:, :1], (rows, 5))):
        found = []
        for given in (own, own.copy("C")):
            y, states = cell(given)
            found.append([y, *states, cell.backward(np.ones_like(y)), *cell.get_gradients()])
        for laid, plain in zip(*found, strict=True):
            np.testing.assert_array_equal(laid, plain)


@pytest.mark.parametrize("backend", config.BACKENDS)
def test_what_was_returned_stays(backend):
    """States and their gradients are the user's: the next call does not change them, nor they the backward pass."""
    config.set_backend(backend)
    rng = np.random.default_rng(SEED)
    layer, x = LSTM(3, return_state=True, dtype="float64"), rng.standard_normal((4, 5, 2))
    dy = [rng.standard_normal((4, 3)), None, None]
    layer(x)
    dx, gradients = layer.backward(dy), layer.state_gradients
    kept = [gradient.copy() for gradient in gradients]
    _, h, c = layer(x)
    h[:], c[:] = 0, 0
    np.testing.assert_array_equal(layer.backward(dy), dx)
    layer(2 * x)
    layer.backward(dy)
    np.testing.assert_array_equal(gradients, kept)
