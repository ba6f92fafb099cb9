"""Methods that answer when jobs have ended: `wait`, `cancel`, `drain`."""

import asyncio

import pytest

from jobd.core.decision import Kill, Stop
from jobd.rpc.params import MANY_MAX

pytestmark = pytest.mark.anyio

TARGET = {"target": "app.jobs:rebuild"}


async def pending(client, id):
    """Certain that the request with that id is under way and not answered: later ones are."""
    await client.call("ping")
    await client.call("ping")
    assert id not in client._answers


# wait


async def test_wait_answers_at_once_for_a_job_that_is_final(client, world):
    id = await client.submit()
    world.finish(id, result=b"5")
    answer = await client.call("wait", ids=[id])
    assert answer == {"jobs": [await client.call("status", id=id)], "timed_out": False}


async def test_wait_answers_when_the_job_ends(client, world):
    id = await client.submit()
    asked = client.send("wait", {"ids": [id]})
    await pending(client, asked)
    world.finish(id)
    result = (await client.answer(asked))["result"]
    assert result["jobs"][0]["status"] == "completed"


async def test_wait_for_all_keeps_the_order_of_ids(client, world):
    ids = [await client.submit() for _ in range(2)]
    asked = client.send("wait", {"ids": [ids[1], ids[0], ids[1][:8]]})
    world.finish(ids[0])
    await pending(client, asked)
    world.finish(ids[1])
    result = (await client.answer(asked))["result"]
    assert [job["id"] for job in result["jobs"]] == [ids[1], ids[0], ids[1]]


async def test_wait_for_any_answers_with_all_of_them(client, world):
    ids = [await client.submit() for _ in range(2)]
    asked = client.send("wait", {"ids": ids, "any": True})
    await pending(client, asked)
    world.finish(ids[1])
    result = (await client.answer(asked))["result"]
    assert [job["status"] for job in result["jobs"]] == ["running", "completed"]
    assert result["timed_out"] is False


async def test_wait_counts_a_job_that_was_found_final_and_then_retried(client, world):
    ids = [await client.submit(**TARGET, retry_attempts=0) for _ in range(2)]
    asked = client.send("wait", {"ids": ids})
    await pending(client, asked)
    world.finish(ids[0])
    await client.call("retry", id=ids[0], delay=60)
    await pending(client, asked)
    world.finish(ids[1])
    result = (await client.answer(asked))["result"]
    assert [job["status"] for job in result["jobs"]] == ["pending", "completed"]


async def test_wait_goes_on_through_retries(client, world):
    id = await client.submit(**TARGET, retry_attempts=1, retry_delay=0)
    asked = client.send("wait", {"ids": [id]})
    await pending(client, asked)
    world.finish(id, kind="exit", exit_code=1)
    await pending(client, asked)
    world.advance(1)
    world.finish(id, kind="exit", exit_code=1)
    assert (await client.answer(asked))["result"]["jobs"][0]["status"] == "failed"


async def test_wait_with_timeout_0_asks_once(client):
    id = await client.submit()
    answer = await client.call("wait", ids=[id], timeout=0)
    assert answer["timed_out"] is True
    assert answer["jobs"][0]["status"] == "running"


async def test_wait_answers_after_its_timeout(client):
    answer = await client.call("wait", ids=[await client.submit()], timeout=0.01)
    assert answer["timed_out"] is True


async def test_wait_for_an_unknown_job_is_not_found_for_the_whole(client):
    id = await client.submit()
    await client.refusal("wait", {"ids": [id, "0" * 16]}, -32002)


async def test_wait_for_a_job_that_is_removed_meanwhile_is_not_found(client, world):
    ids = [await client.submit() for _ in range(2)]
    world.finish(ids[0])
    asked = client.send("wait", {"ids": ids})
    await pending(client, asked)
    await client.call("remove", id=ids[0])
    assert (await client.answer(asked))["error"]["code"] == -32002


@pytest.mark.parametrize(
    "params",
    [{"ids": []}, {"ids": "a"}, {}, {"ids": ["a"], "timeout": -1}, {"ids": ["a"], "timeout": "1"},
     {"ids": ["a"], "any": 1}, {"ids": ["a" * 16] * (MANY_MAX + 1)}],
)  # fmt: skip
async def test_wait_refuses_bad_params(params, world, connect):
    world.max_request_bytes = 1 << 20
    await (await connect()).refusal("wait", params, -32602)


