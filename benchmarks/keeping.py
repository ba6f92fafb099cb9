"""What it costs a job that a keeper launches it, rather than the daemon itself."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from served import TRUE, tell

from jobd.clock import SystemClock
from jobd.core.allow import Admitted
from jobd.core.commands import AttemptEnded, AttemptNeverRan, Probed
from jobd.core.decision import Launch, Settle
from jobd.core.job import Policy
from jobd.supervisor.output import Outputs
from jobd.supervisor.settings import LaunchSettings
from jobd.supervisor.supervisor import Supervisor

JOBS = 200  # of each kind, in one round
ROUNDS = 7
CALL = json.dumps({"command": [TRUE]}).encode()


class Cost(NamedTuple):
    """Of one job, in µs; `cpu` with that of its own process."""

    wall: float
    cpu: float


class Kept:
    """Jobs through supervisor and keeper, each settled at its end; no engine and no journal."""

    def __init__(self, home: Path) -> None:
        state_dir, log_dir = home / "state", home / "logs"
        state_dir.mkdir(mode=0o700)
        self._launched = 0
        self._left = 0
        self._over = asyncio.Event()
        self._supervisor = Supervisor(
            state_dir=state_dir, log_dir=log_dir, report=self._hear, now=SystemClock().now,
            jitter=lambda: 0.5,
            settings=lambda: LaunchSettings(python="/none", socket=str(home / "jobd.sock")),
            boot_id="this", outputs=Outputs(log_dir),
        )  # fmt: skip

    async def start(self) -> None:
        await self._supervisor.start([])
        [self._keeper] = psutil.Process().children()

    async def aclose(self) -> None:
        await self._supervisor.aclose(leave=False)

    async def run(self, slots: int) -> Cost:
        before, cpu_s = time.perf_counter(), self._cpu_s()
        self._left = JOBS - slots
        self._over.clear()
        for _ in range(slots):
            self._launch()
        await self._over.wait()
        return _each(time.perf_counter() - before, self._cpu_s() - cpu_s)

    def _launch(self) -> None:
        self._launched += 1
        admitted = Admitted(TRUE)
        self._supervisor.act(
            Launch(f"{self._launched:016d}", 1, "uid:0", CALL, Policy(), admitted)
        )  # fmt: skip

    def _hear(self, report: AttemptEnded | AttemptNeverRan | Probed) -> None:
        assert isinstance(report, AttemptEnded), report
        self._supervisor.act(Settle(report.id, report.attempt))
        if self._left:
            self._left -= 1
            self._launch()
        elif not self._supervisor.live:
            self._over.set()

    def _cpu_s(self) -> float:
        return time.process_time() + sum(self._keeper.cpu_times()[:4])


def keeping() -> None:
    """A job through the keeper, and one that is launched and waited for directly."""
    for where, place in (("in memory", "/dev/shm"), ("on disk", "/var/tmp")):  # noqa: S108
        if os.path.isdir(place):
            with tempfile.TemporaryDirectory(prefix="jobd-bench-", dir=place) as home:
                asyncio.run(_compare(where, Path(home)))


async def _compare(where: str, home: Path) -> None:
    kept = Kept(home)
    await kept.start()
    try:
        for slots in (1, 2):
            pairs = [(await kept.run(slots), _directly(slots)) for _ in range(ROUNDS)]
            through, direct = (_median([pair[n] for pair in pairs]) for n in (0, 1))
            for name, cost in (("through the keeper", through), ("directly", direct)):
                figure = f"{cost.wall:,.0f} µs, of CPU {cost.cpu:,.0f} µs"
                tell(f"{TRUE} {name}, {where}, {slots} at a time", figure)
            ratio = statistics.median(pair[0].wall / pair[1].wall for pair in pairs)
            tell(f"{where}, {slots} at a time: time, keeper : direct", f"{ratio:.2f}")
    finally:
        await kept.aclose()


def _directly(slots: int) -> Cost:
    before, cpu_s = time.perf_counter(), _own_cpu_s()
    running: set[int] = set()
    for _ in range(JOBS):
        process = subprocess.Popen(
            [TRUE], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        process.returncode = 0  # reaped by its number
        running.add(process.pid)
        if len(running) == slots:
            running.discard(_ended())
    while running:
        running.discard(_ended())
    return _each(time.perf_counter() - before, _own_cpu_s() - cpu_s)


def _ended() -> int:
    pid, _, _ = os.wait4(-1, 0)
    return pid


def _own_cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _each(wall_s: float, cpu_s: float) -> Cost:
    return Cost(wall_s / JOBS * 1e6, cpu_s / JOBS * 1e6)


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))
