"""What each method takes, besides what a submission says (see `submission`).

`Says` is what the reference shows; it is read from here, so that it cannot differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, PlainValidator

from jobd.core.fields import DURATION_MAX_S, STRING_MAX
from jobd.core.job import Status
from jobd.rpc.faults import Params, fault

MANY_MAX: Final = 10_000  # jobs in a submit_many, ids in a wait
PAGE_MAX: Final = 1000
CHUNK_MAX: Final = 1024 * 1024

_CURSOR: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Says:
    """For the reference: the type, and what the parameter means."""

    type: str
    text: str


def _statuses(value: Any) -> frozenset[Status] | None:
    if value is None:
        return None
    names = value if isinstance(value, list) else [value]
    known = [status.value for status in Status]
    if not all(isinstance(name, str) and name in known for name in names):
        raise fault(f"must be one of {', '.join(known)}, or an array of them")
    return frozenset(map(Status, names))


def _ids(value: list[Any]) -> list[Any]:
    if not all(isinstance(id, str) for id in value):
        raise fault("must be an array of strings")
    if not 1 <= len(value) <= MANY_MAX:
        raise fault(f"must name 1 to {MANY_MAX} jobs")
    return value


def _many(value: list[Any]) -> list[Any]:
    if len(value) > MANY_MAX:
        raise fault(f"must have at most {MANY_MAX} jobs")
    return value


def _cursor(value: str) -> str:
    if not _CURSOR.fullmatch(value):
        raise fault("must be a cursor that `list` returned")
    return value


def _offset(value: Any) -> int | str:
    if isinstance(value, str) or (type(value) is int and value >= 0):
        return value
    raise fault("must be an integer of at least 0, or a string that `logs` returned")


def _short(value: str) -> str:
    if len(value) > STRING_MAX:
        raise fault(f"must have at most {STRING_MAX} characters")
    return value


def _subscription(value: Any) -> Any:
    if value is None or isinstance(value, bool | dict | list):
        raise fault("must be the id of the request that opened the stream")
    return value


JobId = Annotated[str, Says("string", "the job's id, or 4 or more characters it begins with")]
Seconds = Annotated[float, Field(ge=0, le=DURATION_MAX_S, allow_inf_nan=False)]
Statuses = Annotated[
    frozenset[Status] | None,
    PlainValidator(_statuses),
    Says("string, array", "only these statuses"),
]


class Nothing(Params):
    pass


class OneJob(Params):
    id: JobId


class ManyJobs(Params):
    jobs: Annotated[
        list[Any], AfterValidator(_many),
        Says("array", f"submissions, at most {MANY_MAX:,}: all are stored, or none"),
    ]  # fmt: skip


class ListParams(Params):
    status: Statuses = None
    queue: Annotated[str | None, Says("string", "only of this queue")] = None
    tag: Annotated[str | None, Says("string", "only with this tag")] = None
    target: Annotated[str | None, Says("string", "only of this callable")] = None
    limit: Annotated[
        int, Field(ge=1, le=PAGE_MAX), Says("integer", f"at most so many, 1…{PAGE_MAX}")
    ] = 100
    cursor: Annotated[
        Annotated[str, AfterValidator(_cursor)] | None,
        Says("string, null", "where the last page ended"),
    ] = None


class CancelParams(Params):
    id: JobId
    force: Annotated[bool, Says("boolean", "kill it, do not ask")] = False


class RetryParams(Params):
    id: JobId
    delay: Annotated[Seconds, Says("number, s", "not before this long from now")] = 0


class WaitParams(Params):
    ids: Annotated[
        list[Any], AfterValidator(_ids), Says("array of strings", f"1 to {MANY_MAX:,} jobs")
    ]
    timeout: Annotated[
        Seconds | None, Says("number, s; null", "0 asks once; null waits as long as it takes")
    ] = None
    any: Annotated[bool, Says("boolean", "until one of them is final, not all")] = False


class LogsParams(Params):
    id: JobId
    attempt: Annotated[
        Annotated[int, Field(ge=1, le=2**53)] | None, Says("integer, null", "null: the latest")
    ] = None
    stream: Annotated[
        Literal["stdout", "stderr", "both"], Says("string", "`stdout`, `stderr` or `both`")
    ] = "both"
    offset: Annotated[
        int | str, PlainValidator(_offset), Says("integer, string", "where to begin")
    ] = 0
    tail: Annotated[
        Annotated[int, Field(ge=0, le=2**53)] | None,
        Says("integer, null", "begin with the last so many lines; excludes `offset`"),
    ] = None
    limit: Annotated[
        int, Field(ge=1, le=CHUNK_MAX), Says("integer", f"bytes at once, 1…{CHUNK_MAX:,}")
    ] = 65536
    follow: Annotated[bool, Says("boolean", "stream until the job is final")] = False


class EventsParams(Params):
    status: Statuses = None
    queue: Annotated[str | None, Says("string", "only of this queue")] = None
    id: Annotated[str | None, Says("string", "only of this job")] = None
    since: Annotated[
        Annotated[int, Field(ge=0, le=2**63)] | None,
        Says("integer, null", "a `seq`: begin with the events after it"),
    ] = None


class UnsubscribeParams(Params):
    subscription: Annotated[
        Any, PlainValidator(_subscription),
        Says("string, number", "the id of the request that opened the stream"),
    ]  # fmt: skip


class ProgressParams(Params):
    id: JobId
    fraction: Annotated[
        float, Field(ge=0, le=1, allow_inf_nan=False), Says("number, 0…1", "done so far")
    ]
    message: Annotated[
        Annotated[str, AfterValidator(_short)] | None,
        Says("string, null", f"what it is at, at most {STRING_MAX} characters"),
    ] = None


class DrainParams(Params):
    timeout: Annotated[
        Seconds | None, Says("number, s; null", "answer after this long at the latest")
    ] = None
    off: Annotated[bool, Says("boolean", "start jobs again")] = False


class ShutdownParams(Params):
    drain: Annotated[bool, Says("boolean", "wait for running jobs, as configured")] = True
