"""Backpropagation through time: the engine's heart, on arrays only.

lecture.py is where to begin: the loops of an LSTM and of a SimpleRNN with every product written out. numpy_loop.py is
the same for any cell, with masks, dropout and truncation; changed.py changes values in its steps. compiled_loop.py is
that in machine code, and compiled_run.py what stands around it. All agree to rounding: tests/bptt holds them to it.
"""
