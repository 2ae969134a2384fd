"""Arrays of classes."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Return one-hot rows of classes by number, as Keras.

    Parameters
    ----------
    x : array_like of int of shape (...) or (..., 1)
    num_classes : int, optional
        C; default: one more than the largest class.

    Returns
    -------
    ndarray of shape (..., C), float64

    Raises
    ------
    ValueError
        A class is not a whole number in [0, C).

    Examples
    --------
    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    x = np.asarray(x)
    if x.dtype.kind == "f" and (x == np.floor(x)).all():
        x = x.astype(np.int64)
    if x.ndim > 1 and x.shape[-1] == 1:
        x = x[..., 0]
    count = int(x.max(initial=-1)) + 1 if num_classes is None else num_classes
    if x.dtype.kind not in "iu" or (x < 0).any() or (x >= count).any():
        raise ValueError(f"to_categorical: x must hold whole numbers from 0 to {count - 1}; got {np.unique(x)[:5]}")
    return np.eye(count)[x]
