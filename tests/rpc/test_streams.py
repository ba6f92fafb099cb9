"""What comes without being asked for again: `events`, and `logs` that follow."""

import pytest

from jobd.core.commands import AttemptNeverRan
from jobd.instants import rfc3339

pytestmark = pytest.mark.anyio

TARGET = {"target": "app.jobs:rebuild"}


async def follow(client, method="events", **params):
    """(id of the stream, its reply)"""
    id = client.send(method, params)
    return id, (await client.answer(id))["result"]


# events


async def test_events_answers_at_once_and_then_tells(client, world):
    stream, reply = await follow(client)
    assert reply == {"subscription": stream, "seq": 0}
    id = await client.submit()
    now = rfc3339(world.moment.wall)
    assert await client.notification() == {
        "subscription": stream, "seq": 1, "at": now, "type": "submitted", "id": id,
        "status": "pending", "attempt": 0, "queue": "default", "run_at": now,
    }  # fmt: skip
    assert await client.notification() == {
        "subscription": stream, "seq": 2, "at": now, "type": "started", "id": id,
        "status": "running", "attempt": 1, "queue": "default",
    }  # fmt: skip


async def test_each_kind_of_event_says_what_it_is_about(client, world):
    await follow(client)
    id = await client.submit(**TARGET, retry_attempts=1, retry_delay=5)
    world.finish(id, kind="exit", exit_code=3)
    world.advance(5)
    world.finish(id, kind="exit", exit_code=3)
    await client.call("retry", id=id)
    world.children_obey = False
    cancelled = client.send("cancel", {"id": id, "force": True})
    await client.call("ping")
    world.finish(id, kind="signal", signal="SIGKILL")
    await client.answer(cancelled)
    await client.call("remove", id=id)
    told = [await client.notification() for _ in range(11)]
    assert [(event["type"], event["status"], event["attempt"]) for event in told] == [
        ("submitted", "pending", 0),
        ("started", "running", 1),
        ("retried", "pending_retry", 1),
        ("started", "running", 2),
        ("failed", "failed", 2),
        ("retry_requested", "pending", 2),
        ("started", "running", 3),
        ("stop_requested", "running", 3),
        ("kill_requested", "running", 3),
        ("cancelled", "cancelled", 3),
        ("removed", None, 3),
    ]
    assert told[2]["run_at"] == rfc3339(world.moment.wall)
    assert told[2]["failure"] == told[4]["failure"] == {
        "kind": "exit", "message": "exited with code 3",
    }  # fmt: skip
    assert told[7]["why"] == "cancelled"
    assert [event["seq"] for event in told] == list(range(1, 12))


async def test_an_attempt_that_never_ran_or_was_interrupted_is_told_of(client, world):
    id = await client.submit()
    await follow(client)
    await world.execute(AttemptNeverRan(id, 1))
    world.finish(id, kind="interrupted", message="the host died")
    told = [await client.notification() for _ in range(3)]
    assert [(event["type"], event["status"], event["attempt"]) for event in told] == [
        ("never_ran", "pending", 1),
        ("started", "running", 2),
        ("interrupted", "pending_retry", 2),
    ]
    assert told[2]["failure"]["kind"] == "interrupted"


async def test_events_of_one_job_status_or_queue_only(client, world):
    first = await client.submit(**TARGET, queue="mail")
    by_id, _ = await follow(client, id=first[:8])
    by_status, _ = await follow(client, status=["completed", "failed"])
    by_queue, _ = await follow(client, queue="mail")
    second = await client.submit()
    world.finish(second)
    world.finish(first)
    told = [await client.notification() for _ in range(4)]
    assert sorted((event["subscription"], event["id"]) for event in told) == sorted(
        [(by_status, second), (by_id, first), (by_status, first), (by_queue, first)]
    )
    assert await client.call("ping")
    assert not client.notifications


async def test_events_since_come_first_and_none_twice(client, world):
    ids = [await client.submit() for _ in range(2)]
    stream, reply = await follow(client, since=1)
    assert reply["seq"] == 4
    world.finish(ids[0])
    told = [await client.notification() for _ in range(4)]
    assert [event["seq"] for event in told] == [2, 3, 4, 5]
    assert {event["subscription"] for event in told} == {stream}


