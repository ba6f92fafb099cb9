"""Two readings of time: one for appointments, one for patience.

Instants (`run_at`, timestamps, retention) follow the wall clock, also after somebody set it.
Timeouts and grace count elapsed time, suspend included, and mean nothing after a reboot.
Nothing here reads a clock: that is `jobd.clock`'s.
"""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    wall: float  # seconds since the epoch
    boot: float  # seconds since this boot, CLOCK_BOOTTIME


class Deadlines(NamedTuple):
    """When something comes due by itself, by either watch; None: never."""

    wall: float | None
    boot: float | None
