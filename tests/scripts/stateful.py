"""A series step by step: a stateful model, its states reset each pass, looked at, and handed on to a forecaster."""

import keras
import numpy as np
from keras.layers import LSTM, Dense, Input

rng = np.random.default_rng(15)
series = np.sin(np.arange(200) / 5).astype("float32")
x, y = series[:-1].reshape(1, -1, 1), series[1:].reshape(1, -1, 1)
BATCH, CHUNK = 1, 33


def built(batch_size, steps):
    model = keras.Sequential(
        [
            Input(batch_shape=(batch_size, steps, 1)),
            LSTM(7, return_sequences=True, stateful=True, name="first"),
            LSTM(5, return_sequences=True, stateful=True, name="second"),
            Dense(1),
        ]
    )
    model.compile(loss="mse", optimizer=keras.optimizers.RMSprop(0.005))
    return model


model = built(BATCH, CHUNK)
model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
for n in range(3):
    chunks = [slice(first, first + CHUNK) for first in range(0, 6 * CHUNK, CHUNK)]
    losses = [float(model.train_on_batch(x[:, chunk], y[:, chunk])) for chunk in chunks]
    print("Pass", n, np.mean(losses), [float(np.sum(state)) for state in model.layers[0].states])
    for layer in model.layers[:2]:
        layer.reset_state()

model.optimizer.learning_rate.assign(0.001)
print(float(model.train_on_batch(x[:, :CHUNK], y[:, :CHUNK])), float(model.optimizer.learning_rate))

forecaster = built(BATCH, 1)
forecaster.set_weights(model.get_weights())
for layer in model.layers[:2]:
    layer.reset_state()
seen = model.predict(x[:, :CHUNK], verbose=0)
value = seen[:, -1:]
first = LSTM(7, return_state=True)
first.build((1, None, 1))
first.set_weights(model.layers[0].get_weights())
output, *states = first(value, initial_state=[np.asarray(state) for state in model.layers[0].states])
print(np.asarray(output).tolist(), [np.asarray(state).tolist() for state in states])
for step in range(CHUNK):
    forecaster.predict(x[:, step : step + 1], verbose=0)
told = []
for _ in range(5):
    value = forecaster.predict(value, verbose=0)
    told.append(value.item())
print(told)
