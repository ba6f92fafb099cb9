"""The marker by which a test says what of the contract it is about; how many run at once."""

from __future__ import annotations

import os
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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """`-n auto`: three for two cores, for many tests wait for a daemon or a job."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ or sys.platform == "win32":
        return None
    return (3 * len(os.sched_getaffinity(0)) + 1) // 2
