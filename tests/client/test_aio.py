"""`AsyncClient`, over a real socket."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest

from jobd.client import (
    AsyncClient,
    Conflict,
    DaemonUnavailable,
    Draining,
    InvalidParams,
    JobFailed,
    NotFound,
)
from jobd.errors import InvalidRequest, PeerFault

JOB = "a" * 16
STORED = {"id": JOB, "status": "pending", "duplicate": False}


@pytest.fixture
def run(daemon):
    """Runs `story(jobs)` with a client of the scripted daemon."""

    def run(story):
        async def whole():
            async with asyncio.timeout(10), AsyncClient() as jobs:
                return await story(jobs)

        return asyncio.run(whole())

    return run


def test_submit_wait_and_result(daemon, run, final):
    daemon.on("submit", STORED)
    daemon.on("wait", {"jobs": [final(result=[1])], "timed_out": False})

    async def story(jobs):
        job = await jobs.submit("app.jobs:Send", kwargs={"user_id": 123})
        with pytest.raises(JobFailed, match="is pending"):
            _ = job.result
        assert not job.ended
        return (await job.wait(timeout=30)).result

    assert run(story) == [1]


def test_wait_raises_timeout_error(daemon, run, final):
    daemon.on("wait", {"jobs": [final(status="running")], "timed_out": True})
    with pytest.raises(TimeoutError, match="still running"):
        run(lambda jobs: jobs.job(JOB).wait(timeout=0.1))


def test_wait_is_a_timeout_error_too_when_the_daemon_is_frozen(daemon, scripted, run, monkeypatch):
    monkeypatch.setattr("jobd.client.connection.LATE_S", 0.1)
    daemon.on("wait", scripted.SILENCE)
    with pytest.raises(TimeoutError, match="does not answer"):
        run(lambda jobs: jobs.job(JOB).wait(timeout=0.1))


def test_many_calls_share_one_connection_and_are_answered_in_any_order(daemon, run):
    release = threading.Event()

    def slow_first(params, say):
        if params["id"] == "0":
            release.wait(5)
        elif params["id"] == "99":
            release.set()
        return {"id": params["id"]}

    daemon.on("status", slow_first)

    async def story(jobs):
        return await asyncio.gather(*(jobs.status(str(n)) for n in range(100)))

    assert [told["id"] for told in run(story)] == [str(n) for n in range(100)]
    assert daemon.connections == 1


def test_a_cancelled_call_leaves_the_others_alone(daemon, scripted, run):
    daemon.on("wait", scripted.SILENCE)

    async def story(jobs):
        waiting = asyncio.create_task(jobs.wait([JOB]))
        await asyncio.to_thread(daemon.asked)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await jobs.ping()

    assert run(story) == {}
    assert daemon.connections == 1


def test_where_nobody_answers_that_is_told_at_once(tmp_path):
    async def story():
        async with AsyncClient(str(tmp_path / "none")) as jobs:
            await jobs.ping()

    with pytest.raises(DaemonUnavailable, match="jobd run"):
        asyncio.run(story())


@pytest.mark.parametrize("loss", ["drop", "draining"])
def test_a_lost_submission_is_made_again_under_the_same_request_id(daemon, scripted, run, loss):
    first = scripted.DROP if loss == "drop" else Draining("stopping")
    daemon.on("submit", first, STORED)
    assert run(lambda jobs: jobs.submit("app:f")).id == JOB
    (_, once), (_, again) = daemon.asked(), daemon.asked()
    assert once == again and once["request_id"]


def test_a_daemon_that_stays_away_is_unavailable_in_the_end(daemon, scripted, run, short_patience):
    daemon.on("submit", scripted.DROP)
    with pytest.raises(DaemonUnavailable):
        run(lambda jobs: jobs.submit("app:f"))
    assert len(daemon.all_asked()) > 2


def test_a_loss_makes_every_call_that_was_under_way_again(daemon, scripted, run):
    daemon.on("status", scripted.SILENCE, scripted.SILENCE, {"id": JOB})

    async def story(jobs):
        asked = [asyncio.create_task(jobs.status(JOB)) for _ in range(2)]
        for _ in asked:
            await asyncio.to_thread(daemon.asked)
        await asyncio.to_thread(daemon.restart)
        return await asyncio.gather(*asked)

    assert run(story) == [{"id": JOB}, {"id": JOB}]


def test_a_cancel_whose_answer_was_lost_has_its_wish(daemon, scripted, run):
    daemon.on("cancel", scripted.DROP, Conflict("is cancelled"))
    daemon.on("status", {"id": JOB, "status": "cancelled"})
    assert run(lambda jobs: jobs.cancel(JOB)) == {"id": JOB, "status": "cancelled"}


def test_refusals_are_raised_as_their_class(daemon, run):
    daemon.on("status", NotFound("no such job"))
    daemon.on("submit", InvalidParams.of([("priority", "no")]))
    with pytest.raises(NotFound):
        run(lambda jobs: jobs.status(JOB))
    with pytest.raises(InvalidParams) as refused:
        run(lambda jobs: jobs.submit("app:f"))
    assert refused.value.data["fields"] == [{"field": "priority", "message": "no"}]


def test_a_line_that_was_refused_unread_fails_the_call_that_sent_it(daemon, scripted, run):
    daemon.on("submit", scripted.Unread(InvalidRequest("too long")))
    with pytest.raises(InvalidRequest, match="too long"):
        run(lambda jobs: jobs.submit("app:f"))


def test_the_client_may_be_used_on_one_loop_after_another(daemon):
    jobs = AsyncClient()

    async def once():
        answers = await asyncio.gather(jobs.ping(), jobs.ping(), jobs.ping())
        await jobs.aclose()
        return answers

    assert asyncio.run(once()) == asyncio.run(once()) == [{}] * 3


def test_follow_goes_on_over_a_lost_connection(daemon, scripted, run):
    def first(params, say):
        say("log", {"id": JOB, "attempt": 1, "stream": "stdout", "data": "one ", "offset": 4})
        return scripted.DROP

    daemon.on(
        "logs", first,
        {"attempt": 1, "data": "two", "offset": 7, "eof": True, "skipped": 0, "lossy": False},
    )  # fmt: skip

    running = {"id": JOB, "status": "running", "attempt": 1}
    daemon.on("status", running, {**running, "status": "completed"})

    async def story(jobs):
        return [chunk["data"] async for chunk in jobs.follow(JOB, streams=("stdout",))]

    assert run(story) == ["one ", "two"]
    assert [p.get("offset") for method, p in daemon.all_asked() if method == "logs"] == [None, 4]


def test_events_come_until_the_iterator_is_closed(daemon, run):
    def tell(params, say):
        for seq in (1, 2, 3):
            threading.Timer(0.05 * seq, say, ("event", {"seq": seq})).start()
        return {"subscription": 1, "seq": 0}

    daemon.on("events", tell)

    async def story(jobs):
        async with aclosing(jobs.events()) as events:
            return [(await anext(events))["seq"] for _ in range(3)]

    assert run(story) == [1, 2, 3]


def test_list_submit_many_and_the_rest_are_there_too(daemon, run):
    daemon.on("list", {"jobs": [{"id": "1"}], "cursor": "x"}, {"jobs": [], "cursor": None})
    daemon.on("submit_many", {"jobs": [STORED]})

    async def story(jobs):
        assert [job["id"] async for job in jobs.list()] == ["1"]
        [job] = await jobs.submit_many([{"target": "app:f"}])
        await job.remove()
        await jobs.shutdown()
        return job.id

    assert run(story) == JOB


def test_what_is_no_jobd_is_told(tmp_path):
    async def talk(reader, writer):
        await reader.readline()
        writer.write(b"220 smtp ready\r\n")
        writer.close()

    async def story():
        path = str(tmp_path / "other")
        async with await asyncio.start_unix_server(talk, path), AsyncClient(path) as jobs:
            await jobs.ping()

    with pytest.raises(PeerFault, match="no jobd"):
        asyncio.run(story())


def test_progress_of_a_running_job(daemon, run):
    assert run(lambda jobs: jobs.progress(JOB, 0.4, "page 2 of 5")) is None
    params = {"id": JOB, "fraction": 0.4, "message": "page 2 of 5"}
    assert daemon.asked() == ("progress", params)
