"""What hooks into training: called at its beginning and end, and around every epoch and batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from .configured import look_up


class Callback:
    """Base of the callbacks: override what you need.

    Attributes
    ----------
    model : Sequential
        Set by `fit`. A callback that sets ``model.stop_training`` to True ends training after the epoch.
    """

    model: Any = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """After the last epoch, also when training was interrupted."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Before epoch number `epoch`, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """After an epoch; `logs` has its loss and metrics, those of the validation as ``val_…``."""

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Before batch number `batch` of the epoch."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """After it; `logs` has the running means of the epoch."""


class History(Callback):
    """The logs of every epoch.

    Attributes
    ----------
    epoch : list of int
    history : dict of str to list of float
        A list a loss or metric, one entry an epoch.
    """

    def __init__(self):
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class EarlyStopping(Callback):
    """Stop when a value has not improved for some epochs, as Keras.

    Parameters
    ----------
    monitor : str
        A name in the logs.
    min_delta : float
        How much better a value must be to count.
    patience : int
        Epochs without improvement after which training ends.
    mode : {"auto", "min", "max"}
        Which way is better; "auto": down, but up for accuracies.
    restore_best_weights : bool
        Whether the model ends with the weights of its best epoch, also when training was interrupted.

    Attributes
    ----------
    best : float
    best_epoch : int
        Counted from 0.
    stopped_epoch : int
        0 if training ran to its end.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = False,
    ):
        upward = monitor.endswith(("acc", "accuracy"))
        self.sign = look_up(mode, {"auto": 1 if upward else -1, "min": -1, "max": 1}, "mode")
        self.monitor, self.min_delta, self.patience, self.mode = monitor, abs(min_delta), patience, mode
        self.restore_best_weights = restore_best_weights

    def on_train_begin(self, logs=None):
        self.best, self.best_epoch, self.stopped_epoch, self.wait = -self.sign * np.inf, 0, 0, 0
        self._best_weights = None

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(f"EarlyStopping: monitor is {self.monitor!r}; the logs have {', '.join(logs)}")
        self.wait += 1
        if self.sign * (logs[self.monitor] - self.best) > self.min_delta or self._best_weights is None:
            self.best, self.best_epoch, self.wait = logs[self.monitor], epoch, 0
            self._best_weights = self.model.get_weights() if self.restore_best_weights else ()
        if self.wait >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.restore_best_weights and self._best_weights:
            self.model.set_weights(self._best_weights)
