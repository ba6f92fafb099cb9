"""The two job logs: what became of each job, one line at a time.

Fed with facts once they are on disk, so they never tell a story that the journal does not.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from jobd.core.decision import Fact
from jobd.core.job import Failure, Status
from jobd.core.records import Cancelled, Completed, Failed, Interrupted, Retried, Started
from jobd.instants import rfc3339
from jobd.logfiles import LogFile, Rotation, compact, printable, text_line

JOBS: Final = "background_jobs.log"
ERRORS: Final = "background_jobs_errors.log"
PARAMS_MAX_BYTES: Final = 2048
REFUSALS_PER_SECOND: Final = 10
_PEERS_MAX: Final = 1024  # remembered at most, for counting; far more than users of one machine

_REFUSED: Final = "Unauthorized job execution attempt"


class LogSettings(Protocol):
    """What the `[logging]` table says, as far as it counts here."""

    @property
    def format(self) -> str: ...
    @property
    def rotate(self) -> str | int: ...
    @property
    def keep(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def params(self) -> bool: ...


class _Line(NamedTuple):
    level: str
    message: str
    call: Mapping[str, Any] | None  # whose subject and params
    more: dict[str, Any]


class _Refusals:
    """Those of one peer within one second."""

    __slots__ = ("count", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.count = 0


def rotation(settings: LogSettings) -> Rotation:
    """`max_bytes` bounds a file whatever `rotate` says."""
    if isinstance(settings.rotate, int):
        size_bytes = min(settings.rotate, settings.max_bytes)
        return Rotation(size_bytes=size_bytes, daily=False, keep=settings.keep)
    return Rotation(size_bytes=settings.max_bytes, keep=settings.keep)


class JobLog:
    def __init__(
        self, log_dir: str | os.PathLike[str], settings: LogSettings,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Opens both in a directory that exists.  Raises LogUnusable.

        `told` hears when one can't be written any more.
        """
        self._settings = settings
        self._jobs = LogFile(os.path.join(log_dir, JOBS), rotation(settings), told)
        self._errors = LogFile(os.path.join(log_dir, ERRORS), rotation(settings), told)
        self._refusals: dict[str, _Refusals] = {}

    def follow(self, settings: LogSettings) -> None:
        """From now on these settings."""
        self._settings = settings
        self._jobs.rotation = self._errors.rotation = rotation(settings)

    def announce(self, facts: Sequence[Fact]) -> None:
        """A line for each start, completion, retry, failure and cancellation among them."""
        lines, errors = bytearray(), bytearray()
        at = 0.0
        # A job is as of the end of the batch: what starts in it later had not started yet.
        later = Counter(fact.job.id for fact in facts if isinstance(fact.record, Started))
        for fact in facts:
            at = fact.record.at
            if isinstance(fact.record, Started):
                later[fact.job.id] -= 1
            for line in _line_or_two(fact, fact.job.attempt - later[fact.job.id]):
                text = self._format(line, at)
                lines += text
                if line.level == "ERROR":
                    errors += text
        self._write(lines, errors, at)

    def refused(self, peer: str, call: Mapping[str, Any], why: str, at: float) -> None:
        """A submission that the allow-list refused.  Beyond 10 a second of one peer: counted."""
        self.settle(at)
        recent = self._refusals.setdefault(peer, _Refusals(at))
        recent.count += 1
        if recent.count <= REFUSALS_PER_SECOND:
            more = {"status": "unauthorized", "submitted_by": peer, "error": why}
            self._error(_Line("ERROR", _REFUSED, call, more), at)

    def settle(self, at: float) -> None:
        """Tells what was counted of seconds that are over; to be called now and then."""
        if self._refusals:
            for peer, recent in list(self._refusals.items()):
                # Back in time the clock was set: that second is over too.
                if not 0 <= at - recent.since < 1 or len(self._refusals) > _PEERS_MAX:
                    self._tell_count(peer, recent, at)

    def reopen(self) -> None:
        """After somebody moved the files away."""
        self._jobs.reopen()
        self._errors.reopen()

    def close(self, at: float) -> None:
        for peer, recent in list(self._refusals.items()):
            self._tell_count(peer, recent, at)
        self._jobs.close()
        self._errors.close()

    def _tell_count(self, peer: str, recent: _Refusals, at: float) -> None:
        del self._refusals[peer]
        unsaid = recent.count - REFUSALS_PER_SECOND
        if unsaid > 0:
            more = {"status": "unauthorized", "submitted_by": peer, "count": unsaid}
            self._error(_Line("ERROR", "Unauthorized job execution attempts", None, more), at)

    def _error(self, line: _Line, at: float) -> None:
        text = self._format(line, at)
        self._write(text, text, at)

    def _write(self, lines: bytes | bytearray, errors: bytes | bytearray, at: float) -> None:
        if lines:
            self._jobs.write(bytes(lines), at)
        if errors:
            self._errors.write(bytes(errors), at)

    def _format(self, line: _Line, at: float) -> bytes:
        facts = dict(line.more)
        if line.call is not None and self._settings.params:
            id = {"id": facts.pop("id")} if "id" in facts else {}
            facts = {**id, "params": _params(line.call), **facts}
        subject = None if line.call is None else _subject(line.call)
        if self._settings.format == "json":
            job = {} if subject is None else {"job": subject}
            entry = {"timestamp": rfc3339(at), "level": line.level, "message": line.message}
            text = compact({**entry, **job, **facts})
        else:
            told = line.message if subject is None else f"{line.message}: {subject}"
            told = f"{told} {compact({**facts, 'timestamp': rfc3339(at)})}"
            text = text_line(at, line.level, "jobd", told)
        return f"{text}\n".encode(errors="backslashreplace")


