"""A call whose answer is lost, at each moment at which it can be, by all who submit."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from types import SimpleNamespace

import pytest

from jobd.client import (
    AsyncClient,
    Client,
    Conflict,
    DaemonUnavailable,
    Draining,
    patience,
    run_background_job,
)
from jobd.client.patience import Patience
from jobd.client.protocol import ConnectionLost

JOB = "a" * 16
STORED = {"id": JOB, "status": "pending", "duplicate": False}
FOUND = {**STORED, "duplicate": True}


def by_thread(**fields):
    with Client() as jobs:
        return [jobs.submit(**fields).id]


def by_thread_all_at_once(**fields):
    with Client() as jobs:
        return [job.id for job in jobs.submit_many([fields, fields])]


def by_one_call(target):
    return [run_background_job(target)]


def by_raw_call(**fields):
    with Client() as jobs:
        return [jobs.call("submit", fields)["id"]]


def by_task(**fields):
    async def story():
        async with AsyncClient() as jobs:
            return [(await jobs.submit(**fields)).id]

    return asyncio.run(story())


def by_task_all_at_once(**fields):
    async def story():
        async with AsyncClient() as jobs:
            return [job.id for job in await jobs.submit_many([fields, fields])]

    return asyncio.run(story())


BY_ALL = pytest.mark.parametrize(
    "submit",
    [by_thread, by_thread_all_at_once, by_one_call, by_raw_call, by_task, by_task_all_at_once],
)


@BY_ALL
@pytest.mark.parametrize("losses", [
    ["DROP"], ["HALF"], ["DRAINING"], ["DRAINING", "DROP"], ["DROP", "HALF", "DRAINING", "DROP"],
])  # fmt: skip
def test_it_is_made_again_as_it_was_until_it_is_answered(daemon, scripted, submit, losses):
    lost = [
        Draining("stopping") if name == "DRAINING" else getattr(scripted, name) for name in losses
    ]
    daemon.on("submit", *lost, FOUND)
    daemon.on("submit_many", *lost, {"jobs": [FOUND, FOUND]})
    assert set(submit(target="app:f")) == {JOB}
    asked = [params for _, params in daemon.all_asked()]
    assert len(asked) == len(losses) + 1
    assert all(params == asked[0] for params in asked)
    ids = [job["request_id"] for job in asked[0].get("jobs", asked)]
    assert all(ids) and len(set(ids)) == len(asked[0].get("jobs", [1]))


@pytest.fixture
def crowded(tmp_path, monkeypatch):
    """A daemon that lets nobody in until `admit()`, with no room to wait left."""
    path = str(tmp_path / "s")
    monkeypatch.setenv("JOBD_SOCKET", path)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        waiting = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                one = stack.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(path)
                waiting += 1

        def admit():
            for _ in range(waiting):
                stack.enter_context(listener.accept()[0])
            one = stack.enter_context(listener.accept()[0])
            one.makefile("rb").readline()
            one.sendall(b'{"jsonrpc":"2.0","id":1,"result":{"id":"x","status":"pending"}}\n')

        yield admit


@pytest.mark.parametrize("submit", [by_thread, by_task])
def test_where_too_many_wait_to_be_let_in_it_waits_too(crowded, submit):
    threading.Timer(0.2, crowded).start()
    assert submit(target="app:f") == ["x"]


@pytest.mark.parametrize("submit", [by_thread, by_task])
def test_a_daemon_that_lets_nobody_in_is_unavailable_in_the_end(crowded, submit, short_patience):
    with pytest.raises(DaemonUnavailable, match="too many wait"):
        submit(target="app:f")


@pytest.mark.parametrize("submit", [by_thread, by_task])
def test_the_last_error_says_that_what_was_sent_may_have_been_done(
    daemon, submit, short_patience, scripted
):
    def die(params, say):
        daemon.stop()
        return scripted.DROP

    daemon.on("submit", die)
    with pytest.raises(ConnectionLost, match=r"jobd run.*may have been done"):
        submit(target="app:f")


def test_what_was_never_sent_is_not_taken_for_done(daemon, jobs):
    daemon.on("retry", Conflict("is running"))
    daemon.on("status", {"id": JOB, "status": "running"})
    jobs.ping()
    daemon.stop()
    threading.Timer(0.2, daemon.start).start()
    with pytest.raises(Conflict):
        jobs.retry(JOB)


# How long it goes on.


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=1000.0)
    watch = SimpleNamespace(monotonic=lambda: now.s, monotonic_ns=lambda: int(now.s * 1e9))
    monkeypatch.setattr(patience, "time", watch)
    return now


GONE = DaemonUnavailable("nobody", socket="s")


def waits(clock, patience, try_s=0.0):
    """Until it gives up: the waits, and what it raised."""
    waited = []
    while True:
        clock.s += try_s
        try:
            waited.append(patience.wait_after(GONE))
        except DaemonUnavailable as error:
            return waited, error
        clock.s += waited[-1]


@pytest.mark.parametrize("try_s", [0.0, 10.0])
def test_a_call_waits_thirty_seconds_in_all_however_long_its_tries_take(clock, try_s):
    waited, error = waits(clock, Patience(), try_s)
    assert sum(waited) == pytest.approx(30)
    assert error is GONE


def test_a_try_that_lasted_longer_than_that_begins_anew(clock):
    patient = Patience()
    waits(clock, patient)
    clock.s += 3600
    waited, _ = waits(clock, patient)
    assert sum(waited) == pytest.approx(30) and waited[0] < 0.1


def test_a_deadline_of_its_own_comes_first(clock):
    patient = Patience(clock.s + 5)
    with pytest.raises(TimeoutError, match="nobody"):
        waits(clock, patient)
    assert clock.s == pytest.approx(1005)
