"""Every test starts from the same settings, and leaves them; which cases of a family the quick run takes."""

import random
from collections import defaultdict

import pytest
from cases import RUN_SEED, SEED

from rnncore import config


def pytest_report_header():
    return f"random slices by RNNCORE_TEST_SEED={RUN_SEED}"


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items):
    """Mark as slow what compares with live Keras, and all but n cases, always the same, of a test marked quick(n)."""
    families = defaultdict(list)
    for item in items:
        if item.get_closest_marker("keras"):
            item.add_marker("slow")
        elif item.get_closest_marker("quick"):
            families[item.nodeid.partition("[")[0]].append(item)
    for cases in families.values():
        (count,) = cases[0].get_closest_marker("quick").args
        for n in random.Random(SEED).sample(range(len(cases)), max(0, len(cases) - count)):
            cases[n].add_marker("slow")


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    monkeypatch.setattr(config, "_settings", {"floatx": "float32", "backend": None, "threads": None})
    config.set_seed(20)
