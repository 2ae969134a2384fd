"""Backpropagation through time: the engine's heart, on arrays only.

lecture.py is where to begin: the loops of an LSTM and of a SimpleRNN with every product written out. numpy_loop.py is
the same for any cell, with masks, dropout and truncation; changed.py changes values in its steps. compiled_loop.py is
that in machine code, and compiled_run.py what stands around it. All agree to rounding: tests/bptt holds them to it.
"""

from __future__ import annotations

import numpy as np

from .. import config
from ..cells.cell import Cell
from .run import Run


def run_class(cell: Cell, dtype: str | np.dtype, changed: bool = False) -> type[Run]:
    """Return what runs a cell in `dtype` now: compiled, or NumPy.

    NumPy where asked for, where the cell mixes units, and where a step's values are changed.
    """
    if cell.elementwise and not changed and config.compiles(dtype):
        from .compiled_run import CompiledRun

        return CompiledRun
    from .numpy_loop import NumpyRun

    return NumpyRun
