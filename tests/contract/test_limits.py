"""[limits] of the config: defaults and ceilings, as a submitter meets them."""

from __future__ import annotations

import resource
import tomllib

import pytest
from outside.installation import Installation

covers = pytest.mark.covers

MIB = 1 << 20


def resolved(installation: Installation) -> dict:
    """As `jobd check` prints it."""
    ran = installation.jobd("check", "--config", str(installation.config_path))
    assert ran.code == 0, ran
    return tomllib.loads(ran.out)


@covers(
    "config:limits.default.memory", "config:limits.default.cpu_time",
    "config:limits.default.processes", "config:limits.default.open_files",
    "config:limits.default.nice", "config:queues.limits.memory", "config:queues.limits.cpu_time",
    "config:queues.limits.processes", "config:queues.limits.open_files",
    "config:queues.limits.nice", "field:limits",
)  # fmt: skip
def test_each_limit_is_the_submissions_else_the_queues_else_the_default(jobd):
    default = {
        "memory": "256MiB", "cpu_time": "1m", "processes": 20, "open_files": 64, "nice": 1,
    }  # fmt: skip
    of_queue = {
        "memory": "512MiB", "cpu_time": 30, "processes": 30, "open_files": 128, "nice": 2,
    }  # fmt: skip
    d = jobd({
        "limits": {"default": default},
        "queues": {"all": {"limits": of_queue}, "one": {"limits": {"nice": 3}}},
    })  # fmt: skip
    true = {"command": ["/bin/true"], "delay": 3600}
    held = {"memory": 256 * MIB, "cpu_time": 60, "processes": 20, "open_files": 64, "nice": 1}
    assert d.status(d.submit(**true))["limits"] == held
    assert d.status(d.submit(**true, queue="one"))["limits"] == held | {"nice": 3}
    all_of_queue = of_queue | {"memory": 512 * MIB}
    assert d.status(d.submit(**true, queue="all"))["limits"] == all_of_queue
    asked = d.submit(**true, queue="one", limits={"memory": 300 * MIB, "processes": None})
    told = held | {"nice": 3, "memory": 300 * MIB}
    del told["processes"]
    assert d.status(asked)["limits"] == told


CEILINGS = {
    "memory": "256MiB", "cpu_time": "1m", "processes": 20, "open_files": 64, "nice": 5,
    "timeout": "1h", "kill_grace": 7, "priority": 4,
}  # fmt: skip
CEILING = [
    pytest.param("memory", 256 * MIB, 256 * MIB + 1, marks=covers("config:limits.max.memory")),
    pytest.param("cpu_time", 60, 60.5, marks=covers("config:limits.max.cpu_time")),
    pytest.param("processes", 20, 21, marks=covers("config:limits.max.processes")),
    pytest.param("open_files", 64, 65, marks=covers("config:limits.max.open_files")),
    pytest.param("nice", 5, 4, marks=covers("config:limits.max.nice")),
    pytest.param("timeout", 3600, 3601, marks=covers("config:limits.max.timeout")),
    pytest.param("kill_grace", 7, 8, marks=covers("config:limits.max.kill_grace")),
    pytest.param("priority", 4, 5, marks=covers("config:limits.max.priority")),
]


@pytest.fixture(scope="module")
def bounded():
    """A daemon with a ceiling over everything that can have one."""
    d = Installation({"limits": {"max": CEILINGS}})
    yield d.start()
    d.close()


def asking(name: str, value: object) -> tuple[str, dict]:
    """The field's name in an error, and a submission with that value."""
    if name in ("timeout", "kill_grace", "priority"):
        return name, {name: value}
    return f"limits.{name}", {"limits": {name: value}}


@pytest.mark.parametrize(("name", "most", "more"), CEILING)
def test_no_submitter_passes_a_ceiling(bounded, name, most, more):
    field, asked = asking(name, more)
    refused = bounded.refusal("submit", command=["/bin/true"], **asked)
    assert refused.code == -32602
    [fault] = refused.data["fields"]
    assert fault["field"] == field
    assert str(most) in fault["message"]
    _, asked = asking(name, most)
    bounded.submit(command=["/bin/true"], delay=3600, **asked)


@pytest.mark.parametrize(("name", "most", "more"), CEILING)
def test_what_nobody_set_keeps_within_its_ceiling(bounded, name, most, more):
    document = bounded.status(bounded.submit(command=["/bin/true"], delay=3600))
    holds = document["limits"].get(name, document.get(name))
    assert holds == (1 if name == "priority" else most)


