"""Files of Keras's without Keras: real ones with their references, the layouts of versions 1 and 2, and refusals.

``RNNCORE_MODELS`` names the folder of real files: ``NNN.h5`` or ``NNN.keras``, ``NNN.npz`` with x and what came out.
"""

import copy
import io
import itertools
import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import keras_layouts as layouts
import numpy as np
import pytest
from cases import randomize

import rnncore
from rnncore import config, layers, losses, optimizers
from rnncore.interop import keras as files
from rnncore.interop.keras import hdf5
from rnncore.layers import GRU, LSTM, Bidirectional, Conv1D, Dense, Embedding, SimpleRNN
from rnncore.models import Sequential, load_model

MODELS = Path(os.environ.get("RNNCORE_MODELS") or "/nowhere")
REAL = sorted(path for path in MODELS.glob("*.*") if path.suffix in (".h5", ".keras")) if MODELS.is_dir() else []
REFUSED = {  # of the real ones, by what the message must say
    "025.h5": "it holds weights only",
    "062.keras": "layer 'lambda_2' is a Lambda",
    "069.h5": "layer 'attention' .Attention. takes",
    "078.keras": "2 outputs",
    "086.h5": "it holds weights only",
    "088.h5": "it holds weights only",
    "090.h5": "a Git LFS pointer",
    "092.keras": "damaged: .* cut",
}


@pytest.fixture(autouse=True)
def numpy_backend():
    config.set_backend("numpy")


# --- real files ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL, reason="RNNCORE_MODELS names no folder of model files")
@pytest.mark.parametrize("path", REAL, ids=[path.name for path in REAL])
def test_a_real_file_gives_the_numbers_of_its_version(path):
    if path.name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[path.name]):
            load_model(path)
        return
    model = load_model(path)
    with np.load(path.with_suffix(".npz")) as reference:
        x, y = reference["x"], reference["y_original" if "y_original" in reference else "y"]
    assert np.abs(model.predict(x, verbose=0) - y).max() <= 1e-5 * np.ptp(y)


@pytest.mark.skipif(not REAL, reason="RNNCORE_MODELS names no folder of model files")
def test_what_keras_1_itself_predicted():
    model = load_model(MODELS / "008.h5")
    with np.load(MODELS / "008_keras1.npz") as made:
        x, y = (made[name] for name in made.files)
    x, y = (x, y) if x.ndim == 3 else (y, x)
    assert np.abs(np.ravel(model.predict(x, verbose=0)) - np.ravel(y)).max() <= 1e-5 * np.ptp(y)


@pytest.mark.skipif(not REAL, reason="RNNCORE_MODELS names no folder of model files")
def test_real_files_of_weights():
    keras_1 = Sequential([layers.Input((None, 1)), LSTM(50, recurrent_activation="hard_sigmoid_keras2"), Dense(1)])
    keras_1.load_weights(MODELS / "086.h5")
    arrays = files.read_weights(MODELS / "086.h5")["lstm_1"]
    assert np.array_equal(keras_1.layers[0].kernel[:, 100:150], arrays[3])  # W of c, which comes second there
    keras_3 = Sequential([layers.Input((None, 1)), LSTM(4), Dense(1)])
    keras_3.load_weights(MODELS / "088.h5")
    assert np.array_equal(keras_3.layers[1].kernel, files.read_weights(MODELS / "088.h5")["dense"][0])
    keras_2 = Sequential([layers.Input((None, 3)), GRU(128, reset_after=False), layers.Dropout(0.5), Dense(30)])
    keras_2.load_weights(MODELS / "025.h5")
    assert np.array_equal(keras_2.get_weights()[2], files.read_weights(MODELS / "025.h5")["gru_1"][2])


# --- the layouts of Keras 1 and 2 ------------------------------------------------------------------------------------

OLD = {"recurrent_activation": "hard_sigmoid_keras2"}


def trained(rows, shape, optimizer="adam", loss="mse", x=None):
    """Return a model with random weights after two steps, and data."""
    rng = np.random.default_rng(3)
    model = Sequential([layers.Input(shape), *rows])
    for layer in model.layers:
        for part in layer.walk():
            if part.own_weights and not part.moving:
                randomize(part, rng)
    model.compile(optimizer, loss)
    x = rng.standard_normal((4, *shape)).astype(np.float32) if x is None else x
    y = rng.standard_normal((4, *model.output_shape[1:])).astype(np.float32)
    for _ in range(2):
        model.train_on_batch(x, y)
    return model, x, y


