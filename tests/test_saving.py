"""Models in files: what comes back is what was written, and what nobody vouches for is refused."""

import io
import json
import pickle
import random
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from cases import LAYERS, RUN_SEED

import rnncore
from rnncore import losses, metrics, optimizers, regularizers, saving
from rnncore.activations import Activation
from rnncore.cells import Cell, Stage
from rnncore.configured import Configured, described, revived, subclasses
from rnncore.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    Input,
    Layer,
    LSTMCell,
    SimpleRNN,
    TimeDistributed,
    layer_of,
)
from rnncore.models import Sequential, load_model
from rnncore.utils import archive


def data(rows=24, steps=5, words=11):
    rng = np.random.default_rng(3)
    x = rng.integers(0, words, (rows, steps))
    return x, (x[:, :1] > words // 2).astype(float)


def rich_model(**options):
    """Return a model with a bit of everything, compiled."""
    directions = {"backward_layer": GRU(3, return_sequences=True, go_backwards=True, kernel_regularizer="l2")}
    model = Sequential(
        [
            Input((5,)),
            Embedding(11, 4, mask_zero=True, embeddings_constraint=rnncore.constraints.MaxNorm(1.5)),
            Bidirectional(LSTM(3, return_sequences=True, dropout=0.2, recurrent_dropout=0.1, bias_initializer="ones")),
            Bidirectional(LSTM(3, return_sequences=True), **directions),
            TimeDistributed(Dense(3, "relu", activity_regularizer=regularizers.L1(0.01))),
            RNN([LSTMCell(2, unit_forget_bias=False), GRUCell(3, reset_after=False)], return_sequences=True),
            Dropout(0.25),
            Sequential([SimpleRNN(2, bptt_steps=3)], name="inner"),
            Dense(1, activation="sigmoid"),
        ]
    )
    options = {"optimizer": optimizers.Adam(0.01, amsgrad=True, clipnorm=1.0), "metrics": ["accuracy"]} | options
    model.compile(loss=losses.BinaryCrossentropy(label_smoothing=0.1), **options)
    return model


def small_model():
    model = Sequential([Embedding(11, 3), LSTM(2, dropout=0.1), Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    rnncore.set_backend("numpy")  # nothing here is about the loop


def trained(model, epochs=1):
    model.fit(*data(), batch_size=8, epochs=epochs, verbose=0)
    return model


def same_bits(one, other):
    return len(one) == len(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True)
    )


# --- round trips ------------------------------------------------------------------------------------------------------


def test_what_is_not_wanted_of_a_file_is_not_read(tmp_path):
    path = tmp_path / "a.npz"
    archive.write(path, {"state": {"optimizer": [np.ones(3)], "weights": [np.zeros(2)]}, "notes": {"n": np.arange(2)}})
    found = archive.read(path, ["state/optimizer", "notes"])
    assert found["state"]["optimizer"] is None and found["notes"] is None
    np.testing.assert_array_equal(found["state"]["weights"][0], [0, 0])
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("stated.npy", b"")  # nothing tells of it, and it is no part of "state"
    with pytest.raises(ValueError, match=r"nothing tells of its member 'stated\.npy'"):
        archive.read(path, ["state", "notes"])


def test_a_loaded_model_goes_on_as_the_saved_one(tmp_path):
    x, y = data()
    model = trained(rich_model())
    model.save(tmp_path / "a.model")
    again = load_model(tmp_path / "a.model")
    assert again.get_config() == model.get_config()
    assert again.get_compile_config() == model.get_compile_config()
    assert same_bits(again.get_weights(), model.get_weights())
    assert np.array_equal(again.predict(x), model.predict(x))
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    before = model.get_weights()
    trained(model)
    trained(again)  # slots, dropout and the shuffling go on too
    assert same_bits(again.get_weights(), model.get_weights())
    assert not same_bits(before, model.get_weights())


def test_the_same_model_gives_the_same_file(tmp_path):
    model = trained(small_model())
    for name in ("one", "two"):
        model.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_numpy_reads_the_file(tmp_path):
    model = trained(small_model())
    model.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        text = json.loads(file["model.json"])
        kept = [file[f"state/weights/{n}"] for n in range(len(model.weights))]
    assert same_bits(kept, model.weights)
    assert text["format"] == "rnncore" and text["version"] == 1
    assert text["state"]["names"][:3] == [
        f"{model.layers[0].name}/embeddings",
        *(f"{model.layers[1].cell.name}/{name}" for name in ("kernel", "recurrent_kernel")),
    ]


OPTIMIZERS = [cls.__name__ for cls in optimizers._CLASSES]
NO_METRICS = (metrics.Mean, metrics.Sum)  # of values
METRICS = {cls.__name__: cls for cls in metrics._CLASSES if cls not in NO_METRICS}
STACKED = {name: case[:2] for name, case in LAYERS.items() if not isinstance(case[2], list)}  # one output


@pytest.mark.parametrize(("make", "x"), STACKED.values(), ids=STACKED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer(make, x, dtype, tmp_path):
    model = Sequential([make(dtype=dtype)])
    y = model(x)
    model.save(tmp_path / "a")
    again = load_model(tmp_path / "a")
    assert again.get_config() == model.get_config()
    assert np.array_equal(again(x), y)
    assert again(x).dtype == dtype
    assert again.optimizer is None


@pytest.mark.quick(12)
@pytest.mark.parametrize(
    "options",
    [{}, {"use_ema": True, "ema_momentum": 0.5}, {"gradient_accumulation_steps": 2}, {"global_clipnorm": 0.1}],
    ids=lambda options: "-".join(options) or "plain",
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name, options, tmp_path):
    model = small_model()
    model.compile(getattr(optimizers, name)(0.1, **options), "binary_crossentropy")
    trained(model)
    model.optimizer.learning_rate = 0.02
    model.save(tmp_path / "a")
    again = load_model(tmp_path / "a")
    assert again.optimizer.iterations == model.optimizer.iterations > 0
    assert same_bits(list(again.optimizer.get_state().values()), list(model.optimizer.get_state().values()))
    assert same_bits(trained(again).get_weights(), trained(model).get_weights())


def test_a_schedule(tmp_path):
    model = small_model()
    model.compile(optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)), "binary_crossentropy")
    trained(model).save(tmp_path / "a")
    again = load_model(tmp_path / "a")
    assert again.optimizer.learning_rate == model.optimizer.learning_rate < 0.1
    assert same_bits(trained(again).get_weights(), trained(model).get_weights())


@pytest.mark.parametrize("name", METRICS)
def test_the_state_of_every_metric(name, tmp_path):
    one, other = METRICS[name](), METRICS[name]()
    rng = np.random.default_rng(4)
    by_number = name.startswith(("Sparse", "Perplexity"))
    for _ in range(2):
        y_pred = rng.random((6, 3)) if "Binary" not in name else rng.random((6, 1))
        y = rng.integers(0, 3, 6) if by_number else (y_pred > rng.random(y_pred.shape)).astype(float)
        y_pred = y_pred.round() if name == "Accuracy" else y_pred
        one.update_state(y, y_pred)
        archive.write(tmp_path / "a", {"state": one.get_state()})
        other.set_state(archive.read(tmp_path / "a")["state"])
        assert np.array_equal(other.result(), one.result())
    assert not np.array_equal(one.result(), METRICS[name]().result())
    with pytest.raises(ValueError, match="its state has"):
        one.set_state({})


def test_metrics_by_name_class_and_object(tmp_path):
    asked = ["acc", metrics.MeanSquaredError, metrics.BinaryAccuracy("mine", threshold=0.7)]
    weighted = ["mae", "acc", metrics.BinaryAccuracy("mine", threshold=0.2)]
    model = trained(rich_model(metrics=asked, weighted_metrics=weighted, optimizer="sgd"))
    model.save(tmp_path / "a")
    x, y = data()
    options = {"sample_weight": np.linspace(0, 1, len(x)), "verbose": 0, "return_dict": True}
    one, other = (m.evaluate(x, y, **options) for m in (model, load_model(tmp_path / "a")))
    assert one == other
    assert list(one) == ["acc", "loss", "mae", "mean_squared_error", "mine", "weighted_acc", "weighted_mine"]


def test_a_loss_and_a_metric_of_one_name():
    for base, cls in ((losses.Loss, losses.MeanSquaredError), (metrics.Metric, metrics.MeanSquaredError)):
        assert type(revived(cls().describe(), base)) is cls


def test_not_compiled_or_not_built(tmp_path):
    model = small_model()
    model.save(tmp_path / "a")
    again = load_model(tmp_path / "a", compile=False)
    assert not again.built and again.optimizer is None
    assert load_model(tmp_path / "a").optimizer.iterations == 0
    assert same_bits(trained(load_model(tmp_path / "a")).get_weights(), trained(model).get_weights()) is False


def test_states_of_stateful_layers_are_kept(tmp_path):
    model = Sequential([Input((4, 3), batch_size=2), LSTM(2, stateful=True), Dense(1)])
    x = np.random.default_rng(0).standard_normal((2, 4, 3))
    first = model.predict(x)
    model.save(tmp_path / "a")
    again = load_model(tmp_path / "a")
    assert again.input.shape == (2, 4, 3)
    assert np.array_equal(again.predict(x), model.predict(x))
    assert not np.array_equal(again.predict(x), first)


class Times(Layer):
    """A layer of a user's own."""

    def __init__(self, factor, name=None, dtype=None):
        super().__init__(name, dtype)
        self.factor = factor

    def build(self, input_shape):
        self.add_weight((input_shape[-1],), rnncore.initializers.Constant(self.factor), name="scale")

    def call(self, x, mask=None, training=False):
        return x * self.scale


def test_notes_are_kept_beside_a_model(tmp_path):
    model, path = Sequential([Input((3,)), Dense(1)]), tmp_path / "model.npz"
    notes = {"words": "the\nfilm", "settings": {"tokens": 80, "cut": None}, "mean": np.arange(3.0)}
    saving.save_model(model, path, notes=notes)
    found = saving.load_notes(path)
    assert np.array_equal(found.pop("mean"), notes.pop("mean"))
    assert found == notes
    assert np.array_equal(load_model(path).get_weights()[0], model.get_weights()[0])
    model.save(path)
    assert saving.load_notes(path) == {}
    with pytest.raises(TypeError, match="notes/word"):
        saving.save_model(model, path, notes={"word": b"the"})
    archive.write(path, {**archive.read(path), "notes": ["the"]})
    with pytest.raises(ValueError, match="its notes are no table"):
        saving.load_notes(path)


def test_custom_objects(tmp_path):
    cube = Activation("cube", lambda z: z**3, lambda dy, y, z: dy * 3 * z**2, needs_input=True)
    model = Sequential([Input((3,)), Times(2.0), Dense(2, activation=cube)])
    model.save(tmp_path / "a")
    again = load_model(tmp_path / "a", custom_objects={"Times": Times, "cube": cube})
    x = np.ones((1, 3))
    assert np.array_equal(again.predict(x), model.predict(x))
    with pytest.raises(ValueError, match=r"a: unknown class 'Times'; name classes of your own in custom_objects"):
        load_model(tmp_path / "a")
    with pytest.raises(ValueError, match="a: activation: unknown activation 'cube'"):
        load_model(tmp_path / "a", {"Times": Times})


def test_a_class_of_no_module_is_not_the_packages(tmp_path):
    """A cell whose step `exec` made in a bare namespace gives a layer without a module; other models load beside it."""
    made: dict = {}
    exec("def step(z_a):\n    return z_a\ndef step_backward(dh, h, z_a):\n    return dh", made)
    layer = layer_of(
        Cell("Bare", gates=("a",), states=("h",), stages=(Stage(made["step"], made["step_backward"], "h"),))
    )
    assert layer.__module__ is None
    model = Sequential([Input((3,)), Dense(2)])
    model.save(tmp_path / "a")
    assert np.array_equal(load_model(tmp_path / "a").predict(np.ones((1, 3))), model.predict(np.ones((1, 3))))


class OwnLoss(losses.MeanSquaredError):
    pass


class OwnMetric(metrics.MeanSquaredError):
    pass


class OwnOptimizer(optimizers.SGD):
    pass


def test_custom_objects_of_training(tmp_path):
    model = Sequential([Input((3,)), Dense(1)])
    model.compile(OwnOptimizer(0.5), OwnLoss(), metrics=[OwnMetric()])
    model.save(tmp_path / "a")
    own = {cls.__name__: cls for cls in (OwnLoss, OwnMetric, OwnOptimizer)}
    again = load_model(tmp_path / "a", own)
    assert [type(part) for part in (again.loss, again.optimizer)] == [OwnLoss, OwnOptimizer]
    assert again.get_compile_config() == model.get_compile_config()
    assert load_model(tmp_path / "a", compile=False).optimizer is None
    for missing in own:
        with pytest.raises(ValueError, match=f"unknown class '{missing}'"):
            load_model(tmp_path / "a", {name: cls for name, cls in own.items() if name != missing})


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_text("old")
    model = Sequential([Times(len)])
    with pytest.raises(TypeError, match=r"model/config/layers/0/config/factor: <built-in .* cannot be written"):
        model.save(tmp_path / "a")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    with pytest.raises(FileExistsError, match="overwrite is False"):
        small_model().save(tmp_path / "a", overwrite=False)


def test_weights(tmp_path):
    model, other = trained(small_model()), small_model()
    model.save_weights(tmp_path / "w")
    model.save(tmp_path / "m")
    for name in ("w", "m"):
        other.load_weights(tmp_path / name)  # not built: the file has the shape
        assert same_bits(other.get_weights(), model.get_weights())
        trained(other)
    wider = Sequential([Input((5,)), Embedding(11, 3), LSTM(3), Dense(1)])
    before = wider.get_weights()
    with pytest.raises(
        ValueError, match=r"w: its weight for lstm.*/kernel is float32 \(3, 8\); expected float32 \(3, 12\)"
    ):
        wider.load_weights(tmp_path / "w")
    with pytest.raises(ValueError, match="w: it has 6 weights; the model has 2"):
        Sequential([Input((3,)), Dense(1)]).load_weights(tmp_path / "w")
    assert same_bits(wider.get_weights(), before)
    with pytest.raises(ValueError, match="there are no weights yet"):
        small_model().save_weights(tmp_path / "w")
    with pytest.raises(ValueError, match="w: it holds a 'weights'; expected 'model'"):
        load_model(tmp_path / "w")
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none")


def test_a_class_is_found_by_its_name_only_if_it_is_the_packages():
    assert revived({"class_name": "Dense", "config": {"units": 2}}).units == 2
    assert Times in subclasses(Configured)
    with pytest.raises(ValueError, match="unknown class 'Times'"):
        revived(described(Times(2.0)))
    with pytest.raises(ValueError, match=r"unknown class 'os.system'"):
        revived({"class_name": "os.system", "config": {}})


# --- what is not finite ----------------------------------------------------------------------------------------------


SPOILT = {  # of a file's state: (the array, the value, what is said)
    "a weight": (lambda s: s["weights"][1], np.nan, r"its weight for lstm.*/kernel is not finite in 1 of 24 entries"),
    "a slot": (lambda s: s["optimizer"]["momentum/1"], -np.inf, r"'momentum/1'\] is not finite in 1 of 24 entries"),
    "iterations": (lambda s: s["optimizer"]["iterations"], -1, r"'iterations'\] is -1; expected at least 0"),
    "a state": (lambda s: s["states"][0][0], np.nan, r"a state of layer 'lstm.*' is not finite in 1 of \d+ entries"),
}


@pytest.mark.parametrize(("array", "value", "message"), SPOILT.values(), ids=SPOILT)
def test_what_is_not_finite_does_not_come_in(array, value, message, tmp_path):
    model = Sequential([Embedding(11, 3), LSTM(2, stateful=True), Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    trained(model).save(tmp_path / "a")
    content = archive.read(tmp_path / "a")
    array(content["state"]).flat[0] = value
    archive.write(tmp_path / "a", content)
    with pytest.raises(ValueError, match=f"a: .*{message}"):
        load_model(tmp_path / "a")


def test_a_model_that_diverged_is_written_and_not_read(tmp_path):
    model, other = trained(small_model()), trained(small_model())
    before = other.get_weights()
    model.layers[-1].kernel[:] = np.nan
    model.save(tmp_path / "m.npz")
    model.save_weights(tmp_path / "w")
    for name in ("m.npz", "w"):
        with pytest.raises(ValueError, match=rf"{name}: its weight for .*/kernel is not finite in 2 of 2 entries: nan"):
            other.load_weights(tmp_path / name)
    assert same_bits(other.get_weights(), before)
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:  # the way out
        assert np.isnan(file["state/weights/4"]).all()


def test_a_weight_too_large_for_the_models_dtype(tmp_path):
    model, other = (Sequential([Input((3,)), Dense(1, dtype=dtype)]) for dtype in ("float64", "float32"))
    model.layers[0].kernel[1] = 1e300
    model.save_weights(tmp_path / "w")
    with pytest.raises(ValueError, match=r"w: its weight for .*/kernel is not finite in 1 of 3 entries: 1e\+300"):
        other.load_weights(tmp_path / "w")


@pytest.mark.parametrize("spoil", [lambda w: w.append(w[-1]), lambda w: w[1].fill(np.nan)])
def test_refused_weights_leave_an_unbuilt_model_unbuilt(spoil, tmp_path):
    trained(small_model()).save_weights(tmp_path / "w")
    content = archive.read(tmp_path / "w")
    spoil(content["weights"])
    archive.write(tmp_path / "w", content)
    model = small_model()
    with pytest.raises(ValueError, match="w: it"):
        model.load_weights(tmp_path / "w")
    assert not model.built and model.weights == []
    trained(model)
    assert all(weight.any() for weight in model.weights)  # and not filled with the zeros of a file's


# --- hostile files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    trained(small_model()).save(tmp_path / "good")
    return tmp_path / "good"


def members(path):
    with zipfile.ZipFile(path) as archive_:
        return {name: archive_.read(name) for name in archive_.namelist()}


def written(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive_:
        for name, content in entries:
            archive_.writestr(name, content)
    return path


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('a file was run')",)


def changed(text, *keys, to):
    """Return the text with another value at the end of `keys`."""
    content = json.loads(text)
    inside = content
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = to
    return json.dumps(content).encode()


def schedule(boundaries):
    config = {"boundaries": boundaries, "values": [0.1] * (len(boundaries) + 1)}
    return {"class_name": "PiecewiseConstantDecay", "config": config}


def auc(points, **options):
    return {"class_name": "AUC", "config": {"num_thresholds": points, **options}}


LAYER = ("model", "config", "layers")
WEIGHT = ("state", "weights", 0)
HOSTILE_TEXTS = {  # name: (what the text becomes, what is said)
    "other version": (lambda t: changed(t, "version", to=2), "version is 2; this rnncore reads version 1"),
    "no version": (lambda t: changed(t, "version", to=True), "version is True"),
    "other format": (lambda t: changed(t, "format", to="x"), "format is 'x'"),
    "other kind": (lambda t: changed(t, "kind", to=["weights"]), "holds a"),
    "unknown class": (lambda t: changed(t, *LAYER, 0, "class_name", to="Popen"), "unknown class 'Popen'"),
    "unhashable class": (lambda t: changed(t, *LAYER, 0, "class_name", to=[]), "unhashable"),
    "unknown argument": (lambda t: changed(t, *LAYER, 0, "config", "shell", to=1), "shell"),
    "a huge layer": (lambda t: changed(t, *LAYER, 1, "config", "units", to=10**9), "no array of float32"),
    "a huger layer": (lambda t: changed(t, *LAYER, 1, "config", "units", to=10**300), "no array of float32"),
    "a loss for a layer": (
        lambda t: changed(t, *LAYER, 0, to={"class_name": "MeanSquaredError", "config": {}}),
        "layer",
    ),
    "a layer for the model": (
        lambda t: changed(t, "model", to={"class_name": "Dropout", "config": {"rate": 0.5}}),
        "no model",
    ),
    "a lower layer for a loss": (
        lambda t: changed(t, "compile", "loss", "class_name", to="Dense"),
        "unknown class 'Dense'",
    ),
    "absurd shape": (lambda t: changed(t, *WEIGHT, "shape", to=[1 << 40, 1 << 40]), "needs"),
    "negative shape": (lambda t: changed(t, *WEIGHT, "shape", to=[-11, -3]), "expected whole numbers"),
    "shape of a float": (lambda t: changed(t, *WEIGHT, "shape", to=[33.0]), "expected whole numbers"),
    "many axes": (lambda t: changed(t, *WEIGHT, "shape", to=[1] * 40 + [11, 3]), "shape"),
    "turned shape": (lambda t: changed(t, *WEIGHT, "shape", to=[3, 11]), "header"),
    "object array": (lambda t: changed(t, *WEIGHT, "dtype", to="|O"), "'|O'"),
    "other dtype": (lambda t: changed(t, *WEIGHT, "dtype", to="<i4"), "header"),
    "name that leads out": (lambda t: changed(t, *WEIGHT, "npy", to="../../x.npy"), "the name of an array is"),
    "key that leads out": (
        lambda t: changed(t, "..", to={"npy": "...npy", "dtype": "<f4", "shape": []}),
        "the name of an array is",
    ),
    "one weight twice": (lambda t: changed(t, "state", "weights", 1, "npy", to="state/weights/0.npy"), "expected"),
    "weight forgotten": (lambda t: changed(t, *WEIGHT, to=0), "nothing tells of its member 'state/weights/0.npy'"),
    "no state": (lambda t: changed(t, "state", to=None), "nothing tells"),
    "slots forgotten": (lambda t: changed(t, "state", "optimizer", to=None), "nothing tells"),
    "names are for people": (lambda t: changed(t, "state", "names", to=3), None),
    "many objects": (
        lambda t: changed(t, *LAYER, to=[{"class_name": "Flatten", "config": {}}] * 20_000),
        "describes 20,00",
    ),
    "no object": (lambda t: b"[1]", "holds no object"),
    "no text": (lambda t: b"\xff\xfe", "damaged"),
    "deep text": (lambda t: b'{"a": ' * 100_000 + b"0" + b"}" * 100_000, "nested"),
    "deep lists": (lambda t: b"[" * 3_000_000, "nested"),
    "brackets in a string": (lambda t: b'{"a": "' + b"[" * 1000 + b'"}', "nothing tells of"),
    "a string that does not end": (lambda t: b'{"a": "' + b"\\" * 3_000_001, "damaged"),
    "long number": (lambda t: b'{"a": ' + b"9" * 1_000_000 + b"}", "damaged"),
    "escaped quotes": (lambda t: b'{"a": "' + b'\\"' * 2_000_000, "Unterminated string"),
    "escaped quotes in a long string": (lambda t: b'{"a": "' + b'\\"' * 2_000_000 + b'"}', "nothing tells of"),
    "quotes": (lambda t: b'"' * 4_000_000, "Extra data"),
    "many lists": (lambda t: b'{"a": [' + b"[]," * 2_000_000 + b"0]}", "objects and lists"),
    "brackets in UTF-16": (lambda t: ('{"a": ' + "[" * 1000 + "]" * 1000 + "}").encode("utf-16-le"), "damaged"),
    "many metrics": (lambda t: changed(t, "compile", "metrics", to=["mae"] * 5000), "objects; at most 2,000"),
    "some thousand metrics": (lambda t: changed(t, "compile", "metrics", to=["mae"] * 1900), None),
    "a curve of many points": (lambda t: changed(t, "compile", "metrics", to=[auc(3e7)]), "num_thresholds is 3"),
    "a curve of more points": (lambda t: changed(t, "compile", "metrics", to=[auc(10**10)]), "num_thresholds is 1"),
    "many curves": (lambda t: changed(t, "compile", "metrics", to=[auc(10**5)] * 1900), None),
    "thresholds that are text": (
        lambda t: changed(t, "compile", "metrics", to=[auc(9, thresholds=["x" * 200_000, *[0] * 50_000])]),
        "could not convert",
    ),
    "a schedule of text": (
        lambda t: changed(t, "compile", "optimizer", "config", "learning_rate", to=schedule(["", "x"])),
        "boundaries is ['', 'x']; expected numbers",
    ),
    "a shape of many axes": (
        lambda t: changed(t, *LAYER, 0, to={"class_name": "Reshape", "config": {"target_shape": [9] * 100_000}}),
        "target_shape has 100000 entries",
    ),
    "a long name of a loss": (lambda t: changed(t, "compile", "loss", to="x" * 4_000_000), "unknown loss"),
    "long text": (lambda t: b'{"a": "' + b" " * archive.TEXT_LIMIT + b'"}', "larger than"),
}


@pytest.mark.quick(8)
@pytest.mark.parametrize(("hostile", "message"), HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_a_hostile_text(saved, tmp_path, hostile, message):
    parts = members(saved)
    parts["model.json"] = hostile(parts["model.json"])
    check_refused(written(tmp_path / "bad", parts.items()), message)


def check_refused(path, message):
    """Hold loading to a ValueError with `message` (None: or none at all), little memory and little time."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        if message is None:
            load_model(path)
        else:
            with pytest.raises(ValueError, match=f"^{path}: ") as refused:
                load_model(path)
            assert message in str(refused.value)
            assert len(str(refused.value)) < 1000
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100 << 20
    assert time.process_time() - begin < 10


FIRST = "state/weights/0.npy"
HOSTILE_ARCHIVES = {
    "bombs": (lambda p: [(n, c if n == "model.json" else b"\0" * (1 << 26)) for n, c in p.items()], "compressed"),
    "compressed": (lambda p: p.items(), "compressed"),
    "twice": (lambda p: [*p.items(), (FIRST, p[FIRST])], "two of its members have one name"),
    "the text twice": (lambda p: [*p.items(), ("model.json", p["model.json"])], "two of its members have one name"),
    "one more": (lambda p: [*p.items(), ("../../evil.py", b"")], "nothing tells of its member '../../evil.py'"),
    "one less": (lambda p: [(n, c) for n, c in p.items() if n != FIRST], "is missing"),
    "no text": (lambda p: [(n, c) for n, c in p.items() if n != "model.json"], "it has no model.json"),
    "Keras's": (lambda p: [("config.json", b"{}")], "it has no model.weights.h5"),
    "a pickle": (lambda p: [*{**p, FIRST: pickle.dumps(Bomb())}.items()], "bytes; its shape"),
    "many members": (lambda p: [(str(n), b"") for n in range(100_000)], "too many members"),
    "an array too long": (lambda p: [*{**p, FIRST: p[FIRST] + b"\0"}.items()], "bytes; its shape"),
    "objects": (lambda p: [*{**p, FIRST: npy(np.array([Bomb()] * 3, object))}.items()], "bytes; its shape"),
    "another header": (lambda p: [*{**p, FIRST: p[FIRST].replace(b"False", b"True ")}.items()], "header"),
}


@pytest.mark.quick(4)
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        pytest.param(*given, marks=pytest.mark.slow if name == "bombs" else ())
        for name, given in HOSTILE_ARCHIVES.items()
    ],
    ids=HOSTILE_ARCHIVES,
)
def test_a_hostile_archive(saved, tmp_path, hostile, message):
    compression = zipfile.ZIP_DEFLATED if message == "compressed" else zipfile.ZIP_STORED
    check_refused(written(tmp_path / "bad", hostile(members(saved)), compression), message)


@pytest.mark.parametrize("content", [b"", b"PK\5\6" + b"\0" * 18, b"not a zip", npy(np.zeros(3)), pickle.dumps(Bomb())])
def test_what_is_no_archive(content, tmp_path):
    (tmp_path / "bad").write_bytes(content)
    check_refused(tmp_path / "bad", "a pickle" if content[:1] == b"\x80" else "damaged")


def test_members_that_lie_on_one_another(saved, tmp_path):
    parts = members(saved)
    whole = bytearray(written(tmp_path / "bad", [*parts.items(), ("0.npy", b"\0" * 3000)]).read_bytes())
    entry = whole.rindex(b"PK\1\2")
    for n in range(1, 9):  # the same place in the file under other names
        whole[-22:-22] = whole[entry:-22][: 46 + 5].replace(b"0.npy", b"%d.npy" % n)
    number, size = 8 + len(parts) + 1, len(whole) - 22 - whole.index(b"PK\1\2")
    whole[-14:-10] = number.to_bytes(2, "little") * 2
    whole[-10:-6] = size.to_bytes(4, "little")
    (tmp_path / "bad").write_bytes(whole)
    check_refused(tmp_path / "bad", "claim more than")


@pytest.mark.parametrize("folder", [True, False])
def test_no_file(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="no file"):
        load_model(tmp_path if folder else tmp_path / "none")


ODD = [None, True, -1, 0, 3, 1 << 31, 10**30, 10**400, 0.5, -1e308, float("nan"), "", "lstm", "..", "|O", [], {}]
ODD += [[[]], [1] * 70, {"class_name": "LSTM", "config": {"units": 1 << 40}}, {"class_name": [], "config": []}]
ODD += [{"npy": "x.npy", "dtype": "<f4", "shape": [1 << 30]}]


def places(value, keys=()):
    """Yield the way to each value within `value`."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*keys, key)
        yield from places(item, (*keys, key))


def mutated_text(parts, rng):
    text = parts["model.json"]
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        keys = rng.choice(list(places(json.loads(text))))
        text = changed(text, *keys, to=rng.choice(ODD))
    return [*{**parts, "model.json": text}.items()]


def mutated_bytes(content, rng):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        first = rng.randrange(len(content))
        last = min(len(content), first + rng.choice((1, 2, 4, 40, 4000)))
        kind = rng.choice(("flip", "random", "cut", "twice", "zero", "ones", "end"))
        if kind == "flip":
            content[first] ^= 1 << rng.randrange(8)
        elif kind == "end":
            del content[first:]
        else:
            content[first:last] = {
                "random": rng.randbytes(last - first),
                "cut": b"",
                "twice": content[first:last] * 2,
                "zero": b"\0" * (last - first),
                "ones": b"\xff" * (last - first),
            }[kind]
        if not content:
            break
    return bytes(content)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_fuzz(saved, tmp_path, count):
    rng, parts, whole, bad = random.Random(RUN_SEED), members(saved), saved.read_bytes(), tmp_path / "bad"
    refused = loaded = 0
    for n in range(count):
        if n % 2:
            bad.write_bytes(mutated_bytes(whole, rng))
        else:
            written(bad, mutated_text(parts, rng))
        begin = time.process_time()
        try:
            assert isinstance(load_model(bad), Sequential)
        except ValueError as error:
            refused += str(error).startswith(f"{bad}: ")
        else:
            loaded += 1
        assert time.process_time() - begin < 5
    assert refused + loaded == count
    assert refused > loaded > 0
