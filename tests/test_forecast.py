"""The forecast is honest: nothing of the held-out part is known beforehand, and errors are what they say."""

import json
import re

import numpy as np
import pytest

import rnncore
from examples import forecast, program
from rnncore.models import load_model

STEPS, PERIOD, AHEAD, WINDOW = 150, 6, 4, 8


@pytest.fixture(autouse=True)
def numpy_backend(settings):
    rnncore.set_backend("numpy")


def measured(seed=0):
    steps = np.arange(STEPS)
    values = 0.1 * steps + np.sin(2 * np.pi * steps / PERIOD) + np.random.default_rng(seed).normal(0, 0.1, STEPS)
    values[[0, 3, 4, 89, 90, 140]] = np.nan  # the first, and those where a part ends
    return values


def task_of(values):
    return forecast.task_of("y", [str(n) for n in range(len(values))], values, PERIOD, AHEAD, WINDOW)


@pytest.fixture
def csv(tmp_path):
    rows = [f"2001{n:04},x,{'' if np.isnan(value) else value}" for n, value in enumerate(measured())]
    path = tmp_path / "series.csv"
    path.write_text("\ufeffday,other,sales\n" + "\n".join(rows) + "\n\n")
    return path


def run(*arguments):
    small = "--period", PERIOD, "--ahead", AHEAD, "--window", WINDOW
    return forecast.main([str(one) for one in (*small, *arguments)])


def test_what_comes_later_changes_nothing_before():
    task, values = task_of(measured()), measured()
    for part in (0, 1):
        values[task.cuts[part] :] = 1e6
        other = task_of(values)
        assert other.scale == task.scale
        for mine, theirs in zip(forecast.flat(task, part), forecast.flat(other, part), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        values = measured()


def test_windows_lie_where_they_say():
    task = task_of(measured())
    x, y = forecast.flat(task, 2)
    origins = task.origins(2)
    assert len(x) == len(origins) and origins[-1] + AHEAD == STEPS and origins[0] == task.cuts[1]
    for n, origin in enumerate(origins):
        levels = [task.values[step - PERIOD + 1 : step + 1].mean() for step in range(origin - WINDOW, origin)]
        np.testing.assert_allclose(x[n, :-1] * task.scale, task.values[origin - WINDOW : origin] - levels, atol=1e-5)
        truth = task.values[origin : origin + AHEAD]
        np.testing.assert_allclose(y[n] * task.scale, truth - levels[-1], atol=1e-5)
        np.testing.assert_allclose(forecast.as_values(task, y)[n], truth, atol=1e-5)
    assert np.isfinite(forecast.flat(task, 0)[0]).all()
    begun, end = task.origins(0)[[0, -1]] + [-WINDOW, AHEAD]
    assert np.isnan(task.levels[begun - 2]) and end == task.cuts[0]


def test_errors_count_measured_steps_only():
    task = task_of(measured())
    made = np.stack([task.values[origin : origin + AHEAD] + 2 for origin in task.origins(2)])
    for n, origin in enumerate(task.origins(2)):
        if origin <= 140 < origin + AHEAD:
            made[n, 140 - origin] = 1e9
    found = forecast.errors(task, made)
    assert found["MAE"] == pytest.approx(2) and found["RMSE"] == pytest.approx(2)
    assert found["MAE by step"] == pytest.approx([2] * AHEAD)
    naive, seasonal, drift = forecast.baselines(task, task.origins(2)).values()
    assert (naive[5] == task.values[task.origins(2)[5] - 1]).all()
    assert (seasonal[5] == task.values[task.origins(2)[5] - PERIOD :][:AHEAD]).all()
    assert (drift - seasonal).ravel() == pytest.approx(0.1 * PERIOD, abs=0.05)


def test_a_line_is_found_by_least_squares():
    steps = np.arange(STEPS)
    task = task_of(0.01 * steps + np.tile(np.arange(PERIOD), STEPS // PERIOD))
    assert forecast.errors(task, forecast.linear(task))["RMSE"] < 1e-3


def test_the_program(csv, tmp_path, capsys):
    assert run("--data", csv, "--epochs", 3, "--seeds", 2, "--seed", 7, "--out", tmp_path / "out", "--verbose", 0) == 0
    told = capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "forecast.json").read_text())
    assert results["gaps"] == 6 and results["split"]["training"] == "2001-00-00 to 2001-00-89"
    assert list(results["held out"])[-3:] == ["linear", "LSTM, seed 7", "LSTM, seed 8"]
    table = dict(re.findall(r"^(\S.*?) +(\d+\.\d{3}) +\d+\.\d{3} +\d+%$", told, flags=re.M))
    assert table == {name: f"{own['MAE']:.3f}" for name, own in results["held out"].items()}
    assert (tmp_path / "out" / "forecast.png").stat().st_size > 10_000
    task = task_of(measured())
    made = forecast.as_values(task, load_model(tmp_path / "out/forecast.npz").predict(forecast.windows(task, 2)))
    assert forecast.errors(task, made)["MAE"] == pytest.approx(results["held out"]["LSTM, seed 8"]["MAE"])


def test_interrupted_it_goes_on_with_what_there_is(csv, tmp_path, monkeypatch, capsys):
    class Interrupted(forecast.EarlyStopping):
        def on_train_batch_end(self, batch, logs=None):
            if started[1:]:
                raise KeyboardInterrupt(f"stopped after batch {batch + 1}")

        def on_train_begin(self, logs=None):
            super().on_train_begin(logs)
            started.append(self)

    started = []
    monkeypatch.setattr(forecast, "EarlyStopping", Interrupted)
    monkeypatch.setattr(program, "write_figure", lambda *given: None)
    assert run("--data", csv, "--quick", "--seeds", 3, "--out", tmp_path, "--verbose", 0) == 130
    assert "Interrupted: stopped after batch 1" in capsys.readouterr().out
    results = json.loads((tmp_path / "forecast.json").read_text())["held out"]
    assert list(results)[-2:] == ["LSTM, seed 0", "LSTM, seed 1, interrupted"]
    assert load_model(tmp_path / "forecast.npz").layers[0].units == forecast.UNITS


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, (), "No such file"),
        (b"\xff\xfe\x00", (), "is no text in UTF-8 with a line a step; expected a CSV"),
        (b"1" * 200_000, (), "is no text in UTF-8 with a line a step; expected a CSV"),
        (b"a,b\n1,2\n2,two\n", (), "row 3 ends in 'two'; expected a number, or nothing for a gap"),
        (b"1\ninf\n", (), "row 2 ends in 'inf'; expected a number up to 1e+30"),
        (b"", (), "the series has 0 values in 0 steps"),
        (b"1,\n" * 500, (), "the series has 0 values in 500 steps"),
        (b"1\n2\n" * 50 + b",\n" * 30, (), "the series has no values in its last 29 steps, the held-out part"),
        (b"1\n" * 100 + b"2\n" * 40, (), "the series does not change in its first 84 steps, the training part"),
        (b"1\n2\n" * 16, (), "32 steps; to forecast 4 by 8 with a period of 6, 36 steps are needed"),
        (b"1\n2\n" * 99, ("--ahead", 7), "--ahead is 7, --period 6; what lies beyond a season has no season before it"),
    ],
)
def test_bad_data_is_told_in_a_sentence(content, options, message, tmp_path, capsys):
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_bytes(content)
    assert run(*options, "--data", path, "--out", tmp_path) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1


