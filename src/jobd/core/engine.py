"""Decides.

A command and the present moment go in, a `Decision` comes out: the facts to keep, then the
effects to carry out once they are kept.  The engine does no I/O, reads no clock and rolls no
dice; given the same calls it decides the same.  Its state is the fold of the records: `_apply`
serves live operation and replay, so that what is remembered cannot differ from what was done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from jobd.core import commands, ids, lifecycle, records
from jobd.core.allow import Admitted, Refused
from jobd.core.commands import Command, Submission
from jobd.core.decision import (
    Decision,
    Effect,
    Fact,
    Forget,
    Kill,
    Launch,
    Probe,
    Settle,
    Stop,
    Submittal,
)  # fmt: skip
from jobd.core.graveyard import Graveyard
from jobd.core.job import FINAL, WAITING, Failure, Job, Status, StopReason
from jobd.core.moment import Deadlines, Moment
from jobd.core.patience import Patience
from jobd.core.promises import RUNNING_BYTES, START_BYTES, promised_bytes
from jobd.core.records import Record
from jobd.core.register import Register
from jobd.core.repeats import fresh
from jobd.core.rules import Rules
from jobd.core.schedule import Schedule
from jobd.core.starts import Starts
from jobd.core.verdict import verdict
from jobd.errors import Conflict, NotFound, QueueFull

# Of each kind of work that comes due by itself, at most so much in one turn of the loop:
# callers are answered in between, and a commit stays small.
TICK_MAX: Final = 256
ADVANCE_MAX: Final = 2048  # of delayed jobs that have come due: about 20 ms


Admit = Callable[[Job], Admitted | Refused]
HasRoom = Callable[[int], bool]  # of bytes in the commit that is being made


class Engine:
    def __init__(self, rules: Rules, *, boot_id: str) -> None:
        self.rules = rules
        self.seq = 0  # of the last record
        self.live_bytes = 0  # about what the journal needs for the jobs there are
        self.jobs = Register()
        self.running: dict[str, Job] = {}
        self.counts = dict.fromkeys(Status, 0)
        self.schedule = Schedule(rules.queue_max)
        self.starts = Starts()
        self._boot_id = boot_id
        self._last_boot_id = boot_id  # of the latest attempt
        self._patience = Patience(boot_id)
        self._graveyard = Graveyard()

    # Commands.

    def decide(self, command: Command, now: Moment) -> Decision:
        """Raises RequestError, and then nothing has changed."""
        decision = Decision()
        match command:
            case commands.Submit():
                decision.answer = self._submit(decision, command.submissions, now)
            case commands.AttemptEnded():
                self._attempt_ended(decision, command, now)
            case commands.AttemptNeverRan():
                self._attempt_never_ran(decision, command, now)
            case commands.Cancel():
                decision.answer = self._cancel(decision, command, now)
            case commands.Retry():
                decision.answer = self._retry(decision, command, now)
            case commands.Remove():
                self._remove(decision, command, now)
            case commands.Keep():
                self._keep_again(decision, command.ids, now)
            case commands.StopAll():
                self._stop_all(decision, now)
            case commands.Drain():
                self.starts.draining = command.on
            case commands.Probed(why=None):
                self.starts.release()
            case commands.Probed(why=str(why)):
                self.starts.hold(why, now)
            case commands.Follow():
                self.rules = command.rules
                self.schedule.follow(command.rules.queue_max)
        return decision

    def _submit(
        self, decision: Decision, submissions: Sequence[Submission], now: Moment
    ) -> tuple[Submittal, ...]:
        self._refuse_beyond_max(fresh(submissions, self.jobs))
        return tuple(self._submit_one(decision, submission, now) for submission in submissions)

    def _refuse_beyond_max(self, more: int) -> None:
        if more and self.waiting + more > self.rules.max_pending:
            raise QueueFull(
                f"{self.waiting} jobs wait already (daemon.max_pending = "
                f"{self.rules.max_pending}); nothing was stored"
            )

    def _submit_one(self, decision: Decision, submission: Submission, now: Moment) -> Submittal:
        job = self.jobs.of_stem(submission.stem)
        if job is not None:
            return Submittal(job.id, job.status, duplicate=True)
        run_at = submission.run_at
        record = records.Submitted(
            id=ids.whole(submission.stem, self.seq + 1), at=now.wall, by=submission.by,
            call=submission.call, policy=submission.policy,
            run_at=now.wall + submission.delay_s if run_at is None else run_at,
        )  # fmt: skip
        self._keep(decision, record)
        return Submittal(record.id, Status.PENDING, duplicate=False)

    def _cancel(self, decision: Decision, command: commands.Cancel, now: Moment) -> Status:
        job = self._find(command.id)
        if job.status in FINAL:
            raise Conflict(f"job {job.id} has ended: it is {job.status}", status=job.status)
        running = job.running
        if running is None:
            self._keep(decision, records.Cancelled(id=job.id, at=now.wall, ended=None))
            return job.status
        if not running.cancelled:
            self._stop(decision, job, "cancelled", now, quietly=command.force)
        if command.force:
            self._kill(decision, job, now)
        return job.status

    def _retry(self, decision: Decision, command: commands.Retry, now: Moment) -> Status:
        job = self._find(command.id)
        if job.status not in FINAL:
            raise Conflict(f"job {job.id} has not ended: it is {job.status}", status=job.status)
        self._refuse_beyond_max(1)
        run_at = now.wall + command.delay_s
        self._keep(decision, records.RetryRequested(id=job.id, at=now.wall, run_at=run_at))
        return job.status

    def _remove(self, decision: Decision, command: commands.Remove, now: Moment) -> None:
        job = self._find(command.id)
        if job.status not in FINAL:
            raise Conflict(
                f"job {job.id} is {job.status}; cancel it first, then remove it", status=job.status
            )
        self._keep(decision, records.Removed(id=job.id, at=now.wall), Forget(job.id))

    def _keep_again(self, decision: Decision, job_ids: Sequence[str], now: Moment) -> None:
        for id in job_ids:
            job = self.jobs.get(id)
            if job is not None:
                self._keep(decision, lifecycle.snapshot(job, now.wall))

    # Attempts end.

    def _attempt_ended(
        self, decision: Decision, command: commands.AttemptEnded, now: Moment
    ) -> None:
        job = self._attempted(command.id, command.attempt)
        record = verdict(job, command.ending, self.rules, now.wall, command.jitter)
        if command.ending.kind == "interrupted":
            self.starts.begin_slowly()
        self._keep(decision, record, Settle(job.id, command.attempt))

    def _attempt_never_ran(
        self, decision: Decision, command: commands.AttemptNeverRan, now: Moment
    ) -> None:
        job = self._attempted(command.id, command.attempt)
        assert job.running is not None
        record: Record = records.NeverRan(id=job.id, at=now.wall, attempt=command.attempt)
        if job.running.cancelled:
            record = records.Cancelled(id=job.id, at=now.wall, ended=None)
        self._keep(decision, record, Settle(job.id, command.attempt))
        if command.want is not None:
            self.starts.hold(command.want, now)

    def _attempted(self, id: str, attempt: int) -> Job:
        job = self.running[id]
        assert job.attempt == attempt, "an attempt ends once, before the next one begins"
        return job

    # Attempts are stopped.

    def _stop_all(self, decision: Decision, now: Moment) -> None:
        for job in list(self.running.values()):
            if job.running is not None and job.running.stopping is None:
                self._stop(decision, job, "shutdown", now)

    def _stop(
        self, decision: Decision, job: Job, why: StopReason, now: Moment, *, quietly: bool = False
    ) -> None:
        """Asked at the first reason; a later one is only noted."""
        assert job.running is not None
        first = job.running.stopping is None
        record = records.StopRequested(id=job.id, at=now.wall, why=why, boot_at=now.boot)
        self._keep(decision, record)
        if first and not quietly:
            decision.effects.append(Stop(job.id, job.attempt, job.policy.stop_signal))

    def _kill(self, decision: Decision, job: Job, now: Moment) -> None:
        assert job.running is not None
        if not job.running.killed:
            self._keep(decision, records.KillRequested(id=job.id, at=now.wall))
        decision.effects.append(Kill(job.id, job.attempt))

    # Time.

    def tick(self, now: Moment, admit: Admit, has_room: HasRoom) -> Decision:
        """Do what has come due, a bounded part of it.

        `next_deadline()` afterwards is in the past if there is more.  At each start `admit` is
        asked whether the allow-list still has the job, and `has_room` whether the journal can
        take what the start may lead to.
        """
        decision = Decision()
        self._lose_patience(decision, now)
        self._bury(decision, now)
        if self.starts.probe_is_due(now):
            decision.effects.append(Probe())
        self._start(decision, now, admit, has_room)
        return decision

    def _lose_patience(self, decision: Decision, now: Moment) -> None:
        while (job := self._patience.due(now.boot)) is not None:
            assert job.running is not None
            if job.running.stopping is None:
                self._stop(decision, job, "timeout", now)
            else:
                self._kill(decision, job, now)

    def _bury(self, decision: Decision, now: Moment) -> None:
        for _ in range(TICK_MAX):
            job = self._graveyard.next(now.wall, self.rules, kept=len(self.jobs))
            if job is None:
                return
            self._keep(decision, records.Removed(id=job.id, at=now.wall), Forget(job.id))

    def _start(self, decision: Decision, now: Moment, admit: Admit, has_room: HasRoom) -> None:
        if not self.schedule.advance(now.wall, ADVANCE_MAX):
            return
        if self._last_boot_id != self._boot_id:
            self._last_boot_id = self._boot_id
            self.starts.begin_slowly()
        self.starts.advance(now, self.rules.max_running)
        for _ in range(TICK_MAX):
            job = self.schedule.next(now.wall) if self._may_start else None
            if job is None:
                return
            if not has_room(START_BYTES + RUNNING_BYTES):
                self.starts.hold("no room on the journal's file system for another end", now)
                return
            match admit(job):
                case Refused(why):
                    failure = Failure(kind="unauthorized", message=why)
                    record = records.Failed(id=job.id, at=now.wall, ended=None, failure=failure)
                    self._keep(decision, record)
                case Admitted() as admitted:
                    self._launch(decision, job, admitted, now)
        # There may be more, and then `next_deadline` has to say so, even if the clock was set
        # back and the next one's time has not come any more.
        self.schedule.next(now.wall)

    def _launch(self, decision: Decision, job: Job, admitted: Admitted, now: Moment) -> None:
        attempt = job.attempt + 1
        started = records.Started(
            id=job.id, at=now.wall, attempt=attempt, boot_id=self._boot_id, boot_at=now.boot
        )
        launch = Launch(job.id, attempt, job.by, job.call, job.policy, admitted)
        self._keep(decision, started, launch)
        self.starts.note(now)

    def next_deadline(self) -> Deadlines:
        """When `tick` next has something to do, if nothing else happens first."""
        walls = [self.schedule.next_ready_at(), self._graveyard.next_at(self.rules, len(self.jobs))]
        if self._may_start:
            walls.append(self.schedule.next_start_at())
        return Deadlines(
            _earliest(walls), _earliest([self.starts.next_at(), self._patience.next_at()])
        )

    @property
    def _may_start(self) -> bool:
        return self.starts.allowed and len(self.running) < self.rules.max_running

    # Memory.

    def replay(self, seq: int, records: Sequence[Record]) -> None:
        """One commit, `seq` being the ordinal of its first record.

        Once a job's first segment was compacted away, what it did between then and the
        snapshot is still in the journal: of a job that is not known yet, nothing is done.
        """
        self.seq = seq - 1
        for record in records:
            self.seq += 1
            self._apply(record)

    def reminders(self) -> list[Effect]:
        """After replay and settling: stops on record whose signal may never have been sent."""
        return [
            Kill(job.id, job.attempt) if job.running.killed
            else Stop(job.id, job.attempt, job.policy.stop_signal)
            for job in self.running.values()
            if job.running is not None and job.running.stopping is not None
        ]  # fmt: skip

    def _keep(self, decision: Decision, record: Record, *effects: Effect) -> None:
        self.seq += 1
        job = self._apply(record)
        assert job is not None, f"{record} is about no job"
        status = None if isinstance(record, records.Removed) else job.status
        decision.facts.append(Fact(self.seq, record, job, status, job.attempt))
        decision.effects += effects

    def _apply(self, record: Record) -> Job | None:
        """The only place where jobs change, and with them what is counted and queued."""
        job = self.jobs.get(record.id)
        match record:
            case records.Submitted():
                assert job is None
                job = lifecycle.born(record, self.seq)
                self.jobs.add(job)
            case records.Kept():
                if job is not None:
                    self._detach(job)
                    self.jobs.remove(job)
                job = lifecycle.restored(record)
                self.jobs.add(job)
                self._attach(job, lifecycle.known_since(record))
                return job
            case _ if job is None:
                return None
            case records.Removed():
                self._detach(job)
                self.jobs.remove(job)
                return job
            case _:
                self._detach(job)
                lifecycle.advance(job, record)
                if job.running is not None:
                    self._last_boot_id = job.running.boot_id
        self._attach(job, record.at)
        return job

    def _attach(self, job: Job, at: float) -> None:
        """Where a job stands follows from what it is."""
        self.counts[job.status] += 1
        self.live_bytes += job.weight()
        if job.status in WAITING:
            self.schedule.add(job, ready=job.run_at <= at)
        elif job.status in FINAL:
            self._graveyard.add(job, at)
        else:
            self.running[job.id] = job
            self.schedule.occupy(job)
            self._patience.add(job)

    def _detach(self, job: Job) -> None:
        self.counts[job.status] -= 1
        self.live_bytes -= job.weight()
        if job.status in WAITING:
            self.schedule.withdraw(job)
        elif job.status in FINAL:
            self._graveyard.remove(job)
        else:
            del self.running[job.id]
            self.schedule.vacate(job)
            self._patience.remove(job)

    # Questions.

    @property
    def waiting(self) -> int:
        return self.counts[Status.PENDING] + self.counts[Status.PENDING_RETRY]

    @property
    def promised_bytes(self) -> int:
        """What the jobs there are may still add to the journal by themselves."""
        return promised_bytes(jobs=len(self.jobs), waiting=self.waiting, running=len(self.running))

    def _find(self, id: str) -> Job:
        job = self.jobs.get(id)
        if job is None:
            raise NotFound(f"no job {id}")
        return job


def _earliest(instants: Sequence[float | None]) -> float | None:
    return min((at for at in instants if at is not None), default=None)
