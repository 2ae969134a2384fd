"""What holds while a block runs: which weights layers may make, and what of a call they keep. And layers' names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_names: Counter[str] = Counter()
expected: ContextVar[Counter | None] = ContextVar("expected", default=None)  # see expected_weights
left: ContextVar[list[int] | None] = ContextVar("left", default=None)  # bytes: see weights_within
_keeps: ContextVar[bool] = ContextVar("keeps", default=True)  # see nothing_kept


def unique_name(kind: str) -> str:
    """Return `kind`, then `kind_1`, `kind_2` … as Keras numbers its layers."""
    _names[kind] += 1
    return kind if _names[kind] == 1 else f"{kind}_{_names[kind] - 1}"


def reset_names() -> None:
    """Start the numbering of layer names anew."""
    _names.clear()


@contextmanager
def expected_weights(arrays: Iterable[np.ndarray]) -> Iterator[None]:
    """Let layers make, within the block, weights of these shapes and dtypes only, and fill them with 0.

    For a model whose weights are read: what its configuration asks for takes no memory before it is known to be there,
    and nothing is drawn that would be thrown away.
    """
    before = expected.set(Counter((array.shape, array.dtype.name) for array in arrays))
    try:
        yield
    finally:
        expected.reset(before)


@contextmanager
def weights_within(size: int) -> Iterator[None]:
    """Let layers make, within the block, weights of no more bytes than `size` in all: ValueError before the first one.

    For a model whose description comes from anyone, and whose weights are drawn.
    """
    before = left.set([size])
    try:
        yield
    finally:
        left.reset(before)


@contextmanager
def unbuilt_if_refused(layer: Any) -> Iterator[None]:
    """Let what the block builds of a layer be unbuilt again if the block fails: what was refused chose no shapes."""
    unbuilt = [part for part in layer.walk() if not part.built]
    try:
        yield
    except BaseException:
        for part in unbuilt:
            part.built, part.own_weights = False, list(part._first)
        raise


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Let recurrent layers, within the block, keep no more than is needed: less memory and time.

    Of a call without `training` nothing is left but what it returns: no time series, and no backward pass.
    """
    before = _keeps.set(False)
    try:
        yield
    finally:
        _keeps.reset(before)


@contextmanager
def states_apart(layer: Any) -> Iterator[None]:
    """Let stateful layers begin anew in the block, and have their states again after it."""
    layers = layer.stateful_layers()
    kept = [part.kept_states for part in layers]
    for part in layers:
        part.kept_states = None
    try:
        yield
    finally:
        for part, states in zip(layers, kept, strict=True):
            part.kept_states = states


def keeps() -> bool:
    """Whether layers keep what happens at each step."""
    return _keeps.get()
