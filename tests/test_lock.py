"""Calls of one model from several threads: each thread gets what it would get alone."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread

import numpy as np
import pytest

from rnncore import Sequential, config, engine_lock, study
from rnncore.callbacks import LambdaCallback
from rnncore.layers import GRU, LSTM, Dense, Embedding

RNG = np.random.default_rng(7)
X = RNG.integers(0, 50, (24, 9))
Y = RNG.integers(0, 2, (24, 1)).astype(float)


@pytest.fixture(params=("numba", "numpy"), autouse=True)
def backend(request):
    config.set_backend(request.param)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads take turns within a call
    yield
    sys.setswitchinterval(interval)


def classifier():
    config.set_seed(3)
    model = Sequential([Embedding(50, 8, mask_zero=True), LSTM(6), Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.build((None, None))
    return model


def together(*works):
    """Return what the functions return, each called in a thread of its own, all at once."""
    barrier = Barrier(len(works))

    def begin(work):
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(begin, work) for work in works]]


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: model.predict(x, batch_size=8),
        lambda model, x: model.predict_on_batch(x),
        lambda model, x: model(x),
        lambda model, x: model.evaluate(x, Y[: len(x)], batch_size=8, verbose=0),
        lambda model, x: model.test_on_batch(x, Y[: len(x)]),
        lambda model, x: study.trace(model, x)["lstm"]["f"],
        lambda model, x: study.gradient_flow(model, x, Y[: len(x)])["lstm"]["dc"],
    ],
    ids=("predict", "predict_on_batch", "call", "evaluate", "test_on_batch", "trace", "gradient_flow"),
)
def test_each_thread_gets_its_own_answer(call):
    model, parts = classifier(), (X, X[::-1, 2:], X[:8, :4], X[:1])
    model.layers[1].name = "lstm"
    alone = [call(model, part) for part in parts]
    found = together(*(lambda part=part: [call(model, part) for _ in range(8)] for part in parts))
    for own, answers in zip(alone, found, strict=True):
        for answer in answers:
            np.testing.assert_array_equal(answer, own)


@pytest.mark.slow
def test_four_threads_call_one_model_two_hundred_times():
    model, parts = classifier(), (X, X[::-1], X[:8], X[:1])
    alone = [model.predict(part) for part in parts]
    found = together(*(lambda part=part: [model.predict(part) for _ in range(200)] for part in parts))
    assert all(np.array_equal(a, own) for own, answers in zip(alone, found, strict=True) for a in answers)


def test_backward_belongs_to_the_threads_own_call():
    layer, x = GRU(4, dtype="float64"), RNG.standard_normal((2, 3, 5))
    y = layer(x)
    dx = layer.backward(np.ones_like(y))
    together(lambda: layer(x[:1]))
    looks = layer.time_series, layer.valid_steps, layer.get_gradients, lambda: layer.state_gradients
    for refused in (lambda: layer.backward(np.ones_like(y)), *looks):
        with pytest.raises(ValueError, match="another thread's"):
            refused()

    def both():
        with engine_lock:
            return layer.backward(np.ones_like(layer(x)))

    for found in together(*[both] * 4):
        np.testing.assert_array_equal(found, dx)


def test_training_is_not_disturbed_by_other_threads():
    alone = classifier()
    history = alone.fit(X, Y, epochs=3, batch_size=8, validation_data=(X[:10], Y[:10]), verbose=0).history
    model, done = classifier(), Event()

    def look():
        while not done.is_set():
            model.predict(X[:5])
            model.evaluate(X[:7], Y[:7], verbose=0)

    others = [Thread(target=look) for _ in range(2)]
    for other in others:
        other.start()
    try:
        found = model.fit(X, Y, epochs=3, batch_size=8, validation_data=(X[:10], Y[:10]), verbose=0).history
    finally:
        done.set()
        for other in others:
            other.join()
    assert found == history
    for mine, theirs in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_callback_that_evaluates_leaves_the_epochs_means_alone():
    history = classifier().fit(X, Y, batch_size=8, verbose=0).history
    model = classifier()
    look = LambdaCallback(on_train_batch_end=lambda batch, logs: model.evaluate(X[:3], 1 - Y[:3], verbose=0))
    assert model.fit(X, Y, batch_size=8, verbose=0, callbacks=look).history == history


def test_a_second_fit_is_refused_while_one_is_under_way():
    model, refused = classifier(), []

    def again(epoch, logs):
        with ThreadPoolExecutor(1) as pool:
            refused.append(pool.submit(model.fit, X, Y, verbose=0).exception())

    model.fit(X, Y, verbose=0, callbacks=LambdaCallback(on_epoch_end=again))
    assert isinstance(refused[0], RuntimeError)
    assert "fit is under way in another thread" in str(refused[0])
    model.fit(X, Y, verbose=0)


def test_who_counts_in_the_metrics_gives_them_back():
    """Two evaluations that overlap: the one that began first ends first."""
    model, inside, done = classifier(), Event(), Event()
    hold = LambdaCallback(on_test_begin=lambda logs=None: (inside.set(), done.wait()))
    later = Thread(target=lambda: model.evaluate(X, Y, verbose=0, callbacks=hold))

    def begin(logs=None):
        later.start()
        inside.wait()

    model.evaluate(X[:8], Y[:8], verbose=0, callbacks=LambdaCallback(on_test_begin=begin))
    done.set()
    later.join()
    _, accuracy = model.evaluate(X, Y, verbose=0)
    assert model.metrics[0].result() == accuracy  # the model's own metrics count again


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_waits_for_the_call_under_way():
    model, inside = classifier(), Event()
    alone = model.predict(X)

    def call():
        with engine_lock:
            inside.set()
            model.predict(X)

    thread = Thread(target=call)
    thread.start()
    inside.wait()
    child = os.fork()
    if not child:
        os._exit(0 if engine_lock.acquire(timeout=5) and np.array_equal(model.predict(X), alone) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
