"""The benchmarks run, say what they must, and do not time a peer that computes something else. No bound on any time."""

import json
import os
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import floor, growth, report, texts, walk_step
from benchmarks.__main__ import main
from benchmarks.adapters.base import CHECKED
from benchmarks.adapters.keras_like import KerasLike
from benchmarks.cases import AXES, CASES, Case, case_of, sweep
from benchmarks.growth import fitted
from benchmarks.measure import Bench, deviations_of
from benchmarks.peers import PEERS, Peer, PeerError, Worker
from benchmarks.profile_step import Work, copied

HERE = str(Path(__file__).parent)
NUMPY = PEERS["rnncore-numpy"]
WORDS = texts.drawn(60)
LECTURE = CASES["lecture"].tiny()


class Wrong(KerasLike):
    """A peer with one wrong weight."""

    def load(self, case, x, y, weights):
        weights[2][0, 0] += 1
        super().load(case, x, y, weights)


class Slightly(KerasLike):
    """A peer that predicts right and trains a little too fast."""

    def _start_with(self, optimizer, **options):
        super()._start_with(optimizer, **{name: 1.01 * value for name, value in options.items()})


class Gone(KerasLike):
    """A peer whose process ends in one of the cases."""

    def load(self, case, x, y, weights):
        if case.name == "lecture":
            print("out of luck")
            os._exit(3)
        super().load(case, x, y, weights)


class Unwilling(KerasLike):
    """A peer that raises an error in one of the cases."""

    def time(self, steps):
        if self.case.name == "lecture":
            raise ValueError("not today")
        return super().time(steps)


class Noting:
    """A peer that only writes into a file what it is asked to time."""

    libraries = ()

    def __init__(self, name, file):
        self.name, self.file = name, Path(file)

    def load(self, case, x, y, weights):
        self.case = case.name

    def check(self):
        return {"outputs": np.zeros(1)}

    def time(self, steps):
        with self.file.open("a") as file:
            print(self.case, self.name, file=file)
        return 1.0


def own(kind: type, name: str, *arguments: str) -> Peer:
    """Return a peer of this file."""
    environment = {**NUMPY.environment, "PYTHONPATH": HERE}
    return Peer(name, name, (), f"test_benchmarks:{kind.__name__}", arguments or ("rnncore",), environment)


def twin(name: str) -> Peer:
    return replace(NUMPY, name=name)


def saved(case: Case, path: Path) -> str:
    """Write what a worker loads, and return where."""
    weights = case.weights(np.random.default_rng(0))
    x, y = case.arrays(WORDS, np.random.default_rng(1))
    np.savez(path, x=x, y=y, **{f"weight_{n}": weight for n, weight in enumerate(weights)})
    return str(path)


# --- cases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_weights_fit_the_model_and_words_its_table(case):
    case = case.tiny()
    rng = np.random.default_rng(0)
    weights = case.weights(rng)
    x, y = case.arrays(WORDS, rng)
    peer = KerasLike("rnncore")
    peer.load(case, x, y, weights)
    assert [weight.shape for weight in peer.model.get_weights()] == [weight.shape for weight in weights]
    assert x.dtype == np.int32
    assert x.shape[1] == case.steps
    assert len(y) == len(x)
    assert 0 <= x.min() <= x.max() < case.vocabulary


def test_products_of_the_lectures_model():
    case = CASES["lecture"]
    assert case.products(3, 3) * case.batch * case.steps == 6 * 2 * 2560 * 128 * 512  # design: 2.0 GFLOP
    assert CASES["stacked"].products(1, 0) == 2 * 2 * 2 * 128 * 256
    assert CASES["stacked"].products(0, 1, layer=1) == 2 * 2 * 64 * 256


def test_sweep_changes_one_size_at_a_time():
    found = {axis: [] for axis in AXES}
    for axis, case in sweep():
        found[axis].append(getattr(case, axis))
        assert {name for name in AXES if getattr(case, name) != getattr(CASES["lecture"], name)} <= {axis}
    assert {axis: tuple(sizes) for axis, sizes in found.items()} == AXES


def test_padding_stands_after_the_words_where_it_is_masked_and_nowhere_in_the_stream():
    whole = WORDS.rows("whole", 60, 400)
    lengths = [min(len(review), 400) for review in WORDS.reviews]
    np.testing.assert_array_equal(np.arange(400) < np.array(lengths)[:, None], whole != 0)
    stream = WORDS.rows("stream", 500, 100)
    assert (stream > 0).all()
    np.testing.assert_array_equal(WORDS.rows("ends", 1, 5)[0], WORDS.reviews[0][-5:])