async def test_events_that_are_held_no_longer_are_a_gap(client, world):
    for _ in range(2):
        await client.submit()
    world.hub._held.popleft()
    stream, _ = await follow(client, since=0)
    assert await client.notification() == {"subscription": stream, "gap": True}
    assert [(await client.notification())["seq"] for _ in range(3)] == [2, 3, 4]


async def test_many_events_that_are_held_come_in_order(client, world, connect):
    world.max_request_bytes = 1 << 20
    roomy = await connect()
    world.engine.rules = world.engine.rules.__class__(max_running=1, max_pending=5000)
    await roomy.call("submit_many", jobs=[{**TARGET, "delay": 60}] * 1800)
    await follow(roomy, since=0)
    await roomy.submit(**TARGET, delay=60)
    assert [(await roomy.notification())["seq"] for _ in range(1801)] == list(range(1, 1802))


async def test_a_subscription_is_the_id_of_its_request(client, connect):
    first = client.send("events", id="a")
    assert (await client.answer(first))["result"]["subscription"] == "a"
    again = client.send("events", id="a")
    assert (await client.answer(again))["error"]["code"] == -32003
    # 1 and "1" are two ids, and other connections have their own.
    assert (await client.answer(client.send("events", id=1)))["result"]
    assert (await client.answer(client.send("events", id="1")))["result"]
    assert (await (other := await connect()).answer(other.send("events", id="a")))["result"]


async def test_a_stream_needs_an_id(client):
    client.write(b'{"jsonrpc":"2.0","id":null,"method":"events"}\n')
    assert (await client.line())["error"]["code"] == -32600
    client.write(b'{"jsonrpc":"2.0","method":"events"}\n')
    await client.submit()
    assert not client.notifications


async def test_unsubscribe_ends_a_stream(client):
    stream, _ = await follow(client)
    assert await client.call("unsubscribe", subscription=stream) == {}
    await client.refusal("unsubscribe", {"subscription": stream}, -32002)
    await client.submit()
    assert not client.notifications
    assert (await client.answer(client.send("events", id=stream)))["result"]


@pytest.mark.parametrize("subscription", [None, True, [], {}])
async def test_unsubscribe_refuses_what_is_no_id(subscription, client):
    await client.refusal("unsubscribe", {"subscription": subscription}, -32602)


@pytest.mark.parametrize(
    ("params", "code"),
    [({"id": "0" * 16}, -32002), ({"since": -1}, -32602), ({"since": "1"}, -32602),
     ({"status": "gone"}, -32602), ({"queue": 1}, -32602), ({"id": 1}, -32602)],
)  # fmt: skip
async def test_events_refuses_bad_params_and_leaves_no_stream(params, code, client):
    asked = client.send("events", params, id="s")
    assert (await client.answer(asked))["error"]["code"] == code
    await client.refusal("unsubscribe", {"subscription": "s"}, -32002)


# logs


async def test_logs_shows_what_the_latest_attempt_wrote(client, world):
    id = await client.submit(**TARGET, retry_delay=0)
    world.outputs.write(id, 1, "first\n")
    world.finish(id, kind="exit", exit_code=1)
    world.advance(1)
    world.outputs.write(id, 2, "second\n")
    answer = {"attempt": 2, "data": "second\n", "offset": "7", "eof": False, "skipped": 0,
              "lossy": False}  # fmt: skip
    assert await client.call("logs", id=id) == answer  # it runs: there may be more
    world.finish(id)
    assert await client.call("logs", id=id) == {**answer, "eof": True}
    assert (await client.call("logs", id=id[:6], attempt=1))["data"] == "first\n"


async def test_logs_of_one_stream_in_pieces(client, world):
    id = await client.submit()
    world.outputs.write(id, 1, "abcdef", stream="stderr")
    first = await client.call("logs", id=id, stream="stderr", limit=4)
    assert (first["data"], first["offset"], first["eof"]) == ("abcd", 4, False)
    world.finish(id)
    rest = await client.call("logs", id=id, stream="stderr", offset=first["offset"])
    assert (rest["data"], rest["eof"]) == ("ef", True)
    assert (await client.call("logs", id=id, stream="stdout"))["data"] == ""


async def test_logs_of_the_last_lines(client, world):
    id = await client.submit()
    world.outputs.write(id, 1, "a\nb\nc\n")
    assert (await client.call("logs", id=id, tail=2))["data"] == "b\nc\n"
    assert (await client.call("logs", id=id, tail=0))["data"] == ""


