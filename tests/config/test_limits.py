"""What attempts may take: [limits.default], the queues', and the ceilings of [limits.max]."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import pytest

from jobd.config import Config, changes
from jobd.core.job import Limits

GIB = 1 << 30


@pytest.fixture
def limits(config) -> Callable[..., Limits]:
    """Those that hold, under a config of this text, for a submission of these fields."""

    def of(text: str, **fields: Any) -> Limits:
        found: Limits = config(text).policy(fields, is_command=False).limits
        return found

    return of


def test_nothing_is_limited_unless_somebody_says_so(config, limits) -> None:
    assert limits("") == Limits()
    assert config("").policy({}, is_command=False).timeout is None


LAYERS = """
[limits.default]
memory = "1GiB"
cpu_time = "1m"
[queues.mail.limits]
memory = "2GiB"
nice = 5
[queues.plain]
"""


def test_each_limit_is_the_submissions_else_the_queues_else_the_default(limits) -> None:
    assert limits(LAYERS) == Limits(memory=GIB, cpu_time=60.0)
    assert limits(LAYERS, queue="plain") == Limits(memory=GIB, cpu_time=60.0)
    assert limits(LAYERS, queue="mail") == Limits(memory=2 * GIB, cpu_time=60.0, nice=5)
    asked = limits(LAYERS, queue="mail", limits={"nice": 7, "processes": 9})
    assert asked == Limits(memory=2 * GIB, cpu_time=60.0, nice=7, processes=9)


def test_a_limit_can_be_lifted_by_null(limits) -> None:
    assert limits(LAYERS, limits={"memory": None}) == Limits(cpu_time=60.0)


def test_equal_limits_are_one_policy(config) -> None:
    policy = config(LAYERS).policy
    one = policy({"limits": {"cpu_time": 60, "memory": GIB}}, is_command=False)
    assert policy({}, is_command=False) is one
    assert policy({"limits": {"memory": GIB, "cpu_time": 60.0}}, is_command=False) is one
    assert policy({"limits": {}}, is_command=False) is one


CEILINGS = """
[limits.max]
memory = "1GiB"
cpu_time = 60
processes = 10
open_files = 100
nice = 5
timeout = "1h"
kill_grace = 5
priority = 5
"""


def test_what_nobody_set_is_as_much_as_is_allowed(config) -> None:
    policy = config(CEILINGS).policy({}, is_command=False)
    everything = Limits(memory=GIB, cpu_time=60.0, processes=10, open_files=100, nice=5)
    assert policy.limits == everything
    assert (policy.timeout, policy.kill_grace, policy.priority) == (3600.0, 5.0, 1)


def test_what_somebody_set_within_the_ceilings_stays(config, limits) -> None:
    below = "[defaults]\ntimeout = 60\nkill_grace = 1\npriority = 3\n[limits.default]\nmemory = "
    policy = config(f"{CEILINGS}{below}'1MiB'").policy(
        {"limits": {"nice": 19, "processes": 10}}, is_command=True
    )
    assert policy.limits == Limits(
        memory=1 << 20, cpu_time=60.0, processes=10, open_files=100, nice=19
    )
    assert (policy.timeout, policy.kill_grace, policy.priority) == (60.0, 1.0, 3)


@pytest.mark.parametrize("least", [-5, 0])
def test_a_least_nice_value_that_the_daemons_own_is_not_below_changes_nothing(
    limits, least: int
) -> None:
    assert limits(f"[limits.max]\nnice = {least}").nice is None


def test_nobody_gets_more_open_files_than_the_host_allows(limits) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert limits(f"[limits.max]\nopen_files = {hard + 1}").open_files == hard


@pytest.mark.parametrize(
    ("fields", "field", "most"),
    [
        ({"limits": {"memory": GIB + 1}}, "limits.memory", "at most 1073741824 bytes"),
        ({"limits": {"memory": None}}, "limits.memory", "at most 1073741824 bytes"),
        ({"limits": {"cpu_time": 60.5}}, "limits.cpu_time", "at most 60 s"),
        ({"limits": {"processes": 11}}, "limits.processes", "at most 10"),
        ({"limits": {"open_files": 101}}, "limits.open_files", "at most 100"),
        ({"limits": {"nice": 4}}, "limits.nice", "at least 5"),
        ({"limits": {"nice": None}}, "limits.nice", "at least 5"),
        ({"timeout": 3601}, "timeout", "at most 3600 s"),
        ({"timeout": None}, "timeout", "at most 3600 s"),
        ({"kill_grace": 6}, "kill_grace", "at most 5 s"),
        ({"priority": 6}, "priority", "at most 5"),
    ],
)
def test_what_goes_beyond_a_ceiling_is_told_with_the_most_that_is_allowed(
    config, fields: dict[str, Any], field: str, most: str
) -> None:
    [(told, fault)] = config(CEILINGS).ceilings.faults(fields)
    assert told == field
    assert most in fault


def test_what_keeps_within_the_ceilings_has_no_fault(config) -> None:
    within = {
        "limits": {"memory": GIB, "cpu_time": 60, "processes": 10, "open_files": 100, "nice": 5},
        "timeout": 3600, "kill_grace": 5, "priority": 5, "label": "x",
    }  # fmt: skip
    assert list(config(CEILINGS).ceilings.faults(within)) == []
    assert list(config(CEILINGS).ceilings.faults({})) == []
    everything = {"limits": {"memory": None, "nice": -20}, "timeout": None, "priority": 10}
    assert list(config("").ceilings.faults(everything)) == []


def test_the_config_as_it_holds_shows_what_a_job_gets(config) -> None:
    text = CEILINGS + '[limits.default]\nmemory = "2MiB"\n[queues.mail.limits]\nnice = 6'
    resolved = config(text).resolved()
    assert resolved["limits"]["default"] == {
        "memory": 2 << 20, "cpu_time": 60.0, "processes": 10, "open_files": 100, "nice": 5,
    }  # fmt: skip
    assert (resolved["defaults"]["timeout"], resolved["defaults"]["kill_grace"]) == (3600.0, 5.0)
    assert resolved["limits"]["max"]["timeout"] == 3600.0
    assert resolved["queues"]["mail"]["limits"] == {"nice": 6}


def test_a_reload_tells_the_keys_that_were_changed_and_no_others(config) -> None:
    old: Config = config("[limits.max]\nmemory = '1GiB'")
    new = config(
        "[limits.max]\ntimeout = 60\n[limits.default]\nnice = 3\n[queues.q.limits]\nnice = 4\n"
        "[output]\nmax_bytes = '1MiB'\n[python]\npreload = ['json']\n"
        "[defaults]\nsuccess_codes = [3]"
    )
    assert changes(old, new) == ([
        "defaults.success_codes", "limits.default.nice", "limits.max.memory", "limits.max.timeout",
        "output.max_bytes", "python.preload", "queues.q.limits.nice",
    ], [])  # fmt: skip
