"""rnncore beside Keras and PyTorch, on the same arrays, in one run: see README.md."""
