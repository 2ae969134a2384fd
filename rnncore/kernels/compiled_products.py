"""The products of products.py by our own kernels, on the threads of the time loop and not on those of a BLAS."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from . import dropped, hoisted
from .lookups import grouped
from .products import Inputs
from .threads import Job, done

SPLIT = 128  # positions from which on it pays to put the weights of a gate together
BATCH = 8  # rows from which on it pays to drop from the weights, row by row, what is dropped of the gradients


class CompiledProducts:
    """The products compiled; see `NumpyProducts` for what each is."""

    @staticmethod
    def dropped(inputs, drop, positions, valid) -> Inputs:
        """As `NumpyProducts.dropped`."""
        if drop is None:
            return inputs
        return inputs._replace(drop=drop, order=_by_row(inputs, positions, drop.shape[1], valid))

    @staticmethod
    def split(weight, gates, positions=None) -> Job:
        """As `NumpyProducts.split`."""
        if gates == 1 or (positions is not None and positions < SPLIT):
            return done(weight.reshape(len(weight), gates, -1).swapaxes(0, 1))
        out = np.empty((gates, len(weight), weight.shape[1] // gates), weight.dtype)
        return Job(hoisted.split, (weight, out), len(weight), 8 * weight.size, out)

    @staticmethod
    def turned(weight, gates) -> Job:
        """As `NumpyProducts.turned`."""
        if weight.shape[1] == 1:
            return done(weight.reshape(1, 1, -1))
        out = np.empty(weight.shape[::-1], weight.dtype)
        return Job(hoisted.turned, (weight, out), len(out), 32 * weight.size, out.reshape(gates, -1, len(weight)))

    @staticmethod
    def project(inputs, weights, bias, valid, out) -> Job:
        """As `NumpyProducts.project`."""
        count, place = _count(out, valid), _indices(inputs.place)
        work = 2 * count * weights.size
        if inputs.drop is None:
            return Job(hoisted.project, (inputs.rows, place, weights, bias, _indices(valid), out), count, work, out)
        arrays = (inputs.rows, place, inputs.drop, inputs.order, weights, bias, out)
        return Job(dropped.project, arrays, count, work, out)

    @staticmethod
    def weight_gradients(inputs, dz, valid, out, bias=None, column=0, beside=None) -> Job:
        """As `NumpyProducts.weight_gradients`."""
        count, columns, place = _count(dz, valid), len(dz) * dz.shape[2], _indices(inputs.place)
        bias = np.empty(0, out.dtype) if bias is None else bias
        if inputs.drop is None:
            by_row = inputs.comes_again(count)
            work = 2 * out.shape[0] * columns * (len(inputs.rows) if by_row else count)
            arrays = (inputs.rows, place, dz, _indices(valid), count, by_row, out, column, bias)
            return Job(hoisted.weight_gradients, arrays, columns, work, out)
        other = (beside.rows, beside.drop) if beside else (np.empty((0, 0), dz.dtype), _masks(None, dz.dtype))
        arrays = (inputs.rows, place, inputs.drop, *other, inputs.order, dz, out, column, bias)
        return Job(dropped.weight_gradients, arrays, columns, 2 * out.shape[0] * columns * count, out)

    @staticmethod
    def input_gradients(dz, turned, drop, valid, to, out) -> Job:
        """As `NumpyProducts.input_gradients`."""
        count = _count(dz, valid)
        to, work = _indices(valid if to is None else to), 2 * count * turned.size
        if valid is None and drop is not None and drop.shape[1] >= BATCH:
            return Job(dropped.input_gradients, (dz, turned, drop, to, out), drop.shape[1], work, out)
        arrays = (dz, turned, _masks(drop, dz.dtype), _indices(valid), to, out)
        return Job(hoisted.input_gradients, arrays, count, work, out)

    @staticmethod
    def row_gradients(inputs, dz, turned, valid) -> Job:
        """As `NumpyProducts.row_gradients`."""
        out = np.empty(inputs.rows.shape, dz.dtype)
        arrays = (inputs.place, dz, turned, _indices(valid), _count(dz, valid), out)
        return Job(hoisted.row_gradients, arrays, len(out), 2 * len(out) * turned.size, out)

    @staticmethod
    def added(total, other) -> Job:
        """As `NumpyProducts.added`."""
        return Job(hoisted.added, (total, other), len(total), 20 * len(total), total)


def _count(array, valid):
    """Return how many positions of an array (G, N, …) are computed."""
    return array.shape[1] if valid is None else len(valid)


def _by_row(inputs, positions, batch, valid):
    """Return `Inputs.order`."""
    row = _row_of(positions, batch)
    if inputs.place is not None and len(inputs.rows) < positions:
        row = row * len(inputs.rows) + inputs.place
    elif valid is None:
        return _all_by_row(positions, batch)
    return grouped(row).order if valid is None else valid[grouped(row[valid]).order]


@lru_cache(maxsize=8)
def _row_of(positions, batch):
    return np.arange(positions) % batch


@lru_cache(maxsize=8)
def _all_by_row(positions, batch):
    return np.arange(positions).reshape(-1, batch).T.ravel()


# A kernel takes one type an argument: an empty array for what is None.


def _indices(positions):
    return np.empty(0, np.int64) if positions is None else positions


def _masks(drop, dtype):
    return np.empty((0, 0, 0), dtype) if drop is None else drop
