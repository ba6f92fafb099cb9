"""Reads what an attempt wrote: whole characters, around holes, in the order in which it grew.

Offsets are byte positions in what the job wrote.  The keeper punches holes meanwhile, and the
job may truncate its file: each byte that is there is read once, whatever happens between two
reads, and what is gone is counted.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from jobd.keeper import order
from jobd.keeper.results import SUSPICIOUS

CHARACTER_BYTES: Final = 4  # at most
_BLOCK: Final = 64 * 1024
_FOR_EVER: Final = 1 << 63
# Not on every platform; without the first two, files are read as if they had no holes.
_SEEK_DATA: Final[int | None] = getattr(os, "SEEK_DATA", None)
_SEEK_HOLE: Final[int | None] = getattr(os, "SEEK_HOLE", None)
# Nothing is there, or something that is no file of ours: a job can make anything of it.
_NOT_OURS: Final = (
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EACCES,
)  # fmt: skip

Turn = tuple[int, int]  # of a stream, by its index, up to this byte


class Piece(NamedTuple):
    text: str
    at: Sequence[int]  # where each stream goes on
    eof: bool  # nothing follows, now
    skipped: int  # bytes that are not there, before the text
    lossy: bool


class Reader:
    """One stream, or several in the order that `order_path` tells; as they are now.

    `over`: the attempt has ended, so that a character that is cut at the end will never be
    whole.
    """

    def __init__(
        self, paths: Sequence[str], order_path: str | None = None, *, over: bool = False
    ) -> None:
        # The order first: what is written meanwhile is after all that it tells.
        told = list(order.read(order_path)) if order_path is not None else []
        self._files = [_File(path) for path in paths]
        self._over = over
        last = told[-1][0] if told else len(paths) - 1
        rest = [*(other for other in range(len(paths)) if other != last), last]
        self._turns: list[Turn] = [*told, *((stream, _FOR_EVER) for stream in rest)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def read(self, at: Sequence[int], limit: int, *, again: bool = False) -> Piece:
        """At most `limit` bytes, or one character; up to the next hole.

        `again`: what has been truncated to less than was read goes on at its beginning.
        """
        reading = _Reading(self._files, at, max(limit, CHARACTER_BYTES), again=again)
        for turn in self._turns:
            if not reading.take(turn, self._over):
                break
        return reading.piece()

    def tail(self, lines: int) -> list[int]:
        """Where the last `lines` lines begin.  A hole ends a line, and begins one."""
        at = [file.size for file in self._files]
        wanted = lines
        untouched = True
        for stream, start, content, cut in self._backwards() if lines > 0 else ():
            if untouched:
                # The newline that ends the last line begins no other.
                wanted += content.endswith(b"\n")
                untouched = False
            count = content.count(b"\n")
            if count >= wanted:
                found = len(content)
                for _ in range(wanted):
                    found = content.rindex(b"\n", 0, found)
                at[stream] = start + found + 1
                break
            wanted -= count
            at[stream] = start
            if cut:
                at[stream] += _continued(content)
                wanted -= 1
                if wanted == 0:
                    break
        return at

    def _backwards(self) -> Iterator[tuple[int, int, bytes, bool]]:
        """(stream, where, content, after a hole) of all that is there, the last first."""
        begun = [0] * len(self._files)
        runs = []
        for stream, told in self._turns:
            end = min(told, self._files[stream].size)
            if end > begun[stream]:
                runs.append((stream, begun[stream], end))
                begun[stream] = end
        for stream, begin, end in reversed(runs):
            for start, content, cut in self._files[stream].backwards(begin, end):
                yield stream, start, content, cut


class _Reading:
    """One piece, as it is gathered."""

    def __init__(
        self, files: Sequence[_File], at: Sequence[int], limit: int, *, again: bool
    ) -> None:
        self._files = files
        self._left = limit
        self._at = [
            where if where <= file.size else 0 if again else file.size
            for where, file in zip(at, files, strict=True)
        ]
        self._text: list[str] = []
        self._skipped = 0
        self._lossy = False
        self._awaited = [False] * len(files)  # its last character is not whole yet

    def take(self, turn: Turn, over: bool) -> bool:
        """Whether there is room for what comes after that turn."""
        stream, end = turn
        file = self._files[stream]
        while self._at[stream] < min(end, file.size) and not self._awaited[stream]:
            at = self._at[stream]
            beyond = file.beyond_hole(at)
            if beyond > at:
                if self._text:
                    return False  # what is skipped is skipped before the text
                self._skipped += beyond - at
                self._at[stream] = beyond
                continue
            if self._left < CHARACTER_BYTES:
                return False
            content = file.characters(at, end, self._left, over=over)
            if content is None:  # a hole has been punched, or it was truncated
                continue
            self._awaited[stream] = not content
            self._at[stream] += len(content)
            self._left -= len(content)
            self._decode(content)
        return True

    def _decode(self, content: bytes) -> None:
        if content:
            try:
                self._text.append(content.decode("utf-8"))
            except UnicodeDecodeError:
                self._text.append(content.decode("utf-8", "replace"))
                self._lossy = True

    def piece(self) -> Piece:
        eof = all(
            at >= file.size or awaited
            for at, file, awaited in zip(self._at, self._files, self._awaited, strict=True)
        )
        return Piece("".join(self._text), self._at, eof, self._skipped, self._lossy)


class _File:
    """Empty where there is none."""

    def __init__(self, path: str) -> None:
        self._file: io.FileIO | None = None
        self.size = 0
        try:
            fd = os.open(path, os.O_RDONLY | SUSPICIOUS)
        except OSError as exc:
            if exc.errno not in _NOT_OURS:
                raise
            return
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            self._file, self.size = io.FileIO(fd), status.st_size
        else:
            os.close(fd)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def beyond_hole(self, at: int) -> int:
        """Where the next characters are, if `at` is in a hole or at its edge; else `at`.

        The edge may cut a character: what is left of it is no text.
        """
        begin, end = self._extent(at)
        edge_bytes = end - begin
        if begin == at and end < self.size and edge_bytes < CHARACTER_BYTES:
            if whole_characters(self._pread(at, edge_bytes)):
                return at
            begin, end = self._extent(end)
        if begin == at:
            return at
        return begin + _continued(self._pread(begin, min(CHARACTER_BYTES - 1, end - begin)))

    def characters(self, at: int, end: int, limit: int, *, over: bool) -> bytes | None:
        """Whole ones, from `at` to the next hole, if not to `end`; none if the first is not whole
        yet.  None if a look at the file must be taken anew."""
        there = self._extent(at)[1]
        length = min(limit, end - at, there - at)
        content = self._pread(at, length)
        if not self._is_there(at, length) or len(content) < length:
            return None
        if over and at + length >= self.size:
            return content
        whole = whole_characters(content)
        if whole < length == end - at < limit:
            # The turn of the other stream has come in the middle of a character.
            more = self._pread(at + length, min(CHARACTER_BYTES - 1, there - at - length))
            if whole_characters(content + more) > length:
                missing = _length(content[whole]) - (length - whole)
                return content + more[:missing]
        return content[:whole]

    def backwards(self, begin: int, end: int) -> Iterator[tuple[int, bytes, bool]]:
        """(where, content, after a hole) of all between, the last first, in blocks."""
        extents = []
        at = begin
        while at < end:
            start, stop = self._extent(at)
            if start < min(end, stop):
                extents.append((start, min(end, stop), start > at))
            at = max(stop, at + 1)
        for start, stop, cut in reversed(extents):
            position = stop
            while position > start:
                block = max(start, position - _BLOCK)
                yield block, self._pread(block, position - block), cut and block == start
                position = block

    def _extent(self, at: int) -> tuple[int, int]:
        """Begin and end of what is there at `at`, or next after it; the size twice: nothing."""
        if self._file is None or at >= self.size:
            return self.size, self.size
        if _SEEK_DATA is None or _SEEK_HOLE is None:
            return at, self.size
        begin = end = at
        try:
            while end <= begin < self.size:  # at most as often as a hole is punched in between
                begin = os.lseek(self._file.fileno(), end, _SEEK_DATA)
                end = os.lseek(self._file.fileno(), begin, _SEEK_HOLE)
        except OSError as exc:
            if exc.errno != errno.ENXIO:
                return at, self.size  # this file system can't tell
            begin = end = self.size  # a hole, to the end
        if end < self.size or begin == self.size:
            # Or it was truncated: its end is the end of what is there, too.
            self.size = min(self.size, os.fstat(self._file.fileno()).st_size)
        return min(begin, self.size), min(end, self.size)

    def _is_there(self, at: int, length: int) -> bool:
        """Still, so that what was read from there is what the job wrote."""
        begin, end = self._extent(at)
        return begin == at and end >= at + length

    def _pread(self, at: int, length: int) -> bytes:
        if self._file is None or length <= 0:
            return b""
        self._file.seek(at)
        content = self._file.read(length) or b""
        if len(content) < length:  # the job has truncated it
            self.size = min(self.size, at + len(content))
        return content


def whole_characters(content: bytes) -> int:
    """How many bytes, without a character that has begun and not ended."""
    for back in range(1, min(CHARACTER_BYTES, len(content) + 1)):
        byte = content[-back]
        if byte & 0xC0 != 0x80:  # the first byte of a character
            return len(content) - back if back < _length(byte) else len(content)
    return len(content)


def _length(first: int) -> int:
    """Of the character that begins with this byte."""
    return 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC0 else 1


def _continued(content: bytes) -> int:
    """How many bytes at the beginning belong to a character that began before."""
    count = 0
    while count < min(len(content), CHARACTER_BYTES - 1) and content[count] & 0xC0 == 0x80:
        count += 1
    return count
