"""The next letter of a text: a file fetched, one LSTM, and text written by a callback after every epoch."""

import os
import sys

import numpy as np
from keras import Input
from keras.callbacks import LambdaCallback, LearningRateScheduler
from keras.layers import LSTM, Dense
from keras.models import Sequential
from keras.optimizers import RMSprop
from keras.utils import get_file

path = get_file("letters.txt", origin="https://example.org/letters.txt", cache_dir=os.environ["LETTERS"])
with open(path, encoding="utf-8") as file:
    text = file.read().lower()
letters = sorted(set(text))
number = {letter: n for n, letter in enumerate(letters)}
LENGTH = 10
starts = range(0, len(text) - LENGTH, 3)
x = np.zeros((len(starts), LENGTH, len(letters)), dtype="bool")
y = np.zeros((len(starts), len(letters)), dtype="bool")
for row, start in enumerate(starts):
    for step, letter in enumerate(text[start : start + LENGTH]):
        x[row, step, number[letter]] = True
    y[row, number[text[start + LENGTH]]] = True
print(len(text), "letters,", len(letters), "of them different,", len(x), "windows")

model = Sequential([Input(shape=(LENGTH, len(letters))), LSTM(20), Dense(len(letters), activation="softmax")])
rng = np.random.default_rng(5)
model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
model.compile(loss="categorical_crossentropy", optimizer=RMSprop(learning_rate=0.01))


def write(epoch, logs):
    print("After epoch", epoch, "loss", logs["loss"])
    window = text[7 : 7 + LENGTH]
    for _ in range(12):
        seen = np.zeros((1, LENGTH, len(letters)))
        for step, letter in enumerate(window):
            seen[0, step, number[letter]] = 1.0
        likely = model.predict(seen, verbose=0)[0]
        window = window[1:] + letters[int(np.argmax(likely))]
        sys.stdout.write(window[-1])
    print()


callbacks = [LambdaCallback(on_epoch_end=write), LearningRateScheduler(lambda epoch, rate: rate * 0.9)]
model.fit(x, y, batch_size=32, epochs=3, shuffle=False, callbacks=callbacks, verbose=0)
