"""Where connections come from, and who is at the other end.

The interface that a listener fits, whatever it listens on; `unix_socket` has the first.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from jobd.errors import SocketUnusable

CONNECTIONS_MAX: Final = 1024


class Peer(NamedTuple):
    """As the kernel says, never as the peer does."""

    name: str  # `uid:1000`
    pid: int


class Kept(NamedTuple):
    """A socket that listens, and what stood at its address when it was kept."""

    fd: int
    device: int
    inode: int


class Listener(Protocol):
    address: str
    kept: Kept | None  # None too where others removed what stood at the address

    @property
    def connections_max(self) -> int:
        """How many the process can serve, with descriptors left for its own work."""

    def check(self) -> None:
        """Raises SocketUnusable if `bind` would, and touches nothing."""

    def bind(self, inherited: Kept | None = None) -> None:
        """From now on connections are let in, and wait.  Raises SocketUnusable.

        `inherited`: what the image of this program before us had `kept`.  Where it has another
        address it is closed for good, in favour of a new one, and what it left there is removed.
        """

    async def serve(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """After `bind`: a protocol is made for each connection."""

    def peer(self, transport: asyncio.Transport) -> Peer:
        """PeerFault: one who may not connect at all."""

    def gone(self, transport: asyncio.Transport) -> bool:
        """After an end of file: whether the peer has closed, and not just ceased to send."""

    def keep(self) -> None:
        """After `aclose` connections are still let in, and wait for whoever inherits `kept`.

        OSError, and nothing has changed, where there is no descriptor for it.
        """

    async def aclose(self) -> None:
        """Nobody can connect any more, unless told to `keep`.  Open connections stay so."""


def system_listener(address: str) -> Listener:
    """Of this platform, for the address that the config names."""
    if sys.platform != "win32":
        from jobd.rpc.unix_socket import UnixListener

        return UnixListener(address)
    raise SocketUnusable(f"named pipes come in a later release: {address}")
