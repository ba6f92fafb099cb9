"""Who runs first, how many at once, and what is refused because too many wait."""

from __future__ import annotations

import time

import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers


def appending(path, word):
    return ["/bin/sh", "-c", 'echo "$1" >>"$2"', "sh", word, str(path)]


def held(narrow):
    """A gate behind which all else waits, and its job."""
    gate = narrow.gate()
    id = narrow.submit(command=gate.command)
    narrow.until_status(id, "running")
    return gate, id


@covers("field:priority", "config:daemon.max_running")
def test_higher_priority_first_then_the_order_of_submission(narrow):
    gate, _ = held(narrow)
    path = narrow.scratch()
    wanted = [("a", 1), ("b", 10), ("c", 5), ("d", 10), ("e", 1), ("f", 5)]
    ids = [narrow.submit(command=appending(path, w), priority=p) for w, p in wanted]
    gate.open()
    for id in ids:
        narrow.final(id)
    assert path.read_text().split() == ["b", "d", "c", "f", "a", "e"]


@covers("field:run_at")
def test_of_equal_priority_the_earlier_run_at_goes_first(narrow):
    gate, _ = held(narrow)
    path = narrow.scratch()
    wanted = [("a", "2021"), ("b", "2020"), ("c", "2022"), ("d", "2020")]
    ids = [
        narrow.submit(command=appending(path, word), run_at=f"{year}-01-01T00:00:00Z")
        for word, year in wanted
    ]
    gate.open()
    for id in ids:
        narrow.final(id)
    assert path.read_text().split() == ["b", "d", "a", "c"]


def test_a_job_that_comes_due_takes_its_place_by_priority(narrow):
    gate, _ = held(narrow)
    path = narrow.scratch()
    low = narrow.submit(command=appending(path, "low"), priority=1)
    high = narrow.submit(command=appending(path, "high"), priority=9, delay=0.1)
    due = epoch(narrow.status(high)["run_at"])
    until(lambda: time.time() > due)
    gate.open()
    for id in (low, high):
        narrow.final(id)
    assert path.read_text().split() == ["high", "low"]


@covers("config:daemon.max_running")
def test_no_more_than_max_running_run_at_once(narrow):
    gate, first = held(narrow)
    second = narrow.submit(command=gate.command)
    stats = narrow.call("stats")
    assert (stats["running"], stats["max_running"]) == (1, 1)
    assert narrow.status(second)["status"] == "pending"
    gate.open()
    narrow.final(first)
    gate.open()
    narrow.final(second)


@covers("config:queues.max_running")
def test_a_queue_keeps_within_its_own_limit_and_holds_no_other_back(jobd):
    d = jobd({"queues": {"one": {"max_running": 1}}})
    gate = d.gate()
    first = d.submit(command=gate.command, queue="one")
    second = d.submit(command=gate.command, queue="one", priority=10)
    d.until_status(first, "running")
    other = d.run(command=["/bin/true"], queue="two")
    assert other["status"] == "completed"
    assert d.status(second)["status"] == "pending"
    queues = d.call("stats")["queues"]
    assert queues["one"] == {"pending": 1, "running": 1, "max_running": 1, "paused": False}
    gate.open()
    d.final(first)
    gate.open()
    assert d.final(second)["status"] == "completed"


@covers("config:daemon.max_pending", "error:-32004", "exit:jobctl 7", "method:submit_many")
def test_beyond_max_pending_a_submission_is_refused_and_nothing_stored(jobd):
    d = jobd({"daemon": {"max_pending": 2, "max_running": 1}})
    for _ in range(2):
        d.submit(command=["/bin/true"], delay=3600)
    refused = d.refusal("submit", command=["/bin/true"], delay=3600)
    assert (refused.code, refused.data["type"]) == (-32004, "queue_full")
    many = d.refusal("submit_many", jobs=[{"command": ["/bin/true"]}])
    assert many.code == -32004
    assert d.call("stats")["jobs"]["pending"] == 2
    told = d.jobctl("submit", "--", "/bin/true")
    assert told.code == 7
    assert "max_pending" in told.err
    assert len(d.call("list")["jobs"]) == 2


def test_a_running_job_does_not_count_as_pending(jobd):
    d = jobd({"daemon": {"max_pending": 1, "max_running": 1}})
    gate = d.gate()
    id = d.submit(command=gate.command)
    d.until_status(id, "running")
    d.submit(command=["/bin/true"])
    assert d.refusal("submit", command=["/bin/true"]).code == -32004
    gate.open()


def test_a_duplicate_is_found_even_when_the_queue_is_full(jobd):
    d = jobd({"daemon": {"max_pending": 1}})
    first = d.call("submit", command=["/bin/true"], delay=3600, request_id="r")
    again = d.call("submit", command=["/bin/true"], delay=3600, request_id="r")
    assert again == {**first, "duplicate": True}
