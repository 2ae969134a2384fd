"""What fit, evaluate and predict take: ragged rows, sequence objects, generators; what becomes of each batch."""

import itertools
import signal

import numpy as np
import pytest
from cases import randomize

from rnncore import Sequential, config, losses, metrics, utils
from rnncore.callbacks import Callback
from rnncore.layers import LSTM, Bidirectional, Dense, Embedding, GlobalAveragePooling1D, Input, Masking
from rnncore.training import data
from rnncore.utils import PyDataset, Sequence, pad_sequences
from rnncore.utils.progress import Progress

V = 9


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    config.set_backend("numpy")


def words(count=40, longest=30, seed=0):
    """Return ragged ids, and whether there are many 1 among them."""
    rng = np.random.default_rng(seed)
    x = [rng.integers(1, V, n).tolist() for n in rng.integers(1, longest + 1, count)]
    return x, np.array([row.count(1) * 8 > len(row) for row in x], int)


def padded(x):
    return pad_sequences(x, padding="post")


def model_of(*layers, loss="binary_crossentropy", metrics=("accuracy",), mask_zero=True, **options):
    """Return a compiled model on ids with distinct random weights, the same ones each time."""
    config.set_seed(5)
    model = Sequential([Embedding(V, 4, mask_zero=mask_zero), *layers])
    model.build((None, None))
    randomize(model, np.random.default_rng(6))
    model.compile("adam", loss, metrics=list(metrics), **options)
    return model


def classifier(**options):
    return model_of(LSTM(3), Dense(1, "sigmoid"), **options)


def tagger(**options):
    """Return a model with an output a step, the padding's among them not 0."""
    layers = [Bidirectional(LSTM(3, return_sequences=True)), Dense(3, "softmax")]
    return model_of(*layers, loss="sparse_categorical_crossentropy", **options)


