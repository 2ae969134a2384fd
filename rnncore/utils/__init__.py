"""Helpers around training."""

from ..config import set_seed as set_random_seed
from ..configured import custom_object_scope
from ..layers.scopes import reset_names as clear_session
from .dataset import PyDataset, Sequence
from .files import get_file
from .numeric import to_categorical
from .sequence import pad_sequences
from .timeseries import timeseries_dataset_from_array

CustomObjectScope = custom_object_scope

__all__ = [
    "CustomObjectScope",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "get_file",
    "pad_sequences",
    "set_random_seed",
    "timeseries_dataset_from_array",
    "to_categorical",
]
