"""The weights of a recurrent layer, gate by gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..layers.base import Layer
from ..layers.rnn_cells import RecurrentCell
from .passes import recurrent_layers


class GateWeights(dict):
    """The weights of one gate by name, also as attributes: ``.kernel`` (D, H), ``.recurrent_kernel`` (H, H),
    ``.bias`` (H,).

    Views: what is written into them is written into the layer.
    """

    def __getattr__(self, name: str) -> np.ndarray:
        if name in self:
            return self[name]
        raise AttributeError(f"this gate has no weight {name!r}; it has {', '.join(self)}")


def by_gate(cell: RecurrentCell, arrays: Mapping[str, np.ndarray]) -> dict[str, GateWeights]:
    """Return the parts of a cell's weights, or of what has their shapes and names, that belong to each gate: views."""
    cut = cell.columns_by_gate()
    return {
        gate: GateWeights(
            {name: np.asarray(arrays[name])[..., columns] for name, columns in own.items() if name in arrays}
        )
        for gate, own in cut.items()
    }


def weights_by_gate(layer: Layer) -> dict[str, Any]:
    """Return the weights of a recurrent layer by gate.

    Parameters
    ----------
    layer : Layer
        A built recurrent layer: ``weights_by_gate(layer)["f"].kernel``. Of a model, a Bidirectional or an RNN of
        several cells the names come first: ``weights_by_gate(model)["lstm"]["f"].kernel``.

    Returns
    -------
    dict of str to GateWeights
        Views, in the order of the columns. GRU's biases (reset_after) are (2, H), the input's row first; CarryRNN's
        gate o has a ``carry_kernel``, too.

    Raises
    ------
    ValueError
        No recurrent layer, or one that is not built.
    """
    found: dict[str, Any] = {}
    for each in recurrent_layers(layer):
        for cell in each.cells:
            if not cell.built:
                raise ValueError(f"{each.name} is not built, so it has no weights; call it, or build it, first")
            own = by_gate(cell, {name: getattr(cell, name) for name in cell.weight_names})
            if len(each.cells) > 1:
                found.setdefault(each.name, {})[cell.name] = own
            else:
                found[each.name] = own
    return found[layer.name] if layer.name in found and hasattr(layer, "time_series") else found