def test_frequent_words_come_often():
    words = np.concatenate(WORDS.reviews)
    counts = np.bincount(words, minlength=texts.WORDS)
    assert counts[3] > counts[10] > counts[100] > 0
    assert words.max() < texts.WORDS


# --- peers -------------------------------------------------------------------------------------------------------


def test_the_protocol(tmp_path):
    arrays = saved(LECTURE, tmp_path / "arrays.npz")
    weights = len(LECTURE.weights(np.random.default_rng(0)))
    with Worker(NUMPY, 1) as worker:
        hello = worker.ask("hello")
        assert hello["import_seconds"] > 0
        assert hello["versions"]["numpy"] == np.__version__
        worker.ask("load", case=asdict(LECTURE), arrays=arrays)
        with np.load(worker.ask("check", case="lecture", into=str(tmp_path))["file"]) as found:
            assert sorted(found) == ["loss", "outputs", *(f"step of weight {n}" for n in range(weights))]
            assert all(np.any(found[f"step of weight {n}"]) for n in range(weights))
        assert worker.ask("time", case="lecture", steps=2)["seconds"] > 0
        assert worker.ask("memory")["bytes"] >= hello["import_bytes"] > 1 << 20
        with pytest.raises(PeerError, match=r"FileNotFoundError.*nowhere"):
            worker.ask("load", case=asdict(LECTURE), arrays="nowhere.npz")
        assert worker.ask("time", case="lecture", steps=1)["seconds"] > 0  # it lives on


def test_a_worker_keeps_several_cases(tmp_path):
    cases = [LECTURE, CASES["gru"].tiny(), CASES["one"].tiny()]
    with Worker(NUMPY, 1) as worker:

        def load(case, name):
            worker.ask("load", case=asdict(replace(case, name=name)), arrays=saved(case, tmp_path / "arrays.npz"))

        def outputs(name):
            with np.load(worker.ask("check", case=name, into=str(tmp_path))["file"]) as found:
                return found["outputs"]

        before = {}
        for case in cases:
            load(case, case.name)
            before[case.name] = outputs(case.name)
        for name, expected in before.items():
            np.testing.assert_array_equal(outputs(name), expected)
            assert worker.ask("time", case=name, steps=2)["seconds"] > 0
        assert np.abs(before["lecture"] - before["gru"]).max() > 1e-3
        load(LECTURE, "gru")  # in the place of the earlier one
        np.testing.assert_array_equal(outputs("gru"), before["lecture"])
        with pytest.raises(PeerError, match="masked was loaded by a process that has ended"):
            worker.ask("time", case="masked", steps=1)


@pytest.mark.slow
def test_cases_take_turns_and_so_do_peers(tmp_path):
    noted, advanced = tmp_path / "noted", []
    peers = [own(Noting, name, name, str(noted)) for name in "ab"]
    cases = [replace(case.tiny(axis), name=str(n)) for n, (axis, case) in enumerate(sweep()) if n < 3]
    with Bench(peers, WORDS, 1, rounds=2, advance=lambda: advanced.append(noted.read_text().count("\n"))) as bench:
        entries = bench.cases(cases)
    compared = [f"{case} {name}" for case in "012" for name in "abab"]
    rounds = ["0 a", "0 b", "1 b", "1 a", "2 a", "2 b", "0 b", "0 a", "1 a", "1 b", "2 b", "2 a"]
    assert noted.read_text().splitlines() == compared + rounds
    assert advanced == [4, 8, 12, 14, 16, 18, 20, 22, 24]
    assert [entry["case"] for entry in entries] == [asdict(case) for case in cases]
    assert all(own["seconds"] == [1.0, 1.0] for entry in entries for own in entry["results"].values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "where"), [(Wrong, "outputs by"), (Slightly, "median: step of weight 0 by 1.0e-02, step of weight 1 by")]
)
def test_a_peer_that_computes_something_else_is_not_timed(kind, where):
    with Bench([NUMPY, twin("second"), own(kind, "wrong")], WORDS, threads=1, rounds=2) as bench:
        (entry,) = bench.cases([LECTURE])
    results = entry["results"]
    assert len(results["rnncore-numpy"]["seconds"]) == len(results["second"]["seconds"]) == 2
    assert "differs" not in results["second"]
    assert "seconds" not in results["wrong"]
    assert where in results["wrong"]["differs"]


