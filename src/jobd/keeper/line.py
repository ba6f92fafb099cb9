"""The keeper's end of the line to a daemon: one at a time, which may go, and another may come."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections import deque

from jobd.keeper.complaints import complain
from jobd.keeper.protocol import Garbled, Lines, encode

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from jobd.keeper.protocol import Message

CHUNK = 64 * 1024


class Line:
    def __init__(self, listener: socket.socket) -> None:
        self.requests: deque[Message] = deque()  # those of a daemon that went are still served
        self._listener = listener
        listener.setblocking(False)
        self._daemon: socket.socket | None = None
        self._lines = Lines()
        self._unsent = bytearray()

    @property
    def stands(self) -> bool:
        """Whether there is a daemon."""
        return self._daemon is not None

    def register(self, poll: select.poll) -> None:
        """What can be waited for: a daemon, or what the one there is has to say, or can take."""
        if self._daemon is None:
            poll.register(self._listener, select.POLLIN)
        else:
            writing = select.POLLOUT if self._unsent else 0
            poll.register(self._daemon, select.POLLIN | writing)

    def accept(self) -> bool:
        """Whether another daemon has come.  It waits for a hello."""
        try:
            peer, _ = self._listener.accept()
        except BlockingIOError:
            return False
        if not _may_command(peer):
            peer.close()
            return False
        peer.setblocking(False)
        self._daemon, self._lines, self._unsent = peer, Lines(), bytearray()
        return True

    def receive(self, ready: Container[int]) -> None:
        """What has come of it is among the requests."""
        if self._daemon is None or self._daemon.fileno() not in ready:
            return
        try:
            chunk = self._daemon.recv(CHUNK)
            self.requests += self._lines.feed(chunk)
        except BlockingIOError:
            return
        except Garbled as exc:
            complain(f"the daemon sent {exc}; its connection is closed")
            chunk = b""
        except ConnectionError:
            chunk = b""
        if not chunk:
            self.part()

    def report(self, message: Message) -> None:
        """Goes out with the next `send`.  What nobody can be told is in the outcome files."""
        if self._daemon is not None:
            self._unsent += encode(message)

    def send(self) -> None:
        if self._daemon is None or not self._unsent:
            return
        try:
            sent = self._daemon.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:  # it went while it was told something; the outcome files know it
            self.part()
            return
        del self._unsent[:sent]

    def part(self) -> None:
        """What was asked for is still done."""
        if self._daemon is not None:
            self._daemon.close()
            self._daemon = None
            self._unsent.clear()


def _may_command(peer: socket.socket) -> bool:
    """The same user only (the directory is 0700, but a mode can be changed)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder) in (0, os.getuid())
