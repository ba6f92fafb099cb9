"""The order of an attempt's two streams: turns, appended to a small file by the keeper.

A record says: the turn of this stream ends at this byte, and it is the other one's.  Bytes that
no record tells of come last, the stream whose turn it is first.  Nothing depends on it but the
order: whoever reads it finds each byte once, whatever the file says (docs/keeper.md).
"""

from __future__ import annotations

import contextlib
import os
import struct

from jobd.keeper.results import SUSPICIOUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS_MAX = 4096  # then each second turn is made one with the one before it

_RECORD = struct.Struct("<Q")  # the byte, twice; and 1 for stderr


class Order:
    __slots__ = ("_count", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0

    def append(self, stream: int, end: int) -> None:
        """The turn of `stream` (0: stdout, 1: stderr) ends there.

        Without room for it, or where a job has taken the file away, the order is coarser.
        """
        with contextlib.suppress(OSError):
            if self._count >= RECORDS_MAX:
                self._thin()
            self._write(self._path, self._count, [(stream, end)])
            self._count += 1

    def _thin(self) -> None:
        turns = list(read(self._path))
        kept = [turn for index, turn in enumerate(turns) if index % 4 >= 2]
        part = f"{self._path}.part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        self._write(part, 0, kept)
        os.replace(part, self._path)  # whoever reads has the one or the other
        self._count = len(kept)

    def _write(self, path: str, index: int, turns: list[tuple[int, int]]) -> None:
        content = b"".join(_RECORD.pack(end << 1 | stream) for stream, end in turns)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | SUSPICIOUS, 0o600)
        try:
            # In its own place, so that half a record of a full disk is in nobody's way.
            os.lseek(fd, index * _RECORD.size, os.SEEK_SET)
            if os.write(fd, content) < len(content):
                raise OSError("no room for the whole record")
        finally:
            os.close(fd)


def read(path: str) -> Iterator[tuple[int, int]]:
    """(stream, end) of each turn.  None where there is no such file, or nothing of ours."""
    try:
        fd = os.open(path, os.O_RDONLY | SUSPICIOUS)
    except OSError:
        return
    try:
        content = os.read(fd, RECORDS_MAX * _RECORD.size)
    except OSError:  # a directory
        return
    finally:
        os.close(fd)
    whole = len(content) // _RECORD.size * _RECORD.size
    for (record,) in _RECORD.iter_unpack(content[:whole]):
        yield record & 1, record >> 1
