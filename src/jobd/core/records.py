"""The facts that the journal keeps, in the past tense.

A record states what was decided, never what to decide again: `Retried` holds the instant of
the next attempt, its jitter already rolled.  So replay needs no clock, no dice and no retry
policy, and an old journal means the same thing to a new jobd.

The form of a record is a promise to every journal already on a disk.  To change one:
VERSION + 1, the old form stays readable, and a file written by the old release goes into
`tests/journal/golden/`.  The defaults of `Policy` are part of the form, since only what
differs from them is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jobd.core.job import Ended, Failure, History, Policy, Running, Status, StopReason

# 2: `idle_timeout`, `success_codes`, `no_retry_on`, `limits` of a policy; `progress` of an attempt
# that ended; the stop `idle`; the kinds `memory` and `cpu_time`.
VERSION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    id: str
    at: float
    by: str
    call: bytes  # JSON
    policy: Policy
    run_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    id: str
    at: float
    attempt: int
    boot_id: str
    boot_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """The attempt was told to stop: asked if it was the first time, else only noted."""

    id: str
    at: float
    why: StopReason
    boot_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KillRequested:
    id: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverRan:
    """Recorded as started, and certain never to run: the job is ready again."""

    id: str
    at: float
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    id: str
    at: float
    ended: Ended
    result: bytes  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    id: str
    at: float
    ended: Ended
    run_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """Ended without its own doing; `counted` against `max_interruptions`."""

    id: str
    at: float
    ended: Ended
    run_at: float
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """`ended` is None for a job that was not running."""

    id: str
    at: float
    ended: Ended | None
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """`ended` is None for a job that was not running."""

    id: str
    at: float
    ended: Ended | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested:
    id: str
    at: float
    run_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    id: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """All that is known of a job, said again, so that the oldest segment can go."""

    id: str
    at: float
    number: int
    by: str
    call: bytes  # JSON
    policy: Policy
    submitted_at: float
    run_at: float
    status: Status
    attempt: int
    started_at: float | None
    retries_left: int
    interruptions: int
    running: Running | None
    history: History | None


Record = (
    Submitted | Started | StopRequested | KillRequested | NeverRan | Completed | Retried
    | Interrupted | Failed | Cancelled | RetryRequested | Removed | Kept
)  # fmt: skip
