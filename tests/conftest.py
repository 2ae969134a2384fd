"""Every test starts from the same settings, and leaves them."""

import pytest

from rnncore import config


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    monkeypatch.setattr(config, "_settings", {"floatx": "float32", "backend": None, "threads": None})
    config.set_seed(20)
