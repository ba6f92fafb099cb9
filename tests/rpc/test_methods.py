"""Each method as a client sees it, through a real socket."""

import json

import pytest

from jobd.core.commands import Submission, Submit
from jobd.core.fields import FIELDS
from jobd.core.job import Policy
from jobd.errors import CannotStart, ConfigError, Draining, StorageError
from jobd.instants import rfc3339
from jobd.rpc.methods import COMING, METHODS

pytestmark = pytest.mark.anyio

NOBODY = "0" * 16
TARGET = {"target": "app.jobs:rebuild"}


async def test_submit_answers_with_id_status_and_duplicate(client, world):
    answer = await client.call("submit", **TARGET)
    assert answer == {"id": answer["id"], "status": "pending", "duplicate": False}
    assert len(answer["id"]) == 16
    assert world.engine.jobs.get(answer["id"])


async def test_submit_many_answers_in_order(client):
    jobs = [{**TARGET, "request_id": name} for name in "abca"]
    answer = (await client.call("submit_many", jobs=jobs))["jobs"]
    ids = [job["id"] for job in answer]
    assert ids[0] == ids[3]
    assert len(set(ids)) == 3
    assert [job["duplicate"] for job in answer] == [False, False, False, True]


async def test_submit_many_stores_nothing_if_one_is_bad_and_names_each_bad_field(client, world):
    jobs = [TARGET, {**TARGET, "priority": 11, "delay": -1}, TARGET, {}]
    error = await client.refusal("submit_many", {"jobs": jobs}, -32602)
    bad = [bad["field"] for bad in error["data"]["fields"]]
    assert bad == ["jobs.1.priority", "jobs.1.delay", "jobs.3.target"]
    assert not len(world.engine.jobs)


async def test_submit_many_of_none_is_fine(client):
    assert await client.call("submit_many", jobs=[]) == {"jobs": []}


async def test_submit_many_takes_ten_thousand_and_no_more(client, world, connect):
    world.max_request_bytes = 8 << 20
    world.engine.rules = world.engine.rules.__class__(max_running=1, max_pending=20_000)
    roomy = await connect()
    answer = await roomy.call("submit_many", jobs=[TARGET] * 10_000)
    assert len({job["id"] for job in answer["jobs"]}) == 10_000
    await roomy.refusal("submit_many", {"jobs": [TARGET] * 10_001}, -32602)


@pytest.mark.parametrize("jobs", [None, {}, "a", 5])
async def test_submit_many_needs_an_array(jobs, client):
    await client.refusal("submit_many", {"jobs": jobs}, -32602)


@pytest.mark.parametrize("job", [None, [], "a", 5])
async def test_submit_many_needs_objects_in_it(job, client):
    error = await client.refusal("submit_many", {"jobs": [job]}, -32602)
    assert error["data"]["fields"][0]["field"] == "jobs.0.params"


# status


async def test_status_of_a_job_that_waits(client, world):
    id = await client.submit(**TARGET, args=[1], delay=60, tags=["a"])
    shown = await client.call("status", id=id)
    now = world.moment.wall
    assert shown["status"] == "pending"
    assert shown["submitted_at"] == rfc3339(now)
    assert shown["run_at"] == rfc3339(now + 60)
    assert shown["started_at"] is shown["finished_at"] is shown["stopping"] is None
    assert shown["attempt"] == 0
    assert shown["retries_left"] == 3
    assert shown["attempts"] == []
    assert shown["result"] is shown["failure"] is shown["progress"] is None
    assert (shown["args"], shown["delay"], shown["tags"]) == ([1], 60, ["a"])


async def test_status_shows_every_field_that_is_not_for_later(client):
    shown = await client.call("status", id=await client.submit())
    expected = {name for name, field in FIELDS.items() if not field.later} - {"request_id"}
    own = {
        "id", "status", "stopping", "submitted_at", "submitted_by", "started_at", "finished_at",
        "attempt", "retries_left", "progress", "result", "failure", "attempts",
    }  # fmt: skip
    assert set(shown) == expected | own


