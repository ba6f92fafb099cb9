"""What a submission may say: every field, and every way to get it wrong."""

import json
import os

import pytest

from jobd.core.fields import FIELDS
from jobd.core.job import Policy
from jobd.rpc.documents import document

pytestmark = pytest.mark.anyio

TARGET = {"target": "app.jobs:rebuild"}
COMMAND = {"command": ["/bin/true"]}
LONG = "x" * 256

# Of each field: values that are taken, and values that are refused.
FIELD_VALUES = {
    "target": (
        ["app.jobs:rebuild", "app.jobs.rebuild", "app.jobs:Größe"],
        [
            "",
            "app",
            ":a",
            "a:",
            "a:b:c",
            "a:b.c",
            "a b:c",
            "a..b:c",
            "a:1",
            "1a:b",
            "a:b\0",
            1,
            None,
            ["a:b"],
            "a.b.",
            ".a:b",
            "a:b ",
            "a:b()",
        ],
    ),
    "method": (["handle", None], ["", "a b", "a.b", "1", "a\0", 1, False]),
    "args": ([[], [1, "a", None, {"a": [1.5]}], ["a\0b"]], [{}, "a", 1, None]),
    "kwargs": ([{}, {"any key": 1}], [[], "a", None]),
    "command": (
        [["/bin/true"], ["true"], ["/bin/echo", "", "a b", "é"]],
        [
            [],
            [""],
            "true",
            [1],
            ["/bin/true", 1],
            ["/bin/true", "a\0"],
            ["bin/true"],
            ["./x"],
            None,
            [None],
            [["/bin/true"]],
        ],
    ),
    "queue": (["default", "a.b-c_D9", "q" * 64], ["", "q" * 65, "a b", "a/b", "a\n", "é", 1, None]),
    "priority": ([1, 10], [0, 11, 5.0, True, "5", None, -1]),
    "delay": ([0, 1.5, 3155760000], [-1, -0.1, 3155760001, "5", True, None, [1]]),
    "run_at": (
        ["2030-01-01T00:00:00Z", "2030-01-01T00:00:00.5+02:00", "1999-12-31T23:59:59-05:00"],
        [
            "2030-01-01T00:00:00",
            "2030-01-01",
            "tomorrow",
            "2030-13-01T00:00:00Z",
            # Beyond the years that can be told, by their offset or by a float's rounding.
            "9999-12-31T23:59:59-23:59",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59.999999Z",
            1893456000,
            None,
            "2030-01-01T00:00:00Z\0",
        ],
    ),
    "retry_attempts": ([0, 1000], [-1, 1001, 1.0, True, "1", None]),
    "retry_delay": ([0, 0.5, 10], [-1, 3155760001, "1", None]),
    "backoff": (
        ["fixed", "linear", "exponential", [1, 2.5], [0]],
        ["cubic", "", [], [-1], ["1"], [True], [1, None], {}, 5, None, [3155760001]],
    ),
    "retry_max_delay": ([0, 60], [-1, 3155760001, "60", None]),
    "retry_jitter": ([0, 0.5, 1], [-0.1, 1.1, True, "0", None]),
    "timeout": ([0.1, 60, None], [0, -1, 3155760001, "60", True]),
    "kill_grace": ([0, 10], [-1, "1", None]),
    "stop_signal": (["SIGTERM", "SIGINT"], ["SIGNONE", "TERM", 15, None, ""]),
    "on_interrupt": (["retry", "fail"], ["again", None, 1]),
    "request_id": (["a", "x" * 255, None], [LONG, 1, {"a": 1}, "a\0"]),
    "label": (["nightly", None, "é" * 255], [LONG, 1, "a\0"]),
    "tags": ([[], ["a", "b"]], ["a", [1], [LONG], ["a\0"], None, {"a": 1}]),
    "env": (
        [{}, {"LANG": "C", "EMPTY": ""}],
        [{"": "a"}, {"A=B": "a"}, {"A\0": "a"}, {"A": "a\0"}, {"A": 1}, {"A": None}, ["A=B"], None],
    ),
    "cwd": (["/tmp", None], ["tmp", "", "./a", "/tmp\0", 1]),
    "idle_timeout": ([0.1, 60, None], [0, -1, 3155760001, "60", True]),
    "success_codes": (
        [[0], [0, 3, 255], [4294967295], [1] * 64],
        [[], [-1], [4294967296], [1.0], [True], ["0"], [None], [1] * 65, 0, "0", None, {"0": 1}],
    ),
    "no_retry_on": (
        [
            [],
            [2, "SIGSEGV", "ValueError", "KeyboardInterrupt", "IOError"],
            ["app.errors:Permanent", "app.errors.Permanent", "app.errors:Outer.Inner"],
            ["builtins:OfAnotherPython", "Größe:Ü"],
            ["E" * 244 + ":Permanent"],
        ],
        [
            "ValueError",
            ["SIGNONE"],
            ["sigterm"],
            ["ValueErrror"],
            ["len"],
            ["Permanent"],
            [""],
            ["a:b:c"],
            ["a:"],
            [":a"],
            ["a b:c"],
            ["a..b"],
            ["app.errors:Permanent\n"],
            ["app.errors:1"],
            ["E" * 256],
            [-1],
            [1.5],
            [True],
            [None],
            [["ValueError"]],
            [1] * 65,
            None,
            {},
        ],
    ),
    "limits": (
        [
            {},
            {"memory": 1 << 20, "cpu_time": 0.5, "processes": 1, "open_files": 16, "nice": -20},
            {"memory": None, "cpu_time": None, "processes": None, "open_files": None, "nice": 19},
        ],
        [
            {"memory": (1 << 20) - 1},
            {"memory": float(1 << 21)},
            {"memory": "64MiB"},
            {"memory": True},
            {"memory": 1 << 63},
            {"cpu_time": 0},
            {"cpu_time": "1"},
            {"cpu_time": 3155760001},
            {"cpu_time": True},
            {"processes": 0},
            {"open_files": 15},
            {"nice": -21},
            {"nice": 20},
            {"nice": 1.0},
            {"disk": 1},
            {"": None},
            [],
            1,
            None,
        ],
    ),
}
LATER = ["expires", "key", "if_exists", "after", "weight"]


