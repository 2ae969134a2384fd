"""Shapes of targets, predictions and weights, as losses and metrics take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config import floatx
from ..layers.checks import plain

FLOATS = (np.float32, np.float64)


def as_floats(y_pred: Any) -> np.ndarray:
    """Return predictions as an array of floats: float32 and float64 as they are, others in the default dtype."""
    y_pred = plain(y_pred, "y_pred")
    if y_pred.ndim == 0:
        raise ValueError(f"y_pred is the number {y_pred}; expected an array of shape (B, ..., C)")
    return y_pred if y_pred.dtype in FLOATS else y_pred.astype(floatx())


def fitted(y_true: Any, y_pred: np.ndarray, cast: bool = False) -> np.ndarray:
    """Return `y_true` in y_pred's shape, and if `cast` in its dtype, or raise ValueError."""
    y = plain(y_true, "y_true")
    if y.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
        y = y[..., None]
    if y.shape != y_pred.shape:
        raise ValueError(
            f"y_true has shape {np.shape(y_true)}, y_pred {y_pred.shape}; expected the same shape "
            "(the last axis may be left out where it is 1)"
        )
    return y.astype(y_pred.dtype, copy=False) if cast else y


def fitted_classes(y_true: Any, y_pred: np.ndarray) -> np.ndarray:
    """Return `y_true`, classes by number, in y_pred's shape without its last axis, or raise ValueError."""
    ids = plain(y_true, "y_true")
    if ids.ndim == y_pred.ndim and ids.shape[-1] == 1:
        ids = ids[..., 0]
    if ids.shape != y_pred.shape[:-1]:
        raise ValueError(
            f"y_true has shape {np.shape(y_true)}, y_pred {y_pred.shape}; "
            f"classes by number have shape {y_pred.shape[:-1]} or {(*y_pred.shape[:-1], 1)}"
        )
    return ids


def aligned(name: str, weight: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return `weight` so that it broadcasts to `shape`, missing last axes filled up, or raise ValueError."""
    weight = plain(weight, name, dtype)
    if weight.ndim == len(shape) + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    full = weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim))
    if full.ndim > len(shape) or any(n not in (1, size) for n, size in zip(full.shape, shape, strict=True)):
        raise ValueError(f"{name} has shape {weight.shape}; the losses have shape {shape}, and it must broadcast to it")
    # A shape with all its axes stays as it came: "mean_with_sample_weight" divides by the sum of just those.
    return full if weight.ndim == len(shape) else np.broadcast_to(full, shape)


def merged_weights(
    sample_weight: Any, mask: Any, shape: tuple[int, ...], dtype: np.dtype, rescaled: bool = False
) -> np.ndarray | None:
    """Return the weights of losses (or metrics' values) of `shape`: the sample weights times the mask.

    `rescaled` makes kept positions weigh all / kept, so that a mean over all becomes one over the kept.
    None stands for no weights.
    """
    weights = None if sample_weight is None else aligned("sample_weight", sample_weight, shape, dtype)
    if mask is None:
        return weights
    kept = aligned("mask", mask, shape, bool)
    count = np.count_nonzero(kept)
    weight = dtype.type(kept.size) / dtype.type(count) if rescaled and count else dtype.type(1)
    kept = np.where(kept, weight, dtype.type(0))
    return kept if weights is None else weights * kept
