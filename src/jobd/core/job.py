"""The nouns: what a job is.

How a job moves is in `lifecycle`, which one runs next in `schedule`, what a caller may
write in `fields`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from jobd.core import ends
from jobd.core.fields import FIELDS


class Status(StrEnum):
    """What has been decided about a job.

    Whether a pending job is delayed or ready is no status: it is what the clock says about
    `run_at`, and needs no record in the journal.
    """

    PENDING = "pending"
    RUNNING = "running"
    PENDING_RETRY = "pending_retry"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


WAITING: Final = frozenset({Status.PENDING, Status.PENDING_RETRY})
FINAL: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

StopReason = Literal["cancelled", "timeout", "shutdown", "idle"]
Kind = Literal[
    "completed", "exception", "exit", "signal", "timeout", "spawn", "interrupted", "cancelled",
    "unauthorized", "memory", "cpu_time",
]  # fmt: skip

ATTEMPTS_KEPT: Final = 20  # of the first ones, and as many of the last ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an attempt's whole tree may use; None: no limit of jobd's."""

    memory: int | None = None  # bytes
    cpu_time: float | None = None  # seconds
    processes: int | None = None
    open_files: int | None = None  # of each process
    nice: int | None = None  # added to the daemon's

    def given(self) -> dict[str, Any]:
        """Those that are set, by name."""
        every = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in every.items() if value is not None}


class _Measured:
    """What is known of a policy beside its fields, once and for all jobs alike."""

    __slots__ = ("long_bytes",)

    long_bytes: int  # about what its parts without a bound of their own take in a journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(_Measured):
    """How a job is to be treated, resolved at submission.  One instance serves all jobs alike."""

    queue: str = "default"
    priority: int = 1  # 1…10, higher runs first
    retry_attempts: int = 3
    retry_delay: float = 5.0
    backoff: str | tuple[float, ...] = "fixed"
    retry_max_delay: float = 3600.0
    retry_jitter: float = 0.0
    timeout: float | None = None
    kill_grace: float = 10.0
    stop_signal: str = "SIGTERM"
    on_interrupt: str = "retry"
    cwd: str | None = None  # None: the home directory of the daemon's user
    idle_timeout: float | None = None
    success_codes: tuple[int, ...] = (0,)
    no_retry_on: tuple[int | str, ...] = ()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            fault = FIELDS[name].fault(value.given() if isinstance(value, Limits) else value)
            assert fault is None, f"{name}: {fault}"
        parts = [(getattr(self, name), usual) for name, usual in _LONG.items()]
        said = json.dumps([part for part, usual in parts if part != usual], ensure_ascii=False)
        object.__setattr__(self, "long_bytes", len(said.encode("utf-8", "surrogatepass")) - 2)


_LONG: Final[Mapping[str, Any]] = {  # of a policy, by name: their usual values, which are not kept
    "cwd": None, "backoff": "fixed", "success_codes": (0,), "no_retry_on": (),
}  # fmt: skip


def policy_value(name: str, value: Any) -> Any:
    """A valid value of the policy field `name`, as JSON or TOML has it, as `Policy` has it.

    JSON does not tell 5 from 5.0; a policy does, and so does the journal.
    """
    match FIELDS[name].shape:
        case "number":
            return None if value is None else float(value)
        case "backoff":
            return value if isinstance(value, str) else tuple(map(float, value))
        case "codes":
            return tuple(value)
        case "ends":
            return tuple(map(ends.stored, value))
        case "limits":
            return value if isinstance(value, Limits) else _limits(value)
        case _:
            return value


