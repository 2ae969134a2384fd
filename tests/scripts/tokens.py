"""Texts to classes: a tokenizer's numbers, padded, an embedding with a mask and an LSTM both ways."""

import numpy as np
from keras.layers import LSTM, Bidirectional, Dense, Embedding, SpatialDropout1D
from keras.models import Sequential
from keras.preprocessing.text import Tokenizer, tokenizer_from_json
from keras.utils import pad_sequences, to_categorical

GOOD = ["a fine film", "great actors, a great story!", "I liked it", "fine music and fine pictures", "what a story"]
BAD = ["a bad film", "no story, no actors", "I left", "bad music, bad pictures, bad jokes", "what a bore"]
SO_SO = ["a film", "some story", "I slept a little", "music and pictures", "what"]
texts, labels = [*GOOD, *BAD, *SO_SO] * 3, np.repeat([0, 1, 2], 5).tolist() * 3

tokenizer = Tokenizer(num_words=25, oov_token="<OOV>")
tokenizer.fit_on_texts(texts)
print(len(tokenizer.word_index), list(tokenizer.word_index)[:6])
sequences = tokenizer.texts_to_sequences(texts)
x, y = pad_sequences(sequences, maxlen=6, padding="post", truncating="post"), to_categorical(labels, num_classes=3)
print(x.shape, y.shape, x[:3].tolist())
print(
    tokenizer.sequences_to_texts(sequences[:2]), tokenizer.texts_to_matrix(texts[:2], mode="count").sum(axis=1).tolist()
)
again = tokenizer_from_json(tokenizer.to_json())
print(again.texts_to_sequences(["a great unknown story"]))

model = Sequential()
model.add(Embedding(25, 6, mask_zero=True))
model.add(SpatialDropout1D(0.0))
model.add(Bidirectional(LSTM(5)))
model.add(Dense(8, activation="relu"))
model.add(Dense(3, activation="softmax"))
model.build((None, 6))
rng = np.random.default_rng(17)
model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(x, y, epochs=4, batch_size=9, validation_split=0.2, shuffle=False, verbose=0)
for name in sorted(history.history):
    print(name, history.history[name])
new = pad_sequences(tokenizer.texts_to_sequences(["a great film", "bad, bad jokes"]), maxlen=6, padding="post")
print(model.predict(new, verbose=0).tolist())
