"""One attempt under way: who runs it, who belongs to it, and what it has cost so far."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

from jobd.keeper import files, posix, tree
from jobd.keeper.protocol import ATTEMPT, DEADLINE, JOB_ID, SOCKET_PATH, VERSION

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sized

    from jobd.keeper.protocol import Message

# A process that is younger than this and whose pid is at most so far below the newest one can
# only have descendants in between: within that time no machine goes through all pids.
YOUNG_S = 0.2
NEAR_PIDS = 512
MESSAGE_MAX = 600  # characters
PROBE_FDS = 8  # more than a start takes, with those of `subprocess`


class Mains(dict[int, "Attempt"]):
    """Attempts by the pids of their main processes, and what else the keeper has of children."""

    def __init__(self, warm: Collection[int] = (), awaited: Sized = ()) -> None:
        super().__init__()
        self.warm = warm  # pids of interpreters, which are no attempt's
        self.awaited = awaited  # launches that may have a process which is not known yet


class Attempt:
    __slots__ = (
        "born", "cpu_s", "directory", "id", "is_callable", "killed", "marker", "max_rss", "number",
        "over", "pid", "start_ticks", "started_at", "stderr", "stdout", "stopping", "stray",
    )  # fmt: skip

    def __init__(self, launch: Message, pid: int) -> None:
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
        self.born = time.monotonic()
        self.start_ticks: int | None = None
        with contextlib.suppress(OSError):  # the marker tells, where this can't be seen
            process = tree.read(pid)
            self.start_ticks = process.started if process else None
        self.stopping = False
        self.killed = False
        self.over = False  # its main process has ended, and is not reaped yet
        self.cpu_s = 0.0  # of its orphans
        self.max_rss = 0

    @property
    def key(self) -> tuple[str, int]:
        return self.id, self.number

    # Its processes.

    def signal(self, number: int, mains: Mains) -> None:
        """To the whole tree: the group at once, so that nobody forks away from under it."""
        with contextlib.suppress(PermissionError):  # all of them another user's by setuid
            os.killpg(self.pid, number)
        for process in self.processes(mains):
            if process.living and process.group != self.pid:
                process.signal(number)

    def survivors(self, mains: Mains) -> list[tree.Process]:
        """Who lives on although the main process has ended.  Reaps the dead among its orphans.

        OSError where that can't be seen now.
        """
        if self._is_last_child():
            # Only the dead are left, and mostly that is the main process alone.
            pids: Iterable[int] | None = tree.children()
        elif self._has_no_orphans(mains):
            return []
        else:
            pids = self._possible_pids()
        living = []
        for process in self.processes(mains, pids):
            if process.living:
                living.append(process)
            elif process.parent == os.getpid() and process.pid != self.pid:
                self.add_cost(process.pid)
        return living

    def processes(self, mains: Mains, pids: Iterable[int] | None = None) -> list[tree.Process]:
        """The attempt's whole tree, as it is now; `pids` are the only ones to look at."""
        found = tree.scan(pids)
        keeper = os.getpid()
        roots = [
            process.pid
            for process in found.values()
            if process.parent == keeper
            and (process.pid == self.pid if process.pid in mains else self._owns(process, mains))
        ]
        return tree.descendants(roots, found)

    def add_cost(self, orphan: int) -> None:
        """Reaps a dead orphan of this attempt, on its account."""
        _, _, usage = os.wait4(orphan, os.WNOHANG)
        self.cpu_s += usage.ru_utime + usage.ru_stime
        self.max_rss = max(self.max_rss, posix.max_rss_bytes(usage.ru_maxrss))

    def _owns(self, orphan: tree.Process, mains: Mains) -> bool:
        """Whether an orphan that the kernel gave to the keeper comes from this attempt."""
        if self.pid in (orphan.session, orphan.group):
            return True
        if orphan.pid in mains.warm:
            return False
        marker = tree.marker(orphan.pid)
        if marker is not None:
            return marker == self.marker
        # It left the session with an environment of its own.  Nobody else can be its origin
        # if this attempt is the only one; with several it stays until the last of them ends.
        alone = len(mains) + len(mains.awaited) == 1 and self.stray == "kill"
        return alone and self.start_ticks is not None and orphan.started >= self.start_ticks

    def _is_last_child(self) -> bool:
        """Whether the keeper has no living child at all: then nothing can be left of the tree.

        Asked for children that stopped, the kernel ignores the dead ones, and says ECHILD when
        there are no others.  So a plain job, alone, costs no look at /proc.
        """
        try:
            os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False

    def _has_no_orphans(self, mains: Mains) -> bool:
        """Whether all the keeper's children are known: what is left of a tree whose main process
        has ended would be among them.  No list is believed that lacks the main process.

        The kernel's list may miss some while others leave it; but nobody leaves this one
        before the keeper, which reads it, has reaped him.
        """
        children = tree.children()
        return self.pid in children and all(
            child in mains or child in mains.warm for child in children
        )

    def _possible_pids(self) -> Iterable[int] | None:
        """The only numbers that its descendants can have; None: any."""
        if time.monotonic() - self.born > YOUNG_S:
            return None
        last = tree.last_pid()
        if last is None or not self.pid <= last <= self.pid + NEAR_PIDS:
            return None
        return range(self.pid + 1, last + 1)

    # Its end.

    def reap(self) -> Message:
        """The outcome of the attempt; from now on its pid may be another's."""
        _, status, usage = os.wait4(self.pid, 0)
        return {
            "version": VERSION,
            "id": self.id,
            "attempt": self.number,
            "pid": self.pid,
            "started_at": self.started_at,
            "ended_at": time.time(),
            "exit_code": posix.exit_code(status),
            "signal": posix.exit_signal(status),
            "cpu_time": round(usage.ru_utime + usage.ru_stime + self.cpu_s, 6),
            "max_rss": max(self.max_rss, posix.max_rss_bytes(usage.ru_maxrss)),
            "stdout_bytes": files.size(self.stdout),
            "stderr_bytes": files.size(self.stderr),
            "callable": self.is_callable,
        }


