"""What a user stacks."""

from . import from_cells
from .base import Layer
from .chain import Input, InputLayer
from .core import Activation, ActivityRegularization, Dense, Dropout, Identity
from .embedding import Embedding
from .from_cells import *  # noqa: F403 - a new cell is one file
from .masking import Masking
from .noise import GaussianDropout, GaussianNoise, SpatialDropout1D
from .normalization import LayerNormalization
from .pooling import GlobalAveragePooling1D, GlobalMaxPooling1D
from .recurrent import RNN, CellRNN, layer_of
from .reshaping import Flatten, Permute, RepeatVector, Reshape
from .rnn_cells import RecurrentCell, StackedRNNCells
from .text import TextVectorization
from .wrappers import Bidirectional, TimeDistributed

GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D  # Keras's short names

__all__ = [
    "RNN",
    "Activation",
    "ActivityRegularization",
    "Bidirectional",
    "CellRNN",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "Identity",
    "Input",
    "InputLayer",
    "Layer",
    "LayerNormalization",
    "Masking",
    "Permute",
    "RecurrentCell",
    "RepeatVector",
    "Reshape",
    "SpatialDropout1D",
    "StackedRNNCells",
    "TextVectorization",
    "TimeDistributed",
    "layer_of",
]
__all__ += from_cells.__all__
