"""Bytes to lines, however they are cut on the way; never more held than one line may have.

Sans-I/O: knows no socket and no JSON.
"""

from __future__ import annotations

from jobd.errors import PeerFault


class Lines:
    """One message per line.  A trailing `\\r` is cut off, blank lines are left out."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0  # no line ends before here: half lines are not searched again

    def feed(self, piece: bytes) -> None:
        self._buffer += piece

    def next(self) -> bytes | None:
        """The next whole line, or None.  PeerFault when it is longer than it may be.

        After a PeerFault nothing sensible can be read from this peer.
        """
        while (end := self._buffer.find(b"\n", self._searched)) != -1:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            self._searched = 0
            if len(line) > self.max_bytes:
                raise self._too_long()
            if line.strip(b" \t\r"):
                return line
        self._searched = len(self._buffer)
        # One more than the limit may be the `\r` of a line that is just short enough.
        if self._searched > self.max_bytes + 1:
            raise self._too_long()
        return None

    def _too_long(self) -> PeerFault:
        self._buffer.clear()
        self._searched = 0
        return PeerFault(f"a line has more than {self.max_bytes} bytes (daemon.max_request_bytes)")
