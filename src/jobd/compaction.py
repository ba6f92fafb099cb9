"""Keeps the journal's size bounded by what is kept, without ever stopping the loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from jobd.core.commands import KEEP_MAX, Keep
from jobd.daemon import Daemon
from jobd.errors import Draining, StorageError

log = logging.getLogger(__name__)

TRY_AGAIN_S: Final = 1.0  # nobody tells when a file system has room again


class Segments(Protocol):
    def due(self, live_bytes: int) -> bool:
        """Whether the journal holds far more than is needed to tell of the jobs there are."""

    async def oldest_ids(self) -> tuple[Path, list[str]]:
        """The oldest sealed segment, and the jobs that it introduces."""

    async def drop(self, path: Path) -> None:
        """It is not needed any more."""


class Compaction:
    def __init__(
        self, daemon: Daemon, segments: Segments, pause: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """`pause`: between two tries while there is no room."""
        self._daemon = daemon
        self._segments = segments
        self._pause = pause or partial(asyncio.sleep, TRY_AGAIN_S)
        self._grown = asyncio.Event()

    def look(self) -> None:
        """Called after each commit; costs nothing while there is nothing to do."""
        if self._due():
            self._grown.set()

    async def run(self) -> None:
        """Serve until cancelled, or until the daemon decides no more."""
        with contextlib.suppress(Draining):
            while True:
                await self._grown.wait()
                while self._due():
                    await self._drop_oldest()
                self._grown.clear()

    async def _drop_oldest(self) -> None:
        """Say again what lives in it, and delete it only when that is on disk."""
        path, ids = await self._segments.oldest_ids()
        for start in range(0, len(ids), KEEP_MAX):
            await self._say_again(Keep(tuple(ids[start : start + KEEP_MAX])))
        await self._segments.drop(path)

    async def _say_again(self, jobs: Keep) -> None:
        """Waits for room: it is set aside, but others may be quicker to take what a drop freed."""
        waited = False
        while True:
            try:
                await self._daemon.execute(jobs)
            except StorageError:
                if not waited:
                    log.warning("compaction_waits why='no room left on the journal's file system'")
                waited = True
                await self._pause()
            else:
                return

    def _due(self) -> bool:
        return self._segments.due(self._daemon.engine.live_bytes)
