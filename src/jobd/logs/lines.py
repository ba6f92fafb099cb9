"""One line of a job log: what it says, and its two forms.

Values are held as JSON text, put together once: there are two lines for each job at least.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring as _quoted
from typing import Any, Final, NamedTuple

from jobd.core.decision import Fact
from jobd.core.job import Failure, Status
from jobd.core.records import Cancelled, Completed, Failed, Interrupted, Retried, Started
from jobd.logs.files import compact, printable, rfc3339, text_line

PARAMS_MAX_BYTES: Final = 2048

_REFUSED: Final = "Unauthorized job execution attempt"


class Line(NamedTuple):
    level: str
    message: str
    id: str | None
    call: Mapping[str, Any] | None  # whose subject and params
    facts: Mapping[str, str]  # JSON by name, in order


def of(fact: Fact) -> list[Line]:
    """Of a kept record; none of many kinds."""
    record = fact.record
    match record:
        case Started():
            return [_line("INFO", "Job started", fact, Status.RUNNING)]
        case Completed():
            return [_line("INFO", "Job completed", fact, Status.COMPLETED)]
        case Retried() | Interrupted():
            more = {"error": _error(record.ended.failure), "run_at": rfc3339(record.run_at)}
            return [_line("WARNING", "Job retrying", fact, Status.PENDING_RETRY, **more)]
        case Cancelled():
            return [_line("INFO", "Job cancelled", fact, Status.CANCELLED)]
        case Failed():
            error = _error(record.failure)
            failed = _line("ERROR", "Job failed", fact, Status.FAILED, error=error)
            if record.failure.kind != "unauthorized":
                return [failed]
            # The list no longer admits it: that is a refusal, and the end of the job too.
            return [_line("ERROR", _REFUSED, fact, "unauthorized", error=error), failed]
        case _:
            return []


def of_refusal(peer: str, call: Mapping[str, Any], why: str) -> Line:
    facts = {"status": "unauthorized", "submitted_by": peer, "error": why}
    return Line("ERROR", _REFUSED, None, call, {name: _quoted(v) for name, v in facts.items()})


def of_count(peer: str, count: int) -> Line:
    """Of refusals that were not told one by one."""
    facts = {"status": '"unauthorized"', "submitted_by": _quoted(peer), "count": str(count)}
    return Line("ERROR", f"{_REFUSED}s", None, None, facts)


def as_text(line: Line, at: float, *, params: bool) -> str:
    subject = "" if line.call is None else f": {_subject(line.call)}"
    facts = {**_about(line, params), "timestamp": _quoted(rfc3339(at))}
    return text_line(at, line.level, "jobd", f"{line.message}{subject} {_object(facts)}") + "\n"


def as_json(line: Line, at: float, *, params: bool) -> str:
    entry = {"timestamp": rfc3339(at), "level": line.level, "message": line.message}
    if line.call is not None:
        entry["job"] = _subject(line.call)
    quoted = {name: _quoted(value) for name, value in entry.items()}
    return _object({**quoted, **_about(line, params)}) + "\n"


def _line(level: str, message: str, fact: Fact, status: str, **more: str) -> Line:
    facts = {"status": f'"{status}"', "attempt": str(fact.attempt)}
    facts |= {name: _quoted(value) for name, value in more.items()}
    return Line(level, message, fact.job.id, json.loads(fact.job.call.decode()), facts)


def _error(failure: Failure | None) -> str:
    assert failure is not None
    return failure.message or failure.kind


def _about(line: Line, params: bool) -> dict[str, str]:
    about = {} if line.id is None else {"id": _quoted(line.id)}
    if params and line.call is not None:
        about["params"] = _params(line.call)
    return {**about, **line.facts}


def _object(facts: Mapping[str, str]) -> str:
    return printable("{" + ",".join(f'"{name}":{value}' for name, value in facts.items()) + "}")


def _subject(call: Mapping[str, Any]) -> str:
    if "command" not in call:
        method = call.get("method")
        return printable(call["target"] if method is None else f"{call['target']}@{method}")
    program: str = call["command"][0]
    # So that nothing in a name can pass for the end of it.
    plain = program.isprintable() and " " not in program
    return program if plain else compact(program)


def _params(call: Mapping[str, Any]) -> str:
    """The arguments; beyond 2 KiB the beginning of their JSON, as a string."""
    params = compact(_arguments(call))
    encoded = params.encode(errors="backslashreplace")
    if len(encoded) <= PARAMS_MAX_BYTES:
        return params
    return _quoted(encoded[:PARAMS_MAX_BYTES].decode(errors="ignore") + "…")


def _arguments(call: Mapping[str, Any]) -> Any:
    if "command" in call:
        return call["command"][1:]
    args, kwargs = call.get("args") or [], call.get("kwargs") or {}
    if args and kwargs:
        return {"args": args, "kwargs": kwargs}
    return args or kwargs
