"""Figures. They need matplotlib (``pip install "rnncore[plot]"``), which is imported when one is drawn.

Each is written where `path` says, and the path returned; with ``path=None`` the figure is returned, which a notebook
shows. text.py has each for a terminal. Lines differ in colour (Okabe and Ito's, which all eyes tell apart) and in dash.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import replaced
from .memory import saturation
from .paths import Paths
from .saliency import Saliency
from .shown import extent_of, panels_of, row_of, scores_of, shares_of, some, spectrum_of, ways_of
from .trace import Trace

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
DASHES = ("-", "--", ":", "-.")
COLUMNS = 3  # of panels; more go below
Where = str | os.PathLike | None


def plot_history(history: Mapping[str, Sequence[float]], path: Where = None, title: str = "") -> Any:
    """Draw loss and metrics over the epochs, training beside validation.

    Parameters
    ----------
    history : mapping of str to sequence of float
        ``History.history``: a list a name, validation as ``val_…``.
    path : path, optional
        Where to; its ending says the format. None: the figure is returned.
    title : str

    Returns
    -------
    Path or matplotlib.figure.Figure
    """
    names = [name for name in history if not name.startswith("val_")]
    figure, axes = _figure(len(names))
    for axis, name in zip(axes, names, strict=True):
        for n, (key, label) in enumerate(((name, "training"), (f"val_{name}", "validation"))):
            if key in history:
                steps = np.arange(1, len(history[key]) + 1)
                axis.plot(steps, history[key], "o" + DASHES[1 - n], markersize=3, label=label, color=COLOURS[n])
        axis.set(xlabel="epoch", title=name)
        _whole(axis.xaxis)
        axis.legend(frameon=False)
    return _given(figure, path, title)


def plot_distance(
    curves: Mapping[str, np.ndarray], path: Where = None, title: str = "", styles: Mapping[str, str] | None = None
) -> Any:
    """Draw gradient norms, as shares of that at the last step, against their distance from it.

    The scale is logarithmic: a straight line is a factor a step.

    Parameters
    ----------
    curves : mapping of str to ndarray of shape (T,)
        By label: the norm at each step, the last step last; NaN is left out.
    path, title
        As in `plot_history`.
    styles : mapping of str to str, optional
        Matplotlib's line styles by label.
    """
    figure, (axis,) = _figure(1, width=8)
    for n, (label, norms) in enumerate(shares_of(curves).items()):
        style = (styles or {}).get(label)
        look = {"color": COLOURS[n % 8], "linestyle": DASHES[n % 4]} if style is None else {}
        axis.semilogy(np.arange(len(norms))[::-1], norms, *([style] if style else []), label=label, **look)
    axis.set(xlabel="steps back from the last", ylabel="gradient norm / that at the last step")
    _whole(axis.xaxis)
    figure.legend(frameon=False, loc="outside right upper", fontsize="small")
    return _given(figure, path, title)


def plot_flow(
    history: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    batches: Sequence[int],
    path: Where = None,
    title: str = "",
) -> Any:
    """Draw gradient norms against the steps, a panel a state of a layer, a line a look.

    Parameters
    ----------
    history : mapping of str to mapping of str to sequence of sequence of float
        ``GradientFlow.history``. Of more than ten looks ten are drawn, the first and the last among them.
    batches : sequence of int
        ``GradientFlow.batches``; later lines are darker.
    path, title
        As in `plot_history`.
    """
    panels, chosen = panels_of(history), some(batches)
    figure, axes = _figure(len(panels))
    for axis, (label, looks) in zip(axes, panels.items(), strict=True):
        for n, look in enumerate(chosen):
            shade = _shade(0.9 * (1 - n / max(len(chosen) - 1, 1)))
            norms = np.asarray(looks[look], float)
            axis.semilogy(np.arange(len(norms)), norms, color=shade, label=f"{batches[look]} batches")
        axis.set(xlabel="step", ylabel="gradient norm", title=label)
        _whole(axis.xaxis)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside right upper")
    return _given(figure, path, title)


def plot_gates(
    history: Mapping[str, Mapping[str, Mapping[str, Sequence[Any]]]],
    batches: Sequence[int],
    path: Where = None,
    title: str = "",
) -> Any:
    """Draw how gates and states are distributed over the training: a panel each, bands around the median.

    Parameters
    ----------
    history : mapping of str to mapping of str to mapping of str to sequence
        ``GateRecorder.history``: its ``quantiles``, and of gates the shares near 0 and near 1.
    batches, path, title
        As in `plot_flow`.
    """
    panels = panels_of(history)
    figure, axes = _figure(len(panels))
    for axis, (label, own) in zip(axes, panels.items(), strict=True):
        low, lower, middle, upper, high = np.asarray(own["quantiles"], float).T
        axis.fill_between(batches, low, high, color=COLOURS[5], alpha=0.35, label="5 % to 95 %", linewidth=0)
        axis.fill_between(batches, lower, upper, color=COLOURS[0], alpha=0.5, label="25 % to 75 %", linewidth=0)
        axis.plot(batches, middle, "o-", markersize=3, color="black", label="median")
        axis.plot(batches, own["high"], "--", color=COLOURS[1], label="share of |v| > 0.9")
        axis.plot(batches, own["low"], ":", color=COLOURS[2], label="share of |v| < 0.1")
        axis.set(xlabel="batches", title=label)
        _whole(axis.xaxis)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside right upper")
    return _given(figure, path, title)


def plot_heat(
    trace: Trace, name: str | None, row: int = 0, units: Any = None, path: Where = None, title: str = ""
) -> Any:
    """Draw a gate or state of one row over its words: a line a unit, dark to bright from 0 to 1.

    Parameters
    ----------
    trace : Trace
    name : str or None
        ``lstm.f``; with one layer ``f``. None: all gates and states, a panel each.
    row : int
    units : int or list of int, optional
        Default: all. Beside them stands their mean.
    path, title
        As in `plot_history`.
    """
    names = [name] if name is not None else [f"{n}.{own}" for n, each in trace.items() for own in each.shown]
    every = [row_of(trace, each, row, units) for each in names]
    steps, count = (max(shown.values.shape[axis] for shown in every) for axis in (0, 1))
    figure, axes = _figure(len(every), max(6 if len(every) == 1 else 4, 0.19 * steps + 2), _height(count))
    for axis, shown in zip(axes, every, strict=True):
        low, high = extent_of(shown.values)
        colours = "cividis" if low == 0 else "PuOr_r"
        image = axis.imshow(shown.values.T, colours, aspect="auto", vmin=low, vmax=high, interpolation="nearest")
        figure.colorbar(image, ax=axis, label=shown.label, pad=0.01)
        _words(axis, shown.words)
        if len(shown.units) <= 32:
            axis.set_yticks(range(len(shown.units)), [str(unit) for unit in shown.units], fontsize="small")
        else:
            _whole(axis.yaxis)
        axis.set(ylabel="unit")
    what = every[0].label if len(every) == 1 else "gates and states"
    return _given(figure, path, title or f"{what} of row {row}, unit by unit")


def _height(units: int) -> float:
    return max(3, min(9, 0.11 * units + 2))


def plot_lines(
    trace: Trace, name: str = "c", row: int = 0, units: Any = None, path: Where = None, title: str = ""
) -> Any:
    """Draw a state of one row over its words, a line a unit: the carry lines.

    Parameters
    ----------
    trace, name, row, path, title
        As in `plot_heat`.
    units : int or list of int, optional
        Default: the eight that move most.
    """
    shown = row_of(trace, name, row, units, most=8)
    figure, (axis,) = _figure(1, width=max(7, 0.19 * len(shown.words) + 3))
    for n, (unit, values) in enumerate(zip(shown.units, shown.values.T, strict=True)):
        axis.plot(values, color=COLOURS[n % 8], linestyle=DASHES[n // 8 % 4], label=f"unit {unit}")
    axis.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    _words(axis, shown.words)
    axis.set(ylabel=shown.label)
    figure.legend(frameon=False, loc="outside right upper", fontsize="small")
    return _given(figure, path, title or f"{shown.label} of row {row}")


def plot_paths(
    paths: Paths, row: int = 0, words: Sequence[str] | None = None, path: Where = None, title: str = ""
) -> Any:
    """Draw the ways on which the gradient reaches the carry of one row: the norm over the units at each step.

    Parameters
    ----------
    paths : Paths
        Of one layer: ``paths(model, x, y)["lstm"]``.
    row : int
    words : sequence of str, optional
        The row's, a word a step: ``trace.words[row]``.
    path, title
        As in `plot_history`.
    """
    steps, curves = ways_of(paths, row, words)
    figure, (axis,) = _figure(1, width=max(7, 0.19 * len(steps) + 3))
    for n, (way, norms) in enumerate(curves.items()):
        norms = np.where(norms > 0, norms, np.nan)  # a logarithm has no place for 0
        label = "dc, all ways" if way == "dc" else way.replace("_", " ")
        axis.semilogy(norms, color=COLOURS[n], linestyle=DASHES[n % 4], label=label)
    _words(axis, steps)
    axis.set(ylabel="norm over the units")
    figure.legend(frameon=False, loc="outside right upper", fontsize="small")
    return _given(figure, path, title or f"dL/dc of row {row}, by its ways")


def plot_saturation(trace: Trace, path: Where = None, title: str = "") -> Any:
    """Draw how often each unit's gates are near 0 and near 1: a panel a gate, a point a unit [1]_.

    References
    ----------
    .. [1] Karpathy, Johnson, Fei-Fei, 2015, figure 3.
    """
    panels = panels_of(saturation(trace))
    if not panels:
        raise ValueError(f"trace: {', '.join(trace)} has no gates")
    figure, axes = _figure(len(panels), width=4, height=4)
    for axis, (label, shares) in zip(axes, panels.items(), strict=True):
        axis.plot([0, 1], [1, 0], color="0.8", linewidth=0.8, zorder=0)
        axis.scatter(shares.low, shares.high, s=28, alpha=0.5, color=COLOURS[0], linewidths=0)
        axis.set(xlabel="share of steps below 0.1", ylabel="share above 0.9", title=label)
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    return _given(figure, path, title)


def plot_spectra(jacobians: np.ndarray, row: int = 0, path: Where = None, title: str = "") -> Any:
    """Draw the singular values of a row's Jacobians against the distance from the last step.

    Parameters
    ----------
    jacobians : ndarray of shape (B, T, n, m)
        As from `jacobian`. Lines: the largest, and what 90, 50 and 10 of a hundred are below.
    row, path, title
        As in `plot_heat`.
    """
    values = spectrum_of(jacobians, row)
    figure, (axis,) = _figure(1, width=7)
    for n, share in enumerate((1.0, 0.9, 0.5, 0.1)):
        curve = np.quantile(values, share, axis=-1)
        label = "largest" if share == 1 else f"{share:.0%} are below"
        curve = np.where(curve > 0, curve, np.nan)
        axis.semilogy(np.arange(len(curve))[::-1], curve, color=COLOURS[n], linestyle=DASHES[n], label=label)
    axis.set(xlabel="steps back", ylabel="singular value")
    _whole(axis.xaxis)
    figure.legend(frameon=False, loc="outside right upper")
    return _given(figure, path, title)


def plot_saliency(saliency: Saliency, row: int = 0, path: Where = None, title: str = "", columns: int = 12) -> Any:
    """Draw a review with each word in the colour of what it contributes: orange raises the output, violet lowers it.

    Parameters
    ----------
    saliency : Saliency
        With its words, or the steps' numbers stand for them.
    row, path, title
        As in `plot_heat`.
    columns : int
        Words a line.
    """
    words, scores = scores_of(saliency, row)
    columns = max(1, min(columns, len(words)))
    lines = max(1, -(-len(words) // columns))
    figure, (axis,) = _figure(1, width=0.9 * columns + 0.5, height=0.42 * lines + 0.8)
    most = float(np.abs(scores).max(initial=0)) or 1.0
    from matplotlib import colormaps

    for n, (word, score) in enumerate(zip(words, scores, strict=True)):
        x, y = n % columns, n // columns
        colour = colormaps["PuOr_r"](0.5 + 0.5 * score / most)
        axis.add_patch(_rectangle((x + 0.03, y + 0.08), 0.94, 0.84, colour))
        dark = sum(colour[:3]) < 1.4
        axis.text(x + 0.5, y + 0.5, word[:14], ha="center", va="center", color="white" if dark else "black", fontsize=9)
    axis.set(xlim=(0, columns), ylim=(lines, 0))
    axis.axis("off")
    method = saliency.method.replace("_", " ")
    said = f"{saliency.of} {saliency.value[row]:.3g}, by {method}; ±{most:.2g} is the fullest colour"
    return _given(figure, path, title or said)


def _rectangle(corner, width, height, colour):
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, color=colour, linewidth=0)


def _shade(lightness: float) -> str:
    return str(round(0.85 * lightness, 3))


def _whole(axis: Any) -> None:
    """Let an axis have whole numbers for ticks."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _words(axis: Any, words: Sequence[str]) -> None:
    """Write the words under an axis, each at its step."""
    axis.set_xticks(range(len(words)), [word[:18] for word in words], rotation=90, fontsize="small")
    axis.set_xlim(-0.5, len(words) - 0.5)


def _figure(panels: int, width: float = 5.0, height: float = 3.6):
    """Return a figure and its axes, at most three in a row."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "rnncore[plot]"') from error

    class Shown(Figure):
        """A figure that a notebook shows, whatever matplotlib was told."""

        def _repr_png_(self) -> bytes:
            import io

            file = io.BytesIO()
            self.savefig(file, format="png")
            return file.getvalue()

    columns = 2 if panels == 4 else min(panels, COLUMNS)
    rows = math.ceil(panels / columns)
    figure = Shown(figsize=(max(width * columns, 6), height * rows), dpi=120, layout="constrained")
    axes = list(np.ravel(figure.subplots(rows, columns)))
    for axis in axes[panels:]:
        axis.remove()
    return figure, axes[:panels]


def _given(figure: Any, path: Where, title: str) -> Any:
    """Return the figure, or the path that it is written to."""
    if title and len(figure.axes) == 1:  # the middle of the figure may be below its legend
        figure.axes[0].set_title(title)
    elif title:
        figure.suptitle(title)
    if path is None:
        return figure
    with replaced(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:] or None)
    return Path(path)
