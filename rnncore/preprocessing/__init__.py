"""Where older Keras scripts look for `pad_sequences` and `Tokenizer`."""

from . import sequence, text

__all__ = ["sequence", "text"]
