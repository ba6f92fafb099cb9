"""Reads a damaged journal to its end: all that is whole, and each place where something is not.

Nothing is guessed.  What is taken is what a jobd has written, checksum and all; how much is
missing between two commits is exactly what their ordinals say.  Changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from jobd.core.ids import ALPHABET, ID_LENGTH
from jobd.journal import segments
from jobd.journal.format import HEADER_BYTES_MAX, PREFIX, Commit, decode, sealed
from jobd.journal.kinds import BadLine
from jobd.journal.recovery import Place, Torn, header_in
from jobd.journal.segments import Segment

_BUFFER_BYTES: Final = 1 << 20
# Less than the shortest record takes, so that ordinals which may have been given are not given
# again: more than this many cannot have been in the bytes that are lost.
_RECORD_BYTES_MIN: Final = 48
_NAMES_MAX: Final = 2**60  # a file's name has no checksum; ordinals must fit in 63 bits
_ID: Final = re.compile(
    rb'\{"type":"[a-z_]{1,20}","id":"([%b]{%d})"' % (ALPHABET.encode(), ID_LENGTH)
)


class Loss(NamedTuple):
    """One place where the journal is not as it was written."""

    place: Place
    size_bytes: int  # that can't be read; 0 where something is not there at all
    first_seq: int  # of the first record that may be missing
    records: int | None  # how many are missing; None: at the journal's end nothing tells
    why: str
    ids: tuple[str, ...] = ()  # jobs that the bytes seem to speak of: a hint, no more


@dataclass(slots=True)
class _Run:
    """Bad bytes without a whole commit between them."""

    place: Place
    why: str
    size_bytes: int = 0
    ids: tuple[str, ...] = ()
    written: bool = False  # some of it bears a right checksum: no crash has made that
    hollow: bool = True  # it can't have held a record that is missing


class Salvage:
    """One pass over the segments in `directory`, in the order in which they were written.

    Iterating gives each whole commit, and each Loss where it lies.  CannotStart where a newer
    jobd has written.
    """

    def __init__(self, directory: Path) -> None:
        begins = [(_begins(segment), segment) for segment in segments.find(directory)]
        self._segments = sorted(begins, key=lambda each: each[0])
        self.next_seq = self._segments[0][0] if self._segments else 1
        self.losses: list[Loss] = []
        self.torn: Torn | None = None  # the end, where it is no loss
        self._run: _Run | None = None
        self._unknown_bytes = 0  # at the end, where no later ordinal tells what was there

    def __iter__(self) -> Iterator[Commit | Loss]:
        for first_seq, segment in self._segments:
            newest = segment is self._segments[-1][1]
            yield from self._at_beginning(first_seq, segment)
            yield from self._lines(segment, newest=newest)
        yield from self._at_end()

    @property
    def fresh_seq(self) -> int:
        """An ordinal that no record has had, whatever is lost.  After the iteration."""
        return self.next_seq + self._unknown_bytes // _RECORD_BYTES_MIN + 1

    def _at_beginning(self, first_seq: int, segment: Segment) -> Iterator[Loss]:
        """What is missing before a segment, its beginning tells."""
        missing = max(0, first_seq - self.next_seq)
        if self._run is not None:
            yield self._close(missing)
        elif missing:
            why = f"records {self.next_seq} to {first_seq - 1} are missing"
            yield self._lost(Loss(Place(segment.path, 1, 0), 0, self.next_seq, missing, why))
        elif first_seq < self.next_seq:
            why = f"it begins with record {first_seq} where {self.next_seq} is due"
            yield self._lost(Loss(Place(segment.path, 1, 0), 0, self.next_seq, 0, why))
        self.next_seq += missing

    def _lines(self, segment: Segment, *, newest: bool) -> Iterator[Commit | Loss]:
        place = Place(segment.path, 1, 0)
        with open(segment.path, "rb", buffering=_BUFFER_BYTES) as file:
            for line in file:
                if place.line == 1:
                    yield from self._first(place, segment, line)
                for piece in self._whole(place, line, newest=newest):
                    yield from self._take(place, piece)
                place = Place(segment.path, place.line + 1, place.offset + len(line))
        if place.line == 1:
            self._bad(place, b"", "no header")

    def _first(self, place: Place, segment: Segment, line: bytes) -> Iterator[Loss]:
        """A whole first line that is no header, or another file's."""
        if not sealed(line):
            return
        header = header_in(segment.path, line)
        if header is None:
            self._bad(place, b"", "no header")
        elif header.first_seq != segment.first_seq:
            why = f"its name says {segment.first_seq}, its header {header.first_seq}"
            yield self._lost(Loss(place, 0, self.next_seq, 0, why))

    def _whole(self, place: Place, line: bytes, *, newest: bool) -> list[bytes]:
        """What is sealed in the line; the rest is noted as bad."""
        if sealed(line):
            return [line]
        pieces, rest = _sealed_in(line)
        if not pieces and not newest and not line.endswith(b"\n"):
            # Synced before the next segment was made, so it was whole but for its newline.
            pieces = [end for end in (line + b"\n", line[:-1] + b"\n") if sealed(end)]
            rest = b"" if pieces else line
        whole_bytes = sum(map(len, pieces))
        self._bad(place, rest, _why_bad(line), size_bytes=max(1, len(line) - whole_bytes))
        return pieces

    def _take(self, place: Place, piece: bytes) -> Iterator[Commit | Loss]:
        try:
            commit = decode(piece)
        except BadLine as bad:
            header = header_in(place.path, piece)
            if header is None:
                self._bad(place, piece, str(bad), written=True)
            elif place.line > 1:
                why = "the header of a segment in the middle of one"
                self._bad(place, b"", why, written=True, size_bytes=len(piece))
            return
        seq, count = commit.seq, len(commit.records)
        if seq < self.next_seq:
            why = f"record {seq} follows where {self.next_seq} is due"
            said_again = seq + count <= self.next_seq
            self._bad(place, b"" if said_again else piece, why, written=True, size_bytes=len(piece))
            return
        if self._run is not None:
            yield self._close(seq - self.next_seq)
        elif seq > self.next_seq:
            why = f"record {seq} follows where {self.next_seq} is due"
            yield self._lost(Loss(place, 0, self.next_seq, seq - self.next_seq, why))
        self.next_seq = seq + count
        yield commit

    def _at_end(self) -> Iterator[Loss]:
        """Bad bytes at the end of the newest segment are a torn end, as `recovery` has it."""
        run = self._run
        if run is None:
            return
        self._unknown_bytes = run.size_bytes
        nothing = run.place.line == 1 and (
            run.size_bytes > HEADER_BYTES_MAX or (len(self._segments) == 1 and self.next_seq > 1)
        )
        if run.written or nothing:
            yield self._close(0 if run.hollow else None)
        else:
            self.torn = Torn(run.place, run.size_bytes, run.why)

    def _bad(
        self, place: Place, content: bytes, why: str, *, size_bytes: int | None = None,
        written: bool = False,
    ) -> None:  # fmt: skip
        if self._run is None:
            self._run = _Run(place, why)
        run = self._run
        run.size_bytes += len(content) if size_bytes is None else size_bytes
        found = (id.decode() for id in _ID.findall(content))
        run.ids = tuple(dict.fromkeys((*run.ids, *found)))
        run.written = run.written or written
        run.hollow = run.hollow and not content

    def _close(self, records: int | None) -> Loss:
        run, self._run = self._run, None
        assert run is not None
        return self._lost(Loss(run.place, run.size_bytes, self.next_seq, records, run.why, run.ids))

    def _lost(self, loss: Loss) -> Loss:
        self.losses.append(loss)
        return loss


