"""Windows that slide over the steps: which steps each reads, for convolution and pooling.

Nothing is padded: what would be read beyond the ends adds nothing, however far it is. Sizes: T steps, N windows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .checks import positive


class Windows(NamedTuple):
    """Where windows begin and end.

    Attributes
    ----------
    size : int
        Places in a window.
    stride : int
        Steps from the beginning of one window to that of the next.
    dilation : int
        Steps from one place to the next.
    padding : {"valid", "same", "causal"}
        Windows within the steps; enough of them that ``N = ceil(T / stride)``, reaching over both ends alike, the last
        one by a step more where they cannot; or such that each ends at the step that it is for.
    """

    size: int
    stride: int
    dilation: int
    padding: str

    @property
    def span(self) -> int:
        """Steps from a window's first place to its last one, both included."""
        return (self.size - 1) * self.dilation + 1

    def before(self, steps: int) -> int:
        """Return how many steps before the first one the first window begins."""
        if self.padding == "same":
            beyond = (self.count(steps) - 1) * self.stride + self.span - steps
            return max(beyond, 0) // 2
        return self.span - 1 if self.padding == "causal" else 0

    def count(self, steps: int) -> int:
        """Return N for T steps; below 1 where no window fits."""
        fitting = steps - self.span + 1 if self.padding == "valid" else steps
        return -(-fitting // self.stride)

    def places(self, steps: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield each place k, the windows that have a step there, and those steps: as many as the windows."""
        before, count = self.before(steps), self.count(steps)
        nearest = max(0, -(-(before - (count - 1) * self.stride) // self.dilation))
        for k in range(nearest, min(self.size, -(-(steps + before) // self.dilation))):
            offset = k * self.dilation - before
            first = max(0, -(offset // self.stride))
            last = min(count - 1, (steps - 1 - offset) // self.stride)
            if first <= last:
                begin = first * self.stride + offset
                end = last * self.stride + offset + 1
                yield k, slice(first, last + 1), slice(begin, end, self.stride)


def single(value: Any, label: str) -> int:
    """Return a whole number above 0, which may come in a list or tuple of one, as Keras writes it."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return positive(value, label)


def check_steps(windows: Windows, shape: Sequence[int | None], name: str) -> None:
    """Raise ValueError if no window fits in x of `shape` (B, T, D)."""
    steps = shape[1]
    if steps is not None and windows.count(steps) < 1:
        raise ValueError(f"{name}: x has {steps} steps in shape {tuple(shape)}; a window spans {windows.span}")


def warn_of_mask(mask: np.ndarray | None, name: str) -> None:
    """Warn where a mask ends that marks padding."""
    if mask is not None and not mask.all():
        warnings.warn(
            f"{name}: the mask ends here, as in Keras, and padding is read as any other step; "
            "a recurrent layer or GlobalAveragePooling1D leaves it out",
            stacklevel=3,
        )
