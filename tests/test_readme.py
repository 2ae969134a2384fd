"""README, CONTRIBUTING and the diagram show what is there."""

import contextlib
import io
import re
from pathlib import Path

import pytest

import rnncore

ROOT = Path(__file__).parent.parent
SHOWN = re.findall(r"<!-- (rnncore/\S+) -->\n```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)


@pytest.mark.parametrize(("file", "lines"), SHOWN, ids=[f"{file}, {lines[:16]}" for file, lines in SHOWN])
def test_the_code_shown_is_the_codes(file, lines):
    without_docstrings = re.sub(r' +""".*?"""\n', "", (ROOT / file).read_text(), flags=re.S)
    assert lines in without_docstrings


def test_forward_backward_and_the_reverse_loop_are_shown():
    assert [lines.split("(")[0] for _, lines in SHOWN] == ["def step", "def step_backward", "def lstm_backward"]


def test_use_it_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rnncore.set_backend("numpy")
    rnncore.utils.clear_session()
    first, of_a_file = re.findall(r"(?<!\.py -->\n)```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    namespace = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()) as told:
        exec(compile(first, "README.md", "exec"), namespace)
        namespace["model"].save("lstm_model.h5")
        exec(compile(of_a_file, "README.md", "exec"), namespace)
    assert "Epoch 2/2" in told.getvalue()
    assert "recurrent_kernel" in told.getvalue()
    assert (tmp_path / "lstm_model.keras").exists()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/options.md"])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text())
    assert links
    for link in links:
        assert "://" in link or (ROOT / page).parent.joinpath(link).exists(), link


def test_the_diagram_names_files_that_exist():
    named = re.findall(r'class="file"[^>]*>([^<…]+)', (ROOT / "docs/house.svg").read_text())
    assert len(named) > 10
    for line in named:
        folder, _, files = line.partition("/")
        for file in files.split(", "):
            inside = ROOT / "rnncore" / folder / file.strip()
            assert inside.exists() or (ROOT / "rnncore" / file.strip()).exists(), file
