"""A model that is asked to go on says what repeated `predict` says, step by step and whole."""

import numpy as np
import pytest

import rnncore
from rnncore import Sequential, config, layers, study
from rnncore.layers import GRU, LSTM, Bidirectional, Conv1D, Dense, Dropout, Embedding, SimpleRNN

V = 7
PROMPT = [1, 4, 2]
MIDDLES = {
    "lstm": lambda: [LSTM(5, return_sequences=True)],
    "stacked, stateful": lambda: [GRU(5, return_sequences=True, stateful=True), Dropout(0.5), SimpleRNN(4)],
    "both ways": lambda: [Bidirectional(LSTM(3, stateful=True))],
    "convolution": lambda: [Conv1D(4, 2, padding="causal"), LSTM(4, return_sequences=True)],
    "backwards": lambda: [LSTM(4, go_backwards=True)],
}


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    rnncore.set_backend("numpy")


def made(middle="lstm", activation="softmax", **embedding):
    last = Dense(V, activation=activation, kernel_initializer="random_normal", dtype="float64")
    config.set_floatx("float64")
    config.set_seed(1)
    model = Sequential([Embedding(V, 4, embeddings_initializer="random_normal", **embedding), *MIDDLES[middle](), last])
    model.build((None, None))
    for weight in model.trainable_weights:
        weight *= 20  # no choice is a matter of rounding
    return model


def by_predict(model, n, choose):
    """Return n ids, all that was said read anew for each."""
    ids = list(PROMPT)
    for _ in range(n):
        for layer in model.stateful_layers():
            layer.reset_state()
        output = model.predict(np.array([ids]))
        ids.append(choose(output.reshape(-1, V)[-1]))
    return ids[len(PROMPT) :]


def drawn(temperature, seed, logits=False):
    rng = np.random.default_rng(seed)

    def draw(output):
        p = (np.exp(output - output.max()) if logits else output) ** (1 / temperature)
        return int(np.searchsorted(np.cumsum(p) / p.sum(), rng.random()))

    return draw


@pytest.mark.parametrize("middle", MIDDLES)
def test_what_is_said_is_what_repeated_predict_says(middle):
    model = made(middle)
    assert study.generate(model, PROMPT, 9, temperature=0).tolist() == by_predict(model, 9, np.argmax)
    expected = by_predict(model, 20, drawn(1.0, 2))
    assert study.generate(model, PROMPT, 20, seed=2).tolist() == expected
    assert len(set(expected)) > 2


@pytest.mark.parametrize("activation", ["softmax", None])
def test_temperature_seed_and_vocabulary(activation):
    model = made(activation=activation)
    expected = by_predict(model, 30, drawn(1.7, 5, activation is None))
    assert study.generate(model, PROMPT, 30, temperature=1.7, seed=5).tolist() == expected
    other = study.generate(model, PROMPT, 30, temperature=1.7, seed=6)
    assert other.tolist() != expected and other.dtype == np.int64
    said = study.generate(model, "bec", 30, 1.7, 5, vocabulary="abcdefg", from_logits=activation is None)
    assert said == "".join("abcdefg"[one] for one in expected)
    assert study.generate(model, PROMPT, 30, temperature=1e-300).tolist() == by_predict(model, 30, np.argmax)
    config.set_seed(3)
    one, two = study.generate(model, PROMPT, 30), study.generate(model, PROMPT, 30)
    config.set_seed(3)
    assert (one == study.generate(model, PROMPT, 30)).all() and (one != two).any()


def test_the_model_stays_as_it_was():
    model = made("stacked, stateful")
    kept, plain = model.layers[1], made("lstm")
    model.predict(np.array([[1, 2], [3, 4]]))
    before = kept.states[0].copy()
    study.generate(model, PROMPT, 3)
    np.testing.assert_array_equal(kept.states[0], before)
    study.generate(plain, PROMPT, 3)
    assert (plain.layers[1].stateful, plain.layers[1].states) == (False, None)
    with pytest.raises(ValueError, match="vocabulary has 2"):
        study.generate(plain, "ab", 3, vocabulary="ab")
    assert not plain.layers[1].stateful
    assert study.generate(plain, PROMPT, 0).shape == (0,)


def test_padding_is_not_said():
    model = made(mask_zero=True)
    model.layers[-1].bias[0] = 30
    assert study.generate(model, PROMPT, 20).min() > 0
    model.layers[-1].bias[0] = 1e4
    with pytest.raises(ValueError, match="model gives no symbol, but for padding, a probability above 0"):
        study.generate(model, PROMPT, 20)
    with pytest.raises(ValueError, match="prompt has id 0 at 1, which the model takes for padding"):
        study.generate(model, [1, 0], 2)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": LSTM(3)}, TypeError, "model is .*; expected one that takes ids"),
        ({"prompt": []}, ValueError, "prompt is empty"),
        ({"prompt": [[1, 2]]}, ValueError, r"prompt has shape \(1, 2\); expected one row of ids"),
        ({"prompt": [V]}, ValueError, "7"),
        ({"prompt": "ab"}, TypeError, "prompt is 'ab'; a string needs vocabulary"),
        ({"prompt": "a%", "vocabulary": "abcdefg"}, ValueError, "prompt has '%' at 1, which the vocabulary has not"),
        ({"vocabulary": "abcdefg"}, TypeError, "prompt is .*; with a vocabulary it is expected to be a string"),
        ({"prompt": "a", "vocabulary": "aacdefg"}, ValueError, "vocabulary is 'aacdefg'; expected characters, each"),
        ({"n": -1}, ValueError, "n is -1"),
        ({"temperature": -0.5}, ValueError, "temperature is -0.5; expected a number of at least 0"),
        ({"temperature": np.inf}, ValueError, "temperature is inf"),
        ({"seed": 0.5}, ValueError, "seed is 0.5"),
        ({"from_logits": 1}, TypeError, "from_logits is 1"),
    ],
)
def test_what_is_refused(changes, error, message):
    given = {"model": made(), "prompt": PROMPT, "n": 2, **changes}
    with pytest.raises(error, match=message):
        study.generate(**given)


def test_outputs_that_are_no_scores_are_refused():
    for activation in ("sigmoid", "tanh"):
        with pytest.raises(ValueError, match="expected softmax, for probabilities, or linear, for logits"):
            study.generate(made(activation=activation), PROMPT, 2)
    with pytest.raises(ValueError, match="model gives no probabilities, but -"):
        study.generate(made(activation="tanh"), PROMPT, 9, from_logits=False)
    model = Sequential([Embedding(V, 4), LSTM(3, return_sequences=True), layers.TimeDistributed(Dense(V))])
    assert study.generate(model, PROMPT, 4).shape == (4,)
