"""What a callable costs through supervisor and keeper, exec'd and forked."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from served import tell

from jobd.clock import SystemClock
from jobd.core.allow import Admitted
from jobd.core.commands import AttemptEnded, AttemptNeverRan, Looked, Probed
from jobd.core.decision import Launch, Settle
from jobd.core.job import Policy
from jobd.supervisor.output import Outputs
from jobd.supervisor.settings import LaunchSettings
from jobd.supervisor.supervisor import Supervisor

SECONDS = 3.0  # of each kind
CALL = json.dumps({"target": "bench_jobs:nothing"}).encode()
PRELOADS: tuple[tuple[str, ...], ...] = ((), ("asyncio", "http.client", "email.message"))


class Callables(Supervisor):
    def __init__(self, home: Path, runtime: dict[str, Any] | None) -> None:
        self.runtime = runtime
        self.ready = asyncio.Event()
        self.over = asyncio.Event()
        self.warm_pid = 0
        self.waits: list[float] = []
        (home / "bench_jobs.py").write_text("def nothing():\n    pass\n")
        (home / "state").mkdir(mode=0o700)
        super().__init__(
            state_dir=home / "state", log_dir=home / "logs", report=self._hear,
            jitter=lambda: 0.5, boot_id="this", outputs=Outputs(home / "logs"),
            settings=lambda: LaunchSettings(
                python=sys.executable, socket=str(home / "jobd.sock"), python_path=[str(home)],
                runtime=runtime,
            ),
            now=SystemClock().now,
        )  # fmt: skip
        self._number = 0
        self._until = 0.0
        self._begun: dict[str, float] = {}

    async def run(self, slots: int) -> tuple[float, float]:
        """Jobs per second, and ms of processor that each took, its keeper's included."""
        if self.runtime is not None:
            await self.ready.wait()
        self.over.clear()
        self.waits.clear()
        before, begun, cpu_s = time.monotonic(), self._number, self._cpu_s()
        self._until = before + SECONDS
        for _ in range(slots):
            self._launch()
        await self.over.wait()
        jobs = self._number - begun
        return jobs / (time.monotonic() - before), (self._cpu_s() - cpu_s) / jobs * 1000

    def _cpu_s(self) -> float:
        """Of the keeper, its jobs, and the interpreter; not of the short-lived process between
        interpreter and job."""
        [keeper] = psutil.Process().children()
        own = [keeper.cpu_times()]
        if self.warm_pid:
            own.append(psutil.Process(self.warm_pid).cpu_times())
        return float(sum(sum(times[:4]) for times in own))

    def _launch(self) -> None:
        self._number += 1
        id = f"{self._number:016d}"
        self._begun[id] = time.monotonic()
        self.act(Launch(id, 1, "uid:0", CALL, Policy(), Admitted(None, exact=True)))

    def _hear(self, report: AttemptEnded | AttemptNeverRan | Looked | Probed) -> None:
        assert isinstance(report, AttemptEnded), report
        assert report.ending.kind == "completed", report
        self.act(Settle(report.id, report.attempt))
        if time.monotonic() < self._until:
            self._launch()
        elif not self.live:
            self.over.set()

    def _receive(self, message: dict[str, Any]) -> None:
        if message["report"] == "warm":
            self.warm_pid = message["pid"]
            self.ready.set()
        elif message["report"] == "launched":
            self.waits.append(time.monotonic() - self._begun[message["id"]])
        super()._receive(message)


def warm() -> None:
    """A callable through the keeper: exec'd, and forked from a warm interpreter."""
    asyncio.run(_measure("exec", None))
    for preload in PRELOADS:
        name = f"fork, preload {', '.join(preload) or 'nothing'}"
        asyncio.run(_measure(name, preload))


async def _measure(name: str, preload: tuple[str, ...] | None) -> None:
    runtime = preload is not None and {
        "key": "1", "program": sys.executable, "env": {}, "path": [], "preload": preload,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="jobd-bench-", dir=_place()) as home:
        callables = Callables(Path(home), runtime or None)
        await callables.start([])
        try:
            for slots in (1, 2):
                rate, cpu_ms = await callables.run(slots)
                wait_ms = statistics.median(callables.waits) * 1000
                figure = f"{rate:,.0f} /s, {cpu_ms:.1f} ms of CPU, launched in {wait_ms:.1f} ms"
                tell(f"{name}, {slots} at a time", figure)
            if runtime:
                memory = psutil.Process(callables.warm_pid).memory_full_info()
                figure = f"{memory.rss / 2**20:.1f} MiB, of its own {memory.uss / 2**20:.1f} MiB"
                tell(f"{name}: the interpreter", figure)
        finally:
            await callables.aclose(leave=False)


def _place() -> str | None:
    return "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108


if __name__ == "__main__":
    warm()
