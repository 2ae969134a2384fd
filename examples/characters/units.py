"""What single units of the network do, asked on held-out sources.

Source: Karpathy, Johnson, Fei-Fei, "Visualizing and understanding recurrent networks", 2015, section 4.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.characters import sources
from rnncore import Sequential, study

WHAT = {"quotes": "inside quotes", "depth": "depth of indentation", "column": "place in the line"}
SHOWN, ROWS = 24_000, 8  # characters that are looked at, and in how many pieces side by side
BLOCKS = "▁▂▃▄▅▆▇█"
SIZE = (11.0, 9.0)


def carries(model: Sequential, text: str) -> study.Trace:
    """Return the trace of the first characters of a text, in pieces side by side: only c of it."""
    model.get_layer("lstm").reset_state()
    return study.trace(model, pieces(sources.encoded(text[:SHOWN])), names="lstm.c")


def pieces(values: np.ndarray) -> np.ndarray:
    """Return what belongs to the first characters, (ROWS, N / ROWS)."""
    return values[: min(SHOWN, len(values)) // ROWS * ROWS].reshape(ROWS, -1)


def found(model: Sequential, untrained: Sequential, validation: str, held_out: str) -> dict[str, dict[str, Any]]:
    """Return which unit does what: chosen on the validation text, and its correlation on the held-out one.

    Beside it: what all units come to, added up with the weights that fit the validation text best, held out; and the
    best unit of an untrained network, chosen in the same way, for what comes of many units alone.
    """
    texts = validation, held_out
    traces = [[carries(network, text) for text in texts] for network in (model, untrained)]
    wanted = [sources.labels(text) for text in texts]
    results = {}
    for what in WHAT:
        known = [pieces(own[what]) for own in wanted]
        (chosen, other), (untrained_chosen, untrained_other) = (
            [study.find_units(one, own, name="c") for one, own in zip(both, known, strict=True)] for both in traces
        )
        results[what] = {
            "unit": int(chosen.units[0]),
            "validation": float(chosen.correlations[0]),
            "held out": of_unit(other, chosen.units[0]),
            "all units": of_all(*(flat(trace) for trace in traces[0]), *(own.ravel() for own in known)),
            "untrained": of_unit(untrained_other, untrained_chosen.units[0]),
        }
    return results


def flat(trace: study.Trace) -> np.ndarray:
    """Return c of each character, one behind the other, (N, H)."""
    c = trace["lstm"]["c"]
    return c.reshape(-1, c.shape[-1])


def of_unit(found: Any, unit: int) -> float:
    """Return a unit's correlation."""
    return float(found.correlations[np.flatnonzero(found.units == unit)[0]])


def of_all(fitting: np.ndarray, other: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> float:
    """Return the correlation of the second text's labels with a sum of units whose weights fit the first one's."""
    mean, spread = fitting.mean(axis=0), fitting.std(axis=0) + 1e-6
    x = ((fitting - mean) / spread).astype(np.float64)
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (known - known.mean()))  # ridge regression
    return float(np.corrcoef((other - mean) / spread @ weights, wanted)[0, 1])


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return what was found, a line each."""
    names = "validation", "held out", "all units", "untrained"
    rows = [f"{'':<22}{'unit':>6}" + "".join(f"{name:>12}" for name in names)]
    for what, own in found.items():
        rows.append(f"{WHAT[what]:<22}{own['unit']:>6}" + "".join(f"{own[name]:12.2f}" for name in names))
    return "\n".join(rows)


def passage(text: str, count: int) -> tuple[int, int]:
    """Return where `count` lines of code begin and end in which most happens: quotes open, indentations change."""
    known, text = sources.labels(text), text[: min(SHOWN, len(text)) // ROWS * ROWS]
    ends = np.flatnonzero(np.array(list(text)) == "\n") + 1
    starts = np.concatenate([[0], ends[:-1]])
    opened = np.add.reduceat(np.diff(known["quotes"][: ends[-1]], prepend=0) > 0, starts)
    depths, blank, code = known["depth"][ends - 1], ends - starts == 1, known["quotes"][starts] == 0
    happens = np.minimum(opened, 1) + code * (np.diff(depths, prepend=0) != 0) - 2 * (blank | ~code)
    first = int(np.convolve(happens, np.ones(count), "valid").argmax())
    return int(starts[first]), int(ends[first + count - 1])


def states(model: Sequential, text: str, found: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return c of the unit for each thing, (N,), upright, from 0 to 1: where it is at 5 and at 95 % of the time."""
    c, results = flat(carries(model, text)), {}
    for what, own in found.items():
        values = np.sign(own["validation"]) * c[:, own["unit"]]
        low, high = np.quantile(values, [0.05, 0.95])
        results[what] = np.clip((values - low) / ((high - low) or 1), 0, 1)
    return results


def lines(model: Sequential, text: str, found: dict[str, dict[str, Any]], count: int = 6) -> str:
    """Return a few lines, the state of the unit for quotes under each of their characters."""
    begin, end = passage(text, count)
    values = states(model, text, found)["quotes"]
    bars = [BLOCKS[min(7, int(8 * value))] for value in values[begin:end]]
    rows, place = [], 0
    for line in text[begin:end].splitlines(keepends=True):
        rows += [line.rstrip("\n"), "".join(bars[place : place + len(line) - 1])]
        place += len(line)
    return "\n".join(["", f"Unit {found['quotes']['unit']}, from {BLOCKS[0]} to {BLOCKS[-1]}:", *rows])


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
        image = axis.imshow(grid, "PuOr_r", vmin=-0.5, vmax=1.5, aspect="auto")  # no colour hides a letter
        own = found[what]
        axis.set_title(
            f"{WHAT[what]}: unit {own['unit']}, |correlation| {abs(own['held out']):.2f} (held out)", fontsize=10
        )
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        figure.colorbar(image, ax=axis, label="c, from low to high", pad=0.01, ticks=[])
