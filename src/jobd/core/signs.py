"""Signs of life that running attempts give, and how far they say they have come.

Volatile: nothing of it is journaled while an attempt runs.  So a daemon that takes one over, and
can't know when it last told of progress, counts its own start as a sign of life.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobd.core.job import Job, Progress
from jobd.core.moment import Moment


@dataclass(slots=True)
class _Watch:
    since: Moment  # this daemon has known the attempt
    seen_at: float  # alive, by the boot clock
    looking: bool = False  # asked, and not answered yet


class Signs:
    """Of attempts that have nothing to say and no `idle_timeout` it knows nothing."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}  # by id; an attempt just begun needs none
        self._progress: dict[str, Progress] = {}

    def begin(self, jobs: Iterable[Job], now: Moment) -> None:
        """These were taken over, and are not known to be idle yet."""
        for job in jobs:
            if job.policy.idle_timeout is not None:
                self._watches[job.id] = _Watch(now, now.boot)

    def told(self, job: Job, progress: Progress, now: Moment) -> None:
        """Progress, which is a sign of life too."""
        self._progress[job.id] = progress
        if job.policy.idle_timeout is not None:
            self._watch(job).seen_at = now.boot

    def progress(self, job: Job) -> Progress | None:
        """The last that the running attempt told; of a job that is not running, the last one."""
        if job.running is not None:
            return self._progress.get(job.id)
        ended = job.history and (job.history.last or job.history.first)
        return ended[-1].progress if ended else None

    def end(self, job: Job) -> Progress | None:
        """The attempt is over, and this is the last that it told."""
        self._watches.pop(job.id, None)
        return self._progress.pop(job.id, None)

    # Of attempts that have an idle_timeout.

    def look_at(self, job: Job) -> float:
        """When it has to be looked at, or, after that, when it is idle: by the boot clock."""
        assert job.policy.idle_timeout is not None
        assert job.running is not None
        watch = self._watches.get(job.id)
        seen_at = job.running.boot_at if watch is None else watch.seen_at
        return seen_at + job.policy.idle_timeout

    def is_looked_at(self, job: Job) -> bool:
        watch = self._watches.get(job.id)
        return watch is not None and watch.looking

    def looking(self, job: Job) -> Moment:
        """Somebody goes and looks.  The answer: since when it has been watched."""
        watch = self._watch(job)
        watch.looking = True
        return watch.since

    def looked(self, job: Job, seen_at: float | None, now: Moment) -> None:
        """Something was written at `seen_at`; None: nothing is known of that."""
        watch = self._watch(job)
        watch.looking = False
        if seen_at is not None:
            watch.seen_at = max(watch.seen_at, min(seen_at, now.boot))

    def _watch(self, job: Job) -> _Watch:
        watch = self._watches.get(job.id)
        if watch is None:
            assert job.running is not None
            since = Moment(job.running.started_at, job.running.boot_at)
            watch = self._watches[job.id] = _Watch(since, since.boot)
        return watch
