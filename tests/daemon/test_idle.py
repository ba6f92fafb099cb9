"""An idle daemon does nothing at all."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from outside.waiting import until


def test_an_idle_daemon_uses_no_cpu(jobd):
    """Not one tick of it in a second in which nobody asks for anything, with a hundred jobs
    delayed, one running, one who waits and one who follows."""
    d = jobd()
    gate = d.gate()
    running = d.submit(command=gate.command, timeout=3600)
    d.until_status(running, "running")
    d.call("submit_many", jobs=[{"command": ["/bin/true"], "delay": 3600}] * 100)
    with d.peer() as peer:
        waits = peer.send("wait", {"ids": [running]})
        follows = peer.send("logs", {"id": running, "follow": True})
        keeper = d.keeper(running)
        processes = [psutil.Process(d.pid), keeper]
        switches = [Path("/proc", str(p.pid), "status") for p in processes]

        def snapshot():
            cpu = [sum(p.cpu_times()[:2]) for p in processes]
            woken = [
                int(line.split()[1])
                for path in switches
                for line in path.read_text().splitlines()
                if line.startswith("voluntary_ctxt_switches")
            ]
            return cpu, woken

        def quiet_second():
            before, began = snapshot(), time.monotonic()
            until(lambda: time.monotonic() - began > 1.0)
            after = snapshot()
            woken = [b - a for a, b in zip(before[1], after[1], strict=True)]
            return after[0] == before[0] and max(woken) <= 2

        # What was asked for is not all done when it is answered; who polls never comes to rest.
        until(quiet_second)
        gate.open()
        assert peer.answer(waits)["timed_out"] is False
        peer.answer(follows)
