"""The results as a page of tables, as JSON, and as a figure.

A result is one dict, written as it is to JSON:

=============  ======================================================================================================
``about``      ``machine`` (processor, processors, system, python), ``threads``, ``isa`` (what `--isa` said, or None),
               ``rounds``, ``words``, ``versions``
``floor``      see `benchmarks.floor.best`
``skipped``    by peer, what is not installed
``start_up``   see `Bench.start_up`; empty for the sweep
``cases``      a list, see `Bench.cases`; each with its ``axis`` of the sweep, or None
=============  ======================================================================================================
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from .cases import Case
from .growth import Growth, fitted
from .peers import PEERS

OURS = next(iter(PEERS))
ISA_NOTE = "NumPy's own loops, TensorFlow's and ONNX Runtime's cannot be kept from more"
REASONS = {"skipped": "not comparable", "failed": "failed", "differs": "not timed"}


def machine() -> dict[str, Any]:
    """Return what this runs on."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": processor,
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write(result: dict[str, Any], folder: Path, name: str) -> list[Path]:
    """Write the JSON, the page and, where there is matplotlib, the figure; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.json", folder / f"{name}.md"]
    paths[0].write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    paths[1].write_text(page(result), encoding="utf-8")
    try:
        return [*paths, draw(result, folder / f"{name}.png")]
    except ImportError as error:
        print(f"No figure: {error}")
        return paths


def remembered(result: dict[str, Any], path: Path) -> str:
    """Add the run to the history, a line of JSON each; return what has changed since the last one like it, in Markdown.

    Times of two runs are of two states of the machine: compared is the share of the floor, which each run measures.
    """
    about, floor = result["about"], result["floor"]
    like = {"processor": about["machine"]["processor"], "threads": about["threads"], "isa": about.get("isa")}
    shares = {
        entry["case"]["name"]: {
            name: floor_seconds(entry, floor) / middle for name in entry["results"] if (middle := median(entry, name))
        }
        for entry in result["cases"]
    }
    now = {
        **like,
        "date": datetime.now().isoformat(timespec="minutes"),
        "versions": about["versions"],
        "shares": shares,
    }
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        runs = [
            run
            for run in map(json.loads, lines)
            if run.items() >= like.items() and run["shares"].keys() & shares.keys()
        ]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no history of runs ({error!r:.80}): take it away") from error
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(now, ensure_ascii=False) + "\n")
    if not runs:
        return ""
    rows = [
        [case, PEERS[name].title, f"{before:.0%}", f"{own[name]:.0%}", f"{own[name] / before:.2f}"]
        for case, own in shares.items()
        for name, before in runs[-1]["shares"].get(case, {}).items()
        if name in own
    ]
    return f"Shares of the floor, since {runs[-1]['date']}:\n\n{table(['case', 'peer', 'then', 'now', 'ratio'], rows)}"


# --- the page --------------------------------------------------------------------------------------------------------


def page(result: dict[str, Any]) -> str:
    """Return the result in Markdown."""
    about, floor, axes = result["about"], result["floor"], _axes(result)
    notes = _notes(result)
    parts = [
        f"{about['machine']['processor']}, {about['machine']['processors']} processors, {about['machine']['system']}, "
        f"Python {about['machine']['python']}. Each peer with {about['threads']} threads; medians of {about['rounds']} "
        "rounds in turn.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(about["versions"].items())) + ".",
        f"Words: {about['words']}.",
        f"Instructions: up to {about['isa'].upper()}; {ISA_NOTE}." if about.get("isa") else "",
        f"The best rate of a float32 product: {floor['gflops']:.0f} GFLOP/s, by {floor['by']}.",
        *(f"{PEERS[name].title} was skipped: {reason}." for name, reason in result["skipped"].items()),
        *(table(*_sweep_rows(axis, entries)) for axis, entries in axes.items()),
        "" if axes else table(*_case_rows(result, notes)),
        FIT if axes else COLUMNS,
        *(_slower(entries) for entries in axes.values()),
        table(*_start_up_rows(result)) if result["start_up"] else "",
        "\n".join(f"{n}. {note}" for note, n in notes.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


COLUMNS = (
    "ratio: the median over rnncore's. floor: the seconds of the model's matrix products alone at the best rate, over "
    "the median; padding that a mask leaves out is no work, words that come again are counted each time."
)
FIT = "Last lines: the exponent p of t = a + b n^p, fitted to the medians, and the overhead a in ms."


def median(entry: dict[str, Any], name: str) -> float | None:
    """Return a peer's median of a case's rounds in seconds; None if there are none, or it failed in one."""
    result = entry["results"].get(name, {})
    return float(np.median(result["seconds"])) if "seconds" in result and "failed" not in result else None


def floor_seconds(entry: dict[str, Any], floor: dict[str, Any]) -> float:
    """Return how long the products of a case take at the best rate."""
    case = Case(**entry["case"])
    return entry["words"] * case.products(case.passes, case.passes) / (1e9 * floor["gflops"])


def growths(axis: str, entries: list[dict[str, Any]]) -> dict[str, Growth]:
    """Return the growth along an axis of each peer that has three sizes."""
    found = {}
    for name in entries[0]["results"]:
        points = [(entry["case"][axis], median(entry, name)) for entry in entries if median(entry, name)]
        if len(points) > 2:
            found[name] = fitted(*zip(*points, strict=True))
    return found


def _case_rows(result, notes):
    rows = []
    for entry in result["cases"]:
        case = Case(**entry["case"])
        title, ours = case.label(), median(entry, OURS)
        for name, own in entry["results"].items():
            middle = median(entry, name)
            if middle is None:
                why = next((f"{words}: {own[reason]}" for reason, words in REASONS.items() if reason in own), "")
                cells = ["–", "–", "–", "–", why]
            else:
                cells = [
                    f"{1e3 * middle:.3g}",
                    f"{1e3 * min(own['seconds']):.3g} – {1e3 * max(own['seconds']):.3g}",
                    f"{middle / ours:.2f}" if ours else "–",
                    f"{floor_seconds(entry, result['floor']) / middle:.0%}",
                    ", ".join(str(notes[note]) for note in _differences(name, case)),
                ]
            rows.append([title, PEERS[name].title, *cells])
            title = ""
    return ["case", "peer", "ms", "min – max", "ratio", "floor", "notes"], rows


def _sweep_rows(axis, entries):
    names, fits = list(entries[0]["results"]), growths(axis, entries)
    rows = [[str(entry["case"][axis]), *(_written(median(entry, name), 1e3) for name in names)] for entry in entries]
    rows.append(["p", *(_written(fits[name].exponent) if name in fits else "–" for name in names)])
    rows.append(["a", *(_written(fits[name].overhead, 1e3) if name in fits else "–" for name in names)])
    return [f"ms a step by {axis}", *(PEERS[name].title for name in names)], rows


def _slower(entries):
    """Say where another peer is faster than we are."""
    found = {}
    for entry in entries:
        for name in entry["results"]:
            ours, theirs = median(entry, OURS), median(entry, name)
            if ours and theirs and theirs < ours:
                found.setdefault(name, []).append(entry["case"]["name"])
    return " ".join(f"{PEERS[name].title} is faster at {', '.join(cases)}." for name, cases in found.items())


def _start_up_rows(result):
    columns = [  # of which process
        (0, "import_seconds", "import, s", 1.0),
        (0, "first_seconds", "first steps, s", 1.0),
        (0, "whole_seconds", "in all, s", 1.0),
        (1, "first_seconds", "again: first steps, s", 1.0),
        (1, "whole_seconds", "in all, s", 1.0),
        (-1, "import_bytes", "MB after import", 1e-6),
        (-1, "bytes", "MB at most", 1e-6),
    ]
    rows = [
        [
            PEERS[name].title,
            *(_written(runs[n].get(key) if n < len(runs) else None, scale) for n, key, _, scale in columns),
        ]
        for name, runs in result["start_up"].items()
    ]
    return ["start-up", *(title for _, _, title, _ in columns)], rows


def _notes(result) -> dict[str, int]:
    """Return the numbers of all that peers do otherwise in these cases."""
    cases = [(name, Case(**entry["case"])) for entry in result["cases"] for name in entry["results"]]
    return {note: n for n, note in enumerate(dict.fromkeys(d for c in cases for d in _differences(*c)), 1)}


def _differences(name, case):
    return [f"{note[0].upper()}{note[1:]}." for applies, note in PEERS[name].differs if applies(case)]


def _axes(result):
    axes: dict[str, list[dict[str, Any]]] = {}
    for entry in result["cases"]:
        if entry["axis"]:
            axes.setdefault(entry["axis"], []).append(entry)
    return axes


def _written(value, scale=1.0):
    return "–" if value is None else f"{scale * value:.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in line)} |" for line in lines)


# --- the figure ------------------------------------------------------------------------------------------------------


def draw(result: dict[str, Any], path: Path) -> Path:
    """Draw medians, and in bars from the least to the most; of the sweep lines, with what was fitted dotted."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axes = _axes(result)
    panels = axes or {entry["case"]["name"]: entry for entry in result["cases"]}
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5 * columns, (3.6 if axes else 2.4) * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for n, (name, panel) in enumerate(panels.items(), 1):
        (_draw_axis if axes else _draw_case)(figure.add_subplot(rows, columns, n), name, panel)
    figure.savefig(path, dpi=150)
    return path