def sequences():
    return [
        Conv1D(3, 2, padding="same", activation="relu", name="conv"),
        layers.BatchNormalization(name="norm"),
        LSTM(
            4, return_sequences=True, name="lstm", dropout=0.0, kernel_regularizer=rnncore.regularizers.L2(0.25), **OLD
        ),
        Bidirectional(GRU(2, return_sequences=True, reset_after=False, **OLD), name="both"),
        SimpleRNN(3, return_sequences=True, name="rnn"),
        layers.TimeDistributed(Dense(2, "tanh", name="inside"), name="steps"),
        layers.Activation("softmax", name="end"),
    ]


def assert_goes_on(ours, again, x, y, steps=3):
    assert np.array_equal(ours.predict(x, verbose=0), again.predict(x, verbose=0))
    for _ in range(steps):
        assert ours.train_on_batch(x, y) == again.train_on_batch(x, y)
    assert all(map(np.array_equal, ours.get_weights(), again.get_weights()))


def slots_of(model, names, legacy=True):
    """Return what the optimizer keeps, a list a slot, each a list of arrays a layer."""
    state, places = model.optimizer.get_state(), {id(w): n for n, w in enumerate(model.trainable_weights)}
    own = [[places[id(w)] for w in layer.trainable_weights] for layer in model.layers]
    return [[[state[f"{slot}/{n}"] for n in layer] for layer in own] for slot in names]


def penalised(model):
    """Let all recurrent layers have the penalty that `config_1` writes."""
    for layer in model.walk():
        if isinstance(layer, layers.RecurrentCell):
            layer.kernel_regularizer = layer.regularizers["kernel"] = rnncore.regularizers.L2(0.25)


@pytest.mark.parametrize("packed", [False, True])
def test_keras_1(tmp_path, packed):
    model, x, y = trained([*sequences()[:3], LSTM(2, name="last", **OLD)], (5, 2), optimizers.RMSprop(0.01))
    rows = [layouts.config_1(layer) for layer in model.layers]
    arrays = [layouts.arrays_1(layer, layer.get_weights(), packed) for layer in model.layers]
    [slot] = slots_of(model, ["velocity"])
    moving = [layouts.arrays_1(layer, own, packed) for layer, own in zip(model.layers, slot, strict=True)]
    ordered = sorted(pair for own in moving for pair in own)  # as Keras 1 writes what an optimizer keeps
    kept = [(f"Variable_{n}:0", array) for n, (_, array) in enumerate(ordered)]
    training = {"optimizer_config": {"class_name": "RMSprop", "config": {"lr": 0.01, "rho": 0.9, "decay": 0.0}}}
    training |= {"loss": "mse", "metrics": []}
    layouts.write(tmp_path / "m.h5", model, "1.2.2", rows, arrays, training=training, slots=kept)
    again = load_model(tmp_path / "m.h5")
    assert again.layers[2].recurrent_activation.name == "hard_sigmoid_keras2"
    penalised(model)
    assert_goes_on(model, again, x, y)


def test_keras_1_wrappers_and_weights_only(tmp_path):
    model, x, _ = trained(sequences(), (5, 2))
    rows = [layouts.config_1(layer) for layer in model.layers]
    arrays = [layouts.arrays_1(layer, layer.get_weights()) for layer in model.layers]
    layouts.write(tmp_path / "m.h5", model, None, rows, arrays)
    assert np.array_equal(load_model(tmp_path / "m.h5").predict(x, verbose=0), model.predict(x, verbose=0))
    layouts.write_weights(tmp_path / "w.h5", rows, arrays)
    blank = Sequential.from_config(model.get_config())
    blank.load_weights(tmp_path / "w.h5")
    assert all(map(np.array_equal, blank.get_weights(), model.get_weights()))


