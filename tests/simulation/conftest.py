"""The simulated world is a few modules of its own, in `simulated/` beside this file."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

SEEDS = int(os.environ.get("JOBD_SEEDS", "200"))  # `make soak` says thousands
FIRST = int(os.environ.get("JOBD_FIRST_SEED", "0"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(FIRST, FIRST + SEEDS))
