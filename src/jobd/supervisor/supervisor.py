"""Carries out the engine's effects through the keeper, and tells the engine what became of them.

Every attempt that was launched is reported once: as ended, or as one that never ran.  Nothing
here waits for a child, and nothing here decides when one has to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from jobd import linux
from jobd.core.commands import AttemptEnded, AttemptNeverRan, Looked, Probed
from jobd.core.decision import Effect, Forget, Kill, Launch, Look, Probe, Settle, Stop
from jobd.core.job import Ending, Job
from jobd.core.moment import Moment
from jobd.descriptors import Limit
from jobd.errors import EXIT_RETRY, CannotStart
from jobd.keeper import protocol, tree
from jobd.keeper.private import make_private
from jobd.supervisor import link, orphans, settling, sight, sweeping
from jobd.supervisor.ending import ending_of
from jobd.supervisor.launching import Places, launch_message
from jobd.supervisor.output import Outputs
from jobd.supervisor.settings import LaunchSettings

assert sys.platform != "win32"

log = logging.getLogger(__name__)

SETTLING_S: Final = 5.0  # that a start waits; what can't be ended by then holds nobody else back
PONG_S: Final = 5.0  # for a sign of life, from a keeper that may have much to do
KEEPER_GOES_S: Final = 5.0  # once it has nothing left; a few ms is what it takes
TRY_AGAIN_S: Final = 1.0  # after a keeper that could not be started


class Live:
    """An attempt that has been launched and not reported yet."""

    __slots__ = ("attempt", "pid", "sight")

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.pid: int | None = None
        self.sight: sight.Sight | None = None  # of its output; None: it was not looked at yet


class Supervisor:
    def __init__(
        self,
        *,
        state_dir: str | os.PathLike[str],
        log_dir: str | os.PathLike[str],
        settings: Callable[[], LaunchSettings],
        report: Callable[[AttemptEnded | AttemptNeverRan | Looked | Probed], None],
        now: Callable[[], Moment],
        jitter: Callable[[], float],
        boot_id: str,
        outputs: Outputs,
        limit: Limit | None = None,  # of descriptors, for what is started
    ) -> None:
        self._places = Places(os.fspath(state_dir), os.fspath(log_dir))
        self._keeper_log = os.path.join(os.path.abspath(log_dir), "keeper.log")
        self._settings = settings
        self._report = report
        self._now = now
        self._jitter = jitter
        self._boot_id = boot_id
        self._outputs = outputs
        self._limit = limit
        self._live: dict[str, Live] = {}  # by id: a job has one attempt at a time
        self._link: link.Link | None = None
        self._unsent: list[dict[str, Any]] = []  # while there is no keeper
        self._sweep = sweeping.Sweep()
        self._probing = False
        self._pong = asyncio.Event()
        self._strangers: set[tuple[str, int]] = set()  # the keeper has them, the journal has not
        self._closing = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._emptied = asyncio.Event()
        self._fault: BaseException | None = None  # of a task that nobody awaits
        self._failed = asyncio.Event()

    async def start(self, running: Sequence[Job]) -> None:
        """Every one of `running` is then live, reported, or about to be.  Once, before any effect.

        Raises CannotStart if the keeper that has them can't be talked to.
        """
        with contextlib.suppress(OSError):  # elsewhere: orphans of a dead keeper go to init
            linux.set_child_subreaper()
        try:
            make_private(self._places.attempts)
            make_private(os.path.dirname(self._keeper_log))
            keeper = await self._connect()
        except OSError as exc:
            raise CannotStart(f"can't start the keeper: {exc}", exit_code=EXIT_RETRY) from exc
        adopted = keeper.attempts
        lost = [orphan for job in running if (orphan := self._adopt(job, adopted))]
        self._strangers.update(adopted)
        for id, attempt in adopted:  # nobody has it on record, so nobody would ever end it
            log.error("unrecorded_attempt id=%s attempt=%s", id, attempt)
            self._send({"request": "kill", "id": id, "attempt": attempt})
        keeper.listen()
        mine = [(id, live.attempt) for id, live in self._live.items()]
        await asyncio.wait([self._spawn(self._settle(lost))], timeout=SETTLING_S)
        orphans.watch()
        keep = [protocol.attempt_name(*key) for key in (*mine, *self._strangers)]
        await asyncio.to_thread(settling.sweep, self._places.attempts, keep)

    def act(self, effect: Effect) -> None:
        """Begins to carry out.  Never waits, and raises nothing that a job's content can cause."""
        match effect:
            case Launch():
                message = launch_message(effect, self._settings(), self._places)
                self._live[effect.id] = Live(effect.attempt)
                self._send(message)
            case Stop():
                self._interfere(
                    effect.id, effect.attempt, {"request": "stop", "signal": effect.signal}
                )
            case Kill():
                self._interfere(effect.id, effect.attempt, {"request": "kill"})
            case Look():
                self._spawn(self._look(effect))
            case Settle():
                self._release(effect.id, effect.attempt)
            case Forget():
                self._outputs.forget(effect.id)
            case Probe():
                self._probing = True
                self._send({"request": "probe", **self._places.probe})

    def warm(self) -> None:
        """A warm interpreter as the settings have it by now is made ready; others go.

        Without a keeper nothing is lost: the next one is told first of all.
        """
        if self._link is not None:
            self._link.send({"request": "warm", "runtime": self._settings().runtime})

    async def watch(self) -> None:
        """Waits until attempts can't be looked after any more; then raises why."""
        await self._failed.wait()
        assert self._fault is not None
        raise self._fault

    async def alive(self) -> None:
        """The keeper answers, and the next daemon will find it.  Raises CannotStart."""
        if self._link is None:
            return  # it died; the next daemon can start another one as well
        if (self._live or self._strangers) and not link.stands(self._places.state_dir):
            raise CannotStart(
                f"{protocol.SOCKET} was removed from {self._places.state_dir}: the next program "
                "could not reach the keeper, and would interrupt its jobs; wait until none runs"
            )
        self._pong.clear()
        self._send({"request": "ping"})
        try:
            async with asyncio.timeout(PONG_S):
                await self._pong.wait()
        except TimeoutError:
            raise CannotStart(f"the keeper does not answer within {PONG_S:.0f} s") from None

    def pid(self, id: str) -> int | None:
        """Of the live attempt's main process."""
        live = self._live.get(id)
        return live.pid if live is not None else None

    @property
    def live(self) -> int:
        """How many attempts are launched and not reported."""
        return len(self._live)

    async def aclose(self, *, leave: bool) -> None:
        """With `leave`, what runs goes on in its keeper; else it is killed, and reported, first.

        Nothing of ours is left behind but a keeper that has something to keep.
        """
        if not leave:
            for id, live in list(self._live.items()):
                self._interfere(id, live.attempt, {"request": "kill"})
            while self._live:
                self._emptied.clear()
                await self._emptied.wait()
        self._closing.set()
        for task in self._tasks:
            task.cancel()
        if self._tasks:  # one of them may be about to reach another keeper
            await asyncio.wait(self._tasks)
        keeper, self._link = self._link, None
        if keeper is not None:
            await keeper.aclose()
            if not self._live and not self._strangers:
                try:
                    async with asyncio.timeout(KEEPER_GOES_S):
                        await keeper.gone()
                except TimeoutError:  # it has something after all; the next daemon finds it
                    log.warning("supervisor.keeper_stays pid=%s", keeper.pid)
            keeper.release()

    # Attempts.

    def _adopt(
        self, job: Job, adopted: dict[tuple[str, int], dict[str, Any]]
    ) -> settling.Orphan | None:
        """It is live; None: in the keeper, out of whose list it is taken."""
        assert job.running is not None
        self._live[job.id] = live = Live(job.running.number)
        if job.policy.idle_timeout is not None:
            paths = self._places.streams(job.id, live.attempt)
            live.sight = sight.Sight(sight.files(paths), self._now(), None)
        known = adopted.pop((job.id, live.attempt), None)
        if known is None:
            this_boot = job.running.boot_id == self._boot_id
            return self._orphan(job.id, live.attempt, this_boot=this_boot)
        live.pid = known["pid"]
        log.info("adopted id=%s attempt=%s pid=%s", job.id, live.attempt, live.pid)
        return None

    async def _look(self, effect: Look) -> None:
        """In a thread: a stat on a disk that is slow is slow."""
        live = self._live.get(effect.id)
        found = await asyncio.to_thread(
            sight.files, self._places.streams(effect.id, effect.attempt)
        )
        if live is not None and live.attempt == effect.attempt:
            live.sight = sight.later(live.sight or sight.of_new(effect.since), found, self._now())
            at, seen_at = live.sight.at.boot, live.sight.seen_at
            self._report(Looked(effect.id, effect.attempt, at, seen_at))

    def _interfere(self, id: str, attempt: int, request: dict[str, Any]) -> None:
        live = self._live.get(id)
        if live is None or live.attempt != attempt:
            return  # it has ended, and its report is on its way through the loop
        self._send({**request, "id": id, "attempt": attempt})

    def _ended(
        self, id: str, attempt: int, ending: Ending | None, *, want: str | None = None
    ) -> None:
        live = self._live.get(id)
        if live is None or live.attempt != attempt:
            if (id, attempt) in self._strangers:
                self._strangers.discard((id, attempt))
                self._outputs.ended(id, attempt)
                self._release(id, attempt)
            return
        del self._live[id]
        if not self._live:
            self._emptied.set()
        if ending is None:
            self._report(AttemptNeverRan(id, attempt, want))
        else:
            if ending.strays:
                pids = ",".join(map(str, ending.strays))
                log.warning("strays_left id=%s attempt=%s pids=%s", id, attempt, pids)
            self._outputs.ended(id, attempt)
            self._report(AttemptEnded(id, attempt, ending, self._jitter()))

    def _release(self, id: str, attempt: int) -> None:
        """Its directory goes: of what is in it, nothing is needed any more."""
        directory = self._places.attempt(id, attempt)
        self._send({"request": "settle", "directory": directory})
        if self._sweep.settled(directory):
            self._spawn(self._sweep.look())

    # The keeper speaks.

    def _receive(self, message: dict[str, Any]) -> None:
        match message:
            case {"report": "launched", "id": id, "attempt": attempt}:
                live = self._live.get(id)
                if live is not None and live.attempt == attempt:
                    live.pid = message["pid"]
            case {"report": "ended", "outcome": outcome, "result": result}:
                self._ended(outcome["id"], outcome["attempt"], ending_of(outcome, result))
            case {"report": "no_room", "id": id, "attempt": attempt, "why": why}:
                log.warning("no_room id=%s attempt=%s why=%r", id, attempt, why)
                self._ended(id, attempt, None, want=why)
            case {"report": "pong"}:
                self._pong.set()
            case {"report": "probed", "why": why}:
                self._probed(why)
            case {"report": "warm", "pid": pid, "why": why, "warnings": warnings}:
                _tell_of_warm(pid, why, warnings)
            case {"report": "taken", "id": id, "attempt": attempt}:
                log.error("already_claimed id=%s attempt=%s", id, attempt)
                self._spawn(self._settle([self._orphan(id, attempt)]))
            case _:
                log.error("unknown_report report=%r", message.get("report"))

    def _probed(self, why: str | None) -> None:
        if self._probing:
            self._probing = False
            self._report(Probed(why))

    # The keeper dies, or was not there.

    async def _connect(self) -> link.Link:
        """To a keeper that lives, or else to a new one.  It is not listened to yet."""
        connection = link.reach(self._places.state_dir)
        keeper = link.Link(self._receive, self._lost)
        if connection is None or not await keeper.open(connection):  # it was about to go
            await asyncio.to_thread(settling.end_keepers, self._places.state_dir)
            connection, pid = link.start(self._places.state_dir, self._keeper_log, self._limit)
            keeper = link.Link(self._receive, self._lost)
            if not await keeper.open(connection):
                await asyncio.to_thread(os.waitpid, pid, 0)
                raise ChildProcessError(f"it ends at once, see {self._keeper_log}")
        log.info("keeper_reached pid=%s attempts=%s", keeper.pid, len(keeper.attempts))
        self._link = keeper
        self.warm()  # before the first launch, which it would keep waiting
        for message in self._unsent:
            keeper.send(message)
        self._unsent.clear()
        return keeper

    def _lost(self) -> None:
        log.error("keeper_died attempts=%s", len(self._live))
        self._spawn(self._recover())

    async def _recover(self) -> None:
        """What the dead keeper had is settled, and there is a new one.

        None of the old ones lives when the first attempt is settled, and each attempt is reported
        when nothing of it lives: so what can't be ended holds back its own job alone.
        """
        dead, self._link = self._link, None
        assert dead is not None
        self._probed("the keeper died")
        lost = [self._orphan(id, live.attempt) for id, live in self._live.items()]
        with contextlib.suppress(ProcessLookupError):
            if dead.pidfd >= 0:
                signal.pidfd_send_signal(dead.pidfd, signal.SIGKILL)  # lost is lost
        await dead.gone()
        dead.release()
        await asyncio.to_thread(settling.end_keepers, self._places.state_dir)
        self._spawn(self._settle(lost))
        orphans.watch()
        while True:
            try:
                keeper = await self._connect()
            except OSError as exc:
                log.error("keeper_not_reached why=%r", str(exc))
                await asyncio.sleep(TRY_AGAIN_S)
            else:
                keeper.listen()
                return

    async def _settle(self, lost: Sequence[settling.Orphan]) -> None:
        loop = asyncio.get_running_loop()

        def tell(orphan: settling.Orphan, ending: Ending | None) -> None:
            marker = orphan.marker
            loop.call_soon_threadsafe(self._ended, marker.id, marker.attempt, ending)

        if lost:
            await asyncio.to_thread(settling.settle, lost, tell, self._closing)

    def _orphan(self, id: str, attempt: int, *, this_boot: bool = True) -> settling.Orphan:
        marker = tree.Marker(self._settings().socket, id, attempt)
        return settling.Orphan(marker, self._places.attempt(id, attempt), this_boot)

    def _send(self, message: dict[str, Any]) -> None:
        if self._link is None:
            self._unsent.append(message)
        else:
            self._link.send(message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = self._fault or fault
            self._failed.set()


def _tell_of_warm(pid: int | None, why: str | None, warnings: Sequence[str]) -> None:
    """Why there is none: callables are then started as with `start = "exec"`."""
    for warning in warnings:
        log.warning("warm_warning text=%r", warning)
    if pid is not None:
        log.info("warm_ready pid=%s", pid)
    elif why is not None:  # else none was asked for
        log.warning("warm_refused why=%r", why)
