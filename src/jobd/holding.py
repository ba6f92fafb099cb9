"""Tells the daemon's own log when nothing can be started, why, and when that is over."""

from __future__ import annotations

import logging

from jobd.core.starts import Held, Starts

log = logging.getLogger(__name__)


class Holding:
    def __init__(self, starts: Starts) -> None:
        self._starts = starts
        self._told: Held | None = None

    def look(self) -> None:
        """Called after each turn; says once what lacks, however often it was looked for."""
        held, told = self._starts.held, self._told
        if held == told:
            return
        self._told = held
        if held is None:
            log.info("starts_go_on")
        elif told is None or held.why != told.why:
            log.warning("starts_held why=%r", held.why)
