"""Replaces a damaged journal by one that says all that is left, and keeps the damaged one.

At every instant there is a directory that holds all of it, and a daemon never begins an empty
journal where a repair was under way: the new one is written as `journal.part`, read back, and
only then named `journal.new`; then the old one is put aside, then the new one takes its place.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from jobd.core import lifecycle
from jobd.core.commands import KEEP_MAX
from jobd.core.job import Job
from jobd.core.records import Kept
from jobd.core.rules import Rules
from jobd.errors import CannotStart, JournalFailed
from jobd.instants import rfc3339
from jobd.journal.files import Files
from jobd.journal.format import encode
from jobd.journal.mending import LostJob, Mending
from jobd.journal.recovery import DAMAGED, NEW, Reading, left_by_repair
from jobd.journal.salvage import Loss, Salvage
from jobd.journal.segments import Active
from jobd.journal.store import DIRECTORY
from jobd.keeper import protocol

ATTEMPTS: Final = "attempts"
PART: Final = "journal.part"  # not whole yet: of no worth, and written anew by the next repair


class Examined:
    """All that is left of the journal in `directory`, and all that is not.  Changes nothing.

    CannotStart where a newer jobd has written.
    """

    def __init__(
        self, directory: Path, *, rules: Rules, now: float, boot: tuple[str, float]
    ) -> None:
        salvage = Salvage(directory)
        mending = Mending()
        for piece in salvage:
            if not isinstance(piece, Loss):
                mending.tell(*piece)
            elif piece.records != 0:
                mending.hole(piece.ids)
        claimed = _claimed(directory.parent)
        mending.settle(claimed, rules, now, boot)
        self.losses: Sequence[Loss] = salvage.losses
        self.torn = salvage.torn
        self.fresh_seq = salvage.fresh_seq
        self.jobs: Sequence[Job] = mending.jobs
        self.lost: Sequence[LostJob] = mending.lost
        self.may_run_again: Sequence[Job] = mending.may_run_again
        # Ids that are known from bytes without a right checksum, and from nowhere else.
        self.hinted: Sequence[str] = mending.hinted

    @property
    def records(self) -> int:
        """That are missing, as far as that can be told."""
        return sum(loss.records or 0 for loss in self.losses)

    @property
    def exact(self) -> bool:
        """Whether that is all."""
        return all(loss.records is not None for loss in self.losses)


def damaged(state_dir: Path) -> Path | None:
    """What a repair reads: the journal, or if that was put aside already, the last one that was.

    None: only the last step is missing, see `finish`.
    """
    journal = state_dir / DIRECTORY
    if journal.is_dir():
        return journal
    left = left_by_repair(state_dir)
    if not left:
        raise CannotStart(f"{journal}: there is no journal; see --state-dir")
    new = state_dir / NEW
    return None if new in left else left[-1]


def replace(
    source: Path, examined: Examined, files: Files, *, now: float, segment_bytes: int
) -> Path:
    """The new journal is in place; the answer: where the damaged one is kept.

    JournalFailed; then another repair, or a start where that is told, goes on from there.
    """
    state_dir = source.parent
    part = state_dir / PART
    try:
        _clear(files, state_dir)
        part.mkdir(mode=0o700)
        _write(files, part, examined, now, segment_bytes)
        _compare(part, examined.jobs, now)
        files.rename(part, state_dir / NEW)
        files.sync_directory(state_dir)
        if source.name == DIRECTORY:
            source = _aside(files, source, now)
        finish(state_dir, files)
    except OSError as exc:
        raise JournalFailed(
            f"{state_dir}: the journal can't be repaired: {exc}; nothing is lost by that, free "
            "what it needs and say `jobd journal repair` again"
        ) from exc
    return source


def finish(state_dir: Path, files: Files) -> None:
    """The new journal, which is whole, takes its place."""
    files.rename(state_dir / NEW, state_dir / DIRECTORY)
    files.sync_directory(state_dir)


# ------------------------------------------------------------------------------------ steps


def _claimed(state_dir: Path) -> dict[str, int]:
    """The latest attempt of each job that a keeper has claimed and nobody has settled."""
    latest: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(state_dir / ATTEMPTS):
            id, _, number = entry.name.rpartition("-")
            if number.isdecimal() and os.path.exists(os.path.join(entry.path, protocol.CLAIM)):
                latest[id] = max(latest.get(id, 0), int(number))
    return latest


def _clear(files: Files, state_dir: Path) -> None:
    """What an earlier repair has begun goes: it said no more than what is read now."""
    for leftover in (state_dir / PART, state_dir / NEW):
        if leftover.is_dir():
            for path in leftover.iterdir():
                files.unlink(path)
            files.rmdir(leftover)
    files.sync_directory(state_dir)


def _commits(jobs: Sequence[Job], at: float) -> Iterator[list[Kept]]:
    for start in range(0, len(jobs), KEEP_MAX):
        yield [lifecycle.snapshot(job, at) for job in jobs[start : start + KEEP_MAX]]


def _write(
    files: Files, directory: Path, examined: Examined, now: float, segment_bytes: int
) -> None:
    """On the disk, with all names in it."""
    seq = examined.fresh_seq
    active = Active.create(files, directory, seq, 0)
    try:
        for kept in _commits(examined.jobs, now):
            if active.size_bytes >= segment_bytes:
                active.sync()
                active.seal()
                active = Active.create(files, directory, seq, 0)
            active.write(encode(seq, kept))
            seq += len(kept)
        active.sync()
    finally:
        active.close()
    files.sync_directory(directory)


def _compare(directory: Path, jobs: Sequence[Job], at: float) -> None:
    """What was written is read again, and says the same; or JournalFailed."""
    written = _commits(jobs, at)
    try:
        same = all(next(written, None) == commit.records for _, commit in Reading(directory))
    except CannotStart as exc:
        raise JournalFailed(f"what was written does not read back: {exc}") from exc
    if not same or next(written, None) is not None:
        raise JournalFailed(f"{directory} does not say what was written; is the disk sound?")


def _aside(files: Files, journal: Path, now: float) -> Path:
    """The damaged journal, under the name by which it is kept."""
    stamp = rfc3339(int(now)).partition(".")[0].replace("-", "").replace(":", "")
    names = (f"{DAMAGED}{stamp}Z{'' if n == 1 else f'-{n}'}" for n in count(1))
    kept = next(path for name in names if not (path := journal.parent / name).exists())
    files.rename(journal, kept)
    files.sync_directory(journal.parent)
    return kept
