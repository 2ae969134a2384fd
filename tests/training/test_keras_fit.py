"""What fit, evaluate, predict and the single batches say, beside Keras's: same start, same order, same numbers."""

import math
import warnings

import numpy as np
import pytest
from cases import RUN_SEED, few_at_first
from keras_reference import assert_close, frameworks, pair

from rnncore import losses
from rnncore.callbacks import Callback

pytestmark = pytest.mark.keras

V, T, N, SIZE = 9, 6, 22, 4
L2 = {"class_name": "L2", "config": {"l2": 1 / 64}}
WORDS = (
    "Embedding",
    {"input_dim": V, "output_dim": 4, "mask_zero": True, "embeddings_regularizer": ("L2", {"l2": 1 / 64})},
)
PENALTY = {"kernel_regularizer": ("L2", {"l2": 1 / 32})}
# By kind: the layers after the words, the loss, metrics, what y is like, and the shape of the sample weights.
KINDS = {
    "binary": (
        [("LSTM", {"units": 3, **PENALTY}), ("Dense", {"units": 1, "activation": "sigmoid", **PENALTY})],
        "binary_crossentropy",
        ["accuracy", "mse"],
        lambda rng: rng.integers(0, 2, N),
        (N,),
    ),
    "sparse": (
        [
            ("GRU", {"units": 3, "recurrent_regularizer": ("L2", {"l2": 1 / 32})}),
            ("Dense", {"units": 4, "activation": "softmax"}),
        ],
        "sparse_categorical_crossentropy",
        ["accuracy", "sparse_top_k_categorical_accuracy"],
        lambda rng: rng.integers(0, 4, N),
        (N,),
    ),
    "one-hot": (
        [("SimpleRNN", {"units": 3, **PENALTY}), ("Dense", {"units": 4, "activation": "softmax"})],
        "categorical_crossentropy",
        ["accuracy", "categorical_crossentropy"],
        lambda rng: np.eye(4)[rng.integers(0, 4, N)],
        (N,),
    ),
    "steps": (
        [("LSTM", {"units": 3, "return_sequences": True, **PENALTY}), ("Dense", {"units": 4, "activation": "softmax"})],
        "sparse_categorical_crossentropy",
        ["accuracy", "sparse_categorical_crossentropy"],
        lambda rng: rng.integers(0, 4, (N, T)),
        (N, T),
    ),
    "binary steps": (
        [("LSTM", {"units": 3, "return_sequences": True}), ("Dense", {"units": 1, "activation": "sigmoid", **PENALTY})],
        "binary_crossentropy",
        ["accuracy", "mae"],
        lambda rng: rng.integers(0, 2, (N, T, 1)),
        (N, T),
    ),
}


def models(kind, weighted=True, optimizer="adam"):
    """Return [ours, Keras's] of a kind, compiled, with the same weights."""
    rows, loss, metrics, _, _ = KINDS[kind]
    both = pair([WORDS, *rows], (None, T))
    for model in both:
        model.compile(optimizer, loss, metrics=metrics, weighted_metrics=metrics if weighted else None)
    return both


