"""What must hold whatever happens, and the memory that is needed to see it broken.

Told from outside the daemon: by what it announced, what it answered, and which processes ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobd.core import records
from jobd.core.decision import Fact
from jobd.core.engine import Engine
from jobd.core.job import Job
from jobd.core.moment import Moment
from jobd.core.records import Record

Key = tuple[str, int]


class Promises:
    def __init__(self) -> None:
        self.told: dict[int, Record] = {}  # by seq: what the world may know
        self.in_flight: tuple[int, list[Record]] | None = None
        self.acknowledged: dict[str, str] = {}  # ids by request_id
        self.kept_outcomes: set[Key] = set()  # written by a keeper, and not lost with the host
        self.spawned: set[Key] = set()
        self._started: dict[Key, records.Started] = {}
        self._ended: set[Key] = set()
        self._may_be_gone: set[str] = set()

    # The journal.

    def appending(self, seq: int, kept: Sequence[Record]) -> None:
        self.in_flight = seq, list(kept)
        # From here on a removal may have happened, whatever becomes of this daemon.
        self._may_be_gone |= {r.id for r in kept if isinstance(r, records.Removed)}

    def announced(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            assert fact.seq == len(self.told) + 1, "told once, in order"
            self._told(fact.seq, fact.record)
            if isinstance(fact.record, records.Started):
                assert fact.record.at >= fact.job.run_at, "started before its time"
        self.in_flight = None

    def recovered(self, commits: Sequence[tuple[int, list[Record]]]) -> None:
        """What a new daemon read must be all that was told; besides, one commit, whole."""
        read = [(seq + n, record) for seq, kept in commits for n, record in enumerate(kept)]
        last = read[-1][0] if read else 0
        assert last >= len(self.told), f"records {last + 1} to {len(self.told)} are lost"
        for seq, record in read:
            if seq <= len(self.told):
                assert record == self.told[seq], f"record {seq} has changed"
        beyond = [record for seq, record in read if seq > len(self.told)]
        if beyond:
            assert self.in_flight is not None, "records that nobody wrote"
            assert beyond == self.in_flight[1], "a commit was applied in part"
            for record in beyond:
                self._told(len(self.told) + 1, record)
        self.in_flight = None

    def _told(self, seq: int, record: Record) -> None:
        self.told[seq] = record
        match record:
            case records.Started():
                self._started[record.id, record.attempt] = record
            case records.NeverRan() | records.Cancelled(ended=None):
                # The second: it waited, or never ran although it was started.
                for key in [key for key in self._started if key[0] == record.id]:
                    assert key in self._ended or key not in self.spawned, "it did run"
                    self._ended.add(key)
            case (
                records.Completed(ended=ended) | records.Retried(ended=ended)
                | records.Interrupted(ended=ended) | records.Failed(ended=ended)
                | records.Cancelled(ended=ended)
            ) if ended is not None:  # fmt: skip
                key = record.id, ended.attempt
                assert key not in self._ended, "an attempt ends once"
                self._ended.add(key)
                if (
                    ended.outcome == "interrupted"
                    and ended.failure.message != "stopped with the daemon"
                ):
                    assert key not in self.kept_outcomes, "its outcome was thrown away"

    # Processes.

    def spawning(self, key: Key, living: Sequence[Key]) -> None:
        id, attempt = key
        assert key in self._started, "its start is not on disk"
        assert key not in self.spawned, "the same attempt twice"
        assert key not in self._ended, "its end is on record already"
        assert not [each for each in living if each[0] == id], "two attempts of one job at once"
        unsettled = [
            n for n in range(1, attempt) if (id, n) in self._started and (id, n) not in self._ended
        ]
        assert not unsettled, "started before its predecessor was settled"
        self.spawned.add(key)

    # Answers.

    def answered(self, request_id: str, id: str, *, duplicate: bool) -> None:
        before = self.acknowledged.get(request_id)
        if before is not None and before not in self._may_be_gone:
            assert (id, duplicate) == (before, True), "a repeated request made a second job"
        self.acknowledged[request_id] = id

    # The engine, between two turns.

    def check(self, engine: Engine) -> None:
        for request_id, id in self.acknowledged.items():
            if id not in self._may_be_gone:
                assert engine.jobs.get(id) is not None, f"{request_id} was acknowledged and is lost"
        for job in engine.jobs:
            assert job.interruptions <= engine.rules.max_interruptions
            assert 0 <= job.retries_left <= job.policy.retry_attempts
        assert len(engine.running) <= engine.rules.max_running

    def after_turn(self, engine: Engine, now: Moment) -> None:
        deadlines = engine.next_deadline()
        assert deadlines.wall is None or deadlines.wall > now.wall, "a turn left something due"
        assert deadlines.boot is None or deadlines.boot > now.boot, "a turn left something due"
        for job in engine.running.values():
            running, policy = job.running, job.policy
            assert running is not None
            if running.stopping is None:
                late = policy.timeout is not None and now.boot >= running.boot_at + policy.timeout
                assert not late, "nobody stopped it"
            else:
                assert running.stop_boot_at is not None
                over = now.boot >= running.stop_boot_at + policy.kill_grace
                assert running.killed or not over, "nobody killed it"
                if running.stopping == "timeout":
                    assert policy.timeout is not None
                    assert running.stop_boot_at >= running.boot_at + policy.timeout, "too early"
                if running.stopping == "idle":
                    assert policy.idle_timeout is not None
                    assert running.stop_boot_at >= running.boot_at + policy.idle_timeout, (
                        "too early"
                    )


def account(engine: Engine) -> dict[str, Any]:
    """All that an engine knows, as values that can be compared."""
    return {
        "jobs": {
            job.id: {name: getattr(job, name) for name in Job.__slots__ if name != "place"}
            for job in engine.jobs
        },
        "order": [job.id for job in engine.jobs.newest()],
        "seq": engine.seq,
        "counts": engine.counts,
        "live_bytes": engine.live_bytes,
        "running": sorted(engine.running),
        "queues": dict(engine.schedule.counts()),
        # When something was last heard of an attempt is in no record.
        "patience": None if any(map(_may_idle, engine.running.values()))
        else engine._patience.next_at(),
    }  # fmt: skip


def _may_idle(job: Job) -> bool:
    return job.policy.idle_timeout is not None
