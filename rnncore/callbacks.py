"""What hooks into training: called at its beginning and end, and around every epoch and batch."""

from __future__ import annotations

from typing import Any

from .configured import look_up
from .layers.checks import finite, flag, whole


class Callback:
    """Base of the callbacks: override what you need.

    Attributes
    ----------
    params : dict of str to int
        Set by `fit`: ``epochs``, ``steps`` (batches an epoch) and ``verbose``.
    model : Sequential
        Set by `fit`. A callback that sets ``model.stop_training`` to True ends training after the batch
        or epoch.
    """

    model: Any = None
    params: dict[str, int] = {}

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
    verbose : {0, 1}
        Whether to say where training stopped and which weights it went back to.
    mode : {"auto", "min", "max"}
        Which way is better; "auto": down, but up for accuracies.
    baseline : float, optional
        Values that are not better than this count as no improvement.
    restore_best_weights : bool
        Whether the model ends with the weights of its best epoch, also when training was interrupted.
    start_from_epoch : int
        Epochs before this one, from 0, are not looked at.

    Attributes
    ----------
    best : float or None
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
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        if not isinstance(monitor, str):
            raise TypeError(f"EarlyStopping: monitor is {monitor!r}; expected a name in the logs")
        upward = monitor.endswith(("acc", "accuracy"))
        self.sign = look_up(mode, {"auto": 1 if upward else -1, "min": -1, "max": 1}, "mode")
        self.monitor, self.mode = monitor, mode
        self.min_delta = abs(finite(min_delta, "EarlyStopping: min_delta"))
        self.patience = whole(patience, "EarlyStopping: patience")
        self.verbose = whole(verbose, "EarlyStopping: verbose")
        self.baseline = None if baseline is None else finite(baseline, "EarlyStopping: baseline")
        self.restore_best_weights = flag(restore_best_weights, "EarlyStopping: restore_best_weights")
        self.start_from_epoch = whole(start_from_epoch, "EarlyStopping: start_from_epoch")

    def on_train_begin(self, logs=None):
        self.best, self.best_epoch, self.stopped_epoch, self.wait = None, 0, 0, 0
        self._best_weights = None

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(f"EarlyStopping: monitor is {self.monitor!r}; the logs have {', '.join(logs)}")
        if epoch < self.start_from_epoch:
            return
        value = logs[self.monitor]
        self.wait += 1
        if self._better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self._best_weights = self.model.get_weights()
            if self._better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self._best_weights is not None:
            if self.verbose:
                print(f"Back to the weights of the best epoch, {self.best_epoch + 1}")
            self.model.set_weights(self._best_weights)

    def _better(self, value, than):
        return than is None or self.sign * (value - than) > self.min_delta
