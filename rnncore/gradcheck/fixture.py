"""A pytest fixture: ``from rnncore.gradcheck.fixture import gradients`` in a conftest.py or a test.

def test_my_lstm(gradients):
    gradients(forward, backward, x, W, U, b)
    gradients(MyLayer(), x)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from . import assert_gradients


@pytest.fixture
def gradients(request: pytest.FixtureRequest) -> Callable:
    """Return `assert_gradients`; what is drawn depends on the test's name alone, so that it fails again if it fails."""
    return partial(assert_gradients, seed=sum(request.node.name.encode()))
