"""Starts an attempt: claim, room, files, group, and then a process, by exec or by fork."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

from jobd.keeper import attempt as attempts
from jobd.keeper import files, limits, posix
from jobd.keeper.protocol import ATTEMPT, DEADLINE, JOB_ID, SOCKET_PATH, VERSION

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.attempt import Attempt
    from jobd.keeper.cgroup import Group, Groups
    from jobd.keeper.protocol import Message

MESSAGE_MAX = 600  # characters
PROBE_FDS = 8  # more than a start takes, with those of `subprocess`


class Prepared:
    """An attempt that is claimed and has its room and files, and no process yet."""

    __slots__ = ("_runs", "claim", "env", "group", "message", "outputs")

    def __init__(self, message: Message, groups: Groups | None = None) -> None:
        """Raises Taken, NoRoom (neither leaves anything behind) and SpawnFailed."""
        self.message = message
        self.outputs: list[int] = []
        self.group: Group | None = None
        self._runs = False
        try:
            self.claim = files.claim(message["directory"])
        except OSError as exc:
            raise refusal(message, exc) from None
        try:
            self.env = _environment(message)
            if groups is not None:
                self.group = _group(message, groups)
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
            with self._entered():
                pid = posix.spawn(
                    message["program"], message["argv"], self.env, cwd=message["cwd"],
                    stdout=stdout, stderr=stderr,
                    before_exec=limits.before_exec(message.get("limits") or {}),
                )  # fmt: skip
        except OSError as exc:
            raise refusal(message, exc) from None
        return self.begun(pid)

    def begun(self, pid: int) -> Attempt:
        """It runs, and whatever fails from here on, nobody may be told otherwise."""
        self._runs = True
        if self.group is not None:
            self.group.limit(self.message.get("limits") or {})
        attempt = attempts.Attempt(self.message, pid, self.group)
        # A claim that can't be signed still holds: who settles it knows the processes by their
        # marker.
        with contextlib.suppress(OSError):
            files.sign(
                self.claim, attempt.marker.socket, pid=pid, start_ticks=attempt.start_ticks,
                started_at=attempt.started_at,
            )  # fmt: skip
        return attempt

    def close(self) -> None:
        """What an attempt under way has no need of is gone; if none is, its group too."""
        for fd in (self.claim, *self.outputs):
            os.close(fd)
        if self.group is not None and not self._runs:
            self.group.remove()

    def _entered(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.group is None else self.group.entered()

    def _call(self) -> str | None:
        """What the child finds in its file: for a fork, a second line says how to begin."""
        message = self.message
        call: str | None = message["call"]
        if call is None or message.get("runtime") is None:
            return call
        how = {
            "env": self.env, "cwd": message["cwd"], "limits": message.get("limits") or {},
            "cgroup": None if self.group is None else self.group.path,
        }  # fmt: skip
        return f"{call}\n{json.dumps(how)}"


def _group(message: Message, groups: Groups) -> Group | None:
    """What lacks for a group is no reason not to run: there is another way to know the members."""
    with contextlib.suppress(OSError):
        return groups.make(os.path.basename(message["directory"]))
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
        files.settle(directory)
        files.settle(os.path.dirname(output), os.path.basename(output))
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
        files.settle(message["directory"])
        return files.NoRoom(str(exc))
    return posix.SpawnFailed(f"the attempt can't be started: {exc}", None)


def _environment(message: Message) -> dict[str, str]:
    env: dict[str, str] = message["env"]
    env[JOB_ID] = message["id"]
    env[ATTEMPT] = str(message["attempt"])
    if message["timeout"] is not None:
        env[DEADLINE] = repr(time.time() + message["timeout"])
    return env
