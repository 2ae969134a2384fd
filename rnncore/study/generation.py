"""What a model that says what comes next would go on to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import config
from ..layers import core, noise
from ..layers.checks import checked_array, finite, flag, seed_or_none, whole
from ..layers.embedding import Embedding
from ..layers.recurrent import RNN
from ..layers.scopes import states_apart
from ..lock import locked
from ..models import Sequential
from ..training.trainer import Trainer

# Layers whose output at a step is a matter of that step alone. For a recurrent layer it is one of its states, too.
STEPWISE = {Embedding, core.Dense, core.Activation, core.Identity, core.ActivityRegularization}
STEPWISE |= {core.Dropout, noise.SpatialDropout1D, noise.GaussianNoise, noise.GaussianDropout}


@locked
def generate(
    model: Trainer,
    prompt: Any,
    n: int,
    temperature: float = 1.0,
    seed: int | None = None,
    *,
    vocabulary: Sequence[str] | None = None,
    from_logits: bool | None = None,
) -> Any:
    """Return what a model goes on with behind a prompt, each symbol drawn by the probabilities that it gives.

    The model, a stateful one too, begins anew: it reads the prompt and then each symbol that was drawn. States go from
    step to step whether its layers are stateful or not; afterwards the model is as it was. Where a layer looks further
    than at its own step (`Bidirectional`, `Conv1D`, one of your own), all is read again for each symbol, which
    comes to the same and takes longer.

    Parameters
    ----------
    model : Trainer
        Takes ids, (B, T), and gives each of V symbols a probability, or logit, to be the next one: (B, T, V), or (B, V)
        behind the last step.
    prompt : str, or array_like of shape (P,), int
        Characters of `vocabulary`, or ids; at least one.
    n : int
        How many symbols to draw.
    temperature : float
        At least 0. Logits are divided by it: below 1 what is likely becomes more so. 0: always the likeliest.
    seed : int, optional
        Of the draws; default: the next one of the process (`rnncore.config.set_seed`).
    vocabulary : str or sequence of str, optional
        V different characters, that of id 0 first: prompt and result are strings then.
    from_logits : bool, optional
        Whether the model gives logits, or probabilities; default: by its last layer's activation, linear or softmax.

    Returns
    -------
    str, or ndarray of shape (n,), int64
        What comes behind the prompt, as it came: as a string or as ids. An id that is padding is never drawn.

    Raises
    ------
    ValueError, TypeError
        An argument is not what it should be, or the model is none that says what comes next.

    Examples
    --------
    >>> speller = Sequential([Embedding(3, 4), LSTM(8, return_sequences=True), Dense(3, activation="softmax")])
    >>> rnncore.study.generate(speller, [0, 1], 4, seed=0).shape
    (4,)
    >>> len(rnncore.study.generate(speller, "ab", 4, temperature=0.5, vocabulary="abc"))
    4
    """
    if not isinstance(model, Trainer) or model.input_kind != "integer":
        raise TypeError(f"model is {model!r}; expected one that takes ids, as a Sequential with an Embedding first")
    n, temperature = whole(n, "n"), finite(temperature, "temperature")
    if temperature < 0:
        raise ValueError(f"temperature is {temperature!r}; expected a number of at least 0")
    rng = config.new_generator(seed_or_none(seed, "seed"))
    logits = _gives_logits(model) if from_logits is None else flag(from_logits, "from_logits")
    ids = _ids(prompt, model.padding_value, vocabulary)
    with _from_the_beginning(model) as carries:
        for _ in range(n):
            read = ids[-1:] if carries and len(ids) > len(prompt) else ids
            if not carries:
                _forget(model)
            scores = _next(model.predict_on_batch(np.array([read])), logits, vocabulary)
            if model.padding_value is not None:
                scores[int(model.padding_value)] = -np.inf
            if scores.max() == -np.inf:
                raise ValueError("model gives no symbol, but for padding, a probability above 0")
            ids.append(_drawn(scores, temperature, rng))
    found = ids[len(prompt) :]
    return np.array(found, np.int64) if vocabulary is None else "".join(vocabulary[one] for one in found)


def _gives_logits(model: Any) -> bool:
    """Return whether the model's output is logits; raise ValueError if its last layer does not say so."""
    last = model.output_layer
    while hasattr(last, "layer"):  # of a TimeDistributed
        last = last.layer
    name = getattr(getattr(last, "activation", None), "name", None)
    if name not in ("softmax", "linear"):
        raise ValueError(
            f"model: {model.name} ends in {last!r}; expected softmax, for probabilities, or linear, for logits; "
            "of any other say which it gives: from_logits=…"
        )
    return name == "linear"