@pytest.mark.parametrize(
    ("version", "functional"), [("2.0.8", False), ("2.1.4-tf", True), ("2.2.0", False), ("2.8.0", True)]
)
def test_keras_2(tmp_path, version, functional):
    rows = [*sequences()[1:5], layers.LeakyReLU(0.25, name="leaky"), GRU(3, name="last", **OLD)]
    model, x, y = trained(rows, (5, 2), optimizers.Adam(0.01))
    rows = [layouts.config_2(layer) for layer in model.layers]
    if version < "2.2":
        for row in rows:
            row["config"].pop("reset_after", None)
        model = Sequential.from_config({**model.get_config()})
        rest = [*sequences()[1:5], layers.LeakyReLU(0.25, name="leaky"), GRU(3, name="last", reset_after=False, **OLD)]
        model, x, y = trained(rest, (5, 2), optimizers.Adam(0.01))
    arrays = [[(f"{layer.name}/{n}:0", w) for n, w in enumerate(layer.get_weights())] for layer in model.layers]
    kept = [("Adam/iterations:0", np.int64(2))]
    for slot, name in zip(slots_of(model, ["momentum", "velocity"]), "mv", strict=True):
        kept += [(f"training/Adam/{name}_{len(kept) + n}:0", array) for n, array in enumerate(itertools.chain(*slot))]
    kept += [(f"training/Adam/vhat_{n}:0", np.zeros(1, np.float32)) for n in range(len(model.trainable_weights))]
    training = {"optimizer_config": {"class_name": "Adam", "config": {"lr": 0.01, "epsilon": None, "amsgrad": False}}}
    training |= {"loss": ["mse"], "metrics": None}
    layouts.write(
        tmp_path / "m.h5", model, version, rows, arrays, backend="tensorflow", functional=functional, training=training,
        slots=kept,
    )  # fmt: skip
    assert_goes_on(model, load_model(tmp_path / "m.h5"), x, y)


@pytest.mark.parametrize(("kind", "there"), [(LSTM, "CuDNNLSTM"), (GRU, "CuDNNGRU")])
def test_layers_of_cudnn(tmp_path, kind, there):
    model, x, _ = trained([kind(3, name="rnn"), Dense(1, name="end")], (4, 2))
    rows = [layouts.config_2(layer, {kind.__name__: there}) for layer in model.layers]
    arrays = [layouts.arrays_cudnn(model.layers[0], model.layers[0].get_weights())]
    arrays += [[("kernel:0", model.layers[1].kernel), ("bias:0", model.layers[1].bias)]]
    layouts.write(tmp_path / "m.h5", model, "2.2.4", rows, arrays, backend="tensorflow")
    again = load_model(tmp_path / "m.h5")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6, atol=1e-6)
    assert type(again.layers[0]) is kind


def test_theano_goes_through_kernels_backwards(tmp_path):
    model, x, _ = trained([Conv1D(2, 3, name="conv"), layers.Flatten(name="flat")], (6, 2))
    rows = [layouts.config_2(layer) for layer in model.layers]
    kernel, bias = model.get_weights()
    arrays = [[("kernel:0", kernel[::-1]), ("bias:0", bias)], []]
    layouts.write(tmp_path / "m.h5", model, "2.1.3", rows, arrays, backend="theano")
    assert np.array_equal(load_model(tmp_path / "m.h5").predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize(
    ("version", "repeats"), [("2.3.1", True), ("2.1.6-tf", True), ("2.2.4-tf", False), ("2.8.0", False)]
)
def test_masked_steps_of_both_directions(tmp_path, version, repeats):
    x = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 2, 3, 4], [2, 2, 2, 0]])
    rows = [
        Embedding(5, 3, mask_zero=True, name="words"),
        Bidirectional(LSTM(2, return_sequences=True, **OLD), name="both"),
    ]
    model, x, _ = trained(rows, (4,), x=x)
    entries = [layouts.config_2(layer) for layer in model.layers]
    arrays = [[(f"{n}:0", w) for n, w in enumerate(layer.get_weights())] for layer in model.layers]
    layouts.write(tmp_path / "m.h5", model, version, entries, arrays)
    again = load_model(tmp_path / "m.h5")
    y = again.predict(x, verbose=0)
    assert np.array_equal(y[1, 1:, :2], np.repeat(y[1, :1, :2], 3, axis=0) if repeats else np.zeros((3, 2)))
    assert np.array_equal(y[x > 0], model.predict(x, verbose=0)[x > 0])
    again.save(tmp_path / "own.npz")  # our own file keeps it, Keras 3 cannot say it
    assert np.array_equal(load_model(tmp_path / "own.npz").predict(x, verbose=0), y)
    if repeats:
        with pytest.raises(ValueError, match="zero_output_for_mask"):
            again.save(tmp_path / "m.keras")


