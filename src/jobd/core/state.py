"""What is known: the fold of the records.

`_apply` serves live operation and replay, so that what is remembered cannot differ from what was
done.  Nothing here decides; the engine, which does, changes a job by keeping a record of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobd.core import lifecycle, records
from jobd.core.graveyard import Graveyard
from jobd.core.job import FINAL, WAITING, Job, Status
from jobd.core.patience import Patience
from jobd.core.promises import promised_bytes
from jobd.core.records import Record
from jobd.core.register import Register
from jobd.core.rules import Rules
from jobd.core.schedule import Schedule
from jobd.core.signs import Signs


class State:
    def __init__(self, rules: Rules, *, boot_id: str) -> None:
        self.rules = rules
        self.seq = 0  # of the last record
        self.live_bytes = 0  # about what the journal needs for the jobs there are
        self.jobs = Register()
        self.running: dict[str, Job] = {}
        self.counts = dict.fromkeys(Status, 0)
        self.schedule = Schedule(rules.queue_max)
        self.signs = Signs()  # not in the records, and not needed to read them
        self._boot_id = boot_id
        self._last_boot_id = boot_id  # of the latest attempt
        self._patience = Patience(boot_id, self.signs)
        self._graveyard = Graveyard()

    def replay(self, seq: int, records: Sequence[Record]) -> None:
        """One commit, `seq` being the ordinal of its first record.

        Once a job's first segment was compacted away, what it did between then and the
        snapshot is still in the journal: of a job that is not known yet, nothing is done.
        """
        self.seq = seq - 1
        for record in records:
            self.seq += 1
            self._apply(record)

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
