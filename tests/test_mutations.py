"""The table of deliberate faults fits the sources, and its script tells what is found from what is not."""

import mutations
import pytest
from mutations import MUTATIONS, ROOT, Mutation


def test_every_fault_has_its_place():
    assert mutations.misfits() == []
    assert len(MUTATIONS) == len(set(MUTATIONS)) == 46
    assert all(mutation.old != mutation.new for mutation in MUTATIONS)


def test_an_entry_that_does_not_fit_is_told(capsys, monkeypatch):
    good = MUTATIONS[0]
    monkeypatch.setattr(mutations, "MUTATIONS", [good, good._replace(old="dc"), good._replace(file="gone.py")])
    assert mutations.main(["--check"]) == 1
    twice, gone = capsys.readouterr().out.splitlines()
    assert twice.startswith("2: cells/lstm.py has 'dc' ") and twice.endswith(" times; expected once")
    assert gone == "3: there is no file gone.py"
    assert mutations.main([]) == 1  # nothing is run


@pytest.mark.slow
def test_what_is_found_and_what_is_not(capsys, monkeypatch):
    fault = MUTATIONS[0]
    harmless = Mutation("none", "cells/lstm.py", "a = tanh(c)", "a = +tanh(c)", fault.tests)
    monkeypatch.setattr(mutations, "MUTATIONS", [fault, harmless])
    before = (ROOT / "rnncore" / fault.file).read_bytes()
    assert mutations.main([]) == 1
    _, first, _, second, last = capsys.readouterr().out.splitlines()
    assert "caught by FAILED tests/bptt/test_lecture.py" in first
    assert (second.strip(), last) == ("MISSED", "caught 1 of 2")
    assert (ROOT / "rnncore" / fault.file).read_bytes() == before
