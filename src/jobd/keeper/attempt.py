"""One attempt under way: who runs it, who belongs to it, and what it has cost so far."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from jobd.keeper import files, limits, members, posix, tree
from jobd.keeper.protocol import ATTEMPT, DEADLINE, JOB_ID, SOCKET_PATH, VERSION

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from jobd.keeper.cgroup import Group, Groups
    from jobd.keeper.protocol import Message
    from jobd.keeper.tree import Process

MESSAGE_MAX = 600  # characters
STRAYS_MAX = 100  # pids that an outcome tells of: it has to fit into its room
PROBE_FDS = 8  # more than a start takes, with those of `subprocess`


class Attempt:
    __slots__ = (
        "cpu_s", "directory", "group", "id", "is_callable", "killed", "limit", "marker", "max_rss",
        "members", "meter", "number", "over", "pid", "start_ticks", "started_at", "stderr",
        "stdout", "stopping", "stray",
    )  # fmt: skip

    def __init__(self, launch: Message, pid: int, group: Group | None) -> None:
        self.id: str = launch["id"]
        self.number: int = launch["attempt"]
        self.marker = tree.Marker(launch["env"][SOCKET_PATH], self.id, self.number)
        self.directory: str = launch["directory"]
        self.stdout: str = launch["stdout"]
        self.stderr: str = launch["stderr"]
        self.stray: str = launch["stray"]
        self.is_callable: bool = launch["call"] is not None
        self.pid = pid
        self.started_at = time.time()
        self.start_ticks: int | None = None
        with contextlib.suppress(OSError):  # the marker tells, where this can't be seen
            process = tree.read(pid)
            self.start_ticks = process.started if process else None
        self.group = group
        self.members = (
            members.Related(pid, self.start_ticks, self.marker, sweeping=self.stray == "kill")
            if group is None else members.Confined(group)
        )  # fmt: skip
        self.meter = limits.Meter(launch.get("limits") or {}, group)
        self.limit: str | None = None  # for which it was killed
        self.stopping = False
        self.killed = False
        self.over = False  # its main process has ended, and is not reaped yet
        self.cpu_s = 0.0  # of its orphans
        self.max_rss = 0

    @property
    def key(self) -> tuple[str, int]:
        return self.id, self.number

    # Its processes.

    def signal(self, number: int, mains: Collection[int]) -> None:
        """To the whole tree.  OSError where somebody can't be seen now."""
        # The session's group at once, so that nobody forks away from under it.  It fails where all
        # of them are another user's by setuid, or there is no such group yet.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.killpg(self.pid, number)
        if number == signal.SIGKILL and self.group is not None and self.group.kill():
            return
        for process in self.members.processes(mains):
            if process.living and process.group != self.pid:
                process.signal(number)

    def survivors(self, mains: Collection[int]) -> list[Process]:
        """Who lives on although the main process has ended.  Reaps the dead among its orphans.

        OSError where that can't be seen now.
        """
        living = []
        for process in self.members.rest(mains):
            if process.living:
                living.append(process)
            elif process.parent == os.getpid() and process.pid != self.pid:
                self.add_cost(process.pid)
        return living

    def add_cost(self, orphan: int) -> None:
        """Reaps a dead orphan of this attempt, on its account."""
        _, _, usage = os.wait4(orphan, os.WNOHANG)
        self.cpu_s += usage.ru_utime + usage.ru_stime
        self.max_rss = max(self.max_rss, posix.max_rss_bytes(usage.ru_maxrss))

    def measure(self, mains: Collection[int]) -> str | None:
        """The limit that its tree goes beyond, if any.  OSError where that can't be seen now."""
        return self.meter.exceeded(self.members.soon(mains), self.cpu_s)

    # Its end.

    def reap(self, mains: Collection[int]) -> Message:
        """The outcome of the attempt; from now on its pid may be another's."""
        strays = self._strays(mains)
        _, status, usage = os.wait4(self.pid, 0)
        return {
            "version": VERSION,
            "id": self.id,
            "attempt": self.number,
            "pid": self.pid,
            "started_at": self.started_at,
            "ended_at": time.time(),
            "exit_code": posix.exit_code(status),
            "signal": (ended_by := posix.exit_signal(status)),
            "limit": self.limit or self._kernel_limit(ended_by),
            "strays": strays,
            "cpu_time": round(self._cpu_s(usage.ru_utime + usage.ru_stime), 6),
            "max_rss": max(self.max_rss, posix.max_rss_bytes(usage.ru_maxrss)),
            "stdout_bytes": files.size(self.stdout),
            "stderr_bytes": files.size(self.stderr),
            "callable": self.is_callable,
        }

    def _strays(self, mains: Collection[int]) -> list[int]:
        """Who may be left over of it, to be told of: never passed over, and not guessed at."""
        if self.stray == "leave":
            return []
        with contextlib.suppress(OSError):
            return self.members.unknown(mains)[:STRAYS_MAX]
        return []

    def _cpu_s(self, reaped_s: float) -> float:
        if self.group is not None:
            with contextlib.suppress(OSError):
                return self.group.cpu_s()
        return reaped_s + self.cpu_s

    def _kernel_limit(self, ended_by: str | None) -> str | None:
        """The limit for which the kernel ended it, where that was quicker than a measurement."""
        if self.group is not None and ended_by is not None and self.group.ran_out_of_memory():
            return "memory"
        return "cpu_time" if ended_by == "SIGXCPU" and self.meter.limits_cpu else None