@pytest.mark.slow
def test_a_process_that_ends_is_named_with_its_last_words_and_the_others_go_on():
    with Bench([own(Gone, "gone"), replace(NUMPY, keeps=True)], WORDS, threads=1, rounds=1) as bench:
        (entry,) = bench.cases([LECTURE])
        started = bench.start_up(LECTURE)
    results = entry["results"]
    assert results["gone"] == {"failed": "the process of gone ended: out of luck"}
    assert len(results["rnncore-numpy"]["seconds"]) == 1
    assert started["gone"] == [results["gone"]]
    first, second = started["rnncore-numpy"]
    assert first["whole_seconds"] > first["import_seconds"] + first["first_seconds"] > 0
    assert second["bytes"] > second["import_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "failed"),
    [
        (Unwilling, [None, "ValueError: not today", None]),
        (
            Gone,
            [
                "LookupError: before was loaded by a process that has ended",
                "the process of fails ended: out of luck",
                None,
            ],
        ),
    ],
)
def test_a_peer_that_fails_in_one_case_goes_on_in_others(kind, failed):
    cases = [replace(LECTURE, name="before"), LECTURE, replace(LECTURE, name="after")]
    with Bench([own(kind, "fails"), NUMPY], WORDS, threads=1, rounds=2) as bench:
        results = [entry["results"] for entry in bench.cases(cases)]
    assert [own["fails"].get("failed") for own in results] == failed
    assert [len(own["fails"].get("seconds", [])) for own in results] == [0 if reason else 2 for reason in failed]
    assert [len(own["rnncore-numpy"]["seconds"]) for own in results] == [2, 2, 2]


def test_nan_is_a_difference():
    found = {"a": {"outputs": np.zeros(3)}, "b": {"outputs": np.zeros(3)}, "c": {"outputs": np.array([0, np.nan, 0])}}
    assert np.isnan(deviations_of(found)["c"]["outputs"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "rnncore",
        "onnxruntime",
        "lecture",
        pytest.param("pytorch", marks=[pytest.mark.torch, pytest.mark.slow]),
        pytest.param("pytorch-padded", marks=[pytest.mark.torch, pytest.mark.slow]),
        pytest.param("pytorch-compiled", marks=[pytest.mark.torch, pytest.mark.slow]),
        "jax-scan",
        pytest.param("keras-tf", marks=[pytest.mark.keras, pytest.mark.slow]),
    ],
)
def test_peers_compute_the_same(name):
    if missing := PEERS[name].missing():
        pytest.skip(f"not installed: {missing}")
    chosen = {n: CASES[n].tiny() for n in ("masked", "dropout", "stacked", "gru", "simple-rnn", "one-call", "many")}
    masked = chosen["masked"]
    chosen["one way"] = replace(masked, name="one way", layer="GRU", bidirectional=False)
    chosen["two deep"] = replace(masked, name="two deep", layer="SimpleRNN", depth=2)
    with Bench([NUMPY, PEERS[name]], WORDS, threads=1, rounds=1) as bench:
        entries = dict(zip(chosen, bench.cases(chosen.values()), strict=True))
    timed = {case for case, entry in entries.items() if "seconds" in entry["results"][name]}
    for case, entry in entries.items():
        assert case in timed or PEERS[name].cannot(chosen[case]), (case, entry["results"][name])
    least = {
        "lecture": {"simple-rnn", "one-call", "many"},
        "onnxruntime": {"one-call", "many"},
        "pytorch-padded": {"masked", "one way"},
        "jax-scan": chosen.keys() - {"dropout"},
    }
    assert timed >= least.get(name, set())


def test_missing_programs_are_told_with_missing_packages():
    peer = replace(NUMPY, needs=("numpy", "no_such_package"), needs_programs=(sys.executable, "no-such-program"))
    assert peer.missing() == ["no_such_package", "no-such-program"]


def test_masked_cases_have_padding_when_they_are_tiny():
    case = CASES["masked"].tiny()
    x, _ = case.arrays(WORDS, np.random.default_rng(0))
    compared = x[: CHECKED * case.batch]
    assert {True, False} == set(compared.all(axis=1))


