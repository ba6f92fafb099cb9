"""The keeper's one loop: requests from a daemon, deaths from the kernel, reports back.

A daemon may go and another may come; what runs does not notice.  The keeper goes when it has
neither a daemon nor a running attempt.  It holds no descriptor per attempt that runs, and sleeps
in one `poll`: without a time limit, unless somebody is measured, late, or out of sight.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

from jobd.keeper import cgroup, files, forks, limits, line, members, outputs, posix, starting, tree
from jobd.keeper.complaints import complain
from jobd.keeper.protocol import KEEPER, VERSION
from jobd.keeper.results import read_result

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from jobd.keeper.attempt import Attempt
    from jobd.keeper.protocol import Message
    from jobd.keeper.starting import Prepared

REQUESTS_A_TURN = 8  # so that deaths are seen to while many launches wait
LOOK_AGAIN_MS = 1000


class Keeper:
    def __init__(self, listener: socket.socket) -> None:
        self._line = line.Line(listener)
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._forks = forks.Forks(self._line.report)
        self._mains = members.Mains(self._forks.pids, self._forks.waiting)
        self._lingering: dict[int, Attempt] = {}  # of these, whose main process has ended
        self._blind = False  # somebody could not be seen, and is to be looked for again
        self._meters = limits.Meters()
        self._groups = cgroup.find(os.environ.get(KEEPER, ""))
        self._outputs = outputs.Outputs(complain)
        self._woken = _wake_on_child()

    def run(self) -> None:
        """Returns when there is nobody left to serve."""
        while True:
            ready = self._wait()
            self._outputs.look(ready)
            if self._woken in ready or self._blind:
                self._see_to_deaths(woken=self._woken in ready)
            self._see_to_forks()
            self._measure()
            self._line.receive(ready)
            requests = self._line.requests
            for _ in range(min(REQUESTS_A_TURN, len(requests))):
                self._serve_or_part(requests.popleft())
            self._line.send()
            if self._line.stands or requests:
                continue
            # Only now that the last one was seen to go: there is one daemon at a time, and a
            # second one waits in the listener's queue.
            if not (self._meets_another() or self._attempts or self._forks.waiting):
                self._forks.close()
                if self._groups is not None:
                    self._groups.close()
                return

    def _wait(self) -> set[int]:
        """The descriptors that something can be done with."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        self._line.register(poll)
        for fd in self._forks.fds():
            poll.register(fd, select.POLLIN)
        return {fd for fd, _ in poll.poll(self._outputs.register(poll, self._wait_ms()))}

    def _wait_ms(self) -> int | None:
        """Until something is to be done by itself; None: nothing is."""
        if self._line.requests:
            return 0
        waits = [self._forks.wait_ms(), self._meters.wait_ms()]
        if self._blind:  # who could not be seen is looked for again: no death need come
            waits.append(LOOK_AGAIN_MS)
        return min((wait for wait in waits if wait is not None), default=None)

    # Requests.

    def _meets_another(self) -> bool:
        """Whether there is a daemon now; one that has gone while it waited is none."""
        while self._line.accept():
            self._greet()
            if self._line.stands:
                return True
        return False

    def _greet(self) -> None:
        self._line.report({
            "report": "hello", "protocol": VERSION, "pid": os.getpid(),
            "attempts": [
                {"id": a.id, "attempt": a.number, "pid": a.pid, "started_at": a.started_at}
                for a in self._attempts.values()
            ] + [
                {"id": id, "attempt": attempt, "pid": None, "started_at": None}
                for id, attempt in self._forks.waiting
            ],
        })  # fmt: skip
        self._line.send()

    def _serve_or_part(self, request: Message) -> None:
        try:
            self._serve(request)
        except (KeyError, TypeError, AttributeError) as exc:
            # A daemon's bug must not cost the jobs their keeper.
            complain(f"not understood, {exc!r}: {sorted(request)}")
            self._line.requests.clear()
            self._line.part()

    def _serve(self, request: Message) -> None:
        what = request.get("request")
        key = request.get("id", ""), request.get("attempt", 0)
        running = self._attempts.get(key)
        if what == "launch":
            self._launch(request)
        elif what == "settle":
            files.settle(request["directory"])
            if self._groups is not None:
                self._groups.discard(os.path.basename(request["directory"]))
        elif what == "probe":
            why = starting.probe(request["directory"], request["output"])
            self._line.report({"report": "probed", "why": why})
        elif what == "ping":
            self._line.report({"report": "pong"})
        elif what == "warm":
            self._forks.have(request["runtime"])
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
            complain(f"not all processes of {running.id} could be signalled: {exc}")

    def _launch(self, request: Message) -> None:
        try:
            prepared = starting.Prepared(request, self._groups)
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
            self._begin(prepared, attempt)
        finally:
            prepared.close()

    def _begin(self, prepared: Prepared, attempt: Attempt) -> None:
        self._outputs.begin(prepared.message, attempt.pid, prepared.outputs)
        self._attempts[attempt.key] = self._mains[attempt.pid] = attempt
        self._meters.add(attempt)
        self._line.report({
            "report": "launched", "id": attempt.id, "attempt": attempt.number,
            "pid": attempt.pid, "started_at": attempt.started_at,
        })  # fmt: skip

    def _refuse(self, request: Message, why: Exception) -> None:
        if isinstance(why, OSError):
            why = starting.refusal(request, why)
        name = {"id": request["id"], "attempt": request["attempt"]}
        if isinstance(why, files.Taken):
            self._line.report({"report": "taken", **name})
        elif isinstance(why, posix.SpawnFailed):
            self._conclude(request["directory"], starting.failed(request, why), None)
        else:
            self._line.report({"report": "no_room", "why": str(why), **name})

    def _see_to_forks(self) -> None:
        for asked, answer in self._forks.answers():
            prepared = asked.prepared
            if answer is None:
                self._spawn(prepared)
            elif isinstance(answer, int):
                self._begin(prepared, prepared.begun(answer))
                prepared.close()
            else:
                self._refuse(prepared.message, answer)
                prepared.close()
            for request in asked.requests:  # what came while it was launched
                self._serve_or_part(request)

    # Limits.

    def _measure(self) -> None:
        """Whoever goes beyond its limits is killed, and its outcome says why."""
        for attempt in self._meters.beyond(self._mains):
            attempt.killed = True
            self._signal(attempt, signal.SIGKILL)

    # Deaths.

    def _see_to_deaths(self, *, woken: bool) -> None:
        """Every child that has ended is reaped, except the main process of a tree that lives."""
        if woken:
            os.read(self._woken, 4096)
            if self._groups is not None:
                self._groups.discard_left()
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
        pids = {*self._mains, *self._forks.pids}
        with contextlib.suppress(OSError):  # those that can't be told of are reaped later
            pids.update(tree.children())  # other attempts' orphans, and what was left of ended ones
        for pid in pids:
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
        with contextlib.suppress(ChildProcessError):  # a fork that was seen to has reaped it
            if owner is not None:
                owner.add_cost(pid)
            else:
                os.waitpid(pid, os.WNOHANG)

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
        self._outputs.end(attempt.key)
        outcome = attempt.reap(self._mains)
        del self._attempts[attempt.key], self._mains[attempt.pid]
        self._lingering.pop(attempt.pid, None)
        self._meters.drop(attempt)
        self._conclude(attempt.directory, outcome, result)

    def _lives_on(self, attempt: Attempt) -> bool:
        """Whether there is more than its main process; that is killed, unless it has its grace."""
        try:
            survivors = attempt.survivors(self._mains)
            if survivors and (attempt.killed or not attempt.stopping):
                attempt.signal(signal.SIGKILL, self._mains)
        except OSError as exc:
            self._miss(attempt, exc)
            return True
        return bool(survivors)

    def _miss(self, attempt: Attempt, why: OSError) -> None:
        """Descriptors or memory lack.  What can't be seen is not gone: it is looked for again."""
        if not self._blind:
            complain(f"attempt {attempt.number} of {attempt.id} can't be seen: {why}")
        self._blind = True
        self._lingering[attempt.pid] = attempt

    def _conclude(self, directory: str, outcome: Message, result: str | None) -> None:
        """On disk first: whoever asks later finds it, whatever becomes of the report."""
        try:
            files.conclude(directory, outcome)
        except OSError as exc:  # not for want of room: somebody took the directory away
            complain(f"an outcome can't be kept: {exc}")
        self._line.report({"report": "ended", "outcome": outcome, "result": result})


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
