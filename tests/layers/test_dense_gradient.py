"""Embedding(dense_gradient=True): the gradients of an id's look-ups are one, as those of a dense table are."""

import numpy as np
import pytest
from cases import SEED, few_at_first
from optimizer_cases import CASES, IDS, make

from rnncore import Sequential, config
from rnncore.kernels import lookups
from rnncore.layers import GRU, LSTM, Bidirectional, Dense, Embedding, GlobalAveragePooling1D, SimpleRNN, embedding
from rnncore.models import load_model

WORDS, VECTOR = 12, 5
LAYERS = {
    "LSTM": lambda own: [LSTM(4, **own)],
    "backwards": lambda own: [SimpleRNN(4, go_backwards=True, **own)],
    "dropout": lambda own: [LSTM(4, dropout=0.4, recurrent_dropout=0.3, seed=1, **own)],
    "Bidirectional": lambda own: [Bidirectional(GRU(4, return_sequences=True, **own)), LSTM(3, **own)],
    "one of two drops": lambda own: [
        Bidirectional(
            LSTM(3, dropout=0.4, seed=1, **own), backward_layer=SimpleRNN(3, go_backwards=True, seed=2, **own)
        )
    ],
    "no recurrent layer": lambda own: [GlobalAveragePooling1D(**own)],
}


def model_of(layers, dense, mask=False):
    own = {"dtype": "float64"}
    config.set_seed(3)
    table = Embedding(WORDS, VECTOR, mask_zero=mask, dense_gradient=dense, **own)
    return Sequential([table, *layers(own), Dense(1, activation="sigmoid", **own)])


def gradients_of(model, x, y):
    if model.optimizer is None:
        model.compile("sgd", "binary_crossentropy")
        model.build(x.shape)
    _, gradient = model.loss_and_gradient(y, model.forward(x, training=True))
    model.backward_from_loss(gradient)
    return model.get_gradients()


def words(rows, steps, mask=False):
    rng = np.random.default_rng(SEED)
    x = rng.integers(1, WORDS, (rows, steps))
    if mask:
        x[rng.random(x.shape) < 0.4] = 0
        x[0] = 0
    return x, rng.integers(0, 2, (rows, 1)).astype(float)


