"""Is a review good? Two bidirectional layers in the functional style, with a mask and a schedule; stopped early."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(3)
rng = np.random.default_rng(2)
y = rng.integers(0, 2, 120)
x = [[*rng.integers(3, 40, rng.integers(2, 15)), 1 + label, *rng.integers(3, 40, 3)] for label in y]
x = keras.utils.pad_sequences(x, maxlen=14, padding="post", truncating="post")

inputs = keras.Input(shape=(None,), dtype="int32")
hidden = layers.Embedding(40, 6, mask_zero=True)(inputs)
hidden = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(hidden)
hidden = layers.Bidirectional(layers.GRU(4), merge_mode="ave")(hidden)
outputs = layers.Dense(1, activation="sigmoid", kernel_regularizer=keras.regularizers.L2(0.01))(hidden)
model = keras.Model(inputs, outputs)
model.set_weights([rng.normal(0, 0.4, weight.shape) for weight in model.get_weights()])

rate = keras.optimizers.schedules.ExponentialDecay(0.02, decay_steps=10, decay_rate=0.5)
model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=rate, clipnorm=1.0),
    loss=keras.losses.BinaryCrossentropy(label_smoothing=0.1),
    metrics=["accuracy", keras.metrics.AUC(name="area"), keras.metrics.Precision(), keras.metrics.mean_absolute_error],
)
stopping = keras.callbacks.EarlyStopping(monitor="loss", patience=1, min_delta=0.05, restore_best_weights=True)
history = model.fit(x, y, batch_size=20, epochs=8, validation_split=0.2, shuffle=False, callbacks=[stopping], verbose=0)
for name in sorted(history.history):
    print(name, history.history[name])
print(model.name, model.count_params(), stopping.stopped_epoch)
print(model.predict(x[:5], verbose=0).tolist())
