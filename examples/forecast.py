"""A forecast of the year ahead: an LSTM on the carbon dioxide over Mauna Loa, beside what is easy and what is linear.

    python -m examples.forecast                      three seeds, about two minutes
    python -m examples.forecast --quick              a few epochs of one seed: does it run?
    python -m examples.forecast --data sales.csv --period 12 --ahead 12 --window 36     a series of your own

The data are weekly means from 1958 to 2001 (Keeling & Whorf, 2004), which the package statsmodels brings along. They
are cut in time, in order: the first 60 % to train on, then 18 % to choose the epoch by, then 22 % held out, which
nothing is fitted to or scaled by. From every week of these, all of the next 52 weeks are forecast. The linear model and
the LSTM are given the last 104 weeks and asked for the next ones, each as its distance from the mean of the 52 weeks
that were the last ones then. A gap holds the value before it, as who forecasts does not know the one after it; errors
count measured weeks only.

=========================  ============================================================================================
naive                      as the last week
seasonal naive             as the same week a year before
seasonal naive with drift  that, and the mean growth of a year in the training part
linear                     least squares, a row of weights for each week ahead
LSTM                       its state after the 104 weeks, and a Dense layer of 52
=========================  ============================================================================================

Prints mean absolute error and root mean square error of the held-out part, writes a figure of the forecasts, of their
errors against the truth and of the errors by weeks ahead, the results as JSON, and the last seed's model.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from examples import program
from rnncore import Sequential, config, saving
from rnncore.callbacks import EarlyStopping
from rnncore.layers import LSTM, Dense
from rnncore.optimizers import Adam
from rnncore.utils import timeseries_dataset_from_array

TRAINING, VALIDATION = 0.6, 0.18  # shares of the series
EPOCHS, PATIENCE, UNITS = 60, 8, 32
LARGEST = 1e30  # of a value: the network computes in float32
COLOURS = {"seasonal naive": "#E69F00", "linear": "#009E73", "LSTM": "#0072B2"}


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return the exit status."""
    parser = program.parser_of("forecast", __doc__.splitlines()[0], "figure, JSON and model", "3 epochs of one seed")
    parser.add_argument("--seeds", type=program.positive, help="how many, from --seed on (default: 3)")
    parser.add_argument("--epochs", type=program.positive, help=f"at most (default: {EPOCHS})")
    parser.add_argument("--data", metavar="CSV", help="a series: a line a step, its last column the value, empty: gap")
    parser.add_argument("--period", type=program.positive, default=52, help="steps of a season (default: %(default)s)")
    parser.add_argument("--ahead", type=program.positive, default=52, help="steps to forecast (default: %(default)s)")
    parser.add_argument("--window", type=program.positive, default=104, help="steps to go by (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.quick else 3)
    options.epochs = options.epochs or (3 if options.quick else EPOCHS)
    return program.run("forecast", lambda: forecast(options))


class Task(NamedTuple):
    """What there is to forecast.

    Attributes
    ----------
    name : str
    dates : list of str
    measured, values : ndarray of shape (N,)
        With NaN in the gaps, and with the gaps filled.
    levels : ndarray of shape (N,)
        The mean of the period that ends with the step; NaN where it would begin before the first.
    scale : float
        The spread of values around their levels in the part to train on.
    cuts : tuple of int
        Where validation and held-out part begin, and N.
    period, ahead, window : int
    """

    name: str
    dates: list[str]
    measured: np.ndarray
    values: np.ndarray
    levels: np.ndarray
    scale: float
    cuts: tuple[int, int, int]
    period: int
    ahead: int
    window: int

    def origins(self, part: int) -> np.ndarray:
        """Return the first steps of all forecasts that lie within a part, 0, 1 or 2."""
        begin = (self.period - 1 + self.window, *self.cuts)[part]
        return np.arange(begin, self.cuts[part] - self.ahead + 1)


def forecast(options: argparse.Namespace) -> int:
    """Train, compare, write."""
    program.folder(options.out)
    task = task_of(*series(options.data), options.period, options.ahead, options.window)
    parts = [f"{task.dates[a]} to {task.dates[b - 1]}" for a, b in zip((0, *task.cuts), task.cuts, strict=False)]
    gaps = int(np.isnan(task.measured).sum())
    print(f"{len(task.values):,} steps, {gaps} of them gaps. To train on: {parts[0]}; to choose by: {parts[1]};")
    print(f"held out: {parts[2]}, {len(task.origins(2))} forecasts of {task.ahead} steps each\n")
    held_out = task.origins(2)
    forecasts = {**baselines(task, held_out), "linear": linear(task)}
    seconds, made, code = [], [], 0
    for seed in range(options.seed, options.seed + options.seeds):
        begin = time.perf_counter()
        model, interrupted = trained(task, seed, options.epochs, options.verbose)
        made.append(f"LSTM, seed {seed}{', interrupted' * interrupted}")
        forecasts[made[-1]] = as_values(task, model.predict(windows(task, 2)))
        seconds.append(time.perf_counter() - begin)
        if interrupted:
            code = 130
            break

    notes = {"period": task.period, "ahead": task.ahead, "window": task.window, "scale": task.scale}
    saving.save_model(model, options.out / "forecast.npz", notes={name: np.array(own) for name, own in notes.items()})
    results = {name: errors(task, values) for name, values in forecasts.items()}
    split = dict(zip(("training", "validation", "held out"), parts, strict=True))
    told = {"data": options.data or "co2 of statsmodels", "gaps": gaps, "split": split, "seconds": seconds}
    told |= {"period": task.period, "ahead": task.ahead, "window": task.window, "held out": results}
    written = program.write_json(options.out / "forecast.json", told)

    print(f"\n{'held out':<28}{'MAE':>8}{'RMSE':>8}{'of seasonal naive':>20}")
    for name, own in results.items():
        share = own["RMSE"] / (results["seasonal naive"]["RMSE"] or np.nan)
        print(f"{name:<28}{own['MAE']:8.3f}{own['RMSE']:8.3f}{share:20.0%}")
    print(f"Smallest RMSE: {min(results, key=lambda name: results[name]['RMSE'])}.\n")
    print(f"Results: {written}\nModel of the last seed: {options.out / 'forecast.npz'}")
    shown = {name: forecasts[name] for name in ("seasonal naive", "linear")} | {"LSTM": forecasts[made[0]]}
    program.write_figure(options.out / "forecast.png", lambda figure: draw(figure, task, shown), (11, 9))
    return code


# --- data ------------------------------------------------------------------------------------------------------------


def series(path: str | None) -> tuple[str, list[str], np.ndarray]:
    """Return the name, dates and values of a CSV, or of statsmodels' co2; NaN in the gaps."""
    if path is None:
        found = importlib.util.find_spec("statsmodels")  # found, not imported: all that is wanted is its file
        if found is None or found.origin is None:
            raise ImportError('the data come with statsmodels: pip install "rnncore[forecast]"; or give --data CSV')
        path = str(Path(found.origin).parent / "datasets/co2/co2.csv")
    try:
        rows = [row for row in csv.reader(io.StringIO(Path(path).read_text(encoding="utf-8-sig"))) if row]
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path} is no text in UTF-8 with a line a step; expected a CSV") from None
    name, dates, values = "value", [], []
    for n, row in enumerate(rows, start=1):
        last = row[-1].strip()
        try:
            value = float(last) if last else np.nan
        except ValueError:
            if n == 1:  # the names of the columns
                name = last
                continue
            raise ValueError(f"{path}: row {n} ends in {last!r:.40}; expected a number, or nothing for a gap") from None
        if abs(value) > LARGEST:
            raise ValueError(f"{path}: row {n} ends in {last!r:.40}; expected a number up to {LARGEST:g}")
        date = row[0] if len(row) > 1 else str(n)
        dates.append(f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else date)
        values.append(value)
    return name, dates, np.array(values)


