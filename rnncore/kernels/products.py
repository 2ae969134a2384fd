"""The products that are hoisted out of the time loop, over all steps at once.

N = T*B rows, D inputs, H units, G gates. `x` comes once for all gates, (1, N, D), or once a gate, (G, N, D), where
each gate's input was dropped by itself. Compiled, the rows of the result are split over the threads.
"""

from __future__ import annotations

import numpy as np

from .. import config
from . import threads


class NumpyProducts:
    """The products by NumPy: the readable twin, in any dtype."""

    @staticmethod
    def project(x: np.ndarray, weights: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
        """``out[g] = x[g] @ weights[g] + bias[g]``: (G, N, H) from weights (G, D, H) and bias (G, H)."""
        np.matmul(x, weights, out=out)
        out += bias[:, None]

    @staticmethod
    def weight_gradients(x: np.ndarray, dz: np.ndarray) -> np.ndarray:
        """Return ``x[g].T @ dz[g]``: (G, D, H) from dz (G, N, H)."""
        return np.matmul(x.transpose(0, 2, 1), dz)

    @staticmethod
    def input_gradients(dz: np.ndarray, weights: np.ndarray, parts: int) -> np.ndarray:
        """Return ``dz[g] @ weights[g].T``, (G, N, D); with `parts` 1 the sum over the gates, (1, N, D)."""
        dx = np.matmul(dz, weights.transpose(0, 2, 1))
        return dx.sum(axis=0, keepdims=True) if parts == 1 else dx


class CompiledProducts:
    """The same products by our own kernel, on the threads of the time loop and not on those of a BLAS."""

    @staticmethod
    def project(x, weights, bias, out) -> None:
        """As `NumpyProducts.project`."""
        from .hoisted import project

        threads.over_rows(project, x.shape[1], 2 * weights.size)(x, weights, bias, out)

    @staticmethod
    def weight_gradients(x, dz) -> np.ndarray:
        """As `NumpyProducts.weight_gradients`."""
        from .hoisted import weight_gradients

        out = np.empty((len(dz), x.shape[2], dz.shape[2]), dz.dtype)
        threads.over_rows(weight_gradients, x.shape[2], 2 * dz.size)(x, dz, out)
        return out

    @staticmethod
    def input_gradients(dz, weights, parts) -> np.ndarray:
        """As `NumpyProducts.input_gradients`."""
        from .hoisted import input_gradients

        out = np.empty((parts, dz.shape[1], weights.shape[1]), dz.dtype)
        turned = np.ascontiguousarray(weights.transpose(0, 2, 1))
        threads.over_rows(input_gradients, dz.shape[1], 2 * weights.size)(dz, turned, out)
        return out


def products_for(elementwise: bool, dtype: np.dtype) -> type[NumpyProducts] | type[CompiledProducts]:
    """Return what computes in `dtype` now, for a cell that runs compiled or (not elementwise) does not."""
    by_numpy = np.dtype(dtype).kind == "c" or config.backend() == "numpy" or not elementwise
    return NumpyProducts if by_numpy else CompiledProducts
