"""What the engine answers: facts to keep, effects to carry out once they are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobd.core.allow import Admitted
from jobd.core.job import Job, Policy, Status
from jobd.core.moment import Moment
from jobd.core.records import Record


class Fact(NamedTuple):
    """One kept record, as it is announced once it is on disk."""

    seq: int  # ordinal of the record over the journal's whole life, from 1, never reused
    record: Record
    job: Job  # whose: its id, call, policy and submitter never change
    status: Status | None  # right after this record; None: removed
    attempt: int  # right after this record: how many have started


class Submittal(NamedTuple):
    id: str
    status: Status
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Launch:
    id: str
    attempt: int
    by: str
    call: bytes
    policy: Policy
    admitted: Admitted


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask: the policy's stop signal to the attempt's processes."""

    id: str
    attempt: int
    signal: str


@dataclass(frozen=True, slots=True)
class Kill:
    id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Look:
    """Find out when the attempt last wrote something; the answer is `Looked`."""

    id: str
    attempt: int
    since: Moment  # this daemon has known it


@dataclass(frozen=True, slots=True)
class Settle:
    """The attempt's end is on record: what the keeper wrote of it may go."""

    id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The job is removed: its output may go."""

    id: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Find out whether the host still lacks what a start needs; the answer is `Probed`."""


Effect = Launch | Stop | Kill | Look | Settle | Forget | Probe


@dataclass(slots=True)
class Decision:
    """What must be remembered, what may be done once it is, and what to answer then."""

    facts: list[Fact] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    answer: Any = None
