"""What single units of the network do, asked on held-out sources.

Source: Karpathy, Johnson, Fei-Fei, "Visualizing and understanding recurrent networks", 2015, section 4.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.characters import sources
from rnncore import Sequential, study

WHAT = {"quotes": "inside quotes", "depth": "depth of indentation", "column": "place in the line"}
SHOWN = 12_000  # characters that are looked at
BLOCKS = "▁▂▃▄▅▆▇█"
SIZE = (11.0, 9.0)


def carries(model: Sequential, text: str) -> study.Trace:
    """Return the trace of the first characters of a text, read in one go: only c of it."""
    model.get_layer("lstm").reset_state()
    return study.trace(model, sources.encoded(text[:SHOWN])[None], names="lstm.c")


def found(model: Sequential, untrained: Sequential, validation: str, held_out: str) -> dict[str, dict[str, Any]]:
    """Return which unit does what: chosen on the validation text, and its correlation on the held-out one.

    Beside it stands the best unit of an untrained network, chosen in the same way: what comes of many units alone.
    """
    results = {}
    texts = validation, held_out
    traces = [[carries(network, text) for text in texts] for network in (model, untrained)]
    wanted = [sources.labels(text) for text in texts]
    for what in WHAT:
        chosen, others = (
            [study.find_units(one, own[what][None, :SHOWN], name="c") for one, own in zip(both, wanted, strict=True)]
            for both in traces
        )
        results[what] = {
            "unit": int(chosen[0].units[0]),
            "validation": float(chosen[0].correlations[0]),
            "held out": of_unit(chosen[1], chosen[0].units[0]),
            "untrained": of_unit(others[1], others[0].units[0]),
        }
    return results


def of_unit(found: Any, unit: int) -> float:
    """Return a unit's correlation."""
    return float(found.correlations[np.flatnonzero(found.units == unit)[0]])


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return what was found, a line each."""
    rows = [f"{'':<22}{'unit':>6}{'chosen on':>12}{'held out':>10}{'untrained':>11}"]
    for what, own in found.items():
        numbers = f"{own['validation']:12.2f}{own['held out']:10.2f}{own['untrained']:11.2f}"
        rows.append(f"{WHAT[what]:<22}{own['unit']:>6}{numbers}")
    return "\n".join(rows)


def passage(text: str, count: int) -> tuple[int, int]:
    """Return where the lines begin and end, of `count` lines, in which quotes open and close most often."""
    edges = np.abs(np.diff(sources.labels(text)["quotes"][:SHOWN], prepend=0))
    ends = np.flatnonzero(np.array(list(text[:SHOWN])) == "\n") + 1
    starts = np.concatenate([[0], ends[: -count - 1]])
    sums = np.concatenate([[0], edges.cumsum()])
    best = int(np.argmax([sums[ends[n + count - 1]] - sums[start] for n, start in enumerate(starts)]))
    return int(starts[best]), int(ends[best + count - 1])


def states(model: Sequential, text: str, found: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return tanh(c) of the unit for each thing, (N,), upright: more means more of it."""
    c = carries(model, text)["lstm"]["c"][0]
    return {what: np.sign(own["validation"]) * np.tanh(c[:, own["unit"]]) for what, own in found.items()}


def lines(model: Sequential, text: str, found: dict[str, dict[str, Any]], count: int = 5) -> str:
    """Return a few lines, the state of the unit for quotes under each of their characters."""
    begin, end = passage(text, count)
    values = states(model, text, found)["quotes"]
    bars = [BLOCKS[min(7, int(4 + 4 * value))] for value in values[begin:end]]
    rows, place = [], 0
    for line in text[begin:end].splitlines(keepends=True):
        rows += [line.rstrip("\n"), "".join(bars[place : place + len(line) - 1])]
        place += len(line)
    return "\n".join(["", f"tanh(c) of unit {found['quotes']['unit']}, from -1 {BLOCKS[0]} to 1 {BLOCKS[-1]}:", *rows])


def draw(figure: Any, model: Sequential, text: str, found: dict[str, dict[str, Any]], count: int = 14) -> None:
    """Draw a passage of the text once for each thing, its characters in the colour of the unit's state."""
    begin, end = passage(text, count)
    rows = text[begin:end].splitlines()
    width = max(map(len, rows))
    axes = figure.subplots(len(found), 1)
    for axis, (what, values) in zip(axes, states(model, text, found).items(), strict=True):
        grid, place = np.full((len(rows), width), np.nan), begin
        for n, row in enumerate(rows):
            grid[n, : len(row)] = values[place : place + len(row)]
            place += len(row) + 1
            for column, letter in enumerate(row):
                said = axis.text(column, n, letter, ha="center", va="center", family="monospace", fontsize=7)
                said.set_in_layout(False)  # quicker
        image = axis.imshow(grid, "PuOr_r", vmin=-1, vmax=1, aspect="auto")
        own = found[what]
        axis.set_title(f"{WHAT[what]}: unit {own['unit']}, correlation {own['held out']:.2f} (held out)", fontsize=10)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        figure.colorbar(image, ax=axis, label="tanh(c)", pad=0.01)
