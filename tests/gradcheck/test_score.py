"""The score of the gradient check: a few mistakes of each kind, and all of them in the slow run."""

from collections import Counter

import pytest

from rnncore import config
from tests import gradcheck_score as score

PROMISED = {"mistakes": 100, "found": 100, "place": 95, "kind": 80}


@pytest.fixture(autouse=True)
def numpy_backend():
    config.set_backend("numpy")


def test_there_are_ten_of_ten_kinds():
    kinds = Counter(mistake.kind for mistake in score.MISTAKES)
    assert len(kinds) == 10 and set(kinds.values()) == {10}


@pytest.mark.parametrize("n", range(0, 100, 10), ids=lambda n: score.MISTAKES[n].kind)
def test_one_of_each_kind(n):
    mistake = score.MISTAKES[n]
    report = mistake.report()
    assert mistake.judged(report) == (True, True, True), str(report)


def test_a_few_right_ones():
    told = []
    assert score.false_alarms(6, tell=told.append) == {"right": 6}, told


@pytest.mark.slow
def test_the_whole_score():
    counts = score.judged(score.MISTAKES)
    total = sum(counts.values(), Counter())
    assert all(total[name] >= least for name, least in PROMISED.items()), score.table(counts)
    verdicts = score.false_alarms(300)
    assert not verdicts["wrong"] and verdicts["right"] > 290, verdicts
