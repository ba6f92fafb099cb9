"""A daemon that goes and comes back: no call of a client is lost, and none is done twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest
from outside.waiting import until

from jobd.client import AsyncClient, Client
from jobd.errors import InvalidRequest

covers = pytest.mark.covers
pytestmark = pytest.mark.timeout(180)


def killed(d):
    d.kill()
    d.start()


def restarted(d):
    assert d.stop() == 0
    d.start()


def upgraded(d):
    assert d.jobctl("upgrade").code == 0
    d.forget_peer()


WAYS = pytest.mark.parametrize(("interrupt", "times"), [(killed, 4), (restarted, 2), (upgraded, 2)])


class Submitters:
    """Two threads that share a Client and two tasks that share an AsyncClient.

    Each submits five jobs, waits for them, and goes on with the next; of the two, one submits
    the five one by one, and the other all at once.
    """

    def __init__(self, d):
        self.socket = str(d.socket)
        self.path = d.scratch()
        self.stored = {}  # token: id of its job
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(3)
        self._ends = [
            self._pool.submit(self._by_thread, many=False),
            self._pool.submit(self._by_thread, many=True),
            self._pool.submit(asyncio.run, self._by_tasks()),
        ]

    def stop(self):
        """Raises what a call has raised."""
        self._stopped.set()
        for end in self._ends:
            end.result(60)
        self._pool.shutdown()

    def _by_thread(self, many):
        with Client(self.socket) as client:
            for fields in self._fives(f"thread-{many}"):
                if many:
                    jobs = client.submit_many(fields)
                else:
                    jobs = [client.submit(**one) for one in fields]
                self._note(fields, jobs)
                answer = client.wait([job.id for job in jobs])
                assert {job["status"] for job in answer["jobs"]} == {"completed"}

    async def _by_tasks(self):
        async with AsyncClient(self.socket) as client:
            await asyncio.gather(self._by_task(client, False), self._by_task(client, True))

    async def _by_task(self, client, many):
        for fields in self._fives(f"task-{many}"):
            if many:
                jobs = await client.submit_many(fields)
            else:
                jobs = [await client.submit(**one) for one in fields]
            self._note(fields, jobs)
            answer = await client.wait([job.id for job in jobs])
            assert {job["status"] for job in answer["jobs"]} == {"completed"}

    def _fives(self, name):
        turn = 0
        while not self._stopped.is_set():
            turn += 1
            script = 'echo "$1" >>"$2"'
            yield [
                {
                    "command": ["/bin/sh", "-c", script, "sh", token, str(self.path)],
                    "label": token,
                }
                for token in (f"{name}-{turn}-{n}" for n in range(5))
            ]

    def _note(self, fields, jobs):
        for one, job in zip(fields, jobs, strict=True):
            self.stored[one["label"]] = job.id


@covers("method:submit", "method:submit_many", "method:wait", "field:request_id")
@WAYS
def test_each_submission_makes_one_job_that_runs_once(jobd, interrupt, times):
    d = jobd({"daemon": {"max_running": 4}})
    dice = random.Random(13)
    submitters = Submitters(d)
    try:
        for _ in range(times):
            wanted = len(submitters.stored) + dice.randrange(5, 60)
            until(lambda wanted=wanted: len(submitters.stored) >= wanted)
            interrupt(d)
    finally:
        submitters.stop()
    stored = submitters.stored
    assert Counter(submitters.path.read_text().split()) == dict.fromkeys(stored, 1)
    with Client(str(d.socket)) as client:
        assert {job["label"]: job["id"] for job in client.list()} == stored
        assert sum(1 for _ in client.list()) == len(stored)


# A line at a time until the file is there, so that some are always on their way.
TALK = 'n=0; while [ ! -e "$1" ]; do n=$((n+1)); echo "$n"; sleep 0.02; done; exit 7'


def connected(process):
    """Whether it has a socket; it has no other."""
    fds = f"/proc/{process.pid}/fd"
    for fd in os.listdir(fds):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            if os.readlink(f"{fds}/{fd}").startswith("socket:"):
                return True
    return False


@covers("method:logs", "method:wait", "method:events")
@WAYS
def test_who_waits_follows_or_listens_goes_on_where_it_was(jobd, interrupt, times):
    d = jobd()
    enough = d.scratch()
    run = d.jobctl_started("run", "--", "/bin/sh", "-c", TALK, "sh", str(enough))
    id = until(lambda: d.call("list")["jobs"])[0]["id"]
    started = [
        run, d.jobctl_started("logs", "-f", id), d.jobctl_started("wait", id, "--timeout", "60")
    ]  # fmt: skip
    until(lambda: all(map(connected, started)))
    met = threading.Barrier(4)  # who finds no daemon at first is told so, and gone

    def by_thread():
        with Client(str(d.socket)) as client:
            client.ping()
            met.wait(60)
            return "".join(chunk["data"] for chunk in client.follow(id)), client.wait([id])

    def events():
        with Client(str(d.socket)) as client:
            client.ping()
            met.wait(60)
            told = []
            for event in client.events(since=0):
                told.append(event)
                if event.get("status") == "failed":
                    break
            return told

    async def by_tasks():
        async with AsyncClient(str(d.socket)) as client, aclosing(client.follow(id)) as output:
            await client.ping()
            await asyncio.to_thread(met.wait, 60)
            waiting = asyncio.create_task(client.job(id).wait(timeout=60))
            return "".join([chunk["data"] async for chunk in output]), await waiting

    with ThreadPoolExecutor(3) as pool:
        ends = [
            pool.submit(by_thread), pool.submit(asyncio.run, by_tasks()), pool.submit(events)
        ]  # fmt: skip
        met.wait(60)
        try:
            for _ in range(times // 2):
                seen = len(d.out(id))
                until(lambda seen=seen: len(d.out(id)) > seen)
                interrupt(d)
        finally:
            enough.touch()
        (followed, waited), (followed_too, job), told = [end.result(60) for end in ends]
    said = d.out(id)
    assert said == "".join(f"{n}\n" for n in range(1, said.count("\n") + 1))
    assert followed == followed_too == said
    assert [waited["jobs"][0]["attempt"], job.document["attempt"]] == [1, 1]
    assert [one.communicate(timeout=60)[0] for one in started[:2]] == [said, said]
    started[2].communicate(timeout=60)
    assert [one.returncode for one in started] == [7, 0, 1]
    seqs = [event["seq"] for event in told if "seq" in event]
    assert seqs == sorted(set(seqs))


@covers("option:submit --from")
def test_a_file_of_jobs_is_stored_once_though_the_daemon_is_killed_in_the_middle(jobd):
    d = jobd()
    file = d.scratch()
    os.mkfifo(file)
    # Large enough for five batches.
    lines = "".join(
        json.dumps({"command": ["/bin/true", "x" * 10_000], "label": str(n), "delay": 3600}) + "\n"
        for n in range(500)
    )
    submit = d.jobctl_started("submit", "--from", str(file))
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(file.write_text, lines)
        first = submit.stdout.readline()
        killed(d)
        ids = [first, *submit.stdout]
        written.result(60)
    _, said = submit.communicate(timeout=60)
    assert (submit.returncode, said) == (0, "")
    with Client(str(d.socket)) as client:
        by_label = {job["label"]: job["id"] for job in client.list(limit=1000)}
        assert sum(1 for _ in client.list(limit=1000)) == 500
    assert [by_label[str(n)] + "\n" for n in range(500)] == ids


def test_a_line_that_the_daemon_finds_too_long_is_refused_at_once_by_both_clients(shared):
    too_long = ["x" * 9 * 1024 * 1024]

    async def by_task():
        async with AsyncClient(str(shared.socket)) as client:
            await client.submit("jobs:echo", args=too_long)

    with pytest.raises(InvalidRequest, match="max_request_bytes"):
        asyncio.run(by_task())
    with Client(str(shared.socket)) as client:
        with pytest.raises(InvalidRequest, match="max_request_bytes"):
            client.submit("jobs:echo", args=too_long)
        assert client.submit("jobs:nothing").id