def _line_or_two(fact: Fact, attempt: int) -> list[_Line]:
    """`attempt`: how many had started when the record was made."""
    record = fact.record
    match record:
        case Started():
            return [_line("INFO", "Job started", fact, Status.RUNNING, attempt)]
        case Completed():
            return [_line("INFO", "Job completed", fact, Status.COMPLETED, attempt)]
        case Retried() | Interrupted():
            more = {"error": _error(record.ended.failure), "run_at": rfc3339(record.run_at)}
            return [_line("WARNING", "Job retrying", fact, Status.PENDING_RETRY, attempt, **more)]
        case Cancelled():
            return [_line("INFO", "Job cancelled", fact, Status.CANCELLED, attempt)]
        case Failed():
            error = _error(record.failure)
            failed = _line("ERROR", "Job failed", fact, Status.FAILED, attempt, error=error)
            if record.failure.kind != "unauthorized":
                return [failed]
            # The list no longer admits it: that is a refusal, and the end of the job too.
            return [_line("ERROR", _REFUSED, fact, "unauthorized", attempt, error=error), failed]
        case _:
            return []


def _line(level: str, message: str, fact: Fact, status: str, attempt: int, **more: str) -> _Line:
    facts = {"id": fact.job.id, "status": str(status), "attempt": attempt, **more}
    return _Line(level, message, json.loads(fact.job.call), facts)


def _error(failure: Failure | None) -> str:
    assert failure is not None
    return failure.message or failure.kind


def _subject(call: Mapping[str, Any]) -> str:
    if "command" not in call:
        method = call.get("method")
        return printable(call["target"] if method is None else f"{call['target']}@{method}")
    program: str = call["command"][0]
    # So that nothing in a name can pass for the end of it.
    plain = program.isprintable() and " " not in program
    return program if plain else compact(program)


def _params(call: Mapping[str, Any]) -> Any:
    """The arguments; beyond 2 KiB the beginning of their JSON, as text."""
    params = _arguments(call)
    encoded = compact(params).encode(errors="backslashreplace")
    if len(encoded) <= PARAMS_MAX_BYTES:
        return params
    return encoded[:PARAMS_MAX_BYTES].decode(errors="ignore") + "…"


def _arguments(call: Mapping[str, Any]) -> Any:
    if "command" in call:
        return call["command"][1:]
    args, kwargs = call.get("args") or [], call.get("kwargs") or {}
    if args and kwargs:
        return {"args": args, "kwargs": kwargs}
    return args or kwargs
