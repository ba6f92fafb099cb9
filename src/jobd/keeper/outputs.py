"""What attempts write: the order in which their streams grew, and no more of it than is kept.

One inotify descriptor serves all attempts, and none has one of its own.  Every watch is for one
event: while it rests, a flood costs neither the keeper nor the one who writes.  What is idle
costs nothing.  A job can do to its files what it likes, replace or remove them: the keeper
goes by the file that the attempt was started with, and touches no other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import time

from jobd import linux
from jobd.keeper.order import Order

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from jobd.keeper.protocol import Message

    Key = tuple[str, int]  # id, attempt

REST_S = 0.015  # between two looks: at 2 GB/s, 30 MB are written meanwhile
LOOK_S = 0.1  # at what can't be watched
SLACK_BYTES = 256 * 1024  # written beyond the bound before a hole grows; at least,
SLACK_PART = 4  # and a quarter of the bound
BLOCK_MIN, BLOCK_MAX = 4096, 128 * 1024  # what file systems name goes up to their stripe

_OPEN = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)  # of disk
_LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)  # for the moment


class Outputs:
    """Never raises: nothing that it fails to do may cost a job its keeper."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self._written: dict[Key, _Written] = {}
        self._watched: dict[int, _Stream] = {}  # by inotify's number
        self._unwatched: set[_Stream] = set()
        self._fired: list[_Stream] = []  # written to, in the order in which that was first seen
        self._looked_at = self._looked_at_unwatched = 0.0
        self._said: set[object] = set()  # of what was complained already
        self._inotify: linux.Inotify | None = None
        try:
            self._inotify = linux.Inotify()
        except OSError as exc:
            self._say("inotify", f"outputs are looked at each {LOOK_S * 1000:.0f} ms: {exc}")

    # In the keeper's loop.

    def register(self, poll: select.poll, wait_ms: float | None) -> float | None:
        """How long to wait at most, with the descriptor polled as well unless it rests."""
        now = time.monotonic()
        rest_s = self._looked_at + REST_S - now
        due_in: list[float] = []
        if rest_s > 0 or self._fired:
            due_in.append(rest_s)
        elif self._inotify is not None:
            poll.register(self._inotify.fileno(), select.POLLIN)
        if self._unwatched:
            due_in.append(self._looked_at_unwatched + LOOK_S - now)
        waits_ms = [max(0.0, 1000 * wait_s) for wait_s in due_in]
        return min(waits_ms if wait_ms is None else [*waits_ms, wait_ms], default=None)

    def look(self, ready: Collection[int]) -> None:
        """At whatever was written to, unless the last look was just now."""
        now = time.monotonic()
        if self._inotify is not None and self._inotify.fileno() in ready:
            self._read(self._inotify)
        if self._unwatched and now >= self._looked_at_unwatched + LOOK_S:
            self._looked_at_unwatched = now
            self._fired += self._unwatched
        if self._fired and now >= self._looked_at + REST_S:
            fired, self._fired = self._fired, []
            for stream in dict.fromkeys(fired):
                self._see(stream)
            self._looked_at = time.monotonic()

    # An attempt's way.

    def begin(self, launch: Message, pid: int, fds: Iterable[int]) -> None:
        """The attempt runs, as `pid`; `fds`: its output and its error output, still open here."""
        kept_max, order = launch.get("output_max"), launch.get("order")
        if kept_max is None and order is None:
            return
        written = _Written(kept_max, order)
        for number, (name, fd) in enumerate(zip(("stdout", "stderr"), fds, strict=True), 1):
            stream = _Stream(written, launch[name], f"/proc/{pid}/fd/{number}")
            written.streams.append(stream)
            try:
                self._watch(stream, fd)
                status = os.fstat(fd)
                stream.identity = status.st_dev, status.st_ino
                # An attempt's files are new, so whatever is there may have come before the watch.
                if status.st_size > 0:
                    self._fired.append(stream)
            except OSError as exc:
                self._miss(stream, exc)
        self._written[launch["id"], launch["attempt"]] = written

    def end(self, key: Key) -> None:
        """Nobody writes any more: the order is whole, and no more is there than is to be kept."""
        written = self._written.pop(key, None)
        if written is None:
            return
        if self._inotify is not None:
            self._read(self._inotify)
        mine = [stream for stream in self._fired if stream.written is written]
        self._fired = [stream for stream in self._fired if stream.written is not written]
        for stream in dict.fromkeys([*mine, *written.streams]):
            unseen = stream in mine or stream in self._unwatched
            if unseen or (written.kept_max is not None and stream.seen > written.kept_max):
                self._see(stream, last=True)
            self._forget(stream)
        if self._inotify is not None:
            self._read(self._inotify)  # that they are gone, which nobody need wake up for

    # Watches.

    def _watch(self, stream: _Stream, fd: int) -> None:
        """For one event.  By descriptor, since the path may lead elsewhere by now."""
        if self._inotify is None:
            self._unwatched.add(stream)
            return
        try:
            mask = linux.IN_MODIFY | linux.IN_ONESHOT
            stream.watch = self._inotify.add(f"/proc/self/fd/{fd}", mask)
        except OSError as exc:  # the user's watches are used up, or there is no /proc
            self._say("watches", f"some outputs can't be watched: {exc}")
            self._unwatched.add(stream)
        else:
            self._watched[stream.watch] = stream
            self._unwatched.discard(stream)

    def _read(self, inotify: linux.Inotify) -> None:
        """Whatever has happened is in `_fired`."""
        try:
            events = inotify.read()
        except OSError:  # no memory, say; it stays readable
            return
        for event in events:
            if event.mask & linux.IN_IGNORED:
                # The event before it said what had happened; but only now is the watch gone, and
                # not before that can there be another one for the same file.
                stream = self._watched.pop(event.watch, None)
                if stream is not None:
                    stream.watch = -1
                    self._fired.append(stream)
            elif event.mask & linux.IN_Q_OVERFLOW:
                self._fired += [s for written in self._written.values() for s in written.streams]

    def _forget(self, stream: _Stream) -> None:
        self._unwatched.discard(stream)
        if self._watched.pop(stream.watch, None) is not None and self._inotify is not None:
            with contextlib.suppress(OSError):
                self._inotify.remove(stream.watch)

    # Looks.

    def _see(self, stream: _Stream, *, last: bool = False) -> None:
        try:
            fd = stream.open()
        except OSError as exc:
            self._miss(stream, exc)
            return
        try:
            if not last:
                # Before the look: what is written after it is told.
                self._watch(stream, fd)
            status = os.fstat(fd)
            stream.written.grew(stream, status.st_size)
            self._bound(stream, fd, status, last=last)
        except OSError as exc:
            self._miss(stream, exc)
        finally:
            os.close(fd)

    def _miss(self, stream: _Stream, exc: OSError) -> None:
        """Gone for good, or for want of descriptors, say: then it is looked at again."""
        if exc.errno in _LACKING:
            self._unwatched.add(stream)
        else:
            self._unwatched.discard(stream)

    def _bound(self, stream: _Stream, fd: int, status: os.stat_result, *, last: bool) -> None:
        kept_max = stream.written.kept_max
        if kept_max is None:
            return
        slack_bytes = 0 if last else max(SLACK_BYTES, kept_max // SLACK_PART)
        block = min(max(status.st_blksize, BLOCK_MIN), BLOCK_MAX)
        half = max(1, kept_max // 2)
        # Whole blocks: zeros would be written over a part of one.
        begin = -(-half // block) * block
        end = (status.st_size - half) // block * block
        hole = max(begin, stream.hole_end)
        if status.st_size - (hole - begin) <= kept_max + slack_bytes or end <= hole:
            return
        try:
            # From its beginning: the job may have written into it, and where nothing is, that
            # costs nothing.
            linux.punch_hole(fd, begin, end - begin)
        except OSError as exc:
            if exc.errno not in _FULL:  # tried again when it has grown more
                self._say(status.st_dev, f"{stream.path} can't be bounded: {exc}")
        else:
            stream.hole_end = end

    def _say(self, what: object, text: str) -> None:
        """Once: what ails a file system ails each output there."""
        if what not in self._said:
            self._said.add(what)
            self._complain(text)


class _Written:
    """What one attempt has written."""

    __slots__ = ("kept_max", "order", "streams", "turn")

    def __init__(self, kept_max: int | None, order: str | None) -> None:
        self.kept_max = kept_max  # bytes of each stream
        self.order = Order(order) if order is not None else None
        self.streams: list[_Stream] = []
        self.turn: _Stream | None = None  # which of them grew last

    def grew(self, stream: _Stream, size: int) -> None:
        """The other one's turn ends where it was last seen."""
        if size == stream.seen:
            return
        if size < stream.seen:  # the job has truncated it
            stream.hole_end = 0
        if size > 0:
            if self.turn not in (None, stream) and self.order is not None:
                assert self.turn is not None
                self.order.append(self.streams.index(self.turn), self.turn.seen)
            self.turn = stream
        stream.seen = size


class _Stream:
    __slots__ = ("hole_end", "identity", "path", "seen", "watch", "way", "written")

    def __init__(self, written: _Written, path: str, way: str) -> None:
        self.written = written
        self.path = path
        self.way = way  # another one to the same file, as long as the main process has it
        self.identity = (-1, -1)
        self.seen = 0  # bytes
        self.hole_end = 0
        self.watch = -1

    def open(self) -> int:
        """For writing, and no other file than the one that the attempt was started with.

        OSError where it can't be reached.
        """
        for path, flags in ((self.path, os.O_NOFOLLOW), (self.way, 0)):
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(path, follow_symlinks=not flags)
                if (status.st_dev, status.st_ino) == self.identity:
                    fd = os.open(path, _OPEN | flags)
                    status = os.fstat(fd)
                    if (status.st_dev, status.st_ino) == self.identity:
                        return fd
                    os.close(fd)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)
