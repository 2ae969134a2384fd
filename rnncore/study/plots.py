"""Figures. They need matplotlib (``pip install "rnncore[plot]"``), which is imported when one is drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..utils.files import replaced


def plot_history(history: Mapping[str, Sequence[float]], path: str | os.PathLike, title: str = "") -> Path:
    """Draw loss and metrics over the epochs, training beside validation, and write the figure.

    Parameters
    ----------
    history : mapping of str to sequence of float
        ``History.history``: a list a name, validation as ``val_…``.
    path : path
        Where to; its ending says the format.
    title : str

    Returns
    -------
    Path
    """
    names = [name for name in history if not name.startswith("val_")]
    figure, axes = _figure(len(names))
    for axis, name in zip(axes, names, strict=True):
        for key, style, label in ((name, "o--", "training"), (f"val_{name}", "o-", "validation")):
            if key in history:
                axis.plot(np.arange(1, len(history[key]) + 1), history[key], style, markersize=3, label=label)
        axis.set(xlabel="epoch", title=name)
        axis.legend(frameon=False)
    figure.suptitle(title)
    return _written(figure, path)


def plot_distance(
    curves: Mapping[str, np.ndarray], path: str | os.PathLike, title: str = "", styles: Mapping[str, str] | None = None
) -> Path:
    """Draw gradient norms, as shares of that at the last step, against their distance from it, and write the figure.

    The scale is logarithmic: a straight line is a factor a step.

    Parameters
    ----------
    curves : mapping of str to ndarray of shape (T,)
        By label: the norm at each step, the last step last.
    path, title
        As in `plot_history`.
    styles : mapping of str to str, optional
        Matplotlib's line styles by label.
    """
    figure, (axis,) = _figure(1)
    for label, norms in curves.items():
        axis.semilogy(np.arange(len(norms))[::-1], norms / norms[-1], (styles or {}).get(label, "-"), label=label)
    axis.set(xlabel="steps back from the last", ylabel="gradient norm / that at the last step", title=title)
    figure.legend(frameon=False, loc="outside right upper", fontsize="small")
    return _written(figure, path)


def plot_flow(
    history: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    batches: Sequence[int],
    path: str | os.PathLike,
    title: str = "",
) -> Path:
    """Draw gradient norms against the steps, a panel a state of a layer, a line a look; write the figure.

    Parameters
    ----------
    history : mapping of str to mapping of str to sequence of sequence of float
        ``GradientFlow.history``.
    batches : sequence of int
        ``GradientFlow.batches``; later lines are darker.
    path, title
        As in `plot_history`.
    """
    panels = [(f"{layer}: {name}", looks) for layer, own in history.items() for name, looks in own.items()]
    figure, axes = _figure(len(panels))
    for axis, (label, looks) in zip(axes, panels, strict=True):
        for n, (count, norms) in enumerate(zip(batches, looks, strict=True)):
            shade = str(0.8 * (1 - (n + 1) / len(batches)))  # of grey: the last one is black
            axis.semilogy(np.arange(1, len(norms) + 1), norms, color=shade, label=f"{count} batches")
        axis.set(xlabel="step", ylabel="gradient norm", title=label)
    handles, labels = axes[0].get_legend_handles_labels()
    ends = sorted({0, len(handles) - 1})
    figure.legend([handles[n] for n in ends], [labels[n] for n in ends], frameon=False, loc="outside right upper")
    figure.suptitle(title)
    return _written(figure, path)


def plot_gates(
    history: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    batches: Sequence[int],
    path: str | os.PathLike,
    title: str = "",
) -> Path:
    """Draw what gates and states were like against the batches, a row of panels a layer; write the figure.

    Parameters
    ----------
    history : mapping of str to mapping of str to mapping of str to sequence of float
        ``GateRecorder.history``.
    batches, path, title
        As in `plot_flow`.
    """
    statistics = {"mean": "mean", "low": "share of |v| < 0.1", "high": "share of |v| > 0.9"}
    figure, axes = _figure(len(statistics), len(history))
    panels = [(layer, series, key) for layer, series in history.items() for key in statistics]
    for axis, (layer, series, key) in zip(axes, panels, strict=True):
        for name, values in series.items():
            axis.plot(batches, values[key], "o-", markersize=3, label=name)
        axis.set(xlabel="batches", ylabel=statistics[key], title=layer)
        if key != "mean":
            axis.set_ylim(-0.02, 1.02)
        axis.legend(frameon=False, fontsize="small")
    figure.suptitle(title)
    return _written(figure, path)


def _figure(columns: int, rows: int = 1):
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "rnncore[plot]"') from error
    figure = Figure(figsize=(max(5.5 * columns, 9), 4 * rows), dpi=120, layout="constrained")
    return figure, list(np.ravel(figure.subplots(rows, columns)))


def _written(figure, path) -> Path:
    with replaced(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:] or None)
    return Path(path)
