"""Every test starts from the same settings, and leaves them."""

import pytest
from cases import RUN_SEED

from rnncore import config


def pytest_report_header():
    return f"random slices by RNNCORE_TEST_SEED={RUN_SEED}"


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    monkeypatch.setattr(config, "_settings", {"floatx": "float32", "backend": None, "threads": None})
    config.set_seed(20)
