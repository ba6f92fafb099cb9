"""One connection: its requests side by side, its bounds, its replies joined per turn of the loop.

A request is a task.  Nothing that a peer sends or fails to read reaches another connection:
its lines, its requests under way and its unsent replies are all bounded here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from jobd.errors import Draining, InternalError, InvalidRequest, PeerFault, RequestError
from jobd.rpc import jsonrpc
from jobd.rpc.call import Call, StreamKey
from jobd.rpc.frame import Lines
from jobd.rpc.jsonrpc import Fault, Request
from jobd.rpc.transport import Peer

log = logging.getLogger(__name__)

IN_FLIGHT_MAX: Final = 256  # requests that want an answer soon
PATIENT_MAX: Final = 4096  # requests that wait for the world, and streams
UNSENT_MAX: Final = 16 * 1024 * 1024  # bytes
_HIGH_WATER: Final = 1024 * 1024  # bytes unsent, above which streams of output wait

Sink = Callable[[bytes | None], None]


class Host(Protocol):
    """What a connection needs of its server."""

    @property
    def closing(self) -> bool: ...
    @property
    def request_bytes_max(self) -> int: ...
    def admit(self, connection: Connection, transport: asyncio.Transport) -> Peer: ...
    def dismiss(self, connection: Connection) -> None: ...
    def gone(self, transport: asyncio.Transport) -> bool: ...
    def patient(self, request: Request) -> bool: ...
    async def answer(self, call: Call, request: Request) -> object: ...


class Connection(asyncio.Protocol):
    peer: Peer
    _transport: asyncio.Transport

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._lines = Lines(host.request_bytes_max)
        self._todo: deque[tuple[Request | Fault, Sink]] = deque()
        self._in_flight = 0
        self._patient = 0
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._half_closed = False
        self.long_read = asyncio.Lock()
        self.calls: set[Call] = set()
        self.streams: dict[StreamKey, asyncio.Event] = {}

    @property
    def closing(self) -> bool:
        return self._host.closing

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        try:
            self.peer = self._host.admit(self, transport)
        except PeerFault as fault:
            log.info("connection_refused why=%r", str(fault))
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self._lines.feed(data)
        self._pump()

    def eof_received(self) -> bool:
        """One who has ceased to send may still wait for answers; True keeps it open for that."""
        if self._host.gone(self._transport):
            return False
        self._half_closed = True
        self._close_if_done()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio's signature
        self._host.dismiss(self)
        self._todo.clear()
        for call in self.calls:
            if call.task is not None:
                call.task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # In.

    def _pump(self) -> None:
        """Starts all that may be started; reads on only while there is room for more."""
        try:
            while self._has_room:
                if self._todo:
                    self._start(*self._todo.popleft())
                    continue
                line = self._lines.next()
                if line is None:
                    break
                self._receive(line)
        except PeerFault as fault:
            self.send(jsonrpc.failure(None, InvalidRequest(f"Invalid Request: {fault}")))
            self.close()
            return
        if self._has_room:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()
        self._close_if_done()

    @property
    def _has_room(self) -> bool:
        return (
            self._in_flight < IN_FLIGHT_MAX
            and self._patient < PATIENT_MAX
            and not self._transport.is_closing()
            and not self.closing
        )

    def _receive(self, line: bytes) -> None:
        message = jsonrpc.parse(line)
        if isinstance(message, list):
            add = _Batch(self, len(message)).add
            self._todo.extend((entry, add) for entry in message)
        else:
            self._todo.append((message, self._send_reply))

    def _start(self, entry: Request | Fault, sink: Sink) -> None:
        if isinstance(entry, Fault):
            sink(jsonrpc.failure(entry.id, entry.error))
            return
        call = Call(entry, self, sink)
        self.calls.add(call)
        patient = self._host.patient(entry)
        if patient:
            self._patient += 1
        else:
            self._in_flight += 1
        call.task = self._loop.create_task(self._run(call, entry, patient))

    async def _run(self, call: Call, request: Request, patient: bool) -> None:
        try:
            call.reply(await self._host.answer(call, request))
        except RequestError as refusal:
            call.refuse(refusal)
        except asyncio.CancelledError:
            if not self.closing:
                raise
            call.refuse(Draining("the daemon stops; ask again"))
        except Exception:  # a bug in one method costs one answer, and its trace is kept
            log.exception("method_failed method=%s peer=%s", request.method[:64], self.peer.name)
            call.refuse(InternalError("internal error; the daemon's log has more"))
        finally:
            self.calls.discard(call)
            if patient:
                self._patient -= 1
            else:
                self._in_flight -= 1
            self._pump()

    # Out.

    def send(self, line: bytes) -> None:
        """Goes out at the end of this turn of the loop, with all else that is sent in it."""
        if self._transport.is_closing():
            return
        # What was there before: one long answer is no sign of a peer that does not read.
        unsent = self._out_bytes + self._transport.get_write_buffer_size()
        if unsent > UNSENT_MAX:
            self.disconnect(f"does not read: {unsent} bytes unsent")
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(line)
        self._out_bytes += len(line)

    async def writable(self) -> None:
        await self._writable.wait()

    def disconnect(self, why: str) -> None:
        log.info("connection_closed peer=%s pid=%d why=%r", self.peer.name, self.peer.pid, why)
        self._out.clear()
        self._transport.abort()

    def stop_reading(self) -> None:
        self._transport.pause_reading()

    def close(self) -> None:
        """After what was sent is delivered.  Calls under way are cancelled."""
        self._flush()
        self._transport.close()

    def _send_reply(self, line: bytes | None) -> None:
        if line is not None:
            self.send(line)

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()
        self._out_bytes = 0

    def _close_if_done(self) -> None:
        if self._half_closed and not self.calls and not self._todo:
            self.close()


class _Batch:
    """Answered as one line when its last request is; not at all if none wants an answer."""

    def __init__(self, connection: Connection, size: int) -> None:
        self._connection = connection
        self._missing = size
        self._replies: list[bytes] = []
        self._bytes = 0

    def add(self, reply: bytes | None) -> None:
        self._missing -= 1
        if reply is not None:
            self._replies.append(reply)
            self._bytes += len(reply)
            if self._bytes > UNSENT_MAX:
                self._replies.clear()
                self._connection.disconnect("the replies to one batch pass 16 MiB")
                return
        if not self._missing and self._replies:
            self._connection.send(jsonrpc.batch(self._replies))
