"""`jobd journal repair`, and what `verify` says of a damaged journal: exactly what is lost.

Ids, ordinals and places are shown, and nothing of what jobs were given.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from jobd.clock import SystemClock
from jobd.config import Config
from jobd.errors import CannotStart, JournalDamaged, JournalFailed
from jobd.instants import rfc3339
from jobd.journal import forms
from jobd.journal.files import FILES, Files
from jobd.journal.recovery import NEW, Reading, left_by_repair
from jobd.journal.repair import Examined, damaged, finish, replace
from jobd.journal.salvage import Loss
from jobd.journal.statedir import StateDir
from jobd.journal.store import DIRECTORY

T = TypeVar("T")

IDS_MAX: Final = 8  # shown to people in one line; --json has all of them


def explain(args: argparse.Namespace, config: Config, damage: JournalDamaged) -> None:
    """Prints every damaged place, and what a repair would lose."""
    found = _examined(config.daemon.state_dir / DIRECTORY, config)
    if args.json:
        at = {"path": damage.path, "line": damage.line, "offset": damage.offset, "why": damage.why}
        print(json.dumps({"sound": False, **at, **_document(found)}))
        return
    for line in _told(found):
        print(line)
    print(f"`jobd journal repair` would leave: {_kept(found)}")


def repair(args: argparse.Namespace, config: Config, files: Files = FILES) -> int:
    """The exit code.  CannotStart, and then a daemon does not start on less than there was."""
    state_dir = config.daemon.state_dir
    damaged(state_dir)  # or the lock would make a state directory where there is none
    state = StateDir.claim(state_dir, files)
    try:
        return _repair(args, config, files, state)
    finally:
        state.release()


def _repair(args: argparse.Namespace, config: Config, files: Files, state: StateDir) -> int:
    source = damaged(state.path)
    if source is None:
        return _finish(args, files, state)
    if source.name == DIRECTORY and _reads_sound(source):
        _say(args, {"repaired": False, "sound": True}, f"nothing to repair: {source} is sound")
        return 0
    now = SystemClock().now().wall
    found = _examined(source, config, now)
    state.sign()
    kept_at = replace(source, found, files, now=now, segment_bytes=config.journal.segment_bytes)
    if args.json:
        print(json.dumps({"repaired": True, **_document(found), "kept_at": str(kept_at)}))
        return 0
    for line in _told(found):
        print(line)
    print(f"repaired: {_kept(found)}; the damaged journal is kept in {kept_at}")
    return 0


def _finish(args: argparse.Namespace, files: Files, state: StateDir) -> int:
    """An earlier repair was stopped before its last step."""
    new = state.path / NEW
    if not _reads_sound(new):
        raise CannotStart(f"{new} is damaged too; move it away, then say `jobd journal repair`")
    state.sign()
    try:
        finish(state.path, files)
    except OSError as exc:
        raise JournalFailed(f"{new}: can't take its place: {exc}; try again") from exc
    kept = left_by_repair(state.path)
    where = f"; the damaged journal is kept in {kept[-1]}" if kept else ""
    document = {"repaired": True, "finished": True, "kept_at": str(kept[-1]) if kept else None}
    _say(args, document, f"repaired: the repair that was under way is finished{where}")
    return 0


# ------------------------------------------------------------------------------------ looking


def _examined(directory: Path, config: Config, at: float | None = None) -> Examined:
    clock = SystemClock()
    now = clock.now()
    return _read(
        lambda: Examined(
            directory, rules=config.rules(), now=now.wall if at is None else at,
            boot=(clock.boot_id, now.boot),
        )
    )  # fmt: skip


def _reads_sound(directory: Path) -> bool:
    """CannotStart where a newer jobd has written."""

    def read() -> bool:
        try:
            for _ in Reading(directory):
                pass
        except JournalDamaged:
            return False
        return True

    return _read(read)


def _read(look: Callable[[], T]) -> T:
    try:
        return look()
    except OSError as exc:
        raise JournalFailed(f"the journal can't be read: {exc}") from exc


# ------------------------------------------------------------------------------------ telling


def _say(args: argparse.Namespace, document: dict[str, Any], line: str) -> None:
    print(json.dumps(document) if args.json else line)


def _told(found: Examined) -> Iterator[str]:
    """A line for each damaged place, and for each job that is lost."""
    for loss in found.losses:
        at = loss.place
        yield f"{at.path}:{at.line} (byte {at.offset}): {loss.why}; {_missing(loss)}"
    for job in found.lost:
        last = f"{forms.TAGS[type(job.last)]} at {rfc3339(job.last.at)} (record {job.last_seq})"
        yield f"job {job.id} is lost: its beginning is missing; the last that is known: {last}"
    if found.hinted:
        yield f"what can't be read seems to speak of jobs known from nowhere: {_ids(found.hinted)}"


def _missing(loss: Loss) -> str:
    """What is not there, and whom it was about."""
    match loss.records:
        case None:
            missing = f"how many records were here, from {loss.first_seq} on, can't be told"
        case 0:
            missing = "no record is lost by that"
        case 1:
            missing = f"record {loss.first_seq} is lost"
        case n:
            missing = f"records {loss.first_seq} to {loss.first_seq + n - 1} are lost"
    size = f"{loss.size_bytes:,} bytes can't be read, " if loss.size_bytes else ""
    about = f"; they seem to speak of {_ids(loss.ids)}" if loss.ids else ""
    return f"{size}{missing}{about}"


def _kept(found: Examined) -> str:
    more = "" if found.exact else " or more"
    kept = (
        f"jobs: {len(found.jobs):,} kept, {len(found.lost):,} lost; "
        f"records: {found.records:,}{more} lost"
    )
    again = [job.id for job in found.may_run_again]
    if not again:
        return kept
    return f"{kept}; may have ended, and can run again: {len(again):,} ({_ids(again)})"


def _ids(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:IDS_MAX])
    return shown if len(ids) <= IDS_MAX else f"{shown} and {len(ids) - IDS_MAX:,} more"


def _document(found: Examined) -> dict[str, Any]:
    return {
        "damage": [
            {
                "path": str(loss.place.path), "line": loss.place.line,
                "offset": loss.place.offset, "bytes": loss.size_bytes, "why": loss.why,
                "first_seq": loss.first_seq, "records": loss.records, "ids": loss.ids,
            }
            for loss in found.losses
        ],
        "records_lost": found.records,
        "exact": found.exact,
        "jobs": len(found.jobs),
        "lost_jobs": [
            {
                "id": job.id, "seq": job.last_seq, "at": rfc3339(job.last.at),
                "last": forms.TAGS[type(job.last)],
            }
            for job in found.lost
        ],
        "may_run_again": [job.id for job in found.may_run_again],
        "hinted_jobs": found.hinted,
    }  # fmt: skip
