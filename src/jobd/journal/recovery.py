"""Reads a journal from its first byte to its last, and judges what it finds.  Changes nothing.

A commit is not written before the one before it is synced.  So a bad line with nothing valid
behind it is a write that a crash cut short: nobody was answered, and it may go.  Everything
else that is not as it was written is damage, and no guess is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from jobd.core.records import VERSION, Kept, Record, Removed, Submitted
from jobd.errors import CannotStart, JournalDamaged
from jobd.journal import segments
from jobd.journal.format import (
    HEADER_BYTES_MAX,
    PREFIX,
    Commit,
    Header,
    NewerVersion,
    decode,
    decode_header,
    sealed,
)
from jobd.journal.kinds import BadLine
from jobd.journal.segments import Segment

# Beside the journal, of a repair: see `repair`.
NEW: Final = "journal.new"
DAMAGED: Final = "journal.damaged-"
_BUFFER_BYTES: Final = 1 << 20


class Place(NamedTuple):
    """Of a line: `line` counts from 1, `offset` is the byte where it begins."""

    path: Path
    line: int
    offset: int

    def damaged(self, why: str) -> JournalDamaged:
        return JournalDamaged(str(self.path), self.line, self.offset, why)


class Torn(NamedTuple):
    """The end of the newest segment, from `place` on, was never whole."""

    place: Place
    size_bytes: int
    why: str


class Reading:
    """One pass over the journal in `directory`.

    Iterate to its end, and it was sound but for `torn`.  On the way it raises JournalDamaged, or
    CannotStart where a newer jobd has written.
    """

    def __init__(self, directory: Path) -> None:
        self.segments = segments.find(directory)
        self.next_seq = self.segments[0].first_seq if self.segments else 1
        self.commits = 0
        self.torn: Torn | None = None
        self.version = VERSION  # that the newest segment was begun with
        # Where compaction has dropped segments, the first records of a job may be gone.
        self._bases = _Bases() if self.next_seq > 1 else None

    def __iter__(self) -> Iterator[tuple[Place, Commit]]:
        for segment in self.segments:
            yield from self._segment(segment, newest=segment is self.segments[-1])
        if self._bases is not None:
            self._bases.check()

    def _segment(self, segment: Segment, *, newest: bool) -> Iterator[tuple[Place, Commit]]:
        place = Place(segment.path, 1, 0)
        with open(segment.path, "rb", buffering=_BUFFER_BYTES) as file:
            for line in file:
                try:
                    commit = self._line(place, segment, line)
                except BadLine as bad:
                    self._judge(place, line, file, str(bad), newest=newest)
                    return
                if commit is not None:
                    yield place, commit
                place = Place(segment.path, place.line + 1, place.offset + len(line))
            if place.line == 1:
                self._judge(place, b"", file, "no header", newest=newest)

    def _line(self, place: Place, segment: Segment, line: bytes) -> Commit | None:
        """The commit; None for a header.  BadLine."""
        if place.line == 1:
            self._check_header(place, segment, line)
            return None
        commit = decode(line)
        if commit.seq != self.next_seq:
            raise place.damaged(f"record {commit.seq} follows where {self.next_seq} is due")
        self.next_seq += len(commit.records)
        self.commits += 1
        if self._bases is not None:
            self._bases.note(place, commit.records)
        return commit

    def _check_header(self, place: Place, segment: Segment, line: bytes) -> None:
        if segment.first_seq != self.next_seq:
            raise place.damaged(f"records {self.next_seq} to {segment.first_seq - 1} are missing")
        header = read_header(segment.path, line)
        if header.first_seq != segment.first_seq:
            raise place.damaged(f"its name says {segment.first_seq}, its header {header.first_seq}")
        self.version = header.version

    def _judge(self, place: Place, line: bytes, rest: BinaryIO, why: str, *, newest: bool) -> None:
        """A bad line: notes a torn end, or raises JournalDamaged."""
        if not newest:
            raise place.damaged(f"{why}, and a later segment exists")
        if sealed(line):
            raise place.damaged(why)  # it is as it was written, so no crash has made it
        size_bytes = len(line)
        # A damaged newline joins two lines: look inside the bad one too.
        hides_commit = _holds_commit(line)
        for later in rest:
            size_bytes += len(later)
            hides_commit = hides_commit or _holds_commit(later)
        if hides_commit:
            raise place.damaged(f"{why}, and a valid commit follows")
        if place.line == 1 and size_bytes > HEADER_BYTES_MAX:
            # It is on the disk before anything is written behind it.
            raise place.damaged(f"{why}, and it is longer than a header that a crash cut short")
        if place.line == 1 and len(self.segments) == 1 and self.next_seq > 1:
            # A segment is dropped only when the next one's header is on the disk.
            raise place.damaged(f"{why}, and records 1 to {self.next_seq - 1} are nowhere")
        self.torn = Torn(place, size_bytes, why)


def left_by_repair(state_dir: Path) -> list[Path]:
    """The new journal, if it waits for its place; the damaged ones that are kept, oldest first."""
    new = state_dir / NEW
    kept = sorted(path for path in state_dir.glob(f"{DAMAGED}*") if path.is_dir())
    return [*([new] if new.is_dir() else []), *kept]


def refuse_unfinished(state_dir: Path) -> None:
    """Where there is no journal: CannotStart if a repair was under way, for it has to end first."""
    left = left_by_repair(state_dir)
    if left:
        raise CannotStart(
            f"{state_dir}: there is no journal, but {', '.join(path.name for path in left)}: a "
            "repair was not finished; say `jobd journal repair`"
        )


def read_header(path: Path, line: bytes) -> Header:
    """BadLine; CannotStart where a newer jobd has written."""
    try:
        return decode_header(line)
    except NewerVersion as newer:
        raise CannotStart(f"{path} was written by a newer jobd: {newer}") from None


def header_in(path: Path, line: bytes) -> Header | None:
    """None: the line is something else.  CannotStart as above."""
    try:
        return read_header(path, line)
    except BadLine:
        return None


def _holds_commit(line: bytes) -> bool:
    start = line.find(PREFIX)
    while start >= 0:
        if sealed(line[start:]):
            return True
        start = line.find(PREFIX, start + 1)
    return False


class _Bases:
    """That each job whose beginning is gone was said again as a whole, or removed."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._open: dict[str, Place] = {}

    def note(self, place: Place, records: list[Record]) -> None:
        for record in records:
            id = record.id
            match record:
                case Submitted() | Kept():
                    self._known.add(id)
                    self._open.pop(id, None)
                case Removed():
                    self._known.discard(id)
                    self._open.pop(id, None)
                case _ if id not in self._known:
                    self._open.setdefault(id, place)

    def check(self) -> None:
        for id, place in self._open.items():
            raise place.damaged(f"the records with which job {id} began are nowhere")
