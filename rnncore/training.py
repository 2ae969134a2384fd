"""Compile, fit, evaluate and predict: how a model is trained, as Keras trains it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import config, losses, optimizers
from . import metrics as metric_classes
from .callbacks import Callback, History
from .configured import described, revived
from .divergence import check_gradients, check_loss
from .layers.base import Layer
from .layers.checks import flag, fraction, inspected, positive, whole
from .layers.core import Activated
from .place import Place, Running
from .saving import stateful_layers
from .utils.interrupt import deferred_interrupt
from .utils.progress import Progress


class Trainer(Layer):
    """A layer of `layers` that can be trained.

    Attributes
    ----------
    layers : list of Layer
    optimizer, loss, metrics
        As compiled.
    history : History
        Of the last `fit`, also when it was interrupted.
    place : Place
        Where the last `fit` stands.
    stop_training : bool
        A callback sets it to end training after the batch; the epoch is closed as always.
    """

    layers: list[Layer]

    def __init__(self, name: str | None = None):
        super().__init__(name)
        self.optimizer = self.loss = None
        self.metrics: list[Any] = []
        self._metrics_asked: list[Any] = []
        self.history: History | None = None
        self._mask: np.ndarray | None = None
        self.stop_training = False
        self.place: Place | None = None
        self.generator = config.new_generator()  # of the shuffling

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Sequence[Any] | None = None) -> None:
        """Choose how the model is trained.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str or Loss
            Right after a sigmoid or softmax, crossentropies are computed from the pre-activations, as Keras on
            TensorFlow does: stable, with the gradient p - y.
        metrics : sequence of str or Metric, optional
        """
        if isinstance(metrics, str) or not isinstance(metrics, Iterable | None):
            raise TypeError(f"{self.name}: metrics is {metrics!r}; expected a list of names or metrics")
        optimizer, loss = optimizers.get(optimizer), None if loss is None else losses.get(loss)
        if loss is not None and loss.reduction in (None, "none"):
            raise ValueError(
                f"{self.name}: loss has reduction {loss.reduction!r}; training needs one that gives a number"
            )
        metrics = list(metrics or ())
        for metric in metrics:
            metric_classes.get(metric, loss, (None, 1))  # an unknown name is refused now, not in the first batch
        self.optimizer, self.loss = optimizer, loss
        self.metrics, self._metrics_asked = [], metrics  # "accuracy" is chosen by the first output

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return the arguments of `compile` as plain values; None for a model that was not compiled."""
        if self.optimizer is None:
            return None
        metrics = [metric() if isinstance(metric, type) else metric for metric in self._metrics_asked]
        return {"optimizer": described(self.optimizer), "loss": described(self.loss), "metrics": described(metrics)}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile the model as the one was that `get_compile_config` was asked."""
        bases = {"optimizer": optimizers.Optimizer, "loss": losses.Loss}
        made = {name: revived(config[name], base) for name, base in bases.items()}
        self.compile(**made, metrics=[revived(metric, metric_classes.Metric) for metric in config["metrics"]])

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Sequence[Any] | None = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        initial_epoch: int = 0,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x : array_like of shape (N, ...)
        y : array_like of shape (N, ...)
        batch_size : int
            Default 32.
        epochs : int
            The number of the last epoch.
        verbose : {"auto", 0, 1, 2}
            0 says nothing, 1 shows a bar with loss, metrics and the time left, 2 a line an epoch.
        callbacks : sequence of Callback, optional
        validation_split : float in [0, 1)
            The last share of x and y, taken before shuffling, is evaluated after each epoch and not trained on.
        validation_data : (x, y) or (x, y, sample_weight), optional
            Evaluated after each epoch.
        shuffle : bool
            Whether each epoch takes the samples in a new order.
        sample_weight : array_like of shape (N,), optional
        initial_epoch : int
            The number of the first epoch, from 0.

        Returns
        -------
        History
            Its ``history`` has the running means of the training and the values of the validation, by epoch.

        Raises
        ------
        ValueError, TypeError
            An argument, or a weight, is not what it should be: the message says which, what came and what is
            allowed. Nothing has changed then.
        FloatingPointError
            Loss or gradients became NaN or infinite: it names the first layer and its time step, and the step of
            training. The weights are those before that step.
        KeyboardInterrupt
            Ctrl-C, after the step under way. The model is usable and ``model.history`` has what was done.
        """
        self._require_loss()
        data = self.checked_data(x, y, sample_weight)
        size, verbose, shuffle = _batch_size(batch_size), _verbosity(verbose), flag(shuffle, "shuffle")
        epochs = range(whole(initial_epoch, "initial_epoch"), positive(epochs, "epochs"))
        share = fraction(validation_split, "validation_split")
        callbacks = _checked_callbacks(callbacks)
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
                raise ValueError(
                    f"validation_data is a {type(validation_data).__name__}; expected (x, y) or (x, y, sample_weight)"
                )
            validation_data = self.checked_data(*validation_data, label="validation_data: ")
        elif share:
            data, validation_data = _split(data, share)
        self._prepare(data[0])
        self._check_targets(*data)
        if validation_data is not None:
            self._check_targets(*validation_data, label="validation_data: ")
        return self._fit(data, validation_data, size, epochs, shuffle, verbose, callbacks)

    def _fit(self, data, validation_data, size, epochs, shuffle, verbose, callbacks):
        """Train on checked data; return the history."""
        count = len(data[0])
        steps = -(-count // size)
        self.history = History()
        # History sees what others put into the logs; those that write down what all have become come after it.
        callbacks = sorted([*callbacks, self.history], key=lambda callback: callback.comes_last)
        for callback in callbacks:
            callback.model, callback.params = self, {"epochs": epochs.stop, "steps": steps, "verbose": verbose}
        self.place = place = Place(self, callbacks, epochs.start, count, size)
        self.stop_training, logs = False, None
        with deferred_interrupt() as interrupted:
            _call(callbacks, "on_train_begin")  # one of them may put the place where a cut run stood
            try:
                while place.epoch < epochs.stop and not place.over:
                    epoch, begin = place.epoch, time.perf_counter()
                    if place.order is None:
                        place.begin_epoch(self.generator.permutation(count) if shuffle else np.arange(count))
                        _call(callbacks, "on_epoch_begin", epoch)
                    with Progress(f"Epoch {epoch + 1}/{epochs.stop}", steps, verbose, place.batch) as progress:
                        logs = self._fit_epoch(place, data, progress, interrupted)
                        if validation_data is not None:
                            where = f"the validation of epoch {epoch + 1}"
                            values = self._evaluated(validation_data, size, where, interrupted)
                            logs |= {f"val_{name}": value for name, value in values.items()}
                        progress.done(logs, time.perf_counter() - begin)
                    place.end_epoch()
                    _call(callbacks, "on_epoch_end", epoch, logs)
                    if interrupted:
                        raise KeyboardInterrupt(f"stopped after epoch {epoch + 1}")
                    if self.stop_training:
                        break
                self.optimizer.finalize_variable_values(self.trainable_weights)
            finally:
                _call(callbacks, "on_train_end", logs)
        return self.history

    def _fit_epoch(self, place, data, progress, interrupted):
        """Train on the batches from `place` to the end of its epoch; return the epoch's logs."""
        running, where = place.running, f"epoch {place.epoch + 1}"
        for batch in range(place.batch, place.steps):
            where = f"epoch {place.epoch + 1}, batch {batch + 1}"
            _call(place.callbacks, "on_train_batch_begin", batch)
            try:
                self._train_step(*_part(data, place.rows(batch)), running, where)
            except FloatingPointError as error:
                if not any(callback.on_not_finite(batch, error) for callback in place.callbacks):
                    raise
                running.loss.update_state(math.nan)
                self.stop_training = True
                break
            place.batch = batch + 1
            _call(place.callbacks, "on_train_batch_end", batch, running.logs())
            progress.step(running.logs())
            if interrupted:
                raise KeyboardInterrupt(f"stopped after {where}")
            if self.stop_training:
                break
        bad = self.bad_weight()
        if bad:
            raise FloatingPointError(f"{bad}, after {where}; a smaller learning_rate may help")
        return running.logs()

    def _train_step(self, x, y, sample_weight, running, where="this batch"):
        """Forward, backward, update; `running` takes in the batch's loss and metrics."""
        where = f"{where} (step {self.optimizer.iterations + 1})"
        with np.errstate(all="ignore"):  # what overflows is found below, and named
            y_pred = self.forward(x, training=True)
            value, gradient = self.loss_and_gradient(y, y_pred, sample_weight)
            check_loss(self, value, where)
            running.add(value, y, y_pred)
            self.backward_from_loss(gradient)
            check_gradients(self, where)
        self.optimizer.apply_gradients(zip(self.get_gradients(), self.trainable_weights, strict=True))
        self.constrain()

    def _fused(self) -> bool:
        """Whether the loss reads the last layer's pre-activations."""
        last = self.layers[-1]
        if not isinstance(last, Activated) or self.loss.from_logits or last.activity_regularizer is not None:
            return False
        return last.activation.name == self.loss.fuses

    def loss_and_gradient(self, y: Any, y_pred: np.ndarray, sample_weight: Any = None) -> tuple[float, np.ndarray]:
        """Return the loss of the last call's output, and its gradient: see `backward_from_loss`."""
        value, gradient = self.loss.value_and_gradient(y, *self._seen(y_pred, sample_weight))
        return value + self.penalty(), gradient

    def loss_of(self, y: Any, y_pred: np.ndarray, sample_weight: Any = None) -> float:
        """Return the loss of the last call's output, what the regularizers add included."""
        return self.loss(y, *self._seen(y_pred, sample_weight)) + self.penalty()

    def _seen(self, y_pred, sample_weight):
        """Return what the loss takes beside y: predictions or logits, weights, mask, and which of the two it is."""
        fused = self._fused()
        return self.layers[-1].logits if fused else y_pred, sample_weight, self._mask, fused

    def backward_from_loss(self, gradient: np.ndarray) -> np.ndarray | None:
        """Go back from what `loss_and_gradient` returned, and return the gradient of x."""
        return self.call_backward(gradient, from_logits=self._fused())

    def train_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Take one step on one batch.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`.
        return_dict : bool

        Returns
        -------
        float, list of float or dict of str to float
            The batch's loss before the step; with metrics [loss, metrics …]; with `return_dict` all by name.

        Raises
        ------
        ValueError, TypeError, FloatingPointError
            As `fit`.
        """
        self._require_loss()
        data = self.checked_data(x, y, sample_weight)
        return_dict = flag(return_dict, "return_dict")
        self._prepare(data[0])
        running = Running(self)
        self._train_step(*data, running)
        return _returned(running.logs(), return_dict)

    def evaluate(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Compute the loss and the metrics, without dropout.

        Parameters
        ----------
        x, y, batch_size, verbose, sample_weight
            As in `fit`; the results do not depend on the batch size.
        return_dict : bool

        Returns
        -------
        float, list of float or dict of str to float
            The loss; with metrics [loss, metrics …]; with `return_dict` all by name.

        Raises
        ------
        ValueError, TypeError, FloatingPointError
            As `fit`.
        """
        self._require_loss()
        data = self.checked_data(x, y, sample_weight)
        size, verbose, return_dict = _batch_size(batch_size), _verbosity(verbose), flag(return_dict, "return_dict")
        self._prepare(data[0])
        with Progress("Evaluate", -(-len(data[0]) // size), verbose) as progress:
            begin = time.perf_counter()
            logs = self._evaluated(data, size, "the evaluation", progress=progress)
            progress.done(logs, time.perf_counter() - begin)
        return _returned(logs, return_dict)

    def _evaluated(self, data, size, where, interrupted=(), progress=None):
        running = Running(self)
        for batch, first in enumerate(range(0, len(data[0]), size)):
            x, y, sample_weight = _part(data, slice(first, first + size))
            with np.errstate(all="ignore"):
                y_pred = self.forward(x)
                value = self.loss_of(y, y_pred, sample_weight)
                check_loss(self, value, f"{where}, batch {batch + 1}")
            running.add(value, y, y_pred)
            if progress is not None:
                progress.step(running.logs())
            if interrupted:
                raise KeyboardInterrupt(f"stopped in {where}")
        return running.logs()

    def predict(self, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> np.ndarray:
        """Return the outputs for x, computed a batch at a time, without dropout.

        Parameters
        ----------
        x : array_like of shape (N, ...)
        batch_size, verbose
            As in `fit`; the outputs do not depend on the batch size.

        Returns
        -------
        ndarray of shape (N, ...)
            Of the last layer's dtype.

        Raises
        ------
        ValueError, TypeError
            x, or a weight, is not what it should be.
        """
        x = self.checked_input(x)
        size, verbose = _batch_size(batch_size), _verbosity(verbose)
        self._prepare(x)
        outputs = []
        with Progress("Predict", -(-len(x) // size), verbose) as progress:
            for first in range(0, len(x), size):
                outputs.append(self.forward(x[first : first + size]))
                progress.step({})
        return np.concatenate(outputs)

    def _require_loss(self):
        if self.loss is None:
            raise ValueError(f"{self.name}: there is no loss; call compile(optimizer, loss) first")

    def _prepare(self, x):
        """Build the model for checked data, and refuse weights that are not finite."""
        self.ensure_built(x.shape)
        self.check_weights()

    def checked_data(
        self, x: Any, y: Any, sample_weight: Any = None, label: str = ""
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return x, y and sample_weight as arrays of one length, not copied, or raise ValueError or TypeError."""
        x = self.checked_input(x)
        y = inspected(y, f"{label}y", "float", self.dtype)
        if sample_weight is not None:
            sample_weight = inspected(sample_weight, f"{label}sample_weight", "float", self.dtype)
        for name, array in (("y", y), ("sample_weight", sample_weight)):
            if array is not None and (array.ndim == 0 or len(array) != len(x)):
                raise ValueError(f"{label}{name} has shape {array.shape}; expected {len(x)} samples, as x has")
        return x, y, sample_weight

    def _check_targets(self, x, y, sample_weight, label=""):
        """Hold y, weights and metrics to the output of one sample: what does not fit shows before anything changes."""
        with np.errstate(all="ignore"), _states_apart(self):
            y_pred = self.forward(x[:1])
        stand_in = np.broadcast_to(y_pred, (len(x), *y_pred.shape[1:]))
        try:
            for first in range(0, len(x), 4096):  # targets may be copied: not all at once
                targets, weight, seen = _part((y, sample_weight, stand_in), slice(first, first + 4096))
                self.loss.targets(targets, seen)
                if weight is not None:
                    losses.aligned("sample_weight", weight, seen.shape[:-1], seen.dtype)
            Running(self).add(0.0, y[:1], y_pred)
        except ValueError as error:
            raise ValueError(f"{label}{error}") from None


@contextmanager
def _states_apart(model):
    """Let stateful layers begin anew in the block, and have their states again after it."""
    layers = stateful_layers(model)
    kept = [layer.states for layer in layers]
    for layer in layers:
        layer.states = None
    try:
        yield
    finally:
        for layer, states in zip(layers, kept, strict=True):
            layer.states = states


def _checked_callbacks(callbacks):
    if isinstance(callbacks, Callback):
        return [callbacks]
    callbacks = list(callbacks) if isinstance(callbacks, Iterable) else [] if callbacks is None else [callbacks]
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks has {callback!r}; expected objects of rnncore.callbacks.Callback")
    return callbacks


def _batch_size(batch_size):
    return positive(32 if batch_size is None else batch_size, "batch_size")


def _verbosity(verbose):
    if not isinstance(verbose, (int, str)) or verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"verbose is {verbose!r}; expected 'auto', 0, 1 or 2")
    return 1 if verbose == "auto" else int(verbose)


def _split(data, share):
    """Return the data without its last share, and that share."""
    count = len(data[0])
    edge = int(count * (1 - share))
    if edge in (0, count):
        raise ValueError(f"validation_split is {share}; of {count} samples it leaves one part empty")
    return _part(data, slice(edge)), _part(data, slice(edge, None))


def _part(data, rows):
    return tuple(None if array is None else array[rows] for array in data)


def _call(callbacks, hook, *arguments):
    for callback in callbacks:
        getattr(callback, hook)(*arguments)


def _returned(logs, return_dict):
    values = list(logs.values())
    return logs if return_dict else values[0] if len(values) == 1 else values
