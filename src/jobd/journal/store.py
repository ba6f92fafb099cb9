"""Appends commits, and returns when they are on the disk.

One task appends, one commit at a time.  What is slow (a sync on a real disk, a new segment, an
unlink) is done in one thread of its own, so that neither the loop nor somebody else's work in a
pool ever waits for it.  After a failure nothing more is written: memory is ahead of the disk
then, and only a new start can tell by how much.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from jobd.core.records import VERSION, Record
from jobd.errors import JournalFailed
from jobd.journal.compaction import Passes, ids_in
from jobd.journal.files import FILES, FULL, Files
from jobd.journal.format import encode
from jobd.journal.recovery import Reading, refuse_unfinished
from jobd.journal.segments import Active, Segment
from jobd.journal.statedir import StateDir

log = logging.getLogger(__name__)

T = TypeVar("T")
Fsync = Literal["always", "interval", "never"]

DIRECTORY: Final = "journal"
# A thread hop costs 40–50 µs: a disk that syncs faster than this is better waited for.
INLINE_FLUSH_S: Final = 150e-6
INLINE_BYTES: Final = 256 << 10  # a longer line is a hop's worth of copying by itself
FLUSH_WEIGHT: Final = 0.125  # of the newest measurement in the moving figure


class Store:
    """The journal of one state directory, which it keeps locked.

    First iterate `recovered` to its end; then append.
    """

    def __init__(
        self, state: StateDir, files: Files, *, fsync: Fsync, interval_s: float, segment_bytes: int
    ) -> None:
        self.directory = state.path / DIRECTORY
        self.next_seq = 1  # of the record that comes next
        self.recovered: Iterator[tuple[int, list[Record]]] = self._recover()
        self._state = state
        self._files = files
        self._fsync = fsync
        self._interval_s = interval_s
        self._segment_bytes = segment_bytes
        self._sealed: list[Segment] = []
        self._sealed_bytes = 0  # their sum: asked for after each commit
        self._largest_bytes = 0  # of them
        self._active: Active | None = None
        self._rotate_at_bytes = segment_bytes
        self._promised_bytes = 0  # of room, to the jobs there are
        self._passes = Passes()
        self._worker = ThreadPoolExecutor(1, "jobd-journal")
        self._flush_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._broken: JournalFailed | None = None
        self._breaks = asyncio.Event()
        self._appending = False
        self._syncs = self._commits = 0

    @classmethod
    def open(
        cls, state_dir: Path, *, fsync: Fsync, interval_s: float, segment_bytes: int,
        files: Files = FILES,
    ) -> Store:  # fmt: skip
        """ForeignState, StateLocked, JournalFailed; the journal itself is not yet read."""
        state = StateDir.claim(state_dir, files)
        return cls(state, files, fsync=fsync, interval_s=interval_s, segment_bytes=segment_bytes)

    # The past.

    def _recover(self) -> Iterator[tuple[int, list[Record]]]:
        """Every commit there is.  Files are changed only after the last one was read sound.

        JournalDamaged, and nothing was changed; CannotStart; JournalFailed.
        """
        try:
            if not self.directory.exists():
                refuse_unfinished(self._state.path)
                self.directory.mkdir(mode=0o700)
                self._files.sync_directory(self.directory.parent)
            reading = Reading(self.directory)
            for _, commit in reading:
                yield commit.seq, commit.records
            self._begin(reading)
        except OSError as exc:
            raise self._fail(exc) from exc

    def _begin(self, reading: Reading) -> None:
        """Drops a torn end, and opens the newest segment or the first one."""
        self._state.sign()
        files = self._files
        found = reading.segments
        torn = reading.torn
        if torn is not None:
            log.warning(
                "journal_cut path=%s line=%d offset=%d bytes=%d why=%r",
                torn.place.path, torn.place.line, torn.place.offset, torn.size_bytes, torn.why,
            )  # fmt: skip
            if torn.place.line == 1:  # a new segment that never came to be
                files.unlink(found.pop().path)
        self.next_seq = reading.next_seq
        if found:
            self._active = Active.reopen(files, found.pop())
            if torn is not None and torn.place.line > 1:
                self._active.cut(torn.place.offset)
            # What was read may come from memory alone: the last daemon died before its sync.
            self._active.sync()
            if reading.version < VERSION:  # an older jobd must see that it can't read what comes
                self._rotate_at_bytes = 0
        else:
            self._active = Active.create(files, self.directory, self.next_seq, 0)
        files.sync_directory(self.directory)
        if found:  # a crash may have come after the next one was made, before this one was sealed
            before = Active.reopen(files, found[-1])
            before.give_back()
            before.close()
        self._sealed = found
        self._weigh()

    def promise(self, promised_bytes: int, live_bytes: int) -> None:
        """After a replay: that much room is set aside, and if there is more, a whole segment's.

        `live_bytes` as in `due`.

        A full disk is no reason not to start: the last daemon's room is still there, so that what
        runs can end, and `has_room` says no.
        """
        self._promised_bytes = promised_bytes
        self._passes.live_bytes = live_bytes
        kept_bytes = self._kept_bytes
        rest_bytes = max(0, self._segment_bytes - self._open.size_bytes)
        try:
            if not (self._open.reserve(kept_bytes) and self._open.reserve(kept_bytes + rest_bytes)):
                log.warning("journal_full path=%s", self.directory)
        except OSError as exc:
            raise self._fail(exc) from exc

    # The present.

    async def append(self, seq: int, records: Sequence[Record], promised_bytes: int = 0) -> None:
        """All of `records` on the disk, as one commit, or JournalFailed and nothing more after it.

        `promised_bytes` is what the jobs there are by then may add, whoever fills the disk.
        With `fsync` other than "always" they are written, and survive the daemon but not the host.
        """
        if self._broken is not None:
            raise self._broken
        assert seq == self.next_seq, f"record {seq} where {self.next_seq} is due"
        assert not self._appending, "one commit at a time"
        line = encode(seq, records)
        self._appending = True
        self._promised_bytes = promised_bytes
        try:
            if self._open.size_bytes >= self._rotate_at_bytes:
                await self._in_thread(self._rotate, len(line))
            await self._put(line)
        except OSError as exc:
            raise self._fail(exc) from exc
        except asyncio.CancelledError:
            self._fail("an append was cancelled half way")
            raise
        finally:
            self._appending = False
        self.next_seq += len(records)
        self._passes.appended(records, len(line))
        self._commits += 1

    async def watch(self) -> None:
        """Waits until the journal can't be written any more; then raises JournalFailed.

        For the syncs that nobody waits for: with "interval" they fail behind everybody's back.
        """
        await self._breaks.wait()
        assert self._broken is not None
        raise self._broken

    async def _put(self, line: bytes) -> None:
        if self._fsync != "always":
            self._open.write(line)
            if self._fsync == "interval":
                self._sync_later()
        elif self._flush_s is None or self._flush_s > INLINE_FLUSH_S or len(line) > INLINE_BYTES:
            await self._in_thread(self._write_synced, line, asyncio.get_running_loop().time)
        else:
            self._write_synced(line, asyncio.get_running_loop().time)

    def _write_synced(self, line: bytes, watch: Callable[[], float]) -> None:
        self._open.write(line)
        before_s = watch()
        self._sync()
        took_s = watch() - before_s
        known_s = took_s if self._flush_s is None else self._flush_s
        self._flush_s = known_s + FLUSH_WEIGHT * (took_s - known_s)

    def _sync(self) -> None:
        self._open.sync()
        self._syncs += 1

    # Syncs by the clock.

    def _sync_later(self) -> None:
        """What was just written is on the disk `interval_s` from now, also without more traffic."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._interval_s, self._start_sync)

    def _start_sync(self) -> None:
        # Cleared before the sync begins: what is written during it is in need of the next one.
        self._timer = None
        self._syncing = asyncio.get_running_loop().create_task(self._sync_in_thread())

    async def _sync_in_thread(self) -> None:
        if self._broken is None:
            try:
                await self._in_thread(self._sync)
            except OSError as exc:
                self._fail(exc)

    # Segments.

    async def rotate(self) -> None:
        """The next commit goes to a new segment, unless the disk has no room for one."""
        try:
            await self._in_thread(self._rotate, 0)
        except OSError as exc:
            raise self._fail(exc) from exc

    def _rotate(self, line_bytes: int) -> None:
        """`line_bytes` is what will be written to the new one first: its room goes with the old."""
        if self._open.first_seq == self.next_seq:
            return  # nothing was written to it yet
        self._sync()  # before the next one exists: in an older segment nothing may be torn
        try:
            fresh = self._next_segment(line_bytes)
        except OSError as exc:
            if exc.errno not in FULL:
                raise
            self._rotate_at_bytes = self._open.size_bytes + self._segment_bytes // 8
            log.warning("journal_full path=%s why=%r", self.directory, exc.strerror)
            return
        self._sealed.append(self._open.seal())
        self._weigh()
        self._active = fresh
        self._rotate_at_bytes = self._segment_bytes

    def _next_segment(self, line_bytes: int) -> Active:
        """With room for all that is promised, and if there is more, for a whole segment."""
        create = partial(Active.create, self._files, self.directory, self.next_seq)
        largest_bytes = max(self._largest_bytes, self._open.size_bytes)
        room_bytes = line_bytes + self._promised_bytes + self._passes.need_bytes(largest_bytes)
        try:
            return create(room_bytes + self._segment_bytes)
        except OSError as exc:
            if exc.errno not in FULL:
                raise
            return create(room_bytes)

    def has_room(self, size_bytes: int, *, leave_bytes: int = 0, compacting: bool = False) -> bool:
        """Whether the next commit can take that much beside what was promised, and the file
        system keeps `leave_bytes` for others.

        Room is allocated, not counted.  Compaction has some of its own, which nobody else gets.
        Where the file system can't reserve, the answer is its guess.
        """
        kept_bytes = self._promised_bytes if compacting else self._kept_bytes
        try:
            return self._open.reserve(kept_bytes + size_bytes, leave_bytes=leave_bytes)
        except OSError as exc:
            raise self._fail(exc) from exc

    @property
    def _kept_bytes(self) -> int:
        """The room that submissions don't get: what jobs were promised, and compaction's."""
        return self._promised_bytes + self._passes.need_bytes(self._largest_bytes)

    # Compaction: its caller has the engine say the oldest jobs again, then drops their segment.

    def due(self, live_bytes: int) -> bool:
        """Whether to drop the oldest segment; `live_bytes` is what the jobs there are need."""
        return self._passes.due(self._sealed_bytes, live_bytes, self._segment_bytes)

    async def oldest_ids(self) -> tuple[Path, list[str]]:
        """The oldest sealed segment, and the jobs whose first or whole account is in it.

        Perhaps some more: to keep one that need not be is harmless.
        """
        path = self._sealed[0].path
        try:
            return path, await self._in_thread(ids_in, path)
        except OSError as exc:
            raise self._fail(exc) from exc

    async def drop(self, path: Path) -> None:
        """The oldest segment is gone.  All that it alone knew must have been appended again."""
        assert self._sealed, "the active segment is never dropped"
        assert path == self._sealed[0].path, "oldest first, or a gap would look like damage"
        try:
            await self._in_thread(self._drop)
        except OSError as exc:
            raise self._fail(exc) from exc

    def _drop(self) -> None:
        if self._fsync != "always":
            self._sync()  # what was said again, before what it replaces goes
        self._files.unlink(self._sealed[0].path)
        del self._sealed[0]
        self._weigh()
        self._files.sync_directory(self.directory)
        oldest = self._sealed[0] if self._sealed else self._open
        self._passes.dropped(oldest.first_seq, self._open.first_seq)

    def _weigh(self) -> None:
        sizes = [segment.size_bytes for segment in self._sealed]
        self._sealed_bytes, self._largest_bytes = sum(sizes), max(sizes, default=0)

    @property
    def sealed(self) -> tuple[Segment, ...]:
        return tuple(self._sealed)

    # The end.

    async def aclose(self) -> None:
        """Synced (unless it has failed), closed, and the lock released."""
        try:
            if self._timer is not None:
                self._timer.cancel()
            if self._syncing is not None:
                await self._syncing
            if self._active is not None and self._broken is None:
                try:
                    await self._in_thread(self._sync)
                except OSError as exc:
                    raise self._fail(exc) from exc
        finally:
            self.close()

    def close(self) -> None:
        """At once: what was appended without a sync may be lost with the host."""
        self._worker.shutdown(wait=True)
        if self._active is not None:
            self._active.close()
        self._state.release()

    def stats(self) -> dict[str, Any]:
        return {
            "fsync": self._fsync,
            "seq": self.next_seq - 1,  # of the last record
            "segments": len(self._sealed) + 1,
            "bytes": self._sealed_bytes + self._open.size_bytes,
            "room_bytes": self._open.room_bytes,  # allocated beyond what is written
            "commits": self._commits,  # since this start, like the syncs
            "syncs": self._syncs,
            "flush_us": None if self._flush_s is None else round(self._flush_s * 1e6),
        }

    @property
    def _open(self) -> Active:
        assert self._active is not None, "iterate `recovered` to its end first"
        return self._active

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, work, *arguments)

    def _fail(self, cause: OSError | str) -> JournalFailed:
        if self._broken is None:
            self._broken = JournalFailed(
                f"{self.directory}: the journal can't be written: {cause}; free what it needs and "
                "start again, nothing that was acknowledged is lost"
            )
            self._breaks.set()
        return self._broken
