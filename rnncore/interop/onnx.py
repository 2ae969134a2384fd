"""A model as an ONNX file, in ONNX's own operators.

Layers without numbers of their own become the operator of their name, or a few; recurrent ones LSTM, GRU and RNN: see
onnx_recurrent.py, and there for masks. What only training does, dropout and noise, is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import layers
from ..configured import is_own
from ..layers import Layer
from ..lock import locked
from ..models import Sequential
from ..utils.files import replaced
from . import onnx_recurrent
from .onnx_graph import IR_VERSION, OPSET, Graph

LARGEST = (1 << 31) - (1 << 20)  # bytes of one file: the format's own bound, less what is around the weights

Shape = tuple[Any, ...]


@locked
def export(model: Layer, path: str | os.PathLike, initial_states: bool = False) -> None:
    """Write a built model, or a layer, into an ONNX file that computes what it predicts.

    Parameters
    ----------
    model : Layer
        A `Sequential`, most often. Its weights are written in float32, which is what runtimes compute LSTMs in.
    path : path
    initial_states : bool
        Whether recurrent layers take their initial states, and give the last ones, each (B, H). Layers that are
        `stateful` do so anyway: what a batch gives as ``lstm.h`` the next one takes as ``lstm.h0``.

    Notes
    -----
    The file's input is ``x``, int64 (B, T) before an `Embedding`, float32 (B, T, D) otherwise, B and T of any size; its
    output ``y`` (of several, ``y_1`` …). States are named after their layers: ``lstm.h0``, ``lstm.c0`` come in and
    ``lstm.h``, ``lstm.c`` go out; of `Bidirectional` they are those of ``forward_lstm`` and ``backward_lstm``. An id
    below 0, which an `Embedding` refuses, counts from the table's end there.

    Needs the package onnx: ``pip install rnncore[onnx]``.

    Raises
    ------
    ValueError
        The model is not built, or something in it has no counterpart: a cell that is not SimpleRNN's, LSTM's or GRU's,
        an activation that ONNX's operators do not take inside, a layer or activation of your own. The message names it.
        Or its weights are not finite, or more than 2 GB. No file is written then.
    ImportError
        There is no onnx.

    Examples
    --------
    ::

        interop.onnx.export(model, "model.onnx")
        y, = onnxruntime.InferenceSession("model.onnx").run(None, {"x": x})
    """
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError("export needs the package onnx: pip install rnncore[onnx]") from error
    if not model.built or model.input_shape is None:
        raise ValueError(
            f"{model.name}: export: the model is not built; call it, or build it for an input shape, first"
        )
    model.check_weights()
    if sum(weight.size for weight in model.weights) * 4 > LARGEST:
        raise ValueError(f"{model.name}: export: the weights take more than 2 GB, which an ONNX file cannot hold")
    writer, ids = _Writer(onnx, initial_states), model.input_kind == "integer"
    g, shape = writer.graph, _any_size(model.input_shape, 0 if ids else 1)
    named = [size or "BT"[n : n + 1] or f"N{n}" for n, size in enumerate(shape)]
    g.declare("inputs", g.unique("x"), np.int64 if ids else np.float32, named)
    values, _ = writer.layer(model, "x", shape, None)
    shapes, states = model.compute_output_shape(shape), g.outputs
    outputs: list[Any] = []
    for value, size in zip(values, shapes if isinstance(shapes, list) else [shapes], strict=False):
        if value not in {state.name for state in states}:
            name = g.unique("y")
            g.add("Identity", [value], [name], named=True)
            g.outputs = outputs
            g.declare("outputs", name, np.float32, size)
    made = onnx.helper.make_model(
        onnx.helper.make_graph(g.nodes, model.name, g.inputs, [*outputs, *states], g.constants),
        producer_name="rnncore",
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(made)
    with replaced(path) as file:
        file.write(made.SerializeToString())


def _any_size(shape: Shape, features: int) -> Shape:
    """Return a shape with nothing but the sizes of its last axes, `features` of them: rows and steps may be any."""
    known = len(shape) - features
    return (*[None] * known, *shape[known:])


class _Writer:
    """Puts layers into a graph."""

    def __init__(self, onnx: Any, initial_states: bool):
        self.graph, self.initial_states = Graph(onnx), initial_states

    def layer(self, layer: Any, x: str, shape: Shape, mask: str | None) -> tuple[list[str], str | None]:
        """Add a layer on x of `shape`; return its outputs, the states in the graph's outputs last, and their mask."""
        g = self.graph
        if type(layer) is Sequential:
            values: list[str] = [x]
            for part in layer.layers:
                values, mask = self.layer(part, values[0], shape, mask)
                shape = part.compute_output_shape(shape)
            return values, mask
        g.scope = layer.name
        if type(layer) in _MASKS:
            mask = _MASKS[type(layer)](g, layer, x)
        return self._values(layer, x, shape, mask), mask if _keeps_mask(layer) else None

    def _values(self, layer, x, shape, mask):
        g = self.graph
        if isinstance(layer, layers.RNN) and not is_own(type(layer)):
            return onnx_recurrent.recurrent(g, layer, x, mask, self.initial_states)
        if type(layer) is layers.Bidirectional:
            return onnx_recurrent.bidirectional(g, layer, x, mask, self.initial_states)
        if type(layer) is layers.TimeDistributed:
            return [self._by_steps(layer, x, shape)]
        if type(layer) not in _LAYERS:
            known = ", ".join(sorted(each.__name__ for each in [*_LAYERS, *_WRAPPERS]))
            raise ValueError(
                f"{layer.name}: export: {type(layer).__name__} has no counterpart in ONNX; these layers have: {known}"
            )
        return [_LAYERS[type(layer)](g, layer, x, shape, mask)]

    def _by_steps(self, layer, x, shape):
        g = self.graph
        ahead = g("Shape", x, start=0, end=2)
        rows = g("Reshape", x, g("Concat", g.whole(-1), g("Shape", x, start=2), axis=0))
        [y, *_], _ = self.layer(layer.layer, rows, (None, *shape[2:]), None)
        g.scope = layer.name
        return g("Reshape", y, g("Concat", ahead, g("Shape", y, start=1), axis=0))