def _begins(segment: Segment) -> int:
    """The ordinal where it begins: by its header; else by its name or what is first in it."""
    named = min(segment.first_seq, _NAMES_MAX)
    with open(segment.path, "rb", buffering=_BUFFER_BYTES) as file:
        for line in file:
            for piece in _sealed_in(line)[0]:
                header = header_in(segment.path, piece)
                if header is not None:
                    return header.first_seq
                try:
                    return min(named, decode(piece).seq)
                except BadLine:  # the next line may be better
                    continue
    return named


def _sealed_in(line: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines in what was read as one, and what is before them.

    A damaged newline joins two, each of which may be as it was written.
    """
    pieces: list[bytes] = []
    rest = line
    while rest:
        start = 0 if sealed(rest) else _tail(rest)
        if start < 0:
            break
        pieces.insert(0, rest[start:])
        rest = rest[: start - 1] + b"\n" if start else b""
    return pieces, rest


def _tail(line: bytes) -> int:
    """Where in the line one begins that is sealed to its end; -1: nowhere."""
    start = line.find(PREFIX)
    while start >= 0 and not sealed(line[start:]):
        start = line.find(PREFIX, start + 1)
    return start


def _why_bad(line: bytes) -> str:
    try:
        decode(line)
    except BadLine as bad:
        return str(bad)
    raise AssertionError("only what is not sealed is asked for")
