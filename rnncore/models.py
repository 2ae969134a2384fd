"""Sequential: layers in a row, trained as Keras trains them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, zip_longest
from textwrap import wrap
from typing import Any

import numpy as np

from . import config, losses, optimizers
from . import metrics as metric_classes
from .callbacks import Callback, History
from .configured import custom_object_scope, described, look_up, revived
from .layers.base import Layer, unique_name
from .layers.chain import Chain, InputLayer
from .layers.checks import flag, fraction, inspected, not_finite, positive, whole
from .layers.core import Activated
from .saving import load_model, load_weights, save_model, save_weights, stateful_layers
from .utils.interrupt import deferred_interrupt
from .utils.progress import Progress

__all__ = ["Model", "Sequential", "load_model"]


class Sequential(Layer):
    """A row of layers, each taking what the one before gives, masks included.

    Parameters
    ----------
    layers : iterable of Layer, optional
    name : str, optional

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

    Examples
    --------
    >>> model = Sequential([Embedding(20000, 128), LSTM(128), Dense(1, activation="sigmoid")])
    >>> model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    >>> history = model.fit(x, y, batch_size=32, epochs=2, validation_split=0.1)
    """

    def __init__(self, layers: Iterable[Layer] | None = None, name: str | None = None):
        super().__init__(name)
        if isinstance(layers, (str, Layer)) or not isinstance(layers, Iterable | None):
            raise TypeError(f"{self.name}: layers is {layers!r}; expected a list of layers")
        self.layers: list[Layer] = []
        self.input: InputLayer | None = None
        self.optimizer = self.loss = None
        self.metrics: list[Any] = []
        self._metrics_asked: list[Any] = []
        self.history: History | None = None
        self._mask: np.ndarray | None = None
        self.stop_training = False
        self.place: Place | None = None
        self.generator = config.new_generator()  # of the shuffling
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer | InputLayer) -> None:
        """Put a layer at the end; an `Input` comes first, and lets the model build at once."""
        if isinstance(layer, InputLayer):
            if self.layers or self.input:
                raise ValueError(f"{self.name}: Input must come first, and once")
            self.input = layer
            return
        if not isinstance(layer, Layer) or layer is self:
            raise TypeError(f"{self.name}: add got {layer!r}; expected a layer")
        if any(layer is other for other in self.layers):
            raise ValueError(f"{self.name}: layer {layer.name!r} is in the model already")
        if any(layer.name == other.name for other in self.layers):
            raise ValueError(f"{self.name}: there is a layer named {layer.name!r} already; names are unique in a model")
        before = self.input
        if layer.declared_shape and not self.layers and self.input is None:
            self.input = InputLayer(layer.declared_shape)
        self.layers.append(layer)
        self.built, self.dtype = False, layer.dtype
        try:
            self._build_from_input()
        except ValueError:
            self.layers.pop()
            self.input = before
            raise

    def _build_from_input(self):
        if self.input is not None and self.layers:
            self.build(self.input.input_shape)

    def pop(self) -> Layer:
        """Take the last layer away and return it."""
        if not self.layers:
            raise ValueError(f"{self.name}: pop: there is no layer")
        layer = self.layers.pop()
        self.built, self.dtype = False, (self.layers or [layer])[-1].dtype
        return layer

    # --- a layer of layers -------------------------------------------------------------------------------------

    def children(self):
        return self.layers

    def _first(self) -> Layer:
        if not self.layers:
            raise ValueError(f"{self.name}: the model has no layers; add some first")
        return self.layers[0]

    @property
    def input_kind(self) -> str:
        """That of the first layer."""
        return self._first().input_kind

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make all weights, for inputs of `input_shape` (batch first, None: any size)."""
        self.check_shape(input_shape)  # before the first weight is made
        for layer in self.layers:
            layer.ensure_built(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def check_shape(self, shape):
        self._first()
        for layer in self.layers:
            if layer.input_kind == "integer" and layer is not self.layers[0]:
                raise ValueError(f"{self.name}: {layer.name} takes integers; it must be the first layer")
            layer.check_shape(shape)
            shape = layer.compute_output_shape(shape)
            if isinstance(shape, list):
                raise ValueError(f"{self.name}: {layer.name} returns its states too; in a Sequential it must not")

    def compute_output_shape(self, input_shape):
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    @property
    def output_shape(self) -> tuple[int | None, ...] | None:
        """The shape of the output, batch first; None before the model is built, as its `input_shape`."""
        return None if self.input_shape is None else self.compute_output_shape(self.input_shape)

    def compute_mask(self, x, mask=None):
        """Return the mask that goes with the output of the last call."""
        return self._mask

    def checked_input(self, x):
        x = self._first().checked_input(x)
        self.check_shape(x.shape)
        return x

    def cast(self, x):
        return x  # each layer does it for itself

    def call(self, x, mask=None, training=False):
        for layer in self.layers:
            y = layer.forward(x, mask, training)
            mask = layer.compute_mask(x, mask)
            x = y
        self._mask = mask
        return x

    def call_backward(self, dy):
        return _backward(self.layers, dy)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or its place."""
        if index is None:
            return look_up(name, {layer.name: layer for layer in self.layers}, "layer", f"{self.name}: name")
        if not isinstance(index, (int, np.integer)) or not -len(self.layers) <= index < len(self.layers):
            raise ValueError(f"{self.name}: index is {index!r}; expected a whole number below {len(self.layers)}")
        return self.layers[index]

    def get_config(self):
        first = [] if self.input is None else [self.input]
        return {"layers": described([*first, *self.layers]), "name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Sequential:
        """Build a model, not compiled and with new weights, from what `get_config` returned.

        `custom_objects` has classes (and activations) that are not the package's own, by name.
        """
        with custom_object_scope(custom_objects):
            rows = revived(config["layers"])
        inputs = rows[:1] if isinstance(rows[0] if rows else None, InputLayer) else []
        model = cls(rows[len(inputs) :], config["name"])
        if inputs:  # last, so that the model builds once
            model.input = inputs[0]
            model._build_from_input()
        return model

    # --- saving ------------------------------------------------------------------------------------------------

    def save(self, path: Any, overwrite: bool = True) -> None:
        """Write the model into one file: see `rnncore.saving.save_model`."""
        save_model(self, path, overwrite)

    def save_weights(self, path: Any, overwrite: bool = True) -> None:
        """Write the weights into one file: see `rnncore.saving.save_weights`."""
        save_weights(self, path, overwrite)

    def load_weights(self, path: Any) -> None:
        """Take the weights from a file: see `rnncore.saving.load_weights`."""
        load_weights(self, path)

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

    # --- training ----------------------------------------------------------------------------------------------

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
            self._check_loss(value, where)
            running.add(value, y, y_pred)
            self.backward_from_loss(gradient)
            self._check_gradients(where)
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
        if not self._fused():
            return self.call_backward(gradient)
        *layers, last = self.layers
        return _backward(layers, last.pull_back(gradient, last.backward_from_logits))

    def _check_loss(self, value, where):
        """Raise FloatingPointError, saying where it began, if the loss is not finite."""
        if not np.isfinite(value):
            origin = self._first_not_finite() or "the loss itself: every layer's output is finite"
            raise FloatingPointError(f"the loss became {value} in {where}; first in {origin}")

    def _check_gradients(self, where):
        """Raise FloatingPointError if a gradient is not finite, naming the first layer: there, or on the way back."""
        for layer in reversed(_units(self)):
            bad = [
                f"{part.name}.{name}"
                for part in layer.walk()
                for name, gradient in (part.gradients.items() if part.trainable else ())
                if not_finite(gradient) is not None
            ]
            if bad:
                series = layer.time_series() if hasattr(layer, "time_series") else {}
                step = _time_step(layer, [array for name, array in series.items() if name.startswith("d")], back=True)
                origin = self._first_not_finite() or f"layer {layer.name!r}{step}, on the way back"
                raise FloatingPointError(f"the gradient of {bad[0]} is not finite in {where}; first in {origin}")

    def _first_not_finite(self):
        """Say in which weight, or in which layer and at which time step, the last call left the finite numbers."""
        bad_weight = self.bad_weight()
        if bad_weight:
            return bad_weight
        for layer in _units(self):
            bad = [array for array in _last_values(layer) if not_finite(array) is not None]
            if bad:
                return f"layer {layer.name!r}{_time_step(layer, bad)}"
        return None

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
        running = _Running(self)
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
        running = _Running(self)
        for batch, first in enumerate(range(0, len(data[0]), size)):
            x, y, sample_weight = _part(data, slice(first, first + size))
            with np.errstate(all="ignore"):
                y_pred = self.forward(x)
                value = self.loss_of(y, y_pred, sample_weight)
                self._check_loss(value, f"{where}, batch {batch + 1}")
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
            _Running(self).add(0.0, y[:1], y_pred)
        except ValueError as error:
            raise ValueError(f"{label}{error}") from None

    def summary(self, print_fn: Any = print) -> None:
        """Print a table of the layers, their output shapes and numbers of parameters, as Keras does.

        Parameters
        ----------
        print_fn : callable
            Takes a string.
        """
        shape, rows = self.input_shape, []
        for layer in self.layers:
            shape = None if shape is None else layer.compute_output_shape(shape)
            count = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
            rows.append((f"{layer.name} ({type(layer).__name__})", "?" if shape is None else str(tuple(shape)), count))
        print_fn(f'Model: "{self.name}"')
        print_fn(_table(("Layer (type)", "Output Shape", "Param #"), rows))
        trainable = {id(weight) for weight in self.trainable_weights}
        kinds = {
            "Trainable": self.trainable_weights,
            "Non-trainable": [weight for weight in self.weights if id(weight) not in trainable],
        }
        if self.optimizer is not None and self.optimizer.built:
            state = self.optimizer.get_state()
            if "learning_rate" in state:  # no schedule's
                state["learning_rate"] = state["learning_rate"].astype(config.floatx())  # as Keras keeps it
            kinds["Optimizer"] = list(state.values())
        for kind, arrays in {"Total": [*chain(*kinds.values())], **kinds}.items():
            count, size = sum(array.size for array in arrays), sum(array.nbytes for array in arrays)
            print_fn(f" {kind} params: {count:,} ({_bytes(size)})")


def Model(inputs: InputLayer, outputs: Chain, name: str | None = None) -> Sequential:
    """Return the model of a chain described in the functional style.

    Parameters
    ----------
    inputs : InputLayer
        What `Input` returned.
    outputs : Chain
        The last of the layers called on it, one on the other.
    name : str, optional

    Raises
    ------
    TypeError, ValueError
        Several inputs or outputs, or outputs that do not come from `inputs`: rnncore has models of one chain only.
    """
    for argument, given in (("inputs", inputs), ("outputs", outputs)):
        if not isinstance(given, Chain):
            raise TypeError(
                f"Model: {argument} is {given!r}; expected one Input, and what the layers called on it return: "
                "rnncore has models of one chain, and Sequential"
            )
    if outputs.head is not inputs:
        raise ValueError("Model: outputs does not begin at inputs")
    model = Sequential(name=name or unique_name("functional"))
    for layer in (inputs, *outputs.layers):
        model.add(layer)
    return model


class _Running:
    """Loss and metrics over the batches so far."""

    def __init__(self, model: Sequential):
        self.model, self.loss = model, metric_classes.Mean("loss")
        for metric in model.metrics:
            metric.reset_state()

    def add(self, value: float, y: np.ndarray, y_pred: np.ndarray) -> None:
        """Take in a batch."""
        model = self.model
        if len(model.metrics) < len(model._metrics_asked):
            model.metrics = [metric_classes.get(asked, model.loss, y_pred.shape) for asked in model._metrics_asked]
        for metric in model.metrics:
            metric.update_state(y, y_pred, mask=model._mask)
        self.loss.update_state(value, len(y))

    def metrics(self) -> list[Any]:
        """Return all of them, the loss first."""
        return [self.loss, *self.model.metrics]

    def logs(self) -> dict[str, float]:
        """Return their means so far, by name."""
        return {metric.name: metric.result() for metric in self.metrics()}


class Place:
    """Where a `fit` stands: what comes next, and what the epoch has so far. It can be written down and gone back to.

    Attributes
    ----------
    epoch : int
        Of the next batch, from 0.
    batch : int
        The next one, from 0; `steps` when only the validation is left.
    order : ndarray of shape (N,), int, or None
        The samples as the epoch takes them; None between two epochs.
    steps : int
        Batches in an epoch.
    over : bool
        Whether training was stopped before it was written down.
    callbacks : list of Callback
    """

    def __init__(self, model: Sequential, callbacks: Sequence[Callback], epoch: int, count: int, size: int):
        self.model, self.callbacks, self.count, self.size = model, callbacks, count, size
        self.steps = -(-count // size)
        self.epoch, self.batch, self.over = epoch, 0, False
        self.order: np.ndarray | None = None
        self.running: _Running | None = None

    def begin_epoch(self, order: np.ndarray) -> None:
        """Take the samples in `order`, from the first batch on."""
        self.batch, self.order, self.running = 0, order, _Running(self.model)

    def end_epoch(self) -> None:
        """Go on to the next epoch, which has no order yet."""
        self.epoch, self.batch, self.order, self.running = self.epoch + 1, 0, None, None

    def rows(self, batch: int) -> np.ndarray:
        """Return the samples of a batch."""
        return self.order[batch * self.size : (batch + 1) * self.size]

    def get_state(self) -> dict[str, Any]:
        """Return all this in plain values and arrays, with what the callbacks remember."""
        return {
            **{name: getattr(self, name) for name in ("count", "size", "epoch", "batch", "order")},
            "stopped": self.model.stop_training,
            "metrics": None if self.running is None else [metric.get_state() for metric in self.running.metrics()],
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
        for name, what in (("count", "samples"), ("size", "samples a batch")):
            if state[name] != getattr(self, name):
                raise ValueError(f"training was cut with {state[name]} {what}; now there are {getattr(self, name)}")
        self.epoch, order = whole(state["epoch"], "epoch"), state["order"]
        if order is not None:
            if order.dtype != np.int64 or not np.array_equal(np.sort(order), np.arange(self.count)):
                raise ValueError(f"the epoch's order is none of {self.count} samples")
            self.begin_epoch(order)
            for metric, own in zip(self.running.metrics(), state["metrics"], strict=True):
                metric.set_state(own)
        self.model.stop_training = flag(state["stopped"], "stopped")
        self.over = self.model.stop_training and order is None
        self.batch = self.steps if self.model.stop_training else min(whole(state["batch"], "batch"), self.steps)
        for name, kind in self._callbacks_by_class().items():
            for callback, own in zip(kind, state["callbacks"].get(name, ()), strict=False):
                callback.set_state(own)

    def _callbacks_by_class(self):
        found = {}
        for callback in self.callbacks:
            found.setdefault(type(callback).__name__, []).append(callback)
        return found


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


def _backward(layers, dy):
    """Go back through `layers` from their output's gradient."""
    for layer in reversed(layers):
        dy = layer.pull_back(dy.astype(layer.dtype, copy=False))
    return dy


def _units(layer):
    """Return the layers that a message names: those that go through time with their cells, and all without parts."""
    if hasattr(layer, "time_series") or not layer.children():
        return [layer]
    return [unit for child in layer.children() for unit in _units(child)]


def _last_values(layer):
    """Return what the layer's last call computed, for a look where it went wrong."""
    if hasattr(layer, "time_series"):
        return [array for name, array in layer.time_series().items() if not name.startswith("d")]
    return [layer.logits, layer.output] if isinstance(layer, Activated) else [layer.output]


def _time_step(layer, arrays, back=False):
    """Name the first step, in the order taken, at which one of `arrays` (B, T, ...) is not finite."""
    steps = [n for array in arrays if array.ndim > 2 for n in np.argwhere(~np.isfinite(array))[:, 1]]
    last = back != getattr(layer, "go_backwards", False)
    return f" at time step {(max if last else min)(steps)}" if steps else ""


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


def _bytes(count: int) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024 or unit == "GB":
            return f"{count:.2f} {unit}"
        count /= 1024
    raise AssertionError


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows in a box of 80 columns, the last one to the right; what is too long goes on in the next line."""
    widths = (33, 24, 15)

    def line(left, fill, middle, right):
        return left + middle.join(fill * width for width in widths) + right

    def cells(row, bar):
        texts = (wrap(text, width - 2, break_on_hyphens=False) for text, width in zip(row, widths, strict=True))
        filled = (
            [f" {text:{side}{width - 2}} " for text, side, width in zip(part, "<<>", widths, strict=True)]
            for part in zip_longest(*texts, fillvalue="")
        )
        return "\n".join(bar + bar.join(part) + bar for part in filled)

    body = f"\n{line('├', '─', '┼', '┤')}\n".join(cells(row, "│") for row in rows)
    return "\n".join(
        [line("┏", "━", "┳", "┓"), cells(head, "┃"), line("┡", "━", "╇", "┩"), body, line("└", "─", "┴", "┘")]
    )