@pytest.mark.parametrize("backend", config.BACKENDS)
@pytest.mark.parametrize("mask", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize(("rows", "steps"), few_at_first([(9, 7), (1, 15), (2, 300)], 1))
def test_the_dense_gradient_is_the_same(rows, steps, layers, mask, backend, monkeypatch):
    config.set_backend(backend)
    for many in (1, 10_000):
        monkeypatch.setattr(embedding, "MANY", many)
        apart, summed = (
            gradients_of(model_of(layers, dense, mask), *words(rows, steps, mask)) for dense in (False, True)
        )
        assert len(summed[0].ids) == len(set(summed[0].ids.tolist()))
        for one, other in zip(map(np.asarray, summed), map(np.asarray, apart), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("name", ["LSTM", "Bidirectional", "no recurrent layer"])
def test_look_ups_are_grouped_once_a_step(name, dense, monkeypatch):
    """The way there does it, and the layers between hand on what it found."""
    monkeypatch.setattr(embedding, "MANY", 1)
    model, batch = model_of(LAYERS[name], dense), words(9, 7)
    model.compile("adam", "binary_crossentropy")
    model.train_on_batch(*batch)
    found, meant = [], lookups.grouped

    def counted(ids):
        found.append(ids)
        return meant(ids)

    for module in (embedding, lookups):
        monkeypatch.setattr(module, "grouped", counted)
    model.train_on_batch(*batch)
    assert len(found) == 1


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_words_that_are_all_different(layers, monkeypatch):
    """As many gradients as look-ups, and yet not in their order."""
    monkeypatch.setattr(embedding, "MANY", 1)
    x, y = np.random.default_rng(SEED).permutation(WORDS)[None], np.ones((1, 1))
    apart, summed = (gradients_of(model_of(layers, dense), x, y) for dense in (False, True))
    for one, other in zip(map(np.asarray, summed), map(np.asarray, apart), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


@pytest.mark.quick(14)
@pytest.mark.parametrize("layers", [LAYERS["LSTM"], LAYERS["dropout"]], ids=["LSTM", "dropout"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_weights_are_those_of_a_dense_optimizer(name, options, layers, monkeypatch):
    """Twenty steps: the optimizer of the one gets rows, that of the other the whole table's gradient as an array."""
    monkeypatch.setattr(embedding, "MANY", 1)
    rows, whole = model_of(layers, True), model_of(layers, True)
    x, y = words(40, 6)
    x[:, 1:3] %= 5  # words that come again
    optimizer = make(name, **options)
    rows.compile(make(name, **options), "binary_crossentropy")
    for step in range(20):
        batch = slice(2 * step, 2 * step + 2)
        gradients = [np.asarray(gradient) for gradient in gradients_of(whole, x[batch], y[batch])]
        optimizer.apply_gradients(zip(gradients, whole.trainable_weights, strict=True))
        rows.train_on_batch(x[batch], y[batch])
    for one, other in zip(rows.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.torch
def test_as_pytorch_trains():
    torch = pytest.importorskip("torch")
    from rnncore.interop import weights_to_torch
    from rnncore.optimizers import Adam

    model = model_of(LAYERS["LSTM"], True)
    model.compile(Adam(0.01, epsilon=1e-30), "binary_crossentropy")
    x, y = words(60, 50)
    model.build(x.shape)
    table, recurrent, dense = torch.nn.Embedding(WORDS, VECTOR), torch.nn.LSTM(VECTOR, 4), torch.nn.Linear(4, 1)
    kernel, bias = model.layers[-1].get_weights()
    for module, state in (
        (table, {"weight": model.layers[0].get_weights()[0]}),
        (recurrent, weights_to_torch([model.layers[1].get_weights()])),
        (dense, {"weight": kernel.T, "bias": bias}),
    ):
        module.double().load_state_dict({key: torch.tensor(array) for key, array in state.items()})
    recurrent.bias_hh_l0.requires_grad_(False)
    parameters = [p for module in (table, recurrent, dense) for p in module.parameters() if p.requires_grad]
    adam = torch.optim.Adam(parameters, lr=0.01, eps=1e-30)
    for first in range(0, 60, 6):
        batch = slice(first, first + 6)
        adam.zero_grad()
        _, (h, _) = recurrent(table(torch.from_numpy(x[batch]).T))
        torch.nn.functional.binary_cross_entropy_with_logits(dense(h[0]), torch.from_numpy(y[batch])).backward()
        adam.step()
        model.train_on_batch(x[batch], y[batch])
    assert max(np.bincount(x[0])) > 3
    np.testing.assert_allclose(model.layers[0].get_weights()[0], table.weight.detach().numpy(), rtol=1e-9)


def test_without_it_squares_are_added(monkeypatch):
    """So that the tests above have something to find."""
    monkeypatch.setattr(embedding, "MANY", 1)
    x, y = words(2, 40)
    tables = []
    for dense in (False, True):
        model = model_of(LAYERS["LSTM"], dense)
        model.compile("adam", "binary_crossentropy")
        for _ in range(3):
            model.train_on_batch(x, y)
        tables.append(model.layers[0].get_weights()[0])
    assert np.abs(tables[0] - tables[1]).max() > 1e-5


def test_it_is_saved(tmp_path):
    model = model_of(LAYERS["LSTM"], True)
    model.build((None, 4))
    model.save(tmp_path / "model.npz")
    assert load_model(tmp_path / "model.npz").layers[0].dense_gradient is True


def test_a_number_is_refused():
    with pytest.raises(TypeError, match="dense_gradient"):
        Embedding(3, 2, dense_gradient=0.5)
