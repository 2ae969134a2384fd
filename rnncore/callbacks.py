"""Callbacks with Keras's names: what they look at, write down or change while a model is trained."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from . import saving
from .configured import look_up, takes
from .layers.checks import finite, flag, fraction, positive, whole
from .training.callback import Callback, History  # noqa: F401, Keras has History here, too
from .training.description import described_training, plain
from .utils.files import remove_drafts

_SIGNS = {"min": -1, "max": 1}


class _Monitor(Callback):
    """Base of the callbacks that look at a value in the logs, and whether it is getting better."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0):
        kind = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{kind}: monitor is {monitor!r}; expected a name in the logs")
        self.sign = look_up(mode, {"auto": None, **_SIGNS}, "mode")  # of what is better; None: not known yet
        self.monitor, self.mode = monitor, mode
        self.min_delta = abs(finite(min_delta, f"{kind}: min_delta"))

    def before_train(self, state):
        if self.mode == "auto":
            self.sign = self._sign(state.model)

    def _sign(self, model):
        """Return 1 or -1 by the model's loss or metric of that name; None where there is none, or raise ValueError."""
        directions = dict(zip(model.metrics_names, ["min", *(m.direction for m in model.metrics)], strict=True))
        name = self.monitor if self.monitor in directions else self.monitor.removeprefix("val_")
        if name not in directions:
            return None
        if directions[name] not in _SIGNS:
            raise ValueError(self._undecided(f"the metric's direction is {directions[name]!r}"))
        return _SIGNS[directions[name]]

    def _undecided(self, why):
        return (
            f"{type(self).__name__}: monitor is {self.monitor!r}, and {why}; "
            "say mode='min' or mode='max', whichever is better"
        )

    def value(self, logs: dict[str, float] | None) -> float | None:
        """Return the value; None, with a warning, where the logs have none, as after an epoch without validation.

        Raises
        ------
        ValueError
            It is none to compare; or the logs have none, and neither the model nor `mode` tells of such a value.
        """
        logs = logs or {}
        if self.monitor not in logs:
            absent = f"{type(self).__name__}: monitor is {self.monitor!r}; the logs have {', '.join(logs)}"
            if self.sign is None:
                raise ValueError(absent)
            warnings.warn(f"{absent}: nothing is compared now", stacklevel=4)
            return None
        value = logs[self.monitor]
        if np.size(value) != 1:
            raise ValueError(
                f"{type(self).__name__}: monitor is {self.monitor!r}, which has {np.size(value)} values in an array; "
                "expected one number"
            )
        if self.sign is None:
            raise ValueError(self._undecided("no metric of the model has that name"))
        return np.asarray(value).item()

    def better(self, value: float, than: float | None) -> bool:
        """Return whether a value is better by more than `min_delta`; any is better than None."""
        return than is None or self.sign * (value - than) > self.min_delta


class EarlyStopping(_Monitor):
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
        Which values are better; "auto": as the metric says (`rnncore.metrics.Metric.direction`), smaller ones for a
        loss. What another callback puts into the logs, and a metric that does not say it, need one of the other two.
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
        super().__init__(monitor, mode, min_delta)
        self.patience = whole(patience, "EarlyStopping: patience")
        self.verbose = whole(verbose, "EarlyStopping: verbose")
        self.baseline = None if baseline is None else finite(baseline, "EarlyStopping: baseline")
        self.restore_best_weights = flag(restore_best_weights, "EarlyStopping: restore_best_weights")
        self.start_from_epoch = whole(start_from_epoch, "EarlyStopping: start_from_epoch")

    def on_train_begin(self, logs=None):
        self.best, self.best_epoch, self.stopped_epoch, self.wait = None, 0, 0, 0
        self._best_weights = None

    def on_epoch_end(self, epoch, logs=None):
        value = self.value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self._best_weights = self.model.get_weights()
            if self.better(value, self.baseline):
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


