"""How each library is told to do the work of a case: a file a library. Runs in the worker.

An adapter is made for each case: it has ``libraries`` (names, for their versions), ``load(case, x, y, weights)``,
``check()`` and ``time(steps)``. Weights come and go in the order and layout of Keras's ``get_weights``. Its library is
imported when it is made, and not with its module: the worker times that import.
"""
