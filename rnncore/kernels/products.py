"""The products that are hoisted out of the time loop, over all steps at once.

N = T*B positions, step by step; D inputs, H units, G gates. A product is a `Job`: `threads.run` does several together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import config
from .threads import Job, done


class Inputs(NamedTuple):
    """What is multiplied at each position l: ``rows[place[l]] * drop[g, l % B]``.

    Attributes
    ----------
    rows : ndarray of shape (n, D)
    place : ndarray of shape (N,), int, or None
        None: position l has row l.
    drop : ndarray of shape (G or 1, B, D) or None
        Dropout, constant over time; by gate where the gates have draws of their own. 0, or one factor for all.
    order : ndarray of shape (M,), int, or None
        Of what is dropped, for the compiled products: the positions that are computed, one row of the batch after the
        other, and of a row those with the same input together, which is multiplied once.
    """

    rows: np.ndarray
    place: np.ndarray | None = None
    drop: np.ndarray | None = None
    order: np.ndarray | None = None

    def comes_again(self, positions: int) -> bool:
        """Whether so many rows come again, whole, at several positions that each is better multiplied only once."""
        return self.place is not None and self.drop is None and 4 * len(self.rows) < 3 * positions

    def at(self, valid: np.ndarray | None) -> np.ndarray:
        """Return what is multiplied at some positions, (G or 1, M, D)."""
        rows = self.rows if self.place is None else self.rows[self.place]
        found = _taken(rows[None], valid)
        return found if self.drop is None else found * _steps(self.drop, found.shape[1], valid)


class NumpyProducts:
    """The products by NumPy: the readable twin, in any dtype.

    Only the positions in `valid`, an array (M,) of int, or None for all, are computed; what a result has elsewhere is
    left alone.
    """

    @staticmethod
    def dropped(inputs: Inputs, drop: np.ndarray | None, positions: int, valid: np.ndarray | None) -> Inputs:
        """The inputs of so many positions with what is dropped of them."""
        return inputs._replace(drop=drop)

    @staticmethod
    def split(weight: np.ndarray, gates: int, positions: int | None = None) -> Job:
        """Column blocks by gate: (G, D, H) from (D, G*H), to multiply so many positions; a view, or put together."""
        return done(np.ascontiguousarray(weight.reshape(len(weight), gates, -1).swapaxes(0, 1)))

    @staticmethod
    def turned(weight: np.ndarray, gates: int) -> Job:
        """The same blocks transposed, as the way back multiplies with them: (G, H, D)."""
        return done(np.ascontiguousarray(weight.T).reshape(gates, -1, len(weight)))

    @staticmethod
    def project(inputs: Inputs, weights: np.ndarray, bias: np.ndarray, valid: Any, out: np.ndarray) -> Job:
        """``out[g] = x[g] @ weights[g] + bias[g]``: (G, N, H) from weights (G, D, H) and bias (G, H)."""
        out[:, _rows(valid, None)] = matmul(inputs.at(valid), weights) + bias[:, None]
        return done(out)

    @staticmethod
    def weight_gradients(
        inputs: Inputs,
        dz: np.ndarray,
        valid: Any,
        out: np.ndarray,
        bias: np.ndarray | None = None,
        column: int = 0,
        beside: Inputs | None = None,
    ) -> Job:
        """``x[g].T @ dz[g]`` side by side in `out` (D, ...), G*H columns from `column` on, from dz (G, N, H).

        In the same columns of `bias` (...,), if there is one, ``dz[g]`` added up over the positions. Where `inputs` are
        dropped there may be others `beside`, dropped too, a row a position: their rows of `out` come after those of x.
        """
        dz, first = _taken(dz, valid), 0
        columns = slice(column, column + len(dz) * dz.shape[2])
        for factors in (inputs, beside) if beside else (inputs,):
            found = matmul(factors.at(valid).transpose(0, 2, 1), dz).swapaxes(0, 1)
            out[first : first + len(found), columns] = found.reshape(len(found), -1)
            first += len(found)
        if bias is not None:
            bias[columns] = dz.sum(axis=1).ravel()
        return done(out)

    @staticmethod
    def input_gradients(
        dz: np.ndarray, turned: np.ndarray, drop: np.ndarray | None, valid: Any, to: Any, out: np.ndarray
    ) -> Job:
        """``dz[g] @ turned[g] * drop[g]`` added up over the gates, into `out` (n, D): of valid[n] in row to[n]."""
        dx = matmul(_taken(dz, valid), turned)
        dx = (dx if drop is None else dx * _steps(drop, dx.shape[1], valid)).sum(axis=0)
        out[_rows(valid, to)] = dx
        return done(out)

    @staticmethod
    def row_gradients(inputs: Inputs, dz: np.ndarray, turned: np.ndarray, valid: Any) -> Job:
        """``dz[g] @ turned[g]`` added up over the gates and over the positions of each of the rows, (n, D)."""
        out = np.zeros(inputs.rows.shape, dz.dtype)
        np.add.at(out, _taken(inputs.place[None], valid)[0], matmul(_taken(dz, valid), turned).sum(axis=0))
        return done(out)

    @staticmethod
    def added(total: np.ndarray, other: np.ndarray) -> Job:
        """``total += other``, both flat."""
        total += other
        return done(total)


def products_for(elementwise: bool, dtype: np.dtype) -> type:
    """Return what computes in `dtype` now, for a cell that runs compiled or (not elementwise) does not."""
    if np.dtype(dtype).kind == "c" or config.backend() == "numpy" or not elementwise:
        return NumpyProducts
    from .compiled_products import CompiledProducts

    return CompiledProducts


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``a @ b``; without a warning, as on some processors a BLAS raises "invalid" for finite numbers."""
    with np.errstate(invalid="ignore"):
        return np.matmul(a, b)


def _taken(array, valid):
    """Return `array` (G, N, …) at some positions."""
    return array if valid is None else array[:, valid]


def _rows(valid, to):
    return slice(None) if valid is None and to is None else valid if to is None else to


def _steps(drop, count, valid):
    """Return masks (G, B, D), the same at every step, at some positions."""
    return drop[:, (np.arange(count) if valid is None else valid) % drop.shape[1]]
