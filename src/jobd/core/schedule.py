"""Which job runs next.

Higher priority first, then earlier `run_at`, then order of submission.  Each queue keeps
within its own limit, and one at its limit holds no other back.  Every step costs O(log n).

A job that waits is in exactly one heap: with the delayed ones until its time has come, then
with the ready ones of its queue.  Of each queue that may start something, the best job
stands in `_heads`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jobd.core.heap import Heap
from jobd.core.job import Job


class QueueCounts(NamedTuple):
    pending: int
    running: int
    max_running: int | None


class Queue:
    """`place` is that of its best job in `Schedule._heads`."""

    __slots__ = ("name", "place", "ready", "running", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: Heap[Job] = Heap()
        self.waiting = 0  # delayed or ready
        self.running = 0
        self.place = -1


class Schedule:
    def __init__(self, queue_max: Mapping[str, int]) -> None:
        self._queue_max = queue_max
        self._queues: dict[str, Queue] = {}
        self._delayed: Heap[Job] = Heap()
        self._heads: Heap[Queue] = Heap()

    # Jobs come and go.

    def add(self, job: Job, *, ready: bool) -> None:
        queue = self._queue(job)
        queue.waiting += 1
        if ready:
            self._make_ready(job, queue)
        else:
            self._delayed.push((job.run_at, job.number), job)

    def withdraw(self, job: Job) -> None:
        """It waits no longer: it was started, cancelled or refused."""
        queue = self._queue(job)
        queue.waiting -= 1
        if queue.ready.holds(job):
            queue.ready.remove(job)
            self._refresh(queue)
        else:
            self._delayed.remove(job)
        self._drop_if_idle(queue)

    def occupy(self, job: Job) -> None:
        """It runs."""
        queue = self._queue(job)
        queue.running += 1
        self._refresh(queue)

    def vacate(self, job: Job) -> None:
        """It runs no longer."""
        queue = self._queue(job)
        queue.running -= 1
        self._refresh(queue)
        self._drop_if_idle(queue)

    def follow(self, queue_max: Mapping[str, int]) -> None:
        """New limits; what runs above them goes on."""
        self._queue_max = queue_max
        for queue in self._queues.values():
            self._refresh(queue)

    # What is next.

    def advance(self, now: float, most: int) -> bool:
        """Delayed jobs whose time has come are ready; of very many, only `most` of them.

        False: there are more, so that it is not known yet which job is next.
        """
        for _ in range(most):
            job = self._delayed.first()
            if job is None or job.run_at > now:
                return True
            self._delayed.remove(job)
            self._make_ready(job, self._queue(job))
        return False

    def next(self, now: float) -> Job | None:
        """The job to start, if only slots of the daemon lack.  It stays where it is."""
        while (queue := self._heads.first()) is not None:
            job = queue.ready.first()
            assert job is not None
            if job.run_at <= now:
                return job
            # The clock was set back: it is not this job's time any more.
            queue.ready.remove(job)
            self._refresh(queue)
            self._delayed.push((job.run_at, job.number), job)
        return None

    def next_ready_at(self) -> float | None:
        """When a delayed job becomes ready."""
        job = self._delayed.first()
        return None if job is None else job.run_at

    def next_start_at(self) -> float | None:
        """Since when a ready job could start, if only slots of the daemon lack."""
        queue = self._heads.first()
        job = None if queue is None else queue.ready.first()
        return None if job is None else job.run_at

    def counts(self) -> Iterator[tuple[str, QueueCounts]]:
        """Of each queue with something in it, and each with a limit."""
        for name in {*self._queues, *self._queue_max, "default"}:
            queue = self._queues.get(name)
            waiting, running = (queue.waiting, queue.running) if queue else (0, 0)
            yield name, QueueCounts(waiting, running, self._queue_max.get(name))

    def _queue(self, job: Job) -> Queue:
        name = job.policy.queue
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = Queue(name)
        return queue

    def _make_ready(self, job: Job, queue: Queue) -> None:
        queue.ready.push((-job.policy.priority, job.run_at, job.number), job)
        if job.place == 0:
            self._refresh(queue)

    def _refresh(self, queue: Queue) -> None:
        """Its best job is among the heads, if it may start one."""
        if queue.place != -1:
            self._heads.remove(queue)
        limit = self._queue_max.get(queue.name)
        if queue.ready and (limit is None or queue.running < limit):
            self._heads.push(queue.ready.first_key(), queue)

    def _drop_if_idle(self, queue: Queue) -> None:
        """Queues are made by first use; one of which nothing is left is forgotten."""
        if not queue.waiting and not queue.running:
            assert queue.place == -1
            del self._queues[queue.name]
