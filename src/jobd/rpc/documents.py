"""Jobs and events in the shapes that clients see; what they may not see is left out."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from jobd.core import records
from jobd.core.decision import Fact
from jobd.core.engine import Engine
from jobd.core.fields import FIELDS, POLICY
from jobd.core.job import Ended, Failure, Job, Limits, Progress
from jobd.instants import rfc3339

# Of a submission, what is shown as it was given; the rest is policy, or shown in another form.
_AS_GIVEN: Final = tuple(
    (name, list(field.default) if isinstance(field.default, tuple) else field.default)
    for name, field in FIELDS.items()
    if not field.later and not field.policy and name not in {"env", "run_at", "request_id"}
)
_NOT_LISTED: Final = frozenset({"args", "kwargs"})


def document(engine: Engine, job: Job, pid: int | None) -> dict[str, Any]:
    """All of a job; `pid` is that of its live attempt."""
    call = json.loads(job.call)
    shown = _common(engine, job, call)
    shown["env"] = list(call.get("env", ()))  # the names; values are nobody's business
    shown["result"] = json.loads(job.history.result) if job.history else None
    shown["attempts"] = _attempts(job, pid)
    return shown


def summary(engine: Engine, job: Job, call: dict[str, Any]) -> dict[str, Any]:
    """A job as `list` shows it.  `call` is the parsed `job.call`."""
    common = _common(engine, job, call)
    shown = {name: value for name, value in common.items() if name not in _NOT_LISTED}
    if shown["failure"] is not None:
        del shown["failure"]["traceback"]
    return shown


def event(fact: Fact) -> dict[str, Any]:
    """One record, less what only `status` shows."""
    record = fact.record
    shown = {
        "seq": fact.seq,
        "at": rfc3339(record.at),
        "type": EVENT_TYPES[type(record)],
        "id": fact.job.id,
        "status": fact.status,
        "attempt": fact.attempt,
        "queue": fact.job.policy.queue,
    }
    match record:
        case records.Submitted() | records.RetryRequested():
            shown["run_at"] = rfc3339(record.run_at)
        case records.Retried() | records.Interrupted():
            shown["run_at"] = rfc3339(record.run_at)
            shown["failure"] = _brief(record.ended.failure)
        case records.Failed():
            shown["failure"] = _brief(record.failure)
        case records.StopRequested():
            shown["why"] = record.why
    return shown


# What compaction says again is no event.
EVENT_TYPES: Final = {
    kind: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
    for kind in records.Record.__args__
    if kind is not records.Kept
}


def _common(engine: Engine, job: Job, call: dict[str, Any]) -> dict[str, Any]:
    history = job.history
    shown: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "stopping": job.running.stopping if job.running else None,
        "submitted_at": rfc3339(job.submitted_at),
        "submitted_by": job.by,
        "run_at": rfc3339(job.run_at),
        "started_at": _instant(job.started_at),
        "finished_at": _instant(history.finished_at if history else None),
        "attempt": job.attempt,
        "retries_left": job.retries_left,
        "progress": _progress(engine.signs.progress(job)),
        "failure": _failure(history.failure if history else None),
    }
    for name, default in _AS_GIVEN:
        shown[name] = call.get(name, default)
    for name in POLICY:
        shown[name] = _plain(getattr(job.policy, name))
    return shown


def _plain(value: Any) -> Any:
    """Of a policy, as JSON has it."""
    if isinstance(value, Limits):
        return value.given()
    return list(value) if isinstance(value, tuple) else value


def _attempts(job: Job, pid: int | None) -> list[dict[str, Any]]:
    """The first and the last that ended, then the one that runs."""
    history, running = job.history, job.running
    shown = [_ended(ended) for ended in (*history.first, *history.last)] if history else []
    if running is not None:
        live = dict.fromkeys(_ATTEMPT_FIELDS)
        live.update(attempt=running.number, pid=pid, started_at=rfc3339(running.started_at))
        shown.append(live)
    return shown


_ATTEMPT_FIELDS: Final = (
    "attempt", "pid", "started_at", "finished_at", "outcome", "exit_code", "signal", "cpu_time",
    "max_rss", "failure",
)  # fmt: skip


def _ended(ended: Ended) -> dict[str, Any]:
    shown = {name: getattr(ended, name) for name in _ATTEMPT_FIELDS}
    shown["started_at"] = rfc3339(ended.started_at)
    shown["finished_at"] = rfc3339(ended.finished_at)
    shown["failure"] = _failure(ended.failure)
    return shown


def _progress(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    return {"fraction": progress.fraction, "message": progress.message}


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {
        "kind": failure.kind,
        "message": failure.message,
        "exit_code": failure.exit_code,
        "signal": failure.signal,
        "traceback": failure.traceback,
    }


def _brief(failure: Failure | None) -> dict[str, Any] | None:
    return None if failure is None else {"kind": failure.kind, "message": failure.message}


def _instant(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)
