"""The keeper's side of warm interpreters by itself, with a clock that is moved."""

from typing import Any

import pytest

from jobd.keeper import forks


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(forks, "time", clock)
    return clock


def runtime(program: str) -> dict[str, Any]:
    return {"key": "1", "program": program, "env": {}, "path": [], "preload": []}


def test_one_that_never_starts_is_tried_each_minute_for_ever(clock: Clock) -> None:
    """Seventeen hours of it, and the keeper is still there."""
    said: list[dict[str, Any]] = []
    served = forks.Forks(said.append)
    for _ in range(1100):
        clock.now += forks.BACKOFF_MAX_S
        served.have(runtime("/no/such/python"))
    assert len(said) == 1100
    clock.now += forks.BACKOFF_MAX_S - 1
    served.have(runtime("/no/such/python"))
    assert len(said) == 1100