def test_masked_steps_of_a_backward_layer_of_its_own(tmp_path):
    back = LSTM(2, return_sequences=True, go_backwards=True, **{**OLD, "activation": "relu"})
    both = Bidirectional(LSTM(2, return_sequences=True, **OLD), backward_layer=back, name="both")
    both.zero_output_for_mask = back.zero_output_for_mask = both.forward_layer.zero_output_for_mask = False
    model, x, _ = trained([Embedding(5, 3, mask_zero=True, name="words"), both], (4,), x=np.array([[1, 2, 0, 0]] * 4))
    entries = [layouts.config_2(layer) for layer in model.layers]
    entries[1]["config"]["backward_layer"] = layouts.config_2(back)
    arrays = [[(f"{n}:0", w) for n, w in enumerate(layer.get_weights())] for layer in model.layers]
    layouts.write(tmp_path / "m.h5", model, "2.3.1", entries, arrays)
    assert np.array_equal(load_model(tmp_path / "m.h5").predict(x, verbose=0), model.predict(x, verbose=0))


# --- what is refused, and what can be done ---------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """Return the path of a model as Keras 3.15 has it, and a function that writes it with another configuration."""
    path = tmp_path / "m.keras"
    model, _, _ = trained(
        [LSTM(3, return_sequences=True, name="lstm"), LSTM(2, name="last"), Dense(1, name="end")], (4, 2)
    )
    model.save(path)

    def with_config(change, name="changed.keras"):
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / name, "w") as new:
            for member in old.namelist():
                text = old.read(member)
                if member == "config.json":
                    content = json.loads(text)
                    change(content)
                    text = json.dumps(content).encode()
                new.writestr(member, text)
        return tmp_path / name

    return path, with_config


def entry(content, name):
    return next(row for row in content["config"]["layers"] if row["config"]["name"] == name)


