"""Every crash of a recording, held against what the daemon had told the world by then."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from jobd.core.engine import Engine
from jobd.core.records import Kept
from jobd.core.rules import Rules
from jobd.journal.files import Files
from jobd.journal.format import decode
from recorded.account import Account, Fact
from recorded.disk import Disk, State
from recorded.recording import Recording
from recorded.revival import Revival, Revived, snapshots


class Point(NamedTuple):
    """Between two system calls, or inside one."""

    at: int  # events before it
    known_seq: int  # the last record that somebody may know of
    written_seq: int  # the last record that was ever handed to the system
    disk: Disk


class Proof:
    """Of one recording; `tried` counts, by how they came to be, the states looked at."""

    def __init__(self, recording: Recording, place: Path, files: Files | None = None) -> None:
        self.account = Account(recording.events)
        self.folds = folds(self.account)
        self.revival = Revival(place, self.folds, files)
        self.tried: Counter[str] = Counter()
        self._recording = recording
        self._kept: dict[tuple[int, int], str | None] = {}
        self._never_ran = self.account.never_ran
        self._removed = {fact.id for fact in self.account.where if fact.what == "removed"}

    def points(self, disk: Disk, hasty: bool = False) -> Iterator[Point]:
        """Where what a crash may leave, or what it must leave, has just changed.

        `hasty`: as if all were told when the write begins.
        """
        known_seqs = self.account.known_seq()
        begun = [commit.begun for commit in self.account.commits]
        known_seq = 0
        for at, event in enumerate(self._recording.events):
            changed = disk.feed(event)
            if changed or at in known_seqs:
                done = bisect_right(begun, at)
                written_seq = self.account.commits[done - 1].last_seq if done else 0
                known_seq = written_seq if hasty else known_seqs.get(at, known_seq)
                yield Point(at, known_seq, written_seq, disk)

    def faults(
        self, disk: Disk, choose: Callable[[State], bool] = lambda _: True,
        hasty: bool = False,
    ) -> Iterator[str]:  # fmt: skip
        """What is wrong, of all states that are chosen."""
        for point in self.points(disk, hasty):
            for state in filter(choose, disk.states()):
                self.tried[state.how] += 1
                why = self.fault(point, self.revival.of(state.image))
                if why is not None:
                    yield f"at event {point.at}, {state.how}: {why}"

    def fault(self, point: Point, found: Revived) -> str | None:
        if found.damaged is not None:
            return f"refused: {found.damaged}"
        if found.broken is not None:
            return found.broken
        if found.seq < point.known_seq:
            return f"records {found.seq + 1} to {point.known_seq} were told, and are lost"
        if found.seq > point.written_seq:
            return f"record {found.seq} was never written"
        if found.jobs is not self.folds.get(found.seq):
            return f"the jobs are not those of record {found.seq}"
        key = point.at, found.seq  # and that says what the jobs are
        if key not in self._kept:
            self._kept[key] = self._broken_promise(point, found)
        return self._kept[key]

    def _broken_promise(self, point: Point, found: Revived) -> str | None:
        """The same once more, of single jobs, by what was answered and nothing else."""
        for at, fact in self.account.told:
            if at > point.at:
                break
            why = self._breaks(fact, found.jobs.get(fact.id))
            if why is not None:
                return f"{fact} was told, and {why}"
        return None

    def _breaks(self, fact: Fact, job: Kept | None) -> str | None:
        if job is None:
            return None if fact.id in self._removed else "the job is not there"
        match fact.what:
            case "removed":
                return "the job is there"
            case "started" if job.attempt < fact.attempt and fact.id not in self._never_ran:
                return "the job could start it again"
            case "ended" if job.attempt == fact.attempt:
                if job.status != self.account.ended_as[fact]:
                    return f"the job is {job.status}"
        return None


def folds(account: Account) -> dict[int, dict[str, Kept]]:
    """All jobs as they were after each commit, by the ordinal of its last record."""
    engine = Engine(Rules(max_running=16), boot_id="another")
    found: dict[int, dict[str, Kept]] = {0: {}}
    for commit in account.commits:
        seq, records = decode(commit.line)
        engine.replay(seq, records)
        found[engine.seq] = snapshots(engine)
    return found