def test_the_least_number_of_steps_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "write_figure", lambda *given: None)
    (tmp_path / "few.csv").write_text("1\n2\n3\n" * 12)
    options = "--data", tmp_path / "few.csv", "--epochs", 1, "--seeds", 1, "--out", tmp_path, "--verbose", 0
    assert run(*options) == 0
    assert json.loads((tmp_path / "forecast.json").read_text())["split"]["held out"]


def test_without_statsmodels_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(forecast.importlib.util, "find_spec", lambda name: None)
    assert forecast.main([]) == 2
    assert 'pip install "rnncore[forecast]"; or give --data' in capsys.readouterr().err


def test_the_series_of_statsmodels():
    pytest.importorskip("statsmodels")
    name, dates, values = forecast.series(None)
    assert (name, dates[0], dates[-1], len(values)) == ("co2", "1958-03-29", "2001-12-29", 2284)
    assert np.isnan(values).sum() == 59 and values[0] == 316.1


@pytest.mark.slow
def test_the_forecast_beats_seasonal_naive_with_each_seed(tmp_path):
    pytest.importorskip("statsmodels")
    assert forecast.main(["--epochs", "6", "--out", str(tmp_path), "--verbose", "0"]) == 0
    held_out = json.loads((tmp_path / "forecast.json").read_text())["held out"]
    for seed in range(3):
        for error in ("MAE", "RMSE"):
            assert held_out[f"LSTM, seed {seed}"][error] < 0.6 * held_out["seasonal naive"][error]
