"""What a user stacks."""

from .base import Layer
from .chain import Input, InputLayer
from .core import Activation, ActivityRegularization, Dense, Dropout, Identity
from .embedding import Embedding
from .masking import Masking
from .noise import GaussianDropout, GaussianNoise, SpatialDropout1D
from .normalization import LayerNormalization
from .pooling import GlobalAveragePooling1D, GlobalMaxPooling1D
from .recurrent import GRU, LSTM, RNN, CarryRNN, CellRNN, SimpleRNN
from .reshaping import Flatten, Permute, RepeatVector, Reshape
from .rnn_cells import CarryRNNCell, GRUCell, LSTMCell, RecurrentCell, SimpleRNNCell, StackedRNNCells
from .wrappers import Bidirectional, TimeDistributed

GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D  # Keras's short names

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "ActivityRegularization",
    "Bidirectional",
    "CarryRNN",
    "CarryRNNCell",
    "CellRNN",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "Identity",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Layer",
    "LayerNormalization",
    "Masking",
    "Permute",
    "RecurrentCell",
    "RepeatVector",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "SpatialDropout1D",
    "StackedRNNCells",
    "TimeDistributed",
]
