"""What attempts wrote: read in pieces, followed as it grows, removed when its time is over."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from jobd.chunk import Chunk, Stream
from jobd.supervisor import removing
from jobd.supervisor.growth import Growth, Watches
from jobd.supervisor.launching import STREAMS, OutputPlaces
from jobd.supervisor.reading import Reader

log = logging.getLogger(__name__)


class Outputs:
    """The files below `log_dir/output`: for each attempt a pair, and their order.

    `total_max_bytes` bounds what ended attempts have left on the disk, the oldest end first;
    what still runs is neither counted nor removed.
    """

    def __init__(
        self, log_dir: str | os.PathLike[str], *, total_max_bytes: int | None = None
    ) -> None:
        self._places = OutputPlaces(os.fspath(log_dir))
        self._watches = Watches()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="output")
        self.total_max_bytes = total_max_bytes
        # The worker's alone, which does one thing after the other; empty where nothing is bounded.
        self._ended: dict[tuple[str, int], int] = {}  # bytes, the oldest end first
        self._attempts: dict[str, list[int]] = {}  # of these, by job
        self._total_bytes = 0

    # Reading.

    async def read(
        self, id: str, attempt: int, stream: Stream, *, offset: int | str = 0,
        tail: int | None = None, limit: int = 65536, over: bool = False, again: bool = False,
    ) -> Chunk:  # fmt: skip
        """In a thread.  No file (yet): an empty chunk.  ValueError: not an offset of ours.

        `limit` is in bytes.  `over`: the attempt has ended, so that a character that is cut at
        the end will never be whole.  `again`: the offset was reached by reading, so that a
        stream that is shorter now was truncated, and is read from its beginning.
        LookupError: the output was removed.
        """
        return await asyncio.to_thread(
            self.read_now, id, attempt, stream,
            offset=offset, tail=tail, limit=limit, over=over, again=again,
        )  # fmt: skip

    def read_now(
        self, id: str, attempt: int, stream: Stream, *, offset: int | str = 0,
        tail: int | None = None, limit: int = 65536, over: bool = False, again: bool = False,
    ) -> Chunk:  # fmt: skip
        paths = self._places.streams(id, attempt)
        if over and not any(map(os.path.lexists, paths)):
            raise LookupError(f"the output of attempt {attempt} is gone")
        order = None
        if stream == "both":
            at, order = _split(str(offset)), self._places.order(id, attempt)
        elif isinstance(offset, str) or offset < 0:
            raise ValueError("the offset of one stream is a number of bytes")
        else:
            at, paths = [offset], [paths[STREAMS.index(stream)]]
        with Reader(paths, order, over=over) as reader:
            if tail is not None:
                at = reader.tail(tail)
            piece = reader.read(at, limit, again=again)
        reached = _join(piece.at) if stream == "both" else piece.at[0]
        return Chunk(piece.text, reached, piece.eof, piece.skipped, piece.lossy)

    def watch(self, id: str) -> Growth:
        """Wakes whoever waits for more of the job's output, of any attempt."""
        return self._watches.watch(self._places.job_outputs(id))

    # Removing.

    def forget(self, id: str) -> None:
        """The job's output goes, in a worker thread; a failure is logged."""
        self._worker.submit(self._forget, id)

    def ended(self, id: str, attempt: int) -> None:
        """What it has left counts from now on; the oldest goes if it is too much in all."""
        if self.total_max_bytes is not None:
            self._worker.submit(self._measure, id, attempt)

    async def scan(self, running: Callable[[], Collection[tuple[str, int]]] = tuple) -> None:
        """Counts anew what is there: at a start, and when the bound has changed.

        `running`, asked when all was read: (id, attempt) of those that have not ended.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._worker, self._scan)
        left_out = set(running())
        await loop.run_in_executor(self._worker, self._take, found, left_out)

    def close(self) -> None:
        """Every removal that was asked for is done."""
        self._watches.close()
        self._worker.shutdown()

    # In the worker.

    def _forget(self, id: str) -> None:
        for attempt in self._attempts.pop(id, ()):
            self._total_bytes -= self._ended.pop((id, attempt), 0)
        removing.logged(removing.remove_job, self._places.job_outputs(id))

    def _measure(self, id: str, attempt: int) -> None:
        self._count(id, attempt, removing.size(self._places.output(id, attempt, "")))
        self._evict()

    def _scan(self) -> list[tuple[str, int, int]]:
        self._ended.clear()
        self._attempts.clear()
        self._total_bytes = 0
        return [] if self.total_max_bytes is None else removing.sizes(self._places.outputs)

    def _take(
        self, found: Sequence[tuple[str, int, int]], left_out: Collection[tuple[str, int]]
    ) -> None:
        for id, attempt, size_bytes in found:
            # One that ended while the files were read has been counted.
            if (id, attempt) not in left_out and (id, attempt) not in self._ended:
                self._count(id, attempt, size_bytes)
        self._evict()

    def _count(self, id: str, attempt: int, size_bytes: int) -> None:
        self._ended[id, attempt] = size_bytes
        self._attempts.setdefault(id, []).append(attempt)
        self._total_bytes += size_bytes

    def _evict(self) -> None:
        most = self.total_max_bytes
        while most is not None and self._total_bytes > most and self._ended:
            id, attempt = key = next(iter(self._ended))
            self._total_bytes -= self._ended.pop(key)
            log.info("output_removed id=%s attempt=%s", id, attempt)
            removing.logged(removing.remove_attempt, self._places.output(id, attempt, ""))


def _split(offset: str) -> list[int]:
    """Of both streams: how far each of them was read, which nobody else needs to know."""
    parts = ["0", "0"] if offset == "0" else offset.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError("not an offset that jobd gave out for both streams")
    return [min(int(part[:18]), 1 << 60) for part in parts]


def _join(at: Sequence[int]) -> str:
    return ".".join(map(str, at))
