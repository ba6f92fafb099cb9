"""`list`: pages, newest first, that never hold the loop for long."""

from __future__ import annotations

import json
import math
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
    found: set[str] = set()
    before = None if params.cursor is None else int(params.cursor)
    scanned = read_bytes = 0
    while True:
        shown_max = min(params.limit - len(jobs), _SLICE_SHOWN)
        part = await backend.ask(_question(wanted, params.status, found, before, shown_max))
        jobs += part.shown
        scanned += part.scanned
        read_bytes += part.read_bytes
        before = part.before
        full = len(jobs) == params.limit or scanned >= _PAGE_SCANNED or read_bytes >= _PAGE_BYTES
        if before is None or full:
            return {"jobs": jobs, "cursor": None if before is None else str(before)}


# Of a job that is wanted the parsed call; that its status is, was seen to.
Wanted = Callable[[Job], dict[str, Any] | None]


def _question(
    wanted: Wanted, statuses: frozenset[Status] | None, found: set[str], before: int | None,
    shown_max: int,
) -> Callable[[Engine, Moment], _Slice]:  # fmt: skip
    """Looks no further than there are jobs of these statuses; adds their ids to `found`."""

    def look(engine: Engine, _: Moment) -> _Slice:
        shown: list[dict[str, Any]] = []
        scanned = read_bytes = 0
        reached = before
        left = math.inf if statuses is None else _left(engine, statuses, found, before)
        for job in engine.jobs.newest(before):
            if left == 0:
                break
            if len(shown) == shown_max or scanned == _SLICE_SCANNED or read_bytes > _PAGE_BYTES:
                return _Slice(shown, scanned, read_bytes, reached)
            scanned, reached = scanned + 1, job.number
            if statuses is not None:
                if job.status not in statuses:
                    continue
                left -= 1
                found.add(job.id)
            call = wanted(job)
            if call is not None:
                read_bytes += len(job.call)
                shown.append(summary(engine, job, call))
        return _Slice(shown, scanned, read_bytes, None)

    return look


def _left(engine: Engine, statuses: frozenset[Status], found: set[str], before: int | None) -> int:
    """How many of these statuses have a number below `before`, at most.

    Not counted are those known to be above it: what was found, if it is still so, and what runs.
    """
    above = {
        id for id, job in engine.running.items() if before is not None and job.number >= before
    }
    known = (engine.jobs.get(id) for id in above | found)
    counted = sum(job is not None and job.status in statuses for job in known)
    return sum(engine.counts[status] for status in statuses) - counted


def _filter(params: ListParams) -> Wanted:
    """What costs least is asked first; a call is parsed only when its bytes may fit."""
    target = None if params.target is None else colon_form(params.target)
    needles = [_quoted(text) for text in (params.tag, target) if text is not None]

    def wanted(job: Job) -> dict[str, Any] | None:
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
