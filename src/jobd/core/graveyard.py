"""Jobs that have ended, and how long they are kept."""

from __future__ import annotations

from typing import Final

from jobd.core.heap import Heap
from jobd.core.job import FINAL, Job, Status
from jobd.core.rules import Rules

MERCY_S: Final = 600.0  # whatever the config says: who waits for a job's end can still see it


class Graveyard:
    """A heap for each final status, since each has its own retention."""

    def __init__(self) -> None:
        self._ended: dict[Status, Heap[Job]] = {status: Heap() for status in FINAL}

    def add(self, job: Job, since: float) -> None:
        """`since`: when its end became known.  No daemon may have been there when it ended."""
        self._ended[job.status].push((since, job.number), job)

    def remove(self, job: Job) -> None:
        self._ended[job.status].remove(job)

    def next(self, now: float, rules: Rules, *, kept: int) -> Job | None:
        """One to be forgotten, if its time has come; `kept` is how many jobs there are."""
        oldest = self._oldest(rules, kept)
        return oldest[1] if oldest is not None and oldest[0] <= now else None

    def next_at(self, rules: Rules, kept: int) -> float | None:
        oldest = self._oldest(rules, kept)
        return None if oldest is None else oldest[0]

    def _oldest(self, rules: Rules, kept: int) -> tuple[float, Job] | None:
        """The job that goes first, and when."""
        crowded = rules.max_jobs is not None and kept > rules.max_jobs
        keep_s = {
            Status.COMPLETED: rules.completed_s,
            Status.FAILED: rules.failed_s,
            Status.CANCELLED: rules.cancelled_s,
        }
        best: tuple[float, Job] | None = None
        for status, ended in self._ended.items():
            job = ended.first()
            if job is None:
                continue
            (since, _) = ended.first_key()
            at = since + (MERCY_S if crowded else max(MERCY_S, keep_s[status]))
            if best is None or at < best[0]:
                best = (at, job)
        return best
