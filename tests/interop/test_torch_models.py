"""Whole models' weights to PyTorch and back, by module names and .safetensors files; those of anyone."""

import json
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from cases import RUN_SEED, SEED, randomize

import rnncore
from rnncore import Sequential, layers
from rnncore.interop import safetensors
from rnncore.interop.torch import load_state, save_state, weights_from_torch
from rnncore.layers import GRU, LSTM, RNN, Bidirectional, Dense, Embedding, Input, SimpleRNN, TimeDistributed

SEQUENCES = {"return_sequences": True}


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    rnncore.set_backend("numpy")  # nothing here is about the loop


def stack():
    """Return layers of every kind that has a module."""
    return [
        Input((None,)),
        Embedding(20, 8),
        layers.Conv1D(6, 3),
        layers.BatchNormalization(epsilon=1e-5),
        layers.Dropout(0.1),
        Bidirectional(LSTM(5, **SEQUENCES)),
        Bidirectional(LSTM(5, **SEQUENCES)),
        layers.LayerNormalization(epsilon=1e-5),
        TimeDistributed(Dense(7, "relu")),
        SimpleRNN(4, **SEQUENCES),
        GRU(4),
        Dense(1, "sigmoid"),
    ]


MODULES = {"bidirectional": "body.lstm", "bidirectional_1": "body.lstm", "time_distributed": "body.fc", "dense_1": "fc"}
MODULES |= {"simple_rnn": "rnn", "conv1d": "conv", "batch_normalization": "norm", "layer_normalization": "after"}


def model_of(rows=stack, seed=SEED):
    layers.scopes.reset_names()
    model = Sequential(rows())
    randomize(model, np.random.default_rng(seed))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance[...] = abs(layer.moving_variance) + 0.1
    return model


def assert_same_weights(one, other):
    for mine, its in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)


# --- whole models ----------------------------------------------------------------------------------------------------


@pytest.mark.torch
def test_a_model_of_pytorch_and_back(tmp_path):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.conv, self.norm = (
                torch.nn.Embedding(20, 8),
                torch.nn.Conv1d(8, 6, 3),
                torch.nn.BatchNorm1d(6),
            )
            lstm = torch.nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
            self.body = torch.nn.ModuleDict({"lstm": lstm, "fc": torch.nn.Linear(10, 7)})
            self.after, self.rnn = torch.nn.LayerNorm(10), torch.nn.RNN(7, 4, batch_first=True)
            self.gru, self.fc = torch.nn.GRU(4, 4, batch_first=True), torch.nn.Linear(4, 1)

        def forward(self, ids):
            x = self.norm(self.conv(self.embedding(ids).transpose(1, 2))).transpose(1, 2)
            x = self.after(self.body["lstm"](x)[0])
            x = self.gru(self.rnn(torch.relu(self.body["fc"](x)))[0])[0]
            return torch.sigmoid(self.fc(x[:, -1]))

    net, x = Net(), np.random.default_rng(SEED).integers(0, 20, (7, 9))
    net(torch.from_numpy(x))  # moves the averages
    net.eval()
    state = {name: array.numpy() for name, array in net.state_dict().items()}
    safetensors.write(tmp_path / "a.safetensors", state)
    layers.scopes.reset_names()
    model = Sequential(stack())
    for source in (net.state_dict(), tmp_path / "a.safetensors"):
        model.set_weights([0 * weight for weight in model.get_weights()])
        assert load_state(model, source, print_fn=None).left == []
        with torch.no_grad():
            np.testing.assert_allclose(model(x), net(torch.from_numpy(x)).numpy(), atol=1e-6)

    other = model_of()
    save_state(other, tmp_path / "b.safetensors", MODULES, print_fn=None)
    arrays = safetensors.read(tmp_path / "b.safetensors")
    net.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    with torch.no_grad():
        np.testing.assert_allclose(net(torch.from_numpy(x)).numpy(), other(x), atol=1e-6)


def test_there_and_back_without_pytorch(tmp_path, capsys):
    model, other = model_of(), model_of(seed=1)
    save_state(model, tmp_path / "a.safetensors", MODULES)
    first = capsys.readouterr().out
    load_state(other, tmp_path / "a.safetensors")
    assert_same_weights(model, other)
    assert capsys.readouterr().out == first
    lines = first.splitlines()
    assert lines[0].split() == ["PyTorch", "rnncore"]
    assert len(lines) == 1 + len(model.get_weights())
    assert [" ".join(line.split()) for line in lines if "_l1_rev" in line and "bias" not in line] == [
        "body.lstm.weight_ih_l1_reverse (20, 10) bidirectional_1: backward_lstm_1/kernel (10, 20)",
        "body.lstm.weight_hh_l1_reverse (20, 5) bidirectional_1: backward_lstm_1/recurrent_kernel (5, 20)",
    ]
    assert "body.lstm.bias_ih_l1_reverse + body.lstm.bias_hh_l1_reverse (20,)" in first


