"""pad_sequences against written-out results and against Keras."""

from __future__ import annotations

import numpy as np
import pytest

from rnncore.utils.sequence import pad_sequences

RAGGED = [[1], [2, 3], [], [4, 5, 6]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 0, 1], [0, 2, 3], [0, 0, 0], [4, 5, 6]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 0], [0, 0, 0], [4, 5, 6]]),
        ({"maxlen": 2}, [[0, 1], [2, 3], [0, 0], [5, 6]]),
        ({"maxlen": 2, "truncating": "post"}, [[0, 1], [2, 3], [0, 0], [4, 5]]),
        ({"maxlen": np.int64(4), "value": -1}, [[-1, -1, -1, 1], [-1, -1, 2, 3], [-1] * 4, [-1, 4, 5, 6]]),
    ],
)
def test_written_out(options, expected):
    padded = pad_sequences(RAGGED, **options)
    assert padded.dtype == np.int32
    np.testing.assert_array_equal(padded, expected)


def test_entries_may_be_vectors_and_empty_ones_take_their_shape():
    padded = pad_sequences([[], np.ones((2, 3)), [[2.5] * 3]], dtype="float64", value=-1)
    np.testing.assert_array_equal(padded[:, :, 0], [[-1, -1], [1, 1], [-1, 2.5]])
    assert padded.shape == (3, 2, 3)


def test_only_empty_sequences_give_no_columns():
    assert pad_sequences([[], []]).shape == (2, 0)


def test_input_is_left_alone():
    sequences = [np.arange(3), np.arange(5)]
    pad_sequences(sequences, maxlen=4)[:] = 7
    np.testing.assert_array_equal(sequences[0], [0, 1, 2])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"padding": "left"}, ValueError, ["padding", "'left'", "'pre', 'post'"]),
        ({"truncating": None}, ValueError, ["truncating", "None", "'pre', 'post'"]),
        ({"maxlen": 0}, ValueError, ["maxlen", "0", "above 0"]),
        ({"maxlen": -3}, ValueError, ["maxlen", "-3"]),
        ({"maxlen": 2.0}, TypeError, ["maxlen", "2.0", "whole number"]),
        ({"maxlen": True}, TypeError, ["maxlen", "True"]),
        ({"value": "x"}, ValueError, ["value", "'x'", "int32", "object"]),
        ({"sequences": 5}, ValueError, ["sequences", "int"]),
        ({"sequences": iter([[1]])}, ValueError, ["sequences", "iterator"]),
        ({"sequences": []}, ValueError, ["sequences", "empty", "maxlen"]),
        ({"sequences": [[1], 2]}, ValueError, ["sequences[1]", "2"]),
        ({"sequences": [[1], np.array(2)]}, ValueError, ["sequences[1]", "2"]),
        ({"sequences": [[1], ["a"]]}, ValueError, ["sequences[1]", "int32", "'a'"]),
        ({"sequences": [[1], [2**40]]}, ValueError, ["sequences[1]", "int32"]),
        ({"sequences": [[1], [[2]]]}, ValueError, ["sequences[1]", "(1,)", "()"]),
    ],
)
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error) as caught:
        pad_sequences(**{"sequences": RAGGED, **arguments})
    for word in words:
        assert word in str(caught.value)


@pytest.mark.keras
@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
@pytest.mark.parametrize("maxlen", [None, 1, 7, 40])
@pytest.mark.parametrize(
    ("dtype", "value", "entry"),
    [("int32", 0.0, ()), ("float32", -1.5, ()), ("int64", 9, (2,)), ("float64", np.nan, (2, 3)), (object, "pad", ())],
)
def test_random_ragged_input_as_keras(padding, truncating, maxlen, dtype, value, entry):
    import keras

    rng = np.random.default_rng(5)
    options = {"maxlen": maxlen, "dtype": dtype, "padding": padding, "truncating": truncating, "value": value}
    for _ in range(10):
        lengths = rng.integers(0, 30, size=rng.integers(1, 12))
        lengths[-1] = rng.integers(1, 30)
        sequences = [rng.integers(-99, 99, size=(length, *entry)).tolist() for length in lengths]
        ours, theirs = pad_sequences(sequences, **options), keras.utils.pad_sequences(sequences, **options)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.keras
@pytest.mark.parametrize(
    ("sequences", "options"),
    [
        ([np.array([1.9, -1.9]), (3, 4, 5)], {}),
        ([["a"], ["bcd", "e"]], {"dtype": object, "value": "-"}),
        ([["a"], ["bcd", "e"]], {"dtype": "U2", "value": "-"}),
        (np.arange(12).reshape(3, 4), {"maxlen": 3}),
        ([[], []], {}),
        ([], {"maxlen": 3}),
    ],
)
def test_unusual_input_as_keras(sequences, options):
    import keras

    ours, theirs = pad_sequences(sequences, **options), keras.utils.pad_sequences(sequences, **options)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)
