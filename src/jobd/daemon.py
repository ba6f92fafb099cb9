"""The one loop.  Decide, record, act, in that order and nowhere else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from jobd.clock import Clock
from jobd.core.allow import Admitted, Refused
from jobd.core.commands import Command, Keep, Retry, Submit
from jobd.core.decision import Decision, Effect, Fact
from jobd.core.engine import Engine
from jobd.core.job import Job
from jobd.core.moment import Moment
from jobd.core.promises import (
    RETRY_BYTES,
    START_LEAVES_BYTES,
    SUBMISSION_LEAVES_BYTES,
    submission_bytes,
)  # fmt: skip
from jobd.core.records import Record
from jobd.errors import Draining, RequestError, StorageError

T = TypeVar("T")

# In one commit; they bound the wait of the first caller, and the memory that a line takes.
BATCH_MAX: Final = 1024  # calls
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024  # of submissions; a single larger one goes alone


class Journal(Protocol):
    async def append(self, seq: int, records: Sequence[Record], promised_bytes: int) -> None:
        """Returns when they are on disk.  Raises JournalFailed: memory is ahead of the disk.

        From then on `promised_bytes` of room are not to be given away.
        """

    def has_room(self, size_bytes: int, *, leave_bytes: int = 0, compacting: bool = False) -> bool:
        """Whether the next commit can take that much beside what was promised, and the file
        system keeps `leave_bytes` for others."""


@dataclass(slots=True)
class Call:
    """Something to decide, and the place where its answer will be."""

    decide: Callable[[Moment], Decision]
    answer: asyncio.Future[Any] | None
    size_bytes: int = 0  # about what it adds to the commit, if that may be much


@dataclass(slots=True)
class Daemon:
    engine: Engine
    journal: Journal
    clock: Clock
    admit: Callable[[Job], Admitted | Refused]  # is a job still on the allow-list?
    act: Callable[[Effect], None]  # never waits
    announce: Callable[[Sequence[Fact]], None]  # never waits
    _accepted_bytes: int = 0  # of room, for the commit that is being made
    _inbox: deque[Call] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    async def run(self) -> None:
        """Serve until closed.

        The engine is touched by this task alone, so it needs no lock.  A JournalFailed is
        deliberately not caught: memory is ahead of the disk, and the only honest thing left
        is to stop and replay.
        """
        alarm = self.clock.alarm(self._wake.set)
        try:
            while not self._closed or self._inbox:
                await self.turn()
                if not self._inbox and not self._closed:
                    alarm.set(self.engine.next_deadline())
                    await self._wake.wait()
        finally:
            alarm.close()

    async def turn(self) -> None:
        """One batch, from the inbox to its answers."""
        self._wake.clear()
        calls = self._next_batch()
        now = self.clock.now()
        self._accepted_bytes = 0

        outcomes = [self._decide(call, now) for call in calls]
        decisions = [outcome for outcome in outcomes if isinstance(outcome, Decision)]
        decisions.append(self.engine.tick(now, self.admit, self._has_room))

        facts = [fact for decision in decisions for fact in decision.facts]
        if facts:
            records = [fact.record for fact in facts]
            await self.journal.append(facts[0].seq, records, self.engine.promised_bytes)

        # From here on the world may know.
        self.announce(facts)
        for decision in decisions:
            for effect in decision.effects:
                self.act(effect)
        for call, outcome in zip(calls, outcomes, strict=True):
            _answer(call, outcome)

    # Doors.

    async def execute(self, command: Command) -> Any:
        """The decision's answer, once it is on disk.  Raises RequestError; then nothing changed."""
        size_bytes = 0
        if isinstance(command, Submit):
            size_bytes = sum(submission_bytes(one.call, one.policy) for one in command.submissions)
        return await self._call(partial(self._permitted, command, size_bytes), size_bytes)

    async def ask(self, question: Callable[[Engine, Moment], T]) -> T:
        """A reading, answered when the batch that it saw is on disk.  It must be quick."""

        def read(now: Moment) -> Decision:
            try:
                return Decision(answer=(question(self.engine, now), None))
            except Exception as fault:  # noqa: BLE001 it has changed nothing: its asker's alone
                return Decision(answer=(None, fault))

        answer: T
        answer, fault = await self._call(read)
        if fault is not None:
            raise fault
        return answer

    def tell(self, command: Command) -> None:
        """What the supervisor saw.  Nobody waits for the answer."""
        self._put(Call(partial(self.engine.decide, command), None))

    def close(self) -> None:
        """What has arrived is done; who calls later is told to come again, for no sync follows."""
        self._closed = True
        self._wake.set()

    def _next_batch(self) -> list[Call]:
        calls: list[Call] = []
        size_bytes = 0
        while self._inbox and len(calls) < BATCH_MAX:
            size_bytes += self._inbox[0].size_bytes
            if calls and size_bytes > BATCH_BYTES_MAX:
                break
            calls.append(self._inbox.popleft())
        return calls

    def _permitted(self, command: Command, size_bytes: int, now: Moment) -> Decision:
        """What can fail for want of space is refused before it is accepted."""
        match command:
            case Submit():
                has_room = self._has_room(size_bytes, leave_bytes=SUBMISSION_LEAVES_BYTES)
            case Retry():
                has_room = self._has_room(RETRY_BYTES, leave_bytes=SUBMISSION_LEAVES_BYTES)
            case Keep():
                has_room = self._has_room(2 * self._weight(command), compacting=True)
            case _:  # jobs were promised that
                has_room = True
        if not has_room:
            raise StorageError(
                "no room left on the journal's file system; nothing was stored: free some first"
            )
        return self.engine.decide(command, now)

    def _has_room(
        self, size_bytes: int, *, leave_bytes: int = START_LEAVES_BYTES, compacting: bool = False
    ) -> bool:
        accepted_bytes = self._accepted_bytes + size_bytes
        if not self.journal.has_room(
            accepted_bytes, leave_bytes=0 if compacting else leave_bytes, compacting=compacting
        ):
            return False
        self._accepted_bytes = accepted_bytes
        return True

    def _weight(self, command: Keep) -> int:
        """About how many bytes these jobs take when they are said again; perhaps more."""
        jobs = map(self.engine.jobs.get, command.ids)
        return sum(job.weight() for job in jobs if job is not None)

    async def _call(self, decide: Callable[[Moment], Decision], size_bytes: int = 0) -> Any:
        if self._closed:
            raise Draining("the daemon is stopping; ask again when it is back")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(Call(decide, answer, size_bytes))
        return await answer

    def _put(self, call: Call) -> None:
        self._inbox.append(call)
        self._wake.set()

    def _decide(self, call: Call, now: Moment) -> Decision | RequestError:
        try:
            return call.decide(now)
        except RequestError as refusal:
            return refusal


def _answer(call: Call, outcome: Decision | RequestError) -> None:
    # A caller that went away has cancelled its future.
    if call.answer is None or call.answer.done():
        assert call.answer is not None or isinstance(outcome, Decision), outcome
        return
    if isinstance(outcome, RequestError):
        call.answer.set_exception(outcome)
    else:
        call.answer.set_result(outcome.answer)
