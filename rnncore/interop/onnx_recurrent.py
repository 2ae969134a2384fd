"""Recurrent layers as ONNX's own LSTM, GRU and RNN operators, with masks of any kind.

The operators know of rows that end early (``sequence_lens``), not of masks. A masked step only copies the states, so a
row's valid steps are moved to the front, in their order; the operator runs over so many of them; and what it gives is
put where the steps were: a masked step shows the output before it, or 0. Nothing loops, whatever the mask.

==========  ===========================================  ==================================================
\\           here                                         ONNX
==========  ===========================================  ==================================================
weights     ``kernel`` (D, G*H), ``recurrent_kernel``    W (K, G*H, D), R (K, G*H, H): a row a direction
biases      ``bias`` (G*H,), of GRU (2, G*H)             B (K, 2*G*H), the input's and then the recurrent one
LSTM        i, f, k, o                                   i, o, f, c
GRU         z, r, k; ``reset_after``                     z, r, h; ``linear_before_reset``
time        (B, T, D)                                    (T, B, D); outputs (T, K, B, H), states (K, B, H)
==========  ===========================================  ==================================================

Sizes: B rows, T steps, D inputs, H units, G gates, K directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import layers
from ..activations import ACTIVATIONS
from ..layers import RNN, Bidirectional, RecurrentCell
from .onnx_graph import IN_CELLS, Graph

_OPS = {  # the operator of a cell, and the places of our gates among its own
    layers.SimpleRNNCell: ("RNN", [0]),
    layers.LSTMCell: ("LSTM", [0, 3, 1, 2]),
    layers.GRUCell: ("GRU", [0, 1, 2]),
}


class Valid(NamedTuple):
    """What a mask says: names of values in the graph.

    Attributes
    ----------
    mask : bool (B, T)
    order : int64 (B, T, 1)
        The steps of each row, the valid ones first.
    lengths : int32 (B,)
        How many steps are valid, or 1.
    any : bool (B, 1)
        Whether there is one.
    upto, before : int64 (B, T)
        How many are valid up to each step, with it and without it.
    left : bool (B, T)
        Whether there is one at the step or behind it.
    """

    mask: str
    order: str
    lengths: str
    any: str
    upto: str
    before: str
    left: str


def recurrent(g: Graph, layer: RNN, x: str, mask: str | None, given: bool) -> list[str]:
    """Add a recurrent layer; return its output and, where they are asked for, the states after it."""
    [(y, states)] = _run(g, [layer], x, mask, given)
    return [g.reversed(y) if layer.return_sequences and layer.go_backwards else y, *states]


def bidirectional(g: Graph, layer: Bidirectional, x: str, mask: str | None, given: bool) -> list[str]:
    """Add both directions; return the output, or both, and, where they are asked for, the states after them."""
    one, other = layer.children()
    if _one_node(one, other):
        pair = _run(g, [one, other], x, mask, given)
    else:
        pair = [*_run(g, [one], x, mask, given), *_run(g, [other], x, mask, given)]
    (first, states), (second, more) = pair
    if one.return_sequences and one.go_backwards:  # then the steps of both come from the last to the first
        first, second = g.reversed(first), g.reversed(second)
    merges = {
        "concat": lambda: g("Concat", first, second, axis=-1),
        "sum": lambda: g("Add", first, second),
        "mul": lambda: g("Mul", first, second),
        "ave": lambda: g("Mul", g("Add", first, second), g.constant(0.5)),
    }
    merged = [merges[layer.merge_mode]()] if layer.merge_mode else [first, second]
    return [*merged, *states, *more]


def _one_node(one: RNN, other: RNN) -> bool:
    """Return whether the two directions fit one operator: a cell each, of one kind and size, the first one forwards."""
    if len(one.cells) > 1 or len(other.cells) > 1 or one.go_backwards:
        return False
    first, second = one.cells[0], other.cells[0]
    options = [(type(cell), cell.units, getattr(cell, "reset_after", None)) for cell in (first, second)]
    return options[0] == options[1]


def _run(g: Graph, group: Sequence[RNN], x: str, mask: str | None, given: bool) -> list[tuple[str, list[str]]]:
    """Run layers side by side over x, (B, T, D), in one operator a cell.

    Returns
    -------
    list of (str, list of str)
        For each layer its output, (B, T, H) in the order of x or (B, H), and the names of its states in the graph's
        outputs. They are there if the layer returns them or keeps them, or if `given`; if `given` or kept, the initial
        ones are inputs of the graph.
    """
    first = group[0]
    valid = None if mask is None else _valid(g, mask)
    inputs = g("Transpose", x if valid is None else g("GatherND", x, valid.order, batch_dims=1), perm=[1, 0, 2])
    taken = given or first.stateful
    outputs: list[list[str]] = [[] for _ in group]
    for place in range(len(first.cells)):
        cells = [layer.cells[place] for layer in group]
        labels = [layer.name if len(layer.cells) == 1 else f"{layer.name}.{layer.cells[place].name}" for layer in group]
        initial = _initial(g, cells, labels) if taken else []
        inputs, last = _operator(g, group, cells, inputs, valid, initial)
        if place < len(first.cells) - 1:  # one direction: what both have is one cell each
            inputs = g("Squeeze", inputs, g.whole(1))
        for n, (cell, label) in enumerate(zip(cells, labels, strict=True)):
            states = [g.last(state, 0, n) for state in last]
            if valid is not None:  # of a row without a step: as they were
                before = [g.last(state, 0, n) for state in initial] or [g.constant(0.0)] * len(states)
                states = [g("Where", valid.any, state, own) for state, own in zip(states, before, strict=True)]
            if taken or first.return_state:
                outputs[n] += _declared(g, cell, label, states)
            if place == len(first.cells) - 1 and not group[n].return_sequences:
                outputs[n].insert(0, _shown_last(g, group[n], states[0], valid))
    if first.return_sequences:
        for n, layer in enumerate(group):
            outputs[n].insert(0, _shown(g, layer, g.last(inputs, 1, n), valid))
    return [(y, states) for y, *states in outputs]


def _operator(
    g: Graph, group: Any, cells: Any, x: str, valid: Valid | None, initial: list[str]
) -> tuple[str, list[str]]:
    """Add the operator of cells of one kind, a direction each; return Y, and Y_h and, of an LSTM, Y_c."""
    op, order = _OPS[type(cells[0])] if type(cells[0]) in _OPS else _refuse(g, cells[0])
    weights = [_weights(cell, order) for cell in cells]
    names = [g.constant(np.stack(arrays), name) for name, arrays in zip("WRB", zip(*weights, strict=True), strict=True)]
    directions = ["reverse" if layer.go_backwards else "forward" for layer in group]
    attributes: dict[str, Any] = {
        "hidden_size": cells[0].units,
        "direction": directions[0] if len(group) == 1 else "bidirectional",
    }
    if op == "GRU":
        attributes["linear_before_reset"] = int(cells[0].reset_after)
    operands = [x, *names, "" if valid is None else valid.lengths, *initial]
    outputs = ["Y", "Y_h", "Y_c"][: 2 + (op == "LSTM")]
    y, *last = g.add(op, operands, outputs, **attributes, **_activations(g, cells))
    return y, last


def _refuse(g: Graph, cell: RecurrentCell) -> Any:
    known = ", ".join(each.__name__.removesuffix("Cell") for each in _OPS)
    raise ValueError(f"{g.scope}: ONNX has no operator for {type(cell).__name__}; it has those of {known}")


def _weights(cell: Any, order: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return W, R and B of one direction, the gates in the operator's order."""
    gates = len(order)

    def ordered(weight: np.ndarray) -> np.ndarray:
        return weight.reshape(gates, cell.units, -1)[order].reshape(weight.shape)

    bias = cell.bias if cell.use_bias else np.zeros(gates * cell.units)
    pair = bias if bias.ndim == 2 else [bias, np.zeros_like(bias)]
    return ordered(cell.kernel.T), ordered(cell.recurrent_kernel.T), np.concatenate([ordered(part) for part in pair])


