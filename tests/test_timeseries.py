"""Windows over a series: Keras's, batch for batch."""

import tracemalloc

import numpy as np
import pytest

import rnncore
from rnncore.layers import LSTM, Dense
from rnncore.utils import timeseries_dataset_from_array as windows

SERIES = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
CASES = {
    "one by one": {"sequence_length": 4},
    "apart": {"sequence_length": 5, "sequence_stride": 3, "sampling_rate": 2, "batch_size": 4},
    "a part": {"sequence_length": 3, "start_index": 10, "end_index": 31, "batch_size": 5},
    "without targets": {"sequence_length": 7, "targets": None, "batch_size": 8},
    "no batches": {"sequence_length": 6, "batch_size": None, "sequence_stride": 9},
    "few targets": {"sequence_length": 2, "targets": SERIES[:20, 0], "batch_size": 8},
    "more targets": {"sequence_length": 2, "targets": np.arange(90), "batch_size": 8, "start_index": 3},
    "one number a step": {"data": np.arange(40), "targets": np.arange(40) * 2.5, "sequence_length": 3},
    "lists": {"data": list(range(30)), "targets": [0.5] * 30, "sequence_length": 3},
    "a single step": {"sequence_length": 1, "sampling_rate": 7},
}


def made(function, case):
    return function(**{"data": SERIES, "targets": np.arange(50), **CASES[case]})


def parts(batch):
    return [np.asarray(part) for part in (batch if isinstance(batch, tuple) else (batch,))]


def test_windows_by_hand():
    dataset = windows(np.arange(10), np.arange(10) * 10, 3, sequence_stride=2, sampling_rate=2, batch_size=2)
    found = [(x.tolist(), y.tolist()) for x, y in dataset]
    assert found == [([[0, 2, 4], [2, 4, 6]], [0, 20]), ([[4, 6, 8]], [40])]
    assert len(dataset) == len(list(dataset)) == 2
    x, y = next(iter(dataset.take(1)))
    assert x.numpy().shape == (2, 3) and x[0].numpy().tolist() == [0, 2, 4] and type(y.numpy()) is np.ndarray
    assert [len(part) for part in (dataset.take(1), dataset.skip(1), dataset.take(9).skip(1), dataset.skip(5))] == [
        1,
        1,
        1,
        0,
    ]
    assert dataset.prefetch(1).cache() is dataset


@pytest.mark.keras
@pytest.mark.parametrize("case", CASES)
def test_batches_are_keras_s(case):
    import keras

    ours, theirs = made(windows, case), made(keras.utils.timeseries_dataset_from_array, case)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(parts(mine), parts(other), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_orders():
    def order(dataset):
        return [int(x[0]) for batch in dataset for x in batch]

    dataset = windows(np.arange(30), None, 2, batch_size=4, shuffle=True, seed=3)
    first, second = order(dataset), order(dataset)
    assert sorted(first) == sorted(second) == list(range(29))
    assert first != second != list(range(29))
    again = windows(np.arange(30), None, 2, batch_size=4, shuffle=True, seed=3)
    assert [order(again), order(again)] == [first, second]
    assert order(windows(np.arange(30), None, 2, shuffle=True, seed=4)) != first


def test_training():
    rnncore.set_backend("numpy")

    def trained(data, y=None):
        rnncore.config.set_seed(1)
        model = rnncore.Sequential([LSTM(3), Dense(1)])
        model.compile("adam", "mse")
        history = model.fit(data, y, 8, 2, 0, validation_data=validation, shuffle=False).history
        return history, model.predict(validation), model.evaluate(validation, verbose=0)

    dataset, validation = (
        windows(SERIES, SERIES[5:, 0], 5, batch_size=8),
        windows(SERIES[:-5], SERIES[5:, 0], 5, start_index=9),
    )
    x, y = (np.concatenate(arrays) for arrays in zip(*dataset, strict=True))
    (history, outputs, loss), other = trained(dataset), trained(x, y)
    assert history == other[0] and loss == other[2]
    np.testing.assert_array_equal(outputs, other[1])
    assert outputs.shape == (32, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence_length": 0}, "sequence_length is 0; expected a whole number of at least 1"),
        ({"sequence_stride": 50}, "sequence_stride is 50; expected a number below 50, that of the rows of data"),
        ({"sampling_rate": 0}, "sampling_rate is 0"),
        (
            {"sampling_rate": 20},
            "data has 50 rows from start_index to end_index; a window of 4 steps, 20 apart, has 61",
        ),
        ({"start_index": -1}, "start_index is -1"),
        ({"start_index": 50}, "start_index is 50; expected a number below 50"),
        ({"start_index": 9, "end_index": 9}, "start_index is 9; expected a number below 9, where the rows end"),
        ({"end_index": 50}, "end_index is 50; expected a number below 50"),
        ({"targets": SERIES[:20], "start_index": 9}, "targets has 11 rows from start_index on; there are 20 windows"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"format": "jax"}, "format is 'jax'"),
        ({"data": ["a", "b"]}, "data has dtype <U1"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(ValueError, match=f"^timeseries_dataset_from_array: {message}"):
        windows(**{"data": SERIES, "targets": None, "sequence_length": 4, **changes})


def test_what_a_data_set_of_tensorflow_has_more():
    with pytest.raises(AttributeError, match="the windows have no map; they are an iterable of batches"):
        windows(SERIES, None, 4).map(len)


def test_windows_are_made_when_they_are_asked_for():
    series = np.zeros(200_000, "float32")  # all windows at once would be 800 MB
    tracemalloc.start()
    try:
        dataset = windows(series, np.lib.stride_tricks.sliding_window_view(series, 50), 1000, end_index=199_000)
        x, y = next(iter(dataset))
        assert (x.shape, y.shape) == ((128, 1000), (128, 50))
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()
