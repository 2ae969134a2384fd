"""Adding numbers letter by letter: an encoder, its last output repeated, a decoder, a letter a step; arrays of bool."""

import keras
import numpy as np
from keras import layers

DIGITS, LETTERS = 2, "0123456789+ "
ASKED, ANSWERED = 2 * DIGITS + 1, DIGITS + 1


def encoded(texts, length):
    return np.array([[[letter == other for other in LETTERS] for letter in text.ljust(length)] for text in texts])


def decoded(rows):
    return "".join(LETTERS[n] for n in rows.argmax(axis=-1))


rng = np.random.default_rng(4)
pairs = rng.integers(0, 10**DIGITS, (300, 2))
x = encoded([f"{a}+{b}"[::-1] for a, b in pairs], ASKED)
y = encoded([str(a + b) for a, b in pairs], ANSWERED)
print(x.shape, x.dtype, y.shape)

model = keras.Sequential()
model.add(layers.LSTM(24, input_shape=(ASKED, len(LETTERS))))
model.add(layers.RepeatVector(ANSWERED))
for _ in range(2):
    model.add(layers.GRU(16, return_sequences=True))
model.add(layers.TimeDistributed(layers.Dense(len(LETTERS))))
model.add(layers.Activation("softmax"))
model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.Adam(0.01), metrics=["accuracy"])
model.summary()
model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])

for epoch in range(1, 4):
    told = model.fit(
        x[:260], y[:260], batch_size=20, epochs=1, validation_data=(x[260:], y[260:]), shuffle=False, verbose=0
    )
    print("Round", epoch, sorted((name, values[0]) for name, values in told.history.items()))
    for n in (261, 270):
        guess = decoded(model.predict(x[[n]], verbose=0)[0])
        print(decoded(x[n])[::-1], "=", decoded(y[n]), "?", guess, "right" if guess == decoded(y[n]) else "wrong")