class ModelCheckpoint(_Monitor):
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
        Whether only a better value is a reason to save. Until there is a first value every epoch is saved; after that
        none without a value, where Keras puts such an epoch in the place of the best one.
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
        super().__init__(monitor, mode)
        self.filepath = os.fspath(filepath)
        self.verbose = whole(verbose, "ModelCheckpoint: verbose")
        self.save_best_only = flag(save_best_only, "ModelCheckpoint: save_best_only")
        self.save_weights_only = flag(save_weights_only, "ModelCheckpoint: save_weights_only")
        self.save_freq = frequency(save_freq, "ModelCheckpoint: save_freq")
        self.best = (
            None if initial_value_threshold is None else finite(initial_value_threshold, "ModelCheckpoint: best")
        )
        self._batches = 0

    def before_train(self, state):
        if self.save_best_only:
            super().before_train(state)
        if state.model.built:
            saving.check_form(state.model, self.filepath, self.save_weights_only)

    def on_train_batch_end(self, batch, logs=None):
        self._batches += 1
        if self.save_freq != "epoch" and self._batches % self.save_freq == 0:
            self._save(self.model.fit_state.epoch, batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save(epoch, None, logs)

    def _save(self, epoch, batch, logs):
        if self.save_best_only:
            value = self.value(logs)
            if self.best is not None and (value is None or not self.better(value, self.best)):
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


# By optimizer: the learning rate that it was given, and that which callbacks had made of it when the last fit ended.
_rates: WeakKeyDictionary[Any, tuple[Any, Any]] = WeakKeyDictionary()


class BackupAndRestore(Callback):
    """Write down where training stands, so that a cut run goes on as if it had not been cut.

    Start the same script again, and `fit` continues after the last backup: weights, optimizer, random generators,
    states of stateful layers, the epoch's order, running means, History and what the other callbacks remember (see
    `Callback.remembers`) are as they were, so that the final weights are those of a run in one piece, bit for bit. A
    hook is not called again for a place where it has been: an epoch that was under way has no second `on_epoch_begin`.
    A generator or another iterable is drawn from the beginning up to there; a sequence object is told of the epochs
    that there were (`on_epoch_begin`, `on_epoch_end`) and asked for the next batch.

    Parameters
    ----------
    backup_dir : path
        A folder for this training alone.
    save_freq : "epoch" or int
        Every so many batches, counted through all epochs.
    double_checkpoint : bool
        Accepted; a backup takes the place of the one before only when it is whole.
    delete_checkpoint : bool
        Whether the backup goes when training has ended as it should; if it stays, `fit` finds nothing left to do.

    Raises
    ------
    ValueError
        From `fit`: the backup is of another training, or damaged; the message says what differs. Model, optimizer,
        generators and callbacks are as they were then, and the backup has not been touched.

    Notes
    -----
    The backup is written beside the old one and then takes its place: whenever the process ends, one of them is whole.

    A training is another one if something else was said of the model, to `compile` or to `fit`, or if arrays among the
    data (x, y, sample weights, validation) have other values: the backup has a digest of them. It is what was said
    when `fit` began: what callbacks made of the learning rate, or of ``trainable``, is gone on with. `epochs`,
    `initial_epoch` and the other callbacks may differ, and so may names and seeds. Functions are compared by their name
    and their own code, which is another one in another version of Python; what they call, and what batches hold that
    an object or generator makes, is not looked at. A backup of a version of rnncore without descriptions is taken
    with a warning.
    """

    comes_last = True

    def __init__(
        self,
        backup_dir: str | os.PathLike,
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        if not os.fspath(backup_dir):
            raise ValueError("BackupAndRestore: backup_dir is empty; expected the name of a folder")
        self.path = Path(backup_dir, "training.npz")
        self.save_freq = frequency(save_freq, "BackupAndRestore: save_freq")
        flag(double_checkpoint, "BackupAndRestore: double_checkpoint")
        self.delete_checkpoint = flag(delete_checkpoint, "BackupAndRestore: delete_checkpoint")
        self._found: tuple[dict[str, Any], Callable[[], None]] | None = None  # a backup, until it is taken

    def before_train(self, state):
        self._training = described_training(state)
        rates, optimizer = self._training["compile"]["optimizer"]["config"], state.model.optimizer
        begun, left = _rates.get(optimizer, (None, None))
        if rates["learning_rate"] == left:  # of an earlier fit, whose callbacks made it of this one:
            rates["learning_rate"] = begun
        self._begun = rates["learning_rate"]
        self._found = None
        if self.path.exists():
            put_back = saving.as_it_was(state)
            self._found = saving.read_checkpoint(self.path, self._training), put_back

    def on_train_begin(self, logs=None):
        found, self._found = self._found, None
        if found is not None:
            content, put_back = found
            try:
                saving.resume(self.model, self.path, content)
            except BaseException:
                put_back()
                raise
        self._batches, self._ended = 0, found is not None and self._all_done()
        remove_drafts(self.path)  # of a run that was cut while it wrote

    def on_train_batch_end(self, batch, logs=None):
        self._batches += 1
        if self.save_freq != "epoch" and self._batches % self.save_freq == 0:
            saving.save_checkpoint(self.model, self.path, self._training)

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            saving.save_checkpoint(self.model, self.path, self._training)
        self._ended = self._all_done() or self.model.stop_training

    def on_train_end(self, logs=None):
        optimizer = self.model.optimizer
        _rates[optimizer] = self._begun, plain(optimizer.get_config()["learning_rate"])
        if self._ended and self.delete_checkpoint:
            self.path.unlink(missing_ok=True)

    def _all_done(self):
        return self.model.fit_state.over or self.model.fit_state.epoch >= self.params["epochs"]


class ReduceLROnPlateau(_Monitor):
    """Make the learning rate smaller when a value has not improved for some epochs, as Keras.

    The logs get the ``learning_rate`` that the epoch had.

    Parameters
    ----------
    monitor, mode : str
        As in `EarlyStopping`.
    factor : float in [0, 1)
        What the learning rate is multiplied by.
    patience : int
        Epochs without improvement after which it is.
    verbose : {0, 1}
        Whether to say so.
    min_delta : float
        How much better a value must be to count.
    cooldown : int
        Epochs after it that do not count.
    min_lr : float
        What the learning rate does not fall below.
    """

    remembers = ("best", "wait", "cooldown_counter")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.factor = fraction(factor, "ReduceLROnPlateau: factor")
        self.min_lr = finite(min_lr, "ReduceLROnPlateau: min_lr")
        self.patience, self.cooldown, self.verbose = (
            whole(value, f"ReduceLROnPlateau: {name}")
            for name, value in (("patience", patience), ("cooldown", cooldown), ("verbose", verbose))
        )

    def on_train_begin(self, logs=None):
        self.best, self.wait, self.cooldown_counter = None, 0, 0

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        logs["learning_rate"] = rate = float(optimizer.learning_rate)
        value = self.value(logs)
        if value is None:
            return
        self.cooldown_counter = max(0, self.cooldown_counter - 1)
        if self.better(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooldown_counter:
            self.wait = 0
        else:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"Epoch {epoch + 1}: the learning rate falls to {optimizer.learning_rate:g}")


class LearningRateScheduler(Callback):
    """Set the learning rate at the beginning of every epoch, as Keras; the logs get it as ``learning_rate``.

    Parameters
    ----------
    schedule : callable
        Takes the epoch, from 0, and the learning rate so far, or the epoch alone, and returns that of the epoch.
    verbose : {0, 1}
        Whether to say it.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler: schedule is {schedule!r}; expected a function of epoch and rate")
        self.schedule, self.verbose = schedule, whole(verbose, "LearningRateScheduler: verbose")

    def on_epoch_begin(self, epoch, logs=None):
        given = epoch, float(self.model.optimizer.learning_rate)
        rate = self.schedule(*given[: 2 if takes(self.schedule, *given) else 1])
        self.model.optimizer.learning_rate = finite(rate, "LearningRateScheduler: what schedule returned")
        if self.verbose:
            print(f"Epoch {epoch + 1}: the learning rate is {rate:g}")

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class CSVLogger(Callback):
    """Write the logs of every epoch into a table, as Keras: its columns are those of the first epoch.

    Parameters
    ----------
    filename : path
    separator : str
    append : bool
        Whether to go on in a file that is there.

    Notes
    -----
    With `BackupAndRestore` a run that goes on takes back the lines of epochs that it does again.
    """

    remembers = ("_columns", "_end")

    def __init__(self, filename: str | os.PathLike, separator: str = ",", append: bool = False):
        self.filename, self.separator = os.fspath(filename), separator
        self.append = flag(append, "CSVLogger: append")

    def on_train_begin(self, logs=None):
        self._columns, self._end = None, None  # the file's size after the last line

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self._columns is None:
            self._columns = sorted(logs)
            if not any(name.startswith("val_") for name in logs):
                self._columns += [f"val_{name}" for name in self._columns]
        with open(self.filename, "ab") as file:
            size = file.tell()
            file.truncate(min(size, self._end) if self._end is not None else size if self.append else 0)
            lines = io.StringIO()
            writer = csv.writer(lines, delimiter=self.separator)
            if not file.seek(0, os.SEEK_END):
                writer.writerow(["epoch", *self._columns])
            writer.writerow([epoch, *(logs.get(name, "NA") for name in self._columns)])
            file.write(lines.getvalue().encode())
            self._end = file.tell()


class TerminateOnNaN(Callback):
    """End training without an error where the loss, or a gradient, is no finite number.

    The weights are those before that batch, and the epoch's loss is logged as NaN. (Without it `fit` raises
    FloatingPointError, which says where the number came from.)

    Parameters
    ----------
    raise_error : bool
        Whether to raise RuntimeError instead, as Keras does.
    """

    def __init__(self, raise_error: bool = False):
        self.raise_error = flag(raise_error, "TerminateOnNaN: raise_error")

    def on_not_finite(self, batch, error):
        if self.raise_error:
            raise RuntimeError(f"Batch {batch}: {error}") from error
        print(f"Batch {batch}: Invalid loss, terminating training")
        return True


class LambdaCallback(Callback):
    """Functions as a callback, as Keras.

    Parameters
    ----------
    **hooks : callable
        By the names of `Callback`'s methods, with their arguments: ``on_epoch_end=lambda epoch, logs: …``.
    """

    def __init__(self, **hooks: Callable[..., None] | None):
        allowed = {name: name for name in dir(Callback) if name.startswith("on_")}
        for name, function in hooks.items():
            look_up(name, allowed, "hook", "LambdaCallback")
            if function is not None:
                setattr(self, name, function)


def frequency(value: str | int, label: str) -> str | int:
    """Return "epoch" or a number of batches, or raise ValueError."""
    return value if isinstance(value, str) and value == "epoch" else positive(value, label)
