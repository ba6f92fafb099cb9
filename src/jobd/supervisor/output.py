"""What attempts wrote: read in pieces, followed as it grows, removed when its time is over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from jobd.chunk import Chunk, Stream
from jobd.supervisor.growth import Growth, Watches
from jobd.supervisor.launching import OutputPlaces

log = logging.getLogger(__name__)

T = TypeVar("T")

STREAMS: Final = ("stdout", "stderr")
_BLOCK: Final = 64 * 1024


class _Piece(NamedTuple):
    content: str
    offset: int
    eof: bool
    lossy: bool


class Outputs:
    """The files below `log_dir/output`, one pair for each attempt.

    `total_max_bytes` bounds what ended attempts have left, the oldest end first; what still
    runs is neither counted nor removed.
    """

    def __init__(
        self, log_dir: str | os.PathLike[str], *, total_max_bytes: int | None = None
    ) -> None:
        self._places = OutputPlaces(os.fspath(log_dir))
        self._watches = Watches()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="output")
        self.total_max_bytes = total_max_bytes
        self._ended: dict[tuple[str, int], int] = {}  # bytes, the oldest end first; if bounded
        self._attempts: dict[str, list[int]] = {}  # of these, by job
        self._total_bytes = 0

    # Reading.

    async def read(
        self, id: str, attempt: int, stream: Stream, *, offset: int | str = 0,
        tail: int | None = None, limit: int = 65536, over: bool = False,
    ) -> Chunk:  # fmt: skip
        """In a thread.  No file (yet): an empty chunk.  ValueError: not an offset of ours.

        `limit` is in bytes.  `over`: the attempt has ended, so that a character that is cut at
        the end will never be whole.  LookupError: the output was removed.
        """
        return await asyncio.to_thread(
            self.read_now, id, attempt, stream, offset=offset, tail=tail, limit=limit, over=over
        )

    def read_now(
        self, id: str, attempt: int, stream: Stream, *, offset: int | str = 0,
        tail: int | None = None, limit: int = 65536, over: bool = False,
    ) -> Chunk:  # fmt: skip
        paths = [self._places.output(id, attempt, one) for one in STREAMS]
        if over and not any(map(os.path.lexists, paths)):
            raise LookupError(f"the output of attempt {attempt} is gone")
        if stream == "both":
            return _read_both(paths, str(offset), tail, limit, over)
        path = paths[STREAMS.index(stream)]
        if isinstance(offset, str) or offset < 0:
            raise ValueError("the offset of one stream is a number of bytes")
        if tail is not None:
            offset = _tail_offset(path, tail)
        piece = _read(path, offset, limit, over)
        return Chunk(piece.content, piece.offset, piece.eof, 0, piece.lossy)

    def watch(self, id: str) -> Growth:
        """Wakes whoever waits for more of the job's output, of any attempt."""
        return self._watches.watch(self._places.job_outputs(id))

    # Removing.

    def forget(self, id: str) -> None:
        """The job's output goes, in a worker thread; a failure is logged."""
        for attempt in self._attempts.pop(id, ()):
            self._total_bytes -= self._ended.pop((id, attempt), 0)
        self._worker.submit(_logged, _remove_job, self._places.job_outputs(id))

    def ended(self, id: str, attempt: int, size_bytes: int) -> None:
        """That much was left; the oldest goes if it is now too much in all."""
        if self.total_max_bytes is None:
            return
        self._count(id, attempt, size_bytes)
        self._evict()

    async def scan(self, running: Callable[[], Collection[tuple[str, int]]] = tuple) -> None:
        """Counts anew what is there: at a start, and when the bound has changed.

        `running`, asked when all was read: (id, attempt) of those that have not ended.
        """
        self._ended.clear()
        self._attempts.clear()
        self._total_bytes = 0
        if self.total_max_bytes is not None:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._worker, _sizes, self._places.outputs)
            left_out = set(running())
            for id, attempt, size in found:
                # One that ended while the files were read has been counted.
                if (id, attempt) not in left_out and (id, attempt) not in self._ended:
                    self._count(id, attempt, size)
            self._evict()

    def close(self) -> None:
        """Every removal that was asked for is done."""
        self._watches.close()
        self._worker.shutdown()

    def _count(self, id: str, attempt: int, size_bytes: int) -> None:
        self._ended[id, attempt] = size_bytes
        self._attempts.setdefault(id, []).append(attempt)
        self._total_bytes += size_bytes

    def _evict(self) -> None:
        assert self.total_max_bytes is not None
        while self._total_bytes > self.total_max_bytes and self._ended:
            id, attempt = key = next(iter(self._ended))
            self._total_bytes -= self._ended.pop(key)
            log.info("output_removed id=%s attempt=%s", id, attempt)
            paths = [self._places.output(id, attempt, one) for one in STREAMS]
            self._worker.submit(_logged, _remove_files, paths)


