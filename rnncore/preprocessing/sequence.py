"""`pad_sequences`, under its older name."""

from ..utils.sequence import pad_sequences

__all__ = ["pad_sequences"]
