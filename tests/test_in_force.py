"""The config in force: what a start is told, and when a warm interpreter has had its day."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobd.clock import SystemClock
from jobd.config import load
from jobd.core.job import Policy
from jobd.front import Front, InForce

WARM = """
[python]
start = "fork"
executable = "/usr/bin/python3"
path = ["/srv/app"]
preload = ["app.models"]
env = { MODE = "warm" }
[env]
pass = []
set = { PATH = "/bin", MODE = "cold" }
[allow.callables]
"app.jobs:*" = []
[output]
max_bytes = "1MiB"
"""


@pytest.fixture
def in_force(tmp_path: Path) -> Callable[[str], InForce]:
    def make(text: str) -> InForce:
        path = tmp_path / "jobd.toml"
        path.write_text(text)
        return InForce(lambda: load(path, environ={"HOME": str(tmp_path)}))

    return make


def test_a_start_is_told_of_the_warm_interpreter_as_configured(in_force) -> None:
    launch = in_force(WARM).launch()
    assert launch.runtime is not None
    told = {name: value for name, value in launch.runtime.items() if name != "key"}
    assert told == {
        "program": "/usr/bin/python3", "path": ["/srv/app"], "preload": ["app.models"],
        "env": {"PATH": "/bin", "MODE": "warm"},
    }  # fmt: skip
    assert launch.output_max == 1 << 20


def test_with_exec_there_is_none(in_force) -> None:
    text = """
        [python]
        start = "exec"
        [allow.callables]
        "app.jobs:*" = []
    """
    assert in_force(text).launch().runtime is None


def test_where_no_callable_may_run_there_is_none(in_force) -> None:
    nothing, _, _ = WARM.partition("[allow.callables]")
    assert in_force(nothing).launch().runtime is None
    assert in_force(f'{nothing}[allow]\ncommands = ["/bin/true"]').launch().runtime is None


def test_every_reload_and_every_life_has_an_interpreter_of_its_own(in_force) -> None:
    one, other = in_force(WARM), in_force(WARM)
    keys = [one.launch().runtime["key"], other.launch().runtime["key"]]
    assert one.launch().runtime["key"] == keys[0], "until then it is the same"
    one.follow(one.load())
    keys.append(one.launch().runtime["key"])
    assert len(set(keys)) == 3


@pytest.mark.parametrize("is_command", [False, True])
def test_a_submission_has_its_policy_resolved_once(in_force, monkeypatch, is_command) -> None:
    made = []
    monkeypatch.setattr("jobd.config.policy.Policy", lambda **of: made.append(of) or Policy(**of))
    front = Front(
        in_force=in_force(WARM), clock=SystemClock(), daemon=None, hub=None, store=None,
        joblog=None, tally=None, outputs=None, pid_of=None, stop=None, upgrade=None, reloaded=None,
    )  # fmt: skip
    assert front.limit_faults({"timeout": 5.0}, is_command=is_command) == []
    assert front.policy({"timeout": 5.0}, is_command=is_command).timeout == 5
    assert len(made) == 1
