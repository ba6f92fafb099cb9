"""What `jobctl top` shows, asked of the daemon and of the operating system.  Draws nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from jobd.cli import wording
from jobd.cli.top.saying import last_line
from jobd.cli.top.usage import Cost, Usage
from jobd.client.aio import AsyncClient
from jobd.errors import NotFound

SHOWN_MAX = 200
PIECE_BYTES = 256 * 1024
PIECES_MAX = 16  # read in one look
REST_MAX = 4096  # characters of a line that has not ended


class Running(NamedTuple):
    id: str
    what: str
    cost: Cost | None  # None: can't be seen
    elapsed_s: float
    timeout_s: float | None
    fraction: float | None
    message: str
    stopping: str
    line: str  # the last one of its output


class Glance(NamedTuple):
    jobs: list[Running]
    running: int
    max_running: int
    waiting: int
    held: str  # why nothing is started


class Watch:
    """Looks again and again; each job's pid is asked for once, its output read on where it was."""

    def __init__(self, socket: str) -> None:
        self.client = AsyncClient(socket)
        self._usage = Usage()
        self._seen: dict[tuple[str, int], _Attempt] = {}

    async def aclose(self) -> None:
        await self.client.aclose()

    async def look(self) -> Glance:
        """JobdError where the daemon has no answer."""
        stats, documents = await self._running()
        keys = [(document["id"], document["attempt"]) for document in documents]
        self._seen = {key: self._seen.get(key) or _Attempt(*key) for key in keys}
        attempts = list(self._seen.values())
        await asyncio.gather(*(attempt.look(self.client) for attempt in attempts))
        pids = [attempt.pid for attempt in attempts if attempt.pid is not None]
        costs = await asyncio.to_thread(self._usage.look, pids)
        now = time.time()
        jobs = [
            _running(document, attempt, costs.get(attempt.pid or 0), now)
            for document, attempt in zip(documents, attempts, strict=True)
        ]
        waiting = stats["jobs"].get("pending", 0) + stats["jobs"].get("pending_retry", 0)
        held = (stats.get("held") or {}).get("why", "")
        return Glance(jobs, stats["running"], stats["max_running"], waiting, held)

    async def _running(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """How many there are, and those that run, the oldest first.

        Having found all that run, the daemon looks no further, however long its history is.
        """
        found: list[dict[str, Any]] = []
        async for document in self.client.list(status="running", limit=SHOWN_MAX):
            found.append(document)
            if len(found) == SHOWN_MAX:
                break
        documents = [document for document in found if document["started_at"] is not None]
        stats = await self.client.stats()
        return stats, sorted(documents, key=lambda one: (one["started_at"], one["id"]))


class _Attempt:
    def __init__(self, id: str, number: int) -> None:
        self.pid: int | None = None
        self.line = ""
        self._id = id
        self._number = number
        self._rest = ""
        self._offset: str | None = None

    async def look(self, client: AsyncClient) -> None:
        try:
            if self.pid is None:
                document = await client.status(self._id)
                if document["attempts"] and document["attempt"] == self._number:
                    self.pid = document["attempts"][-1]["pid"]
            await self._read(client)
        except NotFound:  # it has ended and is forgotten, or its output is
            return

    async def _read(self, client: AsyncClient) -> None:
        """A progress bar is one line, drawn over and over: only its end is of interest."""
        wanted: dict[str, Any] = {"attempt": self._number, "limit": PIECE_BYTES}
        if self._offset is None:
            piece = await client.logs(self._id, **wanted, tail=1)
            self._rest = ""
            self._take(piece)
        for _ in range(PIECES_MAX):
            piece = await client.logs(self._id, **wanted, offset=self._offset)
            self._take(piece)
            if len(piece["data"]) < PIECE_BYTES // 4:  # in characters: not all that may come
                return
        self._offset = None  # it writes faster than this reads: next time, from the end again

    def _take(self, piece: dict[str, Any]) -> None:
        text = self._rest + piece["data"]
        self._offset = piece["offset"]
        self._rest = text.rpartition("\n")[2][-REST_MAX:]
        self.line = last_line(text) or self.line


def _running(document: dict[str, Any], attempt: _Attempt, cost: Cost | None, now: float) -> Running:
    progress = document.get("progress") or {}
    return Running(
        id=document["id"],
        what=wording.what(document),
        cost=cost,
        elapsed_s=max(0.0, now - wording.epoch(document["started_at"])),
        timeout_s=document["timeout"],
        fraction=progress.get("fraction"),
        message=wording.printable(progress.get("message") or ""),
        stopping=document.get("stopping") or "",
        line=attempt.line,
    )