def test_layers_in_layers(tmp_path):
    def rows():
        inner = Sequential([GRU(3, use_bias=False, **SEQUENCES), Dense(2, use_bias=False)], name="inner")
        return [Input((None, 4)), inner, RNN([layers.LSTMCell(3), layers.LSTMCell(3)], name="two"), Dense(2)]

    model, other = model_of(rows), model_of(rows, 1)
    save_state(model, tmp_path / "a.safetensors", print_fn=None)
    assert {"inner.gru.weight_hh_l0", "inner.dense.weight", "two.lstm_cell_1.weight_ih_l0"} <= safetensors.read(
        tmp_path / "a.safetensors"
    ).keys()
    load_state(other, tmp_path / "a.safetensors", print_fn=None)
    assert_same_weights(model, other)
    save_state(model, tmp_path / "a.safetensors", {"two.lstm_cell": "lstm", "two.lstm_cell_1": "lstm"}, print_fn=None)
    assert "lstm.weight_ih_l1" in safetensors.read(tmp_path / "a.safetensors")
    load_state(other, tmp_path / "a.safetensors", print_fn=None)
    assert_same_weights(model, other)


def test_what_is_left_aside_is_told(capsys):
    model = model_of(lambda: [Input((3,)), Dense(2)])
    state = {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2), "head.weight": np.ones((5, 5)), "step": np.zeros(())}
    assert load_state(model, state).left == ["head.weight", "step"]
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "head.weight       (left aside)",
        "step              (left aside)",
    ]
    np.testing.assert_array_equal(model.get_weights()[0], np.ones((3, 2)))


def test_modules_of_equal_shapes_are_not_guessed():
    model = model_of(lambda: [Input((3,)), Dense(3, name="one"), Dense(3, name="two"), Dense(2)])
    state = {
        f"fc{n}.{leaf}": n * np.ones((3, 3) if leaf == "weight" else 3) for n in (1, 2) for leaf in ("weight", "bias")
    }
    state |= {"out.weight": np.ones((2, 3)), "out.bias": np.ones(2)}
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"one fits the modules fc1, fc2 alike; say which .* modules=\{'one': 'fc1'\}"):
        load_state(model, state)
    np.testing.assert_equal(model.get_weights(), before)
    for modules, first in (({"one": "fc2"}, 2), ({"two": "fc2"}, 1)):
        load_state(model, state, modules, print_fn=None)
        assert [weight.flat[0] for weight in model.get_weights()[::2]] == [first, 3 - first, 1]


def refused(rows, state=None, modules=None):
    """Return what loads a state, by default that of the same layers, into a model."""

    def work(path):
        model = model_of(rows)
        if state is None:
            return save_state(model, path / "a", modules)
        return load_state(model, state, modules)

    return work


FC = {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)}
REFUSED = {
    "not built": (lambda path: load_state(Sequential([Dense(2)]), FC), "the model is not built"),
    "another shape": (
        refused(lambda: [Input((4,)), Dense(2, name="d")], FC),
        r"no module fits the layer d \(d/kernel \(4, 2\), d/bias \(2,\)\); the state has fc: weight \(2, 3\), bias",
    ),
    "no bias": (refused(lambda: [Input((3,)), Dense(2, use_bias=False)], FC), "no module fits"),
    "no such module": (
        refused(lambda: [Input((3,)), Dense(2)], FC, {"dense": "head"}),
        "the state has none of that name",
    ),
    "no such layer": (refused(lambda: [Input((3,)), Dense(2)], FC, {"d": "fc"}), r"modules names the layers \['d'\]"),
    "an LSTM's projection": (
        refused(
            lambda: [Input((None, 3)), LSTM(2)],
            {
                f"lstm.{name}": np.ones(shape)
                for name, shape in {"weight_ih_l0": (8, 3), "weight_hr_l0": (1, 2)}.items()
            },
        ),
        "no module fits the layer lstm",
    ),
    "another activation": (
        refused(lambda: [Input((None, 3)), LSTM(2, recurrent_activation="hard_sigmoid")]),
        "LSTMCell with tanh, hard_sigmoid is none of PyTorch's",
    ),
    "reset before": (
        refused(lambda: [Input((None, 3)), GRU(2, reset_after=False)]),
        "sigmoid, reset_after=False is none",
    ),
    "own cell": (refused(lambda: [Input((None, 3)), layers.CarryRNN(2)]), "CarryRNNCell with"),
    "merged": (refused(lambda: [Input((None, 3)), Bidirectional(LSTM(2), "sum")]), "merge_mode is 'sum'"),
    "one name": (
        refused(lambda: [Input((3,)), Dense(3), Dense(3)], modules={"dense": "fc", "dense_1": "fc"}),
        "'fc' is the name of several",
    ),
}


