"""How a job moves.

The table is complete: what is not in it cannot happen, and nobody else assigns to
`Job.status`.  It knows nothing of queues, processes, files or the present.
`tests/core/test_lifecycle.py` visits every cell, the empty ones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from jobd.core import ids, records
from jobd.core.job import Ended, Failure, History, Job, Running, Status
from jobd.core.records import Record

TRANSITIONS: Final[Mapping[Status, Mapping[type[Record], Status | None]]] = {
    Status.PENDING: {
        records.Started: Status.RUNNING,
        records.Cancelled: Status.CANCELLED,
        records.Failed: Status.FAILED,
    },
    Status.PENDING_RETRY: {
        records.Started: Status.RUNNING,
        records.Cancelled: Status.CANCELLED,
        records.Failed: Status.FAILED,
    },
    Status.RUNNING: {
        records.StopRequested: Status.RUNNING,
        records.KillRequested: Status.RUNNING,
        records.NeverRan: Status.PENDING,
        records.Completed: Status.COMPLETED,
        records.Retried: Status.PENDING_RETRY,
        records.Interrupted: Status.PENDING_RETRY,
        records.Failed: Status.FAILED,
        records.Cancelled: Status.CANCELLED,
    },
    Status.COMPLETED: {records.RetryRequested: Status.PENDING, records.Removed: None},
    Status.FAILED: {records.RetryRequested: Status.PENDING, records.Removed: None},
    Status.CANCELLED: {records.RetryRequested: Status.PENDING, records.Removed: None},
}


class IllegalTransition(AssertionError):
    """A bug in jobd: the engine decided on a record that the table does not allow."""


def born(record: records.Submitted, number: int) -> Job:
    """The job that a `Submitted` record, the journal's `number`-th, brings into being."""
    assert record.id == ids.whole(record.id[: ids.STEM_LENGTH], number)
    return Job(
        id=record.id, number=number, by=record.by, call=record.call, policy=record.policy,
        submitted_at=record.at, run_at=record.run_at,
    )  # fmt: skip


def advance(job: Job, record: Record) -> None:
    """Change `job` as `record` says.  Replay and live operation share this one path."""
    moves = TRANSITIONS[job.status]
    if type(record) not in moves:
        raise IllegalTransition(f"{type(record).__name__} while {job.status}: {job.id}")
    match record:
        case records.Started():
            assert record.attempt == job.attempt + 1
            job.attempt = record.attempt
            job.started_at = record.at
            job.running = Running(
                number=record.attempt, started_at=record.at,
                boot_id=record.boot_id, boot_at=record.boot_at,
            )  # fmt: skip
        case records.StopRequested():
            _stop(_running(job), record)
        case records.KillRequested():
            _running(job).killed = True
        case records.NeverRan():
            job.running = None
        case records.Completed():
            _end(job, record.ended).result = record.result
            _close(job, record.ended.finished_at, None)
        case records.Retried():
            job.retries_left -= 1
            _end(job, record.ended).failure = record.ended.failure
            job.run_at = record.run_at
        case records.Interrupted():
            job.interruptions += record.counted
            _end(job, record.ended).failure = record.ended.failure
            job.run_at = record.run_at
        case records.Failed():
            _end(job, record.ended)
            _close(job, _ended_at(record), record.failure)
        case records.Cancelled():
            _end(job, record.ended)
            _close(job, _ended_at(record), _cancelled(record.ended))
        case records.RetryRequested():
            _begin_anew(job, record.run_at)
    status = moves[type(record)]
    if status is not None:
        job.status = status


def snapshot(job: Job, at: float) -> records.Kept:
    """All of `job` as one record."""
    return records.Kept(
        id=job.id, at=at, number=job.number, by=job.by, call=job.call, policy=job.policy,
        submitted_at=job.submitted_at, run_at=job.run_at, status=job.status, attempt=job.attempt,
        started_at=job.started_at, retries_left=job.retries_left,
        interruptions=job.interruptions, running=_copy_running(job.running),
        history=_copy_history(job.history),
    )  # fmt: skip


def restored(record: records.Kept) -> Job:
    """The job that a snapshot tells of."""
    job = Job(
        id=record.id, number=record.number, by=record.by, call=record.call, policy=record.policy,
        submitted_at=record.submitted_at, run_at=record.run_at,
    )  # fmt: skip
    job.status = record.status
    job.attempt = record.attempt
    job.started_at = record.started_at
    job.retries_left = record.retries_left
    job.interruptions = record.interruptions
    job.running = _copy_running(record.running)
    job.history = _copy_history(record.history)
    return job


def known_since(kept: records.Kept) -> float:
    """To be said again makes no job's end younger."""
    finished_at = None if kept.history is None else kept.history.finished_at
    return kept.at if finished_at is None else finished_at


def _copy_running(running: Running | None) -> Running | None:
    return None if running is None else replace(running)


def _copy_history(history: History | None) -> History | None:
    """What is in the lists never changes; the lists do."""
    if history is None:
        return None
    return replace(history, first=list(history.first), last=list(history.last))


def _running(job: Job) -> Running:
    assert job.running is not None
    return job.running


def _stop(running: Running, record: records.StopRequested) -> None:
    """The first reason names the attempt's end; a cancel, whenever it comes, the job's."""
    if running.stopping is None:
        running.stopping = record.why
        running.stop_boot_at = record.boot_at
    running.cancelled = running.cancelled or record.why == "cancelled"


def _end(job: Job, ended: Ended | None) -> History:
    """The attempt, if there was one, is over and in the history."""
    job.running = None
    if job.history is None:
        job.history = History()
    if ended is not None:
        job.history.add(ended)
    return job.history


def _close(job: Job, at: float, failure: Failure | None) -> None:
    assert job.history is not None
    job.history.finished_at = at
    job.history.failure = failure


def _ended_at(record: records.Failed | records.Cancelled) -> float:
    return record.at if record.ended is None else record.ended.finished_at


def _cancelled(ended: Ended | None) -> Failure:
    if ended is None:
        return Failure(kind="cancelled", message="cancelled while it waited")
    return Failure(
        kind="cancelled", message="cancelled while it ran",
        exit_code=ended.exit_code, signal=ended.signal,
    )  # fmt: skip


def _begin_anew(job: Job, run_at: float) -> None:
    """Retries and interruptions count from zero; attempt numbers go on."""
    assert job.history is not None
    job.history.finished_at = None
    job.history.failure = None
    job.history.result = b"null"
    job.retries_left = job.policy.retry_attempts
    job.interruptions = 0
    job.run_at = run_at
