"""What became of attempts that no keeper speaks for: found out from what is on disk and alive.

Blocking, for a worker thread.  It runs at a start and after a keeper's death, and returns only
when nothing of these attempts lives, so that the next ones may begin.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from jobd.core.job import Ending
from jobd.keeper import cgroup, files, protocol, tree
from jobd.keeper.results import read_plain
from jobd.supervisor.ending import read_outcome

assert sys.platform != "win32"

log = logging.getLogger(__name__)

PATIENCE_MS: Final = 1000  # between two looks at processes that a SIGKILL has not ended yet
PID_MAX: Final = 1 << 22  # the kernel gives out no larger one


class Orphan(NamedTuple):
    """An attempt that the journal calls running."""

    marker: tree.Marker
    directory: str
    this_boot: bool  # it was started in the boot that this is


class Claimed(NamedTuple):
    """What the keeper wrote of the process, as far as it came, and as far as it can be believed."""

    pid: int | None = None
    start_ticks: int | None = None
    socket: str | None = None  # that the process was started with; the daemon's may be another now


class Trace:
    """Of an attempt whose process may live."""

    def __init__(self, claim: Claimed, *, ran: bool) -> None:
        self.claim = claim
        self.ran = ran  # or may have: nobody can say that it never did
        self.pids = {claim.pid} if claim.pid is not None else set()


Tell = Callable[[Orphan, Ending | None], None]


def settle(orphans: Iterable[Orphan], tell: Tell, stop: threading.Event) -> None:
    """Tells how each one ended, as soon as nothing of it lives; None: it never ran, never will.

    No keeper lives any more.  What can't be ended holds back nothing but its own attempt; for
    that it waits, until told to stop.
    """
    unread = list(orphans)
    waiting: dict[Orphan, Trace] = {}
    looks = 0
    while (unread or waiting) and not stop.is_set():
        unread = [orphan for orphan in unread if not _was_read(orphan, waiting, tell)]
        try:
            alive = _living(waiting)
            _tell_of_the_dead(waiting, alive, tell)
            _kill(process for processes in alive.values() for process in processes)
        except OSError as exc:  # what can't be seen is not gone
            log.warning("attempts_not_seen why=%r", str(exc))
            stop.wait(PATIENCE_MS / 1000)
        if unread:
            stop.wait(PATIENCE_MS / 1000)
        looks += 1
        if waiting and looks % 10 == 0:
            log.warning("outlived_sigkill pids=%s", sorted(_pids(waiting)))


def _was_read(orphan: Orphan, waiting: dict[Orphan, Trace], tell: Tell) -> bool:
    try:
        _read(orphan, waiting, tell)
    except OSError as exc:  # what can't be read is not gone
        log.warning("attempts_not_seen why=%r", str(exc))
        return False
    return True


def _read(orphan: Orphan, waiting: dict[Orphan, Trace], tell: Tell) -> None:
    """Tells what the disk says of it, or notes who is to be looked for."""
    claim = _read_claim(orphan.directory)
    ending = read_outcome(orphan.directory, orphan.marker.id, orphan.marker.attempt)
    if ending is not None and not (orphan.this_boot and _lives(claim)):
        tell(orphan, ending)
    elif not orphan.this_boot:
        tell(orphan, Ending(kind="interrupted", message="the machine went down"))
    else:
        waiting[orphan] = Trace(claim, ran=not _claim(orphan.directory))


def _tell_of_the_dead(
    waiting: dict[Orphan, Trace], alive: Mapping[Orphan, Sequence[tree.Process]], tell: Tell
) -> None:
    for orphan, trace in list(waiting.items()):
        if orphan in alive:
            trace.ran = True
            trace.pids.update(process.pid for process in alive[orphan])
            continue
        del waiting[orphan]
        for pid in trace.pids:  # those that became this process's children when their keeper died
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        message = "the process that kept it died"
        interrupted = Ending(kind="interrupted", message=message, pid=trace.claim.pid)
        tell(orphan, interrupted if trace.ran else None)


def _pids(waiting: Mapping[Orphan, Trace]) -> set[int]:
    return {pid for trace in waiting.values() for pid in trace.pids}


def end_keepers(state_dir: str) -> None:
    """No keeper of this state directory lives: neither one that does not answer, nor the
    half-made child of one that was killed between vfork and exec."""
    mark = f"{protocol.KEEPER}={state_dir}".encode()

    def keepers() -> list[tree.Process]:
        return [p for p in tree.scan().values() if p.living and mark in tree.environment(p.pid)]

    while True:
        try:
            if not (alive := keepers()):
                return
            _kill(alive)
        except OSError as exc:  # what can't be seen is not gone
            log.warning("keepers_not_seen why=%r", str(exc))
            threading.Event().wait(PATIENCE_MS / 1000)


def sweep(attempts: str, keep: Iterable[str]) -> None:
    """Directories of attempts whose end is on record go: a crash came before they could."""
    kept = set(keep)
    with contextlib.suppress(OSError):  # then they are swept at another start
        for name in os.listdir(attempts):
            if name not in kept:
                files.discard(f"{attempts}/{name}")


def _claim(directory: str) -> bool:
    """Whether there was none, so that nothing was started, unless somebody removed it."""
    try:
        os.close(files.claim(directory))
    except files.Taken:
        return False
    except OSError as exc:
        # No keeper lives that could still make it: where nothing can be, its absence is as good.
        if not files.no_room(exc) and exc.errno not in {errno.EROFS, errno.ENOTDIR}:
            raise
    return True


def _read_claim(directory: str) -> Claimed:
    """What can be believed of it: the job's own processes could have written it."""
    text = read_plain(f"{directory}/{protocol.CLAIM}", protocol.CLAIM_BYTES)
    try:
        claim = json.loads((text or "").rstrip("\0"))
    except (ValueError, RecursionError):
        return Claimed()
    if not isinstance(claim, dict):
        return Claimed()
    pid, ticks, socket = (claim.get(name) for name in ("pid", "start_ticks", "socket"))
    return Claimed(
        pid if type(pid) is int and 1 < pid <= PID_MAX else None,
        ticks if type(ticks) is int else None,
        socket if type(socket) is str else None,
    )


