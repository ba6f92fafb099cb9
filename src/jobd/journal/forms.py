"""What each record looks like as JSON: one table that both writes and strictly reads.

Whatever is written can be read again.  Reading takes any JSON, and gives either a whole, valid
record or BadLine.  A part that has its usual value is left out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, get_args

from jobd.core import job, records
from jobd.core.fields import FIELDS, LIMITS, Field
from jobd.core.ids import ALPHABET, ID_LENGTH
from jobd.journal.kinds import (
    CALL,
    COUNT,
    FLAG,
    ID,
    NUMBER,
    ORDINAL,
    RESULT,
    TEXT,
    WHOLE,
    WORD,
    BadLine,
    Form,
    Kind,
    Part,
    brief,
    compact,
    list_of,
    nullable,
    number_in,
    one_of,
    refuse,
    text_in,
    tuple_of,
)  # fmt: skip

POLICIES_MAX: Final = 4096  # different ones that are remembered, so that jobs share them


def write(record: records.Record) -> str:
    """The record as a JSON object.  ValueError, if it could not be read again: a bug."""
    return _FORMS[type(record)].write(record)


def read(value: Any) -> records.Record:
    """The record that the parsed JSON says, or BadLine."""
    tag = value.get("type") if type(value) is dict else None
    form = _BY_TAG.get(tag) if type(tag) is str else None
    if form is None:
        raise BadLine(f"not a record of this version: {brief(value)}, type {brief(tag)}")
    record: records.Record = form.read(value)
    return record


# ------------------------------------------------------------------------------------ policy


def _waits_out(value: str | tuple[float, ...]) -> str:
    return compact(value if isinstance(value, str) else list(map(float, value)))


def _waits_in(value: Any) -> str | tuple[float, ...]:
    return tuple(map(number_in, value)) if type(value) is list else text_in(value)


def _bounded(name: str, field: Field, kind: Kind) -> Kind:
    """Within the bounds that the table of fields gives."""
    kind = nullable(kind) if field.nullable else kind

    def read(value: Any) -> Any:
        found = kind.read(value)
        fault = field.fault(found)
        return found if fault is None else refuse(value, f"a valid {name}: {fault}")

    return Kind(kind.write, read)


def _limit_part(name: str, field: Field) -> Part:
    kind = NUMBER if field.shape == "number" else WHOLE
    return Part(name, _bounded(name, field, kind), "null")


_LIMITS: Final = Form(job.Limits, *(_limit_part(*item) for item in LIMITS.items()))
_SHAPES: Final = {
    "string": TEXT, "integer": COUNT, "number": NUMBER, "backoff": Kind(_waits_out, _waits_in),
    "codes": tuple_of(COUNT), "ends": tuple_of(WORD),
}  # fmt: skip


def _policy_part(name: str) -> Part:
    field, usual = FIELDS[name], getattr(job.Policy(), name)
    if field.shape == "limits":
        return Part(name, _LIMITS.kind, _LIMITS.write(usual))
    kind = _bounded(name, field, _SHAPES[field.shape])
    return Part(name, kind, kind.write(usual))


_POLICY: Final = Form(job.Policy, *map(_policy_part, job.Policy.__dataclass_fields__))
_USUAL: Final = job.Policy()
_policies: dict[str, job.Policy] = {}


def _policy_in(value: Any) -> job.Policy:
    """Equal ones are the same object."""
    if value == {} and type(value) is dict:
        return _USUAL
    said = repr(value) if type(value) is dict and len(value) <= len(FIELDS) else ""
    found = _policies.get(said)
    if found is None:
        found = _POLICY.read(value)
        if len(_policies) >= POLICIES_MAX:
            _policies.clear()
        _policies[said] = found
    return found


POLICY: Final = Kind(lru_cache(POLICIES_MAX)(_POLICY.write), _policy_in)

# ------------------------------------------------------------------------------------ the table

WHY: Final = one_of(get_args(job.StopReason))
OUTCOME: Final = one_of(get_args(job.Kind))
STATUS: Final = one_of(tuple(job.Status))


def _optional(name: str, kind: Kind) -> Part:
    return Part(name, nullable(kind), "null")


FAILURE: Final = Form(
    job.Failure,
    Part("kind", OUTCOME), Part("message", TEXT), _optional("exit_code", WHOLE),
    _optional("signal", TEXT), _optional("traceback", TEXT),
)  # fmt: skip

PROGRESS: Final = Form(
    job.Progress,
    Part("fraction", NUMBER), _optional("message", TEXT),
)  # fmt: skip

ENDED: Final = Form(
    job.Ended,
    Part("attempt", ORDINAL), _optional("pid", ORDINAL), Part("started_at", NUMBER),
    Part("finished_at", NUMBER), Part("outcome", OUTCOME), _optional("exit_code", WHOLE),
    _optional("signal", TEXT), _optional("cpu_time", NUMBER), _optional("max_rss", COUNT),
    _optional("failure", FAILURE.kind), _optional("progress", PROGRESS.kind),
)  # fmt: skip

RUNNING: Final = Form(
    job.Running,
    Part("number", ORDINAL), Part("started_at", NUMBER), Part("boot_id", TEXT),
    Part("boot_at", NUMBER), _optional("stopping", WHY), _optional("stop_boot_at", NUMBER),
    Part("cancelled", FLAG, "false"), Part("killed", FLAG, "false"),
)  # fmt: skip

HISTORY: Final = Form(
    job.History,
    Part("first", list_of(ENDED.kind), "[]"), Part("last", list_of(ENDED.kind), "[]"),
    _optional("finished_at", NUMBER), Part("result", RESULT, "null"),
    _optional("failure", FAILURE.kind),
)  # fmt: skip


def _record(cls: type, tag: str, *parts: Part) -> tuple[type, str, Form]:
    return cls, tag, Form(cls, Part("id", ID), Part("at", NUMBER), *parts, tag=tag)


_TABLE: Final = (
    _record(
        records.Submitted, "submitted",
        Part("by", TEXT), Part("run_at", NUMBER), Part("policy", POLICY, "{}"), Part("call", CALL),
    ),
    _record(
        records.Started, "started",
        Part("attempt", ORDINAL), Part("boot_id", TEXT), Part("boot_at", NUMBER),
    ),
    _record(records.StopRequested, "stop_requested", Part("why", WHY), Part("boot_at", NUMBER)),
    _record(records.KillRequested, "kill_requested"),
    _record(records.NeverRan, "never_ran", Part("attempt", ORDINAL)),
    _record(
        records.Completed, "completed", Part("ended", ENDED.kind), Part("result", RESULT, "null")
    ),
    _record(records.Retried, "retried", Part("ended", ENDED.kind), Part("run_at", NUMBER)),
    _record(
        records.Interrupted, "interrupted",
        Part("ended", ENDED.kind), Part("run_at", NUMBER), Part("counted", FLAG),
    ),
    _record(
        records.Failed, "failed", _optional("ended", ENDED.kind), Part("failure", FAILURE.kind)
    ),
    _record(records.Cancelled, "cancelled", _optional("ended", ENDED.kind)),
    _record(records.RetryRequested, "retry_requested", Part("run_at", NUMBER)),
    _record(records.Removed, "removed"),
    _record(
        records.Kept, "kept",
        Part("number", ORDINAL), Part("by", TEXT), Part("submitted_at", NUMBER),
        Part("run_at", NUMBER), Part("status", STATUS), Part("attempt", COUNT, "0"),
        _optional("started_at", NUMBER), Part("retries_left", COUNT),
        Part("interruptions", COUNT, "0"), Part("policy", POLICY, "{}"),
        _optional("running", RUNNING.kind), _optional("history", HISTORY.kind), Part("call", CALL),
    ),
)  # fmt: skip

_FORMS: Final = {cls: form for cls, _, form in _TABLE}
_BY_TAG: Final[dict[Any, Form]] = {tag: form for _, tag, form in _TABLE}
TAGS: Final = {cls: tag for cls, tag, _ in _TABLE}

_BASE: Final = re.compile(
    rb'\{\s*"type"\s*:\s*"(?:submitted|kept)"\s*,\s*"id"\s*:\s*"([%b]{%d})"'
    % (ALPHABET.encode(), ID_LENGTH)
)


def base_ids(line: bytes) -> list[str]:
    """The jobs that `line` alone could rebuild, read without parsing it.

    What a job's own arguments say in the same words is taken for one too; who asks must bear that.
    """
    return [id.decode() for id in _BASE.findall(line)]
