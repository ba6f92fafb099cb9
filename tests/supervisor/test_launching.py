"""What a launch tells the keeper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobd.core.allow import Admitted
from jobd.core.decision import Launch
from jobd.core.job import Limits, Policy
from jobd.supervisor.launching import Places, launch_message
from jobd.supervisor.settings import LaunchSettings

ID = "job0000000000001"
RUNTIME = {
    "key": "k1", "program": "/usr/bin/python3", "env": {"PATH": "/bin"}, "path": [], "preload": [],
}  # fmt: skip


@pytest.fixture
def message(tmp_path: Path):
    """Of a callable's launch, unless a program is admitted."""

    def make(
        *, policy: Policy | None = None, call: dict[str, Any] | None = None,
        program: str | None = None, **settings: Any,
    ) -> dict[str, Any]:  # fmt: skip
        given = {"python": "/usr/bin/python3", "socket": "/s", "runtime": RUNTIME, **settings}
        effect = Launch(
            id=ID, attempt=2, by="uid:0", call=json.dumps(call or {"target": "app:f"}).encode(),
            policy=policy or Policy(), admitted=Admitted(program),
        )  # fmt: skip
        places = Places(str(tmp_path / "state"), str(tmp_path / "logs"))
        return launch_message(effect, LaunchSettings(**given), places)

    return make


def test_the_limits_that_are_set_are_told_and_no_others(message) -> None:
    assert message()["limits"] == {}
    policy = Policy(limits=Limits(memory=1 << 20, cpu_time=1.5, processes=3, open_files=16, nice=1))
    assert message(policy=policy)["limits"] == {
        "memory": 1 << 20, "cpu_time": 1.5, "processes": 3, "open_files": 16, "nice": 1,
    }  # fmt: skip
    assert message(policy=Policy(limits=Limits(nice=0)))["limits"] == {"nice": 0}


def test_the_bound_of_the_output_and_the_place_of_its_order_are_told(message, tmp_path) -> None:
    told = message(output_max=65536)
    assert told["output_max"] == 65536
    assert message()["output_max"] is None
    here = tmp_path / "logs" / "output" / "jo" / ID
    assert [told[name] for name in ("stdout", "stderr", "order")] == [
        str(here / "2.stdout"), str(here / "2.stderr"), str(here / "2.order"),
    ]  # fmt: skip


def test_a_callable_is_forked_where_there_is_a_warm_interpreter(message) -> None:
    told = message()
    assert told["runtime"] == "k1"
    # And what is needed without one, should it not be there after all.
    assert told["program"] == told["argv"][0] == "/usr/bin/python3"
    assert told["argv"][-1] == told["directory"]
    assert message(runtime=None)["runtime"] is None


def test_a_program_is_never_forked(message) -> None:
    assert message(call={"command": ["true"]}, program="/bin/true")["runtime"] is None


@pytest.mark.parametrize(
    "name",
    ["LC_ALL", "LANG", "LANGUAGE", "LD_PRELOAD", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "TZDIR",
     "PYTHONHASHSEED", "OPENSSL_CONF", "LOCPATH"],
)  # fmt: skip
def test_a_variable_that_only_a_new_interpreter_heeds_gets_one(message, name: str) -> None:
    asked = {"target": "app:f", "env": {name: "x", "A": "b"}}
    told = message(call=asked)
    assert told["runtime"] is None
    assert told["env"][name] == "x"
    # Unless the warm one has it, with this very value.
    assert message(call=asked, env={name: "x"})["runtime"] == "k1"
    assert message(call=asked, python_env={name: "x"})["runtime"] == "k1"
    assert message(call=asked, env={name: "y"})["runtime"] is None


@pytest.mark.parametrize("name", ["TZ", "HOME", "LANGUAGES", "LDAP", "MY_PYTHONPATH", "GREETING"])
def test_every_other_variable_is_heeded_by_a_fork_too(message, name: str) -> None:
    assert message(call={"target": "app:f", "env": {name: "x"}})["runtime"] == "k1"