REFUSALS = {
    "a lambda": (lambda c: entry(c, "last").update(class_name="Lambda"), "layer 'last' is a Lambda.*does not run"),
    "an unknown layer": (
        lambda c: entry(c, "last").update(class_name="Mystery"),
        "layer 'last' is a Mystery.*before='last'",
    ),
    "another's LSTM": (
        lambda c: entry(c, "last").update(module="my.layers", registered_name="my>LSTM"),
        "layer 'last' is a LSTM, a class of my.layers",
    ),
    "a cell of rnncore's": (lambda c: entry(c, "last").update(class_name="CarryRNN"), "layer 'last' is a CarryRNN"),
    "an unknown option": (lambda c: entry(c, "last")["config"].update(peephole=True), "layer 'last' has peephole=True"),
    "an unknown activation": (
        lambda c: entry(c, "end")["config"].update(activation="own"),
        "'end'.*'own'.*custom_objects",
    ),
    "other units": (lambda c: entry(c, "last")["config"].update(units=1 << 40), "last: no array"),
    "no layers": (lambda c: c["config"].update(layers=[]), "has no layers"),
    "a version": (lambda c: c["config"].update(layers={"a": 1}), "has no layers"),
    "depth": (lambda c: c["config"].update(layers=json.loads("[" * 70 + "]" * 70)), "nested more than 64 deep"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_configuration_is_refused_by_name(saved, name):
    change, message = REFUSALS[name]
    path = saved[1](change)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_what_can_be_done_about_an_unknown_layer(saved):
    path = saved[1](lambda c: entry(c, "last").update(class_name="Mystery"))
    before = files.load_model(path, before="last")
    assert [layer.name for layer in before.layers] == ["lstm"] and before.built
    assert [array.shape for array in files.read_weights(path)["lstm/cell"]] == [(2, 12), (3, 12), (12,)]


def test_layers_of_ones_own(tmp_path):
    model, x, _ = trained([LSTM(2, name="last"), Dense(1, "tanh", name="end")], (4, 2))
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        text = file.attrs["model_config"]
        file.attrs["model_config"] = text.replace('"LSTM"', '"Mystery"').replace('"tanh"', '"own"')
    own = {"Mystery": LSTM, "own": rnncore.activations.get("tanh")}
    assert np.array_equal(load_model(tmp_path / "m.h5", own).predict(x, verbose=0), model.predict(x, verbose=0))


def test_an_unknown_loss_or_optimizer_breaks_compiling_only(saved):
    for key, value in (("loss", "euclid"), ("optimizer", {"class_name": "Mystery", "config": {}})):
        path = saved[1](lambda c, key=key, value=value: c["compile_config"].update({key: value}))
        with pytest.warns(UserWarning, match="not compiled"):
            model = load_model(path)
        assert model.optimizer is None
    path = saved[1](lambda c: c["compile_config"].update(metrics=["mae", "euclid"]))
    with pytest.warns(UserWarning, match="no metric 'euclid'"):
        assert load_model(path).metrics_names == ["loss", "mae"]


LOSSES = {
    "mse": "MeanSquaredError",
    "kullback_leibler_divergence": "KLDivergence",
    "logcosh": "LogCosh",
}


def test_losses_and_metrics_as_versions_write_them(saved):
    wrapped = {"class_name": "LossFunctionWrapper", "config": {"fn": "mean_squared_error", "reduction": "auto"}}
    function = {"module": "builtins", "class_name": "function", "config": "mean_absolute_error", "registered_name": "x"}
    huber = {
        "module": "keras.losses",
        "class_name": "Huber",
        "config": {"name": "h", "reduction": "auto", "delta": 2.0},
    }
    given = [
        *((name, kind) for name, kind in LOSSES.items()),
        (wrapped, "MeanSquaredError"),
        (["mse"], "MeanSquaredError"),
    ]
    given += [(function, "MeanAbsoluteError"), (huber, "Huber"), ({"end": "mse"}, "MeanSquaredError")]
    for loss, kind in given:
        model = load_model(saved[1](lambda c, loss=loss: c["compile_config"].update(loss=loss)))
        assert type(model.loss).__name__ == kind, loss
    metric = {"class_name": "MeanMetricWrapper", "config": {"name": "acc", "dtype": "float32", "fn": "binary_accuracy"}}
    model = load_model(saved[1](lambda c: c["compile_config"].update(metrics=[[metric]])))
    assert model.metrics_names == ["loss", "acc"]


def test_files_that_are_no_models(tmp_path):
    cases = {
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "Git LFS pointer.*git lfs pull",
        b"\n\n<!DOCTYPE html><html>": "an HTML page.*raw file",
        b"\x80\x04\x95": "a pickle",
        b'{"class_name": "Sequential"}': "text of JSON",
        b"\x89HDF\r\n\x1a\n" + bytes(90): "m.h5: ",
        b"": "damaged",
    }
    for content, message in cases.items():
        path = tmp_path / "m.h5"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            load_model(path)
        assert str(path) in str(caught.value)
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(ValueError, match="not of Keras: it has 'data'"):
        load_model(path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none.h5")


def test_own_files_are_told_by_their_bytes(tmp_path):
    model, x, _ = trained([LSTM(2), Dense(1)], (3, 2))
    model.save(tmp_path / "m.npz")
    (tmp_path / "m.npz").rename(tmp_path / "m.keras")
    assert np.array_equal(load_model(tmp_path / "m.keras").predict(x, verbose=0), model.predict(x, verbose=0))


# --- HDF5 within bounds ----------------------------------------------------------------------------------------------


def bomb(file, group, kernel):
    del group[kernel]
    plan = {"chunks": (1 << 10, 1 << 10), "compression": "gzip", "fillvalue": 0}
    group.create_dataset(kernel, (1 << 20, 1 << 20), "f4", **plan)


def huge(file, group, kernel):
    del group[kernel]
    group.create_dataset(kernel, (1 << 30, 1 << 10), "f4")  # no storage is allotted before something is written


def elsewhere(file, group, kernel):
    del group[kernel]
    group.create_dataset(kernel, (2, 12), "f4", external=[("/etc/hostname", 0, 96)])


def external_link(file, group, kernel):
    del group[kernel]
    group[kernel] = h5py.ExternalLink("/etc/hostname", "/")


def soft_link(file, group, kernel):
    array = group[kernel][()]
    del group[kernel]
    file["aside"] = array
    group[kernel] = h5py.SoftLink("/aside")


def virtual(file, group, kernel):
    del group[kernel]
    layout = h5py.VirtualLayout((2, 12), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (2, 12))
    group.create_virtual_dataset(kernel, layout)


def references(file, group, kernel):
    del group[kernel]
    group.create_dataset(kernel, (2, 12), h5py.ref_dtype)


def compound(file, group, kernel):
    del group[kernel]
    group[kernel] = np.zeros((2, 12), [("a", "f4"), ("b", "f4")])


def text(file, group, kernel):
    del group[kernel]
    group.create_dataset(kernel, (2, 12), h5py.string_dtype())


HOSTILE = {
    bomb: "more than such a file may unpack to",
    huge: "bytes are not in the file",
    elsewhere: "in another file",
    external_link: "ExternalLink, which may lead out",
    soft_link: "SoftLink",
    virtual: "in another file",
    references: "expected numbers",
    compound: "expected numbers",
    text: "expected numbers",
}


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_hostile_hdf5(tmp_path, change):
    model, _, _ = trained([LSTM(3, name="lstm"), Dense(1, name="end")], (4, 2))
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        group = file["model_weights/lstm"]
        change(file, group, group.attrs["weight_names"][0].decode())
    with pytest.raises(ValueError, match=HOSTILE[change]):
        load_model(tmp_path / "m.h5")


def test_a_filter_that_would_need_a_plug_in_is_refused(tmp_path):
    model, _, _ = trained([Dense(1, name="end")], (2,))
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        group = file["model_weights/end"]
        name = group.attrs["weight_names"][0].decode()
        array = group[name][()]
        del group[name]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((1, 1))
        plan.set_filter(305, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple(array.shape)
        h5py.h5d.create(
            group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, h5py.h5p.create(h5py.h5p.LINK_CREATE) and plan
        )
    with pytest.raises(ValueError, match="went through filter"):
        load_model(tmp_path / "m.h5")


def test_texts_that_the_library_would_stumble_over(tmp_path):
    model, _, _ = trained([Dense(1, name="end")], (2,))
    model.save(tmp_path / "m.h5")
    whole = (tmp_path / "m.h5").read_bytes()
    heap = whole.index(b"GCOL")
    free = whole.index(bytes(8), heap + 16)  # object 0: what is left
    referred = whole.index(heap.to_bytes(8, "little")) - 4
    for place, value, message in (
        (free + 8, bytes(8), "beyond its heap"),
        (heap + 5, b"\xff" * 5, "beyond the end"),
        (referred, b"\0\0\0\x80", "is said to have"),
        (referred, b"\0\0\0\x80" + bytes([0, 0, 9]), "is said to have"),  # of a heap that is not there
    ):
        (tmp_path / "bad.h5").write_bytes(whole[:place] + value + whole[place + len(value) :])
        with pytest.raises(ValueError, match=message):
            load_model(tmp_path / "bad.h5")


def test_texts_of_both_kinds_may_share_a_name():
    """Only one of the two is a reference: what stands in the other's place is text."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs["backend"] = "tensorflow"
        file.create_group("model_weights").attrs["backend"] = np.bytes_("tensorflow" * 4)
    with hdf5.opened(memory.getvalue()) as found:
        assert found.text("backend") == "tensorflow"
        assert found.text("backend", found.group("model_weights")) == "tensorflow" * 4


def test_a_file_full_of_one_attribute_is_given_up():
    """Looking for references must not take more than the file's size is worth."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs["backend"] = "tensorflow"
        file["aside"] = np.frombuffer(b"backend\0" * 100_000, np.uint8)
    with hdf5.opened(memory.getvalue()) as found, pytest.raises(ValueError, match="more than a file of its size"):
        found.text("backend")


def test_compressed_arrays_are_read(tmp_path):
    model, x, _ = trained([LSTM(3, name="lstm")], (4, 2))
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        group = file["model_weights/lstm"]
        for name in group.attrs["weight_names"]:
            array = group[name][()]
            del group[name]
            group.create_dataset(name.decode(), data=array.astype(">f4"), compression="gzip", shuffle=True)
    assert np.array_equal(load_model(tmp_path / "m.h5").predict(x, verbose=0), model.predict(x, verbose=0))


def test_names_that_may_share_one_text_take_no_more_than_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "FLOOR", 0)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs.create("layer_names", ["x" * 100_000, *"ab" * 100], dtype=h5py.string_dtype())
    with pytest.raises(ValueError, match="more than such a file may unpack to"):
        files.read_weights(tmp_path / "w.h5")


# --- writing -------------------------------------------------------------------------------------------------------


def test_what_keras_cannot_express_is_refused_by_name(tmp_path):
    own = rnncore.activations.Activation("tanh", np.tanh, lambda dy, y, z: dy * (1 - y * y))
    cases = [
        ([layers.CarryRNN(2, name="carry")], "layer 'carry' is a CarryRNN"),
        ([LSTM(2, bptt_steps=2, name="cut")], "layer 'cut' has bptt_steps=2"),
        ([LSTM(2, name="old", **OLD)], "layer 'old' has recurrent_activation='hard_sigmoid_keras2'"),
        ([LSTM(2, unit_forget_bias=2.0, name="open")], "layer 'open' has unit_forget_bias=2.0"),
        ([Dense(2, own, name="mine")], "layer 'mine' has activation='tanh'"),
        ([LSTM(2, stateful=True, name="kept")], "layer 'kept' is stateful.*batch_shape"),
    ]
    for rows, message in cases:
        for suffix in (".keras", ".h5"):
            model = Sequential([layers.Input((4, 2) if "RNN" in message or "layer" in message else (2,)), *rows])
            with pytest.raises(ValueError, match=message):
                model.save(tmp_path / f"m{suffix}")
    model = Sequential([Embedding(4, 2, dense_gradient=True, name="words")])
    model.build((None, 3))
    with pytest.raises(ValueError, match="layer 'words' has dense_gradient=True"):
        model.save(tmp_path / "m.keras")
    model = Sequential([layers.Input((2,)), Dense(1)])
    model.compile(optimizers.SGD(lambda step: 0.1), "mse")
    with pytest.raises(ValueError, match="learning_rate is a function"):
        model.save(tmp_path / "m.keras")

    class Mine(losses.MeanSquaredError):
        pass

    model.compile("sgd", Mine())
    with pytest.raises(ValueError, match="loss Mine"):
        model.save(tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="no weights yet"):
        Sequential([Dense(1)]).save(tmp_path / "m.keras")
    model = Sequential([layers.Input((4, 2)), layers.CarryRNN(2), Dense(1)])
    model.compile("sgd", "mse")
    before, checkpoint = model.get_weights(), rnncore.callbacks.ModelCheckpoint(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="is a CarryRNN"):  # before there is an epoch to lose
        model.fit(np.ones((2, 4, 2)), np.ones((2, 1)), callbacks=[checkpoint], verbose=0)
    assert all(map(np.array_equal, model.get_weights(), before))


def test_a_checkpoint_of_weights_misses_h5py_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    model = Sequential([layers.Input((3,)), Dense(2)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    checkpoint = rnncore.callbacks.ModelCheckpoint(tmp_path / "m.weights.h5", save_weights_only=True)
    with pytest.raises(ImportError, match="with h5py"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), callbacks=[checkpoint], verbose=0)
    np.testing.assert_equal(model.get_weights(), before)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_is_written_comes_back(tmp_path, suffix):
    rows = [
        layers.Masking(0.5),
        Bidirectional(LSTM(3, return_sequences=True), merge_mode="sum"),
        Sequential([layers.BatchNormalization(), Dense(2), layers.BatchNormalization()], name="inner"),
        layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)], return_sequences=True),
        layers.TimeDistributed(Dense(2, "relu")),
        GRU(2, go_backwards=True),
    ]
    model, x, y = trained(rows, (4, 2), optimizers.Nadam(0.01, use_ema=True), losses.Huber(0.5))
    model.layers[4].trainable = False
    model.compile(
        optimizers.Nadam(0.01, use_ema=True), losses.Huber(0.5), metrics=["mae", rnncore.metrics.AUC(name="area")]
    )
    model.train_on_batch(x, y)
    model.save(tmp_path / f"m{suffix}")
    again = load_model(tmp_path / f"m{suffix}")
    assert again.metrics_names == model.metrics_names and not again.layers[4].trainable
    if suffix == ".keras":
        assert_goes_on(model, again, x, abs(y) > 0.5)
    assert np.array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))
    model.save_weights(tmp_path / "m.weights.h5")
    model.train_on_batch(x, y)
    again.load_weights(tmp_path / f"m{suffix}")
    with pytest.raises(FileExistsError):
        model.save(tmp_path / f"m{suffix}", overwrite=False)


