"""Layers as users write them for Keras: `call` that takes what it likes, weights by keywords, layers in attributes."""

import contextlib

import numpy as np
import pytest

import rnncore
from rnncore import config, gradcheck

X = np.random.default_rng(0).normal(size=(4, 3, 5)).astype("float32")


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    rnncore.set_backend("numpy")


def classes(library):
    """Return layers of one's own, made of a library's."""
    layers = library.layers

    class Linear(layers.Layer):
        def __init__(self, units=3, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, input_shape):
            self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False, name="seen")
            self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True)
            self.b = self.add_weight(
                shape=(self.units,), initializer=library.initializers.Constant(0.5), regularizer="l2", name="bias"
            )

        def call(self, inputs):
            return inputs @ self.w + self.b

    class Noisy(layers.Layer):
        def call(self, inputs, training=None):
            return inputs + 1.0 if training else inputs * 2.0

    class Masked(layers.Layer):
        def call(self, inputs, mask=None):
            return inputs[:, 0] if mask is None else inputs[:, 1]

    class Block(layers.Layer):
        def __init__(self, hidden=4, **kwargs):
            super().__init__(**kwargs)
            self.hidden = hidden
            self.first = Linear(hidden)
            self.others = [layers.Dense(2, activation="tanh"), layers.Dropout(0.5)]

        def call(self, inputs):
            x = self.first(inputs)
            for layer in self.others:
                x = layer(x)
            return x

    return Linear, Noisy, Masked, Block


def model_of(library):
    Linear, Noisy, _, Block = classes(library)
    layers = library.layers
    rows = [library.Input((None, 5)), layers.GRU(3, return_sequences=True), Linear(4), Noisy(), Block(), layers.LSTM(2)]
    return library.Sequential(rows)


def test_predict_and_shapes():
    model = model_of(rnncore)
    assert [weight.shape for weight in model.layers[1].get_weights()] == [(3, 4), (4,), ()]
    assert (model.layers[1].weight_names, len(model.layers[1].trainable_weights)) == (["w", "bias", "seen"], 2)
    assert model.layers[1].compute_output_shape((None, 7, 3)) == (None, 7, 4)
    assert len(model.layers[3].get_weights()) == 5
    assert model.predict(X).shape == (4, 2) and model.predict(X).dtype == np.float32
    model.compile("adam", "mse")
    assert model.evaluate(X, np.ones((4, 2)), verbose=0) > 0
    again = rnncore.Sequential.from_config(model.get_config(), {cls.__name__: cls for cls in classes(rnncore)})
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_call_gets_what_it_takes():
    _, Noisy, Masked, _ = classes(rnncore)
    np.testing.assert_array_equal(Noisy()(X, training=True), X + 1)
    np.testing.assert_array_equal(Noisy()(X), X * 2)
    np.testing.assert_array_equal(Masked()(X, mask=np.ones((4, 3), bool)), X[:, 1])
    np.testing.assert_array_equal(Masked()(X), X[:, 0])

    class Anything(rnncore.layers.Layer):
        def call(self, x, **given):
            return x * len(given)

    np.testing.assert_array_equal(Anything()(X), X * 2)


def test_fit_asks_for_the_way_back():
    model = model_of(rnncore)
    model.compile("adam", "mse")
    before = model.get_weights()
    message = (
        r"^linear.*: Linear has no backward pass.*define `def call_backward\(self, dy\)`: from dy, dL/d\(output\), "
        r"put self.gradients\['w'\] = dL/d\(w\), self.gradients\['bias'\] = dL/d\(bias\), and return dL/dx"
    )
    with pytest.raises(NotImplementedError, match=message):
        model.fit(X, np.ones((4, 2)), verbose=0)
    for mine, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    _, _, _, Block = classes(rnncore)
    layer = Block()
    layer(X)
    with pytest.raises(NotImplementedError, match="go back through its layers by their `backward`, return dL/dx"):
        layer.backward(np.ones((4, 3, 2)))


class Linear(classes(rnncore)[0]):
    def call(self, inputs):
        self.x = inputs
        return super().call(inputs)

    def call_backward(self, dy):
        flat = dy.reshape(-1, self.units)
        self.gradients = {"w": self.x.reshape(len(flat), -1).T @ flat, "bias": flat.sum(axis=0)}
        return dy @ self.w.T