_WRAPPERS = (layers.SimpleRNN, layers.LSTM, layers.GRU, layers.RNN, layers.Bidirectional, layers.TimeDistributed)

# --- masks -----------------------------------------------------------------------------------------------------------


def _mask_of_ids(g, layer, x):
    return g("Not", g("Equal", x, g.constant(0, "padding", np.int64))) if layer.mask_zero else None


def _mask_of_values(g, layer, x):
    other = g("Not", g("Equal", x, g.constant(layer.mask_value)))
    return g.cast(g.reduced("ReduceMax", g.cast(other, np.float32), [-1], keep=False), bool)


_MASKS: dict[type, Callable[[Graph, Any, str], str | None]] = {
    layers.Embedding: _mask_of_ids,
    layers.Masking: _mask_of_values,
}


def _keeps_mask(layer: Layer) -> bool:
    """Return whether a mask goes with the output of a layer: one that came, or one that the layer makes."""
    return layer.compute_mask(np.zeros((1, 1, 1)), np.ones((1, 1), bool)) is not None


# --- layers ----------------------------------------------------------------------------------------------------------


def _as_it_is(g, layer, x, shape, mask):
    return x


def _embedding(g, layer, x, shape, mask):
    return g("Gather", g.constant(layer.embeddings, "embeddings"), x)


def _masking(g, layer, x, shape, mask):
    return g.where(g.column(mask), x, 0.0)


def _dense(g, layer, x, shape, mask):
    y = g("MatMul", x, g.constant(layer.kernel, "kernel"))
    y = g("Add", y, g.constant(layer.bias, "bias")) if layer.use_bias else y
    return g.activated(layer.activation, y)


def _activation(g, layer, x, shape, mask):
    return g.activated(layer.activation, x)


def _relu(g, layer, x, shape, mask):
    above = g("Greater", x, g.constant(layer.threshold))
    y = x if layer.max_value is None else g("Min", x, g.constant(layer.max_value))
    below = g("Mul", g("Sub", x, g.constant(layer.threshold)), g.constant(layer.negative_slope))
    return g("Where", above, y, below)


def _leaky_relu(g, layer, x, shape, mask):
    return g("LeakyRelu", x, alpha=layer.negative_slope)


def _elu(g, layer, x, shape, mask):
    return g("Elu", x, alpha=layer.alpha)


def _softmax(g, layer, x, shape, mask):
    axes = sorted(n % len(shape) for n in np.atleast_1d(layer.axis).tolist())
    kept = g.column(mask, len(shape) - 2) if mask is not None and axes[0] == 1 else None
    z = x if kept is None else g.where(kept, x, -1e9)
    if len(axes) == 1:
        y = g("Softmax", z, axis=axes[0])
    else:
        e = g("Exp", g("Sub", z, g.reduced("ReduceMax", z, axes)))
        y = g("Div", e, g.reduced("ReduceSum", e, axes))
    return y if kept is None else g.where(kept, y, 0.0)


