"""What every layer takes, and other arguments that are seldom given, beside live Keras."""

import numpy as np
import pytest

import rnncore
from rnncore import Sequential, layers, metrics
from rnncore.layers import LSTM, Activation, Bidirectional, Dense, Dropout, Embedding, GlobalAveragePooling1D, Masking

PENALIZED = {  # a penalty on the output of one layer in the middle
    "Activation": {"activation": "tanh"},
    "Masking": {},
    "Reshape": {"target_shape": (6, 2)},
    "Permute": {"dims": (2, 1)},
    "Identity": {},
    "LayerNormalization": {},
    "TimeDistributed": {},
    "Bidirectional": {},
}


@pytest.fixture(autouse=True)
def numpy_runs():
    rnncore.set_backend("numpy")


def penalized(library, name, options):
    made = library.layers
    inner = {"TimeDistributed": lambda: made.Dense(2), "Bidirectional": lambda: made.LSTM(2, return_sequences=True)}
    given = [inner[name]()] if name in inner else []
    middle = getattr(made, name)(*given, **options, activity_regularizer=library.regularizers.L1L2(0.3, 0.2))
    return library.Sequential(
        [library.Input((3, 4)), made.Dense(4, activation="tanh"), middle, made.Flatten(), made.Dense(1)]
    )


@pytest.mark.keras
@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("name", PENALIZED)
def test_activity_regularizer_as_keras(name):
    from keras_reference import assert_close, frameworks

    keras, _ = frameworks()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3, 4)).astype("float32"), rng.normal(size=(5, 1)).astype("float32")
    models = [penalized(library, name, PENALIZED[name]) for library in (rnncore, keras)]
    models[1].set_weights(models[0].get_weights())
    for model, library in zip(models, (rnncore, keras), strict=True):
        model.compile(library.optimizers.SGD(0.1), "mse", run_eagerly=True)
    losses = [[float(model.train_on_batch(x, y)) for _ in range(2)] for model in models]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for mine, theirs in zip(*(model.get_weights() for model in models), strict=True):
        assert_close(mine, theirs, 1e-4, name)


@pytest.mark.parametrize(
    "layer",
    [Activation("relu", trainable=False), Dropout(0.1, trainable=False), Masking(trainable=False)]
    + [layers.Flatten(trainable=False), Bidirectional(LSTM(2), trainable=False), Dense(2, trainable=False)],
    ids=lambda layer: type(layer).__name__,
)
def test_every_layer_takes_trainable_and_keeps_it(layer):
    assert not layer.trainable
    again = Sequential.from_config(Sequential([layer]).get_config()).layers[0]
    assert not again.trainable
    assert not layer.clone().trainable
    with pytest.raises(TypeError, match="trainable is 'no'"):
        type(layer).from_config({**layer.get_config(), "trainable": "no"})


def test_a_layer_of_ones_own_takes_them_too():
    class Twice(layers.Layer):
        def __init__(self, times=2):
            super().__init__()
            self.times = times

        def call(self, x, mask=None, training=False):
            return self.times * x

        def call_backward(self, dy):
            return self.times * dy

    layer = Twice(3, trainable=False, activity_regularizer="l2")
    assert (layer.times, layer.trainable) == (3, False)
    layer.build((None, 2))
    layer(np.ones((4, 2)))
    assert layer.penalty() == pytest.approx(0.01 * 8 * 9 / 4)


def test_weights_of_an_embedding():
    table = np.arange(6.0).reshape(3, 2)
    for given in (table, [table], table.tolist()):
        layer = Embedding(3, 2, weights=given, trainable=False)
        assert layer([[2, 0]]).tolist() == [[[4, 5], [0, 1]]]
        assert "weights" not in layer.get_config()
    with pytest.raises(ValueError, match=r"weights\[0\] has shape \(3, 2\); expected \(4, 2\)"):
        Embedding(4, 2, weights=table)


@pytest.mark.keras
def test_options_of_metrics_as_keras():
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), (3, 5)).astype("float32")
    ids, weight = rng.integers(-1, 4, (3, 5)), rng.uniform(0.5, 2, (3, 5)).astype("float32")
    hot, bits = np.eye(4, dtype="float32")[ids], rng.integers(0, 2, (3, 5, 4)).astype("float32")
    for name, options, y in (
        ("BinaryCrossentropy", {"label_smoothing": 0.2}, bits),
        ("CategoricalCrossentropy", {"label_smoothing": 0.3, "axis": -1}, hot),
        ("SparseCategoricalCrossentropy", {"ignore_class": -1}, ids),
        ("CosineSimilarity", {"axis": -1}, hot),
    ):
        found = []
        for library in (rnncore, keras):
            metric = getattr(library.metrics, name)(**options)
            for _ in range(2):
                metric.update_state(y, p, sample_weight=weight)
            found.append(float(metric.result()))
        assert found[0] == pytest.approx(found[1], rel=1e-5), name


def test_an_ignored_class_is_left_out_with_and_without_a_mask():
    p = np.full((1, 4, 2), 0.5)
    p[0, 2] = [0.9, 0.1]
    metric, loss = metrics.SparseCategoricalCrossentropy(ignore_class=1), rnncore.losses.SparseCategoricalCrossentropy
    metric.update_state([[0, 1, 0, 0]], p)
    assert metric.result() == pytest.approx(loss(ignore_class=1)([[0, 1, 0, 0]], p))
    metric.reset_state()
    metric.update_state([[0, 1, 0, 0]], p, mask=[[False, True, True, False]])
    assert metric.result() == pytest.approx(-np.log(0.9))


@pytest.mark.keras
@pytest.mark.parametrize("name", ["GlorotUniform", "HeNormal", "LecunUniform"])
def test_fans_by_axes_as_keras(name):
    keras = pytest.importorskip("keras")
    shape, axes = (6, 40, 50), {"input_axes": [0, 2], "output_axes": [1]}
    ours, theirs = (getattr(library.initializers, name)(seed=0, **axes) for library in (rnncore, keras))
    assert np.std(ours(shape)) == pytest.approx(np.std(np.asarray(theirs(shape))), rel=0.02)
    with pytest.raises(ValueError, match="has 2 axes"):
        ours((3, 4))
    assert GlobalAveragePooling1D(trainable=True).trainable
