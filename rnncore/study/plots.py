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


def _figure(columns: int):
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "rnncore[plot]"') from error
    figure = Figure(figsize=(max(5.5 * columns, 9), 4), dpi=120, layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def _written(figure, path) -> Path:
    with replaced(path) as draft:
        figure.savefig(draft)
    return Path(path)
