"""Metrics: running means and counts over batches, under Keras's names and with its arithmetic.

Most are means. A mean takes one value a position, shape (B, ...), and keeps two numbers: the total of each sample's
weighted mean over its positions, and the count, the total of each sample's mean weight. The mask counts as weights
of 0 and 1. Within a batch of sequences this is the mean over kept steps. Over batches of different lengths T a kept
step weighs 1/T of its batch: that is Keras's arithmetic too.

Precision, recall, F1 and the areas under curves count instead: how much weight of true and of false labels lies
between each two thresholds. All positions count alike there, whatever the length of their batch.

The mask holds for every metric. (Keras's counting metrics and its root of the mean squared error overlook it.)
Totals are float64, so a long epoch does not lose counts as float32 totals would.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from .. import losses
from ..configured import resolve
from ..losses import (  # Keras has these functions here, too
    binary_crossentropy,
    categorical_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from .base import Mean, MeanMetricWrapper, Metric, Sum
from .counts import (
    AUC,
    F1Score,
    FalseNegatives,
    FalsePositives,
    FBetaScore,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from .means import (
    Accuracy,
    BinaryAccuracy,
    BinaryCrossentropy,
    CategoricalAccuracy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Perplexity,
    Poisson,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseCategoricalCrossentropy,
    SparseTopKCategoricalAccuracy,
    SquaredHinge,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)

_CLASSES = tuple(
    c for c in vars().values() if isinstance(c, type) and issubclass(c, Metric) and c not in (Metric, MeanMetricWrapper)
)
_NAMES = losses.named(_CLASSES)
_FUNCTIONS = (sys.modules[__name__], losses)  # where Keras's functions stand
__all__ = ["Metric", "MeanMetricWrapper", "get", *(cls.__name__ for cls in _CLASSES)]
__all__ += [name for name, value in vars().items() if inspect.isfunction(value) and name in {*_NAMES, *losses.__all__}]


def get(
    identifier: str | Mapping[str, Any] | type | Metric,
    loss: Any = None,
    output_shape: tuple[int | None, ...] | None = None,
) -> Metric:
    """Return a metric from itself, its class, a Keras name, a ``{"class_name", "config"}`` or a function.

    A metric found by a name keeps the name as it was typed, as in Keras's logs.

    Parameters
    ----------
    identifier : str, mapping, class, Metric or function
        One of Keras's functions, here or in `rnncore.losses`, stands for its class, another one for a
        `MeanMetricWrapper`.
        ``"accuracy"`` and ``"acc"`` stand for the accuracy that fits: binary for one output (C = 1), sparse
        categorical where targets are classes by number, categorical otherwise. Thus several sigmoid outputs
        get categorical accuracy, as in Keras; ask for ``"binary_accuracy"`` there.
    loss : Loss or its name, optional
        Tells whether targets are classes by number. (Keras looks at y_true's shape, which follows.)
    output_shape : tuple, optional
        Shape of y_pred, or only its last axis; needed for ``"accuracy"``.

    Raises
    ------
    ValueError, TypeError
        There is no such metric; ``"accuracy"`` without an `output_shape`.
    """
    if isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc"):
        if not output_shape:
            raise ValueError(f"output_shape is {output_shape!r}; {identifier!r} needs the shape of y_pred")
        sparse = loss is not None and isinstance(losses.get(loss), losses.SparseCategoricalCrossentropy)
        cls = BinaryAccuracy if output_shape[-1] == 1 else SparseCategoricalAccuracy if sparse else CategoricalAccuracy
        return cls(identifier)
    if inspect.isfunction(identifier):
        name = identifier.__name__
        if name not in _NAMES or all(vars(module).get(name) is not identifier for module in _FUNCTIONS):
            return MeanMetricWrapper(identifier)
        identifier = name
    metric = resolve(identifier, _NAMES, Metric, "metric")
    if isinstance(identifier, str):
        metric.name = identifier
    return metric