async def test_status_of_a_running_job_shows_its_attempt_with_its_pid(client):
    id = await client.submit()
    shown = await client.call("status", id=id)
    assert shown["status"] == "running"
    [attempt] = shown["attempts"]
    assert (attempt["attempt"], attempt["pid"]) == (1, 4711)
    assert attempt["finished_at"] is attempt["outcome"] is None


async def test_status_of_a_completed_job_shows_its_result(client, world):
    id = await client.submit()
    world.finish(id, result=b'{"sum":5}', cpu_time=0.5, max_rss=1000, exit_code=0)
    shown = await client.call("status", id=id)
    assert (shown["status"], shown["result"]) == ("completed", {"sum": 5})
    assert shown["finished_at"] == rfc3339(world.moment.wall)
    assert shown["attempts"] == [
        {
            "attempt": 1, "pid": 77, "started_at": rfc3339(world.moment.wall),
            "finished_at": rfc3339(world.moment.wall), "outcome": "completed", "exit_code": 0,
            "signal": None, "cpu_time": 0.5, "max_rss": 1000, "failure": None,
        }
    ]  # fmt: skip


async def test_status_of_a_failed_job_shows_why(client, world):
    id = await client.submit(**TARGET, retry_attempts=0)
    world.finish(id, kind="exception", message="ValueError: no", traceback="Traceback…")
    shown = await client.call("status", id=id)
    failure = {
        "kind": "exception", "message": "ValueError: no", "exit_code": None, "signal": None,
        "traceback": "Traceback…",
    }  # fmt: skip
    assert (shown["status"], shown["failure"]) == ("failed", failure)
    assert shown["attempts"][0]["failure"] == failure


async def test_status_says_why_a_job_is_being_stopped(client, world):
    world.children_obey = False
    id = await client.submit(**TARGET, timeout=5)
    world.advance(6)
    assert (await client.call("status", id=id))["stopping"] == "timeout"


# Ids.


async def test_four_characters_of_an_id_will_do(client):
    id = await client.submit()
    for length in (4, 8, 12, 13, 16):
        assert (await client.call("status", id=id[:length]))["id"] == id


@pytest.mark.parametrize("id", ["", "abc", NOBODY, "zzzz", "x" * 17, "x" * 5000, "a\0bc", "ÄÖÜß"])
async def test_an_unknown_id_is_not_found(id, client):
    error = await client.refusal("status", {"id": id}, -32002)
    assert error["data"]["type"] == "not_found"
    assert len(error["message"]) < 200


@pytest.mark.parametrize("id", [None, 5, {}, [], True, {"$ne": 1}])
async def test_an_id_that_is_no_string_is_invalid(id, client):
    for method in ("status", "cancel", "retry", "remove", "logs"):
        await client.refusal(method, {"id": id}, -32602)
    await client.refusal("wait", {"ids": [id]}, -32602)


async def test_an_ambiguous_prefix_names_the_candidates(client, world):
    stems = [f"abcd{n:08d}" for n in range(12)]
    calls = [Submission(stem=s, by="uid:0", call=b"{}", policy=Policy(), delay_s=9) for s in stems]
    ids = {submittal.id for submittal in await world.execute(Submit(tuple(calls)))}
    error = await client.refusal("status", {"id": "abcd"}, -32002)
    candidates = error["data"]["candidates"]
    assert len(candidates) == 10
    assert set(candidates) < ids
    for method, params in (("cancel", {"id": "abcd"}), ("wait", {"ids": ["abcd"], "timeout": 0})):
        assert (await client.refusal(method, params, -32002))["data"]["candidates"]
    assert (await client.call("status", id=stems[3]))["id"] in ids


# list


