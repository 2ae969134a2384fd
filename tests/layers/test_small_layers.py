"""Pooling, noise, normalization and other shapes: gradients, masks, Keras, dtypes, sizes, errors."""

import inspect

import numpy as np
import pytest
from cases import PATTERNS, SEED, masks, randomize

from rnncore import Sequential, gradcheck
from rnncore.layers import LSTM, Dense, Embedding
from rnncore.layers.activation_layers import ELU, LeakyReLU, ReLU, Softmax
from rnncore.layers.convolution import Conv1D
from rnncore.layers.core import ActivityRegularization, Identity
from rnncore.layers.noise import GaussianDropout, GaussianNoise, SpatialDropout1D
from rnncore.layers.normalization import BatchNormalization, LayerNormalization
from rnncore.layers.pooling import AveragePooling1D, GlobalAveragePooling1D, GlobalMaxPooling1D, MaxPooling1D
from rnncore.layers.reshaping import Flatten, Permute, RepeatVector, Reshape

LAYERS = {
    "average": (GlobalAveragePooling1D, {}),
    "average, one step": (GlobalAveragePooling1D, {"keepdims": True}),
    "maximum": (GlobalMaxPooling1D, {}),
    "maximum, one step": (GlobalMaxPooling1D, {"keepdims": True}),
    "flat": (Flatten, {}),
    "another shape": (Reshape, {"target_shape": [-1, 1]}),
    "a shape of one axis": (Reshape, {"target_shape": [-1]}),
    "other axes": (Permute, {"dims": [2, 1]}),
    "as it is": (Identity, {}),
    "with a penalty": (ActivityRegularization, {"l1": 0.125, "l2": 0.25}),
    "normal": (LayerNormalization, {}),
    "normal, no gamma": (LayerNormalization, {"scale": False, "epsilon": 0.1}),
    "normal, no beta": (LayerNormalization, {"center": False}),
    "normal, bare": (LayerNormalization, {"center": False, "scale": False}),
    "normal, held": (LayerNormalization, {"gamma_regularizer": "l2", "beta_regularizer": "l1"}),
    "normal over steps": (LayerNormalization, {"axis": 1}),
    "normal over both": (LayerNormalization, {"axis": [2, 1]}),
    "features dropped": (SpatialDropout1D, {"rate": 0.4, "seed": 1}),
    "noise": (GaussianNoise, {"stddev": 0.4, "seed": 1}),
    "noisy factors": (GaussianDropout, {"rate": 0.4, "seed": 1}),
}
POOLING = [GlobalAveragePooling1D, GlobalMaxPooling1D]
SHAPES = {"odd": (3, 5, 4), "T = 1": (3, 1, 4), "B = 1": (1, 5, 4), "D = 2": (2, 3, 2), "one step": (1, 1, 3)}

each = pytest.mark.parametrize(("kind", "options"), LAYERS.values(), ids=LAYERS)
# Every kind of mask for the layers that read it; for the others one, which must change nothing.
MASKED = {
    f"{name}, {pattern}": (*LAYERS[name], pattern)
    for name, (kind, _) in LAYERS.items()
    for pattern in (PATTERNS[::-1] if kind in POOLING else ["holes"])
}
each_masked = pytest.mark.parametrize(("kind", "options", "pattern"), MASKED.values(), ids=MASKED)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def made(kind, options, shape, dtype="float64"):
    """Return a built layer with random weights, x and dy."""
    rng = np.random.default_rng(SEED)
    layer = kind(**options, dtype=dtype)
    x = rng.standard_normal(shape).astype(dtype)
    y = layer(x)
    randomize(layer, rng, 1.0)
    return layer, x, rng.standard_normal(y.shape).astype(dtype)


def mask_of(pattern, shape):
    return masks(pattern, *shape[:2], np.random.default_rng(SEED + 1))


# --- gradients and shapes --------------------------------------------------------------------------------------------


@pytest.mark.quick(60)
@each_masked
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients(kind, options, shape, pattern):
    layer, x, _ = made(kind, options, shape)
    report = gradcheck.check_layer(layer, x, mask_of(pattern, shape), training=True)
    assert [row.name for row in report.rows] == [*layer.weight_names, "x"]
    assert report.worst < 1e-7, str(report)


