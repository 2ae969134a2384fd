"""Compile, fit, evaluate and predict: how a model is trained, as Keras trains it."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from typing import Any

import numpy as np

from .. import config, losses, optimizers
from .. import metrics as metric_classes
from ..configured import described, revived
from ..layers.base import Layer, nothing_kept
from ..layers.checks import flag, fraction, not_finite, positive, whole
from ..layers.core import Activated
from ..lock import engine_lock, locked
from ..utils.interrupt import deferred_interrupt
from ..utils.progress import Progress, compiling_told
from . import batches, data
from .callback import Callback, History
from .divergence import check_gradients, check_loss
from .state import Place, Running

ROWS = 16  # in which a sample is looked at before training: for a single one other code would be compiled


class Trainer(Layer):
    """A layer of `layers` that can be trained.

    Attributes
    ----------
    layers : list of Layer
    optimizer, loss
        As compiled.
    metrics : list of Metric
        Those compiled, then the weighted ones; empty before the first batch, whose output chooses what "accuracy" is.
    metrics_names : list of str
        What the loss and they are called in logs. One that is there already gets ``weighted_`` before it, or a number
        after it.
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
        self.metrics_names = ["loss"]
        self._asked: dict[str, list[Any]] = {"metrics": [], "weighted_metrics": []}
        self.history: History | None = None
        self._mask: np.ndarray | None = None
        self._counted = False  # whether a `fit` or `evaluate` under way counts in the metrics
        self._fitting: int | None = None  # the thread whose `fit` is under way
        self.stop_training = False
        self.place: Place | None = None
        self.generator = config.new_generator()  # of the shuffling

    # --- compiling ---------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose how the model is trained.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str or Loss
            Right after a sigmoid or softmax, crossentropies are computed from the pre-activations, as Keras on
            TensorFlow does: stable, with the gradient p - y.
        loss_weights : None or 1
            A model has one loss here.
        metrics, weighted_metrics : sequence of str or Metric, optional
            The weighted ones take sample and class weights into account.
        steps_per_execution : 1
        run_eagerly, jit_compile, auto_scale_loss
            Accepted, and without effect.

        Raises
        ------
        ValueError, TypeError
        """
        asked = {"metrics": metrics, "weighted_metrics": weighted_metrics}
        for name, given in asked.items():
            if isinstance(given, str) or not isinstance(given, Iterable | None):
                raise TypeError(f"{self.name}: {name} is {given!r}; expected a list of names or metrics")
        if loss_weights not in (None, 1, [1]):
            raise ValueError(f"{self.name}: loss_weights is {loss_weights!r}; there is one loss, which weighs 1")
        if steps_per_execution != 1:
            raise ValueError(f"{self.name}: steps_per_execution is {steps_per_execution!r}; steps are taken 1 by 1")
        optimizer, loss = optimizers.get(optimizer), None if loss is None else losses.get(loss)
        if loss is not None and loss.reduction in (None, "none"):
            raise ValueError(
                f"{self.name}: loss has reduction {loss.reduction!r}; training needs one that gives a number"
            )
        asked = {name: list(given or ()) for name, given in asked.items()}
        for metric in (metric for given in asked.values() for metric in given):
            metric_classes.get(metric, loss, (None, 1))  # an unknown name is refused now, not in the first batch
        self.optimizer, self.loss = optimizer, loss
        self.metrics, self.metrics_names, self._asked = [], _names(**asked), asked
        if loss is not None and loss.from_logits and self._fused():
            warnings.warn(
                f"{self.name}: loss has from_logits=True, but the model ends in {loss.fuses}; "
                "the loss is computed from what goes into that",
                stacklevel=2,
            )

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return the arguments of `compile` as plain values; None for a model that was not compiled."""
        if self.optimizer is None:
            return None
        metrics = {
            name: described([metric() if isinstance(metric, type) else metric for metric in asked])
            for name, asked in self._asked.items()
        }
        return {"optimizer": described(self.optimizer), "loss": described(self.loss), **metrics}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile the model as the one was that `get_compile_config` was asked."""
        bases = {"optimizer": optimizers.Optimizer, "loss": losses.Loss}
        made = {name: revived(config[name], base) for name, base in bases.items()}
        for name in self._asked:
            made[name] = [revived(metric, metric_classes.Metric) for metric in config.get(name, ())]
        self.compile(**made)

    def resolved_metrics(self, output_shape: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
        """Return the metrics, and the weighted ones; made when they are first needed, for an output of that shape."""
        plain, weighted = self._asked["metrics"], self._asked["weighted_metrics"]
        if len(self.metrics) < len(plain) + len(weighted):
            self.metrics = [metric_classes.get(asked, self.loss, output_shape) for asked in plain + weighted]
        return self.metrics[: len(plain)], self.metrics[len(plain) :]

    def reset_metrics(self) -> None:
        """Let all metrics forget their batches."""
        for metric in self.metrics:
            metric.reset_state()

    # --- fit ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Iterable[int] = 1,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x : array_like of shape (N, ...), ragged list, sequence object or iterable
            A list of N rows of different lengths is padded with 0 behind their ends, a batch at a time; the first layer
            must take that for padding (``mask_zero=True``: an id 0 in the data is padding too). When they are shuffled,
            batches have rows of nearly the same length.
            An object with ``__len__`` and ``__getitem__`` (`rnncore.utils.PyDataset`), a generator or another iterable
            gives batches: (x, y) or (x, y, sample_weight).
        y : array_like of shape (N, ...)
            Where x is ragged, rows as long as its own will do.
        batch_size : int
            Default 32. Without meaning where x gives batches.
        epochs : int
            The number of the last epoch.
        verbose : {"auto", 0, 1, 2}
            0 says nothing, 1 shows a bar with loss, metrics and the time left, 2 a line an epoch.
        callbacks : sequence of Callback, optional
        validation_split : float in [0, 1)
            The last share of x and y, taken before shuffling, is evaluated after each epoch and not trained on.
        validation_data : (x, y) or (x, y, sample_weight), sequence object or iterable
            Evaluated after each epoch.
        shuffle : bool
            Whether each epoch takes the samples, or a sequence object's batches, in a new order. An iterable has its
            own.
        class_weight : dict of int to float, optional
            What samples (or steps, where each has its own class) weigh in the loss and the weighted metrics, by class;
            1 where it says nothing. Multiplies `sample_weight`.
        sample_weight : array_like of shape (N,) or (N, T), optional
        initial_epoch : int
            The number of the first epoch, from 0.
        steps_per_epoch : int, optional
            Batches in an epoch; the next one goes on where it ended. Default: once through the data.
        validation_steps : int, optional
            Batches in a validation. That of an iterable goes on where the one before ended.
        validation_batch_size : int, optional
            Default: `batch_size`.
        validation_freq : int or iterable of int
            After how many epochs there is a validation, or after which ones, from 1.

        Returns
        -------
        History
            Its ``history`` has the running means of the training and the values of the validation, by epoch.

        Raises
        ------
        ValueError, TypeError
            An argument, or a weight, is not what it should be: the message says which, what came and what is
            allowed. Nothing has changed then. A bad batch from x itself ends training before its step.
        RuntimeError
            Another thread's `fit` of this model is under way.
        FloatingPointError
            Loss or gradients became NaN or infinite: it names the first layer and its time step, and the step of
            training. The weights are those before that step.
        KeyboardInterrupt
            Ctrl-C, after the step under way. The model is usable and ``model.history`` has what was done.

        Warns
        -----
        UserWarning
            x ran out of batches in an epoch of `steps_per_epoch`, or before the last epoch, which ends training.
        """
        self._require_loss()
        share = fraction(validation_split, "validation_split")
        size, steps = _optional(batch_size, "batch_size"), _optional(steps_per_epoch, "steps_per_epoch")
        validation_size = _optional(validation_batch_size, "validation_batch_size") or size
        validation_steps = _optional(validation_steps, "validation_steps")
        verbose, shuffle = _verbosity(verbose), flag(shuffle, "shuffle")
        epochs = range(whole(initial_epoch, "initial_epoch"), positive(epochs, "epochs"))
        if isinstance(validation_freq, Iterable) and not isinstance(validation_freq, str):
            validation_freq = list(validation_freq)
        class_weight, due = data.checked_class_weight(class_weight), _due(validation_freq)
        callbacks = _checked_callbacks(callbacks)
        label = "validation_data: "
        if validation_data is not None:
            validation_data = _parts(validation_data)
        elif share:
            x, rest = self._split(x, y, sample_weight, share)
            y = sample_weight = None
            label, validation_data = "", (rest,)
        source, validation = batches.source(self, x, y, sample_weight, batch_size=size, steps=steps), None
        if validation_data is not None:
            sizes = {"batch_size": validation_size, "steps": validation_steps}
            validation = batches.source(self, *validation_data, **sizes, label=label, sort=True)
        with compiling_told(verbose), ExitStack() as opened:
            opened.enter_context(self._fitting_alone())
            apart = opened.enter_context(self._counting())
            for each, its_label in ((source, ""), (validation, label)):
                if each is not None:
                    opened.enter_context(closing(each))
                    self._prepare(each.sample(), True, its_label)
            if self.optimizer.built:
                self.optimizer.places(self.trainable_weights)  # what it knows nothing of is refused now
            asked = {"shuffle": shuffle, "class_weight": class_weight, "validation_freq": validation_freq}
            place = Place(self, epochs.start, source, steps, validation, validation_steps, asked, apart)
            return self._fit(place, callbacks, epochs, shuffle, verbose, class_weight, due)

    @contextmanager
    def _fitting_alone(self):
        """Refuse the block while another thread's `fit` is under way."""
        own, before = threading.get_ident(), self._fitting
        if before not in (None, own):
            raise RuntimeError(
                f"{self.name}: fit is under way in another thread; wait until it ends, or fit a clone of the model"
            )
        self._fitting = own
        try:
            yield
        finally:
            self._fitting = before

    @contextmanager
    def _counting(self):
        """Yield whether the block must count in copies of the metrics, as another one counts in the model's own."""
        with engine_lock:
            apart, self._counted = self._counted, True
        try:
            yield apart
        finally:
            self._counted = apart

    def _split(self, x, y, sample_weight, share):
        """Return the samples without their last share, and that share."""
        if batches.gives_batches(x):
            raise ValueError(f"validation_split is {share}, but x gives batches; hand in validation_data instead")
        table = data.checked(self, x, y, sample_weight)
        edge = int(len(table) * (1 - share))
        if edge in (0, len(table)):
            raise ValueError(f"validation_split is {share}; of {len(table)} samples it leaves one part empty")
        return table[:edge], table[edge:]

    def _fit(self, place, callbacks, epochs, shuffle, verbose, class_weight, due):
        """Train on checked data; return the history."""
        history, source = History(), place.source
        # History sees what others put into the logs; those that write down what all have become come after it.
        place.callbacks = callbacks = sorted([*callbacks, history], key=lambda callback: callback.comes_last)
        _call(callbacks, "before_train", place)
        self.place, self.history = place, history
        self._introduce(callbacks, epochs.stop, place.length, verbose)
        self.stop_training, logs = False, None
        with deferred_interrupt() as interrupted:
            _call(callbacks, "on_train_begin")  # one of them may put the place where a cut run stood
            try:
                while place.epoch < epochs.stop and not place.over:
                    epoch, begin = place.epoch, time.perf_counter()
                    if place.running is None:
                        if not source.begin_epoch(place.steps is None, self.generator if shuffle else None):
                            warnings.warn(f"x ran out of batches after epoch {epoch}; training ends", stacklevel=3)
                            break
                        place.begin_epoch()
                        _call(callbacks, "on_epoch_begin", epoch)
                    with Progress(f"Epoch {epoch + 1}/{epochs.stop}", place.length, verbose, place.batch) as progress:
                        logs = self._fit_epoch(place, class_weight, progress, interrupted)
                        if place.validation is not None and due(epoch + 1):
                            logs = dict(sorted({**logs, **self._validated(place, interrupted)}.items()))
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

    def _introduce(self, callbacks, epochs, steps, verbose):
        """Tell callbacks what they look at."""
        for callback in callbacks:
            callback.model, callback.params = self, {"epochs": epochs, "steps": steps, "verbose": verbose}

    def _fit_epoch(self, place, class_weight, progress, interrupted):
        """Train on the batches from `place` to the end of its epoch; return the epoch's logs."""
        running, where = place.running, f"epoch {place.epoch + 1}"
        for x, y, sample_weight in islice(place.source, place.left()):
            batch, where = place.batch, f"epoch {place.epoch + 1}, batch {place.batch + 1}"
            _call(place.callbacks, "on_train_batch_begin", batch)
            try:
                self._train_step(x, y, sample_weight, class_weight, running, where)
            except FloatingPointError as error:
                if not any(callback.on_not_finite(batch, error) for callback in place.callbacks):
                    raise
                running.loss.update_state(math.nan)
                self.stop_training = True
                break
            place.batch += 1
            _call(place.callbacks, "on_train_batch_end", batch, running.logs())
            progress.step(running.logs())
            if interrupted:
                raise KeyboardInterrupt(f"stopped after {where}")
            if self.stop_training:
                break
        else:
            _warn_if_short(place.left(), f"epoch {place.epoch + 1}")
        bad = self.bad_weight()
        if bad:
            raise FloatingPointError(f"{bad}, after {where}; a smaller learning_rate may help")
        return running.logs()

    def _validated(self, place, interrupted):
        """Return the logs of a validation; none if there are no batches left for it."""
        where = f"the validation of epoch {place.epoch + 1}"
        if not place.validation.begin_epoch():
            warnings.warn(f"validation_data ran out of batches before {where}", stacklevel=4)
            return {}
        steps = place.validation_steps
        logs = self._evaluated(place.validation, steps, where, place.apart, place.callbacks, interrupted).logs()
        return {f"val_{name}": value for name, value in logs.items()}

    @locked
    def _train_step(self, x, y, sample_weight, class_weight, running, where="this batch"):
        """Forward, backward, update; `running` takes in the batch's loss and metrics."""
        where = f"{where} (step {self.optimizer.iterations + 1})"
        with np.errstate(all="ignore"), nothing_kept():  # what overflows is found below, and named
            y_pred = self.forward(x, training=True)
            if class_weight is not None:
                sample_weight = data.with_class_weight(class_weight, self.loss, y, y_pred, sample_weight)
            value, gradient = self.loss_and_gradient(y, y_pred, sample_weight)
            check_loss(self, value, where)
            running.add(value, y, y_pred, sample_weight)
            self.backward_from_loss(gradient)
            pairs = self.gradients_and_weights()
            check_gradients(self, [gradient for gradient, _ in pairs], where)
        self.optimizer.apply_gradients(pairs)
        self.constrain()

    # --- the loss of the last call -----------------------------------------------------------------------------

    def _fused(self) -> bool:
        """Whether the loss reads the last layer's pre-activations."""
        last = self.layers[-1] if self.layers else None
        if not isinstance(last, Activated) or last.activity_regularizer is not None:
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

    # --- evaluate and predict ----------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Compute the loss and the metrics, without dropout.

        Parameters
        ----------
        x, y, batch_size, verbose, sample_weight, callbacks
            As in `fit`. Neither the batch size nor, where x is ragged, which rows are in a batch makes a difference
            (but to Keras's mean over batches of masked steps).
        steps : int, optional
            Batches to look at; default: all.
        return_dict : bool

        Returns
        -------
        float, list of float or dict of str to float
            The loss; with metrics [loss, metrics …]; with `return_dict` all by name, sorted by it.

        Raises
        ------
        ValueError, TypeError, FloatingPointError
            As `fit`.
        """
        self._require_loss()
        size, steps = _optional(batch_size, "batch_size"), _optional(steps, "steps")
        verbose, return_dict = _verbosity(verbose), flag(return_dict, "return_dict")
        callbacks = _checked_callbacks(callbacks)
        given = batches.source(self, x, y, sample_weight, batch_size=size, steps=steps, sort=True)
        with compiling_told(verbose), self._counting() as apart, closing(given) as source:
            self._prepare(source.sample(), True)
            length = steps or source.steps
            self._introduce(callbacks, 1, length, verbose)
            source.begin_epoch()
            with Progress("Evaluate", length, verbose) as progress:
                begin = time.perf_counter()
                running = self._evaluated(source, steps, "the evaluation", apart, callbacks, progress=progress)
                progress.done(running.logs(), time.perf_counter() - begin)
        return _returned(running, return_dict)

    def _evaluated(self, source, steps, where, apart, callbacks=(), interrupted=(), progress=None):
        """Return loss and metrics of the batches that a source is ready for."""
        running, seen = Running(self, source.ragged, apart), 0
        _call(callbacks, "on_test_begin")
        for x, y, sample_weight in islice(source, steps):
            _call(callbacks, "on_test_batch_begin", seen)
            self._score(x, y, sample_weight, f"{where}, batch {seen + 1}", running)
            _call(callbacks, "on_test_batch_end", seen, running.logs())
            seen += 1
            if progress is not None:
                progress.step(running.logs())
            if interrupted:
                raise KeyboardInterrupt(f"stopped in {where}")
        _warn_if_short(steps and steps - seen, where)
        source.end_epoch()
        _call(callbacks, "on_test_end", running.logs())
        return running

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> np.ndarray | list[np.ndarray]:
        """Return the outputs for x, computed a batch at a time, without dropout.

        Parameters
        ----------
        x, batch_size, verbose, callbacks
            As in `fit`; the outputs do not depend on the batches. Of batches that have more than x, the rest is left
            aside.
        steps : int, optional
            Batches to take; default: all.

        Returns
        -------
        ndarray of shape (N, ...)
            Of the last layer's dtype, in the order of x. A list of N arrays where their shapes differ: an output a step
            of ragged x has as many steps as its row.

        Raises
        ------
        ValueError, TypeError
            x, or a weight, is not what it should be.
        """
        size, steps, verbose = _optional(batch_size, "batch_size"), _optional(steps, "steps"), _verbosity(verbose)
        callbacks = _checked_callbacks(callbacks)
        outputs, masked = [], False
        with closing(batches.source(self, x, batch_size=size, steps=steps, sort=True)) as source:
            self._prepare(source.sample())
            length = steps or source.steps
            self._introduce(callbacks, 1, length, verbose)
            source.begin_epoch()
            _call(callbacks, "on_predict_begin")
            with Progress("Predict", length, verbose) as progress:
                for batch, (x, _, _) in enumerate(islice(source, steps)):
                    _call(callbacks, "on_predict_batch_begin", batch)
                    output, masked = self._predicted(x)
                    outputs.append(output)
                    _call(callbacks, "on_predict_batch_end", batch, {"outputs": outputs[-1]})
                    progress.step({})
            _warn_if_short(steps and steps - len(outputs), "the prediction")
            source.end_epoch()
            _call(callbacks, "on_predict_end")
            return source.restored(outputs, masked)

    # --- single batches ----------------------------------------------------------------------------------------

    @locked
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Take one step on one batch.

        Parameters
        ----------
        x, y, sample_weight, class_weight
            As in `fit`, but samples only.
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
        return_dict, class_weight = flag(return_dict, "return_dict"), data.checked_class_weight(class_weight)
        batch, running = self._batch(x, y, sample_weight)
        self._train_step(*batch, class_weight, running)
        return _returned(running, return_dict)

    @locked
    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Evaluate one batch; arguments, what comes back and errors as those of `train_on_batch`."""
        return_dict = flag(return_dict, "return_dict")
        batch, running = self._batch(x, y, sample_weight)
        self._score(*batch, "this batch", running)
        return _returned(running, return_dict)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Return the outputs for x, taken as one batch; errors as those of `predict`."""
        table = data.checked(self, x)
        self._build(table)
        return self._predicted(table.arrays()[0])[0]

    @locked
    def _score(self, x, y, sample_weight, where, running):
        """Let `running` take in the loss and the metrics of a checked batch."""
        with np.errstate(all="ignore"), nothing_kept():
            y_pred = self.forward(x)
            value = self.loss_of(y, y_pred, sample_weight)
        if not np.isfinite(value):
            with np.errstate(all="ignore"), _states_apart(self):
                self.forward(x)  # all is kept this time, for a look at where it began
                check_loss(self, value, where)
        running.add(value, y, y_pred, sample_weight)

    @locked
    def _predicted(self, x):
        """Return the outputs for checked x, and whether they have a mask; refuse weights that are not finite."""
        with nothing_kept():
            outputs = self.forward(x)
        if not_finite(outputs) is not None:
            self.check_weights()
        return outputs, self._mask is not None

    def _batch(self, x, y, sample_weight):
        """Return a checked batch, and what takes in its loss and metrics."""
        self._require_loss()
        table = data.checked(self, x, y, sample_weight)
        _require_targets(table)
        self._build(table)
        return table.arrays(), Running(self, apart=self._counted)

    # --- checks ------------------------------------------------------------------------------------------------

    def _require_loss(self):
        if self.loss is None:
            raise ValueError(f"{self.name}: there is no loss; call compile(optimizer, loss) first")

    @locked
    def _build(self, table):
        """Build the model for checked samples."""
        if not self.built:
            shape = table[:1].arrays()[0].shape
            self.build(shape if table.lengths is None else (*shape[:1], None, *shape[2:]))

    def _prepare(self, table, targets=False, label=""):
        """Make the model ready for checked samples, and if `targets`, them too: what does not fit shows here."""
        if targets:
            _require_targets(table, label)
        self._build(table)
        if targets:
            self.check_weights()
            self._check_targets(table, label)

    def checked_data(
        self, x: Any, y: Any, sample_weight: Any = None
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return x, y and sample_weight as arrays of one length, not copied, or raise ValueError or TypeError."""
        return data.checked(self, x, y, sample_weight).arrays()

    @locked
    def _check_targets(self, table, label):
        """Hold y, weights and metrics to the output of one sample: what does not fit shows before anything changes."""
        x, y, sample_weight = (a if a is None else a.repeat(ROWS, axis=0) for a in table[:1].arrays())
        with np.errstate(all="ignore"), nothing_kept(), _states_apart(self):
            y_pred = self.forward(x)
        by_step = table.lengths is not None and self._mask is not None
        try:
            for first in range(0, len(table), 4096):  # targets may be copied: not all at once
                part = table[first : first + 4096]
                targets, weight = part.targets()
                steps = [int(part.lengths.max())] if by_step else y_pred.shape[1:2]
                seen = np.broadcast_to(y_pred.dtype.type(0), (len(part), *steps, *y_pred.shape[2:]))
                self.loss.targets(targets, seen)
                if weight is not None:
                    losses.aligned("sample_weight", weight, seen.shape[:-1], seen.dtype)
            Running(self, apart=True).add(0.0, y, y_pred, sample_weight)
        except ValueError as error:
            raise ValueError(f"{label}{error}") from None


@contextmanager
def _states_apart(model: Trainer) -> Iterator[None]:
    """Let stateful layers begin anew in the block, and have their states again after it."""
    layers = model.stateful_layers()
    kept = [layer.kept_states for layer in layers]
    for layer in layers:
        layer.kept_states = None
    try:
        yield
    finally:
        for layer, states in zip(layers, kept, strict=True):
            layer.kept_states = states


def _names(metrics, weighted_metrics):
    """Return what the loss and the metrics are called in logs."""
    names, numbers = {"loss": None}, Counter()
    for metric, prefix in [*((m, "") for m in metrics), *((m, "weighted_") for m in weighted_metrics)]:
        name = metric if isinstance(metric, str) else metric_classes.get(metric).name
        name = first = prefix + name if name in names else name
        while name in names:
            numbers[first] += 1
            name = f"{first}_{numbers[first]}"
        names[name] = None
    return list(names)


def _checked_callbacks(callbacks):
    if isinstance(callbacks, Callback):
        return [callbacks]
    callbacks = list(callbacks) if isinstance(callbacks, Iterable) else [] if callbacks is None else [callbacks]
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks has {callback!r}; expected objects of rnncore.callbacks.Callback")
    return callbacks


def _optional(value, label):
    return None if value is None else positive(value, label)


def _verbosity(verbose):
    if not isinstance(verbose, (int, str)) or verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"verbose is {verbose!r}; expected 'auto', 0, 1 or 2")
    return 1 if verbose == "auto" else int(verbose)


