"""What an attempt's tree may use: set before its program begins, and measured while it runs.

The kernel keeps what it can (`open_files`, `nice`, and with controllers of a control group
`memory` and `processes`).  The rest is measured, often enough that nobody else notices.
RLIMIT_AS would show itself as an exception of the job's, and RLIMIT_NPROC counts all of a user's
processes: neither is used.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import sys
import time

from jobd.keeper import tree

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from jobd.keeper.attempt import Attempt
    from jobd.keeper.cgroup import Group
    from jobd.keeper.members import Mains
    from jobd.keeper.tree import Process

LOOK_S = 0.02  # between two measurements: no program fills much memory in that time
_BEFORE_EXEC = ("open_files", "nice", "cpu_time")
_SPARE_CPU_S = 2  # beyond the limit, for what a measurement may miss
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def before_exec(limits: Mapping[str, Any]) -> Callable[[], None] | None:
    """What the child is to do between fork and exec; None: nothing, so that it need not be a
    full fork."""
    if not any(name in limits for name in _BEFORE_EXEC):
        return None

    def apply() -> None:
        if "open_files" in limits:
            most = limits["open_files"]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if "cpu_time" in limits:  # of one process; that of the tree is measured
            most = math.ceil(limits["cpu_time"]) + _SPARE_CPU_S
            resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
        if "nice" in limits:
            os.nice(limits["nice"])

    return apply


class Meter:
    """Measures one tree against what the kernel does not keep for it."""

    def __init__(self, limits: Mapping[str, Any], group: Group | None) -> None:
        kept = frozenset() if group is None else group.keeps
        self._group = group
        self._most = {
            name: limits[name]
            for name in ("memory", "cpu_time", "processes")
            if name in limits and name not in kept
        }

    @property
    def limits_cpu(self) -> bool:
        return "cpu_time" in self._most

    @property
    def looks(self) -> bool:
        """Whether it needs the tree's processes: the time of a group is told without them."""
        return self._group is None or not self._most.keys() <= {"cpu_time"}

    @property
    def idle(self) -> bool:
        """Nothing is to be measured."""
        return not self._most

    def exceeded(self, processes: Sequence[Process], reaped_cpu_s: float) -> str | None:
        """Which limit, if any.  `reaped_cpu_s`: what orphans had used that are gone by now.

        OSError where that can't be seen now.
        """
        living = [process for process in processes if process.living]
        if "memory" in self._most and _more_memory(living, self._most["memory"]):
            return "memory"
        if (
            "cpu_time" in self._most
            and self._cpu_s(processes, reaped_cpu_s) > self._most["cpu_time"]
        ):
            return "cpu_time"
        # Threads count, as they do where the kernel counts.
        tasks = sum(process.threads for process in living)
        return "processes" if tasks > self._most.get("processes", tasks) else None

    def _cpu_s(self, processes: Sequence[Process], reaped_cpu_s: float) -> float:
        if self._group is not None:
            return self._group.cpu_s()
        return reaped_cpu_s + sum(process.cpu_ticks for process in processes) / _TICKS


class Meters:
    """Of all attempts that are measured while they run."""

    def __init__(self) -> None:
        self._measured: dict[int, Attempt] = {}
        self._due_at = 0.0  # by the monotonic clock

    def add(self, attempt: Attempt) -> None:
        if not attempt.meter.idle:
            self._measured[attempt.pid] = attempt

    def drop(self, attempt: Attempt) -> None:
        self._measured.pop(attempt.pid, None)

    def wait_ms(self) -> int | None:
        """Until the next measurement; None: nobody is measured."""
        if not self._measured:
            return None
        return max(0, math.ceil((self._due_at - time.monotonic()) * 1000))

    def beyond(self, mains: Mains) -> list[Attempt]:
        """Who goes beyond its limits now, each told once; where it isn't due yet, nobody."""
        if not self._measured or time.monotonic() < self._due_at:
            return []
        found = []
        for attempt in list(self._measured.values()):
            with contextlib.suppress(OSError):  # descriptors or memory lack: it is measured again
                attempt.limit = attempt.measure(mains)
            if attempt.limit is not None:
                found.append(attempt)
                self.drop(attempt)
        self._due_at = time.monotonic() + LOOK_S
        return found


def _more_memory(processes: Sequence[Process], most: int) -> bool:
    """Shares count only once, and not as this tree's where others have them, too: but finding that
    out walks through all of a process's memory, so it is asked only when it can matter."""
    if sum(_resident_bytes(process.pid) for process in processes) <= most:
        return False
    return sum(_own_bytes(process.pid) for process in processes) > most


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(tree.read_file(f"/proc/{pid}/statm").split()[1]) * _PAGE_BYTES
    return 0  # gone


def _own_bytes(pid: int) -> int:
    """Its proportional share; all that is resident where that may not be asked."""
    with contextlib.suppress(OSError):
        for line in tree.read_file(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return _resident_bytes(pid)
