"""Who descends from whom, read from /proc.

A job's processes can leave its group and its session, but not their ancestry: the keeper is a
child subreaper, so that an orphan becomes the keeper's own child.  Where there is no /proc
every reading is empty, and a job's group is all that can be reached.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import namedtuple

from jobd.keeper.protocol import ATTEMPT, JOB_ID, SOCKET_PATH

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CHILDREN_BYTES = 1 << 20  # a hundred thousand of them
# In the order of Marker.
_NAMES = tuple(os.fsencode(f"{name}=") for name in (SOCKET_PATH, JOB_ID, ATTEMPT))


class Marker(namedtuple("Marker", "socket id attempt")):  # noqa: PYI024 typing costs 1 MB here
    """An attempt, told apart from those of every other daemon on this machine."""

    __slots__ = ()
    if TYPE_CHECKING:
        socket: str
        id: str
        attempt: int


class Process:
    """One line of /proc/PID/stat.  With `started` a pid names one process for ever."""

    __slots__ = (
        "cpu_ticks", "group", "parent", "pid", "session", "started", "state", "threads",
    )  # fmt: skip

    def __init__(self, pid: int, line: bytes) -> None:
        # The name, in parentheses, may hold anything, parentheses and spaces included.
        fields = line[line.rindex(b")") + 2 :].split()
        self.pid = pid
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.cpu_ticks = sum(map(int, fields[11:15]))  # with all that it waited for
        self.threads = int(fields[17])
        self.started = int(fields[19])  # ticks since boot

    @property
    def living(self) -> bool:
        return self.state not in "ZX"

    def signal(self, number: int) -> None:
        """To this process, never to one that has its number by now.  OSError: could not look."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            now = read(self.pid)
            if now is not None and now.started == self.started:
                signal.pidfd_send_signal(fd, number)
        except (ProcessLookupError, PermissionError):
            pass  # gone; or another user's by setuid, which only root could end
        finally:
            os.close(fd)


def read(pid: int) -> Process | None:
    """None: there is no such process.  OSError where that can't be seen: it may well live."""
    try:
        return Process(pid, read_file(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def read_file(path: str, bytes_max: int = 4096) -> bytes:
    """Of /proc.  FileNotFoundError or ProcessLookupError: its process is gone."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, bytes_max)
    finally:
        os.close(fd)


def scan(pids: Iterable[int] | None = None) -> dict[int, Process]:
    """All processes there are, or those of `pids`.  About 15 µs each."""
    if pids is None:
        pids = _all_pids()
    found = map(read, pids)
    return {process.pid: process for process in found if process is not None}


def descendants(roots: Iterable[int], processes: dict[int, Process]) -> list[Process]:
    """The roots themselves first, then whoever descends from them."""
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    found = [processes[pid] for pid in roots if pid in processes]
    for process in found:  # grows while it is walked
        found += children.get(process.pid, ())
    return found


def marker(pid: int) -> Marker | None:
    """Which attempt the process was started in; None: none, or it may not be asked."""
    environ = environment(pid)
    values = [
        next((entry[len(name) :] for entry in environ if entry.startswith(name)), b"")
        for name in _NAMES
    ]
    socket, id, attempt = map(os.fsdecode, values)
    # A job can put anything there; of thousands of digits `int` makes an exception.
    plain = attempt.isdecimal() and len(attempt) < 10
    return Marker(socket, id, int(attempt)) if id and plain else None


def environment(pid: int) -> list[bytes]:
    """What the process was started with, `NAME=value` each; empty if it is gone, or another user's.

    OSError where that can't be seen.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def children() -> list[int]:
    """This process's own, those that have ended and were not waited for included."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:  # no such thing on this system
        return []


def walk(roots: Iterable[int]) -> list[int] | None:
    """The roots, and all that descend from them; None: this system does not tell."""
    found = list(roots)
    for pid in found:  # grows while it is walked
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                children = read_file(f"/proc/{pid}/task/{thread}/children", CHILDREN_BYTES)
                found += map(int, children.split())
        except ProcessLookupError:
            continue  # it ended meanwhile
        except FileNotFoundError:
            if read(pid) is not None and not os.path.exists(f"/proc/{pid}/task/{pid}/children"):
                return None
    return found


def last_pid() -> int | None:
    """The number that was given out last in this pid namespace."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[4])
    except OSError:
        return None


def _all_pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except FileNotFoundError:  # no such thing on this system
        return []
