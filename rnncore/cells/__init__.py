"""The cells: one file each, the equations and their derivatives side by side."""

from .cell import Cell, Product, Stage
from .lstm import LSTM
from .simple_rnn import SIMPLE_RNN

__all__ = ["LSTM", "SIMPLE_RNN", "Cell", "Product", "Stage"]
