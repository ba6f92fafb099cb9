"""Where connections come from, and who is at the other end.

The interface that a listener fits, whatever it listens on; `unix_socket` has the first.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

from jobd.errors import SocketUnusable


class Peer(NamedTuple):
    """As the kernel says, never as the peer does."""

    name: str  # `uid:1000`
    pid: int


class Listener(Protocol):
    address: str

    @property
    def connections_max(self) -> int:
        """How many the process can serve, with descriptors left for its own work."""

    async def listen(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """From now on a protocol is made for each connection.  Raises SocketUnusable."""

    def peer(self, transport: asyncio.Transport) -> Peer:
        """PeerFault: one who may not connect at all."""

    def gone(self, transport: asyncio.Transport) -> bool:
        """After an end of file: whether the peer has closed, and not just ceased to send."""

    async def aclose(self) -> None:
        """Nobody can connect any more.  Connections that are open stay so."""


def system_listener(address: str) -> Listener:
    """Of this platform, for the address that the config names."""
    if sys.platform != "win32":
        from jobd.rpc.unix_socket import UnixListener

        return UnixListener(address)
    raise SocketUnusable(f"named pipes come in a later release: {address}")
