"""Tells of each record once it is on disk, and holds the latest ones for who comes late."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import Final

from jobd.core.decision import Fact
from jobd.rpc.backend import Held, Sink

HELD_MAX: Final = 4_096  # facts, each of which holds its job, also one that is removed


class Hub:
    """Satisfies `rpc.backend.Hub`, which tells what each of these promises."""

    def __init__(self, seq: int) -> None:
        """`seq`: of the last record that was replayed."""
        self.seq = seq
        self._held: deque[Fact] = deque(maxlen=HELD_MAX)
        self._of_all: dict[Sink, None] = {}  # as an ordered set
        self._of_job: dict[str, dict[Sink, None]] = {}
        self._ids: dict[Sink, frozenset[str]] = {}  # what each sink was subscribed with

    def announce(self, facts: Sequence[Fact]) -> None:
        """In order of seq; called by the daemon alone, after the sync."""
        for fact in facts:
            self.seq = fact.seq
            self._held.append(fact)
            for sink in (*self._of_job.get(fact.job.id, ()), *self._of_all):
                sink(fact)

    def subscribe(self, sink: Sink, ids: Collection[str] | None = None) -> None:
        """`sink` is called for every later fact about one of `ids`; None: about every job."""
        if ids is None:
            self._of_all[sink] = None
            return
        self._ids[sink] = frozenset(ids)
        for id in self._ids[sink]:
            self._of_job.setdefault(id, {})[sink] = None

    def unsubscribe(self, sink: Sink) -> None:
        """`sink` is not called again.  Of an unknown one: does nothing."""
        self._of_all.pop(sink, None)
        for id in self._ids.pop(sink, ()):
            sinks = self._of_job[id]
            del sinks[sink]
            if not sinks:
                del self._of_job[id]

    def held(self, since: int) -> Held:
        """The facts with a greater seq than `since` that are still held, up to `seq`."""
        newest_first = takewhile(lambda fact: fact.seq > since, reversed(self._held))
        facts = list(newest_first)[::-1]
        oldest = facts[0].seq if facts else self.seq + 1
        return Held(facts, gap=oldest > since + 1)