async def test_nothing_is_left_subscribed(client, world, connect, eventually):
    other = await connect()
    id = await client.submit()
    for method, params in (("wait", {"ids": [id]}), ("events", {"id": id}), ("drain", {})):
        other.send(method, params)
    other.send("logs", {"id": id, "follow": True})
    await eventually(lambda: len(world.hub._of_job.get(id, ())) == 3 and world.hub._of_all)
    await other.aclose()
    await eventually(lambda: not world.hub._of_job and not world.hub._of_all)
    assert world.outputs.watches == 0


# cancel


async def test_cancel_ends_a_job_that_waits(client):
    id = await client.submit(**TARGET, delay=60)
    assert await client.call("cancel", id=id) == {"id": id, "status": "cancelled"}


async def test_cancel_answers_when_the_job_has_ended(client, world):
    world.children_obey = False
    id = await client.submit()
    asked = client.send("cancel", {"id": id[:6]})
    await pending(client, asked)
    assert [e for e in world.effects if isinstance(e, Stop)] == [Stop(id, 1, "SIGTERM")]
    world.finish(id, kind="signal", signal="SIGTERM")
    assert (await client.answer(asked))["result"] == {"id": id, "status": "cancelled"}


async def test_an_end_that_overtakes_the_answer_to_cancel_is_what_it_tells(client, world):
    world.children_obey = False
    id = await client.submit()
    execute = world.execute

    async def slowly(command):
        status = await execute(command)
        world.finish(id, kind="signal", signal="SIGTERM")  # before its caller is woken
        return status

    world.execute = slowly
    assert await client.call("cancel", id=id) == {"id": id, "status": "cancelled"}


async def test_a_second_cancel_joins_and_with_force_it_kills(client, world):
    world.children_obey = False
    id = await client.submit()
    first = client.send("cancel", {"id": id})
    second = client.send("cancel", {"id": id})
    await pending(client, second)
    assert not any(isinstance(effect, Kill) for effect in world.effects)
    third = client.send("cancel", {"id": id, "force": True})
    await pending(client, third)
    assert any(isinstance(effect, Kill) for effect in world.effects)
    world.finish(id, kind="signal", signal="SIGKILL")
    for asked in (first, second, third):
        assert (await client.answer(asked))["result"]["status"] == "cancelled"


async def test_cancel_after_the_end_is_a_conflict(client, world):
    id = await client.submit()
    world.finish(id)
    error = await client.refusal("cancel", {"id": id}, -32003)
    assert error["data"] == {"type": "conflict", "status": "completed"}


async def test_cancel_of_an_unknown_job_is_not_found(client):
    await client.refusal("cancel", {"id": "0" * 16}, -32002)
    await client.refusal("cancel", {"id": "0" * 16, "force": "yes"}, -32602)


# drain


async def test_drain_answers_when_nothing_runs(client, world):
    first, second = await client.submit(), await client.submit()
    waiting = await client.submit()
    asked = client.send("drain")
    await pending(client, asked)
    world.finish(first)
    await pending(client, asked)
    world.finish(second)
    assert (await client.answer(asked))["result"] == {"running": 0}
    assert (await client.call("status", id=waiting))["status"] == "pending"


async def test_drain_answers_after_its_timeout_and_still_stores_submissions(client):
    await client.submit()
    assert await client.call("drain", timeout=0.01) == {"running": 1}
    id = await client.submit()
    assert (await client.call("status", id=id))["status"] == "pending"


async def test_drain_off_starts_jobs_again(client):
    assert await client.call("drain") == {"running": 0}
    id = await client.submit()
    assert await client.call("drain", off=True) == {"running": 1}
    assert (await client.call("status", id=id))["status"] == "running"


@pytest.mark.parametrize("params", [{"timeout": -1}, {"timeout": "1"}, {"off": 1}])
async def test_drain_refuses_bad_params(params, client):
    await client.refusal("drain", params, -32602)


# The end of the daemon.


async def test_who_waits_when_the_daemon_stops_is_told_to_ask_again(client, world, connect):
    id = await client.submit()
    world.children_obey = False
    asked = [
        client.send("wait", {"ids": [id]}),
        client.send("cancel", {"id": id}),
        client.send("logs", {"id": id, "follow": True}),
        client.send("drain"),
    ]
    await pending(client, asked[0])
    stop = asyncio.ensure_future(connect.server.aclose())
    for each in asked:
        assert (await client.answer(each))["error"]["code"] == -32005
    assert await client.line() is None
    await stop
