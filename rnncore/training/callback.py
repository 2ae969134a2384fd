"""What hooks into training: called at its beginning and end, and around every epoch and batch."""

from __future__ import annotations

from typing import Any

from ..configured import telling_arguments


class Callback:
    """Base of the callbacks: override what you need.

    Attributes
    ----------
    params : dict
        Set by `fit`, `evaluate` and `predict`: ``epochs``, ``steps`` (batches an epoch, None where that is not known)
        and ``verbose``.
    model : Sequential
        Set by them. A callback that sets ``model.stop_training`` to True ends training after the batch
        or epoch.
    remembers : tuple of str
        A class states here the attributes that change in training, so that `BackupAndRestore` can keep them: plain
        values and arrays.
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = telling_arguments(cls.__init__)  # type: ignore[method-assign]

    model: Any = None
    params: dict[str, Any] = {}
    remembers: tuple[str, ...] = ()
    comes_last = False  # whether it is called after all others

    def get_state(self) -> dict[str, Any]:
        """Return what training has made of the callback, in plain values and arrays."""
        return {name: getattr(self, name) for name in self.remembers}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` returned; called after `on_train_begin`."""
        if set(state) != set(self.remembers):
            raise ValueError(f"{type(self).__name__} remembers {', '.join(self.remembers)}; got {', '.join(state)}")
        vars(self).update(state)

    def before_train(self, state: Any) -> None:
        """Before `on_train_begin` of any callback, when `state` (`FitState`) says what `fit` will do.

        What makes training impossible is refused here: nothing has changed yet.
        """

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """After the last epoch, also when training was interrupted; `logs` are those of the last one that ended."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Before epoch number `epoch`, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """After an epoch; `logs` has its loss and metrics, those of the validation as ``val_…``."""

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Before batch number `batch` of the epoch."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """After it; `logs` has the running means of the epoch."""

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Before an evaluation, also that of validation data in `fit`."""

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """After it; `logs` has its loss and metrics."""

    def on_test_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Before batch number `batch` of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """After it; `logs` has the running means of the evaluation."""

    def on_predict_begin(self, logs: dict[str, float] | None = None) -> None:
        """Before a prediction."""

    def on_predict_end(self, logs: dict[str, float] | None = None) -> None:
        """After it."""

    def on_predict_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Before batch number `batch` of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """After it; `logs` has its ``outputs``."""

    def on_not_finite(self, batch: int, error: FloatingPointError) -> bool:
        """Where a batch's loss or gradient is not finite: whether that ends training without an error."""
        return False


class History(Callback):
    """The logs of every epoch.

    Attributes
    ----------
    epoch : list of int
    history : dict of str to list of float
        A list a loss or metric, one entry an epoch.
    """

    remembers = ("epoch", "history")

    def __init__(self):
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
