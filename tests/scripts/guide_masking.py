"""Padding and masks: where a mask comes from, what carries it on, and layers of one's own that make or take it."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(12)
raw = [[7, 8, 9], [3, 4, 5, 6, 1, 2], [2, 5, 9, 3, 1]]
padded = keras.utils.pad_sequences(raw, padding="post")
print(padded)


def drawn(layer):
    layer.set_weights([rng.normal(0, 0.4, weight.shape) for weight in layer.get_weights()])
    return layer


embedding = layers.Embedding(input_dim=10, output_dim=4, mask_zero=True)
embedding.build(padded.shape)
drawn(embedding)
vectors = embedding(padded)
print(np.asarray(embedding.compute_mask(padded)))
masking = layers.Masking()
print(np.asarray(masking.compute_mask(np.asarray(vectors) * (padded != 0)[..., None])))

model = keras.Sequential([embedding, layers.LSTM(5)])
model.build((None, None))
drawn(model)
print(model.predict(padded, verbose=0).tolist())

inputs = keras.Input(shape=(None,), dtype="int32")
x = layers.Embedding(input_dim=10, output_dim=4, mask_zero=True)(inputs)
outputs = layers.LSTM(3)(layers.Dropout(0.2)(layers.Activation("tanh")(x)))
model = drawn(keras.Model(inputs, outputs))
print(model.predict(padded, verbose=0).tolist())


class Reader(layers.Layer):
    """Makes a mask and hands it on by itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(input_dim=10, output_dim=4, mask_zero=True)
        self.lstm = layers.LSTM(3)

    def call(self, inputs):
        x = self.embedding(inputs)
        mask = self.embedding.compute_mask(inputs)
        return self.lstm(x, mask=mask)


reader = Reader()
reader.input_kind = "integer"
reader(padded)
drawn(reader)
print([weight.shape for weight in reader.get_weights()])
print(np.asarray(reader(padded)).tolist())


class Halved(layers.Layer):
    """Passes a mask on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return inputs * 0.5


class Marked(layers.Layer):
    """Takes the mask: what is padding becomes a number."""

    def call(self, inputs, mask=None):
        kept = 1.0 if mask is None else 1.0 * np.asarray(mask)[..., None]
        return inputs * kept - 2.0 * (1.0 - kept)


model = keras.Sequential([layers.Embedding(10, 4, mask_zero=True), Halved(), layers.GRU(3, return_sequences=True)])
model.build((None, 6))
drawn(model)
print(model.predict(padded, verbose=0).tolist())
marked = Marked()
print(np.asarray(marked(np.asarray(vectors), mask=padded != 0)).sum(axis=(1, 2)).tolist())

model = keras.Sequential([layers.Masking(mask_value=-1.0), layers.LSTM(3), layers.Dense(1)])
x = rng.normal(size=(3, 6, 2))
x[padded == 0] = -1.0
model.build(x.shape)
drawn(model)
model.compile("rmsprop", "mse")
print([model.train_on_batch(x, np.ones(3)) for _ in range(3)], model.predict(x, verbose=0).tolist())
