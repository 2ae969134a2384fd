"""What can be looked at has a name: that of a layer, then that of the cell's equations (cells/cell.py), ``lstm.z_f``.

==========  ===========================================================================================================
``x``       (B, T, D), what the layer reads
``z_g``     the pre-activation of gate g: input part, recurrent part and bias together
``x_k``     of a GRU's candidate (reset_after): its input part alone; ``u_k`` its recurrent part alone
``g``       the gates after their activation. LSTM: ``i`` input, ``f`` forget, ``k`` candidate, ``o`` output; GRU: ``z``
            update, ``r`` reset, ``k`` candidate
``s``       of a GRU with reset_after=False: the state that the candidate sees, ``r * h_prev``
``h c``     the states after the step: the output and, of an LSTM or CarryRNN, the carry
``h_prev``  the states before the step; ``c_prev`` too
``dx``      the gradient of the loss by x; the following ones are gradients, too
``dz_g``    by a pre-activation (``dx_k``, ``du_k`` of the GRU's candidate)
``dh dc``   by a state, over all paths: from the output of the step and from all later steps
==========  ===========================================================================================================

All are (B, T, H) but ``x`` and ``dx``, steps in the order of x. A SimpleRNN's only pre-activation is ``z_a``, and ``h``
its activation. Of an RNN of several cells each name follows its cell's: ``rnn.lstm_cell_1.f``.
"""

from __future__ import annotations

from ..bptt.plan import Plan

GATES = {
    "i": "input gate",
    "f": "forget gate",
    "k": "candidate",
    "o": "output gate",
    "z": "update gate",
    "r": "reset gate",
}
STATES = {"h": "hidden state, the output", "c": "carry"}


def fed(plan: Plan) -> list[str]:
    """Return the names of what a step's functions are given of the products."""
    return [name for stage, *_ in plan.stages for name in stage.inputs if name[:2] in ("z_", "x_", "u_")]


def gates(plan: Plan) -> list[str]:
    """Return the names of the gates after their activation (a SimpleRNN has none apart from ``h``)."""
    made = [name for stage, *_ in plan.stages for name in stage.outputs]
    return [gate for gate in plan.cell.gates if gate in made]


def names(plan: Plan, gradients: bool = True) -> list[str]:
    """Return the names of all that a cell's run has, in the order of the table."""
    cell = plan.cell
    made = [name for stage in cell.stages for name in stage.outputs if name not in cell.states]
    forward = ["x", *fed(plan), *made, *cell.states, *(f"{state}_prev" for state in cell.states)]
    inner = [name for name in made if name not in cell.gates]
    return forward + ["dx", *(f"d{name}" for name in (*fed(plan), *inner, *cell.states))] * gradients


def meaning(plan: Plan, name: str) -> str:
    """Return what a name stands for, in a few words."""
    cell = plan.cell
    if name not in names(plan):
        return ""
    if name.startswith("d") and name[1:] in names(plan):
        return f"dL/d({name[1:]})" + (", over all paths" if name[1:] in cell.states else "")
    if name == "x":
        return "what the layer reads"
    if name.endswith("_prev"):
        return f"{name[:-5]} before the step"
    parts = {"z_": "pre-activation of {}", "x_": "input part of {}'s pre-activation", "u_": "recurrent part of it"}
    if name in fed(plan):
        return parts[name[:2]].format(name[2:])
    if name in cell.gates:
        return GATES.get(name, "gate")
    return STATES.get(name, "state") if name in cell.states else "made within the step"


def gradient_of(name: str) -> str:
    """Return the name of the gradient by what has that name: ``dc``, of several cells ``lstm_cell_1.dc``."""
    cell, dot, own = name.rpartition(".")
    return f"{cell}{dot}d{own}"