def fields_of(name, value):
    if name == "target":
        return {"target": value}
    return {**(COMMAND if name in ("command", "success_codes") else TARGET), name: value}


def test_every_field_has_values_here():
    assert set(FIELD_VALUES) | set(LATER) == set(FIELDS)


@pytest.mark.parametrize("name", FIELD_VALUES)
async def test_a_field_takes_what_is_allowed(name, client):
    for value in FIELD_VALUES[name][0]:
        assert await client.call("submit", **fields_of(name, value))


@pytest.mark.parametrize("name", FIELD_VALUES)
async def test_a_field_refuses_all_else_and_is_named(name, client, world):
    for value in FIELD_VALUES[name][1]:
        error = await client.refusal("submit", fields_of(name, value), -32602)
        assert error["data"]["type"] == "invalid_params"
        [bad] = error["data"]["fields"]
        assert bad["field"] == name, value
        assert bad["message"]
    assert not len(world.engine.jobs)


@pytest.mark.parametrize("name", LATER)
async def test_a_later_field_is_refused_with_a_message_that_says_so(name, client):
    for value in (1, None, "a", []):
        error = await client.refusal("submit", {**TARGET, name: value}, -32602)
        [bad] = error["data"]["fields"]
        assert bad == {"field": name, "message": "comes in a later release"}


async def test_an_error_lists_every_bad_field(client):
    error = await client.refusal(
        "submit",
        {"target": 5, "priority": 11, "delay": "1", "weight": 2, "colour": "red", "run_at": "x"},
        -32602,
    )
    fields = [bad["field"] for bad in error["data"]["fields"]]
    assert sorted(fields) == ["colour", "delay", "priority", "run_at", "run_at", "target", "weight"]
    assert all(field in error["message"] for field in fields)


async def test_an_unknown_field_is_named_with_the_nearest_known_one(client):
    error = await client.refusal("submit", {**TARGET, "prioritty": 1}, -32602)
    [bad] = error["data"]["fields"]
    assert bad == {"field": "prioritty", "message": "unknown field; did you mean priority?"}


