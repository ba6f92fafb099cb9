"""`logs`: what a job wrote, a piece of it or all of it as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple

from jobd.chunk import Chunk
from jobd.core.engine import Engine
from jobd.core.job import FINAL
from jobd.core.moment import Moment
from jobd.errors import InvalidParams, NotFound
from jobd.rpc.backend import Backend
from jobd.rpc.call import Call
from jobd.rpc.lookup import find
from jobd.rpc.params import LogsParams
from jobd.rpc.waiting import subscribed


class _View(NamedTuple):
    """What is known of the job when its output is read, or before."""

    id: str
    attempt: int  # the latest
    running: bool
    final: bool


async def logs(backend: Backend, call: Call, params: LogsParams) -> dict[str, Any]:
    if params.tail is not None and params.offset != 0:
        raise InvalidParams.of([("tail", "excludes offset")])
    view = await _look(backend, params.id)
    if params.attempt is not None and params.attempt > view.attempt:
        raise NotFound(f"job {view.id} has no attempt {params.attempt} (yet)")
    if params.follow:
        with call.stream() as closed:
            return await _Follower(backend, call, params, view, closed).run()
    attempt = params.attempt or view.attempt
    place = _Place(backend, params, view.id, attempt)
    over = _is_over(view, attempt)
    chunk = await place.read(over=over)
    # To the follower the end of the file is a reason to wait; to who asks once, no end at all.
    return _result(attempt, chunk._replace(eof=chunk.eof and over and (attempt > 0 or view.final)))


class _Place:
    """How far the output of one attempt was read."""

    def __init__(self, backend: Backend, params: LogsParams, id: str, attempt: int) -> None:
        self._outputs = backend.outputs
        self._stream, self._limit = params.stream, params.limit
        self._id, self._attempt = id, attempt
        self._offset, self._tail = params.offset, params.tail
        self._again = False  # the offset was reached by reading

    async def read(self, *, over: bool) -> Chunk:
        if self._attempt == 0:  # never started
            return Chunk("", self._offset, eof=over, skipped=0, lossy=False)
        try:
            chunk = await self._outputs.read(
                self._id, self._attempt, self._stream,
                offset=self._offset, tail=self._tail, limit=self._limit, over=over,
                again=self._again,
            )  # fmt: skip
        except ValueError as exc:
            raise InvalidParams.of([("offset", str(exc))]) from None
        except LookupError:
            why = f"the output of attempt {self._attempt} of job {self._id} was removed"
            raise NotFound(why) from None
        self._offset, self._tail, self._again = chunk.offset, None, True
        return chunk


class _Follower:
    """Tells all that the job writes until it is final, or the attempt that was named is over.

    Without a named attempt it goes on with the next one, from its beginning.
    """

    def __init__(
        self, backend: Backend, call: Call, params: LogsParams, view: _View, closed: asyncio.Event
    ) -> None:
        self._backend, self._call, self._params = backend, call, params
        self._view = view
        self._closed = closed  # the peer unsubscribed
        self._stirred = asyncio.Event()  # something new is on record
        self._stirred.set()  # since the first look, before the subscription

    async def run(self) -> dict[str, Any]:
        with subscribed(self._backend.hub, lambda _: self._stirred.set(), [self._view.id]):
            await self._look_again()
            attempt = self._params.attempt or self._view.attempt
            place = _Place(self._backend, self._params, self._view.id, attempt)
            while True:
                rest = await self._tell(place, attempt)
                if not self._is_done(attempt):
                    self._notify(attempt, rest)
                    rest = rest._replace(data="", skipped=0, lossy=False)
                while not self._is_done(attempt) and self._view.attempt == attempt:
                    await self._call.park(_first_of(self._stirred.wait(), self._closed.wait()))
                    await self._look_again()
                if self._is_done(attempt):
                    return _result(attempt, rest)
                attempt += 1
                beginning = self._params.model_copy(update={"offset": 0, "tail": None})
                place = _Place(self._backend, beginning, self._view.id, attempt)

    async def _tell(self, place: _Place, attempt: int) -> Chunk:
        """All of an attempt until it is over, but the last piece, which is returned."""
        watch = self._backend.outputs.watch(self._view.id)
        try:
            while True:
                # Asked before the read: what is read after the end is all there will be.
                over = _is_over(self._view, attempt)
                piece = await place.read(over=over)
                if self._closed.is_set() or (over and piece.eof):
                    return piece
                self._notify(attempt, piece)
                await self._call.writable()
                if piece.eof and not over:
                    more = (watch.grown(), self._stirred.wait(), self._closed.wait())
                    await self._call.park(_first_of(*more))
                await self._look_again()
        finally:
            watch.close()

    async def _look_again(self) -> None:
        if self._stirred.is_set():
            self._stirred.clear()
            self._view = await _look(self._backend, self._view.id)

    def _is_done(self, attempt: int) -> bool:
        if self._closed.is_set() or self._params.attempt is not None:
            return True
        return self._view.final and self._view.attempt == attempt

    def _notify(self, attempt: int, piece: Chunk) -> None:
        if piece.data or piece.skipped:
            told = {"id": self._view.id, "stream": self._params.stream, **_result(attempt, piece)}
            self._call.notify("log", {"subscription": self._call.id, **told})


async def _look(backend: Backend, id: str) -> _View:
    def question(engine: Engine, _: Moment) -> _View:
        job = find(engine, id)
        return _View(job.id, job.attempt, job.running is not None, job.status in FINAL)

    return await backend.ask(question)


def _is_over(view: _View, attempt: int) -> bool:
    return attempt < view.attempt or not view.running


def _result(attempt: int, chunk: Chunk) -> dict[str, Any]:
    return {"attempt": attempt or None, **chunk._asdict()}


async def _first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Returns when one of them does; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
