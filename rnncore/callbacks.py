"""What hooks into training: called at its beginning and end, and around every epoch and batch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import saving
from .configured import look_up
from .layers.base import finite, flag, positive, whole


class Callback:
    """Base of the callbacks: override what you need.

    Attributes
    ----------
    params : dict of str to int
        Set by `fit`: ``epochs``, ``steps`` (batches an epoch) and ``verbose``.
    model : Sequential
        Set by `fit`. A callback that sets ``model.stop_training`` to True ends training after the batch
        or epoch.
    remembers : tuple of str
        A class states here the attributes that change in training, so that `BackupAndRestore` can keep them: plain
        values and arrays.
    """

    model: Any = None
    params: dict[str, int] = {}
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

    remembers = ("epoch", "history")

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

    remembers = ("best", "best_epoch", "stopped_epoch", "wait", "_best_weights")

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
        self.monitor, self.mode, self.sign = _monitored(self, monitor, mode)
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
        value = _value(self, logs)
        if epoch < self.start_from_epoch:
            return
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


class ModelCheckpoint(Callback):
    """Save the model, or its weights, after every epoch or some batches, as Keras.

    Parameters
    ----------
    filepath : path
        May have names of the logs, ``epoch`` and ``batch`` (both from 1) in braces:
        ``"model-{epoch:02d}-{val_loss:.2f}.npz"``.
    monitor, mode : str
        As in `EarlyStopping`; for `save_best_only`.
    verbose : {0, 1}
        Whether to say what is saved.
    save_best_only : bool
        Whether only a better value is a reason to save.
    save_weights_only : bool
        Whether to call ``model.save_weights`` rather than ``model.save``.
    save_freq : "epoch" or int
        Every so many batches, counted through all epochs.
    initial_value_threshold : float, optional
        The value to be better than at first.

    Attributes
    ----------
    best : float or None
    """

    remembers = ("best", "_batches")

    def __init__(
        self,
        filepath: str | os.PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        self.filepath = os.fspath(filepath)
        self.monitor, self.mode, self.sign = _monitored(self, monitor, mode)
        self.verbose = whole(verbose, "ModelCheckpoint: verbose")
        self.save_best_only = flag(save_best_only, "ModelCheckpoint: save_best_only")
        self.save_weights_only = flag(save_weights_only, "ModelCheckpoint: save_weights_only")
        self.save_freq = _frequency(self, save_freq)
        self.best = (
            None if initial_value_threshold is None else finite(initial_value_threshold, "ModelCheckpoint: best")
        )
        self._batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self._batches += 1
        if self.save_freq != "epoch" and self._batches % self.save_freq == 0:
            self._save(self.model.place.epoch, batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save(epoch, None, logs)

    def _save(self, epoch, batch, logs):
        if self.save_best_only:
            value = _value(self, logs)
            if self.best is not None and not self.sign * (value - self.best) > 0:
                return
            self.best = value
        numbers = {"epoch": epoch + 1} | ({} if batch is None else {"batch": batch + 1})
        try:
            path = self.filepath.format(**{**(logs or {}), **numbers})
        except (KeyError, IndexError) as error:
            raise ValueError(
                f"ModelCheckpoint: filepath is {self.filepath!r}, but {error} is not among "
                f"{', '.join([*numbers, *(logs or {})])}"
            ) from error
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            print(f"Epoch {epoch + 1}: saved {path}")


class BackupAndRestore(Callback):
    """Write down where training stands, so that a cut run goes on as if it had not been cut.

    Start the same script again, and `fit` continues after the last backup: weights, optimizer, random generators,
    states of stateful layers, the epoch's order, running means, History and what the other callbacks remember (see
    `Callback.remembers`) are as they were, so that the final weights are those of a run in one piece, bit for bit. A
    hook is not called again for a place where it has been: an epoch that was under way has no second `on_epoch_begin`.

    Parameters
    ----------
    backup_dir : path
        A folder for this training alone.
    save_freq : "epoch" or int
        Every so many batches, counted through all epochs.
    delete_checkpoint : bool
        Whether the backup goes when training has ended as it should; if it stays, `fit` finds nothing left to do.

    Raises
    ------
    ValueError
        From `fit`: the backup is of another model or of other data, or damaged. The backup has not been touched.

    Notes
    -----
    The backup is written beside the old one and then takes its place: whenever the process ends, one of them is whole.
    """

    comes_last = True

    def __init__(self, backup_dir: str | os.PathLike, save_freq: str | int = "epoch", delete_checkpoint: bool = True):
        if not os.fspath(backup_dir):
            raise ValueError("BackupAndRestore: backup_dir is empty; expected the name of a folder")
        self.path = Path(backup_dir, "training.npz")
        self.save_freq = _frequency(self, save_freq)
        self.delete_checkpoint = flag(delete_checkpoint, "BackupAndRestore: delete_checkpoint")

    def on_train_begin(self, logs=None):
        self._batches, self._ended = 0, False
        for draft in self.path.parent.glob(f".{self.path.stem}.*{self.path.suffix}"):
            draft.unlink()  # of a run that was cut while it wrote
        if self.path.exists():
            saving.load_checkpoint(self.model, self.path)
            self._ended = self._all_done()

    def on_train_batch_end(self, batch, logs=None):
        self._batches += 1
        if self.save_freq != "epoch" and self._batches % self.save_freq == 0:
            saving.save_checkpoint(self.model, self.path)

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            saving.save_checkpoint(self.model, self.path)
        self._ended = self._all_done() or self.model.stop_training

    def on_train_end(self, logs=None):
        if self._ended and self.delete_checkpoint:
            self.path.unlink(missing_ok=True)

    def _all_done(self):
        return self.model.place.over or self.model.place.epoch >= self.params["epochs"]


def _monitored(callback: Callback, monitor: str, mode: str) -> tuple[str, str, int]:
    """Return `monitor`, `mode`, and whether larger values are better (1) or smaller ones (-1)."""
    if not isinstance(monitor, str):
        raise TypeError(f"{type(callback).__name__}: monitor is {monitor!r}; expected a name in the logs")
    upward = monitor.endswith(("acc", "accuracy"))
    return monitor, mode, look_up(mode, {"auto": 1 if upward else -1, "min": -1, "max": 1}, "mode")


def _value(callback: Any, logs: dict[str, float] | None) -> float:
    """Return what the callback looks at, or raise ValueError."""
    if callback.monitor not in (logs or {}):
        raise ValueError(
            f"{type(callback).__name__}: monitor is {callback.monitor!r}; the logs have {', '.join(logs or {})}"
        )
    return logs[callback.monitor]


def _frequency(callback: Callback, save_freq: str | int) -> str | int:
    return save_freq if save_freq == "epoch" else positive(save_freq, f"{type(callback).__name__}: save_freq")
