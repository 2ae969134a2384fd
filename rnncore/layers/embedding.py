"""Embedding: a table of vectors, one a word."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import constraints, initializers, regularizers
from ..kernels.lookups import grouped
from ..lock import locked
from ..sparse import EmbeddedRows, SparseGradient
from .base import Layer
from .checks import flag, positive

MANY = 256  # look-ups among which it pays to find those that come again


class Embedding(Layer):
    """Look up a row of a table for each id.

    Parameters
    ----------
    input_dim : int
        V, the number of rows: ids are in [0, V).
    output_dim : int
        D, the size of a row.
    embeddings_initializer : str or Initializer
        Default: uniform in (-0.05, 0.05).
    embeddings_regularizer : str, Regularizer or None
        Of the whole table: its gradient is dense.
    embeddings_constraint : str, Constraint or None
    mask_zero : bool
        Whether id 0 is padding. Row 0 is an ordinary row of the table all the same.
    weights : array_like of shape (V, D), or a list of it, optional
        The table to begin with, instead of what `embeddings_initializer` draws.
    activity_regularizer : str, Regularizer or None
    dense_gradient : bool
        Whether the gradients of an id's look-ups are added up before an optimizer sees them, as those of a dense table
        are: so do PyTorch and Keras on JAX. Default: as Keras on TensorFlow, where an optimizer gets them one by one
        and Adam's second moment is the sum of their squares, not the square of their sum. Adding up is faster; what is
        linear in the gradient, as SGD is, does not depend on it.
    name, dtype, trainable
        See `Layer`.

    Attributes
    ----------
    embeddings : ndarray of shape (V, D)
        Its gradient is a `SparseGradient`: the touched rows only. While the model is trained, ask for the table again
        where you need it: rows that got no gradient get their pending updates then.
    deferred : DeferredUpdates or None
        These updates, put here by an optimizer: see `kernels.updates`.
    """

    input_ranks = (1, 64)
    input_kind = "integer"
    unkept = ("weights",)
    left_out = ("_ids", "deferred")
    deferred: Any = None

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        activity_regularizer: Any = None,
        dense_gradient: bool = False,
    ):
        super().__init__(name, dtype, trainable, activity_regularizer)
        self.input_dim = positive(input_dim, f"{self.name}: input_dim")
        self.output_dim = positive(output_dim, f"{self.name}: output_dim")
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = flag(mask_zero, f"{self.name}: mask_zero")
        self.dense_gradient = flag(dense_gradient, f"{self.name}: dense_gradient")
        if weights is not None:
            self.build((None,))
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def __getstate__(self):
        _ = self.weights  # without pending updates
        return super().__getstate__()

    @property
    def padding_value(self):
        return 0 if self.mask_zero else None

    def build(self, input_shape=None):
        self.add_by_options("embeddings", (self.input_dim, self.output_dim))

    @property
    @locked
    def embeddings(self):
        if self.deferred is not None:
            self.deferred.flush()
        return self._table

    @embeddings.setter
    def embeddings(self, table):
        self.deferred, self._table = None, table

    def stored(self, name):
        return self._table if name == "embeddings" else super().stored(name)

    def gradient_and_weight(self, name):
        gradient = self.gradient(name)
        if not isinstance(gradient, SparseGradient):
            return super().gradient_and_weight(name)
        return gradient.of(self), self._table

    def checked_input(self, x):
        x = super().checked_input(x)
        low, high = x.min(), x.max()
        if low < 0 or high >= self.input_dim:
            bad = int(low if low < 0 else high)
            raise ValueError(f"{self.name}: x holds the id {bad}; allowed: 0 to {self.input_dim - 1} (input_dim - 1)")
        return x

    def __call__(self, x: Any, mask: Any = None, training: bool = False, **inputs: Any) -> np.ndarray:
        """Look up ids, an array_like of int and any shape: (..., D)."""
        y = super().__call__(x, mask, training, **inputs)
        return np.asarray(y) if isinstance(y, EmbeddedRows) else y

    def call(self, x, mask=None, training=False):
        self._ids = x
        few = x.size < MANY or self.activity_regularizer is not None
        if few and self.deferred is None:
            return self._table.take(x, 0)
        groups = grouped(x.reshape(-1))
        if self.deferred is not None:
            self.deferred.flush(groups.ids)
        if few:
            return self._table.take(x, 0)
        return EmbeddedRows(self._table.take(groups.ids, 0), groups, x.shape, self.dense_gradient)

    def call_backward(self, dy):
        # y = embeddings[ids]: a row's gradient is the sum over the places of its id
        found = self.last_output if isinstance(self.last_output, EmbeddedRows) else None
        if not isinstance(dy, SparseGradient):
            rows = dy.reshape(-1, self.output_dim)
            dy = SparseGradient(np.arange(len(rows)) if found is None else found.every, rows, rows.shape)
        gradient = dy.looked_up(self._ids.reshape(-1), self._table.shape)
        if found is not None and dy.ids is found.every:
            gradient.groups = found.groups
        elif found is not None and dy.ids is found.first:
            gradient.groups = found.groups.once()
        self.gradients = {"embeddings": gradient.added_up() if self.dense_gradient else gradient}
        return None

    def compute_mask(self, x, mask=None):
        return x != 0 if self.mask_zero else None

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.output_dim)
