"""The simulated world is a few modules of its own, in `simulated/` beside this file."""

import os
import sys
from pathlib import Path

import pytest

from jobd.journal import segments

sys.path.insert(0, str(Path(__file__).parent))

SEEDS = int(os.environ.get("JOBD_SEEDS", "100"))  # `make soak` says thousands
FIRST = int(os.environ.get("JOBD_FIRST_SEED", "0"))


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all that a life writes would fit into the first one."""
    monkeypatch.setattr(segments, "STEP_BYTES", 256)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(FIRST, FIRST + SEEDS))
