"""Checks of arguments: each returns the value in its final form, or says its name, what came and what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..sparse import SparseGradient


def checked_array(value: Any, label: str, kind: str, dtype: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return `value` as an array of `dtype` (integers as they are); see `inspected`."""
    array = inspected(value, label, kind, dtype, shape)
    return array if kind == "integer" else array.astype(dtype, copy=False)


def inspected(
    value: Any,
    label: str,
    kind: str,
    dtype: Any,
    shape: tuple[int, ...] | None = None,
    filled: bool = False,
) -> np.ndarray:
    """Return `value` as an array, not copied, or say in one sentence what is wrong with it.

    Parameters
    ----------
    value : array_like
    label : str
        What it is, for the message.
    kind : {"float", "integer"}
        "float" takes all finite numbers; "integer" integers, or floats and bools that stand for integers.
    dtype : dtype_like
        What the numbers are going to be: they must fit.
    shape : tuple of int, optional
        The exact shape.
    filled : bool
        Whether no axis may be empty.
    """
    try:
        array = value if type(value) is np.ndarray else plain(value, label)
    except ValueError as error:
        raise ValueError(
            f"{label} is ragged, its rows have different lengths; pad them first (pad_sequences)"
        ) from error
    if kind == "integer" and array.dtype.kind in "bf":
        wide = array.astype(float)  # 2**53 is no half
        array = array.astype(np.int64) if np.all((abs(wide) < 2**53) & (wide == np.floor(wide))) else array
    complex_too = "c" if np.dtype(dtype).kind == "c" else ""
    if array.dtype.kind not in ("iu" if kind == "integer" else "biuf" + complex_too):
        wanted = "integers" if kind == "integer" else "numbers"
        hint = "; lists of different lengths are padded first (pad_sequences)" if array.dtype == object else ""
        raise TypeError(f"{label} has dtype {array.dtype}; expected {wanted}{hint}")
    if shape is not None and array.shape != tuple(shape):
        raise ValueError(f"{label} has shape {array.shape}; expected {tuple(shape)}")
    if filled and 0 in array.shape:
        raise ValueError(f"{label} has shape {array.shape}: axis {array.shape.index(0)} is empty; expected 1 or more")
    where = not_finite(array, dtype) if kind == "float" and array.dtype.kind in "fc" else None
    if where is not None:
        raise ValueError(f"{label} is not finite in {np.dtype(dtype)}: {array[where]} at {where}")
    return array


def plain(value: Any, label: str, dtype: Any = None) -> np.ndarray:
    """Return `value` as an array, or raise TypeError: see `check_unmasked`."""
    if type(value) is not np.ndarray:
        check_unmasked(value, label)
    return np.asarray(value, dtype)


def check_unmasked(value: Any, label: str) -> None:
    """Raise TypeError if `value`, or a row of it, is an array with masked entries: NumPy would drop the mask."""
    rows = value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(row, np.ma.MaskedArray) and np.ma.is_masked(row) for row in rows):
        raise TypeError(
            f"{label} is a masked array, whose mask would be lost; fill it (.filled(0)), and say which steps count by "
            "mask=… in a call, mask_zero=True in an Embedding, a Masking layer, or sample_weight"
        )


def not_finite(array: np.ndarray | SparseGradient, dtype: Any = None) -> tuple[int, ...] | None:
    """Return the place of the first entry that is NaN, infinite or too large for `dtype`; None if there is none.

    Of a `SparseGradient`, the place in its rows. Nothing is copied unless there is such an entry.
    """
    array = array.rows if isinstance(array, SparseGradient) else array
    if array.dtype.kind not in "fc" or not array.size:
        return None
    if dtype is None and all_finite(array):
        return None
    limit = np.finfo(array.dtype if dtype is None else dtype).max
    parts = (array.real, array.imag) if array.dtype.kind == "c" else (array,)
    if all(-limit <= part.min() and part.max() <= limit for part in parts):  # NaN is neither
        return None
    bad = np.logical_or.reduce([~(abs(part) <= limit) for part in parts])
    return tuple(int(n) for n in np.argwhere(bad)[0])


def check_finite(array: np.ndarray, label: str, dtype: Any = None) -> None:
    """Raise ValueError if entries are NaN, infinite or too large for `dtype`: it says how many, and the first one."""
    where = not_finite(array, dtype)
    if where is not None:
        bad = np.count_nonzero(~(np.abs(array) <= np.finfo(array.dtype if dtype is None else dtype).max))
        raise ValueError(f"{label} is not finite in {bad:,} of {array.size:,} entries: {array[where]} at {where}")


def checked_mask(mask: Any, shape: tuple[int, ...], owner: str) -> np.ndarray | None:
    """Return the mask as a bool array of `shape`, or None."""
    if mask is None:
        return None
    mask = inspected(mask, f"{owner}: mask", "float", "float64", shape)
    if not (mask.dtype == bool or np.isin(mask, (0, 1)).all()):
        raise TypeError(
            f"{owner}: mask has dtype {mask.dtype}; expected bool or zeros and ones (True: the step counts)"
        )
    return mask.astype(bool, copy=False)


def checked_shape(shape: Any, label: str) -> tuple[int | None, ...]:
    """Return an input's shape, None for any size, as a tuple."""
    if not isinstance(shape, (tuple, list)) or not all(n is None or (_is_whole(n) and n > 0) for n in shape):
        raise ValueError(f"{label} is {shape!r}; expected a tuple of whole numbers above 0, None for any size")
    return tuple(shape)


def whole(value: Any, label: str, least: int = 0) -> int:
    """Return a whole number of at least `least`, or raise ValueError."""
    if not _is_whole(value) or value < least:
        raise ValueError(f"{label} is {value!r}; expected a whole number of at least {least}")
    return int(value)


def positive(value: Any, label: str) -> int:
    """Return a whole number above 0, or raise ValueError."""
    return whole(value, label, least=1)


def seed_or_none(value: Any, label: str) -> int | None:
    """Return what a generator can be seeded with, a whole number of at least 0, or None."""
    return None if value is None else whole(value, label)


def fraction(value: Any, label: str) -> float:
    """Return a share in [0, 1), or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < 1:
        raise ValueError(f"{label} is {value!r}; expected a number in [0, 1)")
    return float(value)


def finite(value: Any, label: str) -> float:
    """Return a number that is neither NaN nor infinite, or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
        raise ValueError(f"{label} is {value!r}; expected a finite number")
    return float(value)


def flag(value: Any, label: str) -> bool:
    """Return True or False, or raise TypeError: a string would count as true whatever it says."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{label} is {value!r}; expected True or False")
    return bool(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def all_finite(*arrays: np.ndarray) -> bool:
    """Whether no entry of some arrays that are not empty is NaN or infinite."""
    for array in arrays:
        ends = array if array.dtype.kind == "c" else (array.min(), array.max())  # NaN is neither of the two
        if not np.isfinite(ends).all():
            return False
    return True
