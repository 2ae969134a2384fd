"""How a model is trained: compile, fit, evaluate, predict."""

from .trainer import Trainer

__all__ = ["Trainer"]
