"""The methods that answer when jobs have ended: `wait`, `cancel`, `drain`.

They subscribe first and ask after that, so that no end falls between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from jobd.core import records
from jobd.core.commands import Cancel, Drain
from jobd.core.decision import Fact
from jobd.core.engine import Engine
from jobd.core.job import FINAL, Status
from jobd.core.moment import Moment
from jobd.errors import InvalidParams, NotFound
from jobd.rpc.backend import Backend, Hub, Sink
from jobd.rpc.call import Call
from jobd.rpc.documents import document
from jobd.rpc.lookup import find, whole
from jobd.rpc.params import CancelParams, DrainParams, WaitParams

_SLICE: Final = 100  # jobs looked at in one question
_DOCUMENTS_BYTES: Final = 8 * 1024 * 1024  # of submissions in one answer


@contextmanager
def subscribed(hub: Hub, sink: Sink, ids: Sequence[str] | None = None) -> Iterator[None]:
    hub.subscribe(sink, ids)
    try:
        yield
    finally:
        hub.unsubscribe(sink)


class Finals:
    """Which of some jobs were seen final.  One that is retried later still counts."""

    def __init__(self, ids: Sequence[str], *, any: bool) -> None:
        self._missing = set(ids)
        self._any = any
        self._reached = asyncio.Event()
        self.latest: dict[str, Status] = {}
        self._removed: str | None = None

    def sink(self, fact: Fact) -> None:
        if fact.status is None:
            self._removed = fact.job.id
            self._reached.set()
        else:
            self.note(fact.job.id, fact.status)

    def note(self, id: str, status: Status) -> None:
        self.latest[id] = status
        if status in FINAL:
            self._missing.discard(id)
            if self._any or not self._missing:
                self._reached.set()

    async def reached(self, timeout_s: float | None = None) -> bool:
        """False: not in time.  NotFound: one of the jobs was removed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._reached.wait()
        except TimeoutError:
            return False
        if self._removed is not None:
            raise NotFound(f"job {self._removed} was removed")
        return True

    @property
    def is_reached(self) -> bool:
        return self._reached.is_set()


async def wait(backend: Backend, call: Call, params: WaitParams) -> dict[str, Any]:
    ids = [await whole(backend, id) for id in params.ids]
    finals = Finals(ids, any=params.any)
    with subscribed(backend.hub, finals.sink, ids):
        for part in _slices(ids):
            for id, status in zip(part, await _statuses(backend, part), strict=True):
                finals.note(id, status)
        in_time = finals.is_reached
        if not in_time and params.timeout != 0:
            in_time = await call.park(finals.reached(params.timeout))
    return {"jobs": await _documents(backend, ids), "timed_out": not in_time}


async def cancel(backend: Backend, call: Call, params: CancelParams) -> dict[str, Any]:
    """Asks for the end, and answers when it has come."""
    id = await whole(backend, params.id)
    finals = Finals([id], any=False)
    with subscribed(backend.hub, finals.sink, [id]):
        status = await backend.execute(Cancel(id, force=params.force))
        if id not in finals.latest:  # the end itself may have come before this answer was read
            finals.note(id, status)
        await call.park(finals.reached())
    return {"id": id, "status": finals.latest[id]}


async def drain(backend: Backend, call: Call, params: DrainParams) -> dict[str, Any]:
    """Answers at 0 running, or after the timeout."""
    ended = asyncio.Event()

    def sink(fact: Fact) -> None:
        if isinstance(fact.record, _ENDS):
            ended.set()

    async def until_none_runs() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(params.timeout):
                while await _running(backend):
                    await ended.wait()
                    ended.clear()

    with subscribed(backend.hub, sink):
        await backend.execute(Drain(on=not params.off))
        if not params.off:
            await call.park(until_none_runs())
    return {"running": await _running(backend)}


_ENDS: Final = (
    records.Completed, records.Retried, records.Interrupted, records.Failed, records.Cancelled,
    records.NeverRan,
)  # fmt: skip


async def _running(backend: Backend) -> int:
    return await backend.ask(lambda engine, _: len(engine.running))


async def _statuses(backend: Backend, ids: Sequence[str]) -> list[Status]:
    return await backend.ask(lambda engine, _: [find(engine, id).status for id in ids])


async def _documents(backend: Backend, ids: Sequence[str]) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = []
    room = _DOCUMENTS_BYTES
    for part in _slices(ids):
        found, used = await backend.ask(_shown(backend, part, room))
        documents += found
        room -= used
    return documents


def _shown(
    backend: Backend, ids: Sequence[str], room: int
) -> Callable[[Engine, Moment], tuple[list[dict[str, Any]], int]]:
    """Their documents, and how many bytes of submissions were read for them."""

    def look(engine: Engine, _: Moment) -> tuple[list[dict[str, Any]], int]:
        jobs = [find(engine, id) for id in ids]
        used = sum(len(job.call) for job in jobs)
        if used > room and len(jobs) > 1:
            raise InvalidParams.of([("ids", "their documents are too large for one answer")])
        return [document(engine, job, backend.pid_of(job.id)) for job in jobs], used

    return look


def _slices(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _SLICE] for start in range(0, len(ids), _SLICE))
