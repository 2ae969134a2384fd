"""Weights and models in and out of other libraries, which are not imported."""

from . import onnx, torch
from .torch_recurrent import weights_from_torch, weights_to_torch

__all__ = ["onnx", "torch", "weights_from_torch", "weights_to_torch"]
