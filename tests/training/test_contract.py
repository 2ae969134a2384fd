"""What a class needs to be trained: that which `Trainer` says, and nothing else of `Sequential`."""

import numpy as np

from rnncore import config
from rnncore.callbacks import BackupAndRestore
from rnncore.gradcheck import check_model
from rnncore.layers import Dense
from rnncore.training import Trainer


class Residual(Trainer):
    """``sigmoid(output(x + tanh(hidden(x))))``, which no row of layers is."""

    def __init__(self, units, name=None, dtype="float32"):
        super().__init__(name)
        self.units, self.dtype = units, dtype
        self.input_layer = Dense(units, "tanh", dtype=dtype)
        self.output_layer = Dense(1, "sigmoid", dtype=dtype)

    def children(self):
        return [self.input_layer, self.output_layer]

    def build(self, input_shape):
        for layer in self.children():
            layer.ensure_built(input_shape)

    def call(self, x, mask=None, training=False):
        return self.output_layer.forward(x + self.input_layer.forward(x))

    def call_backward(self, dy, from_logits=False):
        ds = self.output_layer.pull_back(dy, self.output_layer.backward_from_logits if from_logits else None)
        return ds + self.input_layer.pull_back(ds)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


def test_a_class_of_ones_own_is_trained(tmp_path):
    config.set_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 3))
    y = (x.sum(axis=1, keepdims=True) > 0).astype(float)
    model = Residual(3)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"], weighted_metrics=["mse"])
    history = model.fit(x, y, epochs=5, verbose=0, validation_split=0.25, callbacks=[BackupAndRestore(tmp_path)])
    losses = history.history["loss"]
    assert losses == sorted(losses, reverse=True) and "val_mse" in history.history
    before = model.evaluate(x, y, verbose=0)[0]
    assert model.train_on_batch(x, y, return_dict=True)["loss"] == np.float64(before)
    assert model.evaluate(x, y, verbose=0)[0] < before
    assert model.predict(x).shape == (32, 1)


def test_its_gradients_are_checked():
    model = Residual(2, dtype="float64")
    model.compile(loss="binary_crossentropy")
    rng = np.random.default_rng(0)
    assert check_model(model, rng.standard_normal((4, 2)), rng.integers(0, 2, (4, 1)))