def _activations(g: Graph, cells: Any) -> dict[str, Any]:
    """Return what stands for the operator's own activations: of the gates, and of the candidate and the output."""
    names, alphas, betas = [], [], []
    for cell in cells:
        gated = getattr(cell, "recurrent_activation", None)
        inside = [cell.activation] if gated is None else [gated, cell.activation]
        inside += [cell.activation] if isinstance(cell, layers.LSTMCell) else []
        for activation in inside:
            if activation.name not in IN_CELLS or ACTIVATIONS[activation.name] is not activation:
                raise ValueError(
                    f"{g.scope}: no recurrent operator of ONNX takes the activation {activation.name!r}; "
                    f"they take {', '.join(sorted(IN_CELLS))}"
                )
            name, alpha, beta = IN_CELLS[activation.name]
            names.append(name)
            alphas += alpha
            betas += beta
    numbers = {"activation_alpha": alphas, "activation_beta": betas}
    return {"activations": names, **{name: values for name, values in numbers.items() if values}}


# --- states ----------------------------------------------------------------------------------------------------------


def _initial(g: Graph, cells: Any, labels: list[str]) -> list[str]:
    """Declare the initial states of cells side by side as inputs, (B, H) each; return them by state, (K, B, H)."""
    states = []
    for s, state in enumerate(cells[0].equations.states):
        own = []
        for cell, label in zip(cells, labels, strict=True):
            name = g.declare("inputs", g.unique(f"{label}.{state}0"), np.float32, ["B", cell.state_size[s]])
            own.append(g("Unsqueeze", name, g.whole(0)))
        states.append(own[0] if len(own) == 1 else g("Concat", *own, axis=0))
    return states


