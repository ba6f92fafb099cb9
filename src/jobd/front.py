"""The daemon as its callers see it: one object that answers what the RPC methods ask.

It holds the config that is in force, and is where a reload changes it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import jobd
from jobd import config as configs
from jobd import host
from jobd.admission import Admission
from jobd.clock import Clock
from jobd.config import Config
from jobd.core.allow import Admitted, Refused
from jobd.core.commands import Command, Follow
from jobd.core.engine import Engine
from jobd.core.job import Job, Policy
from jobd.core.moment import Moment
from jobd.daemon import Daemon
from jobd.hub import Hub
from jobd.journal.store import Store
from jobd.logs.joblog import JobLog
from jobd.rpc.backend import Identity, Outputs, Reloaded
from jobd.supervisor.settings import LaunchSettings
from jobd.tally import Tally

log = logging.getLogger(__name__)

T = TypeVar("T")

COUNT_REFUSALS_S: Final = 1.0


class InForce:
    """The config in force, and what is derived from it."""

    def __init__(self, load: Callable[[], Config]) -> None:
        """`load` reads it anew.  Raises ConfigError."""
        self.load = load
        self._life = secrets.token_hex(8)  # an upgrade keeps the keeper, and the pid too
        self._followed = 0
        self.follow(load())

    def follow(self, config: Config) -> None:
        """From now on.  A warm interpreter of before is not to be used any more."""
        self.config = config
        self.environment = config.environment(os.environ)
        self.admission = Admission(config.allow, self.environment["PATH"])
        self._followed += 1
        self._settings = self._launch_settings()

    def admit(self, job: Job) -> Admitted | Refused:
        """Whether a job that is about to start is still on the list."""
        return self.admission.judge(json.loads(job.call))

    def launch(self) -> LaunchSettings:
        """What the supervisor needs to start a job."""
        return self._settings

    def _launch_settings(self) -> LaunchSettings:
        """Where no callable may run, nobody would ever fork from a warm interpreter."""
        python, daemon = self.config.python, self.config.daemon
        path = [str(path) for path in python.path]
        runtime = {
            "key": f"{self._life}-{self._followed}", "program": str(python.executable),
            "env": {**self.environment, **python.env}, "path": path,
            "preload": list(python.preload),
        }  # fmt: skip
        return LaunchSettings(
            python=str(python.executable),
            python_path=path,
            python_cwd=None if python.cwd is None else str(python.cwd),
            python_env=python.env,
            env=self.environment,
            socket=str(daemon.socket),
            stray=daemon.stray_children,
            patterns=self.config.allow.patterns,
            output_max=self.config.output.max_bytes,
            runtime=runtime if python.start == "fork" and self.config.allow.patterns else None,
        )


class Front:
    """Satisfies `rpc.backend.Backend`."""

    def __init__(
        self, *, daemon: Daemon, hub: Hub, clock: Clock, in_force: InForce, store: Store,
        joblog: JobLog, tally: Tally, outputs: Outputs, pid_of: Callable[[str], int | None],
        stop: Callable[[bool], None], upgrade: Callable[[], Awaitable[None]],
        reloaded: Callable[[Config], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.hub = hub
        self.outputs = outputs
        self.pid_of = pid_of
        self._daemon = daemon
        self._clock = clock
        self._in_force = in_force
        self._store = store
        self._joblog = joblog
        self._tally = tally
        self._stop = stop
        self._upgrade = upgrade
        self._reloaded = reloaded
        self._started = clock.now()
        self._counting: asyncio.TimerHandle | None = None

    # The loop.

    async def execute(self, command: Command) -> Any:
        return await self._daemon.execute(command)

    async def ask(self, question: Callable[[Engine, Moment], T]) -> T:
        return await self._daemon.ask(question)

    def now(self) -> Moment:
        return self._clock.now()

    # Submissions.

    def policy(self, fields: Mapping[str, Any], *, is_command: bool) -> Policy:
        return self._in_force.config.policy(fields, is_command=is_command)

    def limit_faults(self, fields: Mapping[str, Any], *, is_command: bool) -> list[tuple[str, str]]:
        """What goes beyond the ceilings; and of the limits that would hold, the config's among
        them, those that this host can't keep.
        """
        config = self._in_force.config
        faults = list(config.ceilings.faults(fields))
        beyond = dict(faults)
        limits = config.policy(fields, is_command=is_command).limits
        unkept = ((f"limits.{name}", why) for name, why in host.limit_faults(limits))
        return faults + [(field, why) for field, why in unkept if field not in beyond]

    def authorise(self, call: Mapping[str, Any]) -> Admitted | Refused:
        return self._in_force.admission.judge(call)

    def refused(self, peer: str, call: Mapping[str, Any], why: str) -> None:
        self._joblog.refused(peer, call, why, self._clock.now().wall)
        if self._counting is None:
            loop = asyncio.get_running_loop()
            self._counting = loop.call_later(COUNT_REFUSALS_S, self._count_refusals)

    def _count_refusals(self) -> None:
        """The second is over: what was beyond its limit is told as a number."""
        self._counting = None
        self._joblog.settle(self._clock.now().wall)

    # What is not in the engine.

    @property
    def identity(self) -> Identity:
        return Identity(
            version=jobd.__version__, pid=os.getpid(), started_at=self._started.wall,
            config=self._in_force.config.path,
        )  # fmt: skip

    def stats(self) -> Mapping[str, Any]:
        now = self._clock.now()
        return {
            "uptime_s": round(now.boot - self._started.boot, 3),
            "journal": self._store.stats(),
            **self._tally.summary(now.wall),
        }

    async def reload(self) -> Reloaded:
        """Raises ConfigError; then the old config stays."""
        running = self._in_force.config
        config, changed, restart = configs.reloaded(running, self._in_force.load())
        self._in_force.follow(config)
        await self._reloaded(config)
        await self._daemon.execute(Follow(config.rules()))
        log.info("reloaded changed=%s restart=%s", ",".join(changed), ",".join(restart))
        return Reloaded(changed, restart)

    async def upgrade(self) -> None:
        await self._upgrade()

    def shutdown(self, *, drain: bool) -> None:
        self._stop(drain)

    @property
    def max_request_bytes(self) -> int:
        return self._in_force.config.daemon.max_request_bytes
