"""`follow`: each byte of a job's output is told once, whatever happens to the connection."""

from __future__ import annotations

import pytest

from jobd.client import NotFound

JOB = "a" * 16


def chunk(data, offset, attempt=1, stream="stdout"):
    return {"id": JOB, "attempt": attempt, "stream": stream, "data": data, "offset": offset}


def ended(data="", offset=0, attempt=1):
    return {
        "attempt": attempt, "data": data, "offset": offset, "eof": True, "skipped": 0,
        "lossy": False,
    }  # fmt: skip


def job(status, attempt):
    return {"id": JOB, "status": status, "attempt": attempt}


def asked_of_logs(daemon):
    asked = [params for method, params in daemon.all_asked() if method == "logs"]
    assert all(params["id"] == JOB and params["follow"] for params in asked)
    return [{k: v for k, v in one.items() if k not in ("id", "follow", "stream")} for one in asked]


def test_each_chunk_is_told_once_also_over_a_lost_connection(daemon, scripted, jobs):
    def first(params, say):
        say("log", chunk("one ", 4))
        return scripted.DROP

    def second(params, say):
        say("log", chunk("two ", 8))
        return ended("three", 13)

    daemon.on("logs", first, second)
    daemon.on("status", job("running", 1), job("completed", 1))
    told = "".join(c["data"] for c in jobs.follow(JOB, streams=("stdout",), tail=9))
    assert told == "one two three"
    assert asked_of_logs(daemon) == [{"tail": 9}, {"attempt": 1, "offset": 4}]


def test_it_goes_on_to_the_next_attempt_after_a_loss_in_the_one_before(daemon, jobs, scripted):
    def cut(params, say):
        say("log", chunk("one ", 4))
        return scripted.DROP

    def all_from_the_latest(params, say):
        say("log", chunk("one two ", 8))  # already told
        say("log", chunk("three ", 6, attempt=2))
        return ended("four", 10, attempt=2)

    daemon.on("logs", cut, ended("two ", 8), all_from_the_latest)
    daemon.on("status", job("running", 1), job("pending_retry", 1))
    told = [(c["attempt"], c["data"]) for c in jobs.follow(JOB, streams=("stdout",), tail=3)]
    assert told == [(1, "one "), (1, "two "), (2, "three "), (2, "four")]
    assert asked_of_logs(daemon) == [{"tail": 3}, {"attempt": 1, "offset": 4}, {}]


def test_no_attempt_is_passed_over_that_came_and_went_during_a_loss(daemon, jobs, scripted):
    daemon.on(
        "logs", scripted.DROP,
        ended("one", 3), ended("two", 3, attempt=2), ended("three", 5, attempt=3),
    )  # fmt: skip
    daemon.on("status", job("pending", 0), job("failed", 3))
    told = [c["data"] for c in jobs.follow(JOB, streams=("stdout",))]
    assert told == ["one", "two", "three"]
    assert asked_of_logs(daemon) == [{}, {"attempt": 1}, {"attempt": 2}, {"attempt": 3}]


def test_it_begins_with_the_latest_attempt_also_when_the_first_answer_was_lost(
    daemon, jobs, scripted
):
    daemon.on("logs", scripted.DROP, ended("four", 4, attempt=4))
    daemon.on("status", job("running", 4), job("completed", 4))
    assert [c["data"] for c in jobs.follow(JOB, streams=("stdout",), tail=9)] == ["four"]
    assert asked_of_logs(daemon) == [{"tail": 9}, {"tail": 9, "attempt": 4}]


def test_an_attempt_that_was_named_is_all_there_is(daemon, jobs, scripted):
    def cut(params, say):
        say("log", chunk("one ", 4))
        return scripted.DROP

    daemon.on("logs", cut, ended("two", 7))
    daemon.on("status", job("running", 3))
    assert [c["data"] for c in jobs.follow(JOB, streams=("both",), attempt=1)] == ["one ", "two"]
    assert asked_of_logs(daemon) == [{"attempt": 1}, {"attempt": 1, "offset": 4}]


def test_a_job_that_was_cancelled_before_it_ran_has_no_output_after_a_loss(daemon, jobs, scripted):
    daemon.on("logs", scripted.DROP)
    daemon.on("status", job("pending", 0), job("cancelled", 0))
    assert list(jobs.follow(JOB)) == []


def test_the_streams_are_kept_apart(daemon, jobs):
    def both(params, say):
        say("log", chunk(params["stream"][-3:], 3, stream=params["stream"]))
        return ended()

    daemon.on("logs", both)
    daemon.on("status", job("running", 1))
    assert sorted((c["stream"], c["data"]) for c in jobs.follow(JOB)) == [
        ("stderr", "err"), ("stdout", "out"),
    ]  # fmt: skip


def test_an_unknown_job_is_not_found(daemon, jobs):
    daemon.on("status", NotFound("no such job"))
    with pytest.raises(NotFound):
        list(jobs.follow(JOB))