@pytest.mark.parametrize("frozen", ["forward_layer", "backward_layer"])
@pytest.mark.parametrize("suffix", [".npz", ".keras", ".h5"])
def test_one_direction_is_frozen(tmp_path, suffix, frozen):
    """A legacy file has the weights that are trained first: which ones these are must be known as it is read."""
    model = Sequential([layers.Input((4, 2)), Bidirectional(GRU(3, name="gru"), name="both")])
    model.compile("sgd", "mse")
    getattr(model.layers[0], frozen).trainable = False
    model.save(tmp_path / f"model{suffix}")
    again = load_model(tmp_path / f"model{suffix}")
    (layer,), x = again.layers, np.ones((2, 4, 2), np.float32)
    assert [layer.forward_layer.trainable, layer.backward_layer.trainable] == [frozen[0] != "f", frozen[0] != "b"]
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_states_that_tensorflow_wrote_are_left(tmp_path):
    model = Sequential([layers.Input(batch_shape=(4, 3, 2)), LSTM(2, stateful=True, name="kept"), Dense(1, name="end")])
    x = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32)
    rows = [layouts.config_2(layer) for layer in model.layers]
    arrays = [[(f"{n}:0", w) for n, w in enumerate(layer.get_weights())] for layer in model.layers]
    arrays[0] += [(f"Variable_{n}:0", np.ones((4, 2), np.float32)) for n in range(2)]
    layouts.write(tmp_path / "m.h5", model, "2.8.0", rows, arrays)
    expected = model.predict(x, batch_size=4, verbose=0)
    assert np.array_equal(load_model(tmp_path / "m.h5").predict(x, batch_size=4, verbose=0), expected)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model, _, _ = trained([LSTM(2), Dense(1)], (3, 2))
    model.save(tmp_path / "a.keras")
    model.save(tmp_path / "b.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()


def test_weights_that_do_not_fit_change_nothing(tmp_path):
    model, _, _ = trained([LSTM(2, name="a"), Dense(1, name="b")], (3, 2))
    other, _, _ = trained([LSTM(2, name="a"), Dense(2, name="b")], (3, 2))
    before = copy.deepcopy(model.get_weights())
    for suffix in (".keras", ".h5", ".weights.h5"):
        (other.save_weights if "weights" in suffix else other.save)(tmp_path / f"m{suffix}")
        with pytest.raises(ValueError, match="b/kernel"):
            model.load_weights(tmp_path / f"m{suffix}")
        assert all(map(np.array_equal, model.get_weights(), before))
    with pytest.raises(ValueError, match="build it"):
        Sequential([LSTM(2)]).load_weights(tmp_path / "m.keras")


def test_optimizers_whose_slots_are_of_other_weights_are_told_of(tmp_path):
    model, _, _ = trained([LSTM(2), Dense(1)], (3, 2))
    model.layers[0].trainable = False
    with pytest.warns(UserWarning, match="not written"):
        model.save(tmp_path / "m.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_model(tmp_path / "m.keras").optimizer.iterations == 0


def test_nothing_of_keras_is_imported(tmp_path):
    model, _, _ = trained([LSTM(2), Dense(1)], (3, 2))
    model.save(tmp_path / "m.keras")
    heavy = ("keras", "tensorflow", "torch", "jax")
    code = f"""if True:
        import sys, rnncore
        assert "rnncore.interop.keras" not in sys.modules and "h5py" not in sys.modules
        rnncore.models.load_model({str(tmp_path / "m.keras")!r}).predict([[[0, 0]]], verbose=0)
        print([name for name in {heavy} if name in sys.modules])"""
    environment = os.environ | {"RNNCORE_BACKEND": "numpy"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
