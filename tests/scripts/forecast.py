"""A weather forecast: windows over a series, one LSTM, the best weights kept, a few forecasts shown."""

import os

import keras
import numpy as np

STEP, PAST, FUTURE, BATCH = 2, 24, 6, 16

rng = np.random.default_rng(13)
hours = np.arange(600)
features = np.stack(
    [np.sin(hours / 24 * 2 * np.pi), np.cos(hours / 24 * 2 * np.pi), rng.normal(size=600), hours / 600], axis=1
)
split = int(0.7 * len(features))
features = (features - features[:split].mean(axis=0)) / features[:split].std(axis=0)

start, end = PAST + FUTURE, PAST + FUTURE + split
dataset_train = keras.preprocessing.timeseries_dataset_from_array(
    features[:split],
    features[start:end, 0],
    sequence_length=PAST // STEP,
    sampling_rate=STEP,
    batch_size=BATCH,
)
x_end, label_start = len(features) - PAST - FUTURE, split + PAST + FUTURE
dataset_val = keras.utils.timeseries_dataset_from_array(
    features[split:x_end],
    features[label_start:, :1],
    sequence_length=PAST // STEP,
    sampling_rate=STEP,
    batch_size=BATCH,
)
for batch in dataset_train.take(1):
    inputs, targets = batch
print("Input shape:", inputs.numpy().shape, "Target shape:", targets.numpy().shape, len(dataset_train))

inputs = keras.layers.Input(shape=(inputs.shape[1], inputs.shape[2]))
lstm_out = keras.layers.LSTM(8)(inputs)
outputs = keras.layers.Dense(1)(lstm_out)
model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.003), loss="mse")
model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])

path = os.path.join(os.environ["LETTERS"], "best.weights.h5")
es_callback = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=0, patience=5)
modelckpt_callback = keras.callbacks.ModelCheckpoint(
    monitor="val_loss", filepath=path, verbose=0, save_weights_only=True, save_best_only=True
)
history = model.fit(
    dataset_train,
    epochs=3,
    validation_data=dataset_val,
    callbacks=[es_callback, modelckpt_callback],
    verbose=0,
)
print(history.history["loss"], history.history["val_loss"])
model.load_weights(path)
for x, y in dataset_val.take(3):
    print(x[0][:, 1].numpy().tolist()[-2:], y[0].numpy().tolist(), model.predict(x, verbose=0)[0].tolist())