async def test_logs_of_a_job_that_never_started_are_empty(client):
    id = await client.submit(**TARGET, delay=60)
    answer = await client.call("logs", id=id)
    assert (answer["attempt"], answer["data"], answer["eof"]) == (None, "", False)
    await client.call("cancel", id=id)
    assert (await client.call("logs", id=id))["eof"] is True


@pytest.mark.parametrize(
    "params",
    [{"attempt": 0}, {"attempt": "1"}, {"stream": "stdin"}, {"offset": -1}, {"offset": "x"},
     {"offset": 1.5}, {"offset": None}, {"tail": -1}, {"limit": 0}, {"limit": 1 << 21},
     {"follow": 1}, {"tail": 1, "offset": 1}],
)  # fmt: skip
async def test_logs_refuses_bad_params(params, client):
    error = await client.refusal("logs", {"id": await client.submit(), **params}, -32602)
    assert error["data"]["fields"][0]["field"] in params


async def test_logs_of_an_attempt_that_is_not_there_are_not_found(client, world):
    id = await client.submit()
    await client.refusal("logs", {"id": id, "attempt": 2}, -32002)
    world.outputs.written[id, 1, "both"] = None  # removed by retention
    error = await client.refusal("logs", {"id": id}, -32002)
    assert "removed" in error["message"]


async def test_following_logs_come_as_they_are_written_and_then_the_result(client, world):
    id = await client.submit()
    world.outputs.write(id, 1, "a\n")
    stream = client.send("logs", {"id": id, "follow": True})
    assert await client.notification() == {
        "subscription": stream, "id": id, "attempt": 1, "stream": "both", "data": "a\n",
        "offset": "2", "eof": True, "skipped": 0, "lossy": False,
    }  # fmt: skip
    world.outputs.write(id, 1, "b\n")
    assert (await client.notification())["data"] == "b\n"
    world.outputs.write(id, 1, "c\n")
    assert (await client.notification())["data"] == "c\n"
    world.finish(id)
    answer = (await client.answer(stream))["result"]
    assert (answer["attempt"], answer["data"], answer["eof"]) == (1, "", True)
    assert world.outputs.watches == 0


async def test_the_result_has_what_no_notification_carried(client, world):
    id = await client.submit()
    stream = client.send("logs", {"id": id, "follow": True, "limit": 4})
    await client.call("ping")
    await client.call("ping")
    world.outputs.written[id, 1, "both"] = "0123456789"
    world.finish(id)
    answer = (await client.answer(stream))["result"]
    told = [event["params"]["data"] for event in client.notifications]
    assert "".join(told) + answer["data"] == "0123456789"
    assert answer["data"]


async def test_following_goes_on_with_the_next_attempts(client, world):
    id = await client.submit(**TARGET, retry_delay=5, delay=1)
    stream = client.send("logs", {"id": id, "follow": True})
    await client.call("ping")
    world.advance(1)
    world.outputs.write(id, 1, "one")
    assert (await client.notification())["data"] == "one"
    world.finish(id, kind="exit", exit_code=1)
    world.advance(5)
    world.outputs.write(id, 2, "two")
    told = await client.notification()
    assert (told["attempt"], told["data"]) == (2, "two")
    world.finish(id)
    assert (await client.answer(stream))["result"]["attempt"] == 2


async def test_following_one_attempt_ends_with_it(client, world):
    id = await client.submit(**TARGET, retry_delay=5)
    stream = client.send("logs", {"id": id, "follow": True, "attempt": 1})
    await client.call("ping")
    world.finish(id, kind="exit", exit_code=1)
    assert (await client.answer(stream))["result"]["attempt"] == 1


async def test_following_a_job_that_is_cancelled_while_it_waits_ends(client):
    id = await client.submit(**TARGET, delay=60)
    stream = client.send("logs", {"id": id, "follow": True})
    await client.call("ping")
    await client.call("cancel", id=id)
    assert (await client.answer(stream))["result"]["attempt"] is None


async def test_unsubscribe_ends_following_with_a_result(client):
    id = await client.submit()
    stream = client.send("logs", {"id": id, "follow": True})
    await client.call("ping")
    await client.call("unsubscribe", subscription=stream)
    assert (await client.answer(stream))["result"]["data"] == ""
