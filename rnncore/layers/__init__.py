"""What a user stacks."""

from .base import Layer
from .core import Activation, Dense, Dropout
from .embedding import Embedding
from .masking import Masking
from .recurrent import LSTM, SimpleRNN

__all__ = ["LSTM", "Activation", "Dense", "Dropout", "Embedding", "Layer", "Masking", "SimpleRNN"]