class Block(rnncore.layers.Layer):
    """With its own way back through its layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Linear(4), rnncore.layers.LSTM(2)

    def call(self, inputs, mask=None):
        return self.second(self.first(inputs), mask=mask)

    def call_backward(self, dy):
        return self.first.backward(self.second.backward(dy))


def test_the_way_back_is_checked():
    for layer in (Linear(3), Block()):
        assert gradcheck.check_layer(layer, X).worst < 1e-7
    model = rnncore.Sequential([Block(), rnncore.layers.Dense(1)])
    model.compile("sgd", "mse")
    losses = model.fit(X, np.ones((4, 1)), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert float(model.layers[0].first.seen) == 0
    assert gradcheck.check_model(model, X, np.ones((4, 1))).worst < 1e-6


def test_what_is_refused():
    layer = rnncore.layers.Identity()
    with pytest.raises(
        TypeError, match=r"identity.*: add_weight: shape is 'w'; the name of a weight is said as name='w'"
    ):
        layer.add_weight("w", (3,))
    for name in ("weights", "name", "call"):
        with pytest.raises(ValueError, match=f"add_weight: name is '{name}'; the layer has that already"):
            layer.add_weight((3,), name=name)
    with pytest.raises(ValueError, match="unknown initializer 'glorot'"):
        layer.add_weight((3,), "glorot")
    with pytest.raises(ValueError, match="dtype is 'int32'; allowed: 'float32', 'float64'"):
        layer.add_weight((3,), dtype="int32")
    assert layer.add_weight((2,), "ones", "float64", name="w").dtype == np.float64

    class Sixth(rnncore.layers.Layer):
        def call(self, x):
            return x[:, 5]

    message = r"sixth: call fails for zeros of shape \(2, 3, 5\), .*: index 5 is out of bounds.*compute_output_shape"
    with pytest.raises(ValueError, match=message):
        rnncore.Sequential([rnncore.Input((3, 5)), Sixth(), rnncore.layers.Dense(1)])

    class Forgetful(rnncore.layers.Layer):
        def __init__(self, hidden):
            super().__init__()

    with pytest.raises(TypeError, match="Forgetful does not keep hidden, an argument of its constructor"):
        Forgetful(3).get_config()


def test_weights_that_the_constructor_makes():
    class Table(rnncore.layers.Layer):
        def __init__(self, size):
            super().__init__()
            self.size = size
            self.total = self.add_weight(shape=(size,), initializer="ones", trainable=False)

        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1], self.size))

        def call(self, inputs):
            return inputs @ self.w + self.total

    layer = Table(2)
    assert (layer.weight_names, layer.trainable_weights) == (["total"], [])
    for _ in range(2):
        layer.build((None, 5))
        assert layer.weight_names == ["w", "total"]
    assert [weight.shape for weight in layer.trainable_weights] == [(5, 2)]
    assert layer(X).shape == (4, 3, 2)
    table = rnncore.layers.Embedding(3, 2, weights=np.ones((3, 2)))  # which is built by the constructor
    table.build((None,))
    assert (table.weight_names, table.embeddings.shape) == (["embeddings"], (3, 2))


def test_asking_for_the_shape_leaves_the_last_call():
    layer = Linear(2)
    x = X[:3]  # as many rows as the shape is asked with
    y = layer(x)
    layer.backward(np.ones_like(y))
    gradients = layer.get_gradients()
    layer(x)
    assert layer.compute_output_shape(x.shape) == (3, 3, 2)
    layer.backward(np.ones_like(y))
    for mine, other in zip(layer.get_gradients(), gradients, strict=True):
        np.testing.assert_array_equal(mine, other)

    class Remembering(rnncore.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = rnncore.layers.LSTM(2, stateful=True)

        def call(self, inputs):
            return self.inner(inputs)

    model = rnncore.Sequential([rnncore.Input((3, 5)), Remembering(), rnncore.layers.Dense(1)])
    model(X)
    before = model.layers[0].inner.states
    assert model.layers[0].compute_output_shape((None, 7, 5)) == (None, 2)
    np.testing.assert_array_equal(model.layers[0].inner.states, before)


def test_a_refused_shape_builds_no_layer():
    model = rnncore.Sequential([Linear(4), rnncore.layers.LSTM(2)])
    with pytest.raises(ValueError, match="2 axes; expected 3"):
        model(X[:, 0, :4])
    assert model(X).shape == (4, 2)


def test_layers_in_all_attributes_are_parts():
    class Parts(rnncore.layers.Layer):
        def __init__(self):
            super().__init__()
            self._hidden = rnncore.layers.Dense(3, name="a{b}")
            self.by_name = {"last": rnncore.layers.Dense(2)}

        def call(self, inputs):
            return self.by_name["last"](self._hidden(inputs))

        def call_backward(self, dy):
            return self._hidden.backward(self.by_name["last"].backward(dy))

    layer = Parts()
    layer.backward(np.ones_like(layer(X)))
    assert layer.weight_names[:2] == ["a{b}/kernel", "a{b}/bias"]
    assert [*layer.gradients] == layer.weight_names and len(layer.get_gradients()) == 4


def test_a_layer_is_part_of_another_once():
    class Tied(rnncore.layers.Layer):
        def __init__(self, other):
            super().__init__()
            self.other = other

        def call(self, inputs):
            return self.other(inputs)

    dense, cell = rnncore.layers.Dense(5, name="dense"), rnncore.layers.LSTMCell(5, name="cell")
    message = "the layer '{}' is part of it twice, and goes back through its last call only; make another one"
    with pytest.raises(ValueError, match=message.format("dense")):
        rnncore.Sequential([rnncore.Input((3, 5)), dense, Tied(dense)])
    with pytest.raises(ValueError, match=message.format("cell")):
        rnncore.layers.RNN([cell, cell])(X)


def test_a_way_back_that_returns_nothing():
    class Silent(Linear):
        def call_backward(self, dy):
            super().call_backward(dy)

    model = rnncore.Sequential([rnncore.layers.LSTM(3), Silent(2), rnncore.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"silent.*: call_backward returned None; expected the gradient of x"):
        model.fit(X, np.ones((4, 1)), verbose=0)


def test_a_weight_keeps_the_name_that_it_was_given():
    class Scale(rnncore.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(input_shape[-1],), name="variable_scale")

        def call(self, inputs):
            return inputs * self.scale

    layer = Scale()
    layer(X)
    assert layer.weight_names == ["variable_scale"]


def test_what_a_constructor_hands_on_is_kept():
    class Weighted(rnncore.losses.Loss):
        def __init__(self, weight, **kwargs):
            super().__init__(**kwargs)
            self.weight = weight

    class Lost(rnncore.layers.Layer):
        def __init__(self, **options):
            super().__init__()

    class Bent(rnncore.layers.Dense):
        def __init__(self, size, **kwargs):
            super().__init__(units=size, **kwargs)
            self.size = self.kept = size

    layer = Bent(3, activation="relu", activity_regularizer="l2", autocast=True)
    for again in (Bent.from_config(layer.get_config()), layer.clone()):
        assert (again.activation.name, again.units) == ("relu", 3)
        assert isinstance(again.activity_regularizer, rnncore.regularizers.L2)
    assert repr(layer) == "Bent(3, activation='relu', activity_regularizer=L2())"
    assert Weighted(2, reduction="sum").clone().reduction == "sum"
    with pytest.raises(TypeError, match="Lost does not keep alpha, an argument of its constructor"):
        Lost(alpha=1).get_config()


def test_functions_and_arrays_as_initializers():
    layer = rnncore.layers.Dense(
        2, kernel_initializer=lambda shape, dtype=None: np.full(shape, 3.0), bias_initializer=np.array([1.0, 2.0])
    )
    assert layer(np.ones((1, 2))).tolist() == [[7, 8]]
    with pytest.raises(ValueError, match=r"gave an array of shape \(\); expected \(3, 2\)"):
        rnncore.layers.Dense(2, kernel_initializer=lambda shape: 1.0)(np.ones((1, 3)))


@pytest.mark.keras
def test_as_keras():
    import keras

    ours, theirs = model_of(rnncore), model_of(keras)
    assert [weight.shape for weight in ours.get_weights()] == [weight.shape for weight in theirs.get_weights()]
    assert [weight.shape for weight in ours.trainable_weights] == [w.shape for w in theirs.trainable_weights]
    assert (ours.output_shape, ours.count_params()) == (theirs.output_shape, theirs.count_params())
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X, verbose=0), atol=1e-6)
    ours.compile("sgd", "mse")
    theirs.compile("sgd", "mse")
    losses = [model.evaluate(X, np.ones((4, 2)), verbose=0) for model in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_call_of_ones_own_beside_an_inherited_backward_pass_is_told_of(monkeypatch):
    monkeypatch.setattr(config, "_said", set())

    class Doubled(rnncore.layers.Dense):
        def call(self, x, mask=None, training=False):
            return 2 * super().call(x)

    class Right(Doubled):
        def call_backward(self, dy):
            return super().call_backward(2 * dy)

    x, y = np.ones((4, 3)), np.ones((4, 2))
    for made in (Doubled, Right):
        model = rnncore.Sequential([made(2)])
        model.compile("sgd", "mse")
        told = pytest.warns(UserWarning, match="Doubled has a `call` of its own and the backward pass of Dense: ")
        with told if made is Doubled else contextlib.nullcontext():
            model.fit(x, y, verbose=0)
    assert rnncore.gradcheck.check_layer(Right(2), x, verbose=0).ok
