"""Looks inside while a model is trained: they see what the study sees, and training goes on as if nobody had looked."""

import numpy as np
import pytest
from cases import SEED

import rnncore
from rnncore import Sequential, study
from rnncore.callbacks import BackupAndRestore, Callback, LambdaCallback
from rnncore.layers import GRU, LSTM, Bidirectional, Dense, Dropout, Embedding, SimpleRNN
from rnncore.models import load_model

ROWS, STEPS, WORDS = 12, 6, 9


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    rnncore.set_backend("numpy")


def data():
    rng = np.random.default_rng(SEED)
    x = rng.integers(1, WORDS, (ROWS, STEPS))
    x[::2, 4:] = 0
    return x, rng.integers(0, 2, ROWS)


def made(stateful=False):
    rnncore.config.set_seed(3)
    rnncore.utils.clear_session()
    model = Sequential(
        [
            Embedding(WORDS, 4, mask_zero=True),
            LSTM(3, return_sequences=True, dropout=0.2, recurrent_dropout=0.3, stateful=stateful, name="memory"),
            Dropout(0.3),
            Bidirectional(GRU(2), name="both"),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", rnncore.metrics.AUC()])
    return model


def looks(update_freq="epoch"):
    x, y = data()
    return [
        study.GradientFlow(x[:4], y[:4], update_freq=update_freq),
        study.GateRecorder(x[:4], update_freq=update_freq),
    ]


def fit(model, callbacks, **options):
    return model.fit(*data(), batch_size=6, epochs=2, verbose=0, callbacks=callbacks, **options)


def test_they_see_what_the_study_sees():
    model, (flow, gates), (x, y) = made(), looks(3), data()
    expected = []

    class Beside(Callback):
        def on_train_begin(self, logs=None):
            self.seen = 0
            self.look()

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1
            if self.seen % 3 == 0:
                self.look()

        def look(self):
            twin = Sequential.from_config(model.get_config())
            twin.compile("sgd", "binary_crossentropy")
            twin.build((None, STEPS))
            twin.set_weights(model.get_weights())
            expected.append((study.gradient_flow(twin, x[:4], y[:4]), study.trace(twin, x[:4])))

    fit(model, [flow, gates, Beside()])
    assert flow.batches == gates.batches == [0, 3]
    assert [*flow.history] == [*gates.history] == ["memory", "forward_gru", "backward_gru"]
    kept = x[:4] != 0
    for n, (norms, series) in enumerate(expected):
        for layer, own in norms.items():
            for name, values in own.items():
                np.testing.assert_allclose(flow.history[layer][name][n], np.nanmean(values, axis=0), rtol=1e-6)
        for layer, own in series.items():
            for name, one in gates.history[layer].items():
                values = own[name]
                assert one["mean"][n] == pytest.approx(values[kept].mean(dtype=float))
                assert one["low"][n] == np.mean(np.abs(values[kept]) < 0.1)
                assert one["high"][n] == np.mean(np.abs(values[kept]) > 0.9)
    assert flow.history["memory"]["dc"][0] != flow.history["memory"]["dc"][1]
    assert set(gates.history["memory"]) == set("ifkoch")


class Everything(Callback):
    """What must not depend on who looks, at every point."""

    def __init__(self):
        self.seen = []

    def note(self):
        model = self.model
        self.seen += [*model.get_weights(), *(g.bit_generator.state["state"]["state"] for g in model.generators())]
        self.seen += [rnncore.config.new_seed().spawn_key]
        for part in model.walk():
            arrays = [part.last_output, getattr(part, "states", None), *part.gradients.values()]
            self.seen += [
                np.asarray(array) for array in arrays if array is not None and not isinstance(array, (list, tuple))
            ]
            self.seen += [array for several in arrays if isinstance(several, (list, tuple)) for array in several]

    def on_train_begin(self, logs=None):
        self.note()

    def on_train_batch_end(self, batch, logs=None):
        self.seen += list(logs.values())
        self.note()

    def on_epoch_end(self, epoch, logs=None):
        self.seen += list(logs.values())
        self.note()


@pytest.mark.parametrize("update_freq", ["epoch", 1])
@pytest.mark.parametrize("stateful", [False, True])
def test_training_goes_on_as_if_nobody_had_looked(stateful, update_freq):
    results = []
    for callbacks in ([], looks(update_freq)):
        model, beside = made(stateful), Everything()
        history = fit(model, [*callbacks, beside], validation_data=data())
        made_after = rnncore.layers.Dense(3)
        made_after.build((None, 2))
        results.append([beside.seen, list(history.history.values()), made_after.kernel, made_after.name.split("_")[0]])
    plain, looked = results
    assert len(plain[0]) == len(looked[0]) > 100
    assert all(np.array_equal(one, other) for one, other in zip(plain[0], looked[0], strict=True))
    assert plain[1] == looked[1] and plain[3] == looked[3]
    assert np.array_equal(plain[2], looked[2])


def test_names_of_later_layers_stay():
    names = []
    for callbacks in ([], looks()):
        fit(made(), callbacks)
        names.append(GRU(2).name)
    assert names[0] == names[1]


def test_a_cut_run_goes_on_with_what_was_seen(tmp_path):
    def stop(epoch, logs=None):
        if epoch == 0:
            raise KeyboardInterrupt

    whole = looks(1)
    fit(made(), whole)
    backup = BackupAndRestore(tmp_path, save_freq=1)
    with pytest.raises(KeyboardInterrupt):
        fit(made(), [*looks(1), LambdaCallback(on_epoch_end=stop), backup])
    again = looks(1)
    fit(made(), [*again, BackupAndRestore(tmp_path, save_freq=1)])
    for one, other in zip(whole, again, strict=True):
        assert (one.batches, one.history) == (other.batches, other.history)


def test_a_model_is_saved_with_looks_at_it(tmp_path):
    model = made()
    fit(model, looks())
    model.save(tmp_path / "model.npz")
    assert np.array_equal(load_model(tmp_path / "model.npz").predict(data()[0]), model.predict(data()[0]))


def test_a_layer_without_gates_has_its_state_and_a_figure(tmp_path):
    pytest.importorskip("matplotlib")
    single = study.GateRecorder(np.ones((2, 3, 2)))
    model = Sequential([SimpleRNN(2), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3, 2)), np.ones(4), verbose=0, callbacks=[single])
    assert set(single.history[model.layers[0].name]) == {"h"}
    assert single.plot(tmp_path / "single.png", "a title").read_bytes()[:4] == b"\x89PNG"


def test_errors():
    with pytest.raises(ValueError, match="GateRecorder: update_freq is 0; expected a whole number"):
        study.GateRecorder([[1]], update_freq=0)
    model = Sequential([Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no recurrent layer"):
        model.fit(np.ones((4, 2)), np.ones(4), verbose=0, callbacks=[study.GateRecorder(np.ones((4, 2)))])


def ragged_data():
    rng = np.random.default_rng(SEED)
    return [list(rng.integers(1, WORDS, n % 4 + 2)) for n in range(ROWS)], rng.integers(0, 2, ROWS)


def test_any_look_over_the_epochs_and_ragged_rows():
    (x, y), model = ragged_data(), made()
    watched = study.Watch(lambda twin: study.saturation(study.trace(twin, x[:4])))
    number = study.Watch(lambda twin: study.trace(twin, x[:4], y[:4]).loss, update_freq=2)
    others = [study.GradientFlow(x[:4], y[:4]), study.GateRecorder(x[:4]), study.UpdateRatios(update_freq=1)]
    model.fit(x, y, batch_size=6, epochs=2, verbose=0, callbacks=[watched, number, *others])
    assert len(watched.history["memory"]["f"]["low"]) == len(others[0].history["memory"]["dc"]) == 3
    assert watched.history["memory"]["f"]["low"][0].shape == (3,)
    assert others[1].history["memory"]["f"]["low"][-1] == pytest.approx(
        watched.history["memory"]["f"]["low"][-1].mean()
    )
    assert (number.batches, len(number.history["value"])) == ([0, 2, 4], 3)
    assert number.history["value"][-1] == study.trace(model, x[:4], y[:4]).loss
    moved = others[2].history["memory.f.kernel"]
    assert moved[0] == 0 and len(moved) == 5
    assert all(0 < ratio < 1 for ratio in moved[1:])
    assert "batches" in str(others[0]) and "median" in str(others[1])
    with pytest.raises(TypeError, match="Watch: look is 3; expected a function"):
        study.Watch(3)
