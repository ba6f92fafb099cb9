"""Which running job is to be stopped, or killed, next: its timeout, then the end of its grace."""

from __future__ import annotations

from jobd.core.heap import Heap
from jobd.core.job import Job


class Patience:
    """By the boot clock, so that it means nothing to attempts of an earlier boot."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self._jobs: Heap[Job] = Heap()

    def add(self, job: Job) -> None:
        """It runs."""
        deadline = self._deadline(job)
        if deadline is not None:
            self._jobs.push((deadline, job.number), job)

    def remove(self, job: Job) -> None:
        """It runs no longer, or is about to change."""
        if job.place != -1:
            self._jobs.remove(job)

    def next_at(self) -> float | None:
        return self._jobs.first_key()[0] if self._jobs else None

    def due(self, now: float) -> Job | None:
        """The first one whose time is over."""
        at = self.next_at()
        return self._jobs.first() if at is not None and at <= now else None

    def _deadline(self, job: Job) -> float | None:
        running = job.running
        assert running is not None
        if running.killed or running.boot_id != self._boot_id:
            return None
        if running.stop_boot_at is not None:
            return running.stop_boot_at + job.policy.kill_grace
        return None if job.policy.timeout is None else running.boot_at + job.policy.timeout