async def test_a_hundred_thousand_bad_fields_are_one_short_answer(client, world):
    world.max_request_bytes = 8 << 20
    answer = await client.refusal("submit", {f"x{n}": 1 for n in range(5_000)}, -32602)
    assert len(json.dumps(answer)) < 20_000


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {**TARGET, **COMMAND},
        {**COMMAND, "args": []},
        {**COMMAND, "kwargs": {}},
        {**COMMAND, "method": None},
        {**TARGET, "delay": 1, "run_at": "2030-01-01T00:00:00Z"},
        {**TARGET, "success_codes": [0]},
    ],
    ids=["neither", "both", "args", "kwargs", "method", "delay and run_at", "success_codes"],
)
async def test_fields_that_contradict_one_another_are_refused(fields, client):
    error = await client.refusal("submit", fields, -32602)
    assert len(error["data"]["fields"]) == 1


async def test_fields_are_given_by_name(client):
    assert await client.refusal("submit", ["app.jobs:rebuild"], -32602)


# What is stored.


def stored(world, id):
    return json.loads(world.engine.jobs.get(id).call)


async def test_a_target_is_stored_in_colon_form(client, world):
    id = await client.submit(target="app.jobs.rebuild")
    assert stored(world, id) == {"target": "app.jobs:rebuild", "method": None}


async def test_a_class_is_called_through_handle_unless_a_method_is_given(client, world):
    async def method(**fields):
        return stored(world, await client.submit(**fields))["method"]

    assert await method(target="app.jobs:Send") == "handle"
    assert await method(target="app.jobs:Send", method="again") == "again"
    assert await method(target="app.jobs:Send", method=None) is None
    assert await method(target="app.jobs:send") is None
    assert await method(target="app.jobs:Über") == "handle"


async def test_only_what_was_given_is_stored_and_never_the_request_id(client, world):
    id = await client.submit(command=["true"], label="x", request_id="r", priority=3)
    assert stored(world, id) == {"command": ["true"], "label": "x", "priority": 3}


async def test_the_policy_is_resolved_at_submission(client, world):
    id = await client.submit(command=["true"], backoff=[1, 2], timeout=5, queue="q")
    expected = Policy(retry_attempts=0, backoff=(1, 2), timeout=5.0, queue="q")
    assert world.engine.jobs.get(id).policy == expected


async def test_delay_and_run_at_say_when(client, world):
    delayed = await client.submit(**TARGET, delay=60)
    dated = await client.submit(**TARGET, run_at="2030-01-01T01:00:00+01:00")
    assert world.engine.jobs.get(delayed).run_at == world.moment.wall + 60
    assert world.engine.jobs.get(dated).run_at == 1893456000


async def test_who_submitted_it_is_what_the_kernel_says(client, world):
    id = await client.submit()
    assert world.engine.jobs.get(id).by == f"uid:{os.geteuid()}"


async def test_values_of_env_are_shown_to_nobody(client, world):
    id = await client.submit(**TARGET, env={"TOKEN": "hunter2"})
    shown = document(world.engine, world.engine.jobs.get(id), None)
    assert shown["env"] == ["TOKEN"]
    assert "hunter2" not in json.dumps(await client.call("status", id=id))
    assert "hunter2" not in json.dumps(await client.call("list"))


# The same again.


async def test_the_same_request_id_finds_the_same_job(client):
    first = await client.call("submit", **TARGET, request_id="r")
    again = await client.call("submit", target="app.jobs.rebuild", request_id="r")
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first["id"] == again["id"]


async def test_without_a_request_id_each_is_a_job_of_its_own(client):
    assert await client.submit() != await client.submit()


async def test_other_content_under_a_request_id_is_a_conflict(client):
    await client.call("submit", **TARGET, request_id="r")
    await client.refusal("submit", {**TARGET, "priority": 2, "request_id": "r"}, -32003)


# The allow-list.


async def test_what_is_not_allowed_is_refused_and_reported(client, world):
    error = await client.refusal("submit", {"target": "os:system", "args": ["id"]}, -32001)
    assert error["data"]["type"] == "unauthorized"
    [(peer, call, why)] = world.refusals
    assert peer.startswith("uid:")
    assert call == {"target": "os:system", "args": ["id"], "method": None}
    assert why == error["message"]
    assert not len(world.engine.jobs)


async def test_one_refused_job_refuses_the_whole_batch(client, world):
    jobs = [TARGET, {"target": "os:system"}]
    error = await client.refusal("submit_many", {"jobs": jobs}, -32001)
    assert error["message"].startswith("jobs.1: ")
    assert not len(world.engine.jobs)


async def test_env_that_the_list_forbids_is_refused(client):
    await client.refusal("submit", {**TARGET, "env": {"LD_PRELOAD": "x"}}, -32001)
