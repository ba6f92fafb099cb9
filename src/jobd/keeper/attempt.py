"""One attempt under way: who runs it, who belongs to it, and what it has cost so far."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from jobd.keeper import limits, members, posix, tree
from jobd.keeper.protocol import SOCKET_PATH, VERSION

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.cgroup import Group
    from jobd.keeper.members import Mains
    from jobd.keeper.protocol import Message
    from jobd.keeper.tree import Process

STRAYS_MAX = 100  # pids that an outcome tells of: it has to fit into its room


class Attempt:
    __slots__ = (
        "cpu_s", "directory", "group", "id", "is_callable", "killed", "limit", "marker", "max_rss",
        "members", "meter", "number", "over", "pid", "start_ticks", "started_at", "stopping",
        "stray",
    )  # fmt: skip

    def __init__(self, launch: Message, pid: int, group: Group | None) -> None:
        self.id: str = launch["id"]
        self.number: int = launch["attempt"]
        self.marker = tree.Marker(launch["env"][SOCKET_PATH], self.id, self.number)
        self.directory: str = launch["directory"]
        self.stray: str = launch["stray"]
        self.is_callable: bool = launch["call"] is not None
        self.pid = pid
        self.started_at = time.time()
        self.start_ticks: int | None = None
        with contextlib.suppress(OSError):  # the marker tells, where this can't be seen
            process = tree.read(pid)
            self.start_ticks = process.started if process else None
        self.group = group
        known, sweeping = (pid, self.start_ticks, self.marker), self.stray == "kill"
        self.members = (
            members.Related(*known, sweeping=sweeping)
            if group is None else members.Confined(group, *known, sweeping=sweeping)
        )  # fmt: skip
        self.meter = limits.Meter(launch.get("limits") or {}, group)
        self.limit: str | None = None  # for which it was killed
        self.stopping = False
        self.killed = False
        self.over = False  # its main process has ended, and is not reaped yet
        self.cpu_s = 0.0  # of its orphans
        self.max_rss = 0

    @property
    def key(self) -> tuple[str, int]:
        return self.id, self.number

    # Its processes.

    def signal(self, number: int, mains: Mains) -> None:
        """To the whole tree.  OSError where somebody can't be seen now."""
        # The session's group at once, so that nobody forks away from under it.  It fails where all
        # of them are another user's by setuid, or there is no such group yet.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.killpg(self.pid, number)
        if number == signal.SIGKILL and self.group is not None:
            self.group.kill()
        for process in self.members.processes(mains):
            if process.living and process.group != self.pid:
                process.signal(number)

    def survivors(self, mains: Mains) -> list[Process]:
        """Who lives on although the main process has ended.  Reaps the dead among its orphans.

        OSError where that can't be seen now.
        """
        living = []
        for process in self.members.rest(mains):
            if process.living:
                living.append(process)
            elif process.parent == os.getpid() and process.pid != self.pid:
                self.add_cost(process.pid)
        return living

    def add_cost(self, orphan: int) -> None:
        """Reaps a dead orphan of this attempt, on its account."""
        _, _, usage = os.wait4(orphan, os.WNOHANG)
        self.cpu_s += usage.ru_utime + usage.ru_stime
        self.max_rss = max(self.max_rss, posix.max_rss_bytes(usage.ru_maxrss))

    def measure(self, mains: Mains) -> str | None:
        """The limit that its tree goes beyond, if any.  OSError where that can't be seen now."""
        processes = self.members.soon(mains) if self.meter.looks else ()
        return self.meter.exceeded(processes, self.cpu_s)

    # Its end.

    def reap(self, mains: Mains) -> Message:
        """The outcome of the attempt; from now on its pid may be another's."""
        strays = self._strays(mains)
        _, status, usage = os.wait4(self.pid, 0)
        return {
            "version": VERSION,
            "id": self.id,
            "attempt": self.number,
            "pid": self.pid,
            "started_at": self.started_at,
            "ended_at": time.time(),
            "exit_code": posix.exit_code(status),
            "signal": (ended_by := posix.exit_signal(status)),
            "limit": self.limit or self._kernel_limit(ended_by),
            "strays": strays,
            "cpu_time": round(self._cpu_s(usage.ru_utime + usage.ru_stime), 6),
            "max_rss": max(self.max_rss, posix.max_rss_bytes(usage.ru_maxrss)),
            "callable": self.is_callable,
        }

    def _strays(self, mains: Mains) -> list[int]:
        """Who may be left over of it, to be told of: never passed over, and not guessed at."""
        if self.stray == "leave":
            return []
        with contextlib.suppress(OSError):
            return self.members.unknown(mains)[:STRAYS_MAX]
        return []

    def _cpu_s(self, reaped_s: float) -> float:
        if self.group is not None:
            with contextlib.suppress(OSError):
                return self.group.cpu_s()
        return reaped_s + self.cpu_s

    def _kernel_limit(self, ended_by: str | None) -> str | None:
        """The limit for which the kernel ended it, where that was quicker than a measurement."""
        if self.group is not None and ended_by is not None and self.group.ran_out_of_memory():
            return "memory"
        return "cpu_time" if ended_by == "SIGXCPU" and self.meter.limits_cpu else None