@pytest.mark.parametrize("name", ["memory", "cpu_time", "processes", "open_files", "timeout"])
def test_none_at_all_is_refused_where_there_is_a_ceiling(bounded, name):
    field, asked = asking(name, None)
    refused = bounded.refusal("submit", command=["/bin/true"], **asked)
    assert (refused.code, refused.fields) == (-32602, {field})


def test_every_ceiling_that_is_passed_is_named_with_every_other_fault(bounded):
    refused = bounded.refusal(
        "submit", command=["/bin/true"], priority=9, timeout=None, retry_delay=-1,
        limits={"memory": 1 << 40, "nice": 0, "processes": 3},
    )  # fmt: skip
    assert refused.fields == {"priority", "timeout", "retry_delay", "limits.memory", "limits.nice"}


def test_in_a_batch_the_job_is_named_too(bounded):
    refused = bounded.refusal(
        "submit_many",
        jobs=[{"command": ["/bin/true"]}, {"command": ["/bin/true"], "priority": 9}],
    )
    assert refused.fields == {"jobs.1.priority"}


def test_a_config_beyond_its_own_ceilings_is_none(installation):
    d = installation({
        "limits": {"max": CEILINGS, "default": {"memory": "1GiB"}}, "defaults": {"timeout": "2h"},
        "queues": {"mail": {"priority": 9, "limits": {"nice": 0}}},
    })  # fmt: skip
    ran = d.jobd("check", "--config", str(d.config_path))
    assert (ran.code, ran.out) == (100, "")
    for key in ("limits.default.memory", "defaults.timeout", "queues.mail.priority",
                "queues.mail.limits.nice"):  # fmt: skip
        assert key in ran.err


def test_the_config_as_resolved_shows_what_a_job_gets(installation):
    d = installation({"limits": {"max": CEILINGS, "default": {"processes": 3}}})
    shown = resolved(d)
    assert shown["limits"]["default"] == {
        "memory": 256 * MIB, "cpu_time": 60, "processes": 3, "open_files": 64, "nice": 5,
    }  # fmt: skip
    assert (shown["defaults"]["timeout"], shown["defaults"]["kill_grace"]) == (3600, 7)


def test_unknown_keys_of_limits_are_named_with_the_nearest(installation):
    d = installation({"limits": {"max": {"memry": 1}, "defaults": {}}, "defaults": {"limits": {}}})
    ran = d.jobd("check", "--config", str(d.config_path))
    assert ran.code == 100
    for said in ("limits.max.memry", "did you mean memory", "limits.defaults",
                 "did you mean default?", "[limits.default]"):  # fmt: skip
        assert said in ran.err


def test_a_reload_changes_what_later_submissions_get_and_no_earlier_ones(jobd):
    d = jobd()
    before = d.submit(command=["/bin/true"], delay=3600)
    d.write_config({
        "limits": {"max": {"memory": "64MiB", "timeout": 60}}, "output": {"max_bytes": "1MiB"},
    })  # fmt: skip
    changed = ["limits.max.memory", "limits.max.timeout", "output.max_bytes"]
    assert d.call("reload") == {"changed": changed, "restart": []}
    after = d.status(d.submit(command=["/bin/true"], delay=3600))
    assert (after["limits"], after["timeout"]) == ({"memory": 64 * MIB}, 60)
    earlier = d.status(before)
    assert (earlier["limits"], earlier["timeout"]) == ({}, None)
    refused = d.refusal("submit", command=["/bin/true"], limits={"memory": 65 * MIB})
    assert refused.fields == {"limits.memory"}


@covers("field:limits")
def test_more_open_files_than_the_host_allows_are_refused(jobd):
    d = jobd()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    refused = d.refusal("submit", command=["/bin/true"], limits={"open_files": hard + 1})
    assert refused.fields == {"limits.open_files"}
    assert str(hard) in refused.data["fields"][0]["message"]


@covers("config:output.max_bytes")
def test_the_bound_of_output_is_shown_and_may_be_written_as_a_size(installation):
    assert resolved(installation())["output"]["max_bytes"] == 1 << 30
    assert resolved(installation({"output": {"max_bytes": "64KiB"}}))["output"] == {
        "max_bytes": 65536
    }
