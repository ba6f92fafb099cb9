"""A desk to sit the engine at: time is an argument, every call is written down."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from jobd.core import ids
from jobd.core.allow import Admitted, Refused
from jobd.core.commands import AttemptEnded, AttemptNeverRan, Cancel, Command, Submission, Submit
from jobd.core.decision import Decision
from jobd.core.engine import Engine
from jobd.core.job import Ending, Job, Policy, Status
from jobd.core.moment import Moment
from jobd.core.records import Record
from jobd.core.rules import Rules

BOOT = "the-first-boot"
WALL_0 = 1_700_000_000.0  # an ordinary day
BOOT_0 = 50.0


class Desk:
    """One engine, its two watches, and the records that it ever decided on."""

    def __init__(self, rules: Rules, boot_id: str = BOOT) -> None:
        self.rules = rules
        self.boot_id = boot_id
        self.engine = Engine(rules, boot_id=boot_id)
        self.wall, self.boot = WALL_0, BOOT_0
        self.records: list[Record] = []
        self.refused: set[str] = set()
        self.room_bytes: float = math.inf  # that the journal has, beside what was promised
        self._request = itertools.count()

    @property
    def now(self) -> Moment:
        return Moment(self.wall, self.boot)

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds

    def decide(self, command: Command) -> Decision:
        return self._noted(self.engine.decide(command, self.now))

    def tick(self, after: float = 0.0) -> Decision:
        self.wait(after)
        return self._noted(self.engine.tick(self.now, self._admit, self._has_room))

    def submission(
        self, *, request_id: str | None = None, by: str = "uid:1000", call: bytes | None = None,
        run_at: float | None = None, delay_s: float = 0.0, **policy: Any,
    ) -> Submission:  # fmt: skip
        request_id = f"request {next(self._request)}" if request_id is None else request_id
        return Submission(
            stem=ids.stem(by, request_id), by=by, policy=Policy(**policy),
            call=json.dumps({"command": ["true"]}).encode() if call is None else call,
            run_at=run_at, delay_s=delay_s,
        )  # fmt: skip

    def submit(self, **fields: Any) -> Job:
        """One new job."""
        [answer] = self.decide(Submit((self.submission(**fields),))).answer
        assert not answer.duplicate
        return self.job(answer.id)

    def started(self, **fields: Any) -> Job:
        """One new job whose first attempt is under way."""
        job = self.submit(**fields)
        self.tick()
        assert job.status is Status.RUNNING
        return job

    def end(
        self, job: Job, kind: str = "completed", *, jitter: float = 0.0, **ending: Any
    ) -> Decision:
        if kind == "exit":
            ending.setdefault("exit_code", 1)
        told = Ending(kind=kind, **ending)  # type: ignore[arg-type]
        return self.decide(AttemptEnded(job.id, job.attempt, told, jitter))

    def never_ran(self, job: Job) -> Decision:
        return self.decide(AttemptNeverRan(job.id, job.attempt))

    def cancel(self, job: Job, *, force: bool = False) -> Decision:
        return self.decide(Cancel(job.id, force))

    def final(self, status: Status, **fields: Any) -> Job:
        """One new job that ended as `status`."""
        job = self.started(retry_attempts=0, **fields)
        if status is Status.CANCELLED:
            self.cancel(job)
        self.end(job, "completed" if status is Status.COMPLETED else "exit")
        assert job.status is status
        return job

    def job(self, id: str) -> Job:
        job = self.engine.jobs.get(id)
        assert job is not None
        return job

    def twin(self, boot_id: str | None = None) -> Engine:
        """Another engine that was told the same records."""
        twin = Engine(self.rules, boot_id=boot_id or self.boot_id)
        twin.replay(1, self.records)
        return twin

    def refuse(self, job: Job) -> None:
        """From now on the allow-list no longer has it."""
        self.refused.add(job.id)

    def _has_room(self, size_bytes: int) -> bool:
        if size_bytes > self.room_bytes:
            return False
        self.room_bytes -= size_bytes
        return True

    def _admit(self, job: Job) -> Admitted | Refused:
        return Refused("not on the list") if job.id in self.refused else Admitted("/bin/true")

    def _noted(self, decision: Decision) -> Decision:
        for fact in decision.facts:
            self.records.append(fact.record)
            assert fact.seq == len(self.records), "ordinals have no gaps"
        return decision


@pytest.fixture
def desk_with() -> Callable[..., Desk]:
    def build(**rules: Any) -> Desk:
        return Desk(Rules(**{"max_running": 4, **rules}))

    return build


@pytest.fixture
def desk(desk_with: Callable[..., Desk]) -> Desk:
    return desk_with()


@pytest.fixture
def started(desk: Desk) -> list[str]:
    """Fills with the ids of attempts in the order of their start."""
    order: list[str] = []
    tick = desk.tick

    def noting(after: float = 0.0) -> Decision:
        decision = tick(after)
        order.extend(effect.id for effect in decision.effects if type(effect).__name__ == "Launch")
        return decision

    desk.tick = noting  # type: ignore[method-assign]
    return order