async def test_list_shows_the_newest_first_without_what_is_large(client, world):
    ids = [await client.submit(**TARGET, kwargs={"a": 1}, env={"A": "b"}) for _ in range(3)]
    answer = await client.call("list")
    assert [job["id"] for job in answer["jobs"]] == ids[::-1]
    assert answer["cursor"] is None
    whole = await client.call("status", id=ids[0])
    assert set(answer["jobs"][0]) == set(whole) - {"attempts", "result", "args", "kwargs", "env"}


async def test_list_shows_failures_without_the_traceback(client, world):
    id = await client.submit(**TARGET, retry_attempts=0)
    world.finish(id, kind="exception", message="no", traceback="long")
    [job] = (await client.call("list"))["jobs"]
    assert job["failure"] == {"kind": "exception", "message": "no", "exit_code": None,
                              "signal": None}  # fmt: skip


async def test_list_in_pages_shows_each_job_once(client):
    ids = [await client.submit(**TARGET, delay=60) for _ in range(25)]
    seen, cursor = [], None
    while True:
        answer = await client.call("list", limit=10, cursor=cursor)
        assert len(answer["jobs"]) <= 10
        seen += [job["id"] for job in answer["jobs"]]
        cursor = answer["cursor"]
        if cursor is None:
            break
        assert isinstance(cursor, str)
    assert seen == ids[::-1]


async def test_list_by_status_queue_tag_and_target(client, world):
    running = await client.submit()
    queued = await client.submit(**TARGET, delay=60, queue="mail")
    tagged = await client.submit(target="app.jobs:Send", delay=60, tags=["é", "b"])
    command = await client.submit(command=["echo", "app.jobs:Send", "é"], delay=60)

    async def listed(**filters):
        return {job["id"] for job in (await client.call("list", **filters))["jobs"]}

    assert await listed(status="running") == {running}
    assert await listed(status=["pending", "running"]) == {running, queued, tagged, command}
    assert await listed(status="failed") == set()
    assert await listed(queue="mail") == {queued}
    assert await listed(tag="é") == {tagged}
    assert await listed(target="app.jobs:Send") == {tagged}
    assert await listed(target="app.jobs.Send") == {tagged}
    assert await listed(target="app.jobs:Send", queue="mail") == set()


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0}, {"limit": 1001}, {"limit": True}, {"limit": "5"}, {"cursor": "x"},
        {"cursor": 5}, {"cursor": "-1"}, {"cursor": "٣"}, {"status": "delayed"}, {"status": [1]},
        {"status": {}}, {"queue": 1}, {"tag": []}, {"target": 1}, {"colour": 1},
    ],
)  # fmt: skip
async def test_list_refuses_what_it_does_not_know(params, client):
    error = await client.refusal("list", params, -32602)
    assert [bad["field"] for bad in error["data"]["fields"]] == list(params)


async def test_list_looks_at_a_bounded_part_and_goes_on_from_there(client, world):
    world.engine.rules = world.engine.rules.__class__(max_running=1, max_pending=20_000)
    rare = await client.submit(**TARGET, delay=60, tags=["rare"])
    for _ in range(12):
        await client.call("submit_many", jobs=[{**TARGET, "delay": 60}] * 500)
    answer = await client.call("list", tag="rare")
    assert answer["jobs"] == []
    answer = await client.call("list", tag="rare", cursor=answer["cursor"])
    assert [job["id"] for job in answer["jobs"]] == [rare]


@pytest.fixture
def history(client, world):
    """Makes many jobs that wait for long."""
    world.engine.rules = world.engine.rules.__class__(max_running=2, max_pending=20_000)

    async def make(count):
        while count:
            count -= (some := min(count, 500))
            await client.call("submit_many", jobs=[{**TARGET, "delay": 60}] * some)

    return make