def task_of(name: str, dates: list[str], measured: np.ndarray, period: int, ahead: int, window: int) -> Task:
    """Return the task; raise ValueError where the series is too short for it."""
    count = len(measured)
    cuts = round(TRAINING * count), round((TRAINING + VALIDATION) * count), count
    known = np.flatnonzero(~np.isnan(measured))
    if ahead > period:
        raise ValueError(f"--ahead is {ahead}, --period {period}; what lies beyond a season has no season before it")
    least = int(max((period + window + ahead) / TRAINING, ahead / VALIDATION)) + 6
    if len(known) < 2 or count < least:
        raise ValueError(
            f"the series has {len(known)} values in {count} steps; to forecast {ahead} by {window} with a period of "
            f"{period}, {least} steps are needed: see --ahead, --window, --period"
        )
    if np.isnan(measured[cuts[1] :]).all():
        raise ValueError(f"the series has no values in its last {count - cuts[1]} steps, the held-out part")
    if len(np.unique(measured[known[known < cuts[0]]])) < 2:
        raise ValueError(f"the series does not change in its first {cuts[0]} steps, the training part")
    before = np.where(np.isnan(measured), known[0], np.arange(count))
    values = measured[np.maximum.accumulate(before)]
    levels = np.concatenate([np.full(period - 1, np.nan), sliding_window_view(values, period).mean(axis=1)])
    scale = float(np.nanstd((values - levels)[: cuts[0]])) or 1.0
    return Task(name, dates, measured, values, levels, scale, cuts, period, ahead, window)


# --- forecasts: (origins, ahead) -------------------------------------------------------------------------------------


def season_before(task: Task, origins: np.ndarray) -> np.ndarray:
    """Return the values of the same steps a period before."""
    return sliding_window_view(task.values, task.ahead)[origins - task.period]


