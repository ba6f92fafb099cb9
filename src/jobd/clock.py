"""The only module with a watch.

Two of them, in fact (see `core.moment`): instants follow the wall clock, patience follows the
boot clock, which also counts while the machine sleeps.  An `Alarm` wakes the daemon by
either, and at once when somebody sets the wall clock; in between nothing ticks.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import psutil

from jobd import linux
from jobd.core.moment import Deadlines, Moment

LOOK_AGAIN_S: Final = 60.0
NEVER: Final = Deadlines(None, None)


class Alarm(Protocol):
    def set(self, deadlines: Deadlines) -> None:
        """Replaces what was set before.  A deadline that has passed rings at once."""

    def close(self) -> None: ...


class Clock(Protocol):
    boot_id: str  # another one after a reboot: readings of the boot clock can't be compared

    def now(self) -> Moment: ...

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """Rings on the running event loop; perhaps too early, never too late."""


class SystemClock:
    def __init__(self) -> None:
        self.boot_id = _boot_id()

    def now(self) -> Moment:
        return Moment(time.time(), _boot_s())

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        return _KernelAlarm(ring) if sys.platform == "linux" else _LoopAlarm(ring, self.now)


class _KernelAlarm:
    """Two timers of the kernel's: they know of suspend, and of a wall clock that was set."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._set = NEVER
        self._loop = asyncio.get_running_loop()
        self._wall = linux.timerfd(linux.CLOCK_REALTIME)
        self._boot = linux.timerfd(linux.CLOCK_BOOTTIME)
        for fd in (self._wall, self._boot):
            self._loop.add_reader(fd, self._rung)

    def set(self, deadlines: Deadlines) -> None:
        if deadlines != self._set:
            self._set = deadlines
            linux.timerfd_set(self._wall, deadlines.wall, cancel_on_set=True)
            linux.timerfd_set(self._boot, deadlines.boot)

    def close(self) -> None:
        for fd in (self._wall, self._boot):
            self._loop.remove_reader(fd)
            os.close(fd)

    def _rung(self) -> None:
        # Disarmed, so that it does not stay readable; who is woken sets what comes next.
        self._set = NEVER
        linux.timerfd_set(self._wall, None)
        linux.timerfd_set(self._boot, None)
        self._ring()


class _LoopAlarm:
    """Where the kernel offers no more: the event loop's timer.

    It knows neither of suspend nor of a clock that was set, hence the look in between.
    """

    def __init__(self, ring: Callable[[], None], now: Callable[[], Moment]) -> None:
        self._ring = ring
        self._now = now
        self._timer: asyncio.TimerHandle | None = None

    def set(self, deadlines: Deadlines) -> None:
        self.close()
        now = self._now()
        waits = [at - then for at, then in zip(deadlines, now, strict=True) if at is not None]
        if waits:
            wait = min(max(0.0, min(waits)), LOOK_AGAIN_S)
            self._timer = asyncio.get_running_loop().call_later(wait, self._ring)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _boot_s() -> float:
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    else:
        return time.monotonic()


def _boot_id() -> str:
    if sys.platform == "linux":
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    else:
        return f"boot-{psutil.boot_time():.0f}"