@pytest.mark.parametrize(("work", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(work, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        work(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_epsilon_that_a_state_does_not_say():
    with pytest.warns(UserWarning, match=r"epsilon is 0.001, PyTorch's default 1e-05"):
        load_state(
            model_of(lambda: [Input((3,)), layers.LayerNormalization()]),
            {"n.weight": np.ones(3), "n.bias": np.ones(3)},
            print_fn=None,
        )


# --- the file --------------------------------------------------------------------------------------------------------

ARRAYS = {
    "a": np.arange(6, dtype="float32").reshape(2, 3),
    "b.c": np.float64(2.5).reshape(()),
    "d": np.zeros((0, 3), "float16"),
    "counts": np.array([-1, 2]),
    "bytes": np.array([[1], [2]], "uint8"),
    "aside": np.arange(6.0)[::2],
}


def test_arrays_in_a_file(tmp_path):
    safetensors.write(tmp_path / "a", ARRAYS)
    found = safetensors.read(tmp_path / "a")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
        found[name][...] = 0  # one's own
    with pytest.raises(TypeError, match="x: an array of complex128 cannot be written"):
        safetensors.write(tmp_path / "b", {"x": np.ones(2, complex)})


def test_files_of_the_package_and_for_it(tmp_path):
    theirs = pytest.importorskip("safetensors.numpy")
    theirs.save_file(
        {name: np.ascontiguousarray(array) for name, array in ARRAYS.items()}, tmp_path / "a", {"of": "them"}
    )
    safetensors.write(tmp_path / "b", ARRAYS)
    for found in (safetensors.read(tmp_path / "a"), theirs.load_file(tmp_path / "b")):
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def packed(described, data=b""):
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(1,), begin=0, end=4):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_bfloat16_and_bool(tmp_path):
    numbers = np.array([1.5, -3.0, 0.0], "float32")
    data = (numbers.view("<u4") >> 16).astype("<u2").tobytes() + bytes([0, 1, 7])
    (tmp_path / "a").write_bytes(packed({"x": entry("BF16", (3,), 0, 6), "kept": entry("BOOL", (3,), 6, 9)}, data))
    found = safetensors.read(tmp_path / "a")
    np.testing.assert_array_equal(found["x"], numbers)
    np.testing.assert_array_equal(found["kept"], [False, True, True])


BAD = {
    "nothing": (b"", "damaged, or not a .safetensors file"),
    "a pickle": (
        pickle.dumps({"weight": 1}),
        r"it is a pickle; .* safetensors.torch.save_file\(module.state_dict\(\), path\)",
    ),
    "of torch.save": (
        b"PK\x03\x04" + bytes(60),
        "it is a zip, as torch.save writes it, with a pickle in it; a pickle could",
    ),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "a page": (b"<!DOCTYPE html><html>", "it is a page"),
    "a long text": (struct.pack("<Q", 1 << 60) + b"{" + bytes(60), "its text has 1,152,921,504,606,846,976 bytes"),
    "no object": (packed(b"[1]"), "holds no object"),
    "deep": (packed(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"), "nested more than"),
    "no dtype": (
        packed({"x": {"shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        "expected dtype, shape and data_offsets",
    ),
    "another dtype": (packed({"x": entry("C64")}, bytes(4)), "is of 'C64'"),
    "a huge shape": (packed({"x": entry(shape=(1 << 40,))}, bytes(4)), "expected 4,398,046,511,104 bytes from 0 on"),
    "a shape below 0": (packed({"x": entry(shape=(-1, -1))}, bytes(4)), "has the shape"),
    "true as a size": (packed({"x": entry(shape=(True,))}, bytes(4)), "has the shape"),
    "one on the other": (packed({"x": entry(), "y": entry()}, bytes(4)), "expected 4 bytes from 4 on"),
    "a gap": (packed({"x": entry(begin=4, end=8)}, bytes(8)), "expected 4 bytes from 0 on"),
    "more": (packed({"x": entry()}, bytes(8)), "its arrays have 4 bytes; there are 8"),
    "less": (packed({"x": entry()}, bytes(2)), "its arrays have 4 bytes; there are 2"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_other_files_are_refused(content, message, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        weights_from_torch(tmp_path / "a")


def test_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError):
            safetensors.read(path)


@pytest.mark.slow
def test_damaged_files(tmp_path):
    """Any byte may be any other: it reads or is refused, and takes no more memory than the file has bytes."""
    rng = np.random.default_rng(RUN_SEED)
    save_state(model_of(), tmp_path / "good", print_fn=None)
    good = np.frombuffer((tmp_path / "good").read_bytes(), np.uint8)
    head = int(good[:8].view("<u8")[0]) + 8
    outcomes, sentences = set(), []
    tracemalloc.start()
    for number in range(200):
        data = good[: rng.integers(len(good))] if number % 4 == 0 else good.copy()
        if number % 4:
            begin, end = ((0, 8), (0, head), (head, len(good)))[number % 4 - 1]
            places = rng.integers(begin, end, 3)
            data[places] = rng.choice(np.frombuffer(b'0123456789"[]{},:-\x00\xff', np.uint8), 3)
        (tmp_path / "a").write_bytes(data.tobytes())
        try:
            safetensors.read(tmp_path / "a")
            outcomes.add("read")
        except ValueError as error:
            outcomes.add("refused")
            sentences.append(str(error))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcomes == {"read", "refused"}
    assert all(str(tmp_path / "a") in sentence and len(sentence) < 600 for sentence in sentences)
    assert peak < 20 * len(good)