def _conv(g, layer, x, shape, mask):
    windows = layer.windows
    attributes: dict[str, Any] = {"strides": [windows.stride], "dilations": [windows.dilation]}
    if windows.padding == "same" and windows.stride > 1:  # how much is beyond the ends depends on the steps
        attributes["auto_pad"] = "SAME_UPPER"
    elif windows.padding != "valid":
        beyond = windows.span - 1
        before = beyond if windows.padding == "causal" else beyond // 2
        attributes["pads"] = [before, beyond - before]
    weights = [g.constant(layer.kernel.transpose(2, 1, 0), "kernel")]
    weights += [g.constant(layer.bias, "bias")] if layer.use_bias else []
    y = g("Conv", g("Transpose", x, perm=[0, 2, 1]), *weights, **attributes)
    return g.activated(layer.activation, g("Transpose", y, perm=[0, 2, 1]))


def _pooling(op: str, **attributes: Any) -> Callable[..., str]:
    def pooled(g, layer, x, shape, mask):
        padding = {"auto_pad": "SAME_UPPER"} if layer.padding == "same" else {}
        windows = {"kernel_shape": [layer.pool_size], "strides": [layer.strides]}
        y = g(op, g("Transpose", x, perm=[0, 2, 1]), **windows, **padding, **attributes)
        return g("Transpose", y, perm=[0, 2, 1])

    return pooled


def _global_average(g, layer, x, shape, mask):
    if mask is None:
        return g.reduced("ReduceMean", x, [1], layer.keepdims)
    kept = g.cast(g.column(mask), np.float32)
    count = g("Max", g.reduced("ReduceSum", kept, [1], layer.keepdims), g.constant(1.0))
    return g("Div", g.reduced("ReduceSum", g("Mul", x, kept), [1], layer.keepdims), count)


def _global_max(g, layer, x, shape, mask):
    if mask is None:
        return g.reduced("ReduceMax", x, [1], layer.keepdims)
    kept = g.column(mask)
    y = g.reduced("ReduceMax", g.where(kept, x, -np.inf), [1], layer.keepdims)
    some = g.reduced("ReduceMax", g.cast(kept, np.float32), [1], layer.keepdims)
    return g.where(g.cast(some, bool), y, 0.0)


def _scaled(g, layer, y, axes, rank):
    """Multiply with gamma and add beta, which lie along some axes of y."""
    for op, name, there in (("Mul", "gamma", layer.scale), ("Add", "beta", layer.center)):
        if there:
            others = [n for n in range(rank) if n not in axes]
            y = g(op, y, g.constant(np.expand_dims(getattr(layer, name), others), name))
    return y


def _layer_normalization(g, layer, x, shape, mask):
    axes = layer.axes(shape)
    centred = g("Sub", x, g.reduced("ReduceMean", x, axes))
    variance = g.reduced("ReduceMean", g("Mul", centred, centred), axes)
    y = g("Div", centred, g("Sqrt", g("Add", variance, g.constant(layer.epsilon))))
    return _scaled(g, layer, y, axes, len(shape))


def _batch_normalization(g, layer, x, shape, mask):
    axis = layer.feature_axis(shape)
    others = [n for n in range(len(shape)) if n != axis]
    mean = g.constant(np.expand_dims(layer.moving_mean, others), "moving_mean")
    inverse = 1 / np.sqrt(layer.moving_variance + layer.epsilon)
    y = g("Mul", g("Sub", x, mean), g.constant(np.expand_dims(inverse, others), "inverse"))
    return _scaled(g, layer, y, [axis], len(shape))


def _flatten(g, layer, x, shape, mask):
    return g("Flatten", x, axis=1)


def _reshape(g, layer, x, shape, mask):
    return g("Reshape", x, g.whole(0, *layer.target_shape))


def _permute(g, layer, x, shape, mask):
    return g("Transpose", x, perm=[0, *layer.dims])


def _repeat(g, layer, x, shape, mask):
    return g("Expand", g("Unsqueeze", x, g.whole(1)), g.whole(1, layer.n, 1))


_IN_TRAINING_ONLY = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.ActivityRegularization,
)
_LAYERS: dict[type, Callable[..., str]] = {
    **dict.fromkeys(_IN_TRAINING_ONLY, _as_it_is),
    layers.Activation: _activation,
    layers.AveragePooling1D: _pooling("AveragePool", count_include_pad=0),
    layers.BatchNormalization: _batch_normalization,
    layers.Conv1D: _conv,
    layers.Dense: _dense,
    layers.ELU: _elu,
    layers.Embedding: _embedding,
    layers.Flatten: _flatten,
    layers.GlobalAveragePooling1D: _global_average,
    layers.GlobalMaxPooling1D: _global_max,
    layers.LayerNormalization: _layer_normalization,
    layers.LeakyReLU: _leaky_relu,
    layers.Masking: _masking,
    layers.MaxPooling1D: _pooling("MaxPool"),
    layers.Permute: _permute,
    layers.ReLU: _relu,
    layers.RepeatVector: _repeat,
    layers.Reshape: _reshape,
    layers.Softmax: _softmax,
}
