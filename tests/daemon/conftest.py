"""Black-box tests of what must survive: see `outside/` for the daemon that they talk to."""

import sys
from pathlib import Path

from outside.fixtures import (  # noqa: F401  pytest finds fixtures by their names here
    _narrow,
    _shared,
    installation,
    jobd,
    narrow,
    peer,
    shared,
)

# `recorded`: what a daemon did to its files, call by call, for test_power_cut.py.
sys.path.insert(0, str(Path(__file__).parent))
