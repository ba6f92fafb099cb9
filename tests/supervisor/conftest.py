"""A supervisor with a real keeper and real children, in a directory of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobd.clock import SystemClock
from jobd.core.allow import Admitted
from jobd.core.commands import AttemptEnded, AttemptNeverRan, Looked, Probed
from jobd.core.decision import Kill, Launch, Probe, Settle, Stop
from jobd.core.job import Ending, Job, Policy, Running, Status
from jobd.keeper import cgroup, protocol, tree
from jobd.supervisor.output import Outputs
from jobd.supervisor.settings import LaunchSettings
from jobd.supervisor.supervisor import Supervisor

LIMIT_S = 30.0  # for what must happen; only a failing test waits so long


class World:
    """What a daemon would be to its supervisor: it launches, and it hears reports."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state_dir, self.log_dir = home / "state", home / "logs"
        self.state_dir.mkdir(mode=0o700)
        self.app = home / "app"
        self.app.mkdir()
        self.reports: list[AttemptEnded | AttemptNeverRan] = []
        self.probes: list[Probed] = []
        self.looks: list[Looked] = []
        self.output = Outputs(self.log_dir)
        self.options: dict[str, Any] = {}
        self.forking: dict[str, Any] | None = None  # what callables are forked from; None: exec
        self.warmth: list[dict[str, Any]] = []  # what the keeper said of its interpreters
        self.supervisor = self.another()

    def another(self, boot_id: str = "this") -> Supervisor:
        """The next daemon's."""
        return Forking(
            self, state_dir=self.state_dir, log_dir=self.log_dir, settings=self.settings,
            report=self._hear, now=SystemClock().now, jitter=lambda: 0.5, boot_id=boot_id,
            outputs=self.output,
        )  # fmt: skip

    def fork(self, key: str = "1", *, preload: Sequence[str] = (), **more: Any) -> None:
        """From now on callables are forked from a warm interpreter."""
        self.forking = {"key": key, "preload": list(preload), **more}

    async def warm(self) -> None:
        """The interpreter, if there is to be one, serves."""
        self.supervisor.warm()
        if self.forking is not None:
            await self.warm_pid()

    async def warm_pid(self) -> int:
        """Of the interpreter that serves."""
        await self.until(lambda: self.warmth and self.warmth[-1]["pid"])
        return int(self.warmth[-1]["pid"])

    def _hear(self, report: AttemptEnded | AttemptNeverRan | Looked | Probed) -> None:
        if isinstance(report, Probed):
            self.probes.append(report)
        elif isinstance(report, Looked):
            self.looks.append(report)
        else:
            self.reports.append(report)

    def settings(self) -> LaunchSettings:
        given: dict[str, Any] = {
            "python": sys.executable, "socket": str(self.state_dir / "jobd.sock"),
            "python_path": [str(self.app)], "env": {"PATH": os.environ["PATH"], "GREETING": "hi"},
        }  # fmt: skip
        given |= self.options
        if self.forking is not None:
            env = {**given.get("env", {}), **given.get("python_env", {})}
            given["runtime"] = {
                "program": given["python"], "env": env, "path": given["python_path"],
                **self.forking,
            }  # fmt: skip
        return LaunchSettings(**given)

    # A job from its beginning to its end.

    def launch(
        self, *argv: str, id: str = "job0000000000001", attempt: int = 1, **more: Any
    ) -> str:
        program = more.pop("program", None) or shutil.which(argv[0]) or argv[0]
        call = {"command": list(argv), **more.pop("call", {})}
        return self._launch(id, attempt, call, Admitted(program), more)

    def call(
        self, target: str, *args: Any, id: str = "job0000000000001", attempt: int = 1,
        exact: bool = True, function_only: bool = False, method: str | None = None,
        kwargs: dict[str, Any] | None = None, **more: Any,
    ) -> str:  # fmt: skip
        call = {"target": target, "method": method, "args": args, "kwargs": kwargs or {}}
        admitted = Admitted(None, exact=exact, function_only=function_only)
        return self._launch(id, attempt, call, admitted, more)

    def _launch(
        self,
        id: str,
        attempt: int,
        call: dict[str, Any],
        admitted: Admitted,
        policy: dict[str, Any],
    ) -> str:
        self.supervisor.act(
            Launch(id=id, attempt=attempt, by="uid:0", call=json.dumps(call).encode(),
                   policy=Policy(**policy), admitted=admitted)
        )  # fmt: skip
        return id

    def stop(self, id: str, name: str = "SIGTERM") -> None:
        self.supervisor.act(Stop(id, 1, name))

    def kill(self, id: str) -> None:
        self.supervisor.act(Kill(id, 1))

    def settle(self, id: str, attempt: int = 1) -> None:
        self.supervisor.act(Settle(id, attempt))

    async def ending(self, id: str = "job0000000000001") -> Ending:
        report = await self.report(id)
        assert isinstance(report, AttemptEnded), report
        return report.ending

    async def report(self, id: str) -> AttemptEnded | AttemptNeverRan:
        await self.until(lambda: any(report.id == id for report in self.reports))
        [report] = [report for report in self.reports if report.id == id]
        return report

    async def probed(self) -> str | None:
        """What the host lacks."""
        self.supervisor.act(Probe())
        await self.until(lambda: self.probes)
        return self.probes.pop().why

    async def pid(self, id: str = "job0000000000001") -> int:
        await self.until(lambda: self.supervisor.pid(id) is not None)
        pid = self.supervisor.pid(id)
        assert pid is not None
        return pid

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.002)

    # Looking.

    def directory(self, id: str = "job0000000000001", attempt: int = 1) -> Path:
        return self.state_dir / "attempts" / protocol.attempt_name(id, attempt)

    def text(self, stream: str = "stdout", id: str = "job0000000000001", attempt: int = 1) -> str:
        return (self.log_dir / "output" / id[:2] / id / f"{attempt}.{stream}").read_text()

    def module(self, source: str, name: str = "jobs") -> None:
        (self.app / f"{name}.py").write_text(source)

    def keeper_pid(self) -> int:
        assert self.supervisor._link is not None
        return self.supervisor._link.pid

    def job(
        self, id: str = "job0000000000001", attempt: int = 1, boot_id: str = "this", **policy: Any
    ) -> Job:
        """As the journal would tell the next daemon."""
        job = Job(
            id=id, number=1, by="uid:0", call=b"{}", policy=Policy(**policy), submitted_at=0,
            run_at=0,
        )  # fmt: skip
        job.status, job.attempt = Status.RUNNING, attempt
        job.running = Running(number=attempt, started_at=0, boot_id=boot_id, boot_at=0)
        return job

    def drop_connection(self) -> None:
        """What the keeper sees of a kill -9 of its daemon."""
        link = self.supervisor._link
        assert link is not None and link._transport is not None
        link.closing = True
        link._transport.abort()

    def end_everything(self) -> None:
        """No process of this test outlives it."""
        keeper = f"{protocol.KEEPER}={self.state_dir}".encode()
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            alive = [
                process for process in tree.scan().values()
                if process.living and process.pid != os.getpid()
                and (keeper in tree.environment(process.pid)
                     or getattr(tree.marker(process.pid), "socket", None) == self.settings().socket)
            ]  # fmt: skip
            if not alive:
                break
            for process in alive:
                process.signal(signal.SIGKILL)
            time.sleep(0.005)
        groups = cgroup.find(str(self.state_dir))  # a keeper that was killed has left its own
        if groups is not None:
            groups.close()
        self.output.close()


