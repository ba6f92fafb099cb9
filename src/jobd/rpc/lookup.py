"""Ids as people type them: any prefix that fits one job only.  The engine knows whole ids."""

from __future__ import annotations

from typing import Final

from jobd.core.engine import Engine
from jobd.core.ids import ID_LENGTH, PREFIX_MIN
from jobd.core.job import Job
from jobd.errors import NotFound
from jobd.rpc.backend import Backend

CANDIDATES_MAX: Final = 10


def find(engine: Engine, id: str) -> Job:
    """Inside a question.  Raises NotFound, with candidates where there are several."""
    if len(id) == ID_LENGTH:
        job = engine.jobs.get(id)
        found = [] if job is None else [job]
    elif len(id) < PREFIX_MIN:
        raise NotFound(f"no job {id!r}: at least {PREFIX_MIN} characters of an id are needed")
    else:
        found = engine.jobs.with_prefix(id, CANDIDATES_MAX + 1)
    if not found:
        raise NotFound(f"no job {id[:64]!r}")
    if len(found) > 1:
        candidates = [job.id for job in found[:CANDIDATES_MAX]]
        raise NotFound(f"several jobs begin with {id!r}", candidates=candidates)
    return found[0]


async def whole(backend: Backend, id: str) -> str:
    """The id that a prefix stands for.  A whole one is returned unasked: it may be of no job."""
    if len(id) == ID_LENGTH:
        return id
    return await backend.ask(lambda engine, _: find(engine, id).id)
