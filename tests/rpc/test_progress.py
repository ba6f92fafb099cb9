"""`progress`, and what a submission asks for beyond what it may."""

import pytest

pytestmark = pytest.mark.anyio

TARGET = {"target": "app.jobs:rebuild"}
COMMAND = {"command": ["/bin/true"]}


async def test_progress_is_shown_at_once_and_with_the_end(client, world):
    id = await client.submit()
    assert (await client.call("status", id=id))["progress"] is None
    assert await client.call("progress", id=id, fraction=0.25, message="row 1 of 4") == {}
    told = {"fraction": 0.25, "message": "row 1 of 4"}
    assert (await client.call("status", id=id))["progress"] == told
    assert (await client.call("list"))["jobs"][0]["progress"] == told
    assert (await client.call("wait", ids=[id], timeout=0))["jobs"][0]["progress"] == told

    await client.call("progress", id=id, fraction=1)
    world.finish(id, kind="exit", exit_code=1)
    shown = await client.call("status", id=id)
    assert shown["status"] == "pending_retry"
    assert shown["progress"] == {"fraction": 1.0, "message": None}
    world.advance(60)
    assert (await client.call("status", id=id))["progress"] is None
    world.finish(id)
    assert (await client.call("list"))["jobs"][0]["progress"] is None


async def test_an_id_may_be_as_short_as_elsewhere(client):
    id = await client.submit()
    assert await client.call("progress", id=id[:6], fraction=0.5, message=None) == {}
    assert (await client.call("status", id=id))["progress"]["fraction"] == 0.5


@pytest.mark.parametrize("fraction", [0, 1, 0.0, 1.0, 0.5, 1e-300])
async def test_a_fraction_is_a_number_from_0_to_1(client, fraction):
    await client.call("progress", id=await client.submit(), fraction=fraction)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"fraction": -0.1}, "fraction"),
        ({"fraction": 1.1}, "fraction"),
        ({"fraction": "0.5"}, "fraction"),
        ({"fraction": True}, "fraction"),
        ({"fraction": None}, "fraction"),
        ({}, "fraction"),
        ({"fraction": 0.5, "message": "x" * 256}, "message"),
        ({"fraction": 0.5, "message": 1}, "message"),
        ({"fraction": 0.5, "colour": "red"}, "colour"),
    ],
)
async def test_what_is_no_progress_is_refused(client, params, field):
    id = await client.submit()
    error = await client.refusal("progress", {"id": id, **params}, -32602)
    assert [bad["field"] for bad in error["data"]["fields"]] == [field]
    assert (await client.call("status", id=id))["progress"] is None


async def test_of_a_job_that_does_not_run_it_is_a_conflict(client, world):
    waiting = await client.submit(**TARGET, delay=60)
    ended = await client.submit()
    world.finish(ended)
    for id, status in ((waiting, "pending"), (ended, "completed")):
        error = await client.refusal("progress", {"id": id, "fraction": 0.5}, -32003)
        assert error["data"]["status"] == status
    await client.refusal("progress", {"id": "0" * 16, "fraction": 0.5}, -32002)


async def test_it_makes_neither_an_event_nor_a_record(client, world):
    id = await client.submit()
    await client.call("events")
    seq = world.engine.seq
    await client.call("progress", id=id, fraction=0.5)
    assert world.engine.seq == seq
    assert not client.notifications


# Ceilings and the platform.


async def test_what_goes_beyond_a_ceiling_is_named_with_every_other_bad_field(client, world):
    world.beyond = [("limits", "memory must be at most 1 GiB"), ("timeout", "must be at most 5")]
    given = {**TARGET, "limits": {"memory": 1 << 40}, "timeout": 9, "priority": 11}
    error = await client.refusal("submit", given, -32602)
    bad = {(each["field"], each["message"]) for each in error["data"]["fields"]}
    assert bad == {*world.beyond, ("priority", "must be at most 10")}
    assert not len(world.engine.jobs)


@pytest.mark.parametrize(("job", "is_command"), [(TARGET, False), (COMMAND, True)])
async def test_only_fields_without_a_fault_are_looked_at_for_ceilings(
    client, world, job, is_command
):
    given = {**job, "limits": {"memory": "much"}, "timeout": 9, "tags": ["a"]}
    await client.refusal("submit", given, -32602)
    assert world.asked_for == [({"timeout": 9}, is_command)]


async def test_in_a_batch_each_is_named_by_its_place(client, world):
    world.beyond = [("timeout", "must be at most 5")]
    jobs = [TARGET, {**TARGET, "timeout": 9}]
    error = await client.refusal("submit_many", {"jobs": jobs}, -32602)
    assert [each["field"] for each in error["data"]["fields"]] == ["jobs.1.timeout"]


# What is stored and shown.


async def test_the_new_fields_are_shown_as_they_are_stored(client):
    fields = {
        "idle_timeout": 30, "success_codes": [0, 3],
        "no_retry_on": [2, "SIGSEGV", "IOError", "app.errors.Permanent"],
        "limits": {"memory": 64 << 20, "cpu_time": 5, "nice": None},
    }  # fmt: skip
    id = await client.submit(**COMMAND, **fields)
    for shown in (await client.call("status", id=id), (await client.call("list"))["jobs"][0]):
        assert shown["idle_timeout"] == 30.0
        assert shown["success_codes"] == [0, 3]
        assert shown["no_retry_on"] == [2, "SIGSEGV", "OSError", "app.errors:Permanent"]
        assert shown["limits"] == {"memory": 64 << 20, "cpu_time": 5.0}
    usual = await client.call("status", id=await client.submit())
    assert (usual["idle_timeout"], usual["success_codes"]) == (None, [0])
    assert (usual["no_retry_on"], usual["limits"]) == ([], {})


async def test_every_wrong_limit_is_named(client):
    given = {**TARGET, "limits": {"memory": 1, "nice": 99, "process": 5, "cpu_time": 1}}
    error = await client.refusal("submit", given, -32602)
    assert {bad["field"]: bad["message"] for bad in error["data"]["fields"]} == {
        "limits.memory": "must be at least 1048576",
        "limits.nice": "must be at most 19",
        "limits.process": "unknown field; did you mean processes?",
    }