class Prepared:
    """An attempt that is claimed and has its room and files, and no process yet."""

    __slots__ = ("claim", "env", "message", "outputs")

    def __init__(self, message: Message) -> None:
        """Raises Taken, NoRoom (neither leaves anything behind) and SpawnFailed."""
        self.message = message
        self.outputs: list[int] = []
        try:
            self.claim = files.claim(message["directory"])
        except OSError as exc:
            raise refusal(message, exc) from None
        try:
            self.env = _environment(message)
            files.prepare(message["directory"], self.claim, self._call())
            files.sign(self.claim, message["env"][SOCKET_PATH])
            self.outputs.append(files.open_output(message["stdout"]))
            self.outputs.append(files.open_output(message["stderr"]))
        except OSError as exc:
            self.close()
            raise refusal(message, exc) from None

    def spawn(self) -> Attempt:
        """Raises NoRoom, which leaves nothing behind, and SpawnFailed."""
        message, (stdout, stderr) = self.message, self.outputs
        try:
            pid = posix.spawn(
                message["program"], message["argv"], self.env,
                cwd=message["cwd"], stdout=stdout, stderr=stderr,
            )  # fmt: skip
        except OSError as exc:
            raise refusal(message, exc) from None
        return self.begun(pid)

    def begun(self, pid: int) -> Attempt:
        """It runs, and whatever fails from here on, nobody may be told otherwise."""
        attempt = Attempt(self.message, pid)
        # A claim that can't be signed still holds: who settles it knows the processes by their
        # marker.
        with contextlib.suppress(OSError):
            files.sign(
                self.claim, attempt.marker.socket, pid=pid, start_ticks=attempt.start_ticks,
                started_at=attempt.started_at,
            )  # fmt: skip
        return attempt

    def close(self) -> None:
        for fd in (self.claim, *self.outputs):
            os.close(fd)

    def _call(self) -> str | None:
        """What the child finds in its file: for a fork, a second line says how to begin."""
        message = self.message
        call: str | None = message["call"]
        if call is None or message.get("runtime") is None:
            return call
        how = {
            "env": self.env, "cwd": message["cwd"], "limits": message.get("limits") or {},
            "cgroup": message.get("cgroup"),
        }  # fmt: skip
        return f"{call}\n{json.dumps(how)}"


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


def refusal(message: Message, exc: OSError) -> files.NoRoom | posix.SpawnFailed:
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
