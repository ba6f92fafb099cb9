"""Decides.

A command and the present moment go in, a `Decision` comes out: the facts to keep, then the
effects to carry out once they are kept.  The engine does no I/O, reads no clock and rolls no
dice; given the same calls it decides the same.  What it knows is the fold of the records, see
`state`.
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
    Look,
    Probe,
    Settle,
    Stop,
    Submittal,
)  # fmt: skip
from jobd.core.job import FINAL, Failure, Job, Progress, Status, StopReason
from jobd.core.moment import Deadlines, Moment
from jobd.core.promises import RUNNING_BYTES, START_BYTES
from jobd.core.records import Record
from jobd.core.repeats import fresh
from jobd.core.rules import Rules
from jobd.core.starts import Starts
from jobd.core.state import State
from jobd.core.verdict import verdict
from jobd.errors import Conflict, NotFound, QueueFull

# Of each kind of work that comes due by itself, at most so much in one turn of the loop:
# callers are answered in between, and a commit stays small.
TICK_MAX: Final = 256
ADVANCE_MAX: Final = 2048  # of delayed jobs that have come due: about 20 ms


Admit = Callable[[Job], Admitted | Refused]
HasRoom = Callable[[int], bool]  # of bytes in the commit that is being made


class Engine(State):
    def __init__(self, rules: Rules, *, boot_id: str) -> None:
        super().__init__(rules, boot_id=boot_id)
        self.starts = Starts()

    # Commands.

    def decide(self, command: Command, now: Moment) -> Decision:  # noqa: PLR0912 an arm for each
        """Raises RequestError, and then nothing has changed."""
        decision = Decision()
        match command:
            case commands.Submit():
                decision.answer = self._submit(decision, command.submissions, now)
            case commands.AttemptEnded():
                self._attempt_ended(decision, command, now)
            case commands.AttemptNeverRan():
                self._attempt_never_ran(decision, command, now)
            case commands.Looked():
                self._looked(decision, command, now)
            case commands.Progress():
                self._progress(command, now)
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

    # Attempts give signs of life.

    def _progress(self, command: commands.Progress, now: Moment) -> None:
        job = self._find(command.id)
        if job.running is None:
            raise Conflict(f"job {job.id} is not running: it is {job.status}", status=job.status)
        self.signs.told(job, Progress(float(command.fraction), command.message), now)

    def _looked(self, decision: Decision, command: commands.Looked, now: Moment) -> None:
        job = self.running.get(command.id)
        if job is None or job.attempt != command.attempt:
            return  # it ended meanwhile
        assert job.running is not None
        self.signs.looked(job, command.seen_at, now)
        if job.running.stopping is not None:
            return
        # Not by `now`: who was silent for long enough since somebody looked is looked at again.
        if self.signs.look_at(job) <= command.at:
            self._stop(decision, job, "idle", now)
        else:
            self._patience.renew(job)

    # Attempts end.

    def _attempt_ended(
        self, decision: Decision, command: commands.AttemptEnded, now: Moment
    ) -> None:
        job = self._attempted(command.id, command.attempt)
        progress = self.signs.end(job)
        record = verdict(
            job, command.ending, self.rules, now.wall, command.jitter, progress=progress
        )
        if command.ending.kind == "interrupted":
            self.starts.begin_slowly()
        self._keep(decision, record, Settle(job.id, command.attempt))

    def _attempt_never_ran(
        self, decision: Decision, command: commands.AttemptNeverRan, now: Moment
    ) -> None:
        job = self._attempted(command.id, command.attempt)
        assert job.running is not None
        self.signs.end(job)
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
            if job.running.stopping is not None:
                self._kill(decision, job, now)
            elif self._patience.is_over(job, now.boot):
                self._stop(decision, job, "timeout", now)
            else:
                if self.signs.look_at(job) <= now.boot:
                    since = self.signs.looking(job)
                    decision.effects.append(Look(job.id, job.attempt, since))
                self._patience.renew(job)

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

    def adopt(self, now: Moment) -> list[Effect]:
        """After replay and settling, before anything else is asked.

        The answer: stops on record whose signal may never have been sent.
        """
        self.signs.begin(self.running.values(), now)
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

    def _find(self, id: str) -> Job:
        job = self.jobs.get(id)
        if job is None:
            raise NotFound(f"no job {id}")
        return job


def _earliest(instants: Sequence[float | None]) -> float | None:
    return min((at for at in instants if at is not None), default=None)
