"""When an attempt last wrote something, told from the sizes and times of its output files.

Times of files follow the wall clock, which may be set; idleness counts elapsed time.  So a file's
time is believed only where it falls between two looks, and a file that is as it was at the last
look has not been written since, whatever the clock says now.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from jobd.core.moment import Moment

Files = tuple[tuple[int, int], ...]  # of each: size in bytes, time of the last change in ns

_EMPTY: Final = (0, 0)  # or not there


class Sight(NamedTuple):
    """What one look has shown."""

    files: Files
    at: Moment
    seen_at: float | None  # by the boot clock, the last change since the first look


def of_new(since: Moment) -> Sight:
    """Of an attempt that was just begun."""
    return Sight((_EMPTY, _EMPTY), since, None)


def files(paths: Iterable[str]) -> Files:
    return tuple(map(_signature, paths))


def later(before: Sight, found: Files, now: Moment) -> Sight:
    """The next look."""
    changed = [new for new, old in zip(found, before.files, strict=True) if new != old]
    if not changed:
        return Sight(found, now, before.seen_at)
    changed_at = max(time_ns for _, time_ns in changed) / 1e9
    # By what the wall clock said then, or says now: it may have been set before the change or
    # after it.  The later instant is taken, so that nobody is stopped for a clock; and where
    # neither can be, it changed since the last look, and no more is known.
    steps = (before.at.wall - before.at.boot, now.wall - now.boot)
    instants = [changed_at - step for step in steps]
    possible = [at for at in instants if before.at.boot <= at <= now.boot]
    return Sight(found, now, max(possible, default=now.boot))


def _signature(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:  # it was removed, or can't be seen: nothing is known of it
        return _EMPTY
    return (found.st_size, found.st_mtime_ns) if found.st_size else _EMPTY