def _lives(claim: Claimed) -> bool:
    """Whether its main process does: then no keeper has written how it ended."""
    process = None if claim.pid is None else tree.read(claim.pid)
    return process is not None and process.living and process.started == claim.start_ticks


def _living(waiting: Mapping[Orphan, Trace]) -> dict[Orphan, list[tree.Process]]:
    """Who lives of each: all that are in its control group, bear its mark, belong to its main
    process, or descend from such.

    A main process counts only if pid and start time agree: the number may be another's by now.
    """
    processes = tree.scan()
    mains: dict[int, Orphan] = {}
    markers: dict[tree.Marker, Orphan] = {}
    groups: dict[str, Orphan] = {}
    for orphan, trace in waiting.items():
        claim = trace.claim
        groups[orphan.directory] = orphan
        main = None if claim.pid is None else processes.get(claim.pid)
        if main is not None and main.started == claim.start_ticks:
            mains[main.pid] = orphan
        for socket in {orphan.marker.socket, claim.socket or orphan.marker.socket}:
            markers[orphan.marker._replace(socket=socket)] = orphan
    roots: dict[Orphan, list[int]] = {}
    for process in processes.values():
        owner = _owner(process, mains, markers) or _confined(process, groups)
        if owner is not None:
            roots.setdefault(owner, []).append(process.pid)
    found = {orphan: tree.descendants(pids, processes) for orphan, pids in roots.items()}
    return {
        orphan: living
        for orphan, tree_ in found.items()
        if (living := list({p.pid: p for p in tree_ if p.living}.values()))
    }


def _owner(
    process: tree.Process, mains: Mapping[int, Orphan], markers: Mapping[tree.Marker, Orphan]
) -> Orphan | None:
    if process.pid == os.getpid():
        return None
    for number in (process.pid, process.group, process.session):
        if number in mains:
            return mains[number]
    marker = tree.marker(process.pid)
    return None if marker is None else markers.get(marker)


def _confined(process: tree.Process, groups: Mapping[str, Orphan]) -> Orphan | None:
    """Of whose group it is a member; who left that has its marker still.  Never this process."""
    for attempts in {os.path.dirname(directory) for directory in groups}:
        name = cgroup.attempt_in(process.pid, cgroup.home_name(os.path.dirname(attempts)))
        if name is not None and process.pid != os.getpid():
            return groups.get(f"{attempts}/{name}")
    return None


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
        if opened:
            waiting.poll(PATIENCE_MS)
    finally:
        for fd in opened:
            os.close(fd)
