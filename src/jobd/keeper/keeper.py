"""The keeper's one loop: requests from a daemon, deaths from the kernel, reports back.

A daemon may go and another may come; what runs does not notice.  The keeper goes when it has
neither a daemon nor a running attempt.  It holds no descriptor per attempt, and sleeps in one
`poll` without a time limit.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections import deque

from jobd.keeper import attempt as attempts
from jobd.keeper import files, posix, tree
from jobd.keeper.forks import Forks
from jobd.keeper.protocol import VERSION, Garbled, Lines, encode
from jobd.keeper.results import read_result

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.attempt import Attempt, Prepared
    from jobd.keeper.protocol import Message
    from jobd.keeper.warm import Asked

REQUESTS_A_TURN = 8  # so that deaths are seen to while many launches wait
CHUNK = 64 * 1024
LOOK_AGAIN_MS = 1000


class Keeper:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        listener.setblocking(False)
        self._daemon: socket.socket | None = None
        self._lines = Lines()
        self._requests: deque[Message] = deque()
        self._unsent = bytearray()
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._forks = Forks(self._report)
        # The same, by pid.
        self._mains = attempts.Mains(self._forks.pids, self._forks.waiting)
        self._lingering: dict[int, Attempt] = {}  # of these, whose main process has ended
        self._blind = False  # somebody could not be seen, and is to be looked for again
        self._woken = _wake_on_child()

    def run(self) -> None:
        """Returns when there is nobody left to serve."""
        while True:
            ready = self._wait()
            if self._woken in ready or self._blind:
                self._see_to_deaths(woken=self._woken in ready)
            self._see_to_forks()
            if self._daemon is not None and self._daemon.fileno() in ready:
                self._receive(self._daemon)
            for _ in range(min(REQUESTS_A_TURN, len(self._requests))):
                self._serve_or_part(self._requests.popleft())
            self._send()
            if self._daemon is not None or self._requests:
                continue
            # Only now that the last one was seen to go: there is one daemon at a time, and a
            # second one waits in the listener's queue.
            if not self._accept() and not self._attempts and not self._forks.waiting:
                self._forks.close()
                return

    def _wait(self) -> set[int]:
        """The descriptors that something can be done with."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if self._daemon is None:
            poll.register(self._listener, select.POLLIN)
        else:
            writing = select.POLLOUT if self._unsent else 0
            poll.register(self._daemon, select.POLLIN | writing)
        for fd in self._forks.fds():
            poll.register(fd, select.POLLIN)
        # Who could not be seen is looked for again: no death need come.
        wait_ms = 0 if self._requests else LOOK_AGAIN_MS if self._blind else None
        due_ms = self._forks.wait_ms()
        if due_ms is not None:
            wait_ms = due_ms if wait_ms is None else min(wait_ms, due_ms)
        return {fd for fd, _ in poll.poll(wait_ms)}

    # The daemon.

    def _accept(self) -> bool:
        try:
            peer, _ = self._listener.accept()
        except BlockingIOError:
            return False
        if not _may_command(peer):
            peer.close()
            return False
        peer.setblocking(False)
        self._daemon, self._lines, self._unsent = peer, Lines(), bytearray()
        self._report({
            "report": "hello", "protocol": VERSION, "pid": os.getpid(),
            "attempts": [
                {"id": a.id, "attempt": a.number, "pid": a.pid, "started_at": a.started_at}
                for a in self._attempts.values()
            ] + [
                {"id": id, "attempt": attempt, "pid": None, "started_at": None}
                for id, attempt in self._forks.waiting
            ],
        })  # fmt: skip
        self._send()
        return True

    def _receive(self, daemon: socket.socket) -> None:
        try:
            chunk = daemon.recv(CHUNK)
            self._requests += self._lines.feed(chunk)
        except BlockingIOError:
            return
        except Garbled as exc:
            _complain(f"the daemon sent {exc}; its connection is closed")
            chunk = b""
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._part()

    def _send(self) -> None:
        if self._daemon is None or not self._unsent:
            return
        try:
            sent = self._daemon.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:  # it went while it was told something; the outcome files know it
            self._part()
            return
        del self._unsent[:sent]

    def _part(self) -> None:
        """What was asked for is still done; what can't be told is in the outcome files."""
        if self._daemon is not None:
            self._daemon.close()
            self._daemon = None
            self._unsent.clear()

    def _report(self, message: Message) -> None:
        if self._daemon is not None:
            self._unsent += encode(message)

    # Requests.

    def _serve_or_part(self, request: Message) -> None:
        try:
            self._serve(request)
        except (KeyError, TypeError, AttributeError) as exc:
            # A daemon's bug must not cost the jobs their keeper.
            _complain(f"not understood, {exc!r}: {sorted(request)}")
            self._requests.clear()
            self._part()

    def _serve(self, request: Message) -> None:
        what = request.get("request")
        key = request.get("id", ""), request.get("attempt", 0)
        running = self._attempts.get(key)
        if what == "launch":
            self._launch(request)
        elif what == "settle":
            files.discard(request["directory"])
        elif what == "probe":
            why = attempts.probe(request["directory"], request["output"])
            self._report({"report": "probed", "why": why})
        elif what == "ping":
            self._report({"report": "pong"})
        elif what == "warm":
            self._forks.warm(request["runtime"])
        elif key in self._forks.waiting:
            self._forks.waiting[key].interfere(request)
        elif running is None:
            return  # it has ended meanwhile, and its report is on the way
        elif what == "stop":
            running.stopping = True
            self._signal(running, signal.Signals[request["signal"]])
        elif what == "kill":
            running.killed = True
            self._signal(running, signal.SIGKILL)
            self._conclude_if_gone(running)

    def _signal(self, running: Attempt, number: int) -> None:
        """To the whole tree, or at least to its group."""
        try:
            running.signal(number, self._mains)
        except OSError as exc:
            _complain(f"not all processes of {running.id} could be signalled: {exc}")

    def _launch(self, request: Message) -> None:
        try:
            prepared = attempts.Prepared(request)
        except (files.Taken, files.NoRoom, posix.SpawnFailed) as exc:
            self._refuse(request, exc)
        else:
            if not self._forks.ask(prepared):
                self._spawn(prepared)

    def _spawn(self, prepared: Prepared) -> None:
        try:
            attempt = prepared.spawn()
        except (files.NoRoom, posix.SpawnFailed) as exc:
            self._refuse(prepared.message, exc)
        else:
            self._begin(attempt)
        finally:
            prepared.close()

    def _begin(self, attempt: Attempt) -> None:
        self._attempts[attempt.key] = self._mains[attempt.pid] = attempt
        self._report({
            "report": "launched", "id": attempt.id, "attempt": attempt.number,
            "pid": attempt.pid, "started_at": attempt.started_at,
        })  # fmt: skip

    def _refuse(self, request: Message, why: Exception) -> None:
        name = {"id": request["id"], "attempt": request["attempt"]}
        if isinstance(why, files.Taken):
            self._report({"report": "taken", **name})
        elif isinstance(why, posix.SpawnFailed):
            self._conclude(request["directory"], attempts.failed(request, why), None)
        else:
            self._report({"report": "no_room", "why": str(why), **name})

    def _see_to_forks(self) -> None:
        for asked, answer in self._forks.answers():
            prepared = asked.prepared
            if answer is None:
                self._spawn(prepared)
            elif isinstance(answer, int):
                self._begin(prepared.begun(answer))
                prepared.close()
            else:
                if isinstance(answer, OSError):
                    answer = attempts.refusal(prepared.message, answer)
                self._refuse(prepared.message, answer)
                prepared.close()
            for request in asked.requests:  # what came while it was launched
                self._serve_or_part(request)

    # Deaths.

    def _see_to_deaths(self, *, woken: bool) -> None:
        """Every child that has ended is reaped, except the main process of a tree that lives."""
        if woken:
            os.read(self._woken, 4096)
        self._blind = False
        while True:
            for lingering in list(self._lingering.values()):
                self._conclude_if_gone(lingering)
            if self._lingering:
                # The kernel would name the same unreaped one again and again.
                self._see_to_each()
                return
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            self._see_to(ended.si_pid)

    def _see_to_each(self) -> None:
        for pid in (*self._mains, *self._forks.pids):
            attempt = self._mains.get(pid)
            if (attempt is None or not attempt.over) and _has_ended(pid):
                self._see_to(pid)

    def _see_to(self, pid: int) -> None:
        """One dead child, still unreaped: nobody else can have its pid yet."""
        if pid not in self._mains:
            if self._forks.died(pid):
                return
            self._see_to_forks()  # it may be one that was announced meanwhile
        attempt = self._mains.get(pid)
        if attempt is not None:
            attempt.over = True
            self._conclude_if_gone(attempt)
            return
        owner = None
        with contextlib.suppress(OSError):  # only its cost is at stake
            orphan = tree.read(pid)
            owner = self._mains.get(orphan.session) if orphan is not None else None
        if owner is not None:
            owner.add_cost(pid)
        else:
            os.waitpid(pid, 0)

    def _conclude_if_gone(self, attempt: Attempt) -> None:
        """Its end is told when its whole tree is gone; until then it lingers.

        A tree that was asked to stop has its grace, also after the main process obeyed;
        the daemon sends `kill` when that is over.  Each death wakes this loop, so that
        whoever forked at the wrong moment is found in the next turn.
        """
        if not attempt.over:
            return
        if (attempt.stray == "kill" or attempt.killed) and self._lives_on(attempt):
            self._lingering[attempt.pid] = attempt
            return
        try:
            result = read_result(attempt.directory) if attempt.is_callable else None
        except OSError as exc:
            self._miss(attempt, exc)
            return
        outcome = attempt.reap()
        del self._attempts[attempt.key], self._mains[attempt.pid]
        self._lingering.pop(attempt.pid, None)
        self._conclude(attempt.directory, outcome, result)

    def _lives_on(self, attempt: Attempt) -> bool:
        """Whether there is more than its main process; that is killed, unless it has its grace."""
        try:
            survivors = attempt.survivors(self._mains)
            if attempt.killed or not attempt.stopping:
                for process in survivors:
                    process.signal(signal.SIGKILL)
        except OSError as exc:
            self._miss(attempt, exc)
            return True
        return bool(survivors)

    def _miss(self, attempt: Attempt, why: OSError) -> None:
        """Descriptors or memory lack.  What can't be seen is not gone: it is looked for again."""
        if not self._blind:
            _complain(f"attempt {attempt.number} of {attempt.id} can't be seen: {why}")
        self._blind = True
        self._lingering[attempt.pid] = attempt

    def _conclude(self, directory: str, outcome: Message, result: str | None) -> None:
        """On disk first: whoever asks later finds it, whatever becomes of the report."""
        try:
            files.conclude(directory, outcome)
        except OSError as exc:  # not for want of room: somebody took the directory away
            _complain(f"an outcome can't be kept: {exc}")
        self._report({"report": "ended", "outcome": outcome, "result": result})


def _wake_on_child() -> int:
    """A descriptor that is readable when a child has ended."""
    posix.default_signals()
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Whoever stops jobd's processes stops the daemon; the keeper goes when nothing needs it.
    # Deaf by a handler, not by SIG_IGN, which its children would inherit.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return readable


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # just forked: not ours before the one in between has ended
        return False


def _may_command(peer: socket.socket) -> bool:
    """The same user only (the directory is 0700, but a mode can be changed)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder) in (0, os.getuid())


def _complain(text: str) -> None:
    """In vain where the log can't be written: no job is to lose its keeper for that."""
    with contextlib.suppress(OSError):
        os.write(2, f"jobd keeper {os.getpid()}: {text}\n".encode(errors="backslashreplace"))