# ---------------------------------------------------------------------------- reading


def _read(path: str, offset: int, limit: int, over: bool) -> _Piece:
    """From `offset`, whole characters only; at least one, however small the limit."""
    limit = max(limit, 4)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(min(offset, size))
            content = file.read(limit)
            begins = file.tell() - len(content)
    except FileNotFoundError:
        return _Piece("", offset, True, False)
    at_end = begins + len(content) >= size
    if not (at_end and over):
        content = content[: _whole_characters(content)]
    try:
        text, lossy = content.decode("utf-8"), False
    except UnicodeDecodeError:
        text, lossy = content.decode("utf-8", "replace"), True
    return _Piece(text, begins + len(content), at_end, lossy)


def _read_both(paths: list[str], offset: str, tail: int | None, limit: int, over: bool) -> Chunk:
    """Standard output first where nobody looked in between: the files have no common clock."""
    offsets = _split_offset(offset)
    if tail is not None:
        offsets = [_tail_offset(path, tail) for path in paths]
    left, text, eof, lossy = limit, "", True, False
    for index, path in enumerate(paths):
        if left <= 0:
            eof = eof and offsets[index] >= _size(path)
            continue
        piece = _read(path, offsets[index], left, over)
        left -= piece.offset - offsets[index]
        offsets[index] = piece.offset
        text += piece.content
        eof, lossy = eof and piece.eof, lossy or piece.lossy
    if tail is not None:
        text = "".join(text.splitlines(keepends=True)[-tail:]) if tail else ""
    return Chunk(text, ".".join(map(str, offsets)), eof, 0, lossy)


def _split_offset(offset: str) -> list[int]:
    parts = ["0", "0"] if offset == "0" else offset.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError("not an offset that jobd gave out for both streams")
    return [min(int(part[:18]), 1 << 60) for part in parts]


def _whole_characters(content: bytes) -> int:
    """How many bytes, without a character that has begun and not ended."""
    for back in range(1, min(4, len(content) + 1)):
        byte = content[-back]
        if byte & 0xC0 != 0x80:  # the first byte of a character: how long is it?
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return len(content) - back if back < length else len(content)
    return len(content)


def _tail_offset(path: str, lines: int) -> int:
    """Where the last `lines` lines begin, read from the end."""
    try:
        with open(path, "rb") as file:
            end = position = file.seek(0, os.SEEK_END)
            if lines <= 0 or end == 0:
                return end
            # The newline that ends the last line begins no other.
            file.seek(end - 1)
            wanted = lines + (file.read(1) == b"\n")
            while position > 0:
                start = max(0, position - _BLOCK)
                file.seek(start)
                block = file.read(position - start)
                count = block.count(b"\n")
                if count >= wanted:
                    at = len(block)
                    for _ in range(wanted):
                        at = block.rindex(b"\n", 0, at)
                    return start + at + 1
                wanted -= count
                position = start
    except FileNotFoundError:
        pass
    return 0


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


# ---------------------------------------------------------------------------- removing


def _logged(remove: Callable[[T], None], what: T) -> None:
    """In the worker, whose failures nobody asks for."""
    try:
        remove(what)
    except OSError as exc:
        log.error("output_not_removed what=%r why=%r", what, str(exc))


def _remove_job(directory: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


def _remove_files(paths: list[str]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    with contextlib.suppress(OSError):  # other attempts of the job have theirs there
        os.rmdir(os.path.dirname(paths[0]))


def _sizes(outputs: str) -> list[tuple[str, int, int]]:
    """(id, attempt, bytes) of every attempt that left something, the oldest first."""
    found: dict[tuple[str, int], tuple[float, int]] = {}
    for id, entry in _files(outputs):
        number, dot, stream = entry.name.rpartition(".")
        if dot and number.isdecimal() and stream in STREAMS:
            status = entry.stat()
            at, size = found.get((id, int(number)), (0.0, 0))
            found[id, int(number)] = max(at, status.st_mtime), size + status.st_size
    ordered = sorted(found.items(), key=lambda item: item[1])
    return [(id, attempt, size) for (id, attempt), (_, size) in ordered]


def _files(outputs: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    for prefix in _entries(outputs):
        for job in _entries(prefix.path):
            for file in _entries(job.path):
                yield job.name, file


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
