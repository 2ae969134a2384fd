"""Helpers around training."""

from ..config import set_seed as set_random_seed
from .dataset import PyDataset, Sequence
from .numeric import to_categorical
from .sequence import pad_sequences

__all__ = ["PyDataset", "Sequence", "pad_sequences", "set_random_seed", "to_categorical"]