@pytest.mark.parametrize(
    ("kind", "options", "pattern"),
    [case for case in MASKED.values() if case[0] is not ActivityRegularization and "gamma_regularizer" not in case[1]],
)
def test_gradients_by_complex_step(kind, options, pattern):
    layer, x, _ = made(kind, options, SHAPES["odd"])
    report = gradcheck.check_layer(layer, x, mask_of(pattern, x.shape), training=True, method="complex")
    assert report.worst < 1e-12, str(report)


@each
@both_dtypes
@pytest.mark.parametrize("training", [False, True])
def test_dtypes_shapes_and_repetition(kind, options, dtype, training):
    layer, x, dy = made(kind, options, SHAPES["odd"], dtype)
    y = layer(x, mask=mask_of("holes", x.shape), training=training)
    dx = layer.backward(dy)
    assert y.dtype == dx.dtype == dtype
    assert all(g.dtype == dtype for g in layer.get_gradients())
    assert y.shape == layer.compute_output_shape(x.shape)
    assert dx.shape == x.shape
    assert [g.shape for g in layer.get_gradients()] == [w.shape for w in layer.weights]
    np.testing.assert_array_equal(layer.backward(dy), dx)
    assert layer.compute_output_shape((None, 5, 4)) == (None, *y.shape[1:])


@each
def test_config_and_back(kind, options):
    layer = kind(**options)
    again = kind.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    config = layer.get_config()
    assert all(config[name] == value for name, value in options.items() if not isinstance(value, str))


def test_flatten_ranks():
    for shape, flat in (((3,), (3, 1)), ((3, 4), (3, 4)), ((2, 3, 4, 5), (2, 60))):
        layer, x = Flatten(), np.ones(shape, "float32")
        assert layer(x).shape == flat == layer.compute_output_shape(shape)
        assert layer.backward(np.ones(flat)).shape == shape
    assert Flatten().compute_output_shape((None, None, 3)) == (None, None)
    assert Flatten().compute_mask(np.ones((2, 3, 4)), np.ones((2, 3), bool)) is None


def test_a_vector_repeated():
    layer, x = RepeatVector(3, dtype="float64"), np.random.default_rng(SEED).standard_normal((4, 2))
    np.testing.assert_array_equal(layer(x), np.stack([x] * 3, axis=1))
    assert layer.compute_output_shape((None, 2)) == (None, 3, 2)
    assert layer.compute_mask(x, np.ones(4, bool)) is None
    for method, limit in (("central", 1e-7), ("complex", 1e-12)):
        assert gradcheck.check_layer(layer, x, method=method).worst < limit


def test_other_shapes():
    x = np.arange(24.0, dtype="float32").reshape(2, 3, 4)
    for target in ([12], [2, 6], [6, -1], [-1, 2, 2]):
        np.testing.assert_array_equal(Reshape(target)(x), x.reshape(2, *target))
    assert Reshape((-1, 2)).compute_output_shape((None, None, 4)) == (None, None, 2)
    assert Reshape((6, 2)).compute_output_shape((None, None, 4)) == (None, 6, 2)
    np.testing.assert_array_equal(Permute((2, 1))(x), x.swapaxes(1, 2))
    np.testing.assert_array_equal(Permute((3, 1, 2))(x[None]), x[None].transpose(0, 3, 1, 2))


def test_constraints_of_normalization():
    layer = LayerNormalization(gamma_constraint="NonNeg", beta_constraint="UnitNorm")
    layer(np.ones((2, 4)))
    layer.set_weights([[-1, 2, -3, 4], [3, 0, 0, 4]])
    layer.constrain()
    np.testing.assert_allclose(layer.get_weights(), [[0, 2, 0, 4], [0.6, 0, 0, 0.8]], rtol=1e-6)


# --- windows ---------------------------------------------------------------------------------------------------------


