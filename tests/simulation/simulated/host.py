"""A machine: two clocks, processes, a keeper that can die at every step, and a supervisor.

The keeper and the settling of attempts are modelled on DESIGN 1.9 and 1.10: claim before the
spawn, pid into the claim after it, outcome before the report; what an old daemon still asked
for is done before the keeper says hello to the next one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jobd.core.commands import AttemptEnded, AttemptNeverRan, Looked, Probed
from jobd.core.decision import Effect, Forget, Kill, Launch, Look, Probe, Settle, Stop
from jobd.core.job import Ending, Job
from jobd.core.moment import Deadlines, Moment

Key = tuple[str, int]  # id and attempt


class KeeperDied(Exception):
    """At this very step."""


@dataclass
class Process:
    key: Key
    kind: str  # how it will end by itself
    ends_at: float  # boot clock
    stubborn: bool  # ignores the stop signal
    writes_s: float | None  # how often it writes something; None: never
    since: float  # boot clock

    def wrote_at(self, now: float) -> float | None:
        """When it last did, by the boot clock."""
        if self.writes_s is None or now - self.since < self.writes_s:
            return None
        return self.since + (now - self.since) // self.writes_s * self.writes_s


class Keeper:
    def __init__(self) -> None:
        self.attempts: dict[Key, int] = {}  # its children, by pid
        self.asked: list[Launch | Stop | Kill | Settle | Probe] = []  # in the socket, not yet read
        self.told: list[tuple[str, Key | None, Ending | str | None]] = []  # to the daemon


class Host:
    """`clock` for the daemon, too: it has `boot_id` and `now`."""

    def __init__(
        self, dice: random.Random, fuse: Callable[[], None], spawned: Callable[[Key], None]
    ) -> None:
        self.dice = dice
        self.boot_id = "boot 1"
        self.wall, self.boot = 1_700_000_000.0, 10.0
        self.keeper: Keeper | None = None
        self.lacks: str | None = None  # what a start needs
        self.processes: dict[int, Process] = {}
        self.claims: dict[Key, int | None] = {}  # pid, once it was written in
        self.outcomes: dict[Key, Ending] = {}
        self.looked_at: dict[Key, float] = {}  # the last time, by the boot clock
        self._fuse = fuse  # of the keeper
        self._spawned = spawned
        self._pids = itertools.count(100)
        self._boots = itertools.count(2)

    # Clocks.

    def now(self) -> Moment:
        return Moment(self.wall, self.boot)

    def pass_time(self, seconds: float) -> None:
        assert seconds >= 0
        self.wall += seconds
        self.boot += seconds

    def next_end_s(self) -> float | None:
        """Until a process ends by itself."""
        ends = [process.ends_at - self.boot for process in self.processes.values()]
        return max(0.0, min(ends)) if ends else None

    def until_s(self, deadlines: Deadlines) -> float | None:
        waits = [at - now for at, now in zip(deadlines, self.now(), strict=True) if at is not None]
        return max(0.0, min(waits)) if waits else None

    # Deaths.

    def power_cut(self) -> None:
        self.keeper = None
        self.processes.clear()
        # Nobody synced these: each may be there or not.
        for kept in (self.claims, self.outcomes):
            for key in sorted(kept):
                if self.dice.random() < 0.5:
                    del kept[key]  # type: ignore[attr-defined]
        self.boot_id = f"boot {next(self._boots)}"
        self.boot = self.dice.uniform(5, 30)
        self.wall += self.dice.choice([20.0, 500.0, 4000.0, -100.0])

    def keeper_dies(self) -> None:
        """What it had runs on, and nobody waits for it."""
        if self.keeper is not None:
            self.keeper.attempts.clear()
            self.keeper.asked.clear()
            self.keeper = None

    # The keeper's loop.

    def work(self) -> None:
        """It does what it was asked for and reaps what has ended, unless it dies meanwhile."""
        if self.keeper is None:
            return
        try:
            while self.keeper.asked:
                self._serve(self.keeper, self.keeper.asked.pop(0))
            for key, pid in list(self.keeper.attempts.items()):
                if self.processes[pid].ends_at <= self.boot:
                    self._reap(self.keeper, key, pid)
        except KeeperDied:
            self.keeper_dies()

    def _serve(self, keeper: Keeper, request: Launch | Stop | Kill | Settle | Probe) -> None:
        if isinstance(request, Probe):
            keeper.told.append(("probed", None, self.lacks))
            return
        key = request.id, request.attempt
        match request:
            case Launch():
                self._launch(keeper, key)
            case Settle():
                self.claims.pop(key, None)
                self.outcomes.pop(key, None)
            case _ if key in keeper.attempts:
                process = self.processes[keeper.attempts[key]]
                if isinstance(request, Kill) or not process.stubborn:
                    process.ends_at = min(process.ends_at, self.boot)
                    process.kind = "signal"

    def _launch(self, keeper: Keeper, key: Key) -> None:
        self._fuse()
        if key in self.claims:
            keeper.told.append(("taken", key, None))
            return
        self.claims[key] = None
        self._fuse()
        if self.lacks is not None:
            del self.claims[key]
            keeper.told.append(("no_room", key, self.lacks))
            return
        pid = next(self._pids)
        self.processes[pid] = Process(
            key, kind=self.dice.choice(["completed", "completed", "exit", "exception"]),
            ends_at=self.boot + self.dice.choice([0.0, 1.0, 5.0, 40.0, 300.0]),
            stubborn=self.dice.random() < 0.3,
            writes_s=self.dice.choice([None, 4.0, 13.0]), since=self.boot,
        )  # fmt: skip
        self._spawned(key)
        self._fuse()
        self.claims[key] = pid
        keeper.attempts[key] = pid

    def _reap(self, keeper: Keeper, key: Key, pid: int) -> None:
        process = self.processes.pop(pid)
        del keeper.attempts[key]
        self._fuse()
        self.outcomes[key] = self._ending(process, pid)
        self._fuse()
        keeper.told.append(("ended", key, self.outcomes[key]))

    def _ending(self, process: Process, pid: int) -> Ending:
        size = self.dice.choice([0, 0, 10, 16_000, 65_000])
        match process.kind:
            case "completed":
                return Ending(
                    kind="completed", pid=pid, ended_at=self.wall, result=b'"%b"' % (b"x" * size)
                )
            case "exception":
                trace = "x" * min(size, 16_000)
                return Ending(kind="exception", pid=pid, ended_at=self.wall, traceback=trace)
            case kind:
                return Ending(kind=kind, pid=pid, ended_at=self.wall)  # type: ignore[arg-type]


class Supervisor:
    """The daemon's side.  It dies with the daemon."""

    def __init__(
        self, host: Host,
        report: Callable[[AttemptEnded | AttemptNeverRan | Looked | Probed], None],
        fuse: Callable[[], None],
    ) -> None:  # fmt: skip
        self._host = host
        self._report = report
        self._fuse = fuse
        self._live: set[Key] = set()
        self._keeper: Keeper | None = None
        self._probing = False

    def start(self, running: Iterable[Job]) -> None:
        host = self._host
        host.work()  # what the last daemon asked for comes before hello
        adopted = {} if host.keeper is None else host.keeper.attempts
        orphans = []
        keep = set(adopted)
        for job in running:
            assert job.running is not None
            key = job.id, job.running.number
            self._live.add(key)
            keep.add(key)
            if key not in adopted:
                orphans.append((key, job.running.boot_id == host.boot_id))
        self._connect()
        for key, this_boot in orphans:
            self._settle(key, this_boot=this_boot)
        for kept in (host.claims, host.outcomes):
            for key in [key for key in kept if key not in keep]:
                del kept[key]  # type: ignore[attr-defined]

    def act(self, effect: Effect) -> None:
        self._fuse()
        if isinstance(effect, Forget):
            return
        if isinstance(effect, Look):
            self._look((effect.id, effect.attempt), effect.since)
            return
        if isinstance(effect, Launch):
            self._live.add((effect.id, effect.attempt))
        self._probing = self._probing or isinstance(effect, Probe)
        if self._keeper is not None:
            self._keeper.asked.append(effect)

    def pump(self) -> None:
        """Hear what the keeper has to say; if it is dead, settle what it had."""
        assert self._keeper is not None
        while self._keeper.told:
            match self._keeper.told.pop(0):
                case "probed", _, why:
                    self._probed(why)
                case "taken", key, _:
                    self._settle(key, this_boot=True)
                case "no_room", key, why:
                    self._ended(key, None, want=why)
                case _, key, ending:
                    self._ended(key, ending)
        if self._host.keeper is not self._keeper:
            self._probed("the keeper died")
            for key in sorted(self._live):
                self._settle(key, this_boot=True)
            self._connect()

    def _connect(self) -> None:
        if self._host.keeper is None:
            self._host.keeper = Keeper()
        self._keeper = self._host.keeper
        self._keeper.told.clear()  # a new connection; the outcome files know

    def _settle(self, key: Key, *, this_boot: bool) -> None:
        host = self._host
        self._fuse()
        if key in host.outcomes:
            self._ended(key, host.outcomes[key])
        elif not this_boot:
            self._ended(key, Ending(kind="interrupted", message="the machine went down"))
        elif key not in host.claims:
            host.claims[key] = None
            self._ended(key, None)
        else:
            # By the pid in the claim, or where that is missing by the mark in its environment.
            for pid in [pid for pid, each in host.processes.items() if each.key == key]:
                del host.processes[pid]
            self._ended(key, Ending(kind="interrupted", message="its keeper died"))

    def _look(self, key: Key, since: Moment) -> None:
        host = self._host
        wrote = [p.wrote_at(host.boot) for p in host.processes.values() if p.key == key]
        seen_at = max((at for at in wrote if at is not None and at >= since.boot), default=None)
        if key in self._live:
            host.looked_at[key] = host.boot
            self._report(Looked(*key, host.boot, seen_at))

    def _probed(self, why: str | None) -> None:
        if self._probing:
            self._probing = False
            self._report(Probed(why))

    def _ended(self, key: Key, ending: Ending | None, *, want: str | None = None) -> None:
        if key not in self._live:
            return
        self._live.remove(key)
        id, attempt = key
        if ending is None:
            self._report(AttemptNeverRan(id, attempt, want))
        else:
            self._report(AttemptEnded(id, attempt, ending, jitter=self._host.dice.random()))
