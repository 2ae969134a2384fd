"""The figures of plots.py as text, for a terminal: each returns a string to print."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .memory import saturation
from .paths import Paths
from .saliency import Saliency
from .shown import extent_of, panels_of, row_of, scores_of, shares_of, some, spectrum_of, ways_of
from .trace import Trace

SHADES = " .:-=+*#%@"
BLOCKS = "▁▂▃▄▅▆▇█"


def heat(trace: Trace, name: str, row: int = 0, units: Any = None) -> str:
    """Return a gate or state of one row, a line a word and a character a unit: blank at the low end, @ at the high one.

    Parameters
    ----------
    trace, name, row, units
        As in `plots.plot_heat`; default: the units that move most, as many as the terminal is wide.
    """
    shown = row_of(trace, name, row, units, most=_width() - 28)
    low, high = extent_of(shown.values)
    places = np.clip((shown.values - low) / (high - low) * len(SHADES), 0, len(SHADES) - 1).astype(int)
    lines = [
        f"{word[:16]:>16} {''.join(SHADES[n] for n in own)} {mean:7.3f}"
        for word, own, mean in zip(shown.words, places, shown.values.mean(axis=1), strict=True)
    ]
    ends = f"from {low:g} ({SHADES[0]!r}) to {high:g} ({SHADES[-1]!r})"
    head = f"{shown.label}, row {row}: {len(shown.units)} units {ends}; their mean"
    return "\n".join([head, *lines])


def lines(trace: Trace, name: str = "c", row: int = 0, units: Any = None) -> str:
    """Return a state of one row over its words, a line a unit, as bars; arguments as in `plots.plot_lines`."""
    shown = row_of(trace, name, row, units, most=8)
    low, high = extent_of(shown.values)
    rows = [
        f"{f'unit {unit}':>16} {_bars(values, low, high)}  {values.min():.2g} … {values.max():.2g}"
        for unit, values in zip(shown.units, shown.values.T, strict=True)
    ]
    between = f"{'':>16} from {shown.words[0]!r} to {shown.words[-1]!r}" if shown.words else ""
    return "\n".join([f"{shown.label}, row {row}: bars from {low:.3g} to {high:.3g}, a step each", *rows, between])


def ways(paths: Paths, row: int = 0, words: Sequence[str] | None = None) -> str:
    """Return the ways on which the gradient reaches the carry of one row, a line a step: norms over the units.

    Parameters
    ----------
    paths, row, words
        As in `plots.plot_paths`.
    """
    steps, norms = ways_of(paths, row, words)
    head = f"{'step':>16}{'dc':>11}{'line':>11}{'output':>11}{'gates':>11}{'line only':>11}"
    body = [
        f"{step[:16]:>16}" + "".join(f"{norm:11.2e}" for norm in own)
        for step, *own in zip(steps, *norms.values(), strict=True)
    ]
    return "\n".join([head, *body])


def distance(curves: Mapping[str, np.ndarray]) -> str:
    """Return gradient norms as shares of that at the last step, at a few distances; as `plots.plot_distance`."""
    return _by_distance(shares_of(curves))


def flow(history: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], batches: Sequence[int]) -> str:
    """Return gradient norms over the steps, a line a look, as bars of their logarithms; as `plots.plot_flow`."""
    rows = []
    for label, looks in panels_of(history).items():
        chosen = {batches[n]: np.log10(np.maximum(np.asarray(looks[n], float), 1e-300)) for n in some(batches)}
        finite = np.concatenate([values[np.isfinite(values)] for values in chosen.values()])
        low, high = max(finite.max() - 8, finite.min()), finite.max()
        rows.append(f"{label}: log10 of the gradient norm over the steps, bars from {low:.1f} to {high:.1f}")
        rows += [f"{f'{count} batches':>16} {_bars(values, low, high)}" for count, values in chosen.items()]
    return "\n".join(rows)


def gates(history: Mapping[str, Mapping[str, Mapping[str, Sequence[Any]]]], batches: Sequence[int]) -> str:
    """Return how gates and states are distributed over the training, a line a look; as `plots.plot_gates`."""
    rows = [f"{'':>16}{'batches':>9}{'5 %':>8}{'25 %':>8}{'median':>8}{'75 %':>8}{'95 %':>8}{'<0.1':>7}{'>0.9':>7}"]
    for label, own in panels_of(history).items():
        for n in some(batches):
            spread = "".join(f"{value:8.3f}" for value in own["quantiles"][n])
            rows.append(f"{label[-16:]:>16}{batches[n]:>9}{spread}{own['low'][n]:7.2f}{own['high'][n]:7.2f}")
    return "\n".join(rows)


def saturated(trace: Trace) -> str:
    """Return how much of the time gates are near 0 and near 1, over all units; as `plots.plot_saturation`."""
    rows = [f"{'gate':>20}{'below 0.1':>12}{'above 0.9':>12}  units that always are"]
    for label, shares in panels_of(saturation(trace)).items():
        always = {"low": np.flatnonzero(shares.low == 1), "high": np.flatnonzero(shares.high == 1)}
        told = "; ".join(
            f"{end}: {', '.join(map(str, own[:6]))}{' …' * (len(own) > 6)}" for end, own in always.items() if len(own)
        )
        rows.append(f"{label[-20:]:>20}{shares.low.mean():12.3f}{shares.high.mean():12.3f}  {told}".rstrip())
    return "\n".join(rows)


def spectra(jacobians: np.ndarray, row: int = 0) -> str:
    """Return the singular values of a row's Jacobians at a few distances from the last step: `plots.plot_spectra`."""
    values = spectrum_of(jacobians, row)
    return _by_distance({"largest": values[:, 0], "median": np.median(values, axis=-1), "smallest": values[:, -1]})


