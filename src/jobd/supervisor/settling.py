"""What became of attempts that no keeper speaks for: found out from what is on disk and alive.

Blocking, for a worker thread.  It runs at a start and after a keeper's death, and returns only
when nothing of these attempts lives, so that the next ones may begin.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from jobd.core.job import Ending
from jobd.keeper import files, protocol, tree
from jobd.keeper.results import read_plain
from jobd.supervisor.ending import read_outcome

assert sys.platform != "win32"

log = logging.getLogger(__name__)

PATIENCE_MS: Final = 1000  # between two looks at processes that a SIGKILL has not ended yet


class Orphan(NamedTuple):
    """An attempt that the journal calls running."""

    marker: tree.Marker
    directory: str
    this_boot: bool  # it was started in the boot that this is


class Claimed(NamedTuple):
    """What the keeper wrote of the process; None where it died before it could."""

    pid: int | None
    start_ticks: int | None
    started_at: float | None


def settle(orphans: Iterable[Orphan]) -> dict[Orphan, Ending | None]:
    """How each one ended; None: it never ran, and never will.  No keeper lives any more."""
    settled: dict[Orphan, Ending | None] = {}
    claimed: dict[Orphan, Claimed] = {}
    for orphan in orphans:
        ending = read_outcome(orphan.directory, orphan.marker.id, orphan.marker.attempt)
        if ending is not None:
            settled[orphan] = ending
        elif not orphan.this_boot:
            settled[orphan] = Ending(kind="interrupted", message="the machine went down")
        elif _claim(orphan.directory):
            settled[orphan] = None
        else:
            claimed[orphan] = _read_claim(orphan.directory)
    _end({orphan.marker: claim for orphan, claim in claimed.items()})
    for orphan, claim in claimed.items():
        settled[orphan] = Ending(
            kind="interrupted", message="the process that kept it died", pid=claim.pid
        )
    return settled


def end_keepers(state_dir: str) -> None:
    """No keeper of this state directory lives: neither one that does not answer, nor the
    half-made child of one that was killed between vfork and exec."""
    mark = f"{protocol.KEEPER}={state_dir}".encode()

    def keepers() -> list[tree.Process]:
        return [p for p in tree.scan().values() if p.living and mark in tree.environment(p.pid)]

    while alive := keepers():
        _kill(alive)


def sweep(attempts: str, keep: Iterable[str]) -> None:
    """Directories of attempts whose end is on record go: a crash came before they could."""
    kept = set(keep)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(attempts):
            if name not in kept:
                files.discard(f"{attempts}/{name}")


def _claim(directory: str) -> bool:
    """Whether there was none, and so never will be a process."""
    try:
        os.close(files.claim(directory))
    except files.Taken:
        return False
    except OSError as exc:
        # No keeper lives that could still make it: without room, its absence is as good.
        if not files.no_room(exc):
            raise
    return True


def _read_claim(directory: str) -> Claimed:
    try:
        text = read_plain(f"{directory}/{protocol.CLAIM}", protocol.CLAIM_BYTES)
        claim = json.loads(text or "")
        return Claimed(claim["pid"], claim["start_ticks"], claim["started_at"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return Claimed(None, None, None)


def _end(claimed: Mapping[tree.Marker, Claimed]) -> None:
    """Kills what lives of these attempts, as often as it takes."""
    looks, ended = 0, {claim.pid for claim in claimed.values() if claim.pid is not None}
    while claimed and (alive := _living(claimed)):
        ended.update(process.pid for process in alive)
        _kill(alive)
        looks += 1
        if looks % 10 == 0:
            log.warning("outlived_sigkill pids=%s", [process.pid for process in alive])
    for pid in ended:  # those that became this process's children when their keeper died
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _living(claimed: Mapping[tree.Marker, Claimed]) -> list[tree.Process]:
    """Whoever bears the mark of one of these, belongs to its main process, or descends from such.

    A main process counts only if pid and start time agree: the number may be another's by now.
    """
    processes = tree.scan()
    mains = {
        claim.pid
        for claim in claimed.values()
        if claim.pid in processes and processes[claim.pid].started == claim.start_ticks
    }
    own = os.getpid()
    roots = [
        process.pid
        for process in processes.values()
        if process.pid != own
        and (mains & {process.pid, process.group, process.session}
             or tree.marker(process.pid) in claimed)
    ]  # fmt: skip
    found = tree.descendants(roots, processes)
    return list({process.pid: process for process in found if process.living}.values())


def _kill(processes: Iterable[tree.Process]) -> None:
    """SIGKILL, and a wait until one of them is gone."""
    waiting = select.poll()
    opened: list[int] = []
    try:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                opened.append(os.pidfd_open(process.pid))
                waiting.register(opened[-1], select.POLLIN)
                process.signal(signal.SIGKILL)
        waiting.poll(PATIENCE_MS)
    finally:
        for fd in opened:
            os.close(fd)
