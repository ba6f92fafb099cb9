"""Reaps the strays that a dead keeper left: they became this process's children."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys

from jobd.keeper import tree

assert sys.platform != "win32"

log = logging.getLogger(__name__)


def watch() -> None:
    """Each that there is now will be no zombie, whenever it ends.

    Also at a start: an upgrade keeps the children, and forgets what was known of them.
    """
    own = os.getpid()
    try:
        for process in tree.scan().values():
            # Who has ended shows no marker: an interpreter that went with its keeper, say.
            if process.parent == own and (not process.living or tree.marker(process.pid)):
                fd = os.pidfd_open(process.pid)
                asyncio.get_running_loop().add_reader(fd, _reap, fd, process.pid)
    except OSError as exc:  # they stay unreaped, which costs no more than their numbers
        log.warning("orphans_not_watched why=%r", str(exc))


def _reap(fd: int, pid: int) -> None:
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # the daemon's loop never waits for a child
