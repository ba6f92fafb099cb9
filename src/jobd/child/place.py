"""Where the kernel finds this process's arguments and first environment, to write there.

A forked process would else show those of the interpreter that it comes from: in process lists,
and, worse, to whoever looks for the processes of an attempt (`keeper.tree.marker`).
"""

from __future__ import annotations

import os

MEMORY = "/proc/self/mem"
# The keeper has put these last into the environment, with room to spare: `keeper.warm`.
FIRST = b"JOBD_KEEPER="


class Place:
    """Raises OSError where it can't be written to, LookupError where it can't be found."""

    def __init__(self) -> None:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # 48 to 51 of proc(5), which counts from 1; the third is the first after the name.
        argv_at, argv_end, env_at, env_end = map(int, fields[45:49])
        with open("/proc/self/environ", "rb") as file:
            environ = file.read()
        before = environ.find(FIRST)
        if not argv_at or before < 0 or len(environ) != env_end - env_at:
            raise LookupError("the kernel does not say where its own arguments are")
        self._argv_at, self._argv_room = argv_at, argv_end - argv_at
        self._env_at, self._env_room = env_at + before, env_end - env_at - before

    def write(self, title: bytes, marker: bytes) -> None:
        """Both are cut, or filled up with NULs, to the room that there is."""
        fd = os.open(MEMORY, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, _fitting(title, self._argv_room), self._argv_at)
            if marker:
                os.pwrite(fd, _fitting(marker, self._env_room), self._env_at)
        finally:
            os.close(fd)


def _fitting(text: bytes, room: int) -> bytes:
    return text[: room - 1].ljust(room, b"\0")
