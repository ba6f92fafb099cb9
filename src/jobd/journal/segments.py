"""The files of the journal: their names, their first lines, and the one being written."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from jobd.journal.files import FULL, Files
from jobd.journal.format import Header, encode_header

STEP_BYTES: Final = 1 << 20  # room is asked for in such steps, not for each submission
STEP_LEAVES_BYTES: Final = 4 * STEP_BYTES  # where there is less than that, no more than is needed
_NAME: Final = re.compile(r"(\d{20})\.jsonl")
_UNABLE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Segment(NamedTuple):
    path: Path
    first_seq: int
    size_bytes: int


def find(directory: Path) -> list[Segment]:
    """The segments there are, oldest first.  Files with other names are nobody's business."""
    found = []
    for entry in os.scandir(directory):
        match = _NAME.fullmatch(entry.name)
        if match and int(match[1]) >= 1:
            found.append(Segment(Path(entry.path), int(match[1]), entry.stat().st_size))
    return sorted(found, key=lambda segment: segment.first_seq)


class Active:
    """The newest segment, open to be appended to.  OSErrors are the caller's business."""

    def __init__(self, files: Files, path: Path, first_seq: int, fd: int, size_bytes: int) -> None:
        self.path = path
        self.first_seq = first_seq
        self.size_bytes = size_bytes
        self.reserves = True  # whether the file system can set room aside
        self._reserved_to = size_bytes
        self._files = files
        self._fd = fd

    @classmethod
    def create(cls, files: Files, directory: Path, first_seq: int, room_bytes: int) -> Active:
        """On disk with header and name before it is used.  If that fails there is no such file.

        With `room_bytes` of room reserved, or an OSError.
        """
        path = directory / f"{first_seq:020d}.jsonl"
        active = cls(files, path, first_seq, files.create(path), 0)
        try:
            # Only `clock` has a watch; but the file system has just looked at its own.
            header = encode_header(Header(first_seq, os.stat(path).st_mtime))
            if room_bytes and not active.reserve(len(header) + room_bytes):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            active.write(header)
            active.sync()
            files.sync_directory(directory)
        except OSError:
            # Else a later segment would make damage of what is only a torn header now.
            active.close()
            files.unlink(path)
            raise
        return active

    @classmethod
    def reopen(cls, files: Files, segment: Segment) -> Active:
        return cls(files, *segment[:2], files.reopen(segment.path), segment.size_bytes)

    def write(self, line: bytes) -> None:
        """One write, unless the system takes less than all."""
        rest = memoryview(line)
        while rest:
            rest = rest[self._files.write(self._fd, rest) :]
        self.size_bytes += len(line)

    def sync(self) -> None:
        self._files.sync(self._fd)

    def cut(self, size_bytes: int) -> None:
        """What follows is gone, on the disk too; the room that was reserved is not given away."""
        allocated_bytes = self._files.allocated_bytes(self._fd)
        self._files.truncate(self._fd, size_bytes)
        self.size_bytes = self._reserved_to = size_bytes
        self.reserve(allocated_bytes - size_bytes)
        self._files.sync(self._fd)

    def seal(self) -> Segment:
        """Nothing more is written to it; the room that was reserved is given back."""
        self._files.truncate(self._fd, self.size_bytes)
        self.close()
        return Segment(self.path, self.first_seq, self.size_bytes)

    def give_back(self) -> None:
        """The room that is reserved, if it is worth the call."""
        if self._files.allocated_bytes(self._fd) - self.size_bytes > STEP_BYTES:
            self._files.truncate(self._fd, self.size_bytes)

    def close(self) -> None:
        if self._fd >= 0:
            self._files.close(self._fd)
            self._fd = -1

    @property
    def room_bytes(self) -> int:
        """Reserved and not yet written."""
        return max(0, self._reserved_to - self.size_bytes)

    def reserve(self, room_bytes: int, *, leave_bytes: int = 0) -> bool:
        """Whether that much can be written without asking the file system for more, or it has
        more than `leave_bytes` beside that.

        It is asked for more than that, if it has more, so that it need not be asked each time.
        """
        step_bytes = room_bytes + -room_bytes % STEP_BYTES
        leave_most = max(leave_bytes, STEP_LEAVES_BYTES)
        return self._reserve(step_bytes, leave_most) or self._reserve(room_bytes, leave_bytes)

    def _reserve(self, room_bytes: int, leave_bytes: int) -> bool:
        if room_bytes <= self.room_bytes:
            return True
        end = self.size_bytes + room_bytes
        # An attempt that must fail is not made: it may leave a part of the room allocated, and
        # others need that more.
        has = max(self._reserved_to, self._files.allocated_bytes(self._fd))
        if end - has + leave_bytes > self._files.free_bytes(self._fd):
            return False
        if not self.reserves:
            return True
        try:
            self._files.reserve(self._fd, self.size_bytes, room_bytes)
        except OSError as exc:
            if exc.errno in FULL:
                return False
            if exc.errno in _UNABLE:
                self.reserves = False
                return True
            raise
        self._reserved_to = end
        return True
