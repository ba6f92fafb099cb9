"""How long a daemon that was killed takes until it answers, and what it takes of memory."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import psutil
from past import write_past
from served import Connection, Daemon, tell

SIZES = (25_000, 50_000, 100_000)


def restart() -> None:
    """kill -9 to the first answer, with as many pending as final jobs."""
    for jobs in SIZES:
        with tempfile.TemporaryDirectory(prefix="jobd-bench-") as home:
            one = Daemon(Path(home), max_running=256)
            write_past(one.config_path, pending=jobs, final=jobs)
            one.start()
            name = f"{jobs:,} pending and {jobs:,} final jobs"
            try:
                _measure(one, name, jobs)
            finally:
                one.stop(signal.SIGKILL)


def _measure(one: Daemon, name: str, jobs: int) -> None:
    took, cpu = [], []
    for _ in range(3):
        one.stop(signal.SIGKILL)
        took.append(one.start())
        assert one.process is not None
        process = psutil.Process(one.process.pid)
        cpu.append(sum(process.cpu_times()[:2]))
        stats = Connection(one.socket).call("stats", {})
        assert stats["jobs"]["pending"] == stats["jobs"]["completed"] == jobs, stats["jobs"]
    resident = process.memory_info().rss
    size = stats["journal"]["bytes"]
    tell(f"{name}: journal", f"{size / 2**20:.0f} MiB in {stats['journal']['segments']} files")
    figure = f"{min(took):.2f} s, of CPU {min(cpu):.2f} s"
    tell(f"{name}: kill -9 → answers", figure)
    tell(f"{name}: the same, each job", f"{min(cpu) / (2 * jobs) * 1e6:.1f} µs of CPU")
    tell(f"{name}: resident", f"{resident / 2**20:.0f} MiB")
