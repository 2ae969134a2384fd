"""The examples end as they say: run as a user would. (Those of examples.imdb: test_examples_imdb.py.)"""

import re

import pytest

from examples import own_cell


@pytest.mark.slow
def test_own_cell_learns_in_its_quick_run(capsys):
    assert own_cell.main(["--quick"]) == 0
    accuracies = re.findall(r"accuracy (0\.\d+) after 10 steps", capsys.readouterr().out)
    assert len(accuracies) == 2
    assert min(map(float, accuracies)) > 0.6
