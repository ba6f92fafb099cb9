"""When to say old jobs again, so that their segment can go; and which jobs these are.

What a job takes when it is said again is only reckoned by the engine.  Were it reckoned too
low, compaction would find its own work due for ever; so each pass over the journal is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jobd.core.records import Kept, Record
from jobd.journal.forms import base_ids


class Passes:
    """A pass ends when the segments that were sealed at its beginning are gone."""

    def __init__(self) -> None:
        self._factor = 1.0  # bytes that a job took, for each that was reckoned; by the last pass
        self._kept_bytes = 0  # said again in this pass
        self.live_bytes = 0  # what the jobs there are need, as reckoned last
        self._until_seq: int | None = None  # this pass drops what is older

    def due(self, sealed_bytes: int, live_bytes: int, segment_bytes: int) -> bool:
        """Whether sealed segments hold more than twice what the jobs there are need.

        And two segments on top, so that a small journal is left alone.
        """
        self.live_bytes = live_bytes
        return sealed_bytes > 2 * self._factor * live_bytes + 2 * segment_bytes

    def need_bytes(self, largest_bytes: int) -> int:
        """What it takes to drop a segment of at most that size: to say again what lives in it.

        Twice that, as is asked for then: what a job takes is only reckoned.
        """
        return 2 * min(largest_bytes, round(self._factor * self.live_bytes))

    def appended(self, records: Sequence[Record], size_bytes: int) -> None:
        kept = sum(type(record) is Kept for record in records)
        self._kept_bytes += size_bytes * kept // len(records)

    def dropped(self, oldest_seq: int, active_seq: int) -> None:
        """A segment is gone; `oldest_seq` is now the first of the oldest one."""
        if self._until_seq is None:
            self._until_seq = active_seq
        if oldest_seq >= self._until_seq:
            self._factor = max(1.0, self._kept_bytes / max(1, self.live_bytes))
            self._kept_bytes = 0
            self._until_seq = None


def ids_in(path: Path) -> list[str]:
    """The jobs that the segment alone could rebuild, and perhaps some more."""
    found: dict[str, None] = {}
    with open(path, "rb", buffering=1 << 20) as file:
        for line in file:
            found.update(dict.fromkeys(base_ids(line)))
    return list(found)
