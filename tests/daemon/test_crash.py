"""kill -9 of the daemon, at any time: what was acknowledged is there, and runs exactly once."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers


@covers("method:submit", "field:delay")
def test_fifty_delayed_jobs_run_exactly_once_over_a_kill(jobd):
    d = jobd({"daemon": {"max_running": 4}})
    path = d.scratch()
    script = ["/bin/sh", "-c", 'echo "$JOBD_JOB_ID" >>"$1"', "sh", str(path)]
    jobs = [{"command": script, "delay": 2 + n % 10 / 50} for n in range(50)]
    ids = [job["id"] for job in d.call("submit_many", jobs=jobs)["jobs"]]
    before = d.call("list", limit=50)["jobs"]
    d.kill()
    d.start()
    still = d.call("list", limit=50, status="pending")["jobs"]
    assert all(job in before for job in still)
    for id in ids:
        done = d.final(id)
        assert (done["status"], done["attempt"]) == ("completed", 1)
        assert epoch(done["started_at"]) >= epoch(done["run_at"])
    assert Counter(path.read_text().split()) == dict.fromkeys(ids, 1)


def test_what_came_due_while_the_daemon_was_away_runs_once(jobd):
    d = jobd()
    path = d.scratch()
    due = time.time() + 0.3
    ids = [d.sh('echo "$JOBD_JOB_ID" >>"$1"', str(path), delay=0.3) for _ in range(20)]
    d.kill()
    until(lambda: time.time() > due)
    d.start()
    for id in ids:
        assert d.final(id)["attempt"] == 1
    assert Counter(path.read_text().split()) == dict.fromkeys(ids, 1)


class Clients:
    """Several at once, each with its own connection; all that was acknowledged is remembered."""

    def __init__(self, d, count, path):
        self.d, self.path = d, path
        self.acknowledged = {}
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.submit, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def submit(self, n):
        peer = None
        count = 0
        while not self.stopped.is_set():
            request_id = f"{n}-{count}"
            try:
                if peer is None:
                    peer = self.d.peer()
                script = 'echo "$1" >>"$2"'
                command = ["/bin/sh", "-c", script, "sh", request_id, str(self.path)]
                answer = peer.call("submit", command=command, request_id=request_id)
            except (OSError, AssertionError):  # killed: ask again for the same
                if peer is not None:
                    peer.close()
                peer = None
                time.sleep(0.01)
                continue
            self.acknowledged[request_id] = answer["id"]
            count += 1
        if peer is not None:
            peer.close()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def test_killed_under_load_nothing_acknowledged_is_lost_and_nothing_runs_twice(jobd):
    d = jobd({"daemon": {"max_running": 4}})
    path = d.scratch()
    clients = Clients(d, 4, path)
    dice = random.Random(7)
    try:
        for _ in range(3):
            seen = len(clients.acknowledged)
            wanted = seen + 5 + dice.randrange(25)
            until(lambda wanted=wanted: len(clients.acknowledged) >= wanted)
            d.kill()
            d.start()
    finally:
        clients.stop()
    acknowledged = clients.acknowledged
    for id in acknowledged.values():
        done = d.final(id)
        assert done["status"] == "completed"
        assert [a["outcome"] for a in done["attempts"]] == ["completed"], done
    ran = Counter(path.read_text().split())
    assert set(ran.values()) == {1}
    assert set(acknowledged) <= set(ran)
    # A request that was stored but not acknowledged was asked again: no second job.
    assert len(set(acknowledged.values())) == len(acknowledged)
    assert len(ran) - len(acknowledged) <= len(clients.threads)


def test_documents_logs_and_counts_are_the_same_after_a_kill(jobd):
    d = jobd()
    d.run(target="jobs:give", args=[{"ü": [1, None]}], tags=["t"], label="l", env={"A": "b"})
    d.run(target="jobs:boom", retry_attempts=2, retry_delay=0)
    d.submit(command=["/bin/true"], delay=3600, priority=7, queue="q")
    cancelled = d.submit(command=["/bin/true"], delay=3600)
    d.call("cancel", id=cancelled)
    removed = d.run(command=["/bin/true"])["id"]
    d.call("remove", id=removed)
    ids = [job["id"] for job in d.call("list")["jobs"]]
    before = [d.status(id) for id in ids]
    counts = d.call("stats")["jobs"]
    d.kill()
    d.start()
    assert [job["id"] for job in d.call("list")["jobs"]] == ids
    assert [d.status(id) for id in ids] == before
    assert d.call("stats")["jobs"] == counts
    assert d.refusal("status", id=removed).code == -32002
    known = set(ids) | {removed}
    fresh = {d.submit(command=["/bin/true"]) for _ in range(20)}
    assert not fresh & known, "ids are never reused"


def test_a_daemon_killed_over_and_over_while_it_starts_comes_up_all_the_same(jobd):
    d = jobd()
    ids = [d.submit(command=["/bin/true"], delay=3600) for _ in range(20)]
    d.kill()
    for wait_s in (0.05, 0.2, 0.3, 0.4):
        d.spawn()
        deadline = time.monotonic() + wait_s
        until(lambda deadline=deadline: time.monotonic() > deadline)
        d.kill()
    d.start()
    assert {job["id"] for job in d.call("list")["jobs"]} == set(ids)


def test_a_job_log_has_no_line_twice_after_a_kill(jobd):
    d = jobd()
    id = d.run(command=["/bin/true"])["id"]
    d.kill()
    d.start()
    d.run(command=["/bin/true"])
    assert len(d.log_of(id)) == 2