def _limits(given: Mapping[str, Any]) -> Limits:
    cpu_time = given.get("cpu_time")
    return Limits(**{**given, "cpu_time": None if cpu_time is None else float(cpu_time)})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come, as it said itself."""

    fraction: float  # 0…1
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    kind: Kind
    message: str
    exit_code: int | None = None
    signal: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended, as keeper and child told it; what that means is the engine's."""

    # completed, exception, exit, signal, memory, cpu_time, spawn, unauthorized or interrupted
    kind: Kind
    pid: int | None = None
    ended_at: float | None = None  # wall clock; None: nobody saw it
    exit_code: int | None = None
    signal: str | None = None
    cpu_time: float | None = None  # seconds, of the tree
    max_rss: int | None = None  # bytes, of its largest process
    message: str = ""
    traceback: str | None = None
    result: bytes = b"null"  # JSON, of a callable that completed
    of_command: bool = False  # its exit code says it all, and the policy what that means
    crowded: bool = False  # ended by jobd, for it had more processes than its limit
    strays: tuple[int, ...] = ()  # pids of what may be its, and was left over
    mro: tuple[str, ...] = ()  # of what a callable raised: `ValueError`, `app.errors.Permanent`
    wish: Literal["retry", "fail"] | None = None  # of a callable: what is to become of the job
    retry_after: float | None = None  # seconds; of the wish to be run again


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One attempt that is over, as it is kept and shown."""

    attempt: int
    pid: int | None
    started_at: float
    finished_at: float
    outcome: Kind
    exit_code: int | None = None
    signal: str | None = None
    cpu_time: float | None = None
    max_rss: int | None = None
    failure: Failure | None = None
    progress: Progress | None = None  # the last that it told


@dataclass(slots=True)
class Running:
    """The attempt that is under way."""

    number: int
    started_at: float  # wall clock
    boot_id: str
    boot_at: float  # the boot clock at its start: timeouts count from here
    stopping: StopReason | None = None  # why it was first told to stop
    stop_boot_at: float | None = None  # and when
    cancelled: bool = False  # asked for at any time: the job is not run again
    killed: bool = False


@dataclass(slots=True)
class History:
    """What a job has been through; absent until its first attempt ends or the job does."""

    first: list[Ended] = field(default_factory=list)
    last: list[Ended] = field(default_factory=list)
    finished_at: float | None = None
    result: bytes = b"null"
    failure: Failure | None = None

    def add(self, ended: Ended) -> None:
        """Keeps the first and the last ATTEMPTS_KEPT."""
        if len(self.first) < ATTEMPTS_KEPT:
            self.first.append(ended)
        else:
            self.last.append(ended)
            del self.last[:-ATTEMPTS_KEPT]

    def weight(self) -> int:
        every = (*self.first, *self.last)
        texts = _text_bytes(self.failure) + sum(map(_ended_bytes, every))
        return _BYTES_ENDED * len(every) + len(self.result) + texts


class Job:
    """A job as of the last record applied to it.  Only `lifecycle` changes one.

    A million of these are a use case: slots, shared policies, the submitted JSON as bytes,
    and nothing for what has not happened yet.
    """

    __slots__ = (
        "attempt", "by", "call", "history", "id", "interruptions", "number", "place", "policy",
        "retries_left", "run_at", "running", "started_at", "status", "submitted_at",
    )  # fmt: skip

    def __init__(
        self, *, id: str, number: int, by: str, call: bytes, policy: Policy,
        submitted_at: float, run_at: float,
    ) -> None:  # fmt: skip
        self.id = id
        self.number = number  # order of submission; the ordinal of its `submitted` record
        self.by = by  # who submitted it, as the kernel said
        self.call = call  # what was submitted: JSON, its fields as given
        self.policy = policy
        self.submitted_at = submitted_at
        self.run_at = run_at  # not before; wall clock, like every *_at
        self.status = Status.PENDING
        self.attempt = 0  # how many have started
        self.started_at: float | None = None  # of the latest attempt
        self.retries_left = policy.retry_attempts
        self.interruptions = 0
        self.running: Running | None = None
        self.history: History | None = None
        self.place = -1  # in the one heap that holds it; see `heap`

    def weight(self) -> int:
        """About how many bytes a journal needs to tell of it."""
        history = 0 if self.history is None else self.history.weight()
        return _BYTES_JOB + len(self.call) + self.policy.long_bytes + history


_BYTES_JOB: Final = 400  # of a snapshot, without what varies most
_BYTES_ENDED: Final = 200
_BYTES_PROGRESS: Final = 50


def _ended_bytes(ended: Ended) -> int:
    told = ended.progress
    if told is None:
        return _text_bytes(ended.failure)
    # A message may be all control characters, each of six bytes; who asks for room doubles this.
    return _text_bytes(ended.failure) + _BYTES_PROGRESS + 3 * len(told.message or "")


def _text_bytes(failure: Failure | None) -> int:
    return 0 if failure is None else len(failure.message) + len(failure.traceback or "")