async def test_who_asks_for_what_runs_is_not_sent_through_the_history(client, history):
    await history(5500)
    old = await client.submit()
    await history(5500)
    new = await client.submit()
    first = await client.call("list", status="running")
    assert [job["id"] for job in first["jobs"]] == [new]
    rest = await client.call("list", status="running", cursor=first["cursor"])
    assert [job["id"] for job in rest["jobs"]] == [old]
    assert rest["cursor"] is None, "both were found"
    none = await client.call("list", status="running", queue="mail", cursor=first["cursor"])
    assert none == {"jobs": [], "cursor": None}


async def test_nor_who_asks_for_few_others(client, world, history):
    await history(5500)
    id = await client.submit()
    world.finish(id)
    await client.submit()
    assert (await client.call("list", status="completed"))["cursor"] is None
    both = await client.call("list", status=["completed", "running"])
    assert (len(both["jobs"]), both["cursor"]) == (2, None)


async def test_what_ends_while_it_is_read_hides_nothing(client, world, history):
    old = await client.submit()
    await history(1500)  # more than one look
    new = await client.submit()
    look, looks = world.ask, []

    async def ask(question):
        found = await look(question)
        if not looks:
            world.finish(new)
        looks.append(question)
        return found

    world.ask = ask
    listed = (await client.call("list", status="running"))["jobs"]
    assert [job["id"] for job in listed] == [new, old]


# retry, remove


async def test_retry_brings_a_final_job_back(client, world):
    id = await client.submit(**TARGET, retry_attempts=0)
    world.finish(id, kind="exit", exit_code=1)
    assert await client.call("retry", id=id, delay=5) == {"id": id, "status": "pending"}
    shown = await client.call("status", id=id)
    assert shown["failure"] is shown["finished_at"] is shown["result"] is None
    assert shown["attempt"] == 1
    assert shown["run_at"] == rfc3339(world.moment.wall + 5)


async def test_retry_of_a_job_that_is_not_final_is_a_conflict(client):
    await client.refusal("retry", {"id": await client.submit()}, -32003)


@pytest.mark.parametrize("delay", [-1, "1", None, True, 4e9])
async def test_retry_refuses_a_bad_delay(delay, client):
    await client.refusal("retry", {"id": NOBODY, "delay": delay}, -32602)


async def test_remove_forgets_a_final_job(client, world):
    id = await client.submit()
    await client.refusal("remove", {"id": id}, -32003)
    world.finish(id)
    assert await client.call("remove", id=id[:8]) == {}
    await client.refusal("status", {"id": id}, -32002)
    await client.refusal("remove", {"id": id}, -32002)


# stats, ping, reload, shutdown


