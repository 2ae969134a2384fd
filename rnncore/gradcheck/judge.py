"""The verdict: every entry, or a sample, against its definition, and what the other witnesses say."""

from __future__ import annotations

import time

import numpy as np

from ..configured import look_up
from ..utils.progress import Progress
from .problem import Problem, again
from .report import Report, Row
from .what import Finding
from .where import Diagnosis, Table, diagnose
from .witnesses import ROUNDING, TINY, WIDEST, Loss, dots, step_curve, takes_complex, taylor

ALL = 5000  # entries that are all compared; of more a sample of SAMPLE
SAMPLE = 1000
CROSS = 6  # entries that are looked at by central differences too, beside the complex step
LOOSE = 2e-4  # the tolerance of float32 code
KINKS = 200  # wrong entries that are looked at for a kink


def judge(
    problem: Problem,
    method: str = "auto",
    step: float | None = None,
    rtol: float = 1e-6,
    entries: int | None = None,
    seed: int = 0,
    verbose: int = 1,
    loose: bool = False,
    others: bool = True,
) -> Report:
    """Return the report on a problem: see `rnncore.gradcheck.check` for the parameters.

    `loose` is for float32 code; `others` says whether more than the entries is looked at.
    """
    begin, rng = time.perf_counter(), np.random.default_rng(seed)
    look_up(method, {"auto": 0, "central": 0, "complex": 0}, "method")
    for name, value, least in (("rtol", rtol, 0.0), ("step", step, 0.0)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not least < value < np.inf
        ):
            raise ValueError(f"{name} is {value!r}; expected a number above 0")
    if entries is not None and (isinstance(entries, bool) or not isinstance(entries, (int, np.integer)) or entries < 1):
        raise ValueError(f"entries is {entries!r}; expected a whole number above 0, or None")
    rtol = max(rtol, LOOSE) if loose else rtol
    outputs = [np.array(y, float) for y in problem.forward(problem.copies())]
    dys = problem.cotangents(outputs, rng)
    problem.forward(problem.copies())
    came = [None if g is None else np.array(g) for g in problem.backward([dy.copy() for dy in dys], problem.copies())]
    again(problem, dys, came)
    why = takes_complex(problem, rng) if method == "auto" else ""
    chosen = method if method != "auto" else "central" if why else "complex"
    loss = Loss(problem, [dys])

    places = _places(problem, entries, rng)
    total = sum(len(own) for own in places.values())
    tables: dict[str, Table] = {}
    with Progress(f"Gradients of {problem.label}", total, verbose, unit="entry") as bar:
        worst: dict[str, float] = {"worst": 0.0}
        for n, own in places.items():
            truth, bars = loss.entries(n, own, chosen, step, tick=lambda: bar.step(worst))
            table = _compared(problem, n, came[n], own, truth[0], bars[0], loss, rtol)
            tables[table.name] = table
            worst["worst"] = max(worst["worst"], float(np.max(table.errors, initial=0)))
    for table in tables.values():
        _set_kinks_aside(problem, table, loss)

    witnesses = {f"{chosen} step" if chosen == "complex" else "central differences": _said_entries(tables)}
    usable = [t.fits for t in tables.values()]
    notes = problem.notes
    if chosen == "central" and why:
        notes.append(f"central differences, since {why}")
    failed: list[str] = []
    if others:
        if chosen == "complex":
            witnesses["central differences"] = _crossed(problem, tables, loss, notes)
        failed = _others(problem, loss, came, outputs, chosen, rng, rtol, witnesses, all(usable), tables, loose)
    evaluations = loss.evaluations
    kinks = sum(t.kinks for t in tables.values())
    if kinks:
        notes.append(
            f"{kinks} entries lie on a kink, as of relu at 0: there is no derivative, and they are not judged; "
            "other values of the arrays would do"
        )
    bad = bool(problem.accumulates) or any(t.wrong.any() or not t.fits for t in tables.values())
    where = Diagnosis()
    if bad or failed:
        where = diagnose(problem, tables, outputs, dys, "central" if chosen == "central" else "complex", rng)
        if failed and not bad:
            where.tensor = where.tensor or ", ".join(failed)
            where.findings = [
                Finding(
                    "value",
                    f"the entries compared are right, but the dot product of all is not, in {', '.join(failed)}: "
                    "compare more of them, entries=…",
                )
            ]
    largest = max((float(np.max(abs(t.truth), initial=0)) for t in tables.values()), default=0.0)
    vague = [
        t for t in tables.values() if t.fits and np.any((t.bars > rtol) & (t.bars * t.size > 1e-3 * rtol * largest))
    ]
    verdict = "wrong" if bad or failed else "undecided" if vague else "right"
    rows = [_row(problem, table) for table in tables.values()]
    curve = _curve(problem, tables, loss) if others and verdict != "right" else []
    return Report(
        verdict, rows, chosen, step or (TINY if chosen == "complex" else WIDEST), rtol, problem.label, witnesses, where,
        {t.name: t.full(t.errors) for t in tables.values() if t.fits}, notes, curve, evaluations,
        time.perf_counter() - begin,
    )  # fmt: skip