def tags(x, seed=7):
    """Return a class and a weight for each step."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 3, len(row)).tolist() for row in x], [rng.uniform(0.2, 2, len(row)) for row in x]


def same_bits(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def batches_of(model, monkeypatch):
    """Return a list that gets x of every batch that the model is trained on."""
    seen, forward = [], model.forward

    def noted(x, *arguments, training=False, **options):
        if training:
            seen.append(x)
        return forward(x, *arguments, training=training, **options)

    monkeypatch.setattr(model, "forward", noted)
    return seen


# --- ragged rows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 8, 40, 100])
def test_predictions_come_in_the_order_of_the_rows(size):
    x, _ = words()
    model = classifier()
    expected = np.concatenate([model.predict(np.array([row])) for row in x])
    np.testing.assert_allclose(model.predict(x, batch_size=size), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(padded(x)), expected, atol=1e-6)
    array = np.empty(len(x), object)
    array[:] = x
    assert np.array_equal(model.predict(array, batch_size=size), model.predict(x, batch_size=size))
    assert np.array_equal(model.predict(x, batch_size=2, steps=3), model.predict(x[:6], batch_size=2))


@pytest.mark.parametrize("size", [1, 3, 40])
def test_predictions_a_step_are_as_long_as_their_rows(size):
    x, _ = words()
    model = tagger()
    found = model.predict(x, batch_size=size)
    assert [row.shape for row in found] == [(len(row), 3) for row in x]
    for row, mine in zip(x, found, strict=True):
        np.testing.assert_allclose(mine, model.predict(np.array([row]))[0], atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 40])
@pytest.mark.parametrize("kind", ["classifier", "tagger"])
def test_evaluations_do_not_depend_on_the_batches(kind, size):
    """They are those of the padded rows in one batch."""
    x, y = words()
    metrics = ["accuracy"]
    if kind == "classifier":
        model, w = classifier(metrics=[*metrics, "Recall"], weighted_metrics=["mse"]), np.linspace(0.5, 2, len(x))
        whole = (y, w)
    else:
        metrics.append("sparse_categorical_crossentropy")
        model = tagger(metrics=metrics, weighted_metrics=metrics)
        y, w = tags(x)
        whole = (padded(y), pad_sequences(w, padding="post", dtype="float32"))
    expected = model.evaluate(padded(x), whole[0], sample_weight=whole[1], batch_size=len(x), verbose=0)
    assert model.evaluate(x, y, sample_weight=w, batch_size=size, verbose=0) == pytest.approx(expected, rel=1e-5)
    shuffled = np.random.default_rng(0).permutation(len(x))
    x, y, w = ([column[n] for n in shuffled] for column in (x, y, w))
    assert model.evaluate(x, y, sample_weight=w, batch_size=size, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_batch_is_padded_to_its_longest_row(monkeypatch):
    x, y = words(10)
    ours, theirs = classifier(), classifier()
    seen = batches_of(ours, monkeypatch)
    ours.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    for first in (0, 4, 8):
        part = slice(first, first + 4)
        assert np.array_equal(seen[first // 4], padded(x[part]))
        theirs.train_on_batch(padded(x[part]), y[part])
    assert same_bits(ours, theirs)


def test_short_rows_come_together(monkeypatch):
    x, y = words(3210, longest=100)
    model = model_of(GlobalAveragePooling1D(), Dense(1, "sigmoid"))
    seen = batches_of(model, monkeypatch)
    model.fit(x, y, verbose=0)
    assert [len(batch) for batch in seen] == [32] * 100 + [10]
    total = sum(map(len, x))
    assert total <= sum(batch.size for batch in seen) < 1.05 * total  # padded to the longest of all: 1.98
    rows = sorted(tuple(row[row > 0]) for batch in seen for row in batch)
    assert rows == sorted(map(tuple, x))
    lengths = np.array([batch.shape[1] for batch in seen])
    assert abs(np.corrcoef(lengths, np.arange(101))[0, 1]) < 0.3


def test_the_order_is_new_each_epoch_and_comes_from_the_seed(monkeypatch):
    x, y = words(24)
    runs = []
    for _ in range(2):
        model = classifier()
        seen = batches_of(model, monkeypatch)
        model.fit(x, y, batch_size=4, epochs=2, verbose=0)
        runs.append([batch.tolist() for batch in seen])
    assert runs[0] == runs[1]
    assert runs[0][:6] != runs[0][6:]


def test_ragged_validation_and_split():
    x, y = words(30)
    ours, theirs = classifier(), classifier()
    split = ours.fit(x, y, validation_split=0.3, epochs=2, batch_size=4, verbose=0)
    given = theirs.fit(x[:21], y[:21], validation_data=(x[21:], y[21:]), epochs=2, batch_size=4, verbose=0)
    assert split.history == given.history
    assert same_bits(ours, theirs)
    values = ours.evaluate(x[21:], y[21:], verbose=0, return_dict=True, batch_size=4)
    assert values == {name: given.history[f"val_{name}"][-1] for name in values}


def test_what_a_mask_must_be_there_for():
    x, y = words(8)
    blind = classifier(mask_zero=False)
    for call in (blind.fit, blind.evaluate, lambda x, y, **rest: blind.predict(x, **rest)):
        with pytest.raises(ValueError, match=r"rows of different lengths.*mask_zero=True.*batch_size=1"):
            call(x, y, batch_size=4, verbose=0)
    blind.fit(x, y, batch_size=1, verbose=0)
    expected = np.concatenate([blind.predict(np.array([row])) for row in x])
    np.testing.assert_allclose(blind.predict(x, batch_size=1), expected, atol=1e-6)
    with pytest.raises(ValueError, match="rows of different lengths"):
        blind.train_on_batch(x, y)


def test_rows_of_vectors_and_a_padding_that_is_not_0():
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((n, 2)) for n in (3, 1, 4, 2, 4)]
    x[0][1] = -1.0  # padding in the middle
    model = Sequential([Masking(-1.0), LSTM(3)])
    expected = np.concatenate([model.predict(row[None]) for row in x])
    np.testing.assert_allclose(model.predict(x, batch_size=2), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict([row.tolist() for row in x]), expected, atol=1e-6)
    whole_numbers = [np.arange(2 * n).reshape(n, 2) for n in (1, 3)]
    assert model.predict(whole_numbers).dtype == "float32"


def test_an_id_0_is_padding_wherever_it_is():
    model = classifier()
    found = model.predict([[1, 0, 2], [1, 2], [], [0, 0, 0, 0]])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    np.testing.assert_allclose(found[2], found[3], atol=1e-6)


def test_rows_of_one_length_are_an_array():
    x, y = words(6)
    x = [row[:1] * 5 for row in x]
    array = np.empty(6, object)
    array[:] = x
    blind = classifier(mask_zero=False)
    assert np.array_equal(blind.predict(array), blind.predict(np.array(x)))
    assert np.array_equal(blind.predict(x), blind.predict([np.array(x)]))  # an only input in a list, as in Keras
    assert blind.evaluate([np.array(x)], y, verbose=0) == blind.evaluate(np.array(x), y, verbose=0)
    one = Sequential([LSTM(2)])
    assert one.predict([np.ones((3, 4))]).shape == (1, 2)  # a row alone


def test_a_model_is_built_for_any_length():
    x, y = words(6)
    model = Sequential([Embedding(V, 2, mask_zero=True), LSTM(2), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    assert model.input_shape == (None, None)
    inside = Sequential([Input((None,)), Sequential([Embedding(V, 2, mask_zero=True), LSTM(2)])])
    assert inside.predict(x).shape == (6, 2)


# --- objects that make batches by their number ------------------------------------------------------------------------


class Batches(PyDataset):
    """Batches of four, and what was asked for."""

    def __init__(self, *arrays, **options):
        super().__init__(**options)
        self.arrays, self.asked = arrays, []

    def __len__(self):
        return -(-len(self.arrays[0]) // 4)

    def __getitem__(self, index):
        assert type(index) is int
        self.asked.append(index)
        return tuple(array[4 * index : 4 * index + 4] for array in self.arrays)

    def on_epoch_begin(self):
        self.asked.append("begin")

    def on_epoch_end(self):
        self.asked.append("end")


class Bare:
    """The two methods, and nothing else."""

    def __init__(self, *arrays):
        self.batches = Batches(*arrays)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return list(self.batches[index])


class Endless(Batches):
    num_batches = None

    def __getitem__(self, index):
        return super().__getitem__(index % len(self))


def dense(count=18):
    """Return a compiled model on vectors, and data for it."""
    config.set_seed(5)
    model = Sequential([Dense(3, "tanh"), Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    model.build((None, 2))
    rng = np.random.default_rng(1)
    return model, rng.standard_normal((count, 2)), rng.standard_normal(count)


@pytest.mark.parametrize("made", [Batches, Bare])
def test_a_sequence_object_is_its_arrays(made):
    (ours, x, y), (theirs, _, _) = dense(), dense()
    w = np.linspace(0, 2, 18)
    options = {"epochs": 2, "shuffle": False, "verbose": 0}
    one = ours.fit(made(x, y, w), validation_data=made(x[:7], y[:7]), **options)
    other = theirs.fit(x, y, sample_weight=w, batch_size=4, validation_data=(x[:7], y[:7]), **options)
    assert one.history == other.history
    assert same_bits(ours, theirs)
    assert ours.evaluate(made(x, y), verbose=0) == theirs.evaluate(x, y, batch_size=4, verbose=0)
    assert np.array_equal(ours.predict(made(x, y)), theirs.predict(x, batch_size=4))
    assert np.array_equal(ours.predict(made(x)), theirs.predict(x, batch_size=4))


def test_what_a_sequence_object_is_asked():
    model, x, y = dense()
    given = Batches(x, y)
    assert list(given)[4][0].shape == (2, 2)
    given.asked.clear()
    model.fit(given, shuffle=False, epochs=2, verbose=0)
    once = ["begin", 0, 1, 2, 3, 4, "end"]
    assert given.asked == [0, *once, *once]  # the first one to build and to check by
    given.asked.clear()
    model.evaluate(given, verbose=0)
    model.predict(given)
    assert given.asked == [0, *once, 0, *once]
    given.asked.clear()
    model.fit(given, epochs=2, verbose=0)
    first, second = given.asked[2:7], given.asked[9:14]
    assert sorted(first) == sorted(second) == list(range(5))
    assert first != second
    given.asked.clear()
    model.fit(given, shuffle=False, epochs=3, steps_per_epoch=3, verbose=0, callbacks=[Silent()])
    assert given.asked == [0, "begin", 0, 1, 2, "end", "begin", 3, 4, "end", "begin", 0, 1, 2, "end"]


class Silent(Callback):
    """Expects the warning of an epoch that was cut short."""

    def on_train_begin(self, logs=None):
        self.expected = pytest.warns(UserWarning, match="x ran out of batches in epoch 2; 1 more were asked for")
        self.expected.__enter__()

    def on_train_end(self, logs=None):
        self.expected.__exit__(None, None, None)


def test_a_sequence_object_without_end():
    (ours, x, y), (theirs, _, _) = dense(20), dense(20)
    given = Endless(x, y)
    ours.fit(given, steps_per_epoch=7, epochs=2, verbose=0)
    assert given.asked == [0, "begin", *range(1, 5), 0, 1, "end", "begin", 2, 3, 4, *range(4), "end"]
    for n in range(14):
        part = slice(4 * (n % 5), 4 * (n % 5) + 4)
        theirs.train_on_batch(x[part], y[part])
    assert same_bits(ours, theirs)


def test_names_of_the_base_class():
    assert Sequence is PyDataset
    assert PyDataset(workers=2, use_multiprocessing=True, max_queue_size=3).workers == 2
    model, _, _ = dense()

    class Half(PyDataset):
        def __len__(self):
            return 2

    with pytest.raises(NotImplementedError, match="Half needs a method __getitem__"):
        model.predict(Half())


# --- generators -------------------------------------------------------------------------------------------------------


def stream(*arrays, times=1):
    for _ in range(times):
        for first in range(0, len(arrays[0]), 4):
            yield tuple(array[first : first + 4] for array in arrays)


class Again:
    """An iterable that begins anew each time, and notes which of its iterators were closed."""

    def __init__(self, *arrays):
        self.arrays, self.closed = arrays, 0

    def __iter__(self):
        try:
            yield from stream(*self.arrays)
        finally:
            self.closed += 1


def test_a_generator_is_its_arrays():
    (ours, x, y), (theirs, _, _) = dense(), dense()
    with pytest.warns(UserWarning, match="x ran out of batches after epoch 1; training ends"):
        one = ours.fit(stream(x, y), epochs=3, validation_data=Again(x[:7], y[:7]), verbose=0)
    options = {"shuffle": False, "verbose": 0}
    other = theirs.fit(x, y, batch_size=4, validation_data=(x[:7], y[:7]), **options)
    assert one.history == other.history
    assert same_bits(ours, theirs)
    one = ours.fit(stream(x, y, times=2), epochs=2, steps_per_epoch=5, **options)
    assert one.history == theirs.fit(x, y, batch_size=4, epochs=2, **options).history
    assert ours.evaluate(stream(x, y), verbose=0) == theirs.evaluate(x, y, batch_size=4, verbose=0)
    expected = theirs.predict(x, batch_size=4)
    for given in (stream(x), stream(x, y), (part for (part,) in stream(x)), map(list, stream(x)), iter([*stream(x)])):
        assert np.array_equal(ours.predict(given), expected)
    assert np.array_equal(ours.predict(stream(x), steps=2), expected[:8])


def test_an_iterable_begins_anew_each_epoch():
    (ours, x, y), (theirs, _, _) = dense(), dense()
    given = Again(x, y)
    ours.fit(given, epochs=2, verbose=0)
    theirs.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert same_bits(ours, theirs)
    assert given.closed == 2
    ours.fit(given, epochs=4, steps_per_epoch=5, verbose=0)
    assert given.closed == 6


def test_a_generator_goes_on_where_fit_left_it():
    model, x, y = dense()
    given = stream(x, y, times=2)
    model.fit(given, steps_per_epoch=2, verbose=0)
    model.fit(given, steps_per_epoch=3, epochs=2, verbose=0)
    assert len([*given]) == 2


def test_validation_that_goes_on():
    model, x, y = dense()
    ours = model.fit(x, y, epochs=2, validation_data=stream(x, y), validation_steps=2, batch_size=18, verbose=0)
    model, _, _ = dense()
    seen = []
    look = Callback()
    look.on_epoch_end = lambda epoch, logs: seen.append(
        model.evaluate(x[8 * epoch : 8 * epoch + 8], y[8 * epoch : 8 * epoch + 8], verbose=0)[0]
    )
    model.fit(x, y, epochs=2, callbacks=[look], batch_size=18, verbose=0)
    assert ours.history["val_loss"] == pytest.approx(seen, rel=1e-6)
    with pytest.warns(UserWarning, match="validation_data ran out of batches before the validation of epoch 2"):
        history = model.fit(x, y, epochs=2, validation_data=stream(x, y), verbose=0).history
    assert (len(history["val_loss"]), len(history["loss"])) == (1, 2)


def test_an_error_in_a_generator_comes_through():
    model, x, y = dense()

    class Mine(Exception):
        pass

    def failing():
        yield from itertools.islice(stream(x, y), 3)
        raise Mine("of the user")

    kept = []
    keep = Callback()
    keep.on_train_batch_end = lambda batch, logs: kept.append(model.get_weights())
    with pytest.raises(Mine, match=r"^of the user$"):
        model.fit(failing(), callbacks=[keep], verbose=0)
    assert len(kept) == 3
    np.testing.assert_equal(model.get_weights(), kept[-1])
    with pytest.raises(ValueError, match=r"y has shape \(3,\); expected 4 samples"):
        model.fit(iter([(x[:4], y[:4]), (x[:4], y[:3])]), verbose=0)
    assert model.optimizer.iterations == 4


def test_interrupt_with_a_generator():
    model, x, y = dense()
    given = Again(x, y)
    press = Callback()
    press.on_train_batch_end = lambda batch, logs: batch == 1 and signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="stopped after epoch 1, batch 2"):
        model.fit(given, callbacks=[press], verbose=0)
    assert (given.closed, model.optimizer.iterations) == (1, 2)
    mine = stream(x, y)
    with pytest.raises(KeyboardInterrupt):
        model.fit(mine, callbacks=[press], verbose=0)
    assert len([*mine]) == 3  # it is the user's own, and goes on


def test_ragged_batches_of_a_generator():
    x, y = words(10)
    ours, theirs = classifier(), classifier()
    ours.fit(((x[n : n + 3], y[n : n + 3]) for n in (0, 3, 6)), verbose=0)
    for n in (0, 3, 6):
        theirs.train_on_batch(padded(x[n : n + 3]), y[n : n + 3])
    assert same_bits(ours, theirs)
    rows = tagger().predict((x[n : n + 5],) for n in (0, 5))
    assert [row.shape for row in rows[:5]] == [(max(map(len, x[:5])), 3)] * 5  # as the batch was


def test_how_long_an_epoch_is(monkeypatch):
    model, x, y = dense()
    totals = []

    made = Progress.__init__

    def noted(self, label, total, *rest):
        totals.append((label, total))
        made(self, label, total, *rest)

    monkeypatch.setattr(Progress, "__init__", noted)
    callback = Callback()
    model.fit(Again(x, y), epochs=2, verbose=0, callbacks=[callback])
    assert totals == [("Epoch 1/2", None), ("Epoch 2/2", 5)]
    assert callback.params == {"epochs": 2, "steps": None, "verbose": 0}
    model.fit(stream(x, y), steps_per_epoch=3, verbose=0)
    model.fit([*stream(x, y)].__iter__(), verbose=0)
    model.evaluate(Batches(x, y), verbose=0)
    assert [total for _, total in totals[2:]] == [3, 5, 5]


# --- class weights ----------------------------------------------------------------------------------------------------


def test_class_weights_of_steps():
    x, _ = words(6)
    y, w = tags(x)
    ours, theirs = tagger(), tagger()
    weights = {0: 0.5, 2: 3.0}
    both = [
        [weights.get(tag, 1.0) * weight for tag, weight in zip(*row, strict=True)] for row in zip(y, w, strict=True)
    ]
    ours.fit(x, y, sample_weight=w, class_weight=weights, verbose=0)
    theirs.fit(x, y, sample_weight=both, verbose=0)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)
    assert ours.history.history["loss"] == pytest.approx(theirs.history.history["loss"], rel=1e-6)


# --- what is refused --------------------------------------------------------------------------------------------------


def fit(**options):
    model, x, y = dense()
    return model.fit(**{"x": x, "y": y, "verbose": 0, **options})


def of(*batches, **options):
    return fit(x=iter(batches), y=None, **options)


X, Y = np.ones((4, 2)), np.ones(4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit(x=stream(X, Y)), ValueError, "y came beside a generator, which gives it with each batch"),
        (lambda: of((X, Y), sample_weight=Y), ValueError, "sample_weight came beside a tuple_iterator"),
        (lambda: of((X, Y), validation_split=0.2), ValueError, "x gives batches; hand in validation_data"),
        (lambda: of(), ValueError, "x gives no batch; expected at least one"),
        (lambda: fit(x=Batches(X[:0]), y=None), ValueError, "x gives no batch"),
        (lambda: of((X, Y, Y, Y)), ValueError, "a batch has 4 parts; expected"),
        (lambda: of((X,)), ValueError, "y is None; the loss needs targets"),
        (lambda: of(X), ValueError, "y is None; the loss needs targets"),
        (lambda: of({"x": X}), TypeError, "x has dtype object"),
        (lambda: fit(x={"x": X}), TypeError, "x has dtype object"),
        (lambda: fit(validation_data=iter([(X, Y, Y, Y)])), ValueError, "validation_data: a batch has 4 parts"),
        (lambda: fit(validation_data=iter([(X, Y[:2])])), ValueError, r"validation_data: y has shape \(2,\)"),
        (lambda: fit(class_weight=[1, 2]), TypeError, r"class_weight is \[1, 2\]; expected a dict"),
        (lambda: fit(class_weight={"a": 2}), ValueError, "class_weight: a class is 'a'; expected a whole number"),
        (lambda: fit(class_weight={0: "a"}), ValueError, r"class_weight\[0\] is 'a'; expected a finite number"),
        (lambda: fit(steps_per_epoch=0), ValueError, "steps_per_epoch is 0; expected"),
        (lambda: fit(validation_steps=-1), ValueError, "validation_steps is -1; expected"),
        (lambda: fit(validation_batch_size=1.5), ValueError, r"validation_batch_size is 1\.5; expected"),
        (lambda: fit(validation_freq=0), ValueError, "validation_freq is 0; expected"),
        (lambda: fit(validation_freq="1"), ValueError, "validation_freq is '1'; expected"),
        (lambda: fit(validation_freq=[1, 0]), ValueError, "validation_freq: an epoch is 0; expected"),
        (lambda: dense()[0].evaluate(X, Y, steps=0), ValueError, "steps is 0; expected"),
        (lambda: dense()[0].predict(X, steps="2"), ValueError, "steps is '2'; expected"),
        (lambda: dense()[0].predict(X, callbacks=[3]), TypeError, "callbacks has 3"),
        (lambda: dense()[0].compile("sgd", "mse", [2.0]), ValueError, r"loss_weights is \[2\.0\]; there is one loss"),
        (lambda: dense()[0].compile(steps_per_execution=4), ValueError, "steps_per_execution is 4; steps are"),
        (lambda: dense()[0].compile(weighted_metrics="mae"), TypeError, "weighted_metrics is 'mae'; expected a list"),
        (lambda: dense()[0].compile(weighted_metrics=["mea"]), ValueError, "unknown metric 'mea'"),
        (lambda: classifier().fit([[1, 2], [3]], [[0, 1], [1, 0, 1]]), ValueError, "y is ragged, its rows have other"),
        (lambda: classifier().fit([[1, 2], [3]], [[0], [1, 0]]), ValueError, "y is ragged, its rows have other"),
        (lambda: classifier().fit([[1, 2], [3]], [[0, 1], [1]]), ValueError, "y_true has shape"),
        (lambda: classifier().fit([[1, 2], [3]], [0, 1, 1]), ValueError, "expected 2 samples, as x has"),
        (lambda: classifier().predict([[1, 2], [V]]), ValueError, f"x holds the id {V}"),
        (lambda: classifier().predict([[1, 2], [[3]]]), ValueError, "x is ragged, and its rows are not of one kind"),
        (lambda: classifier().predict([[1, 2], "a"]), ValueError, "x is ragged"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_bad_generator_changes_nothing():
    model, _, _ = dense()
    before = model.get_weights(), model.generator.bit_generator.state
    for bad in (X[:, :1], np.full((4, 2), np.nan)):
        with pytest.raises(ValueError, match="x"):
            model.fit(iter([(bad, Y)]), verbose=0)
    np.testing.assert_equal((model.get_weights(), model.generator.bit_generator.state), before)


def test_compile_accepts_what_changes_nothing():
    model, x, y = dense()
    model.compile("sgd", "mse", 1.0, run_eagerly=True, jit_compile=True, steps_per_execution=1, auto_scale_loss=False)
    model.compile("sgd", "mse", loss_weights=[1.0], jit_compile="auto")
    model.fit(x, y, verbose=0)


def test_tables_are_not_copied():
    model, x, y = dense()
    table = data.checked(model, x, y)
    assert table.columns[0] is x
    assert table[2:5].arrays()[1].base is y


MASKED = np.ma.masked_equal(np.array([[1, 2, 0], [3, 0, 0]]), 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model(MASKED),
        lambda model: model.predict(MASKED),
        lambda model: model.predict([MASKED[0], MASKED[1, :2]]),
        lambda model: model.fit(MASKED.data, MASKED[:, 2], verbose=0),
        lambda model: model.evaluate(MASKED.data, [0, 1], sample_weight=MASKED[:, 2], verbose=0),
        lambda model: model.layers[1](np.ma.masked_less(np.zeros((2, 3, 4)), 1)),
        lambda model: model.set_weights([np.ma.masked_greater(weight, -9) for weight in model.get_weights()]),
        lambda model: losses.MeanSquaredError()(MASKED, MASKED.data.astype(float)),
        lambda model: metrics.Mean().update_state(MASKED),
        lambda model: utils.pad_sequences(MASKED),
    ],
)
def test_masked_arrays_do_not_lose_their_mask_in_silence(call):
    model = Sequential([Embedding(9, 4, mask_zero=True), LSTM(2), Dense(1)])
    model.compile("sgd", "mse")
    model.build((None, None))
    with pytest.raises(TypeError, match="masked array, whose mask would be lost"):
        call(model)


def test_a_masked_array_without_masked_entries_is_an_array():
    layer = Dense(2)
    np.testing.assert_array_equal(layer(np.ma.array(np.ones((2, 3)))), layer(np.ones((2, 3))))
