"""What a user stacks."""

from . import from_cells
from .activation_layers import ELU, LeakyReLU, ReLU, Softmax
from .base import Layer
from .chain import Input, InputLayer
from .convolution import Conv1D
from .core import Activation, ActivityRegularization, Dense, Dropout, Identity
from .embedding import Embedding
from .from_cells import *  # noqa: F403 - a new cell is one file
from .masking import Masking
from .noise import GaussianDropout, GaussianNoise, SpatialDropout1D
from .normalization import BatchNormalization, LayerNormalization
from .pooling import AveragePooling1D, GlobalAveragePooling1D, GlobalMaxPooling1D, MaxPooling1D
from .recurrent import RNN, CellRNN, layer_of
from .reshaping import Flatten, Permute, RepeatVector, Reshape
from .rnn_cells import RecurrentCell, StackedRNNCells
from .subwords import SubwordVectorization
from .text import TextVectorization
from .wrappers import Bidirectional, TimeDistributed

# Keras's other names
GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D
AvgPool1D, MaxPool1D, Convolution1D = AveragePooling1D, MaxPooling1D, Conv1D

__all__ = [
    "ELU",
    "RNN",
    "Activation",
    "ActivityRegularization",
    "AveragePooling1D",
    "AvgPool1D",
    "BatchNormalization",
    "Bidirectional",
    "CellRNN",
    "Conv1D",
    "Convolution1D",
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
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPooling1D",
    "Permute",
    "ReLU",
    "RecurrentCell",
    "RepeatVector",
    "Reshape",
    "Softmax",
    "SpatialDropout1D",
    "StackedRNNCells",
    "SubwordVectorization",
    "TextVectorization",
    "TimeDistributed",
    "layer_of",
]
__all__ += from_cells.__all__
