"""jobd in a box: the real loop, engine, store and recovery; simulated time, disk and children."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from simulated.disk import ROOMY, Disk
from simulated.host import Host, KeeperDied, Supervisor
from simulated.promises import Promises, account

from jobd.compaction import Compaction
from jobd.core import ids
from jobd.core.allow import Admitted, Refused
from jobd.core.commands import (
    Cancel,
    Command,
    Drain,
    Progress,
    Remove,
    Retry,
    StopAll,
    Submission,
    Submit,
)  # fmt: skip
from jobd.core.decision import Fact
from jobd.core.engine import Engine
from jobd.core.job import FINAL, Job, Policy
from jobd.core.records import Record, StopRequested
from jobd.core.rules import Rules
from jobd.daemon import Daemon
from jobd.errors import JournalFailed, RequestError
from jobd.journal.recovery import Reading
from jobd.journal.store import DIRECTORY, Store

RULES = Rules(
    max_running=3, max_pending=40, max_interruptions=2, queue_max={"narrow": 1},
    completed_s=900.0, failed_s=1500.0, cancelled_s=0.0, max_jobs=25,
)  # fmt: skip
SEGMENT_BYTES = 6_000
STEPS = 80
CALM_TURNS = 3_000


class NoRoom(Exception):
    """Compaction would wait."""


class Killed(Exception):
    """The daemon, at this very step."""


DEATHS = (Killed, JournalFailed)  # the second: a broken promise stops the daemon


class World:
    def __init__(self, seed: int, directory: Path) -> None:
        self.dice = random.Random(seed)
        self.danger = 0.0  # that a step of the daemon is its last
        self.keeper_danger = 0.0
        self.promises = Promises()
        self.disk = Disk(self.dice, self._fuse)
        self.host = Host(self.dice, self._keeper_fuse, self._spawned)
        self.state_dir = directory / "state"
        (self.state_dir / DIRECTORY).mkdir(parents=True, mode=0o700)
        (self.state_dir / "jobd-state").touch()
        self.store: Store | None = None
        self._sent: list[Submission] = []
        self._heard_at: dict[tuple[str, int], float] = {}  # of progress, when: by the boot clock

    async def live(self) -> None:
        """A life with every accident; then calm weather, in which everything settles."""
        await self.start()
        happenings = [
            (self.submit, 8), (self.repeat, 3), (self.cancel, 2), (self.retry, 2), (self.remove, 1),
            (self.progress, 3),
            (self.time_passes, 12), (self.clock_is_set, 1), (self.drain, 1), (self.stop_all, 1),
            (self.compact, 2), (self.disk_fills, 1), (self.host_lacks, 1), (self.keeper_dies, 1),
            (self.daemon_dies, 1), (self.power_cut, 1), (self.look_at_the_journal, 1),
        ]  # fmt: skip
        doings, weights = zip(*happenings, strict=True)
        for _ in range(STEPS):
            self.danger = self.dice.choice([0.0, 0.0, 0.01, 0.05])
            self.keeper_danger = self.dice.choice([0.0, 0.0, 0.1])
            [happening] = self.dice.choices(doings, weights)
            self.disk.ailing = self.dice.random() < 0.03
            try:
                await happening()
            except DEATHS:
                await self.daemon_dies()
        await self.calm()

    async def calm(self) -> None:
        self.danger = self.keeper_danger = 0.0
        self.disk.free, self.disk.ailing, self.host.lacks = ROOMY, False, None
        await self.ask(Drain(on=False))
        for _ in range(CALM_TURNS):
            if all(job.status in FINAL for job in self.engine.jobs):
                break
            await self.time_passes()
        else:
            raise AssertionError("a job waits for something that will never happen")
        assert not self.host.processes
        await self.look_at_the_journal()

    # What clients do.

    async def submit(self) -> None:
        batch = tuple(self._submission() for _ in range(self.dice.choice([1, 1, 1, 4])))
        await self.ask(Submit(batch))

    async def repeat(self) -> None:
        """Somebody who got no answer, or does not believe it, asks again."""
        if self._sent:
            await self.ask(Submit((self.dice.choice(self._sent),)))

    async def cancel(self) -> None:
        await self._about(lambda job: Cancel(job, force=self.dice.random() < 0.3))

    async def retry(self) -> None:
        await self._about(lambda job: Retry(job, self.dice.choice([0.0, 15.0])))

    async def remove(self) -> None:
        await self._about(Remove)

    async def progress(self) -> None:
        running = [job for job in self.engine.running.values() if job.running is not None]
        if running:
            job = self.dice.choice(running)
            key = job.id, job.attempt
            self._heard_at[key] = self.host.boot
            await self.ask(Progress(job.id, self.dice.random(), "x" * 255))

    async def drain(self) -> None:
        await self.ask(Drain(on=self.dice.random() < 0.5))

    async def stop_all(self) -> None:
        await self.ask(StopAll())

    async def compact(self) -> None:
        compaction = Compaction(self.daemon, self._store, self._no_pause)
        while self._store.sealed and self.dice.random() < 0.7:
            work = asyncio.ensure_future(compaction._drop_oldest())
            while not work.done():
                await asyncio.sleep(0)
                if self.daemon._inbox:
                    await self.turn([work])
            try:
                work.result()
            except NoRoom:
                return

    async def _no_pause(self) -> None:
        raise NoRoom

    # What happens by itself.

    async def time_passes(self) -> None:
        """To the next thing that comes due, or not quite so far."""
        waits = [self.host.until_s(self.engine.next_deadline()), self.host.next_end_s()]
        wait_s = min((wait for wait in waits if wait is not None), default=60.0)
        self.host.pass_time(wait_s * self.dice.choice([1.0, 1.0, 1.0, 0.5]))
        await self.turn()

    async def clock_is_set(self) -> None:
        self.host.wall += self.dice.choice([-3600.0, -5.0, 5.0, 3600.0])
        await self.turn()

    async def disk_fills(self) -> None:
        """Somebody else takes all that is left, or gives it back."""
        full = self.disk.free < 1 << 30
        self.disk.free = ROOMY if full else self.dice.choice([0, 0, 3_000, 100_000])

    async def host_lacks(self) -> None:
        self.host.lacks = None if self.host.lacks else "Cannot allocate memory"

    async def keeper_dies(self) -> None:
        self.host.keeper_dies()
        await self.turn()

    async def daemon_dies(self) -> None:
        self._end_daemon()
        await self.start()

    async def power_cut(self) -> None:
        self._end_daemon()
        self.disk.power_cut()
        self.host.power_cut()
        self.promises.kept_outcomes &= self.host.outcomes.keys()
        await self.start()

    async def look_at_the_journal(self) -> None:
        """A twin that reads the same journal knows the same."""
        twin = Engine(RULES, boot_id=self.host.boot_id)
        for _, (seq, kept) in Reading(self.state_dir / DIRECTORY):
            twin.replay(seq, kept)
        assert account(twin) == account(self.engine)

    # The daemon.

    async def start(self) -> None:
        """A daemon is up, after however many tries."""
        while True:
            try:
                self._start()
                break
            except DEATHS:
                self._end_daemon()
                if self.dice.random() < 0.3:
                    self.disk.free = ROOMY
                if self.dice.random() < 0.3:
                    self.disk.power_cut()
                    self.host.power_cut()
                    self.promises.kept_outcomes &= self.host.outcomes.keys()
        try:
            await self.turn()
        except DEATHS:
            await self.daemon_dies()

    def _start(self) -> None:
        self.store = store = Store.open(
            self.state_dir, fsync="always", interval_s=1.0, segment_bytes=SEGMENT_BYTES,
            files=self.disk,
        )  # fmt: skip
        commits = list(store.recovered)
        self.promises.recovered(commits)
        self.engine = Engine(RULES, boot_id=self.host.boot_id)
        for seq, kept in commits:
            self.engine.replay(seq, kept)
        self.engine.seq = store.next_seq - 1
        store.promise(self.engine.promised_bytes, self.engine.live_bytes)
        self.promises.check(self.engine)
        self.supervisor = Supervisor(
            self.host, lambda command: self.daemon.tell(command), self._fuse
        )
        self.daemon = Daemon(
            engine=self.engine, journal=self, clock=self.host, admit=self._admit,  # type: ignore[arg-type]
            act=self.supervisor.act, announce=self._announce,
        )  # fmt: skip
        self.supervisor.start(list(self.engine.running.values()))
        for effect in self.engine.adopt(self.host.now()):
            self.supervisor.act(effect)

    def _end_daemon(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None
        self.disk.process_died()
        if self.host.keeper is not None:  # not all that it wrote to the socket was flushed
            asked = self.host.keeper.asked
            del asked[self.dice.randint(0, len(asked)) :]

    async def turn(self, callers: Sequence[asyncio.Future[Any]] = ()) -> None:
        """The keeper works, the daemon hears of it, and decides.  Killed: what waits is dropped."""
        try:
            self.host.work()
            self.promises.kept_outcomes |= self.host.outcomes.keys()
            self.supervisor.pump()
            await self.daemon.turn()
            self.host.work()
            self.promises.kept_outcomes |= self.host.outcomes.keys()
        except DEATHS:
            await asyncio.sleep(0)  # who has been answered by now has been answered
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            raise
        self.promises.after_turn(self.engine, self.host.now())
        self.promises.check(self.engine)

    async def ask(self, command: Command) -> None:
        """As a client does: what matters is what it was told before the daemon died."""
        call = asyncio.ensure_future(self._asked(command))
        await asyncio.sleep(0)
        await self.turn([call])
        await call

    async def _asked(self, command: Command) -> None:
        if isinstance(command, Submit):
            self._sent += command.submissions
        try:
            answer = await self.daemon.execute(command)
        except RequestError:
            return  # a refusal is a fine answer
        if isinstance(command, Submit):
            for submission, submittal in zip(command.submissions, answer, strict=True):
                self.promises.answered(submission.stem, submittal.id, duplicate=submittal.duplicate)

    async def append(self, seq: int, kept: Sequence[Record], promised_bytes: int) -> None:
        self.promises.appending(seq, kept)
        await self._store.append(seq, kept, promised_bytes)
        self._store.due(self.engine.live_bytes)

    def has_room(self, size_bytes: int, **how: Any) -> bool:
        return self._store.has_room(size_bytes, **how)

    def _announce(self, facts: Sequence[Fact]) -> None:
        self.promises.announced(facts)
        for fact in facts:
            if isinstance(fact.record, StopRequested) and fact.record.why == "idle":
                self._check_idle(fact.job, fact.attempt)

    def _check_idle(self, job: Job, attempt: int) -> None:
        key = job.id, attempt
        looked_at = self.host.looked_at[key]
        silent_since = looked_at - (job.policy.idle_timeout or 0.0)
        assert self._heard_at.get(key, 0.0) <= silent_since + 1e-6, "it had told of progress"
        for process in self.host.processes.values():
            if process.key == key:
                wrote_at = process.wrote_at(looked_at)
                assert wrote_at is None or wrote_at <= silent_since + 1e-6, "it had written"

    def _admit(self, job: Job) -> Admitted | Refused:
        refused = job.policy.priority == 3 and job.attempt > 0
        return Refused("not any more") if refused else Admitted("/bin/true")

    # Chance.

    def _fuse(self) -> None:
        if self.danger and self.dice.random() < self.danger:
            raise Killed

    def _keeper_fuse(self) -> None:
        if self.keeper_danger and self.dice.random() < self.keeper_danger:
            raise KeeperDied

    def _spawned(self, key: tuple[str, int]) -> None:
        living = [each.key for each in self.host.processes.values() if each.key != key]
        self.promises.spawning(key, living)

    async def _about(self, command: Callable[[str], Command]) -> None:
        jobs = sorted(job.id for job in self.engine.jobs)
        if jobs:
            await self.ask(command(self.dice.choice(jobs)))

    def _submission(self) -> Submission:
        dice = self.dice
        request_id = f"request {len(self._sent)} {dice.random()}"
        policy = Policy(
            queue=dice.choice(["default", "narrow"]), priority=dice.randint(1, 3),
            retry_attempts=dice.randint(0, 2), retry_delay=dice.choice([0.0, 10.0]),
            retry_jitter=dice.choice([0.0, 0.5]), timeout=dice.choice([None, 20.0]),
            kill_grace=dice.choice([0.0, 5.0]), idle_timeout=dice.choice([None, None, 6.0]),
            no_retry_on=dice.choice([(), (1,), ("ValueError",)]),
            on_interrupt=dice.choice(["retry", "retry", "fail"]),
        )  # fmt: skip
        return Submission(
            stem=ids.stem("uid:1000", request_id), by="uid:1000", policy=policy,
            call=json.dumps({"command": ["true"]}, separators=(",", ":")).encode(),
            delay_s=dice.choice([0.0, 0.0, 30.0]),
        )  # fmt: skip

    @property
    def _store(self) -> Store:
        assert self.store is not None
        return self.store
