"""Has a real daemon live three lives under strace, and keeps what it did and said."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from outside.installation import Installation
from outside.waiting import until

from recorded import lives
from recorded.trace import CALLS, Call, Event, read

STRACE = shutil.which("strace")
SEGMENT_BYTES = 64 << 10  # the smallest


@dataclass
class Recording:
    home: str
    events: list[Event]
    files: dict[str, bytes]  # of the journal at the end, by name


def record(d: Installation, trace: Path) -> Recording:
    """Skips the test where strace is missing or may not trace."""
    if STRACE is None:
        pytest.skip("strace is not installed here")
    journal = d.state_dir / "journal"
    d.spawn(
        under=(
            STRACE, "-f", "-y", "-xx", "-s", str(1 << 20), "-o", str(trace),
            "-e", "trace=" + ",".join(f"?{name}" for name in CALLS),
            sys.executable, "-P", lives.__file__, str(journal),
        )
    )  # fmt: skip
    until(d._serves_or_ended)
    assert d.process is not None
    if d.process.poll() is not None:
        assert "strace:" in d.stderr, d.stderr
        pytest.skip("strace may not trace here")
    gate = d.gate()
    outlives = d.submit(command=gate.command)
    first_life(d)
    end(d, signal.SIGKILL)
    d.submit(command=["/bin/true"], delay=3600, label="of the second life")
    gate.open()
    assert d.final(outlives)["status"] == "completed"
    commotion(d)
    end(d, signal.SIGKILL)
    d.run(command=["/bin/true"])
    d.submit(command=["/bin/true"], delay=3600, label="of the third life")
    os.kill(pid(d), signal.SIGTERM)
    assert d.ended() == 0, d.stderr
    files = {path.name: path.read_bytes() for path in journal.iterdir()}
    return Recording(str(d.home), judged(read(trace)), files)


def judged(events: list[Event]) -> list[Event]:
    """A write of the journal in which its process was killed: how much of it was done is told by
    the next call that says how long the file is."""
    sizes: Counter[str] = Counter()
    killed: dict[str, Call] = {}
    found = []
    for event in events:
        call = event.call
        if event.what == "begin" and call.name in ("write", "ftruncate") and not call.failed:
            if call.name == "ftruncate":
                size = int(call.numbers[1])
                if call.target in killed:
                    unknown = killed.pop(call.target)
                    unknown.result = size - sizes[call.target] or -1
                    found.append(Event("end", unknown))
                sizes[call.target] = size
            elif call.result is None:
                killed[call.target] = call
            else:
                sizes[call.target] += call.result
        found.append(event)
    return found


def first_life(d: Installation) -> None:
    """A little of everything, then so much that comes and goes that a segment is dropped."""
    for n in range(3):
        d.submit(command=["/bin/true"], delay=3600 + n, request_id=str(n))
    d.call("submit_many", jobs=[{"command": ["/bin/true"], "delay": 60}] * 5)
    d.run(target="jobs:boom", retry_attempts=1, retry_delay=0)
    d.call("cancel", id=d.submit(command=["/bin/true"], delay=3600))
    d.call("cancel", id=d.sh("sleep 60"), force=True)
    first = next((d.state_dir / "journal").iterdir())
    for n in range(200):
        if not first.exists():
            break
        size = (300, 3000, 9000, 14000)[n % 4]
        id = d.run(command=["/bin/true"], env={"PAD": "x" * size})["id"]
        if n % 16:
            d.call("remove", id=id)
    assert not first.exists(), "compaction has dropped a segment"
    commotion(d)


def commotion(d: Installation) -> None:
    """Several callers at once: commits of several records, answered together."""
    with contextlib.ExitStack() as open_:
        peers = [open_.enter_context(d.peer()) for _ in range(4)]
        for n in range(3):
            asked = [
                (peer, peer.send("submit", {"command": ["/bin/true"], "priority": n + 1}))
                for peer in peers
                for _ in range(4)
            ]
            for peer, id in asked:
                peer.answer(id)


def end(d: Installation, number: int) -> None:
    """Of this life; returns when the next one serves."""
    before = pid(d)
    os.kill(before, number)
    d.forget_peer()
    until(lambda: pid(d) != before and d._serves_or_ended())


def pid(d: Installation) -> int:
    """The daemon's: the process that was started is strace."""
    return int((d.state_dir / "lock").read_text() or 0)