def baselines(task: Task, origins: np.ndarray) -> dict[str, np.ndarray]:
    """Return the forecasts that nothing is learnt for, or next to nothing."""
    last, seasonal = np.repeat(task.values[origins - 1, None], task.ahead, axis=1), season_before(task, origins)
    drift = (task.values[task.period :] - task.values[: -task.period])[: task.cuts[0] - task.period].mean()
    return {"naive": last, "seasonal naive": seasonal, "seasonal naive with drift": seasonal + drift}


def windows(task: Task, part: int, **options: Any) -> Any:
    """Return batches of windows, and of what follows each, for the forecasts within a part: scaled distances."""
    origins = task.origins(part)
    x = (task.values - task.levels) / task.scale
    y = sliding_window_view(task.values, task.ahead)[origins] - task.levels[origins - 1, None]
    return timeseries_dataset_from_array(
        x[origins[0] - task.window : origins[-1], None].astype(np.float32),
        (y / task.scale).astype(np.float32),
        task.window,
        **options,
    )


def flat(task: Task, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all windows of a part as rows of a matrix, with a 1 at the end, and what follows each."""
    x, y = (np.concatenate(arrays) for arrays in zip(*windows(task, part), strict=True))
    return np.hstack([x[:, :, 0], np.ones((len(x), 1))]), y


def as_values(task: Task, scaled: np.ndarray) -> np.ndarray:
    """Return forecasts of the held-out part from scaled distances."""
    return task.levels[task.origins(2) - 1, None] + scaled * task.scale


def linear(task: Task) -> np.ndarray:
    """Return the forecasts of the held-out part by least squares."""
    weights = np.linalg.lstsq(*flat(task, 0))[0]
    return as_values(task, flat(task, 2)[0] @ weights)


def trained(task: Task, seed: int, epochs: int, verbose: int) -> tuple[Sequential, bool]:
    """Return an LSTM with the weights of the epoch that was best on the validation part; whether Ctrl-C came before."""
    config.set_seed(seed)
    model = Sequential([LSTM(UNITS), Dense(task.ahead)])
    model.compile(Adam(4e-3), "mse")
    best = EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    data, validation = windows(task, 0, batch_size=32, shuffle=True, seed=seed), windows(task, 1)
    try:
        model.fit(data, epochs=epochs, validation_data=validation, callbacks=[best], verbose=verbose)
    except KeyboardInterrupt as reason:
        print(f"\nInterrupted: {reason}; going on with what there is.")
        return model, True
    print(f"Seed {seed}: best after epoch {best.best_epoch + 1}, validation loss {best.best:.3f}")
    return model, False


# --- what came of it -------------------------------------------------------------------------------------------------


def errors(task: Task, forecasts: np.ndarray) -> dict[str, Any]:
    """Return the errors of forecasts of the held-out part, measured steps only: in all, and by steps ahead."""
    off = np.ma.masked_invalid(forecasts - sliding_window_view(task.measured, task.ahead)[task.origins(2)])
    by_step = abs(off).mean(axis=0).filled(np.nan)
    return {"MAE": float(abs(off).mean()), "RMSE": float((off**2).mean() ** 0.5), "MAE by step": by_step.tolist()}


def draw(figure: Any, task: Task, forecasts: dict[str, np.ndarray]) -> None:
    """Draw forecasts of the held-out part, one behind the other, their errors, and errors by steps ahead."""
    above, middle, below = figure.subplots(3, 1, height_ratios=[3, 2, 2])
    origins = task.origins(2)
    steps = np.arange(task.cuts[1] - task.period, task.cuts[2])
    above.plot(steps, task.measured[steps], color="black", linewidth=1, label="measured")
    middle.axhline(0, color="black", linewidth=1)
    for name, made in forecasts.items():
        look = {"color": COLOURS[name], "linewidth": 1.2}
        for n in range(0, len(origins), task.ahead):
            own = np.arange(origins[n], origins[n] + task.ahead)
            above.plot(own, made[n], label=name if not n else None, **look)
            middle.plot(own, made[n] - task.measured[own], **look)
        below.plot(np.arange(task.ahead) + 1, errors(task, made)["MAE by step"], **look)
    for axis in (above, middle):
        for n in range(0, len(origins), task.ahead):
            axis.axvline(origins[n] - 0.5, color="0.85", linewidth=0.8, zorder=0)
        ticks = steps[:: max(1, len(steps) // 8)]
        axis.set_xticks(ticks, [task.dates[n] for n in ticks])
        axis.set_xlim(steps[0], steps[-1])
    above.set(
        ylabel=task.name, title=f"Forecasts of {task.ahead} steps, one behind the other; a line where each begins"
    )
    middle.set(ylabel="forecast - measured", title="Their errors")
    below.set(xlabel="steps ahead", ylabel="mean |error|", xlim=(1, max(2, task.ahead)), ylim=(0, None))
    below.set_title(f"By steps ahead, over all {len(origins)} forecasts")
    above.legend(frameon=False, ncols=4, loc="upper left")


if __name__ == "__main__":
    raise SystemExit(main())
