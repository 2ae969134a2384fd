"""Where a `fit` stands, so that a run that was cut can go on there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..layers.checks import flag, whole
from .batches import Source
from .callback import Callback
from .compiled import RunningMetrics


class FitState:
    """Where a `fit` stands: what comes next, and what the epoch has so far. It can be written down and gone back to.

    Attributes
    ----------
    epoch : int
        Of the next batch, from 0.
    batch : int
        The next one of the epoch, from 0.
    source, validation : Source
        Of the training, which knows what the next batch is; of the validations, or None.
    steps, validation_steps : int or None
        Batches in an epoch and in a validation, where they were counted out.
    asked : dict
        What else `fit` was asked for that makes a difference to it.
    running : RunningMetrics or None
        None between two epochs.
    stopped : bool
        Whether the epoch has no more batches, because training was stopped in it before it was written down.
    over : bool
        Whether training was stopped before it was written down, and the epoch was closed.
    apart : bool
        Of `RunningMetrics`.
    callbacks : list of Callback
    """

    def __init__(
        self,
        model: Any,
        epoch: int,
        source: Source,
        steps: int | None,
        validation: Source | None = None,
        validation_steps: int | None = None,
        asked: Mapping[str, Any] | None = None,
        apart: bool = False,
    ):
        self.model, self.epoch, self.batch, self.apart = model, epoch, 0, apart
        self.source, self.steps, self.validation, self.validation_steps = source, steps, validation, validation_steps
        self.asked = asked or {}
        self.running: RunningMetrics | None = None
        self.stopped, self.over = False, False
        self.callbacks: list[Callback] = []

    @property
    def length(self) -> int | None:
        """Batches in an epoch, if that is known."""
        return self.steps or self.source.steps

    def left(self) -> int | None:
        """Return how many batches the epoch has yet; None: as many as there are."""
        if self.stopped:
            return 0
        return None if self.steps is None else max(0, self.steps - self.batch)

    def begin_epoch(self) -> RunningMetrics:
        """Go to the epoch's first batch; return what is going to count it."""
        self.batch, self.running = 0, RunningMetrics(self.model, self.source.ragged, self.apart)
        return self.running

    def end_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch, self.batch, self.running = self.epoch + 1, 0, None
        self.source.end_epoch()

    def get_state(self) -> dict[str, Any]:
        """Return all this in plain values and arrays, with what the callbacks remember."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "source": self.source.get_state(),
            "validation": self.validation.get_state() if self.validation and self.validation.continues else None,
            "stopped": self.model.stop_training,
            "metrics": None if self.running is None else self.running.get_state(),
            "callbacks": {
                name: [callback.get_state() for callback in kind] for name, kind in self._callbacks_by_class().items()
            },
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `get_state` returned; callbacks that are new begin anew.

        Raises
        ------
        ValueError
            It was another number of samples, or another batch size, or something is no such state.
        """
        under_way = state["metrics"] is not None
        self.epoch, self.batch = whole(state["epoch"], "epoch"), whole(state["batch"], "batch")
        done = len(state["callbacks"]["History"][-1]["epoch"])  # an entry an epoch: no more than the file has bytes
        self.source.set_state(state["source"], under_way, done, self.steps and done * self.steps + self.batch)
        if state["validation"] is not None and self.validation is not None:
            steps = self.validation_steps and done * self.validation_steps
            self.validation.set_state(state["validation"], False, done, steps)
        if under_way:
            self.running = RunningMetrics(self.model, self.source.ragged, self.apart)
            self.running.set_state(state["metrics"])
        self.model.stop_training = flag(state["stopped"], "stopped")
        self.stopped, self.over = (self.model.stop_training and now for now in (under_way, not under_way))
        for name, kind in self._callbacks_by_class().items():
            for callback, own in zip(kind, state["callbacks"].get(name, ()), strict=False):
                callback.set_state(own)

    def _callbacks_by_class(self):
        found = {}
        for callback in self.callbacks:
            found.setdefault(type(callback).__name__, []).append(callback)
        return found
