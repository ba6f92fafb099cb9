"""What jobd costs on this machine: figures, no pass and no fail.

    make bench                  all of them
    python benchmarks/run.py submit latency

Absolute figures of two machines, or of two days, can't be compared; ratios taken in one run can.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from keeping import keeping
from restart import restart
from served import BIN, TRUE, Connection, daemon, tell
from warm import warm

LATER = {"target": "bench_jobs:nothing", "delay": 86400.0}


def submit() -> None:
    """Durable submissions per second, one at a time on each connection."""
    for clients, each in ((1, 3000), (16, 600)):
        with daemon() as one:
            took = asyncio.run(_submit_side_by_side(one.socket, clients, each))
        tell(f"durable submissions, {clients} client(s)", f"{clients * each / took:,.0f} /s")
    with daemon() as one:
        connection = Connection(one.socket)
        before = time.perf_counter()
        for _ in range(10):
            connection.call("submit_many", {"jobs": [LATER] * 1000})
        took = time.perf_counter() - before
    tell("durable submissions, 1 client, 1,000 at a time", f"{10_000 / took:,.0f} /s")


async def _submit_side_by_side(path: str, clients: int, each: int) -> float:
    request = {"jsonrpc": "2.0", "id": 1, "method": "submit", "params": LATER}
    line = json.dumps(request).encode() + b"\n"

    async def client() -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        for _ in range(each):
            writer.write(line)
            answer = await reader.readline()
            assert b'"result"' in answer, answer
        writer.close()

    before = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - before


def throughput() -> None:
    """Jobs per second from a full queue, two slots."""
    for name, fields, jobs, start in (
        (f"{TRUE}, 2 slots", {"command": [TRUE]}, 2000, "exec"),
        ("callable, start = exec, 2 slots", {"target": "bench_jobs:nothing"}, 150, "exec"),
        ("callable, start = fork, 2 slots", {"target": "bench_jobs:nothing"}, 600, "fork"),
    ):
        with daemon(start) as one:
            connection = Connection(one.socket)
            before = time.perf_counter()
            made = connection.call("submit_many", {"jobs": [fields] * jobs})["jobs"]
            waited = connection.call("wait", {"ids": [job["id"] for job in made]})["jobs"]
            took = time.perf_counter() - before
            assert all(job["status"] == "completed" for job in waited)
        tell(name, f"{jobs / took:,.0f} jobs/s")


def latency() -> None:
    """From the call of submit to the start of the process, as the process itself sees it."""
    for name, fields, rounds, start in (
        ("submit → started, command, p50", {"command": [TRUE]}, 200, "exec"),
        ("submit → called, start = exec, p50", {"target": "bench_jobs:now"}, 60, "exec"),
        ("submit → called, start = fork, p50", {"target": "bench_jobs:now"}, 60, "fork"),
    ):
        with daemon(start) as one:
            connection = Connection(one.socket)
            waits = []
            for _ in range(rounds):
                before = time.time()
                id = connection.call("submit", fields)["id"]
                [job] = connection.call("wait", {"ids": [id]})["jobs"]
                begun = job["result"] or _launched_at(one.home, job)
                waits.append(begun - before)
        tell(name, f"{statistics.median(waits) * 1000:.2f} ms")


def _launched_at(home: Path, job: dict[str, Any]) -> float:
    """When the kernel had made the process: its output file is opened at that moment."""
    output = home / "state" / "output" / job["id"][:2] / job["id"] / "1.stdout"
    return output.stat().st_ctime


def size() -> None:
    """Memory and restart with many delayed jobs."""
    for jobs in (10_000, 100_000):
        with daemon() as one:
            connection = Connection(one.socket)
            assert one.process is not None
            process = psutil.Process(one.process.pid)
            empty = process.memory_info().rss
            for _ in range(jobs // 1000):
                many = [{**LATER, "kwargs": {"user_id": n}} for n in range(1000)]
                connection.call("submit_many", {"jobs": many})
            full = process.memory_info().rss
            one.stop(signal.SIGKILL)
            restart = one.start()
            assert one.process is not None
            again = psutil.Process(one.process.pid).memory_info().rss
            after = _rate(Connection(one.socket))
        tell(
            f"{jobs:,} delayed jobs: resident",
            f"{full / 2**20:.0f} MiB ({(full - empty) / jobs:.0f} bytes a job)",
        )
        tell(
            f"{jobs:,} delayed jobs: kill -9 → answers",
            f"{restart:.2f} s, then {again / 2**20:.0f} MiB",
        )
        tell(f"{jobs:,} delayed jobs: durable submissions after it", f"{after:,.0f} /s")


def _rate(connection: Connection) -> float:
    before = time.perf_counter()
    for _ in range(1000):
        connection.call("submit", LATER)
    return 1000 / (time.perf_counter() - before)


def command_line() -> None:
    """`jobctl submit` beside a bare start of the same interpreter."""
    with daemon() as one:
        environment = {**os.environ, "JOBD_SOCKET": one.socket}
        jobctl = [BIN / "jobctl", "submit", "--delay", "1d", "bench_jobs:nothing"]
        ratios, starts = [], []
        for _ in range(40):
            bare = _run([sys.executable, "-c", "pass"], environment)
            ratios.append(_run(jobctl, environment) / bare)
            starts.append(bare)
    tell("bare interpreter start, p50", f"{statistics.median(starts) * 1000:.1f} ms")
    tell("jobctl submit, in bare interpreter starts, p50", f"{statistics.median(ratios):.2f}")


def _run(command: list[Any], environment: dict[str, str]) -> float:
    before = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - before


BENCHMARKS: dict[str, Callable[[], None]] = {
    "submit": submit,
    "throughput": throughput,
    "latency": latency,
    "size": size,
    "command_line": command_line,
    "restart": restart,
    "keeping": keeping,
    "warm": warm,
}


def main() -> None:
    for name in sys.argv[1:] or BENCHMARKS:
        print(f"{name}: {(BENCHMARKS[name].__doc__ or '').strip().splitlines()[0]}")
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