def salient(saliency: Saliency, row: int = 0, colour: bool = False) -> str:
    """Return a review with what each word contributes: ``not[--]``, ``good[+++]``.

    Parameters
    ----------
    saliency, row
        As in `plots.plot_saliency`.
    colour : bool
        Whether a terminal's colours say it (orange raises the output, violet lowers it), in place of signs.
    """
    words, scores = scores_of(saliency, row)
    most = float(np.abs(scores).max(initial=0)) or 1.0
    told = []
    for word, score in zip(words, scores, strict=True):
        size, sign = round(3 * abs(score) / most), "+" if score > 0 else "-"
        if colour and size:
            shade = {"+": (223, 215, 208), "-": (183, 147, 99)}[sign][size - 1]
            told.append(f"\x1b[48;5;{shade}m\x1b[30m{word}\x1b[0m")
        else:
            told.append(word + (f"[{sign * size}]" if size else ""))
    wrapped: list[str] = []
    line: list[str] = []
    length = 0
    for word, plain in zip(told, words, strict=True):
        size = len(plain if colour else word) + 1
        if line and length + size > _width():
            wrapped.append(" ".join(line))
            line, length = [], 0
        line.append(word)
        length += size
    method = saliency.method.replace("_", " ")
    key = "orange raises it, violet lowers it, the darkest by" if colour else "three signs:"
    head = f"{saliency.of} {saliency.value[row]:.3g}, by {method}; {key} up to {most:.2g}"
    return "\n".join([head, *wrapped, " ".join(line)])


def epochs(history: Mapping[str, Sequence[float]]) -> str:
    """Return loss and metrics, a line an epoch; as `plots.plot_history`."""
    head = f"{'epoch':>6}" + "".join(f"{name[-14:]:>15}" for name in history)
    count = max(map(len, history.values()), default=0)
    return "\n".join(
        [head]
        + [
            f"{n + 1:>6}" + "".join(f"{own[n]:15.4f}" if n < len(own) else " " * 15 for own in history.values())
            for n in range(count)
        ]
    )


def _by_distance(curves: Mapping[str, np.ndarray]) -> str:
    """Return curves at a few distances from their ends."""
    longest = max(map(len, curves.values()))
    backs = sorted({0, longest - 1, *(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500) if n < longest)})
    rows = [f"{'steps back':>28}" + "".join(f"{back:>9}" for back in backs)]
    for label, values in curves.items():
        told = [f"{values[-1 - back]:9.1e}" if back < len(values) else " " * 9 for back in backs]
        rows.append(f"{label[:28]:>28}" + "".join(told))
    return "\n".join(rows)


def _bars(values: np.ndarray, low: float, high: float) -> str:
    """Return a character a value, blank for NaN."""
    places = np.clip((np.nan_to_num(values, nan=low) - low) / ((high - low) or 1) * len(BLOCKS), 0, len(BLOCKS) - 1)
    return "".join(" " if np.isnan(value) else BLOCKS[int(n)] for value, n in zip(values, places, strict=True))


def _width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 120)
