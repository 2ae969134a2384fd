"""Weights in and out of other libraries, which are not imported."""

from .torch import weights_from_torch, weights_to_torch

__all__ = ["weights_from_torch", "weights_to_torch"]
