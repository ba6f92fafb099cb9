"""Whether anything may start now, whatever slots and queues say.

Three things hold all starts back: a drain, want of something that every start needs, and, for a
few seconds after a reboot or a lost keeper, the caution to begin slowly: what brought the
machine down may be among the jobs that are about to run again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from jobd.core.moment import Moment

PROBE_AFTER_S: Final = 1.0
WINDOW_S: Final = 1.0


class Held(NamedTuple):
    """Nothing is started, since the host lacks what every start needs."""

    why: str
    since: float  # wall clock


class Starts:
    def __init__(self) -> None:
        self.draining = False
        self.held: Held | None = None
        self._probe_at: float | None = None  # boot clock; None: it was asked, or nothing is held
        self._window: int | None = None  # starts that it allows; None: any number
        self._window_ends_at: float | None = None  # boot clock; None: nothing has started in it
        self._in_window = 0

    @property
    def allowed(self) -> bool:
        full = self._window is not None and self._in_window >= self._window
        return not (self.draining or self.held or full)

    def next_at(self) -> float | None:
        """By the boot clock, when something changes by itself."""
        if self._probe_at is not None:
            return self._probe_at
        return self._window_ends_at

    # Want.

    def hold(self, why: str, now: Moment) -> None:
        """Until a probe, a second from now, finds nothing lacking."""
        if self.held is None:
            self.held = Held(why, now.wall)
        else:
            self.held = self.held._replace(why=why)
        self._probe_at = now.boot + PROBE_AFTER_S

    def release(self) -> None:
        self.held = self._probe_at = None

    def probe_is_due(self, now: Moment) -> bool:
        """True once; the answer is a `hold` or a `release`."""
        if self._probe_at is None or self._probe_at > now.boot:
            return False
        self._probe_at = None
        return True

    # Caution.

    def begin_slowly(self) -> None:
        """One start in the next second that has any, two in the one after that, then four, …"""
        self._window, self._in_window, self._window_ends_at = 1, 0, None

    def advance(self, now: Moment, slots: int) -> None:
        """The window's time may be over: the next one allows twice as many."""
        if self._window is None or self._window_ends_at is None or self._window_ends_at > now.boot:
            return
        wider = 2 * self._window
        self._window, self._in_window, self._window_ends_at = wider, 0, None
        if wider >= slots:
            self._window = None

    def note(self, now: Moment) -> None:
        """One was started."""
        if self._window is not None:
            self._in_window += 1
            if self._window_ends_at is None:
                self._window_ends_at = now.boot + WINDOW_S
