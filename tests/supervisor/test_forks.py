"""The keeper's side of warm interpreters by itself, with a clock that is moved."""

import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobd.keeper import forks, protocol, starting, warm


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (forks, warm):
        monkeypatch.setattr(module, "time", clock)
    return clock


def runtime(program: str, **more: Any) -> dict[str, Any]:
    return {"key": "1", "program": program, "env": {}, "path": [], "preload": [], **more}


def launch(home: Path) -> starting.Prepared:
    call = {"target": "jobs:f", "path": [str(home)], "patterns": ["*"], "args": [], "kwargs": {}}
    return starting.Prepared({
        "id": "job1", "attempt": 1, "directory": str(home / "job1-1"), "call": json.dumps(call),
        "env": {protocol.SOCKET_PATH: str(home / "jobd.sock")}, "cwd": str(home), "timeout": None,
        "stdout": str(home / "out/1"), "stderr": str(home / "out/2"), "runtime": "1",
    })  # fmt: skip


def heard(served: forks.Forks, until: Callable[[], Any]) -> list[Any]:
    """What became of launches; waits for the interpreter to speak, without moving the clock."""
    answers = served.answers()
    while not (answers or until()):
        assert select.select(served.fds(), (), (), 15)[0]
        answers = served.answers()
    return answers


def test_a_process_that_is_slow_to_begin_costs_no_interpreter_its_life(
    clock: Clock, tmp_path: Path
) -> None:
    """It enters a directory that has to be mounted, say."""
    go = tmp_path / "go"
    (tmp_path / "slow.py").write_text(
        "import os, time\nenter = os.chdir\ndef slow(path):\n"
        f" while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
        " enter(path)\nos.chdir = slow\n"
    )
    said: list[dict[str, Any]] = []
    served = forks.Forks(said.append)
    served.have(runtime(sys.executable, path=[str(tmp_path)], preload=["slow"]))
    heard(served, lambda: said)
    assert said[0]["why"] is None
    prepared = launch(tmp_path)
    assert served.ask(prepared)
    [asked] = served.waiting.values()
    clock.now += forks.ANSWER_S
    assert served.answers() == []
    assert heard(served, lambda: asked.due > clock.now + forks.SIGN_S) == []
    clock.now += 2 * forks.SIGN_S
    assert served.answers() == []
    go.touch()
    [(_, pid)] = heard(served, lambda: False)
    assert len(said) == 1  # the interpreter serves on
    with contextlib.suppress(ProcessLookupError):  # it had nothing to do
        os.kill(pid, signal.SIGKILL)
    prepared.close()
    served.close()


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