class Forking(Supervisor):
    """It tells what it hears of interpreters."""

    def __init__(self, world: World, **more: Any) -> None:
        super().__init__(**more)
        self.world = world

    def _receive(self, message: dict[str, Any]) -> None:
        if message["report"] == "warm":
            self.world.warmth.append(message)
        super()._receive(message)


@pytest.fixture(params=["exec", "fork"])
def start(request: pytest.FixtureRequest, world: World) -> str:
    """For tests that hold for either."""
    if request.param == "fork":
        world.fork()
    return str(request.param)


@pytest.fixture
def run() -> Callable[[Any], Any]:
    return asyncio.run


@pytest.fixture
def world() -> Iterator[World]:
    # Not tmp_path: its name grows with the test's, and some tests want a short one.
    home = Path(tempfile.mkdtemp(prefix="jobd-"))
    world = World(home)
    try:
        yield world
    finally:
        world.end_everything()
        shutil.rmtree(home)


@pytest.fixture
def scene(world: World) -> Callable[[Callable[[World], Any]], None]:
    """Plays an async function with a started supervisor, and closes it after."""

    def play(act: Callable[[World], Any]) -> None:
        async def whole() -> None:
            await world.supervisor.start([])
            try:
                await act(world)
            finally:
                await world.supervisor.aclose(leave=False)

        asyncio.run(whole())

    return play