def _due(validation_freq):
    """Return a function that says whether there is a validation after an epoch, from 1."""
    if isinstance(validation_freq, Iterable) and not isinstance(validation_freq, str):
        epochs = {positive(epoch, "validation_freq: an epoch") for epoch in validation_freq}
        return epochs.__contains__
    each = positive(validation_freq, "validation_freq")
    return lambda epoch: epoch % each == 0


def _parts(validation_data):
    """Return x, y and perhaps sample_weight of what `fit` is to evaluate, or what gives them by batches."""
    parts = validation_data if isinstance(validation_data, (tuple, list)) else (validation_data,)
    if len(parts) not in ((1,) if batches.gives_batches(parts[0] if parts else None) else (2, 3)):
        raise ValueError(
            f"validation_data is a {type(validation_data).__name__}; expected (x, y), (x, y, sample_weight), "
            "or an object that gives batches"
        )
    return parts


def _require_targets(table, label=""):
    if table.columns[1] is None:
        raise ValueError(f"{label}y is None; the loss needs targets")


def _warn_if_short(missing, where):
    if missing:
        warnings.warn(f"x ran out of batches in {where}; {missing} more were asked for", stacklevel=4)


def _call(callbacks, hook, *arguments):
    for callback in callbacks:
        getattr(callback, hook)(*arguments)


def _returned(running, return_dict):
    values = running.values()
    return running.logs() if return_dict else values[0] if len(values) == 1 else values
