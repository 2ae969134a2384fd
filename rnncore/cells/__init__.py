"""The cells: one file each, the equations and their derivatives side by side."""

from .carry_rnn import CARRY_RNN
from .cell import Cell, Product, Stage
from .gru import GRU, GRU_RESET_BEFORE
from .lstm import LSTM
from .simple_rnn import SIMPLE_RNN

__all__ = ["CARRY_RNN", "GRU", "GRU_RESET_BEFORE", "LSTM", "SIMPLE_RNN", "Cell", "Product", "Stage"]