def _declared(g: Graph, cell: Any, label: str, states: list[str]) -> list[str]:
    """Make the last states of a cell outputs of the graph, and return their names."""
    names = []
    for state, value, size in zip(cell.equations.states, states, cell.state_size, strict=True):
        name = g.unique(f"{label}.{state}")
        g.add("Identity", [value], [name], named=True)
        names.append(g.declare("outputs", name, np.float32, ["B", size]))
    return names


# --- masks -----------------------------------------------------------------------------------------------------------


def _valid(g: Graph, mask: str) -> Valid:
    """Compute what recurrent layers need to know of a mask, (B, T)."""
    counted = g.cast(mask, np.int64)
    axis = g.constant(1, "axis", np.int64)
    upto, before = g("CumSum", counted, axis), g("CumSum", counted, axis, exclusive=1)
    total = g.reduced("ReduceSum", counted, [1])
    # a key for each step, in their order and the masked ones behind all others: sorted, they say which steps come first
    steps = g("Shape", mask, start=1)
    place = g("Range", g.constant(0, "zero", np.int64), g("Squeeze", steps), g.constant(1, "one", np.int64))
    key = g("Where", mask, place, g("Add", place, steps))
    _, order = g.add("TopK", [key, steps], ["keys", "order"], axis=1, largest=0)
    lengths = g("Squeeze", g("Max", total, g.whole(1)), g.whole(1))
    return Valid(
        mask,
        g.column(order),
        g.cast(lengths, np.int32),
        g("Greater", total, g.whole(0)),
        upto,
        before,
        g("Less", before, total),
    )


def _shown(g: Graph, layer: RNN, y: str, valid: Valid | None) -> str:
    """Return the outputs of all steps, (B, T, H), from the operator's (T, B, H), those of masked ones included."""
    y = g("Transpose", y, perm=[1, 0, 2])
    if valid is None:
        return y
    if layer.go_backwards:  # the output at the next valid step, from which it came
        source, shown = valid.before, valid.left
    else:
        source, shown = g("Sub", valid.upto, g.whole(1)), g("Greater", valid.upto, g.whole(0))
    source = g("Max", source, g.whole(0))
    spread = g("GatherND", y, g.column(source), batch_dims=1)
    return g.where(g.column(valid.mask if layer.zero_output_for_mask else shown), spread, 0.0)


def _shown_last(g: Graph, layer: RNN, h: str, valid: Valid | None) -> str:
    """Return the output of the last step taken, (B, H): the state, or 0 where none was valid or masked ones give 0."""
    if valid is None:
        return h
    shown = valid.any
    if layer.zero_output_for_mask:
        shown = g.column(g.last(valid.mask, 1, 0 if layer.go_backwards else -1))
    return g.where(shown, h, 0.0)
