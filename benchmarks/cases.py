"""What is measured: a table of models, the arrays each is given, and the work that there is in them.

B rows a batch, T steps, E size of a word's vector, H units, G gates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .texts import Texts

GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
BATCHES = 40  # as many different ones a case has; a round takes no more steps


@dataclass(frozen=True)
class Case:
    """A model, and what is done with it.

    Attributes
    ----------
    work : {"train", "predict", "call"}
        Training steps with Adam, calls of ``predict`` on all rows, or of the leanest thing that predicts a batch.
    rows : int, optional
        How many are predicted.
    mask : bool
        Whether id 0 is padding, which no state sees.
    text : {"ends", "whole", "stream"}
        What stands in a row: see `Texts.rows`.
    """

    name: str
    title: str
    work: str = "train"
    layer: str = "LSTM"
    units: int = 128
    depth: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    vocabulary: int = 20_000
    embedding: int = 128
    mask: bool = False
    text: str = "ends"
    steps: int = 80
    batch: int = 32
    rows: int | None = None

    def label(self) -> str:
        """Return the title with its numbers."""
        return self.title.format(**asdict(self))

    def without_dropout(self) -> Case:
        """Return the case in which nothing is drawn, so that results can be compared."""
        return replace(self, dropout=0.0, recurrent_dropout=0.0)

    def tiny(self, axis: str | None = None) -> Case:
        """Return the case in a size that shows whether it runs; on an axis of the sweep sizes stay different.

        Masked ones have rows shorter than their steps, and longer ones: the shortest review has 10 words.
        """
        small = {"units": 8, "embedding": 8, "vocabulary": 500, "steps": 150 if self.mask else 12, "batch": 4}
        if axis:
            small[axis] = 4 + AXES[axis].index(getattr(self, axis))
        return replace(self, **small, rows=self.rows and min(self.rows, 16))

    @property
    def directions(self) -> int:
        """1, or 2 where the sequence is read from both ends."""
        return 1 + self.bidirectional

    @property
    def sizes(self) -> list[int]:
        """The size of the input of each recurrent layer."""
        return [self.embedding, *[self.directions * self.units] * (self.depth - 1)]

    @property
    def passes(self) -> int:
        """How often each product is computed: forward, and trained once for the gradient of each of its factors."""
        return 3 if self.work == "train" else 1

    def products(self, inputs: int, states: int, layer: int | None = None) -> float:
        """Return the operations for one word of the products x W, so many times, and h U; of one layer or of all."""
        sizes = self.sizes if layer is None else [self.sizes[layer]]
        columns = self.directions * GATES[self.layer] * self.units
        return sum(2 * (inputs * size + states * self.units) * columns for size in sizes)

    def weights(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Draw weights in the order and layout of Keras's ``get_weights``."""
        columns = GATES[self.layer] * self.units
        bias = (2, columns) if self.layer == "GRU" else (columns,)
        shapes = [(self.vocabulary, self.embedding)]
        for size in self.sizes:
            shapes += self.directions * [(size, columns), (self.units, columns), bias]
        shapes += [(self.directions * self.units, 1), (1,)]
        return [_drawn(rng, shape) for shape in shapes]

    def arrays(self, texts: Texts, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return x, (N, T) int32, and y, (N, 1) float32."""
        count = self.rows or (BATCHES + 1) * self.batch
        x = texts.rows(self.text, count, self.steps)
        return np.where(x < self.vocabulary, x, 2), rng.integers(0, 2, (count, 1)).astype(np.float32)

    def words(self, x: np.ndarray) -> int:
        """Return how many words of x a state sees."""
        return int(np.count_nonzero(x)) if self.mask else x.size


def _drawn(rng, shape):
    # Vectors of words and biases small, products of the size of one: gates neither idle nor saturated.
    scale = 0.05 if len(shape) == 1 or shape[0] == 2 else 1 / np.sqrt(min(shape[0], 1000))
    return (scale * rng.standard_normal(shape)).astype(np.float32)


_LECTURE = Case("lecture", "lecture model: Embedding, LSTM({units}), Dense; {steps} steps")

CASES = {
    case.name: case
    for case in (
        _LECTURE,
        replace(
            _LECTURE,
            name="dropout",
            title="lecture model, dropout {dropout}, recurrent_dropout {recurrent_dropout}",
            dropout=0.2,
            recurrent_dropout=0.2,
        ),
        Case(
            "masked",
            "Bidirectional(LSTM({units})), whole reviews to {steps} words, masked",
            units=64,
            bidirectional=True,
            mask=True,
            text="whole",
            steps=400,
            batch=64,
        ),
        Case(
            "stacked",
            "two Bidirectional(LSTM({units})), {steps} steps",
            units=64,
            depth=2,
            bidirectional=True,
            steps=200,
        ),
        Case("simple-rnn", "SimpleRNN({units}), {steps} steps", layer="SimpleRNN"),
        Case("gru", "GRU({units}), {steps} steps", layer="GRU"),
        replace(_LECTURE, name="one", title="lecture model: predict one review", work="predict", rows=1),
        replace(_LECTURE, name="one-call", title="lecture model: one review, leanest call", work="call", rows=1),
        replace(_LECTURE, name="many", title="lecture model: predict {rows:,}", work="predict", rows=5000, batch=256),
    )
}

AXES = {
    "units": (32, 64, 128, 256, 512),
    "batch": (1, 4, 16, 32, 64, 128, 256),
    "steps": (20, 50, 100, 200, 500, 1000),
}


FLAGS = {  # what is said without a value
    "masked": {"mask": True, "text": "whole"},
    "bidirectional": {"bidirectional": True},
    "predict": {"work": "predict"},
    "call": {"work": "call"},
}
GIVEN = ("units", "depth", "steps", "batch", "rows", "vocabulary", "embedding", "dropout", "recurrent_dropout")


def case_of(text: str) -> Case:
    """Return the case that a line describes: a layer, then sizes and flags, in any order.

    ``"GRU units=48 steps=30 batch=16 masked dropout=.2"``

    Raises
    ------
    ValueError
        Something in it is not known, or no size; the message says what may be given.
    """
    layer, *words = text.split() or [""]
    if layer not in GATES:
        raise ValueError(f"a case begins with its layer, one of {', '.join(GATES)}; {text!r} begins with {layer!r}")
    changed: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if word in FLAGS:
            changed |= FLAGS[word]
            continue
        if name not in GIVEN:
            sizes = ", ".join(f"{name}=…" for name in GIVEN)
            raise ValueError(f"{word!r} is not known in {text!r}; expected {sizes}, {', '.join(FLAGS)}")
        share = "dropout" in name
        try:
            changed[name] = float(value) if share else int(value)
        except ValueError:
            changed[name] = -1
        if not (0 <= changed[name] < 1 if share else 0 < changed[name] < 1 << 31):
            raise ValueError(f"{word!r}: expected {'a share below 1' if share else 'a whole number above 0'}")
    if "rows" not in changed and changed.get("work", "train") != "train":
        changed["rows"] = changed.get("batch", Case.batch)
    return Case(text, text, layer=layer, **changed)


def sweep() -> Iterator[tuple[str, Case]]:
    """Yield an axis and a case for each size of the sweep: the lecture's model with one size changed."""
    for axis, sizes in AXES.items():
        for size in sizes:
            changed = {axis: size, "name": f"{axis}-{size}", "title": f"lecture model, {axis} {{{axis}}}"}
            yield axis, replace(_LECTURE, text="stream", **changed)