def launch(message: Message, groups: Groups | None = None) -> Attempt:
    """Starts what the message says, once: claim, room, files, group, spawn.

    Raises Taken, NoRoom (neither leaves anything behind) and SpawnFailed.
    """
    directory = message["directory"]
    try:
        claim = files.claim(directory)
    except OSError as exc:
        raise _refusal(message, exc) from None
    opened = [claim]
    group = None
    try:
        files.prepare(directory, claim, message["call"])
        files.sign(claim, message["env"][SOCKET_PATH])
        opened.append(files.open_output(message["stdout"]))
        opened.append(files.open_output(message["stderr"]))
        with contextlib.ExitStack() as inside:
            group = _entered(message, groups, inside)
            pid = posix.spawn(
                message["program"], message["argv"], _environment(message), cwd=message["cwd"],
                stdout=opened[1], stderr=opened[2],
                before_exec=limits.before_exec(message.get("limits") or {}),
            )  # fmt: skip
        # From here on it runs, and whatever fails, nobody may be told otherwise.
        attempt = Attempt(message, pid, group)
        # A claim that can't be signed still holds: who settles it knows the processes by their
        # marker.
        with contextlib.suppress(OSError):
            files.sign(
                claim, attempt.marker.socket, pid=pid, start_ticks=attempt.start_ticks,
                started_at=attempt.started_at,
            )  # fmt: skip
        return attempt
    except (OSError, posix.SpawnFailed) as exc:
        if group is not None:
            group.remove()
        raise exc if isinstance(exc, posix.SpawnFailed) else _refusal(message, exc) from None
    finally:
        for fd in opened:
            os.close(fd)


def _entered(message: Message, groups: Groups | None, inside: contextlib.ExitStack) -> Group | None:
    """The attempt's group, in which the keeper is until `inside` ends; None: there is none.

    What lacks for a group is no reason not to run: there is another way to know the members.
    """
    if groups is None:
        return None
    with contextlib.suppress(OSError):
        group = groups.make(os.path.basename(message["directory"]), message.get("limits") or {})
        try:
            inside.enter_context(group.entered())
        except OSError:
            group.remove()
            raise
        return group
    return None


def probe(directory: str, output: str) -> str | None:
    """What a start would lack now: directories to write in, room, descriptors, processes.

    None: nothing.  Both places are made there, and gone again.
    """
    opened = []
    try:
        opened.append(files.claim(directory))
        files.prepare(directory, opened[0], "")
        opened.append(files.open_output(output))
        opened += [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(PROBE_FDS)]
        posix.probe()
    except files.Taken:  # what a killed keeper left: in the way only once
        return "an earlier probe was cut short"
    except OSError as exc:
        return str(exc)
    finally:
        for fd in opened:
            os.close(fd)
        files.discard(directory)
        files.discard(os.path.dirname(output))
    return None


def failed(message: Message, failure: posix.SpawnFailed) -> Message:
    """The outcome of an attempt that has no process."""
    return {
        "version": VERSION,
        "id": message["id"],
        "attempt": message["attempt"],
        "ended_at": time.time(),
        "exit_code": failure.exit_code,
        "spawn": _cut(failure.message),
        "stdout_bytes": files.size(message["stdout"]),
        "stderr_bytes": files.size(message["stderr"]),
        "callable": message["call"] is not None,
    }


def _cut(message: str) -> str:
    """So that the outcome fits into its room, although each character may take six bytes."""
    half = MESSAGE_MAX // 2
    return message if len(message) <= MESSAGE_MAX else f"{message[:half]} … {message[-half:]}"


def _refusal(message: Message, exc: OSError) -> files.NoRoom | posix.SpawnFailed:
    """Nothing runs.  For want of the host, nothing is left of the try either: it may be made again.

    What else goes wrong is the job's own (it may have put a link where its output goes), unless a
    probe, with which it has nothing in common, finds the same places as bad.
    """
    if files.no_room(exc) or probe(**message["probe"]) is not None:
        files.discard(message["directory"])
        return files.NoRoom(str(exc))
    return posix.SpawnFailed(f"can't make the attempt's files: {exc}", None)


def _environment(message: Message) -> dict[str, str]:
    env: dict[str, str] = message["env"]
    env[JOB_ID] = message["id"]
    env[ATTEMPT] = str(message["attempt"])
    if message["timeout"] is not None:
        env[DEADLINE] = repr(time.time() + message["timeout"])
    return env