def data(kind, seed=3):
    """Return x, y and sample weights."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, V, (N, T))
    x[np.arange(T) >= rng.integers(1, T + 1, N)[:, None]] = 0
    *_, targets, shape = KINDS[kind]
    return x, targets(rng).astype("float32"), rng.uniform(0.2, 2, shape).astype("float32")


def batches(*arrays, size=SIZE):
    return [tuple(array[first : first + size] for array in arrays) for first in range(0, len(arrays[0]), size)]


def made(*arrays):
    """Return a data set for Keras, which both take."""

    class Batches(frameworks()[0].utils.PyDataset):
        def __len__(self):
            return math.ceil(len(arrays[0]) / SIZE)

        def __getitem__(self, index):
            return batches(*arrays)[index]

    return Batches()


def assert_same_logs(ours, theirs, limit=1e-5):
    """Compare two dicts of values by name, their order too."""
    assert list(ours) == list(theirs)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=limit, atol=limit, err_msg=name)


def assert_same_weights(ours, theirs):
    for n, (mine, other) in enumerate(zip(ours.get_weights(), theirs.get_weights(), strict=True)):
        assert_close(mine, other, 1e-4, f"weight {n}")


GIVEN = ["arrays", "generator", "PyDataset"]
SOONER = {("steps", "arrays"), ("sparse", "generator")}


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        pytest.param(kind, given, marks=() if (kind, given) in SOONER else pytest.mark.slow)
        for kind in KINDS
        for given in GIVEN
    ],
)
def test_history(kind, given):
    ours, theirs = models(kind)
    x, y, w = data(kind)
    options = {"epochs": 2, "shuffle": False, "verbose": 0}
    validation = tuple(array[:7] for array in data(kind, 4))
    for model in (ours, theirs):
        if given == "arrays":
            what = {"x": x, "y": y, "sample_weight": w, "batch_size": SIZE, "validation_data": validation}
            what |= {"validation_batch_size": 3}
        elif given == "generator":
            what = {
                "x": (batch for _ in range(2) for batch in batches(x, y, w)),
                "steps_per_epoch": math.ceil(N / SIZE),
            }
            what |= {"validation_data": made(*validation)}
        else:
            what = {"x": made(x, y, w), "validation_data": validation, "validation_batch_size": SIZE}
        model.fit(**what, **options)
    assert ours.history.epoch == [0, 1]
    assert_same_logs(ours.history.history, theirs.history.history)
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize(
    "options",
    few_at_first(
        [
            {"validation_split": 0.3, "validation_freq": 2},
            {"validation_split": 0.3, "validation_freq": [1, 3], "validation_steps": 1},
            {"steps_per_epoch": 2},
            {"steps_per_epoch": 4, "batch_size": None},
            {"steps_per_epoch": 4, "validation_split": 0.25, "batch_size": None, "initial_epoch": 1},
            {"class_weight": {0: 0.5, 1: 2, 7: 3.0}},
        ],
        1,
    ),
)
def test_options_of_fit(options):
    ours, theirs = models("binary")
    x, y, _ = data("binary")
    for model in (ours, theirs):
        model.fit(x, y, **{"epochs": 3, "shuffle": False, "batch_size": SIZE, "verbose": 0, **options})
    assert_same_logs(ours.history.history, theirs.history.history)
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("kind", few_at_first(["sparse", "binary", "one-hot"], 1))
def test_class_weights(kind):
    ours, theirs = models(kind)
    x, y, w = data(kind)
    weights = {0: 0.25, 1: 1.5, 3: 3}
    classes = y.argmax(axis=-1) if y.ndim > 1 else y
    for model in (ours, theirs):
        model.fit(made(x, y), class_weight=weights, shuffle=False, verbose=0)
    assert_same_logs(ours.history.history, theirs.history.history)
    assert_same_logs(
        ours.train_on_batch(x, y, class_weight=weights, return_dict=True),
        theirs.train_on_batch(x, y, class_weight=weights, return_dict=True),
    )
    both = w * np.array([weights.get(int(number), 1.0) for number in classes])  # Keras refuses the two together
    ours.fit(x, y, class_weight=weights, sample_weight=w, shuffle=False, verbose=0)
    theirs.fit(x, y, sample_weight=both, shuffle=False, verbose=0)
    assert_same_logs(ours.history.history, theirs.history.history)
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("kind", few_at_first(["steps", "one-hot"], 1))
def test_evaluate_predict_and_single_batches(kind):
    ours, theirs = models(kind)
    x, y, w = data(kind)
    steps = {"steps": 3, "batch_size": 5, "verbose": 0}
    for call in (
        lambda model: model.evaluate(x, y, sample_weight=w, batch_size=5, verbose=0, return_dict=True),
        lambda model: model.evaluate(x, y, return_dict=True, **steps),
        lambda model: model.evaluate(made(x, y), verbose=0, return_dict=True),
        lambda model: model.test_on_batch(x, y, w, return_dict=True),
        lambda model: model.train_on_batch(x, y, w, return_dict=True),
        lambda model: model.train_on_batch(x, y, return_dict=True),
    ):
        assert_same_logs(call(ours), call(theirs))
    for call in (
        lambda model: model.predict(x, **steps),
        lambda model: model.predict((batch for batch in batches(x)), steps=2, verbose=0),
        lambda model: model.predict(made(x, y), verbose=0),
        lambda model: model.predict_on_batch(x),
    ):
        assert_close(call(ours), call(theirs), 1e-5, "predictions")


@pytest.mark.slow
def test_lists_of_values():
    """Keras lists a metric twice where a weighted one has its name; here each is there once."""
    ours, theirs = models("binary", weighted=False)
    x, y, w = data("binary")
    assert list(map(type, ours.evaluate(x, y, verbose=0))) == [float] * 3
    for call in (
        lambda model: model.evaluate(x, y, verbose=0),
        lambda model: model.test_on_batch(x, y, w),
        lambda model: model.train_on_batch(x, y),
    ):
        np.testing.assert_allclose(call(ours), call(theirs), rtol=1e-5)
    for model in (ours, theirs):
        model.compile("sgd", "binary_crossentropy", metrics=[], weighted_metrics=[])
    assert ours.evaluate(x, y, verbose=0) == pytest.approx(theirs.evaluate(x, y, verbose=0), rel=1e-5)


@pytest.mark.parametrize(
    ("metrics", "weighted"),
    few_at_first(
        [(["mae", "mse"], ["mse", "mse"]), (["mse"] * 3, []), (["mse"], ["mse", "mae"]), ([], ["accuracy"])], 1
    ),
)
def test_names_of_metrics(metrics, weighted):
    ours, theirs = models("binary")
    x, y, w = data("binary")
    for model in (ours, theirs):
        model.compile("sgd", "mse", metrics=metrics, weighted_metrics=weighted)
    one, other = (model.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True) for model in (ours, theirs))
    assert_same_logs(one, other)
    assert sorted(ours.metrics_names) == list(one)


@pytest.mark.slow
def test_hooks():
    """The same hooks with the same numbers and names, in one order."""
    keras, _ = frameworks()
    seen = {}

    def noting(base):
        names = [name for name in dir(Callback) if name.startswith("on_") and name != "on_not_finite"]

        def hook(name):
            def called(self, *arguments, logs=None):
                *number, values = (*arguments, logs) if logs is not None or len(arguments) < 2 else arguments
                values = sorted(values) if name.endswith("end") and values and "train_end" not in name else None
                self.called.append((name, *(n for n in number if isinstance(n, int)), values))

            return called

        return type("Notes", (base,), {"called": [], **{name: hook(name) for name in names}})()

    ours, theirs = models("binary")
    x, y, _ = data("binary")
    for model, base in ((ours, Callback), (theirs, keras.callbacks.Callback)):
        notes = noting(base)
        model.fit(x, y, validation_split=0.25, batch_size=8, epochs=2, verbose=0, callbacks=[notes])
        model.evaluate(x, y, batch_size=12, verbose=0, callbacks=[notes])
        model.predict(x, batch_size=12, verbose=0, callbacks=[notes])
        seen[base] = notes.called
    one, other = seen.values()
    assert len(one) > 30
    assert one == other


@pytest.mark.parametrize(
    "layer", [("Dense", {"units": 1, "activation": "sigmoid"}), ("Activation", {"activation": "sigmoid"})]
)
def test_logits_that_are_none(layer):
    before = [("Dense", {"units": 1})] if layer[0] == "Activation" else []
    ours, theirs = pair([WORDS, ("LSTM", {"units": 3}), *before, layer], (None, T))
    x, y, _ = data("binary")
    with pytest.warns(UserWarning, match="from_logits=True, but the model ends in sigmoid"):
        ours.compile("sgd", losses.BinaryCrossentropy(from_logits=True))
    theirs.compile("sgd", frameworks()[0].losses.BinaryCrossentropy(from_logits=True))
    for _ in range(2):
        mine = ours.train_on_batch(x, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own warning, a line long
            other = theirs.train_on_batch(x, y)
        assert mine == pytest.approx(other, rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*ran out of")  # the last epoch may be a batch short, in both
def test_random_configurations():
    rng = np.random.default_rng(RUN_SEED)
    for _ in range(10):
        kind = rng.choice(list(KINDS))
        optimizer = rng.choice(["sgd", "rmsprop", "adam", "adagrad"])
        ours, theirs = models(kind, bool(rng.integers(2)), optimizer)
        x, y, w = data(kind, int(rng.integers(1000)))
        options = {
            "epochs": 2,
            "batch_size": int(rng.integers(1, 9)),
            "validation_split": float(rng.choice([0.0, 0.2, 0.5])),
            "validation_batch_size": rng.choice([None, 3]),
            "sample_weight": w if rng.integers(2) else None,
            "steps_per_epoch": rng.choice([None, 2]),
        }
        for model in (ours, theirs):
            model.fit(x, y, shuffle=False, verbose=0, **options)
        print(RUN_SEED, kind, optimizer, {name: value for name, value in options.items() if name != "sample_weight"})
        assert_same_logs(ours.history.history, theirs.history.history, 2e-5)
        assert_same_weights(ours, theirs)
