"""Figures and their texts: what they show is there, named, in whole ticks, and written or returned as asked."""

import re
from html import escape

import numpy as np
import pytest
from cases import SEED, few_at_first

from rnncore import Sequential, config, study
from rnncore.layers import LSTM, Dense, Embedding
from rnncore.study import plots, text

WORDS = ["", "good", "bad", "not", "film", "the"]


@pytest.fixture(scope="module")
def seen():
    """A small model looked into: the arguments of each figure's function."""
    pytest.importorskip("matplotlib")
    before = config.backend()
    config.set_backend("numpy")
    config.set_seed(SEED)
    model = Sequential([Embedding(6, 3, mask_zero=True), LSTM(12, name="lstm"), Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    x, y = [[5, 4, 3, 1], [1, 4]] * 6, np.array([0, 1] * 6)
    gates, flow = study.GateRecorder(x[:2], update_freq=1), study.GradientFlow(x[:2], y[:2], update_freq=1)
    history = model.fit(x, y, batch_size=4, epochs=5, validation_split=0.25, verbose=0, callbacks=[gates, flow]).history
    trace = study.trace(model, x[:2], y[:2], words=lambda ids: [WORDS[n] for n in ids])
    norms = np.linalg.norm(trace["lstm.dc"][0], axis=-1)
    shown = {
        "history": (history,),
        "distance": ({"dc": norms, "of a padded row": np.linalg.norm(trace["lstm.dc"][1], axis=-1)},),
        "flow": (flow.history, flow.batches),
        "gates": (gates.history, gates.batches),
        "heat": (trace, "f"),
        "lines": (trace, "lstm.c", 1),
        "paths": (study.paths(model, x[:2], y[:2])["lstm"], 0, trace.words[0]),
        "saturation": (trace,),
        "spectra": (study.jacobian(model, x[:2]), 1),
        "saliency": (study.saliency(model, x[:2], words=trace.words),),
    }
    config.set_backend(before)
    return shown


TEXTS = {
    "history": text.epochs,
    "distance": text.distance,
    "flow": text.flow,
    "gates": text.gates,
    "heat": text.heat,
    "lines": text.lines,
    "paths": text.ways,
    "saturation": text.saturated,
    "spectra": text.spectra,
    "saliency": text.salient,
}
LABELS = {  # what must stand in a figure
    "heat": {"the", "film", "not", "good", "lstm.f", "11"},
    "paths": {"dc, all ways", "line", "output", "gates", "line only", "not"},
    "saliency": {"the", "film", "not", "good"},
    "history": {"training", "validation", "loss", "accuracy", "epoch"},
    "distance": {"dc", "of a padded row"},
    "flow": {"0 batches", "12 batches", "lstm.dc", "lstm.dh"},
    "gates": {"median", "5 % to 95 %", "25 % to 75 %", "share of |v| > 0.9", "lstm.f", "lstm.c", "lstm.k"},
    "lines": {"good", "film", "unit 0", "lstm.c"},
    "saturation": {"lstm.i", "lstm.f", "lstm.k", "lstm.o"},
    "spectra": {"largest", "50% are below"},
}


@pytest.mark.parametrize("name", few_at_first(list(LABELS), 3))
def test_a_figure_says_what_it_shows(name, seen, tmp_path):
    path = getattr(plots, f"plot_{name}")(*seen[name], path=tmp_path / "figure.svg", title="a title")
    assert path == tmp_path / "figure.svg"
    said = set(re.findall("<!-- (.*) -->", path.read_text()))  # matplotlib notes each text beside its outlines
    assert said >= {escape(label, quote=False) for label in LABELS[name] | {"a title"}}


@pytest.mark.parametrize("name", TEXTS)
def test_its_text_says_it_too(name, seen):
    said = TEXTS[name](*seen[name])
    assert max(map(len, said.splitlines())) <= 120
    for label in LABELS[name] & {"good", "not", "lstm.f", "lstm.dc", "dc", "largest", "line", "loss"}:
        assert label in said


def test_without_a_path_a_figure_is_returned_in_panels_with_whole_ticks(seen):
    figures = {
        name: getattr(plots, f"plot_{name}")(*seen[name]) for name in ("history", "gates", "saturation", "spectra")
    }
    assert figures["spectra"]._repr_png_()[:4] == b"\x89PNG"
    columns = {name: {axis.get_subplotspec().colspan.start for axis in figure.axes} for name, figure in figures.items()}
    assert columns["gates"] == {0, 1, 2}  # of six panels
    assert columns["saturation"] == {0, 1}  # of four
    for name in ("history", "gates", "spectra"):
        for axis in figures[name].axes:
            ticks = axis.get_xticks()
            assert (ticks == ticks.round()).all(), name


def test_every_line_that_is_drawn_is_named(seen):
    history, batches = seen["flow"]
    figure = plots.plot_flow(history, batches)
    assert len(batches) == 16
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(figure.axes[0].lines) == 10


def test_a_word_that_raises_the_output_is_orange_as_on_the_walk(seen):
    (saliency,) = seen["saliency"]
    patches = plots.plot_saliency(saliency).axes[0].patches
    strongest = np.abs(saliency.scores[0]).argmax()
    red, _, blue, _ = patches[strongest].get_facecolor()
    assert (red > blue) == (saliency.scores[0, strongest] > 0)


def test_what_a_figure_cannot_show_is_told(seen):
    layer = LSTM(2)
    padded = study.trace(layer, np.ones((2, 3, 1)), mask=[[True] * 3, [False] * 3])
    trace, ways, jacobians, scores = (seen[name][0] for name in ("heat", "paths", "spectra", "saliency"))
    for call, message in (
        (lambda: plots.plot_heat(trace, "q"), "unknown name 'lstm.q'"),
        (lambda: plots.plot_heat(trace, "f", row=2), "row is 2; there are 2, from 0 to 1"),
        (lambda: text.heat(trace, "f", units=[12]), r"units are \[12\]; there are 12, from 0 to 11"),
        (lambda: plots.plot_heat(ways, "f"), "expected what trace"),
        (lambda: plots.plot_paths(ways, 2), "row is 2; there are 2, from 0 to 1"),
        (lambda: text.ways(ways, 0, ["a"]), "words has 1 of them, the row 4 steps"),
        (lambda: text.ways({"lstm": ways}), r"expected those of one layer: paths\(model, x, y\)"),
        (lambda: text.spectra(jacobians, 2), "row is 2"),
        (lambda: plots.plot_saliency(scores, 2), "row is 2"),
        (lambda: str(study.GateRecorder(trace)), "history is empty"),
        (lambda: text.lines(padded, "c", 1), "row 1 is padding only"),
        (lambda: text.spectra(np.full((1, 2, 3, 3), np.nan)), "row 0 is padding only"),
        (lambda: text.distance({"dc": np.full(3, np.nan)}), "dc is NaN at every step"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            call()


def test_without_matplotlib_the_remedy_is_told(seen, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "rnncore\[plot\]"'):
        plots.plot_heat(*seen["heat"])
