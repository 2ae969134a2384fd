"""What a user stacks."""

from .base import Layer
from .chain import Input, InputLayer
from .core import Activation, Dense, Dropout
from .embedding import Embedding
from .masking import Masking
from .noise import GaussianDropout, GaussianNoise, SpatialDropout1D
from .normalization import LayerNormalization
from .pooling import GlobalAveragePooling1D, GlobalMaxPooling1D
from .recurrent import GRU, LSTM, RNN, CarryRNN, CellRNN, SimpleRNN
from .reshaping import Flatten
from .rnn_cells import CarryRNNCell, GRUCell, LSTMCell, RecurrentCell, SimpleRNNCell, StackedRNNCells
from .wrappers import Bidirectional, TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
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
    "GlobalMaxPooling1D",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Layer",
    "LayerNormalization",
    "Masking",
    "RecurrentCell",
    "SimpleRNN",
    "SimpleRNNCell",
    "SpatialDropout1D",
    "StackedRNNCells",
    "TimeDistributed",
]
