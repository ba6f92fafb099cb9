"""What is acknowledged is on disk first: seen in the system calls."""

from __future__ import annotations

import re
import shutil

import pytest
from outside.waiting import until

covers = pytest.mark.covers

STRACE = shutil.which("strace")


@pytest.fixture
def traced(installation, tmp_path):
    """A daemon whose writes and syncs are all in a file, in order."""
    if STRACE is None:
        pytest.skip("strace is not installed here")
    d = installation()
    trace = tmp_path / "trace"
    calls = "trace=fdatasync,fsync,write,pwrite64,writev,sendto,sendmsg"
    d.spawn(under=(STRACE, "-f", "-y", "-s", "4096", "-o", str(trace), "-e", calls))
    until(d._serves_or_ended)
    if d.process.poll() is not None:
        assert "strace:" in d.stderr, d.stderr
        pytest.skip("strace may not trace here")
    d.trace = trace
    return d


@covers("config:journal.fsync", "method:submit", "method:submit_many")
def test_between_the_write_of_a_submission_and_its_answer_there_is_a_sync(traced):
    ids = [traced.submit(command=["/bin/true"], delay=3600) for _ in range(20)]
    answer = traced.call("submit_many", jobs=[{"command": ["/bin/true"], "delay": 3600}] * 5)
    ids += [job["id"] for job in answer["jobs"]]
    lines = until(lambda: (text := traced.trace.read_text()).count(ids[-1]) >= 2 and text).split(
        "\n"
    )
    for id in ids:
        mentions = [n for n, line in enumerate(lines) if id in line]
        written = next(n for n in mentions if "/journal/" in lines[n])
        answered = next(n for n in mentions if "/journal/" not in lines[n] and n > written)
        assert mentions[0] == written, "nothing knows of it before the journal"
        synced = [
            n for n in range(written + 1, answered)
            if re.search(r"\bf(data)?sync\(\d+<[^>]*/journal/", lines[n])
            or "sync resumed" in lines[n]
        ]  # fmt: skip
        assert synced, lines[written : answered + 1]


@covers("config:journal.fsync")
def test_no_start_is_told_to_the_keeper_before_it_is_on_disk(traced):
    id = traced.run(command=["/bin/true"])["id"]
    lines = until(lambda: (text := traced.trace.read_text()).count("completed") and text).split(
        "\n"
    )
    started = next(
        n
        for n, line in enumerate(lines)
        if id in line and "/journal/" in line and "started" in line
    )
    launched = next(
        n
        for n, line in enumerate(lines)
        if id in line and "/journal/" not in line and "launch" in line
    )
    assert started < launched
    assert any(re.search(r"\bf(data)?sync\(", line) for line in lines[started:launched])
