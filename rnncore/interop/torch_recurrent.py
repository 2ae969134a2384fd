"""Weights from and to PyTorch's RNN, LSTM and GRU, as NumPy arrays: PyTorch itself is not imported.

================  =========================  ==============================================
\\                 torch.nn                   here
================  =========================  ==============================================
weights           (G*H, D) and (G*H, H)      ``kernel`` (D, G*H), ``recurrent_kernel`` (H, G*H)
gates of LSTM     i, f, g, o                 i, f, k, o
gates of GRU      r, z, n                    z, r, k; torch has the form of ``reset_after=True``
biases            two, (G*H,) each           ``bias`` (G*H,), their sum; of GRU both, (2, G*H)
both directions   names with ``_reverse``    `Bidirectional`: the forward weights, then the backward ones
several layers    ``_l0``, ``_l1`` …         a layer each, with ``return_sequences``
================  =========================  ==============================================

Sizes: D inputs, H units, G gates. Source: the equations in the documentation of torch.nn.RNN, LSTM and GRU.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import safetensors

_ORDER = {1: [0], 3: [1, 0, 2], 4: [0, 1, 2, 3]}  # by number of gates: the other side's places; each its own inverse
_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_NAME = re.compile(r"(weight|bias)_(ih|hh)_l\d+(_reverse)?")


def weights_from_torch(state: Mapping[str, Any] | str | os.PathLike, prefix: str = "") -> list[list[np.ndarray]]:
    """Return the weights of a torch.nn.RNN, LSTM or GRU, for `set_weights` of the layers here.

    Parameters
    ----------
    state : mapping of str to array_like, or path
        ``module.state_dict()``, of the recurrent module or of a model that holds it, or a ``.safetensors`` file of it.
    prefix : str
        What the module's names begin with in a model: ``"lstm."``. Other names are passed over.

    Returns
    -------
    list of list of ndarray
        One list a layer, copies in their own dtype, in the order of `get_weights` of SimpleRNN, LSTM, GRU (with
        ``reset_after=True``) or, for both directions, of `Bidirectional` around one.

    Raises
    ------
    TypeError
        If `state` is no mapping.
    ValueError
        If names are missing or unknown (``weight_hr_l0`` of ``proj_size``: there is no such option here), or a
        shape is not one of these modules.

    Examples
    --------
    With ``module = torch.nn.LSTM(8, 16, num_layers=2, bidirectional=True, batch_first=True)``::

        layers = [Bidirectional(LSTM(16, return_sequences=True)) for _ in range(2)]
        model = Sequential([Input((None, 8)), *layers])
        for layer, weights in zip(layers, weights_from_torch(module.state_dict())):
            layer.set_weights(weights)
    """
    if isinstance(state, (str, os.PathLike)):
        state = safetensors.read(state)
    if not isinstance(state, Mapping):
        raise TypeError(f"state is a {type(state).__name__}; expected a mapping, module.state_dict()")
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    unknown = [name for name in state if not _NAME.fullmatch(name)]
    if unknown or "weight_ih_l0" not in state:
        raise ValueError(
            f"state has the names {unknown or sorted(state)}; expected weight_ih_l0, weight_hh_l0, bias_ih_l0, "
            f"bias_hh_l0 … only, after the prefix {prefix!r}"
        )
    state, layers = dict(state), list[list[np.ndarray]]()
    while state:
        layer = []
        for suffix in (f"_l{len(layers)}", f"_l{len(layers)}_reverse"):
            found = {part: np.asarray(state.pop(part + suffix)) for part in _PARTS if part + suffix in state}
            if found or not suffix.endswith("_reverse"):
                layer += _from_torch(suffix, **found)
        layers.append(layer)
    return layers


def weights_to_torch(layers: Sequence[Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the state of a torch.nn.RNN, LSTM or GRU that computes what layers here do.

    Parameters
    ----------
    layers : sequence of sequence of ndarray
        ``get_weights()`` of each layer: SimpleRNN, LSTM, GRU with ``reset_after=True``, or `Bidirectional` around
        one.

    Returns
    -------
    dict of str to ndarray
        For ``module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})``.

    Raises
    ------
    ValueError
        If the shapes are not those of such layers.

    Notes
    -----
    torch adds two biases where SimpleRNN and LSTM have one: it is put into the first, and the second is 0. Both
    are trained there, each with the gradient that our one has.
    """
    state: dict[str, np.ndarray] = {}
    for n, weights in enumerate(layers):
        weights = [np.asarray(weight) for weight in weights]
        if len(weights) not in (2, 3, 4, 6):
            raise ValueError(f"layers[{n}] has {len(weights)} weights; expected 2 or 3, or twice that (Bidirectional)")
        size = 2 if len(weights) in (2, 4) else 3
        for start, direction in zip(range(0, len(weights), size), ("", "_reverse"), strict=False):
            parts = _to_torch(f"layers[{n}]", *weights[start : start + size])
            state |= {f"{part}_l{n}{direction}": array for part, array in zip(_PARTS, parts, strict=False)}
    return state


def _from_torch(suffix, weight_ih=None, weight_hh=None, bias_ih=None, bias_hh=None):
    if weight_ih is None or weight_hh is None or (bias_ih is None) != (bias_hh is None):
        raise ValueError(f"state has not all of {', '.join(part + suffix for part in _PARTS)} (biases both or none)")
    gates = _gates(f"weight_hh{suffix}", weight_hh.T)
    biases = [] if bias_ih is None else [bias_ih, bias_hh]
    for part, array, axes in zip(_PARTS, (weight_ih, weight_hh, *biases), (2, 2, 1, 1), strict=False):
        if array.ndim != axes or len(array) != len(weight_hh):
            raise ValueError(f"{part}{suffix} has shape {array.shape}; expected {axes} axes and {len(weight_hh)} rows")
    kernels = [_reordered(array, gates).T for array in (weight_ih, weight_hh)]
    biases = [_reordered(array, gates) for array in biases]
    if not biases:
        return kernels
    return [*kernels, np.stack(biases) if gates == 3 else sum(biases)]


def _to_torch(label, kernel, recurrent, bias=None):
    gates = _gates(f"{label}: recurrent_kernel", recurrent)
    columns = recurrent.shape[1]
    if kernel.shape[1:] != (columns,):
        raise ValueError(f"{label}: kernel has shape {kernel.shape}; expected two axes and {columns} columns")
    parts = [kernel.T, recurrent.T]
    if bias is not None:
        shape = (2, columns) if gates == 3 else (columns,)
        if bias.shape != shape:
            raise ValueError(f"{label}: bias has shape {bias.shape}; expected {shape} (of GRU: reset_after=True)")
        parts += list(bias) if gates == 3 else [bias, np.zeros_like(bias)]
    return [_reordered(array, gates) for array in parts]


def _gates(label, recurrent):
    """Return the number of gates, from a recurrent weight (H, G*H)."""
    for gates in _ORDER:
        if recurrent.ndim == 2 and recurrent.shape[1] == gates * recurrent.shape[0] > 0:
            return gates
    raise ValueError(f"{label} has shape {recurrent.shape}: not the H units and 1, 3 or 4 gates of an RNN, GRU or LSTM")


def _reordered(array, gates):
    """Return a copy with the gates, the blocks of the first axis, in the other side's order."""
    return array.reshape(gates, -1)[_ORDER[gates]].reshape(array.shape)
