"""Waiting for what must come true, with a generous limit and never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from outside.peer import LIMIT_S

T = TypeVar("T")


def until(condition: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """What the condition said when it held."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.004)
    return value


def epoch(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
