"""What no crash does to a disk: bytes that were synced are others now."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from jobd.journal.format import decode
from recorded.disk import PAGE_BYTES, Image


class Harm(NamedTuple):
    """To bytes that were synced: no crash does that."""

    how: str
    name: str
    start: int
    end: int
    image: Image

    def __repr__(self) -> str:
        return f"{self.how} at {self.name} {self.start}"


def flips(image: Image, count: int, dice: random.Random) -> Iterator[Harm]:
    """A bit of one byte of the journal, anywhere, and in the last line."""
    segments = _segments(image)
    places = [(name, at) for name, content in segments.items() for at in range(len(content))]
    newest = max(segments)
    last = range(_last_line(segments[newest]), len(segments[newest]))
    at_the_end = [(newest, dice.choice(last)) for _ in range(3)]
    for name, at in dice.choices(places, k=count) + at_the_end:
        bad = bytearray(segments[name])
        bad[at] ^= 1 << dice.randrange(8)
        yield Harm("flip", name, at, at + 1, _with(image, name, bytes(bad)))


def lost_pages(image: Image) -> Iterator[Harm]:
    """Each page of the journal, zeros now."""
    for name, content in _segments(image).items():
        for at in range(0, len(content), PAGE_BYTES):
            end = min(at + PAGE_BYTES, len(content))
            bad = content[:at] + bytes(end - at) + content[end:]
            yield Harm("page", name, at, end, _with(image, name, bad))


def seq_before(image: Image, harm: Harm) -> int | None:
    """The last record before the harm, if nothing whole is behind it: a torn write looks so."""
    segments = _segments(image)
    content = segments[harm.name]
    if harm.name != max(segments) or harm.end <= _last_line(content):
        return None
    whole = content[: content.rfind(b"\n", 0, harm.start) + 1]
    last = whole.splitlines()[1:][-1:]
    if not last:
        return int(harm.name.rpartition("/")[2].partition(".")[0]) - 1
    commit = decode(last[0] + b"\n")
    return commit.seq + len(commit.records) - 1


def _segments(image: Image) -> dict[str, bytes]:
    return {name: content for name, content in image if name.endswith(".jsonl") and content}


def _last_line(content: bytes) -> int:
    return content.rfind(b"\n", 0, -1) + 1


def _with(image: Image, name: str, content: bytes) -> Image:
    return tuple((n, content if n == name else c) for n, c in image)
