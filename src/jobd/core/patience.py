"""Which running job is to be looked at, stopped, or killed next: its timeouts, then its grace."""

from __future__ import annotations

from jobd.core.heap import Heap
from jobd.core.job import Job
from jobd.core.signs import Signs


class Patience:
    """By the boot clock, so that it means nothing to attempts of an earlier boot."""

    def __init__(self, boot_id: str, signs: Signs) -> None:
        self._boot_id = boot_id
        self._signs = signs
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

    def renew(self, job: Job) -> None:
        """It gave a sign of life, or is being looked at."""
        self.remove(job)
        self.add(job)

    def next_at(self) -> float | None:
        return self._jobs.first_key()[0] if self._jobs else None

    def due(self, now: float) -> Job | None:
        """The first one whose time is over."""
        at = self.next_at()
        return self._jobs.first() if at is not None and at <= now else None

    def is_over(self, job: Job, now: float) -> bool:
        """Whether it has had all the time that its `timeout` gives it."""
        at = _timeout_at(job)
        return at is not None and at <= now

    def _deadline(self, job: Job) -> float | None:
        running = job.running
        assert running is not None
        if running.killed or running.boot_id != self._boot_id:
            return None
        if running.stop_boot_at is not None:
            return running.stop_boot_at + job.policy.kill_grace
        timeout_at = _timeout_at(job)
        if job.policy.idle_timeout is None or self._signs.is_looked_at(job):
            return timeout_at
        look_at = self._signs.look_at(job)
        return look_at if timeout_at is None else min(look_at, timeout_at)


def _timeout_at(job: Job) -> float | None:
    assert job.running is not None
    return None if job.policy.timeout is None else job.running.boot_at + job.policy.timeout
