"""Where older Keras scripts look for `pad_sequences` and `Tokenizer`, and windows over a series."""

from ..utils.timeseries import timeseries_dataset_from_array
from . import sequence, text

__all__ = ["sequence", "text", "timeseries_dataset_from_array"]
