"""Sequential: layers in a row, trained as Keras trains them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import config, losses, optimizers
from . import metrics as metric_classes
from .callbacks import Callback, History
from .layers.base import Layer, checked_array, positive
from .layers.core import Activated
from .sparse import RowGradient
from .utils.interrupt import deferred_interrupt
from .utils.progress import Progress


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
    stop_training : bool
        A callback sets it to end training after the epoch.

    Examples
    --------
    >>> model = Sequential([Embedding(20000, 128), LSTM(128), Dense(1, activation="sigmoid")])
    >>> model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    >>> history = model.fit(x, y, batch_size=32, epochs=2, validation_split=0.1)
    """

    def __init__(self, layers: Iterable[Layer] | None = None, name: str | None = None):
        super().__init__(name)
        self.layers: list[Layer] = []
        self.optimizer = self.loss = None
        self.metrics: list[Any] = []
        self.history: History | None = None
        self.stop_training = False
        self.generator = config.new_generator()  # of the shuffling
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer) -> None:
        """Put a layer at the end."""
        if not isinstance(layer, Layer):
            raise TypeError(f"{self.name}: add got {layer!r}; expected a layer")
        if any(layer is other for other in self.layers):
            raise ValueError(f"{self.name}: layer {layer.name!r} is in the model already")
        if any(layer.name == other.name for other in self.layers):
            raise ValueError(f"{self.name}: there is a layer named {layer.name!r} already; names are unique in a model")
        self.layers.append(layer)
        self.built = False

    def pop(self) -> Layer:
        """Take the last layer away and return it."""
        if not self.layers:
            raise ValueError(f"{self.name}: pop: there is no layer")
        return self.layers.pop()

    # --- a layer of layers -------------------------------------------------------------------------------------

    def children(self):
        return self.layers

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make all weights, for inputs of `input_shape` (batch first, None: any size)."""
        if not self.layers:
            raise ValueError(f"{self.name}: the model has no layers; add some first")
        self.input_shape = shape = (None, *input_shape[1:])
        for layer in self.layers:
            layer.ensure_built(shape)
            shape = layer.compute_output_shape(shape)
            if isinstance(shape, list):
                raise ValueError(f"{self.name}: {layer.name} returns its states too; in a Sequential it must not")
        self.built = True

    def ensure_built(self, input_shape):
        if not self.built:
            self.build(input_shape)

    def compute_output_shape(self, input_shape):
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def compute_mask(self, x, mask=None):
        """Return the mask that goes with the output of the last call."""
        return self._mask

    def checked_input(self, x):
        if not self.layers:
            raise ValueError(f"{self.name}: the model has no layers; add some first")
        return self.layers[0].checked_input(x)

    def call(self, x, mask=None, training=False):
        self._outputs = []
        for layer in self.layers:
            y = layer.call(x, mask=mask, training=training)
            mask = layer.compute_mask(x, mask)
            self._outputs.append(y)
            x = y
        self._mask = mask
        return x

    def call_backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.call_backward(dy)
        return dy

    @property
    def weights(self):
        return [weight for layer in self.layers for weight in layer.weights]

    @property
    def trainable_weights(self):
        return [weight for layer in self.layers for weight in layer.trainable_weights] if self.trainable else []

    def get_gradients(self):
        return [g for layer in self.layers for g in layer.get_gradients()] if self.trainable else []

    def generators(self):
        return [self.generator, *(generator for layer in self.layers for generator in layer.generators())]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or its place."""
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"{self.name}: there is no layer {name!r}; there are {[layer.name for layer in self.layers]}")

    def get_config(self):
        return {"layers": [layer.describe() for layer in self.layers], "name": self.name}

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
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        self._metrics_asked = list(metrics or ())
        for metric in self._metrics_asked:
            metric_classes.get(metric, self.loss, (None, 1))  # an unknown name is refused now, not in the first batch
        self.metrics = []

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
        FloatingPointError
            Loss or gradients became NaN or infinite: it names the layer and the step. The weights are those of
            the last step before.
        KeyboardInterrupt
            Ctrl-C, after the step under way. The model is usable and ``model.history`` has what was done.
        """
        self._require(self.loss, "loss")
        x, y, sample_weight = self.checked_data(x, y, sample_weight)
        size = positive(32 if batch_size is None else batch_size, "batch_size")
        epochs = positive(epochs, "epochs")
        if validation_data is not None:
            validation_data = self.checked_data(*validation_data, label="validation_data: ")
        elif validation_split:
            if not 0 < validation_split < 1:
                raise ValueError(f"validation_split is {validation_split!r}; expected a number in [0, 1)")
            edge = int(len(x) * (1 - validation_split))
            if edge in (0, len(x)):
                raise ValueError(f"validation_split={validation_split} of {len(x)} samples leaves a part empty")
            parts = (x, y, sample_weight)
            validation_data = [None if part is None else part[edge:] for part in parts]
            x, y, sample_weight = (None if part is None else part[:edge] for part in parts)
        verbose = 1 if verbose == "auto" else int(verbose)

        self.ensure_built(x.shape)
        self.history = History()
        callbacks = [self.history, *(callbacks or ())]
        for callback in callbacks:
            callback.model = self
        self.stop_training = False
        _call(callbacks, "on_train_begin")
        try:
            with deferred_interrupt() as interrupted:
                for epoch in range(initial_epoch, epochs):
                    begin = time.perf_counter()
                    order = self.generator.permutation(len(x)) if shuffle else np.arange(len(x))
                    _call(callbacks, "on_epoch_begin", epoch)
                    with Progress(f"Epoch {epoch + 1}/{epochs}", -(-len(x) // size), verbose) as progress:
                        logs = self._fit_epoch(
                            epoch, (x, y, sample_weight), order, size, callbacks, progress, interrupted
                        )
                        if validation_data is not None:
                            values = self._evaluated(validation_data, size, interrupted)
                            logs |= {f"val_{name}": value for name, value in values.items()}
                        progress.done(logs, time.perf_counter() - begin)
                    _call(callbacks, "on_epoch_end", epoch, logs)
                    if self.stop_training:
                        break
        finally:
            _call(callbacks, "on_train_end")
        return self.history

    def _fit_epoch(self, epoch, data, order, size, callbacks, progress, interrupted):
        """Train on the samples in `order`; return the epoch's logs."""
        x, y, sample_weight = data
        running = _Running(self)
        for batch, first in enumerate(range(0, len(order), size)):
            rows = order[first : first + size]
            weight = None if sample_weight is None else sample_weight[rows]
            _call(callbacks, "on_train_batch_begin", batch)
            where = f"epoch {epoch + 1}, batch {batch + 1}"
            running.add(*self._train_step(x[rows], y[rows], weight, where), y[rows], weight)
            _call(callbacks, "on_train_batch_end", batch, running.logs())
            progress.step(running.logs())
            if interrupted:
                raise KeyboardInterrupt(f"stopped in {where}")
        return running.logs()

    def _train_step(self, x, y, sample_weight, where="this step"):
        """Forward, backward, update; return the loss and the prediction of the batch."""
        y_pred = self.call(x, training=True)
        value, gradient = self.loss_and_gradient(y, y_pred, sample_weight)
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss became {value} in {where}; {self._first_not_finite()}")
        self.backward_from_loss(gradient)
        gradients = self.get_gradients()
        for layer in self.layers:
            for name in layer.weight_names if layer.trainable else ():
                rows = layer.gradients[name]
                if not np.isfinite(rows.rows if isinstance(rows, RowGradient) else rows).all():
                    raise FloatingPointError(f"the gradient of {layer.name}.{name} is not finite in {where}")
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return value, y_pred

    def _fused(self) -> bool:
        """Whether the loss reads the last layer's pre-activations."""
        last = self.layers[-1]
        return isinstance(last, Activated) and not self.loss.from_logits and last.activation.name == self.loss.fuses

    def loss_and_gradient(self, y, y_pred, sample_weight=None):
        fused = self._fused()
        seen = self.layers[-1].logits if fused else y_pred
        return self.loss.value_and_gradient(y, seen, sample_weight, self._mask, logits=fused)

    def backward_from_loss(self, gradient):
        """Go back from what `loss_and_gradient` returned, and return the gradient of x."""
        if not self._fused():
            return self.call_backward(gradient)
        *layers, last = self.layers
        gradient = last.backward_from_logits(gradient)
        for layer in reversed(layers):
            gradient = layer.call_backward(gradient)
        return gradient

    def _first_not_finite(self) -> str:
        """Say in which layer, and at which time step, the last call left the finite numbers."""
        for layer, y in zip(self.layers, self._outputs, strict=True):
            series = layer.time_series().values() if hasattr(layer, "time_series") else [y]
            bad = [np.argwhere(~np.isfinite(values)) for values in series]
            steps = [int(places[:, 1].min()) for places in bad if len(places) and places.shape[1] > 2]
            if any(len(places) for places in bad):
                return f"first in layer {layer.name!r}" + (f" at time step {min(steps)}" if steps else "")
        return "every layer's output is finite, so it is the loss itself"

    def train_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Take one step on one batch; return its loss, or [loss, metrics …]."""
        self._require(self.loss, "loss")
        x, y, sample_weight = self.checked_data(x, y, sample_weight)
        self.ensure_built(x.shape)
        running = _Running(self)
        running.add(*self._train_step(x, y, sample_weight), y, sample_weight)
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
        """Return the loss, or [loss, metrics …], or with `return_dict` a dict of them; arguments as in `fit`."""
        self._require(self.loss, "loss")
        data = self.checked_data(x, y, sample_weight)
        self.ensure_built(data[0].shape)
        size = positive(32 if batch_size is None else batch_size, "batch_size")
        with Progress("Evaluate", -(-len(data[0]) // size), 1 if verbose == "auto" else int(verbose)) as progress:
            begin = time.perf_counter()
            logs = self._evaluated(data, size, progress=progress)
            progress.done(logs, time.perf_counter() - begin)
        return _returned(logs, return_dict)

    def _evaluated(self, data, size, interrupted=(), progress=None):
        x, y, sample_weight = data
        running = _Running(self)
        for first in range(0, len(x), size):
            rows = slice(first, first + size)
            weight = None if sample_weight is None else sample_weight[rows]
            y_pred = self.call(x[rows])
            running.add(self.loss_and_gradient(y[rows], y_pred, weight)[0], y_pred, y[rows], weight)
            if progress is not None:
                progress.step(running.logs())
            if interrupted:
                raise KeyboardInterrupt("stopped in the validation")
        return running.logs()

    def predict(self, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> np.ndarray:
        """Return the outputs for x, (N, ...), computed a batch at a time."""
        x = self.checked_input(x)
        self.ensure_built(x.shape)
        size = positive(32 if batch_size is None else batch_size, "batch_size")
        outputs = []
        with Progress("Predict", -(-len(x) // size), 1 if verbose == "auto" else int(verbose)) as progress:
            for first in range(0, len(x), size):
                outputs.append(self.call(x[first : first + size]))
                progress.step({})
        return np.concatenate(outputs)

    def _require(self, what, name):
        if what is None:
            raise ValueError(f"{self.name}: there is no {name}; call compile(optimizer, loss) first")

    def checked_data(self, x, y, sample_weight=None, label=""):
        """Return x, y and sample_weight as arrays of one length, or raise ValueError or TypeError."""
        x = self.checked_input(x)
        integers = np.asarray(y).dtype.kind in "iu"
        y = checked_array(y, f"{label}y", "integer" if integers else "float", self.layers[-1].dtype, (1, 64))
        if sample_weight is not None:
            sample_weight = checked_array(sample_weight, f"{label}sample_weight", "float", "float64", (1, 64))
        for name, array in (("y", y), ("sample_weight", sample_weight)):
            if array is not None and len(array) != len(x):
                raise ValueError(f"{label}{name} has {len(array)} samples; x has {len(x)}")
        return x, y, sample_weight

    def summary(self, print_fn: Any = print) -> None:
        """Print a table of the layers, their output shapes and numbers of parameters, as Keras does."""
        shape, rows = self.input_shape, []
        for layer in self.layers:
            shape = None if shape is None else layer.compute_output_shape(shape)
            count = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
            rows.append((f"{layer.name} ({type(layer).__name__})", "?" if shape is None else str(tuple(shape)), count))
        print_fn(f'Model: "{self.name}"')
        print_fn(_table(("Layer (type)", "Output Shape", "Param #"), rows))
        trainable = sum(weight.size for weight in self.trainable_weights)
        sizes = (("Total", self.count_params()), ("Trainable", trainable))
        for kind, count in (*sizes, ("Non-trainable", self.count_params() - trainable)):
            print_fn(f" {kind} params: {count:,} ({_bytes(count * np.dtype(config.floatx()).itemsize)})")


class _Running:
    """Loss and metrics over the batches of an epoch so far."""

    def __init__(self, model: Sequential):
        self.model, self.loss = model, metric_classes.Mean("loss")

    def add(self, value, y_pred, y, sample_weight) -> None:
        """Take in a batch."""
        model = self.model
        if not model.metrics and model._metrics_asked:
            model.metrics = [metric_classes.get(asked, model.loss, y_pred.shape) for asked in model._metrics_asked]
        if not self.loss.count:
            for metric in model.metrics:
                metric.reset_state()
        self.loss.update_state(value, len(y))
        for metric in model.metrics:
            metric.update_state(y, y_pred, mask=model._mask)

    def logs(self) -> dict[str, float]:
        """Return their means so far, by name."""
        return {"loss": self.loss.result()} | {metric.name: metric.result() for metric in self.model.metrics}


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
    """Return rows in a box, the last column to the right."""
    widths = [max(least, *(len(row[n]) + 2 for row in (head, *rows))) for n, least in enumerate((33, 24, 15))]

    def line(left, fill, middle, right):
        return left + middle.join(fill * width for width in widths) + right

    def cells(row, bar):
        row = (*row[:2], row[2].rjust(widths[2] - 2))
        one, two, three = (f" {text:<{w - 2}} " for text, w in zip(row, widths, strict=True))
        return bar + bar.join((one, two, three)) + bar

    body = f"\n{line('├', '─', '┼', '┤')}\n".join(cells(row, "│") for row in rows)
    return "\n".join(
        [line("┏", "━", "┳", "┓"), cells(head, "┃"), line("┡", "━", "╇", "┩"), body, line("└", "─", "┴", "┘")]
    )
