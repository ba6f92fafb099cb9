"""A control group for each attempt, where one may be made: one write ends all of it.

Nobody leaves it but root, and whoever owns the tree of groups: see `members.Confined`.

Of cgroup v2, below the keeper's own group, if that is ours to divide: systemd has said so
(`Delegate=`), or there is no systemd.  With controllers the kernel keeps limits, too; to have
them, no process may be where the groups are made, so they are there with `DelegateSubgroup=`
or in the root of the whole hierarchy, which is exempt.
"""

from __future__ import annotations

import binascii
import contextlib
import errno
import os
import sys
from collections import deque

from jobd.keeper.protocol import CGROUPS

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# Which controller keeps which limit.
_CONTROLLERS = {"memory": "memory", "processes": "pids"}

LEFT_A_TIME = 4  # however many strays there are, a death is seen to at once


def home_name(state_dir: str) -> str:
    """Of the group that holds those of all attempts of one daemon."""
    return f"jobd-{binascii.crc32(os.fsencode(state_dir)):08x}"


def attempt_in(pid: int, home: str) -> str | None:
    """The name of the attempt in whose group a process is, told by the kernel.

    OSError where that can't be seen.
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            _, found, below = _unified(file.read()).partition(f"/{home}/")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return below.partition("/")[0] if found else None


class Groups:
    """Those of one keeper."""

    def __init__(self, home: str, own: str) -> None:
        """`own`: the group that the keeper itself is in.  OSError where none can be made."""
        self.home = home
        self._own = own
        if not os.access(f"{os.path.dirname(home)}/cgroup.procs", os.W_OK):
            raise PermissionError(home)  # nobody could be moved there
        with contextlib.suppress(FileExistsError):
            os.mkdir(home)
        os.stat(f"{home}/cgroup.kill")  # from Linux 5.14 on
        self.keeps = frozenset(filter(self._enable, _CONTROLLERS))
        self._left: deque[str] = deque()  # in which strays may live on
        self.sweep()

    def make(self, name: str) -> Group:
        """Without limits as yet.  OSError: the host lacks something; then there is none."""
        path = f"{self.home}/{name}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        return Group(path, self._own, self.keeps)

    def discard(self, name: str) -> None:
        """Once nobody is in it; until then it is kept in mind."""
        self._left.appendleft(f"{self.home}/{name}")
        self.discard_left()

    def discard_left(self) -> None:
        """Those in which strays lived on, and have ended by now: a few are looked at each time."""
        for _ in range(min(LEFT_A_TIME, len(self._left))):
            path = self._left.popleft()
            if not Group(path, self._own).remove():
                self._left.append(path)

    def sweep(self) -> None:
        """What a keeper that was killed left behind is removed, where nobody is in it any more."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.home):
                if entry.is_dir(follow_symlinks=False):
                    Group(entry.path, self._own).remove()

    def close(self) -> None:
        """The keeper goes."""
        self.sweep()
        with contextlib.suppress(OSError):
            os.rmdir(self.home)

    def _enable(self, limit: str) -> bool:
        controller = _CONTROLLERS[limit]
        try:
            for group in (os.path.dirname(self.home), self.home):
                if controller not in _read(f"{group}/cgroup.subtree_control").split():
                    _write(f"{group}/cgroup.subtree_control", f"+{controller}")
        except OSError:  # not here, or processes are in the way
            return False
        return True


