"""Who belongs to an attempt, wherever its processes went.

In a control group the kernel knows.  Where there is none, and of those who left theirs, they are
found by descent, session and group, and by the variables that they were started with; the keeper
is a child subreaper, so that an orphan becomes its own child.
"""

from __future__ import annotations

import os
import sys
import time

from jobd.keeper import tree

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sized

    from jobd.keeper.attempt import Attempt
    from jobd.keeper.cgroup import Group
    from jobd.keeper.tree import Marker, Process

# A process that is younger than this and whose pid is at most so far below the newest one can
# only have descendants in between: within that time no machine goes through all pids.
YOUNG_S = 0.2
NEAR_PIDS = 512


class Mains(dict[int, "Attempt"]):
    """Attempts by the pids of their main processes, and what else the keeper has of children."""

    def __init__(self, warm: Collection[int] = (), awaited: Sized = ()) -> None:
        super().__init__()
        self.warm = warm  # pids of interpreters, which are no attempt's
        self.awaited = awaited  # launches that may have a process which is not known yet

    @property
    def possible(self) -> int:
        """How many attempts an orphan can come from."""
        return len(self) + len(self.awaited)


class Related:
    """Those that descend from one main process, or can be known in another way."""

    def __init__(self, pid: int, started: int | None, marker: Marker, *, sweeping: bool) -> None:
        """`started`: in ticks since boot; None: it could not be seen.

        `sweeping`: what nobody else can have left counts as this one's.
        """
        self._pid = pid
        self._started = started
        self._marker = marker
        self._sweeping = sweeping
        self._born = time.monotonic()

    def processes(self, mains: Mains) -> list[Process]:
        """The whole tree, as it is now."""
        return self._related(mains, None)

    def soon(self, mains: Mains) -> list[Process]:
        """The same without a look at every process of the machine, for who asks again and again."""
        others = {*mains, *mains.warm} - {self._pid}
        return self._related(mains, tree.walk(p for p in tree.children() if p not in others))

    def rest(self, mains: Mains) -> list[Process]:
        """Once the main process has ended.  OSError where that can't be seen now."""
        if _no_child_lives():
            # Only the dead are left, and mostly that is the main process alone.
            return self._related(mains, tree.children())
        if self._has_no_orphans(mains):
            return []
        return self._related(mains, self._possible_pids())

    def unknown(self, mains: Mains) -> list[int]:
        """Orphans that live, may be this attempt's, and can't be told from another's.

        They left the session, and took an environment of their own.
        """
        if mains.possible < 2 or self._started is None:
            return []
        known = {*mains, *mains.warm}
        return [
            orphan.pid
            for orphan in tree.scan(pid for pid in tree.children() if pid not in known).values()
            if orphan.living
            and orphan.started >= self._started
            and not {orphan.session, orphan.group} & set(mains)
            and tree.marker(orphan.pid) is None
            and self._in_group(orphan.pid) is None
        ]

    def _related(self, mains: Mains, pids: Iterable[int] | None) -> list[Process]:
        """`pids` are the only ones to look at; None: all there are."""
        found = tree.scan(pids)
        keeper = os.getpid()
        roots = [
            process.pid
            for process in found.values()
            if process.parent == keeper
            and (process.pid == self._pid if process.pid in mains else self._owns(process, mains))
        ]
        return tree.descendants(roots, found)

    def _owns(self, orphan: Process, mains: Mains) -> bool:
        """Whether an orphan that the kernel gave to the keeper comes from this attempt."""
        if self._pid in (orphan.session, orphan.group):
            return True
        if orphan.pid in mains.warm:
            return False
        marker = tree.marker(orphan.pid)
        if marker is not None:
            return marker == self._marker
        in_group = self._in_group(orphan.pid)
        if in_group is not None:
            return in_group
        # Nobody else can be its origin if this attempt is the only one; with several it stays
        # until the last of them ends, and is told of as `unknown`.
        alone = mains.possible == 1 and self._sweeping
        return alone and self._started is not None and orphan.started >= self._started

    def _in_group(self, _pid: int) -> bool | None:
        """Whether it is in this attempt's group; None: in no attempt's."""
        return None

    def _has_no_orphans(self, mains: Mains) -> bool:
        """Whether all the keeper's children are known: what is left of a tree whose main process
        has ended would be among them.  No list is believed that lacks the main process.

        The kernel's list may miss some while others leave it; but nobody leaves this one
        before the keeper, which reads it, has reaped him.
        """
        children = tree.children()
        return self._pid in children and all(
            child in mains or child in mains.warm for child in children
        )

    def _possible_pids(self) -> Iterable[int] | None:
        """The only numbers that its descendants can have; None: any."""
        if time.monotonic() - self._born > YOUNG_S:
            return None
        last = tree.last_pid()
        if last is None or not self._pid <= last <= self._pid + NEAR_PIDS:
            return None
        return range(self._pid + 1, last + 1)


class Confined(Related):
    """The members of a control group, and who left it: root may, or whoever owns the groups.

    Of those nobody is missed who would be found without a group.
    """

    def __init__(
        self, group: Group, pid: int, started: int | None, marker: Marker, *, sweeping: bool
    ) -> None:
        super().__init__(pid, started, marker, sweeping=sweeping)
        self._group = group

    def processes(self, mains: Mains) -> list[Process]:
        """The kernel tells at once of nearly all."""
        inside = tree.scan(self._group.pids())
        return list((inside | {p.pid: p for p in super().soon(mains)}).values())

    soon = processes

    def rest(self, mains: Mains) -> list[Process]:
        return self.processes(mains) if self._group.populated else super().rest(mains)

    def _in_group(self, pid: int) -> bool | None:
        return self._group.holds(pid)


def _no_child_lives() -> bool:
    """Whether the keeper has no living child at all: then nothing can be left of any tree.

    Asked for children that stopped, the kernel ignores the dead ones, and says ECHILD when
    there are no others.  So a plain job, alone, costs no look at /proc.
    """
    try:
        os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False
