"""How Python functions become machine code, and how threads share it: all that the package has of numba and LLVM.

jit.py compiles; cache.py keeps what was compiled on disk, in files that trusted_files.py reads; tile.py is the register
tile of the matrix products; workers.py lets threads call compiled code without the interpreter; pool.py runs jobs.
"""
