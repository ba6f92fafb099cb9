"""A blocking connection to the daemon: one socket, one `Wire`."""

from __future__ import annotations

import socket
import sys
import time

from jobd.client.protocol import ConnectionLost, Crowded, Note, Reply, Wire
from jobd.errors import DaemonUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CHUNK_BYTES = 256 * 1024
LATE_S = 5.0  # how much later than promised an answer may come, on a busy machine


class Connection:
    """For one thread, and one process: what a fork inherits is not to be used."""

    def __init__(self, path: str) -> None:
        """DaemonUnavailable where nobody answers."""
        self.path = path
        self._socket = connect(path)
        self._wire = Wire(path)
        self._received: list[Reply | Note] = []

    def call(self, method: str, params: Mapping[str, Any], deadline: float | None = None) -> Any:
        """The result.  Raises the refusal; ConnectionLost; TimeoutError well after `deadline`.

        Only after a refusal can the connection be used again.
        """
        request = self.send(method, params)
        while True:
            message = self.receive(deadline)
            if isinstance(message, Reply) and message.id in (request, None):
                if message.error is not None:
                    raise message.error
                return message.result

    def send(self, method: str, params: Mapping[str, Any]) -> int:
        """The request's id."""
        request, line = self._wire.request(method, params)
        try:
            self._socket.settimeout(None)
            self._socket.sendall(line)
        except OSError as exc:
            # A daemon that found the line too long has said so before it closed.
            self._receive_refusal()
            raise lost(self.path, exc) from exc
        return request

    def receive(self, deadline: float | None = None) -> Reply | Note:
        """The next message, whatever it answers."""
        while not self._received:
            self._read(deadline)
        return self._received.pop(0)

    @property
    def alive(self) -> bool:
        """Whether the other end is still there, as far as one can see without asking it."""
        try:
            self._socket.settimeout(0)
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()

    def _read(self, deadline: float | None) -> None:
        try:
            self._socket.settimeout(seconds_left(deadline))
            chunk = self._socket.recv(CHUNK_BYTES)
        except TimeoutError:
            raise TimeoutError(f"jobd on {self.path} does not answer") from None
        except OSError as exc:
            raise lost(self.path, exc) from exc
        if not chunk:
            raise lost(self.path, "it closed the connection")
        self._received += self._wire.receive(chunk)

    def _receive_refusal(self) -> None:
        """Raises the refusal that nobody asked for, if one has been received."""
        try:
            while True:
                message = self.receive(deadline=time.monotonic() - LATE_S)
                if isinstance(message, Reply) and message.id is None and message.error:
                    raise message.error
        except (ConnectionLost, TimeoutError):
            return


def seconds_left(deadline: float | None) -> float | None:
    """How long to wait for an answer that is promised by then."""
    if deadline is None:
        return None
    return max(deadline + LATE_S - time.monotonic(), 0.001)  # 0 would be no wait, but a failure


def lost(path: str, why: object) -> ConnectionLost:
    return ConnectionLost(f"lost jobd on {path}: {why}", socket=path)


def unavailable(path: str, exc: OSError) -> DaemonUnavailable:
    """What to do about a socket where nobody answers."""
    if isinstance(exc, BlockingIOError):
        return Crowded(f"{path}: too many wait for the daemon there", socket=path)
    if isinstance(exc, FileNotFoundError | ConnectionRefusedError):
        why = "no daemon answers; start it with `jobd run`"
    elif isinstance(exc, PermissionError):
        why = "this user may not connect"
    else:
        why = exc.strerror or str(exc)
    return DaemonUnavailable(f"{path}: {why}", socket=path)


if sys.platform == "win32":

    def connect(path: str) -> socket.socket:
        raise DaemonUnavailable(f"{path}: named pipes come in a later release", socket=path)

else:

    def connect(path: str) -> socket.socket:
        """Not blocking, nor blocked: a full backlog is told at once, and waited out elsewhere.

        A blocking connect would wait for ever for a daemon that is frozen, and asyncio's own
        takes the full backlog (EAGAIN) for a connection.
        """
        link = socket.socket(socket.AF_UNIX)
        link.setblocking(False)
        try:
            link.connect(path)
        except OSError as exc:
            link.close()
            raise unavailable(path, exc) from exc
        return link
