"""Wires the edges together; the order in which they start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import anyio

import jobd
from jobd import config as configs
from jobd.clock import SystemClock
from jobd.compaction import Compaction
from jobd.config import Config
from jobd.core.commands import Command, Drain, StopAll
from jobd.core.decision import Fact
from jobd.core.engine import Engine
from jobd.daemon import Daemon
from jobd.descriptors import Limit, raise_limit, restore
from jobd.errors import CannotStart, ConfigError, Draining
from jobd.front import Front, InForce
from jobd.handover import Handover, Successor, Terms
from jobd.holding import Holding
from jobd.hub import Hub
from jobd.journal.files import FILES
from jobd.journal.statedir import StateDir
from jobd.journal.store import Store
from jobd.logs import Logs
from jobd.rpc.methods import Dispatch
from jobd.rpc.server import Server
from jobd.rpc.transport import Listener, system_listener
from jobd.supervisor.output import Outputs
from jobd.supervisor.system import system_supervision
from jobd.tally import Tally
from jobd.wishes import Wishes, heard, hold

log = logging.getLogger(__name__)

# Beyond a job's own grace, for the kernel to take down what was killed.
LAST_WAIT_S: Final = 5.0
FREEZE_AFTER: Final = 50_000  # records


def serve(
    *, config_path: Path | None = None, state_dir: Path | None = None, socket: Path | None = None,
    log_level: str | None = None,
) -> int:  # fmt: skip
    """The daemon, until it is told to stop: 0.  Raises CannotStart."""
    load = partial(
        configs.load, config_path, state_dir=state_dir, socket=socket, log_level=log_level
    )
    handed = Handover.received()
    in_force = InForce(load)
    while True:
        try:
            handed = anyio.run(_serve, in_force, handed)
        except BaseExceptionGroup as group:
            # The first broken promise says why; what fell with it follows from it.
            promises, bugs = group.split(CannotStart)
            if promises is None or bugs is not None:
                raise
            raise _first(promises) from None
        if handed is None:
            return 0
        # An upgrade: this is where the next program begins, or else this one's next life.
        handed = handed.execute()


def _first(group: BaseExceptionGroup[CannotStart]) -> CannotStart:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, CannotStart)
    return error


async def _serve(in_force: InForce, handed: Handover | None) -> Handover | None:
    """One life of the daemon; what to hand over if the next one is to begin at once.

    What can't be had is found out before anything else is touched.
    """
    config = in_force.config
    wishes = Wishes()
    listener = system_listener(str(config.daemon.socket))
    if handed is None:
        listener.check()
    # Before the socket, which may stand in the state directory: that is ours or empty.
    state = StateDir.claim(config.daemon.state_dir, FILES, handed.lock_fd if handed else None)
    store = Store(
        state, FILES, fsync=config.journal.fsync, interval_s=config.journal.interval,
        segment_bytes=config.journal.segment_bytes,
    )  # fmt: skip
    limit = raise_limit()
    try:
        listener.bind(handed.socket if handed else None)
        try:
            # From here on a signal is heard, and heeded once there is something to stop.
            with heard(wishes):
                service = _Service(in_force, listener, state, store, wishes, limit=limit)
                if handed is not None and handed.fault is not None:
                    log.error("not_upgraded why=%r", handed.fault)
                await service.run()
        finally:
            await listener.aclose()
        return service.handover
    finally:
        await store.aclose()
        if limit is not None:  # as the next one is to find it
            restore(os.getpid(), limit)


class _Service:
    """One life of the daemon."""

    def __init__(
        self, in_force: InForce, listener: Listener, state: StateDir, store: Store,
        wishes: Wishes, *, limit: Limit | None,
    ) -> None:  # fmt: skip
        config = in_force.config
        self.handover: Handover | None = None  # once it makes way for the next one
        self._in_force = in_force
        self._wishes = wishes
        self._listener = listener
        self._state = state
        self._store = store
        self._clock = SystemClock()
        self._logs = Logs(config, self._clock)
        self._engine = _replayed(config, store, self._clock.boot_id)
        self._holding = Holding(self._engine.starts)
        self._hub = Hub(self._engine.seq)
        self._tally = Tally()
        self._outputs = Outputs(
            config.daemon.log_dir, total_max_bytes=config.output.total_max_bytes
        )
        self._supervisor = system_supervision(
            state_dir=config.daemon.state_dir,
            log_dir=config.daemon.log_dir,
            settings=in_force.launch,
            report=self._report,
            now=self._clock.now,
            jitter=random.random,
            boot_id=self._clock.boot_id,
            outputs=self._outputs,
            limit=limit,
        )
        self._daemon = Daemon(
            engine=self._engine, journal=store, clock=self._clock, admit=in_force.admit,
            act=self._supervisor.act, announce=self._announce,
        )  # fmt: skip
        self._compaction = Compaction(self._daemon, store)
        self._front = Front(
            daemon=self._daemon, hub=self._hub, clock=self._clock, in_force=in_force, store=store,
            joblog=self._logs.jobs, tally=self._tally, outputs=self._outputs,
            pid_of=self._supervisor.pid, stop=wishes.stop, upgrade=self._upgrade,
            reloaded=self._reloaded,
        )  # fmt: skip
        self._server = Server(
            listener, Dispatch(self._front), request_bytes_max=lambda: self._front.max_request_bytes
        )
        self._successor = Successor(Terms.of(config))
        self._idle = asyncio.Event()  # nothing runs
        self._frozen_seq = self._engine.seq

    async def run(self) -> None:
        """Until told to stop, and stopped."""
        try:
            async with anyio.create_task_group() as parts:
                await self._outputs.scan(self._attempts)
                # Before the loop: until each attempt is settled, nothing may start.
                await self._supervisor.start(list(self._engine.running.values()))
                for effect in self._engine.adopt(self._clock.now()):
                    self._supervisor.act(effect)
                parts.start_soon(self._daemon.run)
                parts.start_soon(self._store.watch)
                parts.start_soon(self._supervisor.watch)
                parts.start_soon(self._compaction.run)
                await self._server.start()
                parts.start_soon(self._heed_reloads)
                parts.start_soon(self._heed_upgrades)
                self._say_ready()
                await self._wishes.asked.wait()
                await self._wind_down()
                parts.cancel_scope.cancel()
        finally:
            await self._successor.aclose()
            await self._supervisor.aclose(leave=True)
            self._outputs.close()
            self._logs.close()

    async def _wind_down(self) -> None:
        """Requests are served to the end; then the loop finishes what has arrived."""
        on_stop = self._in_force.config.daemon.on_stop
        log.info(
            "stopping running=%d on_stop=%s",
            len(self._engine.running), "upgrade" if self._wishes.upgrading else on_stop,
        )  # fmt: skip
        await self._daemon.execute(Drain(on=True))
        if self._wishes.upgrading:
            hold()  # the next program has its own ears, a moment later
        else:
            await self._part_with_what_runs(stop=on_stop == "stop")
        await self._server.aclose()
        self._daemon.close()
        log.info("stopped left_running=%d", len(self._engine.running))

    async def _part_with_what_runs(self, *, stop: bool) -> None:
        """It has its grace; after that it is left to the next daemon, or stopped."""
        within_s = self._in_force.config.daemon.shutdown_grace
        await self._until_idle(within_s, self._wishes.hurried)
        if stop and self._engine.running:
            await self._daemon.execute(StopAll())
            grace_s = max(job.policy.kill_grace for job in self._engine.running.values())
            await self._until_idle(grace_s + LAST_WAIT_S, asyncio.Event())

    async def _until_idle(self, within_s: float, hurry: asyncio.Event) -> None:
        """Returns when nothing runs, or in time, or when hurried."""
        self._idle.clear()
        if not self._engine.running:
            return
        with anyio.move_on_after(within_s):
            async with anyio.create_task_group() as either:
                for event in (self._idle, hurry):
                    either.start_soon(_then_cancel, event, either.cancel_scope)

    def _report(self, command: Command) -> None:
        """From the supervisor, which is there before the daemon it reports to."""
        self._daemon.tell(command)

    def _announce(self, facts: Sequence[Fact]) -> None:
        """What is on disk may be known.  The hub is last: who is woken finds the log written."""
        self._logs.jobs.announce(facts)
        self._tally.announce(facts)
        self._hub.announce(facts)
        self._compaction.look()
        self._holding.look()
        if not self._engine.running:
            self._idle.set()
        if self._engine.seq >= self._frozen_seq + FREEZE_AFTER:
            # What the heap holds by now stays: the collector need not look at it again.
            self._frozen_seq = self._engine.seq
            gc.freeze()

    async def _heed_reloads(self) -> None:
        """SIGHUP: somebody moved the logs, or edited the config."""
        while True:
            await self._wishes.reload.wait()
            self._wishes.reload.clear()
            self._logs.reopen()
            try:
                with contextlib.suppress(Draining):  # the next one reads it anyway
                    await self._front.reload()
            except ConfigError as exc:
                log.error("not_reloaded why=%r", str(exc))

    async def _heed_upgrades(self) -> None:
        """SIGUSR2: another program is to go on from here."""
        while True:
            await self._wishes.upgrade.wait()
            self._wishes.upgrade.clear()
            with contextlib.suppress(CannotStart, Draining):  # it is in the log
                await self._upgrade()

    async def _upgrade(self) -> None:
        try:
            await self._successor.rehearse()
            await self._supervisor.alive()
            if not self._wishes.asked.is_set():
                self.handover = self._set_aside()
        except CannotStart as exc:
            log.error("not_upgraded why=%r", str(exc))
            raise
        self._wishes.make_way()

    def _set_aside(self) -> Handover:
        """For the next program, before anything is given up for it."""
        try:
            lock_fd = self._state.keep()
            try:
                self._listener.keep()
            except OSError:
                os.close(lock_fd)
                raise
        except OSError as exc:
            raise CannotStart(f"socket and lock can't be handed over: {exc.strerror}") from None
        return Handover(self._listener.kept, lock_fd)

    async def _reloaded(self, config: Config) -> None:
        self._supervisor.warm()
        self._logs.follow(config)
        if self._outputs.total_max_bytes != config.output.total_max_bytes:
            self._outputs.total_max_bytes = config.output.total_max_bytes
            await self._outputs.scan(self._attempts)

    def _attempts(self) -> list[tuple[str, int]]:
        """Those that have not ended."""
        return [(job.id, job.attempt) for job in self._engine.running.values()]

    def _say_ready(self) -> None:
        counts = " ".join(f"{status}={n}" for status, n in self._engine.counts.items() if n)
        log.info("started version=%s pid=%d %s", jobd.__version__, os.getpid(), counts)
        print(f"jobd {jobd.__version__} listens on {self._listener.address}", file=sys.stderr)


def _replayed(config: Config, store: Store, boot_id: str) -> Engine:
    """The engine as the journal has it.

    Nothing of a replay is garbage, and a collector that looks for some doubles its time;
    afterwards all of it is frozen, or each full collection would stall the loop.
    """
    engine = Engine(config.rules(), boot_id=boot_id)
    gc.disable()
    try:
        for seq, records in store.recovered:
            engine.replay(seq, records)
        engine.seq = store.next_seq - 1
        store.promise(engine.promised_bytes, engine.live_bytes)
    finally:
        gc.enable()
    gc.freeze()
    return engine


async def _then_cancel(event: asyncio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
