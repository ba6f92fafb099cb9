"""Ten thousand jobs in a row, half of them timed out or cancelled: `make endurance`.

    JOBD_ENDURANCE_JOBS=N    how many

After the last one daemon, keeper and warm interpreter hold what they held after the first
thousand, and nothing is left over: no process, no control group, no file of an attempt.  Exits
with 0 only then.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "contract")]

from outside.installation import Installation  # noqa: E402
from outside.peer import Peer  # noqa: E402
from outside.waiting import until  # noqa: E402

from jobd.keeper import cgroup  # noqa: E402

JOBS = 10_000
FIRST = 1_000  # after so many all has the size that it keeps
BATCH = 200
MEMORY_MORE_MIB = 2
# A tree that no signal but the last reaches, wherever it went.
DEAF = "trap '' TERM; (setsid sh -c \"trap '' TERM; sleep 600\" &) ; sleep 600 & wait; sleep 600"
JOBS_PY = f"""
import subprocess

def nothing():
    return 1

def deaf():
    subprocess.run(["/bin/sh", "-c", {DEAF!r}])
"""
QUICK = {"kill_grace": 0.02, "retry_attempts": 0}


class Held(NamedTuple):
    mib: float
    descriptors: int


def main() -> int:
    jobs = int(os.environ.get("JOBD_ENDURANCE_JOBS") or JOBS)
    faults = []
    for start in ("exec", "fork"):
        faults += [f"start = {start!r}: {fault}" for fault in endure(start, jobs)]
    print("\n".join(faults) or "nothing is left over", flush=True)
    return 1 if faults else 0


def endure(start: str, jobs: int) -> list[str]:
    """What was not as it should be."""
    d = Installation({"python": {"start": start}, "daemon": {"max_running": 8}})
    d.module(JOBS_PY)
    d.start()
    try:
        began = time.monotonic()
        for done in range(0, jobs, BATCH):
            if done == FIRST:
                first = held(d)
            batch(d)
        last = held(d)
        print(f"start = {start!r}: {jobs} jobs in {time.monotonic() - began:.0f} s", flush=True)
        faults = list(growth(first, last))
        assert d.stop() == 0, d.stderr
        until(lambda: not d.processes())
        return faults + list(leftovers(d))
    finally:
        d.close()


def batch(d: Installation) -> None:
    """A quarter each: a program and a callable that end, one timed out, one cancelled."""
    kinds: list[dict[str, Any]] = [
        {"command": ["/bin/true"]},
        {"target": "jobs:nothing"},
        {"command": ["/bin/sh", "-c", DEAF], "timeout": 0.05},
        {"target": "jobs:deaf", "label": "to be cancelled"},
    ]
    with d.peer() as watcher, d.peer() as asker:
        watcher.call("events", status="running")
        made = asker.call(
            "submit_many", jobs=[{**QUICK, **kinds[n % len(kinds)]} for n in range(BATCH)]
        )["jobs"]
        ids = [job["id"] for job in made]
        cancel_as_they_start(watcher, asker, ids[3::4])
        ended = asker.call("wait", ids=ids)["jobs"]
        found = [job["failure"]["kind"] if job["failure"] else job["status"] for job in ended]
        wanted = ["completed", "completed", "timeout", "cancelled"] * (BATCH // 4)
        assert found == wanted, [(f, w) for f, w in zip(found, wanted, strict=True) if f != w]
        for id in ids:
            asker.call("remove", id=id)


def cancel_as_they_start(watcher: Peer, asker: Peer, ids: list[str]) -> None:
    left = set(ids)
    while left:
        id = watcher.note()["id"]
        if id in left:
            left.discard(id)
            asker.send("cancel", {"id": id})


def held(d: Installation) -> dict[str, Held]:
    """By each of jobd's own processes, once nothing runs."""
    daemon = psutil.Process(d.pid)
    until(lambda: d.call("stats")["running"] == 0)
    return {
        role(process) if process.pid != daemon.pid else "daemon": Held(
            process.memory_info().rss / 2**20, process.num_fds()
        )
        for process in map(psutil.Process, d.processes())
    }


def role(process: psutil.Process) -> str:
    return "keeper" if any("keeper" in word for word in process.cmdline()) else "warm interpreter"


def growth(first: dict[str, Held], last: dict[str, Held]) -> list[str]:
    print(f"{'':24}{'MiB':>8}{'then':>8}{'files':>8}{'then':>8}")
    faults = []
    for name, before in first.items():
        after = last.get(name, before)
        print(
            f"{name:24}{before.mib:8.1f}{after.mib:8.1f}"
            f"{before.descriptors:8}{after.descriptors:8}", flush=True,
        )  # fmt: skip
        if after.mib > before.mib + MEMORY_MORE_MIB or after.descriptors != before.descriptors:
            faults.append(f"{name} grew: {before} → {after}")
    if first.keys() != last.keys():
        faults.append(f"other processes than before: {sorted(first)} → {sorted(last)}")
    return faults


def leftovers(d: Installation) -> list[str]:
    places = [d.state_dir / "attempts", d.log_dir / "output"]
    left = [str(path) for place in places for path in place.rglob("*") if path.is_file()]
    left += map(str, (d.state_dir / "attempts").iterdir())
    groups = cgroup.find(str(d.state_dir))
    if groups is not None:
        left += [entry.path for entry in os.scandir(groups.home) if entry.is_dir()]
        groups.close()
    return [f"left over: {one}" for one in left]


if __name__ == "__main__":
    sys.exit(main())
