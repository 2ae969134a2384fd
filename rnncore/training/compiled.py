"""What a model is compiled with: the optimizer, the loss, the metrics; what they come to over the batches."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import losses, optimizers
from .. import metrics as metric_classes
from ..configured import described, revived
from ..layers.base import Layer
from ..layers.core import Activated


class Compiled(Layer):
    """A layer with an optimizer, a loss and metrics. What a subclass defines is listed at `Trainer`.

    Attributes
    ----------
    optimizer, loss
        As compiled.
    metrics : list of Metric
        Those compiled, then the weighted ones; empty before the first batch, whose output chooses what "accuracy" is.
    unweighted : int
        How many of them are not weighted.
    metrics_names : list of str
        What the loss and they are called in logs. One that is there already gets ``weighted_`` before it, or a number
        after it.
    input_layer, output_layer : Layer
        What takes x, and what gives the output; the latter is None before there is one.
    output_mask : ndarray of shape (B, T), bool, or None
        The mask that goes with the output of the last call.
    """

    input_layer: Layer
    output_layer: Layer | None = None
    output_mask: np.ndarray | None = None

    def call_backward(self, dy: np.ndarray, from_logits: bool = False) -> np.ndarray | None:
        """Go back from the output's gradient, or from that of the output layer's pre-activations."""
        raise NotImplementedError

    def __init__(self, name: str | None = None):
        super().__init__(name)
        self.optimizer: Any = None
        self.loss: Any = None
        self.metrics: list[Any] = []
        self.metrics_names = ["loss"]
        self.unweighted = 0
        self._asked: dict[str, list[Any]] = {"metrics": [], "weighted_metrics": []}

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
        given_metrics = {"metrics": metrics, "weighted_metrics": weighted_metrics}
        for name, given in given_metrics.items():
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
        asked = {name: list(given or ()) for name, given in given_metrics.items()}
        for metric in (*asked["metrics"], *asked["weighted_metrics"]):
            metric_classes.get(metric, loss, (None, 1))  # an unknown name is refused now, not in the first batch
        self.optimizer, self.loss = optimizer, loss
        self.metrics, self.metrics_names, self._asked = [], _names(**asked), asked
        self.unweighted = len(asked["metrics"])
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

    def make_metrics(self, output_shape: tuple[int, ...]) -> None:
        """Make the metrics for an output of that shape, which chooses what "accuracy" is."""
        asked = self._asked["metrics"] + self._asked["weighted_metrics"]
        self.metrics = [metric_classes.get(metric, self.loss, output_shape) for metric in asked]

    def build_optimizer(self, weights: Sequence[np.ndarray]) -> None:
        """Make the slots of some of the weights, of which the optimizer is told the names: model/layer/weight."""
        names = [f"{self.name}/{part.name}/{name}" for part in self.walk() for name in part.own_weights]
        known = {id(weight): name for weight, name in zip(self.weights, names, strict=True)}
        self.optimizer.build(weights, [known[id(weight)] for weight in weights])

    def optimized(self) -> list[int] | None:
        """Return which of the weights the optimizer has slots of, by position; None if they are not the model's.

        They are not the trainable ones where `trainable` was changed after the optimizer's first step.
        """
        if self.optimizer is None or not self.optimizer.built:
            return None
        places = {id(weight): n for n, weight in enumerate(self.weights)}
        arrays = self.optimizer.arrays
        return [places[id(array)] for array in arrays] if all(id(array) in places for array in arrays) else None

    def __getstate__(self):
        return {**super().__getstate__(), "_optimized": self.optimized()}

    def __setstate__(self, state):
        places = state.pop("_optimized")
        super().__setstate__(state)
        if places is not None:
            weights = self.weights
            self.optimizer.arrays = [weights[n] for n in places]

    def reset_metrics(self) -> None:
        """Let all metrics forget their batches."""
        for metric in self.metrics:
            metric.reset_state()

    # --- the loss of the last call -----------------------------------------------------------------------------

    def _fused(self) -> Activated | None:
        """Return the output layer if the loss reads its pre-activations."""
        last = self.output_layer
        if isinstance(last, Activated) and last.activity_regularizer is None:
            return last if last.activation.name == self.loss.fuses else None
        return None

    def loss_and_gradient(self, y: Any, y_pred: np.ndarray, sample_weight: Any = None) -> tuple[float, np.ndarray]:
        """Return the loss of the last call's output, and its gradient: see `backward_from_loss`."""
        last = self._fused()
        read = y_pred if last is None else last.logits
        value, gradient = self.loss.value_and_gradient(y, read, sample_weight, self.output_mask, last is not None)
        return value + self.penalty(), gradient

    def loss_of(self, y: Any, y_pred: np.ndarray, sample_weight: Any = None) -> float:
        """Return the loss of the last call's output, what the regularizers add included."""
        last = self._fused()
        read = y_pred if last is None else last.logits
        return self.loss(y, read, sample_weight, self.output_mask, last is not None) + self.penalty()

    def backward_from_loss(self, gradient: np.ndarray) -> np.ndarray | None:
        """Go back from what `loss_and_gradient` returned, and return the gradient of x."""
        return self.call_backward(gradient, from_logits=self._fused() is not None)


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


class RunningMetrics:
    """Loss and metrics over the batches so far.

    Parameters
    ----------
    model : Trainer
        Its metrics are those that take in the batches; they forget what they had.
    by_step : bool
        Whether kept steps count alike in batches of all lengths: for batches that were made by length. Otherwise a
        batch counts by its rows, as in Keras.
    apart : bool
        Whether copies of the metrics take them in, as another `fit` or `evaluate` counts in the model's own.
    """

    def __init__(self, model: Any, by_step: bool = False, apart: bool = False):
        self.model, self.by_step, self.loss = model, by_step, metric_classes.Mean("loss")
        self._copies: list[Any] | None = [] if apart else None
        if not apart:
            model.reset_metrics()

    def add(self, value: float, y: Any, y_pred: np.ndarray, sample_weight: Any = None) -> None:
        """Take in a batch."""
        model, mask = self.model, self.model.output_mask
        if not model.metrics:
            model.make_metrics(y_pred.shape)
        if self._copies is not None and not self._copies:
            self._copies = copy.deepcopy(model.metrics)
            for metric in self._copies:
                metric.reset_state()
        for n, metric in enumerate(self.metrics):
            metric.by_step = self.by_step
            weights = () if n < model.unweighted else (sample_weight,)
            metric.update_state(y, y_pred, *weights, mask=mask)
        count = np.count_nonzero(mask) if self.by_step and mask is not None else len(y)
        self.loss.add(float(value) * count, float(count))

    @property
    def metrics(self) -> list[Any]:
        """Those that take in the batches, without the loss."""
        return self.model.metrics if self._copies is None else self._copies

    def values(self) -> list[Any]:
        """Return the means so far, the loss first."""
        return [metric.result() for metric in (self.loss, *self.metrics)]

    def logs(self) -> dict[str, Any]:
        """Return the means so far, by name and sorted by it, as Keras."""
        return dict(sorted(zip(self.model.metrics_names, self.values(), strict=False)))

    def get_state(self) -> list[dict[str, Any]]:
        """Return what all of them have taken in, the loss first."""
        return [metric.get_state() for metric in (self.loss, *self.metrics)]

    def set_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on from what `get_state` returned, or raise ValueError."""
        for metric, own in zip((self.loss, *self.metrics), states, strict=True):
            metric.set_state(own)
