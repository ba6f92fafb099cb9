"""The marker by which a test says what of the contract it is about."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# `outside`: the daemon as its users meet it, for the tests in contract/ and daemon/.
sys.path.insert(0, str(Path(__file__).parent / "contract"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "covers(*names): the methods, fields, options, errors, exit codes and config keys that the "
        "test is about, as 'method:submit'; contract/test_tables.py demands one for each there is",
    )