def _places(problem: Problem, entries: int | None, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Return which entries of each array are compared: all, or a sample of it."""
    sizes = {n: problem.arrays[n].size for n in problem.moved}
    total = sum(sizes.values())
    most = entries if entries is not None else total if total <= ALL else SAMPLE
    if most >= total:
        return {n: np.arange(size) for n, size in sizes.items()}
    found = {}
    for n, size in sizes.items():
        count = min(size, max(most * size // total, min(50, most // len(sizes)), 1))
        found[n] = np.sort(rng.choice(size, count, replace=False))
    return found


def _compared(problem, n, came, places, truth, bars, loss, rtol) -> Table:
    array, name = problem.arrays[n], problem.names[n]
    empty = np.zeros(len(places))
    table = Table(name, came, array, places, truth, bars, empty, empty.astype(bool))
    if not table.fits:
        table.errors, table.wrong = np.full(len(places), np.inf), np.ones(len(places), bool)
        return table
    mine = table.claimed
    biggest = max(float(np.max(abs(mine), initial=0)), float(np.max(abs(truth), initial=0)))
    if not np.isfinite(biggest):
        biggest = float(np.max(abs(truth), initial=0))
    floor = max(1e-3 * biggest, ROUNDING * float(loss.noise[0]) / rtol, 1e-12)
    size = np.maximum(np.maximum(abs(mine), abs(truth)), floor)
    with np.errstate(invalid="ignore"):
        errors = abs(mine - truth) / size
    table.size, table.errors = size, np.where(np.isfinite(mine), errors, np.inf)
    table.bars = bars / size
    table.bars[~np.isfinite(table.bars)] = 0.0
    table.wrong = table.errors > rtol + table.bars
    return table


def _set_kinks_aside(problem, table, loss) -> None:
    """Leave out of the judgement what has no derivative, or so near a kink that no step fits beside it."""
    if not table.fits:
        return
    n = problem.names.index(table.name)
    doubtful = np.flatnonzero(table.wrong | (table.bars > 1e-4))
    smooth = 0
    for k in doubtful[np.argsort(-table.errors[doubtful])][:KINKS]:
        scale = float(np.max(abs(table.truth), initial=0))
        if loss.on_a_kink(n, int(table.places[k]), scale):
            table.kinks += 1
            table.wrong[k], table.errors[k], table.bars[k] = False, 0.0, 0.0
        else:
            smooth += 1
            if smooth > 3:  # what is wrong here is no kink's doing
                break


def _row(problem, table) -> Row:
    if not len(table.places):
        return Row(table.name, 0, 0.0, (), 0.0, 0.0)
    worst = int(np.argmax(table.errors))
    index = tuple(int(k) for k in np.unravel_index(table.places[worst], table.array.shape))
    analytic = float(table.claimed[worst]) if table.fits else np.nan
    return Row(
        table.name, table.array.size, float(table.errors[worst]), index, analytic, float(table.truth[worst]),
        float(table.bars[worst]) if table.fits else 0.0, len(table.places), table.kinks,
    )  # fmt: skip


def _said_entries(tables) -> str:
    checked = sum(len(t.places) for t in tables.values())
    wrong = sum(int(t.wrong.sum()) for t in tables.values())
    largest = max((float(np.max(t.errors, initial=0)) for t in tables.values()), default=0.0)
    return f"{checked} entries, {wrong} of them wrong, largest error {largest:.1e}"


def _crossed(problem, tables, loss, notes) -> str:
    """Look at some entries by central differences too."""
    worst, bar, count = 0.0, 0.0, 0
    for table in tables.values():
        if not len(table.places) or not table.fits:
            continue
        few = np.unique(np.linspace(0, len(table.places) - 1, max(1, CROSS // len(tables))).astype(int))
        found, bars = loss.entries(problem.names.index(table.name), table.places[few], "central")
        size = max(float(np.max(abs(table.truth), initial=0)), ROUNDING * float(loss.noise[0]) / 1e-6, 1e-12)
        gap = abs(found[0] - table.truth[few]) / size
        keep = table.wrong[few] | (gap <= 1e-5) | (bars[0] / size <= 1e-5)
        worst, bar = (
            max(worst, float(np.max(gap[keep], initial=0))),
            max(bar, float(np.max(bars[0][keep] / size, initial=0))),
        )
        count += len(few)
    if worst > 1e-5 + 4 * bar:
        notes.append(f"central differences differ from the complex step by {worst:.1e}: near a kink, or not analytic")
    return f"{count} entries, {worst:.1e} from the complex step, error bars up to {bar:.1e}"


def _others(problem, loss, came, outputs, method, rng, rtol, witnesses, usable, tables, loose) -> list[str]:
    """Ask the Taylor remainder and the dot products; return the arrays of which a dot product alone is wrong."""
    if not usable:
        witnesses["Taylor remainder"] = witnesses["dot product"] = "not asked: a gradient has the wrong shape"
        return []
    gradients = [None if g is None else np.asarray(g, float) for g in came]
    if not loose:
        order = taylor(loss, gradients, rng)["order"]
        witnesses["Taylor remainder"] = (
            "only rounding is left of it: the function is linear" if order is None
            else f"falls with order {order:.2f} of the step" + (" (2 if the gradient is right)" if order < 1.5 else "")
        )  # fmt: skip
    found = dots(problem, loss, outputs, method, rng)
    limit = rtol * 10
    wrong = [d for d in found if not d["error"] <= limit + d["bar"]]
    on_kinks = [d for d in wrong if loss.kink_along(d["direction"])]
    largest = max((d["error"] for d in found), default=0.0)
    said = f"<Jv, w> = <v, J'w> in {len(found) - len(wrong)} of {len(found)} arrays, largest difference {largest:.1e}"
    witnesses["dot product"] = said + (f"; {len(on_kinks)} on a kink" if on_kinks else "")
    sampled = {t.name for t in tables.values() if len(t.places) < t.array.size and not t.wrong.any()}
    return [d["name"] for d in wrong if d["name"] in sampled and d not in on_kinks]


def _curve(problem, tables, loss) -> list[tuple[float, float]]:
    fitting = [t for t in tables.values() if t.fits and len(t.places)]
    if not fitting:
        return []
    table = max(fitting, key=lambda t: float(np.max(t.errors)))
    k = int(np.argmax(table.errors))
    return step_curve(loss, problem.names.index(table.name), int(table.places[k]), float(table.truth[k]))