class Group:
    """One attempt's."""

    __slots__ = ("_own", "keeps", "path")

    def __init__(self, path: str, own: str, keeps: frozenset[str] = frozenset()) -> None:
        self.path = path
        self._own = own
        self.keeps = keeps  # the limits that the kernel keeps by itself

    def limit(self, limits: Mapping[str, Any]) -> None:
        """From now on the kernel keeps what it can; `keeps` says what.

        Not before somebody was born in it: the keeper was in it for that, and a limit of one
        process would have refused its fork, one of 1 MiB would have ended the keeper itself.
        """
        wanted = [name for name in limits if name in self.keeps]
        try:
            if wanted and os.getpid() in _pids(self.path):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self.path)
            if "memory" in wanted:
                with contextlib.suppress(OSError):  # a kernel without swap accounting
                    _write(f"{self.path}/memory.swap.max", "0")
                # Before the limit, which may be exceeded already: all of them go, or none.
                _write(f"{self.path}/memory.oom.group", "1")
                _write(f"{self.path}/memory.max", str(limits["memory"]))
            if "processes" in wanted:
                _write(f"{self.path}/pids.max", str(limits["processes"]))
        except OSError:
            self.keeps = frozenset()  # then they are measured

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """What is spawned inside is born in the group: the keeper hops in, and out again.

        To move the child instead, it would have to be forked in full, and to wait: 15–60 µs here.
        OSError, if it can't be entered.
        """
        _write(f"{self.path}/cgroup.procs", "0")
        try:
            yield
        finally:
            # Where that fails the keeper stays in it: `limit`, `kill` and `pids` look for it.
            with contextlib.suppress(OSError):
                _write(f"{self._own}/cgroup.procs", "0")

    def pids(self) -> list[int]:
        """Of all that live in it, and in groups that a job has made below; never the keeper's."""
        return [pid for path in _below(self.path) for pid in _pids(path) if pid != os.getpid()]

    def kill(self) -> bool:
        """SIGKILL to all that is in it, however quickly it forks.

        False: the keeper could not get out of it, and nothing was done.
        """
        if os.getpid() in _pids(self.path):
            return False
        with contextlib.suppress(FileNotFoundError):
            _write(f"{self.path}/cgroup.kill", "1")
        return True

    def holds(self, pid: int) -> bool | None:
        """False: it is in another attempt's; None: in no attempt's.  OSError: can't be seen."""
        home, name = os.path.split(self.path)
        found = attempt_in(pid, os.path.basename(home))
        return None if found is None else found == name

    @property
    def populated(self) -> bool:
        """Whether anybody lives in it."""
        try:
            return "populated 1" in _read(f"{self.path}/cgroup.events") and bool(self.pids())
        except FileNotFoundError:
            return False

    def cpu_s(self) -> float:
        """What all that ever was in it has used."""
        return int(_field(f"{self.path}/cpu.stat", "usage_usec")) / 1e6

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed for `memory.max`."""
        if "memory" not in self.keeps:
            return False
        with contextlib.suppress(OSError):
            return int(_field(f"{self.path}/memory.events", "oom_kill")) > 0
        return False

    def remove(self) -> bool:
        """Whether it is gone."""
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return True
        except OSError:  # somebody lives in it, or a job has made some below
            return self._removed_with_those_below()
        return True

    def _removed_with_those_below(self) -> bool:
        try:
            for path in reversed(_below(self.path)):
                os.rmdir(path)
        except OSError:
            return False
        return True


def find(state_dir: str) -> Groups | None:
    """Where groups may be made for the attempts of this state directory; None: nowhere."""
    if os.environ.get(CGROUPS) == "off":
        return None
    try:
        mount, root = _mount()
        own = _unified(_read("/proc/self/cgroup")).removeprefix(root if root != "/" else "")
        own = f"{mount}/{own.strip('/')}".rstrip("/")
        place = _delegated(own, mount)
        return None if place is None else Groups(f"{place}/{home_name(state_dir)}", own)
    except (OSError, LookupError):
        return None


def _mount() -> tuple[str, str]:
    """Where the hierarchy is mounted, and which of its groups is there."""
    for line in _read("/proc/self/mountinfo").splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            _, _, _, root, mount = fields.split()[:5]
            return mount, root
    raise LookupError("cgroup2 is not mounted")


def _delegated(own: str, mount: str) -> str | None:
    """The group that is ours to divide.  Never one that another manager has under its care."""
    for place in (own, os.path.dirname(own)):  # the second: with `DelegateSubgroup=`
        if not place.startswith(mount):
            break
        for mark in ("user.delegate", "trusted.delegate"):
            with contextlib.suppress(OSError):
                if os.getxattr(place, mark) == b"1":
                    return place
    return None if os.path.isdir("/run/systemd/system") else own


def _unified(lines: str) -> str:
    """The path in `/proc/PID/cgroup`."""
    return next((line[3:] for line in lines.splitlines() if line.startswith("0::")), "/")


def _below(path: str) -> list[str]:
    """The group and all below it, from the top."""
    found = [path]
    for group in found:  # grows while it is walked
        with contextlib.suppress(FileNotFoundError):
            found += [e.path for e in os.scandir(group) if e.is_dir(follow_symlinks=False)]
    return found


def _pids(path: str) -> list[int]:
    try:
        return [int(pid) for pid in _read(f"{path}/cgroup.procs").split()]
    except FileNotFoundError:  # gone meanwhile
        return []
    except OSError as exc:
        if exc.errno != errno.EOPNOTSUPP:
            raise
        return []  # a job has made a threaded group; the one above it tells of its processes


def _field(path: str, name: str) -> str:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return value
    raise OSError(0, f"no {name}", path)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
