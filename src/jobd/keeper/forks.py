"""The warm interpreters, and the launches that wait for a fork.

At most one interpreter serves; another key's retires.  Whatever becomes of it, each launch that
it was asked for is answered once: with a pid, with why there is none, or that it is to be
exec'd instead.
"""

from __future__ import annotations

import os
import sys
import time

from jobd.keeper import posix, warm

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.keeper.protocol import Message
    from jobd.keeper.starting import Prepared

    # The pid; why there is no process; or None: it is to be exec'd.
    Answer = tuple[warm.Asked, int | Exception | None]

START_S = 120.0  # for a preload, from a slow disk
READY_S = 0.5  # that a launch waits for an interpreter that has just been started
# That a fork may take, which is some ms, on a machine that is very busy too; then that a sign of
# life may take; and then, from one that lives, that its process may take to enter its directory.
ANSWER_S, SIGN_S, SLOW_S = 2.5, 2.5, 30.0
STEADY_S = 10.0  # who has served so long died of something new
BACKOFF_MAX_S = 60.0
DOUBLINGS_MAX = 6  # of 1 s; a thousand of them are more than a float holds
TRIES = 2


class Forks:
    def __init__(self, report: Callable[[Message], None]) -> None:
        self.pids: set[int] = set()  # of interpreters, those included that are on their way out
        self.waiting: dict[tuple[str, int], warm.Asked] = {}
        self._report = report
        self._interpreter: warm.Interpreter | None = None  # the one that serves
        self._all: dict[int, warm.Interpreter] = {}
        self._answers: list[Answer] = []
        self._runtime: Message | None = None  # what serves, or is to
        self._failures = 0  # in a row, of the present key
        self._not_before = 0.0

    def have(self, runtime: Message | None) -> None:
        """That one serves, or is about to, and no other.  None: none is to."""
        if runtime is None or self._runtime is None or runtime["key"] != self._runtime["key"]:
            self._interpreter = None  # it answers for what it was asked, and is ended then
            self._runtime, self._failures, self._not_before = runtime, 0, 0.0
        self._serving()

    def ask(self, prepared: Prepared) -> bool:
        """Whether there will be an answer; else it is to be exec'd."""
        asked = warm.Asked(prepared)
        if not self._ask(asked):
            return False
        self.waiting[asked.key] = asked
        return True

    def fds(self) -> list[int]:
        return [one.line.fileno() for one in self._all.values() if not one.closed]

    def wait_ms(self) -> int | None:
        """Until somebody's time is up."""
        if self._answers:
            return 0
        due = [asked.due for asked in self.waiting.values()]
        due += [one.born + START_S for one in self._all.values() if _is_starting(one)]
        return max(0, round((min(due) - time.monotonic()) * 1000) + 1) if due else None

    def answers(self) -> list[Answer]:
        """What became of launches since the last time."""
        for one in list(self._all.values()):
            for message in one.receive():
                self._hear(one, message)
        if self.waiting or any(map(_is_starting, self._all.values())):
            self._see_to_the_late()
        for one in list(self._all.values()):
            if not (one is self._interpreter or one.asked or one.closed):
                self._part(one, "retired")
        answers, self._answers = self._answers, []
        for asked, _ in answers:
            self.waiting.pop(asked.key, None)
        return answers

    def died(self, pid: int) -> bool:
        """Whether that was one: then it is reaped."""
        one = self._all.get(pid)
        if one is None:
            return False
        # Its group is signalled before it is reaped, and its number another's.
        status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert status is not None
        killed = status.si_code != os.CLD_EXITED
        self._part(one, f"it was ended by {'signal' if killed else 'code'} {status.si_status}")
        os.waitpid(pid, 0)
        self.pids.discard(pid)
        del self._all[pid]
        return True

    def close(self) -> None:
        """None is left."""
        for pid, one in self._all.items():
            for _ in one.close():
                pass
            os.waitpid(pid, 0)

    # The one that serves.

    def _ask(self, asked: warm.Asked) -> bool:
        """Not of one that serves in another's place: it may have imported other code."""
        key = asked.prepared.message["runtime"]
        if self._runtime is None or key != self._runtime["key"]:
            return False
        serving = self._serving()
        if serving is None or not serving.ask(asked):
            return False
        starting = serving.ready_at is None
        asked.due = time.monotonic() + (READY_S if starting else ANSWER_S)
        return True

    def _serving(self) -> warm.Interpreter | None:
        due = self._runtime is not None and time.monotonic() >= self._not_before
        if self._interpreter is None and due:
            self._start()
        return self._interpreter

    def _start(self) -> None:
        assert self._runtime is not None
        try:
            self._interpreter = one = warm.Interpreter(self._runtime)
        except (OSError, posix.SpawnFailed) as exc:
            self._failed(self._runtime["key"], str(exc))
        else:
            self._all[one.pid] = one
            self.pids.add(one.pid)

    def _failed(self, key: str, why: str) -> None:
        """The next one starts after a while that doubles; until then jobs are exec'd."""
        self._failures += 1
        delay = min(BACKOFF_MAX_S, 2.0 ** min(self._failures - 1, DOUBLINGS_MAX))
        self._not_before = time.monotonic() + delay
        self._say(key, None, why)

    # What it says, and what it fails to say.

    def _hear(self, one: warm.Interpreter, message: Message) -> None:
        asked = one.asked.pop((message.get("id", ""), message.get("attempt", 0)), None)
        if message.get("ready"):
            for unasked in one.is_ready():
                self._answers.append((unasked, None))
            for waiting in one.asked.values():
                waiting.due = time.monotonic() + ANSWER_S
            self._say(one.key, one.pid, None, message["warnings"])
        elif message.get("lives"):
            for doubted in filter(lambda asked: asked.doubted, one.asked.values()):
                doubted.due = time.monotonic() + SLOW_S
        elif "refused" in message:
            self._part(one, message["refused"])
        elif asked is None:
            pass  # of one that was given up
        elif "spawn" in message:
            failure = posix.SpawnFailed(message["spawn"], message["exit_code"])
            self._answers.append((asked, failure))
        elif "lacking" in message:
            errno = message["lacking"]
            self._answers.append((asked, OSError(errno, os.strerror(errno))))
        else:
            self._answers.append((asked, message["pid"]))

    def _see_to_the_late(self) -> None:
        now = time.monotonic()
        for one in list(self._all.values()):
            late = [asked for asked in one.asked.values() if asked.due <= now]
            if not _is_starting(one):
                self._doubt(one, late)
                continue
            for asked in late:
                del one.asked[asked.key]
                self._answers.append((asked, None))
            if one.born + START_S <= now:
                self._part(one, f"it was not ready within {START_S:.0f} s")

    def _doubt(self, one: warm.Interpreter, late: list[warm.Asked]) -> None:
        """Who hangs is given up; who lives, and has a process that is slow, has time."""
        if any(asked.doubted for asked in late):
            self._part(one, "it, or a process of its, did not answer in time")
        elif late:
            one.ask_for_sign()
            for asked in late:
                asked.doubted, asked.due = True, time.monotonic() + SIGN_S

    def _part(self, one: warm.Interpreter, why: str) -> None:
        """No more is heard of it: what it was asked for and has not done is asked of another."""
        for message in one.close():
            self._hear(one, message)
        if one is self._interpreter:
            self._interpreter = None
            self._mourn(one, why)
        unanswered = list(one.asked.values())
        one.asked.clear()
        for asked in unanswered:
            asked.tries += 1
            asked.doubted = False
            if asked.tries >= TRIES or not self._ask(asked):
                self._answers.append((asked, None))

    def _mourn(self, one: warm.Interpreter, why: str) -> None:
        """Who had served, and died once, has a successor at once."""
        now = time.monotonic()
        if one.ready_at is not None and now - one.ready_at >= STEADY_S:
            self._failures = 0
        self._failed(one.key, why)
        if one.ready_at is not None and self._failures == 1:
            self._not_before = now
            self._start()

    def _say(self, key: str, pid: int | None, why: str | None, warnings: list[str] = []) -> None:  # noqa: B006 never changed
        self._report({
            "report": "warm", "key": key, "pid": pid, "why": why, "warnings": warnings,
        })  # fmt: skip


def _is_starting(one: warm.Interpreter) -> bool:
    return one.ready_at is None and not one.closed
