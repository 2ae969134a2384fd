"""Random models of one chain, made and trained live in Keras: its files come here and go back, and training goes on.

`both_ways` is one model's journey: two in the quick run, 16 in the whole one, other ones each time; all 300, with
``RNNCORE_TEST_ALL=1``, take 25 minutes of two cores.
"""

import warnings

import numpy as np
import pytest
from cases import some
from keras_reference import frameworks, made
from random_models import drawn

import rnncore
from rnncore import config
from rnncore.models import load_model

PREDICTED, TRAINED = 1e-6, 1e-5  # of the largest number, or 1
STEPS = 10
SEEDS = some(range(300), 10)


def keras_model(given):
    """Return the model in Keras, compiled, after three steps of training."""
    keras, _ = frameworks()
    keras.utils.clear_session()
    keras.utils.set_random_seed(given.seed)
    first = {"dtype": "int32"} if given.x.dtype.kind == "i" else {}
    first |= {"batch_shape": (given.batch_size, *given.shape)} if given.batch_size else {"shape": given.shape}
    first, rows = keras.Input(**first), [made(keras, row) for row in given.rows]
    if given.functional:
        x = first
        for row in rows:
            x = row(x)
        model = keras.Model(first, x)
    else:
        model = keras.Sequential([first, *rows])
    freeze(model.layers[:-1], np.random.default_rng([given.seed, 1]))
    name, options = given.optimizer
    rate = options["learning_rate"]
    if isinstance(rate, tuple):
        options = {**options, "learning_rate": getattr(keras.optimizers.schedules, rate[0])(**rate[1])}
    loss, metrics = (
        _named(keras, room, names) for room, names in (("losses", [given.loss]), ("metrics", given.metrics))
    )
    model.compile(getattr(keras.optimizers, name)(**options), loss[0], metrics=metrics, run_eagerly=True)
    rng = np.random.default_rng(given.seed)
    for variable in model.trainable_variables:
        variable.assign_add(0.1 * rng.standard_normal(variable.shape).astype(np.float32))
    for _ in range(3):
        model.train_on_batch(given.x, given.y)
    return model


def freeze(layers, rng):
    """Freeze some layers, or one direction of them: files have what is trained first."""
    for layer in layers:
        if rng.random() < 0.2:
            parts = [layer, *(getattr(layer, f"{way}_layer", layer) for way in ("forward", "backward"))]
            parts[rng.integers(3)].trainable = False


def _named(library, room, names):
    rooms = getattr(library, room)
    return [getattr(rooms, name)() if name[0].isupper() else name for name in names]


def off_by(ours, theirs):
    """Return how far two arrays are apart, of the largest number, or 1."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max(initial=0) / max(1.0, np.abs(theirs).max(initial=0)))


def forgotten(*models):
    """Let stateful layers begin anew: what was predicted has moved their states."""
    for model in models:
        for layer in model.layers:
            if getattr(layer, "stateful", False):
                layer.reset_state()


def train(ours, theirs, given):
    """Take further steps in both, and compare losses and predictions."""
    for step in range(STEPS):
        losses = [np.ravel(model.train_on_batch(given.x, given.y))[0] for model in (ours, theirs)]
        assert abs(losses[0] - losses[1]) <= TRAINED * max(1, abs(losses[1])), f"loss of step {step} of {given}"
    forgotten(ours, theirs)
    after = off_by(ours.predict(given.x, verbose=0), theirs.predict(given.x, verbose=0))
    assert after <= TRAINED, f"off by {after} after {STEPS} steps: {given}"
    assert int(ours.optimizer.get_state()["iterations"]) == int(theirs.optimizer._iterations.numpy())


def both_ways(seed, folder):
    """Take a model from Keras to rnncore and back, by files, and train it on in both at each end."""
    keras, _ = frameworks()
    given = drawn(seed)
    theirs = keras_model(given)
    suffix = (".keras", ".h5")[seed % 2]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5", UserWarning)
        warnings.filterwarnings("ignore", ".*legacy.*")
        theirs.save(folder / f"theirs{suffix}")
    ours = load_model(folder / f"theirs{suffix}")
    forgotten(ours, theirs)
    expected = theirs.predict(given.x, verbose=0)
    assert off_by(ours.predict(given.x, verbose=0), expected) <= PREDICTED, given
    forgotten(ours, theirs)
    train(ours, theirs, given)

    theirs.save_weights(folder / "theirs.weights.h5")
    forgotten(ours, theirs)
    blank = rnncore.Sequential.from_config(ours.get_config())
    blank.load_weights(folder / "theirs.weights.h5")
    expected = theirs.predict(given.x, verbose=0)
    assert off_by(blank.predict(given.x, verbose=0), expected) <= PREDICTED, f"weights of {given}"

    forgotten(ours, blank)
    for suffix in (".h5", ".keras"):
        ours.save(folder / f"ours{suffix}")
        expected = ours.predict(given.x, verbose=0)
        again = keras.models.load_model(folder / f"ours{suffix}")
        again.run_eagerly = True
        assert off_by(again.predict(given.x, verbose=0), expected) <= PREDICTED, f"back as {suffix}: {given}"
        forgotten(ours, again)
    train(ours, again, given)
    ours.save_weights(folder / "ours.weights.h5")
    forgotten(ours, again)
    again.load_weights(folder / "ours.weights.h5")
    assert off_by(again.predict(given.x, verbose=0), ours.predict(given.x, verbose=0)) <= PREDICTED, f"weights, {given}"


@pytest.mark.keras
@pytest.mark.parametrize("seed", SEEDS)
def test_models_go_both_ways(seed, tmp_path):
    config.set_backend("numpy")
    both_ways(seed, tmp_path)
