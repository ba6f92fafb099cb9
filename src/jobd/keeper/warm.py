"""One warm interpreter, on the keeper's side: its process, and the line to it.

Nothing here waits: what it does not say in time is its end.  When that is decided, no process
which has not told its pid by then will ever run a job's code (`close`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time

from jobd.keeper import posix
from jobd.keeper.protocol import ATTEMPT, JOB_ID, KEEPER, SOCKET_PATH, Garbled, decode

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.keeper.protocol import Message
    from jobd.keeper.starting import Prepared

CHILD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "child/main.py")
PACKET_MAX = 64 * 1024
TITLE_ROOM = 120  # bytes, of what a job's process shows as its name
MARKER_ROOM = 640  # bytes, of what it shows as its first environment: a path, mostly
CALL_MAX = 64 * 1024  # bytes; larger ones aren't read for their name


class Asked:
    """A launch that an interpreter is to fork, and has not forked yet."""

    __slots__ = ("doubted", "due", "prepared", "requests", "tries")

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.due = 0.0
        self.tries = 0
        self.doubted = False  # whether its interpreter lives: it was asked, see Forks
        self.requests: list[Message] = []  # `stop` and `kill`, for when it has a process

    @property
    def key(self) -> tuple[str, int]:
        message = self.prepared.message
        return message["id"], message["attempt"]

    def interfere(self, request: Message) -> None:
        self.requests.append(request)


class Interpreter:
    __slots__ = (
        "asked", "born", "closed", "key", "line", "marker_room", "pid", "ready_at",
    )  # fmt: skip

    def __init__(self, runtime: Message) -> None:
        """Started; it says later whether it can serve.  Raises OSError and SpawnFailed."""
        self.key: str = runtime["key"]
        self.born = time.monotonic()
        self.ready_at: float | None = None
        self.closed = False
        self.asked: dict[tuple[str, int], Asked] = {}
        env, self.marker_room = _environment(runtime["env"])
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program, fd = runtime["program"], theirs.fileno()
        try:
            self.line.setblocking(False)
            self.line.send(
                json.dumps({"path": runtime["path"], "preload": runtime["preload"]}).encode()
            )
            self.pid = posix.spawn(
                program, [program, "-I", CHILD, "warm", str(fd), " " * TITLE_ROOM], env,
                cwd="/", stdout=2, stderr=2, passed=(fd,),
            )  # fmt: skip
        except BaseException:
            self.line.close()
            raise
        finally:
            theirs.close()

    def ask(self, asked: Asked) -> bool:
        """False: it was not asked, and can't be."""
        marker = _marker(asked.prepared)
        if len(marker) >= self.marker_room:
            return False
        if self.ready_at is not None and not self._send(asked, marker):
            return False
        self.asked[asked.key] = asked
        return True

    def ask_for_sign(self) -> None:
        """`lives` is the answer, in time or never."""
        with contextlib.suppress(OSError):
            self.line.send(b"{}")

    def is_ready(self) -> Iterator[Asked]:
        """From now on it serves.  Those that it can't be asked for."""
        self.ready_at = time.monotonic()
        for asked in list(self.asked.values()):
            if not self._send(asked, _marker(asked.prepared)):
                del self.asked[asked.key]
                yield asked

    def _send(self, asked: Asked, marker: bytes) -> bool:
        message = asked.prepared.message
        packet = json.dumps({
            "id": message["id"], "attempt": message["attempt"], "directory": message["directory"],
            "offset": len(message["call"].encode("utf-8", "surrogateescape")) + 1,
            "title": _title(message), "marker": os.fsdecode(marker),
        }).encode()  # fmt: skip
        try:
            socket.send_fds(self.line, [packet], asked.prepared.outputs)
        except OSError:  # it does not read: it hangs, or is stopped, or has just died
            return False
        return True

    def receive(self) -> Iterator[Message]:
        """Whatever it, and the processes that it forked, have said until now."""
        while not self.closed:
            try:
                packet = self.line.recv(PACKET_MAX)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:  # nobody has the other end any more
                yield from self.close()
                return
            yield from _understood(packet)

    def close(self) -> Iterator[Message]:
        """It is killed.  What was said by now is yielded; what was not, never will be: those of its
        processes that have not told their pid can't any more, and end without having run anything.
        """
        if self.closed:
            return
        self.closed = True
        # Its group: those in it are its own, and half-made ones of jobs that told nothing yet.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_RD)  # from here on, their sends fail
        with contextlib.suppress(OSError):
            while packet := self.line.recv(PACKET_MAX):
                yield from _understood(packet)
        self.line.close()


def _understood(packet: bytes) -> Iterator[Message]:
    with contextlib.suppress(Garbled):  # a job's process has it only before its code runs
        yield decode(packet)


def _environment(env: dict[str, str]) -> tuple[dict[str, str], int]:
    """With, at its end, what a forked process overwrites: until then it is nobody's, and whoever
    ends this keeper ends it, too.  And how many bytes those are."""
    own = {
        KEEPER: os.environ.get(KEEPER, ""), SOCKET_PATH: "warm", JOB_ID: "warm", ATTEMPT: "0",
        "JOBD_ROOM": "-" * MARKER_ROOM,
    }  # fmt: skip
    kept = {name: value for name, value in env.items() if not name.startswith("JOBD_")}
    room = sum(len(os.fsencode(f"{name}={value}")) + 1 for name, value in own.items())
    return kept | own, room


def _marker(prepared: Prepared) -> bytes:
    names = (SOCKET_PATH, JOB_ID, ATTEMPT)
    return b"\0".join(os.fsencode(f"{name}={prepared.env[name]}") for name in names)


def _title(message: Message) -> str:
    if len(message["call"]) > CALL_MAX:
        return f"jobd: {message['id']}"
    call = json.loads(message["call"])
    method = call.get("method")
    return f"jobd: {call['target']}@{method}" if method else f"jobd: {call['target']}"
