"""What a user stacks."""

from .base import Layer
from .core import Activation, Dense, Dropout
from .embedding import Embedding
from .masking import Masking
from .recurrent import GRU, LSTM, RNN, CarryRNN, SimpleRNN
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
    "Dense",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "Layer",
    "Masking",
    "RecurrentCell",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
    "TimeDistributed",
]
