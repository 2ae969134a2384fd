"""Where each name in a cell's equations lives in the arrays of the loops.

Both loops, numpy_loop.py and compiled_loop.py, go by the same plan, over the same arrays (T steps, B rows, H units; K
blocks, S states, P recurrent products):

========  ================  ===========================================================================
blocks    (K, T, B, H)      one block a gate: its input part before the step, its value after it; then
                            what else the cell remembers
states    (S, T+1, B, H)    slot 0 the initial state, slot t+1 the state after step t
drop      (P, B, H) | None  recurrent dropout: multiplies a product's source, constant over time
mask      (T, B) | None     False: the step is not taken, the states are carried over
dblocks   (K', T, B, H)     gradients of the pre-activations, then of intermediates
dstates   (S, T+1, B, H)    in: what reaches states from outside; out: dL/d(state), all paths together
========  ================  ===========================================================================
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from ..cells.cell import Cell, Product, Stage


class Location(NamedTuple):
    """Where a value of step t lives: ``array[index, (t + offset) % slots]``."""

    array: str
    index: int  # type: ignore[assignment]  # not tuple's method
    offset: int


class PlannedProduct(NamedTuple):
    """``source @ weights[weight]`` is added to blocks[target]; its gradients go from dblocks[dtarget] to dsource."""

    source: Location
    dsource: Location
    target: int
    dtarget: int
    weight: int


class PlannedStage(NamedTuple):
    """A stage with the products before it, and the locations of what its functions take and return."""

    stage: Stage
    products: list[PlannedProduct]
    inputs: list[Location]
    outputs: list[Location]
    backward_inputs: list[Location]
    backward_outputs: list[Location]


class Plan:
    """Where each name in a cell's functions lives.

    Attributes
    ----------
    blocks, dblocks : list of str
        What each block (and its gradient's) is called.
    locations, gradients : dict of str to Location
        By name in the cell's functions.
    stages : list of PlannedStage
    """

    def __init__(self, cell: Cell):
        self.cell = cell
        returned = [name for stage in cell.stages for name in stage.outputs]
        asked = [name for stage in cell.stages for name in stage.inputs]
        apart = [f"u_{gate}" for gate in cell.gates if f"u_{gate}" in asked]
        self.between = [name for name in returned if name not in (*cell.gates, *cell.states)]
        self.dblocks = [*cell.gates, *apart, *self.between]
        kept = [name for name in asked if name[:2] in ("z_", "x_") and name[2:] in returned and cell.keeps_inputs]
        self.blocks = [*self.dblocks, *kept]

        self.locations = {name: Location("blocks", k, 0) for k, name in enumerate(self.blocks)}
        self.gradients = {f"d{name}": Location("dblocks", k, 0) for k, name in enumerate(self.dblocks)}
        for gate in cell.gates:
            home = next(self.locations[name] for name in (f"z_{gate}", f"x_{gate}", gate) if name in self.locations)
            for part in (f"z_{gate}", f"x_{gate}", f"u_{gate}"):
                self.locations.setdefault(part, home)
                self.gradients.setdefault(f"d{part}", self.gradients[f"d{gate}"])
        for s, state in enumerate(cell.states):
            self.locations |= {state: Location("states", s, 1), f"{state}_prev": Location("states", s, 0)}
            self.gradients |= {f"d{state}": Location("dstates", s, 1), f"d{state}_prev": Location("dstates", s, 0)}
        self.stages = [self._planned(stage) for stage in cell.stages]

    def _planned(self, stage: Stage) -> PlannedStage:
        both = self.locations | self.gradients
        for role, given, known in (
            ("an argument of step", stage.inputs, self.locations),
            ("an argument of step_backward", stage.backward_inputs, both),
        ):
            for name in given:
                if name not in known:
                    raise ValueError(
                        f"cell {self.cell.name!r}: {name!r} is not known as {role}; known: {sorted(known)}"
                    )
        fed = {name[2:] for name in stage.inputs if name[:2] in ("z_", "x_", "u_")}
        return PlannedStage(
            stage,
            [self._product(n, p) for n, p in enumerate(self.cell.products) if p.gate in fed],
            [self.locations[name] for name in stage.inputs],
            [self.locations[name] for name in stage.outputs],
            [both[name] for name in stage.backward_inputs],
            [self.gradients[f"d{name}"] for name in (*stage.inputs, *stage.completes.split())],
        )

    def _product(self, n: int, product: Product) -> PlannedProduct:
        gate, source = product.gate, product.source
        return PlannedProduct(
            self.locations[source], self.gradients[f"d{source}"], self.target(gate), self.dtarget(gate), n
        )

    @cached_property
    def products(self) -> list[PlannedProduct]:
        """All products of a step, in the order of their weights."""
        return sorted((p for stage in self.stages for p in stage.products), key=lambda product: product.weight)

    @cached_property
    def together(self) -> list[list[PlannedProduct]]:
        """The products in runs of one source whose weights, and gradients' blocks, lie side by side."""
        runs: list[list[PlannedProduct]] = []
        for product in self.products:
            last = runs[-1][-1] if runs else None
            follows = last and (last.source, last.dtarget + 1) == (product.source, product.dtarget)
            if follows and product.weight < len(self.cell.gates):  # the extra ones have arrays of their own
                runs[-1].append(product)
            else:
                runs.append([product])
        return runs

    @cached_property
    def homes(self) -> list[int]:
        """The blocks that hold the gates' input parts before the step."""
        return [self.locations[f"x_{gate}"].index for gate in self.cell.gates]

    @cached_property
    def targets(self) -> list[int]:
        """The blocks that the gates' recurrent products are added to."""
        return [self.target(gate) for gate in self.cell.gates]

    def target(self, gate: str) -> int:
        """Return such a block, of one gate."""
        return self.locations[f"u_{gate}"].index

    def dtarget(self, gate: str) -> int:
        """Return the block of the gradient of those products."""
        return self.gradients[f"du_{gate}"].index

    def sums(self, location: Location) -> bool:
        """Whether a gradient is added to what is there (states before the step, intermediates) or written."""
        if location.array == "dstates":
            return location.offset == 0
        return location.array == "dblocks" and self.dblocks[location.index] in self.between