def _ids(prompt: Any, padding: float | None, vocabulary: Sequence[str] | None) -> list[int]:
    """Return the prompt's ids, or raise ValueError or TypeError."""
    if vocabulary is not None:
        letters = {letter: n for n, letter in enumerate(vocabulary)}
        if len(letters) < len(vocabulary) or not all(isinstance(one, str) and len(one) == 1 for one in letters):
            raise ValueError(f"vocabulary is {vocabulary!r:.60}; expected characters, each once")
        if not isinstance(prompt, str):
            raise TypeError(f"prompt is {prompt!r:.60}; with a vocabulary it is expected to be a string")
        for place, letter in enumerate(prompt):
            if letter not in letters:
                raise ValueError(f"prompt has {letter!r} at {place}, which the vocabulary has not")
        ids = [letters[letter] for letter in prompt]
    elif isinstance(prompt, str):
        raise TypeError(f"prompt is {prompt!r:.60}; a string needs vocabulary, the characters by their ids")
    else:
        array = checked_array(prompt, "prompt", "integer", "int64")
        if array.ndim != 1:
            raise ValueError(f"prompt has shape {array.shape}; expected one row of ids, (P,)")
        ids = array.tolist()
    if not ids:
        raise ValueError("prompt is empty; expected at least one symbol to begin with")
    if padding is not None and padding in ids:
        place = ids.index(int(padding))
        raise ValueError(f"prompt has id {ids[place]} at {place}, which the model takes for padding")
    return ids


@contextmanager
def _from_the_beginning(model: Any) -> Iterator[bool]:
    """Let the model begin anew, and yield whether it goes on, call by call, from where it stands."""
    layers = model.children()
    recurrent = [layer for layer in layers if type(layer).call is RNN.call and not layer.go_backwards]
    in_a_row = type(model).call is Sequential.call
    carries = in_a_row and all(layer in recurrent or type(layer) in STEPWISE for layer in layers)
    before = [layer.stateful for layer in recurrent]
    with states_apart(model):
        try:
            for layer in recurrent if carries else ():
                layer.stateful = True
            yield carries
        finally:
            for layer, stateful in zip(recurrent, before, strict=True):
                layer.stateful = stateful


def _forget(model: Any) -> None:
    for layer in model.stateful_layers():
        layer.kept_states = None


def _next(output: Any, logits: bool, vocabulary: Sequence[str] | None) -> np.ndarray:
    """Return the log of each symbol's share of being the next, (V,), float64, up to a constant."""
    if not isinstance(output, np.ndarray) or output.ndim not in (2, 3):
        raise ValueError(f"model gives {np.shape(output)}; expected (B, T, V) or (B, V), a score for each symbol")
    scores = output.reshape(-1, output.shape[-1])[-1].astype(np.float64)
    if vocabulary is not None and len(vocabulary) != len(scores):
        raise ValueError(f"vocabulary has {len(vocabulary)} characters; the model knows {len(scores)} symbols")
    if not np.isfinite(scores).all() or not (logits or scores.min() >= 0):
        raise ValueError(f"model gives no {'finite logits' if logits else 'probabilities'}, but {scores.min()}")
    with np.errstate(divide="ignore"):
        return scores if logits else np.log(scores)


def _drawn(scores: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """Return a symbol, drawn by exp(scores / temperature)."""
    if not temperature:
        return int(scores.argmax())
    with np.errstate(over="ignore"):
        shares = np.exp((scores - scores.max()) / temperature)
    sums = shares.cumsum()
    return int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
