"""The base of the metrics, and means of values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import losses
from ..config import checked_dtype
from ..configured import Configured, snake_case
from ..layers.checks import plain


class Metric(Configured):
    """Base of the metrics.

    Parameters
    ----------
    name : str, optional
        What it is called in logs; the class's name in snake case when not given.
    dtype : {"float32", "float64"}, optional
        What predictions are looked at in; default: the dtype that they come in. Totals are float64.

    Attributes
    ----------
    remembers : tuple of str
        A class states here the attributes that `reset_state` sets, for the backup of a training under way.
    direction : {"max", "min", None}
        A class, or an object, states here which values are better: what the callbacks that monitor it take for
        ``mode="auto"``. None: nothing says so.
    """

    remembers: tuple[str, ...] = ()
    direction: str | None = None

    def __init__(self, name: str | None = None, dtype: str | None = None):
        self.name = name or snake_case(type(self).__name__)
        self.dtype = None if dtype is None else checked_dtype(dtype).name
        self.reset_state()

    def predictions(self, y_pred: Any) -> np.ndarray:
        """Return predictions as an array of floats, in the metric's dtype if it has one."""
        y_pred = losses.as_floats(y_pred)
        return y_pred if self.dtype is None else y_pred.astype(self.dtype, copy=False)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Take in a batch; arguments as in `rnncore.losses.Loss`."""
        raise NotImplementedError

    def result(self) -> float | np.ndarray:
        """Return the value over all batches since the last `reset_state`; some metrics have several."""
        raise NotImplementedError

    def reset_state(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def get_state(self) -> dict[str, Any]:
        """Return what the metric has taken in, in plain values and arrays."""
        return {name: getattr(self, name) for name in self.remembers}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned, or raise ValueError if it is not of such a metric."""
        own = self.get_state()
        if {name: type(value) for name, value in own.items()} != {name: type(value) for name, value in state.items()}:
            raise ValueError(f"metric {self.name!r}: its state has {', '.join(own)}, of other types than came")
        for name, value in own.items():
            if np.broadcast_shapes(np.shape(value), np.shape(state[name])) != np.shape(state[name]):
                raise ValueError(f"metric {self.name!r}: {name} has shape {np.shape(state[name])}")
        vars(self).update(state)


class Averaged(Metric):
    """What means of all kinds share: two numbers, and how a batch adds to them; 0 before there is any.

    Attributes
    ----------
    by_step : bool
        Whether positions count alike in batches of all lengths. The evaluation of ragged data sets it: which batch a
        row is in makes no difference then.
    """

    by_step = False
    remembers = ("total", "count")

    def reset_state(self) -> None:
        self.total, self.count = 0.0, 0.0

    def take(self, values: np.ndarray, sample_weight: Any, mask: Any) -> None:
        """Take in the values of a batch: see `Mean.update_state`."""
        weights = None
        if sample_weight is not None or mask is not None:
            weights = losses.merged_weights(sample_weight, mask, values.shape, values.dtype)
        if weights is None:
            total, count = values.sum(), values.size
        else:
            weights = np.broadcast_to(weights, values.shape)
            total, count = (values * weights).sum(), weights.sum()
        positions = 1 if self.by_step else max(1, math.prod(values.shape[1:]))
        self.add(float(total) / positions, float(count) / positions)

    def add(self, total: float, count: float) -> None:
        """Take in what `count` values add up to."""
        self.total += total
        self.count += count

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0


class Mean(Averaged):
    """The weighted mean of values; 0 before there are any."""

    def update_state(self, values: Any, sample_weight: Any = None, mask: Any = None) -> None:  # type: ignore[override]
        """Take in values.

        Parameters
        ----------
        values : array_like of shape (B, ...), or a number
        sample_weight, mask : array_like, optional
            Of the values' shape or one that broadcasts to it; (B,) is a weight a sample.

        Raises
        ------
        ValueError
            A shape does not fit.
        """
        self.take(plain(values, "values", float), sample_weight, mask)


class Sum(Mean):
    """The weighted sum of values; parameters and errors are `Mean`'s."""

    def take(self, values, sample_weight, mask):
        super().take(values * max(1, math.prod(values.shape[1:])), sample_weight, mask)

    def result(self):
        return self.total


class MeanOf(Averaged):
    """The mean of a value that y_true and y_pred give: a subclass says which."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        values = self.values(y_true, self.predictions(y_pred))
        self.take(plain(values, "values", float), sample_weight, mask)

    def values(self, y_true: Any, y_pred: np.ndarray) -> np.ndarray:
        """Return one value a position, from y_pred of shape (B, ..., C)."""
        raise NotImplementedError


class MeanMetricWrapper(MeanOf):
    """The mean of what a function of yours makes of a batch.

    Parameters
    ----------
    fn : callable
        Takes y_true and y_pred, arrays as the model gives them, and returns one value a position. An attribute
        ``direction`` of it is the metric's (see `Metric`); a loss has "min".
    name : str, optional
        The function's when not given.
    dtype : str, optional
        See `Metric`.
    **options
        Given to the function, too.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: str | None = None, **options: Any):
        if not callable(fn):
            raise TypeError(f"fn is {fn!r}; expected a function of y_true and y_pred")
        super().__init__(name or getattr(fn, "__name__", None), dtype)
        self.fn, self._options = fn, options
        is_loss = isinstance(fn, losses.Loss) or any(fn is known for known in vars(losses).values())
        self.direction = getattr(fn, "direction", "min" if is_loss else None)

    def argument(self, name):
        return self._options[name] if name in self._options else super().argument(name)

    def values(self, y_true, y_pred):
        return np.asarray(self.fn(plain(y_true, "y_true"), y_pred, **self._options))
