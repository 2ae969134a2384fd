"""TimeDistributed: a layer gets at every step what it takes by itself, ids and masks too."""

import numpy as np
import pytest

import rnncore
from rnncore import gradcheck
from rnncore.layers import LSTM, Bidirectional, Dense, Embedding, Masking, TimeDistributed

IDS = np.random.default_rng(0).integers(0, 9, (3, 4, 5))
LAST = np.arange(5) < np.array([[5, 2, 0, 1], [3, 4, 0, 0], [1, 0, 5, 5]])[..., None]  # which words of a sentence


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    rnncore.set_backend("numpy")


def test_ids_at_every_step():
    layer = TimeDistributed(Embedding(9, 2, embeddings_initializer="normal"))
    table = np.asarray(layer(IDS).shape and layer.layer.embeddings)
    np.testing.assert_array_equal(layer(IDS), table[IDS])
    many = np.tile(IDS, (9, 2, 2))  # so many are looked up once each
    np.testing.assert_array_equal(layer(many), table[many])
    assert layer.backward(np.ones((27, 8, 10, 2))) is None
    counts = np.bincount(many.ravel(), minlength=9)
    np.testing.assert_allclose(np.asarray(layer.get_gradients()[0]), np.stack([counts, counts], 1), rtol=1e-6)
    with pytest.raises(ValueError, match=r"embedding.*: x holds the id 9; allowed: 0 to 8"):
        layer([[[9]]])
    with pytest.raises(ValueError, match="2 axes; expected 3 or more"):
        layer([[1]])


def test_segments_are_masked_one_by_one():
    x = np.random.default_rng(1).normal(size=(3, 4, 5, 2)).astype("float32")
    for inner in (LSTM(4), Bidirectional(LSTM(2)), LSTM(4, return_sequences=True)):
        layer = TimeDistributed(inner)
        y = layer(x, mask=LAST)
        for row, step in np.ndindex(3, 4):
            np.testing.assert_allclose(y[row, step], inner(x[row, [step]], mask=LAST[row, [step]])[0], atol=1e-6)
    np.testing.assert_array_equal(layer.compute_mask(x, LAST), LAST)
    np.testing.assert_array_equal(TimeDistributed(LSTM(4)).compute_mask(x, LAST), LAST.any(axis=2))
    np.testing.assert_array_equal(TimeDistributed(Masking()).compute_mask(x * LAST[..., None]), LAST)
    with pytest.raises(ValueError, match=r"mask has shape \(3, 4, 4\); expected \(3, 4, 5\)"):
        layer(x, mask=LAST[..., 1:])
    assert gradcheck.check_layer(TimeDistributed(LSTM(2)), x, mask=LAST).worst < 1e-6


def test_words_sentences_and_reviews():
    """Padding makes no difference, whether the inner layer is given a mask or makes it."""
    words = rnncore.Sequential([Embedding(9, 3, mask_zero=True), LSTM(4)])
    model = rnncore.Sequential([TimeDistributed(words), LSTM(3), Dense(1)])
    other = rnncore.Sequential([Embedding(9, 3, mask_zero=True), TimeDistributed(LSTM(4)), LSTM(3), Dense(1)])
    x = np.where(LAST, np.maximum(IDS, 1), 0)
    padded = np.pad(x, ((0, 0), (0, 2), (0, 3)))
    model.build((None, None, None))
    other.build((None, None, None))
    other.set_weights(model.get_weights())
    expected = other.predict(x)
    np.testing.assert_allclose(other.predict(padded), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(padded[:, :4]), model.predict(x), atol=1e-6)
    ragged = [[list(sentence) for sentence in review] for review in (x[0], x[1][:2], x[2])]
    model.compile("sgd", "mse")
    assert len(model.fit(ragged, np.ones(3), verbose=0).epoch) == 1


def test_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"lstm.* returns a list, as with its states; expected one output"):
        TimeDistributed(LSTM(2, return_state=True))(np.ones((1, 2, 3, 4)))


def test_a_masking_layer_behind_many_look_ups():
    model = rnncore.Sequential([Embedding(9, 2, embeddings_initializer="ones"), Masking(), LSTM(2)])
    assert model(np.ones((30, 30), int)).shape == (30, 2)


@pytest.mark.keras
def test_as_keras():
    import keras
    import tensorflow as tf
    from keras_reference import pair

    ours, theirs = pair([("TimeDistributed", {"layer": ("Embedding", {"input_dim": 9, "output_dim": 2})})], (3, 4, 5))
    np.testing.assert_array_equal(ours.predict(IDS), theirs.predict(IDS, verbose=0))

    x = np.random.default_rng(1).normal(size=(3, 4, 5, 2)).astype("float32")
    dy = np.random.default_rng(2).normal(size=(3, 4, 4)).astype("float32")
    layer, other = TimeDistributed(LSTM(4)), keras.layers.TimeDistributed(keras.layers.LSTM(4))
    layer.build(x.shape)
    other.build(x.shape)
    other.set_weights(layer.get_weights())
    with tf.GradientTape() as tape:
        given = tf.constant(x)
        tape.watch(given)
        y = other(given, mask=tf.constant(LAST))
        loss = tf.reduce_sum(y * dy)
    np.testing.assert_allclose(layer(x, mask=LAST), y.numpy(), atol=1e-6)
    dx, *gradients = tape.gradient(loss, [given, *[v.value for v in other.trainable_variables]])
    np.testing.assert_allclose(layer.backward(dy), dx.numpy(), atol=1e-6)
    for mine, gradient in zip(layer.get_gradients(), gradients, strict=True):
        np.testing.assert_allclose(mine, gradient.numpy(), atol=1e-5)
