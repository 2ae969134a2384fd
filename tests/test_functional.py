"""Scripts in Keras's functional style, as long as they are one chain; names that older scripts use."""

import numpy as np
import pytest

import rnncore as keras
from rnncore import config
from rnncore.layers import GRU, LSTM, Bidirectional, Dense, Dropout, Embedding


def test_a_chain_is_a_sequential():
    config.set_seed(3)
    inputs = keras.Input(shape=(None,), dtype="int32")
    x = keras.layers.Embedding(50, 8)(inputs)
    x = Bidirectional(LSTM(4, return_sequences=True))(x)
    x = Dropout(0.5)(x)
    x = Bidirectional(GRU(3))(x)
    outputs = Dense(1, activation="sigmoid")(x)
    assert (x.shape, outputs.shape) == ((None, 6), (None, 1))
    model = keras.Model(inputs, outputs)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Embedding",
        "Bidirectional",
        "Dropout",
        "Bidirectional",
        "Dense",
    ]
    assert len(model.get_weights()) == 1 + 6 + 6 + 2
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    ids = np.random.default_rng(0).integers(1, 50, (12, 7))
    model.fit(ids, np.arange(12) % 2, epochs=1, verbose=0)

    config.set_seed(3)
    same = keras.Sequential(
        [Embedding(50, 8), Bidirectional(LSTM(4, return_sequences=True)), Dropout(0.5), Bidirectional(GRU(3))]
    )
    same.add(Dense(1, activation="sigmoid"))
    same.build((None, 7))
    same.set_weights(model.get_weights())
    np.testing.assert_array_equal(same.predict(ids), model.predict(ids))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: keras.Model([x, x], y), TypeError, "expected one Input"),
        (lambda x, y: keras.Model(x, [y, y]), TypeError, "models of one chain"),
        (lambda x, y: keras.Model(keras.Input((3, 2)), y), ValueError, "does not begin at inputs"),
        (lambda x, y: Dense(1)(LSTM(2, return_state=True)(x)), ValueError, "one chain only"),
        (lambda x, y: LSTM(2)(y), ValueError, "2 axes; expected 3"),
        (lambda x, y: keras.Input((0,)), ValueError, "Input: shape"),
    ],
)
def test_what_is_no_chain_is_refused(call, error, message):
    x = keras.Input((3, 2))
    with pytest.raises(error, match=message):
        call(x, Dense(1)(LSTM(2)(x)))


def test_a_first_layer_that_says_its_input():
    def model(first):
        return keras.Sequential([first, Dense(1)])

    with pytest.warns(UserWarning, match=r"input_shape is of older Keras; an Input\(shape\) before the layer says it"):
        built = model(LSTM(3, input_shape=(None, 2)))
    assert (built.input_shape, built.output_shape) == ((None, None, 2), (None, 1))
    assert keras.Sequential.from_config(built.get_config()).built  # without a warning
    with pytest.warns(UserWarning, match="input_dim"):
        assert model(Dense(3, input_dim=4)).input_shape == (None, 4)
    with pytest.warns(UserWarning, match="input_shape"):
        assert model(keras.layers.TimeDistributed(Dense(3), input_shape=(5, 4))).output_shape == (None, 5, 1)
    with pytest.warns(UserWarning, match="input_length"):
        assert not model(Embedding(9, 3, input_length=7)).built  # as in Keras
    assert Embedding(input_dim=9, output_dim=3).declared_shape is None
    assert built.layers[1].declared_shape is None

    class Own(Embedding):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    assert Own(input_dim=9, output_dim=3).input_dim == 9
    with pytest.raises(ValueError, match=r"lstm.*: input_shape is \(0, 2\); expected a tuple"):
        LSTM(3, input_shape=(0, 2))
    empty = keras.Sequential()
    with pytest.warns(UserWarning, match="input_shape"), pytest.raises(ValueError, match="expected 3"):
        empty.add(LSTM(3, input_shape=(2,)))
    assert (empty.layers, empty.input) == ([], None)


def test_input_with_the_batch():
    x = keras.Input(batch_shape=(4, None, 2))
    assert (x.shape, x.batch_size) == ((4, None, 2), 4)
    for given in ({}, {"shape": (2,), "batch_shape": (4, 2)}):
        with pytest.raises(ValueError, match="expected one of the two"):
            keras.Input(**given)


def test_names_of_older_scripts():
    from rnncore.preprocessing import sequence

    assert sequence.pad_sequences([[1, 2], [3]], maxlen=3).tolist() == [[0, 1, 2], [0, 0, 3]]
    keras.utils.set_random_seed(5)
    first = Dense(3)
    first.build((None, 2))
    keras.utils.set_random_seed(5)
    second = Dense(3)
    second.build((None, 2))
    np.testing.assert_array_equal(first.kernel, second.kernel)


def test_arguments_that_scripts_give():
    cells = [keras.layers.LSTMCell(3, implementation=1), keras.layers.GRUCell(2)]
    stacked = keras.layers.StackedRNNCells(cells, dtype="float32", trainable=False)
    assert (stacked.dtype, cells[0].implementation, LSTM(2, implementation=2).implementation) == ("float32", 1, 2)
    assert stacked.trainable is False
    x = np.ones((2, 3, 4))
    for layer in (keras.layers.RNN(stacked, dtype="float32"), keras.layers.TimeDistributed(Dense(2), dtype="float64")):
        assert layer(x).dtype == layer.dtype
    with pytest.raises(ValueError, match=r"dtype is 'float64'; the cell lstm_cell.* computes in float32"):
        keras.layers.RNN(cells[0], dtype="float64")
    with pytest.raises(ValueError, match=r"lstm.*: implementation is 3; expected 1 or 2"):
        LSTM(2, implementation=3)
    for layer in (Dense(2, use_bias=False), LSTM(2, use_bias=False)):
        layer(x)
        assert layer.bias is None
    normal = keras.layers.LayerNormalization(center=False)
    normal(x)
    assert normal.beta is None and normal.gamma.shape == (4,)
    assert Dense(3, kernel_initializer=None)(x).shape == (2, 3, 3)


def test_to_categorical():
    expected = [[0, 1, 0], [0, 0, 1]]
    for x in ([1, 2], [[1], [2]], np.array([1.0, 2.0])):
        assert keras.utils.to_categorical(x).tolist() == expected
    assert keras.utils.to_categorical([[0]], 2).tolist() == [[1, 0]]
    for bad in ([-1], [3], [0.5], ["a"]):
        with pytest.raises(ValueError, match="from 0 to 2"):
            keras.utils.to_categorical(bad, 3)


@pytest.mark.keras
def test_to_categorical_as_keras():
    import keras as theirs

    x = np.random.default_rng(0).integers(0, 5, (4, 3, 1))
    np.testing.assert_array_equal(keras.utils.to_categorical(x, 6), theirs.utils.to_categorical(x, 6))