async def test_stats_counts(client, world):
    for _ in range(3):
        await client.submit(**TARGET, queue="mail")
    answer = await client.call("stats")
    assert answer["jobs"] == {
        "pending": 1, "running": 2, "pending_retry": 0, "completed": 0, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    assert answer["queues"]["mail"] == {
        "pending": 1, "running": 2, "max_running": None, "paused": False,
    }  # fmt: skip
    assert (answer["running"], answer["max_running"]) == (2, 2)
    assert {"uptime_s", "journal", "throughput"} <= set(answer)


async def test_ping_says_who_is_there(client):
    assert await client.call("ping") == {
        "name": "jobd", "version": "1.2.3", "protocol": 1, "pid": 42,
        "started_at": rfc3339(1_700_000_000), "config": "/etc/jobd/jobd.toml",
    }  # fmt: skip


async def test_absent_params_and_empty_ones_are_the_same(client):
    for params in (None, {}, []):
        assert (await client.answer(client.send("ping", params)))["result"]["name"] == "jobd"
        error = await client.refusal("status", params, -32602)
        assert error["data"]["fields"] == [{"field": "id", "message": "is required"}]


@pytest.mark.parametrize("method", [name for name, m in METHODS.items() if m.params is not None])
async def test_params_come_by_name_and_unknown_ones_are_refused(method, client):
    await client.refusal(method, ["x"], -32602)
    error = await client.refusal(method, {"no_such": 1}, -32602)
    assert "no_such" in [bad["field"] for bad in error["data"]["fields"]]


async def test_reload_says_what_changed(client, world):
    answer = await client.call("reload")
    assert answer == {"changed": ["daemon.max_running"], "restart": ["daemon.socket"]}


async def test_reload_of_a_bad_config_is_invalid(client, world):
    faults = [("daemon.max_running", "must be at least 1"), ("", "is no TOML")]
    world.reloaded = ConfigError("jobd.toml", faults)
    error = await client.refusal("reload", {}, -32602)
    assert error["data"]["fields"] == [
        {"field": "daemon.max_running", "message": "must be at least 1"},
        {"field": "config", "message": "is no TOML"},
    ]


async def test_upgrade_answers_before_the_next_program_takes_over(client, world):
    assert await client.call("upgrade") == {}
    assert world.upgrades == 1


async def test_upgrade_to_a_program_that_can_not_start_is_invalid(client, world):
    world.not_upgraded = CannotStart("ImportError: no module named anyio")
    error = await client.refusal("upgrade", {}, -32602)
    assert error["data"]["fields"] == [
        {"field": "program", "message": "ImportError: no module named anyio"}
    ]
    assert world.upgrades == 0


async def test_shutdown_answers_and_then_stops(client, world):
    assert await client.call("shutdown") == {}
    assert world.stopped is True
    assert await client.call("shutdown", drain=False) == {}
    assert world.stopped is False
    await client.refusal("shutdown", {"drain": 1}, -32602)


# Errors.


async def test_an_unknown_method_is_not_found(client):
    error = await client.refusal("no_such", {}, -32601)
    assert error == {"code": -32601, "message": "Method not found"}


@pytest.mark.parametrize("method", COMING)
async def test_a_later_method_is_refused_with_a_message_that_says_so(method, client):
    error = await client.refusal(method, {}, -32601)
    assert "comes in a later release" in error["message"]


async def test_a_full_queue_is_refused_and_nothing_is_stored(client, world):
    world.engine.rules = world.engine.rules.__class__(max_running=1, max_pending=2)
    await client.call("submit_many", jobs=[{**TARGET, "delay": 60}] * 2)
    error = await client.refusal("submit", {**TARGET, "delay": 60}, -32004)
    assert error["data"]["type"] == "queue_full"
    assert len(world.engine.jobs) == 2


async def test_after_the_last_sync_a_client_is_told_to_repeat(client, world):
    world.stays_shut = Draining("the daemon stops")
    error = await client.refusal("submit", TARGET, -32005)
    assert error["data"]["type"] == "draining"


async def test_a_full_disk_is_a_storage_error(client, world):
    world.stays_shut = StorageError("no room")
    error = await client.refusal("submit", TARGET, -32006)
    assert error["data"]["type"] == "storage"


async def test_a_bug_is_one_internal_error_with_its_trace_in_the_log(client, world, caplog):
    world.stats = lambda: 1 / 0
    error = await client.refusal("stats", {}, -32603)
    assert error["data"]["type"] == "internal_error"
    assert "ZeroDivisionError" not in json.dumps(error)
    assert "ZeroDivisionError" in caplog.text
    assert await client.call("ping")


async def test_a_result_that_is_no_json_is_an_internal_error(client, world, caplog):
    world.stats = lambda: {"uptime_s": float("nan")}
    await client.refusal("stats", {}, -32603)


async def test_methods_work_as_notifications_too(client, world, eventually):
    client.write(b'{"jsonrpc":"2.0","method":"submit","params":{"target":"app.jobs:rebuild"}}\n')
    await eventually(lambda: len(world.engine.jobs) == 1)
    client.write(b'{"jsonrpc":"2.0","method":"submit","params":{}}\n')
    client.write(b'{"jsonrpc":"2.0","method":"no_such"}\n')
    assert await client.call("ping")
