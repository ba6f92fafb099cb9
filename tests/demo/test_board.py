from __future__ import annotations

import pytest

from jobd.demo.board import Board


@pytest.fixture
def board():
    return Board({"a": "package a", "b": "package b"})


@pytest.fixture
def hear(board):
    """Lets the board hear an event at this second; the line that it makes of it."""

    def make(second, type, status, id="a", attempt=1, **more):
        at = f"2026-01-31T08:00:{second:09.6f}Z"
        event = {"at": at, "type": type, "status": status, "id": id, "attempt": attempt, **more}
        return board.hear(event)

    return make


NOW = {"run_at": "2026-01-31T08:00:00.000000Z"}
LATER = {"run_at": "2026-01-31T08:00:05.000000Z"}


def test_each_job_waits_runs_and_ends(board, hear):
    hear(0, "submitted", "pending", **NOW)
    hear(0, "submitted", "pending", id="b", **NOW)
    assert list(board.waiting.values()) == ["package a", "package b"]
    hear(1, "started", "running")
    assert [running.label for running in board.running.values()] == ["package a"]
    assert list(board.waiting) == ["b"]
    line = hear(2.5, "completed", "completed")
    assert (line.at_s, line.status, line.label, line.more) == (
        2.5, "completed", "package a", "after 1.50s",
    )  # fmt: skip
    assert not board.running
    assert not board.over
    hear(3, "cancelled", "cancelled", id="b")
    assert board.over


def test_a_failure_that_is_retried_says_why_and_when(hear):
    hear(0, "submitted", "pending", **NOW)
    hear(1, "started", "running")
    failure = {"kind": "exception", "message": "ValueError: \x1b[31m"}
    line = hear(2, "retried", "pending_retry", failure=failure, **LATER)
    assert line.more == "after 1.00s, ValueError: \\x1b[31m, to be run in 3.00s"
    assert hear(5, "started", "running", attempt=2).more == "attempt 2"


def test_what_is_delayed_says_how_long(hear):
    assert hear(1, "submitted", "pending", **LATER).more == "to be run in 4.00s"


def test_being_stopped_is_no_second_start(board, hear):
    hear(0, "started", "running")
    assert hear(1, "stop_requested", "running", why="timeout") is None
    assert board.running["a"].attempt == 1


def test_jobs_of_others_are_none_of_its_business(board, hear):
    assert hear(0, "submitted", "pending", id="c", **NOW) is None
    assert board.hear({"subscription": 1, "gap": True}) is None
    assert board.total == 2
