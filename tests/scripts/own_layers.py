"""Layers of one's own: weights by keywords, layers in attributes, a mask, `training`; trained, saved as a text."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(16)


class Linear(layers.Layer):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True)
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True, regularizer="l2")

    def call(self, inputs):
        self.x = inputs
        return inputs @ self.w + self.b

    def call_backward(self, dy):  # rnncore asks for it
        flat = dy.reshape(-1, self.units)
        self.gradients = {"w": self.x.reshape(len(flat), -1).T @ flat, "b": flat.sum(axis=0)}
        return dy @ self.w.T

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Scaled(layers.Layer):
    """Twice as much in training."""

    def call(self, inputs, training=None):
        self.factor = 2.0 if training else 1.0
        return inputs * self.factor

    def call_backward(self, dy):
        return dy * self.factor


class Counter(layers.Layer):
    """A weight that no optimizer changes."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.total = self.add_weight(shape=(size,), initializer="ones", trainable=False)

    def call(self, inputs):
        return inputs + self.total


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = Linear(6), Linear(3)

    def call(self, inputs):
        return self.second(self.first(inputs))

    def call_backward(self, dy):
        return self.first.backward(self.second.backward(dy))


x = rng.normal(size=(24, 5, 4)).astype("float32")
y = x.sum(axis=(1, 2), keepdims=True)[:, 0]
counter = Counter(4)
print(np.asarray(counter(x)).shape, len(counter.weights), len(counter.trainable_weights))
print("sum", float(np.sum(counter(x))))

model = keras.Sequential([keras.Input((None, 4)), layers.LSTM(5, return_sequences=True), Linear(4), Scaled()])
model.add(Block())
model.add(layers.GRU(3))
model.add(Linear(1, name="last"))
model.summary()
model.set_weights([rng.normal(0, 0.4, weight.shape) for weight in model.get_weights()])
print(model.predict(x[:3], verbose=0).tolist(), [weight.shape for weight in model.get_weights()])
model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse", metrics=["mae"])
print(model.evaluate(x, y, verbose=0))
history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
print(history.history["loss"], history.history["mae"])

custom = {"Linear": Linear, "Scaled": Scaled, "Block": Block}
again = keras.models.model_from_json(model.to_json(), custom_objects=custom)
again.set_weights(model.get_weights())
print(again.predict(x[:2], verbose=0).tolist())
