"""Pages of the documentation are programs: their code runs, in order, and prints what the page says.

A block of ``python`` is run in the page's own namespace; a block of ``text`` after it is what it prints (``…`` stands
for anything, white space counts as one blank). ``<!-- not run -->`` before a block leaves it out.
"""

import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest

import rnncore

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"(<!-- not run -->\n)?^```(python|text)\n(.*?)^```$", re.M | re.S)
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if "```python" in page.read_text())
FREE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_page(page: Path) -> None:
    """Run a page's code and compare what it prints with what the page says."""
    namespace: dict = {"__name__": "__main__"}
    printed = ""
    for skipped, kind, text in BLOCK.findall(page.read_text()):
        if kind == "text":
            wanted = text.replace("…", "...")
            assert doctest.OutputChecker().check_output(wanted, printed, FREE), (
                f"{page.name} says:\n{text}\nnot:\n{printed}"
            )
        elif not skipped:
            with contextlib.redirect_stdout(io.StringIO()) as stdout:
                exec(compile(text, page.name, "exec"), namespace)
            printed = stdout.getvalue()


@pytest.mark.quick(3)
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rnncore.utils.clear_session()  # names of layers are numbered from the start
    run_page(page)
