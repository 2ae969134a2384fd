"""Is a review good? The last words of each, one LSTM: layers added one by one, names of older scripts."""

import numpy as np
from keras.datasets import imdb
from keras.layers import LSTM, Activation, Dense, Embedding
from keras.models import Sequential
from keras.preprocessing import sequence

WORDS, LENGTH, BATCH = 60, 12, 16

assert callable(imdb.load_data)
rng = np.random.default_rng(1)
labels = rng.integers(0, 2, 160)
reviews = [
    [1, *rng.choice(np.arange(4, WORDS), rng.integers(5, 20)), 2 + label, *rng.integers(4, WORDS, 4)]
    for label in labels
]
x = sequence.pad_sequences(reviews, maxlen=LENGTH)
(x_train, x_test), (y_train, y_test) = (np.split(array, [128]) for array in (x, labels))
print(len(x_train), "to train on,", len(x_test), "to test", x_train.shape, x_train.dtype, x_train[0])

model = Sequential()
model.add(Embedding(WORDS, 8, input_length=LENGTH))
model.add(LSTM(10))
model.add(Dense(1))
model.add(Activation("sigmoid"))
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
model.build((None, LENGTH))
model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
history = model.fit(
    x_train, y_train, batch_size=BATCH, epochs=3, validation_data=(x_test, y_test), shuffle=False, verbose=0
)
for name in sorted(history.history):
    print(name, history.history[name])
score, accuracy = model.evaluate(x_test, y_test, batch_size=BATCH, verbose=0)
print("Loss:", score, "accuracy:", accuracy)
print(model.count_params(), model.input_shape, model.output_shape, [type(layer).__name__ for layer in model.layers])
