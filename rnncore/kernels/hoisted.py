"""The compiled form of products.py: each kernel fills the rows from `begin` to `end` of its result."""

from __future__ import annotations

from .._jit import kernel
from .rows import add_product, add_turned_product, clear_rows


def _project(x, weights, bias, out, begin, end):
    for g in range(out.shape[0]):
        for i in range(begin, end):
            for j in range(out.shape[2]):
                out[g, i, j] = bias[g, j]
        add_product(out[g], x[g % x.shape[0]], weights[g], begin, end)


def _weight_gradients(x, dz, out, begin, end):
    for g in range(out.shape[0]):
        clear_rows(out[g], begin, end)
        add_turned_product(out[g], x[g % x.shape[0]], dz[g], begin, end)


def _input_gradients(dz, turned, out, begin, end):
    for g in range(out.shape[0]):
        clear_rows(out[g], begin, end)
    for g in range(dz.shape[0]):
        add_product(out[g % out.shape[0]], dz[g], turned[g], begin, end)


project = kernel(_project, "project")
weight_gradients = kernel(_weight_gradients, "weight_gradients")
input_gradients = kernel(_input_gradients, "input_gradients")
