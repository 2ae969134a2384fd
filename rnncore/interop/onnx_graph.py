"""A graph of ONNX operators under construction, and the activations in its operators.

The package onnx is handed in, so that nothing imports it before somebody exports.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..activations import ACTIVATIONS, Activation

OPSET = 18  # the reductions have had one form since: axes are an input
IR_VERSION = 8  # of that time, which older readers take too


class Graph:
    """Nodes and constants in the order in which they were made; values go by their names.

    Parameters
    ----------
    onnx : module
    """

    def __init__(self, onnx: Any):
        self.onnx = onnx
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.scope = ""
        self._names: Counter[str] = Counter()

    def unique(self, name: str) -> str:
        """Return the name, with a number behind it where it is taken."""
        self._names[name] += 1
        return name if self._names[name] == 1 else self.unique(f"{name}_{self._names[name] - 1}")

    def constant(self, value: Any, name: str = "constant", dtype: Any = np.float32) -> str:
        """Return the name of an array that is a copy of `value`."""
        name = self.unique(f"{self.scope}/{name}")
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(value, dtype, order="C"), name))
        return name

    def whole(self, *values: int) -> str:
        """Return the name of a vector of whole numbers."""
        return self.constant(values, "whole", np.int64)

    def add(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], named: bool = False, **attributes: Any
    ) -> list[str]:
        """Add a node, and return the names of its outputs: after `outputs`, or just they where they are `named`."""
        names = list(outputs) if named else [self.unique(f"{self.scope}/{output}") for output in outputs]
        name, inputs = self.unique(f"{self.scope}/{op}"), list(inputs)
        while not inputs[-1]:  # what is left out at the end is not there
            inputs.pop()
        self.nodes.append(self.onnx.helper.make_node(op, inputs, names, name, **attributes))
        return names

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return its name."""
        return self.add(op, inputs, [op.lower()], **attributes)[0]

    def declare(self, kind: str, name: str, dtype: Any, shape: Sequence[Any]) -> str:
        """Make `name` one of the graph's "inputs" or "outputs"."""
        dtype = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        getattr(self, kind).append(self.onnx.helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def cast(self, x: str, dtype: Any) -> str:
        """Return x in another dtype."""
        return self("Cast", x, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def column(self, x: str, axes: int = 1) -> str:
        """Return x with axes of size 1 behind its own."""
        return self("Unsqueeze", x, self.whole(*range(-axes, 0)))

    def where(self, condition: str, x: str, otherwise: float) -> str:
        """Return x where the condition holds, and a number elsewhere."""
        return self("Where", condition, x, self.constant(otherwise))

    def last(self, x: str, axis: int, place: int = -1) -> str:
        """Return x at one place of an axis, which is gone then."""
        return self("Gather", x, self.constant(place, "place", np.int64), axis=axis)

    def reversed(self, x: str) -> str:
        """Return x, (B, T, ...), with its steps from the last to the first."""
        return self("Slice", x, self.whole(-1), self.whole(np.iinfo(np.int64).min), self.whole(1), self.whole(-1))

    def reduced(self, op: str, x: str, axes: Sequence[int], keep: bool = True) -> str:
        """Return ReduceSum, ReduceMean or ReduceMax of x."""
        return self(op, x, self.whole(*axes), keepdims=int(keep))

    def activated(self, activation: Activation, x: str) -> str:
        """Return an activation of x.

        Raises
        ------
        ValueError
            It is none of the package's.
        """
        if ACTIVATIONS.get(activation.name) is not activation:
            raise ValueError(
                f"{self.scope}: the activation {activation.name!r} is of your own; ONNX knows only those of "
                "rnncore.activations"
            )
        return _FORMULAS[activation.name](self, x)


def _op(name: str, **attributes: Any) -> Callable[[Graph, str], str]:
    return lambda g, x: g(name, x, **attributes)


def _clipped(low: float, high: float) -> Callable[[Graph, str], str]:
    return lambda g, x: g("Clip", x, g.constant(low), g.constant(high))


def _scaled(g: Graph, x: str, factor: float, shift: float = 0.0) -> str:
    return g("Add", g("Mul", x, g.constant(factor)), g.constant(shift))


def _squareplus(g: Graph, x: str) -> str:
    root = g("Sqrt", g("Add", g("Mul", x, x), g.constant(4)))
    return g("Add", g("Relu", x), g("Div", g.constant(2), g("Add", g("Abs", x), root)))


def _gelu(g: Graph, x: str) -> str:
    return g("Mul", x, _scaled(g, g("Erf", g("Mul", x, g.constant(1 / math.sqrt(2)))), 0.5, 0.5))


def _sparse_plus(g: Graph, x: str) -> str:
    bent = _scaled(g, _clipped(-1, 1)(g, x), 0.5, 0.5)
    return g("Max", x, g("Mul", bent, bent))


def _times(function: Callable[[Graph, str], str]) -> Callable[[Graph, str], str]:
    return lambda g, x: g("Mul", x, function(g, x))


_HARD = {"hard_sigmoid": (1 / 6, 0.5), "hard_sigmoid_keras2": (0.2, 0.5), "sparse_sigmoid": (0.5, 0.5)}
_BENT = {name: _op("HardSigmoid", alpha=slope, beta=shift) for name, (slope, shift) in _HARD.items()}
_SIGMOID, _SOFTPLUS = _op("Sigmoid"), _op("Softplus")
_FORMULAS: dict[str, Callable[[Graph, str], str]] = {
    **_BENT,
    "linear": lambda g, x: x,
    "sigmoid": _SIGMOID,
    "tanh": _op("Tanh"),
    "relu": _op("Relu"),
    "leaky_relu": _op("LeakyRelu", alpha=0.2),
    "relu6": _clipped(0, 6),
    "elu": _op("Elu", alpha=1.0),
    "selu": _op("Selu"),
    "exponential": _op("Exp"),
    "softplus": _SOFTPLUS,
    "log_sigmoid": lambda g, x: g("Neg", _SOFTPLUS(g, g("Neg", x))),
    "softsign": _op("Softsign"),
    "squareplus": _squareplus,
    "silu": _times(_SIGMOID),
    "gelu": _gelu,
    "mish": _times(lambda g, x: g("Tanh", _SOFTPLUS(g, x))),
    "tanh_shrink": lambda g, x: g("Sub", x, g("Tanh", x)),
    "soft_shrink": _op("Shrink", lambd=0.5, bias=0.5),
    "hard_shrink": _op("Shrink", lambd=0.5, bias=0.0),
    "hard_tanh": _clipped(-1, 1),
    "hard_silu": _times(_BENT["hard_sigmoid"]),
    "sparse_plus": _sparse_plus,
    "softmax": _op("Softmax", axis=-1),
    "log_softmax": _op("LogSoftmax", axis=-1),
}
_FORMULAS |= {name: _FORMULAS[activation.name] for name, activation in ACTIVATIONS.items() if name != activation.name}

# What the recurrent operators take inside: the operator's name for it, its alphas, its betas.
IN_CELLS: dict[str, tuple[str, list[float], list[float]]] = {
    **{name: ("HardSigmoid", [slope], [shift]) for name, (slope, shift) in _HARD.items()},
    "linear": ("Affine", [1.0], [0.0]),
    "sigmoid": ("Sigmoid", [], []),
    "tanh": ("Tanh", [], []),
    "relu": ("Relu", [], []),
    "leaky_relu": ("LeakyRelu", [0.2], []),
    "elu": ("Elu", [1.0], []),
    "softplus": ("Softplus", [], []),
    "softsign": ("Softsign", [], []),
}
