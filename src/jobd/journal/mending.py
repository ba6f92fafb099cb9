"""The jobs that an account with holes tells of.

Where a record does not follow from what is known, something before it was lost, and the step
that it implies is supplied: never one that ends well, and never one after which a job whose end
is on record would run again.  An attempt whose end may have been lost was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from jobd.core import ids, lifecycle, records
from jobd.core.job import FINAL, Ended, Ending, Failure, Job
from jobd.core.records import Record
from jobd.core.rules import Rules
from jobd.core.verdict import verdict

LOST_END: Final = "how it ended was in a damaged part of the journal"
UNKNOWN_BOOT: Final = ""  # of an attempt whose start was lost: no boot that this could be


class LostJob(NamedTuple):
    """Its beginning is nowhere, so that it can't be told again."""

    id: str
    last: Record  # what was said of it last
    last_seq: int


class Mending:
    """Told of every commit and every hole, in order; then asked once, by `settle`."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}  # by the stem of the id, which no two share
        self._lost: dict[str, LostJob] = {}
        self._hinted: dict[str, None] = {}
        self._holes = 0
        self._heard: dict[str, int] = {}  # by id: how many holes had been when it was heard of

    # What is told.

    def hole(self, ids: Iterable[str] = ()) -> None:
        """Records are missing here, and may have been about these jobs."""
        self._holes += 1
        self._hinted.update(dict.fromkeys(ids))

    def tell(self, seq: int, said: Sequence[Record]) -> None:
        for ordinal, record in enumerate(said, seq):
            self._tell(ordinal, record)

    def _tell(self, ordinal: int, record: Record) -> None:
        stem = record.id[: ids.STEM_LENGTH]
        job = self._jobs.get(stem)
        if job is not None and job.id != record.id:  # its removal was lost, or it was told late
            job = None
        match record:
            case records.Submitted() if job is not None:
                self._know(stem, job)
            case records.Submitted() if record.id == ids.whole(stem, ordinal):
                self._know(stem, lifecycle.born(record, ordinal))
            case records.Kept():
                self._know(stem, lifecycle.restored(record))
            case records.Removed():
                self._forget(record.id, job)
            case _ if job is None:
                self._lost[record.id] = LostJob(record.id, record, ordinal)
            case records.StopRequested() | records.KillRequested():
                # Not heard of: they don't say which attempt, so a hole before them still counts.
                self._jobs[stem] = _advanced(job, record)
            case _:
                self._know(stem, _advanced(job, record))

    def _know(self, stem: str, job: Job) -> None:
        known = self._jobs.get(stem)
        if known is not None and known.id != job.id:
            self._forget(known.id, known)
        self._jobs[stem] = job
        self._lost.pop(job.id, None)
        self._heard[job.id] = self._holes

    def _forget(self, id: str, job: Job | None) -> None:
        self._lost.pop(id, None)
        self._hinted.pop(id, None)
        if job is not None:
            del self._jobs[id[: ids.STEM_LENGTH]]
            del self._heard[id]

    # What comes of it.

    def settle(
        self, claimed: Mapping[str, int], rules: Rules, now: float, boot: tuple[str, float]
    ) -> None:
        """Of what may have gone on in a hole, as much is found out as can be.

        `claimed`: the latest attempt of each job that left something on the disk.  It may be
        alive, so it is left running, and the next daemon finds out what became of it; `boot` is
        the id of this boot and its clock, in case that it is.
        """
        for stem, job in self._jobs.items():
            if self._may_have_moved(job):
                self._jobs[stem] = _found(job, claimed.get(job.id, 0), rules, now, boot)

    @property
    def jobs(self) -> list[Job]:
        """In the order in which they were submitted."""
        return sorted(self._jobs.values(), key=lambda job: job.number)

    @property
    def lost(self) -> list[LostJob]:
        """Perhaps removed in what is missing."""
        return list(self._lost.values())

    @property
    def may_run_again(self) -> list[Job]:
        """After `settle`: jobs that wait, though they may have ended in what is missing."""
        return [
            job for job in self.jobs
            if job.status not in FINAL and job.running is None and self._may_have_moved(job)
        ]  # fmt: skip

    @property
    def hinted(self) -> list[str]:
        """Jobs that are known from holes alone."""
        return [id for id in self._hinted if id not in self._heard and id not in self._lost]

    def _may_have_moved(self, job: Job) -> bool:
        return self._heard[job.id] < self._holes


# ------------------------------------------------------------------------------------ steps


def _found(
    job: Job, latest: int, rules: Rules, now: float, boot: tuple[str, float]
) -> Job:  # fmt: skip
    """The job, of which `latest` is the attempt that left something on the disk; 0: none."""
    running = job.running
    if latest > job.attempt or (
        running is not None and running.boot_id == UNKNOWN_BOOT and latest == job.attempt
    ):
        return _relabelled(_running(job, latest, now) or job, latest, now, boot)
    if running is not None and latest < job.attempt:
        ending = Ending(kind="interrupted", message=LOST_END)
        lifecycle.advance(job, verdict(job, ending, rules, now, jitter=0.0))
    return job


def _advanced(job: Job, record: Record) -> Job:
    """The job after the record, and after what must have been before it."""
    ready = _readied(job, record)
    if ready is None:  # of the past: the attempt that it is about is over
        return job
    lifecycle.advance(ready, record)
    return ready


def _readied(job: Job, record: Record) -> Job | None:
    """The job as it must have been when the record was made; None: it never will be again."""
    match record:
        case records.Started():
            return _startable(job, record.attempt, record.at)
        case records.StopRequested() | records.KillRequested():
            # If a start was lost, that the next attempt is meant is as good a guess as any.
            return job if job.running is not None else _running(job, job.attempt + 1, record.at)
        case records.NeverRan():
            return _running(job, record.attempt, record.at)
        case records.Retried():
            ready = _running(job, record.ended.attempt, record.ended.started_at)
            return None if ready is None else _with_a_retry(ready)
        case records.RetryRequested():
            return _final(job, record.at)
        case records.Cancelled(ended=None) if job.running is not None:
            return job  # what had started never ran
        case records.Failed(ended=None) | records.Cancelled(ended=None):
            return _waiting(job, record.at)
        case (
            records.Completed(ended=Ended() as ended) | records.Interrupted(ended=Ended() as ended)
            | records.Failed(ended=Ended() as ended) | records.Cancelled(ended=Ended() as ended)
        ):  # fmt: skip
            return _running(job, ended.attempt, ended.started_at)
        case _:
            return None


def _startable(job: Job, attempt: int, at: float) -> Job | None:
    """Waiting, the attempts before this one over."""
    if attempt <= job.attempt:
        return None
    job = _waiting(job, at)
    if attempt == job.attempt + 1:
        return job
    return lifecycle.restored(replace(lifecycle.snapshot(job, at), attempt=attempt - 1))


def _waiting(job: Job, at: float) -> Job:
    """Ready to be started: what ran was interrupted, what had ended was begun anew."""
    if job.running is not None:
        interrupted = records.Interrupted(
            id=job.id, at=at, ended=_ended(job, at), run_at=at, counted=False
        )
        lifecycle.advance(job, interrupted)
    elif job.status in FINAL:
        lifecycle.advance(job, records.RetryRequested(id=job.id, at=at, run_at=at))
    return job


def _running(job: Job, attempt: int, started_at: float) -> Job | None:
    """With that attempt under way, in a boot that is not known; None: that attempt is over."""
    running = job.running
    if running is not None and job.attempt == attempt:
        return job
    if running is not None and running.boot_id == UNKNOWN_BOOT and job.attempt < attempt:
        return _relabelled(job, attempt, started_at, (UNKNOWN_BOOT, 0.0))
    ready = _startable(job, attempt, started_at)
    if ready is not None:
        started = records.Started(
            id=job.id, at=started_at, attempt=attempt, boot_id=UNKNOWN_BOOT, boot_at=0.0
        )
        lifecycle.advance(ready, started)
    return ready


def _relabelled(job: Job, attempt: int, started_at: float, boot: tuple[str, float]) -> Job:
    """What runs was only supposed to be another attempt, or of another boot."""
    said = lifecycle.snapshot(job, started_at)
    assert said.running is not None
    boot_id, boot_at = boot
    running = replace(
        said.running, number=attempt, started_at=started_at, boot_id=boot_id, boot_at=boot_at
    )
    return lifecycle.restored(
        replace(said, attempt=attempt, started_at=started_at, running=running)
    )


def _with_a_retry(job: Job) -> Job:
    """One was spent; if none was left, somebody had asked for all of them again."""
    if job.retries_left > 0:
        return job
    retries = max(1, job.policy.retry_attempts)
    return lifecycle.restored(replace(lifecycle.snapshot(job, 0.0), retries_left=retries))


def _final(job: Job, at: float) -> Job:
    """Somebody could ask for it again, so it had ended."""
    if job.status not in FINAL:
        failure = Failure(kind="interrupted", message=LOST_END)
        ended = None if job.running is None else _ended(job, at)
        lifecycle.advance(job, records.Failed(id=job.id, at=at, ended=ended, failure=failure))
    return job


def _ended(job: Job, at: float) -> Ended:
    """The attempt under way, its end unknown; by `at` it was over."""
    running = job.running
    assert running is not None
    return Ended(
        attempt=running.number, pid=None, started_at=running.started_at,
        finished_at=max(at, running.started_at), outcome="interrupted",
        failure=Failure(kind="interrupted", message=LOST_END),
    )  # fmt: skip
