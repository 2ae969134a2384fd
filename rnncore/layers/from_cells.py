"""LSTM and LSTMCell, GRU and GRUCell, …: the layer and the public cell of each cell of the package.

from_cells.pyi, which ``python -m tests.make_stubs`` writes, shows them to type checkers and editors.
"""

from ..cells import CELLS
from .recurrent import layer_of

_layers = [layer_of(cell, __name__) for cell in CELLS.values()]
_classes = {cls.__name__: cls for layer in _layers for cls in (layer, layer.cell_class)}
__all__ = sorted(_classes)
globals().update(_classes)
