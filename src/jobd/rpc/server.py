"""The listener, its connections, and the order in which they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from jobd.errors import PeerFault
from jobd.rpc.call import Call
from jobd.rpc.connection import Connection
from jobd.rpc.jsonrpc import Request
from jobd.rpc.transport import Listener, Peer

log = logging.getLogger(__name__)

_ANSWER_S: Final = 5.0  # at the end, for what the loop has still to answer
_DELIVER_S: Final = 1.0  # and for peers to read it


class Dispatcher(Protocol):
    def patient(self, request: Request) -> bool:
        """Whether it waits for the world, and so is not counted as in flight."""

    async def answer(self, call: Call, request: Request) -> object:
        """The result, as JSON can say it.  Raises RequestError."""


class Server:
    def __init__(
        self, listener: Listener, dispatcher: Dispatcher, *, request_bytes_max: Callable[[], int]
    ) -> None:
        self._listener = listener
        self._request_bytes_max = request_bytes_max
        self._connections: set[Connection] = set()
        self._connections_max = listener.connections_max
        self._full = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.closing = False
        self.gone = listener.gone
        self.patient = dispatcher.patient
        self.answer = dispatcher.answer

    async def start(self) -> None:
        """Of a listener that is bound."""
        await self._listener.serve(lambda: Connection(self))

    async def aclose(self) -> None:
        """Every request that was read has been answered, and each answer given to its transport.

        Requests that wait for the world, and those that take too long, are answered -32005.
        """
        self.closing = True
        await self._listener.aclose()
        for connection in self._connections:
            connection.stop_reading()
        await self._end_calls(lambda call: call.parked, within_s=_ANSWER_S)
        await self._end_calls(lambda _: True, within_s=_ANSWER_S)
        for connection in list(self._connections):
            connection.close()
        try:
            async with asyncio.timeout(_DELIVER_S):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.disconnect("the daemon stops")
            await self._empty.wait()

    async def _end_calls(self, which: Callable[[Call], bool], *, within_s: float) -> None:
        """Cancels those, and waits for all."""
        calls = [call for connection in self._connections for call in connection.calls]
        tasks = [call.task for call in calls if call.task is not None]
        for call in calls:
            if call.task is not None and which(call):
                call.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)

    # What a connection asks of its host.

    @property
    def request_bytes_max(self) -> int:
        return self._request_bytes_max()

    def admit(self, connection: Connection, transport: asyncio.Transport) -> Peer:
        """PeerFault: a stranger, or one too many."""
        peer = self._listener.peer(transport)
        if len(self._connections) >= self._connections_max or self.closing:
            if not self._full:  # said once, not a thousand times
                log.warning("connections_full open=%d peer=%s", len(self._connections), peer.name)
            self._full = True
            raise PeerFault("too many connections")
        self._connections.add(connection)
        self._empty.clear()
        return peer

    def dismiss(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._full = self._full and len(self._connections) >= self._connections_max
        if not self._connections:
            self._empty.set()
