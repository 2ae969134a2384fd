"""The tools of the study where torch is no measure: against arithmetic by hand, one another, and on bad input."""

import numpy as np
import pytest
from cases import IDS, PATTERNS, SEED, masks, randomize

from examples.own_cell import MGU
from rnncore import Sequential, config, study
from rnncore.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    CarryRNN,
    Dense,
    Embedding,
    LSTMCell,
    Masking,
    SimpleRNN,
    TextVectorization,
)

ROWS, STEPS, FEATURES, UNITS = 3, 6, 2, 4


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    config.set_backend("numpy")


def classifier(**options):
    """A classifier of ids, with distinct weights."""
    model = Sequential(
        [
            Embedding(9, FEATURES, mask_zero=True),
            LSTM(UNITS, name="lstm", **options),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("sgd", "binary_crossentropy")
    model.build((None, STEPS))
    randomize(model, np.random.default_rng(SEED))
    return model


def sequences(layer, rows=ROWS, steps=STEPS, scale=0.8):
    """A layer in float64 with random weights, and an input for it."""
    x = np.random.default_rng(SEED).standard_normal((rows, steps, FEATURES))
    layer.build(x.shape)
    randomize(layer, np.random.default_rng(SEED), scale)
    return layer, x


# --- trace -------------------------------------------------------------------------------------------------------


def test_rows_of_different_lengths_are_traced_as_if_alone():
    model, rows, y = classifier(), [[1, 2, 3, 4], [5, 6], [7]], np.array([1, 0, 1])
    together = study.trace(model, rows, y, words=[["a", "b", "c", "d"], ["e", "f"], ["g"]])
    assert together.words == [["a", "b", "c", "d"], ["e", "f", "", ""], ["g", "", "", ""]]
    for n, row in enumerate(rows):
        alone = study.trace(model, [row], y[n : n + 1])["lstm"]
        for name, values in together["lstm"].items():
            scale = 3 if name[0] == "d" else 1  # the loss is the mean over the rows
            np.testing.assert_allclose(scale * values[n, : len(row)], alone[name][0], rtol=1e-5, atol=1e-7)
            assert np.isnan(values[n, len(row) :]).all()
    layer = GRU(3, name="gru")
    ragged = study.trace(layer, [np.ones((2, 3)), np.ones((4, 3))])
    alone = study.trace(layer, np.ones((1, 2, 3)))["gru.h"][0]
    np.testing.assert_allclose(ragged["gru.h"][0, :2], alone, rtol=1e-5, atol=1e-7)
    assert ragged.mask.tolist() == [[True, True, False, False], [True] * 4]


def test_a_model_that_takes_texts_has_its_words():
    vectorization = TextVectorization(vocabulary=["good", "bad", "not"])
    model = Sequential([vectorization, Embedding(5, 3, mask_zero=True), LSTM(2, name="lstm"), Dense(1)])
    found = study.trace(model, ["not good", "bad"])
    assert found.words == [["not", "good"], ["bad", ""]]
    assert found.mask.tolist() == [[True, True], [True, False]]
    owed = study.saliency(model, ["Not good, really"])
    assert owed.words == [["not", "good", "[UNK]"]]
    assert owed.error < 1e-3


def test_names_are_those_of_the_equations():
    expected = {
        "lstm": "x z_i z_f z_k z_o i f k o h c h_prev c_prev dx dz_i dz_f dz_k dz_o dh dc",
        "gru": "x z_z z_r x_k u_k z r k h h_prev dx dz_z dz_r dx_k du_k dh",
        "before": "x z_r z_z z_k r s z k h h_prev dx dz_r dz_z dz_k ds dh",
        "simple_rnn": "x z_a h h_prev dx dz_a dh",
        "carry_rnn": "x z_i z_f z_k z_o i f k h c h_prev c_prev dx dz_i dz_f dz_k dz_o dh dc",
    }
    for layer in (LSTM(2), GRU(2), GRU(2, reset_after=False, name="before"), SimpleRNN(2), CarryRNN(2)):
        found = study.trace(layer, np.ones((1, 3, 2)), dy=np.ones((1, 2)))
        kind = next(name for name in expected if layer.name.startswith(name))
        assert list(found[layer.name]) == expected[kind].split()
        assert found.names == [f"{layer.name}.{name}" for name in expected[kind].split()]
        text = repr(found)
        assert all(f"\n  {name} " in text for name in found[layer.name])
    both = study.trace(Bidirectional(LSTM(2, name="m")), np.ones((1, 3, 2)), names=["f", "backward_m.c"])
    assert both.names == ["forward_m.f", "backward_m.f", "backward_m.c"]
    cells = study.trace(RNN([LSTMCell(2, name="below"), LSTMCell(3, name="above")], name="rnn"), np.ones((1, 3, 2)))
    assert cells["rnn.above.f"].shape == (1, 3, 3)
    assert cells["rnn"]["below.c"].shape == (1, 3, 2)


@pytest.mark.parametrize("backend", config.BACKENDS)
def test_a_training_step_is_traced_with_its_dropout_and_nothing_is_moved(backend):
    config.set_backend(backend)
    model, x, y = classifier(dropout=0.5, recurrent_dropout=0.5, stateful=True), IDS[:, :3] + 1, np.array([1, 0, 1])
    before = [g.bit_generator.state for g in model.generators()], model.layers[1].states, model.get_weights()
    found = study.trace(model, x, y, training=True)
    again = study.trace(model, x, y, training=True)
    assert [g.bit_generator.state for g in model.generators()] == before[0]
    assert model.layers[1].states is before[1] is None
    for mine, theirs in zip(model.get_weights(), before[2], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(found["lstm.z_f"], again["lstm.z_f"])
    model.train_on_batch(x, y)
    series = model.layers[1].time_series()
    for name in ("f", "c", "dc", "dz_k"):
        np.testing.assert_array_equal(series[name], found["lstm"][name])
    gates = 1 / (1 + np.exp(-found["lstm.z_f"]))
    np.testing.assert_allclose(gates, found["lstm.f"], rtol=1e-5)
    assert not np.array_equal(found["lstm.f"], study.trace(model, x)["lstm.f"])


def test_a_frame_has_a_line_a_step_that_counts():
    pytest.importorskip("pandas")
    model = classifier()
    found = study.trace(model, [[1, 2, 3], [4]], words={n: f"w{n}" for n in range(1, 9)})
    frame = found.to_frame("lstm.f", "lstm.c")
    assert frame.shape == (4, 2 * UNITS)
    assert frame.index.names == ["row", "step", "word"]
    assert list(frame.index[-1]) == [1, 0, "w4"]
    assert frame["lstm", "c", 2].iloc[3] == found["lstm.c"][1, 0, 2]
    assert set(found.to_frame().columns.get_level_values("name")) == set(found["lstm"])


def test_a_trace_is_a_mapping():
    trace = study.trace(classifier(), [[1, 2, 3]], names="f")  # one name is a list of one
    assert [*trace.names] == ["lstm.f"] and "lstm" in trace and "lstm.f" in trace and "f" in trace["lstm"]
    assert "gru" not in trace and trace.get("gru") is None and trace["lstm"].get("c", 5) == 5


@pytest.mark.parametrize(
    "look",
    [
        lambda model, x: study.paths(model, x, np.ones((1, 1)))["lstm"],
        lambda model, x: study.saliency(model, x),
        lambda model, x: study.half_life(model, x),
        lambda model, x: study.saturation(study.trace(model, x))["lstm"]["f"],
    ],
)
def test_what_is_found_is_shown_in_a_line(look):
    shown = repr(look(classifier(), [[1, 2, 3]]))
    assert len(shown) < 100 and "array" not in shown


def test_of_a_whole_data_set_only_sums_are_kept():
    model, rng = classifier(), np.random.default_rng(SEED)
    x = [list(rng.integers(1, 9, rng.integers(1, STEPS))) for _ in range(40)]
    words = {n: f"w{n}" for n in range(9)}
    whole = study.trace(model, x, words=words)
    values, named = whole["lstm.c"][whole.mask], np.asarray(whole.words)[whole.mask]
    mean = study.trace(model, x, reduce="mean", batch_size=7)["lstm"]["c"]
    assert mean.count == len(values)
    for found, expected in ((mean.mean, values.mean(0)), (mean.std, values.std(0)), (mean.max, values.max(0))):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    counts = study.trace(model, x, reduce="histogram", names=["lstm.f"], batch_size=7)["lstm"]["f"].counts
    assert counts.shape == (80, UNITS)
    assert (counts.sum(axis=0) == len(values)).all()
    assert not counts[:40].any()  # no forget gate is below 0
    by_word = study.trace(model, x, words=words, reduce="words", batch_size=7)["lstm"]["c"]
    assert set(by_word) == set(named)
    np.testing.assert_allclose(by_word["w3"].mean, values[named == "w3"].mean(0), rtol=1e-5)
    assert study.trace(model, x, reduce=lambda found: len(found.mask), batch_size=16) == [16, 16, 8]
    pairs = ((np.array([row]), np.ones(1)) for row in x)
    assert study.trace(model, pairs, reduce="mean", names=["c"])["lstm"]["c"].count == len(values)


# --- interventions -----------------------------------------------------------------------------------------------


def test_another_runs_gates_are_patched_in():
    model, one, other = classifier(), np.array([[1, 2, 3, 4]]), np.array([[5, 6, 7, 8]])
    theirs = study.trace(model, other)
    gates = {f"lstm.{name}": theirs["lstm"][name] for name in "ifko"}
    with study.intervene(model, gates):
        np.testing.assert_allclose(model(one), theirs.output, rtol=1e-6)
        np.testing.assert_allclose(model.predict(one), theirs.output, rtol=1e-6)
    assert not np.allclose(model(one), theirs.output)


def test_effects_are_those_of_each_change_alone():
    model, x, y = classifier(), np.array([[1, 2, 3, 0], [4, 5, 0, 0]]), np.array([1, 0])
    found = study.effects(model, x, y, 0.5)["lstm"]
    assert found.shape == (4, 4)
    assert np.isnan(found[:, 3]).all()
    own = study.effect(model, {"lstm.f": 0.5}, x, y, steps=1)
    assert found[1, 1] == own.loss - own.loss_before
    assert "→" in repr(own)
    picked = study.effects(model, x, y, 0.5, names=["lstm.c"], units=[2])["lstm"]
    own = study.effect(model, {"lstm.c": 0.5}, x, y, steps=0, units=2)
    assert picked[0, 0] == own.loss - own.loss_before


def test_changes_in_two_blocks_come_together_and_end_with_them():
    model, x = classifier(), np.array([[1, 2, 3]])
    plain = model(x)
    with study.intervene(model, {"lstm.f": 1.0}):
        with study.intervene(model, {"lstm.i": 0.0}):
            assert not np.nan_to_num(study.trace(model, x)["lstm.c"]).any()
        with pytest.raises(ValueError, match="is changed already"), study.intervene(model, {"lstm.f": 0}):
            pass
        assert (study.trace(model, x)["lstm.f"] == 1).all()
    np.testing.assert_array_equal(model(x), plain)


def test_changed_pre_activations_are_seen_and_jacobians_go_through_changes():
    layer, x = sequences(LSTM(UNITS, activation="relu", dtype="float64", name="lstm"))
    with study.intervene(layer, {"lstm.z_k": lambda z: z + 1, "lstm.c": lambda c: c / 2}):
        found = study.trace(layer, x)["lstm"]
        np.testing.assert_array_equal(found["k"], np.maximum(found["z_k"], 0))
        factor = study.jacobian(layer, x, "c", "c", step=1)[:, 0]
    line = np.einsum("bii->bi", factor)
    with study.intervene(layer, {"lstm.z_k": lambda z: z + 1, "lstm.c": lambda c: c / 2}):
        # c_1 = (i k + f c_0) / 2 with h_0 held
        np.testing.assert_allclose(line, study.trace(layer, x)["lstm"]["f"][:, 1] / 2, rtol=1e-12)


# --- Jacobians, paths, weights -------------------------------------------------------------------------------------


def test_jacobians_are_products_of_their_factors():
    layer, x = sequences(GRU(UNITS, dtype="float64"))
    factors, whole = study.step_jacobians(layer, x), study.jacobian(layer, x)
    product = np.eye(UNITS)
    for t in reversed(range(1, STEPS)):
        product = product @ factors[:, t]
        np.testing.assert_allclose(whole[:, t - 1], product, rtol=1e-12, atol=1e-14)
    values = study.singular_values(whole)
    np.testing.assert_allclose(values[:, -1], 1)
    np.testing.assert_allclose(values[..., 0], np.linalg.norm(whole, 2, axis=(2, 3)))
    assert study.spectral_radius(np.diag([0.5, -2.0])) == 2
    assert np.isnan(study.singular_values(np.full((2, 3, 3), np.nan))).all()


@pytest.mark.parametrize("kind", [LSTM, CarryRNN])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_ways_of_a_gradient_add_up(kind, pattern):
    for options in ({}, {"go_backwards": True, "return_sequences": True}):
        layer, x = sequences(kind(UNITS, dtype="float64", name="layer", **options))
        mask = masks(pattern, ROWS, STEPS, np.random.default_rng(SEED))
        dy = np.random.default_rng(SEED).standard_normal(layer(x, mask=mask).shape)
        found = study.paths(layer, x, dy=dy, mask=mask)["layer"]
        series = study.trace(layer, x, dy=dy, mask=mask)["layer"]
        np.testing.assert_allclose(found.line + found.output + found.gates, series["dc"], rtol=0, atol=1e-12)
        gradients = dict(zip(layer.cell.weight_names, layer.get_gradients(), strict=True))
        for name, terms in study.terms(layer, x, dy=dy, mask=mask)["layer"].items():
            assert terms.shape[0] == STEPS
            np.testing.assert_allclose(terms.sum(axis=0), gradients[name], rtol=1e-12, atol=1e-14)
        if pattern == "none" and not options:
            np.testing.assert_allclose(found.line[:, :-1], series["dc"][:, 1:] * series["f"][:, 1:], atol=1e-14)
            only = series["dc"][:, -1] * series["f"][:, 1:].prod(axis=1)
            np.testing.assert_allclose(found.line_only[:, 0], only, rtol=1e-12)
            one = study.terms(layer, x, dy=dy)["layer"]["kernel"][2]
            dz = np.concatenate([series[f"dz_{gate}"][:, 2] for gate in "ifko"], axis=1)
            np.testing.assert_allclose(one, x[:, 2].T @ dz, rtol=1e-12)


def test_shares_of_the_gates():
    model, x, y = classifier(), np.array([[1, 2, 3, 0], [4, 5, 0, 0]]), np.array([1, 0])
    shares = study.gate_shares(model, x, y)["lstm"]
    assert list(shares) == list("ifko")
    assert sum(shares.values()) == pytest.approx(1)
    cell, columns = model.layers[1].cell, slice(UNITS, 2 * UNITS)
    f, whole = (
        sum((np.asarray(g)[..., part] ** 2).sum() for g in cell.gradients.values()) for part in (columns, slice(None))
    )
    assert shares["f"] == pytest.approx(f / whole)


def test_weights_by_gate_are_views():
    layer, _ = sequences(CarryRNN(UNITS))
    gates = study.weights_by_gate(layer)
    assert list(gates) == list("ifko")
    gates["f"].kernel[:] = 7
    assert (layer.kernel[:, UNITS : 2 * UNITS] == 7).all()
    assert gates["o"].carry_kernel.base is layer.carry_kernel
    lines: list[str] = []
    Sequential([layer]).summary(print_fn=lines.append, by_gate=True)
    counts = [line.split("│")[3].strip() for line in lines[1].splitlines() if ": " in line]
    assert counts == ["28", "28", "28", "44"]  # (2 + 4 + 1) * 4, and gate o's 4 * 4
    with pytest.raises(AttributeError, match="no weight 'carry_kernel'; it has kernel, recurrent_kernel, bias"):
        gates["i"].carry_kernel  # noqa: B018
    both = Sequential([Bidirectional(GRU(3, name="gru"))])
    both.build((None, 4, 2))
    assert study.weights_by_gate(both)["backward_gru"]["r"].bias.shape == (2, 3)
    with pytest.raises(ValueError, match="lstm_9 is not built"):
        study.weights_by_gate(LSTM(3, name="lstm_9"))


# --- saliency ----------------------------------------------------------------------------------------------------


def test_ids_owe_what_their_embeddings_do():
    model, x = classifier(), np.array([[1, 2, 3, 0], [4, 5, 6, 7]])
    vectors = np.asarray(model.layers[0](x))
    tail = Sequential(model.layers[1:])
    for method in ("gradient_input", "integrated_gradients", "leave_one_out"):
        ids = study.saliency(model, x, method, words={n: str(n) for n in range(9)})
        floats = study.saliency(tail, vectors, method, mask=x != 0)
        np.testing.assert_allclose(ids.scores, floats.scores, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(np.isnan(ids.scores), x == 0)
        assert ids.words[0] == ["1", "2", "3", "0"]
    assert study.saliency(model, x).error < 1e-3
    probability = study.saliency(model, x, of="probability")
    np.testing.assert_array_equal(probability.value, model(x)[:, 0])
    assert probability.error < 1e-3
    masked = study.saliency(Sequential([Masking(-1.0), GRU(3)]), np.array([[[1.0], [-1.0], [2.0]]]))
    assert np.isnan(masked.scores).tolist() == [[False, True, False]]
    assert masked.error < 1e-3


# --- memory, dynamics, units -----------------------------------------------------------------------------------------


def test_a_half_life_is_that_of_a_gate_held_still():
    layer = LSTM(2, dtype="float64", use_bias=False, name="lstm")
    layer.build((None, None, 1))
    layer.set_weights([np.zeros(w.shape) for w in layer.get_weights()])
    with study.intervene(layer, {"lstm.f": np.array([0.5, 2 ** (-1 / 7)])}):
        found = study.half_life(layer, np.ones((2, 30, 1)))
    np.testing.assert_allclose(found.gate, [1, 7])
    np.testing.assert_allclose(found.measured, [1, 7])
    linear = SimpleRNN(1, activation="linear", dtype="float64")
    linear.build((None, None, 1))
    linear.set_weights([np.ones((1, 1)), np.full((1, 1), 0.25), np.zeros(1)])
    found = study.half_life(linear, np.ones((1, 9, 1)))
    assert np.isnan(found.gate).all()
    np.testing.assert_allclose(found.measured, 0.5)
    minimal = study.half_life(*sequences(MGU(2)))  # which has a gate f and no carry: f is what it forgets
    assert np.isnan(minimal.gate).all() and np.isfinite(minimal.measured).all()


def test_saturated_and_dead_units():
    layer, x = sequences(LSTM(UNITS, name="lstm"))
    values = np.array([0.05, 0.5, 0.95, 0.05])
    with study.intervene(layer, {"lstm.f": values}), study.intervene(layer, {"lstm.h": 0.3}, units=[1, 3]):
        found = study.trace(layer, x, mask=np.arange(STEPS) < [[2], [6], [1]])
    shares = study.saturation(found)["lstm"]["f"]
    assert (shares.low == [1, 0, 0, 1]).all()
    assert (shares.high == [0, 0, 1, 0]).all()
    assert study.dead_units(found)["lstm"].tolist() == [1, 3]


def test_update_ratios():
    model = classifier()
    before = study.named_weights(model)
    assert len(before) == 1 + 4 * 3 + 2
    study.weights_by_gate(model)["lstm"]["f"].kernel[:] *= 1.5
    ratios = study.update_ratios(before, study.named_weights(model))
    assert ratios.pop("lstm.f.kernel") == pytest.approx(0.5)
    assert set(ratios.values()) == {0.0}


def test_exponents_of_a_linear_recurrence_are_those_of_its_eigenvalues():
    eigenvalues, rng = np.array([1.1, -0.9, 0.5, 0.2]), np.random.default_rng(SEED)
    basis = rng.standard_normal((4, 4))
    layer = SimpleRNN(4, activation="linear", use_bias=False, dtype="float64", go_backwards=True)
    layer.build((None, None, 2))
    layer.set_weights([rng.standard_normal((2, 4)), basis @ np.diag(eigenvalues) @ np.linalg.inv(basis)])
    mask = np.arange(300) < [[300], [250], [0]]
    found = study.lyapunov(layer, rng.standard_normal((3, 300, 2)), mask=mask, burn_in=150)
    np.testing.assert_allclose(found[:2], np.log(np.abs(eigenvalues)) * np.ones((2, 1)), rtol=1e-8)
    assert np.isnan(found[2]).all()


def test_fixed_points_of_a_bistable_unit():
    """h = tanh(2 h): h* = 0.9575… and its mirror image, stable with slope 2 (1 - h*²); 0 between them, unstable."""
    layer = SimpleRNN(1, use_bias=False, dtype="float64")
    layer.build((None, None, 1))
    layer.set_weights([np.ones((1, 1)), np.full((1, 1), 2.0)])
    found = study.fixed_points(layer, np.random.default_rng(SEED).standard_normal((8, 10, 1)))
    order = np.argsort(found.states[:, 0])
    np.testing.assert_allclose(found.states[order, 0], [-0.957504024, 0, 0.957504024], atol=1e-8)
    np.testing.assert_allclose(found.eigenvalues[order, 0], [0.166372, 2, 0.166372], rtol=1e-5)
    assert found.stable[order].tolist() == [True, False, True]
    assert "3 points, 2 of them stable" in repr(found)
    moved = study.fixed_points(layer, np.ones((4, 10, 1)), inputs=[1.0])
    assert moved.states.tolist() == [[pytest.approx(np.tanh(2 * moved.states[0, 0] + 1))]]


def test_a_line_attractor_is_found_in_the_principal_direction():
    layer = SimpleRNN(2, activation="linear", use_bias=False, dtype="float64")
    layer.build((None, None, 2))
    layer.set_weights([np.eye(2), np.diag([1.0, 0.3])])
    found = study.fixed_points(layer, np.random.default_rng(SEED).standard_normal((4, 10, 2)))
    assert len(found.states) > 10
    np.testing.assert_allclose(np.abs(found.axes[0]), [1, 0], atol=1e-4)
    assert found.shares[0] > 0.999


def test_units_that_follow_a_label():
    layer, x = sequences(LSTM(UNITS, name="lstm"), rows=20)
    words = [["no" if value > 0 else "yes" for value in row] for row in x[..., 0]]
    steps, y = np.arange(STEPS), np.arange(20) % 2
    mask = steps < np.random.default_rng(SEED).integers(2, STEPS, (20, 1))
    follows = np.zeros((20, STEPS, UNITS))
    follows[..., 1], follows[..., 2], follows[..., 3] = steps, x[..., 0] > 0, y[:, None]
    with study.intervene(layer, {"lstm.c": follows}):
        found = study.trace(layer, x, mask=mask, words=words)
    for labels, unit in (("position", 1), ("no", 2), (y, 3), (np.tile(y[:, None], STEPS), 3)):
        best = study.find_units(found, labels)
        assert (best.name, best.units[0]) == ("c", unit)
        assert best.correlations[0] == pytest.approx(1)
        assert f"{unit} (+1.00)" in repr(best)
    assert study.find_units(found, y).values == 20
    assert study.find_units(found, y, name="i").correlations[0] < 1


def test_a_stateful_model_is_asked_from_where_it_stands():
    model, x = classifier(stateful=True), np.array([[1, 2, 3], [4, 5, 6]])
    model.predict_on_batch(x)
    states = model.layers[1].states
    owed, output = study.saliency(model, x, "leave_one_out", of="probability"), model(x)[:, 0]
    np.testing.assert_array_equal(owed.value, output)
    model.layers[1].states = states
    without = model(np.where(np.arange(3) == 1, 0, x))[:, 0]  # 0 is masked
    np.testing.assert_allclose(owed.scores[:, 1], output - without, atol=1e-6)
    model.layers[1].states = states
    assert study.saliency(model, x).error < 1e-3
    assert study.effects(model, x, [1, 0])["lstm"].shape == (4, 3)


@pytest.mark.parametrize("backend", config.BACKENDS)
def test_nothing_that_is_looked_at_changes_training_by_a_bit(backend):
    config.set_backend(backend)
    rng = np.random.default_rng(SEED)
    batches = [(rng.integers(0, 9, (4, STEPS)), rng.integers(0, 2, 4)) for _ in range(4)]
    results = []
    for looks in (False, True):
        config.set_seed(SEED)
        model = classifier(dropout=0.2, recurrent_dropout=0.3, stateful=True)
        model.compile("adam", "binary_crossentropy")
        for x, y in batches:
            model.train_on_batch(x, y)
            if looks:
                study.trace(model, x, y, training=True)
                study.saliency(model, x, "leave_one_out")
                study.jacobian(model, x)
                study.paths(model, x, y)
                study.effect(model, {"lstm.f": 0.0}, x, y)
                study.fixed_points(model, x, starts=2, iterations=2)
        results.append([*model.get_weights(), *model.layers[1].states])
    for plain, looked in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, looked)


# --- bad input ---------------------------------------------------------------------------------------------------


def test_bad_input_is_told_in_a_sentence():
    layer, x = sequences(LSTM(UNITS, name="lstm"))
    model, ids, y = classifier(), np.array([[1, 2, 3]]), np.array([1])
    uncompiled = Sequential([LSTM(2), Dense(1)])
    two = Sequential([LSTM(2, return_sequences=True, name="one"), GRU(2, name="two")])
    found = study.trace(model, ids)
    for call, message in (
        (lambda: study.trace(uncompiled, x, np.ones(3)), "there is no loss; call compile"),
        (lambda: study.trace(layer, x, np.ones(3)), "a layer by itself, which has no loss"),
        (lambda: study.trace(LSTM, x), "model is the class LSTM; expected an object of it"),
        (lambda: study.trace(Dense(2), x), "has no recurrent layer"),
        (lambda: study.trace(model, ids, names=["lstm.q"]), "unknown name 'lstm.q'"),
        (lambda: found["lsmt"], "did you mean 'lstm'"),
        (lambda: found["lstm.z_ff"], "did you mean 'z_f'"),
        (lambda: found["lstm"]["dc"], "give y as well"),
        (lambda: study.saturation(model), "expected what trace"),
        (lambda: study.dead_units(model), "expected what trace"),
        (lambda: study.find_units(model, y), "expected what trace"),
        (lambda: study.trace(model, ids, words=[["a"]]), "1 words, x has 3 steps"),
        (lambda: study.trace(model, ids, reduce="sum"), "unknown reduce 'sum'"),
        (lambda: study.trace(model, ids, reduce=5), "reduce is 5; expected 'mean', 'histogram', 'words' or a function"),
        (lambda: study.trace(model, [[1, 2], [3]], reduce="words"), "there are none; give them"),
        (lambda: study.gradient_flow(model, ids), "y is None"),
        (lambda: study.jacobian(layer, x, step=6), "step is 6; there are 6, from 0 to 5"),
        (lambda: study.jacobian(layer, x, of="f"), "of: unknown state 'f'"),
        (lambda: study.jacobian(layer, x, wrt="g"), "wrt: unknown name 'g'"),
        (lambda: study.jacobian(two, x), "the recurrent layers one, two; say which"),
        (lambda: study.paths(GRU(2), x, dy=np.ones((3, 2))), "has a carry line"),
        (lambda: study.paths(LSTM(2, bptt_steps=2), x, dy=np.ones((3, 2))), "bptt_steps cuts the gradient"),
        (lambda: study.saliency(model, ids, "shap"), "unknown method 'shap'"),
        (lambda: study.saliency(model, ids, target=3), "expected a number below 1"),
        (lambda: study.effects(model, ids, None), "y is None"),
        (lambda: study.effect(model, "lstm.f", ids), "changes is 'lstm.f'; expected names and what becomes of them"),
        (lambda: study.effect(model, {"lstm.g": 1}, ids), "unknown name 'lstm.g'"),
        (lambda: study.effect(model, {"lstm.f": 1}, ids, steps=3), "steps is 3; there are 3, from 0 to 2"),
        (lambda: study.effect(model, {"lstm.f": 1}, ids, units=[9]), "units is"),
        (lambda: study.effect(model, {"lstm.f": np.ones((2, 9))}, ids), r"expected one that broadcasts to \(1, 3, 4\)"),
        (lambda: study.effect(model, {"lstm.f": np.array([1.0, np.nan, 1, 1])}, ids), "is NaN at step 0"),
        (lambda: study.effect(model, {"lstm.f": np.inf}, ids), "is not finite"),
        (lambda: study.find_units(found, [1, 0]), r"labels has shape \(2,\)"),
        (lambda: study.find_units(found, "not"), "the trace has no words"),
        (lambda: study.find_units(found, [1]), "all the same"),
        (lambda: study.lyapunov(layer, x, burn_in=6), "burn_in is 6; x has 6 steps"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            call()
    with pytest.raises(ValueError, match="mixes entries"), study.intervene(model, {"lstm.f": lambda f: f - f.mean()}):
        study.trace(model, ids, y)
    with pytest.raises(TypeError, match="'a'; expected a number"), study.intervene(model, {"lstm.f": "a"}):
        pass


def test_gates_of_padding_alone_are_saturated_at_no_share():
    layer = LSTM(3, name="lstm")
    shares = study.saturation(study.trace(layer, np.ones((2, 4, 3)), mask=np.zeros((2, 4), bool)))["lstm"]["f"]
    assert np.isnan(shares.low).all() and np.isnan(shares.high).all() and shares.low.shape == (3,)