def test_a_case_of_ones_own():
    case = case_of("GRU units=48 steps=30 batch=16 masked dropout=.2")
    assert (case.layer, case.units, case.steps, case.batch, case.dropout) == ("GRU", 48, 30, 16, 0.2)
    assert case.mask and case.text == "whole" and case.work == "train" and case.rows is None
    case = case_of("LSTM bidirectional predict batch=8")
    assert case.bidirectional and (case.work, case.rows, case.units) == ("predict", 8, 128)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a case begins with its layer, one of SimpleRNN, LSTM, GRU"),
        ("lstm units=4", "begins with 'lstm'"),
        ("LSTM unit=4", "'unit=4' is not known in 'LSTM unit=4'; expected units=…"),
        ("LSTM units=0", "'units=0': expected a whole number above 0"),
        ("LSTM units=3.5", "'units=3.5': expected a whole number above 0"),
        ("LSTM dropout=1", "'dropout=1': expected a share below 1"),
        ("LSTM dropout=nan", "'dropout=nan': expected a share below 1"),
    ],
)
def test_a_case_that_cannot_be(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        case_of(text)


def test_a_cut_run_keeps_what_it_has(tmp_path, capsys, measured, monkeypatch):
    rounds = []

    def cut(bench, entry, turn, first):
        if len(rounds) == 3:
            raise KeyboardInterrupt
        rounds.append((turn, entry["case"]["name"]))
        entry["results"]["rnncore-numpy"].setdefault("seconds", []).append(0.5)

    monkeypatch.setattr(Bench, "_round", cut)
    arguments = ["--case", "LSTM units=4 steps=5 vocabulary=50 embedding=3", "--case", "GRU units=4 steps=5"]
    output = ["--peers", "rnncore-numpy", "--threads", "1", "--quick", "--output", str(tmp_path)]
    assert main([*arguments, *output]) == 130
    assert "Interrupted: of 2 cases 2 were compared" in capsys.readouterr().out
    cases = json.loads((tmp_path / "cases.json").read_text())["cases"]
    assert [entry["results"]["rnncore-numpy"]["seconds"] for entry in cases] == [[0.5, 0.5], [0.5]]


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("overhead", "exponent"), [(0.002, 1.0), (0.0, 1.0), (0.01, 2.0), (0.0005, 0.6)])
def test_growth_is_found(overhead, exponent):
    sizes = AXES["batch"]
    fit = fitted(sizes, [overhead + 3e-4 * n**exponent for n in sizes])
    assert fit.exponent == pytest.approx(exponent, abs=0.0051)
    assert fit.overhead == pytest.approx(overhead, abs=2e-5)
    assert fit.error < 0.01


def test_growth_needs_three_points():
    with pytest.raises(ValueError, match="sizes has 2 points and seconds 2"):
        fitted([1, 2], [1, 2])


def test_sizes_take_turns_in_growth():
    asked = []
    seconds = growth.medians([lambda: asked.append("a"), lambda: asked.append("b")], rounds=3, seconds=0)
    assert asked == ["a", "b"] * 3
    assert len(seconds) == 2 and min(seconds) > 0


