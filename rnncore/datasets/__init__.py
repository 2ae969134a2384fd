"""Data sets under Keras's names."""

from rnncore.datasets import imdb

__all__ = ["imdb"]
