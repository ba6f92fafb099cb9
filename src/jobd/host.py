"""What this host can keep of a job's limits; a limit that nobody keeps would be a lie."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Any, Final

from jobd.core.job import Limits
from jobd.descriptors import hard_limit

NICE_LEAST: Final = -20
_OF_THE_TREE: Final = ("memory", "cpu_time", "processes")  # known by looking at its processes


@lru_cache(maxsize=1024)  # jobs are many and their limits few; a host stays as it is
def limit_faults(limits: Limits) -> tuple[tuple[str, str], ...]:
    """(name, why) of those that can't be kept here."""
    each = ((name, limit_fault(name, value)) for name, value in limits.given().items())
    return tuple((name, why) for name, why in each if why is not None)


def limit_fault(name: str, value: Any) -> str | None:
    """Why this one of `limits` can't be kept here, or None."""
    if sys.platform == "win32":
        return "can't be kept on this platform"
    else:
        if name in _OF_THE_TREE and not os.path.exists("/proc/self/stat"):
            return "can't be kept on this platform: there is no /proc"
        if name == "open_files" and value > hard_limit():
            return f"must be at most {hard_limit()}, the hard limit that the daemon was given"
        if name == "nice" and not _may_be_nice(value):
            return "is lower than the daemon may go: that needs root, or RLIMIT_NICE"
        return None


def _may_be_nice(by: int) -> bool:
    """Found out by doing it, since rights, limits and namespaces all have a say; then undone,
    which is always allowed.
    """
    if sys.platform == "win32":
        return False
    else:
        now = os.getpriority(os.PRIO_PROCESS, 0)
        wanted = max(now + by, NICE_LEAST)
        if wanted >= now:
            return True
        try:
            os.setpriority(os.PRIO_PROCESS, 0, wanted)
        except PermissionError:
            return False
        os.setpriority(os.PRIO_PROCESS, 0, now)
        return True
