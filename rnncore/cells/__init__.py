"""The cells: one file each, the equations and their derivatives side by side.

Every file of this folder is read at import; each `Cell` with an `about` gets a layer and a public cell.
"""

from importlib import import_module
from pkgutil import iter_modules

from .carry_rnn import CARRY_RNN
from .cell import Cell, Product, Stage
from .gru import GRU, GRU_RESET_BEFORE
from .lstm import LSTM
from .simple_rnn import SIMPLE_RNN

_modules = [import_module(f"{__name__}.{name}") for _, name, _ in iter_modules(__path__)]
_found = [value for module in _modules for value in vars(module).values() if isinstance(value, Cell)]
CELLS = {cell.name: cell for cell in _found if cell.about}

__all__ = ["CARRY_RNN", "CELLS", "GRU", "GRU_RESET_BEFORE", "LSTM", "SIMPLE_RNN", "Cell", "Product", "Stage"]
