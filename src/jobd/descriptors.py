"""How many files may be open: all that is allowed in the daemon, as before in what it starts."""

from __future__ import annotations

import math
import sys
from typing import Final, NamedTuple

if sys.platform != "win32":
    import resource

# A descriptor per connection, and some per follower; beyond that a limit protects the machine.
WANTED: Final = 8192


class Limit(NamedTuple):
    soft: int
    hard: int


def raise_limit() -> Limit | None:
    """Of this process; what it was before.  None: there is no such limit here."""
    if sys.platform == "win32":
        return None
    else:
        before = Limit(*resource.getrlimit(resource.RLIMIT_NOFILE))
        allowed = WANTED if before.hard == resource.RLIM_INFINITY else min(WANTED, before.hard)
        if before.soft != resource.RLIM_INFINITY and before.soft < allowed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, before.hard))
        return before


def hard_limit() -> float:
    """Of what is started from here, which can't have more; infinity: there is none."""
    if sys.platform == "win32":
        return math.inf
    else:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return math.inf if hard == resource.RLIM_INFINITY else hard


def restore(pid: int, limit: Limit) -> None:
    """In a child that has not started anything yet."""
    if sys.platform == "linux":
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
