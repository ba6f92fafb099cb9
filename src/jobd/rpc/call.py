"""One request under way, as its method sees it: who asks, and what can be sent back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from jobd.errors import Conflict, Draining, InvalidRequest, NotFound, RequestError
from jobd.rpc import jsonrpc
from jobd.rpc.jsonrpc import Id, Request
from jobd.rpc.transport import Peer

T = TypeVar("T")

StreamKey = tuple[bool, Id]  # 1 and "1" are two ids, though a dict of Python would agree


class Wire(Protocol):
    """What a call needs of its connection."""

    peer: Peer
    streams: dict[StreamKey, asyncio.Event]
    long_read: asyncio.Lock

    @property
    def closing(self) -> bool: ...
    def send(self, line: bytes) -> None: ...
    async def writable(self) -> None: ...


class Call:
    """`reply` or `refuse` once; what comes after the first is dropped."""

    __slots__ = ("_expects_reply", "_id", "_sink", "_wire", "parked", "replied", "task")

    def __init__(self, request: Request, wire: Wire, sink: Callable[[bytes | None], None]) -> None:
        self._wire = wire
        self._id = request.id
        self._expects_reply = request.expects_reply
        self._sink = sink  # None: a notification is done
        self.task: asyncio.Task[None] | None = None
        self.replied = False
        self.parked = False

    @property
    def peer(self) -> Peer:
        return self._wire.peer

    @property
    def id(self) -> Id:
        return self._id

    @property
    def long_read(self) -> asyncio.Lock:
        """Held by what reads much: one of a connection's at a time, so that others get a turn."""
        return self._wire.long_read

    def reply(self, result: Any) -> None:
        """A method may do so before it returns, and go on with notifications."""
        self._answer(lambda: jsonrpc.success(self._id, result))

    def refuse(self, error: RequestError) -> None:
        self._answer(lambda: jsonrpc.failure(self._id, error))

    def notify(self, method: str, params: Any) -> None:
        self._wire.send(jsonrpc.notification(method, params))

    async def writable(self) -> None:
        """Returns when the peer reads again: who sends much waits here, and holds little."""
        await self._wire.writable()

    async def park(self, waiting: Coroutine[Any, Any, T]) -> T:
        """Waits for the world.  `Draining` if the daemon stops meanwhile: ask the next one."""
        if self._wire.closing:
            waiting.close()
            raise Draining("the daemon stops; ask again")
        self.parked = True
        try:
            return await waiting
        finally:
            self.parked = False

    @contextmanager
    def stream(self) -> Iterator[asyncio.Event]:
        """Open under this request's id; the event is set when the peer unsubscribes."""
        if not self._expects_reply or self._id is None:
            raise InvalidRequest("a stream needs an id: it is known by that of its request")
        key, streams = _key(self._id), self._wire.streams
        if key in streams:
            raise Conflict(f"a stream with id {self._id!r} is open on this connection")
        streams[key] = closed = asyncio.Event()
        try:
            yield closed
        finally:
            del streams[key]

    def unsubscribe(self, id: Id) -> None:
        """Ends the stream that the request with that id opened."""
        closed = self._wire.streams.get(_key(id))
        if closed is None:
            raise NotFound(f"no subscription {id!r} on this connection")
        closed.set()

    def _answer(self, encode: Callable[[], bytes]) -> None:
        if self.replied:
            return
        line = encode() if self._expects_reply else None
        self.replied = True
        self._sink(line)


def _key(id: Id) -> StreamKey:
    return isinstance(id, str), id
