"""Every cell of the transition table, the empty ones included."""

import dataclasses
import itertools
import typing

import pytest

from jobd.core import ids, lifecycle, records
from jobd.core.job import (
    ATTEMPTS_KEPT,
    FINAL,
    Ended,
    Failure,
    History,
    Job,
    Policy,
    Running,
    Status,
)

ID = ids.whole("0" * 12, 1)
LOST = Failure(kind="exit", message="exited with code 1", exit_code=1)
ENDED = Ended(
    attempt=1, pid=9, started_at=1.0, finished_at=2.0, outcome="exit", exit_code=1, failure=LOST
)

RECORDS = {
    type(record): record
    for record in (
        records.Submitted(id=ID, at=0.0, by="uid:1", call=b"{}", policy=Policy(), run_at=0.0),
        records.Started(id=ID, at=5.0, attempt=2, boot_id="boot", boot_at=3.0),
        records.StopRequested(id=ID, at=5.0, why="timeout", boot_at=4.0),
        records.KillRequested(id=ID, at=5.0),
        records.NeverRan(id=ID, at=5.0, attempt=1),
        records.Completed(id=ID, at=5.0, ended=ENDED, result=b"[1]"),
        records.Retried(id=ID, at=5.0, ended=ENDED, run_at=9.0),
        records.Interrupted(id=ID, at=5.0, ended=ENDED, run_at=9.0, counted=True),
        records.Failed(id=ID, at=5.0, ended=ENDED, failure=LOST),
        records.Cancelled(id=ID, at=5.0, ended=ENDED),
        records.RetryRequested(id=ID, at=5.0, run_at=9.0),
        records.Removed(id=ID, at=5.0),
        records.Kept(
            id=ID, at=5.0, number=1, by="uid:1", call=b"{}", policy=Policy(), submitted_at=0.0,
            run_at=0.0, status=Status.PENDING, attempt=0, started_at=None, retries_left=3,
            interruptions=0, running=None, history=None,
        ),
    )
}  # fmt: skip

# Written out a second time on purpose, from the contract's picture.
ALLOWED = {
    (Status.PENDING, "Started"): Status.RUNNING,
    (Status.PENDING, "Cancelled"): Status.CANCELLED,
    (Status.PENDING, "Failed"): Status.FAILED,
    (Status.PENDING_RETRY, "Started"): Status.RUNNING,
    (Status.PENDING_RETRY, "Cancelled"): Status.CANCELLED,
    (Status.PENDING_RETRY, "Failed"): Status.FAILED,
    (Status.RUNNING, "StopRequested"): Status.RUNNING,
    (Status.RUNNING, "KillRequested"): Status.RUNNING,
    (Status.RUNNING, "NeverRan"): Status.PENDING,
    (Status.RUNNING, "Completed"): Status.COMPLETED,
    (Status.RUNNING, "Retried"): Status.PENDING_RETRY,
    (Status.RUNNING, "Interrupted"): Status.PENDING_RETRY,
    (Status.RUNNING, "Failed"): Status.FAILED,
    (Status.RUNNING, "Cancelled"): Status.CANCELLED,
    **{(final, "RetryRequested"): Status.PENDING for final in FINAL},
    **{(final, "Removed"): final for final in FINAL},
}


def job_that_is(status):
    job = Job(
        id=ID, number=1, by="uid:1", call=b"{}", policy=Policy(), submitted_at=0.0, run_at=0.0
    )
    job.status = status
    job.attempt = 1
    if status is Status.RUNNING:
        job.running = Running(number=1, started_at=1.0, boot_id="boot", boot_at=1.0)
    if status in FINAL:
        job.history = History(first=[ENDED], finished_at=2.0, failure=LOST)
    return job


def slots(job):
    return {name: getattr(job, name) for name in Job.__slots__}


@pytest.mark.parametrize(
    ("status", "record"), list(itertools.product(Status, RECORDS.values())),
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_every_cell(status, record):
    job = job_that_is(status)
    before = slots(job)
    after = ALLOWED.get((status, type(record).__name__))
    if after is None:
        with pytest.raises(lifecycle.IllegalTransition):
            lifecycle.advance(job, record)
        assert slots(job) == before, "a refused record leaves no trace"
    else:
        lifecycle.advance(job, record)
        assert job.status is after
        assert (job.running is not None) == (after is Status.RUNNING)
        if after in FINAL:
            assert job.history.finished_at is not None


def test_the_table_and_this_test_know_every_status_and_every_record():
    assert set(lifecycle.TRANSITIONS) == set(Status)
    assert set(RECORDS) == set(typing.get_args(records.Record))


def test_an_attempt_number_is_never_left_out_nor_used_twice():
    for attempt in (1, 3):
        with pytest.raises(AssertionError):
            lifecycle.advance(
                job_that_is(Status.PENDING),
                dataclasses.replace(RECORDS[records.Started], attempt=attempt),
            )


def test_a_retry_begins_anew_and_attempt_numbers_go_on():
    job = job_that_is(Status.FAILED)
    job.retries_left, job.interruptions = 0, 3
    lifecycle.advance(job, RECORDS[records.RetryRequested])
    assert (job.retries_left, job.interruptions) == (job.policy.retry_attempts, 0)
    assert job.attempt == 1
    assert job.run_at == 9.0
    assert job.history == History(first=[ENDED])  # what was, stays; its end is taken back


def test_the_first_reason_to_stop_is_kept_and_a_cancel_is_never_forgotten():
    job = job_that_is(Status.RUNNING)
    lifecycle.advance(job, RECORDS[records.StopRequested])
    lifecycle.advance(job, records.StopRequested(id=ID, at=6.0, why="cancelled", boot_at=7.0))
    assert job.running.stopping == "timeout"
    assert job.running.stop_boot_at == 4.0
    assert job.running.cancelled


def test_a_count_is_taken_of_an_interruption_only_where_the_record_says_so():
    for counted, count in ((True, 1), (False, 0)):
        job = job_that_is(Status.RUNNING)
        lifecycle.advance(job, dataclasses.replace(RECORDS[records.Interrupted], counted=counted))
        assert job.interruptions == count
        assert job.retries_left == job.policy.retry_attempts


def test_history_keeps_the_first_and_the_last_attempts():
    history = History()
    for attempt in range(1, 101):
        history.add(dataclasses.replace(ENDED, attempt=attempt))
    assert [ended.attempt for ended in history.first] == list(range(1, ATTEMPTS_KEPT + 1))
    assert [ended.attempt for ended in history.last] == list(range(101 - ATTEMPTS_KEPT, 101))


@pytest.mark.parametrize("status", Status)
def test_a_snapshot_says_all_there_is_to_say(status):
    job = job_that_is(status)
    job.retries_left, job.interruptions, job.started_at, job.run_at = 1, 2, 1.5, 77.0
    again = lifecycle.restored(lifecycle.snapshot(job, at=5.0))
    assert slots(again) == slots(job)


def test_a_snapshot_does_not_move_with_its_job():
    job = job_that_is(Status.RUNNING)
    job.history = History()
    kept = lifecycle.snapshot(job, at=5.0)
    lifecycle.advance(job, RECORDS[records.KillRequested])
    lifecycle.advance(job, RECORDS[records.Retried])
    assert not kept.running.killed
    assert kept.history == History()
