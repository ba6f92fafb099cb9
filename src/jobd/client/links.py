"""Connections to the daemon on asyncio: one of one's own, and one that calls share."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from jobd.client.connection import CHUNK_BYTES, connect, lost, seconds_left
from jobd.client.protocol import ConnectionLost, Note, Reply, Wire
from jobd.errors import JobdError


class Link:
    """One connection; one task at a time receives from it."""

    def __init__(
        self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        unread: socket.socket,
    ) -> None:  # fmt: skip
        self.path = path
        self._reader = reader
        self._writer = writer
        self._unread = unread  # the same connection once more, for what asyncio leaves in it
        self._wire = Wire(path)
        self._received: deque[Reply | Note] = deque()

    @classmethod
    async def open(cls, path: str) -> Link:
        """DaemonUnavailable where nobody answers."""
        link = connect(path)
        unread = link.dup()
        try:
            return cls(path, *await _streams(link), unread)
        except BaseException:
            unread.close()
            raise

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """The result; raises the refusal, ConnectionLost."""
        request = await self.send(method, params)
        while True:
            message = await self.receive()
            if isinstance(message, Reply) and message.id in (request, None):
                if message.error is not None:
                    raise message.error
                return message.result

    async def send(self, method: str, params: Mapping[str, Any]) -> int:
        request, line = self._wire.request(method, params)
        await self.write(line)
        return request

    def line(self, method: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        """For `write`: the request's id, before it can be answered."""
        return self._wire.request(method, params)

    async def write(self, line: bytes) -> None:
        try:
            self._writer.write(line)
            await self._writer.drain()
        except OSError as exc:
            raise lost(self.path, exc) from exc

    async def receive(self) -> Reply | Note:
        """The next message, whatever it answers."""
        while not self._received:
            try:
                chunk = await self._reader.read(CHUNK_BYTES)
            except OSError as exc:
                # A write that fails ends the reading too, and a daemon that found the line too
                # long has said so before it closed.
                chunk = self._rest()
                if not chunk:
                    raise lost(self.path, exc) from exc
            if not chunk:
                raise lost(self.path, "it closed the connection")
            self._received += self._wire.receive(chunk)
        return self._received.popleft()

    def close(self) -> None:
        self._unread.close()
        self._writer.close()

    def _rest(self) -> bytes:
        try:
            return self._unread.recv(CHUNK_BYTES)
        except OSError:  # nothing, or a reset
            return b""


class SharedLink:
    """A connection on which many calls are under way; a task of its own receives."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, tuple[int, asyncio.Future[Any]]] = {}  # with the line's length
        self._end: JobdError | None = None
        self._receiver = asyncio.create_task(self._receive(), name="jobd client")

    @property
    def usable(self) -> bool:
        """Not after a loss, nor on another loop than the one it was opened on."""
        return self._end is None and self._loop is asyncio.get_running_loop()

    async def call(
        self, method: str, params: Mapping[str, Any], deadline: float | None = None
    ) -> Any:
        """The result; raises the refusal, ConnectionLost, TimeoutError well after `deadline`."""
        request, line = self._link.line(method, params)
        answer = self._loop.create_future()
        if self._end is not None:
            raise self._end
        self._due[request] = (len(line), answer)
        try:
            async with asyncio.timeout(seconds_left(deadline)):
                with suppress(ConnectionLost):  # the receiver knows why
                    await self._link.write(line)
                return await answer
        except TimeoutError:
            raise TimeoutError(f"jobd on {self._link.path} does not answer") from None
        finally:
            self._due.pop(request, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # a write that failed first has told the same already

    async def aclose(self) -> None:
        if self._loop is asyncio.get_running_loop():
            self._receiver.cancel()
            await asyncio.wait([self._receiver])
            self._link.close()

    async def _receive(self) -> None:
        try:
            while True:
                message = await self._link.receive()
                if isinstance(message, Reply):
                    self._settle(message)
        except JobdError as error:
            self._end = error
        except asyncio.CancelledError:
            self._end = lost(self._link.path, "the client was closed")
        for _, answer in self._due.values():
            if not answer.done():
                answer.set_exception(self._end)

    def _settle(self, reply: Reply) -> None:
        request = reply.id
        if request is None:
            # Refused unread: too long a line, and no line is longer than the longest.  The
            # connection closes next; the other calls see a loss and are made again.
            request = max(self._due, key=lambda number: self._due[number][0], default=None)
        _, answer = self._due.get(request or 0, (0, None))
        if answer is None or answer.done():  # nobody waits any more
            return
        if reply.error is not None:
            answer.set_exception(reply.error)
        else:
            answer.set_result(reply.result)


if sys.platform == "win32":

    async def _streams(
        link: socket.socket,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise NotImplementedError  # `connect` has said so

else:

    async def _streams(
        link: socket.socket,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(sock=link)
