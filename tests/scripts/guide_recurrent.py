"""The ways of a recurrent layer: last output or all, states returned, handed on and kept, cells, both directions."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(11)


def drawn(layer, shape):
    """Return the layer, built, with weights of our own."""
    layer.build(shape)
    layer.set_weights([rng.normal(0, 0.4, weight.shape) for weight in layer.get_weights()])
    return layer


def told(name, *arrays):
    print(name, *(np.asarray(array).shape for array in arrays), [float(np.sum(array)) for array in arrays])


model = keras.Sequential()
model.add(keras.Input(shape=(None,), dtype="int32"))
model.add(layers.Embedding(input_dim=30, output_dim=6))
model.add(layers.GRU(8, return_sequences=True))
model.add(layers.SimpleRNN(5))
model.add(layers.Dense(4))
model.set_weights([rng.normal(0, 0.4, weight.shape) for weight in model.get_weights()])
model.summary()
ids = rng.integers(0, 30, (9, 7))
told("model", model.predict(ids, verbose=0))

x = rng.normal(size=(5, 6, 3)).astype("float32")
encoder = drawn(layers.LSTM(4, return_state=True, name="encoder"), (None, None, 3))
output, state_h, state_c = encoder(x)
told("encoder", output, state_h, state_c)
decoder = drawn(layers.LSTM(4, return_sequences=True, name="decoder"), (None, None, 3))
told("decoder", decoder(x, initial_state=[state_h, state_c]))

paragraphs = [rng.normal(size=(5, length, 3)).astype("float32") for length in (4, 2, 7)]
lstm = drawn(layers.LSTM(4, stateful=True), (5, None, 3))
for paragraph in paragraphs:
    told("stateful", lstm(paragraph))
existing = lstm.states
other = drawn(layers.LSTM(4), (5, None, 3))
told("with the states of another", other(paragraphs[0], initial_state=existing))
lstm.reset_state()
told("anew", lstm(paragraphs[0]))

both = keras.Sequential(
    [
        keras.Input(shape=(6, 3)),
        layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        layers.Bidirectional(layers.LSTM(3)),
        layers.Dense(2, activation="softmax"),
    ]
)
both.set_weights([rng.normal(0, 0.4, weight.shape) for weight in both.get_weights()])
told("both ways", both.predict(x, verbose=0))


def rows(as_cells):
    """A digit is read row by row, by a layer or by its cell in a loop."""
    recurrent = (
        layers.RNN(layers.LSTMCell(8), input_shape=(None, 6)) if as_cells else layers.LSTM(8, input_shape=(None, 6))
    )
    return keras.Sequential([recurrent, layers.LayerNormalization(), layers.Dense(3)])


digits = rng.normal(size=(40, 6, 6)).astype("float32")
labels = digits.mean(axis=(1, 2)) > 0
start = [rng.normal(0, 0.3, weight.shape) for weight in rows(True).get_weights()]
for as_cells in (True, False):
    model = rows(as_cells)
    model.set_weights(start)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer="sgd", metrics=["accuracy"]
    )
    history = model.fit(
        digits, labels, validation_data=(digits[:8], labels[:8]), batch_size=10, epochs=2, shuffle=False, verbose=0
    )
    print(sorted((name, values) for name, values in history.history.items()))
