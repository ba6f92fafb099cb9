"""`list`: pages, newest first, that never hold the loop for long."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from jobd.core.allow import colon_form
from jobd.core.engine import Engine
from jobd.core.job import Job, Status
from jobd.core.moment import Moment
from jobd.rpc.backend import Backend
from jobd.rpc.call import Call
from jobd.rpc.documents import summary
from jobd.rpc.params import ListParams

# One question looks at so much and returns; a page is several questions, and then short.
_SLICE_SCANNED: Final = 1000
_SLICE_SHOWN: Final = 100
_PAGE_SCANNED: Final = 5000
_PAGE_BYTES: Final = 4 * 1024 * 1024  # of submissions read


class _Slice(NamedTuple):
    shown: list[dict[str, Any]]
    scanned: int
    read_bytes: int
    before: int | None  # where the next one begins; None: the end


async def list_jobs(backend: Backend, call: Call, params: ListParams) -> dict[str, Any]:
    async with call.long_read:
        return await _page(backend, params)


async def _page(backend: Backend, params: ListParams) -> dict[str, Any]:
    wanted = _filter(params)
    jobs: list[dict[str, Any]] = []
    before = None if params.cursor is None else int(params.cursor)
    scanned = read_bytes = 0
    while True:
        shown_max = min(params.limit - len(jobs), _SLICE_SHOWN)
        part = await backend.ask(_question(wanted, params.status, before, shown_max))
        jobs += part.shown
        scanned += part.scanned
        read_bytes += part.read_bytes
        before = part.before
        full = len(jobs) == params.limit or scanned >= _PAGE_SCANNED or read_bytes >= _PAGE_BYTES
        if before is None or full:
            return {"jobs": jobs, "cursor": None if before is None else str(before)}


Wanted = Callable[[Job], dict[str, Any] | None]  # the parsed call of a job that is wanted


def _question(
    wanted: Wanted, statuses: frozenset[Status] | None, before: int | None, shown_max: int
) -> Callable[[Engine, Moment], _Slice]:
    def look(engine: Engine, _: Moment) -> _Slice:
        shown: list[dict[str, Any]] = []
        scanned = read_bytes = 0
        reached = before
        if statuses is not None and not any(engine.counts[status] for status in statuses):
            return _Slice([], 0, 0, None)
        for job in engine.jobs.newest(before):
            if len(shown) == shown_max or scanned == _SLICE_SCANNED or read_bytes > _PAGE_BYTES:
                return _Slice(shown, scanned, read_bytes, reached)
            scanned, reached = scanned + 1, job.number
            call = wanted(job)
            if call is not None:
                read_bytes += len(job.call)
                shown.append(summary(engine, job, call))
        return _Slice(shown, scanned, read_bytes, None)

    return look


def _filter(params: ListParams) -> Wanted:
    """What costs least is asked first; a call is parsed only when its bytes may fit."""
    target = None if params.target is None else colon_form(params.target)
    needles = [_quoted(text) for text in (params.tag, target) if text is not None]

    def wanted(job: Job) -> dict[str, Any] | None:
        if params.status is not None and job.status not in params.status:
            return None
        if params.queue is not None and job.policy.queue != params.queue:
            return None
        if not all(needle in job.call for needle in needles):
            return None
        call: dict[str, Any] = json.loads(job.call)
        if params.tag is not None and params.tag not in call.get("tags", ()):
            return None
        return call if target is None or call.get("target") == target else None

    return wanted


def _quoted(text: str) -> bytes:
    """As it stands in a stored call."""
    return json.dumps(text, ensure_ascii=False).encode()