def test_a_layers_growth_is_told(capsys):
    assert growth.main(["--quick", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[::2]] == ["ms by steps", "ms by batch"]
    assert all(line.startswith("t = ") and " b n^" in line for line in lines[1::2])


def test_the_walk_through_a_step_is_told(capsys):
    assert walk_step.main([]) == 0
    *walk, last = capsys.readouterr().out.splitlines()
    places = [line.split()[1] for line in walk]
    assert len(set(places)) == len(places)
    number = 1 + places.index(walk_step.REVERSE)
    files = len({place.split(":")[0] for place in places})
    assert last.startswith(f"{len(places)} functions in {files} files; the reverse loop is number {number} (")
    assert not any("comp>" in place for place in places)
    forward, backward = (places.index(f"cells/lstm.py:{name}") for name in ("step", "step_backward"))
    assert forward < number <= backward  # the walk goes on from the loop into the cell
    assert walk[backward].index(places[backward]) > walk[number - 1].index(walk_step.REVERSE)  # and is indented there
    with pytest.raises(ValueError, match="'nowhere:loop'; the step enters no such function"):
        walk_step.main(["--reverse", "nowhere:loop"])


def test_limits_are_measured(monkeypatch):
    monkeypatch.setattr(floor, "SECONDS", 0.01)
    rates = floor.rates("numpy")
    assert len(rates) == len(floor.SHAPES)
    assert min(rates.values()) > 0
    assert copied(2, size=1 << 20) > 0


def test_work_of_a_step():
    case = CASES["lecture"]
    work = Work(case, np.tile(np.arange(80, dtype=np.int32), (64, 1)))
    parts = work.parts(["embedding", "lstm", "dense"])
    assert work.distinct == 80
    assert parts["lstm", "forward"][0] + parts["lstm", "back"][0] == work.products(3, 3)
    assert parts["optimizer", ""][1] == 7 * 4 * (80 * 128 + 2 * 128 * 512 + 512 + 128 + 1)


# --- all of it ---------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch):
    best = {"gflops": 100.0, "by": "nobody", "all": {}}
    monkeypatch.setattr(floor, "best", lambda threads: best)
    return best


@pytest.mark.slow
def test_a_run_writes_what_it_measured(tmp_path, capsys, measured, monkeypatch):
    monkeypatch.setitem(PEERS, "pytorch", replace(PEERS["pytorch"], needs=("no_such_package",)))
    arguments = ["--quick", "--cases", "lecture", "one", "--peers", "rnncore-numpy", "pytorch", "--rounds", "3"]
    assert main([*arguments, "--threads", "1", "--output", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "PyTorch is skipped; not installed: no_such_package" in told.out
    assert "| 9/9 [" in told.err  # the floor, two cases compared, three rounds of both
    result = json.loads((tmp_path / "cases.json").read_text())
    assert result.keys() == {"about", "floor", "skipped", "start_up", "cases"}
    assert result["about"].keys() == {"machine", "threads", "isa", "rounds", "words", "versions"}
    assert result["about"]["versions"].keys() == {"rnncore", "numpy", "numba"}
    assert result["floor"] == measured
    assert [entry["case"]["name"] for entry in result["cases"]] == ["lecture", "one"]
    for entry in result["cases"]:
        assert entry["results"].keys() == {"rnncore-numpy"}
        assert len(entry["results"]["rnncore-numpy"]["seconds"]) == 3
        assert max(entry["results"]["rnncore-numpy"]["deviations"].values()) == 0
    page = (tmp_path / "cases.md").read_text()
    assert "PyTorch was skipped: not installed: no_such_package." in page
    assert "Zipf" in page
    assert (tmp_path / "cases.png").stat().st_size > 1000


def test_a_run_is_compared_with_the_last_one_like_it(tmp_path):
    def result(seconds, threads=1):
        about = {"machine": {"processor": "P"}, "threads": threads, "isa": None, "versions": {}}
        entry = {"case": asdict(CASES["lecture"]), "words": 100, "results": {"rnncore": {"seconds": [seconds]}}}
        return {"about": about, "floor": {"gflops": 1.0}, "cases": [entry]}

    path = tmp_path / "history.jsonl"
    assert report.remembered(result(2.0), path) == ""
    assert report.remembered(result(9.0, threads=2), path) == ""
    *_, row = report.remembered(result(1.0), path).splitlines()
    assert row.startswith("| lecture | rnncore | ") and row.endswith(" | 2.00 |")
    assert len(path.read_text().splitlines()) == 3
    path.write_text("[]\n")
    with pytest.raises(ValueError, match=r"history.jsonl is no history of runs"):
        report.remembered(result(1.0), path)


def test_the_page_of_numbers_that_are_known():
    case = CASES["lecture"]
    results = {
        "rnncore": {"seconds": [0.02, 0.03, 0.01]},
        "pytorch": {"seconds": [0.04, 0.04, 0.05]},
        "keras-tf": {"differs": "differs from the other peers' median: loss by 1.0e+00"},
    }
    result = {
        "about": {"machine": report.machine(), "threads": 2, "rounds": 3, "words": "some", "versions": {"numpy": "2"}},
        "floor": {"gflops": 201.0, "by": "NumPy"},
        "skipped": {},
        "start_up": {"rnncore": [{"import_seconds": 1.0}, {"bytes": 2e8}]},
        "cases": [{"axis": None, "case": asdict(case), "words": 2560, "results": results}],
    }
    lines = report.page(result).splitlines()
    first, second, third = (n for n, line in enumerate(lines) if line.startswith(("| lecture", "|  |")))
    assert lines[first].endswith("| rnncore | 20 | 10 – 30 | 1.00 | 50% | 1, 2 |")
    assert lines[second].endswith("| PyTorch | 40 | 40 – 50 | 2.00 | 25% | 3 |")
    assert "not timed: differs" in lines[third]
    assert any(line.startswith("| rnncore | 1 | – |") and line.endswith("| 200 |") for line in lines)


@pytest.mark.slow
def test_the_sweep_fits_and_draws(tmp_path, measured):
    arguments = ["--sweep", "--quick", "--peers", "rnncore-numpy", "--rounds", "1", "--threads", "1"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    entries = json.loads((tmp_path / "sweep.json").read_text())["cases"]
    assert [entry["axis"] for entry in entries] == [axis for axis, _ in sweep()]
    page = (tmp_path / "sweep.md").read_text()
    assert all(f"| ms a step by {axis} |" in page for axis in AXES)
    assert page.count("\n| p | ") == len(AXES)
    assert (tmp_path / "sweep.png").stat().st_size > 1000