def _draw_case(plot, _, entry):
    names = [name for name in reversed(entry["results"]) if median(entry, name)]
    middles = np.array([median(entry, name) for name in names])
    ends = [entry["results"][name]["seconds"] for name in names]
    around = [
        [m - min(s) for m, s in zip(middles, ends, strict=True)],
        [max(s) - m for m, s in zip(middles, ends, strict=True)],
    ]
    colours = ["C1" if name == OURS else "C0" for name in names]
    plot.barh([PEERS[name].title for name in names], 1e3 * middles, xerr=1e3 * np.array(around), color=colours)
    plot.set_title(Case(**entry["case"]).label(), fontsize="small")
    plot.set_xlabel("ms")


def _draw_axis(plot, axis, entries):
    fits = growths(axis, entries)
    for n, name in enumerate(entries[0]["results"]):
        points = [(entry["case"][axis], median(entry, name)) for entry in entries if median(entry, name)]
        if points:
            sizes, seconds = map(np.array, zip(*points, strict=True))
            plot.loglog(sizes, 1e3 * seconds, f"C{n}o-", label=PEERS[name].title, markersize=3)
        if name in fits:
            plot.loglog(sizes, 1e3 * fits[name].at(sizes), f"C{n}:")
    sizes = [entry["case"][axis] for entry in entries]
    plot.set_xticks(sizes, map(str, sizes))
    plot.set_xticks([], minor=True)
    plot.set_xlabel(axis)
    plot.set_ylabel("ms a step")
    plot.legend(fontsize="small")
