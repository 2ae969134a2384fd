"""Scripts in Keras's functional style, as long as they are one chain; names that older scripts use."""

import pickle

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
        (lambda x, y: keras.Model([x, x], y), TypeError, "inputs are 2; rnncore has models of one chain"),
        (lambda x, y: keras.Model(x, [y, y]), TypeError, r"outputs are 2; .*\[Model\(inputs, output\) for output in"),
        (lambda x, y: keras.Model(x, x), ValueError, "there is no layer between inputs and outputs"),
        (lambda x, y: keras.Model(y, x), ValueError, "does not begin at inputs"),
        (lambda x, y: keras.Model(x, 3), TypeError, "outputs is 3; expected one Input"),
        (lambda x, y: LSTM(2, name="a")(LSTM(3, name="b")(x)), ValueError, "expected 3; b, before it, gives its last"),
        (lambda x, y: [*LSTM(2, return_state=True, name="a")(x)], TypeError, "for the output of a and its states, and"),
        (lambda x, y: x[:, 0], TypeError, "getitem: x stands for an array, which has no numbers yet"),
        (lambda x, y: 2 * x + y, TypeError, "mul: x stands for an array"),
        (lambda x, y: np.tanh(x), TypeError, "x stands for an array, which has no numbers yet: rnncore describes"),
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


def reviewer(library):
    layers = library.layers
    model = library.Sequential(
        [layers.Embedding(9, 4), layers.LSTM(3, return_sequences=True), layers.GRU(2), layers.Dense(1)]
    )
    model.build((None, 5))
    return model


def fronts(library):
    """Return models that are cut out of others, and the arrays that they take."""
    layers = library.layers
    ids = np.random.default_rng(1).integers(0, 9, (6, 5))
    model = reviewer(library)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(0, 0.5, weight.shape) for weight in model.get_weights()])
    yield library.Model(inputs=model.inputs, outputs=model.layers[0].output), ids
    yield library.Model(model.inputs, [model.layers[1].output]), ids
    yield library.Model(model.get_layer(index=2).input, model.outputs), rng.normal(size=(6, 5, 3)).astype("float32")

    inputs = library.Input((4, 2))
    encoded = layers.LSTM(3)(inputs)
    repeat, decode = layers.RepeatVector(4), layers.GRU(2, return_sequences=True)
    autoencoder, encoder = library.Model(inputs, decode(repeat(encoded))), library.Model(inputs, encoded)
    autoencoder.set_weights([rng.normal(0, 0.5, weight.shape) for weight in autoencoder.get_weights()])
    x = rng.normal(size=(6, 4, 2)).astype("float32")
    autoencoder.compile("sgd", "mse")
    autoencoder.fit(x, x, 2, 1, 0, shuffle=False)
    yield encoder, x
    code = library.Input((3,))
    yield library.Model(code, decode(repeat(code))), rng.normal(size=(6, 3)).astype("float32")
    yield library.Model(autoencoder.input, autoencoder.layers[-2].output), x


def test_models_cut_out_of_others():
    shapes = [(model.predict(x).shape, len(model.get_weights())) for model, x in fronts(keras)]
    assert shapes == [((6, 5, 4), 1), ((6, 5, 3), 4), ((6, 1), 5), ((6, 3), 3), ((6, 4, 2), 3), ((6, 4, 3), 3)]
    model = reviewer(keras)
    front = keras.Model(model.inputs, model.layers[1].output)
    assert front.layers == model.layers[:2] and isinstance(front, keras.Model)
    ids = np.ones((2, 5), int)
    np.testing.assert_array_equal(front.predict(ids), model.layers[1](model.layers[0](ids)))
    model.compile("sgd", "mse")
    model.fit(ids, np.ones(2), epochs=1, verbose=0)
    np.testing.assert_array_equal(front.predict(ids), model.layers[1].last_output)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(keras.Model(again.inputs, again.layers[1].output).predict(ids), front.predict(ids))
    unbuilt = keras.Sequential([Dense(3)])
    for missing in (lambda: unbuilt.input, lambda: unbuilt.layers[0].output, lambda: LSTM(3).output):
        with pytest.raises(AttributeError, match=r"there is no (in|out)put"):
            missing()


@pytest.mark.keras
def test_models_cut_out_of_others_as_keras():
    for (ours, x), (theirs, _) in zip(fronts(keras), fronts(pytest.importorskip("keras")), strict=True):
        expected = theirs.predict(x, verbose=0)
        expected = expected[0] if isinstance(expected, list) else expected
        np.testing.assert_allclose(ours.predict(x), expected, atol=1e-6)


def test_a_model_in_a_text():
    model = reviewer(keras)
    again = keras.models.model_from_json(model.to_json(indent=1))
    assert again.get_config() == model.get_config() and not again.built
    text = keras.Sequential([keras.Input((None, 2)), LSTM(3, kernel_initializer="ones"), Dense(1)]).to_json()
    again = keras.models.model_from_json(text)
    assert again.output_shape == (None, 1) and (again.layers[0].kernel == 1).all()
    assert keras.models.clone_model(model).count_params() == model.count_params()

    class Own(Dense):
        pass

    text = keras.Sequential([Own(3)]).to_json()
    assert type(keras.models.model_from_json(text, {"Own": Own}).layers[0]) is Own
    for bad, message in (
        (text, "json_string: unknown class 'Own'"),
        ("[]", "json_string holds no object"),
        ("{}", "json_string describes a None; expected 'Sequential'"),
        ("[" * 9999, "json_string is nested more than 64 deep"),
        (text.replace("Own", "Dense").replace('"units": 3', '"units": "3"'), "units is '3'"),
        ('{"a": [' + '{"class_name": 1},' * 2001 + "0]}", "json_string: it describes 2,001 objects"),
    ):
        with pytest.raises(ValueError, match=message):
            keras.models.model_from_json(bad)
    wide = text.replace("Own", "Dense").replace('"units": 3', '"units": 4000000000')
    wide = wide.replace('"layers": [', '"layers": [{"class_name": "InputLayer", "config": {"shape": [2]}}, ')
    with pytest.raises(
        ValueError, match=r"kernel, of shape \(2, 4000000000\), and the weights before it are too large"
    ):
        keras.models.model_from_json(wide)
    with pytest.raises(TypeError, match="not JSON serializable"):
        keras.Sequential([Dense(3, kernel_initializer=lambda shape: 0)]).to_json()


def test_subclasses_of_model():
    with pytest.raises(TypeError, match=r"^Own is a subclass of Model, whose call rnncore could not go back through"):

        class Own(keras.Model):
            pass


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
    assert (empty.layers, empty.declared) == ([], None)


def test_input_with_the_batch():
    x = keras.Input(batch_shape=(4, None, 2))
    assert (x.shape, x.batch_size) == ((4, None, 2), 4)
    for given in ({}, {"shape": (2,), "batch_shape": (4, 2)}):
        with pytest.raises(ValueError, match="expected one of shape, batch_shape"):
            keras.Input(**given)
    for given in ({"batch_input_shape": (4, None, 2)}, {"input_shape": (None, 2), "batch_size": 4}):
        first = keras.layers.InputLayer(**given)
        assert first.input_shape == (4, None, 2)
        assert keras.layers.InputLayer.from_config(first.get_config()).input_shape == (4, None, 2)
        assert keras.Sequential([first, Dense(3)]).output_shape == (None, None, 3)


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
