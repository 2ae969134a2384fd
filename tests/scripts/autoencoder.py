"""An autoencoder of sequences; its encoder is cut out, its decoder put behind another input, activations are shown."""

import keras
import numpy as np
from keras.layers import LSTM, Dense, RepeatVector, TimeDistributed
from keras.models import Model, Sequential, model_from_json

rng = np.random.default_rng(14)
sequence = np.array([[k / 10 + 0.1 * n for k in range(1, 10)] for n in range(12)]).reshape(12, 9, 1)

model = Sequential()
model.add(keras.Input(shape=(9, 1)))
model.add(LSTM(10, activation="relu"))
model.add(RepeatVector(9))
model.add(LSTM(10, activation="relu", return_sequences=True))
model.add(TimeDistributed(Dense(1)))
model.set_weights([rng.normal(0, 0.2, weight.shape) for weight in model.get_weights()])
model.compile(optimizer="adam", loss="mse")
history = model.fit(sequence, sequence, epochs=4, batch_size=4, verbose=0, shuffle=False)
print(history.history["loss"])
print(model.predict(sequence, verbose=0)[0, :, 0].tolist())

encoder = Model(inputs=model.inputs, outputs=model.layers[0].output)
codes = encoder.predict(sequence, verbose=0)
print(codes.shape, codes[0].tolist(), len(encoder.get_weights()), encoder.layers[-1] is model.layers[0])

code = keras.Input(shape=(10,))
x = code
for layer in model.layers[1:]:
    x = layer(x)
decoder = Model(code, x)
print(np.abs(decoder.predict(codes, verbose=0) - model.predict(sequence, verbose=0)).max() < 1e-6)

for layer in model.layers:
    shown = Model(model.inputs, layer.output).predict(sequence[:2], verbose=0)
    print(layer.name, shown.shape, float(shown.sum()))

again = model_from_json(model.to_json())
again.set_weights(model.get_weights())
print(again.count_params(), again.predict(sequence[:2], verbose=0).tolist())