def by_definition(x, kernel, strides, padding, dilation):
    """Return a convolution written out, with steps of zeros put at the ends."""
    rows, steps, features = x.shape
    span = (len(kernel) - 1) * dilation + 1
    beyond = {"valid": 0, "causal": span - 1, "same": max((-(-steps // strides) - 1) * strides + span - steps, 0)}
    before = {"same": beyond["same"] // 2}.get(padding, beyond[padding])
    padded = np.zeros((rows, steps + beyond[padding], features))
    padded[:, before : before + steps] = x
    begins = range(0, padded.shape[1] - span + 1, strides)
    return np.stack([sum(padded[:, n + k * dilation] @ kernel[k] for k in range(len(kernel))) for n in begins], axis=1)


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize(
    ("size", "strides", "dilation"), [(1, 1, 1), (3, 1, 1), (2, 3, 1), (4, 2, 1), (1, 5, 1), (2, 1, 5), (3, 1, 2)]
)
def test_convolution_by_definition(size, strides, dilation, padding):
    rng = np.random.default_rng(SEED)
    for steps in (6, 7, 11):
        x, kernel = rng.standard_normal((2, steps, 3)), rng.standard_normal((size, 3, 4))
        layer = Conv1D(4, size, strides, padding, dilation_rate=dilation, use_bias=False, dtype="float64")
        layer.build(x.shape)
        layer.set_weights([kernel])
        expected = by_definition(x, kernel, strides, padding, dilation)
        np.testing.assert_allclose(layer(x), expected, atol=1e-12)
        assert layer.compute_output_shape(x.shape) == expected.shape


def test_windows_of_any_size_take_no_more_than_the_steps():
    x = np.arange(6.0).reshape(1, 3, 2)
    assert MaxPooling1D(10**12, 1, "same")(x).tolist() == [[[4, 5]] * 3]
    assert AveragePooling1D(10**12, padding="same")(x).tolist() == [[[2, 3]]]
    causal = Conv1D(1, 2, padding="causal", dilation_rate=10**12, kernel_initializer="ones")
    assert causal(x).tolist() == [[[1], [5], [9]]]


@pytest.mark.parametrize("make", [lambda: Conv1D(2, 2), MaxPooling1D, lambda: AveragePooling1D(2)])
def test_a_mask_ends_at_windows_and_says_so(make):
    layer, x = make(), np.ones((2, 4, 3))
    with pytest.warns(UserWarning, match="the mask ends here, as in Keras"):
        layer(x, mask=[[1, 1, 1, 0]] * 2)
    layer(x, mask=np.ones((2, 4)))  # there is no padding: no word
    assert layer.compute_mask(x, np.ones((2, 4), bool)) is None
    with pytest.raises(
        ValueError, match="take their padding for data"
    ):  # "valid" is no value for what is behind the ends of rows
        Sequential([layer, Flatten()]).predict([x[0], x[1, :3]])


# --- the averages of a batch normalization ---------------------------------------------------------------------------


def test_averages_move_with_valid_steps_only():
    layer, x = BatchNormalization(momentum=0.75, dtype="float64"), np.array([[[1.0], [3.0], [99.0]]])
    layer(x, mask=[[1, 1, 0]], training=True)
    assert [layer.moving_mean.tolist(), layer.moving_variance.tolist()] == [[0.5], [1.0]]
    layer(x)
    layer.trainable = False
    y = layer(x, training=True)
    assert [layer.moving_mean.tolist(), layer.moving_variance.tolist()] == [[0.5], [1.0]]
    np.testing.assert_allclose(y, (x - 0.5) / np.sqrt(1.001))
    assert layer.trainable_weights == []


def test_a_refused_step_and_a_check_leave_the_averages():
    model = Sequential([BatchNormalization(), Dense(1)])
    model.compile("sgd", "mse")
    x = np.array([[1.0], [3.0]])
    model.fit(x, x, verbose=0)
    before = model.get_weights()
    assert before[2] != 0
    with pytest.raises(FloatingPointError, match=r"moving_variance of layer .* is not finite: inf at \(0,\), in this"):
        model.train_on_batch(1e30 * x, x)
    with pytest.raises(FloatingPointError, match="loss became"):
        model.train_on_batch(x, 1e30 * x)
    model.layers[1].trainable = False
    model.optimizer.build(model.trainable_weights)
    model.layers[1].trainable = True
    with pytest.raises(ValueError, match="array 2 is not one of the 2"):
        model.train_on_batch(x, x)
    gradcheck.check_layer(model.layers[0], x, training=True)
    np.testing.assert_equal(model.get_weights(), before)
    assert len(model.trainable_weights) == len(model.get_gradients()) == 4


def test_a_padded_batch_is_normalized_as_rows_without_padding():
    rows = [[3, 1, 2], [4], [2, 2]]
    models = [Sequential([Embedding(5, 3, mask_zero=True), BatchNormalization(), LSTM(2), Dense(1)]) for _ in "ab"]
    for model, padding in zip(models, (0, 4), strict=True):
        x = np.array([row + [0] * (3 - len(row) + padding) for row in rows])
        model(x)
        model.set_weights([np.full_like(w, 0.5) + 0.01 * np.arange(w.size).reshape(w.shape) for w in model.weights])
        model(x, training=True)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_loss_reads_what_goes_into_a_softmax():
    x, y = np.array([[0.0, 200.0, -300.0]]), np.array([2])
    for last in (Softmax(), Softmax(axis=[1])):
        model = Sequential([Identity(), last])
        model.compile("sgd", "sparse_categorical_crossentropy")
        assert model.evaluate(x, y, verbose=0) == pytest.approx(500)


# --- padding ---------------------------------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("kind", [*POOLING, LayerNormalization])
@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if pattern != "empty row"])
def test_padding_changes_nothing(kind, pattern, dtype):
    """Each row by itself, without its padding; and padding of any value."""
    limit = {"float32": 1e-6, "float64": 1e-14}[dtype]
    layer, x, dy = made(kind, {}, (4, 6, 3), dtype)
    mask = mask_of(pattern, x.shape)
    kept = np.ones(x.shape[:2], bool) if mask is None else mask
    x = np.where(kept[..., None], x, np.asarray(1e4, dtype))
    y = layer(x, mask=mask)
    dx = layer.backward(dy)
    pooled = kind in POOLING
    for n, row in enumerate(kept):
        alone = layer(x[n : n + 1, row])
        np.testing.assert_allclose(y[n] if pooled else y[n, row], alone[0], rtol=limit, atol=limit)
        dalone = layer.backward(dy[n : n + 1] if pooled else dy[n : n + 1, row])
        np.testing.assert_allclose(dx[n, row], dalone[0], rtol=limit, atol=limit)
        if pooled:
            assert not dx[n, ~row].any()


@pytest.mark.parametrize("kind", POOLING)
@pytest.mark.parametrize("keepdims", [False, True])
def test_nothing_but_padding(kind, keepdims):
    layer, x, dy = made(kind, {"keepdims": keepdims}, (3, 4, 2))
    mask = mask_of("empty row", x.shape)
    mask[1] = False
    y = layer(x, mask=mask)
    assert not y[1].any()
    assert not layer.backward(dy)[1].any()
    assert layer.compute_mask(x, mask) is None


def test_steps_with_the_same_maximum_share_its_gradient():
    layer = GlobalMaxPooling1D(dtype="float64")
    x = np.array([[[1.0], [3.0], [3.0], [3.0]]])
    layer(x, mask=[[1, 1, 0, 1]])
    np.testing.assert_array_equal(layer.backward([[2.0]]), [[[0], [1], [0], [1]]])


# --- noise -----------------------------------------------------------------------------------------------------------

NOISES = {
    "features dropped": (SpatialDropout1D, {"rate": 0.3}, 1, 0.3 / 0.7),
    "noise": (GaussianNoise, {"stddev": 0.5}, 1, 0.25),
    "noisy factors": (GaussianDropout, {"rate": 0.3}, 1, 0.3 / 0.7),
}
each_noise = pytest.mark.parametrize(("kind", "options", "mean", "variance"), NOISES.values(), ids=NOISES)


@each_noise
@both_dtypes
def test_statistics(kind, options, mean, variance, dtype):
    layer = kind(**options, seed=SEED, dtype=dtype)
    x = np.ones((200, 3, 100), dtype)
    y = layer(x, training=True)
    assert y.dtype == dtype
    assert y.mean() == pytest.approx(mean, abs=0.03)
    assert y.var() == pytest.approx(variance, abs=0.03)
    assert np.array_equal(y, y[:, :1] + 0 * y) == (kind is SpatialDropout1D)  # one draw for all steps
    assert not np.array_equal(layer(x, training=True), y)
    assert np.array_equal(kind(**options, seed=SEED, dtype=dtype)(x, training=True), y)


@each_noise
def test_only_in_training(kind, options, mean, variance):
    layer, x, dy = made(kind, options, (3, 4, 2), "float32")
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer.backward(dy), dy)
    still = kind(0.0)
    before = still.generator.bit_generator.state
    np.testing.assert_array_equal(still(x, training=True), x)
    assert still.generator.bit_generator.state == before
    assert layer.compute_mask(x, mask := np.ones((3, 4), bool)) is mask


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GlobalMaxPooling1D("channels_first"), "data_format is 'channels_first'"),
        (lambda: Flatten(data_format="last"), "data_format is 'last'"),
        (lambda: GlobalMaxPooling1D()(np.ones((2, 3))), "expected 3"),
        (lambda: RepeatVector(0), "n is 0; expected a whole number"),
        (lambda: RepeatVector(2)(np.ones((2, 3, 4))), "expected 2"),
        (lambda: Reshape((2, 0)), r"target_shape\[1\] is 0"),
        (lambda: Reshape((-1, 2, -1)), "expected -1 at most once"),
        (lambda: Reshape((5,))(np.ones((2, 3))), r"target_shape is \[5\]; x of shape \(2, 3\) does not fill it"),
        (lambda: Reshape((2, -1))(np.ones((2, 3))), "does not fill it"),
        (lambda: Permute((1, 3)), "dims is .1, 3.; expected the numbers from 1"),
        (lambda: Permute((2, 1))(np.ones((2, 3))), "expected 3"),
        (lambda: GaussianNoise(1.5), r"stddev is 1.5; expected a number in \[0, 1\]"),
        (lambda: GaussianDropout(1.0), r"rate is 1.0; expected a number in \[0, 1\)"),
        (lambda: SpatialDropout1D(-0.1), "rate is -0.1"),
        (lambda: SpatialDropout1D(0.1)(np.ones((2, 3))), "expected 3"),
        (lambda: LayerNormalization(axis="last"), "axis is 'last'"),
        (lambda: LayerNormalization(axis=[]), "axis is "),
        (lambda: LayerNormalization(epsilon=-1), "epsilon is -1"),
        (lambda: LayerNormalization(axis=0)(np.ones((2, 3))), "axis is 0"),
        (lambda: LayerNormalization(axis=2)(np.ones((2, 3))), "axis is 2"),
        (lambda: LayerNormalization(axis=[1, -1])(np.ones((2, 3))), "axis is"),
        (lambda: LayerNormalization(axis=1).build((None, None, 3)), "must be known"),
        (lambda: BatchNormalization(axis=[1, 2]), "axis is .1, 2."),
        (lambda: BatchNormalization(axis=0)(np.ones((2, 3))), "axis is 0"),
        (lambda: BatchNormalization(momentum=2), r"momentum is 2; expected a number in \[0, 1\]"),
        (lambda: BatchNormalization(renorm=True), "renorm is True"),
        (lambda: BatchNormalization().build((None, 3, None)), "must be known"),
        (lambda: Conv1D(2, (1, 2)), r"kernel_size is \(1, 2\)"),
        (lambda: Conv1D(2, 3, padding="full"), "padding: unknown padding 'full'"),
        (lambda: Conv1D(2, 3, strides=2, dilation_rate=2), "strides is 2 and dilation_rate 2"),
        (lambda: Conv1D(2, 3, groups=2), "groups is 2; expected 1"),
        (lambda: Conv1D(2, 3)(np.ones((2, 2, 4))), r"x has 2 steps in shape \(2, 2, 4\); a window spans 3"),
        (lambda: MaxPooling1D(3).check_shape((None, 2, 4)), "a window spans 3"),
        (lambda: AveragePooling1D(2, padding="causal"), "padding: unknown padding 'causal'"),
        (lambda: ReLU(negative_slope=-1), "negative_slope is -1"),
        (lambda: LeakyReLU(None), "negative_slope is None"),
        (lambda: ELU(alpha=np.nan), "alpha is nan"),
        (lambda: Softmax("last"), "axis is 'last'"),
        (lambda: Softmax(0)(np.ones((2, 3))), "axis is 0"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_other_sizes_than_built_for():
    layer = LayerNormalization(axis=1)
    layer(np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="the layer was built for"):
        layer(np.ones((2, 5, 4)))


# --- Keras -----------------------------------------------------------------------------------------------------------


@pytest.mark.keras
@each_masked
def test_equals_keras(kind, options, pattern):
    from keras_reference import FORWARD, GRADIENT, assert_close, frameworks

    keras, tf = frameworks()
    for dtype in FORWARD:
        layer, x, dy = made(kind, options, SHAPES["odd"], dtype)
        mask = mask_of(pattern, x.shape)
        theirs = getattr(keras.layers, kind.__name__)(**options, dtype=dtype)
        theirs.build(x.shape)
        theirs.set_weights(layer.get_weights())
        takes_mask = "mask" in inspect.signature(theirs.call).parameters
        if mask is not None and kind in POOLING:
            empty = ~mask.any(axis=1)
            mask = mask | empty[:, None]  # NaN in Keras
            if not takes_mask:  # the maximum: what Keras should be shown instead of padding
                x = np.where(mask[..., None], x, np.asarray(-1e3, dtype))
        given = {} if mask is None or not takes_mask else {"mask": mask}
        tensor = tf.constant(x)
        sources = [tensor, *(v.value for v in theirs.trainable_variables)]
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            expected = theirs(tensor, **given)
            loss = tf.reduce_sum(dy * expected) + sum(theirs.losses)
        gradients = tape.gradient(loss, sources, unconnected_gradients="zero")
        assert_close(layer(x, mask=mask), expected.numpy(), FORWARD[dtype], "y")
        ours = [layer.backward(dy), *layer.get_gradients()]
        for mine, its in zip(ours, gradients, strict=True):
            assert_close(mine, its.numpy(), GRADIENT[dtype], "gradient")
        assert layer.penalty() == pytest.approx(float(sum(theirs.losses)), rel=1e-5)
        assert tuple(theirs.compute_output_shape(x.shape)) == layer.compute_output_shape(x.shape)


@pytest.mark.keras
def test_a_vector_repeated_in_keras():
    from keras_reference import Case, assert_same

    assert_same(Case("RepeatVector", (4, 3), {"n": 5}))


@pytest.mark.keras
def test_ties_share_the_gradient_in_keras_too():
    from keras_reference import frameworks

    keras, tf = frameworks()
    x = tf.constant([[[1.0], [3.0], [2.0], [3.0]]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = keras.layers.GlobalMaxPooling1D()(x)
    np.testing.assert_array_equal(tape.gradient(y, x).numpy(), [[[0], [0.5], [0], [0.5]]])


def test_the_older_name_of_a_slope():
    with pytest.warns(UserWarning, match="negative_slope says it now"):
        assert LeakyReLU(alpha=0.1).get_config()["negative_slope"] == 0.1


KINDS = [Flatten, Reshape, Permute, RepeatVector, ActivityRegularization, BatchNormalization]
KINDS += [Conv1D, MaxPooling1D, AveragePooling1D, ReLU, ELU, Softmax]


@pytest.mark.keras
@pytest.mark.parametrize("kind", [*POOLING, *KINDS, LayerNormalization, SpatialDropout1D, GaussianNoise])
def test_arguments_and_defaults_are_those_of_keras(kind):
    from keras_reference import frameworks

    theirs = inspect.signature(getattr(frameworks()[0].layers, kind.__name__)).parameters
    for name, parameter in inspect.signature(kind).parameters.items():
        if name not in ("name", "dtype", "trainable", "activity_regularizer"):
            assert theirs[name].default == parameter.default, name
